package kad

import (
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Knobs declares the tunables of the protocol.
func Knobs() []knob.Knob {
	hour := float64(time.Hour)
	return []knob.Knob{
		{
			Name: "kad.replication", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 64, Default: "20",
			Scope: knob.Network, Guards: []string{"success", "bytes"},
			Doc:    "k: peers that store a record, that a lookup finds, and that a reply names",
			Source: "Kademlia paper, section 2.2",
		},
		{
			Name: "kad.refresh", Kind: knob.Duration, Scale: knob.Log, Min: 0, Max: 24 * hour, Default: "10m",
			Zero: "no refresh", Scope: knob.Network, Guards: []string{"success", "bytes"},
			Doc: "pause between two lookups that refresh the same bucket", Source: "go-libp2p-kad-dht: 10 min",
		},
		{
			Name: "kad.reprovide", Kind: knob.Duration, Scale: knob.Log, Min: float64(time.Minute), Max: 48 * hour, Default: "22h",
			Scope: knob.Node, Guards: []string{"success", "bytes"},
			Doc: "pause after which a kept provider record is stored anew", Source: "amino: 22 h, validity 48 h",
		},
		{
			Name: "kad.operations", Unit: "operations", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 4096, Default: "256",
			Scope: knob.Node, Doc: "operations of local callers at once; more are turned away", Source: "ours: a bound",
		},
	}
}
