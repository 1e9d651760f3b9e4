package stat

import (
	"fmt"
	"iter"
	"math"
)

// DefaultAccuracy is the relative error of a Sketch that names none.
const DefaultAccuracy = 0.01

// Sketch is a mergeable summary of non-negative numbers that answers quantiles
// within a fixed relative error: DDSketch (Masson, Rim and Lee, VLDB 2019). Bin i
// counts the numbers in (γ^(i-1), γ^i], γ = (1+a)/(1-a). Unlike the paper's it
// never collapses bins: the memory is 8 bytes for each bin between the smallest
// and the largest number, some 115 bins a decade at the default error. The result
// depends neither on the order of additions nor on that of merges, but for the
// rounding of the sum. The zero value is empty, with the default error.
type Sketch struct {
	accuracy float64 // 0 means DefaultAccuracy
	bins     []uint64
	first    int // index of bins[0]
	zeros    uint64
	count    uint64
	rejected uint64
	sum      float64
	low      float64
	high     float64
}

// NewSketch returns an empty sketch of the given relative error, from 0.0001 to
// 0.5.
func NewSketch(accuracy float64) (*Sketch, error) {
	if !(accuracy >= 0.0001 && accuracy <= 0.5) {
		return nil, fmt.Errorf("stat: a sketch with relative error %v: want 0.0001 to 0.5", accuracy)
	}
	return &Sketch{accuracy: accuracy}, nil
}

// Accuracy returns the bound of the relative error of a quantile.
func (s *Sketch) Accuracy() float64 {
	if s.accuracy == 0 {
		return DefaultAccuracy
	}
	return s.accuracy
}

// logGamma is the width of a bin on the axis of logarithms.
func (s *Sketch) logGamma() float64 {
	a := s.Accuracy()
	return math.Log1p(a) - math.Log1p(-a)
}

// Add counts one number. See AddN.
func (s *Sketch) Add(x float64) { s.AddN(x, 1) }

// AddN counts a number n times. Negative numbers, infinities and NaN change
// nothing but Rejected.
func (s *Sketch) AddN(x float64, n uint64) {
	if !(x >= 0) || math.IsInf(x, 1) {
		s.rejected += n
		return
	}
	if n == 0 {
		return
	}
	s.widen(x, x)
	s.count += n
	s.sum += x * float64(n)
	if x == 0 {
		s.zeros += n
		return
	}
	i := int(math.Ceil(math.Log(x) / s.logGamma()))
	s.cover(i, i)
	s.bins[i-s.first] += n
}

// widen extends the exact bounds. It must run before count grows.
func (s *Sketch) widen(low, high float64) {
	if s.count == 0 {
		s.low, s.high = low, high
		return
	}
	s.low, s.high = min(s.low, low), max(s.high, high)
}

// cover makes room for the bins from low to high.
func (s *Sketch) cover(low, high int) {
	if len(s.bins) == 0 {
		s.first = low
	}
	if low < s.first {
		grown := make([]uint64, len(s.bins)+s.first-low)
		copy(grown[s.first-low:], s.bins)
		s.bins, s.first = grown, low
	}
	if missing := high - s.first + 1 - len(s.bins); missing > 0 {
		s.bins = append(s.bins, make([]uint64, missing)...)
	}
}

// Merge adds what other counted and leaves other as it is. It panics if their
// errors differ: that is an error of the program.
func (s *Sketch) Merge(other *Sketch) {
	if s.Accuracy() != other.Accuracy() {
		panic("stat: merging sketches of different accuracy: make both with the same")
	}
	s.rejected += other.rejected
	if other.count == 0 {
		return
	}
	s.widen(other.low, other.high)
	s.count += other.count
	s.zeros += other.zeros
	s.sum += other.sum
	if len(other.bins) == 0 {
		return
	}
	s.cover(other.first, other.first+len(other.bins)-1)
	for i, n := range other.bins {
		s.bins[other.first-s.first+i] += n
	}
}

// Quantile returns the number of rank ⌊q(n-1)⌋ in sorted order, within the
// relative error. q is clipped to [0,1]; 0 and 1 are exact. NaN if empty.
func (s *Sketch) Quantile(q float64) float64 {
	switch {
	case s.count == 0 || math.IsNaN(q):
		return math.NaN()
	case q <= 0:
		return s.low
	case q >= 1:
		return s.high
	}
	rank := uint64(q * float64(s.count-1))
	seen := s.zeros
	if rank < seen {
		return 0
	}
	a := s.Accuracy()
	for i, n := range s.bins {
		if seen += n; rank < seen {
			// The point with equal relative distance to both ends of the bin.
			middle := (1 - a) * math.Exp(float64(s.first+i)*s.logGamma())
			return min(max(middle, s.low), s.high)
		}
	}
	return s.high
}

// Below returns how many numbers are at most x. It may count some that are above by
// less than twice the relative error.
func (s *Sketch) Below(x float64) uint64 {
	if !(x >= 0) {
		return 0
	}
	n := s.zeros
	if x == 0 {
		return n
	}
	last := math.Ceil(math.Log(x)/s.logGamma()) - float64(s.first)
	for i, count := range s.bins {
		if float64(i) <= last {
			n += count
		}
	}
	return n
}

// All returns the numbers in ascending order, those of a bin as its middle, and how
// many each stands for.
func (s *Sketch) All() iter.Seq2[float64, uint64] {
	return func(yield func(float64, uint64) bool) {
		if s.zeros > 0 && !yield(0, s.zeros) {
			return
		}
		a := s.Accuracy()
		for i, n := range s.bins {
			middle := (1 - a) * math.Exp(float64(s.first+i)*s.logGamma())
			if n > 0 && !yield(min(max(middle, s.low), s.high), n) {
				return
			}
		}
	}
}

// Count returns how many numbers were counted.
func (s *Sketch) Count() uint64 { return s.count }

// Rejected returns how many numbers were not: negative, infinite or NaN.
func (s *Sketch) Rejected() uint64 { return s.rejected }

// Sum returns the sum of the numbers, not an estimate.
func (s *Sketch) Sum() float64 { return s.sum }

// Mean returns the mean of the numbers, not an estimate. NaN if empty.
func (s *Sketch) Mean() float64 { return s.sum / float64(s.count) }

// Min returns the smallest number exactly. NaN if empty.
func (s *Sketch) Min() float64 { return s.Quantile(0) }

// Max returns the largest number exactly. NaN if empty.
func (s *Sketch) Max() float64 { return s.Quantile(1) }
