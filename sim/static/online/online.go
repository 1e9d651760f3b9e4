// Package online fills the tables of a network at rest, or of one with churn, by
// rules that choose online among those who come by, and counts the rounds of
// lookups over them. See [Run].
package online

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/table"
)

// The admissions of Run. All but Ideal decide about one newcomer after the
// other.
const (
	FirstSeen    = "first-seen" // whoever comes first stays: the control
	Literal      = "literal"    // the balanced-buckets report's proposal, as its words say
	Level        = "level"      // evens out the shallowest uneven branch; its end is the balance of Ideal
	HalfNear     = "half-near"  // half of the places to the fastest, the other half by Level
	TableBuckets = "table"      // package table with admission balanced
	TableMixed   = "mixed"      // package table with admission mixed
	Ideal        = "ideal"      // the report's offline recursion over everybody there: the upper bound
)

// Rules lists the admissions of Run.
func Rules() []string {
	return []string{FirstSeen, Literal, Level, HalfNear, TableBuckets, TableMixed, Ideal}
}

// Config describes a run of Run. Of the fields with a default, 0 or
// empty means it.
type Config struct {
	Peers  int `json:"peers"`  // in a network, at any time
	Bucket int `json:"bucket"` // entries of a bucket; default 20
	// Offers are the newcomers that a bucket meets for each of its places, each
	// number a variant: since it was empty in a world at rest, and in an hour in one
	// with churn. Default 1, 3, 10, 30.
	Offers   []int    `json:"offers"`
	Rules    []string `json:"rules"`    // default all; FirstSeen and Ideal are always run
	Arrivals string   `json:"arrivals"` // RandomArrivals or LookupArrivals; default RandomArrivals

	Churn sim.Churn `json:"churn"` // the zero value: a world at rest
	Hours int       `json:"hours"` // that buckets live before the lookups begin, with churn; default 12

	Networks int    `json:"networks"` // independent ones; default 5
	Lookups  int    `json:"lookups"`  // in each network; default 20,000
	Seed     uint64 `json:"seed"`
	Workers  int    `json:"-"` // threads; default all cores. Results do not depend on it
}

// Estimate is a mean over networks with its 95 % interval by Student's t. One
// network has no interval: Low and High are the mean.
type Estimate struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Row is what one admission did with one number of offers.
type Row struct {
	Rule   string   `json:"rule"`
	Offers int      `json:"offers"`
	Hops   Estimate `json:"hops_mean"` // rounds to the first contact with any of the closest peers
	// Saved is what the lookups save against FirstSeen, in percent of its hops, and
	// SavedSE the standard error of the mean paired difference over all lookups, in
	// the same unit: the luck of lookups alone, without that of networks.
	Saved   Estimate `json:"saved_percent"`
	SavedSE float64  `json:"saved_se_percent"`
	Share   Estimate `json:"share_percent"` // of the hops that Ideal saves; 0 where it saves none
	// Rounds and Messages are of whole lookups to all closest peers.
	Rounds   Estimate `json:"rounds_mean"`
	Messages Estimate `json:"messages_per_lookup"`
	Timeouts Estimate `json:"timeouts_per_lookup"` // those of Messages that went to peers that were gone
	Dead     Estimate `json:"dead_percent"`        // entries of peers that are gone when lookups begin
	// Replaced counts the members of a table that made way for others, not the dead:
	// in an hour with churn, otherwise in all. Eclipse is the share of a bucket that
	// an attacker holds after a flood; see Run. Ideal has neither.
	Replaced *Estimate `json:"replaced,omitempty"`
	Eclipse  *Estimate `json:"eclipse_percent,omitempty"`
}

// Result is what Run measured.
type Result struct {
	Config     Config  `json:"config"`
	Rows       []Row   `json:"rows"`
	Networks   int     `json:"networks"` // that the rows are means of
	CPUSeconds float64 `json:"cpu_s"`
	Seed       uint64  `json:"seed"`
	Digest     string  `json:"digest"` // of all lookups, 16 hexadecimal digits
	// Interrupted says that the context ended first: the figures are of the networks
	// that were done by then.
	Interrupted bool `json:"interrupted,omitempty"`
}

// HalfGain returns how many newcomers for each place a rule needed for half of
// the gain of Ideal, on a logarithmic scale between two numbers of the run, or the
// fill and the first of them. It is false where these are more than a factor of
// three apart, where the rule did not get there, and with churn, where newcomers
// go on for ever.
func (r *Result) HalfGain(rule string) (offers float64, ok bool) {
	before, share := 1.0, 0.0 // the fill decides nothing
	for i := range r.Rows {
		row := &r.Rows[i]
		now := float64(row.Offers)
		switch {
		case row.Rule != rule:
			continue
		case row.Share.Mean >= 50 && now > before:
			half := before * math.Pow(now/before, (50-share)/(row.Share.Mean-share))
			return half, now <= 3*before && !r.Config.Churning()
		}
		before, share = now, row.Share.Mean
	}
	return 0, false
}

