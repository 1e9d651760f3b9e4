package fleet

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// stage is where a conductor tries things: a fleet, or one peer. Times are those of the
// wall clock.
type stage interface {
	// expose puts an assignment into effect, settle one configuration; hash is that of the
	// acknowledgement. Both begin it: applied says when it is so.
	expose(now time.Duration, e tune.Expose, candidate knob.Config) error
	settle(now time.Duration, good knob.Config) error
	applied(now time.Duration) bool
	// window is what an interval showed of the block that is exposed; slow is the limit of
	// the tail in seconds, 0 for none.
	window(interval uint64, slow float64) tune.Window
	peers(now time.Duration) int
	// refusing says why the candidate must go, nothing if it need not.
	refusing(now time.Duration) string
	// picture is how the peers see their network.
	picture(now time.Duration) fleet.Picture
}

// Proposer looks for candidates. Its methods are called one at a time and return at once.
type Proposer interface {
	// Propose returns how an answer is found.
	Propose(q Question) Search
	// Ended tells how the last candidate went.
	Ended(d tune.Decision)
}

// Question is what a proposer has to go by.
type Question struct {
	Study   tune.Study
	Good    knob.Config
	Rate    float64       // lookups a second of each peer
	Picture fleet.Picture // the network as its peers have told of it; empty where nobody has
}

// Search finds a candidate: a configuration that differs from what is good in knobs that
// are tunable and not frozen, by no more than a step each. The zero Config is none. It may
// take long, runs beside all else, and ends early when its context does.
type Search func(ctx context.Context) (candidate knob.Config, why string, err error)

// answered is a search that has been made.
func answered(candidate knob.Config, why string, err error) Search {
	return func(context.Context) (knob.Config, string, error) { return candidate, why, err }
}

// conductor drives a tune.Service over a stage. Its owner calls step when wake says so.
type conductor struct {
	service *tune.Service
	stage   stage
	journal *journal
	propose Proposer
	say     func(string, ...any)

	length time.Duration // of an interval
	grace  time.Duration // after which its reports are in
	base   time.Duration // of the service's clock; a whole number of intervals
	next   uint64        // interval to be closed

	limits    tune.Limits
	rate      float64 // lookups a second, smoothed
	slow      float64 // seconds: the P90 of what is good, roughly; fixed for a rollout
	recent    tune.Summary
	waiting   *tune.Applied
	measure   *tune.Measure
	left      int // windows
	candidate knob.Config
	stopped   string // hash of the candidate, where it was stopped for a refusal
	orders    []tune.Ordered
	fresh     bool // the journal was empty

	found     chan tune.Studied // by the search under way; nil: there is none
	stop      context.CancelFunc
	searching sync.WaitGroup
}

// now returns the service's time.
func (c *conductor) now(wall time.Duration) time.Duration { return wall - c.base }

// wake returns when step is to be called.
func (c *conductor) wake(wall time.Duration) time.Duration {
	at := time.Duration(c.next+1)*c.length + c.grace
	if due, ok := c.service.Wake(); ok && due+c.base > wall {
		at = min(at, due+c.base)
	}
	if c.waiting != nil || c.found != nil {
		at = min(at, wall+c.length/8)
	}
	return max(at, wall+time.Millisecond)
}

// step does all that is due.
func (c *conductor) step(ctx context.Context, wall time.Duration) error {
	if c.waiting != nil && c.stage.applied(wall) {
		c.service.Tell(c.now(wall), *c.waiting)
		c.waiting = nil
	}
	select {
	case answer := <-c.found: // nil: never
		c.found = nil
		c.stop()
		c.slow = c.tail()
		c.service.Settle(c.limits, c.rate)
		c.service.Tell(c.now(wall), answer)
	default:
	}
	for ; time.Duration(c.next+1)*c.length+c.grace <= wall; c.next++ {
		c.close(wall)
	}
	if why := c.stage.refusing(wall); why != "" && c.candidate.Set() != nil && c.stopped != c.candidate.Hash() {
		c.stopped = c.candidate.Hash()
		c.say("fleet: %s", why)
		if err := c.note("roll back, because " + why); err != nil {
			return err
		}
		c.service.Tell(c.now(wall), tune.OrderRollBack)
	}
	for _, o := range c.orders {
		c.service.Tell(c.now(wall), o)
	}
	c.orders = nil
	for ctx.Err() == nil {
		command, ok := c.service.Ask(c.now(wall))
		if !ok {
			return nil
		}
		if err := c.do(ctx, wall, command); err != nil {
			return err
		}
	}
	return nil
}

