package causal

import (
	"errors"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/stat"
)

// Unit is one observation: what it was like before, whether it was treated, and what
// came of it.
type Unit struct {
	Covariates []float64
	Treated    bool
	Outcome    float64
}

// Effect is the mean difference that a treatment makes.
type Effect struct {
	Mean      float64 `json:"mean"`
	SE        float64 `json:"se"`
	Low       float64 `json:"low"` // 95 % interval
	High      float64 `json:"high"`
	Units     int     `json:"units"`
	Clipped   int     `json:"clipped"`     // units whose chance of treatment was outside [1 %, 99 %] and was moved there
	Effective float64 `json:"ess_treated"` // treated units that equally weighted ones would be worth
}

const (
	folds    = 2
	leastArm = 10   // units of an arm in a fold
	overlap  = 0.01 // least chance of either arm
	// ridge keeps the regressions solvable when covariates repeat each other. It is
	// of no account beside as many units as leastArm asks for.
	ridge = 1e-6
)

// Estimate returns the average effect of a treatment by augmented inverse propensity
// weighting (Robins, Rotnitzky and Zhao, JASA 89, 1994): it is right where either the
// chance of treatment follows a logistic model of the covariates, or the outcome of
// each arm a linear one. Both are fitted on the other half of the units (cross-fitting:
// Chernozhukov et al., Econometrics Journal 21, 2018), taken in turn. The covariates
// should be a back-door set. The error says what is missing.
func Estimate(units []Unit) (Effect, error) {
	if len(units) == 0 {
		return Effect{}, errors.New("causal: no units")
	}
	dims := len(units[0].Covariates)
	for i, u := range units {
		if len(u.Covariates) != dims || !finite(append([]float64{u.Outcome}, u.Covariates...)) {
			return Effect{}, fmt.Errorf("causal: unit %d: want %d finite covariates and a finite outcome", i, dims)
		}
	}
	e := Effect{Units: len(units)}
	scores := make([]float64, len(units))
	var weight, squares float64
	for fold := range folds {
		var train []Unit
		for i, u := range units {
			if i%folds != fold {
				train = append(train, u)
			}
		}
		f, err := fitNuisance(train)
		if err != nil {
			return Effect{}, err
		}
		for i := fold; i < len(units); i += folds {
			score, w, clipped := f.score(units[i])
			scores[i] = score
			weight, squares = weight+w, squares+w*w
			if clipped {
				e.Clipped++
			}
		}
	}
	n := float64(len(scores))
	for _, s := range scores {
		e.Mean += s / n
	}
	for _, s := range scores {
		e.SE += (s - e.Mean) * (s - e.Mean)
	}
	e.SE = math.Sqrt(e.SE / (n - 1) / n)
	e.Low, e.High = e.Mean-1.96*e.SE, e.Mean+1.96*e.SE
	if squares > 0 {
		e.Effective = weight * weight / squares
	}
	return e, nil
}

// nuisance is what has to be known besides the effect.
type nuisance struct {
	chance []float64    // logistic coefficients of treatment
	mean   [2][]float64 // linear ones of the outcome, by arm
}

func fitNuisance(units []Unit) (f nuisance, err error) {
	var arms [2][][]float64
	var outcomes [2][]float64
	var rows [][]float64
	var treated []float64
	for _, u := range units {
		row := append([]float64{1}, u.Covariates...)
		arm := 0
		if u.Treated {
			arm = 1
		}
		arms[arm], outcomes[arm] = append(arms[arm], row), append(outcomes[arm], u.Outcome)
		rows, treated = append(rows, row), append(treated, float64(arm))
	}
	for arm := range arms {
		if len(arms[arm]) < leastArm {
			return f, fmt.Errorf("causal: %d units of one arm in half of the data: want %d or more", len(arms[arm]), leastArm)
		}
		f.mean[arm] = leastSquares(arms[arm], outcomes[arm])
	}
	f.chance = logistic(rows, treated)
	return f, nil
}

// score is a unit's influence on the estimate, and its weight if it was treated.
func (f *nuisance) score(u Unit) (score, weight float64, clipped bool) {
	row := append([]float64{1}, u.Covariates...)
	p := sigmoid(dot(f.chance, row))
	if q := min(max(p, overlap), 1-overlap); q != p {
		p, clipped = q, true
	}
	without, with := dot(f.mean[0], row), dot(f.mean[1], row)
	score = with - without
	if u.Treated {
		return score + (u.Outcome-with)/p, 1 / p, clipped
	}
	return score - (u.Outcome-without)/(1-p), 0, clipped
}

