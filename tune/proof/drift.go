package proof

import (
	"fmt"
	"math"
	"time"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// driftDays is how long a quiet network is watched in one run.
const driftDays = 30

// weekNoise is of a network of many lookups that lives by the clock: ten per cent from
// night to day, 4 % less on two days of the week, and 1 % more from week to week.
func weekNoise() Lognormal {
	return Lognormal{Sigma: math.Sqrt(math.Ln2), Wander: 0.02, Rho: 0.5, Daily: 0.05, Weekend: 0.04, Trend: 0.01 / (7 * dayIntervals), Period: dayIntervals}
}

// drift watches quiet networks for 30 days each, and then networks whose traffic or
// latency changes.
func (t *trial) drift() error {
	n := max(5, t.few()/4)
	for _, q := range []struct {
		name, what string
		noise      Noise
	}{
		{"false_triggers", "false triggers in 30 days of a quiet network, latency and traffic together", t.cfg.Noise},
		{"false_triggers_week", "the same with a wave of 5 % each day, weekends and a drift", weekNoise()},
	} {
		falseAlarms := map[tune.TriggerKind]int{}
		for i := range n {
			if err := t.step("watching quiet networks", i, n); err != nil {
				return err
			}
			w, err := t.watcher(q.noise, i)
			if err != nil {
				return err
			}
			for range driftDays * dayIntervals {
				for _, trigger := range w.next(0, 0) {
					falseAlarms[trigger.Kind]++
					w.watch.Rebase()
				}
			}
		}
		all := falseAlarms[tune.TriggerLoss] + falseAlarms[tune.TriggerTraffic]
		rate := float64(all) / float64(n)
		t.add(q.name, q.what, "<= 1",
			fmt.Sprintf("%d in %d times 30 days (%d of latency, %d of traffic)", all, n, falseAlarms[tune.TriggerLoss], falseAlarms[tune.TriggerTraffic]), rate, rate <= 1, n)
	}
	if err := t.changes(4 * n); err != nil {
		return err
	}
	return t.smallLosses(4 * n)
}

// smallLosses has the latency of a network become worse by little more than the 5 % that
// are a reason.
func (t *trial) smallLosses(n int) error {
	const loss = 0.075
	for _, q := range []struct {
		name, what string
		noise      Noise
	}{
		{"small_loss_found", "losses of 7.5 % that trigger within a day, in a network with waves and weekends", weekNoise()},
		{"small_loss_noise", "the same under the noise of this trial", t.cfg.Noise},
	} {
		found, delay := 0, 0.0
		for i := range n {
			if err := t.step("small losses", i, n); err != nil {
				return err
			}
			w, err := t.watcher(q.noise, 3000+i)
			if err != nil {
				return err
			}
			w.plain = true
			// At another hour of another day in each network.
			if window := w.lossAfter(smallAfter*dayIntervals+i*37%(7*dayIntervals), loss); window > 0 {
				found++
				delay += float64(window)
			}
		}
		share := float64(found) / float64(n)
		text := fmt.Sprintf("%d of %d, after %.1f intervals in the mean", found, n, delay/math.Max(1, float64(found)))
		if l, is := q.noise.(Lognormal); is {
			text += fmt.Sprintf("; with all known but the loss itself, %.0f %% at most", 100*l.visible(loss))
		}
		t.add(q.name, q.what, ">= 0.5", text, share, share >= 0.5, n)
	}
	return nil
}

// smallAfter is after how many days a small loss comes.
const smallAfter = 14

// visible is the share of losses that a test of the mean of one day finds, if it knows
// level, waves and noise, looks once, and errs on one day in 30: no watch does better.
func (l Lognormal) visible(loss float64) float64 {
	own := l.Sigma * l.Sigma / watchLookups
	variance := (l.Wander*l.Wander*(1+l.Rho)/(1-l.Rho) + own) / dayIntervals
	return stat.Normal(math.Log1p(loss)/math.Sqrt(variance) - stat.NormalQuantile(1-1.0/driftDays))
}

// lossAfter watches a quiet network and then a loss, and returns after how many intervals
// of a day there was a trigger; 0 for none.
func (w *watcher) lossAfter(quiet int, loss float64) int {
	for range quiet {
		if len(w.next(0, 0)) > 0 {
			w.watch.Rebase()
		}
	}
	for window := 1; window <= dayIntervals; window++ {
		if len(w.next(0, math.Log1p(loss))) > 0 {
			return window
		}
	}
	return 0
}

// changes has the traffic change, and then the latency.
func (t *trial) changes(n int) error {
	soon, losses, delay := 0, 0, 0.0
	for i := range n {
		if err := t.step("changing networks", i, n); err != nil {
			return err
		}
		w, err := t.watcher(t.cfg.Noise, 1000+i)
		if err != nil {
			return err
		}
		for range 24 * 12 {
			w.next(0, 0)
		}
		w.watch.Rebase()
		for range referenceWindows {
			w.next(0, 0)
		}
		for window := 1; window <= 3; window++ {
			for _, trigger := range w.next(1, 0) {
				if trigger.Kind == tune.TriggerTraffic {
					soon++
				}
			}
		}
		if w, err = t.watcher(t.cfg.Noise, 2000+i); err != nil {
			return err
		}
		if window := w.lossAfter(learnDays*dayIntervals, 0.5); window > 0 {
			losses++
			delay += float64(window)
		}
	}
	share := float64(soon) / float64(n)
	t.add("traffic_found", "changes of the traffic's pattern that trigger within 3 windows", ">= 0.9", fmt.Sprintf("%d of %d", soon, n), share, share >= 0.9, n)
	share = float64(losses) / float64(n)
	t.add("loss_found", "losses of 50 % in latency that trigger within a day", ">= 0.9",
		fmt.Sprintf("%d of %d, after %.1f intervals in the mean", losses, n, delay/math.Max(1, float64(losses))), share, share >= 0.9, n)
	return nil
}

// learnDays are enough for the level of a network whose intervals of five minutes are
// correlated by 0.9: 860 of them tell as much as 45 independent ones.
const learnDays = 4

// watchLookups are those of an interval.
const watchLookups = 500

// referenceWindows is what a watch takes as the pattern of before.
const referenceWindows = 12

// watcher is a watched network.
type watcher struct {
	watch   *tune.Watch
	weather weather
	dice    *stat.Stream
	at      time.Duration
	plain   bool // the traffic is not told
}

func (t *trial) watcher(noise Noise, run int) (*watcher, error) {
	w, err := tune.NewWatch(tune.WatchConfig{
		Interval: 5 * time.Minute,
		Metrics:  []tune.Metric{{Name: "latency of lookups"}},
		Traffic:  []string{"popularity of keys"},
	})
	seed := stat.Hash(t.cfg.Seed, 77, uint64(run))
	return &watcher{watch: w, weather: noise.begin(stat.NewStream(seed, "proof.drift")), dice: stat.NewStream(seed, "proof.traffic")}, err
}

// next is one interval of 500 lookups, with the tilt of popularity changed by some
// and the latency's logarithm by loss.
func (w *watcher) next(tilt, loss float64) []tune.Trigger {
	const lookups, bins = watchLookups, 10
	w.at += 5 * time.Minute
	mean, sigma := w.weather.next()
	latency := mean + loss + sigma/math.Sqrt(lookups)*w.dice.NormFloat64()
	if w.plain {
		return w.watch.Tell(tune.Observation{At: w.at, Values: []float64{math.Exp(latency)}})
	}
	counts := make([]int, bins)
	for range lookups {
		// Keys by rank: a power law over 1,000 of them, in bins of equal logarithm.
		rank := zipf(w.dice, 0.7+tilt)
		counts[min(int(math.Log(rank)/math.Log(1000)*bins), bins-1)]++
	}
	return w.watch.Tell(tune.Observation{At: w.at, Values: []float64{math.Exp(latency)}, Traffic: [][]int{counts}})
}

// zipf draws a rank from 1 to 1,000 by a continuous power law.
func zipf(dice *stat.Stream, exponent float64) float64 {
	const most = 1000
	e := 1 - exponent
	if math.Abs(e) < 1e-9 {
		return math.Pow(most, dice.Float64())
	}
	return math.Pow(1+dice.Float64()*(math.Pow(most, e)-1), 1/e)
}