// close tells what an interval showed.
func (c *conductor) close(wall time.Duration) {
	w := c.stage.window(c.next, c.slow)
	start := time.Duration(c.next) * c.length
	w.Start, w.End = c.now(start), c.now(start+c.length)
	both := w.Arms[tune.Baseline]
	both.Samples += w.Arms[tune.Tuned].Samples
	both.SumLog += w.Arms[tune.Tuned].SumLog
	both.SumLog2 += w.Arms[tune.Tuned].SumLog2
	both.Successes += w.Arms[tune.Tuned].Successes
	both.Attempts += w.Arms[tune.Tuned].Attempts
	const smooth = 0.2
	if pace := float64(both.Attempts) / c.length.Seconds(); c.rate == 0 {
		c.rate = pace
	} else {
		c.rate += smooth * (pace - c.rate)
	}
	c.service.Leave(max(c.stage.peers(wall), 1))
	if c.measure != nil && c.left > 0 && w.Start >= c.measure.Start {
		c.left--
		c.service.Tell(c.now(wall), w)
	}
	o := tune.Observation{At: w.End, Peers: c.stage.peers(wall), Values: []float64{0, 0}}
	if both.Samples > 0 {
		o.Values = []float64{math.Exp(both.SumLog / float64(both.Samples)), float64(both.Successes) / float64(both.Attempts)}
	}
	if c.service.State() != tune.ServiceRollout && both.Samples > 0 {
		c.recent.Samples += both.Samples
		c.recent.SumLog += both.SumLog
		c.recent.SumLog2 += both.SumLog2
	}
	c.service.Tell(c.now(wall), tune.Observed{Observation: o})
}

// do carries out one command.
func (c *conductor) do(ctx context.Context, wall time.Duration, command tune.Command) error {
	switch command := command.(type) {
	case tune.Record:
		return c.record(command.Entry)
	case tune.Study:
		c.study(ctx, wall, command)
	case tune.Expose:
		c.measure, c.waiting = nil, &tune.Applied{Block: command.Block, Hash: command.Hash}
		return c.stage.expose(wall, command, c.candidate)
	case tune.Measure:
		c.measure, c.left = &command, command.Count
	case tune.Promote:
		c.measure, c.waiting = nil, &tune.Applied{Hash: command.Hash}
		good := c.candidate
		return c.stage.settle(wall, good)
	case tune.RollBack:
		c.measure, c.waiting = nil, &tune.Applied{Hash: command.Hash}
		return c.stage.settle(wall, c.service.Baseline())
	}
	return nil
}

// record writes an entry, and says what a person wants to hear.
func (c *conductor) record(e tune.Entry) error {
	if e.Kind == tune.KindStart {
		_, c.candidate = c.service.Rollout().Configs()
		c.stopped = "" // the same may be tried, and refused, again
	}
	if e.Kind != tune.KindCycle {
		c.say("%s: %s", e.Kind, e.Text)
	}
	var decided struct {
		Decision tune.Decision `json:"decision"`
	}
	if e.Kind == tune.KindDecision && json.Unmarshal(e.Data, &decided) == nil {
		c.propose.Ended(decided.Decision)
	}
	return c.journal.append(e)
}

// note writes an entry of the driver's own.
func (c *conductor) note(text string) error {
	return c.journal.append(tune.Entry{Kind: tune.KindNote, Text: text, Data: json.RawMessage("{}")})
}

// study has an answer to a study looked for.
func (c *conductor) study(ctx context.Context, wall time.Duration, s tune.Study) {
	c.end() // a search that took too long
	search := c.propose.Propose(Question{
		Study: s, Good: c.service.Baseline(), Rate: c.rate / float64(max(c.stage.peers(wall), 1)), Picture: c.stage.picture(wall),
	})
	found := make(chan tune.Studied, 1)
	c.found = found
	ctx, c.stop = context.WithCancel(ctx)
	c.searching.Go(func() {
		candidate, why, err := search(ctx)
		answer := tune.Studied{Number: s.Number, Why: why}
		switch {
		case err != nil:
			answer.Why = err.Error()
		case candidate.Set() != nil:
			answer.Candidate = candidate.String()
		}
		found <- answer
	})
}

