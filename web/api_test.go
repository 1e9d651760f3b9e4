package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// described returns the OpenAPI document of a window.
func described(t *testing.T, s *Server) map[string]any {
	t.Helper()
	got := ask(t, s, http.MethodGet, DescriptionPath, "")
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.body))
	if err != nil || got.status != http.StatusOK {
		t.Fatalf("%d: %v", got.status, err)
	}
	object, _ := doc.(map[string]any)
	return object
}

// schemaAt compiles a schema of the document by its pointer.
func schemaAt(t *testing.T, doc map[string]any, pointer string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("https://shoal.test/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://shoal.test/openapi.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func escape(path string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path)
}

// Every operation of the document is called, on boards of real runs and on an empty
// one, and what it answers is what the document says.
func TestRepliesAreAsDescribed(t *testing.T) {
	for _, name := range []string{"", "network", "node"} {
		t.Run("board "+name, func(t *testing.T) {
			o := &orders{}
			s := opened(t, Config{Board: recorded(t, name), Order: o.take, Set: testSet(t), unlimited: true})
			doc := described(t, s)
			run, _, _ := partOf[Run](s.cfg.Board)
			paths, _ := doc["paths"].(map[string]any)
			for path, methods := range paths {
				methods, _ := methods.(map[string]any)
				for method := range methods {
					if path == mlRoot+"/events" {
						continue // see TestStream
					}
					got := ask(t, s, strings.ToUpper(method), strings.ReplaceAll(path, "{id}", run.ID), "")
					checkReply(t, doc, method, path, got)
				}
			}
		})
	}
}

func checkReply(t *testing.T, doc map[string]any, method, path string, got reply) {
	t.Helper()
	status, kind := strconv.Itoa(got.status), strings.Split(got.header.Get("Content-Type"), ";")[0]
	at := "/paths/" + escape(path) + "/" + method + "/responses/"
	responses, _ := doc["paths"].(map[string]any)[path].(map[string]any)[method].(map[string]any)["responses"].(map[string]any)
	if responses[status] == nil {
		status = "default"
	}
	content, _ := responses[status].(map[string]any)["content"].(map[string]any)
	if content[kind] == nil {
		t.Errorf("%s %s: %d with type %q is not described", method, path, got.status, kind)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.body))
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	if err := schemaAt(t, doc, at+status+"/content/"+escape(kind)+"/schema").Validate(body); err != nil {
		t.Errorf("%s %s: %d is not as described: %v\n%.400s", method, path, got.status, err, got.body)
	}
}

// The document and the handlers come from one table; this holds that nothing is
// answered beside it, and that the orders and calls of the specification are there.
func TestDescriptionIsWhole(t *testing.T) {
	s := opened(t, Config{Board: NewBoard()})
	doc := described(t, s)
	paths, _ := doc["paths"].(map[string]any)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", doc["openapi"])
	}
	for _, want := range []string{
		"", "/status", "/recommendations", "/knobs", "/history", "/statistics", "/sensitivity", "/arms", "/events", "/constraints",
		"/{id}/rollback", "/{id}/pause", "/{id}/resume", "/{id}/promote", "/{id}/approve",
	} {
		if paths[mlRoot+want] == nil {
			t.Errorf("%s is not described", mlRoot+want)
		}
	}
	ids := []string{}
	for _, r := range s.routes() {
		operation, _ := paths[r.path].(map[string]any)[strings.ToLower(r.method)].(map[string]any)
		if operation["operationId"] != r.id || operation["summary"] == "" {
			t.Errorf("%s %s: %v", r.method, r.path, operation)
		}
		if slices.Contains(ids, r.id) {
			t.Errorf("operation %s twice", r.id)
		}
		ids = append(ids, r.id)
	}
	for path, want := range map[string]int{"/api/v3/nothing": 404, "/api/v2/ml/optimize": 404, mlRoot + "/status/more": 404, "/nothing.html": 404} {
		if got := ask(t, s, http.MethodGet, path, ""); got.status != want {
			t.Errorf("%s: %d, want %d", path, got.status, want)
		} else {
			got.problem(t)
		}
	}
	if got := ask(t, s, http.MethodPost, mlRoot+"/status", "{}"); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != http.MethodGet {
		t.Errorf("POST of a status: %d, Allow %q", got.status, got.header.Get("Allow"))
	}
}

