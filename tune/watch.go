package tune

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// Direction says which way a metric improves.
type Direction bool

// The directions.
const (
	Lower  Direction = false // less is better: latency
	Higher Direction = true  // more is better: success
)

// Metric is a figure of the whole network that is watched, above 0.
type Metric struct {
	Name   string
	Better Direction
}

// Improvement returns by how much a value is better than another, as a share with its
// sign: above 0 is better, whatever the direction.
func (m Metric) Improvement(from, to float64) float64 {
	if m.Better == Higher {
		return to/from - 1
	}
	return 1 - to/from
}

// worse turns a value so that a rise of the result is a loss, in logarithms.
func (m Metric) worse(x float64) float64 {
	v := math.Log(max(x, 1e-9))
	if m.Better == Higher {
		return -v
	}
	return v
}

// Observation is what one interval shows of the network as a whole.
type Observation struct {
	At time.Duration `json:"at_ns"` // its end
	// Values are of the metrics in the order of the WatchConfig; NaN or 0 and less is no
	// data. JSON has no NaN: a world tells 0.
	Values []float64 `json:"values"`
	// Traffic are histograms of the workload in the order of the WatchConfig, each over
	// bins that never change: popularity of keys by rank, kinds of operations, distance.
	Traffic [][]int `json:"traffic,omitempty"`
	Config  string  `json:"config,omitempty"` // hash of what the operator declared; empty is unknown
	Peers   int     `json:"peers,omitempty"`
	Changed int     `json:"changed,omitempty"` // peers that came or went in the interval
	Load    float64 `json:"load,omitempty"`    // operations of the interval; 0 is no data
}

// WatchConfig says what is watched and how.
type WatchConfig struct {
	Interval time.Duration
	Metrics  []Metric
	Traffic  []string
	// Loss is the share by which a metric must have become worse; 0 means 0.05.
	Loss float64
	// FalseEvery is the mean time to a false alarm of each metric; 0 means 180 days.
	FalseEvery time.Duration
	// Horizon is how many intervals ahead a loss is looked for that is not here yet, and
	// a rise of the load by LoadRise (0 means 0.5); 0 does not look.
	Horizon  int
	LoadRise float64
	// Span is over how many intervals a trend is taken; 0 means 24. Period is after how
	// many the traffic repeats, such as a day: the hour of the day is then no trend, and
	// nothing is foreseen before a period and a span have passed. 0 means never.
	Span, Period int
	// ForecastEvery is the least time between two reasons of what is foreseen; 0 means 24
	// hours.
	ForecastEvery time.Duration
	// Row is how many windows in a row must show a new pattern of traffic; 0 means 3.
	Row int
	// ChangedPeers is the share of peers that may come or go within MemberSpan; 0 means
	// 0.2 in 24 hours.
	ChangedPeers float64
	MemberSpan   time.Duration
}

// The limits of a changed pattern: the stability index, and the p-value of the test
// of Kolmogorov and Smirnov. A histogram counts once it has so many items.
const (
	stabilityLimit = 0.2
	smirnovLimit   = 1e-3
	leastItems     = 200
	// leastEffective is of how many independent intervals a level must be known,
	// forecastEffective before something is foreseen.
	leastEffective    = 24
	forecastEffective = 32
	// referenceWindows are the windows after a rebase that are the pattern of before.
	referenceWindows = 12
)

// TriggerKind says why something should be looked for.
type TriggerKind string

// The kinds.
const (
	TriggerLoss     TriggerKind = "degradation"
	TriggerTraffic  TriggerKind = "traffic"
	TriggerConfig   TriggerKind = "configuration"
	TriggerMembers  TriggerKind = "membership"
	TriggerSchedule TriggerKind = "schedule"
	TriggerManual   TriggerKind = "manual"
	TriggerForecast TriggerKind = "forecast"
	TriggerRest     TriggerKind = "rest" // components of a candidate that wait for their turn
)

