package sim

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// BenchmarkSteps times the steps of a lookup of mode value, each alone, and the
// memory below them; adds them up by how often a lookup takes them; and compares
// the sum with whole lookups in the same run. Figures are of CPU time, which suffers
// less than wall time from what else a machine does. Tables are implicit.
func BenchmarkSteps(b *testing.B) {
	for _, peers := range []int{25_000, 1_000_000, 10_000_000} {
		if testing.Short() && peers > 1_000_000 {
			continue
		}
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			w, err := staticOf(RoundsConfig{Peers: peers, Seed: 1})
			if err != nil {
				b.Fatal(err)
			}
			m := meter{s: newSearcher(w), ns: map[string]float64{}}
			u := m.walk(20_000)
			m.memory(b)
			m.steps(b, &u)
			m.lookups(b, &u)
		})
	}
}

// meter times steps.
type meter struct {
	s  *searcher
	ns map[string]float64 // of a step
}

// time times a step that is made so many times by one call.
func (m *meter) time(b *testing.B, step string, times float64, do func(i uint64)) {
	b.Run(step, func(b *testing.B) {
		i, began := uint64(0), CPUTime()
		for b.Loop() {
			i++
			do(i)
		}
		m.ns[step] = float64((CPUTime() - began).Nanoseconds()) / (float64(i) * times)
		b.ReportMetric(m.ns[step], "ns/step")
	})
}

// sink keeps the compiler from dropping what a benchmark computes.
var sink uint64

// memory reads a table as large as identifiers and index: one read after the other,
// and all at once.
func (m *meter) memory(b *testing.B) {
	const reads = 256
	words := make([]uint64, m.s.pop.bytes()/8)
	for i := range words {
		words[i] = stat.Mix(uint64(i))
	}
	at := func(x uint64) uint64 { return x >> 32 * uint64(len(words)) >> 32 }
	m.time(b, "dependent_read", reads, func(i uint64) {
		for range reads {
			i = words[at(stat.Mix(i))]
		}
		sink += i
	})
	m.time(b, "independent_read", reads, func(i uint64) {
		for j := range uint64(reads) {
			sink += words[at(stat.Mix(i*reads+j))]
		}
	})
}

// scene is a round of a lookup, recorded to be played again.
type scene struct {
	path     path
	goal     goal
	contacts []contact // whom it asked, in order
	named    []uint32  // whom they named, if none of the goal
	sure     []contact // the closest of those asked
	room     int
}

// use is how often lookups take the steps.
type use struct {
	lookups, tables, small, large, resolved float64
	scenes                                  []scene
}