// Where there is no data the state says so, and there is no figure.
func TestNoDataIsNeverZero(t *testing.T) {
	s := opened(t, Config{Board: NewBoard(), unlimited: true})
	for _, r := range s.routes() {
		if r.method != http.MethodGet || r.reply == nil {
			continue
		}
		var got struct {
			State, Why string
			Data       json.RawMessage
		}
		if err := json.Unmarshal(ask(t, s, r.method, r.path, "").body, &got); err != nil || got.State != stateNoData || got.Why == "" || string(got.Data) != "null" {
			t.Errorf("%s: %+v, %v", r.path, got, err)
		}
	}
}

func TestHistoryIsPaged(t *testing.T) {
	b := NewBoard()
	for i := range uint64(25) {
		b.Append(Entry{Seq: i + 1, Kind: "cycle", Text: fmt.Sprint("entry ", i+1)})
	}
	b.Append(Entry{Seq: 25, Kind: "cycle", Text: "told again"})
	s := opened(t, Config{Board: b})
	var seen []uint64
	for after := uint64(0); ; {
		var page Reply[List[Entry]]
		decodeStrictly(t, ask(t, s, http.MethodGet, fmt.Sprintf("%s/history?limit=10&after=%d", mlRoot, after), "").body, &page)
		if page.Seq != 25 {
			t.Errorf("the reply reflects entry %d, want 25", page.Seq)
		}
		for _, e := range page.Data.Items {
			seen = append(seen, e.Seq)
		}
		if after = page.Data.Next; after == 0 {
			break
		}
	}
	if len(seen) != 25 || !slices.IsSorted(seen) {
		t.Errorf("paged through %v", seen)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "after=-1", "after=x"} {
		got := ask(t, s, http.MethodGet, mlRoot+"/history?"+query, "")
		if p := got.problem(t); got.status != http.StatusUnprocessableEntity || !strings.HasPrefix(query, p.Field) {
			t.Errorf("%s: %d %+v", query, got.status, p)
		}
	}
}

// What the journal counts is counted from entries alone.
func TestStatistics(t *testing.T) {
	s := opened(t, Config{Board: recorded(t, "network")})
	var got Reply[Tally]
	decodeStrictly(t, ask(t, s, http.MethodGet, mlRoot+"/statistics", "").body, &got)
	var history Reply[List[Entry]]
	decodeStrictly(t, ask(t, s, http.MethodGet, mlRoot+"/history?limit=1000", "").body, &history)
	want := map[string]int{}
	decided := map[string]int{}
	for _, e := range history.Data.Items {
		want[e.Kind]++
		if e.Decision != "" {
			decided[e.Decision]++
		}
	}
	d := got.Data
	if d.Rollouts != want["start"] || d.Cycles != want["cycle"] || d.Skipped != want["skip"] || d.Entries != uint64(len(history.Data.Items)) || fmt.Sprint(d.Decided) != fmt.Sprint(decided) {
		t.Errorf("%+v: the journal has %v, %v", d, want, decided)
	}
	if len(history.Data.Items) == 0 {
		t.Error("the recorded run has no journal")
	}
}

func TestSensitivityOfOneKnob(t *testing.T) {
	b := NewBoard()
	b.Put(Sensitivity{
		Method: "m", Metric: "x", Unit: "ms", Trials: 40, Least: 30, Knobs: []KnobEffects{{Knob: "a.b", Bins: []Bin{}}, {Knob: "c.d", Bins: []Bin{}}},
		Causes: []Cause{{Knob: "c.d", With: []Change{}, Text: "had we not"}, {Knob: "g.h", With: []Change{}}},
	})
	s := opened(t, Config{Board: b})
	var one Reply[Sensitivity]
	decodeStrictly(t, ask(t, s, http.MethodGet, mlRoot+"/sensitivity?knob=c.d", "").body, &one)
	if one.Data == nil || len(one.Data.Knobs) != 1 || one.Data.Knobs[0].Knob != "c.d" ||
		len(one.Data.Causes) != 1 || one.Data.Causes[0].Text != "had we not" {
		t.Errorf("%+v", one)
	}
	var missing Reply[Sensitivity]
	decodeStrictly(t, ask(t, s, http.MethodGet, mlRoot+"/sensitivity?knob=e.f", "").body, &missing)
	if missing.State != stateNoData || missing.Data != nil {
		t.Errorf("a knob that nobody moved: %+v", missing)
	}
}

func TestRunByID(t *testing.T) {
	s := opened(t, Config{Board: recorded(t, "network")})
	run, _, _ := partOf[Run](s.cfg.Board)
	if got := ask(t, s, http.MethodGet, mlRoot+"/status?id="+run.ID, ""); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	got := ask(t, s, http.MethodGet, mlRoot+"/status?id=other", "")
	if p := got.problem(t); got.status != http.StatusNotFound || p.ActiveID != run.ID {
		t.Errorf("another run: %d %+v", got.status, p)
	}
}
