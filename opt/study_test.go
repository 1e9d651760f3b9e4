package opt_test

import (
	"errors"
	"math"
	"testing"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

// arms is a space of one whole number from 0 to 7.
func arms(t *testing.T) *opt.Space {
	t.Helper()
	set, err := knob.NewSet([]knob.Knob{{Name: "test.arm", Kind: knob.Int, Min: 0, Max: 7, Default: "0", Doc: "an arm"}})
	if err != nil {
		t.Fatal(err)
	}
	space, err := opt.NewSpace(set.Default(), []opt.Dim{{Knob: "test.arm"}})
	if err != nil {
		t.Fatal(err)
	}
	return space
}

// TestStudents: every control family learns from what chance did, and then advises what
// is cheap where it is cheap: arm 1 in one context, arm 6 in the other.
func TestStudents(t *testing.T) {
	for _, family := range opt.Families {
		if family.Kind != opt.Control {
			continue
		}
		t.Run(family.Name, func(t *testing.T) {
			space := arms(t)
			o, err := family.New(space, opt.Settings{Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			s, ok := o.(opt.Student)
			if !ok {
				t.Skip("learns from its own trials alone")
			}
			base := space.Base()
			if got := s.Advise([]float64{1, 0}, base); !got.Equal(base) {
				t.Error("it advises before it studied")
			}
			draw := stat.NewStream(9, "test.study")
			context := func(i int) []float64 { return []float64{1, float64(i / 20 % 2)} }
			var log []opt.Experience
			for i := range 600 {
				arm := draw.IntN(8)
				best := 1 + 5*context(i)[1]
				log = append(log, opt.Experience{
					Context: context(i), Next: context(i + 1), Config: base.WithNumber("test.arm", float64(arm)),
					Scores: []float64{math.Abs(float64(arm)-best) + 0.3*draw.NormFloat64()},
				})
			}
			switch err := s.Study(log); {
			case errors.Is(err, opt.ErrOwnTrials):
				t.Skip(err)
			case err != nil:
				t.Fatal(err)
			}
			s.Practise(1500)
			for regime, best := range []float64{1, 6} {
				s.Witness(log[len(log)-1])
				worst := 0.0
				for from := range 8 {
					at := base.WithNumber("test.arm", float64(from))
					worst = max(worst, math.Abs(s.Advise([]float64{1, float64(regime)}, at).Number("test.arm")-best))
				}
				if worst > 1 {
					t.Errorf("in regime %d it settles %v from the best arm", regime, worst)
				}
			}
			if err := s.Study([]opt.Experience{{Config: base}}); err == nil {
				t.Error("an experience without a context was taken")
			}
		})
	}
}
