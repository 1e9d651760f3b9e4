package lookup_test

import (
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/stat"
)

// Searches that use memory in turn are as new ones.
func TestPool(t *testing.T) {
	var pool lookup.Pool
	var none *lookup.Pool
	for seed := range uint64(20) {
		draw := stat.NewStream(seed, "test.pool")
		peers := make([]key.ID, 30+draw.IntN(150))
		for i := range peers {
			peers[i] = key.ID{draw.Uint64(), 0, seed % 2}
		}
		cfg := lookup.Config{Target: key.ID{draw.Uint64()}, K: 8, Settings: lookup.Settings{Alpha: 3, Refill: 8, Hard: time.Second}}
		both := []*lookup.Search{pool.New(cfg, peers[:10]), none.New(cfg, peers[:10])}
		for !both[0].Done() {
			q, asked := both[0].Ask(0)
			if other, same := both[1].Ask(0); other != q || same != asked {
				t.Fatalf("seed %d: in used memory %v is asked, in new memory %v", seed, q, other)
			}
			if asked {
				for _, s := range both {
					s.Answer(q.Peer, peers)
				}
			}
		}
		if got, want := both[0].Result(8, nil), both[1].Result(8, nil); len(want) != 8 || !slices.Equal(got, want) {
			t.Errorf("seed %d: in used memory %v, in new memory %v", seed, got, want)
		}
		pool.Over(both[0])
		none.Over(both[1])
	}
}
