package pilot

import (
	"slices"

	"github.com/shoalnet/shoal/knob"
)

// maxLiveTrials bounds the evaluations in memory; a search of a run has a tenth of it.
const maxLiveTrials = 4096

// TrialView is one configuration that the search evaluated on the twin.
type TrialView struct {
	Number int         // from 1, over all searches of the run
	Search int         // in which, from 1
	Config knob.Config // that was tried
	Failed string      // why it is no candidate; empty if it may be one
	Score  Score       // meaningless where the evaluation itself failed, then its latency is 0
	BestMS float64     // lowest mean latency of those that may be candidates, or of the baseline
}

// tried takes an evaluation.
func (l *Live) tried(s Score, best float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := 1
	if n := len(l.trials); n > 0 {
		number = l.trials[n-1].Number + 1
	}
	if len(l.trials) >= maxLiveTrials {
		l.trials = slices.Delete(l.trials, 0, maxLiveTrials/4)
	}
	l.trials = append(l.trials, TrialView{Number: number, Search: l.searches, Config: s.Config, Failed: s.Failed, Score: s, BestMS: best})
}

// Trials returns the evaluations after a number, the oldest first, of those in
// memory: the newest 4,096.
func (l *Live) Trials(after int) []TrialView {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := slices.BinarySearchFunc(l.trials, after+1, func(t TrialView, n int) int { return t.Number - n })
	return slices.Clone(l.trials[from:])
}
