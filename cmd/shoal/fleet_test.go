package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/web"
)

func TestFleetUsage(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "fleet.key")
	made := saying(t, "fleet", "key", key)
	again := saying(t, "fleet", "key", key)
	name := strings.TrimSpace(made.stdout)
	if made.code != exitOK || len(name) != 64 || again.stdout != made.stdout {
		t.Fatalf("fleet key: %+v, then %+v", made, again)
	}
	for args, want := range map[string]string{
		"node --fleet x --bootstrap public":                              "public network",
		"node --fleet x":                                                 "64 hexadecimal digits",
		"fleet status x":                                                 "64 hexadecimal digits",
		"node --fleet-key " + key:                                        "--fleet PUBLICKEY",
		"node --tune sometimes":                                          "off or local",
		"node --tune local --fleet " + name:                              "choose one",
		"node --try lookup.alpha=2":                                      "--tune local",
		"node --tune local --try lookup.alpha=2000":                      "whole number",
		"node --tune local --tune-interval 1ms":                          "1s to 1h",
		"node --probe -1":                                                "0 to 6000",
		"fleet pass --key " + key + " --days 0 x":                        "1 or more",
		"fleet pass --key " + key + " x":                                 "not a peer id",
		"fleet pass x":                                                   "not a peer id",
		"fleet status --join " + dir + " " + name:                        "no node",
		"fleet order --key " + key + " please":                           "want one of",
		"fleet order --key " + key + " hold --try lookup.alpha=2":        "only optimize",
		"fleet order --key " + key + " optimize --try lookup.alpha=9999": "whole number",
		"fleet order --key " + filepath.Join(dir, "no") + " hold":        "no key",
	} {
		if got := saying(t, strings.Fields(args)...); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("shoal %s: %d %q, want %q", args, got.code, got.stderr, want)
		}
	}
}

// TestFleetProcesses: a node with the key comes to coordinate, another one with a pass
// follows it, both are seen, and an order of the owner is obeyed.
func TestFleetProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes for half a minute")
	}
	dir := t.TempDir()
	key, pass := filepath.Join(dir, "fleet.key"), filepath.Join(dir, "pass")
	name := strings.TrimSpace(saying(t, "fleet", "key", key).stdout)
	fleet := []string{"--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--fleet", name, "--fleet-preset", "bench", "--fleet-skew", "50ms", "--tune-interval", "1s", "--probe", "300"}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	identity, err := openIdentity(b)
	if err != nil {
		t.Fatal(err)
	}
	host, err := dht.NewHost(identity)
	if err != nil {
		t.Fatal(err)
	}
	text := saying(t, "fleet", "pass", "--key", key, host.ID().String()).stdout
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pass, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	first := start(t, append([]string{"node", "--data", a, "--fleet-key", key, "--ui", "127.0.0.1:0"}, fleet...)...)
	second := start(t, append([]string{"node", "--data", b, "--join", a, "--fleet-pass", pass}, fleet...)...)
	ask := func(until func(dht.FleetReport) bool, args ...string) {
		t.Helper()
		var last string
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
			got := saying(t, append(args, "--json")...)
			var r dht.FleetReport
			last = got.stdout + got.stderr
			if got.code == exitOK && json.Unmarshal([]byte(got.stdout), &r) == nil && until(r) {
				return
			}
		}
		t.Fatalf("shoal %v said at last %s\n%s\n%s", args, last, &first.errors, &second.errors)
	}
	ask(func(r dht.FleetReport) bool { return r.Status != nil && r.Status.Peers == 2 && r.Status.RatePerS > 0 }, "fleet", "status", "--join", a, name)
	ask(func(r dht.FleetReport) bool {
		journal := ""
		if r.Status != nil {
			journal = strings.Join(r.Status.Journal, "\n")
		}
		// Two peers are no arm, so a rollout ends soon: the order finds one or waits for the next.
		return strings.Contains(journal, "held: a person ordered it") || strings.Contains(journal, "a person ordered hold; the next rollout will be held")
	}, "fleet", "order", "--join", a, "--key", key, "hold")
	checkFleetWindow(t, first.started["window"].(string))
	if shown := saying(t, "fleet", "status", "--join", a, name); !strings.Contains(shown.stdout, "2 peers report") {
		t.Errorf("status: %q", shown.stdout)
	}
	for _, p := range []*process{second, first} {
		if code := p.end(t, os.Interrupt); code != exitOK {
			t.Errorf("exit %d: %s", code, &p.errors)
		}
	}
}

// checkFleetWindow: the coordinator's window shows what it does, and takes orders.
func checkFleetWindow(t *testing.T, url string) {
	t.Helper()
	shown := get[web.Run](t, url, "/api/v3/ml/optimize/status")
	if r := shown.Data; r == nil || !strings.Contains(r.Said, "coordinates 2 peers") || r.Incumbent.Name != "default" || r.RatePerS == nil || !slices.Contains(r.Orders, web.OrderOptimize) {
		t.Fatalf("window: %+v", r)
	}
	history := get[web.List[web.Entry]](t, url, "/api/v3/ml/optimize/history")
	if history.Data == nil || len(history.Data.Items) < 3 {
		t.Errorf("journal: %+v", history.Data)
	}
	body := strings.NewReader(`{"trigger": "to see it done"}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.TrimSuffix(url, "/")+"/api/v3/ml/optimize", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := reply.Body.Close(); err != nil || reply.StatusCode != http.StatusAccepted {
		t.Errorf("optimize: status %d, %v", reply.StatusCode, err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		entries := get[web.List[web.Entry]](t, url, "/api/v3/ml/optimize/history").Data
		if entries != nil && slices.ContainsFunc(entries.Items, func(e web.Entry) bool { return strings.Contains(e.Text, "to see it done") }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the order is not in the journal: %+v", entries)
		}
	}
}

// TestTuneLocal: a node that tunes itself says that it has too few lookups.
func TestTuneLocal(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	p := start(t, "node", "--data", t.TempDir(), "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--tune", "local", "--tune-interval", "1s")
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && !strings.Contains(p.errors.String(), "not enough data"); {
		time.Sleep(100 * time.Millisecond)
	}
	if code := p.end(t, os.Interrupt); code != exitOK || !strings.Contains(p.errors.String(), "not enough data") {
		t.Errorf("exit %d, said %s", code, &p.errors)
	}
}

// said is what a command said.
type said struct {
	code           int
	stdout, stderr string
}

func saying(t *testing.T, args ...string) said {
	t.Helper()
	code, out, errs := shoal(t, args...)
	return said{code, out, errs}
}
