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

// drift watches quiet networks for 30 days each, and then networks whose traffic or
// latency changes after a day.
func (t *trial) drift() error {
	n := max(5, t.few()/4)
	falseAlarms := map[tune.TriggerKind]int{}
	for i := range n {
		if err := t.step("watching quiet networks", i, n); err != nil {
			return err
		}
		w, err := t.watcher(i)
		if err != nil {
			return err
		}
		for range driftDays * 24 * 12 {
			for _, trigger := range w.next(0, 0) {
				falseAlarms[trigger.Kind]++
				w.watch.Rebase()
			}
		}
	}
	all := falseAlarms[tune.TriggerLoss] + falseAlarms[tune.TriggerTraffic]
	rate := float64(all) / float64(n)
	t.add("false_triggers", "false triggers in 30 days of a quiet network, latency and traffic together", "<= 1",
		fmt.Sprintf("%d in %d times 30 days (%d of latency, %d of traffic)", all, n, falseAlarms[tune.TriggerLoss], falseAlarms[tune.TriggerTraffic]), rate, rate <= 1, n)
	return t.changes(4 * n)
}

// changes has the traffic change, and then the latency.
func (t *trial) changes(n int) error {
	soon, losses, delay := 0, 0, 0.0
	for i := range n {
		if err := t.step("changing networks", i, n); err != nil {
			return err
		}
		w, err := t.watcher(1000 + i)
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
		if w, err = t.watcher(2000 + i); err != nil {
			return err
		}
		for range learnDays * 24 * 12 {
			if len(w.next(0, 0)) > 0 {
				w.watch.Rebase()
			}
		}
		for window := 1; window <= 24*12; window++ {
			if triggers := w.next(0, math.Log(1.5)); len(triggers) > 0 {
				losses++
				delay += float64(window)
				break
			}
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

// referenceWindows is what a watch takes as the pattern of before.
const referenceWindows = 12

// watcher is a watched network.
type watcher struct {
	watch   *tune.Watch
	weather weather
	dice    *stat.Stream
	at      time.Duration
}

func (t *trial) watcher(run int) (*watcher, error) {
	w, err := tune.NewWatch(tune.WatchConfig{
		Interval: 5 * time.Minute,
		Metrics:  []tune.Metric{{Name: "latency of lookups"}},
		Traffic:  []string{"popularity of keys"},
	})
	seed := stat.Hash(t.cfg.Seed, 77, uint64(run))
	return &watcher{watch: w, weather: t.cfg.Noise.begin(stat.NewStream(seed, "proof.drift")), dice: stat.NewStream(seed, "proof.traffic")}, err
}

// next is one interval of 500 lookups, with the tilt of popularity changed by some
// and the latency's logarithm by loss.
func (w *watcher) next(tilt, loss float64) []tune.Trigger {
	const lookups, bins = 500, 10
	w.at += 5 * time.Minute
	mean, sigma := w.weather.next()
	latency := mean + loss + sigma/math.Sqrt(lookups)*w.dice.NormFloat64()
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
