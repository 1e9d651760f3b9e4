package web

import (
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The paths of the API.
const (
	apiRoot         = "/api/v3"
	mlRoot          = apiRoot + "/ml/optimize"
	DescriptionPath = apiRoot + "/openapi.json" // DescriptionPath is where the OpenAPI document is
)

// route is one operation of the API. Handlers and description both come from it.
type route struct {
	method  string
	path    string
	id      string // of the operation
	summary string
	params  []param
	body    reflect.Type // of a request, nil for none
	reply   reflect.Type // of the answer, nil where it is no JSON
	status  int          // of the answer
	media   string       // where it is no JSON
	handler http.HandlerFunc
}

// param is a parameter of a query or header.
type param struct {
	name, in, doc string
	kind          string // integer or string
}

// The parameters that operations share.
var (
	afterParam = param{"after", "query", "number after which to begin", "integer"}
	limitParam = param{"limit", "query", "items at most, 1 to 1000", "integer"}
	idParam    = param{"id", "query", "of a run; only the present one is known", "string"}
	keyParam   = param{"Idempotency-Key", "header", "the same key gets the same answer, and is carried out once", "string"}
)

// routes is the whole API.
func (s *Server) routes() []route {
	list := []route{
		{
			method: http.MethodPost, path: mlRoot, id: "optimize", summary: "Look for a better configuration", params: []param{keyParam},
			body: reflect.TypeFor[OptimizeRequest](), reply: reflect.TypeFor[Receipt](), status: http.StatusAccepted, handler: s.posted(s.optimize),
		},
		read[Run](s, mlRoot+"/status", "status", "Where the run stands", "no run has begun", idParam),
		{
			method: http.MethodGet, path: mlRoot + "/recommendations", id: "recommendations", summary: "What the run would change, and what is known of the effect",
			params: []param{{"component", "query", "of the knobs", "string"}}, reply: reflect.TypeFor[Reply[List[Recommendation]]](), status: http.StatusOK, handler: s.recommendations,
		},
		{
			method: http.MethodGet, path: mlRoot + "/statistics", id: "statistics", summary: "What the journal counts",
			reply: reflect.TypeFor[Reply[Tally]](), status: http.StatusOK, handler: s.statistics,
		},
		{
			method: http.MethodGet, path: mlRoot + "/sensitivity", id: "sensitivity", summary: "How the score moves with each knob",
			params: []param{{"knob", "query", "only this one", "string"}}, reply: reflect.TypeFor[Reply[Sensitivity]](), status: http.StatusOK, handler: s.sensitivity,
		},
		read[Arms](s, mlRoot+"/arms", "arms", "What the configurations did on the network", "no arm has a sample", idParam),
		read[Knobs](s, mlRoot+"/knobs", "knobs", "Every tunable with its values", "nothing that is tuned is shown"),
		read[Search](s, mlRoot+"/search", "search", "How the search on the twin comes on", "nothing was searched"),
		read[Front](s, mlRoot+"/front", "front", "The evaluations of which none is better in everything", "nothing was searched"),
		read[Limits](s, mlRoot+"/constraints", "constraints", "The constraints and how far they are", "no run has begun"),
		read[Watch](s, mlRoot+"/watch", "watch", "What a service looks out for, and how near that is to a reason", "no service runs"),
		read[Race](s, mlRoot+"/race", "race", "How the learners of a study do, and who won by how much", "no study has begun"),
		read[Library](s, mlRoot+"/library", "library", "What earlier studies said at the beginning of this one", "no study has begun"),
		read[Forecasts](s, mlRoot+"/forecasts", "forecasts", "What is foreseen of metrics and load", "no service runs"),
		read[Holdout](s, mlRoot+"/holdout", "holdout", "All changes together against those that keep the first configuration", "nobody is held out"),
		list[Cost](s, mlRoot+"/costs", "costs", "What an operation cost, interval by interval", "nothing was measured"),
		list[Entry](s, mlRoot+"/history", "history", "The journal", "nothing was written"),
		list[Cycle](s, mlRoot+"/cycles", "cycles", "Where the rollout stood after each of its cycles", "no cycle has ended"),
		list[Trial](s, mlRoot+"/trials", "trials", "What the search evaluated", "nothing was evaluated"),
		{
			method: http.MethodGet, path: mlRoot + "/events", id: "events", summary: "All changes as they happen, as server-sent events",
			params: []param{{"Last-Event-ID", "header", "of the last event that was seen, to go on behind it", "string"}}, status: http.StatusOK, media: "text/event-stream", handler: s.stream,
		},
		read[Subject](s, apiRoot+"/subject", "subject", "What the window looks at", "nothing is shown yet"),
		read[Peers](s, apiRoot+"/peers", "peers", "The peers of the network and where they are", "the peers are not known"),
		read[Fleet](s, apiRoot+"/fleet", "fleet", "How the peers are now", "the peers are not known"),
		read[Shape](s, apiRoot+"/shape", "shape", "The size of every bucket before and after", "no shape is known"),
		read[Alarms](s, apiRoot+"/alarms", "alarms", "What a person should look at", "nobody looks out for anything"),
		read[Health](s, apiRoot+"/health", "health", "How the peer is", "the window does not show a peer"),
		read[Table](s, apiRoot+"/table", "table", "The peer's routing table by bucket", "the window does not show a peer"),
		list[Lookup](s, apiRoot+"/lookups", "lookups", "The last lookups, hop by hop", "no lookup has ended"),
		list[TableChange](s, apiRoot+"/changes", "changes", "The last changes of the peer's table", "the table has not changed"),
		list[Sample](s, apiRoot+"/samples", "samples", "How the peer was of late", "nobody has looked yet"),
		{
			method: http.MethodGet, path: DescriptionPath, id: "description", summary: "This document",
			status: http.StatusOK, media: "application/json", handler: s.describe,
		},
		{
			method: http.MethodGet, path: "/metrics", id: "metrics", summary: "Metrics in Prometheus' text format",
			status: http.StatusOK, media: "text/plain", handler: s.metrics().ServeHTTP,
		},
	}
	for _, kind := range orderKinds {
		list = append(list, route{
			method: http.MethodPost, path: mlRoot + "/{id}/" + kind, id: kind, summary: orderDocs[kind], params: []param{keyParam},
			body: reflect.TypeFor[OrderRequest](), reply: reflect.TypeFor[Receipt](), status: http.StatusAccepted, handler: s.posted(s.order(kind)),
		})
	}
	return list
}

var orderDocs = map[string]string{
	OrderPause:    "Hold the run: nothing goes on until it is resumed",
	OrderResume:   "Go on after a hold",
	OrderRollback: "Return to the incumbent everywhere, in every state",
	OrderPromote:  "Keep the candidate without waiting for the proof",
	OrderApprove:  "Go through the gate that waits for a person",
}

// handler is the whole server.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.method+" "+r.path, r.handler)
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(probe); method != r.Method && pattern != "/api/" {
				w.Header().Set("Allow", method)
				refuse(w, Problem{Status: http.StatusMethodNotAllowed, Title: "wrong method", Detail: r.URL.Path + " takes " + method})
				return
			}
		}
		refuse(w, Problem{Status: http.StatusNotFound, Title: "no such path", Detail: "see " + DescriptionPath})
	})
	mux.Handle("/", pageHandler())
	return s.guard(mux)
}

