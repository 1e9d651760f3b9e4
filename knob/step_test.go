package knob

import "testing"

// TestToward: a step is a factor on the log scale, at least a tenth of a linear range,
// and all the way for choices and for what zero means.
func TestToward(t *testing.T) {
	logarithmic := Knob{Name: "a.log", Scale: Log, Min: 1, Max: 256}
	linear := Knob{Name: "a.linear", Min: 0, Max: 100}
	careful := Knob{Name: "a.careful", Scale: Log, Min: 1, Max: 256, Step: 1.5}
	off := Knob{Name: "a.off", Scale: Log, Min: 0, Max: 256, Zero: "off"}
	choice := Knob{Name: "a.choice", Kind: Enum, Choices: []string{"x", "y", "z", "w"}}
	for _, c := range []struct {
		knob           Knob
		from, to, want float64
	}{
		{logarithmic, 8, 100, 16},
		{logarithmic, 8, 10, 10},
		{logarithmic, 8, 1, 4},
		{linear, 2, 100, 12},
		{linear, 40, 100, 80},
		{linear, 40, 0, 0},
		{careful, 8, 100, 12},
		{off, 8, 0, 0},
		{off, 0, 200, 200},
		{choice, 0, 3, 3},
	} {
		if got := c.knob.Toward(c.from, c.to); got != c.want {
			t.Errorf("%s from %v to %v: %v, want %v", c.knob.Name, c.from, c.to, got, c.want)
		}
	}
}

func TestCostsAndSteps(t *testing.T) {
	for _, k := range []Knob{
		{Name: "a.b", Min: 1, Max: 2, Default: "1", Doc: "d", Costs: []string{"money"}},
		{Name: "a.b", Min: 1, Max: 2, Default: "1", Doc: "d", Step: 1},
		{Name: "a.b", Min: 1, Max: 2, Default: "1", Doc: "d", Step: -2},
	} {
		if _, err := NewSet([]Knob{k}); err == nil {
			t.Errorf("declared: %+v", k)
		}
	}
	if _, err := NewSet([]Knob{{Name: "a.b", Min: 1, Max: 2, Default: "1", Doc: "d", Costs: []string{"memory", "-bytes"}, Step: 1.5}}); err != nil {
		t.Error(err)
	}
}