// end gives a search up.
func (c *conductor) end() {
	if c.found != nil {
		c.found = nil
		c.stop()
		c.searching.Wait()
	}
}

// abandon closes a rollout under way without a verdict: this process goes on, or ends as
// it should, so that nothing speaks against the candidate.
func (c *conductor) abandon() {
	if in, open := tune.Resume(c.journal.entries); !open || in.Decision != "" {
		return
	}
	if err := c.journal.end("given up", tune.Stopped, c.service.Baseline()); err != nil {
		c.say("fleet: %v", err)
	}
}

// tail is the limit of the tail: the P90 of what ran of late, were its logarithms
// normal.
func (c *conductor) tail() float64 {
	if c.recent.Samples < 2 {
		return 0
	}
	n := float64(c.recent.Samples)
	mean := c.recent.SumLog / n
	const z90 = 1.2816
	limit := math.Exp(mean + z90*math.Sqrt(max(0, c.recent.SumLog2/n-mean*mean)))
	c.recent = tune.Summary{}
	return limit
}

// ServiceConfig bounds a service in the field; what is 0 takes the default of
// tune.ServiceConfig.
type ServiceConfig struct {
	Preset   tune.Preset   // the zero Preset is tune.Field
	Schedule time.Duration // between studies without another reason; 0 means eight hours
	Cooldown time.Duration
	Soak     time.Duration
	// Budget bounds a rollout; 0 is no limit but that of the stages.
	Budget                    time.Duration
	Day                       time.Duration
	MaxRollouts, MaxRollbacks int
	Seed                      uint64
}

// newConductor makes a service that begins from what is good, with what its journal
// tells of earlier ones.
func newConductor(cfg ServiceConfig, good knob.Config, s stage, p Proposer, j *journal, turns bool, wall time.Duration, say func(string, ...any)) (*conductor, error) {
	if cfg.Preset.Name == "" {
		cfg.Preset = tune.Field()
	}
	if cfg.Schedule == 0 {
		cfg.Schedule = 8 * time.Hour
	}
	length := cfg.Preset.Interval
	c := &conductor{
		stage: s, journal: j, propose: p, say: say, length: length, next: uint64(wall / length),
		base: wall / length * length,
		// A change takes an interval to reach all, and another one to settle.
		limits: tune.Limits{Budget: cfg.Budget, Washout: 2 * length, Acknowledge: 4 * length},
	}
	var err error
	c.service, err = tune.NewService(tune.ServiceConfig{
		Baseline: good, Preset: cfg.Preset, Metric: "latency of lookups", Peers: max(s.peers(wall), 1), Turns: turns,
		Seed: cfg.Seed, Limits: c.limits, Schedule: cfg.Schedule, Cooldown: cfg.Cooldown, Soak: cfg.Soak,
		Day: cfg.Day, MaxRollouts: cfg.MaxRollouts, MaxRollbacks: cfg.MaxRollbacks, OneComponent: true,
		Watch: tune.WatchConfig{
			Interval: length, Metrics: []tune.Metric{{Name: "latency of lookups"}, {Name: "success", Better: tune.Higher}},
			MemberSpan: max(24*time.Hour, length),
		},
	})
	if err != nil {
		return nil, err
	}
	fresh := len(j.entries) == 0
	if err := j.begin(good); err != nil {
		return nil, err
	}
	if err := c.service.Restore(j.entries, int64(c.base)); err != nil {
		return nil, err
	}
	c.fresh = fresh
	return c, nil
}

// first has the service study what was never studied, and what an operator wishes.
func (c *conductor) first(wall time.Duration) {
	p := c.propose
	if e, is := p.(enough); is {
		p = e.l.cfg.Propose
	}
	if wishes, some := p.(*Wishes); some && len(wishes.First) > 0 {
		c.service.Tell(c.now(wall), tune.OrderOptimize)
	}
	if c.fresh {
		c.fresh = false
		c.service.Tell(c.now(wall), tune.Triggered{Trigger: tune.Trigger{Kind: tune.TriggerSchedule, At: c.now(wall), Text: "nothing was ever studied here"}})
	}
}
