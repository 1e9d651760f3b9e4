// Package control holds the learners behind opt's control families: a contextual bandit,
// deep Q-learning, soft actor-critic, a liquid forecaster and a meta-learner. They
// know states, actions and rewards, not configurations: opt maps one to the other,
// and opt/proof plays the published benchmarks with them.
//
// Each learner has one owner, one seeded stream, and no clock. What it is told it
// remembers; it learns only when asked to.
package control

import (
	"fmt"
	"math"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// Transition is one step: what was seen, done, earned, and seen then.
type Transition struct {
	State  []float32
	Action []float32
	Reward float32
	Next   []float32
	Ended  bool // for good: nothing follows. An episode that ran out of time has not ended
}

// Replay keeps the latest transitions and draws among them, evenly or by
// priority (Schaul et al., Prioritized Experience Replay, ICLR 2016, the
// proportional variant with a sum tree).
type Replay struct {
	state, action int
	rows          []float32 // state, action, next, reward, 1 if it goes on
	width         int
	size, next    int

	tree     *SumTree // nil: evenly
	alpha    float64
	greatest float64
}

// NewReplay returns a memory of capacity transitions. With alpha above 0 a
// transition of error d is drawn in proportion to (|d|+1e-3)^alpha; new ones are
// drawn as the most surprising so far.
func NewReplay(capacity, state, action int, alpha float64) *Replay {
	r := &Replay{state: state, action: action, width: 2*state + action + 2, alpha: alpha, greatest: 1}
	r.rows = make([]float32, capacity*r.width)
	if alpha > 0 {
		r.tree = NewSumTree(capacity)
	}
	return r
}

// Len returns how many transitions it holds.
func (r *Replay) Len() int { return r.size }

// Add remembers a transition in place of the oldest.
func (r *Replay) Add(t Transition) {
	if len(t.State) != r.state || len(t.Next) != r.state || len(t.Action) != r.action {
		panic(fmt.Sprintf("control: a transition of %d, %d and %d numbers: want %d, %d and %d", len(t.State), len(t.Action), len(t.Next), r.state, r.action, r.state))
	}
	row := r.rows[r.next*r.width : (r.next+1)*r.width]
	n := copy(row, t.State)
	n += copy(row[n:], t.Action)
	n += copy(row[n:], t.Next)
	row[n], row[n+1] = t.Reward, 1
	if t.Ended {
		row[n+1] = 0
	}
	if r.tree != nil {
		r.tree.Set(r.next, r.greatest)
	}
	capacity := len(r.rows) / r.width
	r.next = (r.next + 1) % capacity
	r.size = min(r.size+1, capacity)
}

// Batch is transitions drawn from a memory, one a row.
type Batch struct {
	State, Action, Next learn.Mat
	Reward, Goes        []float32 // Goes is 0 where the episode ended
	Weights             []float32 // that undo the priorities' bias, at most 1
	places              []int
}

// NewBatch returns room for n transitions of a memory.
func (r *Replay) NewBatch(n int) *Batch {
	return &Batch{
		State: learn.NewMat(n, r.state), Action: learn.NewMat(n, r.action), Next: learn.NewMat(n, r.state),
		Reward: make([]float32, n), Goes: make([]float32, n), Weights: make([]float32, n), places: make([]int, n),
	}
}

// Draw fills a batch. With priorities each of n equal parts of their sum gives
// one transition, and Weights are (N·p)^-beta over their maximum.
func (r *Replay) Draw(b *Batch, beta float64, dice *stat.Stream) {
	n := len(b.places)
	most := 0.0
	for i := range n {
		if r.tree == nil {
			b.places[i], b.Weights[i] = dice.IntN(r.size), 1
		} else {
			at := r.tree.Find((float64(i) + dice.Float64()) / float64(n) * r.tree.Sum())
			w := math.Pow(float64(r.size)*r.tree.Get(at)/r.tree.Sum(), -beta)
			b.places[i], b.Weights[i] = at, float32(w)
			most = max(most, w)
		}
		row := r.rows[b.places[i]*r.width:]
		k := copy(b.State.Row(i), row)
		k += copy(b.Action.Row(i), row[k:])
		k += copy(b.Next.Row(i), row[k:])
		b.Reward[i], b.Goes[i] = row[k], row[k+1]
	}
	if r.tree != nil {
		for i := range b.Weights {
			b.Weights[i] /= float32(most)
		}
	}
}

// Surprise tells the errors of a drawn batch.
func (r *Replay) Surprise(b *Batch, errs []float32) {
	if r.tree == nil {
		return
	}
	for i, at := range b.places {
		p := math.Pow(math.Abs(float64(errs[i]))+1e-3, r.alpha)
		r.greatest = max(r.greatest, p)
		r.tree.Set(at, p)
	}
}

// SumTree holds weights and finds the one that a point of their sum falls into,
// in the logarithm of their number. Sums are recomputed from their parts, so no
// error gathers.
type SumTree struct {
	leaves int
	nodes  []float64 // nodes[1] is the root, the children of i are 2i and 2i+1
}

// NewSumTree returns a tree of n zeros.
func NewSumTree(n int) *SumTree {
	leaves := 1
	for leaves < n {
		leaves *= 2
	}
	return &SumTree{leaves: leaves, nodes: make([]float64, 2*leaves)}
}

// Sum returns the sum of all weights.
func (s *SumTree) Sum() float64 { return s.nodes[1] }

// Get returns weight i.
func (s *SumTree) Get(i int) float64 { return s.nodes[s.leaves+i] }

// Set replaces weight i, which must not be negative.
func (s *SumTree) Set(i int, weight float64) {
	at := s.leaves + i
	s.nodes[at] = weight
	for at /= 2; at > 0; at /= 2 {
		s.nodes[at] = s.nodes[2*at] + s.nodes[2*at+1]
	}
}

// Find returns the least i with the weights up to i above point. A point at or
// beyond the sum, as rounding gives, falls into the last weight above zero.
func (s *SumTree) Find(point float64) int {
	at := 1
	for at < s.leaves {
		at *= 2
		if point >= s.nodes[at] && s.nodes[at+1] > 0 {
			point -= s.nodes[at]
			at++
		}
	}
	return at - s.leaves
}
