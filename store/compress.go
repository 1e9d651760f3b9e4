package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/klauspost/compress/zstd"

	"github.com/shoalnet/shoal/knob"
)

// Knobs declares what can be tuned in this package: how records are compressed.
func Knobs() []knob.Knob {
	const spec = "our decision; the range of levels is that of klauspost/compress"
	return []knob.Knob{
		{
			Name: "store.compression_level", Kind: knob.Int, Min: 0, Max: 4, Default: "0", Zero: "records are kept as they are",
			Apply: knob.Hot, Scope: knob.Request, Costs: []string{"processor", "-disk"}, Doc: "zstd level of records on disk, from fastest to best", Source: spec,
		},
		{
			Name: "store.compression_min", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 32, Max: 65536, Default: "128",
			Apply: knob.Hot, Scope: knob.Request, Costs: []string{"-processor", "disk"}, Doc: "records that are shorter are kept as they are", Source: "a frame and its head take about 25 bytes",
		},
		{
			Name: "store.compression_window", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: zstd.MinWindowSize, Max: maxWindow, Default: "65536",
			Apply: knob.Hot, Scope: knob.Request, Costs: []string{"memory", "-disk"}, Doc: "how far back in a record repetitions are looked for; rounded down to a power of two", Source: spec,
		},
	}
}

// maxWindow bounds the memory of a decoder.
const maxWindow = 8 << 20

// Settings are the values of Knobs.
type Settings struct {
	Level  int // 0 compresses nothing
	Min    int // bytes
	Window int // bytes
}

// SettingsOf reads them from a configuration whose set has Knobs.
func SettingsOf(c knob.Config) Settings {
	return Settings{Level: c.Int("store.compression_level"), Min: c.Int("store.compression_min"), Window: c.Int("store.compression_window")}
}

// A compressed value is tagged, and then has the length of the record as a varint
// and a frame of zstd. A record that begins with the first bytes of the tags by
// itself is tagged as plain. No other record is changed, so that what was stored
// without compression is read with it, and the other way round as long as nothing
// was compressed.
var (
	tagFrame = []byte("\xffshz1")
	tagPlain = []byte("\xffshz0")
)

// Compressed is a datastore whose values are compressed on the way to another. It may
// be used concurrently. What is stored under one Settings is read under any.
type Compressed struct {
	under    ds.Batching
	shared   *coders
	mu       sync.Mutex
	settings Settings
}

var _ ds.Batching = (*Compressed)(nil)

// coders are kept for reuse, one for each level and window in use: 60 at most.
type coders struct {
	mu       sync.Mutex
	encoders map[[2]int]*zstd.Encoder
	decoder  *zstd.Decoder
}

// Compress puts compression before a datastore. The records pass through unchanged
// while the level is 0, its default.
func Compress(under ds.Batching, s Settings) (*Compressed, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return &Compressed{under: under, shared: &coders{encoders: map[[2]int]*zstd.Encoder{}, decoder: decoder}, settings: s}, nil
}

// With returns a view of the same datastore that writes with other settings: an arm
// of an experiment.
func (c *Compressed) With(s Settings) *Compressed {
	return &Compressed{under: c.under, shared: c.shared, settings: s}
}

// Configure changes the settings. Records that are there stay as they are.
func (c *Compressed) Configure(s Settings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settings = s
}

// encoder returns that of a level and a window, made where there is none.
func (s *coders) encoder(level, window int) (*zstd.Encoder, error) {
	size := zstd.MinWindowSize
	for 2*size <= min(window, maxWindow) {
		size *= 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := [2]int{level, size}
	if e := s.encoders[id]; e != nil {
		return e, nil
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevel(level)), zstd.WithWindowSize(size), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err == nil {
		s.encoders[id] = e
	}
	return e, err
}

// Encode returns the stored form of a record. What does not become smaller is kept as
// it is.
func (c *Compressed) Encode(record []byte) ([]byte, error) {
	c.mu.Lock()
	s := c.settings
	c.mu.Unlock()
	plain := record
	if bytes.HasPrefix(record, tagFrame) || bytes.HasPrefix(record, tagPlain) {
		plain = append(bytes.Clone(tagPlain), record...)
	}
	if s.Level == 0 || len(record) < s.Min {
		return plain, nil
	}
	e, err := c.shared.encoder(s.Level, s.Window)
	if err != nil {
		return nil, fmt.Errorf("store: compression %+v: %w", s, err)
	}
	head := binary.AppendUvarint(bytes.Clone(tagFrame), uint64(len(record)))
	if packed := e.EncodeAll(record, head); len(packed) < len(plain) {
		return packed, nil
	}
	return plain, nil
}

// errDamaged is what a damaged value gives.
var errDamaged = errors.New("store: a compressed record is damaged: remove it, or restore the datastore")

// maxRecord bounds the length of a record that is read.
const maxRecord = 64 << 20

// frame returns the length of the record and the frame of a compressed value; ok is
// false for another.
func frame(stored []byte) (size int, packed []byte, ok bool, err error) {
	rest, ok := bytes.CutPrefix(stored, tagFrame)
	if !ok {
		return 0, nil, false, nil
	}
	n, used := binary.Uvarint(rest)
	if used <= 0 || n > maxRecord {
		return 0, nil, true, errDamaged
	}
	return int(n), rest[used:], true, nil
}

// Decode returns the record of a stored form.
func (c *Compressed) Decode(stored []byte) ([]byte, error) {
	size, packed, ok, err := frame(stored)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return bytes.TrimPrefix(stored, tagPlain), nil
	}
	record, err := c.shared.decoder.DecodeAll(packed, make([]byte, 0, size))
	if err != nil || len(record) != size {
		return nil, errors.Join(errDamaged, err)
	}
	return record, nil
}

