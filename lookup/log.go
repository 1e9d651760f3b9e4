package lookup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
)

// What a log holds at most. A search asks about 30 peers; a bounded log of one that
// runs wild is cut off, and says so.
const (
	maxEntries = 4096
	maxNamed   = 32768
)

// EntryKind says what an entry of a log is about.
type EntryKind uint8

// The kinds of entries.
const (
	Asked     EntryKind = iota // Ask named a peer
	Rested                     // Ask named nobody
	Answered                   // a peer answered
	Failed                     // it did not
	Reached                    // a session to it was set up
	Described                  // it named its own neighbours
	Resumed                    // the driver went on with more peers
	Stopped                    // the driver had what it wanted
	AskedEdge                  // the driver asked a peer at the far end for its own neighbours
	entryKinds
)

// Entry is one thing that a search asked or was told. From and To bound the peers
// that were named, in Log.Named.
type Entry struct {
	At   time.Duration `json:"at_ns"`
	Kind EntryKind     `json:"kind"`
	Peer uint16        `json:"peer"` // in Log.Peers; without meaning for Rested, Resumed and Stopped
	From uint16        `json:"from"`
	To   uint16        `json:"to"`
}

// Allowance is what Config.Reach said.
type Allowance struct {
	Within time.Duration `json:"within_ns"`
	Tells  bool          `json:"tells"`
}

// Log is what a search began with, asked and was told: enough to run it again.
// Make it with NewLog, and give it to a search as Config.Log.
type Log struct {
	Target key.ID `json:"target"`
	Self   key.ID `json:"self"`
	K      int    `json:"k"`
	// Avoid is Config's, its length 0 for none.
	Avoid key.Prefix `json:"avoid"`
	// First and Withdraws are Config's.
	First     bool     `json:"first"`
	Withdraws bool     `json:"withdraws"`
	Settings  Settings `json:"settings"`
	Depth     float64  `json:"depth"`
	Seeds     int      `json:"seeds"` // the first so many of Named
	Entries   []Entry  `json:"entries"`
	// Peers are all that were named, Named who they are by their places there.
	Peers []key.ID `json:"peers"`
	Named []uint16 `json:"named"`
	// Predicted and Allowed are what Predict and Reach said, call by call; nil if
	// there were none.
	Predicted []time.Duration `json:"predicted_ns"`
	Allowed   []Allowance     `json:"allowed"`
	Cut       bool            `json:"cut"` // it went on, but was not logged any more

	now   func() time.Duration
	ended bool
}

// End has the log take down nothing more: it can be handed to others while the
// search may go on.
func (l *Log) End() { l.ended = true }

// off reports whether nothing more is taken down.
func (l *Log) off() bool { return l.Cut || l.ended }

// NewLog returns an empty log. It asks the driver for the time of what the search is
// told without one.
func NewLog(now func() time.Duration) *Log { return &Log{now: now} }

// begin takes down how a search begins and has it ask through the log.
func (l *Log) begin(cfg *Config, seeds []key.ID) {
	*l = Log{Target: cfg.Target, Self: cfg.Self, K: cfg.K, Avoid: cfg.Avoid, First: cfg.First, Withdraws: cfg.Withdraws, Settings: cfg.Settings, Depth: cfg.Depth, now: l.now}
	_, to := l.name(seeds)
	l.Seeds = int(to)
	if predict := cfg.Predict; predict != nil {
		l.Predicted = make([]time.Duration, 0, 4*cfg.K)
		cfg.Predict = func(p key.ID) time.Duration {
			d := predict(p)
			if !l.off() {
				l.Predicted = append(l.Predicted, d)
			}
			return d
		}
	}
	if reach := cfg.Reach; reach != nil {
		l.Allowed = make([]Allowance, 0, 2*cfg.K)
		cfg.Reach = func(p key.ID) (time.Duration, bool) {
			d, tells := reach(p)
			if !l.off() {
				l.Allowed = append(l.Allowed, Allowance{d, tells})
			}
			return d, tells
		}
	}
}

// told takes down what the search is told now.
func (l *Log) told(kind EntryKind, peer key.ID, named []key.ID) { l.add(l.now(), kind, peer, named) }

// Note takes down that the driver asked a peer at the far end of the result for its
// own neighbours.
func (l *Log) Note(now time.Duration, peer key.ID) { l.add(now, AskedEdge, peer, nil) }

func (l *Log) add(at time.Duration, kind EntryKind, peer key.ID, named []key.ID) {
	if !l.ended && (len(l.Entries) >= maxEntries || len(l.Named)+len(named) > maxNamed) {
		l.Cut = true
	}
	if l.off() {
		return
	}
	e := Entry{At: at, Kind: kind}
	switch kind {
	case Rested, Resumed, Stopped:
	default:
		e.Peer = l.place(peer)
	}
	e.From, e.To = l.name(named)
	// Asking in vain again and again, with nothing told in between, comes to asking
	// in vain at the end.
	if n := len(l.Entries); kind <= Rested && n > 0 && l.Entries[n-1].Kind == Rested {
		l.Entries[n-1] = e
		return
	}
	l.Entries = append(l.Entries, e)
}

