package proof

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/opt/ants"
	"github.com/shoalnet/shoal/stat"
)

var acoProofs = []Proof{{"ants", proveAnts}}

// berlin52 has the coordinates of the instance of that name in TSPLIB (Reinelt,
// ORSA J. Computing 3(4), 1991); berlinBest is its proven optimum.
var berlin52 = [][2]float64{
	{565, 575},
	{25, 185},
	{345, 750},
	{945, 685},
	{845, 655},
	{880, 660},
	{25, 230},
	{525, 1000},
	{580, 1175},
	{650, 1130},
	{1605, 620},
	{1220, 580},
	{1465, 200},
	{1530, 5},
	{845, 680},
	{725, 370},
	{145, 665},
	{415, 635},
	{510, 875},
	{560, 365},
	{300, 465},
	{520, 585},
	{480, 415},
	{835, 625},
	{975, 580},
	{1215, 245},
	{1320, 315},
	{1250, 400},
	{660, 180},
	{410, 250},
	{420, 555},
	{575, 665},
	{1150, 1160},
	{700, 580},
	{685, 595},
	{685, 610},
	{770, 610},
	{795, 645},
	{720, 635},
	{760, 650},
	{475, 960},
	{95, 260},
	{875, 920},
	{700, 500},
	{555, 815},
	{830, 485},
	{1170, 65},
	{830, 610},
	{605, 625},
	{595, 360},
	{1340, 725},
	{1740, 245},
}

const berlinBest = 7542

// berlinDistances are Euclidean, rounded to whole numbers as TSPLIB says.
func berlinDistances() [][]float64 {
	d := make([][]float64, len(berlin52))
	for i, p := range berlin52 {
		for _, q := range berlin52 {
			d[i] = append(d[i], math.Floor(math.Hypot(p[0]-q[0], p[1]-q[1])+0.5))
		}
	}
	return d
}

func proveAnts(ctx context.Context, progress func(string)) ([]Row, error) {
	const source = "TSPLIB, proven optimum"
	run := func(cfg ants.Settings, steps int) func(seed int) (float64, error) {
		return func(seed int) (float64, error) {
			cfg.Seed = uint64(seed)
			colony, err := ants.NewColony(berlinDistances(), cfg)
			if err != nil {
				return 0, err
			}
			for range steps {
				if colony.Step(); ctx.Err() != nil {
					return 0, ctx.Err()
				}
				if _, length := colony.Best(); length <= berlinBest {
					break
				}
			}
			_, length := colony.Best()
			return length, nil
		}
	}
	seeds := pick(ctx, 10, 3)
	progress(fmt.Sprintf("ants: berlin52 with 2-opt, %d seeds", seeds))
	all, err := each(ctx, seeds, run(ants.Settings{}, 200))
	if err != nil {
		return nil, err
	}
	hits := 0
	for _, length := range all {
		if length == berlinBest {
			hits++
		}
	}
	rows := []Row{atLeast("ants", fmt.Sprintf("berlin52 with 2-opt, runs of %d that find 7542 in 5,000 tours: at least", seeds), source, 10, float64(hits), float64(seeds))}
	progress(fmt.Sprintf("ants: berlin52 without local search, %d seeds", seeds))
	epochs := pick(ctx, 2500, 600)
	all, err = each(ctx, seeds, run(ants.Settings{Plain: true}, epochs))
	if err != nil {
		return rows, err
	}
	rows = append(rows, atMost("ants", fmt.Sprintf("berlin52 without local search, mean percent above 7542 after %d tours a city: at most", epochs), source, 0, excess(all), 1))
	for _, loss := range []float64{0, 0.01} {
		progress(fmt.Sprintf("ants: berlin52 by messages, %d seeds", seeds))
		all, err = each(ctx, seeds, func(seed int) (float64, error) { return antMessages(ctx, uint64(seed), epochs, loss) })
		if err != nil {
			return rows, err
		}
		rows = append(rows, atMost("ants", fmt.Sprintf("the same without a center, each city with its own row, %v percent of the messages lost: at most", 100*loss), source, 0, excess(all), 1))
	}
	return rows, nil
}

// excess is how many percent lengths are above the optimum in the mean.
func excess(lengths []float64) float64 {
	sum := 0.0
	for _, l := range lengths {
		sum += 100 * (l/berlinBest - 1) / float64(len(lengths))
	}
	return sum
}

// antMessages runs a colony of nodes that only send each other ants, some of which are
// lost, and returns the shortest tour that any of them heard of.
func antMessages(ctx context.Context, seed uint64, epochs int, loss float64) (float64, error) {
	var nodes []*ants.Node
	for i, row := range berlinDistances() {
		node, err := ants.NewNode(i, row, seed)
		if err != nil {
			return 0, err
		}
		nodes = append(nodes, node)
	}
	dice := stat.NewStream(seed, "proof.ants.loss")
	shortest := math.Inf(1)
	for epoch := 0; epoch < epochs && shortest > berlinBest; epoch++ {
		for _, node := range nodes {
			node.Launch(epoch)
		}
		for busy := true; busy; {
			busy = false
			for _, node := range nodes {
				for to, ant, ok := node.Ask(); ok; to, ant, ok = node.Ask() {
					busy = true
					if dice.Float64() >= loss {
						nodes[to].Tell(ant)
					}
				}
			}
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		for _, node := range nodes {
			if l, _, _, ok := node.Best(); ok {
				shortest = min(shortest, l)
			}
		}
	}
	return shortest, nil
}
