package opt

import "github.com/shoalnet/shoal/stat"

// random tries independent uniform points: the baseline that everything else
// must beat (Bergstra and Bengio, JMLR 13, 2012).
type random struct{ ledger }

var _ Optimizer = (*random)(nil)

// NewRandom returns random search. A trial depends on the seed and its number
// alone.
func NewRandom(space *Space, cfg Settings) (Optimizer, error) {
	l, err := newLedger(space, cfg)
	if err != nil {
		return nil, err
	}
	return &random{l}, nil
}

// Ask implements Optimizer.
func (r *random) Ask() (Trial, bool) {
	if !r.ready() {
		return Trial{}, false
	}
	id := r.tally.Asked
	if x, origin, ok := r.opening(id); ok {
		return r.issue(x, origin, nil), true
	}
	return r.issue(uniform(stat.NewStream(r.cfg.Seed, "opt.random", uint64(id)), r.space.Size()), "random", nil), true
}

// Tell implements Optimizer.
func (r *random) Tell(out Outcome) { r.settle(out) }

// uniform returns a point of [0,1)^n.
func uniform(stream *stat.Stream, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = stream.Float64()
	}
	return x
}