// name takes down who was named.
func (l *Log) name(peers []key.ID) (from, to uint16) {
	from = uint16(len(l.Named))
	for i := range peers {
		l.Named = append(l.Named, l.place(peers[i]))
	}
	return from, uint16(len(l.Named))
}

// place returns where a peer stands among the known ones, who are few.
func (l *Log) place(peer key.ID) uint16 {
	for i := range l.Peers {
		if l.Peers[i][0] == peer[0] && l.Peers[i] == peer {
			return uint16(i)
		}
	}
	l.Peers = append(l.Peers, peer)
	return uint16(len(l.Peers) - 1)
}

// Reason says why a peer was asked next.
type Reason uint8

// The reasons.
const (
	Nearest Reason = iota // of those not yet asked it was the nearest to the target
	Cheaper               // a nearer one had a worse sum of answer time and bits gained
	Guide                 // so fast that it soon names who has what is looked for
	Certain               // so near that it must be asked in any case, beyond alpha
	Refill                // nearer ones are dead or late: it may take the place of one
	Outer                 // it may know who was left out at the far end of the result
)

// String returns the reason in a few words.
func (r Reason) String() string {
	return [...]string{"nearest", "better priced", "guide", "near for certain", "for a dead one", "far end"}[r]
}

// Outcome is what became of a request.
type Outcome uint8

// The outcomes.
const (
	Open       Outcome = iota // the search ended before
	GotAnswer                 //
	GotNothing                // it failed
	WasReached                // only a session was set up: it lives
	TakenBack                 // nobody needed it any more, and it had not left
)

// String returns the outcome in a word or two.
func (o Outcome) String() string {
	return [...]string{"open", "answered", "failed", "reached", "taken back"}[o]
}

// Step is one request of a search.
type Step struct {
	Peer      key.ID
	Asked     time.Duration
	Why       Reason
	Around    bool          // it was asked for its own neighbours
	Place     int           // by distance among those heard of by then; 0 is the nearest
	Hops      int           // referrals to it: 1 for the own table
	By        key.ID        // who named it first; zero for the own table
	Predicted time.Duration // answer time; 0 if nothing was predicted
	Late      bool          // it was silent past its soft deadline: others were asked in its place
	Reached   time.Duration // when a session was set up, 0 if that was not told
	Outcome   Outcome
	Ended     time.Duration // when that was told, 0 while open
	Named     []key.ID
	New       int // of these, how many the search had not heard of
}

// ErrDiffers says that a search asked for something else than its log has.
var ErrDiffers = errors.New("lookup: the search differs from its log")

// Replay runs the search again on what the log says that it was told. It returns
// its requests, why each was made and what became of it, and the k nearest live
// peers; and ErrDiffers if it does not ask what the log says. A log that does not
// fit together, as one from a damaged file, is an error too.
func (l *Log) Replay() ([]Step, []key.ID, error) {
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	r := replay{log: l, named: map[key.ID]key.ID{}, open: map[key.ID]int{}}
	seeds := l.of(0, l.Seeds)
	r.search = New(r.config(), seeds)
	r.introduce(key.ID{}, seeds)
	for i := range l.Entries {
		if err := r.do(&l.Entries[i]); err != nil {
			return r.steps, r.search.Result(l.K, nil), fmt.Errorf("%w: entry %d", err, i)
		}
		if r.short {
			return r.steps, nil, fmt.Errorf("%w: entry %d wants more predictions than there are", ErrDiffers, i)
		}
	}
	return r.steps, r.search.Result(l.K, nil), nil
}

// check reports a log whose parts do not fit together.
func (l *Log) check() error {
	bad := l.Avoid.Len < 0 || l.Avoid.Len > 256 || l.K < 1 || l.K > math.MaxUint16 || l.Seeds < 0 || l.Seeds > len(l.Named) || l.Settings.Alpha < 0
	bad = bad || int(l.Settings.Order) >= len(orders) || l.Settings.Disjoint < 0 || l.Settings.Disjoint > MaxDisjoint
	bad = bad || slices.ContainsFunc(l.Named, func(p uint16) bool { return int(p) >= len(l.Peers) })
	for i := range l.Entries {
		e := &l.Entries[i]
		named := e.Kind != Rested && e.Kind != Resumed && e.Kind != Stopped
		bad = bad || e.Kind >= entryKinds || e.From > e.To || int(e.To) > len(l.Named) || named && int(e.Peer) >= len(l.Peers)
	}
	if bad {
		return errors.New("lookup: the log is damaged")
	}
	return nil
}

// of returns the peers named from one place to another.
func (l *Log) of(from, to int) []key.ID {
	peers := make([]key.ID, to-from)
	for i, p := range l.Named[from:to] {
		peers[i] = l.Peers[p]
	}
	return peers
}

