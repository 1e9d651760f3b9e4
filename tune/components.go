package tune

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoalnet/shoal/knob"
)

// apart takes the first component of a candidate that moves several, if they are to be
// rolled out one at a time, and the reason that has the others follow.
func (s *Service) apart(candidate knob.Config, order []string) (knob.Config, Trigger) {
	changes := knob.Diff(s.cfg.Baseline, candidate)
	if names := components(changes, order); s.cfg.OneComponent && len(names) > 1 {
		first := s.cfg.Baseline
		var rest strings.Builder
		for _, name := range names {
			for _, c := range changes {
				switch {
				case componentOf(c.Name) != name:
				case name != names[0]:
					fmt.Fprintf(&rest, "%s = %s\n", c.Name, c.To)
				default:
					first, _ = first.With(c.Name, c.To) // it is the candidate's own value
				}
			}
		}
		others := strings.Join(names[1:], ", ")
		return first, Trigger{Kind: TriggerRest, What: others, Rest: rest.String(), Text: fmt.Sprintf("of the candidate %s goes first; %s follows once that is decided", names[0], others)}
	}
	return candidate, Trigger{}
}

// goOn begins the study that proposes what waits for its turn.
func (s *Service) goOn(now time.Duration, t Trigger) {
	s.study = Study{Number: s.history.studies + 1, Trigger: t, Frozen: s.history.frozen(now)}
	s.answer = &Studied{Number: s.study.Number, Why: "what waited for its turn", Order: strings.Split(t.What, ", ")}
	if c, err := s.cfg.Baseline.Set().Parse(s.cfg.Baseline, t.Rest); err == nil {
		s.answer.Candidate = c.String()
	} else {
		s.answer.Why = err.Error()
	}
	s.state, s.until = ServiceStudying, now+s.cfg.StudyTime
	s.record(now, KindStudy, fmt.Sprintf("study %d goes on with %s", s.study.Number, t.What), studyData{Number: s.study.Number, Trigger: t})
}

// components returns those of some changes: first those of an order, then by name.
func components(changes []knob.Change, order []string) (names []string) {
	var found []string
	for _, c := range changes {
		found = append(found, componentOf(c.Name))
	}
	slices.Sort(found)
	found = slices.Compact(found)
	for _, name := range append(slices.Clone(order), found...) {
		if slices.Contains(found, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func componentOf(name string) string {
	component, _, _ := strings.Cut(name, ".")
	return component
}
