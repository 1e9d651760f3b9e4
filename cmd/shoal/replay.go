package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim"
)

func newReplayCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "replay FILE",
		Short: "Run a log again and hold what happens against it",
		Long: `Reads the log of a rollout (rollout.log in the data directory of shoal up) or a
trace (shoal sim events --trace), runs it again and checks that every decision or
event is the same. A log may stop anywhere, as a killed process leaves it.`,
		Example: `  shoal replay DIR/rollout.log
  shoal replay events.log --json`,
		Args: wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			defer func() { _ = file.Close() }() // only read
			first, err := firstLine(file)
			if err != nil {
				return usagef("%s: %w", args[0], err)
			}
			if bytes.HasPrefix(first, []byte(`{"events":`)) {
				err = a.replayTrace(cmd.Context(), file, first)
			} else {
				err = a.replayRollout(file)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				return usagef("%s: %w", args[0], err)
			}
			return err
		},
	}
}

// maxHead bounds the first line of a log.
const maxHead = 1 << 20

// firstLine reads the first line, with its end, and goes back to the beginning.
func firstLine(file io.ReadSeeker) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(file, maxHead)).ReadBytes('\n')
	if err != nil {
		return nil, errors.New("not a log: want a rollout.log of shoal up or a trace of shoal sim events")
	}
	_, err = file.Seek(0, io.SeekStart)
	return line, err
}

// asked is one journal entry that a rollout asked for.
type asked struct {
	At   time.Duration `json:"at_ns"`
	Text string        `json:"text"`
}

// rolloutReplay is the result for the log of a rollout. Its JSON names are
// stable.
type rolloutReplay struct {
	pilot.Replayed
	Torn  bool    `json:"torn"` // the log ends within a line
	Steps []asked `json:"steps"`
}

// replayRollout runs a rollout again and prints what it asked for.
func (a *app) replayRollout(file io.Reader) error {
	set, err := knobSet()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	var out rolloutReplay
	if out.Steps, out.Torn, err = stepsOf(text); err != nil {
		return err
	}
	if out.Replayed, err = pilot.Replay(bytes.NewReader(text), set); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(out)
	}
	var b strings.Builder
	for _, s := range out.Steps {
		fmt.Fprintf(&b, "%8.1f s  %s\n", s.At.Seconds(), s.Text)
	}
	for _, c := range out.Report.Changes {
		fmt.Fprintf(&b, "  %s: %s -> %s\n", c.Name, c.From, c.To)
	}
	fmt.Fprintf(&b, "\n%s: %s\n", cmp.Or(string(out.Decision), "undecided"), cmp.Or(out.Report.Why, "the log ends before a decision"))
	fmt.Fprintf(&b, "told %d events, asked for the same %d things as the log\n", out.Tells, out.Asks)
	_, err = io.WriteString(a.stdout, b.String())
	return err
}

// stepsOf reads the journal entries out of a rollout's log. Only its last line
// may be cut short.
func stepsOf(log []byte) (steps []asked, torn bool, err error) {
	lines := bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n"))
	for i, line := range lines {
		var l struct {
			At  time.Duration `json:"at_ns"`
			Ask struct {
				Body struct {
					Entry struct {
						Text string `json:"text"`
					} `json:"entry"`
				} `json:"body"`
			} `json:"ask"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			if i > 0 && i == len(lines)-1 && !bytes.HasSuffix(log, []byte("\n")) {
				return steps, true, nil
			}
			return nil, false, fmt.Errorf("line %d is not one of a rollout's log: %w", i+1, err)
		}
		if text := l.Ask.Body.Entry.Text; text != "" {
			steps = append(steps, asked{l.At, text})
		}
	}
	return steps, false, nil
}

// traceReplay is the result for a trace. Its JSON names are stable.
type traceReplay struct {
	Events    uint64 `json:"events"`     // that were the same
	Complete  bool   `json:"complete"`   // the trace goes to the end of the run
	TraceHash string `json:"trace_hash"` // empty unless complete
}

// replayTrace simulates again what a trace was written by.
func (a *app) replayTrace(ctx context.Context, file io.Reader, first []byte) error {
	cfg, err := tracedConfig(first)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := bufio.NewReader(file)
	if _, err := lines.Discard(len(first)); err != nil {
		return err
	}
	same := &comparer{trace: lines, line: 1, stop: cancel}
	cfg.Trace = same
	r, err := a.runEvents(ctx, cfg)
	out := traceReplay{Events: same.same, Complete: err == nil, TraceHash: r.TraceHash}
	switch {
	case same.err != nil:
		return same.err
	case err != nil && !same.ended:
		return err
	}
	if _, more := lines.Peek(1); out.Complete && more == nil {
		return fmt.Errorf("line %d: the trace goes on, the run has ended", same.line+1)
	}
	if a.json {
		return a.printJSON(out)
	}
	if !out.Complete {
		_, err = fmt.Fprintf(a.stdout, "the same %d events; the trace ends before the run does\n", out.Events)
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "the same %d events, trace hash %s\n", out.Events, out.TraceHash)
	return err
}

// tracedConfig reads what was simulated from the first line of a trace.
func tracedConfig(first []byte) (sim.EventsConfig, error) {
	var head traceHead
	if err := json.Unmarshal(first, &head); err != nil {
		return head.Events, fmt.Errorf("line 1 does not say what was simulated: %w", err)
	}
	set, err := knobSet()
	if err != nil {
		return head.Events, err
	}
	if head.Events.Knobs, err = set.Parse(set.Default(), head.Knobs); err != nil {
		return head.Events, fmt.Errorf("line 1: %w", err)
	}
	if head.Events.Churn.File != "" {
		traced, err := readChurn(head.Events.Churn.File)
		if err != nil {
			return head.Events, err
		}
		head.Events.Churn.Sessions = traced.Sessions
	}
	if head.Events.Popularity, err = readPopularity(cmp.Or(head.Popular, "uniform"), head.Events.Records); err != nil {
		return head.Events, err
	}
	head.Events.Matrix, err = readMatrix(head.Latency, head.Events.Seed)
	return head.Events, err
}

// comparer is written the lines of a trace that is made anew and compares them
// with those of an old one. It stops the run at the first difference and at the
// end of the old one.
type comparer struct {
	trace *bufio.Reader
	line  int // read last
	same  uint64
	ended bool
	err   error
	stop  func()
}

func (c *comparer) Write(made []byte) (int, error) {
	if c.err != nil || c.ended {
		return len(made), nil
	}
	old, err := c.trace.ReadSlice('\n')
	c.line++
	switch {
	case bytes.Equal(old, made):
		c.same++
	case errors.Is(err, io.EOF) && bytes.HasPrefix(made, old):
		c.ended = true
		c.stop()
	default:
		c.err = fmt.Errorf("line %d: the trace has %.80q, the replay %q", c.line, bytes.TrimSpace(old), bytes.TrimSpace(made))
		c.stop()
	}
	return len(made), nil
}
