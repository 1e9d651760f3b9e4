package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/knob"
)

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

// Toward moves one knob as far towards another configuration as a step goes, each place
// of a vector by itself.
func Toward(from, to knob.Config, k knob.Knob) knob.Config {
	switch k.Kind {
	case knob.Vector:
		return from.WithVector(k.Name, towardVector(&k, from.Vector(k.Name), to.Vector(k.Name)))
	default:
		return from.WithNumber(k.Name, k.Toward(from.Number(k.Name), to.Number(k.Name)))
	}
}

func towardVector(k *knob.Knob, from, to []int) []int {
	out := make([]int, max(len(from), len(to)))
	at := func(v []int, i int) float64 { return float64(v[min(i, len(v)-1)]) }
	for i := range out {
		x := k.Toward(at(from, i), at(to, i))
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
