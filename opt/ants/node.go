package ants

import (
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/stat/dense"
)

// Ant is a message between the nodes of a colony without a center. Encoding is the
// driver's.
type Ant struct {
	Epoch  int     // how many ants its home had sent before
	Path   []int   // nodes in order, the home first
	Length float64 // of the path; of the closed tour once it is complete
	Back   bool    // complete: on its way back along the path
}

// Node is one place of an ant colony without a center: it holds the pheromone of the
// links from itself and nothing of the others'. Ants are messages: they choose the next
// place by the trail of the place that they are at, and when a tour is complete they go
// back the way they came and tell every place its length. So each place knows the best
// tour of an epoch when the next begins, and fades and lays its own row as MAX-MIN Ant
// System does (see Colony, without local search). Nothing is shared, and an ant that
// is lost tells less, no more: it was one of many.
//
// What its driver must do: call Launch once an epoch at every node, hand the ants of Ask
// to the nodes that it names, in any order and with any losses, and tell what arrives.
// A message costs O(n) for n places. It has one owner.
type Node struct {
	id       int
	distance []float64 // to every place
	near     []int     // the nearest others, nearest first
	stream   *stat.Stream
	keep     float64

	trail  []float64
	epoch  int        // whose ants are being heard
	now    heard      // the best of that epoch
	recent heard      // the best since the trail was made anew
	best   heard      // the best ever
	age    int        // epochs since the trail was made anew
	quiet  int        // epochs since recent improved
	out    []outgoing // bounded by maxOut
	lost   int
}

// heard is a tour as one place knows it: its length and the neighbours in it.
type heard struct {
	length       float64
	before, next int
}

type outgoing struct {
	to  int
	ant Ant
}

// maxOut bounds the ants that wait to be sent.
const maxOut = 4096

var unheard = heard{math.Inf(1), -1, -1}

// NewNode returns place id of as many as there are distances; all nodes of a colony
// should have the same seed.
func NewNode(id int, distance []float64, seed uint64) (*Node, error) {
	n := len(distance)
	if n < 3 || id < 0 || id >= n || !dense.Finite(distance) || slices.Min(distance) < 0 {
		return nil, fmt.Errorf("ants: place %d of %d: want three finite distances from 0 or more, and a place among them", id, n)
	}
	a := &Node{
		id: id, distance: slices.Clone(distance), stream: stat.NewStream(seed, "opt.antnode", uint64(id)), keep: 0.98,
		trail: slices.Repeat([]float64{1}, n), now: unheard, recent: unheard, best: unheard,
	}
	for j := range n {
		if j != id {
			a.near = append(a.near, j)
		}
	}
	slices.SortStableFunc(a.near, func(x, y int) int {
		switch {
		case distance[x] < distance[y]:
			return -1
		case distance[x] > distance[y]:
			return 1
		}
		return 0
	})
	return a, nil
}

// Launch sends an ant of an epoch; epochs count up from 0.
func (a *Node) Launch(epoch int) {
	a.forward(Ant{Epoch: epoch, Path: []int{a.id}})
}

// Ask returns the next ant to send, and where to. False means that nothing is to be
// sent now.
func (a *Node) Ask() (to int, ant Ant, ok bool) {
	if len(a.out) == 0 {
		return 0, Ant{}, false
	}
	first := a.out[0]
	a.out = a.out[1:]
	return first.to, first.ant, true
}

// Tell takes an ant that arrived. What is no ant of this colony is counted as lost.
func (a *Node) Tell(ant Ant) {
	at := slices.Index(ant.Path, a.id)
	n := len(a.distance)
	switch {
	case len(ant.Path) == 0 || len(ant.Path) > n || ant.Epoch < 0 || ant.Epoch > a.epoch+maxOut || !(ant.Length >= 0):
		a.lost++
	case slices.ContainsFunc(ant.Path, func(p int) bool { return p < 0 || p >= n }):
		a.lost++
	case !ant.Back && at < 0:
		last := ant.Path[len(ant.Path)-1]
		ant.Path = append(slices.Clone(ant.Path), a.id)
		ant.Length += a.distance[last]
		if len(ant.Path) < n {
			a.forward(ant)
			return
		}
		ant.Length += a.distance[ant.Path[0]]
		ant.Back = true
		a.back(ant, n-1)
	case ant.Back && at >= 0 && len(ant.Path) == n:
		a.back(ant, at)
	default:
		a.lost++
	}
}

// Best returns the length of the shortest tour that passed, and this place's
// neighbours in it; false before one did.
func (a *Node) Best() (length float64, before, next int, ok bool) {
	return a.best.length, a.best.before, a.best.next, a.best.next >= 0
}

// Lost returns how many messages were no ants or found no room.
func (a *Node) Lost() int { return a.lost }

func (a *Node) send(to int, ant Ant) {
	if len(a.out) >= maxOut {
		a.lost++
		return
	}
	a.out = append(a.out, outgoing{to, ant})
}

// forward sends an ant on by the trail to the nearest places that it has not seen, to
// the one of the strongest pull if it has seen all of those.
func (a *Node) forward(ant Ant) {
	seen := make([]bool, len(a.distance))
	for _, p := range ant.Path {
		seen[p] = true
	}
	near := a.near[:min(nearest, len(a.near))]
	sum := 0.0
	for _, j := range near {
		if !seen[j] {
			sum += a.pull(j)
		}
	}
	next, left := -1, a.stream.Float64()*sum
	for _, j := range near {
		if seen[j] {
			continue
		}
		next = j
		if left -= a.pull(j); left < 0 {
			break
		}
	}
	if next < 0 {
		for _, j := range a.near {
			if !seen[j] && (next < 0 || a.pull(j) > a.pull(next)) {
				next = j
			}
		}
	}
	a.send(next, ant)
}

func (a *Node) pull(j int) float64 {
	sight := 1 / max(a.distance[j], 1e-9)
	return a.trail[j] * sight * sight
}

// back hears a complete tour, in which this place stands at a position, and sends the
// ant on towards its home.
func (a *Node) back(ant Ant, at int) {
	n := len(ant.Path)
	if a.epoch < ant.Epoch {
		a.lay()
		a.epoch = ant.Epoch
	}
	tour := heard{ant.Length, ant.Path[(at+n-1)%n], ant.Path[(at+1)%n]}
	if ant.Epoch == a.epoch && tour.length < a.now.length {
		a.now = tour
	}
	if tour.length < a.best.length {
		a.best = tour
	}
	if at > 0 {
		a.send(ant.Path[at-1], ant)
	}
}

// lay ends an epoch: the row fades, and what the best of the epoch, or since the last
// start, passed by here is strengthened.
func (a *Node) lay() {
	if a.now.next < 0 {
		return // nothing was heard
	}
	a.age++
	a.quiet++
	if a.now.length < a.recent.length-1e-9 {
		first := a.recent.next < 0
		a.recent, a.quiet = a.now, 0
		if _, top := bounds(a.keep, a.recent.length, len(a.distance)); first {
			for j := range a.trail {
				a.trail[j] = top
			}
		}
	}
	low, top := bounds(a.keep, a.recent.length, len(a.distance))
	best := a.now
	if a.age%every(a.age) == 0 {
		best = a.recent
	}
	for j := range a.trail {
		a.trail[j] = max(a.trail[j]*a.keep, low)
	}
	for _, j := range []int{best.before, best.next} {
		a.trail[j] = min(a.trail[j]+1/max(best.length, 1e-12), top)
	}
	a.now = unheard
	if a.quiet >= patience {
		a.recent, a.age, a.quiet = unheard, 0, 0
	}
}
