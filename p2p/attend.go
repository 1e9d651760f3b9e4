package p2p

import (
	"sync/atomic"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
)

// Attendant decides with which knobs the lookups of local callers are made, and hears
// how they went. It is called by any goroutine and must not wait.
type Attendant interface {
	// Begin is called as a lookup begins. The configuration is that of the lookup, the
	// zero Config leaves it to the peer; the token comes back with its end.
	Begin() (knobs knob.Config, token any)
	// End is called at the end of a lookup that nobody gave up.
	End(token any, l Lookup)
}

// Lookup is how one went.
type Lookup struct {
	Op       kad.Op
	Elapsed  time.Duration
	Found    bool // it reached its goal
	Local    bool // a get of a record that the peer held itself
	Messages int  // requests that it made
}

// attendance is who attends, and nobody at first.
type attendance struct{ who atomic.Pointer[Attendant] }

// Attend has an attendant for all lookups that begin from now on; nil ends it. Those
// that carry knobs of their own are not attended, and those without an end neither.
func (p *Peer) Attend(a Attendant) {
	if a == nil {
		p.attendance.who.Store(nil)
		return
	}
	p.attendance.who.Store(&a)
}

// attend asks the attendant about a call, and returns what to do with its final
// result; nil for nothing.
func (p *Peer) attend(call *kad.Call) func(kad.Result) {
	a := p.attendance.who.Load()
	if a == nil || !call.Op.Looks() || call.Keep || call.Knobs.Set() != nil {
		return nil
	}
	began := time.Now()
	knobs, token := (*a).Begin()
	call.Knobs = knobs
	return func(r kad.Result) {
		(*a).End(token, Lookup{
			Op: r.Op, Elapsed: time.Since(began), Found: r.Found,
			Local: r.Op == kad.OpGet && r.Found && r.Stats.Messages == 0, Messages: r.Stats.Messages,
		})
	}
}
