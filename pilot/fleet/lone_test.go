package fleet

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/tune"
)

// alonePreset is Switchback in seconds.
func alonePreset() tune.Preset {
	p := Switchback()
	p.Interval = 10 * time.Second
	p.Stages = []tune.Stage{{Share: 0.5, MinCycles: 6, MaxCycles: 12}}
	return p
}

// lone runs one peer that tunes itself among others that do not, until the first study
// is over, and returns it with the proposer that was planted.
func lone(t *testing.T, local knob.Config, name, text string, loaded bool, after func(*world, *Lone, *planted)) {
	t.Helper()
	measured(t, local, name, text, loaded, nil, after)
}

// measured is lone, whose peer also measures what it uses.
func measured(t *testing.T, local knob.Config, name, text string, loaded bool, usage func() p2p.Usage, after func(*world, *Lone, *planted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 12, local)
		defer w.close()
		p := &planted{name: name, text: text}
		cfg := LoneConfig{
			Peer: w.peers[0], Local: local, Dir: w.dir, Propose: p, Say: w.say(0),
			Service: ServiceConfig{Preset: alonePreset(), Schedule: -1, Soak: time.Minute, Cooldown: time.Hour},
		}
		if usage != nil {
			cfg.Usage = func() (p2p.Usage, uint64) { return usage(), w.peers[0].Counters().BytesOut }
		}
		l, err := NewLone(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.ends[0] = cancel
		w.run(func() error { return l.Run(ctx) })
		if loaded {
			w.run(func() error { w.load(ctx, 0); return nil })
		}
		after(w, l, p)
	})
}

// studied waits until the first study is over, and watches what runs.
func (w *world) studied(l *Lone, p *planted) {
	w.t.Helper()
	w.until("the study is over", 2*time.Hour, func() bool {
		return strings.Contains(w.told(), "end: ") || strings.Contains(w.told(), "proposes") && len(p.seen()) == 0 && l.Status().State == tune.ServiceIdle
	})
}

// TestLoneGain: a planted gain is found by taking turns, kept, and on disk.
func TestLoneGain(t *testing.T) {
	lone(t, slowLookups(t), "lookup.alpha", "2", true, func(w *world, l *Lone, p *planted) {
		w.studied(l, p)
		if !slices.Contains(p.seen(), tune.Promoted) {
			t.Fatalf("it was not promoted:\n%s", w.told())
		}
		w.until("it soaked", 5*time.Minute, func() bool { return l.Status().State == tune.ServiceIdle })
		s := l.Status()
		t.Logf("promoted after %v: ratio %.3f [%.3f, %.3f]", time.Since(w.began), *s.Rollout.Effect.Ratio, *s.Rollout.Effect.Low, *s.Rollout.Effect.High)
		if !strings.Contains(s.Changes, "lookup.alpha = 2") {
			t.Errorf("it runs %s", s.Changes)
		}
		if state, _, err := readState(w.dir); err != nil || !strings.Contains(state.Good, "lookup.alpha = 2") {
			t.Errorf("on disk: %+v, %v", state, err)
		}
	})
}

// TestLoneFat: a candidate that takes more than a tenth more requests is not promoted, nor
// is one where the process has little memory left. The requests are those of real peers,
// whose tables are too small to know everybody; processor and memory are invented, since
// all peers of the test share one process.
func TestLoneFat(t *testing.T) {
	roomy := p2p.Usage{Memory: 0.5, CPU: time.Second, Cores: 2}
	full := roomy
	full.Memory = 0.85
	for _, c := range []struct {
		name     string
		from, to int
		usage    p2p.Usage
		why      string
	}{{"requests", 3, 6, roomy, "cost "}, {"memory", 1, 2, full, "memory was above its limit of 80 %"}} {
		t.Run(c.name, func(t *testing.T) {
			local := slowLookups(t).WithVector("table.shape", []int{2}).WithNumber("table.spares", 0).WithNumber("lookup.alpha", float64(c.from))
			measured(t, local, "lookup.alpha", strconv.Itoa(c.to), true, func() p2p.Usage { return c.usage }, func(w *world, l *Lone, p *planted) {
				w.studied(l, p)
				s := l.Status()
				if len(p.seen()) == 0 || slices.Contains(p.seen(), tune.Promoted) || !strings.Contains(s.Rollout.Why, c.why) {
					t.Errorf("ended %v: %+v\n%s", p.seen(), s.Rollout.Soft, w.told())
					return
				}
				t.Logf("%s; %+v", s.Rollout.Why, s.Used)
				if s.Used.BytesPerS <= 0 || s.Used.Memory != c.usage.Memory {
					t.Errorf("it used %+v", s.Used)
				}
			})
		})
	}
}

