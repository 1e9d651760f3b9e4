// Package report makes the table of before and after, and the ledger, of what a
// history holds: means and quantiles of two configurations with intervals, in which
// direction each has moved, and what a request costs at prices that the user sets.
package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune"
)

// The metrics that the pilot writes, one sketch an interval.
const (
	GetMS       = "get_ms"         // latency of gets, failures at their time-out
	Success     = "success"        // 1 for each operation that succeeded, 0 for each other
	OpsPerS     = "ops_per_s"      // operations that succeeded
	CPUShare    = "cpu_share"      // of one core
	MemoryBytes = "memory_bytes"   // of the process
	BytesPerS   = "sent_bytes_s"   // payload sent by all peers
	Messages    = "messages"       // of a get
	Entries     = "entries"        // of a routing table
	resamples   = 400              // of the bootstrap
	confidence  = 0.95             // of all intervals
	leastUnits  = 5                // intervals of each side, below which nothing is said
	hourSeconds = float64(60 * 60) //
)

// Prices are in any unit of money.
type Prices struct {
	CPUHour      float64 `json:"cpu_hour"`       // of a core
	MemoryGBHour float64 `json:"memory_gb_hour"` // 1e9 bytes
	NetworkGB    float64 `json:"network_gb"`     // 1e9 bytes sent
	Investment   float64 `json:"investment"`     // once
}

func (p Prices) set() bool { return p.CPUHour > 0 || p.MemoryGBHour > 0 || p.NetworkGB > 0 }

// Config says what to report.
type Config struct {
	Before, After string // hashes; empty: the first configuration, and the last that was promoted or, without one, that came
	Prices        Prices
	Seed          uint64 // of the bootstrap
}

// Row is one figure of the two configurations. Its JSON names are stable.
type Row struct {
	Name        string   `json:"name"`
	Unit        string   `json:"unit"`
	Before      *float64 `json:"before"` // null without data, as is all that follows
	After       *float64 `json:"after"`
	BeforeLow   *float64 `json:"before_low"` // 95 %
	BeforeHigh  *float64 `json:"before_high"`
	AfterLow    *float64 `json:"after_low"`
	AfterHigh   *float64 `json:"after_high"`
	Improvement *float64 `json:"improvement_percent"` // above 0 is better
	Low         *float64 `json:"improvement_low"`     // 95 %, bootstrap of intervals
	High        *float64 `json:"improvement_high"`
	Verdict     string   `json:"verdict"`
}

// Entry is a line of the ledger: a configuration while it was in use, beside what its
// requests would have cost with the first. Its JSON names are stable.
type Entry struct {
	Config     string   `json:"config"`
	Promoted   string   `json:"promoted"` // RFC 3339; empty for one that was not
	Requests   float64  `json:"requests"` // that were measured
	Hours      float64  `json:"hours"`    // for which it was
	PerRequest *float64 `json:"cost_per_request"`
	Cost       *float64 `json:"cost"`
	Saved      *float64 `json:"saved"`
}

// Report is the whole. Its JSON names are stable.
type Report struct {
	Before  string  `json:"before"`
	After   string  `json:"after"`
	Rows    []Row   `json:"rows"`
	Ledger  []Entry `json:"ledger"`
	Saved   float64 `json:"saved"`
	Payback *string `json:"payback"` // of the investment at the present rate; null without
	Prices  Prices  `json:"prices"`
	Units   [2]int  `json:"intervals"` // of both sides, of the latency
}

// side is what is known of a configuration: the sketches of each metric by interval,
// and for how long.
type side struct {
	hash    string
	of      map[string][]stat.Sketch
	seconds float64
}

// ChoiceError says that there are no two configurations to compare, or not those asked
// for.
type ChoiceError struct{ text string }

// Error implements error.
func (e *ChoiceError) Error() string { return "report: " + e.text }

