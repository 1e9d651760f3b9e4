package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/lab/cluster"
	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// workerEnv makes the test binary a worker of the server that it names.
const workerEnv = "SHOAL_CLUSTER_TEST_WORKER"

const version = "test 1"

func TestMain(m *testing.M) {
	if url := os.Getenv(workerEnv); url != "" {
		if err := cluster.Work(context.Background(), url, cluster.WorkerConfig{Version: version, Slots: 1, Table: tableOf}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var problem = opttest.DTLZ2(8, 3)

// answer is the payload of a dtlz2 result.
type answer struct {
	PID    int
	Scores []float64
}

// tableOf makes the functions of a run, whose description is a prefix for echoes.
func tableOf(description []byte) (lab.Table, error) {
	if string(description) == "bad" {
		return nil, errors.New("a bad description")
	}
	return lab.Table{
		"echo": func(_ context.Context, payload []byte, seed uint64) ([]byte, float64, error) {
			return fmt.Appendf(nil, "%s %d %s", description, seed, payload), float64(len(payload)), nil
		},
		"fail":  func(context.Context, []byte, uint64) ([]byte, float64, error) { return nil, 7, errors.New("no luck") },
		"large": func(context.Context, []byte, uint64) ([]byte, float64, error) { return make([]byte, 9<<20), 0, nil },
		"wait": func(ctx context.Context, _ []byte, _ uint64) ([]byte, float64, error) {
			<-ctx.Done()
			return nil, 0, ctx.Err()
		},
		// hold never ends in the first process that takes it, which writes its number to the
		// file of the payload.
		"hold": func(_ context.Context, payload []byte, _ uint64) ([]byte, float64, error) {
			marker, err := os.OpenFile(string(payload), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return strconv.AppendInt(nil, int64(os.Getpid()), 10), 0, nil
			}
			_, err = fmt.Fprintln(marker, os.Getpid())
			_ = marker.Close()
			if err != nil {
				return nil, 0, err
			}
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
	}, nil
}

func serve(t *testing.T, dir string) *cluster.Server {
	t.Helper()
	s, err := cluster.Serve(cluster.ServerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, url, run string) *cluster.Pool {
	t.Helper()
	p, err := cluster.Open(t.Context(), url, cluster.Config{Version: version, Run: []byte(run)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// work starts a worker in this process; stop ends it and returns what Work did.
func work(t *testing.T, url string, cfg cluster.WorkerConfig) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	if cfg.Table == nil {
		cfg.Table = tableOf
	}
	if cfg.Version == "" {
		cfg.Version = version
	}
	cfg.Slots = max(cfg.Slots, 1)
	go func() { done <- cluster.Work(ctx, url, cfg) }()
	return func() error {
		cancel()
		return <-done
	}
}

// process starts a worker that is a process of its own.
func process(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), workerEnv+"="+url)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // the error is that it was killed
	})
	return cmd
}

func TestRun(t *testing.T) {
	s := serve(t, t.TempDir())
	p := open(t, s.URL(), "hello")
	var count atomic.Int64
	stop := work(t, s.URL(), cluster.WorkerConfig{Slots: 3, Done: func() { count.Add(1) }})
	var tasks []lab.Task
	for i := range 100 { // some are equal and computed once
		tasks = append(tasks, lab.Task{Kind: "echo", Payload: []byte(strconv.Itoa(i / 2)), Seed: 7})
	}
	tasks = append(tasks, lab.Task{Kind: "fail"}, lab.Task{Kind: "large"}, lab.Task{Kind: "nothing"})
	results, err := p.Run(t.Context(), tasks)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results[:100] {
		if r.Index != i || string(r.Payload) != fmt.Sprintf("hello 7 %d", i/2) || r.Err != "" || r.Cost != float64(len(strconv.Itoa(i/2))) {
			t.Errorf("task %d: %d %q, cost %v, %s", i, r.Index, r.Payload, r.Cost, r.Err)
		}
	}
	for i, want := range []string{"no luck", "want at most", "no task of kind"} {
		if r := results[100+i]; !strings.Contains(r.Err, want) || len(r.Payload) != 0 {
			t.Errorf("%q: want %q", r.Err, want)
		}
	}
	for count.Load() < 53 { // a result is here before its worker knows that it is
		time.Sleep(time.Millisecond)
	}
	workers, slots, err := p.Workers(t.Context())
	if err != nil || workers != 1 || slots != 3 {
		t.Errorf("%d workers with %d slots, %v", workers, slots, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := count.Load(); n != 53 {
		t.Errorf("%d tasks were computed, want 53", n)
	}
}

// evaluation makes the trials of a search into tasks; watch is told of each outcome in
// turn, and who computed it.
func evaluation(watch func(trial, pid int)) lab.Evaluation {
	var pid int
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
		InFlight: 8,
		Progress: func(trial opt.Trial, _ opt.Outcome) { watch(trial.ID, pid) },
	}
}

func newSearch(t *testing.T) opt.Optimizer {
	t.Helper()
	o, err := opt.NewNSGA3(opttest.Space(t, problem.Size), opt.Settings{Seed: 5, Objectives: 3, Budget: 400, Population: 40})
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

// alone is the search on one goroutine of this process.
func alone(t *testing.T) opt.Optimizer {
	t.Helper()
	table, err := tableOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := lab.Local(table, 1)
	defer func() { _ = p.Close() }()
	o := newSearch(t)
	if err := lab.Search(t.Context(), o, p, evaluation(func(int, int) {})); err != nil {
		t.Fatal(err)
	}
	return o
}

func same(t *testing.T, got, want opt.Optimizer) {
	t.Helper()
	if got.Tally() != want.Tally() || !slices.Equal(front(got), front(want)) {
		t.Errorf("tally %+v, want %+v, or the fronts differ", got.Tally(), want.Tally())
	}
}

// Two worker processes search; one is killed as by kill -9 in the middle, and a third
// joins. The search is that of one process: no evaluation is lost or counted twice.
func TestSearchSurvivesKilledWorker(t *testing.T) {
	s := serve(t, t.TempDir())
	p := open(t, s.URL(), "search")
	first, second := process(t, s.URL()), process(t, s.URL())
	var third *exec.Cmd
	by := map[int]int{}
	o := newSearch(t)
	next := 0
	err := lab.Search(t.Context(), o, p, evaluation(func(trial, pid int) {
		if trial != next {
			t.Errorf("told trial %d, want %d", trial, next)
		}
		next++
		by[pid]++
		if trial == 150 {
			if err := first.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		if trial == 200 {
			third = process(t, s.URL())
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	same(t, o, alone(t))
	for _, worker := range []*exec.Cmd{first, second, third} {
		t.Logf("worker %d did %d", worker.Process.Pid, by[worker.Process.Pid])
	}
	if by[first.Process.Pid] == 0 || by[second.Process.Pid] == 0 {
		t.Errorf("evaluations by process: %v: want both", by)
	}
}

// A worker is killed with a task in its hands: another does it.
func TestTaskOfKilledWorkerIsDoneByAnother(t *testing.T) {
	s := serve(t, t.TempDir())
	p := open(t, s.URL(), "run")
	marker := filepath.Join(t.TempDir(), "held")
	tasks := make(chan lab.Task, 1)
	tasks <- lab.Task{Kind: "hold", Payload: []byte(marker)}
	close(tasks)
	results := p.Stream(t.Context(), tasks)
	workers := []*exec.Cmd{process(t, s.URL()), process(t, s.URL())}
	victim := 0
	for victim == 0 {
		text, err := os.ReadFile(marker)
		if err == nil && strings.HasSuffix(string(text), "\n") {
			victim, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, w := range workers {
		if w.Process.Pid == victim {
			if err := w.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := <-results
	other := workers[0].Process.Pid + workers[1].Process.Pid - victim
	if r.Err != "" || string(r.Payload) != strconv.Itoa(other) {
		t.Errorf("%q %s, want %d", r.Payload, r.Err, other)
	}
}

// A coordinator stops in the middle, its server too. Started again on the same
// directory it computes only what is missing.
func TestSearchGoesOnAfterRestart(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	p := open(t, s.URL(), "search")
	var count atomic.Int64
	stop := work(t, s.URL(), cluster.WorkerConfig{Slots: 2, Done: func() { count.Add(1) }})
	ctx, cancel := context.WithCancel(t.Context())
	err := lab.Search(ctx, newSearch(t), p, evaluation(func(trial, _ int) {
		if trial == 250 {
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want canceled", err)
	}
	if err := errors.Join(p.Close(), stop()); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = serve(t, dir)
	p = open(t, s.URL(), "search")
	stop = work(t, s.URL(), cluster.WorkerConfig{Slots: 2, Done: func() { count.Add(1) }})
	o := newSearch(t)
	if err := lab.Search(t.Context(), o, p, evaluation(func(int, int) {})); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	same(t, o, alone(t))
	if p.Reused() < 251 {
		t.Errorf("%d results were known, want the first 251", p.Reused())
	}
	// What was under way at the stop may have been computed twice.
	if n := count.Load(); n > 400+2 {
		t.Errorf("%d evaluations for 400 trials", n)
	}
}

// A task in the hands of a worker that leaves goes to another at once, and one whose
// description nobody can read becomes a failed result.
func TestTaskThatNobodyCanDo(t *testing.T) {
	s := serve(t, t.TempDir())
	p := open(t, s.URL(), "run")
	tasks := make(chan lab.Task, 1)
	tasks <- lab.Task{Kind: "wait"}
	close(tasks)
	results := p.Stream(t.Context(), tasks)
	for range 6 { // more than a task may take with it
		started := make(chan struct{}, 1)
		stop := work(t, s.URL(), cluster.WorkerConfig{Table: func(d []byte) (lab.Table, error) {
			table, err := tableOf(d)
			wait := table["wait"]
			table["wait"] = func(ctx context.Context, b []byte, seed uint64) ([]byte, float64, error) {
				started <- struct{}{}
				return wait(ctx, b, seed)
			}
			return table, err
		}})
		select {
		case <-started:
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		case r := <-results:
			if !strings.Contains(r.Err, "none gave a result") {
				t.Errorf("%+v", r)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("six workers took the task")
}

func TestWorkerOfAnotherVersionIsIdle(t *testing.T) {
	s := serve(t, t.TempDir())
	p := open(t, s.URL(), "run")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tasks := make(chan lab.Task, 1)
	tasks <- lab.Task{Kind: "echo"}
	results := p.Stream(ctx, tasks)
	err := cluster.Work(t.Context(), s.URL(), cluster.WorkerConfig{Version: "test 2", Slots: 1, Table: tableOf, Idle: time.Second})
	if !cluster.IsIdle(err) {
		t.Errorf("error %v, want idle", err)
	}
	cancel()
	if r, ok := <-results; ok {
		t.Errorf("result %+v", r)
	}
}

// Nobody works for a coordinator that is gone: its tasks are taken off the queue.
func TestTasksOfClosedPoolAreTakenBack(t *testing.T) {
	s := serve(t, t.TempDir())
	p := open(t, s.URL(), "run")
	ctx, cancel := context.WithCancel(t.Context())
	tasks := make(chan lab.Task, 1)
	tasks <- lab.Task{Kind: "echo", Payload: []byte("never")}
	results := p.Stream(ctx, tasks)
	time.Sleep(50 * time.Millisecond) // usually it is on the queue by now; the test holds without
	cancel()
	for range results {
		t.Error("a result without a worker")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	done := false
	err := cluster.Work(t.Context(), s.URL(), cluster.WorkerConfig{Version: version, Slots: 1, Table: tableOf, Idle: time.Second, Done: func() { done = true }})
	if !cluster.IsIdle(err) || done {
		t.Errorf("error %v, worked %v: want idle", err, done)
	}
	if err := p.Err(); !errors.Is(err, lab.ErrClosed) {
		t.Errorf("error %v of a closed pool", err)
	}
}

func TestServerIsLost(t *testing.T) {
	s := serve(t, t.TempDir())
	if _, err := cluster.Open(t.Context(), "nats://127.0.0.1:1", cluster.Config{}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v without a server", err)
	}
	p := open(t, s.URL(), "run")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), []lab.Task{{Kind: "echo"}}); !errors.Is(err, lab.ErrClosed) {
		t.Errorf("error %v of a closed pool", err)
	}
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []cluster.ServerConfig{
		{}, {Dir: dir, Listen: "nothing"}, {Dir: dir, Listen: "127.0.0.1:99999"}, {Dir: dir, Listen: "0.0.0.0:0"}, {Dir: dir, Listen: ":0"},
	} {
		if s, err := cluster.Serve(bad); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", bad)
		}
	}
	s, err := cluster.Serve(cluster.ServerConfig{Dir: filepath.Join(dir, "a"), Listen: "0.0.0.0:0", Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.HasPrefix(s.URL(), "nats://secret@127.0.0.1:") {
		t.Errorf("URL %s", s.URL())
	}
	if err := open(t, s.URL(), "run").Close(); err != nil {
		t.Error(err)
	}
	wrong := strings.Replace(s.URL(), "secret", "guess", 1)
	_, err = cluster.Open(t.Context(), wrong, cluster.Config{})
	if err == nil || strings.Contains(err.Error(), "guess") {
		t.Errorf("error %v with a wrong token", err)
	}
}
