package opt

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/opt/sizes"
)

// Dim is one searched coordinate: a scalar knob, or one element of a vector.
type Dim struct {
	Knob    string  // name in the base's set
	Element int     // of a Vector; 0 for a scalar
	Lo, Hi  float64 // searched range, both included, in the knob's unit; both 0 means its hard range. Not for an Enum: all choices are searched
	Weight  float64 // cost of one unit in the budget; 0 means outside it. Only for whole numbers
}

// Space maps vectors of [0,1]^d to configurations and back. What is not among
// its dimensions keeps the value of the base. It is immutable.
//
// Sizes and times are searched by ratio (log scale), as their knobs declare.
// Whole numbers are rounded to nearest, choices have intervals of equal width.
type Space struct {
	base   knob.Config
	axes   []axis
	region sizes.Region // of the budgeted axes, in order
	log    bool         // these are searched by ratio
}

// axis is a checked Dim.
type axis struct {
	Dim
	place   int // of the knob in the set
	kind    knob.Kind
	log     bool
	choices int
}

// NewSpace returns the space of the dims around a base, without a budget. Every
// searched element of a vector may be named once, and the base is the first
// thing that every optimizer tries.
func NewSpace(base knob.Config, dims []Dim) (*Space, error) {
	if base.Set() == nil || len(dims) == 0 {
		return nil, errors.New("opt: a space needs a base configuration and at least one dim")
	}
	s := &Space{base: base}
	type place struct {
		name    string
		element int
	}
	seen := map[place]bool{}
	for _, d := range dims {
		a, err := newAxis(base.Set(), d)
		if err != nil {
			return nil, err
		}
		if at := (place{d.Knob, d.Element}); seen[at] {
			return nil, fmt.Errorf("opt: dim %s element %d is named twice", d.Knob, d.Element)
		} else {
			seen[at] = true
		}
		s.axes = append(s.axes, a)
	}
	return s, s.setRegion(0)
}

func newAxis(set *knob.Set, d Dim) (axis, error) {
	k, ok := set.Lookup(d.Knob)
	if !ok {
		return axis{}, fmt.Errorf("opt: dim %q: no such knob (shoal knobs lists them)", d.Knob)
	}
	at, _ := set.Index(d.Knob)
	a := axis{Dim: d, place: at, kind: k.Kind, log: k.Scale == knob.Log, choices: len(k.Choices)}
	if a.Lo == 0 && a.Hi == 0 {
		a.Lo, a.Hi = k.Min, k.Max
		if a.log && a.Lo == 0 { // a zero with a meaning of its own is not searched
			a.Lo = k.FromUnit(math.SmallestNonzeroFloat64)
		}
	}
	if a.whole() {
		a.Lo, a.Hi = math.Ceil(a.Lo), math.Floor(a.Hi)
	}
	switch {
	case k.Kind == knob.Enum:
		a.Lo, a.Hi = 0, float64(len(k.Choices)-1)
	case !(a.Lo < a.Hi) || a.Lo < k.Min || a.Hi > k.Max:
		return axis{}, fmt.Errorf("opt: dim %s: range %v to %v: want some of %v to %v", d.Knob, a.Lo, a.Hi, k.Min, k.Max)
	case a.log && a.Lo <= 0:
		return axis{}, fmt.Errorf("opt: dim %s: range from %v: a log scale needs a positive one", d.Knob, a.Lo)
	}
	switch {
	case d.Element < 0 || d.Element >= maxElements || d.Element > 0 && k.Kind != knob.Vector:
		return axis{}, fmt.Errorf("opt: dim %s: element %d: want 0 to %d of a vector, 0 of a scalar", d.Knob, d.Element, maxElements-1)
	case math.IsNaN(d.Weight) || d.Weight < 0 || d.Weight > 0 && k.Kind != knob.Vector && k.Kind != knob.Int:
		return axis{}, fmt.Errorf("opt: dim %s: weight %v: want 0 or more, and whole numbers if more", d.Knob, d.Weight)
	}
	return a, nil
}

// maxElements bounds a vector: one element for each bit of a key.
const maxElements = 256

