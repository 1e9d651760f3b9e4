package pilot

import (
	"context"
	"path/filepath"
	"runtime/metrics"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/pilot/report"
	"github.com/shoalnet/shoal/store"
)

// noteEvery is after how many intervals the history is written.
const noteEvery = 15

// notebook writes what was measured of each configuration to the history of the data
// directory, interval by interval, where the whole network ran it.
type notebook struct {
	history *store.History
	pending []store.Interval
	rounds  int
	seen    map[string]bool
}

func openNotebook(ctx context.Context, dir string) (*notebook, error) {
	h, err := store.OpenHistory(ctx, filepath.Join(dir, store.HistoryName), store.HistoryConfig{})
	if err != nil {
		return nil, err
	}
	return &notebook{history: h, seen: map[string]bool{}}, nil
}

// note takes an interval of a configuration.
func (n *notebook) note(c knob.Config, x reading, used usage, entries float64) error {
	if n == nil || c.Set() == nil {
		return nil
	}
	now := time.Now()
	if !n.seen[c.Hash()] {
		n.seen[c.Hash()] = true
		if err := n.history.Configured(context.Background(), now, c.Hash(), c.String(), false); err != nil {
			return err
		}
	}
	of := map[string]*store.Interval{}
	add := func(metric string, value float64) {
		if of[metric] == nil {
			of[metric] = &store.Interval{At: now.Add(-interval), Span: interval, Config: c.Hash(), Metric: metric}
		}
		of[metric].Sketch.Add(value)
	}
	for _, s := range x.samples {
		if s.local {
			continue
		}
		if s.ok {
			add(report.Success, 1)
		} else {
			add(report.Success, 0)
		}
		if s.op == kad.OpGet {
			add(report.GetMS, milliseconds(s.elapsed))
			add(report.Messages, float64(s.messages))
		}
	}
	add(report.OpsPerS, float64(succeeded(x.samples))/interval.Seconds())
	add(report.CPUShare, used.cpu.Seconds()/interval.Seconds())
	add(report.BytesPerS, float64(used.bytes)/interval.Seconds())
	add(report.MemoryBytes, memoryInUse())
	add(report.Entries, entries)
	for _, metric := range []string{report.Success, report.GetMS, report.Messages, report.OpsPerS, report.CPUShare, report.BytesPerS, report.MemoryBytes, report.Entries} {
		if v := of[metric]; v != nil {
			n.pending = append(n.pending, *v)
		}
	}
	if n.rounds++; n.rounds%noteEvery == 0 {
		return n.flush()
	}
	return nil
}

// memoryInUse is what the process has of the machine, by its own count.
func memoryInUse() float64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return float64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}

func (n *notebook) flush() error {
	pending := n.pending
	n.pending = nil
	return n.history.Add(context.Background(), pending...)
}

// promoted notes that a configuration was promoted.
func (n *notebook) promoted(c knob.Config) error {
	if n == nil {
		return nil
	}
	n.seen[c.Hash()] = true
	return n.history.Configured(context.Background(), time.Now(), c.Hash(), c.String(), true)
}

// close writes what is left, and merges what has become old.
func (n *notebook) close() error {
	if n == nil {
		return nil
	}
	err := n.flush()
	if err == nil {
		err = n.history.Maintain(context.Background(), time.Now())
	}
	if closed := n.history.Close(); err == nil {
		err = closed
	}
	return err
}
