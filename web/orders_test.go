package web

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func running(t *testing.T) (*Server, *orders) {
	t.Helper()
	b := NewBoard()
	b.Put(Run{ID: "run-1", Phase: "proving"})
	o := &orders{}
	return opened(t, Config{
		Board: b, Order: o.take, Set: testSet(t), unlimited: true,
		Bounds: []Bound{{Name: "entries_ratio", Value: 2, AtMost: true, Doc: "memory"}, {Name: "success_difference", Value: -0.001, Doc: "success"}},
	}), o
}

func TestOrders(t *testing.T) {
	s, o := running(t)
	for _, kind := range orderKinds {
		var receipt Receipt
		got := ask(t, s, http.MethodPost, mlRoot+"/run-1/"+kind, `{"reason":"because of `+kind+`"}`)
		if got.status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", kind, got.status, got.body)
		}
		decodeStrictly(t, got.body, &receipt)
		last := o.taken()[len(o.taken())-1]
		if receipt.ID != "run-1" || receipt.Order != kind || last.Kind != kind || last.Run != "run-1" || last.Reason != "because of "+kind {
			t.Errorf("%s: %+v, told %+v", kind, receipt, last)
		}
	}
	got := ask(t, s, http.MethodPost, mlRoot+"/run-2/pause", "{}")
	if p := got.problem(t); got.status != http.StatusNotFound || p.ActiveID != "run-1" {
		t.Errorf("another run: %d %+v", got.status, p)
	}
}

func TestOrderRefused(t *testing.T) {
	s, o := running(t)
	o.fail = errors.Join(&OrderError{Active: "run-1", Why: "a rollout is under way"})
	got := ask(t, s, http.MethodPost, mlRoot, `{"mode":"canary"}`)
	if p := got.problem(t); got.status != http.StatusConflict || p.ActiveID != "run-1" || p.Detail != "a rollout is under way" {
		t.Errorf("%d %+v", got.status, p)
	}
	o.fail = errors.New("the disk is full")
	if got := ask(t, s, http.MethodPost, mlRoot, "{}"); got.status != http.StatusInternalServerError {
		t.Errorf("%d", got.status)
	}
	none := opened(t, Config{Board: NewBoard()})
	if got := ask(t, none, http.MethodPost, mlRoot, "{}"); got.status != http.StatusConflict {
		t.Errorf("a window that takes no orders: %d", got.status)
	}
}

// Whatever is wrong with a request is named: field, or constraint.
func TestRequestsAreHeldToTheirBounds(t *testing.T) {
	s, o := running(t)
	for _, c := range []struct {
		name, body        string
		status            int
		field, constraint string
	}{
		{"unknown field", `{"tarjet":"all"}`, 422, "tarjet", ""},
		{"the case of a field counts", `{"Target":"all"}`, 422, "Target", ""},
		{"unknown field below", `{"budget":{"minutes":3}}`, 422, "budget.minutes", ""},
		{"wrong type", `{"budget":{"measurements":"many"}}`, 422, "budget.measurements", ""},
		{"wrong mode", `{"mode":"yolo"}`, 422, "mode", ""},
		{"wrong target", `{"target":"moon"}`, 422, "target", ""},
		{"wrong seed", `{"seed":"-1"}`, 422, "seed", ""},
		{"budget below", `{"budget":{"measurements":-1}}`, 422, "budget.measurements", ""},
		{"budget above", `{"budget":{"duration_s":1e12}}`, 422, "budget.duration_s", ""},
		{"looser than a bound above", `{"constraints":{"entries_ratio":2.5}}`, 422, "constraints.entries_ratio", "entries_ratio"},
		{"looser than a bound below", `{"constraints":{"success_difference":-0.5}}`, 422, "constraints.success_difference", "success_difference"},
		{"unknown constraint", `{"constraints":{"luck":1}}`, 422, "constraints.luck", ""},
		{"candidate out of range", `{"candidate":{"lookup.alpha":"999"}}`, 422, "candidate.lookup.alpha", "lookup.alpha"},
		{"unknown knob", `{"candidate":{"lookup.beta":"1"}}`, 422, "candidate.lookup.beta", ""},
		{"not an object", `[1]`, 400, "", ""},
		{"not JSON", `{"target"`, 400, "", ""},
		{"two objects", `{} {}`, 400, "", ""},
		{"too long a reason", `{"trigger":"` + strings.Repeat("x", maxReason+1) + `"}`, 422, "trigger", ""},
		{"too large", `{"trigger":"` + strings.Repeat("x", maxBody) + `"}`, 413, "", ""},
	} {
		got := ask(t, s, http.MethodPost, mlRoot, c.body)
		p := got.problem(t)
		if got.status != c.status || p.Field != c.field || p.Constraint != c.constraint {
			t.Errorf("%s: %d %+v: want %d, field %q, constraint %q", c.name, got.status, p, c.status, c.field, c.constraint)
		}
	}
	if got := ask(t, s, http.MethodPost, mlRoot, "target=all", "Content-Type", "application/x-www-form-urlencoded"); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form: %d", got.status)
	}
	if n := len(o.taken()); n != 0 {
		t.Errorf("%d of them were carried out", n)
	}
	good := `{"target":"lookup","mode":"canary","budget":{"measurements":50,"duration_s":60},"constraints":{"entries_ratio":1.5},"candidate":{"lookup.alpha":"7"},"seed":"18446744073709551615"}`
	if got := ask(t, s, http.MethodPost, mlRoot, good); got.status != http.StatusAccepted {
		t.Fatalf("a good one: %d %s", got.status, got.body)
	}
	if order := o.taken()[0]; order.Candidate.Int("lookup.alpha") != 7 || order.Optimize.Constraints["entries_ratio"] != 1.5 {
		t.Errorf("told %+v", order)
	}
}

// The same key gets the same answer and one order, whatever happened in between.
func TestIdempotency(t *testing.T) {
	s, o := running(t)
	post := func(key, body string) reply {
		return ask(t, s, http.MethodPost, mlRoot+"/run-1/pause", body, "Idempotency-Key", key)
	}
	first, again := post("k1", `{"reason":"a"}`), post("k1", `{"reason":"a"}`)
	if first.status != http.StatusAccepted || again.status != first.status || string(again.body) != string(first.body) || len(o.taken()) != 1 {
		t.Errorf("%d %s, then %d %s, %d orders", first.status, first.body, again.status, again.body, len(o.taken()))
	}
	if other := post("k1", `{"reason":"b"}`); other.status != http.StatusUnprocessableEntity || other.problem(t).Field != "Idempotency-Key" {
		t.Errorf("another request under the key: %d", other.status)
	}
	if post("k2", `{"reason":"a"}`); len(o.taken()) != 2 {
		t.Errorf("%d orders under two keys", len(o.taken()))
	}
	o.fail = errors.New("broken for now")
	post("k3", "{}")
	o.fail = nil
	if got := post("k3", "{}"); got.status != http.StatusAccepted {
		t.Errorf("after a failure of ours: %d", got.status)
	}
	if got := post(strings.Repeat("k", maxKeyBytes+1), "{}"); got.status != http.StatusBadRequest {
		t.Errorf("a long key: %d", got.status)
	}
	for i := range 2 * maxKeys {
		s.once.claim(strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/182), [32]byte{})
	}
	if n := len(s.once.known); n > maxKeys || n != len(s.once.order) {
		t.Errorf("%d keys are remembered, %d in order", n, len(s.once.order))
	}
}
