// Package cluster spreads the tasks of package lab over machines with NATS
// JetStream: a [Pool] gives tasks to a queue and collects what workers ([Work])
// answer. The server is embedded ([Serve]) or a cluster of one's own; only the URL
// differs.
//
// Tasks are pure functions of their bytes, so a result is named by the hash of its
// task. This is what holds the rest together:
//
//   - A worker that dies costs nothing: after a few seconds of silence its task goes
//     to another. Should both answer, the answers are equal and the second is dropped.
//   - What was computed is kept. A coordinator that died, or was stopped, and is
//     started again with the same run asks the same tasks and is answered from there.
//   - The result of a search is that of one process, whoever computed what.
//
// Workers do tasks of their own version of the program only, because another version
// may compute something else.
//
// Streams and buckets carry the prefix SHOAL_ and a hash of the version. Whoever may
// connect to the server is trusted with all of them: a token or the server's own
// means (TLS, accounts) keep others out.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoalnet/shoal/lab"
)

const (
	// ackWait is how long a worker may be silent before its task goes to another. A
	// worker at work says so three times in it, however long the task takes.
	ackWait = 3 * time.Second
	// maxDeliver bounds how many workers one task may take with it.
	maxDeliver = 5
	// maxPending bounds the tasks in the hands of all workers.
	maxPending = 5000
	// maxPayload bounds a task or a result on the wire.
	maxPayload = 8 << 20
	// maxResults bounds the results kept, in bytes and by age; the oldest go first.
	maxResults = 4 << 30
	keepFor    = 30 * 24 * time.Hour
	// leaseTime is after how long a coordinator or worker that says nothing counts as
	// gone: nobody works for a coordinator that is.
	leaseTime = 20 * time.Second
	// dialTime bounds connecting, requestTime each request to the server for which the
	// caller has no bound.
	dialTime    = 10 * time.Second
	requestTime = 30 * time.Second
	// reconnects are tries, a second apart, before a lost server is given up.
	reconnects = 60
	// maxRun bounds the description of a run.
	maxRun = 256 << 20
)

// errGone is why a pool or worker ends without being told to.
var errGone = errors.New("cluster: the server is gone")

// names are the streams and buckets of one version of the program.
type names struct {
	tasks, results, runs, leases string
	subject                      string // prefix of subjects
}

func namesOf(version string) names {
	v := shortHash([]byte(version))
	return names{
		tasks: "SHOAL_TASKS_" + v, results: "SHOAL_RESULTS_" + v, runs: "SHOAL_RUNS_" + v, leases: "SHOAL_LEASES_" + v,
		subject: "shoal." + v,
	}
}

// task is the subject of a task: of which run, for which coordinator, by hash.
func (n *names) task(run, coordinator, hash string) string {
	return n.subject + ".task." + run + "." + coordinator + "." + hash
}

// result is the subject of a result.
func (n *names) result(run, hash string) string { return n.subject + ".result." + run + "." + hash }

// failure is the subject on which a coordinator is told the hashes of tasks that
// nobody can do.
func (n *names) failure(coordinator string) string { return n.subject + ".failed." + coordinator }

// shortHash names bytes: 80 bits, so that a million have a chance of 1e-12 to meet.
func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:10])
}

// taskHash names a task by all that its result depends on.
func taskHash(encoded []byte) string { return shortHash(encoded) }

// link is a connection with the streams of one version.
type link struct {
	names
	conn    *nats.Conn
	js      jetstream.JetStream
	tasks   jetstream.Stream
	results jetstream.Stream
	runs    jetstream.ObjectStore
	leases  jetstream.KeyValue
}

// connect opens a link and makes the streams that are not there. ended is called when
// the server is lost for good, or the link closed.
func connect(ctx context.Context, url, version string, ended func()) (*link, error) {
	conn, err := nats.Connect(url, nats.Name("shoal"), nats.Timeout(dialTime),
		nats.MaxReconnects(reconnects), nats.ReconnectWait(time.Second), nats.ClosedHandler(func(*nats.Conn) { ended() }))
	if err != nil {
		return nil, fmt.Errorf("cluster: connect to %s: %w", redact(url), err)
	}
	l := &link{names: namesOf(version), conn: conn}
	if err := l.open(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cluster: %s: %w", redact(url), err)
	}
	return l, nil
}

func (l *link) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if l.js, err = jetstream.New(l.conn); err != nil {
		return err
	}
	// A subject holds one message: who asks for the same again finds it there.
	l.tasks, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: l.names.tasks, Subjects: []string{l.subject + ".task.>"}, Retention: jetstream.WorkQueuePolicy,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgSize: maxPayload,
	})
	if err != nil {
		return streamError(err)
	}
	l.results, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: l.names.results, Subjects: []string{l.subject + ".result.>"}, AllowDirect: true,
		MaxMsgsPerSubject: 1, MaxBytes: maxResults, MaxAge: keepFor, MaxMsgSize: maxPayload,
	})
	if err != nil {
		return streamError(err)
	}
	l.runs, err = l.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: l.names.runs, TTL: keepFor})
	if err != nil {
		return streamError(err)
	}
	l.leases, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: l.names.leases, TTL: leaseTime})
	return streamError(err)
}

// streamError says what to do about the usual reason.
func streamError(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("the server has no JetStream: start it with -js: %w", err)
	}
	return err
}

// hold keeps a lease until ctx ends, then gives it up.
func (l *link) hold(ctx context.Context, key string, value []byte) error {
	if _, err := l.leases.Put(ctx, key, value); err != nil {
		return err
	}
	go func() {
		beat := time.NewTicker(leaseTime / 4)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				_, _ = l.leases.Put(ctx, key, value) // the next beat tries again
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

// stored returns the result of a task if it is known.
func (l *link) stored(ctx context.Context, run, hash string) (r lab.Result, ok bool, err error) {
	m, err := l.results.GetLastMsgForSubject(ctx, l.result(run, hash))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	return r, r.UnmarshalBinary(m.Data) == nil, nil
}
