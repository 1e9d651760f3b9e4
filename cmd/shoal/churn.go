package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/shoalnet/shoal/sim"
)

func churnText(c sim.Churn) string { return fmt.Sprintf("%g,%.4gh", c.Shape, c.Scale.Hours()) }

// parseChurn reads "none", "shape,scale", or the name of a file of sessions.
func parseChurn(text string) (sim.Churn, error) {
	if text == "none" {
		return sim.Churn{}, nil
	}
	left, right, pair := strings.Cut(text, ",")
	if !pair {
		return readChurn(text)
	}
	shape, err := strconv.ParseFloat(left, 64)
	scale, err2 := time.ParseDuration(right)
	if errors.Join(err, err2) != nil || !(shape > 0) || math.IsInf(shape, 0) || scale <= 0 {
		return sim.Churn{}, usagef("--churn %q: want shape,scale such as 0.61,3.66h, a file of sessions, or none", text)
	}
	return sim.Churn{Shape: shape, Scale: scale}, nil
}

func readChurn(path string) (sim.Churn, error) {
	churn := sim.Churn{File: path}
	err := readFile(path, func(r io.Reader) (err error) {
		churn.Sessions, err = sim.ReadSessions(r)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return churn, usagef("--churn %q: no such file: want shape,scale such as 0.61,3.66h, a file of sessions, or none", path)
	}
	if err != nil {
		return churn, usagef("--churn %s: %w", path, err)
	}
	return churn, nil
}

// parseCycle reads "amplitude" or "amplitude,weekend".
func parseCycle(text string, begin time.Duration) (sim.Cycle, error) {
	left, right, both := strings.Cut(text, ",")
	c := sim.Cycle{Begin: begin}
	var err, err2 error
	c.Amplitude, err = strconv.ParseFloat(left, 64)
	if both {
		c.Weekend, err2 = strconv.ParseFloat(right, 64)
	}
	if errors.Join(err, err2) != nil {
		return c, usagef("--cycle %q: want the amplitude of a day, such as 0.5, or with the level of a weekend: 0.5,0.8", text)
	}
	return c, nil
}

// parseMishap reads "kind:share@after" or "kind:share@after+for".
func parseMishap(text string) (m sim.Mishap, err error) {
	kind, rest, ok := strings.Cut(text, ":")
	share, when, ok2 := strings.Cut(rest, "@")
	after, long, hasEnd := strings.Cut(when, "+")
	m.Kind = kind
	var errs [3]error
	m.Share, errs[0] = strconv.ParseFloat(share, 64)
	m.After, errs[1] = time.ParseDuration(after)
	if hasEnd {
		m.For, errs[2] = time.ParseDuration(long)
	}
	if !ok || !ok2 || errors.Join(errs[:]...) != nil {
		return m, usagef("--mishap %q: want exodus:share@after+mean_absence, cut:share@after+length or pressure:share@after+length, such as exodus:0.3@5m+1h", text)
	}
	return m, nil
}

// readPopularity reads "uniform", "zipf:s", or the name of a file of requests.
func readPopularity(text string, records int) (*sim.Popularity, error) {
	if text == "uniform" {
		return nil, nil
	}
	if exponent, ok := strings.CutPrefix(text, "zipf:"); ok {
		s, err := strconv.ParseFloat(exponent, 64)
		if err != nil {
			return nil, usagef("--popularity %q: want zipf and an exponent, such as zipf:0.99", text)
		}
		p, err := sim.Zipf(records, s)
		if err != nil {
			return nil, usagef("--popularity %q: %w", text, err)
		}
		return p, nil
	}
	var p *sim.Popularity
	err := readFile(text, func(r io.Reader) (err error) {
		p, err = sim.ReadPopularity(r, filepath.Base(text))
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, usagef("--popularity %q: no such file: want uniform, zipf:0.99, or a file with a key on each line", text)
	}
	if err != nil {
		return nil, usagef("--popularity %s: %w", text, err)
	}
	return p, nil
}

// popularityFile reports whether a popularity is the name of a file.
func popularityFile(text string) bool {
	return text != "" && text != "uniform" && !strings.HasPrefix(text, "zipf:")
}

// readFile hands the content of a file to a reader; one that ends in .gz is
// unpacked.
func readFile(path string, read func(io.Reader) error) error {
	return readFrom(os.DirFS(filepath.Dir(path)), filepath.Base(path), read)
}

// readFrom is readFile in a file system.
func readFrom(files fs.FS, path string, read func(io.Reader) error) error {
	file, err := files.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	if !strings.HasSuffix(path, ".gz") {
		return read(file)
	}
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	return read(unpacked)
}

// timesFlags say how a network changes with time.
type timesFlags struct {
	cycle   string
	begin   time.Duration
	away    time.Duration
	mishaps []string
}

func (t *timesFlags) bind(f *pflag.FlagSet) {
	f.StringVar(&t.cycle, "cycle", "0", "`amplitude` of the daily wave of operations and arrivals, 0 to 0.95, and the level of a weekend: 0.5,0.8")
	f.DurationVar(&t.begin, "begin", 0, "time of the week in UTC when measuring begins, from Monday 0:00")
	f.DurationVar(&t.away, "away", 0, "mean time for which nobody takes the place of a peer that has left")
	f.StringArrayVar(&t.mishaps, "mishap", nil, "`kind:share@after+for` of what happens to many at once (repeatable): exodus, a share of the peers leaves and others come after a mean time; cut, a region of that share is cut off for a time; pressure, memory is scarce at a share for a time")
}

// read completes a configuration from the flags.
func (t *timesFlags) read(cfg *sim.EventsConfig) (err error) {
	if cfg.Cycle, err = parseCycle(t.cycle, t.begin); err != nil {
		return err
	}
	cfg.Churn.Away = t.away
	for _, text := range t.mishaps {
		m, err := parseMishap(text)
		if err != nil {
			return err
		}
		cfg.Mishaps = append(cfg.Mishaps, m)
	}
	return nil
}

// writeWindows prints how a network fared over time.
func writeWindows(w io.Writer, windows []sim.Window) error {
	t := newTextTable("until, s", "get p50, ms", "success", "operations", "peers", "entries")
	for _, x := range windows {
		t.add(significant(x.End), significant(x.P50), fmt.Sprintf("%.4f", x.Success), strconv.Itoa(x.Operations), strconv.Itoa(x.Peers), significant(x.Entries))
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.write(w)
}