// Trigger is a reason to look for a better configuration.
type Trigger struct {
	Kind TriggerKind   `json:"kind"`
	At   time.Duration `json:"at_ns"`
	What string        `json:"what"` // metric or histogram; empty where there is none
	Text string        `json:"text"` // for people
	// Value was above Limit: a sum, an index or a share, by the kind.
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Rest  string  `json:"rest,omitempty"` // of TriggerRest: the changes, in lines "name = value"
}

// Watch looks for reasons to tune in a stream of observations. It is a machine that
// is only told: the reasons are what Tell returns. Levels and patterns are learned
// from what it sees after each Rebase.
type Watch struct {
	cfg     WatchConfig
	metrics []watched
	traffic []pattern
	config  string
	loads   trend
	// foretold says that something was foreseen, the last time at foretoldAt: it outlives
	// Rebase.
	foretold   bool
	foretoldAt time.Duration
	changes    []int // peers that changed, by interval, the last MemberSpan
	peers      int
}

// watched is one metric.
type watched struct {
	profile stat.Profile
	scan    stat.Scan
	last    float64 // the loss against the profile
	told    bool
	trend   trend
	unusual stat.Surprise
	strange float64 // what it says
	calm    int     // intervals since a loss that would be worth a reason
}

// The spans of what is unusual, in intervals: those by which shoal tune detect rates it.
const (
	unusualShort = 10
	unusualLong  = 2016
)

// UnusualLimit is the Gauge.Unusual above which somebody should look, the threshold that
// is best on labelled series (shoal tune detect).
const UnusualLimit = 5.6

// pattern is one histogram.
type pattern struct {
	reference, current []int
	windows            int
	row                int
	index              float64
}

// NewWatch returns a watch that has seen nothing.
func NewWatch(cfg WatchConfig) (*Watch, error) {
	if cfg.Loss == 0 {
		cfg.Loss = 0.05
	}
	if cfg.FalseEvery == 0 {
		cfg.FalseEvery = 180 * 24 * time.Hour
	}
	if cfg.Row == 0 {
		cfg.Row = 3
	}
	if cfg.Span == 0 {
		cfg.Span = forecastSpan
	}
	if cfg.ForecastEvery == 0 {
		cfg.ForecastEvery = 24 * time.Hour
	}
	if cfg.LoadRise == 0 {
		cfg.LoadRise = 0.5
	}
	if cfg.ChangedPeers == 0 {
		cfg.ChangedPeers = 0.2
	}
	if cfg.MemberSpan == 0 {
		cfg.MemberSpan = 24 * time.Hour
	}
	if cfg.Interval <= 0 || cfg.FalseEvery < cfg.Interval || cfg.MemberSpan < cfg.Interval || !(cfg.Loss > 0) || cfg.Row < 1 || cfg.Horizon < 0 || cfg.Span < 4 || cfg.Period < 0 || !(cfg.LoadRise > 0) || !(cfg.ChangedPeers > 0) {
		return nil, fmt.Errorf("tune: watch %+v: want an interval above 0, times no shorter than it, and limits above 0", cfg)
	}
	w := &Watch{cfg: cfg, metrics: make([]watched, len(cfg.Metrics))}
	w.Rebase()
	return w, nil
}

// Rebase forgets levels and patterns: what comes is how it should be. The waves of days
// and weeks are kept, as a change of the configuration hardly moves them. It is called
// when an experiment is closed, never during one: a level that follows what it should
// judge is a ratchet.
func (w *Watch) Rebase() {
	for i := range w.metrics {
		w.metrics[i].begin(&w.cfg)
	}
	w.loads = trend{}
	w.traffic = make([]pattern, len(w.cfg.Traffic))
	w.changes, w.peers = nil, 0
}

