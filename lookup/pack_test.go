package lookup

import (
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
)

// Damaged bytes are an error and nothing worse, and whatever is unpacked is packed
// into the same again.
func FuzzUnpack(f *testing.F) {
	log := Log{
		Peers: []key.ID{{1}, {2, 3, 4, 5}}, Named: []uint16{0, 1, 300}, Predicted: []time.Duration{-1, time.Second},
		Entries: []Entry{{At: time.Second, Kind: Asked, Peer: 1}, {At: 2 * time.Second, Kind: Answered, Peer: 1, From: 1, To: 3}},
		Allowed: []Allowance{{Within: time.Millisecond, Tells: true}, {}},
	}
	packed := log.Pack()
	f.Add(packed.raw)
	empty := (&Log{Entries: []Entry{}}).Pack()
	f.Add(empty.raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		log, err := (&Packed{raw: raw}).Unpack()
		if err != nil {
			return
		}
		again := log.Pack()
		back, err := again.Unpack()
		if err != nil || len(back.Entries) != len(log.Entries) || len(back.Named) != len(log.Named) || len(again.raw) > len(raw) {
			t.Fatalf("%x is packed as %x: %v", raw, again.raw, err)
		}
		_, _, _ = log.Replay() // an error or not
	})
}
