package tune

import (
	"math"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
)

// Arm is one side of the comparison.
type Arm uint8

// The arms.
const (
	Baseline Arm = iota // what runs today
	Tuned               // the candidate
)

// String returns the arm in lower case.
func (a Arm) String() string { return [...]string{"baseline", "tuned"}[a] }

// Assignment says who is in which arm during one block.
type Assignment struct {
	Scope knob.Scope `json:"scope"` // whom the change touches, and so what is split
	Salt  uint64     `json:"salt,string"`
	Share float64    `json:"share"` // of the units that are tuned: in (0, 0.5]; 0 during a pause
	// Treated holds for the scope Network alone: the whole network runs the
	// candidate in this block.
	Treated bool `json:"treated,omitempty"`
}

// Arm returns the arm of a unit: of a lookup by its number under the scope
// Request; under Network all units are in one arm. Of peers ArmOfPeer is the
// better choice: it leaves no arm empty.
func (a Assignment) Arm(unit uint64) Arm {
	if a.Scope == knob.Network {
		return armIf(a.Treated)
	}
	return armIf(float64(stat.Hash(a.Salt, unit)>>11)/(1<<53) < a.Share)
}

// ArmOfPeer returns the arm of peer i of peers under the scope Node: exactly the
// share of them, rounded, is tuned, those with the smallest salted hashes. Under
// Request a peer has no arm of its own and is in Baseline. O(peers).
func (a Assignment) ArmOfPeer(i, peers int) Arm {
	if a.Scope != knob.Node {
		return armIf(a.Scope == knob.Network && a.Treated)
	}
	rank, own := 0, stat.Hash(a.Salt, uint64(i))
	for j := range peers {
		h := stat.Hash(a.Salt, uint64(j))
		if h < own || h == own && j < i {
			rank++
		}
	}
	return armIf(rank < tunedPeers(a.Share, peers))
}

func armIf(tuned bool) Arm {
	if tuned {
		return Tuned
	}
	return Baseline
}

func tunedPeers(share float64, peers int) int { return int(math.Round(share * float64(peers))) }

// unitName is the word of a report for what is assigned.
func unitName(s knob.Scope) string {
	switch s {
	case knob.Request:
		return "request"
	case knob.Node:
		return "peer"
	default:
		return "time blocks"
	}
}
