package pilot

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
)

// Phase is what a run is doing.
type Phase string

// The phases.
const (
	PhaseStarting  Phase = "starting"  // peers start, records are stored, sessions set up
	PhaseMeasuring Phase = "measuring" // the pace and the settling time are being found
	PhaseWatching  Phase = "watching"  // nothing is tried; triggers are looked out for
	PhaseSearching Phase = "searching" // on the twin
	PhaseProving   Phase = "proving"   // a rollout is under way, or held, or waits at a gate
	PhaseComparing Phase = "comparing" // the final table
	PhaseClosing   Phase = "closing"
	PhaseEnded     Phase = "ended"
)

// OrderOptimize has a service look for a better configuration now. All other
// orders are those of package tune.
const OrderOptimize = tune.OrderOptimize

// The bounds of a Live.
const (
	maxLiveEntries = 4096 // journal entries in memory, the newest
	maxLiveOrders  = 16   // not yet taken
	maxSearchSteps = 512  // points of the search's progress, thinned beyond
)

// Live is a view of one run for others than its owner: a page, an API, a test. Any
// goroutine may use it at any time, before, during and after the run. Make it with
// NewLive and give it to Run as Config.Live.
type Live struct {
	mu       sync.Mutex
	began    time.Time
	state    Snapshot
	entries  []tune.Entry // the newest, bounded
	subs     []*Subscription
	orders   []tune.Ordered
	early    bool // a hold that waits for a rollout, for the reason why
	why      string
	wake     chan struct{} // an order was given; holds one
	arms     [2]armSamples
	stages   []StageArms // those before it
	number   int         // of the stage under way
	searches int
	lookups  lookupRing
	trials   []TrialView // the newest, bounded
	picked   knob.Config // by a person, for the next study
	costs    []CostView  // the newest, bounded
	fleet    *Fleet      // nil once it closes
	numbers  *Fleet      // for the numbers of its peers, also afterwards
	peers    peerCache
}

// NewLive returns the view of a run that has not begun.
func NewLive() *Live {
	return &Live{began: time.Now(), state: Snapshot{Phase: PhaseStarting, Takes: []tune.Order{}}, wake: make(chan struct{}, 1)}
}

// Snapshot is where a run stands. Its JSON names are stable. What is not known yet
// is null, never 0.
type Snapshot struct {
	At       time.Time `json:"at"`
	ElapsedS float64   `json:"elapsed_s"` // since the run began
	Seq      uint64    `json:"seq"`       // of the last entry of the journal that it reflects
	Phase    Phase     `json:"phase"`
	// Step says in words what is being done, Done of Total units; 0 of 0 where there is
	// nothing to count.
	Step      string       `json:"step"`
	Unit      string       `json:"unit"`
	Done      int64        `json:"done"`
	Total     int64        `json:"total"`
	Takes     []tune.Order `json:"takes"`      // orders that have a meaning now
	Ordered   []tune.Order `json:"ordered"`    // given, not yet obeyed
	HoldEarly bool         `json:"hold_early"` // the next rollout will be held before it begins
	RatePerS  *float64     `json:"rate_per_s"` // operations of the workload
	Baseline  string       `json:"baseline"`   // text of the configuration that runs
	Candidate string       `json:"candidate"`  // text; empty if there is none
	// Rollout is that under way, or the last one; null before the first. It holds
	// state, stage, effect and intervals.
	Rollout *tune.Report `json:"rollout"`
	Arms    []ArmView    `json:"arms"` // of the stage under way, baseline first; empty before the first
	Search  SearchView   `json:"search"`
	Service *ServiceView `json:"service"` // null in a run that goes round once
	Race    *RaceView    `json:"race"`    // of learners, null before the first study
	Said    string       `json:"said"`    // the last thing that was said in words
	Error   string       `json:"error"`   // why the run failed; empty if it did not
}

// ServiceView is how a service stands.
type ServiceView struct {
	State   tune.ServiceState `json:"state"`
	Waiting []tune.Trigger    `json:"waiting"` // reasons that are queued
	Gauges  []tune.Gauge      `json:"gauges"`  // how near what is watched is to a reason
	Peers   int               `json:"peers"`   // that are left
	// Forecasts are what is foreseen of each metric and of the load, an interval being
	// IntervalS.
	Forecasts []tune.Forecast `json:"forecasts"`
	IntervalS float64         `json:"interval_s"`
	// Holdout is all changes together against those that keep the first configuration.
	Holdout tune.HoldoutReport `json:"holdout"`
}

