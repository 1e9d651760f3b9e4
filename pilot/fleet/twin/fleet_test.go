package twin

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	rules "github.com/shoalnet/shoal/tune/fleet"
)

const prefix = "/shoal/twin"

// TestFleet: peers on emulated links measure their network, the coordinator simulates
// it, searches, and proves on them that the step it found is a gain; all come to run it.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("twelve peers for half an hour of virtual time")
	}
	synctest.Test(t, func(t *testing.T) {
		local := testSet(t).Default().WithNumber("lookup.alpha", 1).WithNumber("lookup.alpha_first", 1).WithNumber("lookup.sure", 0).
			WithNumber("kad.replication", 5).WithNumber("p2p.log_lookups", 0)
		peers := startPeers(t, 12, local)
		head, end := startFleet(t, peers, local)
		var s fleet.Status
		for over := time.Now().Add(time.Hour); time.Now().Before(over); time.Sleep(10 * time.Second) {
			if s = head.Status(); s.Rollout != nil && s.Rollout.Decision != "" && s.State == tune.ServiceSoaking {
				break
			}
		}
		if s.Rollout == nil || s.Rollout.Decision != tune.Promoted || *s.Rollout.Effect.High >= 1 {
			t.Fatalf("status %+v", s)
		}
		if told := strings.Join(s.Journal, "\n"); !strings.Contains(told, "promoted") {
			t.Errorf("journal %s", told)
		}
		t.Logf("%s promoted: ratio %.3f [%.3f, %.3f]", s.Changes, *s.Rollout.Effect.Ratio, *s.Rollout.Effect.Low, *s.Rollout.Effect.High)
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// startPeers starts a network of peers with delays of 10 to 50 ms.
func startPeers(t *testing.T, n int, local knob.Config) (peers []*p2p.Peer) {
	t.Helper()
	network, err := p2p.NewNetwork(p2p.EmulateConfig{Latency: func(a, b int) time.Duration {
		return 10*time.Millisecond + time.Duration(stat.Hash(uint64(min(a, b)), uint64(max(a, b)))%uint64(40*time.Millisecond))
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		join := []int{0, i / 2}
		if i == 0 {
			join = nil
		}
		p, err := network.Start(t.Context(), i, p2p.Options{
			Knobs: local, Seed: uint64(i), Prefix: prefix, Mode: p2p.ModeServer,
			Validator: rules.Validator{Now: func() time.Duration { return time.Duration(time.Now().UnixNano()) }},
		}, join...)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Ready()
		peers = append(peers, p)
	}
	t.Cleanup(func() {
		for _, p := range peers {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := network.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
	return peers
}

// startFleet makes the peers a fleet that the first one coordinates with a Search, and
// has each make lookups.
func startFleet(t *testing.T, peers []*p2p.Peer, local knob.Config) (head *fleet.Coordinator, end func() error) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	preset := tune.Preset{
		Name: "test", Interval: 10 * time.Second, BlockIntervals: 3,
		Stages:    []tune.Stage{{Share: 0.25, MinCycles: 2, MaxCycles: 3}, {Share: 0.5, MinCycles: 3, MaxCycles: 8}},
		HarmAlpha: 0.01, PromoteAlpha: 0.05, FailureMargin: 0.02, PerformanceFloor: 0.95, FloorAlpha: 0.05, EmptyCycles: 3, Repeats: 10,
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	errs := make(chan error, 2*len(peers))
	run := func(f func(context.Context) error) { group.Go(func() { errs <- f(ctx) }) }
	dir := t.TempDir()
	for i, p := range peers {
		courier, err := p2p.NewCourier(p, prefix)
		if err != nil {
			t.Fatal(err)
		}
		pass, err := rules.Pass{Peer: rules.NameOf(courier.Identity()), Expires: time.Duration(time.Now().Add(24 * time.Hour).UnixNano())}.Seal(private)
		if err != nil {
			t.Fatal(err)
		}
		m, err := fleet.NewMember(fleet.MemberConfig{
			Fleet: rules.NameOf(private), Pass: pass, Courier: courier, Peer: p, Local: local,
			Dir: filepath.Join(dir, strconv.Itoa(i)), Skew: time.Second, Poll: 5 * time.Second, Seed: uint64(i),
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			head, err = fleet.NewCoordinator(fleet.CoordinatorConfig{
				Key: private, Member: m, Lease: 30 * time.Second, Settle: 3 * time.Second,
				Propose: &Search{Then: &nobody{}, Workers: 2, Time: time.Second, Seed: 1, Say: t.Logf},
				Service: fleet.ServiceConfig{Preset: preset, Schedule: -1, Soak: time.Hour, Cooldown: time.Hour, Seed: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			run(head.Run)
		}
		run(m.Run)
		group.Go(func() { look(ctx, p, uint64(i)) })
	}
	return head, func() error {
		cancel()
		group.Wait()
		close(errs)
		var all []error
		for err := range errs {
			all = append(all, err)
		}
		return errors.Join(all...)
	}
}

// look makes a lookup for a random key every two and a half seconds.
func look(ctx context.Context, p *p2p.Peer, seed uint64) {
	dice := stat.NewStream(seed, "load")
	for ctx.Err() == nil {
		k := string(binary.BigEndian.AppendUint64(nil, dice.Uint64()))
		_, _ = p.Call(ctx, kad.Call{Op: kad.OpClosest, Key: k, Target: key.Hash([]byte(k))}).Wait()
		timer := time.NewTimer(time.Duration(dice.ExpFloat64() * float64(2500*time.Millisecond)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
