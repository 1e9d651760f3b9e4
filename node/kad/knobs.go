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
			Scope: knob.Network, Guards: []string{"success", "bytes"}, Costs: []string{"memory", "bytes", "disk"}, Step: 1.5,
			Doc:    "k: peers that store a record, that a lookup finds, and that a reply names",
			Source: "Kademlia paper, section 2.2",
		},
		{
			Name: "kad.refresh", Kind: knob.Duration, Scale: knob.Log, Min: 0, Max: 24 * hour, Default: "10m", Stock: "20m",
			Zero: "no refresh", Scope: knob.Network, Guards: []string{"success", "bytes"}, Costs: []string{"-bytes"},
			Doc: "pause between two lookups that refresh the same bucket", Source: "go-libp2p-kad-dht: 10 min, in effect 20",
		},
		{
			Name: "kad.refresh_buckets", Kind: knob.Enum, Scale: knob.Index, Choices: []string{"unfilled", "all"}, Default: "unfilled", Stock: "all",
			Scope: knob.Network, Guards: []string{"success", "bytes"},
			Doc:    "refreshed are the buckets that the lookup of the own key does not fill, or all that have members, and the own key twice as often",
			Source: "go-libp2p-kad-dht's rtrefresh: all",
		},
		{
			Name: "kad.refresh_calm", Kind: knob.Duration, Scale: knob.Log, Min: 0, Max: 24 * hour, Default: "1h", Stock: "0s",
			Zero: "every bucket is refreshed after kad.refresh", Scope: knob.Network, Guards: []string{"success", "bytes"}, Costs: []string{"-bytes"},
			Doc:    "pause, if longer, between two such lookups of a bucket that is calm: hardly a place wants a peer that lives, hardly a request fails",
			Source: "Kademlia paper, section 2.3: an hour; the condition is ours",
		},
		{
			Name: "kad.rejoin", Kind: knob.Duration, Scale: knob.Log, Min: 0, Max: 24 * hour, Default: "1m",
			Zero: "whoever was lost is not tried again", Scope: knob.Node, Guards: []string{"success", "bytes"}, Costs: []string{"-bytes"},
			Doc:    "first pause between two tries of a peer to join through, or of a former member, that the table has lost; it doubles up to 16 times that",
			Source: "ours: so that the halves of a network that was parted find each other again",
		},
		{
			Name: "kad.reprovide", Kind: knob.Duration, Scale: knob.Log, Min: float64(time.Minute), Max: 48 * hour, Default: "22h",
			Scope: knob.Node, Guards: []string{"success", "bytes"}, Costs: []string{"-bytes"},
			Doc: "pause after which a kept provider record is stored anew", Source: "amino: 22 h, validity 48 h",
		},
		{
			Name: "kad.early_share", Kind: knob.Float, Min: 0.25, Max: 1, Default: "0.75",
			Scope: knob.Node, Guards: []string{"latency", "success"},
			Doc:    "share of k peers that must have taken a record before an optimistic provide ends for its caller",
			Source: "go-libp2p-kad-dht's optProvReturnRatio, which counts failures too",
		},
		{
			Name: "kad.probe_patience", Kind: knob.Duration, Scale: knob.Log, Min: 0, Max: float64(time.Minute), Default: "0s",
			Zero: "probes do not wait", Scope: knob.Node, Guards: []string{"latency"},
			Doc:    "for how long probes wait while operations of local callers are under way",
			Source: "ours",
		},
		{
			Name: "kad.crowd_score", Kind: knob.Float, Min: 0, Max: 100, Default: "6", Stock: "0",
			Zero: "a crowd around a key goes unnoticed", Scope: knob.Node, Guards: []string{"success", "bytes"}, Costs: []string{"-bytes"},
			Doc:    "minus the decimal logarithm of how likely the distances of the k nearest to a key are, from which on a wider region is taken in",
			Source: "arXiv:2307.12212; the statistic is ours",
		},
		{
			Name: "kad.crowd_width", Unit: "k", Kind: knob.Int, Min: 1, Max: 8, Default: "3", Stock: "1",
			Scope: knob.Node, Guards: []string{"bytes"}, Costs: []string{"bytes"}, Doc: "peers of a wider region that are given or asked for a record, at most so many times k",
			Source: "our decision",
		},
		{
			Name: "kad.key_bytes", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 128, Max: 1 << 16, Default: "1024", Stock: "65536",
			Scope: knob.Node, Costs: []string{"memory"}, Doc: "length of a key that is served", Source: "ours: a bound",
		},
		{
			Name: "kad.operations", Unit: "operations", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 4096, Default: "256",
			Scope: knob.Node, Costs: []string{"memory"}, Doc: "operations of local callers at once; more are turned away", Source: "ours: a bound",
		},
	}
}
