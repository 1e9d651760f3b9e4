// Package knob is the vocabulary of tunables. A package that has something to
// tune declares it here once: name, unit, kind, range, scale, default, what zero
// means, where the number comes from, how a change takes effect and whom it
// touches. That one table feeds validation, command-line flags, the optimizers'
// space and `shoal knobs`.
//
// A face joins the declarations of the packages it uses into one [Set]; a
// duplicate or impossible declaration fails there. There is no global registry.
// A [Config] is an immutable value of a Set with a text form and a hash; every
// peer holds its own.
package knob

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a knob's value.
type Kind uint8

// The kinds.
const (
	Int      Kind = iota // a whole number
	Float                // a real number
	Duration             // a time.Duration; ranges and values in nanoseconds
	Enum                 // one of Choices
	Vector               // one whole number for each bucket; the last one listed holds for all that follow
)

// String returns the kind in lower case.
func (k Kind) String() string {
	return [...]string{"int", "float", "duration", "enum", "vector"}[k]
}

// Scale says on which axis a search moves a knob.
type Scale uint8

// The scales.
const (
	Linear Scale = iota // equal differences matter equally
	Log                 // equal ratios matter equally; Min must be positive, or 0 where zero has a meaning of its own
	Index               // an unordered choice
)

// String returns the scale in lower case.
func (s Scale) String() string { return [...]string{"linear", "log", "index"}[s] }

// Apply says how a new value takes effect on a running peer.
type Apply uint8

// The ways to apply.
const (
	Hot     Apply = iota // at once
	Restart              // when the peer starts
	Ordered              // at once, but raised on servers before clients, or the like
)

// String returns the way in lower case.
func (a Apply) String() string { return [...]string{"hot", "restart", "ordered"}[a] }

// Scope says whom a change touches, and so what the unit of an experiment is.
// Scopes are ordered from narrow to wide.
type Scope uint8

// The scopes.
const (
	Request Scope = iota // one lookup: arms are split by a salted hash of the lookup
	Node                 // the peer's own state: arms are split by peer
	Network              // other peers too: arms are split by clusters or time blocks
)

// String returns the scope in lower case.
func (s Scope) String() string { return [...]string{"request", "node", "network"}[s] }

// Resources are what a knob may cost. Soft constraints bind them (tune.Soft).
var Resources = []string{"memory", "processor", "bytes", "disk"}

// Knob declares one tunable. Min, Max and Default of a Duration are in
// nanoseconds, of an Enum indices into Choices.
type Knob struct {
	Name    string // "component.knob", lower case
	Unit    string // "peers", "ms"; empty for a pure number, a choice or a duration
	Kind    Kind
	Scale   Scale
	Min     float64 // hard bounds, both included; of a Vector, of each element
	Max     float64
	Default string   // in text form
	Stock   string   // value of go-libp2p-kad-dht v0.42.1 in text form; empty where it is Default
	Choices []string // of an Enum
	Zero    string   // what zero means; empty where zero is a plain value or out of range
	Apply   Apply
	Scope   Scope
	Guards  []string // metrics that must not get worse when it moves
	Costs   []string // the Resources of which a larger value takes more, or less with a "-" before it
	Step    float64  // the most that it may change at once, see Toward; 0 is DefaultStep
	Doc     string   // one line
	Source  string   // where the default comes from
}

// Component returns the part of the name before the first dot.
func (k *Knob) Component() string {
	name, _, _ := strings.Cut(k.Name, ".")
	return name
}

// value is one knob's value: num for all kinds but Vector, vec for Vector.
type value struct {
	num float64
	vec []int
}

func (v value) equal(w value) bool { return v.num == w.num && slices.Equal(v.vec, w.vec) }

// maxVector bounds the elements of a vector: one for each bit of a key.
const maxVector = 256

// parse reads the text form of a value and checks it against the hard range.
func (k *Knob) parse(text string) (value, error) {
	text = strings.TrimSpace(text)
	bad := func(want string) (value, error) {
		return value{}, fmt.Errorf("knob %s: %q: want %s", k.Name, text, want)
	}
	switch k.Kind {
	case Enum:
		i := slices.Index(k.Choices, text)
		if i < 0 {
			return bad("one of " + strings.Join(k.Choices, ", "))
		}
		return value{num: float64(i)}, nil
	case Vector:
		return k.parseVector(text)
	case Duration:
		d, err := time.ParseDuration(text)
		if err != nil || !k.holds(float64(d)) {
			return bad(fmt.Sprintf("a duration from %v to %v", time.Duration(k.Min), time.Duration(k.Max)))
		}
		return value{num: float64(d)}, nil
	case Int:
		n, err := strconv.Atoi(text)
		if err != nil || !k.holds(float64(n)) {
			return bad(fmt.Sprintf("a whole number from %v to %v", k.Min, k.Max))
		}
		return value{num: float64(n)}, nil
	default:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || !k.holds(x) {
			return bad(fmt.Sprintf("a number from %v to %v", k.Min, k.Max))
		}
		return value{num: x}, nil
	}
}