// Tell takes an observation and returns the reasons that it completes. A metric or
// histogram that has given one is silent until Rebase.
func (w *Watch) Tell(o Observation) []Trigger {
	var out []Trigger
	for i := range min(len(w.metrics), len(o.Values)) {
		if t, ok := w.metric(i, o); ok {
			out = append(out, t)
		}
	}
	if len(o.Values) == 0 { // nothing is known of the network as a whole
		for i := range w.metrics {
			w.metrics[i].strange = 0
		}
	}
	if t, ok := w.load(o); ok {
		out = append(out, t)
	}
	for i := range min(len(w.traffic), len(o.Traffic)) {
		if t, ok := w.pattern(i, o); ok {
			out = append(out, t)
		}
	}
	if o.Config != "" {
		if w.config != "" && w.config != o.Config {
			out = append(out, Trigger{Kind: TriggerConfig, At: o.At, Text: fmt.Sprintf("the declared configuration changed from %s to %s", w.config, o.Config)})
		}
		w.config = o.Config
	}
	if t, ok := w.members(o); ok {
		out = append(out, t)
	}
	return out
}

// metric looks at one metric: it is held against its profile, and a window of what is
// left must stand out. A loss must also be as large as declared: a long small one is no
// reason.
func (w *Watch) metric(i int, o Observation) (Trigger, bool) {
	x, m := o.Values[i], &w.metrics[i]
	if !(x > 0) || math.IsInf(x, 1) {
		return Trigger{}, false
	}
	if m.told {
		return w.forecast(m, i, o)
	}
	loss := w.cfg.Metrics[i].worse(x)
	m.strange = m.unusual.Add(loss)
	scored := m.profile.Add(o.At.Hours(), loss)
	if m.profile.Effective() < leastEffective {
		return w.forecast(m, i, o)
	}
	m.last = scored.Above
	if m.calm++; m.last > m.scan.Least {
		m.calm = 0
	}
	if !m.scan.Add(scored) {
		return w.forecast(m, i, o)
	}
	m.told, m.strange = true, 0
	name, found := w.cfg.Metrics[i].Name, m.scan.Found()
	return Trigger{
		Kind: TriggerLoss, At: o.At, What: name, Value: found.Value, Limit: m.scan.Limit,
		Text: fmt.Sprintf("%s is %.3g %% worse than its profile over %d intervals (%.1f standard errors, above %.1f: a false alarm in %v)",
			name, 100*math.Expm1(found.Mean), found.Length, found.Value, m.scan.Limit, w.cfg.FalseEvery),
	}, true
}

// The waves that a metric may have, in hours, with the size that is expected of them.
// Those of six and eight in a week make a day's wave another one on another day.
var waves = []stat.Wave{
	{Period: 168, Spread: 0.025},
	{Period: 84, Spread: 0.02},
	{Period: 56, Spread: 0.01},
	{Period: 24, Spread: 0.07},
	{Period: 12, Spread: 0.03},
	{Period: 8, Spread: 0.02},
	{Period: 6, Spread: 0.015},
	{Period: 28, Spread: 0.015},
	{Period: 21, Spread: 0.015},
}

const (
	// profileHours is how long the past counts, shortestWindow and longestHours how many
	// intervals a loss is looked for at least and how many hours at most.
	profileHours   = 14 * 24
	profileLeast   = 1000 // intervals, where they are long
	shortestWindow = 6
	longestHours   = 48
)

// Quiet returns what a metric is held against, in intervals of a length: how it is when
// nothing changes, and by which windows a loss is looked for, both before they have seen
// anything. The caller sets the least loss and the limit.
func Quiet(interval time.Duration) (stat.Profile, stat.Scan) {
	hours := interval.Hours()
	longest := min(max(int(longestHours/hours), 48), 576)
	p := stat.Profile{Memory: max(profileHours/hours, profileLeast), Lag: longest}
	for _, wave := range waves {
		if wave.Period >= 4*hours {
			p.Waves = append(p.Waves, wave)
		}
	}
	return p, stat.Scan{Shortest: shortestWindow, Longest: longest}
}

// begin sets a metric up for the first time, or forgets its level.
func (m *watched) begin(cfg *WatchConfig) {
	profile, scan := Quiet(cfg.Interval)
	if m.profile.Memory == 0 {
		m.profile = profile
	}
	m.profile.Forget()
	m.scan = scan
	m.scan.Least = math.Log1p(cfg.Loss)
	m.scan.Limit = stat.ScanLimit(scan.Shortest, scan.Longest, float64(cfg.FalseEvery)/float64(cfg.Interval))
	m.last, m.told, m.trend = 0, false, trend{}
	m.unusual = stat.Surprise{Short: unusualShort, Long: unusualLong}
	m.strange, m.calm = 0, unusualShort
}

