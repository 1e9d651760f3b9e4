package proof

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// Noise is where the latencies of an interval come from: the weather, which all
// requests of the interval share, and the spread among them.
type Noise interface {
	// begin starts a run of its own.
	begin(dice *stat.Stream) weather
	// String names the noise.
	String() string
}

// weather is a noise that runs.
type weather interface {
	// next goes on to the next interval and returns mean and standard deviation of the
	// logarithm of latencies in it.
	next() (mean, sigma float64)
}

// Lognormal is noise made by hand: log-normal latencies whose mean wanders.
type Lognormal struct {
	Sigma float64 // of the logarithm of a request
	// Wander is the standard deviation of what the requests of an interval share, Rho
	// its correlation from one interval to the next: an AR(1) process.
	Wander, Rho float64
	// Trend is by how much the mean grows with each interval, Daily the height of a
	// wave of Period intervals, Weekend the fall in two of seven periods.
	Trend, Daily, Weekend float64
	Period                int
	// Heavy is the share of intervals in which all is four times slower.
	Heavy float64
}

// String names the noise and its numbers.
func (l Lognormal) String() string {
	return fmt.Sprintf("log-normal, sigma %v, wander %v at correlation %v, trend %v, daily %v, weekend %v, heavy %v", l.Sigma, l.Wander, l.Rho, l.Trend, l.Daily, l.Weekend, l.Heavy)
}

func (l Lognormal) begin(dice *stat.Stream) weather {
	return &lognormal{Lognormal: l, dice: dice, level: l.Wander * dice.NormFloat64()}
}

type lognormal struct {
	Lognormal
	dice  *stat.Stream
	level float64
	at    int
}

func (l *lognormal) next() (mean, sigma float64) {
	l.level = l.Rho*l.level + l.Wander*math.Sqrt(1-l.Rho*l.Rho)*l.dice.NormFloat64()
	mean = l.level + l.Trend*float64(l.at)
	if l.Period > 0 {
		mean += l.Daily * math.Sin(2*math.Pi*float64(l.at)/float64(l.Period))
		if l.at/l.Period%7 >= 5 {
			mean -= l.Weekend
		}
	}
	if l.Heavy > 0 && l.dice.Float64() < l.Heavy {
		mean += math.Log(4)
	}
	l.at++
	return mean, l.Sigma
}

// Measured is noise from a measured set: round-trip times of pairs of peers, frame
// by frame. An interval takes the requests of one frame.
type Measured struct {
	name         string
	means, sigma []float64 // by frame, of the logarithms
}

// maxFrames bounds a file of frames, in bytes.
const maxFrames = 64 << 20

// ReadSeattle reads frames.u16.gz, which holds 16-bit round-trip times in
// milliseconds of nodes times nodes pairs, frame after frame (Zhu et al., IEEE/ACM
// ToN 2017). Pairs that a frame did not measure are left out.
func ReadSeattle(fsys fs.FS, nodes int) (*Measured, error) {
	f, err := fsys.Open("frames.u16.gz")
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	defer func() { _ = f.Close() }()
	unzip, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("proof: frames.u16.gz: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(unzip, maxFrames))
	if err != nil {
		return nil, fmt.Errorf("proof: frames.u16.gz: %w", err)
	}
	frame := 2 * nodes * nodes
	if nodes < 2 || len(data) == 0 || len(data)%frame != 0 {
		return nil, fmt.Errorf("proof: frames.u16.gz: %d bytes are no frames of %d times %d numbers", len(data), nodes, nodes)
	}
	m := &Measured{name: "latency-seattle"}
	for ; len(data) > 0; data = data[frame:] {
		var test stat.MeanTest
		for i := range nodes * nodes {
			if ms := binary.LittleEndian.Uint16(data[2*i:]); ms > 0 && i/nodes != i%nodes {
				test.Add(math.Log(float64(ms)))
			}
		}
		if test.N() > 1 {
			m.means, m.sigma = append(m.means, test.Mean()), append(m.sigma, test.Deviation())
		}
	}
	if len(m.means) < 2 {
		return nil, errors.New("proof: frames.u16.gz: fewer than two frames with data")
	}
	return m, nil
}

// String names the set.
func (m *Measured) String() string { return m.name }

// begin starts at a frame drawn by lot. At either end the frames go back.
func (m *Measured) begin(dice *stat.Stream) weather {
	w := &measured{Measured: m, at: dice.IntN(len(m.means)), step: 1}
	if dice.IntN(2) == 0 {
		w.step = -1
	}
	return w
}

type measured struct {
	*Measured
	at, step int
}

func (m *measured) next() (mean, sigma float64) {
	if next := m.at + m.step; next < 0 || next >= len(m.means) {
		m.step = -m.step
	}
	m.at += m.step
	return m.means[m.at], m.sigma[m.at]
}

// summary draws what n requests of an interval sum up to. Above exact requests it
// draws their sums instead of each.
func summary(dice *stat.Stream, n int, mean, sigma float64) tune.Summary {
	s := tune.Summary{Samples: n, Attempts: n, Successes: n}
	const exact = 64
	if n <= exact {
		for range n {
			x := mean + sigma*dice.NormFloat64()
			s.SumLog += x
			s.SumLog2 += x * x
		}
		return s
	}
	size := float64(n)
	average := mean + sigma/math.Sqrt(size)*dice.NormFloat64()
	spread := sigma * sigma * (size - 1) * (1 + math.Sqrt(2/(size-1))*dice.NormFloat64()) // χ² with n-1 degrees
	s.SumLog = size * average
	s.SumLog2 = max(spread, 0) + size*average*average
	return s
}
