package p2p

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
)

// errandRun is one search for a record on a layout, on paper: no connection is open, a
// session takes a round trip and an answer another, and whoever asks has learnt nothing
// yet but how fast its own table answers. It is what TestSideBySide measures of
// FindProviders, in a millisecond.
type errandRun struct {
	l        *layout
	tk       task
	search   *lookup.Search
	queue    []arrival
	index    map[key.ID]int
	known    map[int]bool // of the own table
	stranger time.Duration
	dropped  map[int]bool
	messages int
}

// arrival is a session that is set up, or an answer that comes in.
type arrival struct {
	at     time.Duration
	peer   int
	answer bool
}

func (l *layout) errand(tk task, set lookup.Settings) *errandRun {
	e := &errandRun{l: l, tk: tk, index: map[key.ID]int{}, known: map[int]bool{}, dropped: map[int]bool{}}
	for i, h := range l.hashes {
		e.index[h] = i
	}
	for _, i := range l.tables[tk.from] {
		e.known[i] = true
		e.stranger += 4 * l.delay(tk.from, i) / time.Duration(len(l.tables[tk.from]))
	}
	set.Answers, set.Alpha, set.Price = 0, min(set.Alpha, set.AlphaFirst), 100*time.Millisecond // as package kad has it at first
	e.search = lookup.New(lookup.Config{
		Target: tk.at(), Self: l.hashes[tk.from], K: nearest, First: true, Withdraws: true, Settings: set,
		Depth: math.Log2(float64(l.live) / nearest), Predict: e.predict,
	}, e.names(tk.from))
	return e
}

func (e *errandRun) predict(p key.ID) time.Duration {
	if i := e.index[p]; e.known[i] {
		return 2 * e.l.delay(e.tk.from, i)
	}
	return e.stranger
}

// names returns whom a peer would name.
func (e *errandRun) names(peer int) (ids []key.ID) {
	for _, i := range e.l.tables[peer] {
		ids = append(ids, e.l.hashes[i])
	}
	slices.SortFunc(ids, func(a, b key.ID) int { return key.Closer(e.tk.at(), a, b) })
	return ids[:min(nearest, len(ids))]
}

// run returns how long the search takes, and how many requests arrive meanwhile.
func (e *errandRun) run() (took time.Duration, messages int) {
	now := time.Duration(0)
	for {
		for q, ok := e.search.Ask(now); ok; q, ok = e.search.Ask(now) {
			i := e.index[q.Peer]
			d := e.l.delay(e.tk.from, i)
			delete(e.dropped, i)
			e.queue = append(e.queue, arrival{now + 2*d, i, false}, arrival{now + 4*d, i, true})
		}
		slices.SortStableFunc(e.queue, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
		if w, ok := e.search.Wake(); ok && (len(e.queue) == 0 || w < e.queue[0].at) {
			now = w
			continue
		}
		if e.search.Done() || len(e.queue) == 0 {
			return now, e.messages
		}
		a := e.queue[0]
		e.queue = e.queue[1:]
		now = a.at
		if !e.dropped[a.peer] && e.arrives(now, a) {
			return now, e.messages
		}
	}
}

// arrives reports whether the record has.
func (e *errandRun) arrives(now time.Duration, a arrival) bool {
	switch {
	case !a.answer:
		e.messages++
		e.search.Reached(now, e.l.hashes[a.peer])
	case slices.Contains(e.tk.best, a.peer):
		return true
	default:
		e.search.Answer(e.l.hashes[a.peer], e.names(a.peer))
	}
	for _, p := range e.search.Spare(nil) {
		e.dropped[e.index[p]] = true
	}
	return false
}

// TestGuide compares, on layouts that no default was chosen on, searches with a guide
// and without, the latter with as many requests as there were before there was a guide.
func TestGuide(t *testing.T) {
	seeds := []uint64{17, 18, 19, 20, 21, 22}
	if *peersFlag > 0 {
		for seed := uint64(23); seed <= 40; seed++ {
			seeds = append(seeds, seed)
		}
	}
	with := lookup.SettingsOf(knobs(t))
	without := with
	without.AlphaFirst, without.Strangers, without.Guide = 4, 4, 0
	var sums [2]struct{ mean, p50, p90, messages float64 }
	for _, seed := range seeds {
		l := newLayout(t, seed, 300, 0)
		tasks := l.tasks(t, 60, operations, experiment{peers: 300}.asking())
		for i, set := range []lookup.Settings{with, without} {
			var all []sample
			for _, tk := range tasks {
				if tk.op == "FindProviders" {
					took, messages := l.errand(tk, set).run()
					all = append(all, sample{took: took, reading: reading{messages: float64(messages)}})
				}
			}
			sums[i].mean += meanOf(func(s sample) float64 { return s.took.Seconds() * 1000 })(all)
			sums[i].p50 += quantileOf(.5)(all)
			sums[i].p90 += quantileOf(.9)(all)
			sums[i].messages += meanOf(func(s sample) float64 { return s.messages })(all)
		}
	}
	for i, name := range []string{"with", "without"} {
		n := float64(len(seeds))
		t.Logf("%s: mean %.1f ms, p50 %.1f ms, p90 %.0f ms, %.2f messages", name, sums[i].mean/n, sums[i].p50/n, sums[i].p90/n, sums[i].messages/n)
	}
	if with, without := sums[0], sums[1]; with.mean >= without.mean || with.messages >= without.messages {
		t.Error("a guide gains nothing")
	}
}
