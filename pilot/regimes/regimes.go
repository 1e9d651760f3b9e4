package regimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
)

// Config describes a comparison. Base, Reference and Matrix are needed.
type Config struct {
	Worlds    []World       // default all
	Entrants  []string      // default all
	Base      knob.Config   // the stock preset; what is not searched stays as in it
	Reference knob.Config   // the default preset
	Matrix    *place.Matrix // where the peers are
	Peers     int           // of the network; default 1000
	Lookups   int           // of an epoch and of an evaluation; default 200
	Blocks    int           // different epochs of the same conditions; default 16
	Trials    int           // evaluations of each search for the menu; default 200
	Search    []string      // families that share them; default cmaes and de
	Price     float64       // of a message, in milliseconds; default 2
	Seeds     int           // runs of each entrant in each world; default 10
	Seed      uint64
	Workers   int // default 1. The result does not depend on it
	Known     []Run
	// Finished, if not nil, is told of each run that is not Known, never of two at once.
	Finished func(Run) error
	Progress func(step string, done, total int)
}

// Run is one entrant in one world with one seed. Its JSON names are stable.
type Run struct {
	World   string  `json:"world"`
	Entrant string  `json:"entrant"`
	Seed    int     `json:"seed"`            // counts from 1
	Cost    float64 `json:"cost_ms"`         // of a lookup: waiting, and its messages at their price
	Regret  float64 `json:"regret_ms"`       // of a lookup, beyond the oracle
	Changes float64 `json:"changes_per_day"` // of configuration
	// Recovery is the mean number of epochs from a switch until the four that follow
	// cost no more than 2 % beyond the oracle; up to the next switch if that never
	// happened. 0 in worlds without switches.
	Recovery float64   `json:"recovery_epochs"`
	Curve    []float64 `json:"curve"`           // regret up to the end of each of 24 equal parts, ms of a lookup of the whole run
	Steps    []Step    `json:"steps,omitempty"` // of Logger: what others can learn from
}

// Step is a decision and what it brought.
type Step struct {
	Seen   []float64 `json:"seen"`   // before it
	Arm    int       `json:"arm"`    // that was chosen
	Chance float64   `json:"chance"` // with which
	Cost   float64   `json:"cost"`   // of a lookup over the menu's Scale
	Rate   float64   `json:"rate"`   // lookups a peer and hour: the weight
}

// Arm is a configuration of a menu.
type Arm struct {
	Name    string  `json:"name"` // what it was made for
	Config  string  `json:"config"`
	Entries float64 `json:"entries"`
}

// Menu is what those who choose choose from: the presets, and the best that a search
// found for each kind of conditions and for all together, in order of entries.
type Menu struct {
	World       string  `json:"world"`
	Arms        []Arm   `json:"arms"`
	Evaluations int     `json:"evaluations"` // that it took to make
	Scale       float64 `json:"scale_ms"`    // usual cost of a lookup with the stock preset

	configs                      []knob.Config
	stock, reference, compromise int
	lessons                      []lesson
}

// lesson is a measurement that was made with the menu.
type lesson struct {
	arm  int
	seen features
	cost float64
}

// Start prepares the menus, lets everybody run and judges. When ctx ends it judges the
// worlds in which all have run with at least two seeds; the error is then ctx's and
// comes with the result, which may be nil.
func Start(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	b, err := newBench(&cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.pool.Close() }()
	var runs []Run
	var menus []*Menu
	for i := range cfg.Worlds {
		p := &play{cfg: &cfg, bench: b, world: &cfg.Worlds[i]}
		if p.menu, err = p.prepare(ctx); err != nil {
			break
		}
		menus = append(menus, p.menu)
		var more []Run
		more, err = p.all(ctx)
		runs = append(runs, more...)
		if err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	} else if err != nil {
		return nil, err
	}
	return judge(&cfg, menus, runs, err != nil), err
}

func (c *Config) fill() error {
	c.Peers, c.Lookups, c.Blocks = cmp.Or(c.Peers, 1000), cmp.Or(c.Lookups, 200), cmp.Or(c.Blocks, 16)
	c.Trials, c.Price = cmp.Or(c.Trials, 200), cmp.Or(c.Price, 2)
	if len(c.Search) == 0 {
		c.Search = []string{"cmaes", "de"}
	}
	c.Seeds, c.Workers = cmp.Or(c.Seeds, 10), cmp.Or(c.Workers, 1)
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	if len(c.Worlds) == 0 {
		c.Worlds = Worlds()
	}
	if len(c.Entrants) == 0 {
		c.Entrants = EntrantNames()
	}
	if !slices.Contains(c.Entrants, Static) { // it is the yardstick
		c.Entrants = append([]string{Static}, c.Entrants...)
	}
	for _, name := range c.Entrants {
		if !slices.Contains(EntrantNames(), name) {
			return fmt.Errorf("regimes: no entrant %q: want some of %s", name, strings.Join(EntrantNames(), ", "))
		}
	}
	switch {
	case c.Base.Set() == nil || c.Reference.Set() != c.Base.Set() || c.Matrix == nil:
		return errors.New("regimes: want a base, a reference of the same knobs, and a matrix")
	case c.Peers < 64 || c.Lookups < 10 || c.Blocks < 2 || c.Trials < 12 || c.Seeds < 1 || c.Workers < 1:
		return fmt.Errorf("regimes: %d peers, %d lookups, %d blocks, %d trials, %d seeds, %d workers: want at least 64, 10, 2, 12, 1 and 1",
			c.Peers, c.Lookups, c.Blocks, c.Trials, c.Seeds, c.Workers)
	case !(c.Price > 0) || math.IsInf(c.Price, 1):
		return fmt.Errorf("regimes: a price of %v ms for a message: want more than 0", c.Price)
	}
	return nil
}

