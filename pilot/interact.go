package pilot

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/stat"
)

// interactSeeds is on how many fresh seeds components are told apart.
const interactSeeds = 8

// Interaction is what the components of a candidate do on the twin, each alone and all
// together. Ratios are of mean latency, with 95 % intervals over the seeds.
type Interaction struct {
	Alone    []ComponentEffect // the best first: the order in which they are rolled out
	Together Ratio             // all of them, against what runs
	// Surplus is what all do together over what they would if their ratios multiplied:
	// below 1 they help each other, above 1 they are in each other's way.
	Surplus Ratio
}

// ComponentEffect is one component's changes alone.
type ComponentEffect struct {
	Component string
	Ratio
}

// Ratio is a ratio with its 95 % interval.
type Ratio struct{ Value, Low, High float64 }

// ratioOf is of logarithms, one for each seed.
func ratioOf(logs []float64) Ratio {
	var t stat.MeanTest
	for _, x := range logs {
		t.Add(x)
	}
	half := t.Deviation() / math.Sqrt(float64(len(logs))) * stat.StudentQuantile(0.975, max(len(logs)-1, 1))
	return Ratio{math.Exp(t.Mean()), math.Exp(t.Mean() - half), math.Exp(t.Mean() + half)}
}

// String returns the ratio with its interval.
func (r Ratio) String() string { return fmt.Sprintf("%.3f [%.3f, %.3f]", r.Value, r.Low, r.High) }

// Interact simulates what runs, each component of a candidate alone and the whole, in
// pairs on the same seeds: (components + 2) times as many simulations as seeds. Of a
// candidate with fewer than two components it returns the zero Interaction.
func (e Evaluator) Interact(ctx context.Context, pool lab.Pool, from, to knob.Config, lookups int, seeds []uint64) (Interaction, error) {
	var names []string
	alone := map[string]knob.Config{}
	for _, c := range knob.Diff(from, to) {
		k, _ := from.Set().Lookup(c.Name)
		name := k.Component()
		if _, ok := alone[name]; !ok {
			names, alone[name] = append(names, name), from
		}
		next, err := alone[name].With(c.Name, c.To)
		if err != nil {
			return Interaction{}, err
		}
		alone[name] = next
	}
	if len(names) < 2 {
		return Interaction{}, nil
	}
	configs := []knob.Config{from, to}
	for _, name := range names {
		configs = append(configs, alone[name])
	}
	logs := make([][]float64, len(configs)) // against what runs
	surplus := make([]float64, len(seeds))
	for i, seed := range seeds {
		scores, err := e.Evaluate(ctx, pool, configs, lookups, []uint64{seed})
		if err != nil {
			return Interaction{}, err
		}
		for c := range configs {
			logs[c] = append(logs[c], math.Log(latencyOfScore(&scores[c])/latencyOfScore(&scores[0])))
		}
		surplus[i] = logs[1][i]
		for c := range names {
			surplus[i] -= logs[2+c][i]
		}
	}
	out := Interaction{Together: ratioOf(logs[1]), Surplus: ratioOf(surplus)}
	for c, name := range names {
		out.Alone = append(out.Alone, ComponentEffect{name, ratioOf(logs[2+c])})
	}
	slices.SortStableFunc(out.Alone, func(a, b ComponentEffect) int {
		if a.Value < b.Value {
			return -1
		}
		return 1
	})
	return out, nil
}

// latencyOfScore is a mean that has a logarithm.
func latencyOfScore(s *Score) float64 { return max(s.Latency.Mean, 1e-3) }

// Order is the order in which the components are rolled out.
func (i *Interaction) Order() (names []string) {
	for _, c := range i.Alone {
		names = append(names, c.Component)
	}
	return names
}

// Text is the interaction in words.
func (i *Interaction) Text() string {
	words := []string{}
	for _, c := range i.Alone {
		words = append(words, c.Component+" alone "+c.String())
	}
	verdict := "no interaction is shown"
	switch {
	case i.Surplus.High < 1:
		verdict = "they help each other"
	case i.Surplus.Low > 1:
		verdict = "they are in each other's way"
	}
	return fmt.Sprintf("on the twin %s, together %s, which is %s of what they would do if they did not interact: %s", strings.Join(words, ", "), i.Together, i.Surplus, verdict)
}
