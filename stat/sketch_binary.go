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
	out.first = int(r.signed())
	out.zeros, out.rejected = r.next(), r.next()
	bins := r.next()
	if r.bad || bins > maxSketchBins {
		return errSketch
	}
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
