package proof

import (
	"context"
	"math"

	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat"
)

var banditProofs = []Proof{{"bandit", proveBandit}}

const ownGate = "gate of this project"

// The synthetic linear problem.
const (
	banditArms  = 16
	banditDims  = 10
	banditNoise = 0.1
)

// lever is a player of the problem.
type lever interface {
	Choose(context []float64) int
	Reward(arm int, context []float64, reward float64)
}

// careless chooses at random with a probability, else what a plain regression
// thinks best.
type careless struct {
	*control.Bandit
	share  float64
	stream *stat.Stream
}

func (c careless) Choose(context []float64) int {
	if c.stream.Float64() < c.share {
		return c.stream.IntN(banditArms)
	}
	best, most := 0, math.Inf(-1)
	for arm := range banditArms {
		if v := product(c.Coefficients(arm), context); v > most {
			best, most = arm, v
		}
	}
	return best
}

func product(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// unit returns a random direction.
func unit(stream *stat.Stream, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = stream.NormFloat64()
	}
	length := math.Sqrt(product(x, x))
	for i := range x {
		x[i] /= length
	}
	return x
}

// regrets plays so many rounds and returns the cumulative regret after each. From
// round turn on, if positive, the arms have other coefficients.
func regrets(l lever, seed uint64, rounds, turn int) []float64 {
	stream := stat.NewStream(seed, "proof.bandit")
	arms := make([][]float64, banditArms)
	fill := func() {
		for i := range arms {
			arms[i] = unit(stream, banditDims)
		}
	}
	fill()
	sums := make([]float64, rounds)
	total := 0.0
	for t := range sums {
		if t == turn && turn > 0 {
			fill()
		}
		x := unit(stream, banditDims)
		best := math.Inf(-1)
		for _, arm := range arms {
			best = max(best, product(arm, x))
		}
		arm := l.Choose(x)
		mean := product(arms[arm], x)
		l.Reward(arm, x, mean+banditNoise*stream.NormFloat64())
		total += best - mean
		sums[t] = total
	}
	return sums
}

