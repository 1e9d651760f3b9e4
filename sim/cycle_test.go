package sim

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
)

// What happens at a rate that follows the clock happens as often as the clock
// says: most in the evening, less on Saturday, the mean of a working day at level 1.
func TestCycle(t *testing.T) {
	c := Cycle{Amplitude: 0.5, Weekend: 0.4}
	tokyo := clock{&c, zone(place.Site{Lon: 139.7, Located: true})}
	if tokyo.ahead != 9*time.Hour {
		t.Fatalf("Tokyo is %v ahead of Greenwich", tokyo.ahead)
	}
	const weeks = 200
	var byHour [7 * 24]int
	draw := stat.NewStream(1, "test")
	for at := tokyo.after(0, time.Minute, draw); at < weeks*week; at = tokyo.after(at, time.Minute, draw) {
		byHour[(at+tokyo.ahead)%week/time.Hour]++
	}
	for hour, n := range byHour {
		want := 60 * weeks * c.level(time.Duration(hour)*time.Hour+30*time.Minute)
		if math.Abs(float64(n)-want) > 5*math.Sqrt(want) {
			t.Errorf("hour %d of the week: %d, want about %.0f", hour, n, want)
		}
	}
	if level := c.level(20 * time.Hour); level != 1.5 {
		t.Errorf("level %v at 20:00", level)
	}
	if low, week := c.level(8*time.Hour), c.level(6*day+20*time.Hour); math.Abs(low-0.5) > 1e-12 || math.Abs(week-0.6) > 1e-12 {
		t.Errorf("level %v at 8:00, %v on Sunday evening", low, week)
	}
	if calm := (clock{cycle: &Cycle{}}); calm.after(time.Hour, time.Minute, draw) <= time.Hour {
		t.Error("without a cycle nothing follows")
	}
}

// A share of the peers leaves at once and comes back in time; nobody else does.
func TestExodus(t *testing.T) {
	const peers, at = 4000, time.Hour
	line := timeline{
		churn: &Churn{}, seed: 1, horizon: 3 * time.Hour,
		mishaps: []Mishap{{Kind: Exodus, Share: 0.3, After: at, For: 30 * time.Minute}},
	}
	count := func(when time.Duration) (n float64) {
		for slot := range uint64(peers) {
			if present(line.stays(slot, clock{cycle: &Cycle{}}), when) >= 0 {
				n++
			}
		}
		return n / peers
	}
	for when, want := range map[time.Duration]float64{0: 1, at - 1: 1, at: 0.7, at + 30*time.Minute: 1 - 0.3/math.E} {
		if got := count(when); math.Abs(got-want) > 0.03 {
			t.Errorf("%v: %.3f are there, want %.3f", when, got, want)
		}
	}
}

// Of two mishaps each takes its share, in whatever order they are named.
func TestExodusTwice(t *testing.T) {
	const peers = 4000
	early, late := Mishap{Kind: Exodus, Share: 0.3, After: time.Hour}, Mishap{Kind: Exodus, Share: 0.3, After: 2 * time.Hour}
	for _, mishaps := range [][]Mishap{{early, late}, {late, early}} {
		line := timeline{churn: &Churn{}, seed: 1, horizon: 4 * time.Hour, mishaps: mishaps}
		var there [2]float64
		for slot := range uint64(peers) {
			stays := line.stays(slot, clock{cycle: &Cycle{}})
			for i, at := range []time.Duration{early.After, late.After} {
				if present(stays, at) >= 0 {
					there[i]++
				}
			}
		}
		if math.Abs(there[0]/peers-0.7) > 0.03 || math.Abs(there[1]/peers-0.49) > 0.03 {
			t.Errorf("%v: %v of %d are there", mishaps, there, peers)
		}
	}
}