// leastSquares returns the coefficients of a linear regression.
func leastSquares(rows [][]float64, y []float64) []float64 {
	d := len(rows[0])
	gram, moment := matrix(d, d), make([]float64, d)
	for i, row := range rows {
		addOuter(gram, row, 1)
		for k, x := range row {
			moment[k] += float64(x * y[i])
		}
	}
	return solve(loaded(gram), moment)
}

// logistic returns the coefficients of a logistic regression, by Newton's method with
// halved steps.
func logistic(rows [][]float64, y []float64) []float64 {
	d := len(rows[0])
	beta := make([]float64, d)
	loss := func(beta []float64) float64 {
		sum := 0.0
		for i, row := range rows {
			z := dot(beta, row)
			sum += max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) - float64(y[i]*z)
		}
		return sum + ridge*dot(beta, beta)
	}
	at := loss(beta)
	for range 50 {
		gram, gradient := matrix(d, d), make([]float64, d)
		for i, row := range rows {
			p := sigmoid(dot(beta, row))
			addOuter(gram, row, p*(1-p))
			for k, x := range row {
				gradient[k] += float64(x * (y[i] - p))
			}
		}
		for k := range gradient {
			gradient[k] -= 2 * ridge * beta[k]
		}
		step := solve(loaded(gram), gradient)
		next, size := make([]float64, d), 1.0
		for ; size > 1e-6; size /= 2 {
			for k := range next {
				next[k] = beta[k] + float64(size*step[k])
			}
			if loss(next) <= at {
				break
			}
		}
		now := loss(next)
		if size <= 1e-6 || at-now < 1e-10 {
			break
		}
		beta, at = next, now
	}
	return beta
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// Contrast estimates how much a formula differs between two settings of its variables,
// from a sample of discrete rows: it puts in the shares that were seen, and resamples
// rows to find the standard error (bootstrap: Efron, Annals of Statistics 7, 1979). The
// interval is normal. Rows have a value for each variable of the graph, below its size.
func Contrast(f *Formula, sizes []int, rows [][]int, from, to []int, resamples int, draw *stat.Stream) (Effect, error) {
	if len(rows) < 2 || resamples < 2 {
		return Effect{}, fmt.Errorf("causal: %d rows and %d resamples: want 2 or more of each", len(rows), resamples)
	}
	cells := make([]int, len(rows))
	count := 1
	for _, n := range sizes {
		count *= n
	}
	for i, row := range rows {
		if len(row) != len(sizes) {
			return Effect{}, fmt.Errorf("causal: row %d has %d values: want %d", i, len(row), len(sizes))
		}
		for v, x := range row {
			if x < 0 || x >= sizes[v] {
				return Effect{}, fmt.Errorf("causal: row %d: value %d: want below %d", i, x, sizes[v])
			}
			cells[i] = cells[i]*sizes[v] + x
		}
	}
	contrast := func(pick func(i int) int) (float64, error) {
		weights := make([]float64, count)
		for i := range cells {
			weights[cells[pick(i)]]++
		}
		t, err := NewTable(sizes, weights)
		if err != nil {
			return 0, err
		}
		d := t.Evaluate(f, to) - t.Evaluate(f, from)
		if math.IsNaN(d) {
			return 0, errors.New("causal: a combination that the formula needs was never seen: give more rows")
		}
		return d, nil
	}
	mean, err := contrast(func(i int) int { return i })
	if err != nil {
		return Effect{}, err
	}
	sum, squares := 0.0, 0.0
	for range resamples {
		d, err := contrast(func(int) int { return draw.IntN(len(cells)) })
		if err != nil {
			return Effect{}, err
		}
		sum, squares = sum+(d-mean), squares+(d-mean)*(d-mean)
	}
	n := float64(resamples)
	se := math.Sqrt(max(0, squares-sum*sum/n) / (n - 1))
	return Effect{Mean: mean, SE: se, Low: mean - 1.96*se, High: mean + 1.96*se, Units: len(rows)}, nil
}
