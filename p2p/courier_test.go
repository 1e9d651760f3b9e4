package p2p

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/node/kad"
	herd "github.com/shoalnet/shoal/tune/fleet"
)

// TestCourier: requests and replies arrive whole, from who they say; what is too large, is
// refused, or comes to nobody is an error; records are got and put, and that nobody has
// one is not that nobody answers.
func TestCourier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 5*time.Millisecond)
		var couriers []*Courier
		for i := range 3 {
			p := b.peer(b.host(i), func(o *Options) {
				if i > 0 {
					o.Bootstrap = append(o.Bootstrap, infoOfHost(couriers[0].peer.host))
				}
			})
			<-p.Ready()
			c, err := NewCourier(p, string(ownPrefix))
			if err != nil {
				t.Fatal(err)
			}
			couriers = append(couriers, c)
		}
		a, other := couriers[0], couriers[1]
		self := herd.NameOf(other.Identity())
		stop := a.Serve(func(from herd.Name, request []byte) []byte {
			if from != self || string(request) == "no" {
				return nil
			}
			return append([]byte("heard "), request...)
		})
		to := herd.NameOf(a.Identity())
		large := bytes.Repeat([]byte("x"), MaxErrand-6)
		for _, text := range []string{"", "something", string(large)} {
			got, err := other.Ask(b.ctx, to, a.Addrs(), []byte(text))
			if err != nil || string(got) != "heard "+text {
				t.Errorf("%d bytes: %d back, %v", len(text), len(got), err)
			}
		}
		for what, request := range map[string]string{"too large": strings.Repeat("x", MaxErrand+1), "refused": "no"} {
			if _, err := other.Ask(b.ctx, to, a.Addrs(), []byte(request)); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if _, err := couriers[2].Ask(b.ctx, to, a.Addrs(), []byte("x")); err == nil {
			t.Error("a request in another name was answered")
		}
		stop()
		if _, err := other.Ask(b.ctx, to, a.Addrs(), []byte("x")); err == nil {
			t.Error("who does not serve any more answered")
		}
		if _, err := other.Ask(b.ctx, herd.Name{1}, []string{"nonsense"}, nil); err == nil {
			t.Error("nobody answered")
		}
		if got, err := other.Get(b.ctx, "/v/courier"); got != nil || err != nil {
			t.Errorf("a record that nobody has: %q, %v", got, err)
		}
		if err := a.Put(b.ctx, "/v/courier", []byte("1:x")); err != nil {
			t.Error(err)
		}
		if got, err := other.Get(b.ctx, "/v/courier"); string(got) != "1:x" || err != nil {
			t.Errorf("a record: %q, %v", got, err)
		}
		b.net.Kill(1)
		ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
		defer cancel()
		if got, err := other.Get(ctx, "/v/elsewhere"); err == nil {
			t.Errorf("cut off, and yet %q", got)
		}
		if name, err := NameOfPeer(PeerOfName(self)); err != nil || name != self {
			t.Errorf("names: %v", err)
		}
	})
}

// attendant takes down what it hears.
type attendant struct {
	mu    sync.Mutex
	knobs knob.Config
	heard []string
}

func (a *attendant) Begin() (knob.Config, any) { return a.knobs, 7 }

func (a *attendant) End(token any, l Lookup) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = append(a.heard, fmt.Sprintf("%v %v found=%v local=%v %v", token, l.Op, l.Found, l.Local, l.Elapsed.Round(10*time.Millisecond)))
}

// TestAttend: an attendant hears of lookups for callers to their end, and of nothing else.
func TestAttend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 5*time.Millisecond)
		first := b.peer(b.host(0), nil)
		p := b.peer(b.host(1), func(o *Options) { o.Bootstrap = append(o.Bootstrap, infoOfHost(first.host)) })
		<-p.Ready()
		a := &attendant{knobs: knobs(t).WithNumber("lookup.alpha", 2)}
		p.Attend(a)
		target := key.Hash([]byte("/v/x"))
		for _, call := range []kad.Call{
			{Op: kad.OpClosest, Key: "/v/x", Target: target},
			{Op: kad.OpGet, Key: "/v/x", Target: target},
			{Op: kad.OpRefresh, Target: target},
			{Op: kad.OpPing, Target: first.Self()},
			{Op: kad.OpClosest, Key: "/v/x", Target: target, Knobs: knobs(t)},
		} {
			_, _ = p.Call(b.ctx, call).Wait()
		}
		p.Attend(nil)
		_, _ = p.Call(b.ctx, kad.Call{Op: kad.OpClosest, Key: "/v/x", Target: target}).Wait()
		want := "7 " + kad.OpClosest.String() + " found=true local=false 10ms; 7 " + kad.OpGet.String() + " found=false local=false 10ms"
		if got := strings.Join(a.heard, "; "); got != want {
			t.Errorf("heard %s\nwant  %s", got, want)
		}
	})
}

func FuzzReadErrand(f *testing.F) {
	f.Add([]byte{3, 'a', 'b', 'c'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := readErrand(bytes.NewReader(raw))
		if err == nil && (len(got) > MaxErrand || len(got) > len(raw)) {
			t.Errorf("%d bytes of %d", len(got), len(raw))
		}
	})
}
