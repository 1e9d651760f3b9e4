package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallOnline is a run of well under a second.
var smallOnline = strings.Fields("sim online --peers 300 --bucket 4 --offers 1,3 --lookups 200 --networks 2 --hours 1 --seed 5")

func TestSimOnline(t *testing.T) {
	one := jsonOf(t, append(smallOnline, "--workers", "1")...)
	wantFields(t, one, "config", "rows", "networks", "cpu_s", "seed", "digest")
	rows, _ := one["rows"].([]any)
	if len(rows) != 14 { // seven rules, two numbers of offers
		t.Fatalf("%d rows", len(rows))
	}
	first, _ := rows[0].(map[string]any)
	wantFields(t, first, "rule", "offers", "hops_mean", "saved_percent", "saved_se_percent", "share_percent", "rounds_mean",
		"messages_per_lookup", "timeouts_per_lookup", "dead_percent", "replaced", "eclipse_percent")
	if many := jsonOf(t, append(smallOnline, "--workers", "3")...); many["digest"] != one["digest"] {
		t.Error("the number of workers changes the digest")
	}
	for _, flags := range []string{"--arrivals=lookups", "--churn=0.61,2h", "--seed=6", "--rules=level"} {
		if other := jsonOf(t, append(smallOnline, flags)...); other["digest"] == one["digest"] {
			t.Errorf("%s changes nothing", flags)
		}
	}
	code, out, _ := shoal(t, smallOnline...)
	if code != exitOK || !strings.Contains(out, "share of ideal %") || !strings.Contains(out, "repeat with: shoal sim online --bucket 4") {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestOnlinePlot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gain.svg")
	jsonOf(t, append(smallOnline, "--plot", path)...)
	first, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(first, []byte("literal")) {
		t.Fatalf("%v, %d bytes", err, len(first))
	}
	jsonOf(t, append(smallOnline, "--plot", path)...)
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the plot of the same run differs: %v", err)
	}
}

func TestBadOnline(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"--peers 0", "--peers 0: want 1 or more"},
		{"--peers 10", "sim: 10 peers: want more than the 20 closest"},
		{"--offers 0", "sim: offers [0]: want numbers of 1 to"},
		{"--offers many", `--offers "many": `},
		{"--rules best", `sim: rule "best": want some of first-seen, literal`},
		{"--arrivals late", `sim: arrivals "late": want random or lookups`},
		{"--churn -1,2h", `--churn "-1,2h": want shape,scale such as`},
		{"--churn nowhere.csv", `--churn "nowhere.csv": no such file: want shape,scale`},
		{"--plot gain.gif", "--plot: chart: gain.gif: want a name that ends in .svg or .png"},
		{"--networks 0", "--networks 0: want 1 or more"},
	} {
		code, out, stderr := shoal(t, append([]string{"sim", "online"}, strings.Fields(test.line)...)...)
		if code != exitUsage || out != "" || !strings.Contains(complaint(stderr), test.want) {
			t.Errorf("shoal sim online %s: status %d\nstdout %q\nstderr %q\nwant   %q", test.line, code, out, stderr, test.want)
		}
	}
}

// A picture that cannot be written costs an error, not what was measured.
func TestOnlineUndrawn(t *testing.T) {
	for _, plot := range []string{"nowhere/at/all.svg", "first-seen.svg"} {
		line := "sim online --peers 300 --networks 1 --lookups 50 --offers 1 --rules first-seen --seed 1 --plot " + plot
		if plot == "nowhere/at/all.svg" {
			line = strings.Replace(line, "first-seen --seed", "level --seed", 1)
		}
		code, out, stderr := shoal(t, strings.Fields(line)...)
		if code != exitUsage || !strings.Contains(complaint(stderr), "--plot: chart: ") || !strings.Contains(out, "repeat with: ") {
			t.Errorf("%s: status %d\nstdout %q\nstderr %q", line, code, out, stderr)
		}
	}
}