// Make reads a history and makes the report. What cannot be compared is a ChoiceError.
func Make(ctx context.Context, h *store.History, cfg Config) (*Report, error) {
	configs, err := h.Configs(ctx)
	if err != nil {
		return nil, err
	}
	if len(configs) < 2 {
		return nil, &ChoiceError{fmt.Sprintf("the history knows %d configurations: want two to compare", len(configs))}
	}
	before, after, err := choose(configs, cfg)
	if err != nil {
		return nil, err
	}
	sides := map[string]*side{}
	for _, c := range configs {
		if sides[c.Hash], err = load(ctx, h, c.Hash); err != nil {
			return nil, err
		}
	}
	out := &Report{Before: before, After: after, Prices: cfg.Prices}
	a, b := sides[before], sides[after]
	out.Units = [2]int{len(a.of[GetMS]), len(b.of[GetMS])}
	for i, f := range figures(cfg.Prices) {
		out.Rows = append(out.Rows, f.row(a, b, stat.Hash(cfg.Seed, uint64(i))))
	}
	out.ledger(configs, sides, cfg.Prices)
	return out, nil
}

// choose returns which configurations are compared.
func choose(configs []store.StoredConfig, cfg Config) (before, after string, err error) {
	before, after = cmp.Or(cfg.Before, configs[0].Hash), cfg.After
	if after == "" {
		latest := time.Time{}
		for _, c := range configs {
			if c.Promoted.After(latest) {
				latest, after = c.Promoted, c.Hash
			}
		}
		after = cmp.Or(after, configs[len(configs)-1].Hash)
	}
	for _, hash := range []string{before, after} {
		if !slices.ContainsFunc(configs, func(c store.StoredConfig) bool { return c.Hash == hash }) {
			return "", "", &ChoiceError{fmt.Sprintf("no configuration %q in the history", hash)}
		}
	}
	if before == after {
		return "", "", &ChoiceError{"before and after are the same configuration: name others"}
	}
	return before, after, nil
}

func load(ctx context.Context, h *store.History, hash string) (*side, error) {
	intervals, err := h.Intervals(ctx, hash, "", time.Unix(0, 0), time.Unix(0, math.MaxInt64))
	if err != nil {
		return nil, err
	}
	s := &side{hash: hash, of: map[string][]stat.Sketch{}}
	for _, v := range intervals {
		s.of[v.Metric] = append(s.of[v.Metric], v.Sketch)
		if v.Metric == OpsPerS {
			s.seconds += v.Span.Seconds()
		}
	}
	return s, nil
}

// figure is a row before it is measured.
type figure struct {
	name, unit string
	metric     tune.Metric
	of         string // the metric whose intervals are drawn
	value      func(*drawn) float64
}

// drawn are intervals of a side, drawn with replacement or all of them: the pooled
// sketch of each metric.
type drawn struct{ pooled map[string]*stat.Sketch }

func (d *drawn) mean(metric string) float64 {
	if s := d.pooled[metric]; s != nil && s.Count() > 0 {
		return s.Mean()
	}
	return math.NaN()
}

// figures are the rows of the report.
func figures(p Prices) []figure {
	mean := func(name, unit, of string, scale float64, better tune.Direction) figure {
		return figure{name, unit, tune.Metric{Name: name, Better: better}, of, func(d *drawn) float64 { return scale * d.mean(of) }}
	}
	out := []figure{mean("latency, mean", "ms", GetMS, 1, tune.Lower)}
	for _, q := range []float64{0.5, 0.75, 0.9, 0.95, 0.99, 0.999} {
		name := fmt.Sprintf("latency, P%g", 100*q)
		out = append(out, figure{name, "ms", tune.Metric{Name: name}, GetMS, func(d *drawn) float64 {
			if s := d.pooled[GetMS]; s != nil && s.Count() > 0 {
				return s.Quantile(q)
			}
			return math.NaN()
		}})
	}
	out = append(out,
		mean("throughput", "operations/s", OpsPerS, 1, tune.Higher),
		figure{"error rate", "%", tune.Metric{Name: "error rate"}, Success, func(d *drawn) float64 { return 100 * (1 - d.mean(Success)) }},
		mean("processor", "% of a core", CPUShare, 100, tune.Lower),
		mean("memory", "MB", MemoryBytes, 1e-6, tune.Lower),
		mean("network", "kB/s", BytesPerS, 1e-3, tune.Lower),
		mean("messages of a get", "", Messages, 1, tune.Lower),
		mean("entries of a table", "", Entries, 1, tune.Lower),
	)
	if p.set() {
		out = append(out, figure{"cost of a request", "", tune.Metric{Name: "cost"}, OpsPerS, p.perRequest})
	}
	return out
}

// perRequest is what a request costs; NaN without data.
func (p Prices) perRequest(d *drawn) float64 {
	perS := d.mean(CPUShare)/hourSeconds*p.CPUHour + d.mean(MemoryBytes)/1e9/hourSeconds*p.MemoryGBHour + d.mean(BytesPerS)/1e9*p.NetworkGB
	return perS / d.mean(OpsPerS)
}

