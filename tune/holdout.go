package tune

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// HoldoutShare is the share of the peers that keep the first configuration for good, so
// that all changes together can be told from what would have been without them.
const HoldoutShare = 0.02

// HoldoutSize returns how many of so many peers are held out: 2 %, one at least; none of
// fewer than eight, of which one is too many.
func HoldoutSize(peers int) int {
	if peers < 8 {
		return 0
	}
	return int(math.Ceil(HoldoutShare * float64(peers)))
}

// HoldoutConfig says who is held out of a service's changes.
type HoldoutConfig struct {
	// Network names the network and its peers: figures of another one do not count on.
	Network string
	Peers   []int       // empty: nobody
	Frozen  knob.Config // what they run
}

// Held tells a Service what an interval showed in which all that are not held out ran one
// configuration: their lookups beside those of the peers that are.
type Held struct {
	Others Summary `json:"others"`
	Held   Summary `json:"held"`
	Config string  `json:"config"` // hash of what the others ran
}

func (Held) event() string { return "held" }

// holdoutLeast is how many samples of the holdout make a block, holdoutBlocks how many
// blocks a side needs.
const (
	holdoutLeast  = 8
	holdoutBlocks = 4
)

// moments are of the differences of blocks.
type moments struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	M2   float64 `json:"m2"` // sum of squares around the mean
}

func (m *moments) add(x float64) {
	m.N++
	d := x - m.Mean
	m.Mean += d / float64(m.N)
	m.M2 += d * (x - m.Mean)
}

// variance is that of the mean.
func (m *moments) variance() float64 { return m.M2 / float64(m.N-1) / float64(m.N) }

// holdout compares those that are held out with the others. Peers differ by where they
// are, so the difference while all ran the same is taken out: what is left of it
// afterwards is the effect of the changes.
type holdout struct {
	cfg    HoldoutConfig
	before moments // of the logarithms, others less held, while all run the frozen configuration
	after  moments // while the others run config
	config string  // hash
	open   [2]Held // the blocks under way, while the others run the frozen configuration and another
}

// tell takes an interval.
func (h *holdout) tell(e Held) bool {
	if len(h.cfg.Peers) == 0 || !e.Others.valid() || !e.Held.valid() {
		return false
	}
	frozen := h.cfg.Frozen.Hash()
	if e.Config != frozen && e.Config != h.config { // another change: its effect begins anew
		h.config, h.after, h.open[1] = e.Config, moments{}, Held{}
	}
	open, of := &h.open[0], &h.before
	if e.Config != frozen {
		open, of = &h.open[1], &h.after
	}
	open.Others.add(e.Others)
	open.Held.add(e.Held)
	if open.Held.Samples >= holdoutLeast && open.Others.Samples > 0 {
		of.add(open.Others.meanLog() - open.Held.meanLog())
		*open = Held{}
	}
	return true
}

// disturbed begins the comparison anew: who calls for what has changed, or who is there,
// and with it the difference that peers have by their places alone. It can be known again
// only while all run the frozen configuration; until then nothing is said.
func (h *holdout) disturbed() { h.before, h.after, h.open = moments{}, moments{}, [2]Held{} }

