package web

import "time"

// Part is something of which the board keeps the last value: Subject, Run, Arms,
// Shape, Peers, Fleet, Search, Front, Sensitivity, Limits, Alarms, Watch, Race, Library,
// Forecasts, Holdout, Knobs, Health or Table.
type Part interface{ part() string }

// Estimate is a figure with its 95 % interval. A bound is null where none is known.
type Estimate struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low" doc:"lower bound of the 95 % interval"`
	High  *float64 `json:"high" doc:"upper bound of the 95 % interval"`
}

// Subject says what the window looks at.
type Subject struct {
	Kind    string    `json:"kind" enum:"network,node"`
	Title   string    `json:"title"`
	Version string    `json:"version"`
	Began   time.Time `json:"began"`
	Facts   []Fact    `json:"facts"`
}

// Fact is a line about the subject that does not change.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Run is one round of the loop: measure, search, prove, keep or roll back. Phase is
// the word of whoever runs it.
type Run struct {
	ID        string    `json:"id"`
	Phase     string    `json:"phase" doc:"starting, measuring, watching, searching, proving, comparing, closing or ended"`
	Said      string    `json:"said" doc:"the last thing that was told in words"`
	Step      *Step     `json:"step" doc:"what is being done just now"`
	Began     time.Time `json:"began"`
	PlannedS  float64   `json:"planned_s" doc:"wall time that the run may take"`
	EndedS    *float64  `json:"ended_s" doc:"wall time that it took, null before its end"`
	Trigger   string    `json:"trigger" doc:"why it runs"`
	Preset    string    `json:"preset" doc:"of stages and errors"`
	RatePerS  *float64  `json:"rate_per_s" doc:"operations a second of the workload, null before it was found"`
	WashoutS  *float64  `json:"washout_s" doc:"dropped after each switch, null before it was found"`
	Incumbent Setting   `json:"incumbent"`
	Candidate *Setting  `json:"candidate" doc:"null while there is none"`
	Changes   []Change  `json:"changes" doc:"from the incumbent to the candidate"`
	Stages    []Stage   `json:"stages"`
	Effect    *Effect   `json:"effect" doc:"of the last stage that ran, null before it has data"`
	Success   *Compared `json:"success" doc:"of lookups, in the same stage"`
	// FalseAlarms is what the rollout promises about itself.
	FalseAlarms *FalseAlarms `json:"false_alarms"`
	Decision    string       `json:"decision" doc:"empty while there is none"`
	Why         string       `json:"why"`
	Held        bool         `json:"held" doc:"nothing goes on until a person resumes"`
	Awaits      string       `json:"awaits" doc:"what approval is waited for, empty for none"`
	Ordered     []string     `json:"ordered" doc:"orders that are given and not yet obeyed"`
	Error       string       `json:"error" doc:"why the run failed, empty if it did not"`
	Notes       []Note       `json:"notes" doc:"orders that were given here, the last 16"`
	Orders      []string     `json:"orders" doc:"what may be ordered now: optimize, pause, resume, rollback, promote, approve"`
}

// Note is an order that a person gave.
type Note struct {
	At     time.Time `json:"at"`
	Order  string    `json:"order"`
	Reason string    `json:"reason"`
}

// Step is what is being done and how far it has come.
type Step struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Done  int64  `json:"done"`
	Total int64  `json:"total" doc:"0 if it is not known"`
}

// Setting is a configuration.
type Setting struct {
	Hash string `json:"hash"`
	Name string `json:"name" doc:"of the preset, empty if it is none"`
}

// Change is one knob that the candidate sets otherwise.
type Change struct {
	Knob  string `json:"knob"`
	From  string `json:"from"`
	To    string `json:"to"`
	Unit  string `json:"unit"`
	Doc   string `json:"doc"`
	Apply string `json:"apply" enum:"hot,restart,ordered"`
	Scope string `json:"scope" enum:"request,node,network"`
}

// Stage is one step of a rollout.
type Stage struct {
	Share      float64   `json:"share" doc:"of the units that run the candidate"`
	Assignment string    `json:"assignment" doc:"what is split: requests, peers or blocks of time"`
	Units      int       `json:"units" doc:"cycles that count"`
	Samples    int       `json:"samples" doc:"of both arms"`
	Ratio      *Estimate `json:"ratio" doc:"latency of the candidate over the incumbent, null before the first cycle"`
	State      string    `json:"state" enum:"waiting,running,ended,skipped"`
	Verdict    string    `json:"verdict"`
	Why        string    `json:"why,omitempty"`
}