// play is one world.
type play struct {
	cfg   *Config
	bench *bench
	world *World
	menu  *Menu
	best  map[Conditions]int // the oracle's arm
}

// prepare makes the menu: a search for each kind of conditions and one for all
// together; then every arm is measured on what the epochs will be made of.
func (p *play) prepare(ctx context.Context) (*Menu, error) {
	menu, typical := &Menu{World: p.world.Name}, p.world.typical
	searches := [][]Conditions{typical}
	for _, c := range typical {
		searches = append(searches, []Conditions{c})
	}
	for _, s := range searches {
		menu.Evaluations += p.cfg.Trials * len(s)
	}
	found, err := p.searches(ctx, searches)
	if err != nil {
		return nil, err
	}
	names, configs := []string{Stock, Default, forAll}, append([]knob.Config{p.cfg.Base, p.cfg.Reference}, found...)
	for _, c := range typical {
		names = append(names, "for "+c.Name)
	}
	return menu, p.serve(ctx, menu, names, configs)
}

// searches runs several searches at once.
func (p *play) searches(ctx context.Context, searches [][]Conditions) ([]knob.Config, error) {
	found, errs := make([]knob.Config, len(searches)), make([]error, len(searches))
	var mu sync.Mutex
	done := 0
	step := "searching for a menu in " + p.world.Name
	next := make(chan int)
	var group sync.WaitGroup
	for range p.cfg.Workers {
		group.Go(func() {
			for i := range next {
				found[i], errs[i] = p.bench.search(ctx, searches[i], p.cfg.Trials, nil, func() {
					mu.Lock()
					defer mu.Unlock()
					done++
					p.cfg.Progress(step, done, len(searches)*p.cfg.Trials)
				})
			}
		})
	}
	for i := range searches {
		next <- i
	}
	close(next)
	group.Wait()
	return found, errors.Join(errs...)
}

// forAll is the arm that a search found for all conditions together.
const forAll = "for all"

// serve orders the arms by entries, without twins, measures them and finds the oracle's
// choices.
func (p *play) serve(ctx context.Context, menu *Menu, names []string, configs []knob.Config) error {
	type candidate struct {
		Arm
		config knob.Config
		roles  []string
	}
	var list []candidate
	for i, c := range configs {
		text := c.String()
		if same := slices.IndexFunc(list, func(a candidate) bool { return a.Config == text }); same >= 0 {
			list[same].roles = append(list[same].roles, names[i])
			continue
		}
		f, err := p.bench.measure(ctx, cell{text, p.world.typical[0].network(), searchBlock})
		if err != nil {
			return err
		}
		list = append(list, candidate{Arm{"", text, f.Entries}, c, []string{names[i]}})
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.Entries, b.Entries) })
	for i, c := range list {
		c.Name = strings.Join(c.roles, ", ")
		menu.Arms, menu.configs = append(menu.Arms, c.Arm), append(menu.configs, c.config)
		for _, role := range c.roles {
			switch role {
			case Stock:
				menu.stock = i
			case Default:
				menu.reference = i
			case forAll:
				menu.compromise = i
			}
		}
	}
	return p.teach(ctx, menu)
}

// lessonBlocks is how often a menu's maker measures an arm in each of the typical
// conditions.
const lessonBlocks = 4

// teach measures every arm in all typical conditions, on lookups of no epoch.
func (p *play) teach(ctx context.Context, menu *Menu) error {
	for _, c := range p.world.typical {
		for arm, a := range menu.Arms {
			for block := range lessonBlocks { // others than those that arms were chosen by
				f, err := p.bench.measure(ctx, cell{a.Config, c.network(), searchBlock - 1 - lessonBlocks - block})
				if err != nil {
					return err
				}
				menu.Evaluations++
				cost := f.cost(c, p.cfg.Price)
				menu.lessons = append(menu.lessons, lesson{arm, p.bench.see(c), cost})
				if arm == menu.stock {
					menu.Scale += cost / float64(len(p.world.typical)*lessonBlocks)
				}
			}
		}
	}
	return p.consult(ctx, menu)
}

// consult measures the menu everywhere and notes what is best where.
func (p *play) consult(ctx context.Context, menu *Menu) error {
	all := p.conditions()
	step := "measuring the menu in " + p.world.Name
	err := p.bench.tabulate(ctx, menu.configs, networks(all), func(done, total int) { p.cfg.Progress(step, done, total) })
	if err != nil {
		return err
	}
	p.best = map[Conditions]int{}
	for _, c := range all {
		least := math.Inf(1)
		for arm, a := range menu.Arms {
			cost, err := p.bench.expected(ctx, a.Config, c)
			if err != nil {
				return err
			}
			if cost < least {
				p.best[c], least = arm, cost
			}
		}
	}
	return nil
}

// conditions returns the different ones of a world, in order of appearance.
func (p *play) conditions() (list []Conditions) {
	for seed := 1; seed <= p.cfg.Seeds; seed++ {
		for epoch := range p.world.Epochs {
			if c := p.world.at(p.seed(seed), epoch); !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	return list
}

// seed is what a run's chance hangs on; the same for all entrants.
func (p *play) seed(seed int) uint64 { return stat.Hash(p.cfg.Seed, 3, uint64(seed)) }
