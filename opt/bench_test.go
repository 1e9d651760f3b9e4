package opt_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/shoalnet/shoal/opt"
	"github.com/shoalnet/shoal/opt/opttest"
)

// BenchmarkNSGA3 is what a trial costs on three objectives of almost no cost, of
// which most trials are in the front.
func BenchmarkNSGA3(b *testing.B) {
	o, err := opt.NewNSGA3(opttest.Space(b, 12), opt.Settings{Objectives: 3})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		trial, _ := o.Ask()
		x, y, far := trial.X[0], trial.X[1], 1.0
		for _, v := range trial.X[2:] {
			far += math.Abs(v - 0.4)
		}
		o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{far * x, far * y, far * (2 - x - y)}})
	}
}

// BenchmarkAskTell is what a trial of each family costs besides its evaluation, in a
// space of twelve numbers with one objective: processor time as a multiple of random
// search's, and what the optimizer holds in the end.
//
//	go test ./opt -run '^$' -bench AskTell
func BenchmarkAskTell(b *testing.B) {
	const many = 300_000 // random search needs some for a clock of hundredths of a second
	random, err := opt.NewRandom(opttest.Space(b, 12), opt.Settings{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	start := cpuSeconds()
	for range many {
		askTell(random)
	}
	chance := (cpuSeconds() - start) / many
	for _, family := range opt.Families {
		b.Run(family.Name, func(b *testing.B) {
			before := heap()
			o, err := family.New(opttest.Space(b, 12), opt.Settings{Seed: 1})
			if err != nil {
				b.Fatal(err)
			}
			o.Tell(opt.Outcome{Trial: opt.Observation, Context: []float64{0.5, 0.5}})
			b.ReportAllocs()
			start := cpuSeconds()
			for b.Loop() {
				askTell(o)
			}
			b.ReportMetric((cpuSeconds()-start)/float64(b.N)/chance, "×random")
			b.ReportMetric((heap()-before)/1024, "KB-held")
			runtime.KeepAlive(o)
		})
	}
}

// askTell is one trial of almost no cost.
func askTell(o opt.Optimizer) {
	trial, _ := o.Ask()
	sum := 0.0
	for _, v := range trial.X {
		sum += (v - 0.4) * (v - 0.4)
	}
	o.Tell(opt.Outcome{Trial: trial.ID, Scores: []float64{sum}, Context: []float64{0.5, sum}})
}

// heap returns the bytes that are in use.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
