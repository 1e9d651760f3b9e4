package pilot

import (
	"strings"
	"testing"

	"github.com/shoalnet/shoal/tune/learners"
)

// racer is one that promised a ratio, and kept one with a penalty.
func racer(name string, promised, ratio, penalty float64) learners.Racer {
	r := learners.Racer{Name: name, Config: "of " + name, Effect: &learners.Effect{Ratio: ratio, Low: ratio - 0.05, High: ratio + 0.05, N: 8, Penalty: penalty}}
	if name != learners.Stay {
		r.Chosen = &promised
	}
	return r
}

// If the winner of a race breaks a constraint when it is measured again, the next one that
// keeps them is proposed; not one that merely looks better, nor one that promised nothing.
func TestElect(t *testing.T) {
	stay := racer(learners.Stay, 0, 1, 0)
	for _, c := range []struct {
		name   string
		winner string
		racers []learners.Racer
		want   string
		why    string
	}{
		{"the winner keeps all", "b", []learners.Racer{racer("a", .7, .6, 0), racer("b", .6, .65, 0), stay}, "b", "b won the race of 3 learners with 0.650"},
		{"the winner breaks one", "b", []learners.Racer{racer("a", .7, .8, 0), racer("b", .6, .5, .1), stay}, "a", "breaks a constraint: messages, entries or success; a is next with 0.800"},
		{"so does the next", "b", []learners.Racer{racer("a", .7, .7, .1), racer("b", .6, .5, .1), stay, racer("c", .9, .85, 0)}, "c", "c is next with 0.850"},
		{"within the tolerance", "b", []learners.Racer{racer("a", .7, .7, 0), racer("b", .6, .5, tolerance), stay}, "b", ""},
		{"the next is not surely better", "b", []learners.Racer{racer("a", .7, .98, 0), racer("b", .6, .5, .1), racer("c", .8, .5, 0), stay}, "", "not surely better"},
		{"nor is the winner, and no other is asked", "b", []learners.Racer{racer("a", .7, .5, 0), racer("b", .6, .99, 0), stay}, "", "not surely better"},
		{"no other promised more", "b", []learners.Racer{racer("a", 1.1, .5, 0), racer("b", .6, .5, .1), stay}, "", "no other promised"},
		{"nobody did", learners.Stay, []learners.Racer{racer("a", 1.1, .5, 0), stay}, "", "no learner promised more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why := elect(&learners.Result{Winner: c.winner, Racers: c.racers, Spent: 100})
			name := ""
			if got != nil {
				name = got.Name
			}
			if name != c.want || !strings.Contains(why, c.why) {
				t.Errorf("%q, %q; want %q, %q", name, why, c.want, c.why)
			}
		})
	}
}
