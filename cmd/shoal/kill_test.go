package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

var killsFlag = flag.Int("kills", 0, "kills that TestKilled deals out; without it five early ones")

const (
	killPeers = 24 // more than hold a record, so that gets need the network
	mlPath    = "/api/v3/ml/optimize"
)

// killCandidate is better than stock, and touches requests alone.
const killCandidate = "lookup.alpha = 5\nlookup.alpha_first = 4\nlookup.order = priced\nlookup.soft_factor = 2\n"

// The moments at which a process is killed.
const (
	killStarting  = "starting"  // while the network comes up, before the rollout
	killHeld      = "held"      // while a rollout is held
	killProving   = "proving"   // in the stages of a rollout, or in what follows them
	killPromoting = "promoting" // around the journal entries of a promotion
	killUndoing   = "undoing"   // around those of its roll back
)

// TestKilled kills shoal up with SIGKILL at random moments, and starts it again in the
// same directory. Whatever the moment, all peers then run one configuration, which is the
// last good one by the journal: the baseline, or the candidate once its promotion stands
// there. Nothing is counted twice, and at the end the candidate is promoted.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs networks of real peers for a minute")
	}
	kills, seed, lines := 5, uint64(1), 30
	if *killsFlag > 0 {
		kills, lines = *killsFlag, 45
	}
	side := min(3+kills/50, kills) // by side
	tally := &killTally{kinds: map[string]int{}, after: map[string]int{}}
	t.Run("lines", func(t *testing.T) {
		for line := range side {
			share := (kills - line + side - 1) / side
			t.Run(strconv.Itoa(line), func(t *testing.T) {
				t.Parallel()
				killLine(t, lines, share, stat.NewStream(seed, "shoal.kills", uint64(line)), tally)
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d kills in %d directories: %v; the journal ended with: %v", kills, tally.directories, tally.kinds, tally.after)
	t.Logf("after each of them %d peers ran one known configuration: %d times what was good before the candidate, %d times the promoted candidate",
		killPeers, tally.baseline, tally.candidate)
	if tally.baseline+tally.candidate != kills {
		t.Errorf("%d and %d directories were looked at after %d kills", tally.baseline, tally.candidate, kills)
	}
}

// killTally is what all kills together showed.
type killTally struct {
	mu                  sync.Mutex
	kinds, after        map[string]int
	directories         int
	baseline, candidate int
}

func (k *killTally) add(change func(*killTally)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k)
}

// killLine deals out kills one after the other, in one directory until its candidate is
// promoted, then in the next. Each is followed by a start that is looked at.
func killLine(t *testing.T, lines, kills int, dice *stat.Stream, tally *killTally) {
	for kills > 0 {
		d := newKillDir(t, lines, dice.Uint64()>>1)
		tally.add(func(k *killTally) { k.directories++ })
		d.start()
		d.restored()
		for kills > 0 && !d.journal().promoted() {
			kind := killKind(dice)
			d.until(kind, dice)
			d.kill()
			kills--
			j := d.journal()
			t.Logf("killed %s, %s, after %d entries", kind, j.last(), len(j.entries))
			d.start()
			d.restored()
			tally.add(func(k *killTally) {
				k.kinds[kind]++
				k.after[j.last()]++
				if j.promoted() {
					k.candidate++
				} else {
					k.baseline++
				}
			})
		}
		d.endWell()
	}
}

func killKind(dice *stat.Stream) string {
	switch draw := dice.IntN(20); {
	case draw < 12:
		return killProving
	case draw < 15:
		return killPromoting
	case draw < 17:
		return killUndoing
	case draw < 19:
		return killStarting
	default:
		return killHeld
	}
}

// killDir is a data directory, and the process that runs in it.
type killDir struct {
	t         *testing.T
	lines     int // of the log of a rollout after which it is killed at most: seven for a block of four seconds
	set       *knob.Set
	path      string
	candidate string // its file
	seed      uint64
	before    killJournal // when the process was started

	cmd    *exec.Cmd
	url    string
	stdout bytes.Buffer
	ended  chan struct{}
	mu     sync.Mutex
	said   []string
}

func newKillDir(t *testing.T, lines int, seed uint64) *killDir {
	t.Helper()
	set, err := knobSet()
	if err != nil {
		t.Fatal(err)
	}
	d := &killDir{t: t, lines: lines, set: set, path: t.TempDir(), candidate: file(t, "candidate.conf", killCandidate), seed: seed}
	t.Cleanup(d.kill)
	return d
}

// start starts the command, and returns once its window is open.
func (d *killDir) start() {
	d.t.Helper()
	d.before = d.journal()
	d.cmd = command(d.t, "up", "--peers", strconv.Itoa(killPeers), "--for", "90s", "--rate", "30", "--washout", "500ms",
		"--seed", strconv.FormatUint(d.seed, 10), "--candidate", d.candidate, "--data", d.path, "--ui", "127.0.0.1:0", "--json")
	d.stdout.Reset()
	d.cmd.Stdout = &d.stdout
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.said, d.ended = nil, make(chan struct{})
	opened := make(chan string, 1)
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if url, is := strings.CutPrefix(lines.Text(), "window: "); is {
				opened <- url
			}
			d.mu.Lock()
			d.said = append(d.said, lines.Text())
			d.mu.Unlock()
		}
		_ = cmd.Wait() // the status says it
	}(d.cmd, d.ended)
	select {
	case d.url = <-opened:
	case <-d.ended:
		d.t.Fatalf("it ended with\n%s", d.words())
	}
}

func (d *killDir) words() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.said, "\n")
}

