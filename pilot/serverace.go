package pilot

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/pilot/study"
	"github.com/shoalnet/shoal/stat"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/learners"
	"github.com/shoalnet/shoal/tune/library"
)

// mostRaced is how many evaluations a race of a service has at most: all of its learners
// together.
const mostRaced = 600

// RaceView is the study under way or the last one. Its JSON names are stable.
type RaceView struct {
	Study   int             `json:"study"` // its number
	Race    learners.Result `json:"race"`
	Why     string          `json:"why"` // what came of it; empty until then
	Library LibraryView     `json:"library"`
}

// LibraryView is what the library said at the beginning of a study.
type LibraryView struct {
	Site        string              `json:"site"`
	Studies     int                 `json:"studies"` // that it has
	Fingerprint library.Fingerprint `json:"fingerprint"`
	Matches     []library.Match     `json:"matches"` // the nearest, at most 8
	Starts      []library.Start     `json:"starts"`  // configurations to begin with
	Order       []library.Standing  `json:"order"`   // of the racers
}

// openShelf opens the library of the data directory, or the one that is named.
func (s *service) openShelf() (err error) {
	path := s.cfg.Library
	if path == "" {
		path = filepath.Join(s.cfg.Dir, study.ShelfName)
	}
	if s.shelf, err = study.OpenShelf(path); err == nil && s.shelf.Skipped() > 0 {
		s.cfg.Say("%d lines of %s are no studies and were passed over", s.shelf.Skipped(), path)
	}
	return err
}

// finding is what a study found, the zero Config if nothing, and why.
type finding struct {
	config knob.Config
	why    string
	order  []string // of its components
}

// race has learners race on the twin and answers with the winner; empty after deciding
// that there is none, and why.
func (s *service) race(ctx context.Context, c tune.Study) (finding, error) {
	r := s.run
	survey := r.fleet.Survey()
	e, ok, err := r.twin(survey)
	if err != nil || !ok {
		return finding{why: r.result.Why}, err
	}
	r.load.pace(0)
	defer r.load.pace(r.rate)
	pool := r.pool(e)
	defer func() { _ = pool.Close() }()
	base, perTrial, _, err := r.compareTwin(ctx, e, pool)
	if err != nil {
		return finding{}, err
	}
	view := RaceView{Study: c.Number, Library: s.consult(s.alike.fingerprint(r.fleet.Now(), survey, r.rate*60/float64(max(survey.Peers, 1))))}
	cfg := LearnConfig{
		World: e.World, Reference: r.cfg.Reference, Frozen: c.Frozen, Seed: c.Seed, Pool: pool,
		Total: r.affordable(perTrial, mostRaced), Spare: r.spare(), Starts: ParseStarts(r.cfg.Baseline, view.Library.Starts),
	}
	for _, x := range view.Library.Order {
		cfg.Racers = append(cfg.Racers, x.Name)
	}
	learned, err := r.learn(ctx, base[0], &view, cfg)
	if err != nil {
		return finding{}, err
	}
	s.served.Races = append(s.served.Races, view)
	found := finding{config: learned.config, why: learned.Why}
	if r.cfg.OneComponent && learned.config.Set() != nil {
		seeds := stat.NewStream(c.Seed, "pilot.interact")
		fresh := make([]uint64, interactSeeds)
		for i := range fresh {
			fresh[i] = seeds.Uint64()
		}
		apart, err := e.Interact(ctx, pool, r.cfg.Baseline, learned.config, trialLookups, fresh)
		if err != nil {
			return finding{}, err
		}
		if len(apart.Alone) > 0 {
			found.why, found.order = found.why+"; "+apart.Text(), apart.Order()
		}
	}
	return found, s.keep(c, view)
}

// consult asks the library where a study should begin.
func (s *service) consult(f library.Fingerprint) LibraryView {
	l := &s.shelf.Library
	v := LibraryView{
		Site: s.shelf.Site(), Studies: len(l.Records()), Fingerprint: f,
		Matches: append([]library.Match{}, l.Nearest(f, 8)...), Starts: append([]library.Start{}, l.Starts(f, LibraryStarts)...),
		Order: l.Order(f, learners.Names()),
	}
	if len(v.Matches) > 0 {
		s.cfg.Say("library: %d similar studies, the nearest at %.3f of %s; %d configurations to begin with, %s goes first",
			len(v.Matches), v.Matches[0].Distance, v.Matches[0].Site, len(v.Starts), v.Order[0].Name)
	}
	return v
}

// keep puts a study on the shelf.
func (s *service) keep(c tune.Study, v RaceView) error {
	name := fmt.Sprintf("%d of %s", c.Number, s.began.UTC().Format("2006-01-02 15:04:05"))
	s.kept = RecordOf(s.shelf.Site(), name, time.Now(), v.Library.Fingerprint, s.cfg.Baseline, v.Race)
	_, err := s.shelf.Add(s.kept)
	return err
}

// correct puts what the network showed of the candidate in the place of what the twin
// had promised, once the rollout has ended.
func (s *service) correct() error {
	rollout := s.machine.Rollout()
	if rollout == nil || s.kept.Study == "" {
		return nil
	}
	rep := rollout.Report()
	_, candidate := rollout.Configs()
	if rep.Effect.Ratio == nil || rep.Effect.Low == nil || rep.Effect.High == nil {
		return nil
	}
	bound := func(x float64) float64 { return min(max(x, 0.01), 100) }
	for i, f := range s.kept.Found {
		if f.Config != candidate.String() {
			continue
		}
		s.kept.Found[i] = library.Found{Config: f.Config, Ratio: bound(*rep.Effect.Ratio), Low: bound(*rep.Effect.Low), High: bound(*rep.Effect.High)}
		s.kept.AtUnix = max(time.Now().Unix(), s.kept.AtUnix+1)
		record := s.kept
		s.kept = library.Record{}
		_, err := s.shelf.Add(record)
		return err
	}
	return nil
}

// raced tells how a race comes on.
func (l *Live) raced(v RaceView) {
	l.update(func(s *Snapshot) { s.Race = &v })
}
