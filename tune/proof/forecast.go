package proof

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// What is foreseen in a trial: networks of intervals of five minutes whose latency has a
// wave of a day, half a day ahead.
const (
	dayIntervals = 24 * 12
	horizon      = dayIntervals / 2
	quietWeeks   = 4
	// creep is after how many intervals the latency has become 5 % worse.
	creep = dayIntervals
)

// calmNoise is of a network of many lookups: what an interval shares wanders by 2 %, and
// the latency of the day is a tenth above that of the night.
func calmNoise() Lognormal {
	return Lognormal{Sigma: math.Sqrt(math.Ln2), Wander: 0.02, Rho: 0.5, Daily: 0.02, Period: dayIntervals}
}

// forecaster is a network with or without an eye on what is to come.
func (t *trial) forecaster(run, ahead int, noise Noise) (*watcher, error) {
	w, err := tune.NewWatch(tune.WatchConfig{
		Interval: 5 * time.Minute, Metrics: []tune.Metric{{Name: "latency of lookups"}}, Traffic: []string{"popularity of keys"},
		Horizon: ahead, Span: dayIntervals, Period: dayIntervals,
	})
	seed := stat.Hash(t.cfg.Seed, 78, uint64(run))
	return &watcher{watch: w, weather: noise.begin(stat.NewStream(seed, "proof.drift")), dice: stat.NewStream(seed, "proof.traffic"), plain: true}, err
}

// foresight watches quiet networks for weeks, and then some whose latency creeps.
func (t *trial) foresight() error {
	n := max(5, t.few()/10)
	for _, q := range []struct {
		name, what string
		noise      Noise
	}{
		{"false_forecasts", "false forecasts in a week of a quiet network with a daily wave", calmNoise()},
		{"false_forecasts_noise", "the same under the noise of this trial", t.cfg.Noise},
	} {
		alarms, others := 0, 0
		for run := range n {
			if err := t.step("foreseeing quiet networks", run, n); err != nil {
				return err
			}
			w, err := t.forecaster(run, horizon, q.noise)
			if err != nil {
				return err
			}
			for range quietWeeks * 7 * dayIntervals {
				for _, trigger := range w.next(0, 0) {
					if trigger.Kind == tune.TriggerForecast {
						alarms++
					} else {
						others++
					}
					w.watch.Rebase()
				}
			}
		}
		rate := float64(alarms) / float64(n*quietWeeks)
		t.add(q.name, q.what, "<= 0.1", fmt.Sprintf("%.3f a week (%d in %d times %d weeks; %d of all other kinds)", rate, alarms, n, quietWeeks, others), rate, rate <= 0.1, n)
	}
	return t.creeping(4 * n)
}

// creeping has the latency become worse by 5 % within a day, after four quiet ones, and
// tells how long before that line it was foreseen, and when it is seen without a
// forecast.
func (t *trial) creeping(n int) error {
	var leads, without []float64
	before := 0
	for run := range n {
		if err := t.step("foreseeing creeping networks", run, n); err != nil {
			return err
		}
		for _, ahead := range []int{horizon, 0} {
			w, err := t.forecaster(10_000+run, ahead, calmNoise())
			if err != nil {
				return err
			}
			hours := w.lead() / 12
			if ahead == 0 {
				without = append(without, hours)
				continue
			}
			if leads = append(leads, hours); hours > 0 {
				before++
			}
		}
	}
	lead, late := middleOf(leads), middleOf(without)
	t.add("forecast_lead", "median hours from a reason to the line of 5 %, which latency reaches in a day", "> 0",
		fmt.Sprintf("%+.1f h (quarter %+.1f h); by the watch alone %+.1f h", lead, leads[len(leads)/4], late), lead, lead > 0, n)
	share := float64(before) / float64(n)
	t.add("foreseen", "of such losses, reasons before the line", ">= 0.8", fmt.Sprintf("%d of %d", before, n), share, share >= 0.8, n)
	return nil
}

// middleOf sorts and returns the median.
func middleOf(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// lead returns how many intervals before the line there was a reason: below 0 after it.
func (w *watcher) lead() float64 {
	for range 4 * dayIntervals {
		if len(w.next(0, 0)) > 0 {
			w.watch.Rebase()
		}
	}
	const patience = 10 * creep
	for i := range patience {
		loss := math.Log(1.05) * float64(i+1) / creep
		for _, trigger := range w.next(0, loss) {
			if trigger.Kind == tune.TriggerForecast || trigger.Kind == tune.TriggerLoss {
				return float64(creep - i - 1)
			}
		}
	}
	return -patience
}
