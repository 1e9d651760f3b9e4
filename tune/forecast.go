package tune

import (
	"fmt"
	"math"
)

const (
	// forecastSpan is over how many intervals a trend is fitted, forecastRow in how many
	// in a row it must say the same.
	forecastSpan, forecastRow = 24, 3
	// forecastSure is how many standard errors the slope must be above 0.
	forecastSure = 6.0
)

// trend is a line through the last losses of a metric.
type trend struct {
	losses []float64 // against the level, the newest last; at most forecastSpan
	row    int
}

// add takes a loss and returns what the line says the loss will be so many intervals
// from now. ok is false while there are too few, or the slope is not surely above 0:
// its standard error takes the correlation of neighbours into account.
func (t *trend) add(loss, rho float64, horizon int) (ahead float64, ok bool) {
	if t.losses = append(t.losses, loss); len(t.losses) > forecastSpan {
		t.losses = t.losses[1:]
	}
	n := float64(len(t.losses))
	if len(t.losses) < forecastSpan {
		return 0, false
	}
	middle, mean := (n-1)/2, 0.0
	for _, y := range t.losses {
		mean += y / n
	}
	xx, xy := 0.0, 0.0
	for i, y := range t.losses {
		x := float64(i) - middle
		xx += x * x
		xy += x * (y - mean)
	}
	slope := xy / xx
	left := 0.0
	for i, y := range t.losses {
		e := y - mean - slope*(float64(i)-middle)
		left += e * e
	}
	deviation := math.Sqrt(left / (n - 2) / xx * (1 + rho) / (1 - rho))
	return mean + slope*(middle+float64(horizon)), slope > forecastSure*deviation
}

// forecast says whether a metric is about to get worse by twice the loss that is a
// reason, though it is not yet.
func (w *Watch) forecast(m *watched, i int, o Observation) (Trigger, bool) {
	if w.cfg.Horizon == 0 || m.told {
		return Trigger{}, false
	}
	ahead, sure := m.trend.add(m.last, m.level.Rho(), w.cfg.Horizon)
	limit := 2 * math.Log1p(w.cfg.Loss)
	if m.trend.row++; !sure || ahead <= limit {
		m.trend.row = 0
	}
	if m.trend.row < forecastRow {
		return Trigger{}, false
	}
	m.told = true
	name := w.cfg.Metrics[i].Name
	return Trigger{
		Kind: TriggerForecast, At: o.At, What: name, Value: math.Expm1(ahead), Limit: math.Expm1(limit),
		Text: fmt.Sprintf("%s gets worse steadily: in %d intervals it will be %.3g %% worse than its level", name, w.cfg.Horizon, 100*math.Expm1(ahead)),
	}, true
}
