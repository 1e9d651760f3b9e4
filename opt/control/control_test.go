package control

import (
	"math"
	"testing"

	"github.com/shoalnet/shoal/learn"
	"github.com/shoalnet/shoal/stat"
)

// TestSumTree draws by weight and holds the counts against them by χ² with 63
// degrees of freedom, whose 99.9 % quantile is 103.4.
func TestSumTree(t *testing.T) {
	const n, draws = 64, 200_000
	dice := stat.NewStream(1, "control.tree")
	tree := NewSumTree(n)
	for range 5 {
		for i := range n {
			tree.Set(i, 0.1+dice.Float64())
		}
	}
	counts := make([]float64, n)
	for range draws {
		counts[tree.Find(dice.Float64()*tree.Sum())]++
	}
	chi := 0.0
	for i, c := range counts {
		want := draws * tree.Get(i) / tree.Sum()
		chi += (c - want) * (c - want) / want
	}
	t.Logf("χ² %.1f", chi)
	if chi > 103.4 {
		t.Errorf("χ² of %.1f with 63 degrees of freedom: p < 0.001", chi)
	}
}

// TestSumTreeEdges: a point at the sum, weights of zero, one leaf.
func TestSumTreeEdges(t *testing.T) {
	tree := NewSumTree(5)
	tree.Set(1, 2)
	tree.Set(3, 1)
	for point, want := range map[float64]int{0: 1, 1.9: 1, 2: 3, 2.9: 3, 3: 3, 7: 3} {
		if got := tree.Find(point); got != want {
			t.Errorf("point %v falls into %d, want %d", point, got, want)
		}
	}
	one := NewSumTree(1)
	one.Set(0, 4)
	if one.Sum() != 4 || one.Find(2) != 0 {
		t.Error("a tree of one leaf")
	}
}

// TestReplay forgets the oldest and keeps every field.
func TestReplay(t *testing.T) {
	r := NewReplay(3, 2, 1, 0.6)
	for i := range 5 {
		v := float32(i)
		r.Add(Transition{State: []float32{v, v + 0.1}, Action: []float32{v + 0.2}, Next: []float32{v + 0.3, v + 0.4}, Reward: v + 0.5, Ended: i == 4})
	}
	b := r.NewBatch(64)
	r.Draw(b, 1, stat.NewStream(1, "replay"))
	for i := range b.Reward {
		v := b.State.Row(i)[0]
		goes := float32(1)
		if v == 4 {
			goes = 0
		}
		if v < 2 || b.State.Row(i)[1] != v+0.1 || b.Action.Row(i)[0] != v+0.2 || b.Next.Row(i)[1] != v+0.4 || b.Reward[i] != v+0.5 || b.Goes[i] != goes || b.Weights[i] != 1 {
			t.Fatalf("row %d: %v %v %v %v %v %v", i, b.State.Row(i), b.Action.Row(i), b.Next.Row(i), b.Reward[i], b.Goes[i], b.Weights[i])
		}
	}
	r.Surprise(b, make([]float32, 64)) // all drawn ones become dull
	if r.tree.Sum() > 0.1 {
		t.Errorf("priorities sum to %v", r.tree.Sum())
	}
}

// TestDoubleOverestimatesLess plays the chain of Sutton and Barto (Reinforcement
// Learning, 2nd edition, section 6.7): right of A ends with nothing, left leads to
// B, whose many moves all end with a mean of -0.1 and a deviation of 1. What A's
// left promises beyond its true -0.1 is the bias of the maximum.
func TestDoubleOverestimatesLess(t *testing.T) {
	const moves = 8
	bias := func(seed uint64, single bool) float64 {
		d, err := NewDQN(DQNConfig{
			Seed: seed, Mode: learn.Exact, State: 2, Moves: moves, Hidden: []int{32}, Discount: 1, Rate: 2e-3, Batch: 32,
			Capacity: 400, Target: 0.02, Alpha: -1, Single: single,
		})
		if err != nil {
			t.Fatal(err)
		}
		dice := stat.NewStream(seed, "control.chain")
		a, b := []float32{1, 0}, []float32{0, 1}
		sum, n := 0.0, 0
		for step := range 3000 {
			move := dice.IntN(moves)
			if step%2 == 0 {
				d.Remember(Transition{State: a, Action: []float32{float32(move)}, Next: b, Ended: move == 0})
			} else {
				d.Remember(Transition{State: b, Action: []float32{float32(move)}, Reward: float32(-0.1 + dice.NormFloat64()), Next: a, Ended: true})
			}
			d.Learn()
			if step > 1500 {
				values := d.Values(a)
				for _, v := range values[1:] {
					sum += float64(v) + 0.1
					n++
				}
			}
		}
		return sum / float64(n)
	}
	single, double := 0.0, 0.0
	const seeds = 4
	for seed := range uint64(seeds) {
		single += bias(seed, true) / seeds
		double += bias(seed, false) / seeds
	}
	t.Logf("bias: single %.3f, double %.3f", single, double)
	if !(single > 0.02 && double < single) {
		t.Errorf("bias: single %.3f, double %.3f: want a positive one, and less of it", single, double)
	}
}

