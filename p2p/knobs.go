package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/amino"

	"github.com/shoalnet/shoal/knob"
)

// Knobs declares the tunables of this package.
func Knobs() []knob.Knob {
	return append(resources(), limits()...)
}

const (
	spec   = "our decision"
	second = float64(time.Second)
)

// resources are the knobs of what we use ourselves.
func resources() []knob.Knob {
	return []knob.Knob{
		{
			Name: "p2p.streams_per_peer", Unit: "streams", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 8, Default: "2", Stock: "1",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "requests to one peer that may be under way at once; more wait", Source: "stock serializes on one; " + spec,
		},
		{
			Name: "p2p.stream_idle", Kind: knob.Duration, Scale: knob.Log, Min: float64(time.Second), Max: float64(59 * time.Second), Default: "50s",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "how long an unused stream is kept; servers reset theirs after a minute", Source: spec,
		},
		{
			Name: "p2p.book_entries", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 1024, Max: 1 << 20, Default: "16384",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory"}, Doc: "peers outside the routing table whose names are remembered", Source: spec,
		},
		{
			Name: "p2p.provider_records", Unit: "records", Kind: knob.Int, Scale: knob.Log, Min: 1024, Max: 1 << 24, Default: "131072", Stock: "16777216",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory", "disk"}, Doc: "provider records of others that are kept; then those of the address group with the most go, oldest first", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.provider_records_per_peer", Unit: "records", Kind: knob.Int, Scale: knob.Log, Min: 64, Max: 1 << 24, Default: "32768", Stock: "16777216",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory", "disk"}, Doc: "provider records of one peer that are kept; then its oldest go", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.providers_per_key", Unit: "records", Kind: knob.Int, Scale: knob.Log, Min: 20, Max: MaxProviders, Default: "1000",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory", "disk"}, Doc: "providers of one key that are kept; then the oldest of the address group with the most goes, or the newcomer if none has two", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.value_bytes", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 4 << 20, Max: 1 << 40, Default: "268435456", Stock: "1099511627776",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"disk"}, Doc: "keys and values of others that are kept; then those of the address group with the most go, oldest first", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.value_bytes_per_peer", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 2 << 20, Max: 1 << 40, Default: "16777216", Stock: "1099511627776",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"disk"}, Doc: "keys and values that one peer sent that are kept; then its oldest go", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.store_queue", Unit: "jobs", Kind: knob.Int, Scale: knob.Log, Min: 16, Max: 4096, Default: "256",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory"}, Doc: "jobs that wait for the stores; more of others are refused", Source: spec,
		},
		{
			Name: "p2p.log_lookups", Unit: "operations", Kind: knob.Int, Min: 0, Max: 1024, Default: "16", Zero: "none is remembered",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory"}, Doc: "last operations that are remembered request by request, about 4 KB each", Source: spec,
		},
		{
			Name: "p2p.log_bytes", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 4 << 10, Max: 1 << 24, Default: "65536",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory"}, Doc: "memory for the last operations; the oldest go first, and one that is larger is not remembered", Source: spec,
		},
		{
			Name: "p2p.log_changes", Unit: "changes", Kind: knob.Int, Min: 0, Max: 65536, Default: "256", Zero: "none is remembered",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory"}, Doc: "last changes of the routing table that are remembered with their reasons", Source: spec,
		},
	}
}

