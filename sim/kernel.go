package sim

import (
	"errors"
	"math/bits"

	"github.com/shoalnet/shoal/stat"
)

// maxRounds ends a search that goes nowhere. Reaching it is an error of the
// simulator, unless peers are gone: those left may send a search in circles, which
// then fails.
const maxRounds = 64

var errEndless = errors.New("sim: a search did not end")

// searcher runs one search after the other without allocating.
//
// It follows a search no further than its outcome needs. Peers are ranks, so that
// how many bits one shares with the key is seen from the path to the key, without
// its identifier; identifiers are read where peers compete that share equally many.
// In mode value a search ends with the first table that names a peer of the goal,
// and the peers to ask are put in order only as far as they are asked.
type searcher struct {
	cfg    *RoundsConfig
	pop    *population
	tables tables
	shape  *shape
	depth  int // of the path to a key: deeper than most goals

	path  path
	goal  goal
	buf   []uint32 // a bucket
	ranks []uint32 // scratch of limit
	dist  []uint64 // scratch of closest

	round   round    // mode value
	best    nearest  // mode node: closest peers known
	request []uint32 // mode node: whom to ask now
	named   []uint32 // mode node with peers that are gone: a reply
}

// outcome is what one search found and cost.
type outcome struct {
	rounds, messages, recall int
	found                    bool
	failed                   bool // in mode value: nobody was left to ask
}

func newSearcher(w *static) *searcher {
	s := &searcher{
		cfg: w.cfg, pop: w.pop, shape: w.shape, tables: w.tables(),
		depth: bits.Len(uint(len(w.pop.ids)/w.cfg.Replication)) + 2,
		buf:   make([]uint32, w.shape.largest()),
	}
	s.path.pop = w.pop
	s.best.room = w.cfg.Replication
	if w.cfg.Stale > 0 {
		s.best.room += remembered
	}
	return s
}

// search runs lookup number i: from a random peer for a random key.
func (s *searcher) search(i int) (outcome, error) {
	from, target := s.draw(i)
	s.path.aim(target, s.depth)
	if s.cfg.Mode == FindNode {
		return s.findNode(from)
	}
	return s.findValue(from)
}

// draw returns who searches in lookup number i, and for what.
func (s *searcher) draw(i int) (from uint32, target uint64) {
	high, _ := bits.Mul64(stat.Hash(s.cfg.Seed, lookupPeer, uint64(i)), uint64(len(s.pop.ids)))
	for again := uint64(1); !s.pop.live(uint32(high)); again++ {
		high, _ = bits.Mul64(stat.Hash(s.cfg.Seed, lookupPeer, uint64(i), again), uint64(len(s.pop.ids)))
	}
	return uint32(high), stat.Hash(s.cfg.Seed, lookupKey, uint64(i))
}

// What a word of Hash is drawn for.
const (
	lookupPeer = iota + 1
	lookupKey
	lookupStale
)

// reply hears what a peer answers that shares b bits with the key, which is less
// than the path is deep. The candidates of its bucket share one bit more.
func (s *searcher) reply(peer uint32, b int) {
	lo, n := s.path.lo[b+1], s.path.size[b+1]
	got := s.bucket(peer, b, lo, lo+n)
	enough := 1
	if s.cfg.Replies == ClosestReplies {
		enough = s.cfg.Replication
	}
	if got >= enough {
		return
	}
	// The deeper buckets hold the next closest; they end where the peer is alone.
	for deeper := b + 1; deeper < 64; deeper++ {
		if lo, hi := s.pop.subtree(s.pop.ids[peer], deeper); hi-lo <= 1 {
			break
		}
		lo, hi := s.pop.bucket(peer, deeper)
		got += s.bucket(peer, deeper, lo, hi)
	}
	for lower := b - 1; lower >= 0 && got < enough; lower-- {
		lo, hi := s.pop.bucket(peer, lower)
		got += s.bucket(peer, lower, lo, hi)
	}
}

