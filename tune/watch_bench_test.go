package tune

import (
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// BenchmarkWatchTell: an observation of two metrics and one kind of traffic, after a day of them.
func BenchmarkWatchTell(b *testing.B) {
	w, err := NewWatch(WatchConfig{
		Interval: time.Minute, Metrics: []Metric{{Name: "latency"}, {Name: "success", Better: Higher}}, Traffic: []string{"operations"}, FalseEvery: 100 * time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	dice := stat.NewStream(1, "bench")
	n := 0
	tell := func() {
		n++
		w.Tell(Observation{At: time.Duration(n) * time.Minute, Values: []float64{0.1 + 0.01*dice.Float64(), 1}, Traffic: [][]int{{100, 50, 20, 10}}, Peers: 100})
	}
	for range 1440 {
		tell()
	}
	for b.Loop() {
		tell()
	}
}
