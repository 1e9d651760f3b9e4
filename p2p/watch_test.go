package p2p

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
)

// A peer remembers how its operations went and why its table changed, and makes a
// span of each call with a child for each request.
func TestWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 10*time.Millisecond)
		first := b.host(0)
		for i := range 6 {
			h := first
			if i > 0 {
				h = b.host(i)
			}
			b.peer(h, func(o *Options) {
				if i > 0 {
					o.Bootstrap = append(o.Bootstrap, infoOfHost(first))
				}
			})
		}
		recorder := tracetest.NewSpanRecorder()
		provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
		ours := b.peer(b.host(6), func(o *Options) {
			o.Bootstrap, o.Tracer = append(o.Bootstrap, infoOfHost(first)), provider
			o.Knobs = o.Knobs.WithNumber("p2p.log_lookups", 4)
		})
		time.Sleep(30 * time.Second)
		before := len(recorder.Ended())

		ctx, parent := provider.Tracer("test").Start(t.Context(), "parent")
		began := ours.Time()
		for _, c := range []kad.Call{
			{Op: kad.OpPut, Key: "/v/1", Value: []byte("1")}, {Op: kad.OpGet, Key: "/v/1"}, {Op: kad.OpGet, Key: "/v/none"}, {Op: kad.OpClosest, Key: "a"}, {Op: kad.OpClosest, Key: "b"},
		} {
			c.Target = key.Hash([]byte(c.Key))
			r, err := ours.Call(ctx, c).Wait()
			if err != nil || r.Found == (c.Key == "/v/none") {
				t.Fatalf("%v %s: %+v, %v", c.Op, c.Key, r, err)
			}
		}
		gone, cancel := context.WithCancel(ctx)
		call := ours.Call(gone, kad.Call{Op: kad.OpClosest, Key: "c", Target: key.Hash([]byte("c"))})
		synctest.Wait()
		cancel()
		if _, err := call.Wait(); err == nil {
			t.Error("a call that was given up has a result")
		}
		parent.End()
		synctest.Wait()

		ours.checkTraces(t, began)
		changes := ours.Changes()
		if len(changes) != 6 || slices.ContainsFunc(changes, func(c Change) bool { return !c.Member || c.Why != table.ByRoom || c.At > ours.Time() }) {
			t.Errorf("changes of the table: %+v", changes)
		}
		ours.checkTallies(t)
		checkSpans(t, recorder.Ended()[before:])
	})
}

// checkTraces looks at the last four operations.
func (p *Peer) checkTraces(t *testing.T, began time.Duration) {
	t.Helper()
	traces := p.Traces()
	var keys []string
	for _, tr := range traces {
		keys = append(keys, tr.Key)
		steps, _, err := tr.Logs[0].Replay()
		if err != nil || len(steps) == 0 || steps[0].Asked < began {
			t.Errorf("%s: %+v, %v", tr.Key, steps, err)
		}
		for _, s := range steps {
			if s.Outcome == lookup.GotAnswer && s.Ended-s.Asked < 20*time.Millisecond {
				t.Errorf("%s: %+v is faster than the link", tr.Key, s)
			}
		}
	}
	if strings.Join(keys, " ") != "/v/none a b c" || !traces[3].Canceled || traces[0].Found {
		t.Errorf("remembered are %v", keys)
	}
}

func (p *Peer) checkTallies(t *testing.T) {
	t.Helper()
	tallies, recent := p.Tallies(), p.Recent()
	get, closest := tallies[kad.OpGet], tallies[kad.OpClosest]
	if get.Count != 2 || get.Failed != 1 || closest.Count != 2 || closest.Canceled != 1 || get.Latency.Min() < 0.02 {
		t.Errorf("gets %+v, closest %+v", get, closest)
	}
	if recent.Lookups.Count != 5 || recent.Lookups.Failed != 1 || recent.Asked < 20 || recent.Silent > 0 {
		t.Errorf("of late: %+v", recent)
	}
	time.Sleep(periodLength)
	if recent = p.Recent(); recent.Lookups.Count != 5 {
		t.Errorf("in the period before: %+v", recent)
	}
	time.Sleep(2 * periodLength)
	if recent = p.Recent(); recent.Lookups.Count > 0 || p.Tallies()[kad.OpGet].Count != 2 {
		t.Errorf("long after: %+v", recent)
	}
}

// checkSpans looks at the spans of the calls.
func checkSpans(t *testing.T, spans []sdk.ReadOnlySpan) {
	t.Helper()
	parents := map[string]sdk.ReadOnlySpan{}
	for _, s := range spans {
		parents[s.SpanContext().SpanID().String()] = s
	}
	count := map[string]int{}
	for _, s := range spans {
		count[s.Name()]++
		parent := parents[s.Parent().SpanID().String()]
		switch {
		case s.Name() == "parent":
		case parent == nil:
			t.Errorf("%s has no parent", s.Name())
		case s.StartTime().Before(parent.StartTime()) || s.EndTime().After(parent.EndTime()):
			t.Errorf("%s is not within its parent %s", s.Name(), parent.Name())
		case parent.Name() == "parent" && s.Status().Code == codes.Error && s.Status().Description != "canceled":
			t.Errorf("%s: %+v", s.Name(), s.Status())
		}
	}
	if count["shoal.put"] != 1 || count["shoal.get"] != 2 || count["shoal.closest"] != 3 || count["shoal.store"] != 6 || count["shoal.request"] < 30 {
		t.Errorf("spans: %v", count)
	}
}

// TestTracesAreBounded keeps as many as may be, and no more bytes than may be.
func TestTracesAreBounded(t *testing.T) {
	one := func(n int) *kad.Trace {
		log := lookup.NewLog(func() time.Duration { return 0 })
		for i := range n {
			log.Peers = append(log.Peers, key.ID{uint64(i)})
		}
		return &kad.Trace{Call: uint64(n), Logs: []*lookup.Log{log}}
	}
	ts := traces{limit: 3, room: 10_000}
	for _, n := range []int{1, 2, 3, 4} {
		ts.add(one(n))
	}
	calls := func() (list []uint64) {
		for _, tr := range ts.all() {
			if len(tr.Logs) != 1 || len(tr.Logs[0].Peers) != int(tr.Call) {
				t.Errorf("call %d has come back as %+v", tr.Call, tr.Logs)
			}
			list = append(list, tr.Call)
		}
		return list
	}
	if got := calls(); !slices.Equal(got, []uint64{2, 3, 4}) {
		t.Errorf("of four the last three: %v", got)
	}
	if ts.add(one(220)); !slices.Equal(calls(), []uint64{4, 220}) {
		t.Errorf("a large one drives out more than one: %v", calls())
	}
	if ts.add(one(1000)); len(calls()) > 0 || ts.size != 0 {
		t.Errorf("one that is too large leaves %v, %d bytes", calls(), ts.size)
	}
	none := traces{limit: 0, room: 10_000}
	if none.add(one(1)); len(none.all()) > 0 {
		t.Error("none was to be kept")
	}
}