// holds reports whether x is in the hard range. NaN is not.
func (k *Knob) holds(x float64) bool { return x >= k.Min && x <= k.Max }

// parseVector reads "8,16,20": elements in order, the last one for all buckets
// that follow.
func (k *Knob) parseVector(text string) (value, error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxVector {
		return value{}, fmt.Errorf("knob %s: %d elements: want at most %d", k.Name, len(parts), maxVector)
	}
	vec := make([]int, len(parts))
	for i, part := range parts {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || !k.holds(float64(n)) {
			return value{}, fmt.Errorf("knob %s: element %d is %q: want a whole number from %v to %v", k.Name, i, strings.TrimSpace(part), k.Min, k.Max)
		}
		vec[i] = n
	}
	return value{vec: trim(vec)}, nil
}

// trim drops repeated trailing elements, so that equal shapes have one form.
func trim(vec []int) []int {
	for len(vec) > 1 && vec[len(vec)-1] == vec[len(vec)-2] {
		vec = vec[:len(vec)-1]
	}
	return vec
}

// text is the inverse of parse.
func (k *Knob) text(v value) string {
	switch k.Kind {
	case Enum:
		return k.Choices[int(v.num)]
	case Vector:
		parts := make([]string, len(v.vec))
		for i, n := range v.vec {
			parts[i] = strconv.Itoa(n)
		}
		return strings.Join(parts, ",")
	case Duration:
		return time.Duration(v.num).String()
	case Int:
		return strconv.Itoa(int(v.num))
	default:
		return strconv.FormatFloat(v.num, 'g', -1, 64)
	}
}

// check reports a declaration that cannot be right.
func (k *Knob) check() error {
	component, rest, ok := strings.Cut(k.Name, ".")
	switch {
	case !ok || component == "" || rest == "" || k.Name != strings.ToLower(k.Name) || strings.ContainsAny(k.Name, " =#"):
		return fmt.Errorf("knob %q: a name is component.knob in lower case", k.Name)
	case k.Doc == "":
		return fmt.Errorf("knob %s: no doc", k.Name)
	case k.Kind == Enum && len(k.Choices) < 2:
		return fmt.Errorf("knob %s: an enum needs two choices or more", k.Name)
	case k.Kind != Enum && !(k.Min < k.Max): // also catches NaN
		return fmt.Errorf("knob %s: empty range %v to %v", k.Name, k.Min, k.Max)
	case k.Step != 0 && !(k.Step > 1):
		return fmt.Errorf("knob %s: a step of %v: want a factor above 1", k.Name, k.Step)
	case slices.ContainsFunc(k.Costs, func(c string) bool { return !slices.Contains(Resources, strings.TrimPrefix(c, "-")) }):
		return fmt.Errorf("knob %s: costs %v: want some of %v", k.Name, k.Costs, Resources)
	case k.Scale == Log && (k.Min < 0 || k.Min == 0 && k.Zero == ""):
		return fmt.Errorf("knob %s: a log scale needs a positive minimum, or a meaning of zero", k.Name)
	}
	if _, err := k.parse(k.Default); err != nil {
		return errors.Join(errors.New("bad default"), err)
	}
	if k.Stock != "" {
		if _, err := k.parse(k.Stock); err != nil {
			return errors.Join(errors.New("bad stock value"), err)
		}
	}
	return nil
}

// unitOf maps a value of the range to [0,1] on the knob's scale; FromUnit is its
// inverse. Zero with a meaning of its own on a log scale maps to 0.
func (k *Knob) unitOf(x float64) float64 {
	if k.Scale == Log {
		low := k.logFloor()
		return math.Log(max(x, low)/low) / math.Log(k.Max/low)
	}
	return (x - k.Min) / (k.Max - k.Min)
}

// logFloor is the smallest positive value of a log scale.
func (k *Knob) logFloor() float64 {
	switch {
	case k.Min > 0:
		return k.Min
	case k.Kind == Duration:
		return float64(time.Millisecond)
	}
	return min(1, k.Max/1024)
}
