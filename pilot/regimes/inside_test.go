package regimes

import (
	"math"
	"slices"
	"testing"
	"time"
)

func named(t *testing.T, name string) *World {
	t.Helper()
	w, err := Named([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return &w[0]
}

func TestWorlds(t *testing.T) {
	for _, w := range Worlds() {
		typical := networks(w.typical)
		switches := 0
		for epoch := range w.Epochs {
			c := w.at(7, epoch)
			if c != w.at(7, epoch) {
				t.Fatalf("%s: epoch %d is not the same twice", w.Name, epoch)
			}
			if !slices.Contains(typical, c.network()) {
				t.Errorf("%s: epoch %d is in a network of which nothing typical tells: %+v", w.Name, epoch, c)
			}
			if epoch > 0 && c != w.at(7, epoch-1) {
				switches++
				if !w.calendar && epoch%regimeEpochs != 0 {
					t.Errorf("%s switches in epoch %d", w.Name, epoch)
				}
			}
		}
		if !w.calendar && switches != regimesInRun-1 {
			t.Errorf("%s: %d switches", w.Name, switches)
		}
		if w.calendar && w.at(7, 3) != w.at(8, 3+7*dayEpochs) {
			t.Errorf("%s: one Monday is not like another", w.Name)
		}
	}
	// An entry that is probed every 2·s·stay hours is dead for s of the time: with a
	// pause T between probes and sessions of mean m, T/2m.
	c := Conditions{Stale: 0.1, Stay: 5 * time.Hour}
	if math.Abs(c.probes()-1) > 1e-12 {
		t.Errorf("%v probes an hour", c.probes())
	}
	f := figures{Latency: 100, Messages: 10, Entries: 60}
	if got := f.cost(Conditions{Stale: 0.1, Stay: 5 * time.Hour, Rate: 30}, 2); math.Abs(got-124) > 1e-9 {
		t.Errorf("a lookup costs %v: want 100 + 2·(10 + 60/30)", got)
	}
}

// TestForecast: after some days the time of the day tells more than the last epoch; in
// a world that switches it does not, and the last epoch is used.
func TestForecast(t *testing.T) {
	for name, better := range map[string]bool{"week": true, "office": true, "churn": false} {
		w := named(t, name)
		b := bench{}
		f := newForecaster(w)
		f.last = b.see(w.at(1, 0))
		forecast, last, n := 0.0, 0.0, 0
		for epoch := range w.Epochs {
			guess, before := f.forecast(epoch), f.last
			truth := b.see(w.at(1, epoch))
			if epoch >= w.Epochs/2 {
				for k := range truth {
					forecast += math.Abs(guess[k] - truth[k])
					last += math.Abs(before[k] - truth[k])
				}
				n++
			}
			f.saw(epoch, truth)
		}
		if better && forecast > 0.1*last || !better && forecast > 1.3*last+1e-9 {
			t.Errorf("%s: forecasts are off by %.3f, the last epoch by %.3f in %d epochs", name, forecast, last, n)
		}
	}
}

func TestRecovery(t *testing.T) {
	d := diary{excess: make([]float64, 30), since: []int{10, 20}}
	for epoch := 10; epoch < 13; epoch++ {
		d.excess[epoch] = 0.5
	}
	for epoch := 20; epoch < 30; epoch++ {
		d.excess[epoch] = 0.03 // never near enough
	}
	if got := d.recovery(); got != (3+10)/2.0 {
		t.Errorf("recovered after %v epochs, want 3 and 10", got)
	}
}

func TestBanditPolicies(t *testing.T) {
	// Arm 1 is better where upkeep weighs, arm 0 elsewhere.
	cost := func(arm int, seen features) float64 { return 0.7 + 0.1*seen[3]*float64(1-2*arm) + 0.05*float64(arm) }
	p, err := newBanditPolicy(0, 2, 1, false, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	right, byChance := 0, 0.0
	for epoch := range 400 {
		seen := features{1, 0.5, 0, float64(epoch % 2)}
		arm, chance := p.choose(epoch, seen)
		if chance != 0.75 && chance != 0.25 {
			t.Fatalf("chance %v", chance)
		}
		if epoch >= 200 && chance == 0.75 {
			byChance++
			if arm == epoch%2 {
				right++
			}
		}
		p.learn(arm, seen, cost(arm, seen), seen)
	}
	if float64(right) < 0.95*byChance || byChance < 100 {
		t.Errorf("%d of %v choices were right", right, byChance)
	}
}
