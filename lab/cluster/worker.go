package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoalnet/shoal/lab"
)

// WorkerConfig says how to work.
type WorkerConfig struct {
	Version string // of the program; see Config
	Slots   int    // tasks at once, at least 1
	// Table reads the description of a run. Tasks of a run whose description it
	// refuses are left to other workers.
	Table func(description []byte) (lab.Table, error)
	// Idle ends the work after so long without a task; 0: never. It should be well
	// above the seconds after which the task of a dead worker comes back.
	Idle time.Duration
	// Log, if not nil, is told what a person would want to know. It may be called
	// concurrently.
	Log func(text string)
	// Done, if not nil, is called after each task, concurrently.
	Done func()
}

// maxTables is how many runs a worker keeps in memory.
const maxTables = 4

// fetchTime is how long a worker asks for a task before it asks again.
const fetchTime = 2 * time.Second

// Work connects to a server and does tasks until ctx ends, which is no error, or the
// server is gone for good. A task in hand when ctx ends goes to another worker.
func Work(ctx context.Context, url string, cfg WorkerConfig) error {
	if cfg.Slots < 1 || cfg.Table == nil {
		return errors.New("cluster: a worker needs at least one slot and a table")
	}
	if cfg.Log == nil {
		cfg.Log = func(string) {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, err := connect(ctx, url, cfg.Version, func() { cancel(errGone) })
	if err != nil {
		return err
	}
	w := &worker{link: l, cfg: cfg, tables: map[string]lab.Table{}, last: time.Now()}
	w.queue, err = l.tasks.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "workers", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: maxPending,
	})
	if err == nil {
		host, _ := os.Hostname() // only to be shown
		seat, _ := json.Marshal(seat{Host: host, PID: os.Getpid(), Slots: cfg.Slots})
		err = l.hold(ctx, workerLease(nats.NewInbox()), seat)
	}
	if err != nil {
		l.conn.Close()
		return fmt.Errorf("cluster: %w", err)
	}
	var slots sync.WaitGroup
	for range cfg.Slots {
		slots.Go(func() { w.serve(ctx, cancel) })
	}
	slots.Wait()
	cause := context.Cause(ctx)
	l.conn.Close()
	if errors.Is(cause, errGone) || errors.Is(cause, errIdle) {
		return cause
	}
	return nil
}

var errIdle = errors.New("cluster: nothing to do for a while")

// IsIdle reports whether Work ended because there was nothing to do.
func IsIdle(err error) bool { return errors.Is(err, errIdle) }

// seat is what a worker says of itself.
type seat struct {
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Slots int    `json:"slots"`
}

// workerLease is the key of a worker's lease, from something unique.
func workerLease(unique string) string { return "worker." + shortHash([]byte(unique)) }

// coordinatorLease is the key of a coordinator's lease.
func coordinatorLease(coordinator string) string { return "coordinator." + coordinator }

// worker is one call of Work.
type worker struct {
	*link
	cfg   WorkerConfig
	queue jetstream.Consumer

	mu     sync.Mutex
	tables map[string]lab.Table // by run
	order  []string             // runs, the longest known first
	last   time.Time            // a task was in hand
}

// serve does one task after the other.
func (w *worker) serve(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		message, err := w.next(ctx)
		if err == nil {
			w.do(ctx, message)
			continue
		}
		if w.idle() {
			cancel(errIdle)
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, jetstream.ErrNoMessages) { // the server is away
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// next waits for a task for a while.
func (w *worker) next(ctx context.Context) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	return w.queue.Next(jetstream.FetchContext(ctx))
}

func (w *worker) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cfg.Idle > 0 && time.Since(w.last) > w.cfg.Idle
}

func (w *worker) busy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = time.Now()
}

