package kad

import (
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/wire"
)

// Names cost nothing: whoever makes enough of them has the k nearest to any key,
// and lets its records vanish (Sridhar et al., Content Censorship in the
// InterPlanetary File System, arXiv:2307.12212). But then they lie nearer than k
// peers of a network of this size should. That is measured after each lookup for a
// record, and answered by a wider region: all whom we find within the radius that
// k honest peers would span, at most kad.crowd_width times k, are given the record
// or asked for it. The crowd names only itself, so the region is searched from its
// rims: for each prefix length the key that differs from ours in just the next bit;
// whoever lies as deep as hardly an honest peer does is passed over meanwhile.
//
// The paper compares prefix lengths by their divergence; we take the likelihood of
// the distances themselves, which needs no binning.

// surveys remembers how dense the network was around the last targets: peers in
// the whole space, if it were as dense everywhere.
type surveys struct {
	sizes []float32
	next  int
}

const (
	maxSurveys = 16
	minSurveys = 5 // before less is known nothing is judged, as in go-libp2p-kad-dht's estimator
)

func (s *surveys) add(size float64) {
	if len(s.sizes) < maxSurveys {
		s.sizes = append(s.sizes, float32(size))
		return
	}
	s.sizes[s.next] = float32(size)
	s.next = (s.next + 1) % maxSurveys
}

// size is the median: a crowd around some of the targets does not move it.
func (s *surveys) size() (float64, bool) {
	if len(s.sizes) < minSurveys {
		return 0, false
	}
	sorted := slices.Clone(s.sizes)
	slices.Sort(sorted)
	return float64(sorted[len(sorted)/2]), true
}

// share is a distance as a share of the space.
func share(a, b key.ID) float64 { return math.Ldexp(float64(a[0]^b[0]), -64) }

// crowding is minus the decimal logarithm of the probability that i of n uniform
// peers lie within a share of the space: of Poisson's tail from i on.
func crowding(i int, n, within float64) float64 {
	mean := n * within
	if mean >= float64(i) {
		return 0
	}
	mean = max(mean, 1e-12)
	sum, term := 1.0, 1.0
	for j := 1; j < 200; j++ {
		term *= mean / float64(i+j)
		sum += term
	}
	factorial, _ := math.Lgamma(float64(i) + 1)
	ln := float64(float64(i)*math.Log(mean)) - mean - factorial + math.Log(sum)
	return max(-ln/math.Ln10, 0)
}

// judge scores the nearest peers that a lookup found: the least likely of the
// distances of the k/2-th to the k-th.
func (k *protocol) judge(target key.ID, nearest []key.ID, width int) float64 {
	n, known := k.surveys.size()
	if !known || len(nearest) < width || n < float64(2*width) || k.peer.Space.Bits() <= 8 {
		return 0
	}
	score := 0.0
	for i := (width + 1) / 2; i <= width; i++ {
		score = max(score, crowding(i, n, share(nearest[i-1], target)))
	}
	return score
}

// survey learns from a lookup that found k peers.
func (k *protocol) survey(target key.ID, nearest []key.ID, width int) {
	if len(nearest) < width || width < 2 || target == k.peer.Self {
		return
	}
	if d := share(nearest[width-1], target); d > 0 {
		k.surveys.add(float64(width-1) / d)
	}
}

// region is a wider search around a key, rim by rim.
type region struct {
	nearest []key.ID // what the lookup for the key itself found
	rims    []key.ID // targets that are still to be searched
	radius  float64  // as a share of the space
	crowd   key.Prefix
	found   []key.ID // peers that answered, within the radius
}

// rims is how many prefix lengths are searched: with each the honest peers that
// are left are half as many, and of k = 20 fewer than one is left after five.
const rims = 5

// crowded judges the end of a lookup for a record and, if a crowd is around its
// key, begins to search the region. False if the operation goes on as usual.
func (o *op) crowded(k *protocol, nearest []key.ID) bool {
	limit := k.crowdScore
	o.stats.Crowding = k.judge(o.body.Target, nearest, o.k)
	if o.stats.Crowding < limit || limit == 0 {
		k.survey(o.body.Target, nearest, o.k)
		return false
	}
	switch o.body.Op {
	case OpProvide, OpPut, OpFindProviders, OpGet:
	default:
		return false
	}
	n, _ := k.surveys.size()
	o.region = &region{nearest: nearest, radius: float64(o.k) / n}
	first := max(int(-math.Log2(o.region.radius)), 0)
	o.region.crowd = key.Prefix{ID: o.body.Target, Len: first + rims}
	for bit := first; bit < first+rims; bit++ {
		o.region.rims = append(o.region.rims, o.body.Target.FlipBit(bit))
	}
	o.rim(k)
	return true
}

