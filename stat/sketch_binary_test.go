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
