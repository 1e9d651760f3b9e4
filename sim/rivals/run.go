package rivals

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/stat"
)

// jitter is the mean of an exponential share that is added to every way, as of
// sim.DefaultEvents.
const jitter = 0.02

// retryAfter is the pause before a caller tries again whose lookup has failed.
const retryAfter = 500 * time.Millisecond

// Point is what one choice of a system's knobs costs and buys.
type Point struct {
	System string             `json:"system"`
	Knobs  map[string]float64 `json:"knobs"`
	// Latency is that of lookups until the target has answered, in milliseconds,
	// failures at the time-out; LatencySE the standard error of its mean.
	Latency   sim.Quantiles `json:"latency_ms"`
	LatencySE float64       `json:"latency_se_ms"`
	Success   float64       `json:"success_ratio"`
	Hops      float64       `json:"hops_mean"` // of those that succeeded, the target included
	// Maintenance is what a peer sends each second for nobody's lookup, Total with
	// the lookups, in bytes.
	Maintenance float64 `json:"maintenance_bytes_per_node_s"`
	Total       float64 `json:"total_bytes_per_node_s"`
	Lookups     int     `json:"lookups"`
	Digest      string  `json:"digest"`

	took []float64 // of each lookup that counts, in ms: the same ones for all points
}

// run is one network of one design.
type run struct {
	*workload
	kit   kit
	world *sim.World
	peers []int // by slot
	took  []float64
	hops  int
	found int
}

// play runs the workload against one design.
func (w *workload) play(ctx context.Context, k kit, tell func(passed time.Duration)) (Point, error) {
	world, err := sim.NewWorld(sim.WorldConfig{
		RTT: w.places.RTT, Jitter: jitter, Datagrams: true, Protocols: []sim.Protocol{k.protocol()}, Seed: w.cfg.Seed,
	})
	if err != nil {
		return Point{}, err
	}
	r := &run{workload: w, kit: k, world: world, peers: make([]int, len(w.slots))}
	world.Run(dawn)
	if err := r.populate(); err != nil {
		return Point{}, err
	}
	for i := range w.operations {
		r.begin(&w.operations[i])
	}
	if err := r.until(ctx, w.begins, tell); err != nil {
		return Point{}, err
	}
	foreground, background := world.Traffic()
	if err := r.until(ctx, w.ends, tell); err != nil {
		return Point{}, err
	}
	lookups, upkeep := world.Traffic()
	if err := r.until(ctx, w.ends+w.cfg.Timeout, tell); err != nil {
		return Point{}, err
	}
	p := r.point()
	peerSeconds := float64(w.cfg.Peers) * w.cfg.Duration.Seconds()
	p.Maintenance = float64(upkeep-background) / peerSeconds
	p.Total = p.Maintenance + float64(lookups-foreground)/peerSeconds
	return p, nil
}

// until lets time pass.
func (r *run) until(ctx context.Context, end time.Duration, tell func(passed time.Duration)) error {
	const beat = 10 * time.Second
	for now := r.world.Now(); now < end; {
		if ctx.Err() != nil {
			return fmt.Errorf("rivals: stopped: %w", ctx.Err())
		}
		next := min(now+beat, end)
		r.world.Run(next)
		tell(next - now)
		now = next
	}
	return nil
}

// populate makes the first peers, and plans who leaves and who comes.
func (r *run) populate() error {
	for slot := range r.slots {
		n, err := r.kit.node(r.slots[slot][0].id, r.nodeSeed(slot, 0))
		if err == nil {
			r.peers[slot], err = r.kit.found(r.world, n, slot, r.know(slot))
		}
		if err != nil {
			return err
		}
		for generation := 1; generation < len(r.slots[slot]); generation++ {
			r.world.At(r.slots[slot][generation].From, func() { r.replace(slot, generation) })
		}
	}
	return nil
}

func (r *run) nodeSeed(slot, generation int) uint64 {
	return stat.Hash(r.cfg.Seed, uint64(slot), uint64(generation))
}

// replace lets a peer leave without a word, and another one join in its slot.
func (r *run) replace(slot, generation int) {
	g := &r.slots[slot][generation]
	r.world.Kill(r.peers[slot])
	n, err := r.kit.node(g.id, r.nodeSeed(slot, generation))
	if err == nil {
		r.peers[slot], err = r.world.Add(n, slot)
	}
	if err != nil { // the first peers were made of the same
		panic("rivals: a peer that joins cannot be made: " + err.Error())
	}
	r.kit.join(r.world, r.peers[slot], g.id, g.through)
}

// begin plans an operation: it is tried again and again until the target has
// answered or its time is over.
func (r *run) begin(o *operation) {
	index := -1
	if o.counts {
		index = len(r.took)
		r.took = append(r.took, r.cfg.Timeout.Seconds()*1000)
	}
	r.world.At(o.at, func() {
		peer := r.peers[o.slot]
		var try func()
		try = func() {
			if r.world.Node(peer) == nil || r.world.Now() >= o.at+r.cfg.Timeout {
				return
			}
			r.kit.find(r.world, peer, o.target, func(f Found) {
				switch took := r.world.Now() - o.at; {
				case !f.OK:
					r.world.At(r.world.Now()+retryAfter, try)
				case index >= 0 && took < r.cfg.Timeout:
					r.took[index] = took.Seconds() * 1000
					r.hops += f.Hops
					r.found++
				}
			})
		}
		try()
	})
}

// point sums up what was measured.
func (r *run) point() Point {
	p := Point{took: r.took, Lookups: len(r.took), Digest: r.world.Digest()}
	if len(r.took) == 0 {
		return p
	}
	p.Latency = sim.QuantilesOf(append([]float64(nil), r.took...))
	_, p.LatencySE = meanOf(r.took)
	p.Success = float64(r.found) / float64(len(r.took))
	p.Hops = float64(r.hops) / math.Max(float64(r.found), 1)
	return p
}

// meanOf returns a mean and its standard error.
func meanOf(v []float64) (mean, se float64) {
	n := float64(len(v))
	for _, x := range v {
		mean += x / n
	}
	for _, x := range v {
		se += float64((x - mean) * (x - mean))
	}
	return mean, math.Sqrt(se / n / math.Max(n-1, 1))
}
