package static

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/keyspace"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// BenchmarkSteps times the steps of a lookup of mode value, each alone, and the
// memory below them; adds them up by how often a lookup takes them; and compares
// the sum with whole lookups. Figures are of CPU time, which suffers less than wall
// time from what else a machine does. Tables are implicit.
//
// A step is to cost what it costs within a lookup. So all steps and whole lookups
// take turns, a slice of half a millisecond each: they meet the same caches, which
// they share, and the same neighbours on the machine. What a lookup reads for the
// first time, a step does too. A call waits for the one before, as the rest of a
// lookup waits for a step. And what it takes to put the searcher into the place
// where a step begins is timed by itself and left out.
func BenchmarkSteps(b *testing.B) {
	for _, peers := range []int{25_000, 1_000_000, 10_000_000} {
		if testing.Short() && peers > 1_000_000 {
			continue
		}
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			w, err := networkOf(RoundsConfig{Peers: peers, Seed: 1})
			if err != nil {
				b.Fatal(err)
			}
			m := meter{s: newSearcher(w), step: map[string]*timing{}}
			u := m.walk(20_000)
			m.memory()
			m.begin()
			m.replay(&u)
			m.lookup()
			m.run(b)
			m.report(b, &u)
		})
	}
}

// meter times steps.
type meter struct {
	s     *Searcher
	waits uint64 // what the next call needs to know
	order []*timing
	step  map[string]*timing
}

// timing is a step and what it took.
type timing struct {
	name    string
	times   float64        // that one call takes it
	set     func(i uint64) // what goes before, and is not the step
	do      func(i uint64)
	calls   uint64        // in a slice
	next    uint64        // number of a call
	done    uint64        // calls that were timed
	both    time.Duration // that set and do took
	setting time.Duration // that as many of set alone took
}

// add adds a step that is taken so many times by one call. All that it draws should
// depend on the number of the call, so that it meets no memory twice.
func (m *meter) add(name string, times float64, set, do func(i uint64)) {
	s := &timing{name: name, times: times, set: set, do: do}
	if set == nil {
		s.set = func(uint64) {} // what a call costs
	}
	m.order = append(m.order, s)
	m.step[name] = s
}

// slice takes a step some times.
func (s *timing) slice() {
	began := sim.CPUTime()
	for i := s.next; i < s.next+s.calls; i++ {
		s.set(i)
		s.do(i)
	}
	s.next += s.calls
	middle := sim.CPUTime()
	for i := s.next; i < s.next+s.calls; i++ {
		s.set(i)
	}
	s.next += s.calls
	s.both += middle - began
	s.setting += sim.CPUTime() - middle
	s.done += s.calls
}

// ns returns what a step took.
func (s *timing) ns() float64 {
	return float64((s.both - s.setting).Nanoseconds()) / (float64(s.done) * s.times)
}

// run gives every step its slices.
func (m *meter) run(b *testing.B) {
	for _, s := range m.order {
		s.calls = 1000
		s.slice()
		const slice = 500 * time.Microsecond
		s.calls = max(s.calls*uint64(slice)/max(uint64(s.both), 1), 1)
		s.done, s.both, s.setting = 0, 0, 0
	}
	b.Run("turns", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range 500 { // enough for a good mean, however short a benchmark is asked for
				for _, s := range m.order {
					s.slice()
				}
			}
		}
	})
}

// sink keeps the compiler from dropping what a benchmark computes.
var sink uint64

// memory reads a table as large as identifiers and index: one read after the other,
// and all at once.
func (m *meter) memory() {
	const reads = 256
	words := make([]uint64, m.s.pop.memory()/8)
	for i := range words {
		words[i] = stat.Mix(uint64(i))
	}
	at := func(x uint64) uint64 { return x >> 32 * uint64(len(words)) >> 32 }
	m.add("dependent_read", reads, nil, func(i uint64) {
		for range reads {
			i = words[at(stat.Mix(i))]
		}
		sink += i
	})
	m.add("independent_read", reads, nil, func(i uint64) {
		for j := range uint64(reads) {
			sink += words[at(stat.Mix(i*reads+j))]
		}
	})
}

// scene is a round of a lookup, recorded to be played again.
type scene struct {
	path     keyspace.Path
	goal     goal
	contacts []contact // whom it asked, in order
	named    []uint32  // whom they named, if none of the goal
	edge     []uint32  // of whom the closest
	lack     int       // so many were asked
	sure     []contact // the closest of those asked
	looked   bool      // at the identifiers of the goal
	room     int
}

