package lab_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// workerEnv makes the test binary a worker of these tests.
const workerEnv = "SHOAL_LAB_TEST_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(workerEnv) {
	case "serve":
		if err := lab.Serve(context.Background(), os.Stdin, os.Stdout, table); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "die":
		fmt.Fprintln(os.Stderr, "no disk")
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

var problem = opttest.DTLZ2(8, 3)

// kill ends a process as kill -9 does.
func kill(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}

// answer is the payload of a dtlz2 result.
type answer struct {
	PID    int
	Scores []float64
}

var table = lab.Table{
	"echo": func(_ context.Context, payload []byte, seed uint64) ([]byte, float64, error) {
		return append(strconv.AppendUint(nil, seed, 10), payload...), float64(len(payload)), nil
	},
	"fail":  func(context.Context, []byte, uint64) ([]byte, float64, error) { return nil, 7, errors.New("no luck") },
	"panic": func(context.Context, []byte, uint64) ([]byte, float64, error) { panic("out of cheese") },
	"large": func(context.Context, []byte, uint64) ([]byte, float64, error) { return make([]byte, 17<<20), 0, nil },
	"wait": func(ctx context.Context, _ []byte, _ uint64) ([]byte, float64, error) {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	},
	"half": func(ctx context.Context, _ []byte, _ uint64) ([]byte, float64, error) {
		<-ctx.Done()
		return []byte("half"), 1, nil
	},
	// kill ends its worker as kill -9 does; given the name of a file, only if it is
	// the first to create it.
	"kill": func(_ context.Context, payload []byte, _ uint64) ([]byte, float64, error) {
		if len(payload) > 0 {
			marker, err := os.OpenFile(string(payload), os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return []byte("survived"), 1, nil
			}
			_ = marker.Close()
		}
		_ = kill(os.Getpid())
		select {}
	},
	"dtlz2": func(_ context.Context, payload []byte, _ uint64) ([]byte, float64, error) {
		var x []float64
		if err := json.Unmarshal(payload, &x); err != nil {
			return nil, 0, err
		}
		b, err := json.Marshal(answer{os.Getpid(), problem.Scores(x)})
		return b, opt.FullLookups, err
	},
}

// children starts a pool of processes that run this test binary.
func children(t *testing.T, n int) lab.Pool {
	t.Helper()
	t.Setenv(workerEnv, "serve")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := lab.Processes(t.Context(), []string{program}, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, p) })
	return p
}

// pools runs a test over goroutines and over processes.
func pools(t *testing.T, test func(*testing.T, lab.Pool)) {
	t.Run("local", func(t *testing.T) {
		p := lab.Local(table, 3)
		defer closePool(t, p)
		test(t, p)
	})
	t.Run("processes", func(t *testing.T) { test(t, children(t, 3)) })
}

func closePool(t *testing.T, p lab.Pool) {
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func echoes(n int) []lab.Task {
	tasks := make([]lab.Task, n)
	for i := range tasks {
		tasks[i] = lab.Task{Kind: "echo", Payload: []byte(" says task " + strconv.Itoa(i)), Seed: uint64(i)}
	}
	return tasks
}

func checkEcho(t *testing.T, r lab.Result) {
	t.Helper()
	want := fmt.Sprintf("%d says task %d", r.Index, r.Index)
	if r.Err != "" || string(r.Payload) != want || r.Cost != float64(len(want)-len(strconv.Itoa(r.Index))) {
		t.Errorf("task %d: %q, cost %v, %s", r.Index, r.Payload, r.Cost, r.Err)
	}
}

func TestRun(t *testing.T) {
	pools(t, func(t *testing.T, p lab.Pool) {
		results, err := p.Run(t.Context(), echoes(200))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Index != i {
				t.Fatalf("result %d has index %d", i, r.Index)
			}
			checkEcho(t, r)
		}
		if results, err := p.Run(t.Context(), nil); err != nil || len(results) != 0 {
			t.Errorf("nothing to do: %v, %v", results, err)
		}
	})
}

