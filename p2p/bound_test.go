package p2p

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// soonest is the least time in which a peer whose hops take two round trips can find
// a record: it asks the fastest holder that it knows, or by a miracle the fastest of
// all its acquaintances names the fastest of all holders.
func (l *layout) soonest(tk task) time.Duration {
	const never = time.Hour
	direct, helper, holder := never, never, never
	for _, i := range l.tables[tk.from] {
		if i >= l.live {
			continue
		}
		hop := 4 * l.delay(tk.from, i)
		helper = min(helper, hop)
		if slices.Contains(tk.best, i) {
			direct = min(direct, hop)
		}
	}
	for _, i := range tk.best {
		holder = min(holder, 4*l.delay(tk.from, i))
	}
	return min(direct, helper+holder)
}

// TestFirstProviderBound says how fast FindProviders could be at best on the layout
// of TestSideBySide, if every peer asked knew all that there is to know. A lookup of
// a peer that has learnt nothing yet takes at least that long.
func TestFirstProviderBound(t *testing.T) {
	if *peersFlag > 0 {
		for _, stale := range []float64{0, 0.05, 0.1, 0.2} {
			l := newLayout(t, *seedFlag, *peersFlag, stale)
			var all []sample
			for _, tk := range l.tasks(t, *opsFlag, operations, experiment{peers: *peersFlag}.asking()) {
				if tk.op == "FindProviders" {
					all = append(all, sample{took: l.soonest(tk)})
				}
			}
			t.Logf("%d peers, seed %d, %.0f %% stale: p50 at least %.1f ms", *peersFlag, *seedFlag, 100*stale, quantileOf(.5)(all))
		}
		return
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLayout(t, 2, 40, 0)
		f := newFleet(t, l, false, oursOnly)
		tasks := l.tasks(t, 1, []string{"FindProviders"}, []int{3})
		f.deposit(tasks)
		s := f.run(tasks[0])
		if least := l.soonest(tasks[0]); s.took < least || s.took > 3*least {
			t.Errorf("took %v, at best %v", s.took, least)
		}
	})
}