// use is how often lookups take the steps.
type use struct {
	lookups, tables, goals, small, large, resolved float64
	scenes                                         []scene
}

// walk makes lookups step by step, counts the steps and records the first rounds.
func (m *meter) walk(lookups int) (u use) {
	s, r := m.s, &m.s.round
	u.lookups = float64(lookups)
	for i := range lookups {
		from, target := s.draw(i)
		s.path.Aim(target, s.depth)
		if s.seek(nobody); s.reached(from) {
			continue
		}
		r.sure, r.lack = append(r.sure[:0], contact{from, s.path.Common(from, 0)}), 0
		looked := false
		for room := s.cfg.Concurrency; ; room = s.cfg.Later {
			s.named = s.named[:0]
			now := scene{path: s.path, goal: s.goal, sure: slices.Clone(r.sure[:min(1, len(r.sure))]), room: room}
			found := m.askAll(&now, &u)
			u.tables += float64(len(now.contacts))
			looked = looked || now.looked
			if !found {
				now.named = slices.Clone(s.named)
			}
			if len(u.scenes) < 1024 {
				u.scenes = append(u.scenes, now)
			}
			if found {
				u.goals += weight(looked)
				break
			}
			if room == s.cfg.Concurrency {
				u.small++
			} else {
				u.large++
			}
			s.sift(room)
		}
	}
	return u
}

// askAll asks the peers of a round until one names a peer of the goal.
func (m *meter) askAll(now *scene, u *use) (found bool) {
	s, r := m.s, &m.s.round
	if slices.ContainsFunc(r.sure, func(c contact) bool { return m.ask(now, c) }) {
		return true
	}
	if r.lack == 0 {
		return false
	}
	u.resolved += float64(len(r.edge))
	now.edge, now.lack = slices.Clone(r.edge), r.lack
	return slices.ContainsFunc(s.closest(r.edge, r.lack), func(rank uint32) bool { return m.ask(now, contact{rank, r.common}) })
}

func (m *meter) ask(now *scene, c contact) (found bool) {
	s, before := m.s, len(m.s.named)
	now.contacts = append(now.contacts, c)
	found = s.leads(c)
	in := func(depth int) bool {
		return slices.ContainsFunc(s.named[before:], func(rank uint32) bool { return s.path.Holds(depth, rank) })
	}
	now.looked = now.looked || in(s.goal.depth) && !in(s.goal.depth+1)
	return found
}

// begin adds the beginning of a lookup, and the first and the second look at the
// identifiers of its goal.
func (m *meter) begin() {
	s := m.s
	var counted tally
	m.add("count", 1, nil, func(i uint64) {
		counted.add(int(i), Outcome{Rounds: int(i & 3), Messages: int(i & 31)})
	})
	begin := func(i uint64) {
		from, key := s.draw(int(i))
		s.path.Aim(key^m.waits, s.depth)
		s.seek(nobody)
		m.waits = uint64(s.path.Common(from, 0))
		if s.reached(from) {
			m.waits++
		}
	}
	look := func(uint64) {
		rank := s.path.Lo[s.goal.depth]
		if s.path.Holds(s.goal.depth+1, rank) {
			rank += s.path.Size[s.goal.depth+1]
		}
		if s.reached(rank) {
			m.waits ^= 1
		}
	}
	m.add("begin", 1, nil, begin)
	m.add("goal_first", 1, begin, look)
	m.add("goal_again", 1, func(i uint64) { begin(i); look(i) }, look)
	m.add("lower_bound", 1, nil, func(i uint64) { sink += uint64(s.pop.Lower(stat.Mix(i))) })
}

// replay adds the steps that begin where a lookup has come to.
func (m *meter) replay(u *use) {
	s := m.s
	m.scenes("table", u.scenes, func(now *scene) float64 { return float64(len(now.contacts)) }, func(now *scene) {
		for _, c := range now.contacts {
			if s.leads(c) {
				m.waits++
			}
		}
		m.waits += uint64(s.named[len(s.named)-1])
	})
	sift := func(now *scene) {
		s.sift(now.room)
		m.waits += uint64(s.round.next)
	}
	m.scenes("sift_first", u.scenes, func(now *scene) float64 { return weight(now.named != nil && now.room == s.cfg.Concurrency) }, sift)
	m.scenes("sift_later", u.scenes, func(now *scene) float64 { return weight(now.named != nil && now.room != s.cfg.Concurrency) }, sift)
	m.resolve(u.scenes)
}

