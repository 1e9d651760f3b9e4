package pilot

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/learners"
)

const (
	// trialLookups is the fidelity of a trial on the twin.
	trialLookups = 1000
	// MaxEntries is how many times the baseline's table entries a candidate may
	// have: memory is what latency is bought with.
	MaxEntries = 2.0
	// leastTrials and mostTrials bound a search, whatever time there is.
	leastTrials, mostTrials = 32, 400
)

// search makes the twin and has learners race on it while the workload rests. It returns
// the candidate, or the zero Config after deciding that there is none.
func (r *run) search(ctx context.Context) (knob.Config, error) {
	e, ok, err := r.twin(r.fleet.Survey())
	if err != nil || !ok {
		return knob.Config{}, err
	}
	r.load.pace(0)
	defer r.load.pace(r.rate)
	pool := r.pool(e)
	defer func() { _ = pool.Close() }()
	base, perTrial, fresh, err := r.compareTwin(ctx, e, pool)
	if err != nil {
		return knob.Config{}, err
	}
	view := RaceView{Study: 1}
	learned, err := r.learn(ctx, base[0], &view, LearnConfig{
		World: e.World, Reference: r.cfg.Reference, Seed: stat.Hash(r.cfg.Seed, 5), Pool: pool, Total: r.affordable(perTrial, mostTrials), Spare: r.spare(),
	})
	if err != nil {
		return knob.Config{}, err
	}
	if learned.config.Set() == nil {
		r.result.Decision, r.result.Why = tune.NotEnoughData, learned.Why
		return knob.Config{}, nil
	}
	scores, err := e.Evaluate(ctx, pool, []knob.Config{learned.config}, trialLookups, fresh)
	if err != nil {
		return knob.Config{}, err
	}
	best := scores[0]
	r.result.Twin.Candidate50MS = best.Latency.P50
	r.cfg.Say("candidate %s: %s; p50 %.1f against %.1f ms, %.0f against %.0f entries, %.1f against %.1f messages", learned.config.Hash(), learned.Why,
		best.Latency.P50, base[0].Latency.P50, best.Entries, base[0].Entries, best.Messages, base[0].Messages)
	for _, c := range learned.Changes {
		r.cfg.Say("  %s: %s, was %s", c.Name, c.To, c.From)
	}
	return learned.config, nil
}

// learn has learners race on the twin, and shows how they come on; base is what runs there.
func (r *run) learn(ctx context.Context, base Score, view *RaceView, cfg LearnConfig) (*Learned, error) {
	best := base.Latency.Mean
	r.live.searching(cfg.Total, best)
	cfg.Tried = func(done int, score Score) {
		if score.Failed == "" {
			best = min(best, score.Latency.Mean)
		}
		r.live.searched(done, best)
		r.live.tried(score, best)
	}
	cfg.Progress = func(race *learners.Race) {
		view.Race = race.Result()
		r.live.raced(*view)
		r.cfg.Progress("racing on the twin, "+race.Phase().String(), "evaluations", int64(race.Spent()), int64(race.Planned()))
	}
	r.cfg.Say("learners race on the twin: %d evaluations of %d lookups", cfg.Total, trialLookups)
	learned, err := Learn(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r.result.Twin.Evaluations = float64(learned.Race.Spent)
	view.Race, view.Why = learned.Race, learned.Why
	r.live.raced(*view)
	return learned, nil
}

// twin makes the twin of a survey; ok is false after deciding that there is nothing to
// tune.
func (r *run) twin(survey Survey) (e Evaluator, ok bool, err error) {
	r.result.Twin = nil
	if m := r.meters[r.cfg.Baseline.Hash()]; m != nil {
		survey.FailedShare = float64(m.failures) / float64(max(m.requests, 1))
	}
	if why := nothingToTune(survey); why != "" {
		r.result.Decision, r.result.Why = tune.NotEnoughData, why
		return e, false, nil
	}
	perPeer := r.rate * 60 / float64(survey.Peers)
	world, guessed, err := Twin(survey, perPeer, r.cfg.Baseline, stat.Hash(r.cfg.Seed, 2))
	if err != nil {
		return e, false, err
	}
	r.cfg.Say("twin: %d peers (they estimate %.0f), each knows %.0f and has %.0f sessions, %d pairs guessed, %.2f %% of requests fail, %.1f operations a peer and minute",
		survey.Peers, survey.Size, survey.Known, survey.Sessions, guessed, 100*survey.FailedShare, perPeer)
	r.result.Twin = &TwinCheck{GuessedPairs: guessed}
	return Evaluator{World: world}, true, nil
}

// compareTwin measures the baseline and the reference on fresh seeds of the twin, holds
// it against the network, and tells how long an evaluation takes.
func (r *run) compareTwin(ctx context.Context, e Evaluator, pool lab.Pool) (base []Score, perTrial time.Duration, fresh []uint64, err error) {
	fresh = []uint64{stat.Hash(r.cfg.Seed, 3), stat.Hash(r.cfg.Seed, 4)}
	began := time.Now()
	base, err = e.Evaluate(ctx, pool, []knob.Config{r.cfg.Baseline, r.cfg.Reference}, trialLookups, fresh)
	if err != nil {
		return nil, 0, nil, err
	}
	perTrial = time.Since(began) * time.Duration(max(r.cfg.Workers, 1)) / time.Duration(2*len(fresh))
	r.result.Twin.TwinP50MS = base[0].Latency.P50
	if m := r.meters[r.cfg.Baseline.Hash()]; m != nil && len(m.gets) > 0 {
		r.result.Twin.MeasuredP50MS = latencyOf(slices.Clone(m.gets)).P50
	}
	r.cfg.Say("twin against network, p50 of the baseline's gets: %.1f ms simulated, %.1f ms measured", r.result.Twin.TwinP50MS, r.result.Twin.MeasuredP50MS)
	return base, perTrial, fresh, nil
}

// spare is the wall time that a search may take.
func (r *run) spare() time.Duration { return min(r.cfg.For/6, r.left()/3) }

// affordable is how many evaluations fit into the spare time, no more than most.
func (r *run) affordable(perTrial time.Duration, most int) int {
	return int(min(max(int64(r.spare())*int64(r.cfg.Workers)/int64(max(perTrial, time.Millisecond)), leastTrials), int64(cmp.Or(r.cfg.Trials, most))))
}

// nothingToTune says why a network gives a search nothing to work on.
func nothingToTune(s Survey) string {
	if s.Entries >= float64(s.Peers-1)-0.5 {
		return fmt.Sprintf("every peer has all %d others in its table, so no lookup needs the network and there is nothing to measure: "+
			"give more --peers (a bucket holds 20)", s.Peers-1)
	}
	return ""
}
