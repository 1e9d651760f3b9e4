package pilot

import (
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
)

// maxLiveCosts bounds the intervals of which costs are kept.
const maxLiveCosts = 1024

// CostView is what an interval cost in which the whole network ran one configuration,
// but for those that are held out.
type CostView struct {
	Number     int       `json:"number"` // from 1
	At         time.Time `json:"at"`     // its end
	Config     string    `json:"config"` // hash
	Operations int       `json:"operations"`
	MeanMS     *float64  `json:"geometric_mean_ms"` // of gets; null without any
	Success    float64   `json:"success_ratio"`
	Messages   float64   `json:"messages_per_operation"`
	Bytes      float64   `json:"bytes_per_operation"`  // sent by all peers
	CPUMS      float64   `json:"cpu_ms_per_operation"` // of the whole process
}

// costed takes an interval.
func (l *Live) costed(c knob.Config, samples []lookupSample, used usage) {
	v := CostView{At: time.Now(), Config: c.Hash()}
	sum, gets, ok, messages := 0.0, 0, 0, 0
	for _, x := range samples {
		if x.local {
			continue
		}
		v.Operations++
		messages += x.messages
		if x.ok {
			ok++
		}
		if x.op == kad.OpGet {
			gets++
			sum += math.Log(max(milliseconds(x.elapsed), 1e-3))
		}
	}
	if v.Operations == 0 {
		return
	}
	n := float64(v.Operations)
	v.Success, v.Messages, v.Bytes, v.CPUMS = float64(ok)/n, float64(messages)/n, float64(used.bytes)/n, milliseconds(used.cpu)/n
	if gets > 0 {
		mean := math.Exp(sum / float64(gets))
		v.MeanMS = &mean
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v.Number = 1
	if k := len(l.costs); k > 0 {
		v.Number = l.costs[k-1].Number + 1
	}
	if len(l.costs) >= maxLiveCosts {
		l.costs = slices.Delete(l.costs, 0, maxLiveCosts/4)
	}
	l.costs = append(l.costs, v)
}

// Costs returns the intervals after a number, the oldest first, of those in memory: the
// newest 1,024.
func (l *Live) Costs(after int) []CostView {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := slices.BinarySearchFunc(l.costs, after+1, func(v CostView, n int) int { return v.Number - n })
	return slices.Clone(l.costs[from:])
}
