// Package formula finds formulas: what a [Formula] of inputs is worth and says, how a
// [Breeder] breeds them (genetic programming), and what constants a [Fitter] adds.
package formula

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Op is a symbol of a formula. All take and give numbers, so every tree
// of them is well typed: a choice compares inside (Montana, Evolutionary
// Computation 3(2), 1995, has types instead).
type Op uint8

// The symbols. Division by less than 1e-12 is 1, the logarithm is of |a|+1e-12,
// the exponential of at most 30.
const (
	OpConst     Op = iota
	OpVar          // one of the inputs
	OpAdd          // a + b
	OpSub          // a - b
	OpMul          // a * b
	OpDiv          // a / b
	OpMax          // the greater of two
	OpMin          // the lesser of two
	OpExp          // e^a
	OpLog          // the natural logarithm
	OpSin          // the sine
	OpCos          // the cosine
	OpIfGreater    // if a > b then c else d
)

var opNames = [...]string{"", "", "+", "-", "*", "/", "max", "min", "exp", "log", "sin", "cos", "if"}

var opArity = [...]int{0, 0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 4}

// gene is a node of a formula.
type gene struct {
	op    Op
	index int     // of an OpVar
	value float64 // of an OpConst
}

// Formula is a formula of some inputs, in prefix order: each symbol before its
// arguments. It is not changed once it is made. The zero value is not a formula.
type Formula []gene

// end returns the place behind the part that begins at i.
func (f Formula) end(i int) int {
	for need := 1; need > 0; i++ {
		need += opArity[f[i].op] - 1
	}
	return i
}

// depth returns how many symbols lie one in another at most, counted from 0.
func (f Formula) depth() int {
	deepest, left := 0, []int{}
	for _, g := range f {
		deepest = max(deepest, len(left))
		if n := opArity[g.op]; n > 0 {
			left = append(left, n)
			continue
		}
		for len(left) > 0 {
			if left[len(left)-1]--; left[len(left)-1] > 0 {
				break
			}
			left = left[:len(left)-1]
		}
	}
	return deepest
}

// Values returns the formula at every sample; inputs[i] holds input i at each of
// them. The result is the caller's.
func (f Formula) Values(inputs [][]float64, samples int) []float64 {
	var e evaluator
	return slices.Clone(e.run(f, inputs, samples))
}

// evaluator holds the columns of unfinished parts, so that it need not make them
// each time. The zero value is ready.
type evaluator struct{ stack [][]float64 }

// run reads the formula backwards: arguments lie on the stack before their symbol.
func (e *evaluator) run(f Formula, inputs [][]float64, samples int) []float64 {
	top := 0
	for _, g := range slices.Backward(f) {
		if top == len(e.stack) || len(e.stack[top]) < samples {
			e.stack = append(e.stack[:top], make([]float64, samples))
		}
		out := e.stack[top][:samples]
		switch g.op {
		case OpConst:
			for i := range out {
				out[i] = g.value
			}
		case OpVar:
			copy(out, inputs[g.index])
		default:
			n := opArity[g.op]
			top -= n
			apply(g.op, e.stack[top:top+n], samples)
		}
		top++
	}
	return e.stack[0][:samples]
}

// apply computes a symbol column by column; the last argument, which lies first,
// takes the result.
func apply(op Op, args [][]float64, samples int) {
	out, a := args[0][:samples], args[len(args)-1][:samples]
	for i, b := range out {
		switch op {
		case OpAdd:
			out[i] = a[i] + b
		case OpSub:
			out[i] = a[i] - b
		case OpMul:
			out[i] = a[i] * b
		case OpDiv:
			if out[i] = 1; math.Abs(b) >= 1e-12 {
				out[i] = a[i] / b
			}
		case OpMax:
			out[i] = max(a[i], b)
		case OpMin:
			out[i] = min(a[i], b)
		case OpExp:
			out[i] = math.Exp(min(b, 30))
		case OpLog:
			out[i] = math.Log(math.Abs(b) + 1e-12)
		case OpSin:
			out[i] = math.Sin(b)
		case OpCos:
			out[i] = math.Cos(b)
		case OpIfGreater:
			if a[i] > args[2][i] {
				out[i] = args[1][i]
			}
		case OpConst, OpVar:
		}
	}
}

// Text writes the formula with the names of its inputs.
func (f Formula) Text(names ...string) string {
	text, _ := f.text(0, names)
	return text
}

func (f Formula) text(i int, names []string) (string, int) {
	g, i := f[i], i+1
	switch g.op {
	case OpConst:
		return strconv.FormatFloat(g.value, 'g', 4, 64), i
	case OpVar:
		if g.index < len(names) {
			return names[g.index], i
		}
		return fmt.Sprint("x", g.index), i
	default:
	}
	args := make([]string, opArity[g.op])
	for k := range args {
		args[k], i = f.text(i, names)
	}
	switch {
	case g.op == OpIfGreater:
		return fmt.Sprintf("(if %s > %s then %s else %s)", args[0], args[1], args[2], args[3]), i
	case g.op <= OpDiv:
		return "(" + args[0] + " " + opNames[g.op] + " " + args[1] + ")", i
	}
	return opNames[g.op] + "(" + strings.Join(args, ", ") + ")", i
}

// Simplified returns a formula of the same values, but for rounding, without what
// plainly does nothing: parts of constants alone, sums with 0, products with 0 or
// 1, and differences of equals.
func (f Formula) Simplified() Formula {
	if len(f) == 1 {
		return f
	}
	out, args := Formula{f[0]}, []Formula{}
	constant := true
	for i := 1; i < len(f); {
		to := f.end(i)
		args = append(args, f[i:to].Simplified())
		i = to
	}
	for _, a := range args {
		out = append(out, a...)
		constant = constant && len(a) == 1 && a[0].op == OpConst
	}
	if constant {
		return Formula{{op: OpConst, value: out.Values(nil, 1)[0]}}
	}
	is := func(k int, v float64) bool {
		return len(args[k]) == 1 && args[k][0].op == OpConst && args[k][0].value == v
	}
	same := len(args) == 2 && slices.Equal(args[0], args[1])
	switch {
	case f[0].op == OpAdd && is(0, 0), f[0].op == OpMul && is(0, 1):
		return args[1]
	case f[0].op == OpAdd && is(1, 0), f[0].op == OpSub && is(1, 0), f[0].op == OpMul && is(1, 1), f[0].op == OpDiv && is(1, 1):
		return args[0]
	case f[0].op == OpMul && (is(0, 0) || is(1, 0)), f[0].op == OpSub && same:
		return Formula{{op: OpConst}}
	case same && (f[0].op == OpMax || f[0].op == OpMin):
		return args[0]
	}
	return out
}
