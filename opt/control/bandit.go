package control

import (
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// BanditRule says how a Bandit weighs what it does not know.
type BanditRule uint8

// The rules.
const (
	UCB      BanditRule = iota // the arm that may be best: LinUCB
	Thompson                   // each arm as often as it is likely to be best: LinTS
)

// BanditSettings describe a Bandit. Arms and Dims are needed.
type BanditSettings struct {
	Arms     int        // complete configurations to choose from
	Dims     int        // features of a context
	Rule     BanditRule // zero is UCB
	Seed     uint64     // of the draws of Thompson
	Ridge    float64    // prior weight of a coefficient being 0; 0 means Noise²
	Noise    float64    // standard deviation of a reward given the context; 0 means 0.1
	Norm     float64    // the greatest length of an arm's coefficients; 0 means 1
	Delta    float64    // chance that a confidence set ever misses them, below 1; 0 means 0.05
	Discount float64    // what a round is worth in the next one, 0 to 1; 0 means 1: nothing is forgotten
}

// Bandit chooses among a few arms by what each earned in similar contexts: the
// reward of an arm is taken to be linear in the features, with coefficients of its
// own (Li et al., LinUCB with disjoint models, WWW 2010). What it does not know
// has the radius of Abbasi-Yadkori, Pál and Szepesvári (NIPS 2011, Theorem 2),
// which holds at all times at once. With a Discount it forgets (D-LinUCB: Russac,
// Vernade and Cappé, NeurIPS 2019). Thompson draws coefficients from the normal
// posterior of the ridge regression: Agrawal and Goyal (ICML 2013) widen it by
// √(9 d ln t), which their proof needs and practice does not.
//
// Contexts should have a length of about 1. A choice costs O(arms·d²), with a
// discount O(arms·d³). It has one owner.
type Bandit struct {
	cfg    BanditSettings
	stream *stat.Stream
	arms   []banditArm
}

// banditArm is the regression of one arm.
type banditArm struct {
	gram    [][]float64 // Σ weight·x·xᵀ + ridge·I
	square  [][]float64 // the same with squared weights; of discounted ones alone
	inverse [][]float64 // of gram
	moment  []float64   // Σ weight·reward·x
	theta   []float64   // inverse·moment
	stale   bool        // inverse and theta are of older sums
}

// NewBandit checks the settings.
func NewBandit(cfg BanditSettings) (*Bandit, error) {
	fill := func(v *float64, other float64) {
		if *v == 0 {
			*v = other
		}
	}
	fill(&cfg.Noise, 0.1)
	fill(&cfg.Ridge, cfg.Noise*cfg.Noise)
	fill(&cfg.Norm, 1)
	fill(&cfg.Delta, 0.05)
	fill(&cfg.Discount, 1)
	switch {
	case cfg.Arms < 1 || cfg.Dims < 1:
		return nil, fmt.Errorf("control: bandit of %d arms and %d features: want 1 or more of each", cfg.Arms, cfg.Dims)
	case !(cfg.Noise > 0) || !(cfg.Ridge > 0) || !(cfg.Norm > 0) || !(cfg.Delta > 0 && cfg.Delta < 1) || !(cfg.Discount > 0 && cfg.Discount <= 1):
		return nil, fmt.Errorf("control: bandit %+v: want positive numbers, delta below 1, discount at most 1", cfg)
	}
	b := &Bandit{cfg: cfg, stream: stat.NewStream(cfg.Seed, "opt.bandit")}
	for range cfg.Arms {
		b.arms = append(b.arms, banditArm{
			gram: dense.Diagonal(cfg.Dims, cfg.Ridge), square: dense.Diagonal(cfg.Dims, cfg.Ridge), inverse: dense.Diagonal(cfg.Dims, 1/cfg.Ridge),
			moment: make([]float64, cfg.Dims), theta: make([]float64, cfg.Dims),
		})
	}
	return b, nil
}

// Choose returns the arm for a context; of equals the first.
func (b *Bandit) Choose(context []float64) int {
	best, most := 0, math.Inf(-1)
	for arm := range b.arms {
		a := b.fresh(arm)
		value := 0.0
		if b.cfg.Rule == Thompson {
			value = dense.Dot(b.Draw(arm), context)
		} else {
			value = dense.Dot(a.theta, context) + b.Radius(arm)*b.width(a, context)
		}
		if value > most {
			best, most = arm, value
		}
	}
	return best
}

// Reward tells what an arm earned in a context. What is not finite is ignored.
func (b *Bandit) Reward(arm int, context []float64, reward float64) {
	if arm < 0 || arm >= len(b.arms) || len(context) != b.cfg.Dims || math.IsNaN(reward) || math.IsInf(reward, 0) || !dense.Finite(context) {
		return
	}
	if b.cfg.Discount < 1 {
		b.forget()
	}
	a := &b.arms[arm]
	dense.RankOne(a.gram, context, 1)
	for k, x := range context {
		a.moment[k] += float64(reward * x)
	}
	if b.cfg.Discount < 1 {
		dense.RankOne(a.square, context, 1)
		a.stale = true
		return
	}
	step := dense.Times(a.inverse, context) // Sherman and Morrison, 1950
	dense.RankOne(a.inverse, step, -1/(1+dense.Dot(step, context)))
	a.theta = dense.Times(a.inverse, a.moment)
}

// forget discounts every arm and fills up the ridge.
func (b *Bandit) forget() {
	shrink := func(m [][]float64, by float64) {
		for i := range m {
			for j := range m[i] {
				m[i][j] *= by
			}
			m[i][i] += (1 - by) * b.cfg.Ridge
		}
	}
	for i := range b.arms {
		a := &b.arms[i]
		shrink(a.gram, b.cfg.Discount)
		shrink(a.square, b.cfg.Discount*b.cfg.Discount)
		for k := range a.moment {
			a.moment[k] *= b.cfg.Discount
		}
		a.stale = true
	}
}

// fresh returns an arm with its coefficients up to date.
func (b *Bandit) fresh(arm int) *banditArm {
	a := &b.arms[arm]
	if a.stale {
		a.inverse, a.stale = dense.Inverse(a.gram), false
		a.theta = dense.Times(a.inverse, a.moment)
	}
	return a
}

// width is the standard deviation of an arm's reward in a context, in units of the
// noise, as far as the coefficients go.
func (b *Bandit) width(a *banditArm, context []float64) float64 {
	step := dense.Times(a.inverse, context)
	if b.cfg.Discount < 1 {
		return math.Sqrt(max(0, dense.Dot(step, dense.Times(a.square, step))))
	}
	return math.Sqrt(max(0, dense.Dot(step, context)))
}

// Radius is the radius of an arm's confidence set: with probability 1-Delta, at
// all times, its coefficients θ have (θ-θ̂)ᵀA(θ-θ̂) at most Radius², A being the
// ridge and the sum of x·xᵀ. With a discount the trace bounds the determinant.
func (b *Bandit) Radius(arm int) float64 {
	a := &b.arms[arm]
	d, ridge := float64(b.cfg.Dims), b.cfg.Ridge
	logDet := 0.0 // of A/ridge
	if b.cfg.Discount < 1 {
		trace := 0.0
		for k := range a.square {
			trace += a.square[k][k]
		}
		logDet = d * math.Log(trace/(d*ridge))
	} else {
		l := dense.Cholesky(a.gram)
		for k := range l {
			logDet += 2 * math.Log(l[k][k])
		}
		logDet -= d * math.Log(ridge)
	}
	return b.cfg.Noise*math.Sqrt(max(0, 2*math.Log(1/b.cfg.Delta)+logDet)) + math.Sqrt(ridge)*b.cfg.Norm
}

// Coefficients returns the estimate of an arm's coefficients.
func (b *Bandit) Coefficients(arm int) []float64 { return slices.Clone(b.fresh(arm).theta) }

// Gram returns the matrix A of an arm and its inverse.
func (b *Bandit) Gram(arm int) (a, inverse [][]float64) {
	one := b.fresh(arm)
	return one.gram, one.inverse
}

// Draw returns coefficients of an arm from their posterior, N(θ̂, Noise²·A⁻¹): what
// Thompson chooses by.
func (b *Bandit) Draw(arm int) []float64 {
	a := b.fresh(arm)
	l := dense.Cholesky(a.inverse)
	theta := slices.Clone(a.theta)
	for k := range l {
		z := b.cfg.Noise * b.stream.NormFloat64()
		for i := k; i < len(l); i++ {
			theta[i] += float64(l[i][k] * z)
		}
	}
	return theta
}

// Inherit lets an arm forget what it knew and believe a share of what another one does;
// nothing of one below 0.
func (b *Bandit) Inherit(arm, from int, share float64) {
	d, ridge := b.cfg.Dims, b.cfg.Ridge
	a := banditArm{gram: dense.Diagonal(d, ridge), square: dense.Diagonal(d, ridge), moment: make([]float64, d)}
	if from >= 0 {
		parent := &b.arms[from]
		for i := range d {
			for j := range d {
				a.gram[i][j] += share * parent.gram[i][j]
			}
			a.gram[i][i] -= share * ridge
			a.moment[i] = share * parent.moment[i]
		}
	}
	a.inverse = dense.Inverse(a.gram)
	a.theta = dense.Times(a.inverse, a.moment)
	b.arms[arm] = a
}
