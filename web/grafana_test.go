package web

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoalnet/shoal"
)

// exported returns the names of all metrics that a window with a peer has.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	identity, err := shoal.OpenIdentity(filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := shoal.NewHost(identity, "/ip4/127.0.0.1/udp/0/quic-v1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	registry := prometheus.NewRegistry()
	peer, err := shoal.New(t.Context(), host, shoal.WithPrefix("/shoal/test"), shoal.WithMetrics(registry))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
		collector{}.Describe(descs)
	}()
	out := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descs {
		out[name.FindStringSubmatch(d.String())[1]] = true
	}
	return out
}

// Every metric that the dashboard asks for exists, and every one that exists is on
// the dashboard.
func TestDashboardNamesMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int    `json:"id"`
			Title   string `json:"title"`
			Type    string `json:"type"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	there := exported(t)
	asked := map[string]bool{}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: number %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`shoal_[a-z_]+`).FindAllString(target.Expr, -1) {
				name = strings.TrimSuffix(name, "_bucket")
				if asked[name] = true; !there[name] {
					t.Errorf("panel %q asks for %s, which does not exist", p.Title, name)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !asked[name] {
			t.Errorf("%s is on no panel", name)
		}
	}
}

// What is not known has no sample, and what is known has that of the board.
func TestMetricsTellTheBoard(t *testing.T) {
	empty := string(ask(t, opened(t, Config{Board: NewBoard()}), "GET", "/metrics", "").body)
	if strings.Contains(empty, "shoal_tuner_effect") || strings.Contains(empty, "shoal_tuner_phase") {
		t.Errorf("an empty board has figures of a tuner:\n%s", empty)
	}
	low := 0.7
	b := NewBoard()
	b.Put(Run{ID: "r", Phase: "proving", Held: true, Effect: &Effect{Ratio: Estimate{Value: 0.8, Low: &low}}, Stages: []Stage{{Share: 0.25, State: "running"}}})
	b.Put(Arms{Arms: []Arm{{Name: "tuned", Samples: 20, Quantiles: []Quantile{{Q: 0.5, MS: Estimate{Value: 25}}}, Success: &Estimate{Value: 0.99}}}})
	b.Put(Limits{Limits: []Limit{NewLimit(Bound{Name: "entries_ratio", Value: 2, AtMost: true}, "times", &Estimate{Value: 1.5}, 1)}})
	b.Append(Entry{Seq: 1, Kind: "decision", Decision: "rolled_back"})
	got := string(ask(t, opened(t, Config{Board: b}), "GET", "/metrics", "").body)
	for _, want := range []string{
		`shoal_tuner_phase{phase="proving"} 1`, `shoal_tuner_held 1`, `shoal_tuner_effect_ratio{bound="estimate"} 0.8`, `shoal_tuner_effect_ratio{bound="low"} 0.7`,
		`shoal_tuner_latency_seconds{arm="tuned",quantile="0.5"} 0.025`, `shoal_tuner_stage_share_ratio 0.25`, `shoal_tuner_headroom_ratio{constraint="entries_ratio"} 0.5`,
		`shoal_tuner_rollouts_total{decision="rolled_back"} 1`, `shoal_tuner_samples{arm="tuned"} 20`, `shoal_tuner_success_ratio{arm="tuned"} 0.99`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(got, `bound="high"`) {
		t.Error("a bound that is not known has a sample")
	}
}

func TestHeadroom(t *testing.T) {
	at := func(b Bound, value, scale float64) Limit { return NewLimit(b, "", &Estimate{Value: value}, scale) }
	atMost, atLeast := Bound{Name: "a", Value: 2, AtMost: true}, Bound{Name: "b", Value: -0.5}
	for _, c := range []struct {
		limit    Limit
		headroom float64
		state    string
	}{
		{at(atMost, 1, 1), 1, "holds"},
		{at(atMost, 1.75, 1), 0.25, "holds"},
		{at(atMost, 3, 1), -1, "broken"},
		{at(atMost, 0.5, 1), 1.5, "holds"},
		{at(atLeast, 0, 0), 1, "holds"},
		{at(atLeast, -0.25, 0), 0.5, "holds"},
		{at(atLeast, -1, 0), -1, "broken"},
	} {
		if c.limit.Headroom == nil || *c.limit.Headroom != c.headroom || c.limit.State != c.state {
			t.Errorf("%+v: want headroom %v, %s", c.limit, c.headroom, c.state)
		}
	}
	if l := NewLimit(atMost, "", nil, 1); l.State != "no_data" || l.Headroom != nil {
		t.Errorf("without a value: %+v", l)
	}
}
