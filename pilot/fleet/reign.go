package fleet

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

const (
	// heardShare of the peers that report must have taken a change in before it counts as
	// applied: a few are always on their way.
	heardShare = 0.9
	// refusedShare of the peers that refuse a candidate give it up for all.
	refusedShare = 0.2
	// gatherIntervals is for how long a new coordinator only listens.
	gatherIntervals = 4
	maxWishes       = 16
	lastEntries     = 8 // of the journal in a status
)

// reign is one term of a coordinator. Its lock is the coordinator's.
type reign struct {
	c         *Coordinator
	term      uint64
	good      knob.Config // as the fleet sees it
	intake    *fleet.Intake
	surveys   *fleet.Surveys
	conductor *conductor // nil while it gathers
	gathered  uint64     // the interval from which on it conducts

	trial     *fleet.Trial
	block     fleet.Block
	blocks    uint64
	number    uint64
	changed   fleet.Rank // of the bulletin that made the last change
	acked     bool
	sealed    []byte
	published time.Duration
	stored    fleet.Rank // of the bulletin that the overlay has
	discarded map[string]int
	wish      time.Duration // when the last order was issued
}

// step does what is due.
func (r *reign) step(ctx context.Context, now time.Duration) error {
	length := r.c.cfg.Service.Preset.Interval
	if now >= r.published+length/2 {
		if err := r.announce(now); err != nil {
			return err
		}
	}
	if r.conductor == nil {
		if r.gathered == 0 {
			// Who has never heard a bulletin looks for one at his own pace.
			r.gathered = r.intake.Interval(now+2*r.c.member.cfg.Poll) + gatherIntervals + 1
		}
		if r.intake.Interval(now) < r.gathered {
			return nil
		}
		r.intake.Forget(now)
		c, err := newConductor(r.c.cfg.Service, r.good, r, r.c.cfg.Propose, r.c.journal, false, now, r.c.member.cfg.Say)
		if err != nil {
			return err
		}
		c.grace, c.rate = length, r.pace(now)
		r.conductor = c
		c.first(now)
	}
	return r.conductor.step(ctx, now)
}

// pace is how many lookups a second were reported while it gathered.
func (r *reign) pace(now time.Duration) float64 {
	current, attempts := r.intake.Interval(now), 0
	for i := uint64(2); i < gatherIntervals; i++ { // the last one is still on its way
		w, _ := r.intake.Window(current-i, fleet.Block{}, false, 0)
		attempts += w.Arms[tune.Baseline].Attempts + w.Arms[tune.Tuned].Attempts
	}
	return float64(attempts) / ((gatherIntervals - 2) * r.c.cfg.Service.Preset.Interval).Seconds()
}

// wake returns when step is to be called.
func (r *reign) wake(now time.Duration) time.Duration {
	length := r.c.cfg.Service.Preset.Interval
	at := r.published + length/2
	if r.conductor == nil {
		return min(at, time.Duration(max(r.gathered, 1))*length)
	}
	return min(at, r.conductor.wake(now))
}

// announce signs a bulletin with what is to run now.
func (r *reign) announce(now time.Duration) error {
	r.number++
	length := r.c.cfg.Service.Preset.Interval
	b := fleet.Bulletin{
		Rank: fleet.Rank{Term: r.term, Holder: r.c.member.self, Number: r.number},
		From: now, Expires: now + 2*length, Interval: length,
		Good: fleet.Changes(r.good.Set().Default(), r.good), GoodHash: r.good.Hash(), Trial: r.trial,
	}
	sealed, err := b.Seal(r.c.cfg.Key)
	if err != nil {
		return err
	}
	if !r.acked && r.changed.Number == 0 {
		r.changed = b.Rank
	}
	r.sealed, r.published = sealed, now
	return nil
}

// spread stores the newest bulletin in the overlay; what fails is tried again with the
// next. It gives the lock free meanwhile.
func (r *reign) spread(ctx context.Context) {
	b, sealed := r.number, r.sealed
	if r.stored.Number == b {
		return
	}
	r.c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	err := r.c.member.cfg.Courier.Put(ctx, fleet.BulletinKey(r.c.fleet), sealed)
	cancel()
	r.c.mu.Lock()
	r.stored.Number = b
	if err != nil {
		r.c.member.cfg.Say("fleet: the overlay did not take bulletin %d.%d: %v", r.term, b, err)
	}
}

// change announces something new, that is to be acknowledged.
func (r *reign) change(now time.Duration) error {
	r.acked, r.changed = false, fleet.Rank{}
	return r.announce(now)
}

