package pilot

import (
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune/library"
)

// LibraryStarts is how many configurations of similar studies a study begins with.
const LibraryStarts = 3

// ParseStarts reads configurations of a library for the knobs of base. Those of a
// program with other knobs are left out.
func ParseStarts(base knob.Config, starts []library.Start) []knob.Config {
	var out []knob.Config
	for _, s := range starts {
		if c, err := base.Set().Parse(base, s.Config); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// FingerprintOf describes the workload of a simulated network. Its operations are gets
// of keys that are all equal, from callers that are.
func FingerprintOf(w sim.EventsConfig) library.Fingerprint {
	f := library.Fingerprint{Popularity: 0.1, Mix: [4]float64{1}, Rate: w.OpsPerMinute, Peers: float64(w.Peers)}
	if w.Matrix != nil {
		var all []float64
		dice := stat.NewStream(1, "pilot.fingerprint")
		const pairs = 1000
		for range pairs {
			i, j := dice.IntN(w.Matrix.N()), dice.IntN(w.Matrix.N())
			if rtt := w.Matrix.RTT(i, j); i != j && rtt > 0 {
				all = append(all, milliseconds(rtt))
			}
		}
		f.RTT = median(all)
	}
	return f
}

// maxCounted bounds the keys whose gets are counted.
const maxCounted = 8192

// likeness counts what a fingerprint is made of.
type likeness struct {
	kinds   [4]int
	keys    map[string]int
	callers map[int]int
	changed int // peers that came or went
	began   time.Duration
}

func newLikeness(now time.Duration) *likeness {
	return &likeness{keys: map[string]int{}, callers: map[int]int{}, began: now}
}

// add takes operations.
func (l *likeness) add(samples []lookupSample) {
	order := []kad.Op{kad.OpGet, kad.OpFindPeer, kad.OpProvide, kad.OpPut}
	for _, x := range samples {
		if i := slices.Index(order, x.op); i >= 0 {
			l.kinds[i]++
		}
		l.callers[x.caller]++
		if _, known := l.keys[x.key]; x.op == kad.OpGet && (known || len(l.keys) < maxCounted) {
			l.keys[x.key]++
		}
	}
}

// fingerprint sums up what was counted until now.
func (l *likeness) fingerprint(now time.Duration, s Survey, perPeerMinute float64) library.Fingerprint {
	f := library.Fingerprint{Rate: perPeerMinute, Peers: float64(s.Peers)}
	all := 0
	for _, n := range l.kinds {
		all += n
	}
	for i, n := range l.kinds {
		f.Mix[i] = float64(n) / float64(max(all, 1))
	}
	var counts []int
	gets := 0
	for _, n := range l.keys {
		counts = append(counts, n)
		gets += n
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	top := 0
	for _, n := range counts[:(len(counts)+9)/10] {
		top += n
	}
	f.Popularity = float64(top) / float64(max(gets, 1))
	f.Spread = l.spread(s.Peers, all)
	if span := now - l.began; span > 0 {
		f.Churn = float64(l.changed) / float64(max(s.Peers, 1)) / span.Hours()
	}
	var rtts []float64
	for i, row := range s.RTT {
		for j, rtt := range row {
			if i != j && rtt > 0 {
				rtts = append(rtts, milliseconds(rtt))
			}
		}
	}
	f.RTT = median(rtts)
	return f
}

// spread is by how much more the callers' numbers of operations differ than by chance,
// over their mean.
func (l *likeness) spread(peers, all int) float64 {
	if all == 0 || peers == 0 {
		return 0
	}
	mean := float64(all) / float64(peers)
	squares := float64(max(peers-len(l.callers), 0)) * mean * mean
	for _, n := range l.callers {
		squares += (float64(n) - mean) * (float64(n) - mean)
	}
	return math.Sqrt(max(squares/float64(peers)-mean, 0)) / mean
}
