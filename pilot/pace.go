package pilot

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/tune"
)

const (
	// interval is the length of one window of measurement.
	interval = time.Second
	// patience is how long a window waits for operations that began in it.
	patience = 2500 * time.Millisecond
)

// reading is what was measured in one interval.
type reading struct {
	start   time.Duration
	lagged  bool // an event loop was late while the interval's operations were under way
	samples []lookupSample
	open    []*lookupSample // that were still under way when the block was closed; not among samples
	held    []lookupSample  // of the peers that are held out; not among samples, nor is what is open of them
}

// block measures count intervals in a row from start. If the network ran one
// configuration alone, the clean ones are booked under it.
func (r *run) block(ctx context.Context, start time.Duration, count int, alone knob.Config) ([]reading, error) {
	if err := pause(ctx, start-r.fleet.Now()); err != nil {
		return nil, err
	}
	r.bookEnded()
	out := make([]reading, count)
	used := make([]usage, count)
	late := make([]bool, count+1) // by interval, the last for what was waited for after them
	r.fleet.Lag()                 // forget what was before
	for i := range out {
		out[i].start = start + time.Duration(i)*interval
		before := r.usage()
		if err := pause(ctx, out[i].start+interval-r.fleet.Now()); err != nil {
			return nil, err
		}
		used[i] = r.usage().since(before)
		late[i] = r.fleet.Lag() > LagLimit
	}
	end := start + time.Duration(count)*interval
	samples, open := r.load.collect(ctx, start, end, patience)
	late[count] = r.fleet.Lag() > LagLimit
	for _, s := range samples {
		i := int((s.began - start) / interval)
		if r.fleet.holds(s.caller) {
			out[i].held = append(out[i].held, s)
			continue
		}
		out[i].samples = append(out[i].samples, s)
	}
	for _, s := range open {
		if i := int((s.began - start) / interval); !r.fleet.holds(s.caller) {
			out[i].open = append(out[i].open, s)
		}
	}
	for i := range out {
		// What began in an interval may have been held up in the next.
		if out[i].lagged = late[i] || late[i+1]; out[i].lagged {
			r.result.Lagged++
		} else if alone.Set() != nil {
			m := r.meter(alone)
			m.add(out[i].samples)
			r.open = append(r.open, unfinished{m, out[i].open})
			m.spell(interval, used[i], r.fleet.MeanEntries(), succeeded(out[i].samples))
		}
		if out[i].lagged || alone.Set() == nil && !r.observing {
			continue
		}
		whole := alone
		if r.observing {
			whole = r.fleet.configured()
		}
		r.live.costed(whole, out[i].samples, used[i])
		if r.onHeld != nil {
			r.onHeld(heldInterval{out[i].samples, out[i].held, whole})
		}
		if r.notes == nil {
			continue
		}
		if err := r.notes.note(whole, out[i], used[i], r.fleet.MeanEntries()); err != nil {
			return nil, err
		}
	}
	return out, ctx.Err()
}

// unfinished are operations that were under way when their block was closed. A put
// may take as long as a block does: it is booked when it has ended.
type unfinished struct {
	meter   *meter
	samples []*lookupSample
}

// bookEnded books those operations that have ended since their block was closed.
func (r *run) bookEnded() {
	rest := r.open[:0]
	for _, u := range r.open {
		var ended []lookupSample
		ended, u.samples = r.load.ended(u.samples)
		u.meter.add(ended)
		if len(u.samples) > 0 {
			rest = append(rest, u)
		}
	}
	clear(r.open[len(rest):])
	r.open = rest
}

// finish waits for the operations that are under way, and books them.
func (r *run) finish(ctx context.Context) error {
	for r.bookEnded(); len(r.open) > 0; r.bookEnded() {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// usage is what the machine and the network have spent so far.
type usage struct {
	cpu   time.Duration
	bytes uint64
}

func (r *run) usage() usage { return usage{cpu: sim.CPUTime(), bytes: r.fleet.traffic().bytes} }

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, bytes: u.bytes - before.bytes}
}

func (r *run) meter(c knob.Config) *meter {
	m := r.meters[c.Hash()]
	if m == nil {
		m = &meter{}
		r.meters[c.Hash()] = m
	}
	return m
}