// Run is the experiment that the balanced-buckets report (ProbeLab, RFM 19.1)
// proposes and replaces by a static optimum: buckets that choose online among
// those who happen to come by. It measures which share of the optimum's gain is
// left, and what it costs.
//
// Every bucket begins with a random fill. In a world at rest it then meets its
// newcomers and lookups follow the rules of static.RunRounds. With churn it lives
// for Hours, is asked every ten minutes which members are there, and refills holes
// by newcomers; lookups are those of package lookup in rounds of ten requests. All
// rules meet the same peers, newcomers, sessions, answer times and lookups.
//
// The flood: a bucket begins with random members. In each turn a place is drawn,
// and whoever holds it leaves unless it is an attacker's; eleven newcomers
// follow, one honest and ten of the attacker, whose peers answer fastest, never
// leave, and all have identifiers that begin with the same two bits after the
// bucket's prefix: a quarter of its range.
//
// Progress, if not nil, is told how many lookups of all variants are done. If ctx
// ends, its error comes with the networks done by then.
func Run(ctx context.Context, cfg Config, progress func(done, total int)) (Result, error) {
	if err := cfg.complete(); err != nil {
		return Result{}, err
	}
	cpu := sim.CPUTime()
	e := experiment{cfg: &cfg, progress: progress, findings: map[variant][]finding{}}
	var err error
	for network := 0; network < cfg.Networks && err == nil; network++ {
		err = e.network(ctx, network)
	}
	if err != nil && (ctx.Err() == nil || e.done == 0) {
		return Result{}, err
	}
	out := Result{
		Config: cfg, Rows: e.rows(), Networks: e.done, Seed: cfg.Seed, Digest: fmt.Sprintf("%016x", e.digest),
		Interrupted: err != nil, CPUSeconds: (sim.CPUTime() - cpu).Seconds(),
	}
	return out, err
}

func (c *Config) complete() error {
	for _, field := range []struct {
		name       string
		value      *int
		otherwise  int
		least, top int
	}{
		{"peers", &c.Peers, 0, 2, 1 << 30},
		{"bucket size", &c.Bucket, 20, 1, 1 << 10},
		{"hours", &c.Hours, 12, 1, 1 << 10},
		{"networks", &c.Networks, 5, 1, 1 << 10},
		{"lookups", &c.Lookups, 20_000, 2, 1<<31 - 1},
		{"workers", &c.Workers, runtime.GOMAXPROCS(0), 1, 1 << 10},
	} {
		if *field.value == 0 {
			*field.value = field.otherwise
		}
		if *field.value < field.least || *field.value > field.top {
			return fmt.Errorf("sim: %s %d: want %d to %d", field.name, *field.value, field.least, field.top)
		}
	}
	if c.Arrivals == "" {
		c.Arrivals = RandomArrivals
	}
	if c.Arrivals != RandomArrivals && c.Arrivals != LookupArrivals {
		return fmt.Errorf("sim: arrivals %q: want %s or %s", c.Arrivals, RandomArrivals, LookupArrivals)
	}
	if c.Peers <= replication {
		return fmt.Errorf("sim: %d peers: want more than the %d closest that a lookup finds", c.Peers, replication)
	}
	if ch := c.Churn; c.Churning() && ch.Sessions == nil && !(ch.Shape >= 0.1 && ch.Shape <= 10 && ch.Scale >= time.Minute) {
		return fmt.Errorf("sim: churn Weibull(%v, %v): want a shape of 0.1 to 10 and a scale of a minute or more", ch.Shape, ch.Scale)
	}
	if c.Churn.Away != 0 {
		return fmt.Errorf("sim: a mean absence of %v: want 0, whoever leaves is replaced at once", c.Churn.Away)
	}
	if c.Offers == nil {
		c.Offers = []int{1, 3, 10, 30}
	}
	if len(c.Offers) == 0 || slices.Min(c.Offers) < 1 || slices.Max(c.Offers) > 1<<16 {
		return fmt.Errorf("sim: offers %v: want numbers of 1 to %d", c.Offers, 1<<16)
	}
	c.Offers = slices.Compact(slices.Sorted(slices.Values(c.Offers)))
	return c.completeRules()
}

// completeRules puts the rules into the order of Rules, without repeats.
func (c *Config) completeRules() error {
	wanted := c.Rules
	if wanted == nil {
		wanted = Rules()
	}
	for _, rule := range wanted {
		if !slices.Contains(Rules(), rule) {
			return fmt.Errorf("sim: rule %q: want some of %s", rule, strings.Join(Rules(), ", "))
		}
	}
	c.Rules = slices.DeleteFunc(Rules(), func(rule string) bool {
		return rule != FirstSeen && rule != Ideal && !slices.Contains(wanted, rule)
	})
	return nil
}

// Churning reports whether peers come and go.
func (c *Config) Churning() bool { return c.Churn.Shape != 0 || c.Churn.Sessions != nil }

// Of lookups in Run, as in the report.
const (
	replication = 20
	concurrency = 10
)

// keeperOf makes a bucket of a rule; Ideal has none.
func keeperOf(rule string) (keeper, error) {
	switch rule {
	case FirstSeen:
		return &places{victim: keepAll}, nil
	case Literal:
		return &places{victim: literal}, nil
	case Level:
		return &places{victim: level}, nil
	case HalfNear:
		return &halfNear{}, nil
	case TableBuckets:
		return newProduct(table.Balanced)
	case TableMixed:
		return newProduct(table.Mixed)
	}
	return nil, errors.New("sim: no bucket of rule " + rule)
}
