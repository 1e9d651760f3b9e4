package p2p

import (
	"math"
	"runtime/metrics"
	"time"

	"github.com/shoalnet/shoal/node"
)

// pressEvery is how often memory is looked at, if the table may grow above its size.
const pressEvery = 10 * time.Second

// Memory is idle up to the first share of the limit that the Go runtime was given,
// and scarce from the second on.
const idleShare, scarceShare = 0.5, 0.9

// goPressure says how scarce memory is for the whole process, 0 to 1, by the memory
// limit of the Go runtime (GOMEMLIMIT). Without a limit it is never scarce.
func goPressure() float64 {
	limit := []metrics.Sample{{Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(limit)
	return pressureOf(runtimeMemory(), limit[0].Value.Uint64())
}

// runtimeMemory is what the Go runtime has of the machine, in bytes.
func runtimeMemory() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// Pressure says how scarce memory is for the whole process, 0 to 1, as a peer sees it
// that is told nothing else; see Options.Pressure.
func Pressure() float64 { return goPressure() }

// pressureOf says how scarce memory is of which so much is used.
func pressureOf(used, limit uint64) float64 {
	if limit == 0 || limit >= math.MaxInt64 {
		return 0
	}
	share := float64(used) / float64(limit)
	return min(max((share-idleShare)/(scarceShare-idleShare), 0), 1)
}

// press tells the machine from time to time how scarce memory is.
func (p *Peer) press(pressure func() float64) {
	ticker := time.NewTicker(pressEvery)
	defer ticker.Stop()
	for {
		p.tell(node.Pressed{Level: pressure()})
		select {
		case <-p.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
