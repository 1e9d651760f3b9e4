package fleet

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// invented is a peer whose lookups are drawn: lognormal, around a level that drifts, and
// better by a share where the candidate runs.
type invented struct {
	mu     sync.Mutex
	who    p2p.Attendant
	config knob.Config
}

func (p *invented) Configure(c knob.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config = c
}

func (p *invented) Attend(a p2p.Attendant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = a
}

// live makes two lookups a second until the context ends.
func (p *invented) live(ctx context.Context, seed uint64, gain float64) {
	dice := stat.NewStream(seed, "invented")
	level := 0.0
	for ctx.Err() == nil {
		time.Sleep(500 * time.Millisecond)
		level += 0.02*dice.NormFloat64() - 0.005*level
		p.mu.Lock()
		who, tuned := p.who, p.config.Int("lookup.alpha") == 2
		p.mu.Unlock()
		if who == nil {
			continue
		}
		_, token := who.Begin()
		seconds := 0.1 * math.Exp(level+0.5*dice.NormFloat64())
		if tuned {
			seconds *= 1 - gain
		}
		who.End(token, p2p.Lookup{Op: kad.OpClosest, Elapsed: time.Duration(seconds * float64(time.Second)), Found: true})
	}
}

// verdicts runs many lone peers through their first study and counts how it ends.
func verdicts(t *testing.T, runs int, gain float64) map[tune.Decision]int {
	t.Helper()
	counts := map[tune.Decision]int{}
	for seed := range runs {
		synctest.Test(t, func(t *testing.T) {
			p, plan := &invented{config: slowLookups(t)}, &planted{name: "lookup.alpha", text: "2"}
			l, err := NewLone(LoneConfig{
				Peer: p, Local: slowLookups(t), Dir: t.TempDir(), Propose: plan, forgetful: true,
				Service: ServiceConfig{Preset: alonePreset(), Schedule: -1, Seed: uint64(seed)},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() { _ = l.Run(ctx) })
			all.Go(func() { p.live(ctx, uint64(seed), gain) })
			for end := time.Now().Add(3 * time.Hour); time.Now().Before(end); time.Sleep(10 * time.Second) {
				if r := l.Status().Rollout; r != nil && r.State == tune.StateEnded {
					counts[r.Decision]++
					break
				}
			}
			cancel()
			all.Wait()
		})
	}
	return counts
}

// TestLoneRates: of peers whose candidate changes nothing hardly any promote it, though
// their latencies drift; where it helps by a third most do; where it harms by a
// third none.
func TestLoneRates(t *testing.T) {
	const runs = 40
	for _, c := range []struct {
		gain        float64
		least, most int // promotions
	}{{0, 0, 1}, {1.0 / 3, 32, runs}, {-1.0 / 3, 0, 0}} {
		counts := verdicts(t, runs, c.gain)
		t.Logf("gain %.0f %%: %v", 100*c.gain, counts)
		if n := counts[tune.Promoted]; n < c.least || n > c.most {
			t.Errorf("gain %v: %d of %d promoted, want %d to %d", c.gain, n, runs, c.least, c.most)
		}
	}
}
