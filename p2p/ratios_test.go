package p2p

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shoalnet/shoal/stat"
)

// figures are what one kind of peers shows at one operation.
type figures struct {
	Latency  latencies `json:"latency_ms"`
	Messages float64   `json:"messages"` // requests that arrived, per operation
	Dials    float64   `json:"dials"`    // connections made, per operation
	Recall   float64   `json:"recall"`
	CPU      float64   `json:"cpu_ms"` // of the whole process, per operation
	Allocs   float64   `json:"allocs"` // likewise
	N        int       `json:"n"`
}

type latencies struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// ratio is ours over stock, with the bounds between which 95 of 100 resamplings
// of the operations lie.
type ratio struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// row compares two worlds at one operation.
type row struct {
	Op          string           `json:"op"`
	Stale       float64          `json:"stale"`
	Connections string           `json:"connections"`
	Stock       figures          `json:"stock"`
	Ours        figures          `json:"ours"` // in the mixed part: stock peers among ours
	Ratios      map[string]ratio `json:"ratios"`
}

// measure is a figure of a set of operations.
type measure struct {
	name string
	of   func([]sample) float64
}

var measures = []measure{
	{"p50", quantileOf(.5)},
	{"p90", quantileOf(.9)},
	{"p99", quantileOf(.99)},
	{"messages", meanOf(func(s sample) float64 { return s.messages })},
	{"dials", meanOf(func(s sample) float64 { return s.dials })},
	{"recall", meanOf(func(s sample) float64 { return s.recall })},
	{"cpu", meanOf(func(s sample) float64 { return 1000 * s.cpu })},
	{"allocs", meanOf(func(s sample) float64 { return s.allocs })},
}

// quantileOf is a quantile of the times in milliseconds. That of 0.99 is the
// second largest of 60.
func quantileOf(q float64) func([]sample) float64 {
	return func(samples []sample) float64 {
		times := make([]float64, len(samples))
		for i := range samples {
			times[i] = samples[i].took.Seconds() * 1000
		}
		slices.Sort(times)
		return times[int(q*float64(len(times)-1))]
	}
}

func meanOf(of func(sample) float64) func([]sample) float64 {
	return func(samples []sample) float64 {
		sum := 0.0
		for i := range samples {
			sum += of(samples[i])
		}
		return sum / float64(len(samples))
	}
}

func figuresOf(samples []sample) figures {
	v := make([]float64, len(measures))
	for i, m := range measures {
		v[i] = math.Round(1000*m.of(samples)) / 1000
	}
	return figures{latencies{v[0], v[1], v[2]}, v[3], v[4], v[5], v[6], v[7], len(samples)}
}

// resamplings of the operations give the bounds of a ratio.
const resamplings = 1000

// rowsOf compares two worlds that did the same tasks in the same order.
func rowsOf(stock, ours []sample, stale float64, connections string) (rows []row) {
	for _, op := range operations {
		var a, b []sample
		for i := range min(len(stock), len(ours)) {
			if stock[i].op == op {
				a, b = append(a, stock[i]), append(b, ours[i])
			}
		}
		if len(a) == 0 {
			continue
		}
		r := row{op, stale, connections, figuresOf(a), figuresOf(b), map[string]ratio{}}
		for _, m := range measures {
			r.Ratios[m.name] = ratioOf(a, b, m.of)
		}
		rows = append(rows, r)
	}
	return rows
}

// ratioOf draws operations with replacement, the same ones of both worlds.
func ratioOf(a, b []sample, of func([]sample) float64) ratio {
	dice := stat.NewStream(1, "ratio")
	x, y := make([]sample, len(a)), make([]sample, len(a))
	ratios := make([]float64, resamplings)
	for i := range ratios {
		for j := range x {
			k := dice.IntN(len(a))
			x[j], y[j] = a[k], b[k]
		}
		ratios[i] = divide(of(y), of(x))
	}
	slices.Sort(ratios)
	round := func(x float64) float64 { return math.Round(1000*x) / 1000 }
	return ratio{round(divide(of(b), of(a))), round(ratios[resamplings/40]), round(ratios[resamplings-1-resamplings/40])}
}

// divide is finite, for JSON.
func divide(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// markdown is the table for people.
func markdown(rows []row, first, second string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "| operation | stale | connections | p50 ms, %s | p50 ms, %s | p50 | p90 | p99 | messages | dials | recall, %s | recall, %s | CPU | allocations |\n",
		first, second, first, second)
	s.WriteString("|" + strings.Repeat("---|", 14) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&s, "| %s | %.0f %% | %s | %.0f | %.0f |", r.Op, 100*r.Stale, r.Connections, r.Stock.Latency.P50, r.Ours.Latency.P50)
		for _, name := range []string{"p50", "p90", "p99", "messages", "dials"} {
			fmt.Fprintf(&s, " %s |", r.Ratios[name])
		}
		fmt.Fprintf(&s, " %.3f | %.3f | %s | %s |\n", r.Stock.Recall, r.Ours.Recall, r.Ratios["cpu"], r.Ratios["allocs"])
	}
	return s.String()
}

// String returns the ratio with its bounds.
func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Value, r.Low, r.High) }