func TestStreamGivesEachResultOnce(t *testing.T) {
	pools(t, func(t *testing.T, p lab.Pool) {
		tasks := make(chan lab.Task)
		go func() {
			defer close(tasks)
			for _, task := range echoes(100) {
				tasks <- task
			}
		}()
		seen := map[int]bool{}
		for r := range p.Stream(t.Context(), tasks) {
			if seen[r.Index] {
				t.Errorf("task %d came twice", r.Index)
			}
			seen[r.Index] = true
			checkEcho(t, r)
		}
		if len(seen) != 100 {
			t.Errorf("%d results of 100 tasks", len(seen))
		}
	})
}

func TestFailuresAreResults(t *testing.T) {
	pools(t, func(t *testing.T, p lab.Pool) {
		results, err := p.Run(t.Context(), []lab.Task{
			{Kind: "fail"}, {Kind: "panic"}, {Kind: "nothing"}, {Kind: "echo", Payload: []byte(" says task 3"), Seed: 3},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"no luck", "panicked: out of cheese", `"nothing"`} {
			if !strings.Contains(results[i].Err, want) || len(results[i].Payload) > 0 {
				t.Errorf("task %d: %+v, want an error with %q", i, results[i], want)
			}
		}
		if results[0].Cost != 7 {
			t.Errorf("a failure cost %v, want 7", results[0].Cost)
		}
		checkEcho(t, results[3])
	})
}

func TestTooLarge(t *testing.T) {
	p := children(t, 1)
	results, err := p.Run(t.Context(), []lab.Task{
		{Kind: "large"}, {Kind: "echo", Payload: make([]byte, 17<<20)}, {Kind: "echo", Payload: []byte(" says task 2"), Seed: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if !strings.Contains(results[i].Err, "16 MiB") {
			t.Errorf("task %d: %q", i, results[i].Err)
		}
	}
	checkEcho(t, results[2])
}

func TestTaskOfDeadWorkerIsDoneByAnother(t *testing.T) {
	p := children(t, 2)
	tasks := echoes(40)
	for i := 0; i < 40; i += 10 {
		tasks[i] = lab.Task{Kind: "kill", Payload: []byte(t.TempDir() + "/dead")}
	}
	results, err := p.Run(t.Context(), tasks)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if i%10 != 0 {
			checkEcho(t, r)
		} else if string(r.Payload) != "survived" {
			t.Errorf("task %d: %+v", i, r)
		}
	}
}

func TestTaskThatKillsIsGivenUp(t *testing.T) {
	p := children(t, 2)
	tasks := echoes(10)
	tasks[4] = lab.Task{Kind: "kill"}
	results, err := p.Run(t.Context(), tasks)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if i != 4 {
			checkEcho(t, r)
		} else if !strings.Contains(r.Err, "took 3 workers") || !strings.Contains(r.Err, "killed") {
			t.Errorf("the deadly task: %+v", r)
		}
	}
}

func TestPoolWhoseWorkersAllDie(t *testing.T) {
	p := children(t, 2)
	t.Setenv(workerEnv, "die") // the replacements
	tasks := make([]lab.Task, 20)
	for i := range tasks {
		tasks[i].Kind = "kill"
	}
	if _, err := p.Run(t.Context(), tasks); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("error %v, want the last words of a worker", err)
	}
	if p.Err() == nil {
		t.Error("a pool without workers has no error")
	}
}

