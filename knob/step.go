package knob

import "math"

// DefaultStep is how much a knob may change at once that declares nothing else.
const DefaultStep = 2.0

// stepShare is a step of a linear range, where that is more.
const stepShare = 0.1

// step is the factor.
func (k *Knob) step() float64 {
	if k.Step == 0 {
		return DefaultStep
	}
	return k.Step
}

// Toward returns the value on the way from one to another that is as far as a step goes:
// a factor up or down on the log scale; on a linear one as much up or down, or a tenth of
// the range where that is more. A choice, and what zero means where it has a meaning of
// its own, is one step.
func (k *Knob) Toward(from, to float64) float64 {
	if k.Kind == Enum || k.Zero != "" && (from == 0 || to == 0) {
		return to
	}
	low, high := from/k.step(), from*k.step()
	if k.Scale != Log {
		room := max(math.Abs(from)*(k.step()-1), stepShare*(k.Max-k.Min))
		low, high = from-room, from+room
	}
	return min(max(to, low), high)
}
