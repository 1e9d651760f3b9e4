package p2p

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/stat"
)

// TestPrediction compares what lookups expect of those whom they ask with what comes,
// among peers that all live: requests for which others are asked in vain are few, and
// who is expected to answer sooner does, of those whom the asker has measured. Of
// strangers it expects what strangers took so far, of all the same.
func TestPrediction(t *testing.T) {
	peers, ops := 60, 12
	if *peersFlag > 0 {
		peers, ops = *peersFlag, *opsFlag
	}
	l := newLayout(t, *seedFlag, peers, 0)
	var steps []lookup.Step
	known := map[bool][]lookup.Step{} // by whether the asker had measured it
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, l, false, oursOnly)
		for _, tk := range l.tasks(t, ops, []string{"GetClosestPeers"}, experiment{peers: peers}.asking()) {
			a := f.actors[tk.from].(*ourActor)
			measured := f.measured(a)
			ctx, cancel := context.WithTimeout(f.ctx, taskLimit)
			a.do(ctx, tk)
			cancel()
			time.Sleep(drain)
			closeAll(a.Host())
			time.Sleep(rest)
			traces := a.Traces()
			for _, log := range traces[len(traces)-1].Logs {
				some, _, err := log.Replay()
				must(t, err)
				for _, s := range some {
					if s.Outcome == lookup.GotAnswer {
						known[measured[s.Peer]] = append(known[measured[s.Peer]], s)
					}
				}
				steps = append(steps, some...)
			}
		}
	})
	late := 0
	for _, s := range steps {
		if s.Late {
			late++
		}
	}
	t.Logf("%d peers, %d lookups, %d requests, of which %d late (%.4f); rank correlation %.3f over %d measured peers, %.3f over %d strangers, %.3f over all",
		peers, ops, len(steps), late, float64(late)/float64(len(steps)), agreement(known[true]), len(known[true]), agreement(known[false]), len(known[false]), agreement(append(known[true], known[false]...)))
	if len(known[true]) == 0 || len(known[false]) == 0 {
		t.Fatal("nothing was tried")
	}
	if r := agreement(known[true]); r < 0.9 {
		t.Errorf("rank correlation %.3f between what was expected of measured peers and what came", r)
	}
	if float64(late) > 0.05*float64(len(steps)) {
		t.Errorf("%d of %d requests were late, among peers that all live", late, len(steps))
	}
}

// measured returns whom a peer's table has measured.
func (f *fleet) measured(a *ourActor) map[key.ID]bool {
	list := map[key.ID]bool{}
	a.Inspect(func(n *node.Node) {
		n.Table().Each(func(id key.ID, _ bool) {
			if _, _, ok := n.Table().Measured(id); ok {
				list[id] = true
			}
		})
	})
	return list
}

// agreement is Spearman's rank correlation between what was predicted and what the
// answers took.
func agreement(steps []lookup.Step) float64 {
	var predicted, took []float64
	for _, s := range steps {
		predicted, took = append(predicted, s.Predicted.Seconds()), append(took, (s.Ended-s.Asked).Seconds())
	}
	x, y := stat.Ranks(predicted), stat.Ranks(took)
	mx, my := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}
