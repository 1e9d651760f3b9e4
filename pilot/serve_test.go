package pilot_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/tune"
)

// serve runs a service in virtual time.
func serve(t *testing.T, length time.Duration, plan pilot.Plan, live *pilot.Live) *pilot.Served {
	t.Helper()
	set := knobs(t)
	cfg := pilot.Config{
		Peers: 32, Matrix: place.Globe(1), For: length, Rate: 40, Seed: 1, Workers: 2, Trials: 32, Dir: t.TempDir(),
		Baseline: with(t, set.Stock(), "table.shape = 5"), Reference: set.Default(), Live: live,
		Say: t.Logf, Progress: func(string, string, int64, int64) {},
	}
	var served *pilot.Served
	synctest.Test(t, func(t *testing.T) {
		var err error
		if served, err = pilot.Serve(context.Background(), cfg, plan); err != nil {
			t.Fatal(err)
		}
	})
	for _, d := range served.Changes {
		t.Logf("%s at %.0f s: %s", d.Kind, d.AtS, d.Words())
	}
	return served
}

// TestService: the workload changes; the service notices it, studies the network as it
// is then, tries what it found, and tells all of it in words. Then 30 % of the peers
// leave without a word: success comes back, and the service says what it saw.
func TestService(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes of network time")
	}
	s := serve(t, 5*time.Minute, pilot.Plan{Regime: 100 * time.Second, Mishap: 0.3, MishapAt: 4 * time.Minute}, nil)
	if len(s.Changes) != 2 || s.Changes[0].NoticedS == nil || *s.Changes[0].NoticedS > 60 {
		t.Fatalf("not noticed within a minute: %+v", s.Changes)
	}
	for _, word := range []string{"trigger: the traffic has a new pattern", "study: study 1 begins, because the traffic", "proposal: study 1 proposes "} {
		if !slices.ContainsFunc(s.Journal, func(line string) bool { return strings.HasPrefix(line, word) }) {
			t.Errorf("the journal has no line %q: %q", word, s.Journal)
		}
	}
	if s.Promoted > 0 && (len(s.Knobs) == 0 || s.First == s.Last) || s.Promoted == 0 && s.First != s.Last {
		t.Errorf("%d promoted, changes %v", s.Promoted, s.Knobs)
	}
	d := s.Changes[1]
	if s.PeersLeft != 22 || d.BackS == nil || *d.BackS > 45 || d.SuccessEnd == nil || *d.SuccessEnd < 0.95 {
		t.Errorf("%d peers left, %s", s.PeersLeft, d.Words())
	}
	if !slices.ContainsFunc(s.Triggers, func(x tune.Trigger) bool { return x.Kind == tune.TriggerMembers }) {
		t.Errorf("triggers %+v", s.Triggers)
	}
}
