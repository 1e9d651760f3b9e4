package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/shoalnet/shoal/knob"
)

// The kinds of orders.
const (
	OrderOptimize = "optimize" // look for something better
	OrderPause    = "pause"    // hold: nothing goes on
	OrderResume   = "resume"
	OrderRollback = "rollback" // back to the incumbent
	OrderPromote  = "promote"  // keep the candidate without waiting for the proof
	OrderApprove  = "approve"  // go through the gate that waits for a person
)

var orderKinds = []string{OrderPause, OrderResume, OrderRollback, OrderPromote, OrderApprove}

// Order is what a person wants.
type Order struct {
	Kind   string // one of the constants
	Run    string // id of the run that it is for; empty for OrderOptimize
	Reason string
	// Optimize is the request of OrderOptimize, checked, else nil.
	Optimize *OptimizeRequest
	// Candidate is that of the request, over the set's defaults; the zero Config if it
	// names none.
	Candidate knob.Config
}

// OrderError is why an order is not carried out.
type OrderError struct {
	Active string // id of the run that is in the way, if one is
	Why    string // and what would help
}

// Error returns why.
func (e *OrderError) Error() string { return e.Why }

// Receipt says that an order was taken.
type Receipt struct {
	ID    string `json:"id" doc:"of the run"`
	Order string `json:"order"`
	Seq   uint64 `json:"seq" doc:"last entry of the journal when the order was taken"`
}

// OptimizeRequest is the body of POST /api/v3/ml/optimize. The zero value asks for
// all that may be tuned, within the usual budget.
type OptimizeRequest struct {
	Target      string             `json:"target,omitempty" doc:"all, or a component: the part of a knob's name before the dot"`
	Trigger     string             `json:"trigger,omitempty" doc:"why, for the journal" max:"500"`
	Budget      *Budget            `json:"budget,omitempty"`
	Constraints map[string]float64 `json:"constraints,omitempty" doc:"stricter bounds by name; GET .../constraints tells the names"`
	Mode        string             `json:"mode,omitempty" enum:"recommend,shadow,canary,apply" doc:"how far it may go"`
	Preset      string             `json:"preset,omitempty" doc:"of stages and errors" max:"64"`
	Seed        string             `json:"seed,omitempty" doc:"a whole number; a string, since JSON's numbers end at 2^53" max:"20"`
	Candidate   map[string]string  `json:"candidate,omitempty" doc:"values of knobs to prove instead of searching"`
}

// Budget bounds a run.
type Budget struct {
	Measurements int     `json:"measurements,omitempty" doc:"evaluations on the twin; 0: as many as time allows"`
	DurationS    float64 `json:"duration_s,omitempty" doc:"wall time; 0: the usual"`
}

// OrderRequest is the body of the other orders.
type OrderRequest struct {
	Reason string `json:"reason,omitempty" doc:"for the journal" max:"500"`
}

const (
	maxReason     = 500
	maxCandidate  = 256 // knobs that a request may name
	maxEvaluation = 1_000_000
	maxDurationS  = 30 * 24 * 3600
)

// unprocessable is a request that is well formed and cannot be done.
func unprocessable(field, constraint, format string, args ...any) *Problem {
	title := "cannot be done"
	if constraint != "" {
		title = "a constraint would be broken"
	}
	return &Problem{Status: http.StatusUnprocessableEntity, Title: title, Field: field, Constraint: constraint, Detail: fmt.Sprintf(format, args...)}
}

// check holds a request against what is possible and returns its candidate.
func (s *Server) check(q *OptimizeRequest) (candidate knob.Config, p *Problem) {
	switch {
	case len(q.Trigger) > maxReason:
		return candidate, unprocessable("trigger", "", "trigger: at most %d bytes", maxReason)
	case q.Mode != "" && !slices.Contains([]string{"recommend", "shadow", "canary", "apply"}, q.Mode):
		return candidate, unprocessable("mode", "", "mode %q: want recommend, shadow, canary or apply", q.Mode)
	case q.Target != "" && q.Target != "all" && !slices.Contains(s.components(), q.Target):
		return candidate, unprocessable("target", "", "target %q: want all or one of %s", q.Target, strings.Join(s.components(), ", "))
	case q.Seed != "" && strings.Trim(q.Seed, "0123456789") != "":
		return candidate, unprocessable("seed", "", "seed %q: want a whole number from 0", q.Seed)
	case len(q.Candidate) > maxCandidate:
		return candidate, unprocessable("candidate", "", "candidate: at most %d knobs", maxCandidate)
	}
	if b := q.Budget; b != nil {
		if b.Measurements < 0 || b.Measurements > maxEvaluation {
			return candidate, unprocessable("budget.measurements", "", "budget.measurements %d: want 0 to %d", b.Measurements, maxEvaluation)
		}
		if !(b.DurationS >= 0 && b.DurationS <= maxDurationS) {
			return candidate, unprocessable("budget.duration_s", "", "budget.duration_s %v: want 0 to %d", b.DurationS, maxDurationS)
		}
	}
	if p := s.checkBounds(q.Constraints); p != nil {
		return candidate, p
	}
	return s.checkCandidate(q.Candidate)
}