// limits are the knobs of what strangers may use.
func limits() []knob.Knob {
	return []knob.Knob{
		{
			Name: "p2p.inbound_streams", Unit: "streams", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 256, Default: "32",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "streams that one peer may hold open to us; more are reset", Source: "rust-libp2p opens one a request, up to 32",
		},
		{
			Name: "p2p.inbound_total", Unit: "streams", Kind: knob.Int, Scale: knob.Log, Min: 16, Max: 1 << 16, Default: "2048", Stock: "65536",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "streams that all peers together may hold open to us; more are reset", Source: spec,
		},
		{
			Name: "p2p.inbound_first", Kind: knob.Duration, Scale: knob.Log, Min: second, Max: 60 * second, Default: "10s", Stock: "1m0s",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "how long a new stream may be silent before it is reset", Source: "who opens a stream has something to say; " + spec,
		},
		{
			Name: "p2p.inbound_idle", Kind: knob.Duration, Scale: knob.Log, Min: second, Max: 600 * second, Default: "1m0s",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "how long a stream may be silent after a request before it is reset", Source: "go-libp2p-kad-dht",
		},
		{
			Name: "p2p.inbound_message", Kind: knob.Duration, Scale: knob.Log, Min: second, Max: 60 * second, Default: "10s", Stock: "1m0s",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "how long a request may take to arrive, and its reply to leave, before the stream is reset", Source: spec,
		},
		{
			Name: "p2p.inbound_bytes", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 4 << 20, Max: 1 << 30, Default: "33554432", Stock: "1073741824",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "memory for requests that arrive or are served, and for replies that have not left; an address group may hold half, a peer an eighth", Source: spec,
		},
		{
			Name: "p2p.request_bytes", Unit: "bytes", Kind: knob.Int, Scale: knob.Log, Min: 16 << 10, Max: 4 << 20, Default: "65536", Stock: "4194304",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory", "processor"}, Doc: "size of a request that carries no value; a larger one is refused unread", Source: "a peer record has at most 8 KiB; " + spec,
		},
		{
			Name: "p2p.request_rate", Unit: "requests/s", Kind: knob.Float, Scale: knob.Log, Min: 1, Max: 1e6, Default: "50", Stock: "1e+06",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"processor", "bytes"}, Doc: "requests that one peer may make, in the long run; more are delayed, and reset after 10 s", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.request_burst", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 1 << 20, Default: "200", Stock: "1048576",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"processor", "bytes"}, Doc: "requests that one peer may make at once", Source: "stock has no limit; " + spec,
		},
		{
			Name: "p2p.group_factor", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 1, Max: 1 << 10, Default: "8", Stock: "1024",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory", "processor", "bytes"}, Doc: "peers of one address group together may open and ask so many times what one may", Source: spec,
		},
		{
			Name: "p2p.remotes", Unit: "peers", Kind: knob.Int, Scale: knob.Log, Min: 64, Max: 1 << 20, Default: "8192",
			Apply: knob.Hot, Scope: knob.Node, Costs: []string{"memory"}, Doc: "peers and address groups without a stream whose rate is remembered", Source: spec,
		},
		{
			Name: "p2p.inbound_requests", Unit: "requests", Kind: knob.Int, Scale: knob.Log, Min: 8, Max: 512, Default: "256",
			Apply: knob.Restart, Scope: knob.Node, Costs: []string{"memory", "processor"}, Doc: "requests of all peers that are served at once; more wait in their streams", Source: spec,
		},
	}
}

// settings are the hot knobs in the form that streams read them.
type settings struct {
	streamsPerPeer int
	streamIdle     time.Duration
	inboundStreams int
	inboundTotal   int
	inboundFirst   time.Duration
	inboundIdle    time.Duration
	inboundMessage time.Duration
	inboundBytes   int
	requestBytes   int
	requestRate    float64
	requestBurst   int
	groupFactor    int
	remotes        int
	providers      quota
	values         quota
}

func settingsOf(c knob.Config) *settings {
	return &settings{
		streamsPerPeer: c.Int("p2p.streams_per_peer"),
		streamIdle:     c.Duration("p2p.stream_idle"),
		inboundStreams: c.Int("p2p.inbound_streams"),
		inboundTotal:   c.Int("p2p.inbound_total"),
		inboundFirst:   c.Duration("p2p.inbound_first"),
		inboundIdle:    c.Duration("p2p.inbound_idle"),
		inboundMessage: c.Duration("p2p.inbound_message"),
		inboundBytes:   c.Int("p2p.inbound_bytes"),
		requestBytes:   c.Int("p2p.request_bytes"),
		requestRate:    c.Number("p2p.request_rate"),
		requestBurst:   c.Int("p2p.request_burst"),
		groupFactor:    c.Int("p2p.group_factor"),
		remotes:        c.Int("p2p.remotes"),
		providers: quota{
			total: c.Int("p2p.provider_records"), remote: c.Int("p2p.provider_records_per_peer"),
			key: c.Int("p2p.providers_per_key"), age: amino.DefaultProvideValidity,
		},
		values: quota{
			total: c.Int("p2p.value_bytes"), remote: c.Int("p2p.value_bytes_per_peer"), age: amino.DefaultMaxRecordAge,
		},
	}
}
