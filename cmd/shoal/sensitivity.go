package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

const (
	// binsOfKnob is into how many ranges the values of a knob are put.
	binsOfKnob = 4
	// leastTrials is how many evaluations a sensitivity is computed from at least, and
	// hollowBelow the number below which a bin is drawn hollow.
	leastTrials = 24
	hollowBelow = 30
	// sensitivityEvery is how many more evaluations it takes to compute it again.
	sensitivityEvery = 16
)

// factor is one thing that the search moves: a knob, or one entry of a vector.
type factor struct {
	name, unit string
	at         func(knob.Config) float64
	text       func(float64) string
}

// factors returns what differs among trials.
func factors(set *knob.Set, trials []pilot.TrialView) (out []factor) {
	for i, k := range set.Knobs() {
		if k.Kind != knob.Vector {
			out = append(out, factor{
				name: k.Name, unit: k.Unit, at: func(c knob.Config) float64 { return c.NumberAt(i) }, text: func(x float64) string { return valueText(&k, x) },
			})
			continue
		}
		longest := 0
		for _, t := range trials {
			longest = max(longest, len(t.Config.VectorAt(i)))
		}
		for e := range longest {
			out = append(out, factor{
				name: fmt.Sprintf("%s[%d]", k.Name, e), unit: k.Unit, text: func(x float64) string { return strconv.Itoa(int(x)) },
				at: func(c knob.Config) float64 {
					v := c.VectorAt(i)
					return float64(v[min(e, len(v)-1)])
				},
			})
		}
	}
	return slices.DeleteFunc(out, func(f factor) bool {
		first := f.at(trials[0].Config)
		return !slices.ContainsFunc(trials, func(t pilot.TrialView) bool { return f.at(t.Config) != first })
	})
}

