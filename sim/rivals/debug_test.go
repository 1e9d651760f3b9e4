package rivals

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestDebug(t *testing.T) {
	cfg := Default()
	cfg.Peers, cfg.Warmup, cfg.Duration, cfg.Seed = 200, 5*time.Minute, 5*time.Minute, 1
	w, _ := newWorkload(cfg)
	all, _ := Named([]string{"chord-near"})
	s := all[0]
	grid := s.grid()
	v := grid[len(grid)-1]
	k, _ := s.build(v)
	p, err := w.play(context.Background(), k, func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, o := range w.operations {
		if !o.counts {
			continue
		}
		if p.took[i] > 3000 {
			caller := w.slots[o.slot][o.generation]
			var tg guest
			for _, s := range w.slots {
				for _, g := range s {
					if g.id == o.target {
						tg = g
					}
				}
			}
			fmt.Printf("%v %x -> %x took %.0f caller age %v target age %v\n", o.at, caller.id.Short()>>48, tg.id.Short()>>48, p.took[i], o.at-caller.From, o.at-tg.From)
		}
		i++
	}
}
