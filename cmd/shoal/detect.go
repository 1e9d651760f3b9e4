package main

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/tune/proof"
)

func newTuneDetectCommand(a *app) *cobra.Command {
	var dir, published string
	cmd := &cobra.Command{
		Use:   "detect",
		Short: "Score the detectors of change on labelled series, by the rules of the Numenta Anomaly Benchmark",
		Long: `Reads the series of the Numenta Anomaly Benchmark from a directory and lets every
detector listen to them as to a stream. An alarm within a labelled window earns up to
a point, the earlier the more; one outside costs; so does a window without any. The
threshold is one for all series, the best for each profile, as the benchmark chooses
it for everybody.

The directory holds windows.json, which names for each series the windows by their
first and last time, and the series as csv or csv.gz with columns timestamp,value.`,
		Example: `  shoal tune detect --data DIR
  shoal tune detect --data DIR --published NAB/results     beside what others have published
  shoal tune detect --data DIR --json`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tuneDetect(cmd, dir, published) },
	}
	cmd.Flags().StringVar(&dir, "data", "", "`directory` of the labelled series")
	cmd.Flags().StringVar(&published, "published", "", "`directory` with others' scores, as the benchmark has them: NAME/KIND/NAME_SERIES.csv with a column anomaly_score")
	return cmd
}

// Detected is what tune detect prints as JSON. Its names are stable.
type Detected struct {
	Rows   []proof.NABRow `json:"rows"`
	Series int            `json:"series"`
	Points int            `json:"points"`
}

func (a *app) tuneDetect(cmd *cobra.Command, dir, published string) error {
	if dir == "" {
		return usagef("--data is missing: it is the directory of the labelled series")
	}
	series, err := readLabelled(os.DirFS(dir))
	if err != nil {
		return usageError{fmt.Errorf("--data %s: %w", dir, err)}
	}
	detectors := proof.Detectors()
	if published != "" {
		theirs, err := readPublished(os.DirFS(published), series)
		if err != nil {
			return usageError{fmt.Errorf("--published %s: %w", published, err)}
		}
		detectors = append(detectors, theirs...)
	}
	out := Detected{Series: len(series)}
	for _, s := range series {
		out.Points += len(s.Values)
	}
	steps := &steps{app: a}
	defer steps.end()
	out.Rows, err = proof.MeasureNAB(cmd.Context(), series, detectors, func(done, total int) {
		steps.progress("listening", "thresholds", int64(done), int64(total))
	})
	steps.end()
	switch {
	case err != nil && len(out.Rows) == 0:
		return err
	case a.json:
		return a.printJSON(out)
	}
	a.partly(err != nil)
	return writeDetected(a.stdout, out, repeatLine(cmd, nil))
}

func writeDetected(w io.Writer, d Detected, repeat string) error {
	table := newTextTable("detector", "profile", "score", "windows found", "false alarms", "per 1,000", "threshold")
	for _, r := range d.Rows {
		table.add(r.Detector, r.Profile, fmt.Sprintf("%.1f", r.Score), fmt.Sprintf("%d of %d", r.Found, r.Windows),
			strconv.Itoa(r.Wrong), fmt.Sprintf("%.2f", r.PerPoints), fmt.Sprintf("%.4g", r.Threshold))
	}
	if err := table.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d series of %d points. 100 is every window at its beginning and nothing else, 0 is silence.\n%s\n", d.Series, d.Points, repeat)
	return err
}

// maxPoints bounds a labelled series.
const maxPoints = 1_000_000

// readLabelled reads the series that windows.json names and that are there.
func readLabelled(dir fs.FS) ([]proof.Series, error) {
	text, err := fs.ReadFile(dir, "windows.json")
	if err != nil {
		return nil, err
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(text, &windows); err != nil {
		return nil, fmt.Errorf("windows.json: %w", err)
	}
	var all []proof.Series
	for _, name := range slices.Sorted(maps.Keys(windows)) {
		s, err := readSeries(dir, name, windows[name])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("none of the series that windows.json names is there")
	}
	return all, nil
}

func readSeries(dir fs.FS, name string, windows [][2]string) (s proof.Series, err error) {
	var in io.ReadCloser
	if in, err = dir.Open(name + ".gz"); err == nil {
		defer func() { err = errors.Join(err, in.Close()) }()
		if in, err = gzip.NewReader(in); err != nil {
			return s, err
		}
	} else if in, err = dir.Open(name); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	times := map[time.Time]int{}
	rows := csv.NewReader(in)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, err
		}
		if len(row) < 2 {
			return s, fmt.Errorf("row %q: want a time and a value", strings.Join(row, ","))
		}
		if row[0] == "timestamp" {
			continue
		}
		at, when := readTime(row[0])
		value, number := strconv.ParseFloat(row[1], 64)
		if err := errors.Join(when, number); err != nil {
			return s, fmt.Errorf("row %q: %w", strings.Join(row, ","), err)
		}
		if len(s.Values) == maxPoints {
			return s, fmt.Errorf("more than %d rows", maxPoints)
		}
		times[at] = len(s.Values)
		s.Values = append(s.Values, value)
	}
	s.Name = name
	for _, w := range windows {
		var ends [2]int
		for i, text := range w {
			at, err := readTime(text)
			place, ok := times[at]
			if err != nil || !ok {
				return s, fmt.Errorf("no row is at %q, where a window ends", text)
			}
			ends[i] = place
		}
		s.Windows = append(s.Windows, proof.Span{First: ends[0], Last: ends[1]})
	}
	return s, nil
}

func readTime(text string) (time.Time, error) { return time.Parse("2006-01-02 15:04:05", text) }

// readPublished reads the detectors of which there is a folder with scores for all
// series.
func readPublished(dir fs.FS, series []proof.Series) ([]proof.Detector, error) {
	folders, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	var all []proof.Detector
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		scores := map[string][]float64{}
		for _, s := range series {
			kind, file := path.Split(s.Name)
			scores[s.Name], err = readScores(dir, path.Join(f.Name(), kind, f.Name()+"_"+file))
			if err != nil {
				return nil, err
			}
			if n := len(scores[s.Name]); n != len(s.Values) {
				return nil, fmt.Errorf("%s has %d scores for the %d points of %s", f.Name(), n, len(s.Values), s.Name)
			}
		}
		all = append(all, proof.Published(f.Name(), scores))
	}
	return all, nil
}

func readScores(dir fs.FS, name string) (scores []float64, err error) {
	in, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	rows := csv.NewReader(in)
	head, err := rows.Read()
	column := slices.Index(head, "anomaly_score")
	if err != nil || column < 0 {
		return nil, fmt.Errorf("%s: no column anomaly_score: %w", name, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	for len(scores) < maxPoints {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		x, err := strconv.ParseFloat(row[column], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		scores = append(scores, x)
	}
	return scores, nil
}
