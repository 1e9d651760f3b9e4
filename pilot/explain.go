package pilot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/sim/static"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/table"
)

// ExplainConfig describes what is to be explained.
type ExplainConfig struct {
	World    static.LookupsConfig // the network; Knobs and Seed are replaced
	Baseline knob.Config
	Chosen   knob.Config
	Networks int // that it is measured in, each with other peers and lookups; at least 2, default 10
	Seed     uint64
	Workers  int // default 1. The result does not depend on it
	Progress func(done, total int)
}

// Delta is a mean difference over networks and its standard error.
type Delta struct {
	Mean float64 `json:"mean"`
	SE   float64 `json:"se"`
}

// Shown reports whether a difference is more than chance makes: beyond two standard
// errors.
func (d Delta) Shown() bool { return math.Abs(d.Mean) > 2*d.SE }

// Effects are the differences in all that is looked at. Their JSON names are stable.
type Effects struct {
	Latency  Delta   `json:"latency_ms"`     // mean time to the first of the closest peers
	P95      Delta   `json:"latency_p95_ms"` // of the same
	Hops     Delta   `json:"hops"`
	Messages Delta   `json:"messages_per_lookup"`
	Success  Delta   `json:"success_ratio"`
	Entries  float64 `json:"entries"` // of a table
}

// Part is one thing in which the chosen configuration differs from the baseline, and
// what it would do to go back in it alone.
type Part struct {
	Knob   string  `json:"knob"`
	Bucket int     `json:"bucket"` // -1 of what is not a bucket
	Share  float64 `json:"share"`  // of all keys that lie in the bucket; 0 of what is not a bucket
	Is     string  `json:"is"`
	Was    string  `json:"was"` // in the baseline
	Back   Effects `json:"back"`
	// Sentence says it in words.
	Sentence string `json:"sentence"`
}

// Explanation says why a configuration is better. Its JSON names are stable.
type Explanation struct {
	Peers    int     `json:"peers"`
	Networks int     `json:"networks"` // that were measured
	Lookups  int     `json:"lookups"`  // in each
	Latency  float64 `json:"latency_ms"`
	Baseline float64 `json:"baseline_latency_ms"`
	// Back is what it would do to go back in everything. Effects of parts do not add up
	// to it: buckets stand in for each other. Rest is what is missing.
	Back        Effects `json:"back"`
	Rest        float64 `json:"rest_ms"`
	Parts       []Part  `json:"parts"` // buckets from the far one on, then other knobs
	Sentence    string  `json:"sentence"`
	Seed        uint64  `json:"seed"`
	Interrupted bool    `json:"interrupted,omitempty"` // fewer networks than were asked for
}

// Explain measures the chosen configuration, the baseline, and the chosen one with each
// of its differences taken back, all on the same lookups. When ctx ends it explains from
// the networks that are done, if there are two.
func Explain(ctx context.Context, cfg ExplainConfig) (*Explanation, error) {
	cfg.Networks, cfg.Workers = cmp.Or(cfg.Networks, 10), cmp.Or(cfg.Workers, 1)
	switch {
	case cfg.Baseline.Set() == nil || cfg.Chosen.Set() != cfg.Baseline.Set():
		return nil, errors.New("pilot: want a baseline and a chosen configuration of the same knobs")
	case cfg.Networks < 2 || cfg.Workers < 1:
		return nil, fmt.Errorf("pilot: %d networks on %d workers: want 2 or more, and 1", cfg.Networks, cfg.Workers)
	}
	parts, configs := differences(cfg.Baseline, cfg.Chosen, cfg.World.Peers)
	if len(parts) == 0 {
		return nil, fmt.Errorf("pilot: in a network of %d peers the two do not differ in anything that matters there", cfg.World.Peers)
	}
	configs = append([]knob.Config{cfg.Chosen, cfg.Baseline}, configs...)
	measured, err := explainAll(ctx, cfg, configs)
	if err != nil && (ctx.Err() == nil || len(measured) < 2) {
		return nil, err
	}
	out := &Explanation{
		Peers: cfg.World.Peers, Networks: len(measured), Lookups: measured[0][0].Config.Lookups, Seed: cfg.Seed, Interrupted: err != nil,
		Back: effects(measured, 1), Parts: parts,
	}
	for _, network := range measured {
		out.Latency += network[0].Latency.Mean / float64(len(measured))
		out.Baseline += network[1].Latency.Mean / float64(len(measured))
	}
	out.Rest = out.Back.Latency.Mean
	admission := table.SettingsOf(cfg.Chosen).Admission
	choosy := admission == table.Near || admission == table.Mixed
	for i := range parts {
		p := &out.Parts[i]
		p.Back = effects(measured, 2+i)
		p.Sentence = p.say(choosy)
		out.Rest -= p.Back.Latency.Mean
	}
	out.Sentence = out.say()
	return out, nil
}

