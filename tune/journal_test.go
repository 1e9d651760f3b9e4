package tune

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/shoalnet/shoal/knob"
)

// lines writes n entries and returns the journal's bytes.
func lines(t testing.TB, n int) []byte {
	t.Helper()
	var j Journal
	var all []byte
	for i := range n {
		line, err := j.Append(Entry{AtNanos: int64(i), Kind: KindCycle, Text: "text <" + strconv.Itoa(i) + ">", Data: json.RawMessage(`{"stage": 1}`)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, line...)
	}
	return all
}

func TestJournalRoundTrip(t *testing.T) {
	all := lines(t, 5)
	var j Journal
	entries, size, err := j.Load(all)
	if err != nil || len(entries) != 5 || size != len(all) {
		t.Fatalf("%d entries, %d of %d bytes, %v", len(entries), size, len(all), err)
	}
	if e := entries[3]; e.Seq != 4 || e.AtNanos != 3 || e.Text != "text <3>" || string(e.Data) != `{"stage":1}` {
		t.Errorf("entry 4 is %+v", e)
	}
	line, err := j.Append(Entry{Kind: KindEnd})
	if err != nil {
		t.Fatal(err)
	}
	if entries, _, err = j.Load(append(all, line...)); err != nil || len(entries) != 6 {
		t.Errorf("continued: %d entries, %v", len(entries), err)
	}
	if _, err := j.Append(Entry{Data: json.RawMessage("{")}); err == nil {
		t.Error("data that is not JSON was accepted")
	}
}

// TestJournalTorn cuts the file at every byte: what is lost is the last line.
func TestJournalTorn(t *testing.T) {
	all := lines(t, 3)
	for cut := range all {
		var j Journal
		entries, size, err := j.Load(all[:cut])
		whole := bytes.Count(all[:cut], []byte{'\n'})
		if err != nil || len(entries) != whole || size != bytes.LastIndexByte(all[:cut], '\n')+1 {
			t.Fatalf("cut at %d: %d entries, %d bytes, %v", cut, len(entries), size, err)
		}
	}
}

// TestJournalCorrupt flips every bit: an error, unless it is of the last byte,
// without which the last line is torn.
func TestJournalCorrupt(t *testing.T) {
	all := lines(t, 3)
	for i := range 8 * len(all) {
		bad := bytes.Clone(all)
		bad[i/8] ^= 1 << (i % 8)
		var j Journal
		entries, _, err := j.Load(bad)
		if i/8 < len(all)-1 && err == nil || len(entries) == 3 {
			t.Fatalf("bit %d: %d entries, %v", i, len(entries), err)
		}
	}
	second := bytes.IndexByte(all, '\n') + 1
	var j Journal
	if _, _, err := j.Load(append(bytes.Clone(all[second:]), all...)); err == nil {
		t.Error("a journal without its first line was accepted")
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(lines(f, 2))
	f.Add([]byte("0 {}\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var j, again Journal
		entries, size, err := j.Load(data)
		if size > len(data) {
			t.Fatalf("%d of %d bytes are good", size, len(data))
		}
		if err == nil {
			whole, rest, err := again.Load(data[:size])
			if err != nil || rest != size || len(whole) != len(entries) || again != j {
				t.Fatalf("what was good is not: %v", err)
			}
		}
		Resume(entries)
	})
}

func FuzzDecodeEvent(f *testing.F) {
	for _, e := range []Event{
		Window{Start: 1, End: 2, Lagged: true, Arms: [2]Summary{{Samples: 1, SumLog: -2.5, SumLog2: 6.25, Successes: 1, Attempts: 2}}}, Applied{3, "hash"}, NoData{"why"}, OrderRollBack,
	} {
		line, err := EncodeEvent(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"kind":"order","body":"dance"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := DecodeEvent(line)
		if err != nil {
			return
		}
		again, err := EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeEvent(again); err != nil || back != e {
			t.Fatalf("%v became %v: %v", e, back, err)
		}
		r := start(t, options(t, knob.Request, 1))
		r.Tell(0, e)
		r.Ask(0)
	})
}

func TestDecodeEventRefuses(t *testing.T) {
	for _, line := range []string{
		``, `{}`, `{"kind":"dance","body":{}}`, `{"kind":"order","body":"dance"}`, `{"kind":"applied"}`,
		`{"kind":"applied","body":{"blok":1}}`, `{"kind":"no_data","body":{"why":"x"}} {}`,
	} {
		if e, err := DecodeEvent([]byte(line)); err == nil || !strings.HasPrefix(err.Error(), "tune: ") {
			t.Errorf("%s: %v, %v", line, e, err)
		}
	}
}

// TestResume stops the journal of one rollout after each of its entries.
func TestResume(t *testing.T) {
	opts := options(t, knob.Request, 1)
	r, w := start(t, opts), newWorld(1, 0.6)
	w.run(t, r)
	var entries []Entry
	for _, line := range w.log {
		var c struct {
			Kind string
			Body struct{ Entry Entry }
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if c.Kind == "record" {
			entries = append(entries, c.Body.Entry)
		}
	}
	stage, decision, good := -1, Decision(""), opts.Baseline.String()
	for i, e := range entries {
		switch e.Kind {
		case KindStage:
			stage++
		case KindDecision:
			decision, good = Promoted, opts.Candidate.String()
		}
		want := Interrupted{Good: good, Candidate: opts.Candidate.Hash(), Stage: stage, Decision: decision}
		if e.Kind == KindEnd {
			want = Interrupted{Good: good, Stage: -1}
		}
		got, open := Resume(entries[:i+1])
		if got != want || open != (e.Kind != KindEnd) {
			t.Errorf("after %s %q: %+v, %v", e.Kind, e.Text, got, open)
		}
	}
	if stage != 2 || decision != Promoted {
		t.Errorf("the journal has %d stages and ends %q", stage+1, decision)
	}
	r.Tell(0, OrderRollBack) // after the end
	for c, ok := r.Ask(0); ok; c, ok = r.Ask(0) {
		if rec, is := c.(Record); is {
			entries = append(entries, rec.Entry)
		}
	}
	if got, open := Resume(entries); !open || got.Good != opts.Baseline.String() || got.Decision != RolledBack {
		t.Errorf("undone after its end: %+v, %v", got, open)
	}
	if got, open := Resume(nil); open || got.Good != "" {
		t.Errorf("an empty journal: %+v, %v", got, open)
	}
}
