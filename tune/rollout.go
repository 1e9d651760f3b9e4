// Package tune takes a candidate configuration from trial to fleet: it exposes
// it to a growing share of a network, compares it with the baseline that runs
// beside it, and promotes it or rolls it back.
//
// A [Rollout] is a machine. The driver must
//
//  1. call Ask until it returns false and do each command in order: write a
//     Record to disk before the next command is done, put an Expose into effect
//     on every peer, tell a Window for each interval of a Measure, make the
//     configuration of a Promote or RollBack that of all;
//  2. tell Applied when an Expose, Promote or RollBack is in effect;
//  3. wait until something happens or Wake, whichever is earlier, tell it, and
//     begin again; stop at Done.
//
// Who is in which arm follows the scope of what changes (see [Assignment]). Time
// is cut into blocks: a washout that does not count, then a few intervals. The
// unit of the statistics is a cycle: one block if both arms can run in it, else as
// many blocks as it takes that one of them, at a random place, has the whole
// network run the candidate. A cycle gives one number, the difference of the mean
// logarithms of latency, so that lookups that share a fate count once. The tests
// on it are valid however often they are looked at (package stat): so every
// decision is taken as soon as the data allow it, and missing data never pass.
package tune

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// Decision is how a rollout ends.
type Decision string

// The decisions. The empty one is none yet.
const (
	Promoted      Decision = "promoted"
	RolledBack    Decision = "rolled_back"
	NotEnoughData Decision = "not_enough_data" // neither proven better nor worse: the baseline stays
	Stopped       Decision = "interrupted"     // by an order: the baseline stays
)

type phase uint8

const (
	fresh     phase = iota // nothing was asked yet
	exposing               // until the arms are applied
	measuring              // a block
	gated                  // before the first stage, until it is approved
	paused                 // until an order
	settling               // until the decision is applied
	finished
)

const (
	// defaultAcknowledge is generous for a command to peers over a wide area.
	defaultAcknowledge = 10 * time.Second
	defaultPause       = 24 * time.Hour
)

// Rollout is one attempt to replace a baseline by a candidate. It has one owner.
// The same Tells at the same times give the same Asks: its randomness is a
// stream of the seed.
type Rollout struct {
	opts   Options
	scope  knob.Scope
	dice   *stat.Stream
	queue  []Command // bounded: a step adds four at most
	phase  phase
	start  time.Duration
	until  time.Duration // deadline of the phase
	acked  bool
	orders []Ordered // not yet obeyed; bounded by maxOrders
	nodata string    // the world's reason

	gate  string        // what approval is waited for while the stage goes on; empty for none
	held  time.Duration // since when the rollout is paused
	from  phase         // what was paused
	proof string        // why the promotion was decided that was paused; empty for none

	unit     [2]Summary     // of the cycles that are not yet a unit
	shift    stat.MeanTest  // their covariates
	whole    stat.MeanTest  // of the ratio: all units of all stages
	pooled   stat.MeanTest  // of the ratio: all cycles that count for the proof
	adjusted stat.Covariate // of the ratio
	soft     soft

	stages  []progress
	stage   int // index of the one under way; len(stages) after the last
	cycle   cycle
	blocks  int           // exposed so far
	exposed time.Duration // when the block under way was
	closed  int           // blocks measured to their end, in a total of spent
	spent   time.Duration
	empty   int // cycles without samples in a row
	repeats int
	ignored int

	decision  Decision
	why       string
	confirmed bool
}

// progress is what is known of one stage.
type progress struct {
	Stage
	cycles  int           // begun
	began   time.Duration // without the pauses since
	ratio   stat.MeanTest
	slow    stat.MeanTest // of the share of slow samples, tuned less baseline
	success stat.ProportionTest
	arms    [2]Summary
	verdict string
	why     string
}

// cycle is the unit under way.
type cycle struct {
	blocks  int // in all
	block   int // under way, from 0
	odd     int // the block that differs from the others; scope Network
	rest    Arm // in which the others are
	from    time.Duration
	windows int // told in this block
	last    time.Duration
	arms    [2]Summary
	shift   float64 // of the unit that it completes: its covariate
	clean   [2]int  // windows that count, for each arm
	lagged  int
}

