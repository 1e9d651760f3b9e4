package learn

import (
	"fmt"
	"math"
)

// MSE returns the mean of the squares of y-want over all numbers, and writes its
// gradient to dy, which may be y.
func MSE(dy, y, want Mat) float32 {
	want.mustHave("want", y.Rows, y.Cols)
	dy.mustHave("dy", y.Rows, y.Cols)
	sum, scale := float32(0), 2/float32(len(y.Data))
	for i, v := range y.Data {
		d := v - want.Data[i]
		sum += float32(d * d)
		dy.Data[i] = float32(scale * d)
	}
	return sum / float32(len(y.Data))
}

// Huber returns the mean over all numbers of ½d² where |d|<1 and |d|-½ elsewhere,
// d = y-want, each row times its weight (nil: 1), and writes its gradient to dy,
// which may be y (Huber 1964). It is the loss of deep Q-learning.
func Huber(dy, y, want Mat, weights []float32) float32 {
	want.mustHave("want", y.Rows, y.Cols)
	dy.mustHave("dy", y.Rows, y.Cols)
	sum, n := float32(0), float32(len(y.Data))
	for i := range y.Rows {
		weight := float32(1)
		if weights != nil {
			weight = weights[i]
		}
		row, goal, grad := y.Row(i), want.Row(i), dy.Row(i)
		for j, v := range row {
			d := v - goal[j]
			size := max(d, -d)
			if size < 1 {
				sum += float32(weight * float32(float32(d*d)/2))
			} else {
				sum += float32(weight * (size - 0.5))
			}
			grad[j] = float32(weight*max(-1, min(1, d))) / n
		}
	}
	return sum / n
}

// CrossEntropy returns the mean over rows of -ln softmax(y) at the label, and
// writes its gradient to dy, which may be y. It panics on a label that is no
// column.
func CrossEntropy(dy, y Mat, labels []int) float32 {
	dy.mustHave("dy", y.Rows, y.Cols)
	if len(labels) != y.Rows {
		panic(fmt.Sprintf("learn: %d labels for %d rows", len(labels), y.Rows))
	}
	loss, n := float32(0), float32(y.Rows)
	for i, label := range labels {
		row := dy.Row(i)
		at := y.Row(i)[label]
		top, sum := softmax(row, y.Row(i))
		loss += log(sum) - (at - top)
		row[label]--
		for j := range row {
			row[j] /= n
		}
	}
	return loss / n
}

// softmax writes e^x over its sum to p, which may be x, and returns the greatest
// x and the sum of e^(x-greatest).
func softmax(p, x []float32) (top, sum float32) {
	top = float32(math.Inf(-1))
	for _, v := range x {
		top = max(top, v)
	}
	for i, v := range x {
		p[i] = exp(v - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return top, sum
}
