package p2p

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var upkeepFlag = flag.Int("upkeep", 12, "upkeep: peers of each world")

// TestUpkeep leaves peers alone whose tables are full, and counts the requests that they
// make to keep them so: peers of go-libp2p-kad-dht; ours with the preset stock, which should
// make no more, or what ours gain over the preset would flatter them, nor so few that it is
// another thing; and ours as they are, at most half as many as stock.
func TestUpkeep(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	l := newLayout(t, 1, *upkeepFlag, 0)
	run := func(preset string) (perMinute []float64) {
		synctest.Test(t, func(t *testing.T) { perMinute = idle(t, l, preset) })
		if t.Failed() {
			t.FailNow()
		}
		return perMinute
	}
	stock, preset, ours := run(""), run("stock"), run("default")
	var text strings.Builder
	text.WriteString("| minutes | stock | preset stock | preset default |\n|---|---|---|---|\n")
	for i, s := range stock {
		from := int((idleFrom + time.Duration(i)*idleStep).Minutes())
		fmt.Fprintf(&text, "| %d to %d | %.2f | %.2f | %.2f |\n", from, from+int(idleStep.Minutes()), s, preset[i], ours[i])
	}
	t.Logf("%d peers: requests a peer and minute, in the mean %.2f, %.2f and %.2f\n%s", l.live, mean(stock), mean(preset), mean(ours), text.String())
	if slices.Min(ours) == 0 {
		t.Error("ours make no requests")
	}
	if mean(preset) > mean(stock) || mean(preset) < mean(stock)/2 {
		t.Errorf("the preset stock makes %.2f requests a peer and minute, stock %.2f", mean(preset), mean(stock))
	}
	if mean(ours) > mean(stock)/2 {
		t.Errorf("ours make %.2f requests a peer and minute, stock %.2f", mean(ours), mean(stock))
	}
}

// Requests are counted for as many times ten minutes, after the first ones, in which
// everybody begins at once.
const (
	idleFrom  = 20 * time.Minute
	idleStep  = 10 * time.Minute
	idleSteps = 6
)

// idle returns the requests that a peer gets in a minute, by steps: a peer of
// go-libp2p-kad-dht, or one of ours with a preset.
func idle(t *testing.T, l *layout, preset string) (perMinute []float64) {
	f := newWorld(t, l)
	for i := range l.live {
		h := f.start(i)
		if preset == "" {
			f.actors = append(f.actors, newStockActor(f.bed, h, true))
			continue
		}
		set, err := knobs(t).Set().Preset(preset)
		if err != nil {
			t.Fatal(err)
		}
		f.actors = append(f.actors, &ourActor{f.peer(h, func(o *Options) { o.Seed, o.Knobs = uint64(i), set })})
	}
	for i, a := range f.actors {
		for _, j := range l.tables[i] {
			a.learn(f.info(j), 2*l.delay(i, j))
		}
	}
	requests := func() (sum float64) {
		for _, a := range f.actors {
			sum += float64(a.served())
		}
		return sum
	}
	time.Sleep(idleFrom)
	before := requests()
	for range idleSteps {
		time.Sleep(idleStep)
		now := requests()
		perMinute = append(perMinute, (now-before)/idleStep.Minutes()/float64(l.live))
		before = now
	}
	return perMinute
}
