// Package regimes holds those who tune while the world changes against those who
// do not: churn, load, geography and popularity switch, or follow the day and the
// week. Everybody lives through the same hours with the same lookups, one after the
// other, and pays for what they try. The measure is what each pays beyond an oracle
// that always knows the best configuration of a menu, and how long it takes to be
// back near it after a switch.
//
// A network is simulated at rest (package sim/static), as it is in an hour. The load
// enters by what a table costs: its entries must be probed, whoever looks up.
package regimes

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/stat"
)

// Conditions are what a network is like for an epoch.
type Conditions struct {
	Name   string        `json:"name"`
	Stale  float64       `json:"stale"`         // share of a table's entries that are gone, above 0
	Stay   time.Duration `json:"stay_ns"`       // mean session of a peer
	Rate   float64       `json:"rate_per_hour"` // lookups of a peer
	Region string        `json:"region"`        // where the peers are; empty: everywhere
	Skew   float64       `json:"skew"`          // Zipf exponent of the keys; 0: every lookup is for another one
}

// probes returns how often each entry must be probed in an hour for the stale share
// to be what it is: entries die at a rate of 1/Stay and are found dead half a pause
// later in the mean, so the pause is 2·Stale·Stay.
func (c Conditions) probes() float64 { return 1 / (2 * c.Stale * c.Stay.Hours()) }

// network is the part of conditions that the simulation of lookups depends on.
type network struct {
	stale  float64
	region string
	skew   float64
}

func (c Conditions) network() network { return network{c.Stale, c.Region, c.Skew} }

// World is a course of conditions.
type World struct {
	Name   string
	About  string        // what changes
	Epoch  time.Duration // between two decisions
	Epochs int
	// at returns the conditions of an epoch, which depend on the seed and the epoch
	// alone.
	at func(seed uint64, epoch int) Conditions
	// typical are the conditions that those who prepare know of.
	typical  []Conditions
	calendar bool // it follows the day and the week; else it switches
}

// At returns the conditions of an epoch.
func (w *World) At(seed uint64, epoch int) Conditions { return w.at(seed, epoch) }

// The means of Weibull sessions: IPFS as measured in 2022 (0.61, 3.66 h), stress (0.6,
// 30 min) and stable as Tor relays (0.47, 40 h).
const (
	ipfsStay   = 5*time.Hour + 24*time.Minute
	stressStay = 45 * time.Minute
	stableStay = 90 * time.Hour
)

// ordinary is a network like IPFS with a lookup every two minutes.
var ordinary = Conditions{Name: "ordinary", Stale: 0.1, Stay: ipfsStay, Rate: 30}

// but returns conditions with a name, changed.
func (c Conditions) but(name string, change func(*Conditions)) Conditions {
	c.Name = name
	change(&c)
	return c
}

// Worlds lists the courses.
func Worlds() []World {
	stress := ordinary.but("stress churn", func(c *Conditions) { c.Stale, c.Stay = 0.3, stressStay })
	stable := ordinary.but("stable", func(c *Conditions) { c.Stale, c.Stay = 0.02, stableStay })
	quiet := ordinary.but("quiet", func(c *Conditions) { c.Rate = 2 })
	busy := ordinary.but("busy", func(c *Conditions) { c.Rate = 300 })
	europe := ordinary.but("in Europe", func(c *Conditions) { c.Region = "europe" })
	crowd := ordinary.but("flash crowd", func(c *Conditions) { c.Skew, c.Rate = 1.2, 300 })
	return []World{
		switching("churn", "how long peers stay", ordinary, stress, stable),
		switching("load", "how often peers look up", ordinary, quiet, busy),
		switching("geography", "where the peers are", ordinary, europe),
		switching("popularity", "a flash crowd: few keys, ten times the lookups", ordinary, crowd),
		switching("mixed", "churn, stress, stability and a flash crowd", ordinary, stress, stable, crowd),
		week(),
		office(),
	}
}

const (
	switchEpoch  = 15 * time.Minute
	regimeEpochs = 24 // six hours
	regimesInRun = 12
)