// SearchView is how a search on the twin comes on.
type SearchView struct {
	Done   int          `json:"done"`
	Total  int          `json:"total"`   // planned; 0 before the first search
	BaseMS *float64     `json:"base_ms"` // mean latency of the baseline on the twin
	BestMS *float64     `json:"best_ms"` // the best mean so far, a noisy one
	Steps  []SearchStep `json:"steps"`   // best value against evaluations
}

// SearchStep is one point of the progress of a search.
type SearchStep struct {
	Evaluations int     `json:"evaluations"`
	BestMS      float64 `json:"best_ms"`
}

// Snapshot returns where the run stands. Nothing in it is shared. About 50 µs.
func (l *Live) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	s.At = time.Now()
	s.ElapsedS = s.At.Sub(l.began).Seconds()
	s.Takes, s.Ordered = l.takes(), []tune.Order{}
	for _, o := range l.orders {
		s.Ordered = append(s.Ordered, o.Order)
	}
	s.HoldEarly = l.early
	s.Search.Steps = append([]SearchStep{}, s.Search.Steps...)
	if s.Rollout != nil {
		s.Arms = []ArmView{l.arms[tune.Baseline].view(tune.Baseline), l.arms[tune.Tuned].view(tune.Tuned)}
	} else {
		s.Arms = []ArmView{}
	}
	return s
}

// takes returns the orders that have a meaning now.
func (l *Live) takes() []tune.Order {
	out := []tune.Order{}
	if l.state.Rollout != nil {
		out = append(out, l.state.Rollout.Takes...)
	}
	switch l.state.Phase {
	case PhaseStarting, PhaseMeasuring, PhaseSearching:
		out = []tune.Order{tune.OrderHold}
		if l.early {
			out = []tune.Order{tune.OrderResume}
		}
	case PhaseClosing, PhaseEnded:
		out = []tune.Order{}
	case PhaseWatching, PhaseProving, PhaseComparing: // what the rollout takes
	}
	if s := l.state.Service; s != nil && l.state.Phase != PhaseClosing && l.state.Phase != PhaseEnded {
		out = append(out, OrderOptimize)
		if s.State == tune.ServiceSoaking && !slices.Contains(out, tune.OrderRollBack) {
			out = append(out, tune.OrderRollBack)
		}
	}
	return out
}

// Order gives an order and returns at once; the journal tells when it is obeyed. An
// order that has no meaning now is an error that says which have one. A hold before
// a rollout is kept for it.
func (l *Live) Order(o tune.Order) error { return l.OrderFor(o, "") }

