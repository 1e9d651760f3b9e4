package pilot

import (
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// ArmView is what the gets of one arm of the stage under way did. Times are in
// milliseconds, failures count at their time-out, quantiles are within 1 %.
type ArmView struct {
	Arm      string   `json:"arm"`
	Samples  uint64   `json:"samples"`
	Success  *float64 `json:"success_ratio"` // null without samples, as are the quantiles
	MeanMS   *float64 `json:"mean_ms"`
	P50MS    *float64 `json:"p50_ms"`
	P75MS    *float64 `json:"p75_ms"`
	P90MS    *float64 `json:"p90_ms"`
	P95MS    *float64 `json:"p95_ms"`
	P99MS    *float64 `json:"p99_ms"`
	P999MS   *float64 `json:"p999_ms"`
	PerShare float64  `json:"share"` // of the units that this arm has
	// Quantiles are P50 to P99.9 with intervals; empty without samples.
	Quantiles []QuantileView `json:"quantiles"`
}

// QuantileView is a quantile with its 95 % interval, which holds however often one looks
// while a stage runs, for lookups that are independent of each other. A bound is null
// while there are too few of them.
type QuantileView struct {
	Q    float64  `json:"q"`
	MS   float64  `json:"ms"`
	Low  *float64 `json:"low_ms"`
	High *float64 `json:"high_ms"`
}

// StageArms is what both arms of a stage did, baseline first.
type StageArms struct {
	Stage int       `json:"stage"` // from 1
	Arms  []ArmView `json:"arms"`
}

// armSamples are the gets of one arm of a stage.
type armSamples struct {
	times stat.Sketch // milliseconds
	ok    int
	share float64
}

func (a *armSamples) view(arm tune.Arm) ArmView {
	v := ArmView{Arm: arm.String(), Samples: a.times.Count(), PerShare: a.share, Quantiles: []QuantileView{}}
	if v.Samples == 0 {
		return v
	}
	success, mean := float64(a.ok)/float64(v.Samples), a.times.Mean()
	v.Success, v.MeanMS = &success, &mean
	for _, part := range []struct {
		to **float64
		q  float64
	}{{&v.P50MS, .5}, {&v.P75MS, .75}, {&v.P90MS, .9}, {&v.P95MS, .95}, {&v.P99MS, .99}, {&v.P999MS, .999}} {
		x := a.quantile(part.q)
		*part.to = &x.MS
		v.Quantiles = append(v.Quantiles, x)
	}
	return v
}

// quantile is one of the arm, with its interval widened by the error of the sketch.
func (a *armSamples) quantile(q float64) QuantileView {
	v := QuantileView{Q: q, MS: a.times.Quantile(q)}
	n := int(a.times.Count())
	low, high := stat.QuantileRanks(n, q, 0.05)
	ranked := func(rank int) float64 { return a.times.Quantile((float64(rank) - 0.5) / float64(max(n-1, 1))) }
	if low > 0 {
		x := ranked(low) * (1 - a.times.Accuracy())
		v.Low = &x
	}
	if high <= n {
		x := ranked(high) * (1 + a.times.Accuracy())
		v.High = &x
	}
	return v
}

// stage begins the figures of a stage anew; of the first those of the rollout.
func (l *Live) stage(number int, share float64, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first {
		l.stages = nil
	} else {
		l.stages = l.stageArms()
	}
	l.number = number
	l.arms = [2]armSamples{{share: 1 - share}, {share: share}}
}

// allStages returns what the arms of every stage of the rollout did.
func (l *Live) allStages() []StageArms {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stageArms()
}

func (l *Live) stageArms() []StageArms {
	now := StageArms{Stage: l.number, Arms: []ArmView{l.arms[tune.Baseline].view(tune.Baseline), l.arms[tune.Tuned].view(tune.Tuned)}}
	return append(slices.Clone(l.stages), now)
}

// sampled takes the operations of an interval of a rollout.
func (l *Live) sampled(samples []lookupSample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range samples {
		if s.op != kad.OpGet || s.local {
			continue
		}
		a := &l.arms[s.arm]
		a.times.Add(milliseconds(s.elapsed))
		if s.ok {
			a.ok++
		}
	}
}

// PeerView is one peer of the fleet.
type PeerView struct {
	Peer    int     `json:"peer"` // its number
	Name    string  `json:"name"` // libp2p's
	Key     string  `json:"key"`
	Site    string  `json:"site"`
	Lat     float64 `json:"lat"`     // degrees; meaningful if Located
	Lon     float64 `json:"lon"`     //
	Located bool    `json:"located"` // the matrix gives coordinates
	Up      bool    `json:"up"`
	Members int     `json:"members"` // of its routing table
	Known   int     `json:"known"`   // members and spares
	Arm     string  `json:"arm"`     // in which it is; under the scope request all are in the baseline
	Config  string  `json:"config"`  // hash of what it says that it runs; empty of one that left
}

// peerCache keeps the last views: asking a hundred peers takes a hundred turns of
// their event loops, which an experiment would feel.
type peerCache struct {
	at    time.Time
	views []PeerView
}

// peersFresh is how old views of peers may be.
const peersFresh = 2 * time.Second

// Peers returns the peers of the fleet, at most two seconds old; empty before it
// runs, and what was last known after its end.
func (l *Live) Peers() []PeerView {
	l.mu.Lock()
	fleet, cached := l.fleet, l.peers
	l.mu.Unlock()
	if fleet == nil || time.Since(cached.at) < peersFresh {
		return slices.Clone(cached.views)
	}
	return l.looked(fleet, fleet.views())
}

// looked keeps views of the peers of a fleet, unless that has closed meanwhile: then
// they may be of peers that are gone, and the last ones before stay.
func (l *Live) looked(fleet *Fleet, views []PeerView) []PeerView {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fleet == fleet {
		l.peers = peerCache{at: time.Now(), views: views}
	}
	return slices.Clone(l.peers.views)
}

// running tells that the fleet is up.
func (l *Live) running(f *Fleet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fleet, l.numbers = f, f
}

// RequestView is one request of a lookup. Peers are numbers, -1 for one that is
// not of the fleet; times are milliseconds since the lookup began.
type RequestView struct {
	Peer        int     `json:"peer"`
	By          int     `json:"by"` // who named it first, -1 for the caller's own table
	Hops        int     `json:"hops"`
	Place       int     `json:"place"` // by distance among those heard of; 0 is the nearest
	Why         string  `json:"why"`
	AskedMS     float64 `json:"asked_ms"`
	EndedMS     float64 `json:"ended_ms"` // 0 while open
	PredictedMS float64 `json:"predicted_ms"`
	Outcome     string  `json:"outcome"`
	New         int     `json:"new"` // peers that it was the first to name
}

// LookupView is one operation of the workload, hop by hop.
type LookupView struct {
	Number   uint64        `json:"number"`
	Op       string        `json:"op"`
	Caller   int           `json:"caller"`
	Target   string        `json:"target"`
	Arm      string        `json:"arm"`
	BeganS   float64       `json:"began_s"` // since the fleet began
	Began    time.Time     `json:"began"`
	TookMS   float64       `json:"took_ms"`
	OK       bool          `json:"ok"`
	Messages int           `json:"messages"`
	Failures int           `json:"failures"`
	Hops     int           `json:"hops"`
	Requests []RequestView `json:"requests"`
}

// maxLiveLookups is how many lookups are kept for those who look on.
const maxLiveLookups = 64

// lookupRing holds the last operations as they were traced. They are put into
// words when somebody asks.
type lookupRing struct {
	items  []tracedLookup
	next   int
	number uint64
}

type tracedLookup struct {
	number uint64
	caller int
	arm    tune.Arm
	began  time.Duration
	took   time.Duration
	ok     bool
	trace  *kad.Trace
}

// traced keeps an operation that has ended.
func (l *Live) traced(t tracedLookup) {
	if t.trace == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.lookups
	r.number++
	t.number = r.number
	if len(r.items) < maxLiveLookups {
		r.items = append(r.items, t)
		return
	}
	r.items[r.next] = t
	r.next = (r.next + 1) % maxLiveLookups
}

// Lookups returns up to n of the last operations, oldest first, at most 64. Each is
// run again on what it was told, about 0.1 ms.
func (l *Live) Lookups(n int) []LookupView {
	l.mu.Lock()
	items := slices.Concat(l.lookups.items[l.lookups.next:], l.lookups.items[:l.lookups.next])
	fleet := l.numbers
	l.mu.Unlock()
	items = items[max(0, len(items)-max(n, 0)):]
	views := make([]LookupView, len(items))
	for i, t := range items {
		views[i] = t.view(fleet)
	}
	return views
}

func (t *tracedLookup) view(f *Fleet) LookupView {
	trace := t.trace
	v := LookupView{
		Number: t.number, Op: trace.Op.String(), Caller: t.caller, Target: trace.Target.String(), Arm: t.arm.String(),
		BeganS: t.began.Seconds(), TookMS: milliseconds(t.took), OK: t.ok,
		Messages: trace.Stats.Messages, Failures: trace.Stats.Failures, Hops: trace.Stats.Hops, Requests: []RequestView{},
	}
	if f != nil {
		v.Began = f.began.Add(t.began)
	}
	since := func(at time.Duration) float64 {
		if at == 0 {
			return 0
		}
		return milliseconds(at - trace.Began)
	}
	for _, log := range trace.Logs {
		steps, _, err := log.Replay()
		if err != nil {
			continue // cut off while it ran
		}
		for _, s := range steps {
			v.Requests = append(v.Requests, RequestView{
				Peer: f.number(s.Peer), By: f.number(s.By), Hops: s.Hops, Place: s.Place, Why: s.Why.String(),
				AskedMS: since(s.Asked), EndedMS: since(s.Ended), PredictedMS: milliseconds(s.Predicted),
				Outcome: s.Outcome.String(), New: s.New,
			})
		}
	}
	return v
}

// number returns the number of a peer, -1 if it is not of the fleet.
func (f *Fleet) number(id key.ID) int {
	if f == nil {
		return -1
	}
	if i, ok := f.index[id]; ok {
		return i
	}
	return -1
}

// views asks every peer how it is: all of them between the same two changes of
// configuration, unless those come too fast.
func (f *Fleet) views() (views []PeerView) {
	const tries = 3
	for range tries {
		assignment, change := f.exposure()
		views = f.look(assignment)
		if _, now := f.exposure(); now == change {
			break
		}
	}
	return views
}

// exposure returns who is in which arm, and the number of that change.
func (f *Fleet) exposure() (a tune.Assignment, change int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.assignment, f.changes
}

// look asks every peer once.
func (f *Fleet) look(assignment tune.Assignment) []PeerView {
	var named hashes
	views := make([]PeerView, len(f.peers))
	for i, p := range f.peers {
		var site place.Site
		if f.matrix != nil {
			site = f.matrix.Site(f.places.Site(i))
		}
		v := PeerView{
			Peer: i, Name: p.Host().ID().String(), Key: p.Self().String(), Site: site.Name, Lat: site.Lat, Lon: site.Lon, Located: site.Located,
			Arm: assignment.ArmOfPeer(i, len(f.peers)).String(), Config: named.of(f.runs(i)),
		}
		v.Up, v.Members, v.Known = f.tableSize(i)
		views[i] = v
	}
	return views
}

// hashes remembers the hashes of the few configurations of a network: a hash takes
// longer than a comparison.
type hashes struct {
	configs []knob.Config
	names   []string
}

// of returns the hash of a configuration, nothing for the zero Config.
func (h *hashes) of(c knob.Config) string {
	if c.Set() == nil {
		return ""
	}
	i := slices.IndexFunc(h.configs, c.Equal)
	if i < 0 {
		i = len(h.configs)
		h.configs, h.names = append(h.configs, c), append(h.names, c.Hash())
	}
	return h.names[i]
}
