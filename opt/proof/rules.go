package proof

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/shoalnet/shoal/opt/sizes"
	"github.com/shoalnet/shoal/stat"
)

var rulesProofs = []Proof{{"rules", proveSizingRules}}

// ruleCounts are what went wrong in a number of random decisions.
type ruleCounts struct{ infeasible, unexplained, wrong, changed int }

// proveSizingRules throws random states at random rules.
func proveSizingRules(ctx context.Context, progress func(string)) ([]Row, error) {
	chunks, chunk := pick(ctx, 100, 2), 10_000
	progress(fmt.Sprintf("rules: %d random states", chunks*chunk))
	found, err := each(ctx, chunks, func(i int) (ruleCounts, error) { return ruleChunk(ctx, uint64(i), chunk) })
	if err != nil {
		return nil, err
	}
	var sum ruleCounts
	for _, c := range found {
		sum.infeasible, sum.unexplained = sum.infeasible+c.infeasible, sum.unexplained+c.unexplained
		sum.wrong, sum.changed = sum.wrong+c.wrong, sum.changed+c.changed
	}
	progress("rules: all projections of small regions")
	tried, off := bruteForce()
	states := fmt.Sprintf("%d random states, rules and regions", chunks*chunk)
	return []Row{
		atMost("rules", states+": sizes out of bounds or budget: at most", ownGate, 0, float64(sum.infeasible), 0),
		atMost("rules", states+": limits that changed the sizes and are not in the explanation: at most", ownGate, 0, float64(sum.unexplained), 0),
		atMost("rules", states+", with a certain rule: sizes that are not what it says, moved into the limits: at most", ownGate, 0, float64(sum.wrong), 0),
		atMost("rules", states+", without rules: feasible proposals that were changed: at most", ownGate, 0, float64(sum.changed), 0),
		atMost("rules", fmt.Sprintf("projections of %d points on sizes 4 to 9 in up to 4 buckets, every budget: farther than the best of all points: at most", tried), "brute force in this run", 0, float64(off), 0),
	}, nil
}

// randomRegion has bounds within 4 to 256 and a budget that binds more often than
// not.
func randomRegion(dice *stat.Stream, n int) sizes.Region {
	r := sizes.Region{}
	least, most := 0, 0
	for range n {
		lo := 4 + dice.IntN(8)
		hi := min(256, lo+dice.IntN(256))
		r.Lo, r.Hi = append(r.Lo, lo), append(r.Hi, hi)
		least, most = least+lo, most+hi
	}
	r.Budget = float64(least + dice.IntN(most-least+1))
	return r
}

// randomSizes returns feasible sizes.
func randomSizes(dice *stat.Stream, r sizes.Region) []int {
	wish := make([]float64, len(r.Lo))
	for j := range wish {
		wish[j] = float64(r.Lo[j]) + float64(dice.Float64()*float64(r.Hi[j]-r.Lo[j]))
	}
	sizes, err := r.NearestInt(wish)
	if err != nil {
		panic("proof: " + err.Error()) // the region above is never empty
	}
	return sizes
}

func randomRules(dice *stat.Stream) sizes.RuleSet {
	set := sizes.PresetRules()
	set.Step = [...]float64{0, 1.5, 2}[dice.IntN(3)]
	for range dice.IntN(3) {
		from := dice.Float64()
		set.Rules = append(set.Rules, sizes.Rule{
			Name: "at random", Confidence: 0.51 + 0.48*dice.Float64(),
			When:    []sizes.Condition{{Feature: sizes.RuleFeatures[dice.IntN(4)], Above: dice.IntN(2) == 0, Level: dice.Float64()}},
			Effects: []sizes.Effect{{From: from, To: from + dice.Float64(), Factor: math.Exp(dice.NormFloat64())}},
		})
	}
	return set
}

func ruleChunk(ctx context.Context, seed uint64, states int) (ruleCounts, error) {
	var c ruleCounts
	dice := stat.NewStream(seed, "proof.rules")
	for i := range states {
		if i%1000 == 0 && ctx.Err() != nil {
			return c, ctx.Err()
		}
		region := randomRegion(dice, 1+dice.IntN(14))
		now := randomSizes(dice, region)
		seen, proposal := make([]float64, 4), make([]float64, len(now))
		for k := range seen {
			seen[k] = dice.Float64()
		}
		for j := range proposal {
			proposal[j] = math.Exp(6 * dice.Float64())
		}
		set := randomRules(dice)
		d, err := set.Decide(region, seen, now, proposal)
		if err != nil {
			return c, err
		}
		if !region.Contains(d.Sizes) {
			c.infeasible++
		}
		free := sizes.Region{Lo: slices.Repeat([]int{0}, len(now)), Hi: slices.Repeat([]int{math.MaxInt32}, len(now))}
		set.Step = 0
		wish, err := set.Decide(free, seen, now, proposal)
		if err != nil {
			return c, err
		}
		c.unexplained += unexplained(d, wish.Sizes)
		if err := sure(&c, dice, region, seen, now, proposal); err != nil {
			return c, err
		}
	}
	return c, nil
}

