package rivals

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/table"
)

// System is a design with what is tried of it.
type System struct {
	Name   string // on the command line
	Title  string // in tables and legends
	Source string
	Knobs  []Knob
	build  func(v values) (kit, error)
}

// Knob is a parameter of a system and the values that are tried of it.
type Knob struct {
	Name   string    `json:"name"` // with its unit
	Values []float64 `json:"values"`
}

// values are a choice of the knobs of a system.
type values map[string]float64

func (v values) seconds(name string) time.Duration {
	return time.Duration(v[name] * float64(time.Second))
}

// The names of the knobs.
const (
	inBucket   = "bucket"
	inFlight   = "alpha"
	refresh    = "refresh_s"
	deadline   = "timeout_s"
	softFactor = "soft_factor"
	randomPart = "random_share"
	replies    = "replies"
	probeAfter = "probe_after_s"
	listLength = "successors"
	ringBase   = "base"
	stabilize  = "stabilize_s"
	renewal    = "fingers_s"
	keepalive  = "keepalive_s"
	gathering  = "gather_s"
	rtts       = "timeout_rtts"
	budget     = "budget_bytes_s"
	threshold  = "threshold"
	epochs     = "epoch"
)

// Systems returns all designs: Kademlia first, ours last.
func Systems() []System {
	kademlia := []Knob{{inBucket, []float64{8, 20}}, {inFlight, []float64{3, 8}}, {refresh, []float64{120, 600, 3600}}, {deadline, []float64{1, 4}}}
	chord := []Knob{{listLength, []float64{4, 16}}, {ringBase, []float64{2, 16}}, {stabilize, []float64{10, 30, 120}}, {renewal, []float64{120, 900}}}
	return []System{
		{"kademlia", "Kademlia", "package node/kad, preset stock", kademlia, buildKademlia("first")},
		{"kademlia-near", "Kademlia, near", "the same, buckets of the nearest", kademlia, buildKademlia("near")},
		{"chord", "Chord", "Stoica et al., ToN 2003", chord, buildChord(false)},
		{"chord-near", "Chord, near", "the same, fingers near by (Dabek et al., NSDI 2004)", chord, buildChord(true)},
		{
			"onehop", "OneHop", "Gupta, Liskov and Rodrigues, NSDI 2004",
			[]Knob{{keepalive, []float64{5, 20, 60}}, {gathering, []float64{10, 30}}, {rtts, []float64{1.5, 3}}},
			buildOneHop,
		},
		{
			"kadabra", "Kadabra", "Zhang and Bojja Venkatakrishnan, FC 2023",
			[]Knob{{inBucket, []float64{8, 20}}, {inFlight, []float64{1, 3}}, {refresh, []float64{600, 3600}}, {epochs, []float64{5, 20}}},
			buildKadabra,
		},
		{
			"accordion", "Accordion", "Li et al., NSDI 2005",
			[]Knob{{budget, []float64{5, 10, 20, 40, 80}}, {threshold, []float64{0.7, 0.9}}, {stabilize, []float64{20, 60}}},
			buildAccordion,
		},
		{
			"shoal", "Shoal", "package node/kad, preset default",
			[]Knob{
				{inBucket, []float64{10, 30}},
				{randomPart, []float64{0, 0.5}},
				{inFlight, []float64{3, 6}},
				{refresh, []float64{600, 3600}},
				{softFactor, []float64{1.5, 3}},
				{replies, []float64{8, 20}},
				{probeAfter, []float64{600, 2580}},
			},
			buildShoal,
		},
	}
}

// Named returns the systems of some names in the order of Systems; all for none.
func Named(names []string) ([]System, error) {
	all := Systems()
	known := make([]string, len(all))
	for i := range all {
		known[i] = all[i].Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("rivals: system %q: want some of %s", name, strings.Join(known, ", "))
		}
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(s System) bool { return !slices.Contains(names, s.Name) })
	}
	return all, nil
}

// grid returns every combination of the values of a system's knobs.
func (s *System) grid() []values {
	all := []values{{}}
	for _, k := range s.Knobs {
		var next []values
		for _, v := range all {
			for _, x := range k.Values {
				with := maps.Clone(v)
				with[k.Name] = x
				next = append(next, with)
			}
		}
		all = next
	}
	return all
}

func buildKademlia(admission string) func(values) (kit, error) {
	return func(v values) (kit, error) {
		return kademliaOf("stock",
			"table.admission", admission, "table.shape", text(v[inBucket]), "kad.replication", text(v[inBucket]),
			"lookup.alpha", text(v[inFlight]), "kad.refresh", v.seconds(refresh).String(), "kad.refresh_buckets", "unfilled", "lookup.hard", v.seconds(deadline).String())
	}
}

func buildShoal(v values) (kit, error) {
	return kademliaOf("default",
		"table.shape", text(v[inBucket]), "table.random_share", text(v[randomPart]), "lookup.alpha", text(v[inFlight]),
		"kad.refresh", v.seconds(refresh).String(), "kad.refresh_calm", "0s", "lookup.soft_factor", text(v[softFactor]),
		"kad.replication", text(v[replies]), "table.probe_after", v.seconds(probeAfter).String(),
		"lookup.hard", "4s", "table.probe_budget", "0")
}

func text(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// kademliaOf makes peers of package node/kad of a preset with some knobs changed.
func kademliaOf(preset string, changes ...string) (kit, error) {
	set, err := knob.NewSet(table.Knobs(), lookup.Knobs(), node.Knobs(), kad.Knobs())
	if err != nil {
		return nil, err
	}
	c, err := set.Preset(preset)
	for i := 0; err == nil && i < len(changes); i += 2 {
		c, err = c.With(changes[i], changes[i+1])
	}
	return kademliaKit{c}, err
}

// usualTimeout is the time-out of a ring's requests, in round-trip times.
const usualTimeout = 2

func buildChord(near bool) func(values) (kit, error) {
	return func(v values) (kit, error) {
		return rival(Chord{
			Successors: int(v[listLength]), Base: int(v[ringBase]), Stabilize: v.seconds(stabilize),
			Fingers: v.seconds(renewal), Timeout: usualTimeout, Alpha: 1, Proximity: near,
		}.New)
	}
}

func buildOneHop(v values) (kit, error) {
	return rival(OneHop{
		Keepalive: v.seconds(keepalive), Gather: v.seconds(gathering), Wait: v.seconds(gathering) / 6,
		Slices: 5, Units: 5, Timeout: v[rtts],
	}.New)
}

func buildAccordion(v values) (kit, error) {
	return rival(Accordion{
		Budget: v[budget], Threshold: v[threshold], Successors: 8, Stabilize: v.seconds(stabilize), Timeout: usualTimeout,
	}.New)
}

func buildKadabra(v values) (kit, error) {
	return rival(Kadabra{
		Bucket: int(v[inBucket]), Epoch: int(v[epochs]), Alpha: int(v[inFlight]), Refresh: v.seconds(refresh), Timeout: usualTimeout,
	}.New)
}

// rival makes peers of a protocol of this package.
func rival(protocol node.NewProtocol) (kit, error) {
	set, err := knob.NewSet(table.Knobs(), node.Knobs())
	if err != nil {
		return nil, err
	}
	// The table of package node is not used: it keeps as little as it can.
	c, err := set.Stock().With("table.shape", "1")
	if err == nil {
		c, err = c.With("table.spares", "0")
	}
	return rivalKit{c, protocol}, err
}
