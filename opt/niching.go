package opt

import (
	"math"
	"slices"

	"github.com/shoalnet/shoal/stat"
)

// niching is a population that settles on several good places at once.
type niching struct {
	generation
	size   int
	people []settler
	spare  []int                          // people who are spare, or were
	age    int                            // generations
	plans  []nichePlan                    // of the brood; none while the first population is made
	scales []float64                      // of the coordinates, in distances
	choice []bool                         // coordinates without arithmetic
	value  func(scores []float64) float64 // while a brood is made
}

// settler is a person and how far its own steps go, in widths of the box.
type settler struct {
	*individual
	reach float64
	spare bool // somebody better stands where it does: its place is for who finds another
}

// nichePlan says how a child was made.
type nichePlan struct {
	parent int         // person
	one    *individual // who that was then
	reach  float64     // of a step; 0 of a difference
}

// Niched is an optimizer that holds several good places at once.
type Niched interface {
	Populated
	// People returns the successful members of what would breed next, the best first.
	People() []Member
	// Niches returns the best of each species, the best first. Species are as many as
	// wanted, or fewer: the threshold between them is moved until that fits, as NEAT
	// does (Stanley and Miikkulainen, Evolutionary Computation 10(2), 2002). 0 means
	// the 8 of a menu.
	Niches(wanted int) []Member
}

var _ Niched = (*niching)(nil)

// What niching is run with.
const (
	nicheScale    = 0.5 // of differences
	nicheRate     = 0.9 // of crossover
	nicheShare    = 20  // one of so many people is a neighbour, but 6 at least
	nicheLeast    = 50  // people
	nicheGreatest = 1000
	nicheRounds   = 200  // generations that a budget should last for
	nicheUp       = 2.0  // a step that won makes the next so much longer
	nicheSpent    = 1e-8 // a person of shorter steps has come down
	nicheFine     = 0.25 // of the spacing: who makes shorter steps knows its own place
	nicheRest     = 8    // generations from one search for spare people to the next
)

// nicheDown shortens a step that lost: one in five that wins keeps the length.
var nicheDown = math.Pow(nicheUp, -0.25)

// NewNiching returns a crowding population (Thomsen, CEC 2004): a child takes the
// place of the nearest person that it is no worse than, and of nobody else, so the
// population gathers in many good places and stays there: alternatives for the menu
// of a bandit, one for each condition. A child is one of three, by chance:
//
//   - Every second is a normal step from its parent, as long as the one-in-five rule
//     of evolution strategies says (Rechenberg, 1973). One person for each peak has
//     nobody near to take differences from; without steps it stays above the ground.
//     The parent is the best of three drawn; one who has come down makes a difference
//     instead.
//   - Every fourth is a difference among the nearest of its parent (Qu, Suganthan and
//     Liang, IEEE TEVC 16(5), 2012), every fourth among all, as Thomsen's are.
//
// In the end many would stand on one peak, and who is on the slope of a free one loses
// to its neighbour on the top of the next. So who makes small steps and has somebody
// better within two of them is spare: its place is for a child that lost but is farther
// than that from its nearest, and makes steps of half that distance at first.
//
// Without Settings.Population there are as many people as the budget feeds for 200
// generations, 50 to 1,000. Distances between shapes weigh bucket j of n by
// 2^-(j+1)+1/n, since half of the network is in bucket 0 and every bucket counts;
// choices differ or do not. Fitness is that of all objectives on today's scale, and
// failed trials lose against everybody.
//
// It is generational; a child costs O(people·d). Prefer it where one wants all
// optima and has 20,000 evaluations or more.
func NewNiching(space *Space, cfg Settings) (Optimizer, error) {
	g, err := newGeneration(space, cfg, "niching")
	if err != nil {
		return nil, err
	}
	n := &niching{generation: g, scales: space.scales()}
	for i := range n.scales {
		n.choice = append(n.choice, space.Categorical(i))
	}
	own := nicheLeast
	if n.cfg.Budget > 0 {
		own = min(max(n.cfg.Budget/nicheRounds, nicheLeast), nicheGreatest)
	}
	n.size = n.population(own, minPopulation)
	n.breed = n.settleDown
	return n, nil
}

// scales returns what a difference in each coordinate counts in a distance.
func (s *Space) scales() []float64 {
	elements := map[string]int{}
	for _, a := range s.axes {
		elements[a.Knob]++
	}
	scales := make([]float64, len(s.axes))
	for i, a := range s.axes {
		scales[i] = 1
		if n := elements[a.Knob]; n > 1 {
			scales[i] = math.Exp2(-float64(a.Element+1)) + 1/float64(n)
		}
	}
	return scales
}

