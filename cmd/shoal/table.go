package main

import (
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shoalnet/shoal/internal/chart"
)

// textTable is a table for people: columns aligned by two spaces, those that
// hold numbers to the right.
type textTable struct {
	rows [][]string // the first is the header
}

func newTextTable(header ...string) *textTable { return &textTable{rows: [][]string{header}} }

// add appends a row. Missing cells at its end are empty.
func (t *textTable) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *textTable) write(w io.Writer) error {
	widths := make([]int, len(t.rows[0]))
	right := make([]bool, len(widths))
	for c := range widths {
		right[c] = len(t.rows) > 1
		for r, row := range t.rows {
			if c >= len(row) {
				continue
			}
			widths[c] = max(widths[c], utf8.RuneCountInString(row[c]))
			if r > 0 && row[c] != "" && !strings.ContainsRune("0123456789-+[", rune(row[c][0])) {
				right[c] = false
			}
		}
	}
	var text strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for c, cell := range row {
			gap := strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell))
			if right[c] {
				line.WriteString(gap + cell)
			} else {
				line.WriteString(cell + gap)
			}
			line.WriteString("  ")
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// significant writes x with three significant digits and no exponent up to a
// million; what is not a number is a dash.
func significant(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	if x == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	if digits < -4 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strconv.FormatFloat(x, 'f', max(digits, 0), 64)
}

// interval writes a confidence interval as "[low, high]"; a dash where there is
// none.
func interval(low, high float64) string {
	if math.IsNaN(low) || math.IsNaN(high) {
		return "-"
	}
	return "[" + significant(low) + ", " + significant(high) + "]"
}

// drawn draws what a run has found, if a file was named. It is called when the figures are
// printed: a run of hours is not lost to a picture that cannot be drawn or written.
func drawn(file string, figure func() *chart.Figure) error {
	if file == "" {
		return nil
	}
	if err := figure().Save(file); err != nil {
		return usagef("--plot: %w", err)
	}
	return nil
}