// treated reports whether the whole network runs the candidate in a block.
func (c *cycle) treated(block int) bool { return (block == c.odd) == (c.rest == Baseline) }

// New returns a rollout. It checks all options and reports every fault.
func New(opts Options) (*Rollout, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.Metric == "" {
		opts.Metric = "lookup latency"
	}
	if opts.Limits.Acknowledge == 0 {
		opts.Limits.Acknowledge = defaultAcknowledge
	}
	if opts.Limits.Pause == 0 {
		opts.Limits.Pause = defaultPause
	}
	opts.Preset.Stages = slices.Clone(opts.Preset.Stages)
	r := &Rollout{
		opts:   opts,
		scope:  opts.scope(),
		dice:   stat.NewStream(opts.Seed, "tune.rollout"),
		stages: make([]progress, len(opts.Preset.Stages)),
		stage:  -1,
	}
	for i, s := range opts.Preset.Stages {
		r.stages[i].Stage = s
	}
	return r, nil
}

// Configs returns what is compared.
func (r *Rollout) Configs() (baseline, candidate knob.Config) {
	return r.opts.Baseline, r.opts.Candidate
}

// Digest returns a hash of all that the rollout knows: two that were told the same
// have the same.
func (r *Rollout) Digest() string {
	view := *r
	view.opts, view.dice = Options{}, nil
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %+v %+v", r.opts.Baseline.Hash(), r.opts.Candidate.Hash(), *r.dice, view))
	return hex.EncodeToString(sum[:16])
}

// Ask returns the next thing to do; false if there is nothing to do now. The
// first call begins the rollout and its budget.
func (r *Rollout) Ask(now time.Duration) (Command, bool) {
	for len(r.orders) > 0 {
		order := r.orders[0]
		r.orders = r.orders[1:]
		if !r.obey(now, order) {
			r.ignored++
		}
	}
	for len(r.queue) == 0 {
		if !r.step(now) {
			return nil, false
		}
	}
	c := r.queue[0]
	r.queue = r.queue[1:]
	return c, true
}

// Wake returns when to ask again even if nothing happens; false if never.
func (r *Rollout) Wake() (at time.Duration, ok bool) {
	return r.until, r.phase != fresh && r.phase != finished
}

// Tell takes in what happened. What does not fit the state is ignored and
// counted in the report.
func (r *Rollout) Tell(now time.Duration, e Event) {
	ok := false
	switch e := e.(type) {
	case Window:
		ok = r.tellWindow(e)
	case Applied:
		ok = r.tellApplied(now, e)
	case NoData:
		r.nodata, ok = e.Why, true
	case Order:
		ok = r.tellOrder(Ordered{Order: e})
	case Ordered:
		ok = r.tellOrder(e)
	}
	if !ok {
		r.ignored++
	}
}

func (r *Rollout) tellOrder(o Ordered) bool {
	if !slices.Contains(orders, o.Order) || len(r.orders) >= maxOrders {
		return false
	}
	r.orders = append(r.orders, o)
	return true
}

func (r *Rollout) tellApplied(now time.Duration, e Applied) bool {
	want := Applied{}
	switch {
	case r.phase == exposing || r.phase == paused:
		want = Applied{Block: r.blocks, Hash: r.opts.Candidate.Hash()}
	case r.phase == settling && r.decision == Promoted:
		want.Hash = r.opts.Candidate.Hash()
	case r.phase == settling:
		want.Hash = r.opts.Baseline.Hash()
	}
	if e != want || r.acked {
		return false
	}
	r.acked, r.cycle.from = true, now+r.opts.Limits.Washout
	return true
}

