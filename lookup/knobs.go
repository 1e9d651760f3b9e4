package lookup

import (
	"time"

	"github.com/shoalnet/shoal/knob"
)

// Order says which candidate is asked next.
type Order uint8

// The orders.
const (
	// Distance asks the candidate nearest to the target: Kademlia.
	Distance Order = iota
	// Priced asks the candidate with the smallest predicted answer time minus a
	// price for each bit of prefix that it shares with the target. Bits beyond
	// those that all k nearest share are worth nothing: any of the k will do.
	Priced
)

var orders = []string{"distance", "priced"}

// String returns the word that the knob lookup.order uses.
func (o Order) String() string { return orders[o] }

// Knobs declares the tunables of a lookup.
func Knobs() []knob.Knob {
	guards := []string{"latency", "success", "bytes"}
	ms := float64(time.Millisecond)
	return append([]knob.Knob{
		{
			Name: "lookup.alpha", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 32, Default: "5", Stock: "10",
			Guards: guards, Costs: []string{"bytes", "processor"}, Doc: "requests in flight at once",
			Source: "Kademlia paper: 3; go-libp2p-kad-dht: 10",
		},
		{
			Name: "lookup.alpha_first", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 32, Default: "3", Stock: "10",
			Guards: guards, Costs: []string{"bytes", "processor"}, Doc: "requests in flight at once in a lookup that ends as soon as somebody has what is looked for, if alpha is not less",
			Source: "ours: each more is a message that nobody waits for",
		},
		{
			Name: "lookup.strangers", Unit: "requests", Kind: knob.Int, Min: 0, Max: 32, Default: "6", Stock: "0",
			Guards: guards, Zero: "alpha_first always holds", Costs: []string{"bytes", "processor"},
			Doc: "requests beyond alpha_first, to peers that others named and that are near enough to have what is looked for (see sure): " +
				"which of them is fast nobody knows, and those that are slow are taken back before their request has left",
			Source: "ours",
		},
		{
			Name: "lookup.guide", Kind: knob.Float, Min: 0, Max: 1, Default: "0.8", Stock: "0",
			Guards: guards, Zero: "the second request goes where the order says",
			Doc: "the second request of such a lookup goes to the peer of the own table that answers fastest, if that takes at most " +
				"this share of the time that the first one takes: it soon names who has what is looked for",
			Source: "ours",
		},
		{
			Name: "lookup.cover", Unit: "k", Kind: knob.Float, Min: 0, Max: 4, Default: "1", Stock: "0",
			Guards: guards, Zero: "no request is taken back before the end", Costs: []string{"bytes"},
			Doc: "a request that still waits for its session is taken back once so many times k nearer peers are known that have not failed, " +
				"and a fifth of them have shown that they live; less than 1 is 1: a request would be made and taken back over and over",
			Source: "ours",
		},
		{
			Name: "lookup.order", Kind: knob.Enum, Scale: knob.Index, Choices: orders, Default: "priced", Stock: "distance",
			Guards: guards, Doc: "which candidate is asked next", Source: "priced: answer time against prefix bits, after Kadabra's problem",
		},
		{
			Name: "lookup.price", Kind: knob.Duration, Scale: knob.Log, Min: 0, Max: 500 * ms, Default: "0s",
			Guards: guards, Zero: "learnt: mean time of a hop over bits gained by it",
			Doc: "answer time that one more bit of common prefix is worth; order priced only", Source: "optimum is flat, 25 to 60 ms",
		},
		{
			Name: "lookup.sure", Kind: knob.Float, Min: 0, Max: 8, Default: "1.3", Stock: "0",
			Guards: guards, Zero: "alpha always holds", Costs: []string{"bytes", "processor"},
			Doc: "a candidate nearer than this many times the expected distance of the k-th nearest peer will be asked in any case, " +
				"and is asked at once, beyond alpha",
			Source: "ours",
		},
		{
			Name: "lookup.answers", Kind: knob.Float, Min: 0, Max: 1, Default: "0.5", Stock: "0",
			Guards: guards, Zero: "all must have answered", Costs: []string{"bytes"},
			Doc: "share of the k nearest that must have answered before a lookup for peers ends; " +
				"of the others it is enough that a session was set up, which shows that they live",
			Source: "ours; go-libp2p-kad-dht ends with 3 answers and does not know whether the others live",
		},
		{
			Name: "lookup.refill", Unit: "peers", Kind: knob.Int, Min: 0, Max: 20, Default: "8",
			Guards: guards, Costs: []string{"bytes"}, Doc: "peers beyond the k nearest that are asked where nearer ones fail", Source: "ours",
		},
	}, append(doubts(guards), deadlines(guards)...)...)
}

