package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/shoalnet/shoal/node"
)

// sessions exchanges requests and replies with peers over pooled streams. It
// dials and speaks at once, without the round trip that a host's NewStream
// spends on Identify: a cold exchange takes two round trips, a warm one takes
// one. It is safe for concurrent use.
type sessions struct {
	host     host.Host
	settings *atomic.Pointer[settings]
	count    *counters
	lend     func(peer.ID) // lets a dial find a peer's addresses

	mu     sync.Mutex
	closed bool
	pools  map[poolKey]*pool
}

// poolKey names the streams to one peer for one protocol.
type poolKey struct {
	peer  peer.ID
	proto protocol.ID // the primary name
}

// pool is what is open to a peer; it is forgotten when that is nothing.
type pool struct {
	idle  []*stream
	busy  int
	freed chan struct{} // closed when a stream becomes free; nil if nobody waits
}

var (
	errClosed      = errors.New("p2p: closed")
	errUnreachable = errors.New("p2p: no connection")
	errNonsense    = errors.New("p2p: malformed reply")
)

func newSessions(b *Book, set *atomic.Pointer[settings], count *counters) *sessions {
	return &sessions{host: b.host, settings: set, count: count, lend: b.lend, pools: map[poolKey]*pool{}}
}

// errand is what is to be done at a peer.
type errand struct {
	msg     []byte
	read    func([]byte) error // takes the reply; nil: none is expected
	reached func()             // called when a connection was made for it; may be nil
	// wanted ends when the message need not leave any more, if it has not; nil:
	// never.
	wanted context.Context
}

// dialing returns a context that also ends when the errand is withdrawn.
func (e *errand) dialing(ctx context.Context) (context.Context, func()) {
	if e.wanted == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.wanted, cancel)
	return ctx, func() { stop(); cancel() }
}

// exchange sends a message and takes the reply. It returns the time that went into a connection, 0 if there was one.
// It tries once more, on a fresh stream, what failed on a stream or connection
// that was there before, and what may have failed because the peer speaks an
// older name: a refused name looks like any other reset, since the request left
// together with it.
func (s *sessions) exchange(ctx context.Context, to peer.ID, names []protocol.ID, e errand) (dial time.Duration, err error) {
	used, dial, err := s.try(ctx, to, names, false, e)
	final := err == nil || errors.Is(err, errNonsense) || errors.Is(err, errUnreachable)
	if !final && ctx.Err() == nil && (used || len(names) > 1) {
		s.count.retries.Add(1)
		var more time.Duration
		_, more, err = s.try(ctx, to, names, true, e)
		dial += more
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, errNonsense) {
		s.count.malformed.Add(1)
	}
	return dial, err
}

// try is one attempt; used says that it relied on what was open before, again
// that it must not rely on a pooled stream nor on a guessed name.
func (s *sessions) try(ctx context.Context, to peer.ID, names []protocol.ID, again bool, e errand) (used bool, dial time.Duration, err error) {
	pk := poolKey{to, names[0]}
	st, err := s.acquire(ctx, pk, again)
	if err != nil {
		return false, 0, err
	}
	if used = st != nil; !used {
		st, used, dial, err = s.open(ctx, to, names, again && len(names) > 1, &e)
	}
	if err != nil {
		s.release(pk, nil)
		return used, dial, err
	}
	start := time.Now()
	if err = st.roundTrip(ctx, e.msg, s.counted(e.read)); err != nil {
		_ = st.Reset()
		s.release(pk, nil)
		return used, dial, err
	}
	s.count.bytesOut.Add(uint64(len(e.msg)))
	if e.read != nil {
		s.host.Peerstore().RecordLatency(to, time.Since(start))
	}
	s.release(pk, st)
	return used, dial, nil
}

// counted counts what is read and marks what cannot be.
func (s *sessions) counted(read func([]byte) error) func([]byte) error {
	if read == nil {
		return nil
	}
	return func(raw []byte) error {
		s.count.bytesIn.Add(uint64(len(raw)))
		if err := read(raw); err != nil {
			return fmt.Errorf("%w: %w", errNonsense, err)
		}
		return nil
	}
}