// Effect is a ratio of latencies, candidate over incumbent: below 1 is better. Its
// interval holds however often one looks.
type Effect struct {
	Metric     string   `json:"metric"`
	Ratio      Estimate `json:"ratio"`
	NIncumbent int      `json:"n_incumbent"`
	NCandidate int      `json:"n_candidate"`
}

// Compared is a ratio of successes in both arms and the interval of its difference.
type Compared struct {
	Incumbent *float64 `json:"incumbent"`
	Candidate *float64 `json:"candidate"`
	Low       *float64 `json:"difference_low"`
	High      *float64 `json:"difference_high"`
}

// FalseAlarms are the error rates that a rollout is run with.
type FalseAlarms struct {
	Harm    float64 `json:"harm" doc:"probability at most, by stage and guard, that a harmless candidate is rolled back"`
	Promote float64 `json:"promote" doc:"probability at most that a candidate without effect is promoted"`
}

// Arms are what the configurations did on the network.
type Arms struct {
	Metric string `json:"metric" doc:"what the latency is of"`
	During string `json:"during" doc:"what was measured: a stage of the rollout, or the final table"`
	Arms   []Arm  `json:"arms"`
}

// Arm is what one configuration did.
type Arm struct {
	Name      string     `json:"name" enum:"baseline,default,tuned"`
	Config    string     `json:"config" doc:"hash"`
	Samples   int        `json:"samples"`
	Quantiles []Quantile `json:"quantiles"`
	Mean      *Estimate  `json:"mean_ms" doc:"null without samples"`
	Success   *Estimate  `json:"success_ratio" doc:"null without samples"`
	Messages  *Estimate  `json:"messages_per_lookup" doc:"null where it was not counted"`
	Entries   *float64   `json:"entries" doc:"mean members of a routing table, null where the arms could not be told apart"`
	BytesPerS *float64   `json:"bytes_per_s"`
	CPUShare  *float64   `json:"cpu_share" doc:"processor seconds of the whole process a second"`
	Seconds   *float64   `json:"seconds" doc:"for which the whole network ran it"`
}

// Quantile is a latency that a share of lookups does not exceed. Failures count
// with their time-out.
type Quantile struct {
	Q  float64  `json:"q"`
	MS Estimate `json:"ms"`
}

// Shape is the size of every bucket of a routing table, before and after.
type Shape struct {
	Peers   int            `json:"peers" doc:"of the network"`
	Buckets []ShapedBucket `json:"buckets"`
}

// ShapedBucket is one bucket of a shape.
type ShapedBucket struct {
	Bucket    int     `json:"bucket"`
	Capacity  float64 `json:"capacity" doc:"peers that the network has for it: peers / 2^(bucket+1)"`
	Incumbent int     `json:"incumbent" doc:"places"`
	Candidate *int    `json:"candidate" doc:"places, null while there is no candidate"`
	Why       string  `json:"why"`
}

// Peers are the peers of a network, numbered from 0.
type Peers struct {
	Peers []Peer `json:"peers"`
}

// Peer is a peer and where it is.
type Peer struct {
	Name    string  `json:"name"`
	Site    string  `json:"site"`
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Located bool    `json:"located" doc:"whether lat and lon say anything"`
}

// Fleet is how the peers are now, each list in the order of Peers.
type Fleet struct {
	Arm     []int `json:"arm" doc:"0 runs the incumbent, 1 the candidate"`
	Entries []int `json:"entries" doc:"members of the routing table"`
	// Runs has no order of peers: usually there are one or two of them.
	Runs []Running `json:"runs" doc:"what the peers that are up say they run, by hash"`
}

// Running is a configuration and how many peers say that they run it.
type Running struct {
	Config string `json:"config" doc:"hash"`
	Peers  int    `json:"peers"`
}

// Search is a search on the twin.
type Search struct {
	Family      string     `json:"family" doc:"optimizer"`
	Budget      int        `json:"budget" doc:"evaluations that were planned"`
	Done        int        `json:"done" doc:"evaluations so far"`
	BaselineMS  *float64   `json:"baseline_ms" doc:"mean latency of the incumbent on the twin"`
	BestMS      *float64   `json:"best_ms" doc:"lowest mean latency of all that may be candidates"`
	TwinP50MS   *float64   `json:"twin_p50_ms" doc:"of the incumbent, simulated"`
	NetP50MS    *float64   `json:"network_p50_ms" doc:"of the incumbent, measured"`
	Constraints []string   `json:"constraints"`
	Steps       []Progress `json:"steps" doc:"lowest value against evaluations"`
}

// Progress is one point of a search's progress.
type Progress struct {
	Evaluations int     `json:"evaluations"`
	BestMS      float64 `json:"best_ms"`
}

