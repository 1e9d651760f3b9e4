package tune

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/shoalnet/shoal/knob"
)

// Entry is one line of the journal: what a rollout did and why.
type Entry struct {
	Seq     uint64          `json:"seq"`      // from 1 in each journal; set by Append
	AtNanos int64           `json:"at_nanos"` // since the driver began, unless the world sets its wall clock
	Kind    string          `json:"kind"`     // one of the Kind constants
	Text    string          `json:"text"`     // for people
	Data    json.RawMessage `json:"data,omitempty"`
}

// The kinds of entries, in the order in which they can come. All but End may
// come more than once or not at all.
const (
	KindStart    = "start"    // a rollout begins; holds both configurations
	KindSkip     = "skip"     // a stage is left out
	KindStage    = "stage"    // a stage begins: the candidate is exposed after this
	KindCycle    = "cycle"    // one unit of the test, or why it does not count
	KindVerdict  = "verdict"  // a stage ends
	KindHold     = "hold"     // a pause begins: all run the baseline
	KindResume   = "resume"   // the pause ends
	KindGate     = "gate"     // a person's approval is waited for, or was given
	KindTrigger  = "trigger"  // a service has a reason to tune
	KindStudy    = "study"    // it begins to look for a candidate
	KindProposal = "proposal" // what the study found, or why nothing
	KindHoldout  = "holdout"  // how the network is against those that keep the first configuration
	KindOrder    = "order"    // a person gave an order and said why
	KindNote     = "note"     // anything else that a person may want to know
	KindDecision = "decision" // the rollout is decided: promote or roll back follows this
	KindEnd      = "end"      // the decision is in effect, or was not confirmed in time
)

// Journal chains entries: each line begins with a hash over the line before and
// its own text, so that no earlier line can change without notice. It is pure
// bytes; the world owns the file. The zero value is an empty journal.
type Journal struct {
	seq  uint64
	last digest
}

// digest is enough of a SHA-256 to make accidents impossible and forgery costly.
type digest [16]byte

func (d digest) next(body []byte) digest {
	h := sha256.Sum256(append(d[:], body...))
	return digest(h[:len(d)])
}

// Seq returns the number of the last entry, 0 if there is none.
func (j *Journal) Seq() uint64 { return j.seq }

// Append numbers an entry and returns its line: hash, space, JSON, newline. The
// line must be written before the next is asked for. It fails only if Data is
// not JSON.
func (j *Journal) Append(e Entry) ([]byte, error) {
	e.Seq = j.seq + 1
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("tune: journal entry %d: %w", e.Seq, err)
	}
	j.seq, j.last = e.Seq, j.last.next(body)
	line := hex.AppendEncode(make([]byte, 0, 2*len(j.last)+2+len(body)), j.last[:])
	line = append(append(line, ' '), body...)
	return append(line, '\n'), nil
}

// Load reads a journal's lines and continues after them. A last line without
// its end, as a crash leaves it, is left out: size is the length of what is good,
// to which the file must be cut before more is appended. Any other bad line is an
// error, which names it; what comes before it is returned.
func (j *Journal) Load(data []byte) (entries []Entry, size int, err error) {
	*j = Journal{}
	for rest := data; len(rest) > 0; rest = data[size:] {
		line, _, whole := bytes.Cut(rest, []byte{'\n'})
		if !whole {
			return entries, size, nil
		}
		e, next, err := j.check(line)
		if err != nil {
			return entries, size, fmt.Errorf("tune: journal line %d: %w: restore the file, or cut it to %d bytes to go on without the rest", j.seq+1, err, size)
		}
		entries = append(entries, e)
		j.seq, j.last = e.Seq, next
		size += len(line) + 1
	}
	return entries, size, nil
}

// check reads one line that follows those before.
func (j *Journal) check(line []byte) (Entry, digest, error) {
	sum, body, _ := bytes.Cut(line, []byte{' '})
	next := j.last.next(body)
	if string(sum) != hex.EncodeToString(next[:]) {
		return Entry{}, digest{}, errors.New("the hash does not match")
	}
	var e Entry
	if err := json.Unmarshal(body, &e); err != nil {
		return Entry{}, digest{}, fmt.Errorf("not an entry: %w", err)
	}
	if e.Seq != j.seq+1 {
		return Entry{}, digest{}, fmt.Errorf("number %d is out of order", e.Seq)
	}
	return e, next, nil
}

// startData is the Data of a start: all that is needed to restore either side.
type startData struct {
	Baseline  string  `json:"baseline"` // configurations in text form
	Candidate string  `json:"candidate"`
	Hash      string  `json:"hash"` // of the candidate
	Scope     string  `json:"scope"`
	Preset    string  `json:"preset"`
	Seed      uint64  `json:"seed,string"`
	BudgetS   float64 `json:"budget_s"`
	// Changes are from the baseline to the candidate; older journals do not have them.
	Changes []knob.Change `json:"changes,omitempty"`
}

// stageData is the Data of a stage, its cycles and its verdict.
type stageData struct {
	Stage int     `json:"stage"` // from 0
	Share float64 `json:"share"`
}

// decisionData is the Data of a decision.
type decisionData struct {
	Decision Decision `json:"decision"`
	// Shown is what all units of a rollout together have shown; nil of too few.
	Shown *shown `json:"shown,omitempty"`
}

// shown is a difference of logarithms of latency, tuned less baseline, with its
// anytime-valid 95 % interval.
type shown struct {
	Mean    float64 `json:"mean"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Units   int     `json:"units"`
	Samples [2]int  `json:"samples"` // by arm
}

// Interrupted is what a journal says about the rollout in which it stops.
type Interrupted struct {
	Good      string   // text of the last good configuration; empty if the journal knows none
	Candidate string   // hash of the candidate
	Stage     int      // that was under way, from 0; -1 before the first
	Decision  Decision // that was taken but not confirmed; empty if none was
}

// Resume returns what was going on when a journal stops, and whether a rollout
// was. If one was, the world must restore Good on every peer. Good is the
// candidate once its promotion is decided, the baseline until then. It is set
// without an interruption, too. Entries that do not fit are passed over.
func Resume(entries []Entry) (Interrupted, bool) {
	var in Interrupted
	var start startData
	open := false
	for _, e := range entries {
		switch e.Kind {
		case KindStart:
			var s startData
			if json.Unmarshal(e.Data, &s) == nil {
				start, open = s, true
				in = Interrupted{Good: s.Baseline, Candidate: s.Hash, Stage: -1}
			}
		case KindStage:
			var s stageData
			if open && json.Unmarshal(e.Data, &s) == nil {
				in.Stage = s.Stage
			}
		case KindDecision:
			var d decisionData
			if start.Hash != "" && json.Unmarshal(e.Data, &d) == nil {
				open = true // again, if a promotion that had ended is undone
				in.Decision, in.Good = d.Decision, start.Baseline
				if d.Decision == Promoted {
					in.Good = start.Candidate
				}
			}
		case KindHold: // of a promotion, too
			if open {
				in.Decision, in.Good = "", start.Baseline
			}
		case KindEnd:
			open = false
		}
	}
	if !open {
		return Interrupted{Good: in.Good, Stage: -1}, false
	}
	return in, true
}
