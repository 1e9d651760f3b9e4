package pilot

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/tune"
)

const (
	// interval is the length of one window of measurement.
	interval = time.Second
	// patience is how long a window waits for operations that began in it.
	patience = 2500 * time.Millisecond
)

// window measures one interval that begins now or later, and books the whole of
// it under a configuration if the network ran one alone.
func (r *run) window(ctx context.Context, start, length time.Duration, alone knob.Config) (samples []lookupSample, lagged bool, err error) {
	if err := pause(ctx, start-r.fleet.Now()); err != nil {
		return nil, false, err
	}
	r.fleet.Lag() // forget what was before
	before, cpu := r.fleet.traffic(), cpuTime()
	if err := pause(ctx, start+length-r.fleet.Now()); err != nil {
		return nil, false, err
	}
	lagged = r.fleet.Lag() > LagLimit
	after, used := r.fleet.traffic(), cpuTime()-cpu
	samples = r.load.collect(ctx, start, start+length, patience)
	// What began in the interval may have been held up after it.
	lagged = r.fleet.Lag() > LagLimit || lagged
	if lagged {
		r.result.Lagged++
	}
	if !lagged && alone.Set() != nil {
		m := r.meter(alone)
		m.add(samples)
		m.spell(length, used.Seconds(), traffic{
			bytes: after.bytes - before.bytes, messages: after.messages - before.messages,
		}, r.fleet.MeanEntries(), succeeded(samples))
	}
	return samples, lagged, ctx.Err()
}

func succeeded(samples []lookupSample) (n int) {
	for _, s := range samples {
		if s.ok && !s.local {
			n++
		}
	}
	return n
}

func (r *run) meter(c knob.Config) *meter {
	m := r.meters[c.Hash()]
	if m == nil {
		m = &meter{}
		r.meters[c.Hash()] = m
	}
	return m
}

// measure lets the network settle, finds the pace that the machine can keep, and
// how long a change of configuration takes to settle.
func (r *run) measure(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.findRate(ctx); err != nil {
		return err
	}
	return r.findWashout(ctx)
}

// settle runs a light workload until new sessions have become rare: until then
// the machine is busy with handshakes that no later measurement will meet.
func (r *run) settle(ctx context.Context) error {
	r.cfg.Say("letting sessions settle")
	limit := r.fleet.Now() + r.cfg.For/5
	r.load.pace(gentle)
	for calm := 0; calm < 3 && r.fleet.Now() < limit; {
		before := r.fleet.traffic()
		if err := pause(ctx, interval); err != nil {
			return err
		}
		after := r.fleet.traffic()
		dials := after.dials - before.dials
		if calm++; float64(dials) > 0.1*float64(r.cfg.Peers) {
			calm = 0
		}
		r.cfg.Progress("settling", "dials in the last second", int64(dials), 0)
	}
	return nil
}

// gentle is the pace while nothing is measured, in operations a second.
const gentle = 20

// findRate raises the pace as long as the event loops keep up, and nothing fails,
// in three of four windows.
func (r *run) findRate(ctx context.Context) error {
	if r.rate = r.cfg.Rate; r.rate > 0 {
		r.load.pace(r.rate)
		return nil
	}
	const windows = 4
	r.rate = gentle
	for _, rate := range []float64{gentle, 30, 40, 60} {
		r.load.pace(rate)
		clean := 0
		for i := range windows {
			samples, lagged, err := r.window(ctx, r.fleet.Now(), interval, knob.Config{})
			if err != nil {
				return err
			}
			failed := slices.ContainsFunc(samples, func(s lookupSample) bool { return !s.ok })
			if !lagged && !failed {
				clean++
			}
			r.cfg.Progress(fmt.Sprintf("trying %.0f operations a second", rate), "windows", int64(i+1), windows)
		}
		if clean < windows-1 {
			break
		}
		r.rate = rate
	}
	r.result.Lagged = 0 // those were for finding out
	r.load.pace(r.rate)
	r.cfg.Say("pace: %.0f operations a second, the highest of those tried at which event loops lag by less than %v", r.rate, LagLimit)
	return nil
}