// While a region is cut off operations across the cut fail; when it has healed
// they succeed again. The same happens on any number of threads.
func TestCut(t *testing.T) {
	cfg := DefaultEvents()
	cfg.Matrix, cfg.Peers, cfg.Knobs, cfg.Seed = continents(t), 90, preset(t, "stock"), 3
	cfg.Churn, cfg.History, cfg.OpsPerMinute, cfg.Timeout = Churn{Away: time.Minute}, 60, 12, 15*time.Second
	cfg.Warmup, cfg.Duration = 10*time.Second, 4*time.Minute
	cfg.Cycle = Cycle{Amplitude: 0.3}
	cfg.Mishaps = []Mishap{
		{Kind: Cut, Share: 0.3, After: time.Minute, For: time.Minute},
		{Kind: Exodus, Share: 0.1, After: 3 * time.Minute, For: time.Minute},
	}
	var first string
	for workers := 1; workers <= 2; workers++ {
		cfg.Workers = workers
		out := events(t, cfg)
		out.CPUSeconds, out.Workers = 0, 0
		text, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(text)
		}
		if first != string(text) {
			t.Errorf("two workers:\n%s\none:\n%s", text, first)
		}
		during := out.Windows[6].Success // of twenty, from 72 to 84 s
		before, after := out.Windows[2].Success, out.Windows[13].Success
		if before < 0.98 || during > 0.9 || after < 0.95 {
			t.Errorf("success %v before, %v while a third is cut off, %v after", before, during, after)
		}
		if a, b := out.Windows[13].Peers, out.Windows[15].Peers; a != 90 || b > 88 {
			t.Errorf("%d peers before an exodus, %d after", a, b)
		}
	}
}

// Where memory gets scarce, tables give up the places above their size, newcomers'
// too, and have them again afterwards; nothing fails for it.
func TestPressure(t *testing.T) {
	cfg := DefaultEvents()
	cfg.Matrix, cfg.Peers, cfg.Seed = continents(t), 120, 3
	cfg.Churn, cfg.History, cfg.OpsPerMinute = Churn{Shape: 1, Scale: 20 * time.Minute}, 100, 2
	cfg.Warmup, cfg.Duration = 10*time.Second, 10*time.Minute
	cfg.Mishaps = []Mishap{{Kind: Pressure, Share: 0.6, After: 3 * time.Minute, For: 4 * time.Minute}}
	var err error
	if cfg.Knobs, err = preset(t, "stock").With("table.soft", "1"); err != nil {
		t.Fatal(err)
	}
	soft := events(t, cfg)
	cfg.Workers = 2
	if other := events(t, cfg); other.TraceHash != soft.TraceHash {
		t.Errorf("trace hash %s with one worker, %s with two", soft.TraceHash, other.TraceHash)
	}
	cfg.Workers, cfg.Mishaps = 1, nil
	idle := events(t, cfg)
	cfg.Knobs = preset(t, "stock")
	hard := events(t, cfg)
	const before, during, after = 4, 12, 19 // of twenty windows
	roomy, size := idle.Windows[during].Entries, hard.Windows[during].Entries
	if roomy < 1.2*size {
		t.Fatalf("%.1f entries with places above the size of a bucket, %.1f without: nothing to give up", roomy, size)
	}
	if got, want := soft.Windows[during].Entries, 0.6*size+0.4*roomy; math.Abs(got-want) > 0.08*want {
		t.Errorf("%.1f entries under pressure at 0.6 of the peers, want about %.1f: %.1f without pressure, %.1f without room", got, want, roomy, size)
	}
	for _, i := range []int{before, after} {
		if got, want := soft.Windows[i].Entries, idle.Windows[i].Entries; math.Abs(got-want) > 0.05*want {
			t.Errorf("window %d: %.1f entries, %.1f in a network without pressure", i, got, want)
		}
	}
	if soft.SuccessRatio < idle.SuccessRatio-0.01 {
		t.Errorf("success %v, %v without pressure", soft.SuccessRatio, idle.SuccessRatio)
	}
}

func TestBadTimes(t *testing.T) {
	for want, change := range map[string]func(*EventsConfig){
		"amplitude 1, weekend 0":   func(c *EventsConfig) { c.Cycle.Amplitude = 1 },
		"amplitude 0, weekend -1":  func(c *EventsConfig) { c.Cycle.Weekend = -1 },
		"mishap flood of 0.3":      func(c *EventsConfig) { c.Mishaps = []Mishap{{Kind: "flood", Share: 0.3}} },
		"mishap exodus of 1 after": func(c *EventsConfig) { c.Mishaps = []Mishap{{Kind: Exodus, Share: 1}} },
		"empty for -1s":            func(c *EventsConfig) { c.Churn.Away = -time.Second },
	} {
		cfg := troubled(t)
		change(&cfg)
		if _, err := RunEvents(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