// WithBudget returns the space with Σ Weight·value of its dims limited; 0 means
// no limit. It fails if the lower bounds alone cost more, and if some weighted
// dims are searched by ratio and others are not.
func (s *Space) WithBudget(budget float64) (*Space, error) {
	limited := *s
	if err := limited.setRegion(budget); err != nil {
		return nil, err
	}
	return &limited, nil
}

func (s *Space) setRegion(budget float64) error {
	s.region = sizes.Region{Budget: budget}
	for _, a := range s.axes {
		if a.Weight == 0 {
			continue
		}
		if len(s.region.Lo) > 0 && a.log != s.log {
			return fmt.Errorf("opt: dim %s: the weighted dims mix log and linear scales: want one", a.Knob)
		}
		s.log = a.log
		s.region.Lo = append(s.region.Lo, int(a.Lo))
		s.region.Hi = append(s.region.Hi, int(a.Hi))
		s.region.Weights = append(s.region.Weights, a.Weight)
	}
	return s.region.Check()
}

// Dims returns the dimensions, with their ranges filled in.
func (s *Space) Dims() []Dim {
	dims := make([]Dim, len(s.axes))
	for i, a := range s.axes {
		dims[i] = a.Dim
	}
	return dims
}

// Size returns the number of dimensions.
func (s *Space) Size() int { return len(s.axes) }

// Base returns the configuration that the space was made around. It may lie
// outside the searched ranges.
func (s *Space) Base() knob.Config { return s.base }

// Categorical reports whether dimension i is an unordered choice, for which
// neither distance nor interpolation means anything.
func (s *Space) Categorical(i int) bool { return s.axes[i].kind == knob.Enum }

// Config returns the feasible configuration nearest to x: coordinates are
// clipped to [0,1], and the weighted sizes projected onto bounds and budget by
// sizes.Region.RelativeInt, or NearestInt on a linear scale. It panics on a vector of
// another size and on NaN: those are errors of the program.
func (s *Space) Config(x []float64) knob.Config {
	if len(x) != len(s.axes) {
		panic(fmt.Sprintf("opt: vector of %d coordinates in a space of %d", len(x), len(s.axes)))
	}
	var few [16]float64
	values := few[:min(len(x), len(few))]
	if len(x) > len(few) {
		values = make([]float64, len(x))
	}
	for i := range s.axes {
		if math.IsNaN(x[i]) {
			panic(fmt.Sprintf("opt: coordinate %d is NaN", i))
		}
		values[i] = s.axes[i].value(min(max(x[i], 0), 1))
	}
	s.project(values)
	edit := s.base.Edit()
	for i := range s.axes {
		if s.axes[i].kind != knob.Vector {
			edit.SetNumber(s.axes[i].place, values[i])
		} else if s.leads(i) {
			edit.SetVector(s.axes[i].place, s.vector(s.axes[i].Knob, values))
		}
	}
	return edit.Config()
}

// leads reports whether axis i is the first of its vector.
func (s *Space) leads(i int) bool {
	return !slices.ContainsFunc(s.axes[:i], func(a axis) bool { return a.Knob == s.axes[i].Knob })
}

// project moves the weighted values into the region.
func (s *Space) project(values []float64) {
	if len(s.region.Lo) == 0 {
		return
	}
	var wanted []float64
	for i, a := range s.axes {
		if a.Weight > 0 {
			wanted = append(wanted, values[i])
		}
	}
	projection := s.region.NearestInt
	if s.log {
		projection = s.region.RelativeInt
	}
	whole, err := projection(wanted)
	if err != nil {
		panic("opt: a checked region refused a finite point: " + err.Error())
	}
	for i, a := range s.axes {
		if a.Weight > 0 {
			values[i] = float64(whole[0])
			whole = whole[1:]
		}
	}
}

// vector returns the elements of a vector knob: those of the base, whose last
// one holds for all that follow, with the searched ones replaced.
func (s *Space) vector(name string, values []float64) []int {
	vec := slices.Clone(s.base.Vector(name))
	tail := vec[len(vec)-1]
	for i, a := range s.axes {
		if a.Knob != name {
			continue
		}
		for len(vec) < min(a.Element+2, maxElements) {
			vec = append(vec, tail)
		}
		vec[a.Element] = int(values[i])
	}
	return vec
}

