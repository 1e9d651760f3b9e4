package online

import (
	"time"

	"github.com/shoalnet/shoal/stat"
)

// Of the flood that Run describes.
const (
	floodBuckets  = 16
	floodTurns    = 20 // for each place
	floodAttacker = 10 // newcomers of the attacker for an honest one
	floodBits     = 2
)

// exposure returns the share of a bucket in percent that an attacker holds after
// a flood, in the mean over some buckets. Ideal has none.
func exposure(rule string, size int, seed uint64) (float64, error) {
	if rule == Ideal {
		return 0, nil
	}
	keep, err := keeperOf(rule)
	if err != nil {
		return 0, err
	}
	held := 0
	for bucket := range floodBuckets {
		held += flood(keep, size, stat.NewStream(seed, "sim.flood", uint64(bucket)))
	}
	return percent(float64(held), float64(floodBuckets*size)), nil
}

// flood returns how many members of a bucket are an attacker's in the end. Odd
// numbers are the attacker's peers.
func flood(keep keeper, size int, draw *stat.Stream) (held int) {
	const first = uint64(1) << 63 // of identifiers in bucket 0 of an owner 0
	last := uint32(0)
	come := func(attacker bool) {
		last += 2
		if attacker {
			keep.offer(newcomer{id: first | draw.Uint64()>>(1+floodBits), peer: last | 1, rtt: 1})
			return
		}
		keep.offer(newcomer{id: first | draw.Uint64()>>1, peer: last, rtt: time.Duration(2 + draw.IntN(1<<20))})
	}
	keep.reset(0, 1, size)
	for range size {
		come(false)
	}
	var members []uint32
	for range floodTurns * size {
		members = keep.members(members[:0])
		if leaves := members[draw.IntN(len(members))]; leaves&1 == 0 {
			keep.check(func(peer uint32) bool { return peer == leaves })
		}
		honest := draw.IntN(floodAttacker + 1)
		for i := range floodAttacker + 1 {
			come(i != honest)
		}
	}
	for _, peer := range keep.members(members[:0]) {
		held += int(peer & 1)
	}
	return held
}
