package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/internal/chart"
)

// figures has each kind of series.
func figures() map[string]*chart.Figure {
	return map[string]*chart.Figure{
		"lines": {
			Title: "Share of the gain", X: chart.Axis{Label: "offers for each place", Log: true}, Y: chart.Axis{Label: "share, %"},
			Series: []chart.Series{
				{Name: "level", X: []float64{1, 10, 100}, Y: []float64{0, 50, 90}, Low: []float64{-5, 40, 85}, High: []float64{5, 60, 95}},
				{Name: "literal", X: []float64{1, 10, 100}, Y: []float64{0, 40, 60}},
			},
		},
		"front": {
			Title: "Cost", X: chart.Axis{Label: "cost, bytes/s", Max: 10}, Y: chart.Axis{Label: "latency, ms"},
			Series: []chart.Series{
				{Name: "tried", Kind: chart.Dots, X: []float64{1, 2, 3}, Y: []float64{3, 3, 1}},
				{Name: "front", Kind: chart.Front, X: []float64{1, 3}, Y: []float64{3, 1}},
			},
		},
		"bars": {
			Title: "Messages", Y: chart.Axis{Label: "messages a lookup"}, Groups: []string{"k = 10", "k = 20"},
			Series: []chart.Series{
				{Name: "stock", Kind: chart.Bars, Y: []float64{15, 12}, Low: []float64{14, 11}, High: []float64{16, 13}},
				{Name: "ours", Kind: chart.Bars, Y: []float64{11, -2}},
			},
		},
		"one point": {Series: []chart.Series{{X: []float64{1}, Y: []float64{1}}}},
	}
}

func render(t *testing.T, f *chart.Figure, format string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := f.Write(&out, format); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Each figure is drawn, says what it was told to, and has the same bytes again.
func TestFigures(t *testing.T) {
	for name, f := range figures() {
		text := render(t, f, "svg")
		if !bytes.Equal(text, render(t, f, "svg")) {
			t.Errorf("%s: two drawings differ", name)
		}
		words := []string{"sans-serif", f.Title, f.X.Label, f.Y.Label}
		for _, s := range f.Series {
			words = append(words, s.Name)
		}
		for _, word := range append(words, f.Groups...) {
			if !bytes.Contains(text, []byte(word)) {
				t.Errorf("%s: no text %q", name, word)
			}
		}
		for d := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		picture := render(t, f, "png")
		if !bytes.Equal(picture, render(t, f, "png")) {
			t.Errorf("%s: two pictures differ", name)
		}
		img, err := png.Decode(bytes.NewReader(picture))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen := map[[3]uint32]bool{}
		for x := range img.Bounds().Dx() {
			for y := range img.Bounds().Dy() {
				r, g, b, _ := img.At(x, y).RGBA()
				seen[[3]uint32{r, g, b}] = true
			}
		}
		if len(seen) < 3 {
			t.Errorf("%s: a picture of %d colours", name, len(seen))
		}
	}
}

// What cannot be drawn is refused before anything is written.
func TestRefused(t *testing.T) {
	line := func(x, y float64) *chart.Figure {
		return &chart.Figure{Series: []chart.Series{{Name: "s", X: []float64{1, x}, Y: []float64{1, y}}}}
	}
	logarithmic := line(0, 1)
	logarithmic.X.Log = true
	for want, f := range map[string]*chart.Figure{
		"no value to draw":                 {},
		"no value to draw: want a series":  {Series: []chart.Series{{Name: "empty"}}},
		`series "s": y = NaN: want`:        line(1, math.NaN()),
		"x = +Inf: want a finite number":   line(math.Inf(1), 1),
		"x = 0 on a logarithmic axis":      logarithmic,
		"2 values for 1 places":            {Series: []chart.Series{{X: []float64{1}, Y: []float64{1, 2}}}},
		"1 values for 2 places":            {Groups: []string{"a", "b"}, Series: []chart.Series{{Kind: chart.Bars, Y: []float64{1}}}},
		"1 and 0 ends of error bars":       {Series: []chart.Series{{X: []float64{1}, Y: []float64{1}, Low: []float64{0}}}},
		"bars on a logarithmic axis: they": {Groups: []string{"a"}, Y: chart.Axis{Log: true}, Series: []chart.Series{{Kind: chart.Bars, Y: []float64{1}}}},
	} {
		var out bytes.Buffer
		err := f.Write(&out, "svg")
		if err == nil || !strings.HasPrefix(err.Error(), "chart: ") || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("error %v and %d bytes, want %q", err, out.Len(), want)
		}
	}
	if err := line(2, 2).Write(io.Discard, "gif"); err == nil || !strings.Contains(err.Error(), `format "gif": want one of svg, png`) {
		t.Errorf("gif: %v", err)
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	f := figures()["lines"]
	for _, name := range []string{"a.svg", "a.PNG"} {
		path := filepath.Join(dir, name)
		if err := f.Save(path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() < 1000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "a.gif"):           "want a name that ends in .svg or .png",
		filepath.Join(dir, "none", "at.svg"):  "chart: open ",
		filepath.Join(dir, "without-a-point"): "want a name that ends in .svg or .png",
	} {
		if err := f.Save(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	empty := filepath.Join(dir, "empty.svg")
	if err := (&chart.Figure{}).Save(empty); err == nil {
		t.Error("an empty figure was saved")
	}
	if _, err := os.Stat(empty); !errors.Is(err, os.ErrNotExist) {
		t.Error("a figure that was refused left a file")
	}
}
