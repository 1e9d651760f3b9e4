package fleet

import (
	"math"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// failTime is what a lookup without its goal counts as, at least: a fast failure is no
// fast lookup.
const failTime = 10 * time.Second

// keptIntervals is how many intervals a meter remembers.
const keptIntervals = 8

// meter counts a peer's own lookups by interval and arm, and splits them by what runs.
// It is the peer's attendant.
type meter struct {
	mu     sync.Mutex
	run    fleet.Run
	length time.Duration
	serial uint64 // of lookups
	cells  map[uint64]*cell
}

// cell is what one interval showed, of the block that ended it.
type cell struct {
	block fleet.Block
	arms  [2]tally
}

type tally struct {
	attempts, successes int
	messages            int
	latency             stat.Sketch // seconds
}

func newMeter(length time.Duration, c knob.Config) *meter {
	return &meter{length: length, run: fleet.Run{Config: c}, cells: map[uint64]*cell{}}
}

// lookupToken is what a lookup began as.
type lookupToken struct {
	arm   tune.Arm
	block fleet.Block
}

// Begin implements p2p.Attendant.
func (m *meter) Begin() (knob.Config, any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serial++
	t := lookupToken{arm: m.run.Arm, block: m.run.Block}
	if m.run.Split == nil {
		return knob.Config{}, t
	}
	a := tune.Assignment{Scope: knob.Request, Salt: m.run.Split.Salt, Share: m.run.Split.Share}
	if t.arm = a.Arm(m.serial); t.arm == tune.Tuned {
		return m.run.Tuned, t
	}
	return m.run.Config, t
}

// End implements p2p.Attendant. What began under another block does not count.
func (m *meter) End(token any, l p2p.Lookup) {
	t, ok := token.(lookupToken)
	if !ok || l.Local {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.block != m.run.Block {
		return
	}
	if !l.Found {
		l.Elapsed = max(l.Elapsed, failTime)
	}
	a := &m.cell(m.now()).arms[t.arm]
	a.attempts++
	a.messages += l.Messages
	if l.Found {
		a.successes++
	}
	a.latency.Add(fleet.Clamp(l.Elapsed.Seconds()))
}

// now returns the number of the interval under way.
func (m *meter) now() uint64 { return uint64(wall() / m.length) }

// cell returns that of an interval.
func (m *meter) cell(interval uint64) *cell {
	c := m.cells[interval]
	if c == nil {
		c = &cell{block: m.run.Block}
		m.cells[interval] = c
		for old := range m.cells {
			if old+keptIntervals < interval {
				delete(m.cells, old)
			}
		}
	}
	return c
}

// runs tells what runs from now on. What the interval under way had of another block is
// dropped.
func (m *meter) runs(r fleet.Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Block != m.run.Block {
		delete(m.cells, m.now())
	}
	m.run = r
}

// paced sets the length of the intervals; another one begins anew.
func (m *meter) paced(length time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if length != m.length {
		m.length = length
		clear(m.cells)
	}
}

// taken returns what an interval that has ended showed, and forgets it.
func (m *meter) taken(interval uint64) cell {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cells[interval]
	delete(m.cells, interval)
	if c == nil {
		return cell{block: m.run.Block}
	}
	return *c
}

// health is a cell as a guard sees it.
func (c *cell) health(memory float64) fleet.Health {
	h := fleet.Health{Memory: memory}
	for arm := range c.arms {
		h.Arms[arm] = fleet.Outcome{Attempts: c.arms[arm].attempts, Successes: c.arms[arm].successes}
	}
	return h
}

// reports are the arms of a cell.
func (c *cell) reports() (out [2]fleet.ArmReport) {
	for arm := range c.arms {
		a := &c.arms[arm]
		if a.attempts > 0 {
			out[arm] = fleet.NewArmReport(a.attempts, a.successes, &a.latency)
		}
	}
	return out
}

// summary is a tally as a rollout takes it; slow is the limit of the tail in seconds, 0
// for none.
func (a *tally) summary(slow float64) tune.Summary {
	s := tune.Summary{Samples: a.attempts, Attempts: a.attempts, Successes: a.successes}
	for seconds, many := range a.latency.All() {
		l := math.Log(seconds)
		s.SumLog += float64(l * float64(many))
		s.SumLog2 += float64(l * l * float64(many))
	}
	if slow > 0 {
		s.Slow = a.attempts - int(a.latency.Below(slow))
	}
	return s
}
