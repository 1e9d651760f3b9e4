package pilot

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

const (
	// trialLookups is the fidelity of a trial on the twin.
	trialLookups = 1000
	// MaxEntries is how many times the baseline's table entries a candidate may
	// have: memory is what latency is bought with.
	MaxEntries = 2.0
	// leastTrials and mostTrials bound a search, whatever time there is.
	leastTrials, mostTrials = 32, 400
	// finalists are simulated again on seeds that the search has not seen: the best
	// of many noisy scores is no estimate.
	finalists = 4
)

// search makes the twin and searches on it while the workload rests. It returns
// the candidate, or the zero Config after deciding that there is none.
func (r *run) search(ctx context.Context) (knob.Config, error) {
	survey := r.fleet.Survey()
	e, ok, err := r.twin(survey)
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
	front, err := r.searchTwin(ctx, e, pool, base[0], perTrial)
	if err != nil {
		return knob.Config{}, err
	}
	return r.pick(ctx, e, pool, base, front, fresh)
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

// searchTwin searches for as long as the run can spare.
func (r *run) searchTwin(ctx context.Context, e Evaluator, pool lab.Pool, base Score, perTrial time.Duration) ([]Score, error) {
	trials := r.affordable(perTrial, mostTrials)
	space, err := SearchSpace(r.cfg.Baseline, r.cfg.Peers)
	if err != nil {
		return nil, err
	}
	r.cfg.Say("searching %d dimensions on the twin: nsga3, %d evaluations of %d lookups", space.Size(), trials, trialLookups)
	ctx, cancel := context.WithTimeout(ctx, r.spare())
	defer cancel()
	best := base.Latency.Mean
	r.live.searching(trials, best)
	front, tally, err := e.Search(ctx, pool, space, SearchConfig{
		Budget: trials * trialLookups / opt.FullLookups, Lookups: trialLookups, Seed: stat.Hash(r.cfg.Seed, 5),
		Starts: []knob.Config{r.cfg.Reference}, InFlight: 2 * r.cfg.Workers, MinSuccess: base.Success - 0.005,
	}, func(done int, s Score) {
		if s.Failed == "" {
			best = min(best, s.Latency.Mean)
		}
		r.live.searched(done, best)
		r.live.tried(s, best)
		r.cfg.Progress(fmt.Sprintf("searching, best mean %.1f of %.1f ms", best, base.Latency.Mean), "evaluations", int64(done), int64(trials))
	})
	r.result.Twin.Evaluations = tally.Spent
	if ctx.Err() != nil && len(front) > 0 {
		err = nil // time is up: go on with what was found
	}
	return front, err
}

// pick simulates the best of the front again on fresh seeds and takes the
// fastest. The candidates may use no more messages than the baseline and
// MaxEntries times its entries.
func (r *run) pick(ctx context.Context, e Evaluator, pool lab.Pool, base, front []Score, fresh []uint64) (knob.Config, error) {
	var configs []knob.Config
	for _, s := range front {
		if s.Entries <= MaxEntries*base[0].Entries && s.Messages <= base[0].Messages && len(configs) < finalists {
			configs = append(configs, s.Config)
		}
	}
	scores, err := e.Evaluate(ctx, pool, configs, trialLookups, fresh)
	if err != nil {
		return knob.Config{}, err
	}
	best := base[0]
	for _, s := range append(scores, base[1]) {
		if s.Latency.Mean < best.Latency.Mean && s.Success >= base[0].Success-0.005 {
			best = s
		}
	}
	if best.Config.Equal(r.cfg.Baseline) {
		r.result.Decision = tune.NotEnoughData
		r.result.Why = "the search found nothing that is faster on the twin within the baseline's messages and twice its entries"
		return knob.Config{}, nil
	}
	r.result.Twin.Candidate50MS = best.Latency.P50
	r.cfg.Say("candidate %s: p50 %.1f against %.1f ms on fresh seeds of the twin, %.0f against %.0f entries, %.1f against %.1f messages",
		best.Config.Hash(), best.Latency.P50, base[0].Latency.P50, best.Entries, base[0].Entries, best.Messages, base[0].Messages)
	for _, c := range knob.Diff(r.cfg.Baseline, best.Config) {
		r.cfg.Say("  %s: %s, was %s", c.Name, c.To, c.From)
	}
	return best.Config, nil
}
