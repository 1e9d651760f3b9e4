package tune

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/knob"
)

// scene is one rollout that a file steps through, command by command.
type scene struct {
	r    *Rollout
	now  time.Duration
	last Expose
	due  Measure
}

// TestScenarios runs the files of testdata. Their commands:
//
//	new scope=S peers=N budget=D gate=N approve=1 holdempty=1 turns=1
//	                                a rollout of the preset bench: gate is the number of a
//	                                stage that waits, approve has the promotion wait
//	ask                             Ask until false
//	applied                         acknowledge what was asked last
//	block baseline=MS tuned=MS n=N fail=N lagged=N
//	                                tell the windows of a block: latencies, lookups an
//	                                arm and window, failures of the tuned arm, how many lag
//	order KIND, nodata WHY, wait    the other events; wait is until Wake
//	                                pass D lets so much time pass
//	report                          as JSON
func TestScenarios(t *testing.T) {
	var s scene
	script.Run(t, "testdata", func(t *testing.T, td *datadriven.TestData) string {
		switch td.Cmd {
		case "new":
			s = scene{r: newScene(t, td)}
			return ""
		case "ask":
			return s.ask()
		case "applied":
			s.r.Tell(s.now, Applied{s.last.Block, s.last.Hash})
		case "block":
			s.block(t, td)
		case "order":
			s.r.Tell(s.now, Order(td.CmdArgs[0].Key))
		case "nodata":
			s.r.Tell(s.now, NoData{strings.TrimSpace(td.Input)})
		case "wait":
			s.now, _ = s.r.Wake()
		case "pass":
			d, err := time.ParseDuration(td.CmdArgs[0].Key)
			if err != nil {
				t.Fatal(err)
			}
			s.now += d
		case "report":
			raw, err := json.MarshalIndent(s.r.Report(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			return string(raw) + "\n"
		default:
			td.Fatalf(t, "unknown command %s", td.Cmd)
		}
		return s.ask()
	})
}

func newScene(t *testing.T, td *datadriven.TestData) *Rollout {
	scope := map[string]knob.Scope{"request": knob.Request, "node": knob.Node, "network": knob.Network}
	var word string
	td.ScanArgs(t, "scope", &word)
	opts := options(t, scope[word], 1)
	opts.Peers = script.ArgInt(t, td, "peers", 12)
	opts.Limits.Budget = script.ArgDuration(t, td, "budget", 0)
	if gate := script.ArgInt(t, td, "gate", 0); gate > 0 {
		opts.Preset.Stages[gate-1].Gate = true
	}
	opts.Preset.ApprovePromotion = script.ArgInt(t, td, "approve", 0) == 1
	opts.Turns = script.ArgInt(t, td, "turns", 0) == 1
	opts.Preset.HoldEmpty = script.ArgInt(t, td, "holdempty", 0) == 1
	return start(t, opts)
}

// block tells windows in which every latency of an arm is the same, but for a
// spread that changes from window to window.
func (s *scene) block(t *testing.T, td *datadriven.TestData) {
	n, lagged := script.ArgInt(t, td, "n", 40), script.ArgInt(t, td, "lagged", 0)
	latency := [2]int{script.ArgInt(t, td, "baseline", 100), script.ArgInt(t, td, "tuned", 100)}
	for i := range s.due.Count {
		from := s.due.Start + time.Duration(i)*s.due.Interval
		s.now = from + s.due.Interval
		w := Window{Start: from, End: s.now, Lagged: i < lagged}
		for arm, ms := range latency {
			x := math.Log(float64(ms)) + 0.02*float64((7*s.last.Block+3*i+arm)%5)
			w.Arms[arm] = Summary{Samples: n, SumLog: float64(n) * x, SumLog2: float64(n) * (x*x + 0.7), Successes: n, Attempts: n}
		}
		w.Arms[Tuned].Successes -= script.ArgInt(t, td, "fail", 0)
		s.r.Tell(s.now, w)
	}
}

// ask lists what is asked until nothing is.
func (s *scene) ask() string {
	var b strings.Builder
	for c, ok := s.r.Ask(s.now); ok; c, ok = s.r.Ask(s.now) {
		switch c := c.(type) {
		case Record:
			fmt.Fprintf(&b, "record %s: %s\n", c.Entry.Kind, c.Entry.Text)
		case Expose:
			s.last = c
			fmt.Fprintf(&b, "expose block %d, stage %d, cycle %d: share %g, treated %v\n", c.Block, c.Stage+1, c.Cycle+1, c.Assignment.Share, c.Assignment.Treated)
		case Measure:
			s.due = c
			fmt.Fprintf(&b, "measure %d windows of %v from %v\n", c.Count, c.Interval, c.Start)
		case Promote:
			s.last = Expose{Hash: c.Hash}
			fmt.Fprintf(&b, "promote %s\n", c.Hash)
		case RollBack:
			s.last = Expose{Hash: c.Hash}
			fmt.Fprintf(&b, "roll back to %s\n", c.Hash)
		case Done:
			fmt.Fprintf(&b, "done: %s\n", c.Decision)
		}
	}
	if at, ok := s.r.Wake(); ok {
		fmt.Fprintf(&b, "wake at %v\n", at)
	}
	return b.String()
}
