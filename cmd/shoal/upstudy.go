package main

import (
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/web"
)

// putStudy puts up what a service does beside a rollout: the race of learners, the
// library, forecasts, the holdout and costs.
func (u *upWindow) putStudy(b *web.Board, s *pilot.Snapshot) {
	if v := s.Race; v != nil {
		b.Put(raceOf(v))
		if v.Library.Site != "" { // a run that goes round once has none
			b.Put(u.library(&v.Library))
		}
	}
	if v := s.Service; v != nil {
		b.Put(forecastsOf(v))
		if h := v.Holdout; h.Peers > 0 {
			out := web.Holdout{Peers: h.Peers, Frozen: h.Frozen, Config: h.Config, Before: h.Before, After: h.After, Text: h.Text()}
			if h.Ratio != nil {
				out.Ratio = new(bounded(*h.Ratio, h.Low, h.High))
			}
			b.Put(out)
		}
	}
	for _, c := range u.live.Costs(int(b.Last(web.Cost{}))) {
		b.Append(web.Cost{
			N: uint64(c.Number), At: c.At.UTC(), Config: c.Config, Operations: c.Operations, MeanMS: c.MeanMS, Success: c.Success,
			Messages: c.Messages, Bytes: c.Bytes, CPUMS: c.CPUMS,
		})
	}
}

func raceOf(v *pilot.RaceView) web.Race {
	out := web.Race{
		Study: v.Study, Phase: v.Race.Phase, Spent: v.Race.Spent, Planned: v.Race.Planned, Winner: v.Race.Winner, Why: v.Why,
		Racers: []web.Racer{}, Episodes: []web.Episode{},
	}
	for _, r := range v.Race.Racers {
		racer := web.Racer{Name: r.Name, Evaluations: r.Measurements, Curve: []web.CurvePoint{}, Config: r.Hash, Chosen: r.Chosen}
		for _, p := range r.Curve {
			racer.Curve = append(racer.Curve, web.CurvePoint{N: p.N, Best: p.Best})
		}
		if e := r.Effect; e != nil {
			racer.Effect, racer.N, racer.Penalty = new(bounded(e.Ratio, &e.Low, &e.High)), e.N, e.Penalty
		}
		out.Racers = append(out.Racers, racer)
	}
	for _, e := range v.Race.Episodes {
		out.Episodes = append(out.Episodes, web.Episode{N: e.N, Epsilon: e.Epsilon, Reward: e.Reward, Steps: e.Steps, Loss: e.Loss})
	}
	return out
}

func (u *upWindow) library(l *pilot.LibraryView) web.Library {
	out := web.Library{
		Site: l.Site, Studies: l.Studies, Workload: l.Fingerprint.String(), Matches: []web.Match{}, Starts: []web.Start{}, Order: []web.Standing{},
	}
	for _, m := range l.Matches {
		match := web.Match{Site: m.Site, Study: m.Study, At: time.Unix(m.AtUnix, 0).UTC(), Distance: m.Distance, Winner: m.Winner}
		for _, f := range m.Found {
			if match.Best == nil || f.Ratio < match.Best.Value {
				match.Best = new(bounded(f.Ratio, &f.Low, &f.High))
			}
		}
		out.Matches = append(out.Matches, match)
	}
	for _, s := range l.Starts {
		start := web.Start{Ratio: s.Ratio, Sites: s.Sites, Distance: s.Distance}
		if parsed, err := u.cfg.Baseline.Set().Parse(u.cfg.Baseline, s.Config); err == nil {
			start.Changes = len(knob.Diff(u.cfg.Baseline, parsed))
		}
		out.Starts = append(out.Starts, start)
	}
	for _, s := range l.Order {
		out.Order = append(out.Order, web.Standing{Name: s.Name, Studies: s.Studies, Gain: s.Gain})
	}
	return out
}

func forecastsOf(v *pilot.ServiceView) web.Forecasts {
	out := web.Forecasts{IntervalS: v.IntervalS, Forecasts: []web.Forecast{}}
	for _, f := range v.Forecasts {
		w := web.Forecast{Name: f.Name, Horizon: f.Horizon, Limit: f.Limit, InRow: f.InRow}
		if f.Ready {
			w.Now, w.Ahead = new(f.Now), new(bounded(f.Ahead, &f.Low, &f.High))
		}
		out.Forecasts = append(out.Forecasts, w)
	}
	return out
}
