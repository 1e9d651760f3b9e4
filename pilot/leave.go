package pilot

import (
	"cmp"
	"errors"
	"slices"
	"sync"
)

// alive returns the numbers of the peers that have not left, in order.
func (f *Fleet) alive() []int {
	var out []int
	for i := range f.peers {
		if !f.gone[i].Load() {
			out = append(out, i)
		}
	}
	return out
}

// isGone reports whether a peer has left.
func (f *Fleet) isGone(i int) bool { return f.gone[i].Load() }

// Leave has peers leave at once, without a word, as if their machines lost power.
// The others still have them in their tables.
func (f *Fleet) Leave(peers []int) error {
	for _, i := range peers {
		f.gone[i].Store(true)
	}
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for n, i := range peers {
		wg.Go(func() { errs[n] = f.peers[i].Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// farthest returns the quarter of the peers whose mean round-trip time to the others
// is the greatest, by the links.
func (f *Fleet) farthest() []int {
	order := f.byDistance()
	return order[:max(1, len(order)/4)]
}

// distances returns the mean round-trip time of each peer to the others, in seconds, by
// the links.
func (f *Fleet) distances() []float64 {
	mean := make([]float64, len(f.peers))
	for i := range f.peers {
		for j := range f.peers {
			mean[i] += f.places.RTT(i, j).Seconds() / float64(len(f.peers))
		}
	}
	return mean
}

// byDistance returns all peers by their mean round-trip time to the others, the farthest
// first.
func (f *Fleet) byDistance() []int {
	mean := f.distances()
	order := make([]int, len(f.peers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(mean[b], mean[a]) })
	return order
}
