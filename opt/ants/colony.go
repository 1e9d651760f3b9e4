// Package ants has ant colony optimization for the shortest tour through places of
// known distances: [Colony] holds all trails, each [Node] those of its own place.
package ants

import (
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// Settings describe a Colony. The zero value is the paper's setting with
// local search.
type Settings struct {
	Seed uint64
	Ants int // tours of an iteration; 0 means 25, or as many as cities without local search
	// Plain leaves out the local search: tours are as the ants walked.
	Plain bool
}

// Colony is MAX-MIN Ant System (Stützle and Hoos, Future Generation Computer
// Systems 16, 2000) for the shortest closed tour through points of known
// distances: the ordered choices of the field, such as the order in which to visit
// or to upgrade peers. Only the best of an iteration, or of the run, lays
// pheromone; its bounds keep every edge possible; stagnation starts the trails
// anew. By default tours are improved by 2-opt with neighbour lists. An iteration
// costs O(ants·n·20) for n points. It has one owner.
type Colony struct {
	distance [][]float64
	near     [][]int // the nearest others of each point, nearest first
	cfg      Settings
	stream   *stat.Stream
	keep     float64 // rho, the share of pheromone that stays

	trail    [][]float64
	pull     [][]float64 // trail·(1/distance)², of the last iteration
	low, top float64     // bounds of the trail
	best     []int       // of the run
	length   float64
	recent   []int // best since the trails were made anew
	reached  float64
	age      int // iterations since then
	quiet    int // iterations since recent improved
}

// What MMAS is run with: the paper, sections 4 and 5.
const (
	nearest   = 20   // length of the neighbour lists
	bestShare = 0.05 // chance that a converged colony still walks its best tour
	patience  = 250  // iterations without improvement after which the trails are made anew
)

// NewColony checks a symmetric matrix of distances of three points or more.
func NewColony(distance [][]float64, cfg Settings) (*Colony, error) {
	n := len(distance)
	if n < 3 || cfg.Ants < 0 {
		return nil, fmt.Errorf("ants: %d points, %d ants: want 3 points or more and no negative number", n, cfg.Ants)
	}
	for i, row := range distance {
		if len(row) != n || !dense.Finite(row) || slices.Min(row) < 0 {
			return nil, fmt.Errorf("ants: row %d of the distances: want %d finite numbers from 0", i, n)
		}
		for j, d := range row {
			if d != distance[j][i] {
				return nil, fmt.Errorf("ants: distance %d to %d is %v and back %v: want the same", i, j, d, distance[j][i])
			}
		}
	}
	a := &Colony{distance: distance, cfg: cfg, stream: stat.NewStream(cfg.Seed, "opt.ants"), keep: 0.8}
	if cfg.Plain {
		a.keep = 0.98
	}
	if a.cfg.Ants == 0 {
		a.cfg.Ants = 25
		if cfg.Plain {
			a.cfg.Ants = n
		}
	}
	for i := range n {
		others := make([]int, 0, n-1)
		for j := range n {
			if j != i {
				others = append(others, j)
			}
		}
		slices.SortStableFunc(others, func(x, y int) int {
			switch {
			case distance[i][x] < distance[i][y]:
				return -1
			case distance[i][x] > distance[i][y]:
				return 1
			}
			return 0
		})
		a.near = append(a.near, others[:min(nearest, len(others))])
	}
	first := a.greedy()
	a.best, a.length = first, a.Length(first)
	a.anew()
	return a, nil
}

// Length returns the length of a closed tour.
func (a *Colony) Length(tour []int) float64 {
	sum := a.distance[tour[len(tour)-1]][tour[0]]
	for i := 1; i < len(tour); i++ {
		sum += a.distance[tour[i-1]][tour[i]]
	}
	return sum
}

// Best returns the shortest tour so far and its length.
func (a *Colony) Best() (tour []int, length float64) { return slices.Clone(a.best), a.length }

// greedy walks to the nearest point each time.
func (a *Colony) greedy() []int {
	n := len(a.distance)
	tour, seen := []int{0}, make([]bool, n)
	seen[0] = true
	for len(tour) < n {
		at, next := tour[len(tour)-1], -1
		for j := range n {
			if !seen[j] && (next < 0 || a.distance[at][j] < a.distance[at][next]) {
				next = j
			}
		}
		tour, seen[next] = append(tour, next), true
	}
	return tour
}

// anew makes every trail as strong as it may be.
func (a *Colony) anew() {
	n := len(a.distance)
	a.bound(a.length)
	a.recent, a.reached, a.age, a.quiet = nil, math.Inf(1), 0, 0
	a.trail, a.pull = make([][]float64, n), make([][]float64, n)
	for i := range n {
		a.trail[i], a.pull[i] = slices.Repeat([]float64{a.top}, n), make([]float64, n)
	}
}

// bound sets the limits of the trail for a best length.
func (a *Colony) bound(length float64) {
	a.low, a.top = bounds(a.keep, length, len(a.distance))
}

// bounds returns the limits of a trail for a best length: the paper's equations 7
// and 11, with half the points to choose from on average; neighbour lists leave half
// of those.
func bounds(keep, length float64, points int) (low, top float64) {
	n := float64(points)
	top = 1 / ((1 - keep) * max(length, 1e-12))
	root := math.Pow(bestShare, 1/n)
	choices := min(n, nearest) / 2
	return min(top, top*(1-root)/(max(choices-1, 0.5)*root)), top
}

// Step walks one iteration.
func (a *Colony) Step() {
	for i, row := range a.pull {
		for j := range row {
			sight := 1 / max(a.distance[i][j], 1e-9)
			row[j] = a.trail[i][j] * sight * sight
		}
	}
	var tour []int
	shortest := math.Inf(1)
	for range a.cfg.Ants {
		walked := a.walk()
		if !a.cfg.Plain {
			a.improve(walked)
		}
		if l := a.Length(walked); l < shortest {
			tour, shortest = walked, l
		}
	}
	a.age++
	a.quiet++
	if shortest < a.reached-1e-9 {
		a.recent, a.reached, a.quiet = tour, shortest, 0
		a.bound(shortest)
	}
	if shortest < a.length-1e-9 {
		a.best, a.length = slices.Clone(tour), shortest
	}
	if a.age%every(a.age) == 0 {
		tour, shortest = a.recent, a.reached
	}
	a.lay(tour, shortest)
	if a.quiet >= patience {
		a.anew()
	}
}

// every says how often the best since the last start lays pheromone instead of the
// best of the iteration: more often with age (section 5.1).
func every(age int) int {
	switch {
	case age < 25:
		return 25
	case age < 75:
		return 5
	case age < 125:
		return 3
	case age < 250:
		return 2
	}
	return 1
}

// lay lets trails fade and strengthens those of a tour.
func (a *Colony) lay(tour []int, length float64) {
	for _, row := range a.trail {
		for j := range row {
			row[j] = max(row[j]*a.keep, a.low)
		}
	}
	for i, from := range tour {
		to := tour[(i+1)%len(tour)]
		v := min(a.trail[from][to]+1/max(length, 1e-12), a.top)
		a.trail[from][to], a.trail[to][from] = v, v
	}
}

// walk builds a tour: the next point by pull among the neighbours, and the one of
// the strongest pull when all of them are behind.
func (a *Colony) walk() []int {
	n := len(a.distance)
	tour, seen := []int{a.stream.IntN(n)}, make([]bool, n)
	seen[tour[0]] = true
	for len(tour) < n {
		at, sum := tour[len(tour)-1], 0.0
		for _, j := range a.near[at] {
			if !seen[j] {
				sum += a.pull[at][j]
			}
		}
		next := -1
		left := a.stream.Float64() * sum
		for _, j := range a.near[at] {
			if seen[j] {
				continue
			}
			next = j
			if left -= a.pull[at][j]; left < 0 {
				break
			}
		}
		if next < 0 {
			for j := range n {
				if !seen[j] && (next < 0 || a.pull[at][j] > a.pull[at][next]) {
					next = j
				}
			}
		}
		tour, seen[next] = append(tour, next), true
	}
	return tour
}

// improve reverses parts of a tour as long as that shortens it (2-ants: Croes,
// 1958), looking at the neighbours of each point only, nearest first.
func (a *Colony) improve(tour []int) {
	n := len(tour)
	place := make([]int, n)
	for i, c := range tour {
		place[c] = i
	}
	reverse := func(i, j int) { // the points at i to j, around the end if j < i
		for steps := ((j-i+n)%n + 1) / 2; steps > 0; steps-- {
			tour[i], tour[j] = tour[j], tour[i]
			place[tour[i]], place[tour[j]] = i, j
			i, j = (i+1)%n, (j-1+n)%n
		}
	}
	for better := true; better; {
		better = false
		for c := range n {
			for _, forward := range []bool{true, false} {
				step := 1
				if !forward {
					step = n - 1
				}
				next := tour[(place[c]+step)%n]
				edge := a.distance[c][next]
				for _, d := range a.near[c] {
					if a.distance[c][d] >= edge {
						break
					}
					after := tour[(place[d]+step)%n]
					gain := edge + a.distance[d][after] - a.distance[c][d] - a.distance[next][after]
					if gain <= 1e-9 {
						continue
					}
					if forward { // c next … d after: c d … next after
						reverse(place[next], place[d])
					} else { // after d … next c: after next … d c
						reverse(place[d], place[next])
					}
					better = true
					next = tour[(place[c]+step)%n]
					edge = a.distance[c][next]
				}
			}
		}
	}
}
