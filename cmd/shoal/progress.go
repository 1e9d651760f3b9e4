package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// screen is standard error: ordinary lines, and on a terminal a status line
// below them that is painted over. It may be used concurrently.
type screen struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	status   string // painted now; empty when none is
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

var _ io.Writer = (*screen)(nil)

// Write writes whole lines above the status line.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == "" {
		return s.w.Write(p)
	}
	if _, err := io.WriteString(s.w, clearLine); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	if err == nil {
		_, err = io.WriteString(s.w, s.status)
	}
	return n, err
}

// printf writes one line; the line end is added.
func (s *screen) printf(format string, args ...any) {
	// What cannot be shown cannot be reported either.
	_, _ = fmt.Fprintf(s, format+"\n", args...)
}

const (
	clearLine = "\r\x1b[K"
	lineWidth = 79 // of a status line, so that it does not wrap on a usual terminal
)

// paint replaces the status line; an empty one clears it. It is for terminals
// only.
func (s *screen) paint(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if utf8.RuneCountInString(line) > lineWidth {
		line = string([]rune(line)[:lineWidth])
	}
	if line == s.status {
		return
	}
	s.status = line
	_, _ = io.WriteString(s.w, clearLine+line) // see printf
}

// How often progress is shown.
const (
	quietFor      = 2 * time.Second // work that is done by then shows nothing
	paintEvery    = 200 * time.Millisecond
	newLineEvery  = 5 * time.Second // where standard error is not a terminal
	rateNeedsTime = time.Second
)

// progress shows on standard error how far a piece of work has come, once it
// has taken two seconds. It may be used concurrently.
type progress struct {
	screen *screen
	unit   string
	begin  time.Time
	end    chan struct{} // closed by stop
	ended  chan struct{} // closed by the painter

	mu    sync.Mutex
	what  string
	done  int64
	total int64
}

// progress starts to show a piece of work: what is done, and how many units it
// has in all, 0 if that is not known. The caller must stop it.
func (a *app) progress(what, unit string, total int64) *progress {
	p := &progress{
		screen: a.screen, unit: unit, begin: time.Now(), what: what, total: total,
		end: make(chan struct{}), ended: make(chan struct{}),
	}
	go p.show()
	return p
}

// add counts n more units as done.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
}

// outOf sets how many units there are in all.
func (p *progress) outOf(total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
}

// phase renames what is being done.
func (p *progress) phase(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
}

// stop takes the progress off the screen. It returns when nothing more will be
// written.
func (p *progress) stop() {
	close(p.end)
	<-p.ended
}

// show paints until the end. It is the only goroutine of a progress.
func (p *progress) show() {
	defer close(p.ended)
	every := newLineEvery
	if p.screen.terminal {
		every = paintEvery
		defer p.screen.paint("")
	}
	timer := time.NewTimer(quietFor)
	defer timer.Stop()
	for {
		select {
		case <-p.end:
			return
		case <-timer.C:
		}
		line := p.line(time.Since(p.begin))
		if p.screen.terminal {
			p.screen.paint(line)
		} else {
			p.screen.printf("%s", line)
		}
		timer.Reset(every)
	}
}

// line returns what is shown after some time: done of total, the mean rate and
// the time left at that rate.
func (p *progress) line(elapsed time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	b.WriteString(p.what)
	if p.total > 0 {
		fmt.Fprintf(&b, ": %d of %d %s (%d %%)", p.done, p.total, p.unit, 100*p.done/p.total)
	} else if p.done > 0 {
		fmt.Fprintf(&b, ": %d %s", p.done, p.unit)
	}
	if p.done > 0 && elapsed >= rateNeedsTime {
		rate := float64(p.done) / elapsed.Seconds()
		fmt.Fprintf(&b, ", %s/s", significant(rate))
		if p.total > p.done {
			left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
			fmt.Fprintf(&b, ", %v left", left.Round(time.Second))
		}
	}
	return fmt.Sprintf("%s, %v", b.String(), elapsed.Round(time.Second))
}