// expose implements stage.
func (r *reign) expose(now time.Duration, e tune.Expose, candidate knob.Config) error {
	a := e.Assignment
	r.block, r.trial = fleet.Block{}, nil
	r.blocks++ // those of the rollout begin anew with each
	if a.Share > 0 {
		t := &fleet.Trial{
			Block: r.blocks, Candidate: fleet.Changes(r.good, candidate), CandidateHash: candidate.Hash(),
			Scope: a.Scope, Salt: a.Salt, Share: a.Share, Treated: a.Treated, Stage: e.Stage + 1, StageShare: a.Share,
		}
		if a.Scope == knob.Node {
			t.Cut, _ = fleet.Split(a.Salt, a.Share, r.intake.Peers(now))
		}
		r.trial = t
		r.block = fleet.Block{Term: r.term, Holder: r.c.member.self, Number: t.Block}
	}
	return r.change(now)
}

// settle implements stage.
func (r *reign) settle(now time.Duration, good knob.Config) error {
	r.trial, r.block, r.good = nil, fleet.Block{}, good
	return r.change(now)
}

// applied implements stage.
func (r *reign) applied(now time.Duration) bool {
	heard, of := r.intake.Heard(now, r.changed)
	r.acked = of > 0 && float64(heard) >= heardShare*float64(of)
	return r.acked
}

// window implements stage.
func (r *reign) window(interval uint64, slow float64) tune.Window {
	w, _ := r.intake.Window(interval, r.block, r.trial != nil && r.trial.Scope == knob.Request, slow)
	return w
}

// peers implements stage.
func (r *reign) peers(now time.Duration) int { return len(r.intake.Peers(now)) }

// picture implements stage.
func (r *reign) picture(now time.Duration) fleet.Picture { return r.surveys.Picture(now) }

// refusing implements stage.
func (r *reign) refusing(now time.Duration) string {
	hash := r.good.Hash() // in its soak
	if r.trial != nil {
		hash = r.trial.CandidateHash
	}
	n, of, why := r.intake.Refusing(now, hash)
	if n == 0 || float64(n) < refusedShare*float64(of) {
		return ""
	}
	return fmt.Sprintf("%d of %d peers refuse the candidate, one of them because %s", n, of, why)
}

// take takes an errand of a member in.
func (r *reign) take(from fleet.Name, e *errand) {
	now := wall()
	for i, sealed := range e.Reports {
		if i >= maxUnsent {
			r.discarded["too many at once"]++
			break
		}
		report, err := fleet.OpenReport(r.c.fleet, from, sealed)
		if err != nil {
			r.discarded["malformed or not signed"]++
			continue
		}
		if v := r.intake.Tell(now, report); v != fleet.Counted {
			r.discarded[string(v)]++
		}
	}
	r.intake.Heed(from, e.Heard)
	if e.Survey != nil {
		r.surveys.Tell(now, from, *e.Survey)
	}
}

// wished passes an order of the fleet's owner on, once.
func (r *reign) wished(sealed []byte) bool {
	if len(sealed) == 0 || r.conductor == nil {
		return false
	}
	w, err := fleet.OpenWish(r.c.fleet, sealed)
	now := wall()
	if err != nil || w.Issued <= r.wish || w.Issued < now-fleet.MaxWish || w.Issued > now+fleet.MaxWish {
		return false
	}
	r.wish = w.Issued
	if wishes, takes := r.c.cfg.Propose.(*Wishes); takes && w.Try != "" && len(wishes.First) < maxWishes {
		wishes.First = append(wishes.First, w.Try)
	}
	r.conductor.orders = append(r.conductor.orders, tune.Ordered{Order: w.Order})
	r.c.member.cfg.Say("fleet: an order of the owner: %s %s", w.Order, w.Try)
	return true
}

// status returns how the reign stands.
func (r *reign) status() *Status {
	now := wall()
	s := &Status{
		Standing: fleet.Leading, Term: r.term, Peers: r.peers(now), Good: r.good.Hash(),
		Changes: fleet.Changes(r.good.Set().Default(), r.good), Runs: r.intake.Good(now), Journal: []string{}, Discarded: maps.Clone(r.discarded), Gauges: []tune.Gauge{},
		Bulletin: fleet.Rank{Term: r.term, Holder: r.c.member.self, Number: r.number},
	}
	if r.trial != nil {
		s.Refusing, _, s.Why = r.intake.Refusing(now, r.trial.CandidateHash)
	}
	if c := r.conductor; c != nil {
		s.State, s.RatePerS, s.Gauges = c.service.State(), c.rate, c.service.Watch().Gauges()
		if rollout := c.service.Rollout(); rollout != nil {
			report := rollout.Report()
			s.Rollout = &report
		}
	}
	entries := r.c.journal.entries
	for _, e := range entries[max(0, len(entries)-lastEntries):] {
		s.Journal = append(s.Journal, e.Kind+": "+e.Text)
	}
	return s
}
