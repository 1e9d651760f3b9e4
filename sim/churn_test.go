package sim

import (
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// Five sessions, of 1, 2, 2+, 3 and 4+ hours, where + was still open: by hand,
// 4/5 are longer than 1 h, 4/5·3/4 than 2 h, and half of those than 3 h.
const fiveSessions = `peer,start_s,end_s,left_censored,right_censored
0,0,3600,0,0
1,3600,10800,0,0
2,7200,14400,0,1
3,0,10800,0,0
4,0,14400,0,1
5,0,7200,1,0
`

func TestKaplanMeier(t *testing.T) {
	s, err := ReadSessions(strings.NewReader(fiveSessions))
	if err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour}; !slices.Equal(s.lengths, want) {
		t.Errorf("lengths %v, want %v", s.lengths, want)
	}
	for i, want := range []float64{0.2, 0.4, 0.7} {
		if math.Abs(s.ended[i]-want) > 1e-12 {
			t.Errorf("%v: %v have ended, want %v", s.lengths[i], s.ended[i], want)
		}
	}
	for u, want := range map[float64]time.Duration{0: 1, 0.19: 1, 0.21: 2, 0.5: 3, 0.69: 3} {
		if got := s.length(u); got != want*time.Hour {
			t.Errorf("length(%v) is %v, want %d h", u, got, want)
		}
	}
	if s.length(0.71) != forever {
		t.Error("nobody was seen to end who was there for more than 3 h")
	}
	for i := range uint64(1000) {
		if got := s.residual(stat.NewStream(1, "test", i)); got < 0 || got > 4*time.Hour && got != forever {
			t.Fatalf("%v are left of a session of at most 4 h", got)
		}
	}
}

