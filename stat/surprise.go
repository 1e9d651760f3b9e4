package stat

import "math"

// Surprise says how unusual the last numbers of a stream are: it forecasts each from
// the one before, and compares the mean size of the last Short errors with those of
// the Long before them. So it sees spikes, steps and storms alike, in a stream whose
// level wanders, and forgets what it has seen for long. It follows the anomaly
// likelihood of Ahmad, Lavin, Purdy and Agha (Neurocomputing 262, 2017), whose errors
// are those of a trained memory; ours are of an AR(1) whose coefficients fade at the
// pace of Long. Memory is Short+Long numbers; Add costs about 20 ns.
//
// What is unusual need not be bad, and neighbours are not independent: the score is
// no p-value. shoal tune detect shows what it is worth.
type Surprise struct {
	Short, Long int // errors, at least 1 and 2; set before the first Add

	errs          []float64 // a ring of the last Short+Long
	next          int
	n             int
	weight        float64 // fading sums of the AR(1)
	mean          float64
	spread        float64
	together      float64
	last          float64
	now           float64 // sum of the last Short errors
	sum, squares  float64 // of the Long before them
	sinceRecount  int
	largestBefore float64
}

// surpriseLeast is of how many errors before the last ones something must be known.
const surpriseLeast = 32

// Add takes a number and returns how many standard errors the mean of the last errors
// is above the mean of those before: about 5 is worth an alarm. 0 while too little is
// known. What is not a number counts as the one before.
func (s *Surprise) Add(x float64) (score float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		x = s.last
	}
	s.push(math.Abs(s.forecastError(x)))
	s.learn(x)
	before := min(s.n, len(s.errs)) - s.Short
	if before < surpriseLeast {
		return 0
	}
	mean := s.sum / float64(before)
	deviation := math.Sqrt(max(s.squares/float64(before)-mean*mean, 0))
	if deviation <= 1e-12*s.largestBefore {
		deviation = max(s.largestBefore, 1e-9)
	}
	return (s.now/float64(s.Short) - mean) / deviation * math.Sqrt(float64(s.Short))
}

func (s *Surprise) forecastError(x float64) float64 {
	if s.n == 0 {
		return 0
	}
	rho := 0.0
	if s.spread > 0 {
		rho = min(max(s.together/s.spread, 0), 0.98)
	}
	return x - s.mean - rho*(s.last-s.mean)
}

func (s *Surprise) learn(x float64) {
	fade := 1 - 1/float64(max(s.Long, 2))
	last := s.last
	if s.n == 1 { // the first
		last = 0
	}
	s.weight = s.weight*fade + 1
	d := x - s.mean
	s.mean += d / s.weight
	s.spread = s.spread*fade + float64(d*(x-s.mean))
	s.together = s.together*fade + float64((x-s.mean)*(last-s.mean))
	s.last = x
}

// push takes an error into the sums. They are counted anew once a round, so that
// roundings do not add up.
func (s *Surprise) push(e float64) {
	if s.errs == nil {
		s.Short, s.Long = max(s.Short, 1), max(s.Long, 2)
		s.errs = make([]float64, s.Short+s.Long)
	}
	size := len(s.errs)
	leaves := s.errs[s.next]                   // what Long forgets; 0 in the first round
	ages := s.errs[(s.next+size-s.Short)%size] // what goes from Short to Long
	s.errs[s.next], s.next = e, (s.next+1)%size
	s.n++
	s.now += e - ages
	s.sum += ages - leaves
	s.squares += float64(ages*ages) - float64(leaves*leaves)
	s.largestBefore = max(s.largestBefore, ages)
	if s.sinceRecount++; s.sinceRecount == size {
		s.recount()
	}
}

func (s *Surprise) recount() {
	s.now, s.sum, s.squares, s.sinceRecount, s.largestBefore = 0, 0, 0, 0, 0
	size := len(s.errs)
	for age := range size {
		e := s.errs[(s.next+size-1-age)%size]
		if age < s.Short {
			s.now += e
			continue
		}
		s.sum += e
		s.squares += float64(e * e)
		s.largestBefore = max(s.largestBefore, e)
	}
}
