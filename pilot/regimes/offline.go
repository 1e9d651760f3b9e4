package regimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/control"
	"github.com/shoalnet/shoal/stat/causal"
)

// OfflineConfig describes how families learn from a log.
type OfflineConfig struct {
	Families []string // of package opt, or Ridge; default all that can
	Split    float64  // share of each run, from its begin, that is learnt from; default 0.6
	Passes   int      // steps of learning for each step of the log, beside the first; default 3
	Seed     uint64
	Progress func(step string, done, total int)
}

// Ridge is a learner beside the families: a regression of each arm's cost, and the arm
// of the least.
const Ridge = "ridge"

// OfflineResult is what families that never acted would have cost. Its JSON names are
// stable. All costs are of a lookup, over the usual one of the stock preset.
type OfflineResult struct {
	Split       float64        `json:"split"`
	Worlds      []OfflineWorld `json:"worlds"`
	Interrupted bool           `json:"interrupted,omitempty"`
}

// OfflineWorld is the outcome in one world.
type OfflineWorld struct {
	World   string  `json:"world"`
	Learnt  int     `json:"learnt"` // steps before the split
	Judged  int     `json:"judged"` // steps after it
	Logging float64 `json:"logging_cost"`
	// Static is the arm that cost least before the split, judged after it; it is the best
	// that does not look at conditions.
	Static   OfflineScore   `json:"static"`
	Families []OfflineScore `json:"families"`
}

// OfflineScore is a policy judged on the steps after the split, none of which it saw.
type OfflineScore struct {
	Policy   string           `json:"policy"`
	Weighted causal.Judgement `json:"weighted"` // weighted importance sampling
	Robust   causal.Judgement `json:"robust"`   // doubly robust
	Refused  string           `json:"refused,omitempty"`
}

// OfflineFamilies lists who can learn from a log.
func OfflineFamilies() []string {
	names := []string{Ridge}
	for _, f := range opt.Families {
		if f.Kind == opt.Control {
			names = append(names, f.Name)
		}
	}
	return names
}

// Offline lets families learn from the steps of the runs that have some, and judges
// them by what chance did later. When ctx ends it returns the worlds that are done,
// with its error.
func Offline(ctx context.Context, runs []Run, cfg OfflineConfig) (*OfflineResult, error) {
	cfg.Split, cfg.Passes = cmp.Or(cfg.Split, 0.6), cmp.Or(cfg.Passes, 3)
	if cfg.Progress == nil {
		cfg.Progress = func(string, int, int) {}
	}
	if len(cfg.Families) == 0 {
		cfg.Families = OfflineFamilies()
	}
	for _, name := range cfg.Families {
		if !slices.Contains(OfflineFamilies(), name) {
			return nil, fmt.Errorf("regimes: no family %q learns from logs: want some of %s", name, strings.Join(OfflineFamilies(), ", "))
		}
	}
	if !(cfg.Split > 0 && cfg.Split < 1) || cfg.Passes < 0 {
		return nil, fmt.Errorf("regimes: a split at %v and %d passes: want above 0 to below 1, and 0 or more", cfg.Split, cfg.Passes)
	}
	var worlds []string
	for _, r := range runs {
		if len(r.Steps) > 0 && !slices.Contains(worlds, r.World) {
			worlds = append(worlds, r.World)
		}
	}
	if len(worlds) == 0 {
		return nil, fmt.Errorf("regimes: no run has steps to learn from: let %s run, as shoal tune regimes does by default", Logger)
	}
	out := &OfflineResult{Split: cfg.Split}
	for i, name := range worlds {
		l, err := newLogbook(runs, name, cfg.Split)
		if err != nil {
			return nil, err
		}
		w, err := l.judge(ctx, cfg, func(family string, n int) {
			cfg.Progress("learning from "+name+": "+family, i*len(cfg.Families)+n, len(worlds)*len(cfg.Families))
		})
		if err != nil {
			out.Interrupted = ctx.Err() != nil
			return out, err
		}
		out.Worlds = append(out.Worlds, w)
	}
	return out, nil
}

// logbook is the steps of one world: of each run the part before the split and the part
// after it.
type logbook struct {
	world         string
	arms          int
	before, after [][]Step
	model         [][]float64 // of each arm, fitted before the split
}

func newLogbook(runs []Run, world string, split float64) (*logbook, error) {
	l := &logbook{world: world}
	dims := 0
	for _, r := range runs {
		if r.World != world || len(r.Steps) == 0 {
			continue
		}
		for i, s := range r.Steps {
			dims = max(dims, len(s.Seen))
			if len(s.Seen) != dims || s.Arm < 0 || s.Arm > 1000 || !(s.Chance > 0 && s.Chance <= 1) || !(s.Rate > 0) || math.IsNaN(s.Cost) || math.IsInf(s.Cost, 0) {
				return nil, fmt.Errorf("regimes: step %d of a run of %s is damaged: %+v", i, world, s)
			}
			l.arms = max(l.arms, s.Arm+1)
		}
		at := int(split * float64(len(r.Steps)))
		l.before, l.after = append(l.before, r.Steps[:at]), append(l.after, r.Steps[at:])
	}
	if dims == 0 {
		return nil, errors.New("regimes: steps that saw nothing")
	}
	l.fit(dims)
	return l, nil
}

