package stat

import (
	"math"
	"testing"
)

// wander is an AR(1) process with a wave of a day of 48 numbers.
func wander(dice *Stream, rho, wave float64) func(i int) float64 {
	level := 0.2 * dice.NormFloat64()
	return func(i int) float64 {
		level = rho*level + 0.2*math.Sqrt(1-rho*rho)*dice.NormFloat64()
		return 3 + level + wave*math.Sin(2*math.Pi*float64(i)/48)
	}
}

// TestProfile: scores are independent standard normal numbers, whatever the correlation
// and the wave, and both are found.
func TestProfile(t *testing.T) {
	for _, rho := range []float64{0, 0.5, 0.9} {
		dice := NewStream(1, "test.profile")
		var scores, neighbours, blocks MeanTest
		found := 0.0
		const runs = 30
		for range runs {
			p := Profile{Memory: 1000, Lag: 96, Waves: []Wave{{Period: 48, Spread: 0.1}, {Period: 24, Spread: 0.05}}}
			next, last, block := wander(dice, rho, 0.1), 0.0, 0.0
			for i := range 1500 {
				s := p.Add(float64(i), next(i))
				if i < 300 {
					continue
				}
				scores.Add(s.Score)
				neighbours.Add(s.Score * last)
				last = s.Score
				if block += s.Score; i%24 == 23 {
					blocks.Add(block)
					block = 0
				}
			}
			found += p.Rho() / runs
		}
		if math.Abs(scores.Mean()) > 0.02 || math.Abs(scores.Deviation()-1) > 0.03 || math.Abs(neighbours.Mean()) > 0.03 {
			t.Errorf("rho %v: scores have mean %.3f, deviation %.3f, correlation %.3f", rho, scores.Mean(), scores.Deviation(), neighbours.Mean())
		}
		if v := blocks.Deviation() * blocks.Deviation() / 24; v < 0.8 || v > 1.15 {
			t.Errorf("rho %v: sums of 24 scores have %.3f times their variance", rho, v)
		}
		if math.Abs(found-rho) > 0.03 {
			t.Errorf("rho %v: found %.3f", rho, found)
		}
	}
}

// TestProfileForgets: the wave is known at once after the level was forgotten, and the
// new level is none that stands out.
func TestProfileForgets(t *testing.T) {
	dice := NewStream(2, "test.profile")
	p := Profile{Memory: 1000, Lag: 96, Waves: []Wave{{Period: 48, Spread: 0.1}}}
	next := wander(dice, 0.5, 0.3)
	for i := range 960 {
		p.Add(float64(i), next(i))
	}
	p.Forget()
	var after MeanTest
	for i := range 48 {
		s := p.Add(float64(i), next(i)+1)
		after.Add(s.Score)
	}
	if p.N() != 48 || math.Abs(after.Mean()) > 0.5 || after.Deviation() > 1.4 {
		t.Errorf("scores of the day after: mean %.2f, deviation %.2f", after.Mean(), after.Deviation())
	}
}

// TestScanLength: the mean time to a false alarm is what was asked for, and more since
// not every length is looked at.
func TestScanLength(t *testing.T) {
	const wanted, runs = 1000, 300
	limit := ScanLimit(3, 96, wanted)
	if got := ScanLength(3, 96, limit); math.Abs(got-wanted) > 1 {
		t.Fatalf("limit %v has a length of %v", limit, got)
	}
	dice := NewStream(3, "test.scan")
	sum := 0.0
	for range runs {
		s := Scan{Shortest: 3, Longest: 96, Limit: limit}
		for n := 1; ; n++ {
			if s.Add(Scored{Score: dice.NormFloat64()}) {
				sum += float64(n)
				break
			}
		}
	}
	if mean := sum / runs; mean < wanted || mean > 2.2*wanted {
		t.Errorf("a false alarm after %.0f in the mean, want %d to twice that", mean, wanted)
	}
}

// TestScanFinds: large and small changes are found, each by a window of its size, and one
// below the least that counts is none.
func TestScanFinds(t *testing.T) {
	for _, c := range []struct {
		shift, least float64
		within       int
	}{{3, 0, 6}, {0.5, 0, 200}, {3, 6, 0}} {
		dice := NewStream(4, "test.scan")
		s := Scan{Shortest: 3, Longest: 96, Limit: ScanLimit(3, 96, 10_000), Least: c.least}
		for range 500 {
			x := dice.NormFloat64()
			s.Add(Scored{Score: x, Above: x})
		}
		found := 0
		for n := 1; n <= 300 && found == 0; n++ {
			if x := dice.NormFloat64() + c.shift; s.Add(Scored{Score: x, Above: x}) {
				found = n
			}
		}
		if (found > 0) != (c.within > 0) || found > c.within {
			t.Errorf("a shift of %v is found after %d, want within %d", c.shift, found, c.within)
		}
		if f := s.Found(); found > 0 && (f.Value <= s.Limit || f.Mean < c.shift/2) {
			t.Errorf("%+v", f)
		}
	}
}
