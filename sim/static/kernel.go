package static

import (
	"errors"
	"math/bits"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/stat"
)

// maxRounds ends a search that goes nowhere. Reaching it is an error of the
// simulator, unless peers are gone: those left may send a search in circles, which
// then fails.
const maxRounds = 64

var errEndless = errors.New("sim: a search did not end")

// Searcher runs one search in rounds after the other without allocating.
//
// It follows a search no further than its outcome needs. Peers are ranks, so that
// how many bits one shares with the key is seen from the path to the key, without
// its identifier; identifiers are read where peers compete that share equally many.
// In mode value a search ends with the first table that names a peer of the goal,
// and the peers to ask are put in order only as far as they are asked.
type Searcher struct {
	cfg    *RoundsConfig
	pop    *population
	tables Tables
	shape  *shape
	depth  int // of the path to a key: deeper than most goals

	path  keyspace.Path
	goal  goal
	named []uint32 // whom the peers of a round named
	met   met      // which of them are known
	rest  []uint32 // scratch
	dist  []uint64 // scratch

	round   round    // mode value
	best    nearest  // mode node: closest peers known
	request []uint32 // mode node: whom to ask now
}

// Outcome is what one search found and cost. See RoundsResult.
type Outcome struct {
	Rounds, Messages, Recall int
	Found                    bool
	Failed                   bool // in mode value: nobody was left to ask
}

func newSearcher(w *network) *Searcher {
	s := &Searcher{
		cfg: w.cfg, pop: w.pop, shape: w.shape, tables: w.tables(),
		depth: bits.Len(uint(len(w.pop.IDs)/w.cfg.Replication)) + 2,
	}
	s.path = w.pop.Path()
	s.best.room = w.cfg.Replication
	if w.cfg.Stale > 0 {
		s.best.room += remembered
	}
	return s
}

// NewSearcher returns a searcher over tables of the caller's making, by the rules
// of a configuration that is complete. All peers answer. It is for one goroutine.
func NewSearcher(cfg *RoundsConfig, pop *keyspace.Population, tables Tables) *Searcher {
	return newSearcher(&network{
		cfg: cfg, pop: &population{Population: *pop}, shape: newShape([]int{cfg.Bucket}), tables: func() Tables { return tables },
	})
}

// Value searches in mode FindValue, from a peer for a key.
func (s *Searcher) Value(from uint32, target uint64) (Outcome, error) {
	s.path.Aim(target, s.depth)
	return s.findValue(from)
}

// Node searches in mode FindNode, from a peer for a key.
func (s *Searcher) Node(from uint32, target uint64) (Outcome, error) {
	s.path.Aim(target, s.depth)
	return s.findNode(from)
}

// search runs lookup number i: from a random peer for a random key.
func (s *Searcher) search(i int) (Outcome, error) {
	from, target := s.draw(i)
	if s.cfg.Mode == FindNode {
		return s.Node(from, target)
	}
	return s.Value(from, target)
}

// draw returns who searches in lookup number i, and for what.
func (s *Searcher) draw(i int) (from uint32, target uint64) {
	high, _ := bits.Mul64(stat.Hash(s.cfg.Seed, lookupPeer, uint64(i)), uint64(len(s.pop.IDs)))
	for again := uint64(1); !s.pop.live(uint32(high)); again++ {
		high, _ = bits.Mul64(stat.Hash(s.cfg.Seed, lookupPeer, uint64(i), again), uint64(len(s.pop.IDs)))
	}
	return uint32(high), stat.Hash(s.cfg.Seed, lookupKey, uint64(i))
}

// What a word of Hash is drawn for.
const (
	lookupPeer = iota + 1
	lookupKey
	lookupStale
	lookupRecord
)

