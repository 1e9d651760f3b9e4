package main

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressInLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		a := newApp(&stdout, &stderr)
		p := a.progress("searching", "trials", 400)
		time.Sleep(time.Millisecond) // so that nothing happens at the same instant
		for range 11 {
			time.Sleep(time.Second)
			p.add(10)
		}
		p.phase("measuring")
		time.Sleep(1500 * time.Millisecond)
		p.stop()
		want := "searching: 10 of 400 trials (2 %), 5.00/s, 1m18s left, 2s\n" +
			"searching: 60 of 400 trials (15 %), 8.57/s, 40s left, 7s\n" +
			"measuring: 110 of 400 trials (27 %), 9.17/s, 32s left, 12s\n"
		if got := stderr.String(); got != want || stdout.Len() != 0 {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

func TestShortWorkShowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		p := newApp(io.Discard, &stderr).progress("searching", "trials", 2)
		time.Sleep(quietFor - time.Nanosecond)
		p.stop()
		if stderr.Len() != 0 {
			t.Errorf("shown: %q", stderr.String())
		}
	})
}

func TestProgressOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		a := newApp(io.Discard, &stderr)
		a.screen.terminal = true
		p := a.progress("waiting", "", 0)
		time.Sleep(quietFor + time.Millisecond)
		synctest.Wait()
		a.screen.printf("stage %d passed", 1)
		p.stop()
		want := clearLine + "waiting, 2s" + clearLine + "stage 1 passed\nwaiting, 2s" + clearLine
		if got := stderr.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestStatusLineDoesNotWrap(t *testing.T) {
	var stderr bytes.Buffer
	s := newScreen(&stderr)
	s.paint(strings.Repeat("é", 200))
	if got := strings.TrimPrefix(stderr.String(), clearLine); got != strings.Repeat("é", lineWidth) {
		t.Errorf("painted %q", got)
	}
}

func TestTextTable(t *testing.T) {
	tab := newTextTable("arm", "p50 ms", "95 % interval", "note")
	tab.add("stock", significant(1234.5), interval(1201, 1300), "the baseline")
	tab.add("größer", significant(98.76), interval(90, math.NaN()))
	var b strings.Builder
	if err := tab.write(&b); err != nil {
		t.Fatal(err)
	}
	want := "arm     p50 ms  95 % interval  note\n" +
		"stock     1234   [1201, 1300]  the baseline\n" +
		"größer    98.8              -\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestSignificant(t *testing.T) {
	for want, x := range map[string]float64{
		"0": 0, "-": math.NaN(), "1.00": 1, "0.998": 0.9981, "0.00123": 0.001234, "-12.3": -12.34,
		"123": 123.4, "123457": 123456.7, "1.23e+07": 12345678,
	} {
		if got := significant(x); got != want {
			t.Errorf("significant(%v) = %s, want %s", x, got, want)
		}
	}
}
