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
	return []knob.Knob{
		{
			Name: "lookup.alpha", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 32, Default: "6", Stock: "10",
			Guards: guards, Doc: "requests in flight at once",
			Source: "Kademlia paper: 3; go-libp2p-kad-dht: 10",
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
			Name: "lookup.refill", Unit: "peers", Kind: knob.Int, Min: 0, Max: 20, Default: "8",
			Guards: guards, Doc: "peers beyond the k nearest that are asked where nearer ones fail", Source: "ours",
		},
		{
			Name: "lookup.soft_factor", Kind: knob.Float, Min: 0, Max: 8, Default: "2", Stock: "0",
			Guards: guards, Zero: "no soft deadline: a silent peer holds its place until the hard one",
			Doc: "a request later than this many times its predicted answer time gives up its place", Source: "ours",
		},
		{
			Name: "lookup.soft_slack", Kind: knob.Duration, Scale: knob.Log, Min: ms, Max: 1000 * ms, Default: "50ms",
			Guards: guards, Doc: "added to every soft deadline", Source: "ours",
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
	Order      Order
	Price      time.Duration // per bit; 0: the caller's learnt price
	Refill     int
	SoftFactor float64 // 0: no soft deadline
	SoftSlack  time.Duration
	Hard       time.Duration
}

// SettingsOf reads a lookup's knobs from a configuration.
func SettingsOf(c knob.Config) Settings {
	return Settings{
		Alpha:      c.Int("lookup.alpha"),
		Order:      Order(c.Int("lookup.order")),
		Price:      c.Duration("lookup.price"),
		Refill:     c.Int("lookup.refill"),
		SoftFactor: c.Number("lookup.soft_factor"),
		SoftSlack:  c.Duration("lookup.soft_slack"),
		Hard:       c.Duration("lookup.hard"),
	}
}