// unexplained counts the rules and limits of a decision that its reasons do not name,
// and the sizes that differ from what was wished without any limit and are named by
// none.
func unexplained(d sizes.Decision, wish []int) int {
	text, missing := strings.Join(d.Reasons, "\n"), 0
	for _, name := range d.Rules {
		if !strings.Contains(text, name) {
			missing++
		}
	}
	held, budget := map[int]bool{}, false
	for _, a := range d.Limits {
		held[a.Bucket], budget = true, budget || a.Limit == sizes.WholeBudget
		if !strings.Contains(text, a.Limit.String()) || a.Bucket >= 0 && !strings.Contains(text, strconv.Itoa(a.Bucket)) {
			missing++
		}
	}
	for j, k := range d.Sizes {
		if k != wish[j] && !held[j] && !budget {
			missing++
		}
	}
	return missing
}

// sure decides with one certain rule and with none.
func sure(c *ruleCounts, dice *stat.Stream, region sizes.Region, seen []float64, now []int, proposal []float64) error {
	factor := math.Exp(dice.NormFloat64())
	certain := sizes.RuleSet{Rules: []sizes.Rule{{Name: "certain", Confidence: 1, Effects: []sizes.Effect{{From: 0, To: 1, Factor: factor}}}}}
	d, err := certain.Decide(region, seen, now, proposal)
	if err != nil {
		return err
	}
	wish := make([]float64, len(now))
	for j, k := range now {
		wish[j] = factor * float64(k)
	}
	want, err := region.NearestInt(wish)
	if err != nil {
		return err
	}
	for j := range want {
		// The rule's size went through a logarithm and back: a half may fall either way.
		if half := math.Abs(wish[j]-math.Floor(wish[j])-0.5) < 1e-9; want[j] != d.Sizes[j] && !half {
			c.wrong++
			break
		}
	}
	feasible := randomSizes(dice, region)
	for j, k := range feasible {
		proposal[j] = float64(k)
	}
	none := sizes.RuleSet{}
	if d, err = none.Decide(region, seen, now, proposal); err != nil {
		return err
	}
	if !slices.Equal(d.Sizes, feasible) {
		c.changed++
	}
	return nil
}

// bruteForce projects random points onto every region of up to four sizes of 4 to 9
// and every budget, and returns how many, and how many are farther than the nearest
// of all whole points.
func bruteForce() (tried, off int) {
	const lo, hi, points = 4, 9, 5
	dice := stat.NewStream(1, "proof.rules.brute")
	for n := 1; n <= 4; n++ {
		region := sizes.Region{Lo: slices.Repeat([]int{lo}, n), Hi: slices.Repeat([]int{hi}, n)}
		for budget := n * lo; budget <= n*hi; budget++ {
			region.Budget = float64(budget)
			for range points {
				x := make([]float64, n)
				for j := range x {
					x[j] = 1 + 12*dice.Float64()
				}
				set := sizes.RuleSet{}
				d, err := set.Decide(region, nil, make([]int, n), x)
				tried++
				if err != nil || apart(d.Sizes, x) > nearestOf(region, x)+1e-9 {
					off++
				}
			}
		}
	}
	return tried, off
}

// apart is the squared distance.
func apart(k []int, x []float64) float64 {
	sum := 0.0
	for j, v := range x {
		sum += (float64(k[j]) - v) * (float64(k[j]) - v)
	}
	return sum
}

// nearestOf tries every point of a region.
func nearestOf(r sizes.Region, x []float64) float64 {
	k, best := slices.Clone(r.Lo), math.Inf(1)
	for {
		if r.Contains(k) {
			best = min(best, apart(k, x))
		}
		j := 0
		for j < len(k) && k[j] == r.Hi[j] {
			k[j] = r.Lo[j]
			j++
		}
		if j == len(k) {
			return best
		}
		k[j]++
	}
}