// TestLoneNothing: what changes nothing is not promoted.
func TestLoneNothing(t *testing.T) {
	lone(t, slowLookups(t), "lookup.hard", "10s", true, func(w *world, l *Lone, p *planted) {
		w.studied(l, p)
		if len(p.seen()) == 0 || slices.Contains(p.seen(), tune.Promoted) {
			t.Fatalf("ended %v:\n%s", p.seen(), w.told())
		}
		if s := l.Status(); strings.Contains(s.Changes, "lookup.hard") {
			t.Errorf("it runs %s", s.Changes)
		}
	})
}

// TestLoneHarm: harm is rolled back, and its knob cools down.
func TestLoneHarm(t *testing.T) {
	lone(t, slowLookups(t).WithNumber("lookup.alpha", 2), "lookup.alpha", "1", true, func(w *world, l *Lone, p *planted) {
		w.studied(l, p)
		if !slices.Equal(p.seen(), []tune.Decision{tune.RolledBack}) {
			t.Fatalf("ended %v:\n%s", p.seen(), w.told())
		}
		if s := l.Status(); s.Arm != "baseline" || !strings.Contains(s.Changes, "lookup.alpha = 2") {
			t.Errorf("it runs %s, %s", s.Arm, s.Changes)
		}
	})
}

// TestLoneGuard: when lookups begin to fail in a trial, the peer is back at what was good
// at the end of the interval, before any test of the rollout has a say.
func TestLoneGuard(t *testing.T) {
	lone(t, slowLookups(t), "lookup.alpha", "2", true, func(w *world, l *Lone, p *planted) {
		w.until("the candidate runs", 20*time.Minute, func() bool { return l.Status().Arm == "tuned" })
		time.Sleep(15 * time.Second)
		for range 40 { // what the candidate would have done
			_, token := l.meter.Begin()
			l.meter.End(token, failing())
		}
		began := time.Now()
		w.until("it is back", time.Minute, func() bool { return strings.Contains(w.told(), "back to the last good") })
		if took := time.Since(began); took > alonePreset().Interval+2*time.Second {
			t.Errorf("it took %v", took)
		}
		w.studied(l, p)
		if !slices.Equal(p.seen(), []tune.Decision{tune.RolledBack}) {
			t.Errorf("ended %v", p.seen())
		}
	})
}

// TestLoneQuiet: without lookups it says so and tries nothing.
func TestLoneQuiet(t *testing.T) {
	lone(t, slowLookups(t), "lookup.alpha", "2", false, func(w *world, l *Lone, p *planted) {
		w.until("it says so", 10*time.Minute, func() bool { return strings.Contains(w.told(), "not enough data") })
		if len(p.seen()) > 0 || l.Status().Enough {
			t.Errorf("ended %v, %+v", p.seen(), l.Status())
		}
	})
}

// TestLoneBounds: what is not its own, or too far, is not tried.
func TestLoneBounds(t *testing.T) {
	for name, text := range map[string]string{"table.spares": "32", "lookup.alpha": "32"} {
		lone(t, slowLookups(t), name, text, true, func(w *world, l *Lone, p *planted) {
			time.Sleep(10 * time.Minute)
			if len(p.seen()) > 0 {
				t.Errorf("%s = %s was tried: %v", name, text, p.seen())
			}
		})
	}
}

// TestLoneKeepsDefault: what was promoted runs after a restart, also if nothing of it
// differs from the defaults while the peer's own configuration does.
func TestLoneKeepsDefault(t *testing.T) {
	defaults := testSet(t).Default()
	cfg := LoneConfig{Local: defaults.WithNumber("lookup.alpha", 1), Dir: t.TempDir(), Service: ServiceConfig{Schedule: -1}}
	for _, promoted := range []string{"4", defaults.Text("lookup.alpha")} {
		good, err := defaults.With("lookup.alpha", promoted)
		if err != nil {
			t.Fatal(err)
		}
		for restart := range 2 {
			p := &invented{}
			cfg.Peer = p
			l, err := NewLone(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if restart == 0 {
				err = l.settle(wall(), good)
			}
			if err = errors.Join(err, l.journal.close()); err != nil {
				t.Fatal(err)
			}
			if got := p.config.Text("lookup.alpha"); got != promoted {
				t.Errorf("restart %d: lookup.alpha is %s, want %s as promoted", restart, got, promoted)
			}
		}
	}
}