// walk makes lookups step by step, counts the steps and records the first rounds.
func (m *meter) walk(lookups int) (u use) {
	s, r := m.s, &m.s.round
	u.lookups = float64(lookups)
	for i := range lookups {
		from, target := s.draw(i)
		s.path.aim(target, s.depth)
		if s.seek(nobody); s.reached(from) {
			continue
		}
		r.sure, r.lack = append(r.sure[:0], contact{from, s.path.common(from, 0)}), 0
		for room := s.cfg.Concurrency; ; room = s.cfg.Later {
			s.named = s.named[:0]
			now := scene{path: s.path, goal: s.goal, sure: slices.Clone(r.sure[:min(1, len(r.sure))]), room: room}
			found := m.askAll(&now, &u)
			u.tables += float64(len(now.contacts))
			if !found {
				now.named = slices.Clone(s.named)
			}
			if len(u.scenes) < 8192 {
				u.scenes = append(u.scenes, now)
			}
			if found {
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
	for _, c := range r.sure {
		now.contacts = append(now.contacts, c)
		if s.leads(c) {
			return true
		}
	}
	if r.lack == 0 {
		return false
	}
	u.resolved += float64(len(r.edge))
	for _, rank := range s.closest(r.edge, r.lack) {
		now.contacts = append(now.contacts, contact{rank, r.common})
		if s.leads(now.contacts[len(now.contacts)-1]) {
			return true
		}
	}
	return false
}

func (m *meter) steps(b *testing.B, u *use) {
	s := m.s
	var counted tally
	m.time(b, "count", 1, func(i uint64) {
		counted.add(int(i), outcome{rounds: int(i & 3), messages: int(i & 31)})
	})
	waits := uint64(0)
	m.time(b, "begin", 1, func(i uint64) {
		// Each waits for the one before, as the rest of a lookup waits for it.
		from, key := s.draw(int(i))
		s.path.aim(key^waits, s.depth)
		s.seek(nobody)
		waits = uint64(s.path.common(from, 0))
		if s.reached(from) {
			waits++
		}
	})
	m.time(b, "lower_bound", 1, func(i uint64) { sink += uint64(s.pop.lower(stat.Mix(i))) })

	var small, large []*scene
	contacts := 0
	for i := range u.scenes {
		now := &u.scenes[i]
		contacts += len(now.contacts)
		switch {
		case now.named == nil:
		case now.room == s.cfg.Concurrency:
			small = append(small, now)
		default:
			large = append(large, now)
		}
	}
	m.time(b, "table", float64(contacts)/float64(len(u.scenes)), func(i uint64) {
		now := &u.scenes[i%uint64(len(u.scenes))]
		s.path, s.goal, s.named = now.path, now.goal, s.named[:0]
		for _, c := range now.contacts {
			if s.leads(c) {
				sink++
			}
		}
	})
	for _, of := range []struct {
		step   string
		scenes []*scene
	}{{"sift_first", small}, {"sift_later", large}} {
		scenes := of.scenes
		m.time(b, of.step, 1, func(i uint64) {
			now := scenes[i%uint64(len(scenes))]
			s.path, s.goal = now.path, now.goal
			s.named = append(s.named[:0], now.named...)
			s.round.sure = append(s.round.sure[:0], now.sure...)
			s.sift(now.room)
		})
	}
	ranks := make([]uint32, 10)
	m.time(b, "resolve", float64(len(ranks)), func(i uint64) {
		for j := range ranks {
			ranks[j] = uint32(stat.Mix(i*16+uint64(j)^waits<<32) >> 32 * uint64(len(s.pop.ids)) >> 32)
		}
		waits = uint64(s.closest(ranks, 5)[0])
	})
}

func (m *meter) lookups(b *testing.B, u *use) {
	var counted tally
	m.time(b, "lookup", 1, func(i uint64) {
		out, err := m.s.search(int(i))
		if err != nil {
			panic(err)
		}
		counted.add(int(i), out)
	})
	n := u.lookups
	predicted := m.ns["count"] + m.ns["begin"] + u.tables/n*m.ns["table"] +
		u.small/n*m.ns["sift_first"] + u.large/n*m.ns["sift_later"] + u.resolved/n*m.ns["resolve"]
	b.Run("sum", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(u.tables/n, "tables")
		b.ReportMetric(u.small/n, "first_sifts")
		b.ReportMetric(u.large/n, "later_sifts")
		b.ReportMetric(u.resolved/n, "resolved")
		b.ReportMetric(1e9/predicted, "predicted/s")
		b.ReportMetric(1e9/m.ns["lookup"], "measured/s")
		b.ReportMetric(predicted/m.ns["lookup"], "measured/predicted")
	})
}

// countedTables counts how often they are read.
type countedTables struct {
	tables
	reads int
}

func (c *countedTables) members(peer uint32, b int, lo, hi uint32, to []uint32) []uint32 {
	c.reads++
	return c.tables.members(peer, b, lo, hi, to)
}

// The steps that are timed are those of a lookup: taken one by one, they read as
// many tables.
func TestStepsAreLookups(t *testing.T) {
	w, err := staticOf(RoundsConfig{Peers: 3000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := newSearcher(w)
	counting := &countedTables{tables: s.tables}
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