func TestBadSessions(t *testing.T) {
	const header = "start_s,end_s,left_censored,right_censored\n"
	for text, want := range map[string]string{
		"":                      "no sessions",
		"peer,start_s\n":        "without the column end_s",
		header:                  "no session whose start and end were seen",
		header + "1,2,0,1\n":    "no session whose start and end were seen",
		header + "1,2\n":        "line 2 of the sessions has 2 columns",
		header + "1,x,0,0\n":    `"x" is not a number`,
		header + "-1,2,0,0\n":   `"-1" is not a number`,
		header + "1,NaN,0,0\n":  `"NaN" is not a number`,
		header + "3,2,0,0\n":    "an end before its start",
		header + "1,1e99,0,0\n": `"1e99" is not a number`,
	} {
		if _, err := ReadSessions(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzReadSessions(f *testing.F) {
	f.Add(fiveSessions)
	f.Add("start_s,end_s,left_censored,right_censored\n0,1e9,1,1\n0,5,0,0\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ReadSessions(strings.NewReader(text))
		if err != nil {
			return
		}
		for i := range uint64(8) {
			draw := stat.NewStream(i, "test")
			if a, b := s.length(draw.Float64()), s.residual(draw); a < 0 || b < 0 {
				t.Fatalf("negative times: %v, %v", a, b)
			}
		}
	})
}

// The sessions of Tor relays have the quantiles that their README gives, and a
// population that starts in their steady state is left at the measured rate.
func TestTorSessions(t *testing.T) {
	file, err := os.Open(filepath.Join("..", "..", "shared", "data", "churn-tor", "tor2023-sessions.csv.gz"))
	if err != nil {
		t.Skipf("no sessions of Tor relays: %v", err)
	}
	defer func() { _ = file.Close() }()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadSessions(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[float64]float64{0.5: 9, 0.75: 38, 0.9: 346} {
		if got := s.length(u).Hours(); math.Abs(got-want) > 0.02*want {
			t.Errorf("quantile %v: %.1f h, README %v h", u, got, want)
		}
	}
	const peers, hours = 20_000, 10
	churn := Churn{Sessions: s}
	departures := 0
	for slot := range uint64(peers) {
		for _, x := range (&timeline{churn: &churn, seed: 1, horizon: hours * time.Hour}).stays(slot, clock{cycle: &Cycle{}}) {
			if x.to < hours*time.Hour {
				departures++
			}
		}
	}
	if got := float64(departures) / (peers * hours); math.Abs(got-0.00406) > 0.15*0.00406 {
		t.Errorf("%.5f departures a peer and hour, README 0.00406", got)
	}
}

// One peer after the other is in a slot, without a gap.
func TestStays(t *testing.T) {
	churn := Churn{Shape: 0.61, Scale: 10 * time.Minute}
	calm := clock{cycle: &Cycle{}}
	stays := (&timeline{churn: &churn, seed: 1, start: dawn, horizon: dawn + time.Hour}).stays(2, calm)
	if len(stays) < 2 || stays[0].from != dawn || stays[len(stays)-1].to < dawn+time.Hour {
		t.Fatalf("%v", stays)
	}
	for i, s := range stays {
		if i > 0 && s.from != stays[i-1].to || s.to <= s.from {
			t.Errorf("stay %d is from %v to %v", i, s.from, s.to)
		}
		if a, b, c := present(stays, s.from), present(stays, s.to-1), present(stays, s.to); a != i || b != i || c == i {
			t.Errorf("stay %d: present %d, %d, %d", i, a, b, c)
		}
	}
	if present(stays, dawn-1) != -1 || present(stays, stays[len(stays)-1].to) != -1 {
		t.Error("somebody is present before the beginning or after the end")
	}
	var none Churn
	if always := (&timeline{churn: &none, horizon: time.Hour}).stays(2, calm); len(always) != 1 || present(always, 1000*time.Hour) != 0 {
		t.Errorf("without churn %v", always)
	}
}

// Of tails that are longer than time itself, nobody ends before it begins, and most of
// those who are there stay for ever.
func TestLongStays(t *testing.T) {
	for _, churn := range []Churn{
		{Shape: 0.1, Scale: time.Hour},
		{Shape: 0.15, Scale: 4 * time.Hour},
		{Shape: 0.61, Scale: time.Hour, Away: 1 << 62},
	} {
		var longest time.Duration
		for slot := range uint64(200) {
			stays := (&timeline{churn: &churn, seed: 1, start: dawn, begins: dawn, horizon: dawn + time.Hour}).stays(slot, clock{cycle: &Cycle{}})
			for i, s := range stays {
				if s.to <= s.from || i > 0 && s.from < stays[i-1].to {
					t.Fatalf("%+v: slot %d: %v", churn, slot, stays)
				}
				longest = max(longest, s.to)
			}
		}
		if churn.Away == 0 && longest != forever {
			t.Errorf("%+v: the longest stay ends at %v", churn, longest)
		}
	}
}

func TestPopularity(t *testing.T) {
	zipf, err := Zipf(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := ReadPopularity(strings.NewReader("# keys\na\nb\n\na\na\nc\n"), "abc")
	if err != nil || trace.Records() != 3 {
		t.Fatalf("%v, %v", trace, err)
	}
	const n = 100_000
	var ranks [100]int
	var keys [3]int
	draw := stat.NewStream(1, "test")
	for range n {
		ranks[zipf.draw(draw, 100)]++
		keys[trace.draw(draw, 3)]++
	}
	harmonic := 0.0
	for r := 1; r <= 100; r++ {
		harmonic += 1 / float64(r)
	}
	for _, r := range []int{1, 2, 10, 100} {
		want := n / (float64(r) * harmonic)
		if got := float64(ranks[r-1]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("rank %d: %v draws, want about %.0f", r, got, want)
		}
	}
	for i, share := range []float64{0.6, 0.2, 0.2} {
		if got := float64(keys[i]); math.Abs(got-share*n) > 5*math.Sqrt(n*share) {
			t.Errorf("key %d: %v draws, want about %.0f", i, got, share*n)
		}
	}
	for _, bad := range []float64{-1, 11, math.NaN()} {
		if _, err := Zipf(10, bad); err == nil {
			t.Errorf("exponent %v was accepted", bad)
		}
	}
	if _, err := ReadPopularity(strings.NewReader("# nothing\n"), ""); err == nil {
		t.Error("a trace without keys was accepted")
	}
}

func FuzzReadPopularity(f *testing.F) {
	f.Add("a\nb\na\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ReadPopularity(strings.NewReader(text), ""); err == nil {
			if got := p.draw(stat.NewStream(1, "test"), p.Records()); got < 0 || got >= p.Records() {
				t.Fatalf("record %d of %d", got, p.Records())
			}
		}
	})
}

// Somebody is always there, from the start to the horizon.
func TestStaysOfSlot(t *testing.T) {
	churn := Churn{Shape: 0.61, Scale: time.Hour}
	for slot := range uint64(50) {
		list := churn.Stays(3, slot, time.Hour, 5*time.Hour)
		for i, s := range list {
			if i == 0 && s.From != time.Hour || i > 0 && s.From != list[i-1].To || s.To <= s.From {
				t.Fatalf("slot %d: %v", slot, list)
			}
		}
		if last := list[len(list)-1]; last.To < 5*time.Hour || last.From >= 5*time.Hour {
			t.Errorf("slot %d: the last stay is %v", slot, last)
		}
	}
	if list := (&Churn{}).Stays(3, 0, 0, time.Hour); len(list) != 1 || list[0].To < 1000*time.Hour {
		t.Errorf("without churn: %v", list)
	}
}