// growth is the slope of log regret over log rounds in the last nine tenths.
func growth(sums []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for t := len(sums) / 10; t < len(sums); t++ {
		x, y := math.Log(float64(t+1)), math.Log(sums[t])
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func newBandit(cfg control.BanditSettings) *control.Bandit {
	cfg.Arms, cfg.Dims, cfg.Noise = banditArms, banditDims, banditNoise
	b, err := control.NewBandit(cfg)
	if err != nil {
		panic("proof: " + err.Error())
	}
	return b
}

func proveBandit(ctx context.Context, progress func(string)) ([]Row, error) {
	const rounds = 10_000
	seeds := pick(ctx, 10, 1)
	players := []struct {
		name string
		make func(seed uint64) lever
	}{
		{"LinUCB", func(uint64) lever { return newBandit(control.BanditSettings{}) }},
		{"LinTS", func(seed uint64) lever { return newBandit(control.BanditSettings{Rule: control.Thompson, Seed: seed}) }},
		{"ε-greedy", func(seed uint64) lever {
			return careless{newBandit(control.BanditSettings{}), 0.1, stat.NewStream(seed, "proof.careless")}
		}},
		{"random", func(seed uint64) lever {
			return careless{newBandit(control.BanditSettings{}), 1, stat.NewStream(seed, "proof.careless")}
		}},
	}
	var rows []Row
	var totals, slopes []float64
	for _, p := range players {
		progress("bandit: regret of " + p.name)
		all, err := each(ctx, seeds, func(seed int) ([2]float64, error) {
			sums := regrets(p.make(uint64(seed)), uint64(seed), rounds, 0)
			return [2]float64{growth(sums), sums[rounds-1]}, nil
		})
		if err != nil {
			return rows, err
		}
		var slope, total []float64
		for _, r := range all {
			slope, total = append(slope, r[0]), append(total, r[1])
		}
		slopes, totals = append(slopes, median(slope)), append(totals, median(total))
	}
	for i, name := range []string{"LinUCB", "LinTS"} {
		rows = append(rows,
			atMost("bandit", name+", log-log slope of the regret, 16 arms, 10 features, 10,000 rounds: at most", ownGate+"; 0.5 in theory", 0.5, slopes[i], 0.6),
			atMost("bandit", name+", regret over that of ε-greedy with ε 0.1: below", ownGate, 1, totals[i]/totals[2], 1),
			atMost("bandit", name+", regret over that of random choice: below", ownGate, 1, totals[i]/totals[3], 1))
	}
	progress("bandit: confidence sets")
	cover, worst, err := banditCoverage(ctx)
	if err != nil {
		return rows, err
	}
	rows = append(rows,
		atLeast("bandit", "percent of 1,000 runs in which the confidence set held the truth in all of 200 rounds: at least", "Abbasi-Yadkori et al., NIPS 2011, Theorem 2, delta 0.05", 95, cover, 95),
		atMost("bandit", "updated inverse times the matrix, greatest difference from the identity: at most", ownGate, 0, worst, 1e-9))
	progress("bandit: a switch")
	forgetful, err := recovery(ctx, seeds, control.BanditSettings{Discount: 0.996})
	if err != nil {
		return rows, err
	}
	stubborn, err := recovery(ctx, seeds, control.BanditSettings{})
	return append(rows,
		atMost("bandit", "D-LinUCB with discount 0.996, regret per round a tenth after a switch over that before: at most", ownGate, 1.5, forgetful, 1.5),
		atLeast("bandit", "LinUCB, the same, which must not recover: above", ownGate, 1.5, stubborn, 1.5)), err
}

// banditCoverage returns in how many percent of the runs the set never missed, and
// how far the updated inverses are from being inverses.
func banditCoverage(ctx context.Context) (percent, worst float64, err error) {
	const runs, rounds, dims = 1000, 200, 5
	type result struct {
		held bool
		off  float64
	}
	all, err := each(ctx, runs, func(run int) (result, error) {
		b, err := control.NewBandit(control.BanditSettings{Arms: 1, Dims: dims, Noise: banditNoise, Ridge: 0.1})
		if err != nil {
			return result{}, err
		}
		stream := stat.NewStream(uint64(run), "proof.coverage")
		truth, r := unit(stream, dims), result{held: true}
		for range rounds {
			x := unit(stream, dims)
			b.Reward(0, x, product(truth, x)+banditNoise*stream.NormFloat64())
			a, _ := b.Gram(0)
			gap := b.Coefficients(0)
			for k := range gap {
				gap[k] -= truth[k]
			}
			size := 0.0
			for k, row := range a {
				size += gap[k] * product(row, gap)
			}
			r.held = r.held && math.Sqrt(size) <= b.Radius(0)
		}
		a, inverse := b.Gram(0)
		for i := range a {
			for j := range a {
				v := 0.0
				for k := range a {
					v += a[i][k] * inverse[k][j]
				}
				if i == j {
					v--
				}
				r.off = max(r.off, math.Abs(v))
			}
		}
		return r, nil
	})
	for _, r := range all {
		if r.held {
			percent += 100.0 / runs
		}
		worst = max(worst, r.off)
	}
	return math.Round(1000*percent) / 1000, worst, err
}

// recovery returns the median ratio of the regret per round, in a tenth of all
// rounds that begins a tenth after a switch half-way, to that in the tenth before
// the switch.
func recovery(ctx context.Context, seeds int, cfg control.BanditSettings) (float64, error) {
	const rounds, turn = 10_000, 5000
	ratios, err := each(ctx, seeds, func(seed int) (float64, error) {
		sums := regrets(newBandit(cfg), uint64(seed), rounds, turn)
		rate := func(from, to int) float64 { return (sums[to-1] - sums[from-1]) / float64(to-from) }
		return rate(turn+rounds/10, turn+rounds/5) / rate(turn-rounds/10, turn), nil
	})
	if err != nil {
		return 0, err
	}
	return median(ratios), nil
}