// TestSquashedLogDensity integrates the density over (-1,1) by a = tanh(u): the
// share below each point must be that of the normal distribution.
func TestSquashedLogDensity(t *testing.T) {
	for _, p := range []struct{ mean, deviation float64 }{{0, 1}, {0.7, 0.3}, {-1.5, 0.8}, {2, 0.05}} {
		const n = 400_000
		sum, last := 0.0, -1.0
		worst := 0.0
		for i := 1; i < n; i++ {
			a := -1 + 2*float64(i)/n
			mid := (a + last) / 2
			sum += math.Exp(SquashedLogDensity(math.Atanh(mid), p.mean, p.deviation)) * (a - last)
			last = a
			want := 0.5 * math.Erfc(-(math.Atanh(a)-p.mean)/p.deviation/math.Sqrt2)
			worst = max(worst, math.Abs(sum-want))
		}
		t.Logf("%+v: off by %.2g", p, worst)
		if worst > 1e-4 {
			t.Errorf("%+v: off by %.2g, want 1e-4", p, worst)
		}
	}
}

// TestAttentionDQN learns which of its tokens to raise: the move pays 1 where the
// token's feature is positive. The order of the tokens must not matter.
func TestAttentionDQN(t *testing.T) {
	const tokens = 3
	d, err := NewDQN(DQNConfig{Seed: 1, Mode: learn.Exact, State: tokens, Branches: tokens, Moves: 2, Tokens: true, Rate: 3e-3, Batch: 32, Capacity: 512, Discount: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(2, "control.tokens")
	state, action, moves := make([]float32, tokens), make([]float32, tokens), make([]int, tokens)
	draw := func() {
		for i := range state {
			state[i] = float32(dice.NormFloat64())
		}
	}
	for range 600 {
		draw()
		d.Act(state, 0.5, moves)
		reward := float32(0)
		for i, m := range moves {
			action[i] = float32(m)
			if (m == 1) == (state[i] > 0) {
				reward++
			}
		}
		d.Remember(Transition{State: state, Action: action, Reward: reward, Next: state, Ended: true})
		d.Learn()
	}
	right := 0
	for range 100 {
		draw()
		d.Act(state, 0, moves)
		for i, m := range moves {
			if (m == 1) == (state[i] > 0) {
				right++
			}
		}
	}
	if right < 270 {
		t.Errorf("%d of 300 moves right", right)
	}
	draw()
	values := append([]float32{}, d.Values(state)...)
	state[0], state[2] = state[2], state[0]
	for i, v := range d.Values(state) {
		if want := values[(tokens-1-i/2)*2+i%2]; math.Abs(float64(v-want)) > 1e-5 {
			t.Fatalf("value %d is %v with the tokens turned, %v before", i, v, want)
		}
	}
}

// TestForecaster learns a cost that depends on the moment before.
func TestForecaster(t *testing.T) {
	f, err := NewForecaster(ForecasterConfig{Seed: 1, Mode: learn.Exact, Features: 1, Capacity: 300})
	if err != nil {
		t.Fatal(err)
	}
	dice := stat.NewStream(3, "control.forecast")
	last := float32(0)
	sum, n := 0.0, 0
	for moment := range 900 {
		x := float32(dice.Float64()*2 - 1)
		cost := x + last
		if moment >= 800 {
			off := float64(f.Predict(learn.Mat{Rows: 1, Cols: 1, Data: []float32{x}})[0] - cost)
			sum, n = sum+off*off, n+1
		}
		f.Observe([]float32{x}, cost)
		last = x
		f.Learn()
	}
	if mse := sum / float64(n); mse > 0.1 { // without the moment before it is 1/3
		t.Errorf("mean square error %.3f", mse)
	}
}

func TestBadConfigs(t *testing.T) {
	if _, err := NewDQN(DQNConfig{State: 0, Moves: 2}); err == nil {
		t.Error("a DQN without a state")
	}
	if _, err := NewDQN(DQNConfig{State: 3, Moves: 2, Branches: 2, Tokens: true}); err == nil {
		t.Error("tokens of unequal width")
	}
	if _, err := NewSAC(SACConfig{State: 1}); err == nil {
		t.Error("a SAC without an action")
	}
	if _, err := NewMeta(MetaConfig{}); err == nil {
		t.Error("a meta-learner without an input")
	}
	if _, err := NewForecaster(ForecasterConfig{}); err == nil {
		t.Error("a forecaster without features")
	}
}

// TestMetaOrders: all three ways of learning a start reduce the error after one
// step on lines through the origin.
func TestMetaOrders(t *testing.T) {
	for _, order := range []Order{SecondOrder, FirstOrder, Reptile} {
		m, err := NewMeta(MetaConfig{Seed: 1, In: 1, Width: 16, Inner: 0.05, Order: order, Start: 0.3})
		if err != nil {
			t.Fatal(err)
		}
		dice := stat.NewStream(4, "control.lines")
		line := func() (x, y learn.Mat, slope float32) {
			x, y, slope = learn.NewMat(8, 1), learn.NewMat(8, 1), float32(dice.Float64()*4-2)
			for i := range x.Data {
				x.Data[i] = float32(dice.Float64()*2 - 1)
				y.Data[i] = slope * x.Data[i]
			}
			return x, y, slope
		}
		judge := func() float64 {
			sum := 0.0
			for range 200 {
				x, y, slope := line()
				m.Adapt(x, y, 1)
				for i, v := range m.Predict(x).Data {
					d := float64(v - slope*x.Data[i])
					sum += d * d
				}
			}
			return sum / 1600
		}
		before := judge()
		for range 800 {
			tasks := make([]Task, 4)
			for i := range tasks {
				x, y, _ := line()
				tasks[i] = Task{x.Slice(0, 4), y.Slice(0, 4), x.Slice(4, 8), y.Slice(4, 8)}
			}
			m.Learn(tasks)
		}
		after := judge()
		t.Logf("order %d: %.3f before, %.3f after", order, before, after)
		if !(after < 0.7*before) {
			t.Errorf("order %d: error %.3f after one step, %.3f before it learnt", order, after, before)
		}
	}
}
