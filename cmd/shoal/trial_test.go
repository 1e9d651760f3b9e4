package main

import (
	"encoding/json"
	"testing"
)

func TestTuneTrial(t *testing.T) {
	code, out, errs := shoal(t, "tune", "trial", "--preset", "bench", "--runs", "3", "--json")
	var got trialed
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil || len(got.Rows) < 9 {
		t.Fatalf("status %d, %v: %s%s", code, err, out, errs)
	}
	for _, bad := range [][]string{{"--preset", "none"}, {"--runs", "0"}, {"--noise", "/nowhere"}, {"x"}} {
		if code, _, errs := shoal(t, append([]string{"tune", "trial"}, bad...)...); code != exitUsage {
			t.Errorf("%q: status %d, %s", bad, code, errs)
		}
	}
}
