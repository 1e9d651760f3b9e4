package knob

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"
)

// Set is a table of declarations, joined from those of several packages. It is
// immutable and may be shared.
type Set struct {
	knobs   []Knob
	index   map[string]int
	vectors []int // of each Vector, its place among the vectors
}

// NewSet joins groups of declarations in order. It reports every duplicate and
// every impossible declaration.
func NewSet(groups ...[]Knob) (*Set, error) {
	s := &Set{index: map[string]int{}}
	var errs []error
	vectors := 0
	for _, group := range groups {
		for _, k := range group {
			if _, dup := s.index[k.Name]; dup {
				errs = append(errs, fmt.Errorf("knob %s: declared twice", k.Name))
				continue
			}
			if err := k.check(); err != nil {
				errs = append(errs, err)
				continue
			}
			s.index[k.Name] = len(s.knobs)
			s.knobs = append(s.knobs, k)
			s.vectors = append(s.vectors, vectors)
			if k.Kind == Vector {
				vectors++
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Knobs returns the declarations in order.
func (s *Set) Knobs() []Knob { return slices.Clone(s.knobs) }

// Lookup returns the declaration of a name.
func (s *Set) Lookup(name string) (Knob, bool) {
	i, ok := s.index[name]
	if !ok {
		return Knob{}, false
	}
	return s.knobs[i], true
}

// Index returns the place of a name in the order of the set.
func (s *Set) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// Default returns the configuration of our defaults.
func (s *Set) Default() Config { return s.preset(func(k *Knob) string { return k.Default }) }

// Stock returns the configuration with go-libp2p-kad-dht's values.
func (s *Set) Stock() Config {
	return s.preset(func(k *Knob) string {
		if k.Stock != "" {
			return k.Stock
		}
		return k.Default
	})
}

func (s *Set) preset(text func(*Knob) string) Config {
	c := Config{set: s, numbers: make([]float64, len(s.knobs))}
	for i := range s.knobs {
		v, err := s.knobs[i].parse(text(&s.knobs[i]))
		if err != nil {
			panic("knob: a checked preset does not parse: " + err.Error())
		}
		if c.numbers[i] = v.num; s.knobs[i].Kind == Vector {
			c.vectors = append(c.vectors, v.vec)
		}
	}
	return c
}

// Preset returns the preset of a name: "stock" or "default".
func (s *Set) Preset(name string) (Config, error) {
	switch name {
	case "stock":
		return s.Stock(), nil
	case "default":
		return s.Default(), nil
	}
	return Config{}, fmt.Errorf("knob: unknown preset %q: want stock or default", name)
}

// Parse reads the text form of a configuration: lines "name = value", empty
// lines and lines that begin with #. What is not named keeps its value in base.
// An unknown name, a repeated name and a value out of range are errors.
func (s *Set) Parse(base Config, text string) (Config, error) {
	seen := map[string]bool{}
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, val, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok {
			return Config{}, fmt.Errorf("line %d: %q: want name = value", number+1, line)
		}
		if seen[name] {
			return Config{}, fmt.Errorf("line %d: knob %s is set twice", number+1, name)
		}
		seen[name] = true
		next, err := base.With(name, val)
		if err != nil {
			return Config{}, fmt.Errorf("line %d: %w", number+1, err)
		}
		base = next
	}
	return base, nil
}

// Config is an immutable value of a Set. The zero Config has no knobs.
type Config struct {
	set     *Set
	numbers []float64 // of each knob; 0 of a Vector
	vectors [][]int   // of each Vector; shared with other configurations that have the same
}

// value returns the value of the knob at place i.
func (c *Config) value(i int) value {
	if c.set.knobs[i].Kind == Vector {
		return value{vec: c.vectors[c.set.vectors[i]]}
	}
	return value{num: c.numbers[i]}
}

// Set returns the declarations that the configuration is a value of.
func (c Config) Set() *Set { return c.set }

// String returns the canonical text form: every knob on a line of its own, in
// the order of the set. Parse reads it back.
func (c Config) String() string {
	var b strings.Builder
	for i := range c.numbers {
		fmt.Fprintf(&b, "%s = %s\n", c.set.knobs[i].Name, c.set.knobs[i].text(c.value(i)))
	}
	return b.String()
}

// Hash returns 16 hexadecimal digits that identify the configuration: the name
// by which journals and peers know it.
func (c Config) Hash() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.String())) // never fails
	return fmt.Sprintf("%016x", h.Sum64())
}

