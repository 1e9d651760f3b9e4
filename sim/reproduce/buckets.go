package reproduce

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/sim/static"
)

const (
	balancedReport = "RFM 19.1, balanced buckets"
	secondProgram  = "second program, one network"
)

// The published experiment, and how many lookups ours has.
const (
	reportPeers = 25_000
	manyLookups = 200_000
	networks    = 5
)

// experiment is a run of the balanced-buckets report.
func experiment(size int, admission string, network int) static.RoundsConfig {
	return static.RoundsConfig{Peers: reportPeers, Bucket: size, Admission: admission, Lookups: manyLookups, Seed: uint64(network)}
}

// roundsCommand is the command line of a run whose seed follows.
func roundsCommand(cfg static.RoundsConfig) string {
	line := fmt.Sprintf("shoal sim rounds --peers %d --bucket %d --admission %s --lookups %d", cfg.Peers, cfg.Bucket, cfg.Admission, cfg.Lookups)
	if cfg.Mode != "" {
		line += fmt.Sprintf(" --mode %s --concurrency %d", cfg.Mode, cfg.Concurrency)
	}
	if cfg.Tables != "" {
		line += " --tables " + cfg.Tables
	}
	return line
}

// runs returns what a configuration gives in each of some networks.
func (b *bench) runs(ctx context.Context, cfg static.RoundsConfig, networks int) ([]static.RoundsResult, error) {
	var results []static.RoundsResult
	for i := range uint64(networks) {
		one := cfg
		one.Seed += i
		r, err := b.run(ctx, one)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// hopsOf measures the mean of the hops in some networks together.
func hopsOf(cfg static.RoundsConfig, networks int) measure {
	return func(ctx context.Context, b *bench) (value, error) {
		results, err := b.runs(ctx, cfg, networks)
		if err != nil {
			return value{}, err
		}
		var sum counts
		for _, r := range results {
			sum.merge(r.HopsHistogram)
		}
		v := sum.average()
		v.histogram = sum
		return v, nil
	}
}

// messagesOf measures the messages of a lookup. Their spread is not known.
func messagesOf(cfg static.RoundsConfig, networks int) measure {
	return func(ctx context.Context, b *bench) (value, error) {
		results, err := b.runs(ctx, cfg, networks)
		sum := 0.0
		for _, r := range results {
			sum += r.MessagesPerLookup
		}
		return value{ours: sum / float64(networks)}, err
	}
}

// sweep are the five pairs of each bucket size that the report lists, random and
// balanced.
var sweep = []struct {
	size  int
	pairs [networks][2]float64
}{
	{10, [networks][2]float64{{2.173, 2.0841}, {2.1698, 2.0799}, {2.1568, 2.0891}, {2.1686, 2.0895}, {2.159, 2.0849}}},
	{20, [networks][2]float64{{1.9298, 1.8848}, {1.9234, 1.8918}, {1.9229, 1.8925}, {1.9262, 1.8952}, {1.9292, 1.891}}},
	{30, [networks][2]float64{{1.8677, 1.8426}, {1.8679, 1.8404}, {1.8677, 1.8459}, {1.8658, 1.8457}, {1.8738, 1.8385}}},
	{40, [networks][2]float64{{1.8329, 1.8125}, {1.838, 1.8051}, {1.8326, 1.8054}, {1.8323, 1.8099}, {1.8338, 1.8123}}},
	{50, [networks][2]float64{{1.8062, 1.7731}, {1.8019, 1.7749}, {1.8087, 1.7795}, {1.8054, 1.7773}, {1.8083, 1.7721}}},
	{60, [networks][2]float64{{1.7664, 1.742}, {1.7862, 1.7458}, {1.7789, 1.7396}, {1.7823, 1.7488}, {1.7751, 1.7394}}},
	{70, [networks][2]float64{{1.7575, 1.7157}, {1.7575, 1.7133}, {1.7561, 1.7039}, {1.7551, 1.7182}, {1.7546, 1.7122}}},
	{80, [networks][2]float64{{1.7316, 1.6825}, {1.7265, 1.6859}, {1.7343, 1.6871}, {1.7285, 1.6769}, {1.7239, 1.6872}}},
	{90, [networks][2]float64{{1.7144, 1.6609}, {1.7039, 1.6495}, {1.7105, 1.6741}, {1.7069, 1.6662}, {1.7074, 1.6678}}},
	{100, [networks][2]float64{{1.7009, 1.6315}, {1.6875, 1.6344}, {1.6958, 1.6317}, {1.6899, 1.6345}, {1.6888, 1.6312}}},
}

// mainPairs are those of the report's main run, with buckets of 20.
var mainPairs = [networks][2]float64{{1.9287, 1.8931}, {1.923, 1.893}, {1.9263, 1.8902}, {1.9347, 1.8914}, {1.9332, 1.896}}

var admissions = [2]string{static.First, static.Balanced}

// mean returns the average of one side of the pairs.
func mean(pairs [networks][2]float64, side int) float64 {
	sum := 0.0
	for _, pair := range pairs {
		sum += pair[side]
	}
	return sum / networks
}

// saved is by how many percent b is below a.
func saved(a, b float64) float64 { return 100 * (a - b) / a }

// savedOf returns the saving with its standard error.
func savedOf(a, b value) value {
	return value{ours: saved(a.ours, b.ours), se: 100 * b.ours / a.ours * math.Hypot(a.se/a.ours, b.se/b.ours)}
}

// Tolerances of means of hops.
const (
	// meanSlack is for 200,000 lookups of one network against 10,000 of each of five:
	// their standard errors are 0.0008 and 0.0016, and networks differ by 0.0015.
	meanSlack = 0.006
	// pairSlack is for 200,000 lookups against 10,000: four standard errors.
	pairSlack = 0.015
	// gainSlack is four standard errors of a saving of the sweep, in percent, and
	// mainGainSlack of the main run, where ours has five networks too.
	gainSlack, mainGainSlack = 0.5, 0.3
)

func sweepFigures() []Figure {
	var figures []Figure
	for _, row := range sweep {
		for side, admission := range admissions {
			cfg := experiment(row.size, admission, 0)
			figures = append(figures, Figure{
				Name: fmt.Sprintf("sweep hops, k=%d, %s", row.size, admission), Source: balancedReport, Grade: Computed,
				Relation: Equal, Published: mean(row.pairs, side), Tolerance: meanSlack,
				Command: roundsCommand(cfg), cost: (20 + row.size) * (1 + 2*side), measure: hopsOf(cfg, 1),
			})
		}
		figures = append(figures, Figure{
			Name: fmt.Sprintf("sweep %% saved by balance, k=%d", row.size), Source: balancedReport, Grade: Computed,
			Relation: Equal, Published: saved(mean(row.pairs, 0), mean(row.pairs, 1)), Tolerance: gainSlack,
			measure: savedBy(row.size, 1),
		})
	}
	return figures
}

// both measures the mean of the hops with either kind of tables.
func both(ctx context.Context, b *bench, size, networks int) (first, balanced value, err error) {
	if first, err = hopsOf(experiment(size, static.First, 0), networks)(ctx, b); err == nil {
		balanced, err = hopsOf(experiment(size, static.Balanced, 0), networks)(ctx, b)
	}
	return first, balanced, err
}

// savedBy measures by how many percent balanced buckets lower the mean.
func savedBy(size, networks int) measure {
	return func(ctx context.Context, b *bench) (value, error) {
		first, balanced, err := both(ctx, b, size, networks)
		return savedOf(first, balanced), err
	}
}

func pairFigures() []Figure {
	var figures []Figure
	for i, pair := range mainPairs {
		for side, admission := range admissions {
			cfg := experiment(bucket, admission, i)
			figures = append(figures, Figure{
				Name: fmt.Sprintf("pair %d hops, %s", i+1, admission), Source: balancedReport + ", main run", Grade: Read,
				Relation: Equal, Published: pair[side], Tolerance: pairSlack, cost: 30 + 90*side, measure: hopsOf(cfg, 1),
			})
		}
	}
	for side, admission := range admissions {
		figures = append(figures, Figure{
			Name: "pairs averaged, hops, " + admission, Source: balancedReport + ", main run", Grade: Computed,
			Relation: Equal, Published: mean(mainPairs, side), Tolerance: meanSlack,
			measure: hopsOf(experiment(bucket, admission, 0), networks),
		})
	}
	return append(figures, Figure{
		Name: "pairs averaged, % saved by balance", Source: balancedReport + ", main run", Grade: Computed,
		Relation: Equal, Published: saved(mean(mainPairs, 0), mean(mainPairs, 1)), Tolerance: mainGainSlack,
		measure: savedBy(bucket, networks),
	})
}

// histograms are lookups by hops with buckets of 20, of 200,000.
var histograms = [2][4]float64{{142, 19_614, 174_710, 5_534}, {142, 22_023, 177_100, 735}}

func histogramFigures() []Figure {
	var figures []Figure
	for side, admission := range admissions {
		for hops, n := range histograms[side] {
			figures = append(figures, Figure{
				Name: fmt.Sprintf("histogram %% of %d hops, %s", hops, admission), Source: secondProgram, Grade: Independent,
				Relation: Equal, Published: 100 * n / manyLookups, Tolerance: 100 * (5*math.Sqrt(n) + 0.02*n) / manyLookups,
				measure: func(ctx context.Context, b *bench) (value, error) {
					v, err := hopsOf(experiment(bucket, admission, 0), networks)(ctx, b)
					return v.histogram.percent(hops, hops), err
				},
			})
		}
	}
	entries := experiment(bucket, static.First, 0)
	return append(figures, Figure{
		Name: "histogram: lookups of 0 hops, first less balanced", Source: "both search for the same keys from the same peers", Grade: Theory, Relation: Equal,
		measure: func(ctx context.Context, b *bench) (value, error) {
			first, balanced, err := both(ctx, b, bucket, networks)
			if err != nil {
				return value{}, err
			}
			return value{ours: float64(first.histogram[0] - balanced.histogram[0])}, nil
		},
	}, Figure{
		Name: "histogram: entries of a table", Source: "published program, run again unchanged", Grade: Independent,
		Relation: Equal, Published: 223.9, Tolerance: 0.5, Command: roundsCommand(entries),
		measure: func(ctx context.Context, b *bench) (value, error) {
			r, err := b.run(ctx, entries)
			return value{ours: r.EntriesMean}, err
		},
	})
}

func concurrencyFigures() []Figure {
	var figures []Figure
	for _, row := range []struct{ width, hops, reads, slack float64 }{
		{1, 2.083, 2.08, 0.02}, {3, 1.980, 3.94, 0.03}, {10, 1.928, 10.30, 0.05},
	} {
		cfg := experiment(bucket, static.First, 0)
		cfg.Concurrency, cfg.Later = int(row.width), int(row.width)
		figures = append(figures, Figure{
			Name: fmt.Sprintf("concurrency %d in all rounds, hops", cfg.Concurrency), Source: secondProgram, Grade: Independent,
			Relation: Equal, Published: row.hops, Tolerance: meanSlack, cost: 40, measure: hopsOf(cfg, 1),
		}, Figure{
			Name: fmt.Sprintf("concurrency %d in all rounds, tables read", cfg.Concurrency), Source: secondProgram, Grade: Independent,
			Relation: Equal, Published: row.reads, Tolerance: row.slack, measure: messagesOf(cfg, 1),
		})
	}
	for side, reads := range [2]float64{10.57, 9.96} {
		cfg := experiment(bucket, admissions[side], 0)
		figures = append(figures, Figure{
			Name: "concurrency 10, then 20, tables read, " + admissions[side], Source: secondProgram, Grade: Independent,
			Relation: Equal, Published: reads, Tolerance: 0.05, Command: roundsCommand(cfg), measure: messagesOf(cfg, 1),
		})
	}
	return figures
}

// nodeTable is what whole lookups cost: rounds and messages.
var nodeTable = []struct {
	peers, width     int
	rounds, messages float64
}{
	{1_000, 1, 20.94, 20.94},
	{1_000, 3, 7.69, 21.88},
	{1_000, 10, 3.02, 27.67},
	{15_380, 1, 22.14, 22.14},
	{15_380, 3, 8.50, 24.34},
	{15_380, 10, 3.68, 32.92},
	{25_000, 1, 22.28, 22.28},
	{25_000, 3, 8.60, 24.67},
	{25_000, 10, 3.79, 34.23},
	{100_000, 1, 22.63, 22.63},
	{100_000, 3, 8.90, 25.52},
	{100_000, 10, 4.02, 37.37},
}

// whole is a run of nodeTable, in one network of many peers or in ten of few,
// which differ from each other.
func whole(peers, width int) (cfg static.RoundsConfig, networks int) {
	cfg = static.RoundsConfig{Peers: peers, Bucket: bucket, Admission: static.First, Mode: static.FindNode, Concurrency: width, Lookups: 50_000}
	networks = 1
	if peers <= 1_000 {
		networks, cfg.Lookups = 10, 10_000
	}
	return cfg, networks
}

func nodeFigures() []Figure {
	const source = secondProgram + ", 20,000 lookups"
	var figures []Figure
	for _, row := range nodeTable {
		cfg, networks := whole(row.peers, row.width)
		figure := Figure{Source: source, Grade: Independent, Relation: Equal}
		if networks == 1 {
			figure.Command = roundsCommand(cfg)
		} else {
			figure.Note = "small networks differ from each other; the published figure is of one, ours of ten"
		}
		rounds, messages := figure, figure
		rounds.Name = fmt.Sprintf("node rounds, N=%d, alpha=%d", row.peers, row.width)
		rounds.Published, rounds.Tolerance = row.rounds, 0.03
		rounds.cost, rounds.measure = 20+row.peers/1_000, hopsOf(cfg, networks)
		messages.Name = fmt.Sprintf("node messages, N=%d, alpha=%d", row.peers, row.width)
		messages.Published, messages.Tolerance, messages.measure = row.messages, 0.15, messagesOf(cfg, networks)
		if row.width == 1 { // a message a round
			messages.cost, messages.measure = rounds.cost, rounds.measure
			figures = append(figures, messages)
			continue
		}
		figures = append(figures, rounds, messages)
	}
	return append(figures, Figure{
		Name: "node % that find the closest peer, worst case", Source: source, Grade: Independent, Relation: Equal, Published: 100,
		measure: worstSuccess,
	})
}

// worstSuccess measures the least percentage of whole lookups that find the
// closest peer of all, over the networks of nodeTable.
func worstSuccess(ctx context.Context, b *bench) (value, error) {
	worst := 1.0
	for _, row := range nodeTable {
		cfg, networks := whole(row.peers, row.width)
		results, err := b.runs(ctx, cfg, networks)
		if err != nil {
			return value{}, err
		}
		for _, r := range results {
			worst = min(worst, r.SuccessRatio)
		}
	}
	return value{ours: 100 * worst}, nil
}

func millionFigures() []Figure {
	var figures []Figure
	var cfgs [2]static.RoundsConfig
	for side, want := range [2]float64{2.7314, 2.6913} {
		cfg := static.RoundsConfig{Peers: 1_000_000, Bucket: bucket, Admission: admissions[side], Lookups: manyLookups, Tables: static.Implicit}
		cfgs[side] = cfg
		figures = append(figures, Figure{
			Name: "million peers, hops, " + cfg.Admission, Source: secondProgram, Grade: Independent,
			Relation: Equal, Published: want, Tolerance: 0.004, Command: roundsCommand(cfg), long: true, cost: 60 + 1_100*side, measure: hopsOf(cfg, 1),
		})
	}
	return append(figures, Figure{
		Name: "million peers, % saved by balance", Source: secondProgram, Grade: Independent,
		Relation: Equal, Published: 1.475, Tolerance: 0.175, long: true,
		measure: func(ctx context.Context, b *bench) (value, error) {
			first, err := hopsOf(cfgs[0], 1)(ctx, b)
			if err != nil {
				return value{}, err
			}
			balanced, err := hopsOf(cfgs[1], 1)(ctx, b)
			return savedOf(first, balanced), err
		},
	})
}
