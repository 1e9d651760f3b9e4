package pilot

import (
	"math"
	"slices"
	"time"

	"github.com/shoalnet/shoal/node/kad"
)

// Latency describes times in milliseconds. Failures are counted at their
// time-out. Low and High bound each figure with 95 % confidence, lookups taken as
// independent: order statistics for the quantiles (binomial, normal
// approximation), the normal interval for the mean.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Mean float64 `json:"mean"`
	Low  *Bounds `json:"low,omitempty"`
	High *Bounds `json:"high,omitempty"`
	N    int     `json:"n"`
}

// Bounds are one end of the confidence intervals of a Latency.
type Bounds struct {
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Mean float64 `json:"mean"`
}

// Measurement is what one configuration did on the network.
type Measurement struct {
	LatencyMS         Latency `json:"latency_ms"`
	ClosestMS         Latency `json:"closest_ms"`
	SuccessRatio      float64 `json:"success_ratio"`
	SuccessLow        float64 `json:"success_low"` // Wilson, 95 %
	SuccessHigh       float64 `json:"success_high"`
	MessagesPerLookup float64 `json:"messages_per_lookup"`
	MessagesError     float64 `json:"messages_se"`
	Entries           float64 `json:"entries"`
	ThroughputPerS    float64 `json:"throughput_per_s"` // operations that succeeded
	CPUS              float64 `json:"cpu_s"`            // of the whole process while it was measured
	BytesPerS         float64 `json:"bytes_per_s"`      // payload sent by all peers together
	Samples           int     `json:"samples"`
	Seconds           float64 `json:"seconds"` // for which it was measured
	Config            string  `json:"config"`  // hash
}

// meter adds up what one configuration does over several spells.
type meter struct {
	gets, closest   []float64 // milliseconds
	ok, attempts    int
	messages        []float64
	requests        int
	failures        int // of the requests, without an answer
	entries         float64
	spells          int
	seconds, cpuS   float64
	bytes, finished float64
}

// add takes operations.
func (m *meter) add(samples []lookupSample) {
	for _, s := range samples {
		if s.local {
			continue
		}
		m.attempts++
		m.requests += s.messages
		m.failures += s.failures
		if s.ok {
			m.ok++
		}
		switch s.op {
		case kad.OpGet:
			m.gets = append(m.gets, milliseconds(s.elapsed))
			m.messages = append(m.messages, float64(s.messages))
		case kad.OpPut, kad.OpProvide:
			if closest := s.closest; closest > 0 || !s.ok {
				if !s.ok {
					closest = opTimeout
				}
				m.closest = append(m.closest, milliseconds(closest))
			}
		default: // finds end before a full lookup would
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// spell takes what was read off the machine during a spell in which the whole
// network ran the configuration, and how many operations succeeded in it.
func (m *meter) spell(length time.Duration, used usage, entries float64, succeeded int) {
	m.spells++
	m.finished += float64(succeeded)
	m.seconds += length.Seconds()
	m.cpuS += used.cpu.Seconds()
	m.bytes += float64(used.bytes)
	m.entries += entries
}

// result returns the figures; nil if nothing was measured.
func (m *meter) result(hash string) *Measurement {
	if m.attempts == 0 {
		return nil
	}
	perS := func(x float64) float64 {
		if m.seconds == 0 {
			return 0
		}
		return x / m.seconds
	}
	low, high := wilson(m.ok, m.attempts)
	messages, deviation := meanDeviation(m.messages)
	return &Measurement{
		LatencyMS: latencyOf(m.gets), ClosestMS: latencyOf(m.closest),
		SuccessRatio: float64(m.ok) / float64(m.attempts), SuccessLow: low, SuccessHigh: high,
		MessagesPerLookup: messages, MessagesError: deviation / math.Sqrt(max(1, float64(len(m.messages)))),
		Entries: m.entries / max(1, float64(m.spells)), ThroughputPerS: perS(m.finished),
		CPUS: m.cpuS, BytesPerS: perS(m.bytes), Samples: len(m.gets), Seconds: m.seconds, Config: hash,
	}
}

// latencyOf describes samples in milliseconds; it sorts them.
func latencyOf(ms []float64) Latency {
	l := Latency{N: len(ms)}
	if len(ms) == 0 {
		return l
	}
	slices.Sort(ms)
	mean, deviation := meanDeviation(ms)
	half := z95 * deviation / math.Sqrt(float64(len(ms)))
	l.P50, l.P90, l.P95, l.P99, l.Mean = quantile(ms, .5), quantile(ms, .9), quantile(ms, .95), quantile(ms, .99), mean
	l.Low, l.High = &Bounds{Mean: mean - half}, &Bounds{Mean: mean + half}
	l.Low.P50, l.High.P50 = quantileBounds(ms, .5)
	l.Low.P95, l.High.P95 = quantileBounds(ms, .95)
	l.Low.P99, l.High.P99 = quantileBounds(ms, .99)
	return l
}

// z95 is the normal quantile of a two-sided 95 % interval.
const z95 = 1.959964

// quantile returns the smallest sample with at least a share q at or below it.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(max(int(math.Ceil(q*float64(len(sorted))))-1, 0), len(sorted)-1)]
}

func quantileBounds(sorted []float64, q float64) (low, high float64) {
	n := float64(len(sorted))
	half := z95 * math.Sqrt(n*q*(1-q))
	at := func(rank float64) float64 { return sorted[min(max(int(rank), 0), len(sorted)-1)] }
	return at(math.Floor(n*q - half)), at(math.Ceil(n*q + half))
}

func meanDeviation(xs []float64) (mean, deviation float64) {
	if len(xs) == 0 {
		return 0, 0
	}
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		deviation += (x - mean) * (x - mean) / max(1, float64(len(xs)-1))
	}
	return mean, math.Sqrt(deviation)
}

// wilson is the 95 % score interval of a proportion (Wilson 1927).
func wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	p, size := float64(k)/float64(n), float64(n)
	centre := p + z95*z95/(2*size)
	half := z95 * math.Sqrt(p*(1-p)/size+z95*z95/(4*size*size))
	scale := 1 + z95*z95/size
	return max(0, (centre-half)/scale), min(1, (centre+half)/scale)
}

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	sorted := slices.Clone(xs)
	slices.Sort(sorted)
	return quantile(sorted, .5)
}
