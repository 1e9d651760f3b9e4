package learn

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

func network(t testing.TB, mode Mode, seed uint64, layers ...Layer) *Network {
	t.Helper()
	n, err := NewNetwork(mode, stat.NewStream(seed, "learn.test"), layers...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFunctions compares with the standard library in float64.
func TestFunctions(t *testing.T) {
	for name, f := range map[string]struct {
		own      func(float32) float32
		want     func(float64) float64
		from, to float64
	}{
		"exp":     {exp, math.Exp, -87, 88.7},
		"tanh":    {tanh, math.Tanh, -12, 12},
		"sigmoid": {sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, -80, 80},
		"log":     {log, math.Log, 1e-30, 20},
	} {
		worst := 0.0
		for i := range 200_001 {
			x := float32(f.from + (f.to-f.from)*float64(i)/200_000)
			want := f.want(float64(x))
			worst = max(worst, math.Abs(float64(f.own(x))-want)/max(math.Abs(want), 1e-30))
		}
		t.Logf("%s: relative error %.2g", name, worst)
		if !(worst < 2.5e-7) { // four units in the last place at most
			t.Errorf("%s: relative error %.2g", name, worst)
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct{ got, want float32 }{
		{exp(inf), inf},
		{exp(-inf), 0},
		{exp(0), 1},
		{exp(200), inf},
		{tanh(inf), 1},
		{tanh(-inf), -1},
		{sigmoid(-inf), 0},
		{sigmoid(inf), 1},
		{log(0), -inf},
		{log(inf), inf},
		{log(1), 0},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if y := exp(nan) + tanh(nan); y == y {
		t.Error("the exponential or the tangent of NaN is a number")
	}
}

// TestAdam holds the assembly against plain Go, bit by bit, and both against the
// formulas of the paper in float64.
func TestAdam(t *testing.T) {
	dice := stat.NewStream(1, "learn.adam")
	for _, n := range []int{1, 7, 8, 9, 64, 1003} {
		wholeW, w := fenced(dice, n)
		plain := append([]float32(nil), w...)
		exact := make([]float64, n)
		for i, v := range w {
			exact[i] = float64(v)
		}
		m, v := make([]float64, n), make([]float64, n)
		vector, scalar := Adam{Rate: 1e-2}, Adam{Rate: 1e-2}
		for step := 1; step <= 20; step++ {
			wholeG, g := fenced(dice, n)
			other := append([]float32(nil), g...)
			for i, d := range g {
				d := float64(d)
				m[i] = 0.9*m[i] + 0.1*d
				v[i] = 0.999*v[i] + 0.001*d*d
				exact[i] -= 1e-2 * (m[i] / (1 - math.Pow(0.9, float64(step)))) / (math.Sqrt(v[i]/(1-math.Pow(0.999, float64(step)))) + 1e-8)
			}
			vector.Step(w, g)
			scalarStep(&scalar, plain, other)
			if bits(w) != bits(plain) {
				t.Fatalf("%d numbers, step %d: the assembly differs", n, step)
			}
			fencesHold(t, "weights", wholeW)
			fencesHold(t, "gradients", wholeG)
			for _, d := range g {
				if d != 0 {
					t.Fatal("the gradient is not cleared")
				}
			}
		}
		for i := range w {
			if math.Abs(float64(w[i])-exact[i]) > 1e-5 {
				t.Fatalf("weight %d is %v, want %v", i, w[i], exact[i])
			}
		}
	}
}

// scalarStep is Step in pieces that are too short for the assembly.
func scalarStep(a *Adam, w, g []float32) {
	step, power1, power2 := a.step, a.power1, a.power2
	if step == 0 {
		a.m, a.v = make([]float32, len(w)), make([]float32, len(w))
		power1, power2 = 1, 1
	}
	for i := range w {
		one := Adam{Rate: a.Rate, step: max(step, 1), m: a.m[i : i+1], v: a.v[i : i+1], power1: power1, power2: power2}
		one.Step(w[i:i+1], g[i:i+1])
		a.power1, a.power2 = one.power1, one.power2
	}
	a.step++
}

// mixed is one layer of every kind.
func mixed() []Layer {
	cfc, ltc, lstm, gru := NewCfC(8, 8, 12), NewLTC(8, 8, 3), NewLSTM(8, 8), NewGRU(8, 8)
	for _, s := range []Sequence{cfc, ltc, lstm, gru} {
		s.Steps(4, nil)
	}
	return []Layer{
		NewDense(6, 8), Tanh(), NewResidual(NewLayerNorm(8), NewAttention(4, 8, 2)), cfc, ltc, lstm, gru,
		NewDense(8, 5), Sigmoid(), NewDense(5, 3), ReLU(), NewDense(3, 2),
	}
}

func trainMixed(t testing.TB, mode Mode, plain bool) []float32 {
	net := network(t, mode, 3, mixed()...)
	net.engine.plain = plain
	dice := stat.NewStream(4, "learn.mixed")
	x, want, dy := NewMat(16, 6), NewMat(16, 2), NewMat(16, 2)
	adam := Adam{Rate: 1e-2}
	for range 30 {
		uniform(dice, x.Data, 1)
		uniform(dice, want.Data, 1)
		MSE(dy, net.Forward(x), want)
		net.Backward(dy, false)
		ClipNorm(net.Grads(), 1)
		adam.Step(net.Weights(), net.Grads())
	}
	return append(append([]float32{}, net.Weights()...), net.Forward(x).Data...)
}

// TestExact pins the bits of a training run: they are the same on every machine.
func TestExact(t *testing.T) {
	const golden = 0xca048faa5f158efe
	got := bits(trainMixed(t, Exact, false))
	if again := bits(trainMixed(t, Exact, true)); again != got {
		t.Error("a second run differs")
	}
	if got != golden {
		t.Errorf("the bits of an exact run hash to %#x, want %#x", got, uint64(golden))
	}
}

func TestFastIsNearExact(t *testing.T) {
	want := trainMixed(t, Exact, false)
	for _, plain := range []bool{false, true} {
		for i, v := range trainMixed(t, Fast, plain) {
			if math.Abs(float64(v-want[i])) > 1e-2 {
				t.Fatalf("number %d is %v, exactly %v", i, v, want[i])
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, mode := range []Mode{Fast, Exact} {
		net := network(t, mode, 1, mixed()...)
		x, want, dy := NewMat(64, 6), NewMat(64, 2), NewMat(64, 2)
		uniform(stat.NewStream(1, "x"), x.Data, 1)
		adam := Adam{Rate: 1e-3}
		step := func() {
			MSE(dy, net.Forward(x), want)
			net.Backward(dy, true)
			adam.Step(net.Weights(), net.Grads())
		}
		step()
		if n := testing.AllocsPerRun(20, step); n != 0 {
			t.Errorf("%v: %v allocations in a training step", mode, n)
		}
		if n := testing.AllocsPerRun(20, func() { net.Forward(x) }); n != 0 {
			t.Errorf("%v: %v allocations in a forward pass", mode, n)
		}
	}
	big := network(t, Fast, 1, MLP(800, 512, 256, 128, 160)...)
	one := NewMat(1, 800)
	big.Forward(one)
	if n := testing.AllocsPerRun(10, func() { big.Forward(one) }); n != 0 {
		t.Errorf("%v allocations in an inference", n)
	}
}

func TestSaveLoad(t *testing.T) {
	net := network(t, Exact, 7, mixed()...)
	saved := net.Append(nil)
	loaded, err := Decode(Exact, saved)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(loaded.Append(nil), saved) {
		t.Error("a loaded network is saved differently")
	}
	x := NewMat(16, 6)
	if a, b := loaded.Forward(x), network(t, Exact, 7, mixed()...); a.Cols != 2 || bits(loaded.Weights()) != bits(b.Weights()) {
		t.Error("a loaded network has other weights")
	}
	for cut := range saved {
		if _, err := Decode(Exact, saved[:cut]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"a longer file":  func(b []byte) []byte { return append(b, 0) },
		"another magic":  func(b []byte) []byte { b[0]++; return b },
		"a new version":  func(b []byte) []byte { b[8]++; return b },
		"NaN":            func(b []byte) []byte { copy(b[len(b)-4:], []byte{0, 0, 0xc0, 0x7f}); return b },
		"unknown kind":   func(b []byte) []byte { b[10] = 99; return b },
		"a width of 0":   func(b []byte) []byte { b[11] = 0; return b },
		"another width":  func(b []byte) []byte { b[12]++; return b },
		"infinite layer": func(b []byte) []byte { b[9] = 0xff; return b },
	} {
		if _, err := Decode(Exact, change(bytes.Clone(saved))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(network(f, Exact, 7, mixed()...).Append(nil))
	f.Add(network(f, Exact, 7, NewDense(1, 1)).Append(nil))
	f.Add([]byte("SHOALNET\x01\x01\x07\x01\x07\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		net, err := Decode(Exact, b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := Decode(Exact, net.Append(nil))
		if err != nil || bits(again.Weights()) != bits(net.Weights()) {
			t.Fatalf("what was read is not written: %v", err)
		}
	})
}

func TestMisfits(t *testing.T) {
	for name, layers := range map[string][]Layer{
		"neighbours": {NewDense(3, 4), NewDense(5, 2)},
		"no width":   {ReLU()},
		"nothing":    nil,
		"negative":   {NewDense(-1, 2)},
	} {
		if _, err := NewNetwork(Fast, nil, layers...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestAttentionPermutes: attention has no places, so tokens may change them.
func TestAttentionPermutes(t *testing.T) {
	net := network(t, Exact, 2, NewAttention(5, 8, 2))
	x := NewMat(5, 8)
	uniform(stat.NewStream(3, "tokens"), x.Data, 1)
	y := append([]float32{}, net.Forward(x).Data...)
	turned := NewMat(5, 8)
	for i := range 5 {
		copy(turned.Row(i), x.Row(4-i))
	}
	for i, v := range net.Forward(turned).Data {
		if want := y[(4-i/8)*8+i%8]; math.Abs(float64(v-want)) > 1e-6 {
			t.Fatalf("number %d is %v, want %v", i, v, want)
		}
	}
}

// TestMemoryStaysBetween is the bound of the LTC paper (theorem 2): whatever comes
// in, the memory stays between min(0, A) and max(0, A).
func TestMemoryStaysBetween(t *testing.T) {
	dice := stat.NewStream(9, "learn.ltc")
	for range 50 {
		cell := NewLTC(3, 6, 1+int(dice.Float64()*6))
		net := network(t, Fast, uint64(dice.Float64()*1e9), cell)
		for i := range net.Weights() {
			net.Weights()[i] *= float32(1 + 20*dice.Float64())
		}
		x, gaps := NewMat(40, 3), make([]float32, 40)
		uniform(dice, x.Data, 50)
		for i := range gaps {
			gaps[i] = float32(dice.Float64() * 100)
		}
		cell.Steps(20, gaps)
		y := net.Forward(x)
		for i, v := range y.Data {
			level := cell.level[i%6]
			slack := 1e-6 * max(level, -level)
			if !(v >= min(0, level)-slack && v <= max(0, level)+slack) {
				t.Fatalf("memory %v with A = %v", v, level)
			}
		}
	}
}

func TestSolverOrder(t *testing.T) {
	decay := func(_ float64, y, dy []float64) { dy[0] = -y[0] }
	var errs []float64
	for _, steps := range []int{32, 64, 128} {
		var s Solver
		y := []float64{1}
		for i := range steps {
			h := 4.0 / float64(steps)
			s.Step(decay, float64(i)*h, h, y)
		}
		errs = append(errs, math.Abs(y[0]-math.Exp(-4)))
	}
	slope := math.Log2(errs[0]/errs[2]) / 2
	t.Logf("global error %v: order %.3f", errs, slope)
	if math.Abs(slope-5) > 0.2 {
		t.Errorf("order %.3f, want 5 ± 0.2", slope)
	}
}

// TestSolverArenstorf closes the orbit of Hairer, Nørsett and Wanner I, II.0: a
// satellite that returns after 17.0652... units of time.
func TestSolverArenstorf(t *testing.T) {
	const moon = 0.012277471
	orbit := func(_ float64, y, dy []float64) {
		d1 := math.Pow((y[0]+moon)*(y[0]+moon)+y[1]*y[1], 1.5)
		d2 := math.Pow((y[0]-1+moon)*(y[0]-1+moon)+y[1]*y[1], 1.5)
		dy[0], dy[1] = y[2], y[3]
		dy[2] = y[0] + 2*y[3] - (1-moon)*(y[0]+moon)/d1 - moon*(y[0]-1+moon)/d2
		dy[3] = y[1] - 2*y[2] - (1-moon)*y[1]/d1 - moon*y[1]/d2
	}
	start := []float64{0.994, 0, 0, -2.00158510637908252240537862224}
	y := append([]float64{}, start...)
	s := Solver{Absolute: 1e-14, Relative: 1e-14}
	if err := s.Solve(orbit, 0, 17.0652165601579625588917206249, y); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps, %d refused, off by %.2g and %.2g", s.Taken, s.Refused, y[0]-start[0], y[1]-start[1])
	if math.Hypot(y[0]-start[0], y[1]-start[1]) > 1e-6 {
		t.Errorf("the orbit ends at %v, want %v", y, start)
	}
	explode := func(_ float64, y, dy []float64) { dy[0] = y[0] * y[0] }
	if err := s.Solve(explode, 0, 2, []float64{1}); !errors.Is(err, ErrSteps) {
		t.Errorf("a solution without bound: %v", err)
	}
	back := []float64{math.Exp(-1)}
	if err := s.Solve(func(_ float64, y, dy []float64) { dy[0] = -y[0] }, 1, 0, back); err != nil || math.Abs(back[0]-1) > 1e-10 {
		t.Errorf("backwards: %v, %v", back, err)
	}
}

// digits reads the handwritten digits of the UCI repository; it skips the test
// where they are not.
func digits(t testing.TB, part string) (x Mat, labels []int) {
	t.Helper()
	f, err := os.Open("../../shared/data/digits/optdigits-" + part + ".csv.gz")
	if err != nil {
		t.Skip("the digits data set is not here: ", err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	x.Cols = 64
	for lines := bufio.NewScanner(z); lines.Scan(); x.Rows++ {
		cells := strings.Split(strings.TrimSpace(lines.Text()), ",")
		for _, cell := range cells[:64] {
			v, err := strconv.Atoi(strings.TrimSpace(cell))
			if err != nil {
				t.Fatal(err)
			}
			x.Data = append(x.Data, float32(v)/16)
		}
		label, err := strconv.Atoi(strings.TrimSpace(cells[64]))
		if err != nil {
			t.Fatal(err)
		}
		labels = append(labels, label)
	}
	return x, labels
}

func accuracy(net *Network, x Mat, labels []int) float64 {
	right := 0
	for i := range labels {
		row := net.Forward(x.Slice(i, i+1)).Data
		best := 0
		for j, v := range row {
			if v > row[best] {
				best = j
			}
		}
		if best == labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

func TestDigits(t *testing.T) {
	x, labels := digits(t, "train")
	testX, testLabels := digits(t, "test")
	for seed := range uint64(3) {
		net := network(t, Fast, seed, MLP(64, 128, 10)...)
		dice := stat.NewStream(seed, "learn.digits")
		adam := Adam{Rate: 2e-3}
		batch, want, dy := NewMat(64, 64), make([]int, 64), NewMat(64, 10)
		for range 15 {
			order := dice.Perm(x.Rows)
			for at := 0; at+64 <= len(order); at += 64 {
				for i, from := range order[at : at+64] {
					copy(batch.Row(i), x.Row(from))
					want[i] = labels[from]
				}
				CrossEntropy(dy, net.Forward(batch), want)
				net.Backward(dy, false)
				adam.Step(net.Weights(), net.Grads())
			}
		}
		share := accuracy(net, testX, testLabels)
		t.Logf("seed %d: %.4f right", seed, share)
		if share < 0.95 {
			t.Errorf("seed %d: %.4f right, want 0.95", seed, share)
		}
	}
}
