package opt

import (
	"math/bits"

	"github.com/shoalnet/shoal/stat"
)

// sobol fills the space evenly: each block of 2^m points puts as many points
// into each of 2^m equal intervals, in every coordinate and in many boxes.
type sobol struct {
	ledger
	sequence sobolSequence
}

var _ Optimizer = (*sobol)(nil)

// NewSobol returns a scrambled Sobol sequence (Sobol, USSR Comput. Math. Math.
// Phys. 7(4), 1967, with the direction numbers of Joe and Kuo, SIAM J. Sci.
// Comput. 30(5), 2008). Use it for designs, and as a baseline where few of many
// dimensions matter. Coordinates beyond the 40th are uniform random.
func NewSobol(space *Space, cfg Settings) (Optimizer, error) {
	l, err := newLedger(space, cfg)
	if err != nil {
		return nil, err
	}
	return &sobol{l, newSobolSequence(l.cfg.Seed, space.Size())}, nil
}

// Ask implements Optimizer.
func (s *sobol) Ask() (Trial, bool) {
	if !s.ready() {
		return Trial{}, false
	}
	id := s.tally.Asked
	if x, origin, ok := s.opening(id); ok {
		return s.issue(x, origin, nil), true
	}
	return s.issue(s.sequence.at(uint32(id-1-len(s.cfg.Starts))), "sobol", nil), true
}

// Tell implements Optimizer.
func (s *sobol) Tell(out Outcome) { s.settle(out) }

// sobolSequence is a sequence of points of [0,1)^n in 32 bits, scrambled by a
// nested uniform (Owen) scramble from the seed, in the hashed form of Burley,
// JCGT 9(4), 2020. The scramble keeps every balance property and makes each
// point uniform.
type sobolSequence struct {
	seed       uint64
	scramble   []uint32     // one for each dimension
	directions [][32]uint32 // of at most sobolDims dimensions
}

func newSobolSequence(seed uint64, dims int) sobolSequence {
	s := sobolSequence{seed: seed}
	stream := stat.NewStream(seed, "opt.sobol")
	for d := range dims {
		s.scramble = append(s.scramble, uint32(stream.Uint64()))
		if d <= len(joeKuo) {
			s.directions = append(s.directions, directions(d))
		}
	}
	return s
}

// at returns point i.
func (s *sobolSequence) at(i uint32) []float64 {
	x := uniform(stat.NewStream(s.seed, "opt.sobol.rest", uint64(i)), len(s.scramble))
	for d := range s.directions {
		x[d] = float64(owen(s.raw(i, d), s.scramble[d])) / (1 << 32)
	}
	return x
}

// raw returns coordinate d of point i before scrambling.
func (s *sobolSequence) raw(i uint32, d int) uint32 {
	var word uint32
	for ; i != 0; i &= i - 1 {
		word ^= s.directions[d][bits.TrailingZeros32(i)]
	}
	return word
}

// directions expands the direction numbers of dimension d by the recurrence of
// its primitive polynomial (Bratley and Fox, Algorithm 659, ACM TOMS 14(1), 1988).
func directions(d int) [32]uint32 {
	var v [32]uint32
	if d == 0 { // van der Corput
		for i := range v {
			v[i] = 1 << (31 - i)
		}
		return v
	}
	row := joeKuo[d-1]
	degree := len(row.m)
	for i := range v {
		if i < degree {
			v[i] = row.m[i] << (31 - i)
			continue
		}
		v[i] = v[i-degree] ^ v[i-degree]>>degree
		for k := 1; k < degree; k++ {
			v[i] ^= v[i-k] * (row.a >> (degree - 1 - k) & 1)
		}
	}
	return v
}

// owen scrambles a word so that each bit is flipped by a hash of the higher ones
// (the constants are Burley's).
func owen(word, seed uint32) uint32 {
	x := bits.Reverse32(word) + seed
	x ^= x * 0x6c50b47c
	x ^= x * 0xb82f1e52
	x ^= x * 0xc7afe638
	x ^= x * 0x8d22f6e6
	return bits.Reverse32(x)
}

// joeKuo holds dimensions 2 to 40 of the file new-joe-kuo-6.21201 (criterion
// D(6)): the inner coefficients a of the primitive polynomial and the initial
// direction numbers m. Copyright 2008 Stephen Joe and Frances Y. Kuo, BSD-3-Clause,
// https://web.maths.unsw.edu.au/~fkuo/sobol/.
var joeKuo = []struct {
	a uint32
	m []uint32
}{
	{0, []uint32{1}},
	{1, []uint32{1, 3}},
	{1, []uint32{1, 3, 1}},
	{2, []uint32{1, 1, 1}},
	{1, []uint32{1, 1, 3, 3}},
	{4, []uint32{1, 3, 5, 13}},
	{2, []uint32{1, 1, 5, 5, 17}},
	{4, []uint32{1, 1, 5, 5, 5}},
	{7, []uint32{1, 1, 7, 11, 19}},
	{11, []uint32{1, 1, 5, 1, 1}},
	{13, []uint32{1, 1, 1, 3, 11}},
	{14, []uint32{1, 3, 5, 5, 31}},
	{1, []uint32{1, 3, 3, 9, 7, 49}},
	{13, []uint32{1, 1, 1, 15, 21, 21}},
	{16, []uint32{1, 3, 1, 13, 27, 49}},
	{19, []uint32{1, 1, 1, 15, 7, 5}},
	{22, []uint32{1, 3, 1, 15, 13, 25}},
	{25, []uint32{1, 1, 5, 5, 19, 61}},
	{1, []uint32{1, 3, 7, 11, 23, 15, 103}},
	{4, []uint32{1, 3, 7, 13, 13, 15, 69}},
	{7, []uint32{1, 1, 3, 13, 7, 35, 63}},
	{8, []uint32{1, 3, 5, 9, 1, 25, 53}},
	{14, []uint32{1, 3, 1, 13, 9, 35, 107}},
	{19, []uint32{1, 3, 1, 5, 27, 61, 31}},
	{21, []uint32{1, 1, 5, 11, 19, 41, 61}},
	{28, []uint32{1, 3, 5, 3, 3, 13, 69}},
	{31, []uint32{1, 1, 7, 13, 1, 19, 1}},
	{32, []uint32{1, 3, 7, 5, 13, 19, 59}},
	{37, []uint32{1, 1, 3, 9, 25, 29, 41}},
	{41, []uint32{1, 3, 5, 13, 23, 1, 55}},
	{42, []uint32{1, 3, 7, 3, 13, 59, 17}},
	{50, []uint32{1, 3, 1, 3, 5, 53, 69}},
	{55, []uint32{1, 1, 5, 5, 23, 33, 13}},
	{56, []uint32{1, 1, 7, 7, 1, 61, 123}},
	{59, []uint32{1, 1, 7, 9, 13, 61, 49}},
	{62, []uint32{1, 3, 3, 5, 3, 55, 33}},
	{14, []uint32{1, 3, 1, 15, 31, 13, 49, 245}},
	{21, []uint32{1, 3, 5, 15, 31, 59, 63, 97}},
	{22, []uint32{1, 3, 1, 11, 11, 11, 77, 249}},
}
