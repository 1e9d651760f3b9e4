// Package chart draws the figures of the documentation: lines with error bars,
// points with their front, and bars, as SVG or PNG from one description. It is
// gonum.org/v1/plot with the looks of the house: a palette that colour-blind
// readers can tell apart (Okabe and Ito, 2008), markers that differ as well, axes
// with units, and a size that can be read from the back of a room. The same
// figure gives the same bytes.
package chart

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind says how a series is drawn.
type Kind uint8

// The kinds of series.
const (
	Line  Kind = iota // a marker for each point, joined in the order given, with error bars
	Dots              // a marker for each point
	Front             // a line without markers: the hull or front of some dots
	Bars              // a bar for each of Figure.Groups, in their order; X is not used
)

// Series is one set of values.
type Series struct {
	Name string // in the legend; empty: not listed
	Kind Kind
	X, Y []float64
	// Low and High are the ends of the error bars of Line and Bars, as values on the
	// axis of Y; nil: no error bars.
	Low, High []float64
}

// Axis is one axis of a figure.
type Axis struct {
	Label string // with its unit
	Log   bool   // logarithmic: all values must be above 0
	// Min and Max are the least range that is shown; the values widen it. Equal: the
	// range is that of the values.
	Min, Max float64
}

// Figure describes a chart. It needs a series with a value.
type Figure struct {
	Title  string
	X, Y   Axis
	Groups []string // names below groups of bars; needed if and only if there are bars
	Series []Series
}

// Formats lists what Write can write.
func Formats() []string { return []string{"svg", "png"} }

// FormatOf returns the format that a file's name ends with, or an error that
// names those there are.
func FormatOf(path string) (string, error) {
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	if !slices.Contains(Formats(), format) {
		return "", fmt.Errorf("chart: %s: want a name that ends in .svg or .png", path)
	}
	return format, nil
}

// Save writes a figure to a file in the format that its name ends with.
func (f *Figure) Save(path string) (err error) {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return f.Write(file, format)
}

// Write writes a figure in one of Formats. Nothing is written of a figure that
// cannot be drawn: without a value, with values that are not finite, not above 0
// on a logarithmic axis, or with lists of different lengths.
func (f *Figure) Write(w io.Writer, format string) error {
	if !slices.Contains(Formats(), format) {
		return fmt.Errorf("chart: format %q: want one of %s", format, strings.Join(Formats(), ", "))
	}
	if err := f.check(); err != nil {
		return err
	}
	drawing, err := f.draw(format)
	if err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	_, err = drawing.WriteTo(w)
	return err
}

func (f *Figure) check() error {
	values := 0
	for i := range f.Series {
		s := &f.Series[i]
		if err := f.checkSeries(s); err != nil {
			return fmt.Errorf("chart: series %q: %w", s.Name, err)
		}
		values += len(s.Y)
	}
	if values == 0 {
		return errors.New("chart: no value to draw: want a series with at least one")
	}
	return nil
}

func (f *Figure) checkSeries(s *Series) error {
	points := len(s.X)
	if s.Kind == Bars {
		points = len(f.Groups)
	}
	switch {
	case len(s.Y) != points:
		return fmt.Errorf("%d values for %d places: want as many", len(s.Y), points)
	case s.Low != nil && len(s.Low) != points || len(s.Low) != len(s.High):
		return fmt.Errorf("%d and %d ends of error bars for %d values: want as many, or none", len(s.Low), len(s.High), points)
	case s.Kind == Bars && f.Y.Log:
		return errors.New("bars on a logarithmic axis: they begin at 0")
	}
	x := s.X
	if s.Kind == Bars {
		x = nil
	}
	return errors.Join(f.X.check("x", x), f.Y.check("y", s.Y), f.Y.check("y", s.Low), f.Y.check("y", s.High))
}

func (a *Axis) check(name string, values []float64) error {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s = %v: want a finite number", name, v)
		}
		if a.Log && v <= 0 {
			return fmt.Errorf("%s = %v on a logarithmic axis: want more than 0", name, v)
		}
	}
	return nil
}
