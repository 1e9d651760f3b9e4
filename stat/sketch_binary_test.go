package stat

import (
	"math"
	"reflect"
	"testing"
)

func TestSketchBinary(t *testing.T) {
	dice := NewStream(5, "test.binary")
	for n := range 200 {
		var s, back Sketch
		for range n {
			s.Add(math.Exp(3 * dice.NormFloat64()))
		}
		if n%3 == 0 {
			s.AddN(0, 2)
			s.Add(-1)
		}
		data, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := back.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(s, back) {
			t.Fatalf("%d numbers: %v\n%+v\n%+v", n, err, s, back)
		}
		for cut := range data {
			if err := new(Sketch).UnmarshalBinary(data[:cut]); err == nil {
				t.Fatalf("%d of %d bytes are taken", cut, len(data))
			}
		}
	}
}

func FuzzSketchBinary(f *testing.F) {
	var s Sketch
	s.Add(1)
	s.Add(1000)
	data, err := s.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Sketch
		if s.UnmarshalBinary(data) == nil {
			s.Quantile(0.5)
			s.Add(2)
		}
	})
}

// TestReadSketch: what was written is read, and a stranger's sketch that is out of
// bounds, too large or untrue in itself is not.
func TestReadSketch(t *testing.T) {
	var s Sketch
	for i := range 200 {
		s.Add(0.001 * math.Exp(float64(i)/40))
	}
	raw, _ := s.MarshalBinary()
	got, err := ReadSketch(raw, 1e-4, 100)
	if err != nil || got.Count() != 200 || got.Quantile(0.5) != s.Quantile(0.5) {
		t.Fatalf("a true sketch: %v", err)
	}
	n := uint64(0)
	for x, many := range got.All() {
		if x < 0.0009 || x > 0.2 {
			t.Errorf("number %v", x)
		}
		n += many
	}
	if n != 200 {
		t.Errorf("%d numbers, want 200", n)
	}
	if _, err := ReadSketch(raw, 0.01, 100); err == nil {
		t.Error("numbers below the bound were read")
	}
	if empty, err := ReadSketch(must((&Sketch{}).MarshalBinary()), 1e-4, 100); err != nil || empty.Count() != 0 {
		t.Errorf("an empty sketch: %v", err)
	}
	lie := func(change func(*Sketch)) {
		t.Helper()
		var s Sketch
		s.AddN(0.05, 10)
		s.AddN(0.2, 3)
		change(&s)
		if _, err := ReadSketch(must(s.MarshalBinary()), 1e-4, 100); err == nil {
			t.Error("a sketch that lies was read")
		}
	}
	lie(func(s *Sketch) { s.sum *= 2 })
	lie(func(s *Sketch) { s.sum = math.NaN() })
	lie(func(s *Sketch) { s.high = 90 })
	lie(func(s *Sketch) { s.zeros = 5 })
	lie(func(s *Sketch) { s.bins[0] = 1 << 60 })
	lie(func(s *Sketch) { s.first = math.MinInt64 + 5 })
	lie(func(s *Sketch) { s.accuracy = 0.3 })
}

func must(raw []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return raw
}

func FuzzReadSketch(f *testing.F) {
	var s Sketch
	s.AddN(0.05, 10)
	f.Add(must(s.MarshalBinary()))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSketch(data, 1e-4, 100)
		if err != nil {
			return
		}
		if again, err := ReadSketch(must(s.MarshalBinary()), 1e-4, 100); err != nil || again.Count() != s.Count() {
			t.Errorf("what was read is not written as it is: %v", err)
		}
		if s.Count() > 0 && (s.Quantile(0.5) < 9e-5 || s.Quantile(0.5) > 101) {
			t.Errorf("median %v", s.Quantile(0.5))
		}
	})
}
