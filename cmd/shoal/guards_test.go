package main

import (
	"encoding/json"
	"testing"
)

func TestTuneGuards(t *testing.T) {
	code, out, _ := shoal(t, "tune", "guards", "--n", "40", "--runs", "100", "--json")
	var table struct {
		Rows []struct {
			Name    string   `json:"name"`
			Ours    *float64 `json:"ours"`
			Kayenta *float64 `json:"kayenta"`
			Ranks   *float64 `json:"mann_whitney"`
			Welch   *float64 `json:"welch"`
		} `json:"rows"`
	}
	if err := json.Unmarshal([]byte(out), &table); code != exitOK || err != nil || len(table.Rows) < 4 {
		t.Fatalf("status %d, %v: %s", code, err, out)
	}
	for _, r := range table.Rows {
		if r.Ours == nil || r.Kayenta == nil || r.Ranks == nil || r.Welch == nil {
			t.Errorf("row %s lacks a rule", r.Name)
		}
	}
	for _, bad := range [][]string{{"--n", "1"}, {"--runs", "1"}, {"--false-alarms", "2"}, {"--sigma", "0"}, {"x"}} {
		if code, _, errs := shoal(t, append([]string{"tune", "guards"}, bad...)...); code != exitUsage {
			t.Errorf("%q: status %d, %s", bad, code, errs)
		}
	}
}
