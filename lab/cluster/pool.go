package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoalnet/shoal/lab"
)

// Config describes a pool.
type Config struct {
	// Version names the program. Workers of the same version do the tasks, and
	// results of the same version count.
	Version string
	// Run is all that a worker needs to know to do the tasks, at most 256 MiB. Pools
	// with the same description share results.
	Run []byte
}

// Pool gives tasks to the workers of a server. It implements lab.Pool: a task that
// takes five workers with it becomes a failed result.
type Pool struct {
	*link
	run         string
	coordinator string
	ctx         context.Context
	cancel      context.CancelCauseFunc
	collect     jetstream.ConsumeContext

	mu      sync.Mutex
	waiting map[string]*pending // by task hash
	reused  int
}

// pending is a task that has no result yet.
type pending struct {
	since time.Time            // it was given or looked after
	body  []byte               // the task, encoded
	end   []chan<- *lab.Result // who waits; each is sent the result, or nil: try again
}

var _ lab.Pool = (*Pool)(nil)

// Open connects a pool to a server. It fails if the server cannot be reached or has
// no JetStream.
func Open(ctx context.Context, url string, cfg Config) (*Pool, error) {
	if len(cfg.Run) > maxRun {
		return nil, fmt.Errorf("cluster: a description of %d bytes: want at most %d", len(cfg.Run), maxRun)
	}
	p := &Pool{
		run: shortHash(cfg.Run), coordinator: shortHash([]byte(nats.NewInbox())),
		waiting: map[string]*pending{},
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	var err error
	if p.link, err = connect(ctx, url, cfg.Version, func() { p.cancel(errGone) }); err != nil {
		p.cancel(err)
		return nil, err
	}
	if err := p.begin(ctx, cfg.Run); err != nil {
		p.cancel(err)
		p.conn.Close()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return p, nil
}

// begin tells of the run and listens for results and for tasks that nobody survives.
func (p *Pool) begin(ctx context.Context, description []byte) error {
	if _, err := p.runs.GetInfo(ctx, p.run); errors.Is(err, jetstream.ErrObjectNotFound) {
		if _, err := p.runs.PutBytes(ctx, p.run, description); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := p.hold(p.ctx, coordinatorLease(p.coordinator), nil); err != nil {
		return err
	}
	results, err := p.results.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{p.result(p.run, "*")}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return err
	}
	p.collect, err = results.Consume(func(m jetstream.Msg) {
		var r lab.Result
		if r.UnmarshalBinary(m.Data()) == nil {
			p.end(m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:], &r)
		}
	})
	if err != nil {
		return err
	}
	_, err = p.conn.Subscribe(p.failure(p.coordinator), func(m *nats.Msg) {
		p.end(string(m.Data), &lab.Result{Err: fmt.Sprintf("cluster: the task was given to %d workers and none gave a result", maxDeliver)})
	})
	if err != nil {
		return err
	}
	go p.lookAfter()
	return nil
}

// lookAfter gives tasks again that are neither done nor on the queue: what was sent
// while we or the server were away may be lost, and workers drop the tasks of a
// coordinator that is.
func (p *Pool) lookAfter() {
	beat := time.NewTicker(leaseTime / 2)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
		case <-p.ctx.Done():
			return
		}
		for hash, body := range p.overdue(time.Now().Add(-leaseTime / 2)) {
			ctx, cancel := context.WithTimeout(p.ctx, requestTime)
			_, err := p.tasks.GetLastMsgForSubject(ctx, p.task(p.run, p.coordinator, hash))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				_ = p.give(ctx, hash, body) // failing that the next beat tries again
			}
			cancel()
		}
	}
}

// overdue returns the tasks that were last looked after before a time.
func (p *Pool) overdue(before time.Time) map[string][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	tasks := map[string][]byte{}
	for hash, w := range p.waiting {
		if w.since.Before(before) {
			w.since = time.Now()
			tasks[hash] = w.body
		}
	}
	return tasks
}

// end hands a result to all who wait for it.
func (p *Pool) end(hash string, r *lab.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[hash]
	if w == nil { // a second answer
		return
	}
	delete(p.waiting, hash)
	for _, c := range w.end {
		c <- r // never blocks: it has room for one
	}
}

