package proof

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
)

var coevolutionProofs = []Proof{{"coevolution", proveCoevolution}}

// game is bilinear on [-1,1]²×[-1,1]²: the value of value+(x-a)ᵀA(y-b), with a and b
// inside, is value, and nobody stays there who only answers the other.
type game struct {
	a, b   [2]float64
	matrix [2][2]float64
	value  float64
}

// newGame turns by a random angle with random gains.
func newGame(seed uint64) *game {
	dice := stat.NewStream(seed, "proof.game")
	inside := func() float64 { return dice.Float64() - 0.5 }
	sin, cos := math.Sincos(2 * math.Pi * dice.Float64())
	g, h := 0.5+dice.Float64(), 0.5+dice.Float64()
	return &game{
		[2]float64{inside(), inside()},
		[2]float64{inside(), inside()},
		[2][2]float64{{g * cos, -h * sin}, {g * sin, h * cos}},
		dice.NormFloat64(),
	}
}

// pulls returns (x-a)ᵀA.
func (g *game) pulls(u []float64) (p [2]float64) {
	for j := range p {
		for i := range g.a {
			p[j] += (2*u[i] - 1 - g.a[i]) * g.matrix[i][j]
		}
	}
	return p
}

func (g *game) loss(u, v []float64) float64 {
	sum := g.value
	for j, p := range g.pulls(u) {
		sum += p * (2*v[j] - 1 - g.b[j])
	}
	return sum
}

// worst is the greatest loss of x, in a corner.
func (g *game) worst(u []float64) float64 {
	sum := g.value
	for j, p := range g.pulls(u) {
		sum += max(p*(1-g.b[j]), p*(-1-g.b[j]))
	}
	return sum
}

// duel plays generations and returns by how much the worst loss of the best
// configuration exceeds the value of the game: at the end, and the mean over the second
// half.
func (g *game) duel(ctx context.Context, seed uint64, hall, generations int) (last, mean float64, err error) {
	c, err := opt.NewCoevolution(box(2, 0, 1, 0.5), box(2, 0, 1, 0.5), opt.CoevolutionSettings{Seed: seed, Hall: hall})
	if err != nil {
		return 0, 0, err
	}
	age := 0
	for age < generations {
		m, ok := c.Ask()
		if !ok {
			return 0, 0, fmt.Errorf("proof: coevolution: asked nothing in generation %d", age)
		}
		c.Tell(m.ID, g.loss(m.X, m.Y))
		if c.Generation() == age {
			continue
		}
		age = c.Generation()
		_, u, _, _ := c.Best()
		last = g.worst(u) - g.value
		if age > generations/2 {
			mean += last / float64(generations-generations/2)
		}
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
	}
	return last, mean, nil
}

func proveCoevolution(ctx context.Context, progress func(string)) ([]Row, error) {
	seeds, generations := pick(ctx, 20, 3), 200
	progress(fmt.Sprintf("coevolution: games with a saddle, %d seeds", seeds))
	type both struct{ last, with, without float64 }
	games, err := each(ctx, seeds, func(seed int) (b both, err error) {
		g := newGame(uint64(seed))
		if b.last, b.with, err = g.duel(ctx, uint64(seed), 0, generations); err != nil {
			return b, err
		}
		_, b.without, err = g.duel(ctx, uint64(seed), -1, generations)
		return b, err
	})
	if err != nil {
		return nil, err
	}
	var last, with, without []float64
	for _, b := range games {
		last, with, without = append(last, b.last), append(with, b.with), append(without, b.without)
	}
	worst := 0.0
	for _, v := range last {
		worst = max(worst, v)
	}
	const theory = "von Neumann's minimax theorem; gate of this project"
	rows := []Row{
		atMost("coevolution", fmt.Sprintf("bilinear games, worst loss of the result above the value of the game, the greatest of %d games, %d generations: at most", seeds, generations), theory, 0, worst, 0.01),
		atMost("coevolution", "the same, mean over the second half of the run, median of the games: at most", theory, 0, median(with), 0.01),
		atLeast("coevolution", "the same without the halls, where both sides chase each other: at least", "Rosin and Belew, 1997, why they have a hall of fame; gate of this project: ten times the former gate", 0, median(without), 0.1),
	}
	seeds = pick(ctx, 10, 2)
	progress(fmt.Sprintf("coevolution: shapes against faults, %d seeds", seeds))
	won, err := each(ctx, seeds, func(seed int) (bool, error) { return robust(ctx, uint64(seed)) })
	if err != nil {
		return rows, err
	}
	good := 0
	for _, w := range won {
		if w {
			good++
		}
	}
	return append(rows, atLeast("coevolution", fmt.Sprintf("sizes against skew, churn and targeted faults: of %d seeds, those in which the worst of 100 unseen scenarios is no worse than for the best sizes of a quiet day: at least", seeds),
		"CMA-ES without skew, churn or attack, with as many evaluations, in this run; gate of this project", float64(seeds), float64(good), 0.9*float64(seeds))), nil
}

// faultBuckets is the number of sizes that a scenario hurts.
const faultBuckets = 10

// faultLoss is a toy, not the network: lookups that pass bucket j cost less the more
// of its entries live, and entries cost. The scenario is how skewed the lookups are
// away from the far half, the share of dead peers, a bucket under attack and how hard
// that is.
func faultLoss(u, s []float64) float64 {
	attacked := min(int(s[2]*faultBuckets), faultBuckets-1)
	loss, weight := 0.0, 0.0
	for j, v := range u {
		alive := 4 * math.Exp2(6*v) * (1 - 0.5*s[1]) // of 4 to 256
		if j == attacked {
			alive *= 1 - 0.9*s[3]
		}
		share := math.Exp2(-float64(j) * (1 - s[0]))
		loss, weight = loss+share*4/(4+alive), weight+share
	}
	sizes := 0.0
	for _, v := range u {
		sizes += 4 * math.Exp2(6*v)
	}
	return loss/weight + sizes/2000
}

// robust reports whether the result of co-evolution has a better worst case than the
// optimum of a quiet day, on scenarios that neither has seen.
func robust(ctx context.Context, seed uint64) (bool, error) {
	const budget = 60_000
	c, err := opt.NewCoevolution(box(faultBuckets, 0, 1, 0.5), box(4, 0, 1, 0.5), opt.CoevolutionSettings{Seed: seed, Budget: budget})
	if err != nil {
		return false, err
	}
	for !c.Done() {
		m, ok := c.Ask()
		if !ok {
			return false, errors.New("proof: coevolution: asked nothing before its budget")
		}
		c.Tell(m.ID, faultLoss(m.X, m.Y))
	}
	nominal, err := opt.NewCMAES(box(faultBuckets, 0, 1, 0.5), opt.Settings{Seed: seed, Budget: budget})
	if err != nil {
		return false, err
	}
	quiet := []float64{0, 0, 0, 0}
	if err := minimize(ctx, nominal, func(trial opt.Trial) []float64 { return []float64{faultLoss(trial.X, quiet)} }); err != nil {
		return false, err
	}
	_, u, _, _ := c.Best()
	best, _ := nominal.Best()
	dice := stat.NewStream(seed, "proof.unseen")
	ours, theirs := math.Inf(-1), math.Inf(-1)
	for range 100 {
		s := []float64{dice.Float64(), dice.Float64(), dice.Float64(), dice.Float64()}
		ours, theirs = max(ours, faultLoss(u, s)), max(theirs, faultLoss(best.Trial.X, s))
	}
	return ours <= theirs, nil
}
