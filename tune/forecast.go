package tune

import (
	"fmt"
	"math"
)

const (
	// forecastSpan is over how many intervals a trend is fitted where no span is set,
	// forecastRow in how many in a row it must say the same.
	forecastSpan, forecastRow = 24, 3
	// forecastSure is how many standard errors a slope must be above 0: a trend is looked
	// at in every interval, so a single look must hardly err.
	forecastSure = 4.5
	z95          = 1.959964
	// loadName is the name of the load among the forecasts.
	loadName = "load"
)

// Forecast is what a metric is going to be, as shares against its level: above 0 is
// worse, of the load more.
type Forecast struct {
	Name    string  `json:"name"`
	Horizon int     `json:"horizon_intervals"` // from now
	Ready   bool    `json:"ready"`             // false while too little is known: then the figures are 0
	Now     float64 `json:"now"`               // without noise and hour of the day
	Ahead   float64 `json:"ahead"`
	Low     float64 `json:"low"` // 95 % interval of Ahead
	High    float64 `json:"high"`
	Limit   float64 `json:"limit"` // a loss that is a reason
	InRow   int     `json:"in_row"`
}

// trend foresees one metric, given as logarithms of which more is worse. It learns how
// the metric is at each hour of a period (a day), from what is older than its span, so
// that neither the hour nor a beginning loss is in it; then it looks for a ramp that
// began at that level, over the last quarter, half or whole of the span. To begin at a
// level that is known halves the error of its slope. The errors take the correlation of
// neighbours into account.
type trend struct {
	recent []float64 // not yet learned, the newest last
	slot   int       // of the period, of recent[0]
	means  []float64 // by slot
	counts []int
	noise  residuals
	row    int
	seen   ramp
	ready  bool
}

// residuals are the errors of what was learned.
type residuals struct {
	n                 int
	squares, together float64
	last              float64
}

func (r *residuals) add(e float64) {
	if r.n > 0 {
		r.together += e * r.last
	}
	r.n, r.squares, r.last = r.n+1, r.squares+e*e, e
}

// inflate is by how much the variance of a mean is greater since neighbours correlate.
func (r *residuals) inflate() float64 {
	if r.squares <= 0 {
		return 1
	}
	rho := min(max(r.together/r.squares, 0), 0.98)
	return (1 + rho) / (1 - rho)
}

// ramp is a loss that rises from 0.
type ramp struct {
	slope      float64 // in an interval
	slopeError float64
	length     float64 // intervals since it began
}

// add takes a value.
func (t *trend) add(v float64, span, period int) {
	period = max(period, 1)
	if t.means == nil {
		t.means, t.counts = make([]float64, period), make([]int, period)
	}
	t.recent = append(t.recent, v)
	if len(t.recent) <= max(span, period) {
		return
	}
	x, c := t.recent[0], t.counts[t.slot]
	t.recent = t.recent[1:]
	if c > 0 { // an error beside a mean of c has more than the noise
		t.noise.add((x - t.means[t.slot]) * math.Sqrt(float64(c)/float64(c+1)))
	}
	t.counts[t.slot]++
	t.means[t.slot] += (x - t.means[t.slot]) / float64(t.counts[t.slot])
	t.slot = (t.slot + 1) % period
	if t.ready = float64(t.noise.n) >= forecastEffective*t.noise.inflate(); t.ready {
		t.fit(span)
	}
}

// fit looks for the ramp that stands out most.
func (t *trend) fit(span int) {
	variance := t.noise.squares / float64(t.noise.n) * t.noise.inflate()
	days := float64(t.noise.n) / float64(len(t.means))
	best := math.Inf(-1)
	for _, length := range []int{span, span / 2, span / 4} {
		xx, xy, first := 0.0, 0.0, len(t.recent)-length
		for i, v := range t.recent[first:] {
			x := float64(i + 1)
			xx += x * x
			xy += x * (v - t.means[(t.slot+first+i)%len(t.means)])
		}
		// The level is not known better than it was learned: of all slots together as far
		// as a ramp goes, and of each by the number of periods.
		level := variance / float64(t.noise.n)
		shift := 1.5 / float64(length)
		r := ramp{slope: xy / xx, length: float64(length), slopeError: math.Sqrt(variance*(1+1/max(days, 1))/xx + level*shift*shift)}
		if z := r.slope / max(r.slopeError, 1e-12); z > best {
			best, t.seen = z, r
		}
	}
}

