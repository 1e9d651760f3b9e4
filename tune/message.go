package tune

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Command is what a Rollout asks of its world: Record, Expose, Measure, Promote,
// RollBack or Done.
type Command interface{ command() string }

// Record asks to write an entry to the journal, and to have it on disk before
// the command that follows is done.
type Record struct {
	Entry Entry `json:"entry"`
}

// Expose asks to put the assignment into effect on every peer and to answer
// Applied when it is.
type Expose struct {
	Assignment Assignment `json:"assignment"`
	Stage      int        `json:"stage"` // index into the preset's stages
	Cycle      int        `json:"cycle"` // within the stage, from 0
	Block      int        `json:"block"` // within the rollout, from 1
	Hash       string     `json:"hash"`  // of the candidate
}

// Measure asks for one Window for each of Count intervals in a row, the first of
// which begins at Start.
type Measure struct {
	Start    time.Duration `json:"start_ns"`
	Interval time.Duration `json:"interval_ns"`
	Count    int           `json:"count"`
}

// Promote asks to make the candidate the configuration of all, and to answer
// Applied.
type Promote struct {
	Hash string `json:"hash"` // of the candidate
}

// RollBack asks to restore the baseline everywhere, and to answer Applied. It
// also ends rollouts without a result.
type RollBack struct {
	Hash string `json:"hash"` // of the baseline
	Why  string `json:"why"`
}

// Done says that nothing more will be asked.
type Done struct {
	Decision Decision `json:"decision"`
}

func (Record) command() string   { return "record" }
func (Expose) command() string   { return "expose" }
func (Measure) command() string  { return "measure" }
func (Promote) command() string  { return "promote" }
func (RollBack) command() string { return "roll_back" }
func (Done) command() string     { return "done" }

// Event is what a world tells a Rollout: Window, Applied, NoData or Order.
type Event interface{ event() string }

// Summary sums up the lookups of one arm in one interval. A failed lookup counts
// with the time after which it was given up, or a fast failure would pass for a
// fast lookup.
type Summary struct {
	Samples   int     `json:"samples"`  // of latency
	SumLog    float64 `json:"sum_log"`  // of the natural logarithms, in any unit of time
	SumLog2   float64 `json:"sum_log2"` // of their squares
	Successes int     `json:"successes"`
	Attempts  int     `json:"attempts"` // at least Samples
}

func (s *Summary) add(o Summary) {
	s.Samples += o.Samples
	s.SumLog += o.SumLog
	s.SumLog2 += o.SumLog2
	s.Successes += o.Successes
	s.Attempts += o.Attempts
}

// meanLog is the mean of the logarithms. Samples must not be 0.
func (s *Summary) meanLog() float64 { return s.SumLog / float64(s.Samples) }

// valid reports whether the counts are possible.
func (s *Summary) valid() bool {
	sane := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	return s.Samples >= 0 && s.Samples <= s.Attempts && s.Successes >= 0 && s.Successes <= s.Attempts &&
		sane(s.SumLog) && sane(s.SumLog2)
}

// Window is what was measured in one interval.
type Window struct {
	Start time.Duration `json:"start_ns"` // since the driver began
	End   time.Duration `json:"end_ns"`
	// Lagged says that the machine that measures could not keep up, so that the
	// latencies are its own: the interval is dropped in both arms.
	Lagged bool       `json:"lagged,omitempty"`
	Arms   [2]Summary `json:"arms"` // indexed by Arm
}

// Applied acknowledges an Expose, by its block, or a Promote or RollBack, whose
// block is 0.
type Applied struct {
	Block int    `json:"block"`
	Hash  string `json:"hash"` // as in the command
}

// NoData says why there is nothing to measure. It is kept for the report.
type NoData struct {
	Why string `json:"why"`
}

// Order is a person's decision. It is obeyed in every state.
type Order string

// The orders.
const (
	OrderRollBack  Order = "roll_back" // give the candidate up, also while it is being promoted
	OrderInterrupt Order = "interrupt" // stop without a verdict
)

func (Window) event() string  { return "window" }
func (Applied) event() string { return "applied" }
func (NoData) event() string  { return "no_data" }
func (Order) event() string   { return "order" }

// envelope is the form of commands and events in a log.
type envelope struct {
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body"`
}

func encode(kind string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("tune: %s does not encode: %w", kind, err)
	}
	return json.Marshal(envelope{kind, raw})
}

// EncodeCommand returns the JSON form of a command, on one line. Two logs are
// the same run if these lines are equal.
func EncodeCommand(c Command) ([]byte, error) { return encode(c.command(), c) }

// EncodeEvent returns the JSON form of an event, on one line. It fails on
// numbers that JSON does not have.
func EncodeEvent(e Event) ([]byte, error) { return encode(e.event(), e) }

// DecodeEvent reads what EncodeEvent wrote. Unknown kinds and fields are errors.
func DecodeEvent(line []byte) (Event, error) {
	var e envelope
	if err := strict(line, &e); err != nil {
		return nil, err
	}
	switch e.Kind {
	case Window{}.event():
		return decode[Window](e.Body)
	case Applied{}.event():
		return decode[Applied](e.Body)
	case NoData{}.event():
		return decode[NoData](e.Body)
	case Order("").event():
		o, err := decode[Order](e.Body)
		if err == nil && o != OrderRollBack && o != OrderInterrupt {
			return nil, fmt.Errorf("tune: unknown order %q: want %s or %s", o, OrderRollBack, OrderInterrupt)
		}
		return o, err
	}
	return nil, fmt.Errorf("tune: unknown event %q: want window, applied, no_data or order", e.Kind)
}

func decode[E Event](body []byte) (Event, error) {
	var e E
	if err := strict(body, &e); err != nil {
		return nil, err
	}
	return e, nil
}

// strict decodes one JSON value without unknown fields or anything behind it.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("tune: not an event: %w", err)
	}
	if d.More() {
		return fmt.Errorf("tune: not an event: %q follows it", raw[d.InputOffset():])
	}
	return nil
}