// Vector returns the coordinates of a configuration, those outside the searched
// ranges clipped to their ends. Config(Vector(c)) is c for every c that Config
// returns, up to the last digits of a Float.
func (s *Space) Vector(config knob.Config) []float64 {
	x := make([]float64, len(s.axes))
	for i := range s.axes {
		x[i] = s.axes[i].unit(s.axes[i].read(config))
	}
	return x
}

// Feasible reports whether the searched values of a configuration are within
// their ranges and the budget.
func (s *Space) Feasible(config knob.Config) bool {
	var weighted []int
	for i := range s.axes {
		a := &s.axes[i]
		v := a.read(config)
		if slack := 1e-12 * (a.Hi - a.Lo); v < a.Lo-slack || v > a.Hi+slack {
			return false
		}
		if a.Weight > 0 {
			weighted = append(weighted, int(v))
		}
	}
	return s.region.Contains(weighted)
}

// snap returns the coordinates of the configuration that x stands for.
func (s *Space) snap(x []float64) []float64 { return s.Vector(s.Config(x)) }

func (a *axis) whole() bool { return a.kind != knob.Float }

// value returns what stands at u in [0,1], whole where the knob is.
func (a *axis) value(u float64) float64 {
	if a.kind == knob.Enum {
		return min(math.Floor(u*float64(a.choices)), float64(a.choices-1))
	}
	v := a.number(u)
	if a.whole() && a.Weight == 0 {
		v = math.Round(v)
	}
	return min(max(v, a.Lo), a.Hi)
}

// unit is the inverse of value; of a choice, the middle of its interval.
func (a *axis) unit(v float64) float64 {
	v = min(max(v, a.Lo), a.Hi)
	if a.kind == knob.Enum {
		return (v + 0.5) / float64(a.choices)
	}
	return a.unitOf(v)
}

// number returns what stands at u on the scale, not rounded and not clipped. It is
// not for choices.
func (a *axis) number(u float64) float64 {
	if a.log {
		return a.Lo * math.Pow(a.Hi/a.Lo, u)
	}
	return a.Lo + float64(u*(a.Hi-a.Lo))
}

// unitOf is the inverse of number.
func (a *axis) unitOf(v float64) float64 {
	if a.log {
		return math.Log(v/a.Lo) / math.Log(a.Hi/a.Lo)
	}
	return (v - a.Lo) / (a.Hi - a.Lo)
}

// read returns the searched value in a configuration.
func (a *axis) read(config knob.Config) float64 {
	if a.kind != knob.Vector {
		return config.NumberAt(a.place)
	}
	vec := config.VectorAt(a.place)
	return float64(vec[min(a.Element, len(vec)-1)])
}

// ShapeDims returns the dimensions of a routing table's shape, the vector knob
// of that name, for a network of about so many peers. Bucket j has N/2^(j+1)
// candidates in the mean, so its size only matters while that exceeds the
// smallest size lo: for j < ⌊log2(N/lo)⌋. These binding buckets are searched, and
// one more as a guard; all others keep the base's sizes.
//
// Occupancy m is nearly Poisson, so sizes above ⌈m+2√m⌉ are not searched. The
// weight is min(1, m/lo), the filled share at the smallest size: with it the
// budget bounds the mean number of entries from above. lo must be at least 1.
func ShapeDims(name string, peers, lo, hi int) []Dim {
	binding := max(0, int(math.Floor(math.Log2(float64(peers)/float64(lo)))))
	dims := make([]Dim, 0, binding+1)
	for j := range min(binding+1, maxElements) {
		mean := float64(peers) / math.Exp2(float64(j+1))
		top := math.Ceil(mean + 2*math.Sqrt(mean))
		dims = append(dims, Dim{
			Knob: name, Element: j,
			Lo: float64(lo), Hi: min(float64(hi), max(top, float64(lo+1))),
			Weight: min(1, mean/float64(lo)),
		})
	}
	return dims
}
