package opt

// ParentScores returns the scores of the parents that NSGA-III would breed from
// next.
func ParentScores(o Optimizer) [][]float64 {
	n := o.(*nsga3)
	var scores [][]float64
	for _, one := range n.survivors(append(n.parents, n.brood...)) {
		if one.scores != nil {
			scores = append(scores, one.scores)
		}
	}
	return scores
}
