package tune

import (
	"testing"

	"github.com/shoalnet/shoal/knob"
)

func TestAssignment(t *testing.T) {
	for _, peers := range []int{4, 12, 50} {
		together := 0
		for salt := range uint64(300) {
			a := Assignment{Scope: knob.Node, Salt: salt, Share: 0.25}
			tuned := 0
			for i := range peers {
				tuned += int(a.ArmOfPeer(i, peers))
			}
			if tuned != tunedPeers(0.25, peers) {
				t.Fatalf("%d of %d peers are tuned", tuned, peers)
			}
			together += int(a.ArmOfPeer(1, peers))
		}
		if together < 50 || together > 100 { // 75 expected, deviation 7.5
			t.Errorf("peer 1 of %d was tuned in %d of 300 blocks, want about 75", peers, together)
		}
	}
	a, tuned := Assignment{Scope: knob.Request, Salt: 9, Share: 0.05}, 0
	for unit := range uint64(100_000) {
		tuned += int(a.Arm(unit))
	}
	if tuned < 4_650 || tuned > 5_350 { // five deviations of 69
		t.Errorf("%d of 100,000 lookups are tuned, want about 5,000", tuned)
	}
	for _, treated := range []bool{false, true} {
		a = Assignment{Scope: knob.Network, Share: 0.5, Treated: treated}
		if want := armIf(treated); a.Arm(3) != want || a.ArmOfPeer(3, 9) != want {
			t.Errorf("the network is not in arm %v", want)
		}
	}
}
