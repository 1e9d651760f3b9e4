package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/web"
)

// putArms puts up what the arms did: in the stage under way, and at the end in the
// final table, which has intervals.
func (u *upWindow) putArms(b *web.Board, s *pilot.Snapshot) {
	if r := u.result; r != nil {
		arms := web.Arms{Metric: "latency of gets", During: "the whole run, lookups taken as independent"}
		for _, row := range []struct {
			name string
			m    *pilot.Measurement
		}{{"baseline", r.Baseline}, {"default", r.Default}, {"tuned", r.Tuned}} {
			if row.m != nil && row.m.LatencyMS.Low != nil {
				arms.Arms = append(arms.Arms, armOf(row.name, row.m))
			}
		}
		if len(arms.Arms) > 0 {
			b.Put(arms)
		}
		return
	}
	if s.Rollout == nil || len(s.Arms) == 0 || s.Rollout.Stage < 1 || s.Rollout.Stage > len(s.Rollout.Stages) {
		return
	}
	arms := web.Arms{Metric: "latency of gets", During: fmt.Sprintf("stage %d of the rollout; intervals of quantiles hold at every look, lookups taken as independent", s.Rollout.Stage)}
	for _, v := range s.Arms {
		if v.Samples > 0 {
			arms.Arms = append(arms.Arms, liveArm(&v))
		}
	}
	if len(arms.Arms) > 0 {
		b.Put(arms)
	}
}

// liveArm is an arm of a stage under way.
func liveArm(v *pilot.ArmView) web.Arm {
	arm := web.Arm{Name: v.Arm, Samples: int(v.Samples), Quantiles: []web.Quantile{}}
	for _, q := range v.Quantiles {
		// A quantile that not ten samples lie beyond is an anecdote.
		if (1-q.Q)*float64(v.Samples) >= 10 {
			arm.Quantiles = append(arm.Quantiles, web.Quantile{Q: q.Q, MS: bounded(q.MS, q.Low, q.High)})
		}
	}
	if v.MeanMS != nil {
		arm.Mean = new(estimate(*v.MeanMS))
	}
	if v.Success != nil {
		arm.Success = new(estimate(*v.Success))
	}
	return arm
}

// armOf is an arm of the final table.
func armOf(name string, m *pilot.Measurement) web.Arm {
	l := m.LatencyMS
	between := func(value, low, high float64) web.Estimate { return bounded(value, &low, &high) }
	half := 1.96 * m.MessagesError
	arm := web.Arm{
		Name: name, Config: m.Config, Samples: m.Samples,
		Quantiles: []web.Quantile{
			{Q: .5, MS: between(l.P50, l.Low.P50, l.High.P50)},
			{Q: .9, MS: estimate(l.P90)},
			{Q: .95, MS: between(l.P95, l.Low.P95, l.High.P95)},
			{Q: .99, MS: between(l.P99, l.Low.P99, l.High.P99)},
		},
		Mean:     new(between(l.Mean, l.Low.Mean, l.High.Mean)),
		Success:  new(between(m.SuccessRatio, m.SuccessLow, m.SuccessHigh)),
		Messages: new(between(m.MessagesPerLookup, m.MessagesPerLookup-half, m.MessagesPerLookup+half)),
	}
	if m.Seconds > 0 {
		arm.Entries, arm.BytesPerS, arm.Seconds = &m.Entries, &m.BytesPerS, &m.Seconds
		arm.CPUShare = new(m.CPUS / m.Seconds)
	}
	return arm
}

// limits are the constraints. What was not measured has no value, and does not hold.
func (u *upWindow) limits(s *pilot.Snapshot) web.Limits {
	bounds := u.bounds()
	scales := []float64{1, 0, 1, 1}
	units := []string{"times", "of lookups", "times", "times"}
	values := make([]*web.Estimate, len(bounds))
	if r := s.Rollout; r != nil {
		if e := r.Effect; e.Ratio != nil {
			values[0] = new(bounded(*e.Ratio, e.Low, e.High))
		}
		if c := r.Success; c.Baseline != nil && c.Tuned != nil {
			values[1] = new(bounded(*c.Tuned-*c.Baseline, c.Low, c.High))
		}
	}
	if r := u.result; r != nil && r.Tuned != nil && r.Baseline != nil {
		if r.Tuned.Seconds > 0 && r.Baseline.Entries > 0 {
			values[2] = new(estimate(r.Tuned.Entries / r.Baseline.Entries))
		}
		if r.Baseline.MessagesPerLookup > 0 {
			values[3] = new(estimate(r.Tuned.MessagesPerLookup / r.Baseline.MessagesPerLookup))
		}
	}
	out := web.Limits{}
	for i, b := range bounds {
		out.Limits = append(out.Limits, web.NewLimit(b, units[i], values[i], scales[i]))
	}
	return out
}