// bucket hears the members of one bucket and returns their number.
func (s *searcher) bucket(peer uint32, b int, lo, hi uint32) int {
	if lo == hi {
		return 0
	}
	members := s.tables.members(peer, b, lo, hi, s.buf)
	switch {
	case s.cfg.Mode == FindValue:
		s.hear(members)
	case s.cfg.Stale > 0:
		s.named = append(s.named, members...)
	default:
		s.learn(members)
	}
	return len(members)
}

// closest moves the n closest of some peers to the front, closest first, and
// returns them. Their distances are then in s.dist.
func (s *searcher) closest(ranks []uint32, n int) []uint32 {
	dist := s.dist[:0]
	for _, rank := range ranks {
		dist = append(dist, s.pop.ids[rank]^s.path.key)
	}
	s.dist = dist
	if n = min(n, len(ranks)); n == 0 {
		return nil
	}
	for i, d := range dist {
		at := min(i, n)
		if at == n && d >= dist[n-1] {
			continue
		}
		rank := ranks[i]
		if at == n {
			at--
		}
		for ; at > 0 && dist[at-1] > d; at-- {
			dist[at], ranks[at] = dist[at-1], ranks[at-1]
		}
		dist[at], ranks[at] = d, rank
	}
	return ranks[:n]
}

// goal is the peers closest to a key that answer.
type goal struct {
	size   int
	except uint32 // is not one of them
	depth  int    // of the smallest subtree around the key that holds them all
	limit  uint64 // distance of the last; 0: not known yet
}

// nobody is no peer's rank.
const nobody = ^uint32(0)

// seek sets the goal of a search.
func (s *searcher) seek(except uint32) {
	s.goal = goal{size: s.cfg.Replication, except: except}
	d := s.path.bottom
	for d > 0 && s.present(d) < s.goal.size {
		d--
	}
	for ; d < 63; d++ {
		if d == s.path.bottom {
			s.path.deepen()
		}
		if s.present(d+1) < s.goal.size {
			break
		}
	}
	s.goal.depth = d
}

// present counts the peers of a subtree around the key that the goal may consist
// of.
func (s *searcher) present(d int) int {
	n := int(s.path.size[d])
	if s.path.holds(d, s.goal.except) {
		n--
	}
	if s.pop.stale > 0 {
		for rank := s.path.lo[d]; rank < s.path.lo[d]+s.path.size[d]; rank++ {
			if !s.pop.live(rank) {
				n--
			}
		}
	}
	return n
}

// limit returns the distance of the farthest peer of the goal. It is in the half
// of the goal's subtree that the key is not in.
func (s *searcher) limit() uint64 {
	g := &s.goal
	if g.limit == 0 {
		s.ranks = s.ranks[:0]
		for rank := s.path.lo[g.depth]; s.path.holds(g.depth, rank); rank++ {
			if !s.path.holds(g.depth+1, rank) && rank != g.except && s.pop.live(rank) {
				s.ranks = append(s.ranks, rank)
			}
		}
		lack := max(g.size-s.present(g.depth+1), 1)
		s.closest(s.ranks, lack)
		g.limit = s.dist[lack-1]
	}
	return g.limit
}

// reached reports whether a peer is one of the goal.
func (s *searcher) reached(rank uint32) bool {
	d := s.goal.depth
	return s.path.holds(d, rank) && rank != s.goal.except && s.pop.live(rank) &&
		(s.path.holds(d+1, rank) || s.pop.ids[rank]^s.path.key <= s.limit())
}

// met remembers peers, until others take their place.
type met struct {
	mark uint64 // in the upper half of a slot: of this round or search
	slot [1024]uint64
}

// forget forgets all peers.
func (m *met) forget() {
	if m.mark += 1 << 32; m.mark == 0 {
		m.slot, m.mark = [1024]uint64{}, 1<<32
	}
}

// note remembers a peer. It reports whether the peer is known for certain, and
// whether it may be, because another one took its place since.
func (m *met) note(rank uint32) (known, maybe bool) {
	slot := &m.slot[rank%uint32(len(m.slot))]
	was, now := *slot, m.mark|uint64(rank)
	*slot = now
	return was == now, was>>32 == now>>32
}
