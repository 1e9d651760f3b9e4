package ants_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/opt/ants"
)

// ring has places on a circle: the shortest tour visits them in order.
func ring(n int) [][]float64 {
	rows := make([][]float64, n)
	for i := range rows {
		for j := range n {
			rows[i] = append(rows[i], 2*math.Sin(math.Pi*math.Abs(float64(i-j))/float64(n)))
		}
	}
	return rows
}

// TestAntNodes lets twelve places find their ring by messages alone: in the end each
// knows its two neighbours in it.
func TestAntNodes(t *testing.T) {
	const n = 12
	run := func(seed uint64) (trace []string, nodes []*ants.Node) {
		for i, row := range ring(n) {
			node, err := ants.NewNode(i, row, seed)
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, node)
		}
		for epoch := range 60 {
			for _, node := range nodes {
				node.Launch(epoch)
			}
			for busy := true; busy; {
				busy = false
				for _, node := range nodes {
					if to, ant, ok := node.Ask(); ok {
						busy = true
						trace = append(trace, fmt.Sprint(to, ant))
						nodes[to].Tell(ant)
					}
				}
			}
		}
		return trace, nodes
	}
	first, nodes := run(1)
	want := float64(n) * 2 * math.Sin(math.Pi/n)
	for i, node := range nodes {
		length, before, next, ok := node.Best()
		around := []int{(i + 1) % n, (i + n - 1) % n}
		if !ok || math.Abs(length-want) > 1e-9 || !slices.Contains(around, before) || !slices.Contains(around, next) || before == next {
			t.Errorf("place %d knows %v between %d and %d, want %v between its neighbours", i, length, before, next, want)
		}
		if node.Lost() != 0 {
			t.Errorf("place %d lost %d", i, node.Lost())
		}
	}
	if second, _ := run(1); !slices.Equal(first, second) {
		t.Error("the same seed sent other ants")
	}
	if other, _ := run(2); slices.Equal(first, other) {
		t.Error("another seed sent the same ants")
	}
}

// TestAntNodeNonsense tells what no ant of the colony would say.
func TestAntNodeNonsense(t *testing.T) {
	node, err := ants.NewNode(0, ring(4)[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	nonsense := []ants.Ant{
		{},
		{Path: []int{9}},
		{Path: []int{-1}},
		{Path: []int{1, 2, 3, 0, 1}},
		{Path: []int{1, 0}}, // was here
		{Path: []int{1, 2}, Length: math.NaN()},
		{Path: []int{1, 2}, Length: -1},
		{Path: []int{1, 2}, Epoch: -1},
		{Path: []int{1, 2}, Epoch: math.MaxInt},
		{Path: []int{1, 2, 3}, Back: true},
		{Path: []int{0, 1}, Back: true},
	}
	for _, ant := range nonsense {
		node.Tell(ant)
	}
	if node.Lost() != len(nonsense) {
		t.Errorf("%d lost, want %d", node.Lost(), len(nonsense))
	}
	if _, _, ok := node.Ask(); ok {
		t.Error("nonsense was passed on")
	}
	if _, _, _, ok := node.Best(); ok {
		t.Error("nonsense is the best tour")
	}
	for _, bad := range []struct {
		id       int
		distance []float64
	}{{0, []float64{0, 1}}, {3, []float64{0, 1, 1}}, {0, []float64{0, -1, 1}}, {0, []float64{0, math.NaN(), 1}}} {
		if _, err := ants.NewNode(bad.id, bad.distance, 1); err == nil {
			t.Errorf("place %d of %v accepted", bad.id, bad.distance)
		}
	}
}
