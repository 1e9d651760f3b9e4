package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func history(t *testing.T, path string, cfg HistoryConfig) *History {
	t.Helper()
	h, err := OpenHistory(t.Context(), path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fillHistory writes n intervals of five minutes with 100 numbers each.
func fillHistory(t *testing.T, h *History, n int) (all stat.Sketch) {
	t.Helper()
	dice := stat.NewStream(1, "test.history")
	var some []Interval
	for i := range n {
		v := Interval{At: epoch.Add(time.Duration(i) * 5 * time.Minute), Span: 5 * time.Minute, Config: "aa", Metric: "get_ms"}
		for range 100 {
			x := 100 * dice.ExpFloat64()
			v.Sketch.Add(x)
			all.Add(x)
		}
		some = append(some, v)
	}
	if err := h.Add(t.Context(), some...); err != nil {
		t.Fatal(err)
	}
	return all
}

func wholeOf(t *testing.T, h *History) (rows int, all stat.Sketch) {
	t.Helper()
	got, err := h.Intervals(t.Context(), "aa", "", epoch.Add(-time.Hour), epoch.AddDate(10, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		all.Merge(&got[i].Sketch)
	}
	return len(got), all
}

// TestHistoryDownsamples: old intervals become hours, of which the quantiles are the
// same; older ones go; a second time changes nothing; it is all there after a restart.
func TestHistoryDownsamples(t *testing.T) {
	path := filepath.Join(t.TempDir(), HistoryName)
	h := history(t, path, HistoryConfig{Raw: 24 * time.Hour, Keep: 20 * 24 * time.Hour})
	const days = 5
	want := fillHistory(t, h, days*288)
	now := epoch.AddDate(0, 0, days)
	for range 2 {
		if err := h.Maintain(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		rows, got := wholeOf(t, h)
		if rows != 288+(days-1)*24 || got.Count() != want.Count() || got.Quantile(0.99) != want.Quantile(0.99) {
			t.Errorf("%d rows, %d numbers of %d, P99 %v of %v", rows, got.Count(), want.Count(), got.Quantile(0.99), want.Quantile(0.99))
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = history(t, path, HistoryConfig{Raw: 24 * time.Hour, Keep: 3 * 24 * time.Hour})
	defer func() { _ = h.Close() }()
	if err := h.Maintain(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if rows, _ := wholeOf(t, h); rows != 288+2*24 {
		t.Errorf("%d rows of three days", rows)
	}
}

// TestMergedSpan: what is merged keeps for how long it was measured, and is not merged
// again when more has become old.
func TestMergedSpan(t *testing.T) {
	path := filepath.Join(t.TempDir(), HistoryName)
	h := history(t, path, HistoryConfig{})
	add := func(from time.Time, seconds int) {
		var some []Interval
		for i := range seconds {
			v := Interval{At: from.Add(time.Duration(i) * time.Second), Span: time.Second, Config: "aa", Metric: "ops_per_s"}
			v.Sketch.Add(50)
			some = append(some, v)
		}
		if err := h.Add(t.Context(), some...); err != nil {
			t.Fatal(err)
		}
	}
	check := func(rows int, seconds float64) {
		t.Helper()
		if err := h.Maintain(t.Context(), epoch.AddDate(0, 6, 0)); err != nil {
			t.Fatal(err)
		}
		got, err := h.Intervals(t.Context(), "aa", "", epoch, epoch.AddDate(1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range got {
			sum += v.Span.Seconds()
		}
		if len(got) != rows || sum != seconds {
			t.Errorf("%d rows of %v s, want %d of %v", len(got), sum, rows, seconds)
		}
	}
	add(epoch.Add(55*time.Minute), 720) // into the next hour
	check(2, 720)
	// A row that is merged again begins at its hour again.
	if _, err := h.db.ExecContext(t.Context(), "UPDATE intervals SET at = at + 1"); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = history(t, path, HistoryConfig{Raw: 60 * 24 * time.Hour})
	defer func() { _ = h.Close() }()
	add(epoch.AddDate(0, 3, 15), 10)
	check(3, 730)
	rows := 0
	if err := h.db.QueryRowContext(t.Context(), "SELECT count(*) FROM intervals WHERE at % ? = 1", int64(hour)).Scan(&rows); err != nil || rows != 2 {
		t.Errorf("%d rows were left alone, %v", rows, err)
	}
}

// TestHistoryIsBounded: the file stays below its limit, and the newest are kept.
func TestHistoryIsBounded(t *testing.T) {
	h := history(t, filepath.Join(t.TempDir(), HistoryName), HistoryConfig{MaxBytes: 1 << 20})
	defer func() { _ = h.Close() }()
	const n = 6000
	fillHistory(t, h, n)
	before, err := h.Bytes(t.Context())
	if err != nil || before < 1<<20 {
		t.Fatalf("%d bytes, %v: too few to show anything", before, err)
	}
	if err := h.Maintain(t.Context(), epoch.AddDate(0, 0, 20)); err != nil {
		t.Fatal(err)
	}
	after, err := h.Bytes(t.Context())
	if err != nil || after > 1<<20 {
		t.Errorf("%d bytes are left, %v", after, err)
	}
	last, err := h.Intervals(t.Context(), "aa", "get_ms", epoch.Add((n-1)*5*time.Minute), epoch.AddDate(1, 0, 0))
	if err != nil || len(last) != 1 {
		t.Errorf("the newest interval: %d, %v", len(last), err)
	}
}

func TestHistoryConfigs(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), HistoryName)
	h := history(t, path, HistoryConfig{})
	for i, promoted := range []bool{false, false, true} {
		if err := h.Configured(ctx, epoch.Add(time.Duration(i)*time.Hour), []string{"aa", "bb", "bb"}[i], "text", promoted); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Configs(ctx)
	if err != nil || len(got) != 2 || !got[0].Promoted.IsZero() || !got[1].Promoted.Equal(epoch.Add(2*time.Hour)) || !got[1].First.Equal(epoch.Add(time.Hour)) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("this is no database, and long enough to be one................................................."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHistory(ctx, path, HistoryConfig{}); err == nil {
		t.Error("a damaged file was opened")
	}
	if _, err := OpenHistory(ctx, path, HistoryConfig{MaxBytes: 1}); err == nil {
		t.Error("a limit of one byte was taken")
	}
}
