package fleet

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
)

// keyOf is a key for tests.
func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

func goodLease() Lease {
	return Lease{Rank: Rank{3, nameOf("A"), 2}, Granted: epoch, Expires: epoch + time.Minute, Addrs: []string{"/ip4/192.0.2.1/udp/1/quic-v1"}}
}

func goodBulletin() Bulletin {
	return Bulletin{
		Rank: Rank{3, nameOf("A"), 2}, From: epoch, Expires: epoch + time.Minute, Interval: 10 * time.Second, Good: "lookup.alpha = 4\n", GoodHash: "x",
		Trial: &Trial{Block: 1, Candidate: "lookup.alpha = 8\n", CandidateHash: "y", Scope: knob.Request, Salt: math.MaxUint64, Share: 0.5},
	}
}

func goodReport(peer Name) Report {
	var s stat.Sketch
	s.AddN(0.05, 7)
	s.AddN(0.2, 3)
	return Report{
		Peer: peer, Interval: uint64(epoch/time.Minute) - 1, Length: time.Minute, Good: "x",
		Arms: [2]ArmReport{NewArmReport(10, 9, &s), {}},
	}
}

// TestSealed: what one key signed for one fleet is read as that and as nothing else.
func TestSealed(t *testing.T) {
	fleet, other, peer := keyOf(1), keyOf(2), keyOf(3)
	name := NameOf(fleet)
	lease, bulletin := must(goodLease().Seal(fleet)), must(goodBulletin().Seal(fleet))
	report := must(goodReport(NameOf(peer)).Seal(name, peer))
	if l, err := OpenLease(name, lease); err != nil || l.Rank != goodLease().Rank {
		t.Errorf("a lease: %v", err)
	}
	if b, err := OpenBulletin(name, bulletin); err != nil || b.Trial.Salt != math.MaxUint64 {
		t.Errorf("a bulletin: %v", err)
	}
	if r, err := OpenReport(name, NameOf(peer), report); err != nil || r.Arms[0].Attempts != 10 {
		t.Errorf("a report: %v", err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	_, err := OpenLease(name, must(goodLease().Seal(other)))
	refused("a lease of another key", err)
	_, err = OpenLease(NameOf(other), lease)
	refused("a lease of another fleet", err)
	_, err = OpenBulletin(name, append([]byte{'B'}, lease[1:]...))
	refused("a lease as a bulletin", err)
	_, err = OpenReport(name, NameOf(other), report)
	refused("a report of another peer", err)
	_, err = OpenReport(NameOf(other), NameOf(peer), report)
	refused("a report to another fleet", err)
	foreign := goodReport(NameOf(peer))
	_, err = OpenReport(name, NameOf(other), must(foreign.Seal(name, other)))
	refused("a report in another's name", err)
	for i := range bulletin {
		bad := bytes.Clone(bulletin)
		bad[i] ^= 1
		if _, err := OpenBulletin(name, bad); err == nil {
			t.Fatalf("a bulletin with byte %d changed was taken", i)
		}
	}
	pass := must(Pass{Peer: NameOf(peer), Expires: epoch}.Seal(fleet))
	if p, err := OpenPass(name, pass); err != nil || p.Peer != NameOf(peer) {
		t.Errorf("a pass: %v", err)
	}
	_, err = OpenPass(name, must(Pass{Peer: NameOf(peer), Expires: epoch}.Seal(peer)))
	refused("a pass that a peer gave itself", err)
}

// TestBounds: what is signed but impossible is refused.
func TestBounds(t *testing.T) {
	fleet := keyOf(1)
	name := NameOf(fleet)
	for what, change := range map[string]func(*Bulletin){
		"no term": func(b *Bulletin) { b.Term = 0 }, "no end": func(b *Bulletin) { b.Expires = b.From },
		"too long": func(b *Bulletin) { b.Expires = b.From + 2*MaxLife }, "no interval": func(b *Bulletin) { b.Interval = 0 },
		"large": func(b *Bulletin) { b.Good = strings.Repeat("#", maxText+1) }, "no block": func(b *Bulletin) { b.Trial.Block = 0 },
		"share": func(b *Bulletin) { b.Trial.Share = 1.5 }, "scope": func(b *Bulletin) { b.Trial.Scope = 9 },
	} {
		b := goodBulletin()
		change(&b)
		if _, err := OpenBulletin(name, must(b.Seal(fleet))); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	for what, change := range map[string]func(*Report){
		"more latencies": func(r *Report) { r.Arms[0].Attempts = 9 }, "impossible counts": func(r *Report) { r.Arms[0].Successes = 11 },
		"no sketch": func(r *Report) { r.Arms[0].Latency = []byte{1} }, "memory": func(r *Report) { r.Memory = 2 },
		"length": func(r *Report) { r.Length = 0 }, "used": func(r *Report) { r.Used = 3 }, "processors": func(r *Report) { r.CPU = -1 },
	} {
		r := goodReport(name)
		change(&r)
		if _, err := OpenReport(name, name, must(r.Seal(name, fleet))); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// TestValidator: records are judged by the fleet that their key names, and the highest
// rank is the best.
func TestValidator(t *testing.T) {
	fleet := keyOf(1)
	name := NameOf(fleet)
	v := Validator{Now: func() time.Duration { return epoch }}
	old, newer := goodBulletin(), goodBulletin()
	newer.Number++
	a, b := must(old.Seal(fleet)), must(newer.Seal(fleet))
	if err := v.Validate(BulletinKey(name), a); err != nil {
		t.Error(err)
	}
	for key, value := range map[string][]byte{
		BulletinKey(NameOf(keyOf(2))): a, LeaseKey(name): a, BulletinKey(name) + "/x": a, "/" + Namespace + "/x/lease": a, BulletinKey(name): a[:len(a)-1],
	} {
		if v.Validate(key, value) == nil {
			t.Errorf("%s: taken", key)
		}
	}
	future := goodLease()
	future.Granted += time.Hour
	future.Expires += time.Hour
	if v.Validate(LeaseKey(name), must(future.Seal(fleet))) == nil {
		t.Error("a lease of the future was taken")
	}
	for _, values := range [][][]byte{{a, b, []byte("x")}, {b, []byte("x"), a}} {
		if i, err := v.Select(BulletinKey(name), values); err != nil || !bytes.Equal(values[i], b) {
			t.Errorf("selected %d: %v", i, err)
		}
	}
	if _, err := v.Select(BulletinKey(name), [][]byte{[]byte("x")}); err == nil {
		t.Error("nonsense was selected")
	}
}

// TestApproach: steps lead everywhere, and none is longer than a step.
func TestApproach(t *testing.T) {
	set := testSet(t)
	knobs := set.Knobs()
	draw := func(rt *rapid.T, label string) knob.Config {
		c := set.Default()
		for _, k := range knobs {
			if k.Kind == knob.Vector {
				continue
			}
			c = c.WithNumber(k.Name, k.FromUnit(rapid.Float64Range(0, 1).Draw(rt, label)))
		}
		return c
	}
	rapid.Check(t, func(rt *rapid.T) {
		from, to := draw(rt, "from"), draw(rt, "to")
		for steps := 0; !from.Equal(to); steps++ {
			next := Approach(from, to)
			if name, far := Far(from, next); far {
				rt.Fatalf("%s went farther than a step: %s to %s", name, from.Text(name), next.Text(name))
			}
			if next.Equal(from) || steps > 200 {
				rt.Fatalf("it does not arrive:\n%v\n%v", from, to)
			}
			from = next
		}
	})
}

func report(peer byte, interval uint64, base, tuned func(*stat.Sketch)) Report {
	r := Report{Peer: Name{peer}, Interval: interval, Length: time.Minute}
	for arm, fill := range []func(*stat.Sketch){base, tuned} {
		if fill == nil {
			continue
		}
		var s stat.Sketch
		fill(&s)
		r.Arms[arm] = NewArmReport(int(s.Count()), int(s.Count()), &s)
	}
	return r
}

func lookups(seconds float64, n uint64) func(*stat.Sketch) {
	return func(s *stat.Sketch) { s.AddN(seconds, n) }
}

// TestIntake: reports count once and in their time, and a liar is worth no more than its
// share.
func TestIntake(t *testing.T) {
	x := NewIntake(time.Minute)
	const interval = 100
	now := (interval + 1) * time.Minute
	for peer := range byte(20) {
		if v := x.Tell(now, report(peer, interval, lookups(0.1, 10), lookups(0.08, 10))); v != Counted {
			t.Fatal(v)
		}
	}
	for want, r := range map[Verdict]Report{
		Again: report(1, interval, lookups(0.1, 10), nil), TooOld: report(1, interval-9, nil, nil), NotYet: report(1, interval+2, nil, nil),
		OffPace: {Peer: Name{1}, Interval: interval, Length: time.Hour},
	} {
		if v := x.Tell(now, r); v != want {
			t.Errorf("%s, want %s", v, want)
		}
	}
	ratio := func(w tune.Window) float64 {
		b, c := w.Arms[0], w.Arms[1]
		return math.Exp(c.SumLog/float64(c.Samples) - b.SumLog/float64(b.Samples))
	}
	w, n := x.Window(interval, Block{}, true, 0.09)
	if n != 20 || w.Arms[0].Samples != 200 || math.Abs(ratio(w)-0.8) > 0.01 || w.Arms[0].Slow != 200 || w.Arms[1].Slow != 0 {
		t.Errorf("%d reporters, ratio %v, %+v", n, ratio(w), w)
	}
	// One peer says that a million of its tuned lookups took a hundred seconds each.
	x.Tell(now, report(99, interval, lookups(0.1, 10), lookups(100, 1_000_000)))
	lied, _ := x.Window(interval, Block{}, true, 0)
	if lied.Arms[1].Samples > 221 {
		t.Errorf("the liar weighs %d samples", lied.Arms[1].Samples-200)
	}
	// Twice the weight of one in 21, and at most a factor of two from the median.
	if r := ratio(lied); r > 0.8*1.1 {
		t.Errorf("a liar among 21 peers moved the ratio to %v", r)
	}
	if w, n := x.Window(interval, Block{Number: 1}, true, 0); n != 0 || w.Arms[0].Samples != 0 {
		t.Error("reports of another block counted")
	}
	if got := len(x.Peers(now + 2*time.Minute)); got != 21 {
		t.Errorf("%d peers", got)
	}
	if got := len(x.Peers(now + 10*time.Minute)); got != 0 {
		t.Errorf("%d peers after a silence", got)
	}
	x.Forget(now + 25*time.Hour)
	if len(x.peers) != 0 {
		t.Error("peers of yesterday are remembered")
	}
}

// TestUse: an arm uses what its median peer does; who measures nothing says nothing.
func TestUse(t *testing.T) {
	x := NewIntake(time.Minute)
	for peer := range byte(11) {
		r := report(peer, 100, lookups(0.1, 10), nil)
		r.Used, r.CPU = 0.5, 0.1
		if peer > 5 {
			r = report(peer, 100, nil, lookups(0.08, 10))
			r.Used, r.CPU = 0.85, 0.2
		}
		if peer == 0 {
			r.Used, r.CPU = 0, 0
		}
		if peer == 1 {
			r.Used, r.CPU = 2, 2 // a liar is one of many
		}
		x.Tell(101*time.Minute, r)
	}
	w, _ := x.Window(100, Block{}, false, 0)
	if want := [2]tune.Use{{Memory: 0.5, CPU: 0.1}, {Memory: 0.85, CPU: 0.2}}; w.Use != want {
		t.Errorf("used %+v, want %+v", w.Use, want)
	}
}

// TestWholeArm: an arm that is much worse as a whole shows, whatever the bounds.
func TestWholeArm(t *testing.T) {
	x := NewIntake(time.Minute)
	for peer := range byte(20) {
		x.Tell(101*time.Minute, report(peer, 100, lookups(0.1, 10), lookups(3, 10)))
	}
	w, _ := x.Window(100, Block{}, true, 0)
	if gap := w.Arms[1].SumLog/200 - w.Arms[0].SumLog/200; gap < math.Log(2) {
		t.Errorf("an arm of 30 times the latency shows as %v", math.Exp(gap))
	}
}

// TestWeights: where lookups are split a peer has one weight for both arms, and the small
// arm is no place for a liar; where peers are split an arm by itself bounds nothing.
func TestWeights(t *testing.T) {
	window := func(split bool, others ...Report) [2]float64 {
		t.Helper()
		x := NewIntake(time.Minute)
		for peer := range byte(20) {
			r := report(peer, 100, lookups(0.1, 990), lookups(0.1, 10))
			if !split {
				r = report(peer, 100, lookups(0.1, 1000), nil)
			}
			x.Tell(101*time.Minute, r)
		}
		for _, r := range others {
			x.Tell(101*time.Minute, r)
		}
		w, _ := x.Window(100, Block{}, split, 0)
		return [2]float64{float64(w.Arms[0].Samples), float64(w.Arms[1].Samples)}
	}
	for _, c := range []struct {
		what   string
		split  bool
		others []Report
		want   [2]float64
	}{
		{"a stage of 1 %", true, nil, [2]float64{19800, 200}},
		{"a busy peer", true, []Report{report(50, 100, lookups(0.1, 9900), lookups(0.1, 100))}, [2]float64{19800 + 1980, 200 + 20}},
		{"a busy peer that chance gave too many", true, []Report{report(50, 100, lookups(0.1, 960), lookups(0.1, 40))}, [2]float64{19800 + 480, 200 + 20}},
		{"a liar in the small arm", true, []Report{report(50, 100, nil, lookups(100, 2000))}, [2]float64{19800, 200 + 20}},
		{"a liar in both", true, []Report{report(50, 100, lookups(0.1, 1000), lookups(100, 1_000_000))}, [2]float64{19800, 200 + 20}},
		{"peers, all of one arm", false, nil, [2]float64{20000, 0}},
		{"peers", false, []Report{report(50, 100, nil, lookups(0.1, 700)), report(51, 100, nil, lookups(0.1, 1900)), report(52, 100, nil, lookups(0.1, 5000))}, [2]float64{20000, 4600}},
	} {
		got := window(c.split, c.others...)
		for arm := range got {
			if math.Abs(got[arm]-c.want[arm]) > 1 {
				t.Errorf("%s: the arms weigh %v, want %v", c.what, got, c.want)
				break
			}
		}
	}
}

// TestSplit: exactly the share of the peers is tuned.
func TestSplit(t *testing.T) {
	var peers []Name
	for i := range byte(30) {
		peers = append(peers, Name{i})
	}
	for share, want := range map[float64]int{0: 0, 0.05: 2, 0.25: 8, 0.5: 15, 0.98: 29} {
		cut, tuned := Split(7, share, peers)
		trial := Trial{Scope: knob.Node, Salt: 7, Cut: cut}
		n := 0
		for _, p := range peers {
			if trial.Tuned(p) {
				n++
			}
		}
		if n != want || tuned != want {
			t.Errorf("share %v: %d peers, said %d, want %d", share, n, tuned, want)
		}
	}
}

func FuzzOpenBulletin(f *testing.F) {
	fleet := keyOf(1)
	f.Add(must(json.Marshal(goodBulletin())))
	set := testSet(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		// Signed by the fleet whatever it is: what the key's owner can do wrong, too.
		sealed := append([]byte{'B'}, ed25519.Sign(fleet, signed(kindBulletin, NameOf(fleet), body))...)
		b, err := OpenBulletin(NameOf(fleet), append(sealed, body...))
		if err != nil {
			return
		}
		local := set.Default()
		p, err := NewFollower(FollowerConfig{Self: nameOf("z"), Local: local, Tunable: testTunable}, State{})
		if err != nil {
			t.Fatal(err)
		}
		p.Heard(b.From, b)
		for {
			o, ok := p.Ask(b.From)
			if !ok {
				break
			}
			if r, is := o.(Run); is {
				c := r.Config
				if r.Split != nil {
					c = r.Tuned
				}
				if name, bad := outside(local, c, testTunable); bad {
					t.Errorf("%s was changed", name)
				}
				if name, far := Far(p.Good(), c); far {
					t.Errorf("%s went farther than a step", name)
				}
			}
		}
	})
}

func FuzzOpenLease(f *testing.F) {
	fleet := keyOf(1)
	f.Add(must(json.Marshal(goodLease())))
	f.Fuzz(func(t *testing.T, body []byte) {
		sealed := append([]byte{'L'}, ed25519.Sign(fleet, signed(kindLease, NameOf(fleet), body))...)
		l, err := OpenLease(NameOf(fleet), append(sealed, body...))
		if err == nil && (l.Term == 0 || l.Expires-l.Granted > MaxLease || len(l.Addrs) > MaxAddrs) {
			t.Errorf("taken: %+v", l)
		}
		if _, err := OpenLease(NameOf(fleet), body); err == nil {
			t.Error("unsigned")
		}
	})
}

func FuzzRecords(f *testing.F) {
	fleet := keyOf(1)
	name := NameOf(fleet)
	f.Add(byte('P'), must(json.Marshal(Pass{Peer: name, Expires: epoch})))
	f.Add(byte('W'), must(json.Marshal(Wish{Order: tune.OrderHold, Issued: epoch})))
	f.Add(byte('L'), must(json.Marshal(goodLease())))
	f.Fuzz(func(t *testing.T, what byte, body []byte) {
		sealed := append([]byte{what}, ed25519.Sign(fleet, signed(kind(what), name, body))...)
		sealed = append(sealed, body...)
		v := Validator{Now: func() time.Duration { return epoch }}
		for _, raw := range [][]byte{body, sealed} {
			for _, key := range []string{LeaseKey(name), BulletinKey(name), string(body)} {
				if i, err := v.Select(key, [][]byte{raw}); err == nil && (i != 0 || what != 'L' && what != 'B') {
					t.Errorf("%q was selected", raw)
				}
				_ = v.Validate(key, raw)
			}
		}
		if w, err := OpenWish(name, sealed); err == nil && (what != 'W' || len(w.Try) > maxText) {
			t.Errorf("%q is a wish", sealed)
		}
		if _, err := OpenPass(name, sealed); err == nil && what != 'P' {
			t.Errorf("%q is a pass", sealed)
		}
		if _, err := OpenWish(name, body); err == nil {
			t.Error("a wish without a signature")
		}
	})
}

func FuzzOpenReport(f *testing.F) {
	peer := keyOf(3)
	f.Add(must(json.Marshal(goodReport(NameOf(peer)))))
	f.Fuzz(func(t *testing.T, body []byte) {
		fleet := NameOf(keyOf(1))
		sealed := append([]byte{'R'}, ed25519.Sign(peer, signed(kindReport, fleet, body))...)
		r, err := OpenReport(fleet, NameOf(peer), append(sealed, body...))
		if err != nil {
			return
		}
		x := NewIntake(r.Length)
		x.Tell(time.Duration(min(r.Interval+1, math.MaxInt64/uint64(r.Length)))*r.Length, r)
		for _, split := range []bool{false, true} {
			w, _ := x.Window(r.Interval, r.Block, split, 0.1)
			for _, a := range w.Arms {
				if a.Samples < 0 || a.Successes > a.Attempts || math.IsNaN(a.SumLog) || math.IsInf(a.SumLog2, 0) {
					t.Errorf("%+v", a)
				}
			}
		}
	})
}
