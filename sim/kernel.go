package sim

import (
	"errors"
	"math/bits"

	"github.com/shoalnet/shoal/stat"
)

// maxRounds ends a search that goes nowhere. Reaching it is an error of the
// simulator.
const maxRounds = 64

// searcher runs one search after the other without allocating.
type searcher struct {
	cfg    *RoundsConfig
	pop    *population
	tables tables

	best shortlist // closest peers known
	goal shortlist // closest peers that exist
	ask  []uint32  // peers of the current round
	buf  []uint32
}

// outcome is what one search found and cost.
type outcome struct {
	rounds, messages, recall int
	found                    bool
	failed                   bool // in mode value: nobody was left to ask
}

func newSearcher(cfg *RoundsConfig, pop *population, t tables) *searcher {
	widest := max(cfg.Concurrency, cfg.Later, cfg.Replication)
	if cfg.Stale > 0 {
		widest = max(widest, cfg.Replication+remembered)
	}
	return &searcher{
		cfg: cfg, pop: pop, tables: t,
		best: newShortlist(widest), goal: newShortlist(cfg.Replication),
		ask: make([]uint32, 0, widest), buf: make([]uint32, cfg.Bucket),
	}
}

// search runs lookup number i: from a random peer for a random key.
func (s *searcher) search(i int) (outcome, error) {
	from, target := s.draw(i)
	if s.cfg.Mode == FindNode {
		return s.findNode(from, target)
	}
	return s.findValue(from, target)
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

// findValue is the search of the balanced-buckets program: it ends at the first
// contact with any of the peers closest to the key, and forgets the candidates of
// earlier rounds. A peer that is one of them needs no hop. Messages are the tables
// that were read, the first peer's own among them, and requests to those who are
// gone. If all of a round are gone, nobody is left to ask.
func (s *searcher) findValue(from uint32, target uint64) (outcome, error) {
	s.closest(target, -1)
	limit := s.goal.last()
	if s.pop.ids[from]^target <= limit {
		return outcome{found: true, recall: 1}, nil
	}
	s.best.reset(s.cfg.Concurrency)
	s.reply(from, target)
	messages := 1
	for hop := 1; hop <= maxRounds; hop++ {
		s.ask = s.ask[:0]
		for i, peer := range s.best.rank[:s.best.n] {
			if !s.pop.live(peer) {
				continue
			}
			if s.best.dist[i] <= limit {
				return outcome{rounds: hop, messages: messages, found: true, recall: 1}, nil
			}
			s.ask = append(s.ask, peer)
		}
		messages += s.best.n
		if len(s.ask) == 0 {
			return outcome{rounds: hop, messages: messages, failed: true}, nil
		}
		s.best.reset(s.cfg.Later)
		for _, peer := range s.ask {
			s.reply(peer, target)
		}
	}
	return outcome{}, errors.New("sim: a search did not end")
}

// findNode is the whole lookup of Kademlia in rounds: it asks the closest peers
// that it has not asked, until the closest that it knows have all answered. The
// searching peer is neither asked nor found.
func (s *searcher) findNode(from uint32, target uint64) (outcome, error) {
	s.closest(target, int(from))
	s.best.reset(s.cfg.Replication)
	if s.cfg.Stale > 0 {
		s.best.reset(s.cfg.Replication + remembered)
	}
	s.best.barred = s.pop.ids[from] ^ target
	s.reply(from, target)
	var out outcome
	for {
		s.ask = s.next(s.ask[:0])
		if len(s.ask) == 0 {
			break
		}
		if out.rounds++; out.rounds > len(s.pop.ids) {
			return outcome{}, errors.New("sim: a search did not end")
		}
		out.messages += len(s.ask)
		for _, peer := range s.ask {
			if s.pop.live(peer) {
				s.reply(peer, target)
			}
		}
	}
	for i, d := range s.best.dist[:s.best.n] {
		if s.pop.live(s.best.rank[i]) && d <= s.goal.last() {
			out.recall++
			out.found = out.found || d == s.goal.dist[0]
		}
	}
	return out, nil
}

// remembered is how many peers beyond the goal a whole lookup keeps in mind to
// replace those that do not answer, about as package lookup does.
const remembered = 172

// next appends the peers to ask now and marks them: the closest that were not
// asked among the replication closest that may be alive.
func (s *searcher) next(to []uint32) []uint32 {
	places := s.cfg.Replication
	for at := 0; at < s.best.n && places > 0 && len(to) < s.cfg.Concurrency; at++ {
		rank := s.best.rank[at]
		if !s.best.asked[at] {
			s.best.asked[at] = true
			to = append(to, rank)
		} else if !s.pop.live(rank) {
			continue
		}
		places--
	}
	return to
}

// closest fills the goal with the live peers closest to the key, one left out.
func (s *searcher) closest(target uint64, except int) {
	for among := s.cfg.Replication + 1; ; among *= 2 {
		s.goal.reset(s.cfg.Replication)
		lo, hi := s.pop.around(target, among)
		for rank := lo; rank < hi; rank++ {
			if int(rank) != except && s.pop.live(rank) {
				s.goal.add(s.pop.ids[rank]^target, rank)
			}
		}
		if s.goal.n == s.cfg.Replication {
			return
		}
	}
}

// reply adds what a peer answers to the shortlist.
func (s *searcher) reply(peer uint32, target uint64) {
	b := min(bits.LeadingZeros64(s.pop.ids[peer]^target), 63)
	got := s.bucket(peer, b, target)
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
		got += s.bucket(peer, deeper, target)
	}
	for lower := b - 1; lower >= 0 && got < enough; lower-- {
		got += s.bucket(peer, lower, target)
	}
}

func (s *searcher) bucket(peer uint32, b int, target uint64) int {
	members := s.tables.members(peer, b, s.buf)
	for _, rank := range members {
		s.best.add(s.pop.ids[rank]^target, rank)
	}
	return len(members)
}

// shortlist keeps the closest peers in ascending order of their distances, which
// are all different.
type shortlist struct {
	n, room int
	barred  uint64 // distance of a peer that is never added, if there is one
	dist    []uint64
	rank    []uint32
	asked   []bool
}

func newShortlist(room int) shortlist {
	return shortlist{room: room, dist: make([]uint64, room), rank: make([]uint32, room), asked: make([]bool, room)}
}

// reset empties the list and sets its room, at most that of its creation. The
// largest distance stands for a barred peer that does not exist.
func (l *shortlist) reset(room int) { l.n, l.room, l.barred = 0, room, ^uint64(0) }

// last returns the largest distance, the largest number of an empty list.
func (l *shortlist) last() uint64 {
	if l.n == 0 {
		return ^uint64(0)
	}
	return l.dist[l.n-1]
}

// add inserts a peer unless it is known or too far.
func (l *shortlist) add(dist uint64, rank uint32) {
	if l.n == l.room && dist >= l.dist[l.n-1] {
		return
	}
	at := l.n
	for at > 0 && l.dist[at-1] > dist {
		at--
	}
	if at > 0 && l.dist[at-1] == dist || dist == l.barred {
		return
	}
	l.n = min(l.n+1, l.room)
	copy(l.dist[at+1:l.n], l.dist[at:])
	copy(l.rank[at+1:l.n], l.rank[at:])
	copy(l.asked[at+1:l.n], l.asked[at:])
	l.dist[at], l.rank[at], l.asked[at] = dist, rank, false
}
