package report

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/store"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// written makes a history of three configurations: the second is a fifth faster and
// takes half the processor, the third has run for a moment.
func written(t *testing.T) *store.History {
	t.Helper()
	h, err := store.OpenHistory(t.Context(), filepath.Join(t.TempDir(), store.HistoryName), store.HistoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	dice := stat.NewStream(1, "test.report")
	for c, hash := range []string{"first", "second", "third"} {
		if err := h.Configured(t.Context(), epoch.Add(time.Duration(c)*time.Hour), hash, hash, c == 1); err != nil {
			t.Fatal(err)
		}
		n := []int{60, 60, 2}[c]
		var all []store.Interval
		for i := range n {
			at := epoch.Add(time.Duration(c)*time.Hour + time.Duration(i)*time.Second)
			add := func(metric string, xs ...float64) {
				v := store.Interval{At: at, Span: time.Second, Config: hash, Metric: metric}
				for _, x := range xs {
					v.Sketch.Add(x)
				}
				all = append(all, v)
			}
			var gets []float64
			for range 40 {
				gets = append(gets, 100*math.Exp(0.5*dice.NormFloat64())*[]float64{1, 0.8, 1}[c])
			}
			add(GetMS, gets...)
			add(OpsPerS, 50)
			add(CPUShare, []float64{0.8, 0.4, 0.8}[c]*(1+0.05*dice.NormFloat64()))
			add(MemoryBytes, 1e9)
			add(BytesPerS, 1e6)
			add(Success, 1, 1, 1, 0)
		}
		if err := h.Add(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestReport(t *testing.T) {
	h := written(t)
	prices := Prices{CPUHour: 0.36, MemoryGBHour: 0.036, NetworkGB: 0, Investment: 1}
	r, err := Make(t.Context(), h, Config{Prices: prices})
	if err != nil {
		t.Fatal(err)
	}
	if r.Before != "first" || r.After != "second" || r.Units != [2]int{60, 60} {
		t.Fatalf("%s to %s, %v intervals", r.Before, r.After, r.Units)
	}
	want := map[string]string{
		"latency, mean": "better", "latency, P50": "better", "latency, P95": "better", "throughput": "no difference seen",
		"processor": "better", "memory": "no difference seen", "error rate": "no difference seen", "messages of a get": "no data", "cost of a request": "better",
	}
	for _, row := range r.Rows {
		if v, ok := want[row.Name]; ok && row.Verdict != v {
			t.Errorf("%s: %q, want %q: %+v", row.Name, row.Verdict, v, row)
		}
		if row.Name == "latency, P50" && (*row.Low > 20 || *row.High < 20 || math.Abs(*row.Before-100) > 5) {
			t.Errorf("P50 %v, improvement %v to %v, is 20", *row.Before, *row.Low, *row.High)
		}
	}
	// By hand: (0.8 · 0.36 + 1 · 0.036) / 3600 / 50 for the first, with 0.4 for the second.
	a, b := (0.8*0.36+0.036)/3600/50, (0.4*0.36+0.036)/3600/50
	second := r.Ledger[1]
	if math.Abs(*r.Ledger[0].PerRequest/a-1) > 0.03 || math.Abs(*second.PerRequest/b-1) > 0.03 || second.Requests != 3000 {
		t.Errorf("ledger %+v", r.Ledger)
	}
	if math.Abs(r.Saved/((a-b)*3000)-1) > 0.1 || r.Payback == nil {
		t.Errorf("saved %v, want %v", r.Saved, (a-b)*3000)
	}
	again, err := Make(t.Context(), h, Config{Prices: prices})
	if err != nil || *again.Rows[0].Low != *r.Rows[0].Low {
		t.Error("the same history gives another report")
	}
}

// TestLedgerOfOld: what has become old and was merged costs what it cost.
func TestLedgerOfOld(t *testing.T) {
	h := written(t)
	cfg := Config{Prices: Prices{CPUHour: 0.36}}
	fresh, err := Make(t.Context(), h, cfg)
	if err == nil {
		err = h.Maintain(t.Context(), epoch.AddDate(1, 0, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	old, err := Make(t.Context(), h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range fresh.Ledger {
		got := old.Ledger[i]
		if got.Hours != want.Hours || math.Abs(got.Requests-want.Requests) > 1e-6 || math.Abs(*got.Cost-*want.Cost) > 1e-9 || math.Abs(*got.Saved-*want.Saved) > 1e-9 {
			t.Errorf("%+v, was %+v", got, want)
		}
	}
}

func TestReportSaysWhatItLacks(t *testing.T) {
	h := written(t)
	r, err := Make(t.Context(), h, Config{After: "third"})
	if err != nil {
		t.Fatal(err)
	}
	if row := r.Rows[0]; row.Verdict != "not enough data: 2 intervals of one side, want 5" || row.Improvement != nil {
		t.Errorf("%+v", row)
	}
	if r.Ledger[0].Cost != nil || r.Payback != nil {
		t.Error("costs without prices")
	}
	for _, cfg := range []Config{{Before: "none"}, {Before: "first", After: "first"}} {
		if _, err := Make(t.Context(), h, cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
