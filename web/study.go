package web

import "time"

// Race is the race of learners of a study, under way or the last one.
type Race struct {
	Study    int       `json:"study" doc:"its number"`
	Phase    string    `json:"phase" doc:"search, choose, check or over"`
	Spent    int       `json:"evaluations" doc:"of all racers"`
	Planned  int       `json:"planned" doc:"at most"`
	Winner   string    `json:"winner" doc:"empty before it is chosen"`
	Why      string    `json:"why" doc:"what came of it, empty until then"`
	Racers   []Racer   `json:"racers"`
	Episodes []Episode `json:"episodes" doc:"of deep Q-learning, the newest 256"`
}

// Racer is one of the learners. Ratios are of latency to what runs: below 1 is better.
type Racer struct {
	Name        string       `json:"name"`
	Evaluations int          `json:"evaluations" doc:"of its search"`
	Curve       []CurvePoint `json:"curve" doc:"least score so far, a noisy one"`
	Config      string       `json:"config" doc:"hash of what it holds, empty before the end of the search"`
	Chosen      *float64     `json:"chosen_ratio" doc:"when it was chosen, too good by the luck of that; null before"`
	Effect      *Estimate    `json:"effect" doc:"measured again on fresh seeds beside what runs; null before"`
	N           int          `json:"n" doc:"pairs of measurements of the effect"`
	Penalty     float64      `json:"penalty" doc:"for constraints that it breaks"`
}

// CurvePoint is a point of a learning curve.
type CurvePoint struct {
	N    int     `json:"n" doc:"evaluations of this racer"`
	Best float64 `json:"best_ratio"`
}

// Episode is one of deep Q-learning.
type Episode struct {
	N       int      `json:"n"`
	Epsilon float64  `json:"epsilon" doc:"share of moves by chance"`
	Reward  float64  `json:"reward" doc:"sum of its steps"`
	Steps   int      `json:"steps"`
	Loss    *float64 `json:"loss" doc:"mean of its steps of learning; null while it only collects"`
}

// Library is what the library of studies said at the beginning of the study.
type Library struct {
	Site     string     `json:"site" doc:"name of this library"`
	Studies  int        `json:"studies" doc:"that it has"`
	Workload string     `json:"workload" doc:"that the study is for, in words"`
	Matches  []Match    `json:"matches" doc:"similar studies, nearest first"`
	Starts   []Start    `json:"starts" doc:"configurations to begin with"`
	Order    []Standing `json:"order" doc:"of the racers, the first to try first"`
}

// Match is a similar study.
type Match struct {
	Site     string    `json:"site"`
	Study    string    `json:"study"`
	At       time.Time `json:"at"`
	Distance float64   `json:"distance" doc:"0 is the same workload"`
	Winner   string    `json:"winner" doc:"racer, empty if nothing was better than what ran"`
	Best     *Estimate `json:"best" doc:"ratio of the best that it found, null if it found nothing"`
}

// Start is a configuration of similar studies to begin with.
type Start struct {
	Changes  int     `json:"changes" doc:"knobs in which it differs from what runs"`
	Ratio    float64 `json:"ratio" doc:"that its sites agree on, less of it the farther they are"`
	Sites    int     `json:"sites"`
	Distance float64 `json:"distance"`
}

// Standing is what the library knows of a racer.
type Standing struct {
	Name    string  `json:"name"`
	Studies float64 `json:"studies" doc:"weighted by how near they are"`
	Gain    float64 `json:"gain" doc:"mean logarithm of what it won"`
}

// Forecasts are what is foreseen of what a service watches.
type Forecasts struct {
	IntervalS float64    `json:"interval_s"`
	Forecasts []Forecast `json:"forecasts"`
}

// Forecast is what a metric is going to be against its level, as shares: above 0 is
// worse, of the load more.
type Forecast struct {
	Name    string    `json:"name"`
	Horizon int       `json:"horizon" doc:"intervals from now"`
	Now     *float64  `json:"now" doc:"without noise; null while too little is known"`
	Ahead   *Estimate `json:"ahead" doc:"null while too little is known"`
	Limit   float64   `json:"limit" doc:"what is a reason to tune"`
	InRow   int       `json:"in_row" doc:"intervals in a row in which it was surely beyond"`
}

// Holdout is the effect of all changes together, against the peers that keep the first
// configuration.
type Holdout struct {
	Peers  int       `json:"peers" doc:"that are held out"`
	Frozen string    `json:"frozen" doc:"hash of what they keep"`
	Config string    `json:"config" doc:"hash of what the others run"`
	Before int       `json:"before" doc:"blocks while all ran the same"`
	After  int       `json:"after" doc:"blocks since the others run this"`
	Ratio  *Estimate `json:"ratio" doc:"latency against what it would be without all changes, the difference of places taken out; null while there is too little"`
	Text   string    `json:"text"`
}

// Cost is what an interval cost in which the whole network ran one configuration.
type Cost struct {
	N          uint64    `json:"n"`
	At         time.Time `json:"at"`
	Config     string    `json:"config" doc:"hash"`
	Operations int       `json:"operations"`
	MeanMS     *float64  `json:"mean_ms" doc:"geometric mean of gets, null without any"`
	Success    float64   `json:"success_ratio"`
	Messages   float64   `json:"messages_per_operation"`
	Bytes      float64   `json:"bytes_per_operation"`
	CPUMS      float64   `json:"cpu_ms_per_operation" doc:"processor time of the whole process"`
}

func (Race) part() string      { return "race" }
func (Library) part() string   { return "library" }
func (Forecasts) part() string { return "forecasts" }
func (Holdout) part() string   { return "holdout" }

func (Cost) stream() string   { return "costs" }
func (c Cost) number() uint64 { return c.N }
