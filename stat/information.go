package stat

import (
	"fmt"
	"math"
	"slices"
)

// MutualInformation estimates how many nats one number tells of another, from
// pairs of samples, by the nearest neighbours of each (Kraskov, Stögbauer and
// Grassberger, Physical Review E 69, 2004, the first estimator). Its error hardly
// depends on the scales; bins, by contrast, bias it upwards. neighbours is 3 to 10;
// 0 means 4. Ties should be rare: add a little noise to counts. It costs O(n²) at
// worst, O(n·√n) usually.
func MutualInformation(x, y []float64, neighbours int) (float64, error) {
	if neighbours == 0 {
		neighbours = 4
	}
	n := len(x)
	if n != len(y) || neighbours < 1 || n <= neighbours {
		return 0, fmt.Errorf("stat: %d and %d samples with %d neighbours: want as many of both, and more than neighbours", n, len(y), neighbours)
	}
	for i := range x {
		if math.IsNaN(x[i]+y[i]) || math.IsInf(x[i], 0) || math.IsInf(y[i], 0) {
			return 0, fmt.Errorf("stat: sample %d is %v, %v: want finite numbers", i, x[i], y[i])
		}
	}
	order := make([]int, n) // by x
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return a - b
	})
	sortedX, sortedY := slices.Clone(x), slices.Clone(y)
	slices.Sort(sortedX)
	slices.Sort(sortedY)
	sum := 0.0
	for at := range order {
		radius := nearestRadius(x, y, order, at, neighbours)
		i := order[at]
		sum += digamma(float64(within(sortedX, x[i], radius))) + digamma(float64(within(sortedY, y[i], radius)))
	}
	return digamma(float64(neighbours)) + digamma(float64(n)) - sum/float64(n), nil
}

// nearestRadius returns the distance to the k-th neighbour of a sample by the
// greater of both differences: it looks outwards in x until that alone is farther.
func nearestRadius(x, y []float64, order []int, at, k int) float64 {
	i := order[at]
	nearest := make([]float64, 0, k+1)
	consider := func(j int) {
		d := max(math.Abs(x[j]-x[i]), math.Abs(y[j]-y[i]))
		if len(nearest) == k && d >= nearest[k-1] {
			return
		}
		p, _ := slices.BinarySearch(nearest, d)
		nearest = slices.Insert(nearest, p, d)
		nearest = nearest[:min(len(nearest), k)]
	}
	for below, above := at-1, at+1; below >= 0 || above < len(order); {
		left, right := math.Inf(1), math.Inf(1)
		if below >= 0 {
			left = x[i] - x[order[below]]
		}
		if above < len(order) {
			right = x[order[above]] - x[i]
		}
		if len(nearest) == k && min(left, right) >= nearest[k-1] {
			break
		}
		if left <= right {
			consider(order[below])
			below--
		} else {
			consider(order[above])
			above++
		}
	}
	return nearest[k-1]
}

// within counts the sorted values strictly nearer to v than radius, v itself among
// them, at least 1.
func within(sorted []float64, v, radius float64) int {
	from, _ := slices.BinarySearchFunc(sorted, v, func(e, v float64) int {
		if v-e >= radius {
			return -1
		}
		return 1
	})
	to, _ := slices.BinarySearchFunc(sorted, v, func(e, v float64) int {
		if e-v < radius {
			return -1
		}
		return 1
	})
	return max(1, to-from)
}

// digamma is the derivative of log Γ for x > 0, by recurrence and its asymptotic
// series (Abramowitz and Stegun, 6.3.5 and 6.3.18).
func digamma(x float64) float64 {
	sum := 0.0
	for ; x < 8; x++ {
		sum -= 1 / x
	}
	r := 1 / (x * x)
	return sum + math.Log(x) - 0.5/x - r*(1.0/12-r*(1.0/120-r*(1.0/252-r/240)))
}

// CountInformation estimates the mutual information of two whole numbers from a
// table of counts, with the correction of Miller and Madow (1955), in nats. It is
// never below 0.
func CountInformation(table [][]int) float64 {
	var rows, columns []int
	var cells []int
	for _, row := range table {
		total := 0
		for c, n := range row {
			for len(columns) <= c {
				columns = append(columns, 0)
			}
			columns[c] += n
			total += n
			cells = append(cells, n)
		}
		rows = append(rows, total)
	}
	return max(0, countEntropy(rows)+countEntropy(columns)-countEntropy(cells))
}

func countEntropy(counts []int) float64 {
	total, used, sum := 0.0, 0.0, 0.0
	for _, n := range counts {
		if n > 0 {
			total, used = total+float64(n), used+1
			sum += float64(n) * math.Log(float64(n))
		}
	}
	if total == 0 {
		return 0
	}
	return math.Log(total) - sum/total + (used-1)/(2*total)
}

// InformationTest returns the share of permutations of y that tell as much of x as
// y does, itself among them: a p-value of independence that is exact at any size.
func InformationTest(x, y []float64, permutations int, seed uint64) (float64, error) {
	base, err := MutualInformation(x, y, 0)
	if err != nil {
		return 0, err
	}
	stream := NewStream(seed, "stat.information")
	shuffled, as := slices.Clone(y), 1
	for range permutations {
		stream.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		other, err := MutualInformation(x, shuffled, 0)
		if err != nil {
			return 0, err
		}
		if other >= base {
			as++
		}
	}
	return float64(as) / float64(permutations+1), nil
}
