package causal

import (
	"errors"
	"fmt"
	"math"
)

// Decision is one that somebody made by chance, and what it came to.
type Decision struct {
	Chance float64 // with which it was made as it was, above 0
	Target float64 // with which the policy that is judged would have made it so
	Cost   float64 // that it brought
	Weight float64 // how much it counts; 0 means 1
	// Model is what a model, fitted on other decisions, expects: of the decision as it
	// was made, and of the policy. Only for Robust.
	Made, Expected float64
}

// LeastEffective is the effective sample size below which a policy is not judged: the
// few decisions that agree with it would decide alone, and their interval would lie.
const LeastEffective = 100

// Judgement is what a policy would cost. Its JSON names are stable.
type Judgement struct {
	Cost      float64 `json:"cost"`
	SE        float64 `json:"se"`
	Low       float64 `json:"low"` // 95 % interval
	High      float64 `json:"high"`
	Effective float64 `json:"ess"` // decisions of the policy's own that would tell as much
	Decisions int     `json:"decisions"`
}

// ErrFewAgree is why a policy is not judged.
var ErrFewAgree = errors.New("causal: too few decisions agree with the policy")

// Weighted returns what a policy would have cost, from decisions of another one, each
// weighted by how much likelier it is under the policy that is judged, divided by the
// sum of the weights (weighted importance sampling; Hesterberg, Technometrics 37, 1995).
// The error is ErrFewAgree below LeastEffective.
func Weighted(decisions []Decision) (Judgement, error) {
	j, weights, total, err := weigh(decisions)
	if err != nil {
		return j, err
	}
	for i, d := range decisions {
		j.Cost += weights[i] * d.Cost / total
	}
	squares := 0.0
	for i, d := range decisions {
		off := weights[i] * (d.Cost - j.Cost) / total
		squares += off * off
	}
	return j.within(math.Sqrt(squares)), j.enough()
}

// Robust is doubly robust (Dudik, Langford and Li, ICML 2011): the model's expectation
// of the policy, corrected by how far the model was off in the decisions that agree. It
// is right if the model or the chances are, and narrower than Weighted if the model is
// good.
func Robust(decisions []Decision) (Judgement, error) {
	j, _, _, err := weigh(decisions)
	if err != nil {
		return j, err
	}
	sum := 0.0
	for _, d := range decisions {
		sum += d.weight()
	}
	for _, d := range decisions {
		j.Cost += d.weight() * d.corrected() / sum
	}
	squares := 0.0
	for _, d := range decisions {
		off := d.weight() * (d.corrected() - j.Cost) / sum
		squares += off * off
	}
	return j.within(math.Sqrt(squares)), j.enough()
}

func (d *Decision) weight() float64 {
	if d.Weight == 0 {
		return 1
	}
	return d.Weight
}

func (d *Decision) corrected() float64 {
	return d.Expected + float64(d.Target/d.Chance*(d.Cost-d.Made))
}

// weigh checks decisions and returns their importance.
func weigh(decisions []Decision) (j Judgement, weights []float64, total float64, err error) {
	squares := 0.0
	for i := range decisions {
		d := &decisions[i]
		if !(d.Chance > 0 && d.Chance <= 1) || !(d.Target >= 0 && d.Target <= 1) || !(d.Weight >= 0) || !finite([]float64{d.Cost, d.Made, d.Expected, d.Weight}) {
			return j, nil, 0, fmt.Errorf("causal: decision %d is %+v: want chances from 0 to 1, that of the one made above 0, and finite numbers", i, *d)
		}
		w := d.weight() * d.Target / d.Chance
		weights = append(weights, w)
		total, squares = total+w, squares+w*w
	}
	j.Decisions = len(decisions)
	if squares > 0 {
		j.Effective = total * total / squares
	}
	if total == 0 {
		return j, nil, 0, j.enough()
	}
	return j, weights, total, nil
}

func (j *Judgement) within(se float64) Judgement {
	j.SE, j.Low, j.High = se, j.Cost-1.96*se, j.Cost+1.96*se
	return *j
}

func (j *Judgement) enough() error {
	if j.Effective < LeastEffective {
		return fmt.Errorf("%w: an effective sample of %.0f of %d, want %d: log more, or with more chance", ErrFewAgree, j.Effective, j.Decisions, LeastEffective)
	}
	return nil
}