// Sensitivity is how the score moves with each knob over what was tried.
type Sensitivity struct {
	Method string        `json:"method"`
	Metric string        `json:"metric"`
	Unit   string        `json:"unit"`
	Trials int           `json:"trials"`
	Least  int           `json:"least" doc:"bins with fewer trials are drawn hollow"`
	Knobs  []KnobEffects `json:"knobs"`
	Causes []Cause       `json:"causes" doc:"what the rollouts have shown of each changed knob, by the lots that they drew"`
}

// Cause is the effect of one change of a knob on the network's latency.
type Cause struct {
	Knob     string   `json:"knob"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	InForce  bool     `json:"in_force" doc:"whether the change stands"`
	Rollouts int      `json:"rollouts" doc:"that made or undid it"`
	Samples  int      `json:"samples" doc:"of the tuned arm"`
	With     []Change `json:"with" doc:"changed always together with it, so that the ratio is of all of them"`
	Ratio    Estimate `json:"ratio" doc:"latency with the change over latency without it: below 1 is better"`
	Text     string   `json:"text" doc:"the counterfactual in words"`
}

// KnobEffects is the effect of one knob, by bins of its value.
type KnobEffects struct {
	Knob string `json:"knob"`
	Unit string `json:"unit"`
	// Information is by bins of about as many trials each, corrected for their number.
	Information float64 `json:"information_nats" doc:"mutual information of its value and the latency over the trials"`
	Bins        []Bin   `json:"bins"`
}

// Bin is a range of a knob's values and the effect of lying there.
type Bin struct {
	Label  string   `json:"label"`
	From   float64  `json:"from" doc:"least value; of a choice its number"`
	To     float64  `json:"to" doc:"largest value"`
	N      int      `json:"n"`
	Effect Estimate `json:"effect" doc:"against the mean over all trials"`
}

// Limits are the constraints and how far they are.
type Limits struct {
	Limits []Limit `json:"limits"`
}

// Front are the evaluations of the last search of which none is better in everything:
// mean latency, table entries, messages a lookup and success.
type Front struct {
	Points []FrontPoint `json:"points"`
}

// FrontPoint is one of them, the fastest first.
type FrontPoint struct {
	Trial    uint64            `json:"trial" doc:"number of the evaluation"`
	MeanMS   float64           `json:"mean_ms"`
	Entries  float64           `json:"entries" doc:"of a table"`
	Messages float64           `json:"messages" doc:"of a lookup"`
	Success  float64           `json:"success_ratio"`
	Changes  map[string]string `json:"changes" doc:"values of the knobs that differ from what runs: the candidate of an order that has it proven"`
}

// Limit is one constraint. Value is null where nothing was measured, which is no
// pass.
type Limit struct {
	Name     string    `json:"name"`
	Doc      string    `json:"doc"`
	Unit     string    `json:"unit"`
	Value    *Estimate `json:"value"`
	Bound    float64   `json:"bound"`
	AtMost   bool      `json:"at_most" doc:"the value must not exceed the bound; else it must reach it"`
	Scale    float64   `json:"scale" doc:"the value without any change: the headroom is measured against bound - scale"`
	Headroom *float64  `json:"headroom" doc:"share of the way from scale to bound that is left: above 1 where it is better than without the change, negative where the bound is broken"`
	State    string    `json:"state" enum:"holds,broken,no_data"`
}

// NewLimit holds a value against a bound. scale is the value without any change, from
// which the way to the bound is measured.
func NewLimit(b Bound, unit string, value *Estimate, scale float64) Limit {
	l := Limit{Name: b.Name, Doc: b.Doc, Unit: unit, Value: value, Bound: b.Value, AtMost: b.AtMost, Scale: scale, State: "no_data"}
	if value == nil {
		return l
	}
	l.State = "holds"
	if b.AtMost && value.Value > b.Value || !b.AtMost && value.Value < b.Value {
		l.State = "broken"
	}
	if way := b.Value - scale; way != 0 {
		left := (b.Value - value.Value) / way
		l.Headroom = &left
	}
	return l
}

// Alarms are what a person should look at.
type Alarms struct {
	Alarms []Alarm `json:"alarms"`
}

// Alarm is one cause, however often it repeats.
type Alarm struct {
	ID       string    `json:"id"`
	Severity string    `json:"severity" enum:"info,warning,critical"`
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
	Count    int       `json:"count"`
}

// Watch is what a service that goes on looks out for.
type Watch struct {
	State   string   `json:"state" doc:"idle, study, rollout or soak"`
	Peers   int      `json:"peers" doc:"that are left"`
	Waiting []string `json:"waiting" doc:"reasons to tune that are queued, in words"`
	Gauges  []Gauge  `json:"gauges"`
}

// Gauge is how near something that is watched is to being a reason to tune.
type Gauge struct {
	Name  string   `json:"name"`
	Value float64  `json:"value" doc:"cumulated sum of a metric, or stability index of the traffic"`
	Limit float64  `json:"limit" doc:"a value above it is a reason"`
	Loss  *float64 `json:"loss" doc:"how much worse the last interval was than the level, as a share; null where there is none"`
}

// Knobs are all tunables with their values.
type Knobs struct {
	Knobs []Knob `json:"knobs"`
}

// Knob is a tunable.
type Knob struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Unit      string   `json:"unit"`
	Range     string   `json:"range"`
	Incumbent string   `json:"incumbent" doc:"value in force"`
	Candidate string   `json:"candidate,omitempty" doc:"value of the candidate where it differs"`
	Default   string   `json:"default"`
	Stock     string   `json:"stock"`
	Apply     string   `json:"apply" enum:"hot,restart,ordered"`
	Scope     string   `json:"scope" enum:"request,node,network"`
	Step      string   `json:"step" doc:"the most that it may change at once, in words"`
	Costs     []string `json:"costs" doc:"resources of which a larger value takes more, or less with a minus"`
	Doc       string   `json:"doc"`
}

// Health is how a peer is.
type Health struct {
	Peer        string        `json:"peer"`
	UpS         float64       `json:"up_s"`
	Score       int           `json:"score" doc:"0 to 100: fill times live share times answered share"`
	Contacts    int           `json:"contacts"`
	NetworkSize int           `json:"network_size" doc:"estimated"`
	Roster      int           `json:"roster" doc:"peers of the roster, 0 without one"`
	Settled     bool          `json:"roster_settled"`
	Fill        float64       `json:"fill"`
	Stale       float64       `json:"stale_share"`
	Answered    float64       `json:"answered"`
	Lookups     RecentLookups `json:"lookups"`
	Total       uint64        `json:"lookups_total"`
	Served      uint64        `json:"served"`
	Sent        uint64        `json:"sent"`
	BytesIn     uint64        `json:"bytes_in"`
	BytesOut    uint64        `json:"bytes_out"`
	Refused     uint64        `json:"refused"`
	Crowded     uint64        `json:"crowded"`
	LagMS       float64       `json:"lag_ms" doc:"longest wait for the peer's event loop since the last look"`
}

// RecentLookups are the lookups of the last minutes. Times are null without any.
type RecentLookups struct {
	Count  uint64   `json:"count"`
	Failed uint64   `json:"failed"`
	P50    *float64 `json:"p50_ms"`
	P90    *float64 `json:"p90_ms"`
	P99    *float64 `json:"p99_ms"`
}

// Table is a peer's routing table, bucket by bucket.
type Table struct {
	Buckets  []Bucket  `json:"buckets"`
	Contacts []Contact `json:"contacts"`
	Hidden   int       `json:"hidden" doc:"contacts beyond those that are listed"`
}

// Bucket is one bucket of a table.
type Bucket struct {
	Bucket   int      `json:"bucket"`
	Places   int      `json:"places"`
	Members  int      `json:"members"`
	Spares   int      `json:"spares"`
	Requests uint64   `json:"requests"`
	Answered *float64 `json:"answered" doc:"share of requests, null before the first"`
	Stale    *float64 `json:"stale_share" doc:"null without members"`
	AgeS     *float64 `json:"age_s" doc:"median"`
	RTTMS    *float64 `json:"rtt_ms" doc:"median, null where none was measured"`
}

// Contact is a peer that the table knows.
type Contact struct {
	Peer     string   `json:"peer"`
	Bucket   int      `json:"bucket"`
	Member   bool     `json:"member"`
	Why      string   `json:"why"`
	SilenceS float64  `json:"silence_s"`
	RTTMS    *float64 `json:"rtt_ms"`
	Failures int      `json:"failures"`
}

func (Subject) part() string     { return "subject" }
func (Run) part() string         { return "run" }
func (Arms) part() string        { return "arms" }
func (Shape) part() string       { return "shape" }
func (Peers) part() string       { return "peers" }
func (Fleet) part() string       { return "fleet" }
func (Search) part() string      { return "search" }
func (Sensitivity) part() string { return "sensitivity" }
func (Limits) part() string      { return "limits" }
func (Alarms) part() string      { return "alarms" }
func (Front) part() string       { return "front" }
func (Watch) part() string       { return "watch" }
func (Knobs) part() string       { return "knobs" }
func (Health) part() string      { return "health" }
func (Table) part() string       { return "table" }