// read is the route that tells a part.
func read[P Part](s *Server, path, id, summary, missing string, params ...param) route {
	return route{
		method: http.MethodGet, path: path, id: id, summary: summary, params: params, reply: reflect.TypeFor[Reply[P]](), status: http.StatusOK,
		handler: func(w http.ResponseWriter, r *http.Request) {
			s.refresh()
			p, seq, ok := partOf[P](s.cfg.Board)
			if want := r.URL.Query().Get("id"); want != "" {
				if run, _, _ := partOf[Run](s.cfg.Board); run.ID != want {
					refuse(w, Problem{Status: http.StatusNotFound, Title: "no such run", Detail: "only the present run is known", ActiveID: run.ID})
					return
				}
			}
			answer(w, http.StatusOK, replyOf(p, seq, ok, missing))
		},
	}
}

func replyOf[T any](data T, seq uint64, ok bool, missing string) Reply[T] {
	reply := Reply[T]{State: stateNoData, Seq: seq, At: time.Now().UTC(), Why: missing}
	if ok {
		reply.State, reply.Why, reply.Data = stateOK, "", &data
	}
	return reply
}

// list is the route that tells the items of a stream.
func list[I Item](s *Server, path, id, summary, missing string) route {
	return route{
		method: http.MethodGet, path: path, id: id, summary: summary, params: []param{afterParam, limitParam},
		reply: reflect.TypeFor[Reply[List[I]]](), status: http.StatusOK,
		handler: func(w http.ResponseWriter, r *http.Request) {
			after, limit, p := paging(r)
			if p != nil {
				refuse(w, *p)
				return
			}
			s.refresh()
			items, more, seq := itemsOf[I](s.cfg.Board, after, limit)
			page := List[I]{Items: items}
			if more {
				page.Next = items[len(items)-1].number()
			}
			why := missing
			if after > 0 && len(items) == 0 {
				why = "nothing follows"
			}
			answer(w, http.StatusOK, replyOf(page, seq, len(items) > 0, why))
		},
	}
}

