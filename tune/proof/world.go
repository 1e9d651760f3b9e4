package proof

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// World is a network as a rollout sees it: windows with a known truth.
type World struct {
	Noise   Noise
	Lookups int // in an interval, of both arms
	Peers   int
	// Effect is the true logarithm of the ratio of latencies, tuned over baseline, by the
	// index of the stage.
	Effect func(stage int) float64
	// PeerSpread is the standard deviation of what the logarithms of one peer's lookups
	// share, where peers are the units.
	PeerSpread float64
	// Failures are the shares of lookups that fail in each arm.
	Failures [2]float64
	// Use is what the arms use, with Jitter as its standard deviation; zero is not told.
	Use    [2]tune.Use
	Jitter float64
	// Silent, if not nil, says in which intervals there is no traffic.
	Silent func(at time.Duration) bool
	Seed   uint64
}

// errEndless says that a rollout did not end in a year.
var errEndless = errors.New("proof: the rollout does not end within a year")

// Run is one rollout in a world, as it was.
type Run struct {
	Report  tune.Report
	Ended   time.Duration
	Tuned   int // samples of the tuned arm in all
	Samples int // of both arms
	// Since is how many windows with tuned samples were told since Effect was first not
	// what it was in the first stage.
	Since   int
	Entries []tune.Entry
}

// drive runs a rollout to its end. Every Tell is passed to told, if that is not nil,
// before the machine gets it, and a nil event before every Ask.
func (w *World) drive(r *tune.Rollout, told func(at time.Duration, e tune.Event)) (*Run, error) {
	d := driver{world: w, rollout: r, told: told, run: &Run{}, dice: stat.NewStream(w.Seed, "proof.world")}
	d.weather = w.Noise.begin(stat.NewStream(w.Seed, "proof.weather"))
	for d.now < 365*24*time.Hour {
		if told != nil {
			told(d.now, nil)
		}
		c, ok := r.Ask(d.now)
		if !ok {
			at, some := r.Wake()
			if !some {
				return nil, errors.New("proof: the rollout waits for nothing")
			}
			d.now = max(d.now, at)
			continue
		}
		if d.do(c) {
			d.run.Report, d.run.Ended = r.Report(), d.now
			return d.run, nil
		}
	}
	return nil, errEndless
}

// driver is a world at work.
type driver struct {
	world   *World
	rollout *tune.Rollout
	told    func(time.Duration, tune.Event)
	run     *Run
	dice    *stat.Stream
	weather weather
	now     time.Duration
	exposed tune.Expose
	peers   []float64 // what each peer's lookups share
	arms    []tune.Arm
}

func (d *driver) tell(e tune.Event) {
	if d.told != nil {
		d.told(d.now, e)
	}
	d.rollout.Tell(d.now, e)
}

// do carries out one command and reports whether it was the last.
func (d *driver) do(c tune.Command) bool {
	switch c := c.(type) {
	case tune.Record:
		d.run.Entries = append(d.run.Entries, c.Entry)
	case tune.Expose:
		d.expose(c)
		d.tell(tune.Applied{Block: c.Block, Hash: c.Hash})
	case tune.Measure:
		for i := range c.Count {
			from := c.Start + time.Duration(i)*c.Interval
			d.now = from + c.Interval
			d.tell(d.window(from, c.Interval))
		}
	case tune.Promote:
		d.tell(tune.Applied{Hash: c.Hash})
	case tune.RollBack:
		d.tell(tune.Applied{Hash: c.Hash})
	case tune.Done:
		return true
	}
	return false
}

func (d *driver) expose(c tune.Expose) {
	d.exposed = c
	if c.Assignment.Scope != knob.Node {
		return
	}
	if d.peers == nil {
		d.peers, d.arms = make([]float64, d.world.Peers), make([]tune.Arm, d.world.Peers)
		for i := range d.peers {
			d.peers[i] = d.world.PeerSpread * d.dice.NormFloat64()
		}
	}
	for i := range d.arms {
		d.arms[i] = c.Assignment.ArmOfPeer(i, len(d.arms))
	}
}

