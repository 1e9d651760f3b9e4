package p2p

import (
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Knobs declares the tunables of this package.
func Knobs() []knob.Knob {
	const spec = "our decision"
	return []knob.Knob{
		{
			Name: "p2p.streams_per_peer", Unit: "streams", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 8, Default: "2", Stock: "1",
			Apply: knob.Hot, Scope: knob.Node, Doc: "requests to one peer that may be under way at once; more wait", Source: "stock serializes on one; " + spec,
		},
		{
			Name: "p2p.stream_idle", Kind: knob.Duration, Scale: knob.Log, Min: float64(time.Second), Max: float64(59 * time.Second), Default: "50s",
			Apply: knob.Hot, Scope: knob.Node, Doc: "how long an unused stream is kept; servers reset theirs after a minute", Source: spec,
		},
		{
			Name: "p2p.inbound_streams", Unit: "streams", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 256, Default: "32",
			Apply: knob.Hot, Scope: knob.Node, Doc: "streams that one peer may hold open to us; more are reset", Source: "rust-libp2p opens one a request, up to 32",
		},
		{
			Name: "p2p.inbound_requests", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 8, Max: 512, Default: "256",
			Apply: knob.Restart, Scope: knob.Node, Doc: "requests of all peers that are served at once; more wait in their streams", Source: spec,
		},
		{
			Name: "p2p.book_entries", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 1024, Max: 1 << 20, Default: "16384",
			Apply: knob.Restart, Scope: knob.Node, Doc: "peers outside the routing table whose names are remembered", Source: spec,
		},
		{
			Name: "p2p.store_queue", Unit: "jobs", Kind: knob.Int, Scale: knob.Log, Min: 16, Max: 4096, Default: "256",
			Apply: knob.Restart, Scope: knob.Node, Doc: "loads, saves and checks that wait for the stores; more are refused", Source: spec,
		},
	}
}

// settings are the hot knobs in the form that streams read them.
type settings struct {
	streamsPerPeer int
	streamIdle     time.Duration
	inboundStreams int
}

func settingsOf(c knob.Config) *settings {
	return &settings{
		streamsPerPeer: c.Int("p2p.streams_per_peer"),
		streamIdle:     c.Duration("p2p.stream_idle"),
		inboundStreams: c.Int("p2p.inbound_streams"),
	}
}
