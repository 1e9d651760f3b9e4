package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// told is one event as a page reads it.
type told struct{ id, name, data string }

// reader reads a stream.
type reader struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
}

func listen(t *testing.T, s *Server, last string) *reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+mlRoot+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	got, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", got.StatusCode, got.Header)
	}
	lines := bufio.NewScanner(got.Body)
	lines.Buffer(nil, 4<<20)
	t.Cleanup(func() { _ = got.Body.Close() })
	return &reader{t, got.Body, lines}
}

// next returns the next event, false at the end of the stream.
func (r *reader) next() (e told, ok bool) {
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e, true
			}
		}
	}
	return e, false
}

// until reads up to an event of a name and returns all that came.
func (r *reader) until(name string) (all []told) {
	r.t.Helper()
	for {
		e, ok := r.next()
		if !ok {
			r.t.Fatalf("the stream ended without %s", name)
		}
		if all = append(all, e); e.name == name {
			return all
		}
	}
}

func names(all []told) (out []string) {
	for _, e := range all {
		out = append(out, e.name)
	}
	return out
}

// A page that comes anew is told all, one that comes back what it has missed.
func TestStream(t *testing.T) {
	b := recorded(t, "network")
	s := opened(t, Config{Board: b, Order: (&orders{}).take})
	first := listen(t, s, "")
	b.Put(Alarms{Alarms: []Alarm{{ID: "end of the recording", Severity: "info"}}})
	all := first.until("alarms")
	if !strings.Contains(all[len(all)-1].data, "end of the recording") {
		all = append(all, first.until("alarms")...) // that of the recording came first
	}
	var greeting hello
	if err := json.Unmarshal([]byte(all[0].data), &greeting); err != nil || all[0].name != "hello" || !greeting.Fresh || !greeting.Orders {
		t.Errorf("it begins with %+v", all[0])
	}
	for _, want := range []string{"subject", "run", "journal", "lookups", "peers", "limits"} {
		if !slices.Contains(names(all), want) {
			t.Errorf("it was not told of %s", want)
		}
	}
	last := all[len(all)-1].id
	_ = first.body.Close()
	b.Append(Entry{Seq: 1_000_001, Kind: "note", Text: "while it was away"})
	b.Put(Alarms{Alarms: []Alarm{}})
	b.Put(Alarms{Alarms: []Alarm{}}) // says the same: no change
	second := listen(t, s, last)
	missed := second.until("alarms")
	if got := names(missed); fmt.Sprint(got) != "[hello journal alarms]" {
		t.Errorf("who comes back is told %v", got)
	}
	if strings.Contains(missed[0].data, `"fresh":true`) {
		t.Error("who comes back is told to forget")
	}
}

func TestStreamOfAnotherTime(t *testing.T) {
	b := NewBoard()
	b.Put(Subject{Kind: "node", Facts: []Fact{}})
	s := opened(t, Config{Board: b})
	for _, last := range []string{"other.1", "nonsense", b.epoch + ".999999", b.epoch + ".-1"} {
		got := listen(t, s, last).until("subject")
		if !strings.Contains(got[0].data, `"fresh":true`) {
			t.Errorf("after %q: %+v: want a fresh start", last, got[0])
		}
	}
}

// Who was away for long is told that there is a gap, and then what is left.
func TestStreamTellsGaps(t *testing.T) {
	b := NewBoard()
	b.Append(Lookup{N: 1})
	_, seen, _ := b.since(0)
	for n := uint64(2); n < 400; n++ {
		b.Append(Lookup{N: n})
	}
	events, _, _ := b.since(seen)
	gaps, lookups := 0, 0
	for i, e := range events {
		switch e.name {
		case "gap":
			gaps++
			if i != 0 {
				t.Error("the gap is told behind what follows it")
			}
		case "lookups":
			lookups++
		}
	}
	if gaps != 1 || lookups != kept["lookups"] {
		t.Errorf("%d gaps and %d lookups: want 1 and %d", gaps, lookups, kept["lookups"])
	}
	if events, _, _ := b.since(0); slices.ContainsFunc(events, func(e event) bool { return e.name == "gap" }) {
		t.Error("who comes anew is told of a gap")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := opened(t, Config{Board: NewBoard(), unlimited: true})
	for range maxStreams {
		listen(t, s, "").until("hello")
	}
	got := ask(t, s, http.MethodGet, mlRoot+"/events", "")
	if p := got.problem(t); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %+v", got.status, p)
	}
}

// Ctrl-C ends streams at once.
func TestStreamsEndWithTheServer(t *testing.T) {
	s, err := New(Config{Addr: "127.0.0.1:0", Board: NewBoard()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	r := listen(t, s, "")
	r.until("hello")
	cancel()
	if _, more := r.next(); more {
		t.Error("it goes on")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.DialTimeout("tcp", s.Addr().String(), time.Second); err == nil {
		t.Error("it still listens")
	}
}

// A page that does not read costs a bounded batch, not a queue: what is put up
// meanwhile replaces what it was not told.
func TestSlowPageHoldsNobodyUp(t *testing.T) {
	b := NewBoard()
	s := opened(t, Config{Board: b})
	slow := listen(t, s, "")
	slow.until("hello") // and reads no more
	long := strings.Repeat("x", 1<<16)
	for i := range 2000 {
		b.Put(Subject{Kind: "node", Title: fmt.Sprint(i, long), Facts: []Fact{}})
	}
	quick := listen(t, s, "")
	got := quick.until("subject")
	if last := got[len(got)-1]; !strings.Contains(last.data, `"title":"1999xx`) {
		t.Errorf("another page is told %.60s", last.data)
	}
	if events, _, _ := b.since(0); len(events) != 1 {
		t.Errorf("%d events are kept of one part", len(events))
	}
}

// A page that takes nothing at all is dropped, and counted.
func TestSlowPageIsDropped(t *testing.T) {
	b := NewBoard()
	s := opened(t, Config{Board: b, patience: 50 * time.Millisecond})
	slow := listen(t, s, "")
	slow.until("hello") // and reads no more
	long := strings.Repeat("x", 8<<20)
	for i := 0; ; i++ {
		if _, _, dropped := s.counts.read(); dropped > 0 {
			break
		}
		b.Put(Subject{Kind: "node", Title: fmt.Sprint(i, long), Facts: []Fact{}}) // more than sockets hold
		if t.Context().Err() != nil {
			t.Fatal("it was not dropped")
		}
	}
	for len(s.streams) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("it still has its place")
		}
	}
}

func TestBoardIsBounded(t *testing.T) {
	b := NewBoard()
	for n := range uint64(3 * kept["journal"]) {
		b.Append(Entry{Seq: n + 1, Kind: fmt.Sprint("kind ", n)}, Trial{N: n + 1}, Sample{N: n + 1}, Cycle{N: n + 1}, TableChange{N: n + 1})
	}
	for name, s := range b.streams {
		if len(s.items) != kept[name] {
			t.Errorf("%d items of %s are kept, want %d", len(s.items), name, kept[name])
		}
	}
	if n := len(b.tally.Last); n > 64 {
		t.Errorf("%d kinds are counted", n)
	}
}
