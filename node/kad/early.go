package kad

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/key"
)

// An optimistic provide (Trautwein et al., INFOCOM 2024, and go-libp2p-kad-dht's
// lookup_optim.go) stores while the lookup still runs, and ends for its caller when
// most of the k have taken the record. The thresholds are theirs. We differ where
// peers are dead: only those that were reached are given the record, only those that
// took it count, and the lookup goes on behind the caller's back to its proper end,
// so that in the end the k nearest live peers hold it, as after any provide.

const (
	// sureMember is how likely a peer must be one of the k nearest to be given the
	// record at once: optProvIndividualThresholdCertainty.
	sureMember = 0.9
	// sureSet is one minus the probability that the k nearest peers lie farther on
	// average than those that are known now for these to be given the record:
	// optProvSetThresholdStrictness.
	sureSet = 0.9
)

// atLeast is the probability that a Poisson variable is i or more.
func atLeast(i int, mean float64) float64 {
	below, term := 0.0, math.Exp(-mean)
	for j := range i {
		below += term
		term *= mean / float64(j+1)
	}
	return max(1-below, 0)
}

// eager has the record sent to peers that live and, as far as we know how large the
// network is, belong to the k nearest.
func (o *op) eager(k *protocol) {
	if !o.body.Early || o.body.Op != OpProvide || o.phase != searching || o.region != nil {
		return
	}
	n, known := k.surveys.size()
	if !known {
		n = k.peer.Table.NetworkSize()
	}
	var room [usual]key.ID
	nearest, mean := o.search.Nearest(room[:0])
	whole := len(nearest) >= o.k && atLeast(o.k/2+1, n*mean) < sureSet
	for _, p := range nearest {
		sure := whole || atLeast(o.k, n*share(p, o.body.Target)) <= 1-sureMember
		if sure && o.search.Lives(p) && !slices.Contains(o.tried, p) {
			o.tried = append(o.tried, p)
			o.targets = append(o.targets, p)
		}
	}
}

// returnEarly ends the operation for its caller if enough peers hold the record.
func (o *op) returnEarly(k *protocol) {
	enough := int(math.Ceil(k.peer.Knobs().Number("kad.early_share") * float64(o.k)))
	if !o.body.Early || o.body.Op != OpProvide || o.call == 0 || o.stored < enough {
		return
	}
	r := Result{Found: true, Stored: o.stored, Peers: slices.Clone(o.holders), Early: true}
	r.Trace = o.observe(k, r)
	k.deliver(o, r, true)
	o.call = 0
}

// beginStores goes on from the end of the lookup to the peers that are to hold the
// record, goal of them; those that were tried already are not asked again.
func (o *op) beginStores(targets []key.ID, goal int) {
	o.phase, o.goal, o.next, o.targets = storing, goal, 0, nil
	o.stored -= len(o.holders)
	for i, p := range targets {
		switch {
		case !slices.Contains(o.tried, p):
			o.targets = append(o.targets, p)
		case i < goal && slices.Contains(o.holders, p):
			o.stored++ // it is one of those that are to hold it
		}
	}
}