// Equal reports whether both have the same knobs and values.
func (c Config) Equal(other Config) bool {
	return c.set == other.set && slices.Equal(c.numbers, other.numbers) && slices.EqualFunc(c.vectors, other.vectors, slices.Equal)
}

// With returns a copy with one knob set from text.
func (c Config) With(name, text string) (Config, error) {
	i, ok := c.find(name)
	if !ok {
		return Config{}, fmt.Errorf("unknown knob %q (shoal knobs lists them)", name)
	}
	v, err := c.set.knobs[i].parse(text)
	if err != nil {
		return Config{}, err
	}
	e := c.Edit()
	e.set(i, v)
	return e.Config(), nil
}

// WithNumber returns a copy with one knob set to the legal value nearest to x:
// whole numbers and choices are rounded to nearest, all are clipped to the hard
// range. It panics on an unknown name, on a vector and on NaN: those are errors
// of the program.
func (c Config) WithNumber(name string, x float64) Config {
	e := c.Edit()
	e.SetNumber(c.must(name, Int, Float, Duration, Enum), x)
	return e.Config()
}

// WithVector returns a copy with one vector knob set, each element clipped to
// the hard range. It panics on an unknown name or an empty vector.
func (c Config) WithVector(name string, vec []int) Config {
	e := c.Edit()
	e.SetVector(c.must(name, Vector), vec)
	return e.Config()
}

// Editor changes several knobs of a configuration for the price of one copy.
// Knobs are named by their place in the set: see Set.Index.
type Editor struct {
	config Config
	own    bool // the vectors are not shared
}

// Edit begins the changes; c itself stays as it is.
func (c Config) Edit() Editor {
	return Editor{config: Config{set: c.set, numbers: slices.Clone(c.numbers), vectors: c.vectors}}
}

func (e *Editor) set(i int, v value) {
	if e.config.set.knobs[i].Kind != Vector {
		e.config.numbers[i] = v.num
		return
	}
	if !e.own {
		e.config.vectors, e.own = slices.Clone(e.config.vectors), true
	}
	e.config.vectors[e.config.set.vectors[i]] = v.vec
}

// SetNumber is WithNumber by place.
func (e *Editor) SetNumber(i int, x float64) {
	k := &e.config.set.knobs[i]
	if math.IsNaN(x) || k.Kind == Vector {
		panic(fmt.Sprintf("knob %s: number %v for a %v", k.Name, x, k.Kind))
	}
	if k.Kind == Enum {
		x = min(max(math.Round(x), 0), float64(len(k.Choices)-1))
	} else {
		if k.Kind != Float {
			x = math.Round(x)
		}
		x = min(max(x, k.Min), k.Max)
	}
	e.config.numbers[i] = x
}

// SetVector is WithVector by place.
func (e *Editor) SetVector(i int, vec []int) {
	k := &e.config.set.knobs[i]
	if len(vec) == 0 || len(vec) > maxVector || k.Kind != Vector {
		panic(fmt.Sprintf("knob %s: %d elements for a %v", k.Name, len(vec), k.Kind))
	}
	clipped := make([]int, len(vec))
	for j, n := range vec {
		clipped[j] = min(max(n, int(k.Min)), int(k.Max))
	}
	e.set(i, value{vec: trim(clipped)})
}

// Config returns the changed configuration and ends the editor.
func (e *Editor) Config() Config {
	c := e.config
	e.config = Config{}
	return c
}