// checkBounds lets nobody loosen a hard constraint.
func (s *Server) checkBounds(wanted map[string]float64) *Problem {
	for _, name := range sorted(wanted) {
		at := slices.IndexFunc(s.cfg.Bounds, func(b Bound) bool { return b.Name == name })
		if at < 0 {
			return unprocessable("constraints."+name, "", "there is no constraint %q", name)
		}
		b, x := s.cfg.Bounds[at], wanted[name]
		if math.IsNaN(x) || b.AtMost && x > b.Value || !b.AtMost && x < b.Value {
			word := "at least"
			if b.AtMost {
				word = "at most"
			}
			return unprocessable("constraints."+name, name, "%s must be %s %v (%s): a request may only be stricter", name, word, b.Value, b.Doc)
		}
	}
	return nil
}

// checkCandidate holds values against the declarations of their knobs.
func (s *Server) checkCandidate(values map[string]string) (c knob.Config, p *Problem) {
	if len(values) == 0 {
		return c, nil
	}
	if s.cfg.Set == nil {
		return c, unprocessable("candidate", "", "this window takes no candidate")
	}
	c = s.cfg.Set.Default()
	for _, name := range sorted(values) {
		if _, ok := s.cfg.Set.Lookup(name); !ok {
			return c, unprocessable("candidate."+name, "", "there is no knob %q: GET .../knobs lists them", name)
		}
		next, err := c.With(name, values[name])
		if err != nil {
			return c, unprocessable("candidate."+name, name, "%v", err)
		}
		c = next
	}
	return c, nil
}

func (s *Server) components() (names []string) {
	if s.cfg.Set == nil {
		return nil
	}
	for _, k := range s.cfg.Set.Knobs() {
		if !slices.Contains(names, k.Component()) {
			names = append(names, k.Component())
		}
	}
	slices.Sort(names)
	return names
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// optimize is POST /api/v3/ml/optimize.
func (s *Server) optimize(r *http.Request) (int, any) {
	var q OptimizeRequest
	if p := readBody(r, &q); p != nil {
		return p.Status, *p
	}
	candidate, p := s.check(&q)
	if p != nil {
		return p.Status, *p
	}
	return s.carryOut(r.Context(), Order{Kind: OrderOptimize, Reason: q.Trigger, Optimize: &q, Candidate: candidate})
}

// order is POST /api/v3/ml/optimize/{id}/{kind}.
func (s *Server) order(kind string) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		var q OrderRequest
		if p := readBody(r, &q); p != nil {
			return p.Status, *p
		}
		if len(q.Reason) > maxReason {
			p := unprocessable("reason", "", "reason: at most %d bytes", maxReason)
			return p.Status, *p
		}
		s.refresh()
		run, _, ok := partOf[Run](s.cfg.Board)
		if id := r.PathValue("id"); !ok || run.ID != id {
			return http.StatusNotFound, Problem{Status: http.StatusNotFound, Title: "no such run", Detail: "there is no run " + id + ": GET .../status tells the id", ActiveID: run.ID}
		}
		return s.carryOut(r.Context(), Order{Kind: kind, Run: run.ID, Reason: q.Reason})
	}
}

func (s *Server) carryOut(ctx context.Context, o Order) (int, any) {
	if s.cfg.Order == nil {
		return http.StatusConflict, Problem{Status: http.StatusConflict, Title: "takes no orders", Detail: "what this window shows takes no orders"}
	}
	receipt, err := s.cfg.Order(ctx, o)
	if refused := (*OrderError)(nil); errors.As(err, &refused) {
		return http.StatusConflict, Problem{Status: http.StatusConflict, Title: "not now", Detail: refused.Why, ActiveID: refused.Active}
	}
	if err != nil {
		s.cfg.Log.Error("an order was not carried out", "order", o.Kind, "error", err)
		return http.StatusInternalServerError, Problem{Status: http.StatusInternalServerError, Title: "failed", Detail: err.Error()}
	}
	s.stale()
	s.refresh() // pages see at once what came of it
	_, receipt.Seq = s.cfg.Board.counted()
	receipt.Order = o.Kind
	return http.StatusAccepted, receipt
}
