package knob

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func sample(t testing.TB) *Set {
	t.Helper()
	s, err := NewSet([]Knob{
		{Name: "lookup.alpha", Kind: Int, Scale: Log, Min: 1, Max: 32, Default: "3", Stock: "10", Doc: "requests in flight"},
		{Name: "lookup.order", Kind: Enum, Scale: Index, Choices: []string{"distance", "priced"}, Default: "priced", Stock: "distance", Doc: "candidate order"},
		{Name: "lookup.slack", Kind: Duration, Scale: Log, Min: float64(10 * time.Millisecond), Max: float64(time.Second), Default: "50ms", Doc: "slack"},
	}, []Knob{
		{Name: "table.shape", Kind: Vector, Scale: Log, Min: 1, Max: 256, Default: "20", Scope: Network, Doc: "bucket sizes"},
		{Name: "table.share", Kind: Float, Min: 0, Max: 1, Default: "0.5", Scope: Node, Doc: "random share"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPresets(t *testing.T) {
	s := sample(t)
	if got := s.Default().Int("lookup.alpha"); got != 3 {
		t.Errorf("default alpha = %d", got)
	}
	if got := s.Stock().Int("lookup.alpha"); got != 10 {
		t.Errorf("stock alpha = %d", got)
	}
	if got := ScopeOf(s.Stock(), s.Default()); got != Request {
		t.Errorf("only request knobs differ, got scope %v", got)
	}
	wide, err := s.Default().With("table.shape", "40, 30, 20, 20")
	if err != nil {
		t.Fatal(err)
	}
	if got := wide.Text("table.shape"); got != "40,30,20" {
		t.Errorf("shape = %q, want the repeated tail dropped", got)
	}
	if got := ScopeOf(s.Default(), wide); got != Network {
		t.Errorf("scope = %v, want network", got)
	}
	if wide.Hash() == s.Default().Hash() || len(wide.Hash()) != 16 {
		t.Error("different configurations need different hashes of 16 digits")
	}
}

func TestBadInputNamesTheKnob(t *testing.T) {
	s := sample(t)
	for _, text := range []string{
		"lookup.alpha = 0", "lookup.alpha = 1.5", "lookup.order = fast", "lookup.slack = 2s",
		"table.shape = 20,0,20", "table.shape = ", "table.share = NaN", "nonsense = 1",
		"lookup.alpha", "lookup.alpha = 3\nlookup.alpha = 4",
	} {
		_, err := s.Parse(s.Default(), text)
		if err == nil {
			t.Errorf("%q accepted", text)
		} else if name, _, _ := strings.Cut(text, " "); !strings.Contains(err.Error(), name) {
			t.Errorf("%q: the error %q does not name the knob", text, err)
		}
	}
}

func TestBadDeclarations(t *testing.T) {
	good := Knob{Name: "a.b", Min: 1, Max: 2, Default: "1", Doc: "d"}
	for name, spoil := range map[string]func(*Knob){
		"no dot":      func(k *Knob) { k.Name = "ab" },
		"upper case":  func(k *Knob) { k.Name = "a.B" },
		"no doc":      func(k *Knob) { k.Doc = "" },
		"empty range": func(k *Knob) { k.Max = k.Min },
		"NaN range":   func(k *Knob) { k.Max = math.NaN() },
		"bad default": func(k *Knob) { k.Default = "3" },
		"bad stock":   func(k *Knob) { k.Stock = "x" },
		"one choice":  func(k *Knob) { k.Kind, k.Choices, k.Default = Enum, []string{"x"}, "x" },
		"log of zero": func(k *Knob) { k.Scale, k.Min = Log, 0 },
	} {
		k := good
		spoil(&k)
		if _, err := NewSet([]Knob{k}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewSet([]Knob{good}, []Knob{good}); err == nil {
		t.Error("a duplicate was accepted")
	}
}

func anyConfig(t *rapid.T, s *Set) Config {
	c := s.Default()
	for _, k := range s.Knobs() {
		if k.Kind == Vector {
			c = c.WithVector(k.Name, rapid.SliceOfN(rapid.IntRange(-5, 300), 1, 30).Draw(t, k.Name))
			continue
		}
		c = c.WithNumber(k.Name, k.FromUnit(rapid.Float64Range(-0.1, 1.1).Draw(t, k.Name)))
	}
	return c
}

func TestTextRoundTrip(t *testing.T) {
	s := sample(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig(t, s)
		back, err := s.Parse(s.Default(), c.String())
		if err != nil {
			t.Fatal(err)
		}
		if !back.Equal(c) || back.Hash() != c.Hash() || len(Diff(c, back)) != 0 {
			t.Fatalf("wrote\n%sread\n%s", c, back)
		}
	})
}

func TestUnitRoundTrip(t *testing.T) {
	s := sample(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig(t, s)
		for _, k := range s.Knobs() {
			if k.Kind == Vector {
				continue
			}
			u := c.Unit(k.Name)
			if u < 0 || u > 1 {
				t.Fatalf("%s: unit %v", k.Name, u)
			}
			if back := c.WithNumber(k.Name, k.FromUnit(u)); k.Kind != Float && !back.Equal(c) {
				t.Fatalf("%s: %v came back as %v", k.Name, c.Text(k.Name), back.Text(k.Name))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	s := sample(f)
	f.Add("lookup.alpha = 3\n# words\ntable.shape = 8,16")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := s.Parse(s.Default(), text); err == nil {
			if back, err := s.Parse(s.Stock(), c.String()); err != nil || !back.Equal(c) {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}