func (r *Rollout) tellWindow(w Window) bool {
	c := &r.cycle
	if r.phase != measuring || c.windows == r.opts.Preset.BlockIntervals ||
		w.Start < c.from || w.Start < c.last || w.End <= w.Start ||
		!w.Arms[Baseline].valid() || !w.Arms[Tuned].valid() || !w.Use[Baseline].valid() || !w.Use[Tuned].valid() {
		return false
	}
	c.windows, c.last = c.windows+1, w.End
	if w.Lagged {
		c.lagged++
		return true
	}
	for arm, s := range w.Arms {
		if r.scope == knob.Network && (arm == int(Tuned)) != c.treated(c.block) {
			continue
		}
		c.clean[arm]++
		c.arms[arm].add(s)
		r.soft.add(r.opts.Preset.Soft, Arm(arm), w.Use[arm])
	}
	return true
}

// step makes the progress that is due, and reports whether there was any.
func (r *Rollout) step(now time.Duration) bool {
	late := now >= r.until
	switch {
	case r.phase == fresh:
		r.begin(now)
		r.firstStage(now)
	case r.soft.breach != "" && (r.phase == measuring || r.phase == exposing):
		r.decide(now, RolledBack, r.soft.breach)
	case r.phase == exposing && r.acked:
		r.measure()
	case r.phase == exposing && late:
		r.nodata = "the peers did not acknowledge the arms within " + r.opts.Limits.Acknowledge.String()
		r.closeCycle(now)
	case r.phase == measuring && (late || r.cycle.windows == r.opts.Preset.BlockIntervals):
		r.closeBlock(now)
	case r.phase == settling && (late || r.acked):
		r.end(now)
	case r.phase == paused && late:
		r.decide(now, RolledBack, fmt.Sprintf("the pause of %v ended without an order", r.opts.Limits.Pause))
	case r.phase == gated && late:
		r.decide(now, RolledBack, fmt.Sprintf("nobody approved the first stage within %v", r.opts.Limits.Pause))
	default:
		return false
	}
	return true
}

// nextStage begins the next stage that can run. The last one must.
func (r *Rollout) nextStage(now time.Duration) {
	for r.stage++; r.stage < len(r.stages); r.stage++ {
		s := r.current()
		s.began = now
		r.unit, r.shift = [2]Summary{}, stat.MeanTest{}
		s.why = r.unfit(now)
		if s.why == "" {
			r.recordStage(now)
			r.nextCycle(now)
			return
		}
		s.verdict = "skipped"
		r.recordSkip(now)
	}
	r.stage--
	r.decide(now, NotEnoughData, "the last stage cannot run: "+r.current().why)
}

func (r *Rollout) current() *progress { return &r.stages[r.stage] }

func (r *Rollout) last() bool { return r.stage == len(r.stages)-1 }

// nextCycle begins a unit if the budget has room for it.
func (r *Rollout) nextCycle(now time.Duration) {
	s := r.current()
	if left, limited := r.left(now); limited && left < r.cycleTime(s.Share) && r.gate == "" {
		if !r.last() {
			s.verdict, s.why = "cut short", "what is left of the budget is kept for the last stage"
			r.recordVerdict(now)
			r.nextStage(now)
			return
		}
		r.unproven(now, "the time budget of "+r.opts.Limits.Budget.String()+" is used up")
		return
	}
	s.cycles++
	r.cycle = cycle{blocks: r.cycleBlocks(s.Share), rest: armIf(s.Share > 0.5)}
	r.cycle.odd = r.dice.IntN(r.cycle.blocks)
	r.expose(now)
}

// expose begins a block. Its units are shuffled anew.
func (r *Rollout) expose(now time.Duration) {
	r.blocks++
	r.exposed = now
	c := &r.cycle
	c.windows = 0
	r.ask(now, exposing, Expose{
		Assignment: Assignment{
			Scope:   r.scope,
			Salt:    r.dice.Uint64(),
			Share:   r.current().Share,
			Treated: r.scope == knob.Network && c.treated(c.block),
		},
		Stage: r.stage,
		Cycle: r.current().cycles - 1,
		Block: r.blocks,
		Hash:  r.opts.Candidate.Hash(),
	})
}

