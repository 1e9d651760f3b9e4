package tune

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// Cause is the effect of one change of a knob on latency, as the rollouts of a journal
// have shown it: who was in which arm was drawn by lot and both ran at the same time, so
// the difference is caused by the change, whatever else happened. Every rollout counts,
// also those that were rolled back. Its JSON names are stable.
type Cause struct {
	Knob    string `json:"knob"`
	From    string `json:"from"`
	To      string `json:"to"`
	InForce bool   `json:"in_force"` // the last rollout that made or undid it left it so
	// Rollouts changed it, alone or with others; Samples are of the tuned arm.
	Rollouts int `json:"rollouts"`
	Samples  int `json:"samples"`
	// With are the changes that were always made with it, so that its own effect cannot
	// be told: Ratio is then of all of them together.
	With []knob.Change `json:"with"`
	// Ratio is latency with the change over latency without it: below 1 the change is
	// the better. The 95 % interval is anytime-valid for what one rollout showed.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Text is the counterfactual in words.
	Text string `json:"text"`
}

// causeAlpha is the error of an interval.
const causeAlpha = 0.05

// tried is a rollout that has shown something.
type tried struct {
	changes  []knob.Change
	shown    shown
	promoted bool
}

// Causes returns the effects of all changes that the rollouts of a journal have made, in
// the order in which they were first made. Changes that were made together in some
// rollouts and not in others are told apart as far as their logarithms add up; where
// that cannot be, the effect of all together is given for each.
func Causes(entries []Entry) []Cause {
	rollouts := triedOf(entries)
	moves, signs := movesOf(rollouts)
	out := []Cause{}
	for m, move := range moves {
		c := Cause{Knob: move.Name, From: move.From, To: move.To, With: []knob.Change{}}
		for r := range rollouts {
			if signs[r][m] == 0 {
				continue
			}
			c.Rollouts++
			c.Samples += rollouts[r].shown.Samples[Tuned]
			if rollouts[r].promoted {
				c.InForce = signs[r][m] > 0
			}
		}
		c.estimate(m, moves, signs, rollouts)
		c.Text = c.sentence()
		out = append(out, c)
	}
	return out
}

// triedOf reads the rollouts. One whose promotion was taken back later is not in force.
func triedOf(entries []Entry) (out []tried) {
	var start startData
	for _, e := range entries {
		switch e.Kind {
		case KindStart:
			start = startData{}
			_ = json.Unmarshal(e.Data, &start) // what does not fit is passed over
		case KindDecision:
			var d decisionData
			switch {
			case json.Unmarshal(e.Data, &d) != nil:
			case len(start.Changes) > 0 && d.Shown != nil:
				out = append(out, tried{start.Changes, *d.Shown, d.Decision == Promoted})
				start.Changes = nil
			case len(start.Changes) == 0 && d.Decision == RolledBack && len(out) > 0: // in the soak, or by an order
				out[len(out)-1].promoted = false
			}
		}
	}
	return out
}

// movesOf lists the changes, each in the direction in which it was first made, and says
// with which sign each rollout made them.
func movesOf(rollouts []tried) (moves []knob.Change, signs [][]float64) {
	back := func(c knob.Change) knob.Change { return knob.Change{Name: c.Name, From: c.To, To: c.From} }
	for _, r := range rollouts {
		for _, c := range r.changes {
			if !slices.Contains(moves, c) && !slices.Contains(moves, back(c)) {
				moves = append(moves, c)
			}
		}
	}
	for _, r := range rollouts {
		row := make([]float64, len(moves))
		for _, c := range r.changes {
			if i := slices.Index(moves, c); i >= 0 {
				row[i] = 1
			} else {
				row[slices.Index(moves, back(c))] = -1
			}
		}
		signs = append(signs, row)
	}
	return moves, signs
}

// estimate fits the effects of all changes by weighted least squares. With a hint of a
// prior that knows nothing, a variance of that size says that the data do not tell.
func (c *Cause) estimate(m int, moves []knob.Change, signs [][]float64, rollouts []tried) {
	const prior = 1e-6 // 1/variance: a factor of e^1000
	a, b := dense.Diagonal(len(moves), prior), make([]float64, len(moves))
	for r, row := range signs {
		weight := 1 / rollouts[r].shown.variance()
		dense.RankOne(a, row, weight)
		for i, sign := range row {
			b[i] += float64(weight * sign * rollouts[r].shown.Mean)
		}
	}
	inverse := dense.Inverse(a)
	mean, variance := dense.Dot(inverse[m], b), inverse[m][m]
	if variance > 0.01/prior {
		mean, variance = c.together(m, moves, signs, rollouts)
	}
	half := stat.NormalQuantile(1-causeAlpha/2) * math.Sqrt(variance)
	c.Ratio, c.Low, c.High = math.Exp(mean), math.Exp(mean-half), math.Exp(mean+half)
}

// together is the effect of the last rollout that made the change, with all others.
func (c *Cause) together(m int, moves []knob.Change, signs [][]float64, rollouts []tried) (mean, variance float64) {
	last := 0
	for r, row := range signs {
		if row[m] != 0 {
			last = r
		}
	}
	sign := signs[last][m]
	for i, s := range signs[last] {
		switch {
		case i == m || s == 0:
		case s == sign:
			c.With = append(c.With, moves[i])
		default:
			c.With = append(c.With, knob.Change{Name: moves[i].Name, From: moves[i].To, To: moves[i].From})
		}
	}
	return sign * rollouts[last].shown.Mean, rollouts[last].shown.variance()
}

// variance is that of a normal variable with the same interval: more than the estimate's
// own, as one may look at any time.
func (s *shown) variance() float64 {
	deviation := (s.High - s.Low) / 2 / stat.NormalQuantile(1-causeAlpha/2)
	return max(deviation*deviation, 1e-12)
}

// sentence is the counterfactual: what would be, had the change not been made, or been
// kept.
func (c *Cause) sentence() string {
	ratio, low, high, had := 1/c.Ratio, 1/c.High, 1/c.Low, "Had we not changed"
	if !c.InForce {
		ratio, low, high, had = c.Ratio, c.Low, c.High, "Had we kept the change of"
	}
	var others strings.Builder
	for _, w := range c.With {
		fmt.Fprintf(&others, " and %s from %s to %s", w.Name, w.From, w.To)
	}
	with := others.String()
	text := fmt.Sprintf("%s %s from %s to %s%s, latency would be %.3f of what it is (95 %% interval %.3f to %.3f; rollouts: %d)",
		had, c.Knob, c.From, c.To, with, ratio, low, high, c.Rollouts)
	switch {
	case with != "":
		text += "; they were changed together, so which of them did it cannot be told"
	case low <= 1 && high >= 1:
		text += ": no effect is shown"
	}
	return text
}
