package sim

import "math"

// Paired is how two configurations differ that met the same operations, in mean
// time.
type Paired struct {
	// Difference is the mean of the second less that of the first: negative where
	// the second is faster.
	Difference float64 `json:"paired_difference_ms"`
	PairedSE   float64 `json:"paired_se_ms"`   // standard error of Difference, operation by operation
	UnpairedSE float64 `json:"unpaired_se_ms"` // what it were with operations of their own for either
	// Ratio is UnpairedSE over PairedSE: what the common operations are worth. 0 if
	// the two do not differ in any.
	Ratio float64 `json:"ratio"`
	Pairs int     `json:"pairs"` // operations that were compared
}

// Pair compares values one by one, in milliseconds.
func Pair(first, second []float64) Paired {
	difference := make([]float64, len(first))
	for i := range first {
		difference[i] = second[i] - first[i]
	}
	p := Paired{PairedSE: standardError(difference), UnpairedSE: math.Hypot(standardError(first), standardError(second)), Pairs: len(first)}
	if len(first) > 0 {
		p.Difference = mean(difference)
	}
	if p.PairedSE > 0 {
		p.Ratio = p.UnpairedSE / p.PairedSE
	}
	return p
}

// standardError is that of the mean of independent values, 0 for fewer than two.
func standardError(v []float64) float64 {
	if len(v) < 2 {
		return 0
	}
	center, squares := mean(v), 0.0
	for _, x := range v {
		squares += float64((x - center) * (x - center))
	}
	n := float64(len(v))
	return math.Sqrt(squares / (n - 1) / n)
}