// OrderFor is Order with a reason for the journal.
func (l *Live) OrderFor(o tune.Order, reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if takes := l.takes(); !slices.Contains(takes, o) {
		return fmt.Errorf("pilot: order %q has no meaning while the run is %s: the orders that have one are %q", o, l.state.Phase, takes)
	}
	if o != OrderOptimize && l.state.Phase != PhaseProving && l.state.Phase != PhaseWatching && l.state.Phase != PhaseComparing {
		l.early, l.why = o == tune.OrderHold, reason
		return nil
	}
	if len(l.orders) >= maxLiveOrders {
		return fmt.Errorf("pilot: %d orders are waiting to be obeyed: wait", len(l.orders))
	}
	l.orders = append(l.orders, tune.Ordered{Order: o, Reason: reason})
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// ordered takes the orders that were given.
func (l *Live) ordered() []tune.Ordered {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.orders
	l.orders = nil
	select {
	case <-l.wake:
	default:
	}
	return out
}

// heldEarly reports whether a rollout that begins now is to be held, once, and the order
// that says so.
func (l *Live) heldEarly() (tune.Ordered, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.early
	l.early = false
	return tune.Ordered{Order: tune.OrderHold, Reason: l.why}, held
}

// update changes what is told.
func (l *Live) update(change func(*Snapshot)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
}

func (l *Live) phase(p Phase) {
	l.update(func(s *Snapshot) { s.Phase, s.Step, s.Unit, s.Done, s.Total = p, "", "", 0, 0 })
}

func (l *Live) progress(step, unit string, done, total int64) {
	l.update(func(s *Snapshot) { s.Step, s.Unit, s.Done, s.Total = step, unit, done, total })
}

// configured tells what runs and what is to be tried.
func (l *Live) configured(baseline, candidate knob.Config) {
	l.update(func(s *Snapshot) {
		s.Baseline, s.Candidate = baseline.String(), ""
		if candidate.Set() != nil {
			s.Candidate = candidate.String()
		}
	})
}

// rollout tells where a rollout stands.
func (l *Live) rollout(r *tune.Rollout) {
	report := r.Report()
	l.update(func(s *Snapshot) { s.Rollout = &report })
}

// serving tells that a service runs.
func (l *Live) serving() {
	l.update(func(s *Snapshot) { s.Phase, s.Service = PhaseWatching, &ServiceView{State: tune.ServiceIdle} })
}

// service tells how a service stands.
func (l *Live) service(m *tune.Service) {
	view := &ServiceView{State: m.State(), Waiting: m.Waiting(), Gauges: m.Watch().Gauges(), Peers: m.Peers(), Forecasts: m.Watch().Forecasts(), IntervalS: (observed * interval).Seconds(), Holdout: m.Holdout()}
	var report *tune.Report
	if r := m.Rollout(); r != nil {
		rep := r.Report()
		report = &rep
	}
	l.update(func(s *Snapshot) { s.Service, s.Rollout = view, report })
}

// searching begins a search; base is the baseline's mean on the twin.
func (l *Live) searching(total int, base float64) {
	l.update(func(s *Snapshot) {
		s.Search = SearchView{Total: total, BaseMS: &base}
		l.searches++
	})
}

// searched takes an evaluation. Steps are thinned to the last of each stretch.
func (l *Live) searched(done int, best float64) {
	l.update(func(s *Snapshot) {
		v := &s.Search
		v.Done, v.BestMS = done, &best
		n := len(v.Steps)
		if n > 0 && v.Steps[n-1].BestMS == best {
			if n > 1 && v.Steps[n-2].BestMS == best {
				v.Steps[n-1].Evaluations = done
				return
			}
		}
		if n >= maxSearchSteps {
			kept := v.Steps[:0]
			for i, step := range v.Steps {
				if i%2 == 1 {
					kept = append(kept, step)
				}
			}
			v.Steps = kept
		}
		v.Steps = append(v.Steps, SearchStep{Evaluations: done, BestMS: best})
	})
}

// Entries returns up to limit entries of the journal after a sequence number, the
// oldest first, of those in memory: the newest 4,096.
func (l *Live) Entries(after uint64, limit int) []tune.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := slices.BinarySearchFunc(l.entries, after, func(e tune.Entry, after uint64) int {
		if e.Seq <= after {
			return -1
		}
		return 1
	})
	return slices.Clone(l.entries[from:min(len(l.entries), from+max(limit, 0))])
}

// wrote takes an entry that is on disk and passes it on.
func (l *Live) wrote(e tune.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) >= maxLiveEntries {
		l.entries = append(l.entries[:0], l.entries[maxLiveEntries/4:]...)
	}
	l.entries = append(l.entries, e)
	l.state.Seq = e.Seq
	for _, s := range l.subs {
		s.offer(e)
	}
}

// Note is an entry of the journal on its way to a subscriber.
type Note struct {
	Entry tune.Entry
	// Missed is how many entries before this one were dropped because the subscriber
	// was slow: Entries has them.
	Missed uint64
}

// Subscription gets the entries of the journal as they are written.
type Subscription struct {
	live   *Live
	notes  chan Note
	missed uint64 // guarded by Live.mu
	closed bool
}

// Subscribe returns a subscription with room for so many notes, at least 1. What
// finds no room is dropped, and the next note says how many were.
func (l *Live) Subscribe(room int) *Subscription {
	s := &Subscription{live: l, notes: make(chan Note, max(room, 1))}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = append(l.subs, s)
	return s
}

// C returns the channel of the notes. It is closed by Close and at the end of the
// run.
func (s *Subscription) C() <-chan Note { return s.notes }

// Close ends the subscription. A second Close does nothing.
func (s *Subscription) Close() {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	s.end()
}

func (s *Subscription) end() {
	if s.closed {
		return
	}
	s.closed = true
	close(s.notes)
	s.live.subs = slices.DeleteFunc(s.live.subs, func(x *Subscription) bool { return x == s })
}

// offer is called under Live.mu.
func (s *Subscription) offer(e tune.Entry) {
	select {
	case s.notes <- Note{Entry: e, Missed: s.missed}:
		s.missed = 0
	default:
		s.missed++
	}
}

// closing tells that the fleet is about to close; its peers are asked once more.
func (l *Live) closing() {
	l.phase(PhaseClosing)
	l.mu.Lock()
	fleet := l.fleet
	l.mu.Unlock()
	views := fleet.views()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers.views, l.fleet = views, nil
}

// ended tells that the run is over.
func (l *Live) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Phase, l.state.Step, l.fleet = PhaseEnded, "", nil
	if err != nil {
		l.state.Error = err.Error()
	}
	for _, s := range slices.Clone(l.subs) {
		s.end()
	}
}