// valueText is a value as one reads it on an axis.
func valueText(k *knob.Knob, x float64) string {
	switch k.Kind {
	case knob.Enum:
		if i := int(x); i >= 0 && i < len(k.Choices) {
			return k.Choices[i]
		}
	case knob.Duration:
		return time.Duration(x).String()
	case knob.Int:
		return strconv.Itoa(int(x))
	default:
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// binning puts values into ranges of about as many each; equal values share one.
type binning struct {
	from   []float64 // first value of each bin
	upTo   []float64 // last value
	labels []string
}

func binned(values []float64, text func(float64) string) (b binning) {
	all := slices.Clone(values)
	slices.Sort(all)
	low := all[0]
	for q := range binsOfKnob {
		high := all[(q+1)*len(all)/binsOfKnob-1]
		if high < low {
			continue // its values went with the bin before
		}
		label := text(low)
		if text(high) != label {
			label += "–" + text(high)
		}
		b.from, b.upTo, b.labels = append(b.from, low), append(b.upTo, high), append(b.labels, label)
		next, _ := slices.BinarySearch(all, math.Nextafter(high, math.Inf(1)))
		if next == len(all) {
			break
		}
		low = all[next]
	}
	return b
}

func (b *binning) of(x float64) int {
	i, _ := slices.BinarySearch(b.upTo, x)
	return min(i, len(b.upTo)-1)
}

// sensitivityOf is the part Sensitivity of the trials whose evaluation went well,
// false if they are too few.
func sensitivityOf(set *knob.Set, trials []pilot.TrialView) (web.Sensitivity, bool) {
	trials = slices.DeleteFunc(slices.Clone(trials), func(t pilot.TrialView) bool { return !(t.Score.Latency.Mean > 0) })
	if len(trials) < leastTrials {
		return web.Sensitivity{}, false
	}
	moved := factors(set, trials)
	levels, bins, y := make([]int, len(moved)), make([]binning, len(moved)), make([]float64, len(trials))
	rows := make([][]int, len(trials))
	for f, m := range moved {
		values := make([]float64, len(trials))
		for i, t := range trials {
			values[i] = m.at(t.Config)
		}
		bins[f] = binned(values, m.text)
		levels[f] = len(bins[f].upTo)
		for i, x := range values {
			rows[i] = append(rows[i], bins[f].of(x))
		}
	}
	for i, t := range trials {
		y[i] = t.Score.Latency.Mean
	}
	effects, err := stat.Additive(levels, rows, y)
	if err != nil {
		return web.Sensitivity{}, false // more knobs moved than there are trials to tell apart
	}
	out := web.Sensitivity{
		Method: "Effect of each range of values with the others taken into account: an additive fit, of which these are the accumulated local effects",
		Metric: "mean latency on the twin against the mean over all", Unit: "ms", Trials: len(trials), Least: hollowBelow, Causes: []web.Cause{},
	}
	for f, m := range moved {
		k := web.KnobEffects{Knob: m.name, Unit: m.unit, Information: informationOf(rows, f, levels[f], y)}
		for l, e := range effects[f] {
			effect := estimate(e.Effect)
			if !math.IsNaN(e.Error) {
				effect.Low, effect.High = new(e.Effect-1.96*e.Error), new(e.Effect+1.96*e.Error)
			}
			k.Bins = append(k.Bins, web.Bin{Label: bins[f].labels[l], From: bins[f].from[l], To: bins[f].upTo[l], N: e.N, Effect: effect})
		}
		out.Knobs = append(out.Knobs, k)
	}
	slices.SortStableFunc(out.Knobs, func(a, b web.KnobEffects) int { return -compareSpread(&a, &b) })
	return out, true
}

// informationOf is how much the bin of one factor tells of the latency.
func informationOf(rows [][]int, f, levels int, y []float64) float64 {
	latency := binned(y, func(x float64) string { return valueText(&knob.Knob{}, x) })
	table := make([][]int, levels)
	for l := range table {
		table[l] = make([]int, len(latency.upTo))
	}
	for i, row := range rows {
		table[row[f]][latency.of(y[i])]++
	}
	return stat.CountInformation(table)
}

// causesOf is what the rollouts of a journal have shown, as the window shows it.
func causesOf(entries []tune.Entry) []web.Cause {
	out := []web.Cause{}
	for _, c := range tune.Causes(entries) {
		row := web.Cause{
			Knob: c.Knob, From: c.From, To: c.To, InForce: c.InForce, Rollouts: c.Rollouts, Samples: c.Samples,
			With: []web.Change{}, Ratio: bounded(c.Ratio, &c.Low, &c.High), Text: c.Text,
		}
		for _, w := range c.With {
			row.With = append(row.With, web.Change{Knob: w.Name, From: w.From, To: w.To})
		}
		out = append(out, row)
	}
	return out
}

// compareSpread orders knobs by how far their effects lie apart.
func compareSpread(a, b *web.KnobEffects) int {
	spread := func(k *web.KnobEffects) float64 {
		low, high := math.Inf(1), math.Inf(-1)
		for _, bin := range k.Bins {
			low, high = min(low, bin.Effect.Value), max(high, bin.Effect.Value)
		}
		return high - low
	}
	x, y := spread(a), spread(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// trialOf is an evaluation as the window shows it.
func trialOf(t *pilot.TrialView) web.Trial {
	out := web.Trial{N: uint64(t.Number), Family: "nsga3", Failed: t.Failed, BestMS: measured(t.BestMS)}
	if s := t.Score; s.Latency.Mean > 0 {
		out.MeanMS, out.Entries, out.Messages, out.Success = &s.Latency.Mean, &s.Entries, &s.Messages, &s.Success
	}
	return out
}

// putTrials puts up what the search evaluated and, now and then, what moves it.
func (u *upWindow) putTrials(b *web.Board) {
	for _, t := range u.live.Trials(int(b.Last(web.Trial{}))) {
		b.Append(trialOf(&t))
	}
	u.putCauses(b)
	n := int(b.Last(web.Trial{}))
	if n < leastTrials || n < u.fitted+sensitivityEvery && u.result == nil || n == u.fitted {
		return
	}
	u.fitted = n
	if s, ok := sensitivityOf(u.cfg.Baseline.Set(), u.live.Trials(0)); ok {
		s.Causes = u.moved.Causes
		u.moved = s
		b.Put(s)
		b.Put(u.front())
		u.effects = s.Knobs
		u.putShape(b)
	}
}

// mostPoints is how many points of a front a person chooses among.
const mostPoints = 24

// front is the part Front.
func (u *upWindow) front() web.Front {
	out := web.Front{Points: []web.FrontPoint{}}
	for _, t := range pilot.FrontOf(u.live.Trials(0), mostPoints) {
		p := web.FrontPoint{
			Trial: uint64(t.Number), MeanMS: t.Score.Latency.Mean, Entries: t.Score.Entries, Messages: t.Score.Messages, Success: t.Score.Success,
			Changes: map[string]string{},
		}
		for _, c := range knob.Diff(u.configs[0], t.Config) {
			p.Changes[c.Name] = c.To
		}
		out.Points = append(out.Points, p)
	}
	return out
}

// putCauses puts up what the rollouts have shown, once one more is decided.
func (u *upWindow) putCauses(b *web.Board) {
	if !u.decided {
		return
	}
	u.decided = false
	if u.moved.Knobs == nil {
		u.moved = web.Sensitivity{Method: "The search has not evaluated enough", Metric: "latency", Unit: "ms", Least: hollowBelow, Knobs: []web.KnobEffects{}}
	}
	u.moved.Causes = causesOf(u.live.Entries(0, 1<<20))
	b.Put(u.moved)
}