// Get returns the record of a key, or ds.ErrNotFound.
func (c *Compressed) Get(ctx context.Context, key ds.Key) ([]byte, error) {
	stored, err := c.under.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.Decode(stored)
}

// Has reports whether a key has a record.
func (c *Compressed) Has(ctx context.Context, key ds.Key) (bool, error) {
	return c.under.Has(ctx, key)
}

// GetSize returns the length of a key's record in bytes, or -1 and ds.ErrNotFound. It
// reads the stored form, and unpacks nothing.
func (c *Compressed) GetSize(ctx context.Context, key ds.Key) (int, error) {
	stored, err := c.under.Get(ctx, key)
	if err != nil {
		return -1, err
	}
	size, _, ok, err := frame(stored)
	switch {
	case err != nil:
		return -1, err
	case ok:
		return size, nil
	}
	return len(bytes.TrimPrefix(stored, tagPlain)), nil
}

// Put stores the record of a key.
func (c *Compressed) Put(ctx context.Context, key ds.Key, record []byte) error {
	stored, err := c.Encode(record)
	if err != nil {
		return err
	}
	return c.under.Put(ctx, key, stored)
}

// Delete removes a key.
func (c *Compressed) Delete(ctx context.Context, key ds.Key) error { return c.under.Delete(ctx, key) }

// Sync makes what was written below a prefix durable.
func (c *Compressed) Sync(ctx context.Context, prefix ds.Key) error { return c.under.Sync(ctx, prefix) }

// Close closes the datastore below.
func (c *Compressed) Close() error { return c.under.Close() }

// Batch returns a group of changes that Commit applies together.
func (c *Compressed) Batch(ctx context.Context) (ds.Batch, error) {
	b, err := c.under.Batch(ctx)
	return &compressedBatch{Batch: b, store: c}, err
}

type compressedBatch struct {
	ds.Batch
	store *Compressed
}

// Put stores the record of a key at Commit.
func (b *compressedBatch) Put(ctx context.Context, key ds.Key, record []byte) error {
	stored, err := b.store.Encode(record)
	if err != nil {
		return err
	}
	return b.Batch.Put(ctx, key, stored)
}

// Query walks the keys below a prefix. Filters and orders see records, not their
// stored forms, so they are applied here.
func (c *Compressed) Query(ctx context.Context, q query.Query) (query.Results, error) {
	below := query.Query{Prefix: q.Prefix, KeysOnly: q.KeysOnly && !q.ReturnsSizes && len(q.Filters) == 0 && len(q.Orders) == 0, ReturnExpirations: q.ReturnExpirations}
	results, err := c.under.Query(ctx, below)
	if err != nil {
		return nil, err
	}
	records := query.ResultsFromIterator(q, query.Iterator{
		Next: func() (query.Result, bool) {
			r, more := results.NextSync()
			if !more || r.Error != nil || below.KeysOnly {
				return r, more
			}
			r.Value, r.Error = c.Decode(r.Value)
			r.Size = len(r.Value)
			return r, more
		},
		Close: results.Close,
	})
	rest := q
	rest.Prefix = ""
	applied := query.NaiveQueryApply(rest, records)
	if !q.KeysOnly || below.KeysOnly {
		return applied, nil
	}
	return query.ResultsFromIterator(q, query.Iterator{
		Next: func() (query.Result, bool) {
			r, more := applied.NextSync()
			r.Value = nil
			return r, more
		},
		Close: applied.Close,
	}), nil
}