// apart is the squared distance of two points.
func (n *niching) apart(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		d := v - b[i]
		if n.choice[i] && d != 0 {
			d = 1
		}
		sum += float64(n.scales[i] * d * d)
	}
	return sum
}

// spacing is half the distance of people that fill the box evenly.
func (n *niching) spacing() float64 {
	return math.Pow(float64(n.size), -1/float64(n.space.Size())) / 2
}

func (n *niching) settleDown(done []*individual) []*individual {
	if n.plans == nil { // the opening, then the rest of the first population
		for _, one := range done {
			n.people = append(n.people, settler{individual: one, reach: n.spacing()})
		}
		if missing := n.size - len(n.people); missing > 0 {
			return n.firstOf(missing)
		}
	} else {
		n.crowd(done)
	}
	brood := make([]*individual, len(n.people))
	n.plans = make([]nichePlan, len(n.people))
	n.value = n.fitness()
	for i := range brood {
		brood[i], n.plans[i] = n.child(i)
	}
	return brood
}

// crowd lets each child, in order of trial, take the place of the nearest person
// that it is no worse than.
func (n *niching) crowd(done []*individual) {
	value := n.fitness()
	if n.age++; n.age%nicheRest == 0 {
		n.findSpare(value)
	}
	for c, child := range done {
		plan, reach := n.plans[c], n.spacing()
		parent := &n.people[plan.parent]
		there := parent.individual == plan.one // not replaced by an earlier child
		if plan.reach > 0 {
			if child.scores != nil && value(child.scores) < value(plan.one.scores) {
				reach = min(plan.reach*nicheUp, 0.5)
			} else if reach = plan.reach * nicheDown; there {
				parent.reach = reach
			}
		}
		if child.scores == nil {
			continue
		}
		at, far := n.nearest(child)
		if value(child.scores) <= value(n.people[at].scores) {
			n.people[at] = settler{individual: child, reach: reach}
		} else if !n.people[at].reaches(far) {
			n.settle(child, min(math.Sqrt(far)/2, n.spacing()))
		}
	}
}

// reaches reports whether a squared distance is within two steps.
func (s *settler) reaches(far float64) bool { return far <= 4*s.reach*s.reach }

// settle gives a child the place of somebody spare, if there is one.
func (n *niching) settle(child *individual, reach float64) {
	for len(n.spare) > 0 {
		at := n.spare[len(n.spare)-1]
		n.spare = n.spare[:len(n.spare)-1]
		if n.people[at].spare { // else a child that won has taken the place
			n.people[at] = settler{individual: child, reach: reach}
			return
		}
	}
}

// findSpare marks who stands where somebody better does.
func (n *niching) findSpare(value func(scores []float64) float64) {
	for i := range n.people {
		one := &n.people[i]
		if one.spare || one.reach > nicheFine*n.spacing() {
			continue
		}
		mine := value(one.scores)
		for j := range n.people {
			other := &n.people[j]
			if j != i && !other.spare && one.reaches(n.apart(one.at, other.at)) && value(other.scores) <= mine {
				one.spare = true
				n.spare = append(n.spare, i)
				break
			}
		}
	}
}

// nearest returns the person nearest to a child, and the squared distance. It is where
// the time goes.
func (n *niching) nearest(child *individual) (at int, least float64) {
	at, least = 0, math.Inf(1)
	for i := range n.people {
		sum, x := 0.0, n.people[i].at
		for k, v := range child.at {
			d := v - x[k]
			if n.choice[k] && d != 0 {
				d = 1
			}
			if sum += float64(n.scales[k] * d * d); sum >= least {
				break
			}
		}
		if sum < least {
			at, least = i, sum
		}
	}
	return at, least
}

// child returns a child of person i or, every second time, of a better one.
func (n *niching) child(i int) (*individual, nichePlan) {
	s, kind := n.stream, n.stream.IntN(4)
	if kind >= 2 {
		return n.difference(i, kind == 3)
	}
	for range 2 {
		if j := s.IntN(len(n.people)); n.value(n.people[j].scores) < n.value(n.people[i].scores) {
			i = j
		}
	}
	one := n.people[i]
	if one.reach > nicheSpent {
		return n.step(one), nichePlan{parent: i, one: one.individual, reach: one.reach}
	}
	return n.difference(i, kind == 1)
}