// purpose tells the requests of one search from those of the one before.
func (o *op) purpose() uint64 {
	if o.region == nil {
		return forSearch
	}
	return forRim + uint64(len(o.region.rims))
}

// straggler takes the answer to a request of a search that is over: what it holds
// of the record is as good as any.
func (o *op) straggler(k *protocol, ev node.Settled) {
	a, _ := ev.Outcome.(node.Answered)
	if m, ok := a.Body.(Message); ok && m.Type == o.record().Type {
		o.took(k, ev.Peer, m)
	}
}

// rim begins the search of the next rim.
func (o *op) rim(k *protocol) {
	target := o.region.rims[0]
	o.region.rims = o.region.rims[1:]
	o.dropped = nil
	o.asks, o.request, o.resumed = FindNode, Message{Type: FindNode, Target: target}, true
	o.edge.rounds = o.settings.Edge                                // none
	seeds := k.peer.Table.Closest(target, k.peer.Table.Len(), nil) // the crowd may be the nearest of them
	seeds = append(seeds, o.region.found...)
	n, _ := k.surveys.size()
	k.searches.Over(o.search)
	o.search = k.searches.New(lookup.Config{
		Log: o.log(k), Target: target, Self: k.peer.Self, Avoid: o.region.crowd, K: o.k, First: o.first, Withdraws: true, Settings: o.settings, Depth: math.Log2(n / float64(o.k)), Predict: k.predict,
		Reach: func(p key.ID) (time.Duration, bool) { return k.within(p, o.settings.SoftFactor) },
	}, seeds)
}

// rimmed takes what the search of a rim found, and goes on.
func (o *op) rimmed(k *protocol) {
	r := o.region
	for _, p := range o.search.Result(o.k, nil) {
		if share(p, o.body.Target) <= r.radius && !slices.Contains(r.found, p) && !slices.Contains(r.nearest, p) {
			r.found = append(r.found, p)
		}
	}
	if len(r.rims) > 0 {
		o.rim(k)
		return
	}
	width := k.peer.Knobs().Int("kad.crowd_width") * o.k
	all := r.nearest
	if o.body.Op == OpProvide || o.body.Op == OpPut {
		all = append(slices.Clone(r.nearest), r.found...)
		all = all[:min(len(all), width)]
		o.stats.Region = len(all)
		o.beginStores(all, len(all))
		return
	}
	o.targets = r.found[:min(len(r.found), max(width-o.k, 0))] // the nearest were asked on the way
	o.stats.Region = len(all[:min(len(all), o.k)]) + len(o.targets)
	o.asks, o.request = o.record().Type, o.record()
	o.phase = asking
}

// record is the request for what the operation looks for.
func (o *op) record() Message {
	if o.body.Op == OpGet {
		return Message{Type: GetValue, Key: o.body.Key, Target: o.body.Target}
	}
	return Message{Type: GetProviders, Key: o.body.Key, Target: o.body.Target}
}

// askRegion asks the next peer of a region for the record; the operation goes on when
// all have answered or failed.
func (o *op) askRegion(k *protocol, now time.Duration) (node.Request, bool) {
	if o.next < len(o.targets) && o.inFlight < max(o.settings.Alpha, 1) {
		if k.peer.Full() {
			return nil, false
		}
		to := o.targets[o.next]
		o.next++
		o.inFlight++
		o.stats.Messages++
		o.trace.asked(now, to)
		o.tell(k, Event{Step: StepAsked, Peer: to})
		return k.peer.Send(now, k, o.id<<purposeBits|forRegion, wire.Message{
			To: to, Deadline: now + o.settings.Hard, Priority: o.priority(), Errand: o.errand(), Body: o.request,
		}, false)
	}
	if o.inFlight > 0 || o.next < len(o.targets) {
		return nil, false
	}
	if o.body.Op == OpGet {
		o.phase, o.targets, o.next = checking, append(slices.Clone(o.region.nearest), o.targets...), 0
		return nil, false
	}
	o.finish(k, Result{Found: len(o.found) > 0})
	return nil, false
}

// told takes what a peer of the region holds.
func (o *op) told(k *protocol, now time.Duration, ev node.Settled) {
	o.inFlight--
	o.tellEnd(k, o.asks, ev)
	a, ok := ev.Outcome.(node.Answered)
	m, is := a.Body.(Message)
	o.trace.ended(now, ev.Peer, ok && is && m.Type == o.asks)
	if !ok || !is || m.Type != o.asks {
		o.stats.Failures++
		return
	}
	o.took(k, ev.Peer, m)
}