const (
	washoutBin  = 500 * time.Millisecond
	washoutBins = 10
	// settleSwitches is how often the configuration is switched to find the washout.
	settleSwitches = 6
)

// findWashout switches between baseline and reference and looks how long after a
// switch the latency still differs from where it ends up. The washout is where
// all later half seconds agree with the last two seconds within three standard
// errors, since a dozen are looked at; at least half a second, at most three. What comes after it is the first
// measurement of both.
func (r *run) findWashout(ctx context.Context) error {
	r.cfg.Say("measuring baseline and default in turn, and how long a switch takes to settle")
	configs := [2]knob.Config{r.cfg.Baseline, r.cfg.Reference}
	var logs [2][washoutBins][]float64
	var spells [settleSwitches]spell
	for i := range spells {
		r.fleet.Configure(configs[i%2])
		start := r.fleet.Now()
		s := &spells[i]
		var err error
		if s.samples, _, err = r.window(ctx, start, washoutBin*washoutBins, knob.Config{}); err != nil {
			return err
		}
		for _, x := range s.samples {
			if bin := int((x.began - start) / washoutBin); bin < washoutBins && x.op == kad.OpGet && !x.local {
				logs[i%2][bin] = append(logs[i%2][bin], math.Log(max(x.elapsed.Seconds(), 1e-6)))
			}
		}
		s.start = start
		r.cfg.Progress("settling time", "switches", int64(i+1), settleSwitches)
	}
	r.washout = max(settledAfter(logs[0]), settledAfter(logs[1]))
	for i, s := range spells {
		r.meter(configs[i%2]).add(slices.DeleteFunc(s.samples, func(x lookupSample) bool { return x.began < s.start+r.washout }))
	}
	r.cfg.Say("a switch settles within %v: so much is dropped after each", r.washout)
	return nil
}

// spell is the time between two switches.
type spell struct {
	start   time.Duration
	samples []lookupSample
}

// settledAfter is the washout of one direction.
func settledAfter(bins [washoutBins][]float64) time.Duration {
	const least, most, tail = 1, 6, 4
	var end []float64
	for _, bin := range bins[washoutBins-tail:] {
		end = append(end, bin...)
	}
	level, deviation := meanDeviation(end)
	for b := most - 1; b >= least; b-- {
		mean, _ := meanDeviation(bins[b])
		n, m := float64(len(bins[b])), float64(len(end))
		if n > 0 && m > 0 && math.Abs(mean-level) > 3*deviation*math.Sqrt(1/n+1/m) {
			return time.Duration(b+1) * washoutBin
		}
	}
	return least * washoutBin
}

// compare measures baseline, reference and, if it was promoted, the candidate in
// turn, whole network at a time, for the final table.
func (r *run) compare(ctx context.Context, candidate knob.Config) error {
	configs := []knob.Config{r.cfg.Baseline, r.cfg.Reference}
	last := r.cfg.Baseline
	if r.result.Decision == tune.Promoted {
		configs = append(configs, candidate)
		last = candidate
	}
	defer r.fleet.Configure(last)
	block := r.washout + blockIntervals*interval
	rounds := int(min(max(r.left()/(block*time.Duration(len(configs))), 1), 4))
	r.cfg.Say("measuring %d configurations in turn for the final table", len(configs))
	total := int64(rounds * len(configs))
	for i := range total {
		c := configs[(int(i)+int(i)/len(configs))%len(configs)] // another order in each round
		r.fleet.Configure(c)
		start := r.fleet.Now() + r.washout
		for k := range blockIntervals {
			if _, _, err := r.window(ctx, start+time.Duration(k)*interval, interval, c); err != nil {
				return err
			}
		}
		r.cfg.Progress("final table", "blocks", i+1, total)
	}
	return nil
}

// blockIntervals is the length of a block of the final table.
const blockIntervals = 3
