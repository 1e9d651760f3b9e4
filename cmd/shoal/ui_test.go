package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

func TestUIAddressIsChecked(t *testing.T) {
	for _, args := range [][]string{{"up", "--ui", "here"}, {"node", "--ui", "here", "--data", t.TempDir()}, {"up", "--ui", "nowhere.invalid:0", "--data", t.TempDir()}} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, io.Discard, &stderr); code != exitUsage {
			t.Errorf("%v: status %d, %s", args, code, stderr.String())
		}
	}
}

// get reads a reply of a window's API.
func get[T any](t *testing.T, url, path string) web.Reply[T] {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(url, "/")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	var reply web.Reply[T]
	if err := json.NewDecoder(got.Body).Decode(&reply); err != nil {
		t.Fatalf("%s: %d, %v", path, got.StatusCode, err)
	}
	return reply
}

// A node with --ui names its window on standard error and in the JSON, and closes it
// on Ctrl-C.
func TestNodeUI(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, out := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	dir := t.TempDir()
	go func() {
		ended <- run(ctx, []string{"node", "--json", "--data", dir, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--ui", "127.0.0.1:0"}, out, &stderr)
		_ = out.Close()
	}()
	var said struct{ Peer, Window string }
	if err := json.NewDecoder(stdout).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(said.Window, "http://127.0.0.1:") {
		t.Fatalf("window %q", said.Window)
	}
	health := get[web.Health](t, said.Window, "/api/v3/health")
	if health.Data == nil || health.Data.Peer != said.Peer || health.Data.Contacts != 0 || health.Data.Lookups.P50 != nil {
		t.Errorf("health %+v", health)
	}
	if run := get[web.Run](t, said.Window, "/api/v3/ml/optimize/status"); run.State != "no_data" {
		t.Errorf("a node without a tuner: %+v", run)
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("status %d: %s", code, stderr.String())
	}
	if !regexp.MustCompile(`(?m)^window: ` + regexp.QuoteMeta(said.Window) + `$`).MatchString(stderr.String()) {
		t.Errorf("standard error: %s", stderr.String())
	}
	r, err := http.NewRequest(http.MethodGet, said.Window, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := http.DefaultClient.Do(r); err == nil {
		_ = got.Body.Close()
		t.Error("the window is still there")
	}
}

// A run that has not begun can be held, and says so.
func TestUpWindow(t *testing.T) {
	a := newApp(io.Discard, io.Discard)
	f := upFlags{peers: 12, length: time.Minute, seed: 3, from: "stock", preset: "bench", dir: t.TempDir(), ui: "127.0.0.1:0"}
	cfg, err := a.upConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	w, err := a.openUpWindow(f, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	run := get[web.Run](t, w.url, "/api/v3/ml/optimize/status").Data
	if run == nil || run.Phase != "starting" || run.Held || run.Effect != nil || len(run.Orders) != 1 || run.Orders[0] != web.OrderPause {
		t.Fatalf("%+v", run)
	}
	post := func(path, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.TrimSuffix(w.url, "/")+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = got.Body.Close() }()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return got.StatusCode, string(text)
	}
	root := "/api/v3/ml/optimize"
	if code, text := post(root+"/"+run.ID+"/promote", "{}"); code != http.StatusConflict || !strings.Contains(text, "no meaning") {
		t.Errorf("promote before there is a candidate: %d %s", code, text)
	}
	if code, text := post(root, `{}`); code != http.StatusConflict || !strings.Contains(text, run.ID) {
		t.Errorf("another run beside this: %d %s", code, text)
	}
	if code, text := post(root, `{"constraints":{"entries_ratio":3}}`); code != http.StatusUnprocessableEntity || !strings.Contains(text, `"constraint":"entries_ratio"`) {
		t.Errorf("a looser bound: %d %s", code, text)
	}
	if code, text := post(root+"/"+run.ID+"/pause", `{"reason":"lunch"}`); code != http.StatusAccepted {
		t.Fatalf("pause: %d %s", code, text)
	}
	run = get[web.Run](t, w.url, root+"/status").Data
	if !run.Held || len(run.Notes) != 1 || run.Notes[0].Reason != "lunch" || run.Orders[0] != web.OrderResume {
		t.Errorf("held: %+v", run)
	}
	knobs := get[web.Knobs](t, w.url, root+"/knobs")
	if knobs.State != "no_data" { // what runs is known once the run begins
		t.Errorf("%d knobs before the beginning", len(knobs.Data.Knobs))
	}
}

func TestShapeOf(t *testing.T) {
	set, err := knobSet()
	if err != nil {
		t.Fatal(err)
	}
	before := set.Stock()
	after := before.WithVector("table.shape", []int{40, 20, 5})
	low, high := -9.0, -5.0
	s := shapeOf(100, before, after, []web.KnobEffects{{Knob: "table.shape[0]", Bins: []web.Bin{{Label: "30–50", From: 30, To: 50, N: 33, Effect: web.Estimate{Value: -7, Low: &low, High: &high}}}}})
	if len(s.Buckets) != 7 || s.Buckets[0].Capacity != 50 || s.Buckets[0].Incumbent != 20 || *s.Buckets[0].Candidate != 40 || *s.Buckets[6].Candidate != 5 {
		t.Fatalf("%+v", s)
	}
	for b, want := range []string{"7.00 ms faster than on average with 30–50 places, 33 evaluations", "left as it is", "fewer are looked after", "fewer are looked after", "no effect"} {
		b := map[int]int{0: 0, 1: 1, 2: 2, 3: 3, 4: 5}[b]
		if !strings.Contains(s.Buckets[b].Why, want) {
			t.Errorf("bucket %d: %q, want %q", b, s.Buckets[b].Why, want)
		}
	}
	alone := shapeOf(100, before, knob.Config{}, nil)
	if alone.Buckets[0].Candidate != nil || !strings.Contains(alone.Buckets[0].Why, "bind") || !strings.Contains(alone.Buckets[3].Why, "all of them") {
		t.Errorf("without a candidate: %+v", alone)
	}
}

// What moves the score is found though two knobs go together, and the knob that does
// nothing has an interval around 0.
func TestSensitivityOf(t *testing.T) {
	set, err := knobSet()
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(5, "shoal.sensitivity.test")
	var trials []pilot.TrialView
	for n := range 300 {
		alpha := 1 + dice.IntN(16)
		size := 4 + alpha + dice.IntN(12) // goes with alpha, and does nothing
		c := set.Default().WithNumber("lookup.alpha", float64(alpha)).WithVector("table.shape", []int{size, 20})
		trials = append(trials, pilot.TrialView{Number: n + 1, Config: c, Score: pilot.Score{
			Config: c, Latency: sim.Quantiles{Mean: 100 - 3*float64(alpha) + 2*dice.NormFloat64()},
		}})
	}
	trials = append(trials, pilot.TrialView{Number: 301, Config: set.Default(), Failed: "it crashed"})
	s, ok := sensitivityOf(set, trials)
	if !ok || s.Trials != 300 || len(s.Knobs) != 2 || s.Knobs[0].Knob != "lookup.alpha" || s.Knobs[1].Knob != "table.shape[0]" {
		t.Fatalf("%v %+v", ok, s)
	}
	first, last := s.Knobs[0].Bins[0].Effect.Value, s.Knobs[0].Bins[3].Effect.Value
	if d := last - first; d > -27 || d < -45 { // 12 steps of 3 between the bins' means
		t.Errorf("alpha from its lowest to its highest quarter: %.1f, want about -36", d)
	}
	if a, b := s.Knobs[0].Information, s.Knobs[1].Information; a < 0.3 || b > a-0.2 {
		t.Errorf("alpha tells %.2f nats of the latency, a size that only goes with it %.2f", a, b)
	}
	total := 0
	for _, b := range s.Knobs[1].Bins {
		total += b.N
		if math.Abs(b.Effect.Value) > 4 {
			t.Errorf("size %s, which does nothing: %+.1f", b.Label, b.Effect.Value)
		}
	}
	if total != 300 {
		t.Errorf("%d trials in all bins", total)
	}
	if _, ok := sensitivityOf(set, trials[:leastTrials-1]); ok {
		t.Error("told from too few")
	}
}

// TestCausesOf: what rollouts have shown is put into the window's words.
func TestCausesOf(t *testing.T) {
	entries := []tune.Entry{
		{Kind: tune.KindStart, Data: []byte(`{"changes":[{"name":"lookup.alpha","from":"3","to":"5"},{"name":"table.bucket","from":"20","to":"24"}]}`)},
		{Kind: tune.KindDecision, Data: []byte(`{"decision":"promoted","shown":{"mean":-0.2,"low":-0.3,"high":-0.1,"units":40,"samples":[100,120]}}`)},
	}
	got := causesOf(entries)
	if len(got) != 2 || got[0].Knob != "lookup.alpha" || !got[0].InForce || got[0].Samples != 120 || len(got[0].With) != 1 || got[0].With[0].To != "24" ||
		math.Abs(got[0].Ratio.Value-math.Exp(-0.2)) > 1e-3 || *got[0].Ratio.High >= 1 || !strings.Contains(got[0].Text, "Had we not changed lookup.alpha from 3 to 5 and table.bucket") {
		t.Errorf("%+v", got)
	}
}