// do does a task, publishes the result, waits until it is safe, and only then takes
// the task off the queue: in the other order a crash would lose it.
func (w *worker) do(ctx context.Context, message jetstream.Msg) {
	defer w.busy()
	stop := w.heartbeat(message)
	defer stop()
	part := strings.Split(strings.TrimPrefix(message.Subject(), w.subject+".task."), ".")
	if len(part) != 3 {
		_ = message.Term() // nobody can do it; failing that it comes again
		return
	}
	run, coordinator, hash := part[0], part[1], part[2]
	if !w.wanted(ctx, message, run, coordinator, hash) {
		return
	}
	table, err := w.table(ctx, run)
	var task lab.Task
	if err == nil {
		err = task.UnmarshalBinary(message.Data())
	}
	if err != nil {
		if ctx.Err() == nil {
			w.cfg.Log(fmt.Sprintf("a task of run %s is left to others: %v", run, err))
		}
		_ = message.NakWithDelay(ackWait)
		return
	}
	r := table.Do(ctx, task)
	if ctx.Err() != nil { // it may be half done
		_ = message.Nak()
		return
	}
	if err := w.publish(ctx, run, hash, r); err != nil {
		w.cfg.Log(fmt.Sprintf("a result of run %s is not accepted: %v", run, err))
		_ = message.NakWithDelay(ackWait)
		return
	}
	_ = message.DoubleAck(ctx) // if it is lost the task comes again and is known
	if w.cfg.Done != nil {
		w.cfg.Done()
	}
}

// wanted takes tasks off the queue that nobody waits for, that a worker answered
// before it died, or that took too many workers with them.
func (w *worker) wanted(ctx context.Context, message jetstream.Msg, run, coordinator, hash string) bool {
	_, err := w.leases.Get(ctx, coordinatorLease(coordinator))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		_ = message.Term()
		return false
	}
	meta, err := message.Metadata()
	if err != nil || meta.NumDelivered == 1 {
		return true
	}
	_, known, _ := w.stored(ctx, run, hash)
	switch {
	case known:
		_ = message.DoubleAck(ctx)
	case meta.NumDelivered > maxDeliver:
		_ = w.conn.Publish(w.failure(coordinator), []byte(hash)) // if it is lost the coordinator gives the task again
		_ = w.conn.FlushTimeout(dialTime)
		_ = message.Term()
	}
	return !known && meta.NumDelivered <= maxDeliver
}

// publish stores a result. What is too large becomes an error, as it is everywhere.
func (w *worker) publish(ctx context.Context, run, hash string, r lab.Result) error {
	b, err := r.AppendBinary(nil)
	if err == nil && len(b) > maxPayload/2 {
		b, err = lab.Result{Cost: r.Cost, Err: fmt.Sprintf("cluster: a result of %d bytes: want at most %d", len(b), maxPayload/2)}.AppendBinary(nil)
	}
	if err != nil {
		return err
	}
	_, err = w.js.Publish(ctx, w.result(run, hash), b)
	return err
}

// heartbeat says that a task is being worked on, until it is stopped.
func (w *worker) heartbeat(message jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		beat := time.NewTicker(ackWait / 3)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				_ = message.InProgress() // the next beat tries again
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// table returns the functions of a run.
func (w *worker) table(ctx context.Context, run string) (lab.Table, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t, ok := w.tables[run]; ok {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	info, err := w.runs.GetInfo(ctx, run)
	if err == nil && info.Size > maxRun {
		err = fmt.Errorf("a description of %d bytes: want at most %d", info.Size, maxRun)
	}
	if err != nil {
		return nil, err
	}
	description, err := w.runs.GetBytes(ctx, run)
	if err != nil {
		return nil, err
	}
	t, err := w.cfg.Table(description)
	if err != nil {
		return nil, err
	}
	if len(w.order) == maxTables {
		delete(w.tables, w.order[0])
		w.order = w.order[1:]
	}
	w.tables[run], w.order = t, append(w.order, run)
	w.cfg.Log("working on run " + run)
	return t, nil
}