// fit learns what each arm costs, for the doubly robust estimate, from steps before the
// split alone.
func (l *logbook) fit(dims int) {
	for arm := range l.arms {
		b, err := control.NewBandit(control.BanditSettings{Arms: 1, Dims: dims, Ridge: 0.01})
		if err != nil {
			panic("regimes: " + err.Error()) // the settings are right
		}
		for _, run := range l.before {
			for _, s := range run {
				if s.Arm == arm {
					b.Reward(0, s.Seen, s.Cost)
				}
			}
		}
		l.model = append(l.model, b.Coefficients(0))
	}
}

// expects is what the model says.
func (l *logbook) expects(arm int, seen []float64) float64 {
	sum := 0.0
	for i, w := range l.model[arm] {
		sum += float64(w * seen[i])
	}
	return sum
}

// score judges a policy: what it would choose in each step after the split.
func (l *logbook) score(name string, choose func(run, step int) int) OfflineScore {
	var decisions []causal.Decision
	for run, steps := range l.after {
		for i, s := range steps {
			arm := choose(run, i)
			d := causal.Decision{Chance: s.Chance, Cost: s.Cost, Weight: s.Rate, Made: l.expects(s.Arm, s.Seen), Expected: l.expects(arm, s.Seen)}
			if arm == s.Arm {
				d.Target = 1
			}
			decisions = append(decisions, d)
		}
	}
	out := OfflineScore{Policy: name}
	var err error
	if out.Weighted, err = causal.Weighted(decisions); err == nil {
		out.Robust, err = causal.Robust(decisions)
	}
	if err != nil {
		out.Refused = strings.TrimPrefix(err.Error(), "causal: ")
	}
	return out
}

func (l *logbook) judge(ctx context.Context, cfg OfflineConfig, tell func(family string, n int)) (OfflineWorld, error) {
	out := OfflineWorld{World: l.world}
	cost, lookups := 0.0, 0.0
	for i := range l.after {
		out.Learnt, out.Judged = out.Learnt+len(l.before[i]), out.Judged+len(l.after[i])
		for _, s := range l.after[i] {
			cost, lookups = cost+float64(s.Rate*s.Cost), lookups+s.Rate
		}
	}
	out.Logging = cost / lookups
	static := l.cheapest()
	out.Static = l.score(fmt.Sprintf("arm %d", static), func(int, int) int { return static })
	for n, name := range cfg.Families {
		tell(name, n)
		score, err := l.learn(ctx, name, cfg)
		if err != nil {
			return out, err
		}
		out.Families = append(out.Families, score)
		tell(name, n+1)
	}
	return out, nil
}

// cheapest is the arm that costs least before the split by the model, whatever the
// conditions: each step counts with every arm.
func (l *logbook) cheapest() int {
	best, least := 0, math.Inf(1)
	for arm := range l.arms {
		sum := 0.0
		for _, run := range l.before {
			for _, s := range run {
				sum += float64(s.Rate * l.expects(arm, s.Seen))
			}
		}
		if sum < least {
			best, least = arm, sum
		}
	}
	return best
}

// learn lets one family learn before the split and judges it after.
func (l *logbook) learn(ctx context.Context, name string, cfg OfflineConfig) (OfflineScore, error) {
	if name == Ridge {
		return l.score(name, func(run, i int) int {
			seen, best := l.after[run][i].Seen, 0
			for arm := range l.arms {
				if l.expects(arm, seen) < l.expects(best, seen) {
					best = arm
				}
			}
			return best
		}), nil
	}
	family, err := opt.FamilyOf(name)
	if err != nil {
		return OfflineScore{}, err
	}
	space, err := ArmSpace(l.arms)
	if err != nil {
		return OfflineScore{}, err
	}
	o, err := family.New(space, opt.Settings{Seed: cfg.Seed})
	if err != nil {
		return OfflineScore{}, err
	}
	student, ok := o.(opt.Student)
	if !ok {
		return OfflineScore{Policy: name, Refused: ownTrials}, nil
	}
	for _, run := range l.before {
		for i := range run {
			if ctx.Err() != nil {
				return OfflineScore{}, ctx.Err()
			}
			switch err := student.Study([]opt.Experience{experience(space, run, i)}); {
			case errors.Is(err, opt.ErrOwnTrials):
				return OfflineScore{Policy: name, Refused: ownTrials}, nil
			case err != nil:
				return OfflineScore{}, err
			}
			student.Practise(cfg.Passes)
		}
	}
	last := -1
	return l.score(name, func(run, i int) int {
		steps := l.after[run]
		if run != last { // its past is that of the run
			last = run
			if n := len(l.before[run]); n > 0 {
				student.Witness(experience(space, l.before[run], n-1))
			}
		} else {
			student.Witness(experience(space, steps, i-1))
		}
		at := steps[max(i-1, 0)].Arm
		return student.Advise(steps[i].Seen, space.Base().WithNumber(armKnob, float64(at))).Int(armKnob)
	}), nil
}

// ownTrials is why a family is not judged that cannot learn from a log.
const ownTrials = "it learns from its own trials alone"

// experience is a step of a run as a family is told of it.
func experience(space *opt.Space, run []Step, i int) opt.Experience {
	s := run[i]
	next := run[min(i+1, len(run)-1)].Seen
	return opt.Experience{
		Context: s.Seen, Next: next, Done: i+1 == len(run),
		Config: space.Base().WithNumber(armKnob, float64(s.Arm)), Scores: []float64{s.Cost},
	}
}
