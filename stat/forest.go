package stat

import (
	"fmt"
	"math"
	"slices"
)

// ForestSettings describe a Forest. The zero value has the paper's numbers.
type ForestSettings struct {
	Seed   uint64
	Trees  int // 0 means 100
	Sample int // points that a tree sees; 0 means 256, or all there are
}

// Forest finds points that lie apart, by how few random cuts set them off from the
// others: isolation forest (Liu, Ting and Zhou, ICDM 2008). It is immutable.
type Forest struct {
	dims  int
	trees []isolation
	scale float64 // expected depth in a tree of its sample
}

// isolation is a tree in preorder.
type isolation []cut

// cut sends points below at to the next node and the others to right; a leaf has
// no right and the number of points that ended in it.
type cut struct {
	dim   int
	at    float64
	right int
	count int
}

// NewForest learns from points of equal size, finite in every coordinate.
func NewForest(points [][]float64, cfg ForestSettings) (*Forest, error) {
	if cfg.Trees == 0 {
		cfg.Trees = 100
	}
	if cfg.Sample == 0 {
		cfg.Sample = 256
	}
	cfg.Sample = min(cfg.Sample, len(points))
	if len(points) < 2 || len(points[0]) == 0 || cfg.Trees < 0 || cfg.Sample < 2 {
		return nil, fmt.Errorf("stat: forest of %d points, %+v: want two points or more", len(points), cfg)
	}
	f := &Forest{dims: len(points[0]), scale: pathLength(cfg.Sample)}
	for i, p := range points {
		for _, v := range p {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("stat: point %d has coordinate %v: want finite numbers", i, v)
			}
		}
		if len(p) != f.dims {
			return nil, fmt.Errorf("stat: point %d has %d coordinates: want %d", i, len(p), f.dims)
		}
	}
	limit := int(math.Ceil(math.Log2(float64(cfg.Sample))))
	for t := range cfg.Trees {
		s := NewStream(cfg.Seed, "stat.forest", uint64(t))
		sample := make([][]float64, cfg.Sample)
		for i, at := range s.Perm(len(points))[:cfg.Sample] {
			sample[i] = points[at]
		}
		f.trees = append(f.trees, grow(nil, sample, limit, s))
	}
	return f, nil
}

// grow appends the tree of some points; it reorders them.
func grow(tree isolation, points [][]float64, depth int, s *Stream) isolation {
	here := len(tree)
	tree = append(tree, cut{count: len(points)})
	if depth == 0 || len(points) < 2 {
		return tree
	}
	for _, dim := range s.Perm(len(points[0])) { // the first in which they differ
		low, high := points[0][dim], points[0][dim]
		for _, p := range points {
			low, high = min(low, p[dim]), max(high, p[dim])
		}
		if low == high {
			continue
		}
		at := low + (1-s.Float64())*(high-low) // above low, so that both sides have points
		below := slices.DeleteFunc(slices.Clone(points), func(p []float64) bool { return p[dim] >= at })
		above := slices.DeleteFunc(points, func(p []float64) bool { return p[dim] < at })
		tree = grow(tree, below, depth-1, s)
		tree[here] = cut{dim: dim, at: at, right: len(tree), count: len(below) + len(above)}
		return grow(tree, above, depth-1, s)
	}
	return tree
}

// pathLength is the mean depth at which a search in a random binary tree of n
// points fails: what a leaf of n points stands for (equation 1).
func pathLength(n int) float64 {
	switch {
	case n < 2:
		return 0
	case n == 2:
		return 1
	}
	harmonic := math.Log(float64(n-1)) + 0.5772156649015329
	return 2*harmonic - 2*float64(n-1)/float64(n)
}

// Score returns from 0 to 1 how far apart a point lies: near 1 for an anomaly,
// well below 0.5 in the middle of a crowd. It panics on a point of another size.
func (f *Forest) Score(point []float64) float64 {
	if len(point) != f.dims {
		panic(fmt.Sprintf("stat: point of %d coordinates in a forest of %d", len(point), f.dims))
	}
	total := 0.0
	for _, tree := range f.trees {
		at, depth := 0, 0
		for ; tree[at].right > 0; depth++ {
			if point[tree[at].dim] < tree[at].at {
				at++
			} else {
				at = tree[at].right
			}
		}
		total += float64(depth) + pathLength(tree[at].count)
	}
	return math.Exp2(-total / float64(len(f.trees)) / f.scale)
}