func TestBadPools(t *testing.T) {
	for name, command := range map[string][]string{"none": nil, "missing": {t.TempDir() + "/nothing"}} {
		if p, err := lab.Processes(t.Context(), command, 2); err == nil || p != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	if _, err := lab.Processes(t.Context(), []string{os.Args[0]}, 0); err == nil {
		t.Error("no workers accepted")
	}
}

// TestCancel ends calls whose tasks never end by themselves; the pool goes on.
func TestCancel(t *testing.T) {
	pools(t, func(t *testing.T, p lab.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		tasks := make(chan lab.Task, 10)
		for range 10 {
			tasks <- lab.Task{Kind: "wait"}
		}
		results := p.Stream(ctx, tasks)
		tasks <- lab.Task{Kind: "wait"} // room for it means that workers are busy
		cancel()
		for r := range results {
			if r.Err == "" {
				t.Errorf("task %d succeeded", r.Index)
			}
		}
		if _, err := p.Run(ctx, echoes(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want canceled", err)
		}
		again, err := p.Run(t.Context(), echoes(5))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range again {
			checkEcho(t, r)
		}
	})
}

// TestCancelledIsNoResult: what a task returns because it was cancelled is not delivered,
// neither as its result nor as its failure.
func TestCancelledIsNoResult(t *testing.T) {
	pools(t, func(t *testing.T, p lab.Pool) {
		for i := range 16 { // a result has no reader at times
			ctx, cancel := context.WithCancel(t.Context())
			tasks := make(chan lab.Task)
			results := p.Stream(ctx, tasks)
			tasks <- lab.Task{Kind: []string{"half", "wait"}[i%2]}
			tasks <- lab.Task{Kind: "half"} // the first one is in hand
			cancel()
			for r := range results {
				t.Fatalf("a cancelled task gave %q, %s", r.Payload, r.Err)
			}
		}
	})
}

func TestCloseEndsCalls(t *testing.T) {
	pools(t, func(t *testing.T, p lab.Pool) {
		tasks := make(chan lab.Task, 1)
		tasks <- lab.Task{Kind: "wait"}
		results := p.Stream(t.Context(), tasks)
		tasks <- lab.Task{Kind: "wait"}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		for range results {
			continue
		}
		if _, err := p.Run(t.Context(), echoes(1)); !errors.Is(err, lab.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	})
}

// evaluation scores trials by task; watch sees every worker's answer.
func evaluation(inFlight int, watch func(trial, pid int)) lab.Evaluation {
	pid := 0
	return lab.Evaluation{
		Encode: func(trial opt.Trial) lab.Task {
			b, err := json.Marshal(trial.X)
			if err != nil {
				panic(err)
			}
			return lab.Task{Kind: "dtlz2", Payload: b, Seed: trial.Seeds}
		},
		Decode: func(r lab.Result) opt.Outcome {
			var a answer
			if err := json.Unmarshal(r.Payload, &a); err != nil {
				return opt.Outcome{Failed: err.Error()}
			}
			pid = a.PID
			return opt.Outcome{Scores: a.Scores}
		},
		InFlight: inFlight,
		Progress: func(trial opt.Trial, _ opt.Outcome) { watch(trial.ID, pid) },
	}
}

func newSearch(t *testing.T) opt.Optimizer {
	t.Helper()
	o, err := opt.NewNSGA3(opttest.Space(t, problem.Size), opt.Settings{Seed: 5, Objectives: 3, Budget: 600, Population: 40})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func front(o opt.Optimizer) []string {
	var lines []string
	for _, m := range o.Front() {
		lines = append(lines, fmt.Sprint(m.Trial.ID, m.Trial.X, m.Scores))
	}
	return lines
}

// TestSearchIsTheSameOnAnyPool compares one goroutine with three child
// processes, of which one is killed every 150 trials.
func TestSearchIsTheSameOnAnyPool(t *testing.T) {
	p := lab.Local(table, 1)
	defer closePool(t, p)
	alone := newSearch(t)
	if err := lab.Search(t.Context(), alone, p, evaluation(8, func(int, int) {})); err != nil {
		t.Fatal(err)
	}
	family := newSearch(t)
	pids := map[int]bool{}
	next := 0
	err := lab.Search(t.Context(), family, children(t, 3), evaluation(8, func(trial, pid int) {
		if trial != next {
			t.Errorf("told trial %d, want %d", trial, next)
		}
		next++
		pids[pid] = true
		if trial%150 == 100 {
			if err := kill(pid); err != nil {
				t.Logf("worker %d has gone already: %v", pid, err)
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(pids) <= 3 {
		t.Errorf("workers %v: none was replaced", pids)
	}
	if alone.Tally() != family.Tally() || !slices.Equal(front(alone), front(family)) {
		t.Errorf("tallies %+v and %+v, or fronts, differ", alone.Tally(), family.Tally())
	}
	if tally := family.Tally(); tally.Failed != 0 || tally.Told != 600 || tally.CostLookups != 600*opt.FullLookups {
		t.Errorf("tally %+v", tally)
	}
}

// TestSearchResumes stops a search in the middle and goes on from its log.
func TestSearchResumes(t *testing.T) {
	p := lab.Local(table, 2)
	defer closePool(t, p)
	whole := newSearch(t)
	if err := lab.Search(t.Context(), whole, p, evaluation(8, func(int, int) {})); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told []opt.Outcome
	first := evaluation(8, nil)
	first.Progress = func(trial opt.Trial, out opt.Outcome) {
		if told = append(told, out); trial.ID == 333 {
			cancel()
		}
	}
	if err := lab.Search(ctx, newSearch(t), p, first); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want canceled", err)
	}
	second := newSearch(t)
	rest := evaluation(8, func(int, int) {})
	rest.Open = opt.Replay(second, told)
	if err := lab.Search(t.Context(), second, p, rest); err != nil {
		t.Fatal(err)
	}
	if whole.Tally() != second.Tally() || !slices.Equal(front(whole), front(second)) {
		t.Errorf("tallies %+v and %+v, or fronts, differ", whole.Tally(), second.Tally())
	}
}

func TestSearchTellsFailures(t *testing.T) {
	p := lab.Local(lab.Table{"dtlz2": table["panic"]}, 2)
	defer closePool(t, p)
	o := newSearch(t)
	if err := lab.Search(t.Context(), o, p, evaluation(8, func(int, int) {})); err != nil {
		t.Fatal(err)
	}
	if tally := o.Tally(); tally.Failed != 600 {
		t.Errorf("tally %+v, want all 600 failed", tally)
	}
}

func TestSearchNeedsItsFunctions(t *testing.T) {
	p := lab.Local(table, 1)
	defer closePool(t, p)
	if err := lab.Search(t.Context(), newSearch(t), p, lab.Evaluation{}); err == nil {
		t.Error("an empty evaluation was accepted")
	}
}

// TestServeEndsWithItsInput also when the context ends first.
func TestServeEndsWithItsInput(t *testing.T) {
	if err := lab.Serve(t.Context(), strings.NewReader(""), new(strings.Builder), table); err != nil {
		t.Errorf("empty input: %v", err)
	}
	if err := lab.Serve(t.Context(), strings.NewReader("\x00\x00\x00\x05abc"), new(strings.Builder), table); err == nil {
		t.Error("half a message was accepted")
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := lab.Serve(ctx, in, new(strings.Builder), table); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}

// TestServeKeepsHalves: a child whose context ends does not answer what it has in hand.
func TestServeKeepsHalves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var begun lab.Table = map[string]lab.Func{"half": func(ctx context.Context, payload []byte, seed uint64) ([]byte, float64, error) {
		cancel()
		return table["half"](ctx, payload, seed)
	}}
	task, err := lab.Task{Kind: "half"}.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	in := strings.NewReader(string(binary.BigEndian.AppendUint32(nil, uint32(len(task)))) + string(task))
	var out strings.Builder
	if err := lab.Serve(ctx, in, &out, begun); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("error %v, and an answer of %d bytes", err, out.Len())
	}
}
