package learners

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// Result is how a race stands. Its JSON names are stable.
type Result struct {
	Phase   string  `json:"phase"`   // search, choose, check or over
	Spent   int     `json:"spent"`   // measurements of all
	Planned int     `json:"planned"` // at most
	Winner  string  `json:"winner"`  // empty before it was chosen
	Racers  []Racer `json:"racers"`
	// Episodes are of deep Q-learning, the newest 256; empty if it does not take part.
	Episodes []Episode `json:"episodes"`
}

// Racer is one of them.
type Racer struct {
	Name         string  `json:"name"`
	Measurements int     `json:"measurements"` // of its search
	Curve        []Point `json:"curve"`
	Config       string  `json:"config"` // text of what it holds; empty before the end of the search
	Hash         string  `json:"hash"`
	// Chosen is the mean of what it holds when that was chosen, as a ratio: too good by
	// the luck of the choice. null before.
	Chosen *float64 `json:"chosen_ratio"`
	// Effect is the ratio of what it holds to what runs, measured again on seeds that
	// nothing had seen, with a 95 % interval; null before.
	Effect *Effect `json:"effect"`
}

// Point is the least value, as a ratio to what runs, after so many measurements: one
// noisy score, for the shape of the curve alone.
type Point struct {
	N    int     `json:"n"`
	Best float64 `json:"best_ratio"`
}

// Effect is a ratio to what runs: below 1 is better.
type Effect struct {
	Ratio   float64 `json:"ratio"`
	Low     float64 `json:"low"` // bounds of the 95 % interval, Student's, of paired measurements
	High    float64 `json:"high"`
	N       int     `json:"n"`       // pairs
	Penalty float64 `json:"penalty"` // mean, for constraints that it breaks
}

// Episode is one of deep Q-learning.
type Episode struct {
	N       int      `json:"n"` // from 1
	Epsilon float64  `json:"epsilon"`
	Reward  float64  `json:"reward"` // sum of its steps
	Steps   int      `json:"steps"`
	Loss    *float64 `json:"loss"` // mean of its steps of learning; null while it only collects
}

// maxCurve bounds a curve, maxEpisodes the episodes that are kept.
const maxCurve, maxEpisodes = 256, 256

// Result returns how the race stands. Nothing in it is shared.
func (r *Race) Result() Result {
	out := Result{Phase: r.phase.String(), Spent: r.asked, Planned: r.Planned(), Racers: []Racer{}, Episodes: []Episode{}}
	for _, e := range r.entrants {
		out.Racers = append(out.Racers, r.racer(e))
		if d, ok := e.learner.(*dqn); ok {
			out.Episodes = append(out.Episodes, d.episodes...)
		}
	}
	if r.phase >= Check {
		out.Winner = r.entrants[r.winner].name
	}
	return out
}

func (r *Race) racer(e *entrant) Racer {
	out := Racer{Name: e.name, Measurements: len(e.log), Curve: curve(e.log)}
	if r.phase < Check {
		return out
	}
	held := e.finalists[e.held]
	out.Config, out.Hash = held.String(), held.Hash()
	if e.learner != nil {
		chosen := math.Exp(mean(e.chosen[e.held]))
		out.Chosen = &chosen
	}
	if r.phase == Over {
		out.Effect = effect(e.goals, r.base, e.penalties)
	}
	return out
}

// Winner returns what was chosen and what it is worth; false before the race is over.
// It is what runs if nobody promised more.
func (r *Race) Winner() (config knob.Config, e Effect, ok bool) {
	if r.phase != Over {
		return config, e, false
	}
	w := r.entrants[r.winner]
	return w.finalists[w.held], *effect(w.goals, r.base, w.penalties), true
}

// effect compares paired goals.
func effect(goals, base, penalties []float64) *Effect {
	n := min(len(goals), len(base))
	differences := make([]float64, n)
	for i := range n {
		differences[i] = goals[i] - base[i]
	}
	m, squares := mean(differences), 0.0
	for _, d := range differences {
		squares += (d - m) * (d - m)
	}
	half := math.Sqrt(squares/float64(n-1)/float64(n)) * stat.StudentQuantile(0.975, n-1)
	return &Effect{Ratio: math.Exp(m), Low: math.Exp(m - half), High: math.Exp(m + half), N: n, Penalty: mean(penalties)}
}

// curve is the least value so far, where it became less, thinned.
func curve(log []measurement) []Point {
	out, best := []Point{}, math.Inf(1)
	for i, m := range log {
		if m.value < best {
			best = m.value
			out = append(out, Point{i + 1, math.Exp(best)})
		}
	}
	if n := len(log); n > 0 && out[len(out)-1].N < n {
		out = append(out, Point{n, math.Exp(best)})
	}
	if len(out) > maxCurve { // its end says most
		out = slices.Delete(out, 1, len(out)-maxCurve+1)
	}
	return out
}