// Run implements lab.Pool.
func (p *Pool) Run(ctx context.Context, tasks []lab.Task) ([]lab.Result, error) {
	in := make(chan lab.Task, len(tasks))
	for _, task := range tasks {
		in <- task
	}
	close(in)
	results := make([]lab.Result, len(tasks))
	count := 0
	for r := range p.Stream(ctx, in) {
		results[r.Index] = r
		count++
	}
	if count == len(tasks) {
		return results, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, p.Err()
}

// Stream implements lab.Pool.
func (p *Pool) Stream(ctx context.Context, tasks <-chan lab.Task) <-chan lab.Result {
	out := make(chan lab.Result)
	go func() {
		defer close(out)
		var open sync.WaitGroup
		defer open.Wait()
		for index := 0; ctx.Err() == nil; index++ {
			select {
			case <-ctx.Done():
				return
			case <-p.ctx.Done():
				return
			case task, ok := <-tasks:
				if !ok {
					return
				}
				open.Go(func() { p.do(ctx, index, task, out) })
			}
		}
	}()
	return out
}

// do sees one task to its result.
func (p *Pool) do(ctx context.Context, index int, task lab.Task, out chan<- lab.Result) {
	r, err := p.await(ctx, task)
	if err != nil {
		if ctx.Err() == nil && p.ctx.Err() == nil {
			p.cancel(fmt.Errorf("cluster: %w", err))
		}
		return
	}
	r.Index = index
	select {
	case out <- r:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
}

// await returns the result of a task: a known one, or what a worker answers. The
// error is that of the server, or of the end of ctx or the pool.
func (p *Pool) await(ctx context.Context, task lab.Task) (lab.Result, error) {
	body, err := task.MarshalBinary()
	if err == nil && len(body) > maxPayload/2 {
		err = fmt.Errorf("cluster: a task of %d bytes: want at most %d", len(body), maxPayload/2)
	}
	if err != nil {
		return lab.Result{Err: err.Error()}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	hash := taskHash(body)
	for {
		answer := make(chan *lab.Result, 1)
		if p.wait(hash, body, answer) {
			if err := p.give(ctx, hash, body); err != nil {
				p.end(hash, nil) // another caller may wait for the same
				return lab.Result{}, err
			}
		}
		select {
		case r := <-answer:
			if r != nil {
				return *r, nil
			}
		case <-ctx.Done():
			return lab.Result{}, ctx.Err()
		}
	}
}

// wait notes who waits for a task, and reports whether it is the first.
func (p *Pool) wait(hash string, body []byte, answer chan<- *lab.Result) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.waiting[hash]
	if !ok {
		w = &pending{since: time.Now(), body: body}
		p.waiting[hash] = w
	}
	w.end = append(w.end, answer)
	return !ok
}

// give puts a task on the queue unless its result is known.
func (p *Pool) give(ctx context.Context, hash string, body []byte) error {
	r, known, err := p.stored(ctx, p.run, hash)
	if err != nil {
		return err
	}
	if known {
		p.mu.Lock()
		p.reused++
		p.mu.Unlock()
		p.end(hash, &r)
		return nil
	}
	_, err = p.js.Publish(ctx, p.task(p.run, p.coordinator, hash), body)
	return err
}

// Reused returns how many tasks were answered from results of earlier times.
func (p *Pool) Reused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reused
}

// Workers returns how many workers of this version are there, and how many tasks they
// do at once. One that died counts for some more seconds.
func (p *Pool) Workers(ctx context.Context) (workers, slots int, err error) {
	keys, err := p.leases.ListKeysFiltered(ctx, "worker.>")
	if err != nil {
		return 0, 0, err
	}
	for key := range keys.Keys() {
		entry, err := p.leases.Get(ctx, key)
		if err != nil {
			continue // it left just now
		}
		var s seat
		if json.Unmarshal(entry.Value(), &s) == nil && s.Slots > 0 {
			workers++
			slots += s.Slots
		}
	}
	return workers, slots, nil
}

// Err implements lab.Pool.
func (p *Pool) Err() error {
	if cause := context.Cause(p.ctx); cause != nil {
		return cause
	}
	return nil
}

// Close implements lab.Pool. Tasks that no worker has taken are taken back; results
// of others are kept for the next time.
func (p *Pool) Close() error {
	if p.ctx.Err() == nil && p.conn.IsConnected() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		defer cancel()
		_ = p.tasks.Purge(ctx, jetstream.WithPurgeSubject(p.task(p.run, p.coordinator, "*"))) // workers drop what is left
		_ = p.leases.Delete(ctx, coordinatorLease(p.coordinator))                             // or it runs out
	}
	p.cancel(lab.ErrClosed)
	p.collect.Stop()
	p.conn.Close()
	return nil
}
