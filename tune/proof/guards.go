// Package proof measures what the rules of package tune are worth: how often they
// see what is there, and how often what is not. Everything is generated from a
// seed; nothing here runs in a network.
package proof

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// GuardsConfig describes a table of power.
type GuardsConfig struct {
	N           int     // requests in each arm
	Runs        int     // of each row, and of the calibration ten times as many
	FalseAlarms float64 // the share of runs without a change that every rule flags
	Sigma       float64 // of the logarithm of a latency
	Seed        uint64
	// Progress, if not nil, is told the runs done of all.
	Progress func(done, total int)
}

// DefaultGuards are the settings of the published table: 200 requests in an arm,
// log-normal with sigma 0.5.
func DefaultGuards() GuardsConfig {
	return GuardsConfig{N: 200, Runs: 1000, FalseAlarms: 0.01, Sigma: 0.5, Seed: 1}
}

func (c *GuardsConfig) check() error {
	switch {
	case c.N < 10 || c.N > 100_000:
		return fmt.Errorf("proof: %d requests an arm: want 10 to 100000", c.N)
	case c.Runs < 100 || c.Runs > 1_000_000:
		return fmt.Errorf("proof: %d runs: want 100 to 1000000", c.Runs)
	case !(c.FalseAlarms >= 0.001 && c.FalseAlarms <= 0.2):
		return fmt.Errorf("proof: a share of false alarms of %v: want 0.001 to 0.2", c.FalseAlarms)
	case !(c.Sigma > 0 && c.Sigma <= 3):
		return fmt.Errorf("proof: sigma %v: want above 0, at most 3", c.Sigma)
	}
	return nil
}

// GuardRow is one change and the share of runs in which each rule says worse. Its
// JSON names are stable.
type GuardRow struct {
	Name    string  `json:"name"`
	Change  string  `json:"change"`
	Ours    float64 `json:"ours"`
	Kayenta float64 `json:"kayenta"`
	Ranks   float64 `json:"mann_whitney"`
	Welch   float64 `json:"welch"`
	// Stock is Kayenta's own verdict, with its own threshold.
	Stock float64 `json:"kayenta_own_threshold"`
	// Nominal is ours at its nominal level, Holm's correction at FalseAlarms.
	Nominal float64 `json:"ours_nominal"`
}

// GuardTable is what MeasureGuards found. Its JSON names are stable.
type GuardTable struct {
	Rows        []GuardRow         `json:"rows"`
	FalseAlarms float64            `json:"false_alarms"` // to which all are calibrated
	Calibration int                `json:"calibration_runs"`
	Thresholds  map[string]float64 `json:"thresholds"`
	N           int                `json:"n"`
	Runs        int                `json:"runs"`
	Sigma       float64            `json:"sigma"`
	Seed        uint64             `json:"seed"`
	// Visible is the slowdown of all requests, in percent, that a fixed plan of N
	// sees in 9 of 10 runs: what is smaller is not seen by anybody.
	Visible float64 `json:"smallest_visible_percent"`
}

// change is what happens to the tuned arm.
type change struct {
	name, text      string
	factor          float64 // of all latencies
	tail, tailTimes float64 // share of requests, and how many times slower
	failures        float64 // share of requests
}

var changes = []change{
	{name: "none", text: "nothing", factor: 1},
	{name: "shift5", text: "all 5 % slower", factor: 1.05},
	{name: "shift20", text: "all 20 % slower", factor: 1.2},
	{name: "tail5x", text: "10 % of requests five times slower", factor: 1, tail: 0.1, tailTimes: 5},
	{name: "rare5x", text: "1 % of requests five times slower", factor: 1, tail: 0.01, tailTimes: 5},
	{name: "success1", text: "1 % of requests fail", factor: 1, failures: 0.01},
	{name: "success5", text: "5 % of requests fail", factor: 1, failures: 0.05},
}

// timeout is at how many times the median latency a request has failed.
const timeout = 100

// draw makes the requests of an arm.
func (c change) draw(dice *stat.Stream, n int, sigma float64) stat.Sample {
	s := stat.Sample{Latencies: make([]float64, n)}
	for i := range s.Latencies {
		x := math.Exp(sigma*dice.NormFloat64()) * c.factor
		if c.tail > 0 && dice.Float64() < c.tail {
			x *= c.tailTimes
		}
		if c.failures > 0 && dice.Float64() < c.failures {
			x = timeout
			s.Failures++
		}
		s.Latencies[i] = min(x, timeout)
	}
	return s
}

