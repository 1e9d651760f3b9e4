package pilot

import (
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// Hold has some peers keep a configuration, whatever others are exposed to.
func (f *Fleet) Hold(peers []int, frozen knob.Config) {
	f.mu.Lock()
	for _, i := range peers {
		f.held[i] = true
	}
	f.frozen = frozen
	f.mu.Unlock()
	f.Expose(f.assigned())
}

// assigned returns what is exposed now.
func (f *Fleet) assigned() (tune.Assignment, knob.Config, knob.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.assignment, f.arms[tune.Baseline], f.arms[tune.Tuned]
}

// holds reports whether a peer is held out.
func (f *Fleet) holds(peer int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[peer]
}

// spreadOut draws n peers, one from each of n parts of the network by how far they are
// from the others, so that near and far are held out alike.
func (f *Fleet) spreadOut(n int, seed uint64) []int {
	order := f.byDistance()
	dice := stat.NewStream(seed, "pilot.holdout")
	var out []int
	for i := range n {
		from, to := i*len(order)/n, (i+1)*len(order)/n
		out = append(out, order[from+dice.IntN(to-from)])
	}
	slices.Sort(out)
	return out
}

// holdOut chooses who keeps the first configuration, or reads it from the journal of an
// earlier run on the same network.
func (s *service) holdOut(earlier []tune.Entry) (tune.HoldoutConfig, error) {
	r := s.run
	h := tune.HoldoutConfig{Network: fmt.Sprintf("%d peers on %s, seed %d", r.cfg.Peers, r.cfg.Matrix.Name, r.cfg.Seed)}
	peers, text, ok := tune.FrozenOf(earlier, h.Network)
	if h.Peers, h.Frozen = peers, r.cfg.Baseline; ok {
		var err error
		if h.Frozen, err = r.cfg.Baseline.Set().Parse(r.cfg.Baseline, text); err != nil {
			return h, fmt.Errorf("pilot: the configuration of the holdout in %s: %w", r.cfg.Dir, err)
		}
	} else {
		h.Peers = r.fleet.spreadOut(tune.HoldoutSize(r.cfg.Peers), r.cfg.Seed)
	}
	s.places = r.fleet.distances()
	if len(h.Peers) > 0 {
		r.fleet.Hold(h.Peers, h.Frozen)
		r.cfg.Say("%d of %d peers keep %s for good, to tell what all changes are worth: %v", len(h.Peers), r.cfg.Peers, h.Frozen.Hash(), h.Peers)
	}
	return h, nil
}

// heldInterval is what an interval showed in which the others ran one configuration.
type heldInterval struct {
	others, held []lookupSample
	runs         knob.Config
}

// compareHeld takes an interval for the holdout.
func (s *service) compareHeld(x heldInterval) {
	if s.machine == nil { // while the network is measured at first
		if x.runs.Equal(s.cfg.Baseline) {
			s.heldEarly = append(s.heldEarly, x)
		}
		return
	}
	s.machine.Tell(s.fleet.Now(), tune.Held{Others: s.gets(x.others), Held: s.gets(x.held), Config: x.runs.Hash()})
}

// gets sums up gets that needed the network, each as a multiple of its caller's mean
// round-trip time to the others: when others call than before, that is no effect.
func (s *service) gets(samples []lookupSample) (out tune.Summary) {
	for _, x := range samples {
		if x.op != kad.OpGet || x.local {
			continue
		}
		v := math.Log(max(x.elapsed.Seconds(), 1e-6) / max(s.places[x.caller], 1e-6))
		out.Samples++
		out.Attempts++
		out.SumLog += v
		out.SumLog2 += v * v
		if x.ok {
			out.Successes++
		}
	}
	return out
}