// kill is kill -9.
func (d *killDir) kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

// wait waits until something holds, as long as the process lives and the tests may last.
func (d *killDir) wait(what string, holds func() bool) {
	d.t.Helper()
	for !holds() {
		select {
		case <-d.ended:
			d.t.Fatalf("it ended before %s:\n%s", what, d.words())
		case <-d.t.Context().Done():
			d.t.Fatalf("never: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// order gives an order, and tries again while it has no meaning yet. It reports false if
// the run has come to its final table without it.
func (d *killDir) order(word string) (given bool) {
	d.t.Helper()
	d.wait("an order to "+word, func() bool {
		run := get[web.Run](d.t, d.url, mlPath+"/status").Data
		if run == nil || !slices.Contains(run.Orders, word) {
			return run != nil && slices.Contains([]string{string(pilot.PhaseComparing), string(pilot.PhaseClosing), string(pilot.PhaseEnded)}, run.Phase)
		}
		r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, strings.TrimSuffix(d.url, "/")+mlPath+"/"+run.ID+"/"+word,
			strings.NewReader(`{"reason":"the test of kills"}`))
		if err != nil {
			d.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		reply, err := http.DefaultClient.Do(r)
		if err != nil {
			d.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, reply.Body)
		_ = reply.Body.Close()
		given = reply.StatusCode == http.StatusAccepted
		return given
	})
	return given
}

// restored looks at a process that was just started: what it says of the run before, what
// its peers run, and what is counted. The rollout is held then, unless an earlier run has
// promoted the candidate.
func (d *killDir) restored() {
	d.t.Helper()
	j := &d.before
	if !j.promoted() {
		d.order(web.OrderPause) // so that nothing is exposed until we have looked
	}
	d.wait("all peers run what is good by the journal", func() bool {
		f := get[web.Fleet](d.t, d.url, "/api/v3/fleet").Data
		if f == nil {
			return false
		}
		if len(f.Runs) != 1 || f.Runs[0].Peers != killPeers {
			d.t.Fatalf("peers run %+v", f.Runs)
		}
		if f.Runs[0].Config == j.good(d.set).Hash() {
			return true
		}
		// Once all is over, what was promoted is compared with the default, by turns.
		if !j.promoted() || f.Runs[0].Config != d.set.Default().Hash() {
			d.t.Fatalf("all peers run %s, the journal says that %s is good", f.Runs[0].Config, j.good(d.set).Hash())
		}
		return false
	})
	interrupted := fmt.Sprintf("of candidate %s: %s, ", j.candidate(d.set).Hash(), j.decided())
	if said := d.words(); j.open() != strings.Contains(said, interrupted) || j.open() != strings.Contains(said, "interrupted") {
		d.t.Errorf("the journal is open: %v, and it said\n%s", j.open(), said)
	}
	if now := d.journal(); now.open() && len(now.rollouts) == len(j.rollouts) {
		d.t.Errorf("the rollout of the earlier run is still open: %+v", now.rollouts)
	}
	d.counted()
}

// counted holds what the API counts against the journal.
func (d *killDir) counted() {
	d.t.Helper()
	tally := get[web.Tally](d.t, d.url, mlPath+"/statistics").Data
	entries := get[web.List[web.Entry]](d.t, d.url, mlPath+"/history?limit=1000").Data
	j := d.journal()
	if tally == nil || entries == nil {
		if len(j.entries) > 0 {
			d.t.Error("a journal, and nothing is counted")
		}
		return
	}
	last := uint64(0)
	for i, e := range entries.Items {
		if e.Seq != last+1 || i >= len(j.entries) || e.Kind != j.entries[i].Kind || e.Text != j.entries[i].Text {
			d.t.Fatalf("entry %d of the API is %+v, after number %d", i, e, last)
		}
		last = e.Seq
	}
	// The journal may have grown since it was counted, but for what was there at first.
	starts, decisions := 0, map[string]int{}
	for _, e := range j.entries[:tally.Entries] {
		switch e.Kind {
		case tune.KindStart:
			starts++
		case tune.KindDecision:
			decisions[j.decision(e)]++
		}
	}
	if tally.Rollouts != starts || fmt.Sprint(tally.Decided) != fmt.Sprint(decisions) {
		d.t.Errorf("%d rollouts, decided %v; the journal has %d and %v", tally.Rollouts, tally.Decided, starts, decisions)
	}
	if run := get[web.Run](d.t, d.url, mlPath+"/status").Data; run.Held {
		for _, s := range run.Stages {
			if s.Units != 0 || s.Samples != 0 {
				d.t.Errorf("a rollout that was held before it began has measured %+v", s)
			}
		}
	}
}

// until goes on until a random moment of a kind.
func (d *killDir) until(kind string, dice *stat.Stream) {
	d.t.Helper()
	part := time.Duration(dice.IntN(1000)) * time.Millisecond // of an interval
	defer func() { time.Sleep(part) }()
	if kind == killStarting {
		return
	}
	d.wait("the rollout is held", func() bool { return d.journal().since(d.before, tune.KindHold) > 0 })
	if kind == killHeld {
		return
	}
	d.order(web.OrderResume)
	lines := 1 + dice.IntN(d.lines)
	if kind != killProving {
		lines = 1 + lines/4
	}
	began := d.logged()
	d.wait("the rollout goes on", func() bool {
		return d.logged() >= began+lines || d.journal().since(d.before, tune.KindEnd) > d.before.closes()
	})
	if kind == killProving {
		return
	}
	part = time.Duration(dice.IntN(3000)) * time.Microsecond // an entry takes about a millisecond
	entries := d.journal()
	if entries.since(d.before, tune.KindEnd) > d.before.closes() {
		return // it was decided before
	}
	given := d.order(web.OrderPromote)
	if kind == killUndoing {
		d.wait("the promotion ends", func() bool { return d.journal().since(d.before, tune.KindEnd) > d.before.closes() })
		entries = d.journal()
		given = d.order(web.OrderRollback)
	}
	if !given {
		return
	}
	more := dice.IntN(4)
	d.wait("the order is obeyed", func() bool { return len(d.journal().entries) >= len(entries.entries)+more })
}

// logged returns how many lines the log of the rollout has.
func (d *killDir) logged() int {
	text, err := os.ReadFile(filepath.Join(d.path, pilot.LogName))
	if err != nil && !os.IsNotExist(err) {
		d.t.Fatal(err)
	}
	return bytes.Count(text, []byte{'\n'})
}

// endWell lets the process that runs go on to its end: the candidate is promoted, by this
// run or an earlier one.
func (d *killDir) endWell() {
	d.t.Helper()
	if !d.before.promoted() {
		d.wait("the rollout is held", func() bool { return d.journal().since(d.before, tune.KindHold) > 0 })
		d.order(web.OrderPromote)
	}
	d.wait("it ends", func() bool {
		run := get[web.Run](d.t, d.url, mlPath+"/status").Data
		return run != nil && run.Phase == string(pilot.PhaseEnded) && run.EndedS != nil
	})
	j := d.journal()
	want := j.candidate(d.set).Hash()
	if j.open() || !j.promoted() || j.good(d.set).Hash() != want {
		d.t.Errorf("it ended with a journal that is open or has not promoted: %+v", j.rollouts)
	}
	d.wait("all run the candidate", func() bool {
		f := get[web.Fleet](d.t, d.url, "/api/v3/fleet").Data
		return f != nil && len(f.Runs) == 1 && f.Runs[0] == web.Running{Config: want, Peers: killPeers}
	})
	d.counted()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		d.t.Fatal(err)
	}
	<-d.ended
	var result pilot.Result
	if err := json.Unmarshal(d.stdout.Bytes(), &result); err != nil || result.Decision != tune.Promoted || d.cmd.ProcessState.ExitCode() != exitOK {
		d.t.Errorf("it ended with status %d, %q, %v\n%s", d.cmd.ProcessState.ExitCode(), result.Decision, err, d.words())
	}
	if log, err := os.Open(filepath.Join(d.path, pilot.LogName)); err != nil {
		d.t.Error(err)
	} else {
		defer func() { _ = log.Close() }()
		if _, err := pilot.Replay(log, d.set); err != nil {
			d.t.Errorf("the log of the last rollout: %v", err)
		}
	}
	d.cmd = nil
}

// killJournal is a journal as a reader without our code would understand it.
type killJournal struct {
	entries  []tune.Entry
	rollouts []killRollout
}

// killRollout is one rollout of a journal.
type killRollout struct {
	baseline, candidate string // texts
	decisions           []string
	ended               bool
}

// journal reads the journal, whose last line may be torn.
func (d *killDir) journal() (j killJournal) {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.path, pilot.JournalName))
	if os.IsNotExist(err) {
		return j
	}
	if err != nil {
		d.t.Fatal(err)
	}
	var chain tune.Journal
	if j.entries, _, err = chain.Load(text); err != nil {
		d.t.Fatal(err)
	}
	for _, e := range j.entries {
		n := len(j.rollouts) - 1
		switch e.Kind {
		case tune.KindStart:
			if n >= 0 && !j.rollouts[n].ended {
				d.t.Fatalf("entry %d begins a rollout within another", e.Seq)
			}
			var data struct{ Baseline, Candidate string }
			if err := json.Unmarshal(e.Data, &data); err != nil {
				d.t.Fatal(err)
			}
			j.rollouts = append(j.rollouts, killRollout{baseline: data.Baseline, candidate: data.Candidate})
		case tune.KindDecision:
			r := &j.rollouts[n]
			r.decisions, r.ended = append(r.decisions, j.decision(e)), false
			if again := len(r.decisions); again > 2 || again == 2 && r.decisions[0] != string(tune.Promoted) {
				d.t.Fatalf("entry %d decides again: %v", e.Seq, r.decisions)
			}
		case tune.KindEnd:
			if r := &j.rollouts[n]; r.ended || len(r.decisions) == 0 {
				d.t.Fatalf("entry %d ends a rollout that is over or undecided", e.Seq)
			}
			j.rollouts[n].ended = true
		}
	}
	return j
}

func (killJournal) decision(e tune.Entry) string {
	var data struct{ Decision string }
	_ = json.Unmarshal(e.Data, &data) // an empty decision is none of ours
	return data.Decision
}

// open reports whether a rollout is under way.
func (j killJournal) open() bool {
	n := len(j.rollouts)
	return n > 0 && !j.rollouts[n-1].ended
}

// decided is how the last rollout ends: what nobody decided is rolled back.
func (j killJournal) decided() string {
	if n := len(j.rollouts); n > 0 && len(j.rollouts[n-1].decisions) > 0 {
		d := j.rollouts[n-1].decisions
		return d[len(d)-1]
	}
	return string(tune.RolledBack)
}

// promoted reports whether the candidate is what runs.
func (j killJournal) promoted() bool { return j.decided() == string(tune.Promoted) }

// candidate is that of the last rollout.
func (j killJournal) candidate(set *knob.Set) knob.Config {
	text := killCandidate
	if n := len(j.rollouts); n > 0 {
		text = j.rollouts[n-1].candidate
	}
	return j.parse(set, text)
}

// good is what all peers must run.
func (j killJournal) good(set *knob.Set) knob.Config {
	n := len(j.rollouts)
	switch {
	case n == 0:
		return set.Stock()
	case j.promoted():
		return j.candidate(set)
	}
	return j.parse(set, j.rollouts[n-1].baseline)
}

func (killJournal) parse(set *knob.Set, text string) knob.Config {
	c, err := set.Parse(set.Stock(), text)
	if err != nil {
		panic(err) // the test's own text, or one that the journal's hashes vouch for
	}
	return c
}

// since counts the entries of a kind after those of an earlier journal.
func (j killJournal) since(before killJournal, kind string) (n int) {
	for _, e := range j.entries[len(before.entries):] {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// closes is how many ends a later run writes for this journal.
func (j killJournal) closes() int {
	if j.open() {
		return 1
	}
	return 0
}

// last is what the journal ends with.
func (j killJournal) last() string {
	if len(j.entries) == 0 {
		return "nothing"
	}
	return j.entries[len(j.entries)-1].Kind
}