// The rules in the order of scores.
var ruleNames = []string{"ours", "kayenta", "mann_whitney", "welch"}

// scores are the evidence of each rule for worse, the greater the more; the last is
// 1 where Kayenta itself says worse.
func scores(baseline, tuned stat.Sample) (rules [4]float64, stock bool) {
	x, y := baseline.Latencies, tuned.Latencies
	kayenta := stat.NewKayenta(x, y)
	logs := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			out[i] = math.Log(v[i])
		}
		return out
	}
	return [4]float64{
		-math.Log(stat.NewGuard(baseline, tuned).Value()),
		kayenta.Score(),
		stat.NewMannWhitney(x, y).Z(),
		stat.NewWelch(logs(x), logs(y)).T,
	}, kayenta.Worse()
}

// MeasureGuards measures the power of our guard, of Kayenta's judge, of the test of
// Mann and Whitney and of Welch's on logarithms, all at the same share of false
// alarms: the threshold of each is set where it flags that share of runs without a
// change. When ctx ends it returns the rows so far and the context's error.
func MeasureGuards(ctx context.Context, cfg GuardsConfig) (*GuardTable, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := guardMeter{cfg: cfg, total: 10*cfg.Runs + len(changes)*cfg.Runs}
	t := &GuardTable{
		FalseAlarms: cfg.FalseAlarms, Calibration: 10 * cfg.Runs, Thresholds: map[string]float64{}, Rows: []GuardRow{},
		N: cfg.N, Runs: cfg.Runs, Sigma: cfg.Sigma, Seed: cfg.Seed,
	}
	z := stat.NormalQuantile(1-cfg.FalseAlarms) + stat.NormalQuantile(0.9)
	t.Visible = 100 * (math.Exp(z*cfg.Sigma*math.Sqrt(2/float64(cfg.N))) - 1)
	limits, err := m.calibrate(ctx)
	if err != nil {
		return t, err
	}
	for i, name := range ruleNames {
		t.Thresholds[name] = limits[i]
	}
	for i, c := range changes {
		row, err := m.row(ctx, c, uint64(i), limits)
		if err != nil {
			return t, err
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

type guardMeter struct {
	cfg         GuardsConfig
	done, total int
}

// step counts a run and reports whether to stop.
func (m *guardMeter) step(ctx context.Context) error {
	m.done++
	if m.cfg.Progress != nil && m.done%100 == 0 {
		m.cfg.Progress(m.done, m.total)
	}
	return ctx.Err()
}

// calibrate returns the thresholds: above each lies the share of false alarms of
// the runs without a change.
func (m *guardMeter) calibrate(ctx context.Context) (limits [4]float64, err error) {
	runs := 10 * m.cfg.Runs
	var all [4][]float64
	for run := range runs {
		if err := m.step(ctx); err != nil {
			return limits, err
		}
		dice := stat.NewStream(m.cfg.Seed, "proof.guards.null", uint64(run))
		rules, _ := scores(changes[0].draw(dice, m.cfg.N, m.cfg.Sigma), changes[0].draw(dice, m.cfg.N, m.cfg.Sigma))
		for i, s := range rules {
			all[i] = append(all[i], s)
		}
	}
	for i := range limits {
		slices.Sort(all[i])
		limits[i] = all[i][int(math.Ceil(float64(runs)*(1-m.cfg.FalseAlarms)))-1]
	}
	return limits, nil
}

// row measures one change on runs of its own.
func (m *guardMeter) row(ctx context.Context, c change, number uint64, limits [4]float64) (GuardRow, error) {
	row := GuardRow{Name: c.name, Change: c.text}
	shares := []*float64{&row.Ours, &row.Kayenta, &row.Ranks, &row.Welch}
	one := 1 / float64(m.cfg.Runs)
	for run := range m.cfg.Runs {
		if err := m.step(ctx); err != nil {
			return row, err
		}
		dice := stat.NewStream(m.cfg.Seed, "proof.guards", number, uint64(run))
		rules, stock := scores(changes[0].draw(dice, m.cfg.N, m.cfg.Sigma), c.draw(dice, m.cfg.N, m.cfg.Sigma))
		for i, s := range rules {
			if s > limits[i] {
				*shares[i] += one
			}
		}
		if stock {
			row.Stock += one
		}
		if rules[0] > -math.Log(m.cfg.FalseAlarms) {
			row.Nominal += one
		}
	}
	return row, nil
}
