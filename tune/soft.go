package tune

import "fmt"

// Soft is a constraint on the use of a resource by the candidate. A candidate that
// is above the limit for some intervals in a row, or in the mean when it is to be
// promoted, is rolled back. Below that, excess has a price.
type Soft struct {
	Name     string  // memory, cpu or cost
	Limit    float64 // of the share that is used; of Relative ones of the growth over the baseline
	Relative bool
	// Price is how much worse, in the logarithm of the latency ratio, the mean excess
	// of 1 makes the candidate count.
	Price     float64
	Intervals int // in a row above the limit that roll back, at least 1
}

// DefaultSoft are the constraints of the auto-optimizer report: memory below 80 %,
// processors below 85 %, cost at most 10 % above the baseline's; three intervals in
// a row. A point of excess costs a point of latency.
func DefaultSoft() []Soft {
	return []Soft{
		{Name: "memory", Limit: 0.80, Price: 1, Intervals: 3},
		{Name: "cpu", Limit: 0.85, Price: 1, Intervals: 3},
		{Name: "cost", Limit: 0.10, Relative: true, Price: 1, Intervals: 3},
	}
}

// of returns what a constraint looks at.
func (c *Soft) of(u Use) float64 {
	switch c.Name {
	case "memory":
		return u.Memory
	case "cpu":
		return u.CPU
	default:
		return u.Cost
	}
}

// check says what is wrong with a constraint, nothing if nothing is.
func (c *Soft) check() string {
	switch {
	case c.Name != "memory" && c.Name != "cpu" && c.Name != "cost":
		return "want memory, cpu or cost"
	case !(c.Limit > 0):
		return fmt.Sprintf("limit %v: want more than 0", c.Limit)
	case !(c.Price >= 0):
		return fmt.Sprintf("price %v: want 0 or more", c.Price)
	case c.Intervals < 1:
		return fmt.Sprintf("%d intervals: want 1 or more", c.Intervals)
	}
	return ""
}

// maxSoft bounds the constraints of a preset.
const maxSoft = 3

// soft is how the constraints of a rollout stand.
type soft struct {
	baseline, tuned [maxSoft]average
	excess          [maxSoft]average
	row             [maxSoft]int // intervals in a row above the limit
	breach          string       // why the candidate must go; empty if it need not
}

type average struct {
	sum float64
	n   int
}

func (a *average) add(x float64) { a.sum, a.n = a.sum+x, a.n+1 }

// mean is 0 without data.
func (a *average) mean() float64 { return a.sum / float64(max(a.n, 1)) }

// add takes what an arm used in an interval. What was not measured changes nothing.
func (s *soft) add(constraints []Soft, arm Arm, u Use) {
	for i := range constraints {
		c := &constraints[i]
		x := c.of(u)
		if x == 0 {
			continue
		}
		if arm == Baseline {
			s.baseline[i].add(x)
			continue
		}
		s.tuned[i].add(x)
		over := s.over(c, i, x)
		s.excess[i].add(max(over, 0))
		if s.row[i]++; over <= 0 {
			s.row[i] = 0
		}
		if s.row[i] >= c.Intervals && s.breach == "" {
			s.breach = fmt.Sprintf("%s was above its limit of %s in %d intervals in a row, last %s", c.Name, c.limitText(), c.Intervals, s.useText(c, i, x))
		}
	}
}

// over is by how much a use is above the limit; of a relative one without a
// baseline it is not.
func (s *soft) over(c *Soft, i int, x float64) float64 {
	if !c.Relative {
		return x - c.Limit
	}
	if s.baseline[i].n == 0 {
		return 0
	}
	return x/s.baseline[i].mean() - 1 - c.Limit
}

// price is what the excess so far costs, in the logarithm of the ratio.
func (s *soft) price(constraints []Soft) (price float64) {
	for i := range constraints {
		price += constraints[i].Price * s.excess[i].mean()
	}
	return price
}

// above says which mean is above its limit, nothing if none is.
func (s *soft) above(constraints []Soft) string {
	for i := range constraints {
		c := &constraints[i]
		if s.tuned[i].n > 0 && s.over(c, i, s.tuned[i].mean()) > 0 {
			return fmt.Sprintf("%s is above its limit of %s: %s in the mean", c.Name, c.limitText(), s.useText(c, i, s.tuned[i].mean()))
		}
	}
	return ""
}

func (c *Soft) limitText() string {
	if c.Relative {
		return "+" + percent(c.Limit)
	}
	return percent(c.Limit)
}

func (s *soft) useText(c *Soft, i int, x float64) string {
	if c.Relative {
		return fmt.Sprintf("%+.3g %%", 100*(x/s.baseline[i].mean()-1))
	}
	return percent(x)
}

// SoftReport is how a constraint stands. Fields are null where nothing was
// measured.
type SoftReport struct {
	Name     string   `json:"name"`
	Limit    float64  `json:"limit"`
	Relative bool     `json:"relative"`
	Baseline *float64 `json:"baseline"` // means
	Tuned    *float64 `json:"tuned"`
	Headroom *float64 `json:"headroom"` // limit less use; below 0 it is breached
	Row      int      `json:"row"`      // intervals in a row above the limit
}

func (s *soft) report(constraints []Soft) []SoftReport {
	out := []SoftReport{}
	for i := range constraints {
		c := &constraints[i]
		r := SoftReport{Name: c.Name, Limit: c.Limit, Relative: c.Relative, Row: s.row[i]}
		if s.baseline[i].n > 0 {
			r.Baseline = number(s.baseline[i].mean())
		}
		if s.tuned[i].n > 0 {
			r.Tuned = number(s.tuned[i].mean())
			r.Headroom = number(-s.over(c, i, s.tuned[i].mean()))
		}
		out = append(out, r)
	}
	return out
}