// pattern looks at one histogram against that of the first windows.
func (w *Watch) pattern(i int, o Observation) (Trigger, bool) {
	p, counts := &w.traffic[i], o.Traffic[i]
	if p.reference == nil {
		p.reference, p.current = make([]int, len(counts)), make([]int, len(counts))
	}
	if len(counts) != len(p.reference) || slices.Min(append([]int{0}, counts...)) < 0 {
		return Trigger{}, false
	}
	if p.windows < referenceWindows || total(p.reference) < leastItems {
		addCounts(p.reference, counts)
		p.windows++
		return Trigger{}, false
	}
	if p.row >= w.cfg.Row {
		return Trigger{}, false // told before
	}
	if addCounts(p.current, counts); total(p.current) < leastItems {
		return Trigger{}, false
	}
	p.index = stat.Stability(p.reference, p.current)
	_, small := stat.KolmogorovSmirnovCounts(p.reference, p.current)
	clear(p.current)
	// A small p-value of many items is not yet a large difference: half the index, too.
	if p.row++; p.index <= stabilityLimit && !(small < smirnovLimit && p.index > stabilityLimit/2) {
		p.row = 0
	}
	if p.row < w.cfg.Row {
		return Trigger{}, false
	}
	return Trigger{
		Kind: TriggerTraffic, At: o.At, What: w.cfg.Traffic[i], Value: p.index, Limit: stabilityLimit,
		Text: fmt.Sprintf("the traffic has a new pattern of %s: stability index %.2f, above %g, in %d windows in a row (Kolmogorov-Smirnov p %.2g)",
			w.cfg.Traffic[i], p.index, stabilityLimit, p.row, small),
	}, true
}

func total(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func addCounts(to, from []int) {
	for i := range to {
		to[i] += from[i]
	}
}

// members looks at how many peers came and went of late.
func (w *Watch) members(o Observation) (Trigger, bool) {
	if o.Peers <= 0 || o.Changed < 0 {
		return Trigger{}, false
	}
	w.peers = max(w.peers, o.Peers)
	if w.changes = append(w.changes, o.Changed); len(w.changes) > int(w.cfg.MemberSpan/w.cfg.Interval) {
		w.changes = w.changes[1:]
	}
	share := float64(total(w.changes)) / float64(w.peers)
	if share <= w.cfg.ChangedPeers {
		return Trigger{}, false
	}
	w.changes, w.peers = nil, 0
	return Trigger{
		Kind: TriggerMembers, At: o.At, Value: share, Limit: w.cfg.ChangedPeers,
		Text: fmt.Sprintf("%.0f %% of the peers came or went within %v", 100*share, w.cfg.MemberSpan),
	}, true
}

// Gauge is how near a metric or histogram is to giving a reason.
type Gauge struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"` // standard errors or stability index
	Limit float64 `json:"limit"`
	Loss  float64 `json:"loss"` // of the last interval against the level, as a share; 0 for histograms
	// Unusual is how many standard errors the changes of the last intervals are larger than
	// those before (stat.Surprise); 0 if none of them was worth a reason, and for
	// histograms. It is no reason to tune: what comes and goes is for a person.
	Unusual float64 `json:"unusual"`
}

// Gauges returns all of them.
func (w *Watch) Gauges() []Gauge {
	out := []Gauge{}
	for i := range w.metrics {
		m := &w.metrics[i]
		g := Gauge{Name: w.cfg.Metrics[i].Name, Value: m.scan.Found().Value, Limit: m.scan.Limit, Loss: math.Expm1(m.last)}
		if m.calm < unusualShort {
			g.Unusual = m.strange
		}
		out = append(out, g)
	}
	for i := range w.traffic {
		out = append(out, Gauge{Name: w.cfg.Traffic[i], Value: w.traffic[i].index, Limit: stabilityLimit})
	}
	return out
}
