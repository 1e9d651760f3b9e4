// Package learn trains small neural networks in float32: dense layers, layer
// norm, attention, LSTM and GRU, liquid cells (LTC and CfC), with hand-written
// back-propagation on a matrix product of its own. There is no graph, no tape
// and no framework: a [Network] is a list of layers whose parameters lie in one
// slice, which is also what is saved, averaged and sent.
//
// What a caller must do for one step of training:
//
//  1. Forward a batch, one sample a row; the result belongs to the network and
//     lasts until its next Forward.
//  2. Compute a loss, which writes the gradient of its output.
//  3. Backward that gradient; it is added to Grads.
//  4. Step an [Adam], which consumes Grads: they are zero afterwards.
//
// A steady step allocates nothing. Everything has one owner and needs no lock.
//
// In mode [Exact] every number is the same on every machine: sums run in index
// order and no product is fused with a sum. In mode [Fast] the matrix product
// uses the best kernel of the processor and may differ in the last bits. All
// else, the exponential and Adam included, has the same bits in both modes.
//
// The dice are passed in and only drawn by Float64, so that a network starts
// alike everywhere.
package learn

import "fmt"

// Dice is a seeded source of numbers in [0,1), such as a stat.Stream.
type Dice interface{ Float64() float64 }

// Mat is a matrix in row order without gaps: row i is Data[i*Cols:(i+1)*Cols].
type Mat struct {
	Rows, Cols int
	Data       []float32 // Rows*Cols numbers
}

// NewMat returns a matrix of zeros.
func NewMat(rows, cols int) Mat { return Mat{rows, cols, make([]float32, rows*cols)} }

// Row returns row i, not a copy.
func (m Mat) Row(i int) []float32 { return m.Data[i*m.Cols : (i+1)*m.Cols] }

// Slice returns rows from to to, not a copy.
func (m Mat) Slice(from, to int) Mat {
	return Mat{to - from, m.Cols, m.Data[from*m.Cols : to*m.Cols]}
}

// resize returns a matrix of that size in the memory of m if there is room. Its
// numbers are left as they are.
func (m Mat) resize(rows, cols int) Mat {
	if need := rows * cols; need <= cap(m.Data) {
		return Mat{rows, cols, m.Data[:need]}
	}
	return NewMat(rows, cols)
}

func (m Mat) mustHave(what string, rows, cols int) {
	if m.Rows != rows || m.Cols != cols || len(m.Data) < rows*cols {
		panic(fmt.Sprintf("learn: %s is %dx%d with %d numbers: want %dx%d", what, m.Rows, m.Cols, len(m.Data), rows, cols))
	}
}
