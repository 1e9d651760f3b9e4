package p2p

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// gate bounds what strangers may hold open and ask for: each remote by itself,
// the remotes of one address group together, since names cost nothing, and
// everybody together. It is safe for concurrent use.
//
// Requests above the rate are delayed, not refused: the stream is not read
// meanwhile, so that its flow control slows the sender, and an honest peer that
// has much to say is served in the end. What would wait too long is reset.
type gate struct {
	settings *atomic.Pointer[settings]

	mu       sync.Mutex
	accounts map[remote]*account
	unused   *list.List // of *account, those without a stream; the latest in front
	streams  int
	bytes    int
}

// remote is whom an account is for: a peer, or an address group.
type remote struct {
	peer  peer.ID
	group uint32
}

// account is what a remote uses.
type account struct {
	remote  remote
	rate    *rate.Limiter
	streams int
	bytes   int
	place   *list.Element // in unused
	used    time.Time     // since when it is there
}

// visit is one stream of a remote: what it uses counts for each of its accounts.
type visit struct {
	gate     *gate
	accounts []*account
}

// patience is how long a request may be delayed by its sender's rate.
const patience = 10 * time.Second

// requestUnit is how many bytes count as one request more.
const requestUnit = 32 << 10

var errFlood = errors.New("p2p: too many requests")

func newGate(set *atomic.Pointer[settings]) *gate {
	return &gate{settings: set, accounts: map[remote]*account{}, unused: list.New()}
}

// share is how much more an account may use than one peer.
func (a *account) share(set *settings) int {
	if a.remote.peer == "" {
		return set.groupFactor
	}
	return 1
}

// enter counts a stream; false if the remote, its group, or all together have as
// many as they may. Group 0 is of peers that are not limited together.
func (g *gate) enter(from peer.ID, group uint32) (*visit, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget()
	set := g.settings.Load()
	v := &visit{gate: g, accounts: []*account{g.account(remote{peer: from}, set)}}
	if group != 0 {
		v.accounts = append(v.accounts, g.account(remote{group: group}, set))
	}
	if g.streams >= set.inboundTotal {
		return nil, false
	}
	for _, a := range v.accounts {
		if a.streams >= set.inboundStreams*a.share(set) {
			return nil, false
		}
	}
	g.streams++
	for _, a := range v.accounts {
		if a.place != nil {
			g.unused.Remove(a.place)
			a.place = nil
		}
		a.streams++
	}
	return v, true
}

// leave undoes enter.
func (v *visit) leave() {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.gate.streams--
	for _, a := range v.accounts {
		if a.streams--; a.streams == 0 {
			v.gate.rest(a)
		}
	}
}

func (g *gate) rest(a *account) {
	a.used = time.Now()
	a.place = g.unused.PushFront(a)
}

// account returns the account of a remote with the limits in force.
func (g *gate) account(r remote, set *settings) *account {
	a := g.accounts[r]
	if a == nil {
		a = &account{remote: r}
		g.accounts[r] = a
		g.rest(a)
	}
	perSecond, burst := rate.Limit(set.requestRate*float64(a.share(set))), set.requestBurst*a.share(set)
	if a.rate == nil {
		a.rate = rate.NewLimiter(perSecond, burst)
	}
	if a.rate.Limit() != perSecond || a.rate.Burst() != burst {
		a.rate.SetLimit(perSecond)
		a.rate.SetBurst(burst)
	}
	return a
}

// forget drops accounts whose rate has recovered, which says as much as none,
// and the oldest where there are too many.
func (g *gate) forget() {
	set := g.settings.Load()
	recovery := time.Duration(float64(set.requestBurst) / set.requestRate * float64(time.Second))
	for g.unused.Len() > 0 {
		a := g.unused.Back().Value.(*account)
		if time.Since(a.used) < recovery && g.unused.Len() <= set.remotes {
			return
		}
		g.unused.Remove(a.place)
		delete(g.accounts, a.remote)
	}
}

// weight is how many requests one of so many bytes counts for.
func weight(size int) int { return 1 + size/requestUnit }

// pass waits until the rate of the remote allows so many requests. It reports whether
// it had to wait, and an error if that would take too long. Before it waits it calls
// before.
func (v *visit) pass(ctx context.Context, requests int, before func() error) (delayed bool, err error) {
	now, pause := time.Now(), time.Duration(0)
	var taken []*rate.Reservation
	for _, a := range v.accounts {
		n := min(requests, a.rate.Burst())
		if a.rate.AllowN(now, n) { // as a rule, and nothing is allocated for it
			continue
		}
		r := a.rate.ReserveN(now, n)
		taken = append(taken, r)
		pause = max(pause, r.DelayFrom(now))
	}
	if pause > patience {
		for _, r := range taken {
			r.CancelAt(now)
		}
		return true, errFlood
	}
	if pause <= 0 {
		return false, nil
	}
	if err := before(); err != nil {
		return true, err
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// hold counts the memory of a message until it is released; false if there is
// none left for the remote. A group may hold half of all, a peer an eighth, neither
// more than what is left (Choudhury and Hahne, Dynamic queue length thresholds for
// shared-memory packet switches, 1998), and either one message. So n greedy groups come
// to 1/(n+1) each, and as much is left for the next.
func (v *visit) hold(size int) bool {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	return v.take(size)
}

// take is hold for those who have locked the gate.
func (v *visit) take(size int) bool {
	all := v.gate.settings.Load().inboundBytes
	if v.gate.bytes+size > all {
		return false
	}
	for _, a := range v.accounts {
		part := all / 8
		if a.remote.peer == "" {
			part = all / 2
		}
		if a.bytes > 0 && a.bytes+size > min(part, all-v.gate.bytes) {
			return false
		}
	}
	v.add(size)
	return true
}

// add counts memory, for those who have locked the gate.
func (v *visit) add(size int) {
	v.gate.bytes += size
	for _, a := range v.accounts {
		a.bytes += size
	}
}

// release undoes hold.
func (v *visit) release(size int) {
	if size == 0 {
		return
	}
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.add(-size)
}

// trade releases the memory of a request and holds that of its reply; false if there
// is none left for it, and then neither counts.
func (v *visit) trade(request, reply int) bool {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.add(-request)
	return v.take(reply)
}
