package learn

import (
	"fmt"
	"math"
	"slices"
)

// The rules below make one vector of several, of which some may come from liars:
// updates of a shared network, statistics of a bandit. All take vectors of one
// length and panic on others, and on too few of them for the number of liars; the
// weight of a sender is 1, since a claimed amount of data is a lever for liars.

// Mean writes the mean of the vectors to dst. One liar moves it anywhere.
func Mean(dst []float32, vectors [][]float32) {
	mustAlign(dst, vectors)
	clear(dst)
	share := 1 / float32(len(vectors))
	for _, v := range vectors {
		for i, x := range v {
			dst[i] += float32(share * x)
		}
	}
}

func mustAlign(dst []float32, vectors [][]float32) {
	if len(vectors) == 0 {
		panic("learn: nothing to aggregate")
	}
	for _, v := range vectors {
		if len(v) != len(dst) {
			panic(fmt.Sprintf("learn: a vector of %d numbers among those of %d", len(v), len(dst)))
		}
	}
}

// Krum returns the vector with the least sum of squared distances to its
// n-liars-2 nearest others (Blanchard et al., NeurIPS 2017), by number. It needs
// n ≥ 2·liars+3. Liars that stay close to the honest ones (Baruch, Baruch and
// Goldberg, NeurIPS 2019) get chosen: see CenteredClip.
func Krum(vectors [][]float32, liars int) int {
	return krumOrder(vectors, liars)[0]
}

// MultiKrum writes the mean of the chosen vectors of least Krum score to dst;
// n-liars of them is usual. A vector that is not finite is never chosen while
// others are left.
func MultiKrum(dst []float32, vectors [][]float32, liars, chosen int) {
	if chosen < 1 || chosen > len(vectors) {
		panic(fmt.Sprintf("learn: %d of %d vectors", chosen, len(vectors)))
	}
	var best [][]float32
	for _, i := range krumOrder(vectors, liars)[:chosen] {
		best = append(best, vectors[i])
	}
	Mean(dst, best)
}

// krumOrder returns the vectors from the least score.
func krumOrder(vectors [][]float32, liars int) []int {
	n := len(vectors)
	if liars < 0 || n < 2*liars+3 {
		panic(fmt.Sprintf("learn: Krum of %d vectors with %d liars: want 2·liars+3 or more", n, liars))
	}
	mustAlign(vectors[0], vectors)
	distance := make([]float64, n*n)
	for i := range n {
		for j := range i {
			d := squaredDistance(vectors[i], vectors[j])
			distance[i*n+j], distance[j*n+i] = d, d
		}
	}
	scores := make([]float64, n)
	row := make([]float64, 0, n)
	for i := range n {
		row = append(row[:0], distance[i*n:i*n+i]...)
		row = append(row, distance[i*n+i+1:(i+1)*n]...)
		slices.Sort(row)
		for _, d := range row[:n-liars-2] {
			scores[i] += d
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] < scores[b]:
			return -1
		case scores[a] > scores[b]:
			return 1
		}
		return 0
	})
	return order
}

// squaredDistance is infinite if a number is not finite.
func squaredDistance(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		d := float64(x) - float64(b[i])
		sum += float64(d * d)
	}
	if math.IsNaN(sum) {
		return math.Inf(1)
	}
	return sum
}

// TrimmedMean writes to dst, number by number, the mean of what is left without
// the cut greatest and the cut least (Yin et al., ICML 2018). It needs more than
// 2·cut vectors; with n odd and cut = (n-1)/2 it is the median. NaN counts as
// least.
func TrimmedMean(dst []float32, vectors [][]float32, cut int) {
	mustAlign(dst, vectors)
	n := len(vectors)
	if cut < 0 || n <= 2*cut {
		panic(fmt.Sprintf("learn: %d vectors without the %d greatest and least", n, cut))
	}
	column := make([]float32, n)
	for i := range dst {
		for j, v := range vectors {
			column[j] = v[i]
		}
		slices.Sort(column)
		sum := float32(0)
		for _, x := range column[cut : n-cut] {
			sum += x
		}
		dst[i] = sum / float32(n-2*cut)
	}
}

// CenteredClip moves center, which begins as the last result, by the mean of what
// lies between it and the vectors, each shortened to a length of most radius, a
// number of times (Karimireddy, He and Jaggi, ICML 2021, algorithm 2; they do it
// once or a few times). A liar moves the result by radius/n at most each time.
// The senders should send momenta: that keeps small lies from adding up. A vector
// that is not finite counts as at the center.
func CenteredClip(center []float32, vectors [][]float32, radius float32, times int) {
	mustAlign(center, vectors)
	step := make([]float32, len(center))
	for range times {
		clear(step)
		for _, v := range vectors {
			addClipped(step, center, v, radius, 1/float32(len(vectors)))
		}
		for i, d := range step {
			center[i] += d
		}
	}
}

// addClipped adds share times what lies between center and v, shortened to a
// length of most radius, to sum.
func addClipped(sum, center, v []float32, radius, share float32) {
	length := math.Sqrt(squaredDistance(v, center))
	if math.IsInf(length, 1) {
		return
	}
	if length > float64(radius) {
		share = float32(float64(share) * float64(radius) / length)
	}
	for i, x := range v {
		sum[i] += float32(share * (x - center[i]))
	}
}

// Buckets returns the means of random groups of size vectors, the last perhaps
// smaller, to be aggregated instead (Karimireddy, He and Jaggi, ICLR 2022): it
// evens out honest senders with unlike data. A liar spoils its group, so the
// share of liars may grow by size.
func Buckets(vectors [][]float32, size int, dice Dice) [][]float32 {
	order := make([]int, len(vectors))
	for i := range order {
		order[i] = i
	}
	for i := len(order) - 1; i > 0; i-- {
		j := int(dice.Float64() * float64(i+1))
		order[i], order[j] = order[j], order[i]
	}
	var means [][]float32
	for at := 0; at < len(order); at += size {
		var group [][]float32
		for _, i := range order[at:min(at+size, len(order))] {
			group = append(group, vectors[i])
		}
		mean := make([]float32, len(group[0]))
		Mean(mean, group)
		means = append(means, mean)
	}
	return means
}

// Gossip writes to dst what a peer makes of its own vector and those of its
// neighbours, each of which gets a weight; the own one keeps the rest of 1. What
// lies between the own vector and another is shortened to a length of most radius
// (self-centred clipping: He, Karimireddy and Jaggi, arXiv:2202.01545); infinite
// means plain gossip, where the disagreement of n honest peers falls with the
// second eigenvalue of the weights.
func Gossip(dst, own []float32, neighbours [][]float32, weights []float32, radius float32) {
	mustAlign(own, append([][]float32{dst}, neighbours...))
	if len(weights) != len(neighbours) {
		panic(fmt.Sprintf("learn: %d weights for %d neighbours", len(weights), len(neighbours)))
	}
	copy(dst, own)
	for k, v := range neighbours {
		addClipped(dst, own, v, radius, weights[k])
	}
}