// ahead returns where the ramp is so many intervals from now, and its standard error.
func (r ramp) ahead(horizon int) (loss, deviation float64) {
	l := r.length + float64(horizon)
	return r.slope * l, r.slopeError * l
}

// foresees reports whether a loss beyond a limit is surely to come, and is not here yet,
// in so many intervals in a row.
func (t *trend) foresees(limit float64, horizon int) bool {
	if !t.ready {
		return false
	}
	loss, deviation := t.seen.ahead(horizon)
	now, _ := t.seen.ahead(0)
	if t.row++; now >= limit || loss-z95*deviation <= limit || loss <= forecastSure*deviation {
		t.row = 0
	}
	return t.row >= forecastRow
}

// forecast sums up for those who look on.
func (t *trend) forecast(name string, limit float64, horizon int) Forecast {
	f := Forecast{Name: name, Horizon: horizon, Limit: math.Expm1(limit), Ready: t.ready, InRow: t.row}
	if t.ready {
		loss, deviation := t.seen.ahead(horizon)
		now, _ := t.seen.ahead(0)
		f.Now, f.Ahead, f.Low, f.High = math.Expm1(now), math.Expm1(loss), math.Expm1(loss-z95*deviation), math.Expm1(loss+z95*deviation)
	}
	return f
}

// forecast says whether a metric is about to get worse by the loss that is a reason,
// though it is not yet.
func (w *Watch) forecast(m *watched, i int, o Observation) (Trigger, bool) {
	if w.cfg.Horizon == 0 {
		return Trigger{}, false
	}
	m.trend.add(w.cfg.Metrics[i].worse(o.Values[i]), w.cfg.Span, w.cfg.Period)
	if m.told {
		return Trigger{}, false
	}
	return w.foreseen(&m.trend, w.cfg.Metrics[i].Name, "worse", math.Log1p(w.cfg.Loss), o)
}

// foreseen is a reason, unless there was one of this kind within the cool-down: what is
// foreseen may come late or not at all, and must not begin a study in every interval. The
// CUSUM looks on meanwhile.
func (w *Watch) foreseen(t *trend, name, word string, limit float64, o Observation) (Trigger, bool) {
	if !t.foresees(limit, w.cfg.Horizon) || w.foretold && o.At < w.foretoldAt+w.cfg.ForecastEvery {
		return Trigger{}, false
	}
	w.foretold, w.foretoldAt = true, o.At
	f := t.forecast(name, limit, w.cfg.Horizon)
	return Trigger{
		Kind: TriggerForecast, At: o.At, What: name, Value: f.Ahead, Limit: f.Limit,
		Text: fmt.Sprintf("%s is %.3g %% %s than its level and will be %.3g %% in %d intervals (95 %% interval %.3g to %.3g %%)",
			name, 100*f.Now, word, 100*f.Ahead, w.cfg.Horizon, 100*f.Low, 100*f.High),
	}, true
}

// load foresees more traffic: by LoadRise.
func (w *Watch) load(o Observation) (Trigger, bool) {
	if w.cfg.Horizon == 0 || !(o.Load > 0) || math.IsInf(o.Load, 1) {
		return Trigger{}, false
	}
	w.loads.add(math.Log(o.Load), w.cfg.Span, w.cfg.Period)
	return w.foreseen(&w.loads, loadName, "more", math.Log1p(w.cfg.LoadRise), o)
}

// Forecasts returns what is foreseen of each metric and of the load, if a horizon is
// set; empty otherwise.
func (w *Watch) Forecasts() []Forecast {
	out := []Forecast{}
	if w.cfg.Horizon == 0 {
		return out
	}
	for i := range w.metrics {
		out = append(out, w.metrics[i].trend.forecast(w.cfg.Metrics[i].Name, math.Log1p(w.cfg.Loss), w.cfg.Horizon))
	}
	return append(out, w.loads.forecast(loadName, math.Log1p(w.cfg.LoadRise), w.cfg.Horizon))
}