// switching stays six hours with each of some conditions, in an order that the seed
// draws, never twice in a row with the same.
func switching(name, about string, regimes ...Conditions) World {
	return World{
		Name: name, About: about, Epoch: switchEpoch, Epochs: regimeEpochs * regimesInRun, typical: regimes,
		at: func(seed uint64, epoch int) Conditions {
			draw := stat.NewStream(seed, "regimes."+name)
			at := draw.IntN(len(regimes))
			for range epoch / regimeEpochs {
				at = (at + 1 + draw.IntN(len(regimes)-1)) % len(regimes)
			}
			return regimes[at]
		},
	}
}

// Of the worlds that follow the calendar.
const (
	weekEpoch = 2 * time.Hour
	weeks     = 4
	dayEpochs = 12
	peakHour  = 20
)

// calendar is a world that depends on the hour of the day and on whether it is a
// weekend; the first day is a Monday.
func calendar(name, about string, at func(hour float64, weekend bool) Conditions, typical ...Conditions) World {
	return World{
		Name: name, About: about, Epoch: weekEpoch, Epochs: weeks * 7 * dayEpochs, typical: typical, calendar: true,
		at: func(_ uint64, epoch int) Conditions {
			hour, weekend := float64(epoch%dayEpochs)*weekEpoch.Hours(), epoch/dayEpochs%7 >= 5
			c := at(hour, weekend)
			c.Name = fmt.Sprintf("%02.0f:00", hour)
			if weekend {
				c.Name += " weekend"
			}
			return c
		},
	}
}

// week is a public network: load is a wave of ten to one with its peak at 20:00, a
// third of it at weekends; in the evening many peers are there for a short time only,
// at night those that stay.
func week() World {
	at := func(hour float64, weekend bool) Conditions {
		wave := math.Cos(2 * math.Pi * (hour - peakHour) / 24)
		c := ordinary
		c.Rate = 30 * (1 + float64(0.82*wave))
		if weekend {
			c.Rate /= 3
		}
		switch {
		case wave > 0.4:
			c.Stale, c.Stay = 0.2, 90*time.Minute
		case wave < -0.4:
			c.Stale, c.Stay = 0.04, 20*time.Hour
		}
		return c
	}
	return calendar("week", "a public network by day and week, load ten to one", at,
		at(peakHour, false).named("evening"), at(8, false).named("morning"), at(2, false).named("night"), at(8, true).named("weekend"))
}

// office is the network of an organisation: busy for ten hours of a working day,
// nearly idle otherwise; at night only what is never switched off is there.
func office() World {
	at := func(hour float64, weekend bool) Conditions {
		c := ordinary
		if hour >= 8 && hour < 18 && !weekend {
			c.Rate = 120
			return c
		}
		c.Rate, c.Stale, c.Stay = 2, 0.04, 20*time.Hour
		return c
	}
	return calendar("office", "an organisation's network by day and week, load sixty to one", at,
		at(12, false).named("office hours"), at(0, false).named("off hours"))
}

// named returns conditions with a name.
func (c Conditions) named(name string) Conditions {
	c.Name = name
	return c
}

// Named returns the worlds of some names, all for none; the error lists them.
func Named(names []string) ([]World, error) {
	all := Worlds()
	if len(names) == 0 {
		return all, nil
	}
	var some []World
	for _, name := range names {
		i := slices.IndexFunc(all, func(w World) bool { return w.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("regimes: no world %q: want some of %s", name, strings.Join(WorldNames(), ", "))
		}
		if !slices.ContainsFunc(some, func(w World) bool { return w.Name == name }) {
			some = append(some, all[i])
		}
	}
	return some, nil
}

// WorldNames returns the names of all worlds.
func WorldNames() []string {
	var names []string
	for _, w := range Worlds() {
		names = append(names, w.Name)
	}
	return names
}

// regionOf returns the sites of a matrix that lie in a region.
func regionOf(m *place.Matrix, region string) (*place.Matrix, error) {
	if region == "" {
		return m, nil
	}
	var sites []place.Site
	var at []int
	for i := range m.N() {
		if s := m.Site(i); s.Located && s.Lat > 35 && s.Lat < 70 && s.Lon > -12 && s.Lon < 40 {
			sites, at = append(sites, s), append(at, i)
		}
	}
	if len(sites) < 4 {
		return nil, fmt.Errorf("regimes: %s has %d sites in %s: want 4 or more, with coordinates, or leave out the world geography", m.Name, len(sites), region)
	}
	return place.NewMatrix(m.Name+", "+region, sites, func(i, j int) time.Duration { return m.RTT(at[i], at[j]) })
}
