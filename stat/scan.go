package stat

import "math"

// Scan looks for a rise of the mean of scores that are normal and independent, with mean
// 0 and deviation 1, while nothing changes: the sum of the last L of them over √L, for
// window lengths L from Shortest to Longest, each a third longer than the one before. So
// it finds large changes soon and small ones as soon as they can be known, where a Cusum
// has one size that it is set to (the generalized likelihood ratio of Siegmund and
// Venkatraman, Annals of Statistics 23, 1995). The sums of a length are scaled by their
// own variance, as blocks of that length have shown it, if that is above 1 by more than
// its standard error: scores are never quite independent.
type Scan struct {
	Shortest, Longest int     // numbers, 1 or more
	Least             float64 // of the mean by which the numbers of a window are above their level
	Limit             float64 // of the value; see ScanLimit

	n       int
	windows []scanWindow
	sums    []float64 // of scores, by number modulo its length
	levels  []float64 // of what the numbers are above their level
	found   Found
}

// scanWindow is a length that is looked at.
type scanWindow struct {
	length  int
	blocks  float64
	squares float64 // of the values at the end of whole blocks
}

// Found is the window that stands out most.
type Found struct {
	Value  float64 // the sum of its scores, scaled; 0 if none is above 0 and Least
	Length int
	Mean   float64 // by which its numbers are above their level
}

// scanBelief is how many blocks it takes until their variance counts as much as that of
// independent scores.
const scanBelief = 8

// Add takes a number and reports whether a window is above the limit.
func (s *Scan) Add(x Scored) bool {
	if s.windows == nil {
		for length := max(s.Shortest, 1); length <= s.Longest; length += max(1, length/3) {
			s.windows = append(s.windows, scanWindow{length: length})
		}
		s.sums, s.levels = make([]float64, s.Longest+1), make([]float64, s.Longest+1)
	}
	size := len(s.sums)
	last, at := s.n%size, (s.n+1)%size
	s.n++
	s.sums[at], s.levels[at] = s.sums[last]+x.Score, s.levels[last]+x.Above
	s.found = Found{}
	for i := range s.windows {
		w := &s.windows[i]
		if s.n < w.length {
			break
		}
		from := (s.n - w.length) % size
		raw := (s.sums[at] - s.sums[from]) / math.Sqrt(float64(w.length))
		known := scanBelief + w.blocks
		variance := (scanBelief + w.squares) / known / (1 + math.Sqrt(5/known))
		value, mean := raw/math.Sqrt(max(variance, 1)), (s.levels[at]-s.levels[from])/float64(w.length)
		if value > s.found.Value && mean >= s.Least {
			s.found = Found{Value: value, Length: w.length, Mean: mean}
		}
		if s.n%w.length == 0 {
			w.blocks++
			high := max(raw, 0)
			w.squares += 2 * min(high*high, profileOutlier*profileOutlier)
		}
	}
	return s.found.Value > s.Limit
}

// Found returns the window that stands out most after the last Add.
func (s *Scan) Found() Found { return s.found }

// ScanLength returns after how many scores without a change a Scan of all lengths
// between two raises a false alarm in the mean.
func ScanLength(shortest, longest int, limit float64) float64 {
	// ν(x), the correction for sums that jump over the limit, is exp(-0.583 x) nearly.
	const overshoot, steps = 0.583, 400
	low, high := limit/math.Sqrt(float64(longest)), limit/math.Sqrt(float64(shortest))
	sum, width := 0.0, (high-low)/steps
	for i := range steps {
		x := low + (float64(i)+0.5)*width
		sum += x * math.Exp(-2*overshoot*x) * width
	}
	return 2 * math.Sqrt(2*math.Pi) * math.Exp(limit*limit/2) / (limit * sum)
}

// ScanLimit returns the limit with a mean time to a false alarm of so many scores.
func ScanLimit(shortest, longest int, length float64) float64 {
	low, high := 0.5, 12.0
	for range 60 {
		if middle := (low + high) / 2; ScanLength(shortest, longest, middle) < length {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}
