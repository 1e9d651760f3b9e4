package race

import (
	"cmp"
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// Result is a race's outcome. Its JSON names are stable.
type Result struct {
	Budget    int        `json:"budget_lookups"`
	Fidelity  int        `json:"fidelity_lookups"`
	Seeds     int        `json:"seeds"`
	Standings []Standing `json:"standings"` // over all problems, the best first
	// P is Friedman's probability of standings as unequal if nobody were better.
	P float64 `json:"friedman_p"`
	// CriticalDifference is how far mean ranks must be apart to differ at 5 %, every
	// pair considered; 0 where that is not tabled.
	CriticalDifference float64 `json:"critical_difference"`
	Problems           []Field `json:"problems"`
	Runs               []Run   `json:"runs"`
}

// Standing is how an entrant did.
type Standing struct {
	Entrant  string  `json:"entrant"`
	MeanRank float64 `json:"mean_rank"` // by area, over problems and seeds; 1 is best
	Area     float64 `json:"area"`      // median
	Final    float64 `json:"final"`     // median of the volume at the end
	OwnMS    float64 `json:"own_ms"`    // median
}

// Field is the outcome on one problem.
type Field struct {
	Problem   string     `json:"problem"`
	Standings []Standing `json:"standings"`
	Champion  string     `json:"champion"` // the default where it takes part, else the best
	Duels     []Duel     `json:"duels"`    // the champion against each other, by the volume at the end
}

// Duel compares the best entrant with another, seed by seed, by the volume at the end.
type Duel struct {
	Against string  `json:"against"`
	Wins    int     `json:"wins"`
	Losses  int     `json:"losses"`
	P       float64 `json:"p"` // of the sign test, together with the others by Holm
}

// judge ranks the entrants.
func judge(cfg Config, runs []Run) *Result {
	out := &Result{Budget: cfg.Budget, Fidelity: cfg.Fidelity, Seeds: cfg.Seeds, Runs: runs}
	var rows [][]float64
	for _, p := range cfg.Problems {
		of := rowsOf(cfg, runs, p.Name)
		rows = append(rows, of...)
		field := Field{Problem: p.Name, Standings: standings(cfg.Entrants, of, runs, func(r Run) bool { return r.Problem == p.Name })}
		champion := field.Standings[0].Entrant
		if slices.Contains(cfg.Entrants, Default) {
			champion = Default
		}
		field.Champion, field.Duels = champion, duels(cfg, runs, p.Name, champion)
		out.Problems = append(out.Problems, field)
	}
	out.Standings = standings(cfg.Entrants, rows, runs, func(Run) bool { return true })
	_, out.P = stat.Friedman(rows)
	if cd := stat.CriticalDifference(len(cfg.Entrants), len(rows)); !math.IsNaN(cd) {
		out.CriticalDifference = cd
	}
	return out
}

// rowsOf returns the negative areas of a problem: a row for each seed, a column for
// each entrant.
func rowsOf(cfg Config, runs []Run, problem string) [][]float64 {
	rows := make([][]float64, cfg.Seeds)
	for _, r := range runs {
		if r.Problem == problem {
			rows[r.Seed-1] = append(rows[r.Seed-1], -r.Area) // runs are in the order of entrants
		}
	}
	return rows
}

func standings(entrants []string, rows [][]float64, runs []Run, of func(Run) bool) []Standing {
	ranks, _ := stat.Friedman(rows)
	var out []Standing
	for i, name := range entrants {
		var areas, finals, own []float64
		for _, r := range runs {
			if r.Entrant == name && of(r) {
				areas, finals, own = append(areas, r.Area), append(finals, r.Final()), append(own, r.OwnMS)
			}
		}
		out = append(out, Standing{name, ranks[i], Median(areas), Median(finals), Median(own)})
	}
	slices.SortStableFunc(out, func(a, b Standing) int { return cmp.Compare(a.MeanRank, b.MeanRank) })
	return out
}

// Median returns the middle of values, or the mean of the two in the middle. It needs
// one at least.
func Median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[n/2] + values[(n-1)/2]) / 2
}

// duels compares one entrant with all others on a problem.
func duels(cfg Config, runs []Run, problem, champion string) []Duel {
	final := map[string]map[int]float64{}
	for _, r := range runs {
		if r.Problem == problem {
			if final[r.Entrant] == nil {
				final[r.Entrant] = map[int]float64{}
			}
			final[r.Entrant][r.Seed] = r.Final()
		}
	}
	var out []Duel
	var p []float64
	for _, name := range cfg.Entrants {
		if name == champion {
			continue
		}
		d := Duel{Against: name}
		for seed, mine := range final[champion] {
			switch theirs := final[name][seed]; {
			case mine > theirs:
				d.Wins++
			case mine < theirs:
				d.Losses++
			}
		}
		out = append(out, d)
		p = append(p, stat.SignTest(d.Wins, d.Losses))
	}
	for i, together := range stat.Holm(p) {
		out[i].P = together
	}
	return out
}
