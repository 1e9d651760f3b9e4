package sizes

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Rule says what sizes should become when something is seen.
type Rule struct {
	Name       string      // what for, in words: "more redundancy"
	When       []Condition // all must hold; none means always
	Effects    []Effect
	Confidence float64 // above 1/2; 1 means that nothing else counts
}

// Condition compares what is seen.
type Condition struct {
	Feature string // of RuleSet.Features
	Above   bool   // than Level; else below
	Level   float64
}

// Effect multiplies the sizes at hand of a part of the buckets. Bucket 0 is the far
// half of the network.
type Effect struct {
	From, To float64 // shares of the buckets, 0 the farthest and 1 the nearest; a bucket belongs to the part with its middle
	Factor   float64
}

// RuleSet turns a proposal of sizes into sizes that keep every limit, and says why
// they are what they are. The zero value has no rules.
type RuleSet struct {
	Features []string // names of the numbers that are seen, in order
	Rules    []Rule
	Step     float64 // a size may become so many times as large or as small in one decision, at least 1; 0 means that it may take any step
}

// Limit names a limit that holds a size back.
type Limit uint8

// The limits.
const (
	LeastSize    Limit = iota // the lower bound of the region
	GreatestSize              // its upper bound
	StepDown                  // no smaller in one decision
	StepUp                    // no larger in one decision
	WholeBudget               // the sum: of all buckets
)

// String returns the limit in words.
func (l Limit) String() string {
	return [...]string{"the least size", "the greatest size", "the widest step down", "the widest step up", "the budget"}[l]
}

// Active is a limit that changed a decision.
type Active struct {
	Limit  Limit
	Bucket int // of the sizes; -1 for the budget
}

// Decision is what a RuleSet made of a proposal.
type Decision struct {
	Sizes   []int
	Rules   []string // names of the rules that applied
	Limits  []Active // that changed it, in order of bucket, the budget last
	Reasons []string // both in words
}

// RuleFeatures are what PresetRules look at: each of about unit size, so that they may
// stand in Outcome.Context.
var RuleFeatures = []string{"memory pressure", "churn", "thousands of queries an hour", "peers, log10/10"}

// PresetRules are the four rules of the bucket-ML document with bucket 0 as the far
// half, and steps of at most two times. Its conditions are kept: a memory pressure
// above 0.8, a churn above 0.5, more than 100 queries an hour, more than a million
// peers.
func PresetRules() RuleSet {
	return RuleSet{
		Features: RuleFeatures, Step: 2,
		Rules: []Rule{
			{"shrink the middle", []Condition{{RuleFeatures[0], true, 0.8}}, []Effect{{1. / 3, 2. / 3, 0.5}}, 0.95},
			{"more redundancy", []Condition{{RuleFeatures[1], true, 0.5}}, []Effect{{0, 1, 2}}, 0.85},
			{"busy: more near peers", []Condition{{RuleFeatures[2], true, 0.1}}, []Effect{{2. / 3, 1, 2}}, 0.9},
			{"hourglass", []Condition{{RuleFeatures[3], true, 0.6}}, []Effect{{0, 1. / 3, 2}, {2. / 3, 1, 2}}, 0.8},
		},
	}
}

// Check reports a malformed rule.
func (r *RuleSet) Check() error {
	if r.Step != 0 && !(r.Step >= 1) {
		return fmt.Errorf("sizes: rules: step %v: want 1 or more, or 0 for any", r.Step)
	}
	for _, rule := range r.Rules {
		if !(rule.Confidence > 0.5) || rule.Confidence > 1 || len(rule.Effects) == 0 {
			return fmt.Errorf("sizes: rule %q: confidence %v and %d effects: want above 0.5 to 1, and one effect or more", rule.Name, rule.Confidence, len(rule.Effects))
		}
		for _, c := range rule.When {
			if !slices.Contains(r.Features, c.Feature) {
				return fmt.Errorf("sizes: rule %q: no feature %q: want one of %s", rule.Name, c.Feature, strings.Join(r.Features, ", "))
			}
		}
		for _, e := range rule.Effects {
			if !(e.Factor > 0) || math.IsInf(e.Factor, 1) || !(e.From < e.To) {
				return fmt.Errorf("sizes: rule %q: factor %v from %v to %v: want a positive number and a part", rule.Name, e.Factor, e.From, e.To)
			}
		}
	}
	return nil
}

// Decide makes sizes of a proposal, given the sizes at hand and what is seen; features
// that are missing or no numbers make no condition true. In every bucket the proposal
// and what the rules that apply want are averaged by ratio, each rule with the log-odds
// of its confidence as weight and the proposal with 1: a log-linear pool. Certain rules
// leave the others no weight. Then one exact projection, Region.NearestInt, moves the
// result into all limits at once: bounds, budget and steps. If the steps alone leave
// nothing within the bounds and the budget, they are dropped, and that is a reason.
func (r *RuleSet) Decide(region Region, seen []float64, now []int, proposal []float64) (Decision, error) {
	if err := region.admit(proposal, 0); err != nil {
		return Decision{}, err
	}
	if len(now) != len(proposal) {
		return Decision{}, fmt.Errorf("sizes: rules: %d sizes at hand and %d proposed: want as many", len(now), len(proposal))
	}
	var d Decision
	pulls := make([]pull, len(proposal))
	for _, rule := range r.Rules {
		if reading, ok := r.applies(&rule, seen); ok {
			d.Rules = append(d.Rules, rule.Name)
			d.Reasons = append(d.Reasons, rule.because(reading, pulls, now))
		}
	}
	wanted := make([]float64, len(proposal))
	for j, p := range pulls {
		var split bool
		if wanted[j], split = p.of(proposal[j]); split {
			d.Reasons = append(d.Reasons, fmt.Sprintf("bucket %d: certain rules disagree: between them", j))
		}
	}
	tight, ok := r.within(region, now)
	if !ok {
		d.Reasons = append(d.Reasons, "no step leads into the bounds and the budget: taken at once")
	}
	sizes, err := tight.NearestInt(wanted)
	if err != nil {
		return Decision{}, err
	}
	d.Sizes = sizes
	d.limit(region, tight, wanted)
	return d, nil
}

