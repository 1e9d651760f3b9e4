package p2p

import (
	"container/list"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ledger knows who has stored what, so that whoever stores too much loses his own
// first: the oldest of what he has. Whom that is, is decided by address groups
// where they are known, since names cost nothing. What costs is for the owner to
// say: records, or bytes. Our own records count for nobody, whoever stores them again,
// and never have to go. It is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	records map[recordID]*entered
	keys    map[string][]*entered
	remotes map[peer.ID]*holding
	crowds  map[remote]*holding
	cost    int
	swept   time.Time
	own     map[recordID]*list.Element
	stored  *list.List // of *owned, oldest first
}

// maxOwn bounds how many records are known as our own. The oldest beyond that can
// become somebody else's.
const maxOwn = 1 << 16

// owned is a record of our own.
type owned struct {
	id recordID
	at time.Time
}

// recordID names a record: the key, and the provider if it is one of many.
type recordID struct {
	key      string
	provider peer.ID
}

// entered is a record in the ledger.
type entered struct {
	id     recordID
	owner  peer.ID // who stored it
	crowd  remote  // the owner's address group, or the owner
	cost   int
	at     time.Time
	places [2]*list.Element // in the holdings of owner and crowd
}

// holding is what somebody has stored, oldest first.
type holding struct {
	records *list.List // of *entered
	cost    int
}

// quota is what a ledger is kept to.
type quota struct {
	total  int           // cost of all
	remote int           // cost of what one remote stores
	key    int           // records under one key
	age    time.Duration // after which a record is gone by itself
}

func newLedger() *ledger {
	return &ledger{
		records: map[recordID]*entered{}, keys: map[string][]*entered{}, remotes: map[peer.ID]*holding{}, crowds: map[remote]*holding{},
		swept: time.Now(), own: map[recordID]*list.Element{}, stored: list.New(),
	}
}

// crowdOf is who answers for a remote: its address group, or itself if it has none.
func crowdOf(owner peer.ID, group uint32) remote {
	if group == 0 {
		return remote{peer: owner}
	}
	return remote{group: group}
}

// enter takes a record in, or renews it, and returns those that have to go for it.
// It is false if the record itself has to: it is larger than its owner may have, or
// its key is full and nobody has more than one there.
func (l *ledger) enter(id recordID, owner peer.ID, group uint32, cost int, q quota) (gone []recordID, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(q.age)
	if l.own[id] != nil {
		return nil, true
	}
	if known := l.records[id]; known != nil { // it stays its first owner's: nobody can make it his own to lose it
		owner, group = known.owner, known.crowd.group
		l.remove(known)
	}
	e := &entered{id: id, owner: owner, crowd: crowdOf(owner, group), cost: cost, at: time.Now()}
	if cost > min(q.remote, q.total) {
		return nil, false
	}
	if q.key > 0 && len(l.keys[id.key]) >= q.key {
		out := l.spare(id.key, e.crowd)
		if out == nil {
			return nil, false
		}
		gone = append(gone, l.remove(out))
	}
	for h := l.remotes[owner]; h != nil && h.cost+cost > q.remote; h = l.remotes[owner] {
		gone = append(gone, l.remove(h.oldest()))
	}
	for l.cost+cost > q.total {
		gone = append(gone, l.remove(l.heaviest().oldest()))
	}
	l.add(e)
	return gone, true
}

// keep takes a record in that we have stored ourselves, or renews it.
func (l *ledger) keep(id recordID, age time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(age)
	if known := l.records[id]; known != nil {
		l.remove(known)
	}
	if known := l.own[id]; known != nil {
		l.disown(known)
	}
	if len(l.own) >= maxOwn {
		l.disown(l.stored.Front())
	}
	l.own[id] = l.stored.PushBack(&owned{id, time.Now()})
}

func (l *ledger) disown(place *list.Element) {
	delete(l.own, l.stored.Remove(place).(*owned).id)
}

func (h *holding) oldest() *entered { return h.records.Front().Value.(*entered) }

func (h *holding) add(e *entered) *list.Element {
	h.cost += e.cost
	return h.records.PushBack(e)
}

func (l *ledger) add(e *entered) {
	if l.remotes[e.owner] == nil {
		l.remotes[e.owner] = &holding{records: list.New()}
	}
	if l.crowds[e.crowd] == nil {
		l.crowds[e.crowd] = &holding{records: list.New()}
	}
	e.places = [2]*list.Element{l.remotes[e.owner].add(e), l.crowds[e.crowd].add(e)}
	l.records[e.id] = e
	l.keys[e.id.key] = append(l.keys[e.id.key], e)
	l.cost += e.cost
}

func (l *ledger) remove(e *entered) recordID {
	delete(l.records, e.id)
	l.cost -= e.cost
	owner, crowd := l.remotes[e.owner], l.crowds[e.crowd]
	owner.records.Remove(e.places[0])
	crowd.records.Remove(e.places[1])
	if owner.cost -= e.cost; owner.records.Len() == 0 {
		delete(l.remotes, e.owner)
	}
	if crowd.cost -= e.cost; crowd.records.Len() == 0 {
		delete(l.crowds, e.crowd)
	}
	rest := l.keys[e.id.key][:0]
	for _, other := range l.keys[e.id.key] {
		if other != e {
			rest = append(rest, other)
		}
	}
	if l.keys[e.id.key] = rest; len(rest) == 0 {
		delete(l.keys, e.id.key)
	}
	return e.id
}

// spare returns the record to give up under a full key for one of a crowd: the
// oldest of the crowd that has the most there, the newcomer counted. It is nil if
// nobody has more than one.
func (l *ledger) spare(key string, of remote) *entered {
	count := map[remote]int{of: 1}
	most := 1
	for _, e := range l.keys[key] {
		count[e.crowd]++
		most = max(most, count[e.crowd])
	}
	if most == 1 {
		return nil
	}
	for _, e := range l.keys[key] { // oldest first
		if count[e.crowd] == most {
			return e
		}
	}
	return nil
}

// heaviest returns what the crowd has stored that has stored the most; of equals,
// the one whose oldest record is the oldest.
func (l *ledger) heaviest() (most *holding) {
	for _, h := range l.crowds {
		if most == nil || h.cost > most.cost || h.cost == most.cost && h.oldest().at.Before(most.oldest().at) {
			most = h
		}
	}
	return most
}

// sweepEvery is how often records are looked through for those that are gone by
// themselves.
const sweepEvery = time.Hour

func (l *ledger) sweep(age time.Duration) {
	for first := l.stored.Front(); first != nil && time.Since(first.Value.(*owned).at) > age; first = l.stored.Front() {
		l.disown(first)
	}
	if time.Since(l.swept) < sweepEvery {
		return
	}
	l.swept = time.Now()
	for _, e := range l.records {
		if time.Since(e.at) > age {
			l.remove(e)
		}
	}
}

// has reports whether a record is in the ledger, or is our own.
func (l *ledger) has(id recordID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[id] != nil || l.own[id] != nil
}

// holds reports whether a remote has anything stored.
func (l *ledger) holds(owner peer.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remotes[owner] != nil
}
