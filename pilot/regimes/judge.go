package regimes

import (
	"cmp"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// Result is what came of a comparison. Its JSON names are stable.
type Result struct {
	Price       float64   `json:"price_ms"`
	Peers       int       `json:"peers"`
	Lookups     int       `json:"lookups"` // of an epoch
	Seeds       int       `json:"seeds"`
	Worlds      []Outcome `json:"worlds"`
	Runs        []Run     `json:"runs"`
	Interrupted bool      `json:"interrupted,omitempty"`
}

// Outcome is what came of a world.
type Outcome struct {
	World     string     `json:"world"`
	About     string     `json:"about"`
	Epochs    int        `json:"epochs"`
	EpochMin  float64    `json:"epoch_min"`
	Menu      *Menu      `json:"menu"`
	Seeds     int        `json:"seeds"` // with which everybody ran
	Standings []Standing `json:"standings"`
}

// Standing is how an entrant did in a world, as means over the seeds.
type Standing struct {
	Entrant  string  `json:"entrant"`
	Cost     float64 `json:"cost_ms"`
	Regret   float64 `json:"regret_ms"`
	Recovery float64 `json:"recovery_min"`
	Changes  float64 `json:"changes_per_day"`
	// Gain is how much less it costs than Static, in percent, and its 95 % interval over
	// the seeds; Wins are the seeds in which it costs less.
	Gain     float64 `json:"gain_percent"`
	GainLow  float64 `json:"gain_low"`
	GainHigh float64 `json:"gain_high"`
	Wins     int     `json:"wins"`
	Losses   int     `json:"losses"`
	P        float64 `json:"p"` // of the sign test against Static, together with the others by Holm
}

// judge sums up the worlds in which all entrants have run.
func judge(cfg *Config, menus []*Menu, runs []Run, stopped bool) *Result {
	out := &Result{Price: cfg.Price, Peers: cfg.Peers, Lookups: cfg.Lookups, Seeds: cfg.Seeds, Runs: runs, Interrupted: stopped}
	for i, menu := range menus {
		w := &cfg.Worlds[i]
		by := map[string]map[int]Run{}
		for _, r := range runs {
			if r.World == w.Name {
				if by[r.Entrant] == nil {
					by[r.Entrant] = map[int]Run{}
				}
				by[r.Entrant][r.Seed] = r
			}
		}
		var seeds []int
		for seed := 1; seed <= cfg.Seeds; seed++ {
			if !slices.ContainsFunc(cfg.Entrants, func(e string) bool { _, ok := by[e][seed]; return !ok }) {
				seeds = append(seeds, seed)
			}
		}
		if len(seeds) == 0 {
			continue
		}
		o := Outcome{World: w.Name, About: w.About, Epochs: w.Epochs, EpochMin: w.Epoch.Minutes(), Menu: menu, Seeds: len(seeds)}
		for _, e := range cfg.Entrants {
			o.Standings = append(o.Standings, standing(w, by[e], by[Static], seeds))
		}
		together(o.Standings)
		slices.SortStableFunc(o.Standings, func(a, b Standing) int { return cmp.Compare(a.Cost, b.Cost) })
		out.Worlds = append(out.Worlds, o)
	}
	if len(out.Worlds) == 0 {
		return nil
	}
	return out
}

func standing(w *World, own, static map[int]Run, seeds []int) Standing {
	s := Standing{Entrant: own[seeds[0]].Entrant}
	n := float64(len(seeds))
	var gains []float64
	for _, seed := range seeds {
		r := own[seed]
		s.Cost += r.Cost / n
		s.Regret += r.Regret / n
		s.Recovery += r.Recovery * w.Epoch.Minutes() / n
		s.Changes += r.Changes / n
		gain := 100 * (1 - r.Cost/static[seed].Cost)
		gains = append(gains, gain)
		s.Gain += gain / n
		switch {
		case r.Cost < static[seed].Cost:
			s.Wins++
		case r.Cost > static[seed].Cost:
			s.Losses++
		}
	}
	variance := 0.0
	for _, g := range gains {
		variance += (g - s.Gain) * (g - s.Gain)
	}
	half := 0.0
	if len(gains) > 1 {
		half = stat.StudentQuantile(0.975, len(gains)-1) * math.Sqrt(variance/(n-1)/n)
	}
	s.GainLow, s.GainHigh = s.Gain-half, s.Gain+half
	return s
}

// together fills in the probabilities of the sign tests.
func together(standings []Standing) {
	var p []float64
	for _, s := range standings {
		if s.Entrant != Static {
			p = append(p, stat.SignTest(s.Wins, s.Losses))
		}
	}
	p = stat.Holm(p)
	for i := range standings {
		standings[i].P = 1
		if standings[i].Entrant != Static {
			standings[i].P, p = p[0], p[1:]
		}
	}
}
