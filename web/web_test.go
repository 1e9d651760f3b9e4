package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shoalnet/shoal/knob"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded fills a board with what a real run put up: shoal up --ui, or shoal node
// --ui, whose stream was taken down. A line is a name and its JSON.
func recorded(t *testing.T, name string) *Board {
	t.Helper()
	b := NewBoard()
	if name == "" {
		return b
	}
	text, err := os.Open(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = text.Close() }()
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		what, data, _ := strings.Cut(lines.Text(), " ")
		post := posters[what]
		if post == nil {
			t.Fatalf("%s: nothing is called %q", name, what)
		}
		post(t, b, []byte(data))
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return b
}

func part[P Part](t *testing.T, b *Board, data []byte) {
	var p P
	decodeStrictly(t, data, &p)
	b.Put(p)
}

func item[I Item](t *testing.T, b *Board, data []byte) {
	var i I
	decodeStrictly(t, data, &i)
	b.Append(i)
}

func decodeStrictly(t *testing.T, data []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%T: %v", into, err)
	}
}

var posters = map[string]func(*testing.T, *Board, []byte){
	"subject": part[Subject], "run": part[Run], "arms": part[Arms], "shape": part[Shape], "peers": part[Peers], "fleet": part[Fleet],
	"search": part[Search], "sensitivity": part[Sensitivity], "limits": part[Limits], "front": part[Front], "alarms": part[Alarms], "knobs": part[Knobs],
	"race": part[Race], "library": part[Library], "forecasts": part[Forecasts], "holdout": part[Holdout], "costs": item[Cost],
	"watch": part[Watch], "health": part[Health], "table": part[Table],
	"journal": item[Entry], "cycles": item[Cycle], "lookups": item[Lookup], "trials": item[Trial], "changes": item[TableChange], "samples": item[Sample],
}

// orders remembers what it was told.
type orders struct {
	mu   sync.Mutex
	got  []Order
	fail error
}

func (o *orders) take(_ context.Context, order Order) (Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.got = append(o.got, order)
	return Receipt{ID: "run-1"}, o.fail
}

func (o *orders) taken() []Order {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Order{}, o.got...)
}

// opened runs a window until the test ends.
func opened(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// client has no connections left when the test ends.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// reply is an answer that was read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request; headers are pairs of name and value, and "Host" is one.
func ask(t *testing.T, s *Server, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	c := client(t)
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{got.StatusCode, got.Header, text}
}

// problem reads an error.
func (r reply) problem(t *testing.T) Problem {
	t.Helper()
	var p Problem
	decodeStrictly(t, r.body, &p)
	if p.Status != r.status || p.Title == "" || p.Detail == "" {
		t.Errorf("status %d: problem %+v", r.status, p)
	}
	return p
}

// testSet is a few knobs.
func testSet(t *testing.T) *knob.Set {
	t.Helper()
	set, err := knob.NewSet([]knob.Knob{
		{Name: "lookup.alpha", Kind: knob.Int, Min: 1, Max: 32, Default: "5", Doc: "requests in flight", Source: "test", Scale: knob.Log},
		{Name: "table.stale", Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Doc: "share", Source: "test", Zero: "never"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestNewRefuses(t *testing.T) {
	for _, addr := range []string{"here", "127.0.0.1", "256.1.1.1:x"} {
		if s, err := New(Config{Addr: addr, Board: NewBoard()}); err == nil {
			_ = s.Close()
			t.Errorf("address %q: no error", addr)
		}
	}
	if _, err := New(Config{Addr: "127.0.0.1:0"}); err == nil {
		t.Error("no board: no error")
	}
}

func TestLoopbackByDefault(t *testing.T) {
	s := opened(t, Config{Addr: ":0", Board: NewBoard()})
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") || strings.Contains(s.URL(), "token") {
		t.Errorf("no host: listens at %s: want the loopback and no token", s.URL())
	}
}

// Nobody looks, nothing is looked into; two readers at once are one look.
func TestLookOnlyWhileSomebodyLooks(t *testing.T) {
	looks := 0
	var mu sync.Mutex
	s := opened(t, Config{Board: NewBoard(), Look: func(b *Board) {
		mu.Lock()
		defer mu.Unlock()
		looks++
		b.Put(Subject{Kind: "node", Title: "t", Began: time.Unix(0, 0), Facts: []Fact{}})
	}})
	count := func() int { mu.Lock(); defer mu.Unlock(); return looks }
	if n := count(); n != 0 {
		t.Errorf("%d looks before anybody looked", n)
	}
	for range 5 {
		if got := ask(t, s, http.MethodGet, apiRoot+"/subject", ""); got.status != http.StatusOK || !bytes.Contains(got.body, []byte(`"title":"t"`)) {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if n := count(); n < 1 || n > 4 { // 250 ms apart
		t.Errorf("%d looks for five requests in a row: want one or a few", n)
	}
}

// TestRefused: a part or item with a number that JSON does not have is left out and told
// of once; what was there before stays, and nothing ends.
func TestRefused(t *testing.T) {
	b := NewBoard()
	b.Put(Watch{State: "idle", Waiting: []string{}, Gauges: []Gauge{{Name: "latency", Limit: 4}}})
	before, _, _ := partOf[Watch](b)
	b.Put(Watch{State: "idle", Waiting: []string{}, Gauges: []Gauge{{Name: "latency", Limit: math.NaN()}}})
	b.Append(Sample{N: 1, Score: 50, P50MS: new(math.Inf(1))}, Sample{N: 2, Score: 60})
	if after, _, ok := partOf[Watch](b); !ok || !reflect.DeepEqual(after, before) {
		t.Errorf("%+v, before %+v", after, before)
	}
	if got := b.Last(Sample{}); got != 2 {
		t.Errorf("the last sample is %d", got)
	}
	if got := b.Refused(); len(got) != 2 || got["watch"] == nil || got["samples"] == nil {
		t.Errorf("refused %v", got)
	}
	if got := b.Refused(); len(got) != 0 {
		t.Errorf("twice: %v", got)
	}
}
