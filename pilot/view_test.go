package pilot

import "testing"

// TestLastViewsStay: whoever looked at the peers while they closed sees them as they were
// before, and leaves that to others.
func TestLastViewsStay(t *testing.T) {
	l, f := NewLive(), &Fleet{}
	l.running(f)
	l.looked(f, []PeerView{{Peer: 0, Config: "before"}})
	l.closing()
	l.peers.views = []PeerView{{Peer: 0, Config: "last"}}
	got := l.looked(f, []PeerView{{Peer: 0}})
	if again := l.Peers(); got[0].Config != "last" || again[0].Config != "last" {
		t.Errorf("%+v, then %+v", got, again)
	}
}