// doubts declares what a search does against those who lie, and about those whom
// nobody named.
func doubts(guards []string) []knob.Knob {
	return []knob.Knob{
		{
			Name: "lookup.distrust", Unit: "peers", Kind: knob.Int, Min: 0, Max: 40, Default: "6", Stock: "0",
			Guards: guards, Zero: "everybody is believed",
			Doc:    "peers that one peer named and that do not answer before the others that it named are passed over, unless a fifth answered",
			Source: "ours: against invented peers",
		},
		{
			Name: "lookup.disjoint", Unit: "paths", Kind: knob.Int, Min: 1, Max: MaxDisjoint, Default: "1",
			Guards: guards, Costs: []string{"bytes", "processor"}, Doc: "paths that have no peer in common, so that one that lies spoils one of them: " +
				"a lookup costs up to as many times the messages",
			Source: "S/Kademlia paper, section 4.4; 1 in go-libp2p-kad-dht",
		},
		{
			Name: "lookup.edge", Unit: "requests", Kind: knob.Int, Min: 0, Max: 8, Default: "1", Stock: "0",
			Guards: guards, Zero: "nor is who takes the place of a dead peer asked for its own neighbours", Costs: []string{"bytes"},
			Doc: "requests for the neighbours of peers at the far end of a result, where dead ones may have hidden others", Source: "ours",
		},
	}
}

// deadlines declares how long a search waits for a peer.
func deadlines(guards []string) []knob.Knob {
	ms := float64(time.Millisecond)
	return []knob.Knob{
		{
			Name: "lookup.soft_factor", Kind: knob.Float, Min: 0, Max: 8, Default: "2", Stock: "0",
			Guards: guards, Zero: "no soft deadline: a silent peer holds its place until the hard one", Costs: []string{"-bytes"},
			Doc: "a request later than this many times its predicted answer time gives up its place", Source: "ours",
		},
		{
			Name: "lookup.soft_slack", Kind: knob.Duration, Scale: knob.Log, Min: ms, Max: 1000 * ms, Default: "50ms",
			Guards: guards, Costs: []string{"-bytes"}, Doc: "added to every soft deadline", Source: "ours",
		},
		{
			Name: "lookup.hard", Kind: knob.Duration, Scale: knob.Log, Min: 100 * ms, Max: 60000 * ms, Default: "5s", Stock: "10s",
			Guards: guards, Doc: "a request later than this has failed", Source: "go-libp2p-kad-dht reads for 10 s",
		},
	}
}

// Settings are the values of a lookup's knobs.
type Settings struct {
	Alpha      int
	AlphaFirst int     // at most, where one good answer ends the lookup
	Strangers  int     // beyond that, of those whom others named
	Guide      float64 // share of the first one's answer time; 0: no guide
	Order      Order
	Price      time.Duration // per bit; 0: the caller's learnt price
	Sure       float64       // times the expected distance of the k-th nearest
	Cover      float64       // times k; 0: nothing is taken back
	Answers    float64       // share of the k nearest; 0: all
	Refill     int
	Distrust   int     // 0: never
	Disjoint   int     // paths; 0: one
	Edge       int     // requests for whom answers may have left out
	SoftFactor float64 // 0: no soft deadline
	SoftSlack  time.Duration
	Hard       time.Duration
}

// SettingsOf reads a lookup's knobs from a configuration.
func SettingsOf(c knob.Config) Settings {
	return Settings{
		Alpha:      c.Int("lookup.alpha"),
		AlphaFirst: c.Int("lookup.alpha_first"),
		Strangers:  c.Int("lookup.strangers"),
		Guide:      c.Number("lookup.guide"),
		Order:      Order(c.Int("lookup.order")),
		Price:      c.Duration("lookup.price"),
		Sure:       c.Number("lookup.sure"),
		Cover:      c.Number("lookup.cover"),
		Answers:    c.Number("lookup.answers"),
		Refill:     c.Int("lookup.refill"),
		Distrust:   c.Int("lookup.distrust"),
		Disjoint:   c.Int("lookup.disjoint"),
		Edge:       c.Int("lookup.edge"),
		SoftFactor: c.Number("lookup.soft_factor"),
		SoftSlack:  c.Duration("lookup.soft_slack"),
		Hard:       c.Duration("lookup.hard"),
	}
}
