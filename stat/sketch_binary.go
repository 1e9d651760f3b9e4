package stat

import (
	"encoding/binary"
	"errors"
	"math"
)

// sketchVersion is the first byte of a sketch in binary form.
const sketchVersion = 1

// maxSketchBins bounds the bins of a sketch that is read: 300 decades at the default
// error have 35,000.
const maxSketchBins = 1 << 20

var errSketch = errors.New("stat: not a sketch in binary form")

// AppendBinary appends the sketch in binary form: counts as varints, runs of empty
// bins as one. It never fails.
func (s *Sketch) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, sketchVersion)
	for _, x := range []float64{s.accuracy, s.sum, s.low, s.high} {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	b = binary.AppendVarint(b, int64(s.first))
	for _, n := range []uint64{s.zeros, s.rejected, uint64(len(s.bins))} {
		b = binary.AppendUvarint(b, n)
	}
	for i := 0; i < len(s.bins); i++ {
		b = binary.AppendUvarint(b, s.bins[i])
		if s.bins[i] > 0 {
			continue
		}
		run := 0
		for i+1 < len(s.bins) && s.bins[i+1] == 0 {
			i, run = i+1, run+1
		}
		b = binary.AppendUvarint(b, uint64(run))
	}
	return b, nil
}

// MarshalBinary returns the sketch in binary form.
func (s *Sketch) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// UnmarshalBinary reads what MarshalBinary wrote. On an error the sketch is unchanged.
func (s *Sketch) UnmarshalBinary(data []byte) error {
	if len(data) < 33 || data[0] != sketchVersion {
		return errSketch
	}
	var floats [4]float64
	for i := range floats {
		floats[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[1+8*i:]))
	}
	r := varints{data: data[33:]}
	out := Sketch{accuracy: floats[0], sum: floats[1], low: floats[2], high: floats[3]}
	if out.accuracy != 0 && !(out.accuracy >= 0.0001 && out.accuracy <= 0.5) {
		return errSketch
	}
	first := r.signed()
	out.zeros, out.rejected = r.next(), r.next()
	bins := r.next()
	// No float64 has a bin further out, and the next number would fill all up to there.
	const largestLog = 750
	if limit := int64(math.Ceil(largestLog / out.logGamma())); r.bad || bins > maxSketchBins || first < -limit || first > limit {
		return errSketch
	}
	out.first = int(first)
	out.count = out.zeros
	if bins > 0 {
		out.bins = make([]uint64, bins)
	}
	for i := 0; i < len(out.bins); i++ {
		n := r.next()
		out.bins[i] = n
		out.count += n
		if n == 0 {
			run := r.next()
			if run > bins {
				return errSketch
			}
			i += int(run)
		}
	}
	if r.bad || len(r.data) > 0 {
		return errSketch
	}
	*s = out
	return nil
}

// ReadSketch reads a sketch that a stranger wrote in binary form: of the default
// error, all of its numbers within low and high, which are above 0, and in itself
// true. The memory that it takes depends on low and high alone.
func ReadSketch(data []byte, low, high float64) (*Sketch, error) {
	s := &Sketch{}
	bottom := int(math.Ceil(math.Log(low) / s.logGamma()))
	top := int(math.Ceil(math.Log(high) / s.logGamma()))
	const head = 33
	if len(data) < head || !(low > 0) || !(high >= low) {
		return nil, errSketch
	}
	r := varints{data: data[head:]}
	first := r.signed()
	_, _ = r.next(), r.next() // zeros and rejected
	if bins := r.next(); r.bad || bins > 0 && (first < int64(bottom) || bins > uint64(top-bottom+1) || first+int64(bins)-1 > int64(top)) {
		return nil, errSketch
	}
	if err := s.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	if !s.plausible(low, high) {
		return nil, errSketch
	}
	return s, nil
}

// plausible reports whether the figures of a sketch fit each other and the bounds.
func (s *Sketch) plausible(low, high float64) bool {
	const most = 1 << 40 // numbers: no sum of counts overflows, all are exact as float64
	if s.accuracy != 0 && s.accuracy != DefaultAccuracy || s.zeros > 0 || s.rejected > most {
		return false
	}
	count, least, largest := uint64(0), 0.0, 0.0
	first, last := -1, -1
	for i, n := range s.bins {
		if n == 0 {
			continue
		}
		if n > most {
			return false
		}
		if first < 0 {
			first = i
		}
		last = i
		count += n
		below, above := s.bin(i)
		least += float64(float64(n) * below)
		largest += float64(float64(n) * above)
	}
	if count == 0 {
		return s.sum == 0 && s.low == 0 && s.high == 0 && s.first == 0 && len(s.bins) == 0
	}
	const slack = 1e-9 // of the rounding of logarithms and sums
	inside := func(x, from, to float64) bool { return x >= from*(1-slack) && x <= to*(1+slack) }
	lowFrom, lowTo := s.bin(first)
	highFrom, highTo := s.bin(last)
	return count <= most && inside(s.low, lowFrom, lowTo) && inside(s.high, highFrom, highTo) && s.low <= s.high &&
		inside(s.sum, least, largest) && inside(s.low, low, high) && inside(s.high, low, high)
}

// bin returns the bounds of a bin by its place.
func (s *Sketch) bin(i int) (low, high float64) {
	at := float64(s.first + i)
	return math.Exp(float64((at - 1) * s.logGamma())), math.Exp(float64(at * s.logGamma()))
}

// varints reads numbers until one is missing.
type varints struct {
	data []byte
	bad  bool
}

func (v *varints) next() uint64 {
	x, n := binary.Uvarint(v.data)
	if n <= 0 {
		v.bad, v.data = true, nil
		return 0
	}
	v.data = v.data[n:]
	return x
}

func (v *varints) signed() int64 {
	x, n := binary.Varint(v.data)
	if n <= 0 {
		v.bad, v.data = true, nil
		return 0
	}
	v.data = v.data[n:]
	return x
}
