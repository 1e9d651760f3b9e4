package sim

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/place"
)

// unevenness is by how much the largest shard may exceed its fair share.
const unevenness = 0.1

// partitionOf spreads the sites of a world over at most so many shards of about
// equal numbers of peers, so that the least distance between two shards is as
// large as it can be: sites in one cluster of single linkage (Gower and Ross,
// 1969) stay together, the widest gaps come first. There are fewer shards where
// there are not enough gaps.
func partitionOf(places *place.World, shards int) partition {
	whole := partition{shards: 1, of: func(int) int { return 0 }}
	weight := make([]int, places.Matrix().N())
	for peer := range places.Peers() {
		weight[places.Site(peer)]++
	}
	gaps := spanningTree(places.Matrix())
	for ; shards > 1; shards-- {
		for cuts := shards - 1; cuts <= len(gaps) && gaps[cuts-1].rtt > 1; cuts++ {
			of, even := pack(gaps[cuts:], weight, shards)
			if even {
				return partition{
					shards: shards, lookahead: gaps[cuts-1].rtt / 2,
					of: func(peer int) int { return of[places.Site(peer)] },
				}
			}
		}
	}
	return whole
}

// gap is an edge between two sites.
type gap struct {
	a, b int
	rtt  time.Duration // of the faster direction
}

// spanningTree returns the edges of the minimum spanning tree of all sites (Prim,
// 1957), the longest first. Of n sites it looks at n² pairs.
func spanningTree(m *place.Matrix) []gap {
	n := m.N()
	nearest := make([]gap, n) // of a site outside the tree: its way into the tree
	for i := range nearest {
		nearest[i] = gap{0, i, math.MaxInt64}
	}
	inside := make([]bool, n)
	edges := make([]gap, 0, n)
	for at := 0; at >= 0; {
		inside[at] = true
		next := -1
		for i := range n {
			if inside[i] {
				continue
			}
			if rtt := min(m.RTT(at, i), m.RTT(i, at)); rtt < nearest[i].rtt {
				nearest[i] = gap{at, i, rtt}
			}
			if next < 0 || nearest[i].rtt < nearest[next].rtt {
				next = i
			}
		}
		if next >= 0 {
			edges = append(edges, nearest[next])
		}
		at = next
	}
	slices.SortStableFunc(edges, func(a, b gap) int { return cmp.Compare(b.rtt, a.rtt) })
	return edges
}

// pack joins sites by edges, and puts the clusters into shards, the heaviest
// first, each where there is most room. It is false if a shard becomes too heavy.
func pack(edges []gap, weight []int, shards int) (of []int, even bool) {
	root := make([]int, len(weight))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for _, e := range edges {
		root[find(e.a)] = find(e.b)
	}
	clusters := make([]int, len(weight)) // weights, by root
	total := 0
	var roots []int
	for i, w := range weight {
		if find(i) == i {
			roots = append(roots, i)
		}
		clusters[find(i)] += w
		total += w
	}
	slices.SortStableFunc(roots, func(a, b int) int { return cmp.Compare(clusters[b], clusters[a]) })
	load := make([]int, shards)
	home := make([]int, len(weight))
	for _, r := range roots {
		least := 0
		for i := range load {
			if load[i] < load[least] {
				least = i
			}
		}
		load[least] += clusters[r]
		home[r] = least
	}
	of = make([]int, len(weight))
	for i := range of {
		of[i] = home[find(i)]
	}
	return of, float64(slices.Max(load)) <= (1+unevenness)*float64(total)/float64(shards)
}