// differences lists what matters in a network of so many peers, and for each the chosen
// configuration with it taken back.
func differences(baseline, chosen knob.Config, peers int) (parts []Part, configs []knob.Config) {
	const shape = "table.shape"
	is, was := chosen.Vector(shape), baseline.Vector(shape)
	at := func(v []int, j int) int { return v[min(j, len(v)-1)] }
	depth := 0
	for float64(peers) > math.Exp2(float64(depth+2)) { // up to buckets of which some have more than one candidate
		depth++
	}
	for j := range depth + 1 {
		mean := float64(peers) / math.Exp2(float64(j+1))
		most := int(math.Ceil(mean + 2*math.Sqrt(mean))) // more places than that are not filled
		if min(at(is, j), most) == min(at(was, j), most) {
			continue
		}
		back := make([]int, max(depth+2, len(is)))
		for k := range back {
			back[k] = at(is, k)
		}
		back[j] = at(was, j)
		parts = append(parts, Part{Knob: shape, Bucket: j, Share: math.Exp2(-float64(j + 1)), Is: strconv.Itoa(at(is, j)), Was: strconv.Itoa(at(was, j))})
		configs = append(configs, chosen.WithVector(shape, back))
	}
	for _, d := range knob.Diff(baseline, chosen) {
		if d.Name == shape || !felt(d.Name) {
			continue
		}
		back, err := chosen.With(d.Name, d.From)
		if err != nil {
			continue // a value of its own set, as the baseline has it
		}
		parts = append(parts, Part{Knob: d.Name, Bucket: -1, Is: d.To, Was: d.From})
		configs = append(configs, back)
	}
	return parts, configs
}

// felt reports whether a lookup in a network at rest depends on a knob.
func felt(name string) bool {
	return strings.HasPrefix(name, "lookup.") || name == "table.admission" || name == "table.random_share" || name == "kad.replication"
}

// explainAll measures all configurations in each network, and returns the networks that
// are done.
func explainAll(ctx context.Context, cfg ExplainConfig, configs []knob.Config) ([][]static.LookupsResult, error) {
	all := make([][]static.LookupsResult, cfg.Networks)
	for i := range all {
		all[i] = make([]static.LookupsResult, len(configs))
	}
	var mu sync.Mutex
	var failed error
	left := slices.Repeat([]int{len(configs)}, cfg.Networks)
	done, total := 0, cfg.Networks*len(configs)
	tasks := make(chan int)
	var group sync.WaitGroup
	for range cfg.Workers {
		group.Go(func() {
			for i := range tasks {
				network, config := i/len(configs), i%len(configs)
				world := cfg.World
				world.Knobs, world.Seed, world.Workers = configs[config], stat.Hash(cfg.Seed, uint64(network)), 1
				r, err := static.RunLookups(ctx, world, nil)
				mu.Lock()
				if err != nil {
					failed = cmp.Or(failed, err)
				} else {
					all[network][config] = r
					left[network]--
					done++
					if cfg.Progress != nil {
						cfg.Progress(done, total)
					}
				}
				mu.Unlock()
			}
		})
	}
	for i := 0; i < total && ctx.Err() == nil; i++ {
		tasks <- i
	}
	close(tasks)
	group.Wait()
	var whole [][]static.LookupsResult
	for i, network := range all {
		if left[i] == 0 {
			whole = append(whole, network)
		}
	}
	return whole, cmp.Or(failed, ctx.Err())
}

// effects compares a configuration with the chosen one, network by network.
func effects(measured [][]static.LookupsResult, at int) Effects {
	delta := func(of func(static.LookupsResult) float64) Delta {
		var d []float64
		for _, network := range measured {
			d = append(d, of(network[at])-of(network[0]))
		}
		return deltaOf(d)
	}
	return Effects{
		Latency:  delta(func(r static.LookupsResult) float64 { return r.Latency.Mean }),
		P95:      delta(func(r static.LookupsResult) float64 { return r.Latency.P95 }),
		Hops:     delta(func(r static.LookupsResult) float64 { return r.HopsMean }),
		Messages: delta(func(r static.LookupsResult) float64 { return r.MessagesPerLookup }),
		Success:  delta(func(r static.LookupsResult) float64 { return r.SuccessRatio }),
		Entries:  delta(func(r static.LookupsResult) float64 { return r.EntriesMean }).Mean,
	}
}

