package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	dstest "github.com/ipfs/go-datastore/test"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

func compressed(t testing.TB, s Settings) (*Compressed, ds.Batching) {
	t.Helper()
	under := dssync.MutexWrap(ds.NewMapDatastore())
	c, err := Compress(under, s)
	if err != nil {
		t.Fatal(err)
	}
	return c, under
}

// recordOf makes one like those of a directory of services: text with words that come
// back, and some that do not.
func recordOf(dice *stat.Stream, size int) []byte {
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, `{"service":"relay","address":"/ip4/10.%d.%d.%d/udp/4001/quic-v1","until":%d}`,
			dice.IntN(256), dice.IntN(256), dice.IntN(256), dice.Uint64()%1e10)
	}
	return b.Bytes()[:size]
}

// TestCompressedIsADatastore runs the suite of go-datastore.
func TestCompressedIsADatastore(t *testing.T) {
	for _, level := range []int{0, 1, 4} {
		c, _ := compressed(t, Settings{Level: level, Min: 32, Window: 1 << 16})
		dstest.SubtestAll(t, c)
	}
}

// TestCompressedRoundTrip: what is put comes back under any settings, is smaller where
// it can be, and what was there before compression is read.
func TestCompressedRoundTrip(t *testing.T) {
	ctx, dice := context.Background(), stat.NewStream(1, "test.compress")
	plain, under := compressed(t, Settings{})
	var records [][]byte
	for size := range 300 {
		records = append(records, recordOf(dice, size), recordOf(dice, 17*size))
	}
	records = append(records, nil, []byte("\xffshz0"), []byte("\xffshz1"), append([]byte("\xffshz1"), recordOf(dice, 500)...), []byte("\xffshz0\xffshz1"))
	put := func(c *Compressed, prefix string) {
		for i, r := range records {
			if err := c.Put(ctx, ds.NewKey(fmt.Sprintf("%s/%d", prefix, i)), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(plain, "plain")
	small := 0
	for level := 1; level <= 4; level++ {
		put(plain.With(Settings{Level: level, Min: 64, Window: 5000}), strconv.Itoa(level))
	}
	for _, prefix := range []string{"plain", "1", "2", "3", "4"} {
		for i, r := range records {
			key := ds.NewKey(fmt.Sprintf("%s/%d", prefix, i))
			got, err := plain.Get(ctx, key)
			if err != nil || !bytes.Equal(got, r) {
				t.Fatalf("%s: %q became %q, %v", key, r, got, err)
			}
			if n, err := plain.GetSize(ctx, key); n != len(r) || err != nil {
				t.Fatalf("%s: size %d of %d, %v", key, n, len(r), err)
			}
			stored, err := under.Get(ctx, key)
			if err != nil || len(stored) > len(r)+len(tagPlain) {
				t.Fatalf("%s takes %d bytes for %d, %v", key, len(stored), len(r), err)
			}
			if prefix == "plain" && !bytes.HasPrefix(r, []byte("\xffshz")) && !bytes.Equal(stored, r) {
				t.Fatalf("%s is not stored as it is at level 0", key)
			}
			if len(r) > 2000 && len(stored) < len(r)/2 {
				small++
			}
		}
	}
	if small < 4*150 {
		t.Errorf("%d long records are stored in less than half", small)
	}
	if _, err := plain.GetSize(ctx, ds.NewKey("none")); !errors.Is(err, ds.ErrNotFound) {
		t.Errorf("the size of nothing: %v", err)
	}
}

// TestCompressedQuery: filters, orders and sizes are of records.
func TestCompressedQuery(t *testing.T) {
	ctx, dice := context.Background(), stat.NewStream(1, "test.compress")
	c, _ := compressed(t, Settings{Level: 2, Min: 32, Window: 1 << 16})
	long := recordOf(dice, 3000)
	for key, value := range map[string][]byte{"/a/1": long, "/a/2": []byte("short"), "/b/1": long} {
		if err := c.Put(ctx, ds.NewKey(key), value); err != nil {
			t.Fatal(err)
		}
	}
	results, err := c.Query(ctx, query.Query{Prefix: "/a", Filters: []query.Filter{query.FilterValueCompare{Op: query.Equal, Value: long}}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := results.Rest()
	if err != nil || len(all) != 1 || all[0].Key != "/a/1" || !bytes.Equal(all[0].Value, long) {
		t.Errorf("%d results, %v", len(all), err)
	}
	if results, err = c.Query(ctx, query.Query{Prefix: "/a", KeysOnly: true, ReturnsSizes: true, Orders: []query.Order{query.OrderByKey{}}}); err != nil {
		t.Fatal(err)
	}
	if all, err = results.Rest(); err != nil || len(all) != 2 || all[0].Size != len(long) || all[0].Value != nil {
		t.Errorf("sizes: %+v, %v", all, err)
	}
}

// TestDamagedRecord flips every bit of a stored record: it is read as it was, or not
// at all.
func TestDamagedRecord(t *testing.T) {
	c, _ := compressed(t, Settings{Level: 1, Min: 32, Window: 1 << 16})
	r := recordOf(stat.NewStream(1, "test.compress"), 400)
	stored, err := c.Encode(r)
	if err != nil || !bytes.HasPrefix(stored, tagFrame) {
		t.Fatal(err)
	}
	for i := 8 * len(tagFrame); i < 8*len(stored); i++ {
		bad := bytes.Clone(stored)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := c.Decode(bad); err == nil && !bytes.Equal(got, r) {
			t.Fatalf("bit %d gives another record", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c, _ := compressed(f, Settings{Level: 1, Min: 32, Window: 1 << 16})
	stored, err := c.Encode(bytes.Repeat([]byte("again "), 40))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if record, err := c.Decode(data); err == nil && len(record) > maxRecord {
			t.Fatalf("a record of %d bytes", len(record))
		}
		stored, err := c.Encode(data)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := c.Decode(stored); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%q became %q, %v", data, back, err)
		}
	})
}

// shelf is a world for tune.Service: a datastore to which records are put, some by each
// arm. What is to be small is the space that a record takes.
type shelf struct {
	t        *testing.T
	dice     *stat.Stream
	store    *Compressed
	set      *knob.Set
	now      time.Duration
	on       tune.Assignment
	running  knob.Config
	other    knob.Config
	number   uint64
	size     int // of records
	decision []string
}

// put puts some records and sums up what they take, by arm.
func (s *shelf) put(n int) (arms [2]tune.Summary, mean float64) {
	for range n {
		s.number++
		arm, config := s.on.Arm(s.number), s.running
		if arm == tune.Tuned {
			config = s.other
		}
		stored, err := s.store.With(SettingsOf(config)).Encode(recordOf(s.dice, s.size/2+s.dice.IntN(s.size)))
		if err != nil {
			s.t.Fatal(err)
		}
		x := math.Log(float64(len(stored)))
		a := &arms[arm]
		a.Samples, a.Attempts, a.Successes = a.Samples+1, a.Attempts+1, a.Successes+1
		a.SumLog, a.SumLog2 = a.SumLog+x, a.SumLog2+x*x
		mean += math.Exp(x) / float64(n)
	}
	return arms, mean
}

// study tries a few settings on records of now and proposes the smallest.
func (s *shelf) study(base knob.Config) knob.Config {
	best, least := base, math.Inf(1)
	for level := range 5 {
		for _, window := range []float64{1 << 10, 1 << 16} {
			c := base.WithNumber("store.compression_level", float64(level)).WithNumber("store.compression_window", window).WithNumber("store.compression_min", 64)
			total := 0.0
			dice := stat.NewStream(9, "test.shelf.study")
			for range 40 {
				stored, err := s.store.With(SettingsOf(c)).Encode(recordOf(dice, s.size))
				if err != nil {
					s.t.Fatal(err)
				}
				total += float64(len(stored))
			}
			if total < least {
				best, least = c, total
			}
		}
	}
	return best
}

func (s *shelf) do(m *tune.Service, command tune.Command) {
	switch c := command.(type) {
	case tune.Record:
		if c.Entry.Kind == tune.KindTrigger || c.Entry.Kind == tune.KindDecision {
			s.decision = append(s.decision, c.Entry.Text)
		}
	case tune.Study:
		s.other = s.study(m.Baseline())
		s.now += time.Second
		m.Tell(s.now, tune.Studied{Number: c.Number, Candidate: s.other.String(), Why: "it took the least space"})
	case tune.Expose:
		s.on = c.Assignment
		m.Tell(s.now, tune.Applied{Block: c.Block, Hash: c.Hash})
	case tune.Measure:
		for i := range c.Count {
			from := c.Start + time.Duration(i)*c.Interval
			s.now = from + c.Interval
			arms, _ := s.put(60)
			m.Tell(s.now, tune.Window{Start: from, End: s.now, Arms: arms})
		}
	case tune.Promote:
		s.running, s.on = s.other, tune.Assignment{}
		s.store.Configure(SettingsOf(s.running))
		m.Tell(s.now, tune.Applied{Hash: c.Hash})
	case tune.RollBack:
		s.on = tune.Assignment{}
		m.Tell(s.now, tune.Applied{Hash: c.Hash})
	}
}

// TestServiceTunesCompression: the service that tunes lookups tunes this component,
// which it does not know. Records grow, so that they take more space; it notices, and
// turns compression on.
func TestServiceTunesCompression(t *testing.T) {
	set, err := knob.NewSet(Knobs())
	if err != nil {
		t.Fatal(err)
	}
	store, _ := compressed(t, SettingsOf(set.Default()))
	s := &shelf{t: t, dice: stat.NewStream(1, "test.shelf"), store: store, set: set, running: set.Default(), size: 400}
	m, err := tune.NewService(tune.ServiceConfig{
		Baseline: set.Default(), Preset: tune.Bench(), Metric: "space of a record", Seed: 1, Schedule: -1, Soak: time.Minute,
		Watch: tune.WatchConfig{Interval: time.Second, Metrics: []tune.Metric{{Name: "space of a record"}}, FalseEvery: 24 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	for s.now < 15*time.Minute {
		for c, ok := m.Ask(s.now); ok; c, ok = m.Ask(s.now) {
			s.do(m, c)
		}
		if s.now > 3*time.Minute {
			s.size = 1200
		}
		s.now += time.Second
		_, mean := s.put(60)
		m.Tell(s.now, tune.Observed{Observation: tune.Observation{At: s.now, Values: []float64{mean}}})
	}
	got := SettingsOf(m.Baseline())
	t.Logf("%+v: %q", got, s.decision)
	if got.Level == 0 || !m.Baseline().Equal(s.running) {
		t.Errorf("it ends with %+v: %q", got, s.decision)
	}
}
