package fleet

import (
	"fmt"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// Limits are what a peer insists on for itself, whoever asks for the contrary.
type Limits struct {
	// Memory is how scarce memory may be, 0 to 1, before nothing is tried here; 0 means
	// 0.9.
	Memory float64
	// Loss is by how much lower success may be than before, as a difference of shares,
	// before what runs is given up; it must also be so beyond doubt. 0 means 0.1.
	Loss float64
}

const (
	memoryLimit = 0.9
	lossLimit   = 0.1
	// guardAlpha is the probability that a harmless configuration is given up by a peer,
	// however often it looks.
	guardAlpha = 0.01
	// recall is how many intervals back success is remembered.
	recall = 24
)

func (l *Limits) complete() {
	if l.Memory == 0 {
		l.Memory = memoryLimit
	}
	if l.Loss == 0 {
		l.Loss = lossLimit
	}
}

// Outcome counts lookups.
type Outcome struct {
	Attempts  int `json:"attempts"`
	Successes int `json:"successes"`
}

// Health is how a peer was in an interval.
type Health struct {
	Memory float64    // how scarce, 0 to 1
	Arms   [2]Outcome // by tune.Arm: of what is good, and of what is tried
}

// Guard is a peer's own eye on what it runs: the success of a configuration against
// what came before and runs beside it.
type Guard struct {
	limits Limits
	before []Outcome // of what is good, the newest last
	test   stat.ProportionTest
	memory float64
}

// NewGuard returns a guard that has seen nothing.
func NewGuard(limits Limits) Guard {
	limits.complete()
	return Guard{limits: limits}
}

// Begin begins to judge something new by what was seen until now.
func (g *Guard) Begin() {
	g.test = stat.ProportionTest{}
	for _, o := range g.before {
		g.test.Add(int(tune.Baseline), o.Successes, o.Attempts)
	}
}

// Scarce says why nothing may be tried now, nothing if it may.
func (g *Guard) Scarce() string {
	if g.memory > g.limits.Memory {
		return fmt.Sprintf("memory is scarce: %.2f, limit %.2f", g.memory, g.limits.Memory)
	}
	return ""
}

// Tell takes an interval and says why what is judged must go, nothing if it need not:
// the candidate of a trial or, where all ran what is good, that itself.
func (g *Guard) Tell(h Health, trial, judged bool) (why string) {
	g.memory = h.Memory
	good, tried := h.Arms[tune.Baseline], h.Arms[tune.Tuned]
	if good.Attempts > 0 {
		if g.before = append(g.before, good); len(g.before) > recall {
			g.before = g.before[1:]
		}
	}
	if !judged {
		return ""
	}
	if !trial {
		good, tried = Outcome{}, good
	}
	g.test.Add(int(tune.Baseline), good.Successes, good.Attempts)
	g.test.Add(int(tune.Tuned), tried.Successes, tried.Attempts)
	if why := g.Scarce(); why != "" {
		return why
	}
	k0, n0 := g.test.Arm(int(tune.Baseline))
	k1, n1 := g.test.Arm(int(tune.Tuned))
	if n0 == 0 || n1 == 0 || g.test.Difference() >= -g.limits.Loss {
		return ""
	}
	if _, high := g.test.Interval(2 * guardAlpha); high < 0 {
		return fmt.Sprintf("success fell to %d of %d from %d of %d", k1, n1, k0, n0)
	}
	return ""
}
