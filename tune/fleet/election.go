package fleet

import (
	"errors"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// ElectionConfig is what a contender is made of.
type ElectionConfig struct {
	Self  Name
	Addrs []string // where it is reached
	// Length is how long a lease lasts: it is renewed after a third of it. Skew bounds by
	// how much any two clocks of the fleet differ. Settle is how long a claim may take to
	// reach those who keep it, before it is read back.
	Length, Skew, Settle time.Duration
	Seed                 uint64
}

// check says what is wrong with a configuration.
func (c *ElectionConfig) check() error {
	if c.Length <= 0 || c.Length > MaxLease || c.Skew < 0 || c.Settle < 0 || c.Settle+2*c.Skew >= c.Length/3 {
		return errors.New("fleet: want a lease of at most an hour, a third of which is more than the settling time and twice the skew")
	}
	if len(c.Addrs) > MaxAddrs {
		c.Addrs = c.Addrs[:MaxAddrs]
	}
	return nil
}

// Standing is what a contender is.
type Standing string

// The standings.
const (
	Following Standing = "following" // somebody else holds the lease, or nobody does yet
	Claiming  Standing = "claiming"  // it has claimed the lease and looks whether it stands
	Leading   Standing = "leading"
)

// Read asks to read the lease that the overlay has, and to tell Seen.
type Read struct{}

// Claim asks to store a lease in the overlay, and to tell Claimed.
type Claim struct{ Lease Lease }

// Action is what an Election asks for: Read or Claim.
type Action interface{ action() }

func (Read) action()  {}
func (Claim) action() {}

// Seen tells what a Read found.
type Seen struct {
	OK    bool  // the overlay answered
	Lease Lease // the zero Lease: there is none
}

// Claimed tells whether the overlay took a claim.
type Claimed struct{ OK bool }

// Election is one contender for the lease of a fleet: a machine with one owner.
//
// It reads the lease every third of its length. When that has expired by the skew it
// waits a random while, claims the next term, and reads back after the settling time:
// it leads only if its own claim is the highest. A leader reads before it renews, and
// follows as soon as it sees a higher rank, or could not renew in time. Nobody claims
// while the overlay does not answer.
type Election struct {
	cfg      ElectionConfig
	dice     *stat.Stream
	standing Standing
	best     Lease         // the highest seen
	held     Lease         // while leading: what the overlay has taken
	mine     Lease         // the last claim
	due      time.Duration // of the next read, or of the claim that is backed off
	backoff  bool          // due is that of a claim
	asked    bool          // an answer is waited for
	floor    uint64        // no term up to it is claimed
}

// NewElection returns a contender that has seen nothing.
func NewElection(cfg ElectionConfig) (*Election, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Election{cfg: cfg, dice: stat.NewStream(cfg.Seed, "fleet.election"), standing: Following}, nil
}

// Standing returns what the contender is.
func (e *Election) Standing() Standing { return e.standing }

// Best returns the highest lease that was seen, the zero Lease if none was.
func (e *Election) Best() Lease { return e.best }

// Lead returns the term that the contender leads, and until when it may act on it;
// false if it does not lead.
func (e *Election) Lead(now time.Duration) (term uint64, until time.Duration, ok bool) {
	return e.held.Term, e.held.Expires, e.standing == Leading && now < e.held.Expires
}

// Known tells of a term that somebody has had, from a bulletin or from disk.
func (e *Election) Known(term uint64) { e.floor = max(e.floor, term) }

// Resign gives the lease up; it runs out by itself.
func (e *Election) Resign(now time.Duration) { e.follow(now) }

// Wake returns when to ask again even if nothing happens.
func (e *Election) Wake() (at time.Duration, ok bool) { return e.due, !e.asked }

// Ask returns the next thing to do; false if there is nothing to do now.
func (e *Election) Ask(now time.Duration) (Action, bool) {
	if e.standing == Leading && now >= e.held.Expires {
		e.follow(now)
	}
	if e.asked || now < e.due {
		return nil, false
	}
	e.asked = true
	if !e.backoff {
		return Read{}, true
	}
	e.backoff = false
	if e.standing == Leading {
		return e.claim(now, e.held.Term, e.mine.Number+1), true
	}
	e.standing = Claiming
	return e.claim(now, max(e.best.Term, e.floor)+1, 1), true
}

func (e *Election) claim(now time.Duration, term, number uint64) Claim {
	e.mine = Lease{
		Rank:    Rank{Term: term, Holder: e.cfg.Self, Number: number},
		Granted: now, Expires: now + e.cfg.Length, Addrs: e.cfg.Addrs,
	}
	return Claim{e.mine}
}

// Saw tells what a Read found.
func (e *Election) Saw(now time.Duration, s Seen) {
	e.asked = false
	if s.OK && s.Lease.Compare(e.best.Rank) > 0 {
		e.best = s.Lease
	}
	foreign := e.best.Holder != e.cfg.Self && e.best.Compare(e.mine.Rank) > 0
	switch {
	case !s.OK:
		if e.standing == Claiming {
			e.standing = Following
		}
		e.due = now + e.cfg.Length/6
	case e.standing == Leading && foreign:
		e.follow(now)
	case e.standing == Leading:
		e.backoff, e.due = true, now // renew
	case e.standing == Claiming && !foreign && now < e.mine.Expires:
		e.held, e.standing = e.mine, Leading
		e.due = now + e.cfg.Length/3
	default:
		e.standing = Following
		e.wait(now)
	}
}

// wait backs a claim off if the lease has run out for all clocks, else reads again.
func (e *Election) wait(now time.Duration) {
	free := e.best.Expires + e.cfg.Skew
	if now < free {
		e.due = min(now+e.cfg.Length/3, free)
		return
	}
	e.backoff = true
	e.due = now + time.Duration(e.dice.Float64()*float64(e.cfg.Length/4))
}

// Told tells whether the overlay took a claim.
func (e *Election) Told(now time.Duration, c Claimed) {
	e.asked = false
	switch {
	case !c.OK && e.standing == Leading:
		e.due = now + e.cfg.Length/6
	case !c.OK:
		e.follow(now)
	case e.standing == Leading:
		e.held, e.due = e.mine, now+e.cfg.Length/3
	default:
		e.due = now + e.cfg.Settle
	}
}

func (e *Election) follow(now time.Duration) {
	e.standing, e.backoff, e.asked, e.due = Following, false, false, now
}