// replay is a search that runs again.
type replay struct {
	log       *Log
	search    *Search
	steps     []Step
	named     map[key.ID]key.ID // by whom first; looked up, never ranged over
	open      map[key.ID]int    // steps by peer, likewise
	predicted int               // of Log.Predicted, how many were used
	allowed   int               // of Log.Allowed
	short     bool              // more were wanted than there are
}

// config is that of the search, with what was predicted then.
func (r *replay) config() Config {
	l := r.log
	cfg := Config{
		Target: l.Target, Self: l.Self, K: l.K, Avoid: l.Avoid,
		First: l.First, Withdraws: l.Withdraws, Settings: l.Settings, Depth: l.Depth,
	}
	if l.Predicted != nil {
		cfg.Predict = func(key.ID) time.Duration { return next(r, l.Predicted, &r.predicted) }
	}
	if l.Allowed != nil {
		cfg.Reach = func(key.ID) (time.Duration, bool) {
			a := next(r, l.Allowed, &r.allowed)
			return a.Within, a.Tells
		}
	}
	return cfg
}

// next returns the next of what the log has.
func next[T any](r *replay, list []T, used *int) (x T) {
	if *used >= len(list) {
		r.short = !r.log.Cut
		return x
	}
	*used++
	return list[*used-1]
}

// introduce notes who named whom first and returns how many nobody did before.
func (r *replay) introduce(by key.ID, peers []key.ID) (fresh int) {
	for _, p := range peers {
		if _, known := r.named[p]; !known && p != r.log.Self {
			r.named[p] = by
			fresh++
		}
	}
	return fresh
}

// do has the search do what an entry says.
func (r *replay) do(e *Entry) error {
	var peer key.ID
	if int(e.Peer) < len(r.log.Peers) {
		peer = r.log.Peers[e.Peer]
	}
	peers := r.log.of(int(e.From), int(e.To))
	switch e.Kind {
	case Asked, Rested:
		q, ok := r.search.Ask(e.At)
		if ok != (e.Kind == Asked) || ok && q.Peer != peer {
			return ErrDiffers
		}
		r.overdue()
		if ok {
			r.ask(e.At, q)
		}
	case AskedEdge:
		r.step(Step{Peer: peer, Asked: e.At, Why: Outer, Around: true})
	case Answered:
		r.end(peer, e.At, GotAnswer, peers)
		r.search.Answer(peer, peers)
	case Failed:
		r.end(peer, e.At, GotNothing, nil)
		r.search.Fail(peer)
	case Reached:
		if i, ok := r.open[peer]; ok {
			r.steps[i].Reached, r.steps[i].Outcome = e.At, WasReached
		}
		r.search.Reached(e.At, peer)
	case Described:
		r.end(peer, e.At, GotAnswer, peers)
		r.search.Around(peer, peers)
	case Resumed:
		r.introduce(key.ID{}, peers)
		r.search.Resume(peers)
	default:
		r.search.Stop()
	}
	for _, p := range r.search.Spare(nil) {
		r.end(p, e.At, TakenBack, nil)
	}
	return nil
}

// overdue notes which requests are past their soft deadlines, as the search has just
// found out.
func (r *replay) overdue() {
	s := r.search
	for i := range s.flights {
		if f := &s.flights[i]; f.late {
			place := slices.IndexFunc(s.order, func(c rank) bool { return c.slot == f.slot })
			if at, ok := r.open[s.peer(place)]; ok {
				r.steps[at].Late = true
			}
		}
	}
}

// ask notes a request of the search, which has just made it.
func (r *replay) ask(at time.Duration, q Query) {
	s := r.search
	place, _ := s.place(&q.Peer, 0)
	step := Step{Peer: q.Peer, Asked: at, Around: q.Around, Place: place, Hops: int(s.order[place].hops)}
	if s.outlooks != nil {
		step.Predicted = s.outlooks[s.order[place].slot].predicted
	}
	switch {
	case s.queries == 2 && s.guided:
		step.Why = Guide
	case s.inFlight > s.cfg.Alpha:
		step.Why = Certain
	case place >= s.cfg.K:
		step.Why = Refill
	case slices.ContainsFunc(s.order[:place], func(x rank) bool { return x.state == heard }):
		step.Why = Cheaper
	}
	r.step(step)
}

// step adds a request that is open.
func (r *replay) step(s Step) {
	s.By = r.named[s.Peer]
	r.open[s.Peer] = len(r.steps)
	r.steps = append(r.steps, s)
}

// end notes what became of the last request to a peer.
func (r *replay) end(peer key.ID, at time.Duration, outcome Outcome, named []key.ID) {
	i, ok := r.open[peer]
	if !ok || r.steps[i].Ended > 0 {
		return
	}
	s := &r.steps[i]
	s.Ended, s.Outcome, s.Named = at, outcome, named
	s.New = r.introduce(peer, named)
}
