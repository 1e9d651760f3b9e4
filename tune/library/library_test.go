package library

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"testing"

	"github.com/shoalnet/shoal/stat"
)

// workload is a fingerprint that one number moves from end to end of the popularity.
func workload(p float64) Fingerprint {
	return Fingerprint{Popularity: p, Mix: [4]float64{0.5, 0.25, 0.125, 0.125}, Rate: 6, Peers: 1000, Churn: 0.1, RTT: 80}
}

func recordOf(site, study string, p float64, found ...Found) Record {
	return Record{Site: site, Study: study, AtUnix: 1, Fingerprint: workload(p), Found: found}
}

func add(t *testing.T, l *Library, records ...Record) {
	t.Helper()
	for _, r := range records {
		if _, err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFingerprint: every feature moves the distance, and nothing is out of bounds.
func TestFingerprint(t *testing.T) {
	base := workload(0.3)
	if d := base.Distance(base); d != 0 {
		t.Errorf("to itself %v", d)
	}
	other := []Fingerprint{base, base, base, base, base, base, base, base}
	other[0].Popularity = 0.9
	other[1].Mix = [4]float64{0, 0.5, 0.25, 0.25}
	other[2].Rate = 600
	other[3].Hour, other[3].Swing = 6, 1
	other[4].Peers = 1e5
	other[5].Churn = 5
	other[6].RTT = 400
	other[7].Spread = 2
	for i, f := range other {
		d := base.Distance(f)
		if d < 0.2 || d != f.Distance(base) {
			t.Errorf("change %d: distance %v", i, d)
		}
	}
	wild := Fingerprint{Popularity: math.NaN(), Mix: [4]float64{-1, 9}, Rate: math.Inf(1), Hour: 30, Swing: 5, Peers: -1, RTT: 1e9}
	for i, v := range wild.Vector() {
		if !(v >= 0 && v <= 1) {
			t.Errorf("feature %s is %v", Features()[i], v)
		}
	}
	if len(Features()) != len(wild.Vector()) {
		t.Error("features without a name")
	}
}

// TestNearest: the nearest come first, the far not at all.
func TestNearest(t *testing.T) {
	var l Library
	for i := range 11 {
		add(t, &l, recordOf("a", strconv.Itoa(i), float64(i)/10))
	}
	var names []string
	for _, m := range l.Nearest(workload(0.32), 3) {
		names = append(names, m.Study)
	}
	if !reflect.DeepEqual(names, []string{"3", "4", "2"}) {
		t.Errorf("nearest %v", names)
	}
	if far := l.Nearest(Fingerprint{Popularity: 1, Mix: [4]float64{0, 0, 0, 1}, Peers: 1e6, RTT: 5}, 3); len(far) > 0 {
		t.Errorf("far ones match: %v", far)
	}
}

// TestMergeIsRobust: what five honest sites say of a configuration stands though two
// more claim the contrary, a hundred records each; and a liar's own finds take no more
// than half of the places.
func TestMergeIsRobust(t *testing.T) {
	var l Library
	dice := stat.NewStream(1, "sites")
	for site := range 5 {
		noise := math.Exp(0.02 * dice.NormFloat64())
		add(t, &l, recordOf(fmt.Sprint("honest", site), "1", 0.3, Found{"good", 0.8 * noise, 0.7, 0.9}, Found{"bad", 1.3 * noise, 1.2, 1.4}))
	}
	for liar := range 2 {
		for study := range 100 {
			found := []Found{{"bad", 0.01, 0.01, 0.01}, {"good", 100, 100, 100}}
			for own := range 4 {
				found = append(found, Found{fmt.Sprint("own", liar, study, own), 0.01, 0.01, 0.01})
			}
			add(t, &l, recordOf(fmt.Sprint("a liar", liar), strconv.Itoa(study), 0.3, found...))
		}
	}
	var good *Start
	starts := l.Starts(workload(0.3), 6)
	for i, s := range starts {
		if s.Config == "bad" {
			t.Errorf("the liars are believed: %+v", s)
		}
		if s.Config == "good" {
			good = &starts[i]
		}
	}
	if good == nil || math.Abs(good.Ratio-0.8) > 0.05 || good.Sites != 7 {
		t.Errorf("%+v of %+v", good, starts)
	}
}

// TestAgreed: fewer than five voices give the median, of two the worse counts.
func TestAgreed(t *testing.T) {
	for _, c := range []struct {
		voices []float64
		want   float64
	}{{nil, 0}, {[]float64{-1}, -1}, {[]float64{-1, 0.5}, 0.5}, {[]float64{-9, -1, 0}, -1}, {[]float64{-9, -1, -1, -1, 9}, -1}} {
		if got := Agreed(c.voices); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%v say %v: want %v", c.voices, got, c.want)
		}
	}
}

// TestOrder: racers that did well nearby come first, those that were never tried are not
// forgotten, and far studies say nothing.
func TestOrder(t *testing.T) {
	var l Library
	racers := []string{"one", "two", "three"}
	if s := l.Order(workload(0.3), racers); s[0].Name != "one" || s[0].Index != 0 {
		t.Errorf("an empty library orders: %+v", s)
	}
	for i := range 20 {
		r := recordOf("a", strconv.Itoa(i), 0.3)
		r.Site = fmt.Sprint("site", i%7)
		r.Racers = []Raced{{"one", 1}, {"two", 0.6}, {"three", 0.9}}
		if i%2 == 1 {
			r.Fingerprint, r.Racers[1].Ratio = workload(1), 5
			r.Fingerprint.RTT = 5
		}
		add(t, &l, r)
	}
	s := l.Order(workload(0.3), racers)
	if s[0].Name != "two" || s[2].Name != "one" || math.Abs(s[0].Gain+math.Log(0.6)) > 1e-9 {
		t.Errorf("%+v", s)
	}
	s = l.Order(workload(0.3), append(racers, "new"))
	if s[0].Name != "new" && s[1].Name != "new" {
		t.Errorf("a new racer is not tried: %+v", s)
	}
}

// TestAdd: records replace older ones of the same study, the order does not matter, and
// what cannot be is refused.
func TestAdd(t *testing.T) {
	var a, b Library
	records := []Record{recordOf("x", "1", 0.1), recordOf("y", "1", 0.2), recordOf("x", "2", 0.3)}
	records[2].AtUnix = 9
	add(t, &a, records...)
	for i := range records {
		add(t, &b, records[len(records)-1-i])
	}
	if !reflect.DeepEqual(a.Records(), b.Records()) {
		t.Errorf("%v\n%v", a.Records(), b.Records())
	}
	if changed, err := a.Add(records[0]); changed || err != nil {
		t.Error("the same again changes something", err)
	}
	newer := records[0]
	newer.AtUnix = 5
	if changed, _ := a.Add(newer); !changed || len(a.Records()) != 3 {
		t.Errorf("a newer one: %v", a.Records())
	}
	for _, bad := range []Record{
		{},
		recordOf("x", "1", math.NaN()), recordOf("x", "1", 0.1, Found{"c", 0, 0, 0}), recordOf("x", "1", 0.1, Found{"c", 0.9, 1, 0.8}),
		recordOf("x", "1", -1), recordOf("x", "1", 0.1, make([]Found, 17)...),
	} {
		if _, err := a.Add(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	line, err := Encode(newer)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := Decode(line); err != nil || !reflect.DeepEqual(back, newer) {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := Decode([]byte(`{"site":"x"}`)); err == nil {
		t.Error("half a record is taken")
	}
}