func deltaOf(values []float64) Delta {
	n, d, squares := float64(len(values)), Delta{}, 0.0
	for _, v := range values {
		d.Mean += v / n
	}
	for _, v := range values {
		squares += float64((v - d.Mean) * (v - d.Mean))
	}
	d.SE = math.Sqrt(squares / (n - 1) / n)
	return d
}

// say puts a part in words. choosy says that buckets prefer those that answer fast.
func (p *Part) say(choosy bool) string {
	subject := fmt.Sprintf("%s is %s, was %s", p.Knob, p.Is, p.Was)
	back := "back at " + p.Was
	if p.Bucket >= 0 {
		subject = fmt.Sprintf("Bucket %d, in which 1 of %.0f keys lies, has %s places, had %s", p.Bucket, 1/p.Share, p.Is, p.Was)
		back = "with " + p.Was
	}
	var shown []string
	add := func(d Delta, what string) {
		if d.Shown() {
			word := "more"
			if d.Mean < 0 {
				word = "less"
			}
			shown = append(shown, fmt.Sprintf("%s %s %s", d.text(), what, word))
		}
	}
	add(p.Back.Latency, "ms")
	add(p.Back.P95, "ms at the 95th percentile")
	add(p.Back.Hops, "hops")
	add(p.Back.Messages, "messages")
	add(p.Back.Success, "of success")
	text := subject + ": " + back + " nothing would change that these networks show"
	if len(shown) > 0 {
		text = subject + ": " + back + " a lookup would take " + strings.Join(shown, ", ")
	}
	if e := math.Round(p.Back.Entries); e != 0 {
		text += fmt.Sprintf("; entries of a table: %+.0f", e)
	}
	return text + p.because(choosy)
}

// text writes the mean's size with the digits that its standard error leaves.
func (d Delta) text() string {
	digits := 1
	if d.SE > 0 {
		digits = min(max(1-int(math.Floor(math.Log10(d.SE))), 0), 5)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, math.Abs(d.Mean), digits, d.SE)
}

// because reads from the effects by which way a part works, where they show it.
func (p *Part) because(choosy bool) string {
	x, saves := &p.Back, ""
	if x.Messages.Shown() && x.Messages.Mean > 0 {
		saves = "messages"
	}
	if math.Round(x.Entries) > 0 {
		saves = strings.TrimPrefix(saves+" and entries", " and ")
	}
	switch {
	case !x.Latency.Shown():
		return "."
	case x.Latency.Mean < 0 && saves != "":
		return ". It costs time and saves " + saves + "."
	case x.Latency.Mean < 0:
		return ". It costs time and saves nothing that was looked at: the luck of the search, or good for something else."
	case p.Bucket < 0:
		return "."
	case x.Hops.Shown() && x.Hops.Mean > 0:
		return ". It saves hops: more keys are known at the first contact."
	case math.Round(x.Entries) > 0 && choosy:
		return ". It is smaller and so keeps only those that answer fastest."
	case math.Round(x.Entries) < 0:
		return ". It saves no hops: among more members there is one that answers sooner."
	}
	return "."
}

// say sums up.
func (e *Explanation) say() string {
	if !e.Back.Latency.Shown() {
		return fmt.Sprintf("In %d networks of %d peers the chosen configuration is not faster or slower than the baseline: %.1f and %.1f ms.", e.Networks, e.Peers, e.Latency, e.Baseline)
	}
	word := "faster"
	if e.Back.Latency.Mean < 0 {
		word = "slower"
	}
	text := fmt.Sprintf("A lookup takes %.1f ms instead of %.1f: %s ms %s, with %.0f entries a table %s and %.2f messages a lookup %s.",
		e.Latency, e.Baseline, e.Back.Latency.text(), word,
		math.Abs(e.Back.Entries), fewer(e.Back.Entries), math.Abs(e.Back.Messages.Mean), fewer(e.Back.Messages.Mean))
	order := make([]int, len(e.Parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(e.Parts[b].Back.Latency.Mean, e.Parts[a].Back.Latency.Mean)
	})
	var most []string
	for _, i := range order {
		if p := e.Parts[i]; p.Back.Latency.Shown() && p.Back.Latency.Mean > 0 && len(most) < 3 {
			most = append(most, fmt.Sprintf("%s (%.1f ms)", p.name(), p.Back.Latency.Mean))
		}
	}
	if len(most) > 0 {
		text += " Most of it is lost without " + strings.Join(most, ", ") + "."
	}
	return text
}

// fewer says of what the baseline has more of that there are fewer now.
func fewer(back float64) string {
	if back > 0 {
		return "fewer"
	}
	return "more"
}

func (p *Part) name() string {
	if p.Bucket >= 0 {
		return fmt.Sprintf("bucket %d", p.Bucket)
	}
	return p.Knob
}