// NumberAt is Number by place in the set. A Vector has 0.
func (c Config) NumberAt(i int) float64 { return c.numbers[i] }

// VectorAt is Vector by place in the set. What is no Vector has nil.
func (c Config) VectorAt(i int) []int { return c.value(i).vec }

// Int returns the value of an Int or the index of an Enum's choice. Like all
// getters it panics on an unknown name or a wrong kind: an error of the program.
func (c Config) Int(name string) int { return int(c.numbers[c.must(name, Int, Enum)]) }

// Number returns the value of any knob but a Vector: nanoseconds for a
// Duration, the index of the choice for an Enum.
func (c Config) Number(name string) float64 {
	return c.numbers[c.must(name, Int, Float, Duration, Enum)]
}

// Duration returns the value of a Duration knob.
func (c Config) Duration(name string) time.Duration {
	return time.Duration(c.numbers[c.must(name, Duration)])
}

// Choice returns the chosen word of an Enum knob.
func (c Config) Choice(name string) string {
	i := c.must(name, Enum)
	return c.set.knobs[i].Choices[int(c.numbers[i])]
}

// Vector returns the elements of a Vector knob without repeated trailing ones:
// the last holds for all that follow. The caller must not change it.
func (c Config) Vector(name string) []int { return c.value(c.must(name, Vector)).vec }

// Text returns the text form of one value.
func (c Config) Text(name string) string {
	i, ok := c.find(name)
	if !ok {
		panic("knob: unknown name " + name)
	}
	return c.set.knobs[i].text(c.value(i))
}

func (c Config) find(name string) (int, bool) {
	if c.set == nil {
		return 0, false
	}
	i, ok := c.set.index[name]
	return i, ok
}

func (c Config) must(name string, kinds ...Kind) int {
	i, ok := c.find(name)
	if !ok {
		panic("knob: unknown name " + name)
	}
	if !slices.Contains(kinds, c.set.knobs[i].Kind) {
		panic(fmt.Sprintf("knob %s: is a %v", name, c.set.knobs[i].Kind))
	}
	return i
}

// Change is one knob that differs between two configurations, in text form.
type Change struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Diff lists the knobs whose values differ, in the order of the set. Both must
// be of the same set.
func Diff(from, to Config) []Change {
	var changes []Change
	for i := range from.numbers {
		if a, b := from.value(i), to.value(i); !a.equal(b) {
			k := &from.set.knobs[i]
			changes = append(changes, Change{Name: k.Name, From: k.text(a), To: k.text(b)})
		}
	}
	return changes
}

// ScopeOf returns the widest scope of what differs between two configurations:
// the unit that an experiment between them must have. Equal configurations have
// the narrowest.
func ScopeOf(from, to Config) Scope {
	widest := Request
	for i := range from.numbers {
		if !from.value(i).equal(to.value(i)) {
			widest = max(widest, from.set.knobs[i].Scope)
		}
	}
	return widest
}

// Unit returns a knob's value on its scale in [0,1], for optimizers. It panics
// on a Vector.
func (c Config) Unit(name string) float64 {
	i := c.must(name, Int, Float, Duration, Enum)
	k := &c.set.knobs[i]
	if k.Kind == Enum {
		return c.numbers[i] / float64(len(k.Choices)-1)
	}
	return k.unitOf(c.numbers[i])
}

// FromUnit is the inverse of Config.Unit: the number that lies at u in [0,1] on
// the knob's scale, not yet rounded. Outside the interval u is clipped.
func (k *Knob) FromUnit(u float64) float64 {
	u = min(max(u, 0), 1)
	switch {
	case k.Kind == Enum:
		return u * float64(len(k.Choices)-1)
	case k.Scale == Log:
		low := k.logFloor()
		if u == 0 {
			return k.Min
		}
		return low * math.Pow(k.Max/low, u)
	}
	return k.Min + float64(u*(k.Max-k.Min))
}