// difference returns a child of person i by a difference among its neighbours or
// among all.
func (n *niching) difference(i int, near bool) (*individual, nichePlan) {
	s, one, pool := n.stream, n.people[i], n.people
	if near {
		pool = n.neighbours(one)
	}
	picks := [3]settler{}
	for k, j := range distinct(s, len(picks), len(pool)) {
		picks[k] = pool[j]
	}
	x, forced := slices.Clone(one.at), s.IntN(len(one.at))
	for k := range x {
		if k != forced && s.Float64() >= nicheRate {
			continue
		}
		if n.choice[k] {
			x[k] = n.chosen(picks[s.IntN(len(picks))].at[k])
			continue
		}
		x[k] = min(max(picks[0].at[k]+float64(nicheScale*(picks[1].at[k]-picks[2].at[k])), 0), 1)
	}
	parents := []int{one.trial, picks[0].trial, picks[1].trial, picks[2].trial}
	return &individual{x: x, origin: "niche", parents: parents}, nichePlan{parent: i, one: one.individual}
}

// step returns a child by a normal step.
func (n *niching) step(one settler) *individual {
	x := slices.Clone(one.at)
	for k := range x {
		if n.choice[k] {
			x[k] = n.chosen(x[k])
			continue
		}
		x[k] = min(max(x[k]+float64(one.reach*n.stream.NormFloat64()), 0), 1)
	}
	return &individual{x: x, origin: "step", parents: []int{one.trial}}
}

// chosen returns a choice as it was, or in one of 2d draws any: all may have the
// same.
func (n *niching) chosen(theirs float64) float64 {
	if n.stream.IntN(2*n.space.Size()) == 0 {
		return n.stream.Float64()
	}
	return theirs
}

// distinct draws k different numbers of 0 to n-1.
func distinct(s *stat.Stream, k, n int) []int {
	drawn := make([]int, 0, k)
	for len(drawn) < k {
		if i := s.IntN(n); !slices.Contains(drawn, i) {
			drawn = append(drawn, i)
		}
	}
	return drawn
}

// neighbours returns the nearest others.
func (n *niching) neighbours(one settler) []settler {
	wanted := min(max(len(n.people)/nicheShare, 6), len(n.people)-1)
	near, far := make([]settler, 0, wanted+1), make([]float64, 0, wanted+1) // sorted
	for _, p := range n.people {
		if p.individual == one.individual {
			continue
		}
		d := n.apart(one.at, p.at)
		if len(near) == wanted && d >= far[wanted-1] {
			continue
		}
		at, _ := slices.BinarySearch(far, d)
		near, far = slices.Insert(near, at, p), slices.Insert(far, at, d)
		near, far = near[:min(len(near), wanted)], far[:min(len(far), wanted)]
	}
	return near
}

// ordered returns the people that succeeded, the best first.
func (n *niching) ordered() []*individual {
	all := make([]*individual, len(n.people))
	for i, p := range n.people {
		all[i] = p.individual
	}
	return n.ranked(all)
}

// People implements Niched.
func (n *niching) People() []Member {
	var members []Member
	for _, one := range n.ordered() {
		members = append(members, n.member(one))
	}
	return members
}

// member returns an evaluated individual as a member of a front.
func (g *generation) member(one *individual) Member {
	return Member{
		Trial: Trial{
			ID: one.trial, X: one.at, Config: g.space.Config(one.at), Seeds: g.cfg.SeedBlock, Lookups: g.cfg.Lookups,
			Parents: one.parents, Origin: one.origin,
		},
		Scores: one.scores,
	}
}

// Niches implements Niched.
func (n *niching) Niches(wanted int) []Member {
	if wanted == 0 {
		wanted = 8
	}
	best := n.ordered()
	seeds := func(threshold float64) []*individual {
		var found []*individual
		for _, one := range best {
			if !slices.ContainsFunc(found, func(seed *individual) bool { return n.apart(seed.at, one.at) <= threshold*threshold }) {
				found = append(found, one)
			}
		}
		return found
	}
	low, high := 0.0, math.Sqrt(float64(2*n.space.Size()))
	for range 40 {
		if middle := (low + high) / 2; len(seeds(middle)) > wanted {
			low = middle
		} else {
			high = middle
		}
	}
	var members []Member
	for _, one := range seeds(high) {
		members = append(members, n.member(one))
	}
	return members
}

// Population implements Populated.
func (n *niching) Population() [][]float64 {
	var scores [][]float64
	for _, one := range n.people {
		if one.scores != nil {
			scores = append(scores, one.scores)
		}
	}
	return scores
}
