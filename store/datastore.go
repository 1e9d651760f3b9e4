package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// Datastore keeps records on disk: go-datastore's interface over Pebble, an LSM
// tree. It may be used concurrently, and fails with ErrClosed after Close.
//
// What Put, Delete or a batch's Commit wrote survives kill -9 and the loss of
// power once they return; that costs an fsync, which concurrent writers share.
// A batch is applied whole or not at all. Because every write is synced, the log
// tells a byte that went bad from a write that was cut short.
type Datastore struct {
	mu      sync.RWMutex // held for reading by every operation, for writing by Close
	db      *pebble.DB   // nil once closed
	lock    *pebble.Lock
	write   *pebble.WriteOptions
	queries map[*cursor]struct{} // open ones, which Close ends
	queryMu sync.Mutex           // guards queries; taken after mu
}

var (
	_ ds.Batching          = (*Datastore)(nil)
	_ ds.PersistentFeature = (*Datastore)(nil)
)

// options are those of every datastore; more is added for a check.
func options(lock *pebble.Lock) *pebble.Options {
	return &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Lock: lock, Logger: quiet{}}
}

// quiet passes on what an operator should know.
type quiet struct{}

var _ pebble.Logger = quiet{}

func (quiet) Infof(string, ...any) {}

func (quiet) Errorf(format string, args ...any) {
	slog.Warn("store: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where the engine cannot keep its promises any more, such as
// a write-ahead log that cannot be written.
func (quiet) Fatalf(format string, args ...any) { panic("store: " + fmt.Sprintf(format, args...)) }

// use calls f unless the datastore is closed.
func (d *Datastore) use(f func(*pebble.DB) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.db == nil {
		return ErrClosed
	}
	return f(d.db)
}

// view calls f with the value of a key, which is valid only in f.
func (d *Datastore) view(key ds.Key, f func(value []byte)) error {
	return d.use(func(db *pebble.DB) error {
		value, closer, err := db.Get(key.Bytes())
		if errors.Is(err, pebble.ErrNotFound) {
			return ds.ErrNotFound
		}
		if err != nil {
			return err
		}
		f(value)
		return closer.Close()
	})
}

// Get returns a copy of the value of a key, or ds.ErrNotFound.
func (d *Datastore) Get(_ context.Context, key ds.Key) (value []byte, err error) {
	err = d.view(key, func(v []byte) { value = append([]byte{}, v...) })
	return value, err
}

// Has reports whether a key has a value.
func (d *Datastore) Has(ctx context.Context, key ds.Key) (bool, error) {
	_, err := d.GetSize(ctx, key)
	if errors.Is(err, ds.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// GetSize returns the length of a key's value in bytes, or -1 and
// ds.ErrNotFound.
func (d *Datastore) GetSize(_ context.Context, key ds.Key) (size int, err error) {
	size = -1
	err = d.view(key, func(v []byte) { size = len(v) })
	return size, err
}

// Put sets the value of a key.
func (d *Datastore) Put(_ context.Context, key ds.Key, value []byte) error {
	return d.use(func(db *pebble.DB) error { return db.Set(key.Bytes(), value, d.write) })
}

// Delete removes a key; to remove one that is not there is no error.
func (d *Datastore) Delete(_ context.Context, key ds.Key) error {
	return d.use(func(db *pebble.DB) error { return db.Delete(key.Bytes(), d.write) })
}

// Sync makes everything written so far durable, whatever its prefix. All of it
// already is, so this costs one fsync and is only for the interface.
func (d *Datastore) Sync(context.Context, ds.Key) error {
	return d.use(func(db *pebble.DB) error { return db.LogData(nil, pebble.Sync) })
}

// DiskUsage returns the bytes of all files, logs included.
func (d *Datastore) DiskUsage(context.Context) (n uint64, err error) {
	err = d.use(func(db *pebble.DB) error {
		n = db.Metrics().DiskSpaceUsage()
		return nil
	})
	return n, err
}

// Batch returns a group of changes that Commit applies together. It has one
// owner.
func (d *Datastore) Batch(context.Context) (ds.Batch, error) {
	b := &batch{store: d}
	return b, d.use(func(db *pebble.DB) error {
		b.changes = db.NewBatch()
		return nil
	})
}

type batch struct {
	store   *Datastore
	changes *pebble.Batch
}

var _ ds.Batch = (*batch)(nil)

func (b *batch) Put(_ context.Context, key ds.Key, value []byte) error {
	return b.changes.Set(key.Bytes(), value, nil)
}

func (b *batch) Delete(_ context.Context, key ds.Key) error {
	return b.changes.Delete(key.Bytes(), nil)
}

// Commit applies the changes and leaves an empty batch.
func (b *batch) Commit(context.Context) error {
	return b.store.use(func(db *pebble.DB) error {
		if err := b.changes.Commit(pebble.Sync); err != nil {
			return err
		}
		b.changes = db.NewBatch()
		return nil
	})
}

// Query walks the keys below a prefix in the order of their bytes, as they were
// when it began. Filters, orders other than by key, offset and limit are
// applied on the way; an order by anything else holds all results in memory.
// The results must be closed.
func (d *Datastore) Query(_ context.Context, q query.Query) (query.Results, error) {
	c := &cursor{store: d, query: q}
	if err := d.use(c.open); err != nil {
		return nil, err
	}
	rest := q
	rest.Prefix = "" // the cursor has seen to it
	if len(q.Orders) > 0 {
		if _, byKey := q.Orders[0].(query.OrderByKey); byKey {
			rest.Orders = nil // keys differ, so nothing is left to the other orders
		}
	}
	results := query.ResultsFromIterator(q, query.Iterator{Next: c.next, Close: c.close})
	return query.NaiveQueryApply(rest, results), nil
}

// cursor is one running query.
type cursor struct {
	store *Datastore
	query query.Query

	mu   sync.Mutex       // guards what follows against Close of the datastore
	iter *pebble.Iterator // nil once ended
	step func() bool      // to the next entry; the first one is First
}

// open starts the walk. "/a" covers "/a/b" but neither "/a" nor "/ab"; the byte
// after the slash bounds it.
func (c *cursor) open(db *pebble.DB) error {
	low, high := "/", "0"
	if prefix := ds.NewKey(c.query.Prefix).String(); prefix != "/" {
		low, high = prefix+"/", prefix+"0"
	}
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte(low), UpperBound: []byte(high)})
	if err != nil {
		return err
	}
	c.iter, c.step = iter, iter.First
	c.store.queryMu.Lock()
	defer c.store.queryMu.Unlock()
	c.store.queries[c] = struct{}{}
	return nil
}

// next returns one entry. At the end it gives the iterator back, for those who
// forget to.
func (c *cursor) next() (query.Result, bool) {
	c.mu.Lock()
	if c.iter == nil {
		c.mu.Unlock()
		return query.Result{}, false
	}
	more := c.step()
	c.step = c.iter.Next
	if !more {
		err := c.iter.Error()
		c.mu.Unlock()
		if err = errors.Join(err, c.close()); err != nil {
			return query.Result{Error: err}, true
		}
		return query.Result{}, false
	}
	defer c.mu.Unlock()
	entry := query.Entry{Key: string(c.iter.Key())}
	if c.query.KeysOnly {
		if c.query.ReturnsSizes {
			value := c.iter.LazyValue()
			entry.Size = value.Len()
		}
		return query.Result{Entry: entry}, true
	}
	value, err := c.iter.ValueAndErr()
	entry.Value, entry.Size = append([]byte{}, value...), len(value)
	return query.Result{Entry: entry, Error: err}, true
}

func (c *cursor) close() error {
	c.store.queryMu.Lock()
	delete(c.store.queries, c)
	c.store.queryMu.Unlock()
	return c.end()
}

func (c *cursor) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.iter == nil {
		return nil
	}
	iter := c.iter
	c.iter = nil
	return iter.Close()
}

// Close ends open queries, writes everything to tables, so that no log has to
// be replayed by the next process, and gives the directory free. A second Close
// does nothing.
func (d *Datastore) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.db == nil {
		return nil
	}
	d.queryMu.Lock()
	var errs []error
	for c := range d.queries {
		errs = append(errs, c.end())
	}
	clear(d.queries)
	d.queryMu.Unlock()
	errs = append(errs, d.db.Flush(), d.db.Close(), d.lock.Close())
	d.db = nil
	return errors.Join(errs...)
}