func weight(in bool) float64 {
	if in {
		return 1
	}
	return 0
}

// scenes adds a step that goes through the scenes of which it has a part.
func (m *meter) scenes(name string, all []scene, part func(*scene) float64, do func(*scene)) {
	s := m.s
	var scenes []*scene
	parts := 0.0
	for i := range all {
		if of := part(&all[i]); of > 0 {
			scenes = append(scenes, &all[i])
			parts += of
		}
	}
	var now *scene
	m.add(name, parts/float64(len(scenes)), func(i uint64) {
		now = scenes[(i^m.waits&1)%uint64(len(scenes))]
		s.path, s.goal = now.path, now.goal
		s.named = s.named[:0]
		if name != "table" {
			s.named = append(s.named, now.named...)
			s.round.sure = append(s.round.sure[:0], now.sure...)
		}
		m.waits = s.path.Key
	}, func(uint64) { do(now) })
}

// resolve adds the choice among peers at the edge: as many as in a scene, as near to
// each other, but elsewhere.
func (m *meter) resolve(all []scene) {
	s := m.s
	var scenes []*scene
	edges := 0
	for i := range all {
		if len(all[i].edge) > 0 {
			scenes = append(scenes, &all[i])
			edges += len(all[i].edge)
		}
	}
	var ranks []uint32
	lack := 0
	m.add("resolve", float64(edges)/float64(len(scenes)), func(i uint64) {
		now := scenes[i%uint64(len(scenes))]
		by := uint32(stat.Mix(i^m.waits<<48) >> 32 * uint64(len(s.pop.IDs)) >> 32)
		ranks, lack = ranks[:0], now.lack
		for _, rank := range now.edge {
			if rank += by; rank >= uint32(len(s.pop.IDs)) {
				rank -= uint32(len(s.pop.IDs))
			}
			ranks = append(ranks, rank)
		}
		m.waits = uint64(ranks[0])
	}, func(uint64) { m.waits += uint64(s.closest(ranks, lack)[0]) })
}

func (m *meter) lookup() {
	var counted tally
	m.add("lookup", 1, nil, func(i uint64) {
		out, err := m.s.search(int(i))
		if err != nil {
			panic(err)
		}
		counted.add(int(i), out)
	})
}

func (m *meter) report(b *testing.B, u *use) {
	for _, s := range m.order {
		b.Run(s.name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(s.ns(), "ns/step")
		})
	}
	n := u.lookups
	ns := func(name string) float64 { return m.step[name].ns() }
	// A replayed table has read the goal before.
	unread := ns("goal_first") - ns("goal_again")
	predicted := ns("count") + ns("begin") + u.tables/n*ns("table") + u.goals/n*unread +
		u.small/n*ns("sift_first") + u.large/n*ns("sift_later") + u.resolved/n*ns("resolve")
	b.Run("sum", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(u.tables/n, "tables")
		b.ReportMetric(u.goals/n, "goals")
		b.ReportMetric(u.small/n, "first_sifts")
		b.ReportMetric(u.large/n, "later_sifts")
		b.ReportMetric(u.resolved/n, "resolved")
		b.ReportMetric(1e9/predicted, "predicted/s")
		b.ReportMetric(1e9/ns("lookup"), "measured/s")
		b.ReportMetric(predicted/ns("lookup"), "measured/predicted")
	})
}

// countedTables counts how often they are read.
type countedTables struct {
	Tables
	reads int
}

func (c *countedTables) Members(peer uint32, b int, lo, hi uint32, to []uint32) []uint32 {
	c.reads++
	return c.Tables.Members(peer, b, lo, hi, to)
}

// The steps that are timed are those of a lookup: taken one by one, they read as
// many tables.
func TestStepsAreLookups(t *testing.T) {
	w, err := networkOf(RoundsConfig{Peers: 3000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := newSearcher(w)
	counting := &countedTables{Tables: s.tables}
	s.tables = counting
	const lookups = 500
	for i := range lookups {
		if _, err := s.search(i); err != nil {
			t.Fatal(err)
		}
	}
	m := meter{s: newSearcher(w)}
	if u := m.walk(lookups); u.tables != float64(counting.reads) || u.tables > 10*lookups {
		t.Errorf("%v tables in steps, %v in lookups", u.tables, counting.reads)
	}
}