// watch is what a person should look at: one line for a cause.
func (u *upWindow) watch(s *pilot.Snapshot) web.Alarms {
	if s.Error != "" {
		u.alarms.raise("failed", critical, "The run failed: "+s.Error, 1)
	}
	down := 0
	for _, p := range u.live.Peers() {
		if !p.Up {
			down++
		}
	}
	if down > 0 && s.Phase != pilot.PhaseClosing && s.Phase != pilot.PhaseEnded {
		u.alarms.raise("down", critical, "Peers do not answer", down)
	}
	raiseRollout(&u.alarms, s.Rollout)
	if r := s.Rollout; r != nil && r.Repeats > 0 {
		u.alarms.raise("lag", warning, "Cycles were done again because this machine lagged: its own load hides the network's", r.Repeats)
	}
	if v := s.Service; v != nil {
		raiseUnusual(&u.alarms, v.Gauges)
	}
	return u.alarms.part()
}

// search is the part Search.
func (u *upWindow) search(v *pilot.SearchView) web.Search {
	out := web.Search{
		Family: pilot.DefaultFamily, Budget: v.Total, Done: v.Done, BaselineMS: v.BaseMS, BestMS: v.BestMS, Steps: []web.Progress{},
		Constraints: []string{
			fmt.Sprintf("at most %g times the incumbent's table entries", pilot.MaxEntries), "no more messages per lookup than the incumbent", "no lower success than half a point below the incumbent's",
		},
	}
	for _, step := range v.Steps {
		out.Steps = append(out.Steps, web.Progress{Evaluations: step.Evaluations, BestMS: step.BestMS})
	}
	if r := u.result; r != nil && r.Twin != nil {
		out.TwinP50MS, out.NetP50MS = &r.Twin.TwinP50MS, &r.Twin.MeasuredP50MS
	}
	return out
}

// putPeers puts up who there is, and how they are.
func (u *upWindow) putPeers(b *web.Board) {
	const fresh = 2 * time.Second // as old as the views may be anyway
	if time.Since(u.fleetAt) < fresh {
		return
	}
	u.fleetAt = time.Now()
	views := u.live.Peers()
	if len(views) == 0 {
		return
	}
	peers, fleet := web.Peers{}, web.Fleet{Runs: runsOf(views)}
	for _, v := range views {
		peers.Peers = append(peers.Peers, web.Peer{Name: v.Name, Site: v.Site, Lat: v.Lat, Lon: v.Lon, Located: v.Located})
		arm := 0
		if v.Arm == tune.Tuned.String() {
			arm = 1
		}
		fleet.Arm, fleet.Entries = append(fleet.Arm, arm), append(fleet.Entries, v.Members)
	}
	b.Put(peers)
	b.Put(fleet)
}

// runsOf counts the peers that are up by what they say they run.
func runsOf(views []pilot.PeerView) []web.Running {
	out := []web.Running{}
	for _, v := range views {
		if v.Config == "" {
			continue
		}
		i := slices.IndexFunc(out, func(r web.Running) bool { return r.Config == v.Config })
		if i < 0 {
			i = len(out)
			out = append(out, web.Running{Config: v.Config})
		}
		out[i].Peers++
	}
	slices.SortFunc(out, func(a, b web.Running) int { return cmp.Or(b.Peers-a.Peers, strings.Compare(a.Config, b.Config)) })
	return out
}

// putLookups puts up the newest lookups. Of a busy network they are a sample.
func (u *upWindow) putLookups(b *web.Board) {
	const glance = 8 // for each look; putting one into words takes 0.1 ms
	for _, v := range u.live.Lookups(glance) {
		if v.Number <= u.lookups {
			continue
		}
		u.lookups = v.Number
		b.Append(lookupOf(&v))
	}
}

func lookupOf(v *pilot.LookupView) web.Lookup {
	out := web.Lookup{
		N: v.Number, Op: v.Op, Peer: v.Caller, Key: v.Target, Began: v.Began.UTC(), TookMS: v.TookMS, Found: v.OK,
		Hops: v.Hops, Messages: v.Messages, Failures: v.Failures, Requests: []web.Hop{},
	}
	if v.Arm == tune.Tuned.String() {
		out.Arm = 1
	}
	for i, r := range v.Requests {
		if i == web.MaxHops {
			out.Cut = len(v.Requests) - i
			break
		}
		h := web.Hop{Peer: r.Peer, AskedMS: r.AskedMS, Hops: r.Hops, By: r.By, Why: r.Why, Outcome: r.Outcome, New: r.New}
		if r.EndedMS > 0 {
			h.EndedMS = new(r.EndedMS)
		}
		if r.PredictedMS > 0 {
			h.PredictedMS = new(r.PredictedMS)
		}
		out.Requests = append(out.Requests, h)
	}
	return out
}

// watchOf is the part Watch.
func watchOf(v *pilot.ServiceView) web.Watch {
	out := web.Watch{State: string(v.State), Peers: v.Peers, Waiting: []string{}, Gauges: []web.Gauge{}}
	for _, t := range v.Waiting {
		out.Waiting = append(out.Waiting, t.Text)
	}
	for _, g := range v.Gauges {
		row := web.Gauge{Name: g.Name, Value: g.Value, Limit: g.Limit}
		if g.Loss != 0 {
			row.Loss = new(g.Loss)
		}
		out.Gauges = append(out.Gauges, row)
	}
	return out
}
