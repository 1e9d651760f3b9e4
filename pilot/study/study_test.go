package study

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/tune/learners"
	"github.com/shoalnet/shoal/tune/library"
)

func space(t *testing.T) *opt.Space {
	t.Helper()
	set, err := knob.NewSet([]knob.Knob{{Name: "test.x", Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Doc: "a knob"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := opt.NewSpace(set.Default(), []opt.Dim{{Knob: "test.x"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func measure(_ context.Context, trials []learners.Trial) (out []learners.Outcome, err error) {
	for _, t := range trials {
		time.Sleep(100 * time.Millisecond)
		out = append(out, learners.Outcome{Goal: t.Config.Number("test.x") - 0.5})
	}
	return out, nil
}

// TestRun: a race runs to its end and finds the better end of a range; time that is up
// stops the search and still measures what it holds again.
func TestRun(t *testing.T) {
	for _, spare := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			race, err := Run(context.Background(), learners.Config{Space: space(t), Budget: 30, Seed: 1, Racers: []string{learners.Bayes, learners.Stay}}, spare, measure, nil)
			if err != nil {
				t.Fatal(err)
			}
			c, e, ok := race.Winner()
			if !ok || c.Number("test.x") > 0.05 || e.High > 0.7 {
				t.Errorf("spare %v: %v, %+v", spare, c, e)
			}
			if stopped := race.Spent() < race.Planned(); stopped != (spare > 0) {
				t.Errorf("spare %v: %d of %d", spare, race.Spent(), race.Planned())
			}
		})
	}
	broken := errors.New("no pool")
	_, err := Run(context.Background(), learners.Config{Space: space(t), Budget: 3}, 0, func(context.Context, []learners.Trial) ([]learners.Outcome, error) { return nil, broken }, nil)
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestSize: a small race has few learners, none with too few measurements.
func TestSize(t *testing.T) {
	for _, c := range []struct{ total, racers, budget int }{{32, 1, 20}, {120, 4, 19}, {220, 6, 23}, {600, 6, 65}} {
		var cfg learners.Config
		Size(c.total, learners.Names(), &cfg)
		if len(cfg.Racers) != c.racers+1 || cfg.Budget != c.budget {
			t.Errorf("%d: %v with %d", c.total, cfg.Racers, cfg.Budget)
		}
		if all := c.racers * (cfg.Budget + cfg.Finalists*cfg.Choices + cfg.Checks); all > c.total {
			t.Errorf("%d evaluations of %d", all, c.total)
		}
	}
}

func open(t *testing.T, path string) *Shelf {
	t.Helper()
	s, err := OpenShelf(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(site, study string) library.Record {
	return library.Record{
		Site: site, Study: study, AtUnix: 1, Fingerprint: library.Fingerprint{Peers: 100, RTT: 50},
		Found: []library.Found{{Config: "x", Ratio: 0.7, Low: 0.6, High: 0.8}},
	}
}

// TestShelf: what is put on it is there when it is opened again, with the same site; an
// export goes into another one, line by line, without what is bad and without what
// claims to be of the reader's own site.
func TestShelf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", ShelfName)
	s := open(t, path)
	for i := range 3 {
		if added, err := s.Add(record(s.Site(), strconv.Itoa(i))); !added || err != nil {
			t.Fatal(added, err)
		}
	}
	if added, _ := s.Add(record(s.Site(), "1")); added {
		t.Error("the same study twice")
	}
	site, all := s.Site(), s.Library.Records()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if again.Site() != site || !reflect.DeepEqual(again.Library.Records(), all) || again.Skipped() != 0 {
		t.Fatalf("%s %v, %d skipped", again.Site(), again.Library.Records(), again.Skipped())
	}
	var out bytes.Buffer
	if n, err := again.Export(&out); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	other := open(t, filepath.Join(t.TempDir(), ShelfName))
	forged, err := library.Encode(record(other.Site(), "forged"))
	if err != nil {
		t.Fatal(err)
	}
	text := out.String() + "{}\nnonsense\n" + string(forged) + "\n"
	got, err := other.Import(strings.NewReader(text))
	if err != nil || got.Taken != 3 || got.Bad != 2 || got.Own != 1 || len(got.Refused) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = other.Import(strings.NewReader(out.String())); err != nil || got.Known != 3 || got.Taken != 0 {
		t.Errorf("again: %+v, %v", got, err)
	}
	if len(other.Library.Starts(library.Fingerprint{Peers: 100, RTT: 50}, 3)) != 1 {
		t.Error("what was imported is not used")
	}
}
