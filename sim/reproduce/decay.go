package reproduce

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"

	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// decayHours are the moments at which the peers nearest to a key are looked at.
var decayHours = [4]float64{0, 1, 10, 36}

// ages is a network of constant size in which every peer that leaves is replaced
// at once by a newcomer with an identifier of its own: those present at each of
// decayHours.
type ages [len(decayHours)]network

// newAges lets a network live. Sessions are Weibull; at the start they are in
// their steady state, where the rest of one that is under way has the density
// S(t)/mean.
func newAges(n int, churn sim.Churn, seed uint64) (at ages) {
	scale := churn.Scale.Hours()
	for slot := range n {
		draw := stat.NewStream(seed, "reproduce.ages", uint64(slot))
		leaves := scale * math.Pow(mathext.GammaIncRegInv(1/churn.Shape, draw.Float64()), 1/churn.Shape)
		id := draw.Uint64()
		for i, hour := range decayHours {
			for leaves <= hour {
				id = draw.Uint64()
				leaves += draw.Weibull(churn.Shape, scale)
			}
			at[i] = append(at[i], id)
		}
	}
	for i := range at {
		slices.Sort(at[i])
	}
	return at
}

// stays returns the share of the peers of one moment that are there some hours
// later.
func stays(churn sim.Churn, hours float64) float64 {
	return mathext.GammaIncRegComp(1/churn.Shape, math.Pow(hours/churn.Scale.Hours(), churn.Shape))
}

// decay counts keys by how many of the 20 peers that were closest at the start
// are among the 20 closest at one of decayHours.
func (b *bench) decay(ctx context.Context, moment int) (counts, error) {
	const worlds, keys = 5, 10_000
	return b.keep(fmt.Sprintf("decay %d", moment), func() (counts, error) {
		var sum counts
		for number := range uint64(worlds) {
			at := newAges(holders, sim.DefaultEvents().Churn, stat.Hash(b.Seed, number))
			c, err := spread(ctx, b.lookups(keys), b.Workers, func(i int) int {
				key := stat.Hash(b.Seed, drawKey, number, uint64(i))
				first, now := at[0].closest(key, bucket), at[moment].closest(key, bucket)
				return len(slices.DeleteFunc(first, func(id uint64) bool { return !slices.Contains(now, id) }))
			})
			if err != nil {
				return nil, err
			}
			sum.merge(c)
		}
		return sum, nil
	})
}

func decayFigures() []Figure {
	churn := sim.DefaultEvents().Churn
	back := fmt.Sprintf("with Weibull(%.2f, %.2f h) sessions of RFM 2 that end for good, only %.0f %% of the peers of one moment are there 10 h later; "+
		"those of RFM 17 stayed or came back under the same identifier, and it doubts such session lengths itself",
		churn.Shape, churn.Scale.Hours(), 100*stays(churn, 10))
	median := func(moment int) measure {
		return func(ctx context.Context, b *bench) (value, error) {
			c, err := b.decay(ctx, moment)
			return c.quantile(0.5), err
		}
	}
	return []Figure{
		{Name: "decay: of the 20 closest, still closest after 1 h", Source: liveness + ", figure 16", Grade: Read, Relation: Equal, Published: 17, Tolerance: 1, cost: 80, measure: median(1)},
		{Name: "decay: after 10 h", Source: liveness + ", figure 16", Grade: Read, Relation: Equal, Published: 15, Tolerance: 2, cost: 80, Note: back, measure: median(2)},
		{Name: "decay: after 36 h", Source: liveness + ", figure 16", Grade: Read, Relation: AtLeast, Published: 14, cost: 80, Note: back, measure: median(3)},
	}
}
