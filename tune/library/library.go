package library

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shoalnet/shoal/learn"
)

// Record is what one study of a site found. Its JSON names are stable.
type Record struct {
	Site        string      `json:"site"` // any name of its own
	Study       string      `json:"study"`
	AtUnix      int64       `json:"at_unix"`
	Fingerprint Fingerprint `json:"fingerprint"`
	Baseline    string      `json:"baseline"` // text of what ran
	// Found are configurations that were measured again on fresh seeds.
	Found  []Found `json:"found"`
	Racers []Raced `json:"racers"`
	Winner string  `json:"winner"` // racer; empty if none was better than what ran
}

// Found is a configuration and its ratio to the baseline: below 1 is better.
type Found struct {
	Config string  `json:"config"` // text
	Ratio  float64 `json:"ratio"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Raced is how well a racer did: the ratio of what it held.
type Raced struct {
	Name  string  `json:"name"`
	Ratio float64 `json:"ratio"`
}

// The bounds of a library and of a record: what others send is checked against them.
const (
	MaxRecords  = 4096
	maxFound    = 16
	maxRacers   = 32
	maxText     = 64 << 10
	leastRatio  = 0.01
	mostRatio   = 100.0
	maxNameSize = 128
)

// Check returns why a record cannot be taken, nil if it can.
func (r *Record) Check() error {
	sane := func(x float64) bool { return x >= leastRatio && x <= mostRatio }
	switch {
	case r.Site == "" || r.Study == "" || len(r.Site) > maxNameSize || len(r.Study) > maxNameSize:
		return errors.New("library: a record needs a site and a study of at most 128 bytes")
	case len(r.Found) > maxFound || len(r.Racers) > maxRacers || len(r.Baseline) > maxText:
		return fmt.Errorf("library: record %s of %s is too large", r.Study, r.Site)
	}
	for _, f := range r.Found {
		if !sane(f.Ratio) || !sane(f.Low) || !sane(f.High) || f.Low > f.High || len(f.Config) > maxText {
			return fmt.Errorf("library: record %s of %s: a ratio of %v in [%v, %v]: want %v to %v", r.Study, r.Site, f.Ratio, f.Low, f.High, leastRatio, mostRatio)
		}
	}
	for _, x := range r.Racers {
		if !sane(x.Ratio) || x.Name == "" || len(x.Name) > maxNameSize {
			return fmt.Errorf("library: record %s of %s: racer %q with %v", r.Study, r.Site, x.Name, x.Ratio)
		}
	}
	for _, x := range r.Fingerprint.raw() {
		if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
			return fmt.Errorf("library: record %s of %s: a fingerprint with %v", r.Study, r.Site, x)
		}
	}
	return nil
}

func (f Fingerprint) raw() []float64 {
	return append(f.Mix[:], f.Popularity, f.Rate, f.Hour, f.Swing, f.Peers, f.Churn, f.RTT, f.Spread)
}

// Library holds records, one for each study of a site. The zero value is empty. It has
// one owner.
type Library struct {
	records []Record
}

// Add takes a record; a newer one of the same study takes the place of the older. Beyond
// MaxRecords the oldest goes. It reports whether anything changed.
func (l *Library) Add(r Record) (bool, error) {
	if err := r.Check(); err != nil {
		return false, err
	}
	if i := slices.IndexFunc(l.records, func(x Record) bool { return x.Site == r.Site && x.Study == r.Study }); i >= 0 {
		if l.records[i].AtUnix >= r.AtUnix {
			return false, nil
		}
		l.records = slices.Delete(l.records, i, i+1)
	}
	at, _ := slices.BinarySearchFunc(l.records, r, order)
	l.records = slices.Insert(l.records, at, r)
	if len(l.records) > MaxRecords {
		l.records = slices.Delete(l.records, 0, 1)
	}
	return true, nil
}

// order is by time, then by name: the order of adding does not matter.
func order(a, b Record) int {
	return cmp.Or(cmp.Compare(a.AtUnix, b.AtUnix), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Study, b.Study))
}

// Records returns all, oldest first.
func (l *Library) Records() []Record { return slices.Clone(l.records) }

// Match is an earlier study and how far it is.
type Match struct {
	Record
	Distance float64 `json:"distance"`
	Weight   float64 `json:"weight"` // 1 at no distance
}

// weight of a study at a distance.
func weight(distance float64) float64 {
	if distance >= 2*Near {
		return 0
	}
	return math.Exp(-(distance / Near) * (distance / Near))
}

// Nearest returns up to n studies that say something about a workload, nearest first.
func (l *Library) Nearest(f Fingerprint, n int) []Match {
	var out []Match
	for _, r := range l.records {
		d := f.Distance(r.Fingerprint)
		if w := weight(d); w > 0 {
			out = append(out, Match{r, d, w})
		}
	}
	slices.SortStableFunc(out, func(a, b Match) int { return cmp.Compare(a.Distance, b.Distance) })
	return out[:min(n, len(out))]
}

// Start is a configuration to begin with, and who has found it.
type Start struct {
	Config   string  `json:"config"`
	Ratio    float64 `json:"ratio"` // what the sites say together
	Sites    int     `json:"sites"`
	Site     string  `json:"site"`     // that alone has found it; empty if there are several
	Distance float64 `json:"distance"` // of the nearest study that found it
}

// perSite is how many studies of one site may say something, the nearest.
const perSite = 8

// Starts returns up to n configurations that were better than what ran in similar
// studies, the best first: the ratio that their sites agree on, and less of it the
// farther away that was. What several sites have found keeps half of the places, if
// there is as much: what one alone tells cannot be checked.
func (l *Library) Starts(f Fingerprint, n int) []Start {
	all, confirmed := []Start{}, 0
	for _, b := range l.ballots(f) {
		voices := make([]float64, 0, len(b.names))
		for _, site := range b.names {
			voices = append(voices, voice(b.sites[site]))
		}
		agreed := Agreed(voices) * weight(b.start.Distance)
		b.start.Ratio, b.start.Sites = math.Exp(agreed), len(voices)
		if b.start.Site = ""; len(voices) == 1 {
			b.start.Site = b.names[0]
		}
		if agreed < 0 {
			all = append(all, b.start)
			confirmed += min(len(voices)-1, 1)
		}
	}
	slices.SortStableFunc(all, func(a, b Start) int { return cmp.Compare(a.Ratio, b.Ratio) })
	out, lone := []Start{}, n-min(confirmed, (n+1)/2)
	for _, s := range all {
		if len(out) == n || s.Site != "" && lone == 0 {
			continue
		}
		if s.Site != "" {
			lone--
		}
		out = append(out, s)
	}
	return out
}

// ballot is what sites say of one configuration.
type ballot struct {
	start Start
	sites map[string][]vote
	names []string // of the sites, in the order of their coming
}

// ballots gathers what similar studies say.
func (l *Library) ballots(f Fingerprint) (out []*ballot) {
	of, from := map[string]*ballot{}, map[string]int{}
	for _, m := range l.Nearest(f, len(l.records)) {
		if from[m.Site]++; from[m.Site] > perSite {
			continue
		}
		for _, x := range m.Found {
			b := of[x.Config]
			if b == nil {
				b = &ballot{start: Start{Config: x.Config, Distance: m.Distance}, sites: map[string][]vote{}}
				of[x.Config] = b
				out = append(out, b)
			}
			if b.sites[m.Site] == nil {
				b.names = append(b.names, m.Site)
			}
			b.sites[m.Site] = append(b.sites[m.Site], vote{max(math.Log(x.Ratio), -1), m.Weight})
		}
	}
	return out
}

// vote is what one study says of a configuration.
type vote struct{ value, weight float64 }

// voice is what one site says, whatever the number of its studies: their mean.
func voice(votes []vote) float64 {
	sum, weights := 0.0, 0.0
	for _, v := range votes {
		sum += v.weight * v.value
		weights += v.weight
	}
	return sum / weights
}

// Agreed is what voices say together, each with the same weight: the mean without the
// least and the greatest third (Yin et al., ICML 2018), of fewer than five the median,
// of two the worse.
func Agreed(voices []float64) float64 {
	switch n := len(voices); {
	case n == 0:
		return 0
	case n <= 2:
		return slices.Max(voices) // a greater ratio is worse
	default:
		vectors := make([][]float32, n)
		for i, v := range voices {
			vectors[i] = []float32{float32(v)}
		}
		cut := (n - 1) / 3
		if n < 5 {
			cut = (n - 1) / 2
		}
		out := make([]float32, 1)
		learn.TrimmedMean(out, vectors, cut)
		return float64(out[0])
	}
}

// Standing is what the library knows of a racer for a workload.
type Standing struct {
	Name    string  `json:"name"`
	Studies float64 `json:"studies"` // weighted by how near they are
	Gain    float64 `json:"gain"`    // mean logarithm of its ratios, turned: above 0 is better
	Index   float64 `json:"index"`   // gain and what is not known of it; the order is by this
}

// Order returns the racers in the order in which to try them: a bandit over them, whose
// studies count by how near they are (upper confidence bound: Auer, Cesa-Bianchi and
// Fischer, Machine Learning 47, 2002, with a kernel). Of equals the order given holds.
// One site has the weight of three studies at most.
func (l *Library) Order(f Fingerprint, racers []string) []Standing {
	const most, spread = 3.0, 0.3
	out := make([]Standing, len(racers))
	near := l.Nearest(f, len(l.records))
	all := 0.0
	for i, name := range racers {
		s := &out[i]
		s.Name = name
		bySite := map[string]float64{}
		for _, m := range near {
			at := slices.IndexFunc(m.Racers, func(x Raced) bool { return x.Name == name })
			w := min(m.Weight, most-bySite[m.Site])
			if at < 0 || w <= 0 {
				continue
			}
			bySite[m.Site] += w
			s.Studies += w
			s.Gain += w * min(max(-math.Log(m.Racers[at].Ratio), -1), 1)
		}
		if s.Studies > 0 {
			s.Gain /= s.Studies
		}
		all += s.Studies
	}
	if all == 0 {
		return out
	}
	for i := range out {
		out[i].Index = out[i].Gain + spread*math.Sqrt(math.Log(1+all)/(1+out[i].Studies))
	}
	slices.SortStableFunc(out, func(a, b Standing) int { return cmp.Compare(b.Index, a.Index) })
	return out
}

// Encode returns a record on one line.
func Encode(r Record) ([]byte, error) { return json.Marshal(r) }

// Decode reads and checks one.
func Decode(line []byte) (r Record, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("library: not a record: %w", err)
	}
	return r, r.Check()
}
