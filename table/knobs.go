package table

import (
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Admission says who gets the places of a bucket.
type Admission uint8

// The admissions. All choose among the peers that have answered us and do not
// fail, and none breaks a limit on address groups.
const (
	// First keeps those known longest: what go-libp2p-kad-dht does, and the
	// Kademlia paper's rule (section 2.4: old peers stay).
	First Admission = iota
	// Balanced spreads the members evenly over the prefixes that follow the
	// bucket's own: the recursion of the balanced-buckets report (ProbeLab,
	// RFM 19.1), redone over everybody known instead of by eviction.
	Balanced
	// Near keeps those that answer fastest. An attacker close by can fill such a
	// bucket: not for open networks.
	Near
	// Mixed keeps a share (table.random_share) of those known longest and fills the
	// rest with those that answer fastest.
	Mixed
)

var admissions = []string{"first", "balanced", "near", "mixed"}

// String returns the word that the knob table.admission uses.
func (a Admission) String() string { return admissions[a] }

// Knobs declares the tunables of the table.
func Knobs() []knob.Knob {
	guards := []string{"latency", "success", "bytes"}
	return []knob.Knob{
		{
			Name: "table.shape", Unit: "peers", Kind: knob.Vector, Scale: knob.Log, Min: 1, Max: 256, Default: "20",
			Scope: knob.Network, Guards: guards, Costs: []string{"memory", "bytes"},
			Doc:    "places in bucket 0, 1, 2, ...: the far half of the space first; the last holds for all that follow",
			Source: "Kademlia paper, section 2.2, k = 20",
		},
		{
			Name: "table.admission", Kind: knob.Enum, Scale: knob.Index, Choices: admissions, Default: "mixed", Stock: "first",
			Scope: knob.Network, Guards: guards, Doc: "who gets the places of a full bucket",
			Source: "first: go-libp2p-kad-dht; balanced: RFM 19.1; mixed: proximity with a random half",
		},
		{
			Name: "table.random_share", Kind: knob.Float, Min: 0, Max: 1, Default: "0.5",
			Scope: knob.Network, Guards: guards, Zero: "the same as near",
			Doc:    "share of a bucket that admission mixed fills without regard to latency",
			Source: "half, against eclipse by nearby peers",
		},
		{
			Name: "table.spares", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 0, Max: 1024, Default: "64",
			Scope: knob.Node, Zero: "no replacement cache", Costs: []string{"memory"},
			Doc:    "peers beside the members that a bucket remembers, with what they answered",
			Source: "Kademlia paper, section 4.1, replacement cache; the size is ours",
		},
		{
			Name: "table.soft", Kind: knob.Float, Min: 0, Max: 4, Default: "0",
			Scope: knob.Node, Guards: guards, Zero: "a bucket never has more places than its size", Costs: []string{"memory"},
			Doc:    "places above its size that a bucket may have while memory is idle, as a share of it; they go as memory gets scarce",
			Source: "ours",
		},
		{
			Name: "table.failures", Unit: "requests", Kind: knob.Int, Min: 1, Max: 10, Default: "2", Stock: "1",
			Scope: knob.Node, Guards: guards, Doc: "failed requests in a row after which a member is dropped",
			Source: "go-libp2p-kad-dht drops at the first",
		},
		{
			Name: "table.group_per_bucket", Unit: "peers", Kind: knob.Int, Min: 0, Max: 256, Default: "0", Apply: knob.Restart,
			Scope: knob.Node, Zero: "no limit", Doc: "members of one address group in a bucket; 2 on a public network",
			Source: "go-libp2p-kad-dht, amino constants",
		},
		{
			Name: "table.group_total", Unit: "peers", Kind: knob.Int, Min: 0, Max: 4096, Default: "0", Apply: knob.Restart,
			Scope: knob.Node, Zero: "no limit", Doc: "members of one address group in the table; 3 on a public network",
			Source: "go-libp2p-kad-dht, amino constants",
		},
		{
			Name: "table.probe_budget", Unit: "bytes/s", Kind: knob.Float, Scale: knob.Log, Min: 0, Max: 2000, Default: "40", Stock: "0",
			Scope: knob.Node, Zero: "none", Guards: []string{"bytes"}, Costs: []string{"bytes"},
			Doc:    "what may be spent on probes, of doubtful members and of spares whose answer time is not known in turn",
			Source: "Accordion (NSDI 2005): a budget in bytes; ours: 16 samples a bucket gain most of the latency",
		},
		{
			Name: "table.stale", Kind: knob.Float, Scale: knob.Log, Min: 0, Max: 0.5, Default: "0.003", Stock: "0",
			Scope: knob.Node, Zero: "members are probed after table.probe_after, however old they are", Guards: []string{"bytes", "success"}, Costs: []string{"-bytes"},
			Doc:    "share of the members that may be gone, by their ages and silences, before doubtful ones are probed",
			Source: "ours; the survival model is that of Accordion (NSDI 2005), section 4.3, with a tail that is learned",
		},
		{
			Name: "table.probe_after", Kind: knob.Duration, Scale: knob.Log, Min: float64(10 * time.Second), Max: float64(6 * time.Hour), Default: "10m", Stock: "43m0s",
			Scope: knob.Node, Guards: []string{"bytes"}, Costs: []string{"-bytes"}, Doc: "silence after which a member is asked whether it still answers; not used with table.stale",
			Source: "go-libp2p-kad-dht: ln(1/20)/ln(1-10/20) x 10 min",
		},
	}
}

// Settings are the values of the table's knobs.
type Settings struct {
	Shape          []int // places by bucket; the last holds for all that follow
	Admission      Admission
	RandomShare    float64
	Spares         int
	Soft           float64 // share of the size
	Failures       int
	GroupPerBucket int     // 0: no limit
	GroupTotal     int     // 0: no limit
	ProbeBudget    float64 // bytes a second
	Stale          float64 // 0: ProbeAfter decides
	ProbeAfter     time.Duration
}

// SettingsOf reads the table's knobs from a configuration.
func SettingsOf(c knob.Config) Settings {
	return Settings{
		Shape:          c.Vector("table.shape"),
		Admission:      Admission(c.Int("table.admission")),
		RandomShare:    c.Number("table.random_share"),
		Spares:         c.Int("table.spares"),
		Soft:           c.Number("table.soft"),
		Failures:       c.Int("table.failures"),
		GroupPerBucket: c.Int("table.group_per_bucket"),
		GroupTotal:     c.Int("table.group_total"),
		ProbeBudget:    c.Number("table.probe_budget"),
		Stale:          c.Number("table.stale"),
		ProbeAfter:     c.Duration("table.probe_after"),
	}
}

// size returns the places of bucket b.
func (s *Settings) size(b int) int { return s.Shape[min(b, len(s.Shape)-1)] }