// paging reads after and limit.
func paging(r *http.Request) (after uint64, limit int, p *Problem) {
	const usual, most = 100, 1000
	q := r.URL.Query()
	limit = usual
	var err error
	if text := q.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 63); err != nil {
			return 0, 0, unprocessable("after", "", "after %q: want a whole number from 0", text)
		}
	}
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > most {
			return 0, 0, unprocessable("limit", "", "limit %q: want 1 to %d", text, most)
		}
	}
	return after, limit, nil
}

// posted is the handler of an order.
func (s *Server) posted(do func(*http.Request) (int, any)) http.HandlerFunc {
	do = s.carriedOnce(do)
	return func(w http.ResponseWriter, r *http.Request) {
		status, reply := do(r)
		if p, ok := reply.(Problem); ok {
			refuse(w, p)
			return
		}
		answer(w, status, reply)
	}
}

// Recommendation is one knob that the candidate would set otherwise. The effect is
// that of all its changes together: they were tried jointly.
type Recommendation struct {
	Knob       string    `json:"knob"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Joint      int       `json:"joint" doc:"changes that were tried together, of which the effect is"`
	Effect     *Estimate `json:"effect" doc:"ratio of latencies, null before the first cycle"`
	N          int       `json:"n" doc:"samples of the candidate"`
	Cost       *float64  `json:"cost_entries_ratio" doc:"table entries over the incumbent's, null where nobody counted"`
	Risk       string    `json:"risk" enum:"request,node,network" doc:"whom the change touches"`
	Reversible bool      `json:"reversible" doc:"at once, without a restart"`
	State      string    `json:"state" enum:"proposed,proving,promoted,rejected"`
}

// recommendations tells the changes of the candidate.
func (s *Server) recommendations(w http.ResponseWriter, r *http.Request) {
	s.refresh()
	run, seq, _ := partOf[Run](s.cfg.Board)
	arms, _, _ := partOf[Arms](s.cfg.Board)
	component := r.URL.Query().Get("component")
	var out []Recommendation
	for _, c := range run.Changes {
		if component != "" && component != componentOf(c.Knob) {
			continue
		}
		rec := Recommendation{
			Knob: c.Knob, From: c.From, To: c.To, Joint: len(run.Changes), Cost: arms.cost(),
			Risk: c.Scope, Reversible: c.Apply == "hot", State: run.verdict(),
		}
		if run.Effect != nil {
			rec.Effect, rec.N = &run.Effect.Ratio, run.Effect.NCandidate
		}
		out = append(out, rec)
	}
	answer(w, http.StatusOK, replyOf(List[Recommendation]{Items: out}, seq, len(out) > 0, "there is no candidate"))
}

func (r *Run) verdict() string {
	switch {
	case r.Decision == "promoted":
		return "promoted"
	case r.Decision != "":
		return "rejected"
	case len(r.Stages) > 0:
		return "proving"
	}
	return "proposed"
}

// cost is how many times the entries of the baseline the candidate has.
func (a *Arms) cost() *float64 {
	var entries [2]*float64
	for _, arm := range a.Arms {
		switch arm.Name {
		case "baseline":
			entries[0] = arm.Entries
		case "tuned":
			entries[1] = arm.Entries
		}
	}
	if entries[0] == nil || entries[1] == nil || *entries[0] == 0 {
		return nil
	}
	ratio := *entries[1] / *entries[0]
	return &ratio
}

func componentOf(name string) string {
	for i := range name {
		if name[i] == '.' {
			return name[:i]
		}
	}
	return name
}

// statistics tells what the journal counts.
func (s *Server) statistics(w http.ResponseWriter, _ *http.Request) {
	s.refresh()
	tally, seq := s.cfg.Board.counted()
	answer(w, http.StatusOK, replyOf(tally, seq, tally.Entries > 0, "the journal is empty"))
}

// sensitivity tells the effects of all knobs, or of one.
func (s *Server) sensitivity(w http.ResponseWriter, r *http.Request) {
	s.refresh()
	all, seq, ok := partOf[Sensitivity](s.cfg.Board)
	missing := "nothing was evaluated"
	if name := r.URL.Query().Get("knob"); name != "" && ok {
		all.Knobs = slices.DeleteFunc(slices.Clone(all.Knobs), func(k KnobEffects) bool { return k.Knob != name })
		all.Causes = slices.DeleteFunc(slices.Clone(all.Causes), func(c Cause) bool { return c.Knob != name })
		ok, missing = len(all.Knobs)+len(all.Causes) > 0, "no trial and no rollout moved "+name
	}
	answer(w, http.StatusOK, replyOf(all, seq, ok, missing))
}

// metrics serves those of whoever made the window, and its own.
func (s *Server) metrics() http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(collector{s})
	all := prometheus.Gatherers{own}
	if s.cfg.Metrics != nil {
		all = append(all, s.cfg.Metrics)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
