// Package study runs a race of learners on whatever measures their trials, and keeps
// what it found on a shelf: the study library in its file.
package study

import (
	"context"
	"errors"
	"time"

	"github.com/shoalnet/shoal/tune/learners"
)

// Measure measures trials, in any order and as many at a time as it likes, and returns
// their outcomes in the order of the trials. A trial that fails is an outcome, too.
type Measure func(ctx context.Context, trials []learners.Trial) ([]learners.Outcome, error)

// Run drives a race to its end. After spare the learners may measure no more, and what
// they have is chosen from; 0 is no limit. progress, if not nil, is told after each
// round how the race stands.
func Run(ctx context.Context, cfg learners.Config, spare time.Duration, measure Measure, progress func(*learners.Race)) (*learners.Race, error) {
	race, err := learners.New(cfg)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for !race.Done() {
		var round []learners.Trial
		for t, ok := race.Ask(); ok; t, ok = race.Ask() {
			round = append(round, t)
		}
		if len(round) == 0 {
			continue // the last Ask has ended it
		}
		outcomes, err := measure(ctx, round)
		if err != nil {
			return nil, err
		}
		if len(outcomes) != len(round) {
			return nil, errors.New("study: not an outcome for every trial")
		}
		for i, t := range round {
			race.Tell(t.ID, outcomes[i])
		}
		if spare > 0 && time.Since(began) > spare {
			race.Stop()
		}
		if progress != nil {
			progress(race)
		}
	}
	return race, nil
}

// Size says how large a race may be for so many measurements in all: which racers, the
// first of those given, take part, with what budget each, and how often what they hand
// in is measured. A learner with fewer than 16 measurements says nothing, so that a
// small race has fewer of them. Stay always takes part: it costs nothing.
func Size(total int, racers []string, cfg *learners.Config) {
	const least = 16
	var active []string
	for _, name := range racers {
		if name != learners.Stay {
			active = append(active, name)
		}
	}
	const search = 0.65 // share of the measurements; the rest measures again
	n := max(min(len(active), int(search*float64(total)/least)), 1)
	cfg.Racers = append(append([]string{}, active[:n]...), learners.Stay)
	cfg.Budget = max(int(search*float64(total)/float64(n)), least/2)
	switch {
	case total < 200:
		cfg.Finalists, cfg.Choices, cfg.Checks = 2, 2, 5
	case total < 400:
		cfg.Finalists, cfg.Choices, cfg.Checks = 2, 3, 6
	default:
		cfg.Finalists, cfg.Choices, cfg.Checks = 3, 3, 8
	}
}
