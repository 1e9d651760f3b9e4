package stat

import (
	"math"
	"testing"
)

// Added up as it goes, the score is what its definition says.
func TestSurpriseMatchesDefinition(t *testing.T) {
	const short, long = 4, 50
	dice := NewStream(1, "surprise")
	s := Surprise{Short: short, Long: long}
	var errs []float64
	for i := range 400 {
		x := 10 + dice.NormFloat64()
		if i == 300 {
			x += 20
		}
		e := 0.0
		if i > 0 {
			e = math.Abs(s.forecastError(x))
		}
		errs = append(errs, e)
		got := s.Add(x)
		n := min(len(errs), short+long)
		if n-short < surpriseLeast {
			if got != 0 {
				t.Fatalf("%d: %v though little is known", i, got)
			}
			continue
		}
		before := errs[len(errs)-n : len(errs)-short]
		now, mean, squares := 0.0, 0.0, 0.0
		for _, e := range errs[len(errs)-short:] {
			now += e / short
		}
		for _, e := range before {
			mean += e / float64(len(before))
		}
		for _, e := range before {
			squares += (e - mean) * (e - mean) / float64(len(before))
		}
		want := (now - mean) / math.Sqrt(squares) * math.Sqrt(short)
		if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Fatalf("%d: %v, want %v", i, got, want)
		}
		if i == 300 && got < 5 {
			t.Errorf("a spike of twenty deviations scores %v", got)
		}
	}
}

// It does not matter in which unit a stream is measured, nor what its level is.
func TestSurpriseScale(t *testing.T) {
	dice := NewStream(2, "surprise")
	a, b := Surprise{Short: 5, Long: 100}, Surprise{Short: 5, Long: 100}
	for i := range 500 {
		x := dice.NormFloat64() + math.Sin(float64(i)/20)
		p, q := a.Add(x), b.Add(1000*x)
		if math.Abs(p-q) > 1e-6*(1+math.Abs(p)) {
			t.Fatalf("%d: %v and %v", i, p, q)
		}
	}
}

// What does not change is no surprise, and what then does is; nonsense is passed over.
func TestSurpriseOfTheConstant(t *testing.T) {
	s := Surprise{Short: 3, Long: 60}
	for i := range 200 {
		x := 7.0
		if i == 150 {
			x = math.NaN()
		}
		if z := s.Add(x); z > 1 || math.IsNaN(z) {
			t.Fatalf("%d: %v", i, z)
		}
	}
	if z := s.Add(8); z < 5 {
		t.Errorf("a step scores %v", z)
	}
}

func BenchmarkSurprise(b *testing.B) {
	s := Surprise{Short: 10, Long: 2016}
	dice := NewStream(3, "surprise")
	for b.Loop() {
		s.Add(dice.NormFloat64())
	}
}