// shares returns how many lookups of an interval each arm has, and by how much the
// units of each differ from the mean of all.
func (d *driver) shares() (n [2]int, level [2]float64) {
	a, all := d.exposed.Assignment, d.world.Lookups
	switch a.Scope {
	case knob.Network:
		n[a.Arm(0)] = all
	case knob.Node:
		var peers [2]int
		for i, arm := range d.arms {
			peers[arm]++
			level[arm] += d.peers[i]
		}
		for arm := range n {
			level[arm] /= float64(max(peers[arm], 1))
			n[arm] = all * peers[arm] / len(d.arms)
		}
	default:
		// A binomial number, by its normal approximation where it is large.
		tuned := float64(all)*a.Share + math.Sqrt(float64(all)*a.Share*(1-a.Share))*d.dice.NormFloat64()
		n[tune.Tuned] = min(max(int(math.Round(tuned)), 0), all)
		n[tune.Baseline] = all - n[tune.Tuned]
	}
	return n, level
}

// window is what an interval shows.
func (d *driver) window(from, length time.Duration) tune.Window {
	w := tune.Window{Start: from, End: from + length}
	mean, sigma := d.weather.next()
	if d.world.Silent != nil && d.world.Silent(from) {
		return w
	}
	n, level := d.shares()
	effect := d.world.Effect(d.exposed.Stage)
	for arm := range w.Arms {
		at := mean + level[arm]
		if arm == int(tune.Tuned) {
			at += effect
		}
		s := summary(d.dice, n[arm], at, sigma)
		s.SumPre = float64(n[arm]) * level[arm]
		s.Slow = d.slow(n[arm], at-mean, sigma)
		for range n[arm] {
			if p := d.world.Failures[arm]; p > 0 && d.dice.Float64() < p {
				s.Successes--
			}
		}
		w.Arms[arm] = s
		w.Use[arm] = d.use(arm)
	}
	d.run.Tuned += n[tune.Tuned]
	d.run.Samples += n[tune.Tuned] + n[tune.Baseline]
	if effect != d.world.Effect(0) && n[tune.Tuned] > 0 {
		d.run.Since++
	}
	return w
}

// slow draws how many of n lookups are above the P90 of the baseline.
func (d *driver) slow(n int, above, sigma float64) int {
	p := stat.Normal(above/sigma - stat.NormalQuantile(0.9))
	const exact = 200 // below that the normal approximation is skewed where it is cut at 0
	if n <= exact {
		hits := 0
		for range n {
			if d.dice.Float64() < p {
				hits++
			}
		}
		return hits
	}
	x := float64(n)*p + math.Sqrt(float64(n)*p*(1-p))*d.dice.NormFloat64()
	return min(max(int(math.Round(x)), 0), n)
}

func (d *driver) use(arm int) tune.Use {
	u := d.world.Use[arm]
	jitter := func(x float64) float64 {
		if x == 0 {
			return 0
		}
		return max(x+d.world.Jitter*d.dice.NormFloat64(), 1e-6)
	}
	return tune.Use{Memory: jitter(u.Memory), CPU: jitter(u.CPU), Cost: jitter(u.Cost)}
}

// trialKnobs are a knob of each scope.
func trialKnobs() *knob.Set {
	declare := func(name string, scope knob.Scope) knob.Knob {
		return knob.Knob{Name: name, Kind: knob.Int, Min: 1, Max: 64, Default: "10", Scope: scope, Doc: "of a trial", Source: "none"}
	}
	set, err := knob.NewSet([]knob.Knob{
		declare("trial.request", knob.Request), declare("trial.node", knob.Node), declare("trial.network", knob.Network),
	})
	if err != nil {
		panic(fmt.Sprintf("proof: the knobs of a trial: %v", err))
	}
	return set
}

// trialOptions are a rollout of a change of a scope.
func trialOptions(preset tune.Preset, scope knob.Scope, peers int, seed uint64) tune.Options {
	base := trialKnobs().Default()
	candidate, err := base.With("trial."+scope.String(), "3")
	if err != nil {
		panic(fmt.Sprintf("proof: the candidate of a trial: %v", err))
	}
	opts := tune.Options{Baseline: base, Candidate: candidate, Preset: preset, Peers: peers, Seed: seed}
	if preset.Name == tune.Bench().Name {
		opts.Limits = tune.Limits{Budget: 5 * time.Minute, Washout: time.Second}
	} else if scope != knob.Request {
		opts.Limits.Washout = 2 * preset.Interval // of a cold start
	}
	return opts
}