// acquire reserves the use of a stream: an idle one, or nil for one that the
// caller opens. It waits while the peer has as many as it may.
func (s *sessions) acquire(ctx context.Context, pk poolKey, fresh bool) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return nil, errClosed
		}
		p := s.pools[pk]
		if p == nil {
			p = &pool{}
			s.pools[pk] = p
		}
		if last := len(p.idle) - 1; last >= 0 && !fresh {
			st := p.idle[last]
			p.idle = p.idle[:last]
			p.busy++
			st.idle.Stop()
			return st, nil
		}
		if p.busy < s.settings.Load().streamsPerPeer {
			p.busy++
			return nil, nil
		}
		if p.freed == nil {
			p.freed = make(chan struct{})
		}
		freed := p.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// release ends the use of a stream; nil if it is broken.
func (s *sessions) release(pk poolKey, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pk]
	p.busy--
	if p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
	switch {
	case st != nil && s.closed:
		_ = st.Reset()
	case st != nil:
		st.idle = time.AfterFunc(s.settings.Load().streamIdle, func() { s.expire(pk, st) })
		p.idle = append(p.idle, st)
	}
	s.prune(pk, p)
}

// expire ends a stream that nobody used for a while.
func (s *sessions) expire(pk poolKey, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pk]
	if p == nil {
		return
	}
	if i := slices.Index(p.idle, st); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		_ = st.Reset()
		s.prune(pk, p)
	}
}

func (s *sessions) prune(pk poolKey, p *pool) {
	if p.busy == 0 && len(p.idle) == 0 {
		delete(s.pools, pk)
	}
}

// drop ends the idle streams to a peer. It does not block.
func (s *sessions) drop(to peer.ID, primaries []protocol.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range primaries {
		if p := s.pools[poolKey{to, name}]; p != nil {
			p.reset()
			s.prune(poolKey{to, name}, p)
		}
	}
}

// close ends all idle streams. Those in use end with their contexts.
func (s *sessions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, p := range s.pools {
		p.reset()
	}
}

func (p *pool) reset() {
	for _, st := range p.idle {
		st.idle.Stop()
		_ = st.Reset()
	}
	p.idle = nil
}

// open makes a stream, over a new connection if there is none; used says that
// there was one, dial how long a new one took.
func (s *sessions) open(ctx context.Context, to peer.ID, names []protocol.ID, negotiate bool, e *errand) (st *stream, used bool, dial time.Duration, err error) {
	start := time.Now()
	used = s.host.Network().Connectedness(to) == network.Connected
	if !used {
		s.count.dials.Add(1)
		s.lend(to)
	}
	dialing, end := e.dialing(ctx)
	defer end()
	conn, err := s.host.Network().DialPeer(dialing, to)
	if err == nil {
		err = dialing.Err()
	}
	if !used {
		dial = time.Since(start)
	}
	if err != nil {
		return nil, used, dial, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if !used && e.reached != nil {
		e.reached()
	}
	preferred, _ := s.host.Peerstore().FirstSupportedProtocol(to, names...) // empty on an error, too
	if preferred == "" {
		preferred = names[0]
	}
	st, err = newStream(ctx, conn, names, preferred, negotiate)
	if err == nil && negotiate {
		err = s.host.Peerstore().AddProtocols(to, st.Protocol())
	}
	return st, used, dial, err
}

// reasonOf says what a failed exchange proves about the peer.
func reasonOf(err error) node.Reason {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return node.Timeout
	case errors.Is(err, context.Canceled), errors.Is(err, errClosed), errors.Is(err, network.ErrResourceLimitExceeded), backedOff(err):
		return node.NoNews
	case errors.Is(err, errUnreachable):
		return node.Unreachable
	}
	return node.Rejected
}

// notTried are the causes of a dial that was not made.
var notTried = []error{swarm.ErrDialBackoff, swarm.ErrDialRefusedBlackHole, swarm.ErrGaterDisallowedConnection}

// backedOff reports whether nothing was tried, for instance because every
// address failed a short while ago.
func backedOff(err error) bool {
	skipped := func(err error) bool {
		return slices.ContainsFunc(notTried, func(cause error) bool { return errors.Is(err, cause) })
	}
	var dialed *swarm.DialError
	if !errors.As(err, &dialed) || len(dialed.DialErrors) == 0 {
		return skipped(err)
	}
	for i := range dialed.DialErrors {
		if !skipped(dialed.DialErrors[i].Cause) {
			return false
		}
	}
	return true
}
