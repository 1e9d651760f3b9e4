package learn

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/shoalnet/shoal/stat"
)

const (
	guard  = 64
	marker = float32(-12345.5)
)

// fenced returns n random numbers in the middle of a slice, all else markers.
func fenced(dice Dice, n int) (whole, inner []float32) {
	whole = make([]float32, n+2*guard)
	for i := range whole {
		whole[i] = marker
	}
	inner = whole[guard : guard+n : guard+n]
	for i := range inner {
		inner[i] = float32(dice.Float64()*2 - 1)
	}
	return whole, inner
}

func fencesHold(t *testing.T, what string, whole []float32) {
	t.Helper()
	for i := range guard {
		if whole[i] != marker || whole[len(whole)-1-i] != marker {
			t.Fatalf("%s: wrote beyond its end", what)
		}
	}
}

// engines returns every way to multiply on this machine.
func engines() map[string]*Engine {
	all := map[string]*Engine{"exact": NewEngine(Exact), "plain": {plain: true}}
	if hasAVX2 {
		all["avx2"] = NewEngine(Fast)
	}
	return all
}

// checkProduct compares all three forms with float64: the error of an element is
// at most 1e-6 of the sum of the absolute products, and that of the whole matrix
// 1e-6 of its norm. The latter is asked of 36 elements or more: a single sum of
// float32 numbers may cancel to anything.
func checkProduct(t *testing.T, name string, e *Engine, m, n, k int, add bool) {
	t.Helper()
	dice := stat.NewStream(uint64(m*1_000_000+n*1000+k), "learn.product")
	for form, turn := range map[string][2]bool{"NN": {false, false}, "TN": {true, false}, "NT": {false, true}} {
		wholeA, dataA := fenced(dice, m*k)
		wholeB, dataB := fenced(dice, k*n)
		wholeC, dataC := fenced(dice, m*n)
		want, size := make([]float64, m*n), make([]float64, m*n)
		for i, v := range dataC {
			if add {
				want[i], size[i] = float64(v), math.Abs(float64(v))
			}
		}
		a, b, c := Mat{m, k, dataA}, Mat{k, n, dataB}, Mat{m, n, dataC}
		stepA, stepB := [2]int{k, 1}, [2]int{n, 1}
		switch {
		case turn[0]:
			a, stepA = Mat{k, m, dataA}, [2]int{1, m}
			e.MulTN(c, a, b, add)
		case turn[1]:
			b, stepB = Mat{n, k, dataB}, [2]int{1, k}
			e.MulNT(c, a, b, add)
		default:
			e.Mul(c, a, b, add)
		}
		for i := range m {
			for p := range k {
				x := float64(dataA[i*stepA[0]+p*stepA[1]])
				for j := range n {
					v := x * float64(dataB[p*stepB[0]+j*stepB[1]])
					want[i*n+j] += v
					size[i*n+j] += math.Abs(v)
				}
			}
		}
		label := fmt.Sprintf("%s %s %dx%dx%d", name, form, m, n, k)
		fencesHold(t, label, wholeA)
		fencesHold(t, label, wholeB)
		fencesHold(t, label, wholeC)
		var off, norm float64
		for i, v := range dataC {
			d := float64(v) - want[i]
			if math.Abs(d) > 1e-6*size[i] {
				t.Fatalf("%s: number %d is %v, want %v", label, i, v, want[i])
			}
			off, norm = off+d*d, norm+want[i]*want[i]
		}
		if m*n >= 36 && off > 1e-12*norm {
			t.Fatalf("%s: relative error %.2g, want 1e-6 at most", label, math.Sqrt(off/norm))
		}
	}
}

func TestProductSizes(t *testing.T) {
	for name, e := range engines() {
		step := 1
		if testing.Short() {
			step = 5
		}
		for size := 1; size <= 70; size += step {
			checkProduct(t, name, e, size, size, size, size%2 == 0)
			checkProduct(t, name, e, size, 71-size, (size*37)%70+1, size%2 == 1)
			checkProduct(t, name, e, 71-size, (size*53)%70+1, size, false)
		}
		for _, s := range [][3]int{{67, 93, 300}, {1, 257, 801}, {5, 17, 641}, {121, 33, 321}, {127, 129, 7}, {241, 31, 333}, {64, 160, 128}, {3, 300, 3}} {
			checkProduct(t, name, e, s[0], s[1], s[2], false)
			checkProduct(t, name, e, s[0], s[1], s[2], true)
		}
	}
}

// TestProductAgainstGonum uses gonum as a second oracle, at sizes with many
// blocks.
func TestProductAgainstGonum(t *testing.T) {
	dice := stat.NewStream(1, "learn.gonum")
	m, n, k := 130, 210, 700
	_, a := fenced(dice, m*k)
	_, b := fenced(dice, k*n)
	want := make([]float32, m*n)
	gonum.Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, m, n, k, 1, a, k, b, n, 0, want, n)
	for name, e := range engines() {
		c := NewMat(m, n)
		e.Mul(c, Mat{m, k, a}, Mat{k, n, b}, false)
		for i, v := range c.Data {
			if math.Abs(float64(v-want[i])) > 1e-4 {
				t.Fatalf("%s: element %d is %v, gonum %v", name, i, v, want[i])
			}
		}
	}
}

// bits hashes the bits of numbers.
func bits(numbers []float32) uint64 {
	h := uint64(len(numbers))
	for _, v := range numbers {
		h = stat.Hash(h, uint64(math.Float32bits(v)))
	}
	return h
}

func TestProductEmpty(t *testing.T) {
	for _, e := range engines() {
		c := Mat{1, 1, []float32{3}}
		e.Mul(c, NewMat(1, 0), NewMat(0, 1), true)
		if c.Data[0] != 3 {
			t.Error("a product of no depth changed the sum")
		}
		e.Mul(c, NewMat(1, 0), NewMat(0, 1), false)
		if c.Data[0] != 0 {
			t.Error("a product of no depth is not zero")
		}
		e.Mul(NewMat(0, 4), NewMat(0, 2), NewMat(2, 4), false)
	}
}

func BenchmarkProduct(b *testing.B) {
	dice := stat.NewStream(1, "learn.bench")
	for _, s := range [][3]int{{1024, 1024, 1024}, {64, 512, 800}, {800, 512, 64}, {1, 512, 800}} {
		for name, e := range engines() {
			if name == "exact" && s[0] == 1024 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, s[0], s[1], s[2]), func(b *testing.B) {
				_, x := fenced(dice, s[0]*s[2])
				_, y := fenced(dice, s[1]*s[2])
				c := NewMat(s[0], s[1])
				from := cpuSeconds()
				for b.Loop() {
					e.Mul(c, Mat{s[0], s[2], x}, Mat{s[2], s[1], y}, false)
				}
				b.ReportMetric(2*float64(s[0]*s[1]*s[2])*float64(b.N)/(cpuSeconds()-from)/1e9, "GFLOP/cpu-s")
			})
		}
	}
}
