package pilot

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// level is the mean of the windows of some time outside of rollouts: the geometric
// mean of latencies, and success. ok is false without windows.
func (s *service) level(fromS, toS float64) (ms, success float64, ok bool) {
	sum, gets, n := 0.0, 0, 0
	for _, w := range s.served.Windows {
		if w.AtS <= fromS || w.AtS > toS || w.State == string(tune.ServiceRollout) || w.Gets == 0 {
			continue
		}
		sum += float64(w.Gets) * math.Log(w.MeanMS)
		gets += w.Gets
		success += w.Success
		n++
	}
	if gets == 0 {
		return 0, 0, false
	}
	return math.Exp(sum / float64(gets)), success / float64(n), true
}

// lossFrom is from what ratio on there was a loss: below it the share that was won back
// would be of noise.
const lossFrom = 1.05

// levelSpan is over how long a level is taken.
const levelSpan = 30.0 // seconds

// assess says how the network went on after a disturbance.
func (s *service) assess(d *Disturbance) {
	end := time.Since(s.began).Seconds()
	if n := len(s.served.Windows); n > 0 {
		end = s.served.Windows[n-1].AtS
	}
	before, okBefore, some := s.level(d.AtS-levelSpan, d.AtS)
	if some {
		d.BeforeMS, d.SuccessBefore = &before, &okBefore
	}
	after, okAfter, some := s.level(d.AtS, d.AtS+levelSpan)
	if some {
		d.AfterMS, d.SuccessAfter = &after, &okAfter
	}
	last, okLast, some := s.level(max(end-levelSpan, d.AtS+levelSpan), end)
	if some {
		d.EndMS, d.SuccessEnd = &last, &okLast
	}
	if d.BeforeMS != nil && d.AfterMS != nil && d.EndMS != nil && after > lossFrom*before {
		share := (after - last) / (after - before)
		d.Recovered = &share
	}
	for _, t := range s.machine.Triggers() {
		if at := t.At.Seconds() + s.fleetBegan(); at >= d.AtS {
			noticed := at - d.AtS
			d.NoticedS = &noticed
			break
		}
	}
	if d.SuccessBefore != nil {
		d.BackS = s.back(d.AtS, 0.95**d.SuccessBefore)
	}
}

// fleetBegan is when the fleet's clock began, in seconds of the run.
func (s *service) fleetBegan() float64 { return s.fleet.began.Sub(s.began).Seconds() }

// back returns after how many seconds success was at a level for three windows in a
// row, nil if never.
func (s *service) back(fromS, level float64) *float64 {
	row, since := 0, 0.0
	for _, w := range s.served.Windows {
		switch {
		case w.AtS <= fromS:
		case w.Success < level:
			row = 0
		default:
			if row++; row == 1 {
				since = w.AtS - fromS
			}
			if row == 3 {
				return &since
			}
		}
	}
	return nil
}

// Words says how it went on in a sentence.
func (d *Disturbance) Words() string {
	ms := func(x *float64) string {
		if x == nil {
			return "unknown"
		}
		return fmt.Sprintf("%.1f", *x)
	}
	text := fmt.Sprintf("gets took %s ms before, %s after and %s ms at the end", ms(d.BeforeMS), ms(d.AfterMS), ms(d.EndMS))
	if d.SuccessBefore != nil && d.SuccessAfter != nil && d.SuccessEnd != nil {
		text += fmt.Sprintf("; %.4f, %.4f and %.4f of the operations succeeded", *d.SuccessBefore, *d.SuccessAfter, *d.SuccessEnd)
	}
	if d.NoticedS == nil {
		text += "; not noticed"
	} else {
		text += fmt.Sprintf("; noticed after %.0f s", *d.NoticedS)
	}
	if d.Recovered != nil {
		text += fmt.Sprintf("; %.0f %% of the loss recovered", 100**d.Recovered)
	}
	if d.BackS != nil {
		text += fmt.Sprintf("; success back at 95 %% after %.0f s", *d.BackS)
	}
	return text
}

// traffic counts operations by kind, gets by key and all by caller. Keys and callers
// are hashed into bins: what matters is whether the same ones stay popular.
func (s *service) traffic(samples []lookupSample) [][]int {
	const bins = 8
	kinds, keys, callers := make([]int, 4), make([]int, bins), make([]int, bins)
	order := []kad.Op{kad.OpGet, kad.OpFindPeer, kad.OpProvide, kad.OpPut}
	for _, x := range samples {
		if i := slices.Index(order, x.op); i >= 0 {
			kinds[i]++
		}
		callers[stat.Hash(uint64(x.caller))%bins]++
		if x.op == kad.OpGet {
			id := key.Hash([]byte(x.key))
			keys[id[0]%bins]++
		}
	}
	return [][]int{kinds, keys, callers}
}
