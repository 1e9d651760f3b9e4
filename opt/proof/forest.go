package proof

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/shoalnet/shoal/stat"
)

var forestProofs = []Proof{{"forest", proveForest}}

// dataKey holds the directory of data sets.
type dataKey struct{}

// WithData returns a context in which proofs read data sets below a directory. Without
// one, or where it lacks theirs, those that need data have no rows.
func WithData(ctx context.Context, dir string) context.Context {
	return context.WithValue(ctx, dataKey{}, dir)
}

// outliers is one of the sets of the ODDS library (Rayana, Stony Brook, 2016): rows of
// features and, last, whether a row is an outlier.
type outliers struct {
	name      string
	area      float64 // under scikit-learn's curve, mean of the splits
	deviation float64 // of its splits
}

// outlierSets are what scikit-learn 1.2.1 reaches with IsolationForest, 100 trees of 256
// points or all there are, fitted to a random 60 percent and judged on the rest, ten
// times; measured by this project.
var outlierSets = []outliers{
	{"cardio", 0.9260, 0.0103},
	{"ionosphere", 0.8468, 0.0194},
	{"letter", 0.6186, 0.0285},
	{"arrhythmia", 0.8112, 0.0228},
	{"pima", 0.6722, 0.0208},
}

const forestSplits = 10

func proveForest(ctx context.Context, progress func(string)) ([]Row, error) {
	dir, _ := ctx.Value(dataKey{}).(string)
	var rows []Row
	const splits = forestSplits // fewer would have a wider error than the gate allows for
	for _, set := range outlierSets {
		points, odd, err := readOutliers(filepath.Join(dir, "anomaly-odds", set.name+".csv.gz"))
		if errors.Is(err, fs.ErrNotExist) {
			progress("forest: " + set.name + " is not here: give --data the directory of anomaly-odds")
			continue
		}
		if err != nil {
			return rows, err
		}
		progress("forest: " + set.name)
		areas, err := each(ctx, splits, func(split int) (float64, error) { return splitArea(points, odd, uint64(split)) })
		if err != nil {
			return rows, err
		}
		mean := 0.0
		for _, a := range areas {
			mean += a / float64(len(areas))
		}
		// The splits are others than scikit-learn's: two standard errors of the difference.
		gate := set.area - 2*set.deviation*math.Sqrt(2.0/forestSplits)
		rows = append(rows, atLeast("forest", fmt.Sprintf("%s of ODDS, area under the curve, mean of %d splits: at least", set.name, len(areas)),
			"scikit-learn 1.2.1, 10 splits, measured by this project; gate two standard errors of the difference below", set.area, mean, gate))
	}
	return rows, nil
}

// readOutliers reads a compressed table with a header; its last column is 1 for an
// outlier.
func readOutliers(path string) (points [][]float64, odd []bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("proof: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, nil, fmt.Errorf("proof: %s: %w", path, err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for header := true; lines.Scan(); header = false {
		if header {
			continue
		}
		cells := strings.Split(strings.TrimSpace(lines.Text()), ",")
		row := make([]float64, len(cells))
		for i, cell := range cells {
			if row[i], err = strconv.ParseFloat(cell, 64); err != nil {
				return nil, nil, fmt.Errorf("proof: %s: row %d: %w", path, len(points)+1, err)
			}
		}
		last := len(row) - 1
		points, odd = append(points, row[:last]), append(odd, row[last] == 1)
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("proof: %s: %w", path, err)
	}
	return points, odd, nil
}

// splitArea fits a forest to a random 60 percent of the points and returns the area
// under its curve on the others.
func splitArea(points [][]float64, odd []bool, split uint64) (float64, error) {
	order := stat.NewStream(split, "proof.forest").Perm(len(points))
	cut := len(points) * 6 / 10
	var train [][]float64
	for _, i := range order[:cut] {
		train = append(train, points[i])
	}
	forest, err := stat.NewForest(train, stat.ForestSettings{Seed: split})
	if err != nil {
		return 0, err
	}
	var scores []float64
	var labels []bool
	for _, i := range order[cut:] {
		scores, labels = append(scores, forest.Score(points[i])), append(labels, odd[i])
	}
	return areaUnder(scores, labels), nil
}

// areaUnder is the share of pairs of an outlier and another in which the outlier has
// the greater score, ties for a half (Mann and Whitney).
func areaUnder(scores []float64, odd []bool) float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	ranks, outliers := 0.0, 0.0
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && scores[order[j]] == scores[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			if odd[k] {
				ranks, outliers = ranks+float64(i+j+1)/2, outliers+1
			}
		}
		i = j
	}
	others := float64(len(scores)) - outliers
	return (ranks - outliers*(outliers+1)/2) / (outliers * others)
}
