package pilot

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/tune"
)

// maxLogLine bounds a line of a log.
const maxLogLine = 1 << 20

// Replayed is what Replay found.
type Replayed struct {
	Tells    int           `json:"tells"`
	Asks     int           `json:"asks"`
	Report   tune.Report   `json:"report"`
	Decision tune.Decision `json:"decision"`
}

// Replay makes the rollout of a log anew, tells it what the log says it was
// told, and holds what it asks against what the log says it asked. It fails at
// the first difference. A log may stop anywhere, as a killed process leaves it:
// the report then says where the rollout stood.
func Replay(log io.Reader, set *knob.Set) (Replayed, error) {
	var out Replayed
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxLogLine)
	if !lines.Scan() {
		return out, errors.New("pilot: the log is empty")
	}
	rollout, err := rolloutOf(lines.Bytes(), set)
	if err != nil {
		return out, err
	}
	for number := 2; lines.Scan(); number++ {
		var l logLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			if lines.Scan() {
				return out, fmt.Errorf("pilot: line %d is not a line of a log: %w", number, err)
			}
			break // the last line, torn by the end of the process
		}
		if l.Tell != nil {
			e, err := tune.DecodeEvent(l.Tell)
			if err != nil {
				return out, fmt.Errorf("pilot: line %d: %w", number, err)
			}
			rollout.Tell(l.At, e)
			out.Tells++
			continue
		}
		command, _ := rollout.Ask(l.At)
		if command == nil {
			return out, fmt.Errorf("pilot: line %d: the log asks %s, the replay asks nothing", number, l.Ask)
		}
		again, err := tune.EncodeCommand(command)
		if err != nil {
			return out, err
		}
		if !bytes.Equal(again, l.Ask) {
			return out, fmt.Errorf("pilot: line %d: the log asks %s, the replay asks %s", number, l.Ask, again)
		}
		out.Asks++
	}
	out.Report = rollout.Report()
	out.Decision = out.Report.Decision
	return out, lines.Err()
}

func rolloutOf(line []byte, set *knob.Set) (*tune.Rollout, error) {
	var h logHeader
	if err := json.Unmarshal(line, &h); err != nil {
		return nil, fmt.Errorf("pilot: not a rollout's log: %w", err)
	}
	var err error
	if h.Options.Baseline, err = set.Parse(set.Default(), h.Baseline); err != nil {
		return nil, fmt.Errorf("pilot: the log's baseline: %w", err)
	}
	if h.Options.Candidate, err = set.Parse(set.Default(), h.Candidate); err != nil {
		return nil, fmt.Errorf("pilot: the log's candidate: %w", err)
	}
	return tune.New(h.Options)
}