// draw pools intervals: all of them, or as many drawn with replacement.
func (s *side) draw(dice *stat.Stream) *drawn {
	d := &drawn{pooled: map[string]*stat.Sketch{}}
	for _, metric := range []string{GetMS, Success, OpsPerS, CPUShare, MemoryBytes, BytesPerS, Messages, Entries} {
		sketches := s.of[metric]
		pool := &stat.Sketch{}
		for i := range sketches {
			if dice != nil {
				i = dice.IntN(len(sketches))
			}
			pool.Merge(&sketches[i])
		}
		d.pooled[metric] = pool
	}
	return d
}

// row measures a figure of both sides.
func (f figure) row(a, b *side, seed uint64) Row {
	r := Row{Name: f.name, Unit: f.unit, Verdict: "no data"}
	units := min(len(a.of[f.of]), len(b.of[f.of]))
	before, after := f.value(a.draw(nil)), f.value(b.draw(nil))
	r.Before, r.After = number(before), number(after)
	if units < leastUnits || r.Before == nil || r.After == nil {
		if units > 0 {
			r.Verdict = fmt.Sprintf("not enough data: %d intervals of one side, want %d", units, leastUnits)
		}
		return r
	}
	r.Improvement = number(100 * f.metric.Improvement(before, after))
	dice := stat.NewStream(seed, "report.bootstrap")
	var as, bs, gains []float64
	one, other := a.only(f), b.only(f)
	for range resamples {
		x, y := f.value(one.draw(dice)), f.value(other.draw(dice))
		as, bs, gains = append(as, x), append(bs, y), append(gains, 100*f.metric.Improvement(x, y))
	}
	r.BeforeLow, r.BeforeHigh = bounds(as)
	r.AfterLow, r.AfterHigh = bounds(bs)
	r.Low, r.High = bounds(gains)
	r.Verdict = "no difference seen"
	switch {
	case r.Low == nil || r.High == nil:
		r.Verdict = "no interval"
	case *r.Low > 0:
		r.Verdict = "better"
	case *r.High < 0:
		r.Verdict = "worse"
	}
	return r
}

// only keeps what a figure needs.
func (s *side) only(f figure) *side {
	if f.name == "cost of a request" {
		return s
	}
	return &side{hash: s.hash, of: map[string][]stat.Sketch{f.of: s.of[f.of]}}
}

// bounds are the quantiles of a bootstrap at the confidence; null where some are no
// numbers.
func bounds(xs []float64) (low, high *float64) {
	slices.Sort(xs)
	if math.IsNaN(xs[0]) || math.IsInf(xs[0], 0) || math.IsInf(xs[len(xs)-1], 0) {
		return nil, nil
	}
	cut := int((1 - confidence) / 2 * float64(len(xs)))
	return number(xs[cut]), number(xs[len(xs)-1-cut])
}

func number(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// ledger fills in what each configuration cost and saved.
func (r *Report) ledger(configs []store.StoredConfig, sides map[string]*side, p Prices) {
	r.Ledger = []Entry{}
	base := p.perRequest(sides[configs[0].Hash].draw(nil))
	rate := 0.0 // saved in an hour, by the last that was promoted
	for _, c := range configs {
		s := sides[c.Hash]
		d := s.draw(nil)
		e := Entry{Config: c.Hash, Hours: s.seconds / hourSeconds}
		if ops := d.mean(OpsPerS); !math.IsNaN(ops) {
			e.Requests = ops * s.seconds
		}
		if !c.Promoted.IsZero() {
			e.Promoted = c.Promoted.UTC().Format(time.RFC3339)
		}
		if per := p.perRequest(d); p.set() && !math.IsNaN(per) && !math.IsNaN(base) {
			cost, saved := per*e.Requests, (base-per)*e.Requests
			e.PerRequest, e.Cost, e.Saved = &per, &cost, &saved
			if !c.Promoted.IsZero() {
				r.Saved += saved
				rate = saved / math.Max(e.Hours, 1e-9)
			}
		}
		r.Ledger = append(r.Ledger, e)
	}
	if p.Investment > 0 && rate > 0 {
		text := fmt.Sprintf("%.0f hours", p.Investment/rate)
		r.Payback = &text
	}
}