func succeeded(samples []lookupSample) (n int) {
	for _, s := range samples {
		if s.ok && !s.local {
			n++
		}
	}
	return n
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
	if r.washout = r.cfg.Washout; r.washout > 0 {
		return nil
	}
	return r.findWashout(ctx)
}

// settle runs a light workload until new sessions have become rare: until then
// the machine is busy with handshakes that no later measurement will meet.
func (r *run) settle(ctx context.Context) error {
	r.cfg.Say("letting sessions settle")
	limit := r.fleet.Now() + r.cfg.For/8
	r.load.pace(gentle)
	for calm := 0; calm < 3 && r.fleet.Now() < limit; {
		before := r.fleet.traffic()
		if err := pause(ctx, interval); err != nil {
			return err
		}
		after := r.fleet.traffic()
		dials := after.dials - before.dials
		if calm++; float64(dials) > 0.15*float64(r.cfg.Peers) {
			calm = 0
		}
		r.cfg.Progress("settling", "dials in the last second", int64(dials), 0)
	}
	return nil
}

// gentle is the pace while nothing is measured, in operations a second.
const gentle = 20

// findRate raises the pace as long as the event loops keep up and nothing fails.
// A pace has two attempts: something else may have kept the machine busy.
func (r *run) findRate(ctx context.Context) error {
	if r.rate = r.cfg.Rate; r.rate > 0 {
		r.load.pace(r.rate)
		return nil
	}
	paces := []float64{30, 40, 50, 60} // in operations a second
	r.rate = paces[0]
	for _, pace := range paces {
		r.cfg.Progress(fmt.Sprintf("trying %.0f operations a second", pace), "", 0, 0)
		r.load.pace(pace)
		keepsUp, err := r.keepsUp(ctx)
		if err == nil && !keepsUp {
			keepsUp, err = r.keepsUp(ctx)
		}
		if err != nil {
			return err
		}
		if !keepsUp {
			break
		}
		r.rate = pace
	}
	r.result.Lagged = 0 // those were for finding out
	r.load.pace(r.rate)
	r.cfg.Say("pace: %.0f operations a second, the highest of those tried at which event loops lag by less than %v", r.rate, LagLimit)
	return nil
}

// keepsUp reports whether at the present pace three of four intervals are free of
// lag and failures.
func (r *run) keepsUp(ctx context.Context) (bool, error) {
	const intervals = 4
	readings, err := r.block(ctx, r.fleet.Now(), intervals, knob.Config{})
	clean := 0
	for _, x := range readings {
		if !x.lagged && !slices.ContainsFunc(x.samples, func(s lookupSample) bool { return !s.ok }) {
			clean++
		}
	}
	return clean >= intervals-1, err
}

const (
	washoutBin  = 500 * time.Millisecond
	washoutBins = 10
	// settleSwitches is how often the configuration is switched to find the washout.
	settleSwitches = 4
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
		readings, err := r.block(ctx, start, int(washoutBin*washoutBins/interval), knob.Config{})
		if err != nil {
			return err
		}
		for _, x := range readings {
			s.samples = append(s.samples, x.samples...)
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
	if r.result.Decision == tune.Promoted && !candidate.Equal(r.cfg.Baseline) {
		configs = append(configs, candidate)
		last = candidate
	}
	defer func() { r.fleet.Configure(last) }()
	block := r.washout + blockIntervals*interval + time.Second // for what is still under way at its end
	rounds := int(min(max((r.left()-r.closingTime())/(block*time.Duration(len(configs))), 1), 4))
	r.cfg.Say("measuring %d configurations in turn for the final table", len(configs))
	total := rounds * len(configs)
	for i := range total {
		undone, err := r.undo(ctx)
		if err != nil {
			return err
		}
		if undone {
			configs, last = configs[:2], r.cfg.Baseline
		}
		c := configs[(i+i/len(configs))%len(configs)] // another order in each round
		r.fleet.Configure(c)
		if _, err := r.block(ctx, r.fleet.Now()+r.washout, blockIntervals, c); err != nil {
			return err
		}
		r.cfg.Progress("final table", "blocks", int64(i+1), int64(total))
	}
	return r.finish(ctx)
}

// blockIntervals is the length of a block of the final table.
const blockIntervals = 3
