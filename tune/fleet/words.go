package fleet

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
)

// The bounds of what is said.
const (
	MaxAddrs    = 16 // addresses of a holder
	maxAddr     = 256
	maxText     = 4 << 10 // bytes of a configuration's changes
	maxWhy      = 256
	MaxLease    = time.Hour
	MaxLife     = 24 * time.Hour // of a bulletin
	MinInterval = time.Second
	MaxInterval = time.Hour
)

// Lease says who coordinates a fleet, and until when.
type Lease struct {
	Rank
	Granted time.Duration `json:"granted_ns"`
	Expires time.Duration `json:"expires_ns"`
	Addrs   []string      `json:"addrs"` // where the holder is reached
}

// Seal signs a lease with the fleet's key.
func (l Lease) Seal(fleet ed25519.PrivateKey) ([]byte, error) {
	return seal(kindLease, NameOf(fleet), l, fleet)
}

// OpenLease reads a lease that the fleet's key has signed.
func OpenLease(fleet Name, sealed []byte) (l Lease, err error) {
	if err = open(kindLease, fleet, fleet, sealed, &l); err == nil {
		err = l.check()
	}
	return l, err
}

func (l *Lease) check() error {
	switch {
	case l.Term == 0 || l.Number == 0:
		return fmt.Errorf("fleet: a lease of rank %v: term and number begin at 1", l.Rank)
	case l.Granted <= 0 || l.Expires <= l.Granted || l.Expires-l.Granted > MaxLease:
		return fmt.Errorf("fleet: a lease from %v to %v: want a time of at most %v", l.Granted, l.Expires, MaxLease)
	case len(l.Addrs) > MaxAddrs:
		return fmt.Errorf("fleet: a lease with %d addresses: want at most %d", len(l.Addrs), MaxAddrs)
	}
	for _, a := range l.Addrs {
		if len(a) > maxAddr {
			return fmt.Errorf("fleet: an address of %d bytes: want at most %d", len(a), maxAddr)
		}
	}
	return nil
}

// Bulletin is the configuration of a fleet: what is good, and what is tried beside
// it.
type Bulletin struct {
	Rank
	From    time.Duration `json:"from_ns"`
	Expires time.Duration `json:"expires_ns"` // of the trial, too
	// Interval is how long the peers measure before they report.
	Interval time.Duration `json:"interval_ns"`
	// Good are the knobs that differ from the defaults, in lines "name = value", and
	// GoodHash is the hash of the defaults with them: a peer with other defaults sees it.
	Good     string `json:"good"`
	GoodHash string `json:"good_hash"`
	Trial    *Trial `json:"trial,omitempty"`
}

// Trial says what is tried, and by whom.
type Trial struct {
	Block         uint64     `json:"block"`     // one assignment; it stays while bulletins renew it
	Candidate     string     `json:"candidate"` // the knobs that differ from Good
	CandidateHash string     `json:"candidate_hash"`
	Scope         knob.Scope `json:"scope"`
	Salt          uint64     `json:"salt,string"`
	Share         float64    `json:"share"`       // of the lookups, under the scope Request
	Cut           uint64     `json:"cut,string"`  // peers whose hash is at most this are tuned, under Node
	Treated       bool       `json:"treated"`     // all are tuned, under Network
	Stage         int        `json:"stage"`       // from 1
	StageShare    float64    `json:"stage_share"` // for people
}

// Tuned reports whether a peer runs the candidate itself; under the scope Request its
// lookups do, each on its own.
func (t *Trial) Tuned(peer Name) bool {
	switch t.Scope {
	case knob.Node:
		return peer.hash(t.Salt) <= t.Cut
	case knob.Network:
		return t.Treated
	default:
		return false
	}
}

// Seal signs a bulletin with the fleet's key.
func (b Bulletin) Seal(fleet ed25519.PrivateKey) ([]byte, error) {
	return seal(kindBulletin, NameOf(fleet), b, fleet)
}

// OpenBulletin reads a bulletin that the fleet's key has signed. Whether a peer takes
// it is for its Follower to say.
func OpenBulletin(fleet Name, sealed []byte) (b Bulletin, err error) {
	if err = open(kindBulletin, fleet, fleet, sealed, &b); err == nil {
		err = b.check()
	}
	return b, err
}

func (b *Bulletin) check() error {
	switch {
	case b.Term == 0 || b.Number == 0:
		return fmt.Errorf("fleet: a bulletin of rank %v: term and number begin at 1", b.Rank)
	case b.From <= 0 || b.Expires <= b.From || b.Expires-b.From > MaxLife:
		return fmt.Errorf("fleet: a bulletin from %v to %v: want a time of at most %v", b.From, b.Expires, MaxLife)
	case b.Interval < MinInterval || b.Interval > MaxInterval:
		return fmt.Errorf("fleet: an interval of %v: want %v to %v", b.Interval, MinInterval, MaxInterval)
	case len(b.Good) > maxText || b.Trial != nil && len(b.Trial.Candidate) > maxText:
		return fmt.Errorf("fleet: changes of more than %d bytes", maxText)
	case b.Trial != nil && (b.Trial.Block == 0 || b.Trial.Scope > knob.Network || !(b.Trial.Share >= 0 && b.Trial.Share <= 1)):
		return fmt.Errorf("fleet: trial %+v: want a block from 1, a scope and a share", *b.Trial)
	}
	return nil
}

// Pass admits a peer to the reports that count. Without one a peer follows the
// bulletins, but anybody could make up peers to outvote it.
type Pass struct {
	Peer    Name          `json:"peer"`
	Expires time.Duration `json:"expires_ns"`
}

// Seal signs a pass with the fleet's key.
func (p Pass) Seal(fleet ed25519.PrivateKey) ([]byte, error) {
	return seal(kindPass, NameOf(fleet), p, fleet)
}

// OpenPass reads a pass that the fleet's key has signed.
func OpenPass(fleet Name, sealed []byte) (p Pass, err error) {
	err = open(kindPass, fleet, fleet, sealed, &p)
	return p, err
}

// Wish is an order of who has the fleet's key to whoever coordinates.
type Wish struct {
	Order  tune.Order    `json:"order"`
	Try    string        `json:"try,omitempty"` // beside optimize: the change, in lines "name = value", to try
	Issued time.Duration `json:"issued_ns"`     // a coordinator obeys each once, and none that is older than MaxWish
}

// MaxWish is how old a wish may be, and how far its clock ahead.
const MaxWish = 5 * time.Minute

// Seal signs a wish with the fleet's key.
func (w Wish) Seal(fleet ed25519.PrivateKey) ([]byte, error) {
	return seal(kindWish, NameOf(fleet), w, fleet)
}

// OpenWish reads a wish that the fleet's key has signed.
func OpenWish(fleet Name, sealed []byte) (w Wish, err error) {
	err = open(kindWish, fleet, fleet, sealed, &w)
	if err == nil && len(w.Try) > maxText {
		err = fmt.Errorf("fleet: changes of more than %d bytes", maxText)
	}
	return w, err
}
