package arms

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// Verdict is what can be said of an arm.
type Verdict string

// The verdicts.
const (
	Better        Verdict = "better"          // in latency beyond doubt, and in nothing worse
	Worse         Verdict = "worse"           // in something beyond doubt
	NotEnoughData Verdict = "not_enough_data" // neither is shown
	Control       Verdict = "control"
)

// Report is how an experiment stands. Its JSON names are stable.
type Report struct {
	Arms    []ArmReport    `json:"arms"`
	Planned int            `json:"planned_cycles"`
	Counted int            `json:"cycles"`
	Dropped map[string]int `json:"dropped"` // cycles, by why
	Alpha   float64        `json:"alpha"`
	// Winner is the name of the fastest arm that is better; the control if none is.
	Winner string `json:"winner"`
}

// ArmReport is one arm.
type ArmReport struct {
	Name    string         `json:"name"`
	Verdict Verdict        `json:"verdict"`
	Why     string         `json:"why"`
	Metrics []MetricReport `json:"metrics"`
}

// MetricReport is one metric of an arm against the control. A level is the geometric
// mean in milliseconds, or a share of operations; an effect the ratio to the control's,
// of failures the difference.
type MetricReport struct {
	Metric string   `json:"metric"`
	Level  *float64 `json:"level"`  // null before the first cycle
	Effect *float64 `json:"effect"` // null of the control
	// Low and High hold the effect together with all others of the experiment with a
	// probability of 1 - alpha, whenever one looks; null while there are too few cycles.
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
	P    *float64 `json:"p"` // that there is no difference, after Holm's correction
	// Need is how many cycles a fixed plan takes to show 5 %, one point of failures, with a
	// power of 0.9; null before two cycles.
	Need *float64 `json:"need_cycles"`
}

// shown is the change that a plan is made for: a ratio of 1.05, and a point of failures.
var shown = []float64{math.Log(1.05), math.Log(1.05), 0.01}

// Report returns how the experiment stands.
func (e *Experiment) Report() Report {
	r := Report{Arms: []ArmReport{}, Planned: e.Planned(), Counted: e.counted, Dropped: e.dropped, Alpha: e.cfg.Alpha, Winner: e.cfg.Arms[0]}
	var p []float64
	for arm := 1; arm < len(e.cfg.Arms); arm++ {
		for m := range Metrics {
			p = append(p, e.tests[arm][m].PValue(0))
		}
	}
	p = stat.Holm(p)
	for arm, name := range e.cfg.Arms {
		a := ArmReport{Name: name, Verdict: Control, Why: "what the others are held against", Metrics: []MetricReport{}}
		var own []float64
		if arm > 0 {
			own = p[(arm-1)*len(Metrics) : arm*len(Metrics)]
			a.Verdict, a.Why = e.verdict(arm, own)
		}
		for m := range Metrics {
			a.Metrics = append(a.Metrics, e.metric(arm, m, own))
		}
		r.Arms = append(r.Arms, a)
	}
	better := slices.DeleteFunc(slices.Clone(r.Arms), func(a ArmReport) bool { return a.Verdict != Better })
	if len(better) > 0 {
		r.Winner = slices.MinFunc(better, func(a, b ArmReport) int { return cmp.Compare(*a.Metrics[0].Effect, *b.Metrics[0].Effect) }).Name
	}
	return r
}

// verdict judges an arm by its p-values.
func (e *Experiment) verdict(arm int, p []float64) (Verdict, string) {
	for m, name := range Metrics {
		if p[m] <= e.cfg.Alpha && e.tests[arm][m].Mean() > 0 {
			return Worse, name + " is worse beyond doubt"
		}
	}
	if p[0] <= e.cfg.Alpha {
		return Better, "it is faster beyond doubt, and nothing is shown to be worse"
	}
	return NotEnoughData, fmt.Sprintf("%d cycles show neither", e.counted)
}

// metric reports one metric of an arm.
func (e *Experiment) metric(arm, m int, p []float64) MetricReport {
	r := MetricReport{Metric: Metrics[m]}
	scale := func(x float64) float64 { return x }
	if level := &e.seconds[arm][m]; level.N() > 0 {
		r.Level = new(level.Mean())
		if m < 2 {
			r.Level = new(1000 * math.Exp(level.Mean()))
		}
	}
	if arm == 0 || e.counted == 0 {
		return r
	}
	if m < 2 {
		scale = math.Exp
	}
	t := &e.tests[arm][m]
	r.Effect, r.P = new(scale(t.Mean())), new(p[m])
	claims := float64((len(e.cfg.Arms) - 1) * len(Metrics))
	if low, high := t.Interval(e.cfg.Alpha / claims); !math.IsInf(low, 0) {
		r.Low, r.High = new(scale(low)), new(scale(high))
	}
	if t.N() > 1 {
		const power = 0.9
		r.Need = new(stat.SampleSize(t.Deviation()/math.Sqrt2, shown[m], e.cfg.Alpha/claims, power))
	}
	return r
}
