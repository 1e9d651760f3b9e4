package fleet

import (
	"math"
	"testing"
	"time"
)

func namesOf(n int) (out []Name) {
	for i := range n {
		out = append(out, Name{byte(i + 1)})
	}
	return out
}

// TestPicture: what peers tell comes together by their names; who knows nobody stays
// outside, a liar bends its own row, and medians ignore what one claims to count.
func TestPicture(t *testing.T) {
	names := namesOf(5)
	x := NewSurveys(time.Minute)
	const ms = time.Millisecond
	answers := func(to ...int) (out []Answer) {
		for _, j := range to {
			out = append(out, Answer{names[j], time.Duration(10*(j+1)) * ms})
		}
		return out
	}
	x.Tell(0, names[0], Survey{Entries: 3, Known: 9, Sessions: 4, Size: 20, Asked: 100, Silent: 10, Answers: append(answers(1, 2), Answer{Name{99}, ms})})
	x.Tell(0, names[1], Survey{Entries: 4, Known: 10, Sessions: 5, Size: 21, Asked: 100, Silent: 20, Answers: answers(0)})
	x.Tell(0, names[2], Survey{Entries: 1 << 20, Known: 1 << 20, Sessions: 1 << 20, Size: 1e9, Asked: 10, Silent: 10})
	x.Tell(0, names[3], Survey{Entries: 5, Known: 11, Answers: []Answer{{names[3], ms}, {Name{98}, ms}}}) // itself and a stranger
	p := x.Picture(0)
	if p.Peers() != 3 {
		t.Fatalf("%d peers", p.Peers())
	}
	if p.RTT[0][1] != 20*ms || p.RTT[0][2] != 30*ms || p.RTT[1][0] != 10*ms || p.RTT[2][0] != 0 || p.RTT[0][0] != 0 {
		t.Errorf("answers %v", p.RTT)
	}
	if p.Entries != 4 || p.Known != 10 || p.Sessions != 5 || p.Size != 21 || p.FailedShare != 0.2 {
		t.Errorf("%+v", p)
	}
	if later := x.Picture(2 * time.Hour); later.Peers() != 0 {
		t.Errorf("%d peers two hours later", later.Peers())
	}
}

// TestSurveysBounded: a survey is asked for now and then, of so many peers at most, and
// one that cannot be is not kept.
func TestSurveysBounded(t *testing.T) {
	x := NewSurveys(time.Minute)
	one := Survey{Entries: 1}
	for i := range MaxSurveys + 10 {
		x.Tell(0, Name{byte(i), byte(i >> 8)}, one)
	}
	if len(x.by) != MaxSurveys || x.Wants(time.Minute, Name{255, 255}) || x.Wants(time.Minute, Name{1}) {
		t.Errorf("%d kept", len(x.by))
	}
	if !x.Wants(10*time.Minute, Name{1}) || !x.Wants(2*time.Hour, Name{255, 255}) {
		t.Error("nothing is asked for again")
	}
	for what, s := range map[string]Survey{
		"more silent than asked": {Asked: 1, Silent: 2},
		"a negative count":       {Entries: -1},
		"too many":               {Known: maxCount + 1},
		"no size":                {Size: math.NaN()},
		"too many answers":       {Answers: make([]Answer, MaxAnswers+1)},
		"an answer at once":      {Answers: []Answer{{Name{1}, 0}}},
		"an answer too late":     {Answers: []Answer{{Name{1}, time.Hour}}},
	} {
		if s.Check() == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