// ask enters a phase with a command that must be acknowledged.
func (r *Rollout) ask(now time.Duration, p phase, c Command) {
	r.phase, r.acked, r.until = p, false, now+r.opts.Limits.Acknowledge
	r.queue = append(r.queue, c)
}

// measure begins the measurement of an applied block. It is closed when all
// windows were told, or one block's time after the last of them is due.
func (r *Rollout) measure() {
	p := &r.opts.Preset
	length := time.Duration(p.BlockIntervals) * p.Interval
	r.phase, r.until = measuring, r.cycle.from+2*length
	r.queue = append(r.queue, Measure{Start: r.cycle.from, Interval: p.Interval, Count: p.BlockIntervals})
}

func (r *Rollout) closeBlock(now time.Duration) {
	r.closed, r.spent = r.closed+1, r.spent+now-r.exposed
	if r.cycle.block++; r.cycle.block < r.cycle.blocks {
		r.expose(now)
		return
	}
	r.closeCycle(now)
}

// closeCycle counts the unit, or repeats it.
func (r *Rollout) closeCycle(now time.Duration) {
	c, p := &r.cycle, &r.opts.Preset
	clean := c.clean[Baseline] > 0 && c.clean[Tuned] > 0
	switch {
	case !clean && c.lagged > 0:
		r.recordCycle(now, "repeated: the machine lagged in every interval of an arm")
		if r.repeats++; r.repeats > p.Repeats {
			r.decide(now, NotEnoughData, r.laggedWhy())
			return
		}
	case c.arms[Baseline].Samples == 0 || c.arms[Tuned].Samples == 0:
		r.recordCycle(now, "no data: an arm without samples")
		r.empty++
		if p.HoldEmpty && c.arms[Baseline].Samples+c.arms[Tuned].Samples == 0 {
			r.empty += p.BlockIntervals - 1
		}
		if r.empty >= p.EmptyCycles {
			r.starved(now)
			return
		}
	default:
		r.empty = 0
		if r.joined() {
			r.score(now)
			return
		}
		r.recordCycle(now, fmt.Sprintf("%d and %d samples, to be joined with the next", c.arms[Baseline].Samples, c.arms[Tuned].Samples))
	}
	r.nextCycle(now)
}

// joined adds the cycle to the unit and reports whether that is whole. The cycle
// then stands for it.
func (r *Rollout) joined() bool {
	c := &r.cycle
	r.shift.Add(c.covariate(r.scope))
	for arm, sum := range c.arms {
		r.unit[arm].add(sum)
	}
	if min(r.unit[Baseline].Samples, r.unit[Tuned].Samples) < r.opts.Preset.UnitSamples {
		return false
	}
	c.arms, c.shift = r.unit, r.shift.Mean()
	r.unit, r.shift = [2]Summary{}, stat.MeanTest{}
	return true
}

// begin starts the budget and the journal.
func (r *Rollout) begin(now time.Duration) {
	r.start = now
	r.recordStart(now)
}

// decide ends the search for a verdict, now and for good: only an order to roll
// back can still change a promotion.
func (r *Rollout) decide(now time.Duration, d Decision, why string) {
	r.decision, r.why = d, why
	if r.stage >= 0 && r.current().verdict == "" {
		r.current().verdict = verdictOf[d]
	}
	r.recordDecision(now)
	if d == Promoted {
		r.ask(now, settling, Promote{Hash: r.opts.Candidate.Hash()})
	} else {
		r.ask(now, settling, RollBack{Hash: r.opts.Baseline.Hash(), Why: why})
	}
}

// verdictOf is the verdict of the stage in which a rollout is decided.
var verdictOf = map[Decision]string{
	Promoted: "better", RolledBack: "rolled back", NotEnoughData: "not enough data", Stopped: "interrupted",
}

func (r *Rollout) end(now time.Duration) {
	r.phase, r.confirmed = finished, r.acked
	r.recordEnd(now)
	r.queue = append(r.queue, Done{Decision: r.decision})
}