// reply adds to those named whom a peer answers with that shares b bits with the
// key, which is less than the path is deep.
func (s *Searcher) reply(peer uint32, b int) {
	before, enough := len(s.named), 1
	if s.cfg.Replies == ClosestReplies {
		enough = s.cfg.Replication
	}
	// The candidates of the key's bucket share one bit more with the key.
	lo, n := s.path.Lo[b+1], s.path.Size[b+1]
	s.named = s.tables.Members(peer, b, lo, lo+n, s.named)
	if len(s.named)-before >= enough {
		return
	}
	// The deeper buckets hold the next closest; they end where the peer is alone.
	for deeper := b + 1; deeper < 64; deeper++ {
		if lo, hi := s.pop.Subtree(s.pop.IDs[peer], deeper); hi-lo <= 1 {
			break
		}
		lo, hi := s.pop.Bucket(peer, deeper)
		s.named = s.tables.Members(peer, deeper, lo, hi, s.named)
	}
	for lower := b - 1; lower >= 0 && len(s.named)-before < enough; lower-- {
		lo, hi := s.pop.Bucket(peer, lower)
		s.named = s.tables.Members(peer, lower, lo, hi, s.named)
	}
}

// distances returns those of some peers. It is valid until the next call.
func (s *Searcher) distances(ranks []uint32) []uint64 {
	s.dist = s.dist[:0]
	for _, rank := range ranks {
		s.dist = append(s.dist, s.pop.IDs[rank]^s.path.Key)
	}
	return s.dist
}

// closest moves the n closest of some peers to the front, closest first, and
// returns them.
func (s *Searcher) closest(ranks []uint32, n int) []uint32 {
	dist := s.distances(ranks)
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
	size   int    // how many
	except uint32 // is not one of them
	depth  int    // of the smallest subtree around the key that holds them all
}

// nobody is no peer's rank.
const nobody = ^uint32(0)

// seek sets the goal of a search.
func (s *Searcher) seek(except uint32) {
	s.goal = goal{size: s.cfg.Replication, except: except}
	d := s.path.Bottom
	for d > 0 && s.present(d) < s.goal.size {
		d--
	}
	for ; d < 63; d++ {
		if d == s.path.Bottom {
			s.path.Deepen()
		}
		if s.present(d+1) < s.goal.size {
			break
		}
	}
	s.goal.depth = d
}

// present counts the peers of a subtree around the key that the goal may consist
// of.
func (s *Searcher) present(d int) int {
	n := int(s.path.Size[d])
	if s.path.Holds(d, s.goal.except) {
		n--
	}
	if s.pop.gone != nil {
		for rank := s.path.Lo[d]; rank < s.path.Lo[d]+s.path.Size[d]; rank++ {
			if !s.pop.live(rank) {
				n--
			}
		}
	}
	return n
}

// reached reports whether a peer is one of the goal.
func (s *Searcher) reached(rank uint32) bool {
	return s.path.Holds(s.goal.depth, rank) && rank != s.goal.except && s.pop.live(rank) &&
		(s.path.Holds(s.goal.depth+1, rank) || s.ahead(rank) < s.goal.size)
}

// ahead counts the peers that come before one that is in the goal's subtree but
// not in the next deeper one.
func (s *Searcher) ahead(rank uint32) int {
	lo, n := s.path.Lo[s.goal.depth], s.path.Size[s.goal.depth]
	if from := s.path.Lo[s.goal.depth+1]; from == lo { // the half that the peer is in
		lo += s.path.Size[s.goal.depth+1]
	}
	n -= s.path.Size[s.goal.depth+1]
	ids := s.pop.IDs[lo : lo+n]
	dist, closer := s.pop.IDs[rank]^s.path.Key, s.present(s.goal.depth+1)
	for _, id := range ids {
		if id^s.path.Key < dist {
			closer++
		}
	}
	if s.goal.except-lo < n && s.pop.IDs[s.goal.except]^s.path.Key < dist {
		closer--
	}
	if s.pop.gone != nil {
		for i, id := range ids {
			if id^s.path.Key < dist && !s.pop.live(lo+uint32(i)) {
				closer--
			}
		}
	}
	return closer
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
