package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/tune"
	rules "github.com/shoalnet/shoal/tune/fleet"
	"github.com/shoalnet/shoal/web"
)

// fleetView shows what a fleet's coordinator does in the window of its node, and passes
// orders on.
type fleetView struct {
	head   *fleet.Coordinator
	preset tune.Preset
	began  time.Time
	id     string

	mu      sync.Mutex
	notes   []web.Note
	trigger string
	cycles  uint64
	counted [2]int // stage and cycles of the last cycle that was shown
}

// newFleetView returns the view of a contender, nil for a node that is none.
func newFleetView(head *fleet.Coordinator, preset string) *fleetView {
	if head == nil {
		return nil
	}
	p, err := tune.PresetNamed(preset)
	if err != nil {
		p = tune.Field()
	}
	now := time.Now().UTC()
	return &fleetView{head: head, preset: p, began: now, id: now.Format("20060102-150405"), counted: [2]int{-1, 0}}
}

// look brings the board up to date, and raises what a person should look at.
func (v *fleetView) look(b *web.Board, l *alarms) {
	if v == nil {
		return
	}
	s := v.head.Status()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.head.Entries(b.Last(web.Entry{})) {
		b.Append(entryOf(e))
		if e.Kind == tune.KindTrigger {
			v.trigger = e.Text
		}
	}
	v.cycle(b, &s)
	b.Put(v.run(&s))
	if set := dht.Knobs(); s.Standing == rules.Leading {
		raiseFleet(l, &s)
		good, _ := set.Parse(set.Default(), s.Changes) // the coordinator's own words
		b.Put(knobsOf(set, good, good))
	}
}

// cycle appends a cycle that was not yet shown.
func (v *fleetView) cycle(b *web.Board, s *fleet.Status) {
	r := s.Rollout
	if r == nil || r.Stage < 1 || r.Stage > len(r.Stages) {
		return
	}
	stage := &r.Stages[r.Stage-1]
	if now := [2]int{r.Stage, stage.Units}; stage.Units == 0 || stage.Ratio == nil || now == v.counted {
		return
	}
	v.counted = [2]int{r.Stage, stage.Units}
	v.cycles++
	b.Append(web.Cycle{
		N: v.cycles, Run: v.id, Hash: r.Candidate, At: time.Now().UTC(), Stage: r.Stage - 1, Share: stage.Share, Units: stage.Units,
		Ratio: bounded(*stage.Ratio, stage.Low, stage.High), Samples: stage.Samples,
	})
}

// run is the part Run.
func (v *fleetView) run(s *fleet.Status) web.Run {
	out := web.Run{
		ID: v.id, Phase: "watching", Said: v.said(s), Began: v.began, Trigger: v.trigger, Preset: v.preset.Name,
		FalseAlarms: &web.FalseAlarms{Harm: v.preset.HarmAlpha, Promote: v.preset.PromoteAlpha / 2},
		Changes:     []web.Change{}, Stages: []web.Stage{}, Orders: []string{}, Ordered: []string{}, Notes: append([]web.Note{}, v.notes...),
	}
	if s.Standing != rules.Leading {
		return out
	}
	out.RatePerS = measured(s.RatePerS)
	out.Incumbent = web.Setting{Hash: s.Good}
	if s.Changes == "" {
		out.Incumbent.Name = "default"
	}
	orders := []tune.Order{tune.OrderOptimize}
	switch s.State {
	case tune.ServiceStudying:
		out.Phase = "searching"
	case tune.ServiceRollout:
		out.Phase = "proving"
	case tune.ServiceSoaking:
		orders = append(orders, tune.OrderRollBack)
	case tune.ServiceIdle:
	}
	if r := s.Rollout; r != nil {
		out.Candidate = &web.Setting{Hash: r.Candidate}
		for _, c := range r.Changes {
			k, _ := dht.Knobs().Lookup(c.Name)
			out.Changes = append(out.Changes, web.Change{Knob: c.Name, From: c.From, To: c.To, Unit: k.Unit, Doc: k.Doc, Apply: k.Apply.String(), Scope: k.Scope.String()})
		}
		showRollout(&out, r)
		orders = append(orders, r.Takes...)
	}
	if !slices.Contains(orders, tune.OrderHold) && !slices.Contains(orders, tune.OrderResume) {
		orders = append(orders, tune.OrderHold) // of the next one
	}
	out.Orders = wordsOf(orders)
	return out
}

// said is how the fleet stands, in words.
func (*fleetView) said(s *fleet.Status) string {
	if s.Standing != rules.Leading {
		return "this node contends for the fleet's lease and does not hold it"
	}
	text := "coordinates " + strconv.Itoa(s.Peers) + " peers in term " + strconv.FormatUint(s.Term, 10)
	if s.Refusing > 0 {
		text += fmt.Sprintf("; %d refuse the candidate, one of them because %s", s.Refusing, s.Why)
	}
	return text
}

// order passes a person's order on.
func (v *fleetView) order(_ context.Context, o web.Order) (web.Receipt, error) {
	if o.Kind == web.OrderOptimize && (len(o.Optimize.Candidate) > 0 || len(o.Optimize.Constraints) > 0 || o.Optimize.Budget != nil) {
		return web.Receipt{}, orderRefused(v.id, "a fleet chooses candidate and budget by itself: shoal fleet order optimize --try NAME=VALUE names a candidate")
	}
	if err := v.head.Order(tune.Ordered{Order: orderWords[o.Kind], Reason: o.Reason}); err != nil {
		return web.Receipt{}, orderRefused(v.id, "%s", strings.TrimPrefix(err.Error(), "fleet: "))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	const kept = 16
	v.notes = append(v.notes, web.Note{At: time.Now().UTC(), Order: o.Kind, Reason: o.Reason})
	v.notes = v.notes[max(0, len(v.notes)-kept):]
	return web.Receipt{ID: v.id}, nil
}
