package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
)

// epoch is when the scenes begin: some time after 1970.
const epoch = 1000 * time.Hour

func nameOf(letter string) Name { return Name{letter[0]} }

func testSet(t testing.TB) *knob.Set {
	t.Helper()
	set, err := knob.NewSet(lookup.Knobs())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var testTunable = []string{"lookup.alpha", "lookup.hard", "lookup.order"}

// scene holds contenders by their letters, and one follower.
type scene struct {
	now      time.Duration
	overlay  Lease // what all of them read
	who      map[string]*Election
	claims   map[string]Lease
	follower *Follower
	state    State
	good     knob.Config
}

// TestScenarios runs the files of testdata. Their commands:
//
//	contenders A B ...          of one fleet; leases of 60 s, a skew of 2 s, 3 s to settle
//	ask A                       Ask until false
//	see A [fail]                tell what the overlay has, or that it does not answer
//	store A [fail]              the overlay takes the last claim, if it is the highest
//	lead A                      whether it may act
//	follower [new]              a peer z, with what the last one has saved
//	bulletin by=A term=N number=N alpha=N try=N hard=D from=D life=D block=N order=1
//	                            tell a bulletin: good has alpha, the trial try
//	measured memory=X ok=N of=M tuned-ok=N tuned-of=M
//	run                         what the follower asks for
//	refusing                    why it refuses what it was told
//	pass D                      lets so much time pass
func TestScenarios(t *testing.T) {
	s := scene{}
	script.Run(t, "testdata", func(t *testing.T, td *datadriven.TestData) string {
		arg := func(i int) string {
			if i < len(td.CmdArgs) {
				return td.CmdArgs[i].Key
			}
			return ""
		}
		switch td.Cmd {
		case "contenders":
			s = scene{now: epoch, who: map[string]*Election{}, claims: map[string]Lease{}}
			for i, a := range td.CmdArgs {
				e, err := NewElection(ElectionConfig{Self: nameOf(a.Key), Length: time.Minute, Skew: 2 * time.Second, Settle: 3 * time.Second, Seed: uint64(i)})
				if err != nil {
					t.Fatal(err)
				}
				s.who[a.Key] = e
			}
		case "ask":
			return s.ask(arg(0))
		case "see":
			s.who[arg(0)].Saw(s.now, Seen{OK: arg(1) != "fail", Lease: s.overlay})
			return s.standing(arg(0))
		case "store":
			s.store(arg(0), arg(1) != "fail")
			return s.standing(arg(0))
		case "lead":
			term, until, ok := s.who[arg(0)].Lead(s.now)
			return fmt.Sprintf("term %d, for %v: %v", term, until-s.now, ok)
		case "follower":
			if arg(0) == "new" {
				s.state = State{}
			}
			s.newFollower(t)
			return s.run()
		case "bulletin":
			s.follower.Heard(s.now, s.bulletin(t, td))
			return s.run()
		case "measured":
			s.follower.Measured(s.now, Health{
				Memory: float64(script.ArgInt(t, td, "memory", 0)) / 100,
				Arms: [2]Outcome{
					{Attempts: script.ArgInt(t, td, "of", 0), Successes: script.ArgInt(t, td, "ok", 0)},
					{Attempts: script.ArgInt(t, td, "tuned-of", 0), Successes: script.ArgInt(t, td, "tuned-ok", 0)},
				},
			})
			return s.run()
		case "run":
			return s.run()
		case "refusing":
			switch r := s.follower.Refusing(); {
			case r.Hash != "":
				return "a configuration: " + r.Why + "\n"
			case r.Why != "":
				return "a bulletin: " + r.Why + "\n"
			}
		case "pass":
			d, err := time.ParseDuration(arg(0))
			if err != nil {
				t.Fatal(err)
			}
			s.now += d
		default:
			t.Fatalf("unknown command %q", td.Cmd)
		}
		return ""
	})
}

func (s *scene) standing(who string) string {
	e := s.who[who]
	at, ok := e.Wake()
	if !ok {
		return string(e.Standing()) + "\n"
	}
	return fmt.Sprintf("%s, again in %v\n", e.Standing(), (at - s.now).Round(time.Second))
}

func (s *scene) ask(who string) string {
	var b strings.Builder
	for {
		a, ok := s.who[who].Ask(s.now)
		if !ok {
			return b.String() + s.standing(who)
		}
		switch a := a.(type) {
		case Read:
			b.WriteString("read\n")
		case Claim:
			s.claims[who] = a.Lease
			fmt.Fprintf(&b, "claim %d.%d for %v\n", a.Lease.Term, a.Lease.Number, a.Lease.Expires-s.now)
		}
	}
}

func (s *scene) store(who string, ok bool) {
	if l := s.claims[who]; ok && l.Compare(s.overlay.Rank) > 0 {
		s.overlay = l
	}
	s.who[who].Told(s.now, Claimed{OK: ok})
}

func (s *scene) newFollower(t *testing.T) {
	t.Helper()
	if s.now == 0 {
		s.now = epoch
	}
	s.good = testSet(t).Default()
	f, err := NewFollower(FollowerConfig{Self: nameOf("z"), Local: s.good, Tunable: testTunable, Skew: 2 * time.Second}, s.state)
	if err != nil {
		t.Fatal(err)
	}
	s.follower = f
}

// bulletin makes one as a coordinator would, but for what the scene has it do wrong.
func (s *scene) bulletin(t *testing.T, td *datadriven.TestData) Bulletin {
	t.Helper()
	by := "A"
	td.MaybeScanArgs(t, "by", &by)
	defaults := testSet(t).Default()
	good := defaults.WithNumber("lookup.alpha", float64(script.ArgInt(t, td, "alpha", 5)))
	if script.ArgInt(t, td, "edge", 0) > 0 {
		good = good.WithNumber("lookup.edge", 3)
	}
	b := Bulletin{
		Rank: Rank{uint64(script.ArgInt(t, td, "term", 1)), nameOf(by), uint64(script.ArgInt(t, td, "number", 1))},
		From: s.now + script.ArgDuration(t, td, "from", 0), Interval: 10 * time.Second,
		Good: Changes(defaults, good), GoodHash: good.Hash(),
	}
	b.Expires = b.From + script.ArgDuration(t, td, "life", 20*time.Second)
	if try := script.ArgInt(t, td, "try", 0); try > 0 {
		candidate := good.WithNumber("lookup.alpha", float64(try))
		b.Trial = &Trial{
			Block: uint64(script.ArgInt(t, td, "block", 1)), Candidate: Changes(good, candidate), CandidateHash: candidate.Hash(),
			Scope: knob.Network, Treated: true,
		}
	}
	if td.HasArg("bad") { // beyond the range of the knob
		b.Trial.Candidate = "lookup.alpha = 1000\n"
	}
	return b
}

// run is what the follower asks for.
func (s *scene) run() string {
	var b strings.Builder
	for {
		o, ok := s.follower.Ask(s.now)
		if !ok {
			break
		}
		switch o := o.(type) {
		case Save:
			s.state = o.State
			fmt.Fprintf(&b, "save %d.%d\n", o.State.Floor.Term, o.State.Floor.Number)
		case Run:
			fmt.Fprintf(&b, "run alpha %s, %v, block %d: %s\n", o.Config.Text("lookup.alpha"), o.Arm, o.Block.Number, o.Why)
		case Refuse:
			fmt.Fprintf(&b, "refuse: %s\n", o.Why)
		}
	}
	if at, ok := s.follower.Wake(); ok {
		fmt.Fprintf(&b, "wakes in %v\n", at-s.now)
	}
	return b.String()
}
