package web

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// gauge and counter describe the metrics of a window, all named shoal_tuner_* or
// shoal_window_*.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("shoal_"+name, help, labels, nil)
}

var (
	tunerPhase     = desc("tuner_phase", "1 for what the run is doing.", "phase")
	tunerHeld      = desc("tuner_held", "1 while a person holds the run.")
	tunerStage     = desc("tuner_stage_share_ratio", "Share of the units that run the candidate in the stage under way.")
	tunerEffect    = desc("tuner_effect_ratio", "Latency of the candidate over the incumbent, with its always-valid interval.", "bound")
	tunerLatency   = desc("tuner_latency_seconds", "Latency of lookups by arm and quantile.", "arm", "quantile")
	tunerSuccess   = desc("tuner_success_ratio", "Share of lookups that succeeded, by arm.", "arm")
	tunerSamples   = desc("tuner_samples", "Lookups that were measured, by arm.", "arm")
	tunerHeadroom  = desc("tuner_headroom_ratio", "What is left before a constraint is broken, 1 is all.", "constraint")
	tunerEvaluated = desc("tuner_evaluations", "Evaluations of the search under way.")
	tunerBest      = desc("tuner_best_seconds", "Lowest mean latency that the search has found on the twin.")
	tunerGauge     = desc("tuner_watch_ratio", "How near what is watched is to a reason to tune: above 1 it is one.", "watched")
	tunerDecided   = desc("tuner_rollouts_total", "Rollouts that the journal knows, by decision.", "decision")
	tunerEntries   = desc("tuner_journal_entries_total", "Entries of the journal.")
	windowAlarms   = desc("window_alarms", "Alarms that stand, by severity.", "severity")
	windowStreams  = desc("window_streams", "Pages that look.")
	windowReplies  = desc("window_replies_total", "Replies by HTTP status.", "code")
	windowSlow     = desc("window_streams_dropped_total", "Streams that were ended because the page did not take them.")
)

// collector tells Prometheus what the board shows. What is not known has no sample.
type collector struct{ s *Server }

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector.
func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		tunerPhase, tunerHeld, tunerStage, tunerEffect, tunerLatency, tunerSuccess, tunerSamples, tunerHeadroom, tunerEvaluated, tunerBest, tunerGauge,
		tunerDecided, tunerEntries, windowAlarms, windowStreams, windowReplies, windowSlow,
	} {
		out <- d
	}
}

// put sends one sample.
type put func(d *prometheus.Desc, kind prometheus.ValueType, x float64, labels ...string)

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	c.s.refresh()
	send := put(func(d *prometheus.Desc, kind prometheus.ValueType, x float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, x, labels...)
	})
	collectTuner(send, c.s.cfg.Board)
	if alarms, _, ok := partOf[Alarms](c.s.cfg.Board); ok {
		by := map[string]int{"info": 0, "warning": 0, "critical": 0}
		for _, a := range alarms.Alarms {
			by[a.Severity]++
		}
		for _, severity := range sorted(by) {
			send(windowAlarms, prometheus.GaugeValue, float64(by[severity]), severity)
		}
	}
	send(windowStreams, prometheus.GaugeValue, float64(len(c.s.streams)))
	codes, replies, slow := c.s.counts.read()
	for _, code := range codes {
		send(windowReplies, prometheus.CounterValue, float64(replies[code]), strconv.Itoa(code))
	}
	send(windowSlow, prometheus.CounterValue, float64(slow))
}

func collectTuner(send put, b *Board) {
	gauge := func(d *prometheus.Desc, x float64, labels ...string) { send(d, prometheus.GaugeValue, x, labels...) }
	optional := func(d *prometheus.Desc, x *float64, scale float64, labels ...string) {
		if x != nil {
			gauge(d, *x*scale, labels...)
		}
	}
	if run, _, ok := partOf[Run](b); ok {
		collectRun(gauge, optional, &run)
		tally, _ := b.counted()
		for _, decision := range sorted(tally.Decided) {
			send(tunerDecided, prometheus.CounterValue, float64(tally.Decided[decision]), decision)
		}
		send(tunerEntries, prometheus.CounterValue, float64(tally.Entries))
	}
	arms, _, _ := partOf[Arms](b)
	for _, a := range arms.Arms {
		gauge(tunerSamples, float64(a.Samples), a.Name)
		for _, q := range a.Quantiles {
			gauge(tunerLatency, q.MS.Value/1000, a.Name, strconv.FormatFloat(q.Q, 'g', -1, 64))
		}
		if a.Success != nil {
			gauge(tunerSuccess, a.Success.Value, a.Name)
		}
	}
	limits, _, _ := partOf[Limits](b)
	for _, l := range limits.Limits {
		optional(tunerHeadroom, l.Headroom, 1, l.Name)
	}
	watch, _, _ := partOf[Watch](b)
	for _, g := range watch.Gauges {
		if g.Limit > 0 {
			gauge(tunerGauge, g.Value/g.Limit, g.Name)
		}
	}
	if search, _, ok := partOf[Search](b); ok {
		gauge(tunerEvaluated, float64(search.Done))
		optional(tunerBest, search.BestMS, 1e-3)
	}
}

func collectRun(gauge func(*prometheus.Desc, float64, ...string), optional func(*prometheus.Desc, *float64, float64, ...string), run *Run) {
	gauge(tunerPhase, 1, run.Phase)
	held := 0.0
	if run.Held {
		held = 1
	}
	gauge(tunerHeld, held)
	for _, s := range run.Stages {
		if s.State == "running" {
			gauge(tunerStage, s.Share)
		}
	}
	if e := run.Effect; e != nil {
		gauge(tunerEffect, e.Ratio.Value, "estimate")
		optional(tunerEffect, e.Ratio.Low, 1, "low")
		optional(tunerEffect, e.Ratio.High, 1, "high")
	}
}
