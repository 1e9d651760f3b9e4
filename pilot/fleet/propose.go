package fleet

import (
	"fmt"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// Wishes proposes what an operator wants to see tried, one after the other, before it
// passes on to another proposer.
type Wishes struct {
	First []string // lines "name = value", what one candidate changes each
	Then  Proposer
	own   bool // the last was one of First
}

// Propose implements Proposer.
func (p *Wishes) Propose(q Question) Search {
	p.own = len(p.First) > 0
	if !p.own {
		return p.Then.Propose(q)
	}
	text := p.First[0]
	p.First = p.First[1:]
	c, err := q.Good.Set().Parse(q.Good, text)
	if err != nil {
		return answered(knob.Config{}, "", err)
	}
	if name, far := fleet.Far(q.Good, c); far {
		return answered(knob.Config{}, fmt.Sprintf("the operator's wish moves %s by more than a step, from %s to %s", name, q.Good.Text(name), c.Text(name)), nil)
	}
	return answered(c, "the operator wants it tried", nil)
}

// Ended implements Proposer.
func (p *Wishes) Ended(d tune.Decision) {
	if !p.own {
		p.Then.Ended(d)
	}
}

// Steps proposes one knob at a time, a step up or down, in an order drawn from the
// seed. What was promoted is tried further in the same direction. It knows nothing of
// what a knob does: the rollout says that.
type Steps struct {
	Knobs []string // that it moves
	Seed  uint64

	order []move // in the order in which they are tried
	next  int
	last  move
	again bool // the last was promoted
}

type move struct {
	name string
	up   bool
}

var _ Proposer = (*Steps)(nil)

// Propose implements Proposer.
func (p *Steps) Propose(q Question) Search {
	c, why := p.step(q.Study, q.Good)
	return answered(c, why, nil)
}

func (p *Steps) step(s tune.Study, good knob.Config) (knob.Config, string) {
	if p.order == nil {
		for _, name := range p.Knobs {
			p.order = append(p.order, move{name, true}, move{name, false})
		}
		dice := stat.NewStream(p.Seed, "fleet.steps")
		dice.Shuffle(len(p.order), func(i, j int) { p.order[i], p.order[j] = p.order[j], p.order[i] })
	}
	if p.again {
		p.again = false
		if c, ok := p.moved(s, good, p.last); ok {
			return c, fmt.Sprintf("the last step of %s was a gain: one more", p.last.name)
		}
	}
	for range p.order {
		m := p.order[p.next%len(p.order)]
		p.next++
		if c, ok := p.moved(s, good, m); ok {
			p.last = m
			return c, fmt.Sprintf("one step of %s, from %s to %s", m.name, good.Text(m.name), c.Text(m.name))
		}
	}
	return knob.Config{}, "no knob can be moved"
}

// Ended implements Proposer.
func (p *Steps) Ended(d tune.Decision) { p.again = d == tune.Promoted }

// moved makes a move; false if there is no such step.
func (p *Steps) moved(s tune.Study, good knob.Config, m move) (knob.Config, bool) {
	k, ok := good.Set().Lookup(m.name)
	if !ok || slices.Contains(s.Frozen, m.name) {
		return knob.Config{}, false
	}
	var c knob.Config
	switch k.Kind {
	case knob.Enum:
		if !m.up {
			return knob.Config{}, false
		}
		c = good.WithNumber(k.Name, float64((good.Int(k.Name)+1)%len(k.Choices)))
	case knob.Vector:
		to := slices.Clone(good.Vector(k.Name))
		for i := range to {
			if m.up {
				to[i] *= 2
			} else {
				to[i] = max(1, to[i]/2)
			}
		}
		c = fleet.Toward(good, good.WithVector(k.Name, to), k)
	default:
		if k.Zero != "" && good.Number(k.Name) == 0 {
			return knob.Config{}, false // what zero means is no number to move from
		}
		end := k.Max
		if !m.up {
			end = k.Min
		}
		if k.Zero != "" && end == 0 { // nor to
			end = good.Number(k.Name) / knob.DefaultStep
		}
		c = fleet.Toward(good, good.WithNumber(k.Name, end), k)
	}
	return c, !c.Equal(good)
}