// applies returns what the conditions of a rule see, and whether all hold.
func (r *RuleSet) applies(rule *Rule, seen []float64) (reading string, ok bool) {
	var parts []string
	for _, c := range rule.When {
		i := slices.Index(r.Features, c.Feature)
		if i < 0 || i >= len(seen) || c.Above && !(seen[i] > c.Level) || !c.Above && !(seen[i] < c.Level) {
			return "", false
		}
		than := "below"
		if c.Above {
			than = "above"
		}
		parts = append(parts, fmt.Sprintf("%s %.3g is %s %.3g", c.Feature, seen[i], than, c.Level))
	}
	if len(parts) == 0 {
		return "always", true
	}
	return strings.Join(parts, " and "), true
}

// pull is what the rules that apply want of a bucket.
type pull struct {
	weight, sum       float64 // of the rules' log-odds; times log sizes
	certain           int
	low, high, middle float64 // log sizes of the certain ones, the least, the greatest, their sum
}

// because adds an active rule to the pulls and says so.
func (rule *Rule) because(reading string, pulls []pull, now []int) string {
	odds := math.Log(rule.Confidence / (1 - rule.Confidence))
	var parts []string
	for _, e := range rule.Effects {
		first, last := -1, -1
		for j := range pulls {
			if at := (float64(j) + 0.5) / float64(len(pulls)); at < e.From || at >= e.To {
				continue
			}
			if first < 0 {
				first = j
			}
			last = j
			want := math.Log(max(float64(now[j]), 1) * e.Factor)
			if p := &pulls[j]; rule.Confidence < 1 {
				p.weight, p.sum = p.weight+odds, p.sum+float64(odds*want)
			} else {
				if p.certain == 0 {
					p.low, p.high = want, want
				}
				p.low, p.high = min(p.low, want), max(p.high, want)
				p.certain, p.middle = p.certain+1, p.middle+want
			}
		}
		if first >= 0 {
			parts = append(parts, fmt.Sprintf("buckets %d to %d times %.3g", first, last, e.Factor))
		}
	}
	if len(parts) == 0 {
		parts = []string{"no bucket is concerned"}
	}
	return fmt.Sprintf("%s: %s: %s, confidence %.3g", reading, rule.Name, strings.Join(parts, ", "), rule.Confidence)
}

// of returns what becomes of a proposed size, and whether certain rules disagree.
func (p *pull) of(proposed float64) (size float64, split bool) {
	switch {
	case p.certain > 0:
		return math.Exp(p.middle / float64(p.certain)), p.high-p.low > 1e-9
	case p.weight > 0:
		return math.Exp((math.Log(proposed) + p.sum) / (1 + p.weight)), false
	}
	return proposed, false
}

// within returns the region narrowed to the steps from the sizes at hand, or the
// region itself and false if nothing is left.
func (r *RuleSet) within(region Region, now []int) (Region, bool) {
	if r.Step == 0 {
		return region, true
	}
	tight := Region{Lo: slices.Clone(region.Lo), Hi: slices.Clone(region.Hi), Weights: region.Weights, Budget: region.Budget}
	for j, k := range now {
		tight.Lo[j] = max(tight.Lo[j], int(math.Ceil(float64(k)/r.Step)))
		tight.Hi[j] = min(tight.Hi[j], int(math.Floor(float64(k)*r.Step)))
	}
	if tight.Check() != nil {
		return region, false
	}
	return tight, true
}

// limit writes down the limits that changed the decision.
func (d *Decision) limit(region, tight Region, wanted []float64) {
	named := map[Limit][]int{}
	note := func(l Limit, j int) {
		d.Limits = append(d.Limits, Active{l, j})
		named[l] = append(named[l], j)
	}
	cost := 0.0
	for j, v := range wanted {
		v = math.Round(v)
		switch {
		case v < float64(tight.Lo[j]) && tight.Lo[j] > region.Lo[j]:
			note(StepDown, j)
		case v < float64(tight.Lo[j]):
			note(LeastSize, j)
		case v > float64(tight.Hi[j]) && tight.Hi[j] < region.Hi[j]:
			note(StepUp, j)
		case v > float64(tight.Hi[j]):
			note(GreatestSize, j)
		}
		cost += float64(tight.weight(j) * tight.clip(j, v))
	}
	for _, l := range []Limit{LeastSize, GreatestSize, StepDown, StepUp} {
		if len(named[l]) > 0 {
			d.Reasons = append(d.Reasons, fmt.Sprintf("%s holds in bucket %s", l, list(named[l])))
		}
	}
	if !tight.fits(cost) {
		d.Limits = append(d.Limits, Active{WholeBudget, -1})
		d.Reasons = append(d.Reasons, fmt.Sprintf("the budget of %.6g holds: %.6g were wanted", tight.Budget, cost))
	}
}

func list(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}
