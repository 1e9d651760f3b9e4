package web

import "time"

// Item is something that happened. The board keeps the last of each stream: Entry,
// Cycle, Lookup, Trial, TableChange, Sample or Cost.
type Item interface {
	stream() string
	number() uint64 // within the stream, growing
}

// kept is how many items of a stream the board keeps.
var kept = map[string]int{
	Entry{}.stream():       4096,
	Cycle{}.stream():       1024,
	Lookup{}.stream():      128,
	Trial{}.stream():       4096,
	TableChange{}.stream(): 256,
	Sample{}.stream():      900,
	Cost{}.stream():        1024,
}

// MaxHops is how many requests of a lookup are shown; a usual one has thirty.
const MaxHops = 128

// Entry is one line of the journal.
type Entry struct {
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"at"`
	Kind string    `json:"kind" doc:"start, skip, stage, cycle, verdict, decision, end, order and what else the journal has"`
	Text string    `json:"text"`
	// Decision is set in entries of kind decision.
	Decision string `json:"decision,omitempty"`
}

// Cycle is where a rollout stood after one of its cycles.
type Cycle struct {
	N       uint64    `json:"n"`
	Run     string    `json:"run"`
	Hash    string    `json:"candidate" doc:"hash of the candidate"`
	At      time.Time `json:"at"`
	Stage   int       `json:"stage" doc:"from 0"`
	Share   float64   `json:"share"`
	Units   int       `json:"units" doc:"cycles of the stage that count"`
	Ratio   Estimate  `json:"ratio" doc:"so far in the stage"`
	Samples int       `json:"samples"`
}

// Lookup is how an operation went, request by request. Times of requests are in
// milliseconds since it began.
type Lookup struct {
	N        uint64    `json:"n"`
	Op       string    `json:"op"`
	Own      bool      `json:"own" doc:"nobody asked for it"`
	Peer     int       `json:"peer" doc:"who looked, by number in Peers; -1 for the peer that the window shows"`
	Arm      int       `json:"arm" doc:"0 incumbent, 1 candidate, -1 unknown"`
	Key      string    `json:"key"`
	Began    time.Time `json:"began"`
	TookMS   float64   `json:"took_ms"`
	Found    bool      `json:"found"`
	Why      string    `json:"why,omitempty"`
	Hops     int       `json:"hops"`
	Messages int       `json:"messages"`
	Failures int       `json:"failures"`
	Requests []Hop     `json:"requests"`
	Cut      int       `json:"cut,omitempty" doc:"requests beyond those that are listed"`
}

// Hop is one request of a lookup.
type Hop struct {
	Peer        int      `json:"peer" doc:"by number in Peers, -1 where only the name is known"`
	Name        string   `json:"name,omitempty"`
	AskedMS     float64  `json:"asked_ms"`
	ReachedMS   *float64 `json:"reached_ms" doc:"when a session was set up, null where there was one"`
	EndedMS     *float64 `json:"ended_ms" doc:"null where the outcome was not waited for"`
	PredictedMS *float64 `json:"predicted_ms" doc:"answer time"`
	Hops        int      `json:"hops" doc:"1 for a peer of the own table"`
	By          int      `json:"by" doc:"who named it first, by number in Peers; -1: the own table, or see by_name"`
	ByName      string   `json:"by_name,omitempty"`
	Why         string   `json:"why" doc:"it was asked next"`
	Outcome     string   `json:"outcome"`
	Named       *int     `json:"named" doc:"peers that it named, null where nobody counted"`
	New         int      `json:"new" doc:"of these, unheard of"`
}

// Trial is one configuration that a search evaluated.
type Trial struct {
	N        uint64   `json:"n"`
	Family   string   `json:"family"`
	Failed   string   `json:"failed,omitempty" doc:"why it is no candidate"`
	MeanMS   *float64 `json:"mean_ms" doc:"null where it failed"`
	Entries  *float64 `json:"entries"`
	Messages *float64 `json:"messages"`
	Success  *float64 `json:"success_ratio"`
	BestMS   *float64 `json:"best_ms" doc:"lowest so far"`
}

// TableChange is a change of a peer's routing table.
type TableChange struct {
	N      uint64    `json:"n"`
	At     time.Time `json:"at"`
	Peer   string    `json:"peer"`
	Member bool      `json:"member" doc:"it entered; else it left"`
	Why    string    `json:"why"`
}

// Sample is how a peer was at a moment. Rates are since the sample before.
type Sample struct {
	N         uint64    `json:"n"`
	At        time.Time `json:"at"`
	Score     int       `json:"score"`
	Contacts  int       `json:"contacts"`
	ServedPS  *float64  `json:"served_per_s"`
	SentPS    *float64  `json:"sent_per_s"`
	BytesInPS *float64  `json:"bytes_in_per_s"`
	BytesOut  *float64  `json:"bytes_out_per_s"`
	P50MS     *float64  `json:"p50_ms" doc:"of lookups, null without any"`
}

func (Entry) stream() string       { return "journal" }
func (Cycle) stream() string       { return "cycles" }
func (Lookup) stream() string      { return "lookups" }
func (Trial) stream() string       { return "trials" }
func (TableChange) stream() string { return "changes" }
func (Sample) stream() string      { return "samples" }

func (e Entry) number() uint64       { return e.Seq }
func (c Cycle) number() uint64       { return c.N }
func (l Lookup) number() uint64      { return l.N }
func (t Trial) number() uint64       { return t.N }
func (c TableChange) number() uint64 { return c.N }
func (s Sample) number() uint64      { return s.N }
