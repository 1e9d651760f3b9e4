package tune

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
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
// Applied when it is. A share of 0 puts all in the baseline: a pause.
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
	// Slow are the samples above a limit that the world fixed before the rollout, its
	// baseline's P90: the guard of the tail. 0 in both arms where there is no limit.
	Slow int `json:"slow,omitempty"`
	// SumPre is the sum, over the samples, of what the same unit showed before the
	// rollout: it is taken out of the difference (stat.Covariate). 0 if that is unknown.
	SumPre float64 `json:"sum_pre,omitempty"`
}

func (s *Summary) add(o Summary) {
	s.Samples += o.Samples
	s.SumLog += o.SumLog
	s.SumLog2 += o.SumLog2
	s.Successes += o.Successes
	s.Attempts += o.Attempts
	s.Slow += o.Slow
	s.SumPre += o.SumPre
}

// meanLog is the mean of the logarithms. Samples must not be 0.
func (s *Summary) meanLog() float64 { return s.SumLog / float64(s.Samples) }

// valid reports whether the counts are possible.
func (s *Summary) valid() bool {
	sane := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	return s.Samples >= 0 && s.Samples <= s.Attempts && s.Successes >= 0 && s.Successes <= s.Attempts &&
		s.Slow >= 0 && s.Slow <= s.Samples && sane(s.SumLog) && sane(s.SumLog2) && sane(s.SumPre)
}

// Window is what was measured in one interval.
type Window struct {
	Start time.Duration `json:"start_ns"` // since the driver began
	End   time.Duration `json:"end_ns"`
	// Lagged says that the machine that measures could not keep up, so that the
	// latencies are its own: the interval is dropped in both arms.
	Lagged bool       `json:"lagged,omitempty"`
	Arms   [2]Summary `json:"arms"` // indexed by Arm
	// Use is what the peers of each arm use of their machines; where both arms share
	// them it is told for the tuned arm as a whole.
	Use [2]Use `json:"use,omitzero"`
}

// Use is the use of resources in an interval, for soft constraints. 0 is not
// measured.
type Use struct {
	Memory float64 `json:"memory,omitempty"` // share of what there is
	CPU    float64 `json:"cpu,omitempty"`    // share of what there is
	Cost   float64 `json:"cost,omitempty"`   // of a request, in any unit of money
}

func (u Use) valid() bool {
	sane := func(x float64) bool { return x >= 0 && !math.IsInf(x, 0) }
	return sane(u.Memory) && sane(u.CPU) && sane(u.Cost)
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

// Order is a person's decision. It is obeyed in every state in which it has a
// meaning; else it is counted among what was ignored.
type Order string

// The orders.
const (
	OrderRollBack  Order = "roll_back" // give the candidate up, also while it is being promoted and after that
	OrderInterrupt Order = "interrupt" // stop without a verdict
	OrderHold      Order = "hold"      // pause: all run the baseline until told otherwise
	OrderResume    Order = "resume"    // end a pause and go on in the same stage
	OrderPromote   Order = "promote"   // make the candidate that of all, whatever is known of it
	OrderApprove   Order = "approve"   // open the gate at which the rollout waits
)

// orders are all of them.
var orders = []Order{OrderRollBack, OrderInterrupt, OrderHold, OrderResume, OrderPromote, OrderApprove}

// Ordered is an Order and why the person gave it, for the journal.
type Ordered struct {
	Order  Order  `json:"order"`
	Reason string `json:"reason,omitempty"`
}

// maxReason bounds a reason in the journal, in bytes.
const maxReason = 500

// text is the order with its reason, for people.
func (o Ordered) text() string {
	if o.Reason == "" {
		return fmt.Sprintf("a person ordered %s", o.Order)
	}
	reason := strings.ToValidUTF8(o.Reason, "?")
	return fmt.Sprintf("a person ordered %s: %s", o.Order, reason[:min(len(reason), maxReason)])
}

func (Window) event() string  { return "window" }
func (Ordered) event() string { return "ordered" }
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
		if err == nil && !slices.Contains(orders, o.(Order)) {
			return nil, fmt.Errorf("tune: unknown order %q: want one of %q", o, orders)
		}
		return o, err
	case Ordered{}.event():
		o, err := decode[Ordered](e.Body)
		if err == nil && !slices.Contains(orders, o.(Ordered).Order) {
			return nil, fmt.Errorf("tune: unknown order in %+v: want one of %q", o, orders)
		}
		return o, err
	}
	return nil, fmt.Errorf("tune: unknown event %q: want window, applied, no_data, order or ordered", e.Kind)
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
