package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune"
)

func TestTuneReport(t *testing.T) {
	dir := t.TempDir()
	h, err := store.OpenHistory(t.Context(), filepath.Join(dir, store.HistoryName), store.HistoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for c, hash := range []string{"first", "second"} {
		at := time.Unix(int64(1000*c+1), 0)
		if err := h.Configured(t.Context(), at, hash, hash, c == 1); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			v := store.Interval{At: at.Add(time.Duration(i) * time.Second), Span: time.Second, Config: hash, Metric: "get_ms"}
			v.Sketch.Add(float64(100 - 20*c + i))
			if err := h.Add(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs := shoal(t, "tune", "report", dir, "--json")
	var got struct {
		Rows []struct{ Name, Verdict string } `json:"rows"`
	}
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil || got.Rows[0].Verdict != "better" {
		t.Fatalf("status %d, %v: %s%s", code, err, out, errs)
	}
	if strings.Contains(out, `"holdout": {`) {
		t.Errorf("a holdout without a journal: %s", out)
	}
	var j tune.Journal
	line, err := j.Append(tune.Entry{Kind: tune.KindHoldout, Text: "against 3 peers", Data: []byte(`{"report":{"peers":3,"ratio":0.5}}`)})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "journal"), line, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := shoal(t, "tune", "report", dir); !strings.Contains(out, "All changes together, against 3 peers.") {
		t.Errorf("no holdout: %s", out)
	}
	for _, bad := range [][]string{{t.TempDir()}, {dir, "--price-cpu", "-1"}, {}, {dir, "--after", "none"}, {dir, "--before", "first", "--after", "first"}} {
		if code, _, errs := shoal(t, append([]string{"tune", "report"}, bad...)...); code != exitUsage {
			t.Errorf("%q: status %d, %s", bad, code, errs)
		}
	}
	if code, _, errs := shoal(t, "tune", "alarms", dir); code != exitUsage {
		t.Errorf("alarms of a directory without series: status %d, %s", code, errs)
	}
	for _, bad := range [][]string{{"--regime", "all"}, {"--mishap", "2"}, {"--preset", "none"}, {"--serve", "--candidate", "x"}, {"--for", "2m", "--library", "x"}, {"--first", "--candidate", "default"}, {"--data", filepath.Join(dir, "journal", "x")}} {
		if code, _, errs := shoal(t, append([]string{"up"}, bad...)...); code != exitUsage {
			t.Errorf("up %q: status %d, %s", bad, code, errs)
		}
	}
}