// HoldoutReport is the cumulative effect of all changes against those that kept the
// first configuration. Its JSON names are stable.
type HoldoutReport struct {
	Peers  int    `json:"peers"`  // held out; 0 if nobody is
	Frozen string `json:"frozen"` // hash of what they run
	Config string `json:"config"` // hash of what the others run
	Before int    `json:"before"` // blocks while all ran the same
	After  int    `json:"after"`  // blocks since
	// Ratio is latency of the others over the holdout's, over the same before: below 1 is
	// better. null with fewer than four blocks of a side. Its interval is Welch's, 95 %.
	Ratio *float64 `json:"ratio"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

func (h *holdout) report() HoldoutReport {
	r := HoldoutReport{Peers: len(h.cfg.Peers), Config: h.config, Before: h.before.N, After: h.after.N}
	if r.Peers == 0 {
		return r
	}
	r.Frozen = h.cfg.Frozen.Hash()
	if r.Before < holdoutBlocks || r.After < holdoutBlocks {
		return r
	}
	a, b := h.before.variance(), h.after.variance()
	effect, half := h.after.Mean-h.before.Mean, 0.0
	if a+b > 0 {
		degrees := (a + b) * (a + b) / (a*a/float64(h.before.N-1) + b*b/float64(h.after.N-1))
		half = math.Sqrt(a+b) * stat.StudentQuantile(0.975, max(int(degrees), 1))
	}
	ratio, low, high := math.Exp(effect), math.Exp(effect-half), math.Exp(effect+half)
	r.Ratio, r.Low, r.High = &ratio, &low, &high
	return r
}

// Text says it in words.
func (r HoldoutReport) Text() string {
	who, keep, kept := fmt.Sprintf("%d peers", r.Peers), "keep", "that keep"
	if r.Peers == 1 {
		who, keep, kept = "one peer", "keeps", "that keeps"
	}
	switch {
	case r.Peers == 0:
		return "no peer is held out"
	case r.Ratio == nil:
		return fmt.Sprintf("%s %s the first configuration %s; %d blocks before a change and %d since are not enough to compare (%d of each are the least)",
			who, keep, r.Frozen, r.Before, r.After, holdoutBlocks)
	}
	return fmt.Sprintf("against %s %s the first configuration %s, latency is %.3f of what it would be without all changes so far (95 %% interval %.3f to %.3f; %d blocks before, %d since)",
		who, kept, r.Frozen, *r.Ratio, *r.Low, *r.High, r.Before, r.After)
}

// holdoutData is the Data of an entry about the holdout.
type holdoutData struct {
	Network string        `json:"network"`
	Peers   []int         `json:"peers"`
	Frozen  string        `json:"frozen"` // text
	Before  moments       `json:"before"`
	After   moments       `json:"after"`
	Config  string        `json:"config"` // hash
	Report  HoldoutReport `json:"report"`
}

// note writes where the holdout stands.
func (s *Service) note(now time.Duration) {
	h := &s.holdout
	if len(h.cfg.Peers) == 0 {
		return
	}
	r := h.report()
	s.record(now, KindHoldout, r.Text(), holdoutData{
		Network: h.cfg.Network, Peers: h.cfg.Peers, Frozen: h.cfg.Frozen.String(), Before: h.before, After: h.after, Config: h.config, Report: r,
	})
}

// take goes on from an entry of an earlier run on the same network.
func (h *holdout) take(e Entry) {
	var d holdoutData
	if json.Unmarshal(e.Data, &d) != nil || d.Network != h.cfg.Network || d.Frozen != h.cfg.Frozen.String() {
		return
	}
	h.before, h.after, h.config = d.Before, d.After, d.Config
}

// FrozenOf returns who was held out on a network by a journal and what they ran, as
// text; false if nobody was.
func FrozenOf(entries []Entry, network string) (peers []int, frozen string, ok bool) {
	for _, e := range entries {
		var d holdoutData
		if e.Kind == KindHoldout && json.Unmarshal(e.Data, &d) == nil && d.Network == network && len(d.Peers) > 0 {
			peers, frozen, ok = d.Peers, d.Frozen, true
		}
	}
	return peers, frozen, ok
}

// LastHoldout returns what the journal says last of the holdout, and in words; false if
// it says nothing.
func LastHoldout(entries []Entry) (r HoldoutReport, text string, ok bool) {
	for _, e := range entries {
		var d holdoutData
		if e.Kind == KindHoldout && json.Unmarshal(e.Data, &d) == nil {
			r, text, ok = d.Report, e.Text, true
		}
	}
	return r, text, ok
}
