package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/knob"
)

// Step is the largest change of a knob at once: a factor for logarithmic ones, for
// linear ones as much up or down, or a tenth of the range where that is more. A
// choice, and what zero means where it has a meaning of its own, is one step.
const Step = 2.0

const stepShare = 0.1

// Far returns the first knob that differs by more than a step, and whether there is
// one.
func Far(from, to knob.Config) (name string, far bool) {
	for _, k := range from.Set().Knobs() {
		if from.Text(k.Name) != to.Text(k.Name) && Toward(from, to, k).Text(k.Name) != to.Text(k.Name) {
			return k.Name, true
		}
	}
	return "", false
}

// Toward moves one knob as far towards another configuration as a step goes.
func Toward(from, to knob.Config, k knob.Knob) knob.Config {
	switch k.Kind {
	case knob.Vector:
		return from.WithVector(k.Name, towardVector(&k, from.Vector(k.Name), to.Vector(k.Name)))
	case knob.Enum:
		return from.WithNumber(k.Name, to.Number(k.Name))
	default:
		return from.WithNumber(k.Name, towardNumber(&k, from.Number(k.Name), to.Number(k.Name)))
	}
}

func towardNumber(k *knob.Knob, from, to float64) float64 {
	if k.Zero != "" && (from == 0 || to == 0) {
		return to
	}
	low, high := from/Step, from*Step
	if k.Scale != knob.Log {
		room := max(math.Abs(from)*(Step-1), stepShare*(k.Max-k.Min))
		low, high = from-room, from+room
	}
	return min(max(to, low), high)
}

func towardVector(k *knob.Knob, from, to []int) []int {
	out := make([]int, max(len(from), len(to)))
	at := func(v []int, i int) float64 { return float64(v[min(i, len(v)-1)]) }
	for i := range out {
		x := towardNumber(k, at(from, i), at(to, i))
		if at(to, i) > at(from, i) {
			out[i] = int(math.Floor(x))
		} else {
			out[i] = int(math.Ceil(x))
		}
	}
	return out
}

// Approach moves every knob that differs as far as a step goes.
func Approach(from, to knob.Config) knob.Config {
	for _, k := range from.Set().Knobs() {
		if from.Text(k.Name) != to.Text(k.Name) {
			from = Toward(from, to, k)
		}
	}
	return from
}

// Changes are the knobs that differ, in lines "name = value": what makes from to.
func Changes(from, to knob.Config) string {
	var b strings.Builder
	for _, c := range knob.Diff(from, to) {
		fmt.Fprintf(&b, "%s = %s\n", c.Name, c.To)
	}
	return b.String()
}

// Graft returns local with the named knobs of other.
func Graft(local, other knob.Config, names []string) knob.Config {
	for _, name := range names {
		if next, err := local.With(name, other.Text(name)); err == nil { // ever: it is of the same set
			local = next
		}
	}
	return local
}

// outside returns a knob that differs and is not among the names.
func outside(from, to knob.Config, names []string) (string, bool) {
	for _, c := range knob.Diff(from, to) {
		if !slices.Contains(names, c.Name) {
			return c.Name, true
		}
	}
	return "", false
}
