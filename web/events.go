package web

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	batchEvery = 100 * time.Millisecond // between two batches of a stream
	beatEvery  = 15 * time.Second       // a comment, so that a dead connection is noticed
)

// hello is the first event of every stream.
type hello struct {
	// Fresh says that what was shown before is of another time: forget it.
	Fresh bool `json:"fresh"`
	// Orders says whether the window takes any.
	Orders bool `json:"orders"`
}

// stream sends what changes to a page until it goes, the server ends or the page
// is too slow. Nothing is queued for it: it is told what has changed since it was
// told last, so a slow page misses values that no longer hold.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "5")
		refuse(w, Problem{Status: http.StatusServiceUnavailable, Title: "too many streams", Detail: fmt.Sprintf("%d pages look already: close one", maxStreams)})
		return
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the page has nothing more to say
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	s.refresh()
	cursor, known := s.cfg.Board.resume(r.Header.Get("Last-Event-ID"))
	batch := &bytes.Buffer{}
	fmt.Fprintf(batch, "retry: 1000\n")
	writeEvent(batch, s.cfg.Board.cursor(cursor), "hello", encode(hello{Fresh: !known, Orders: s.cfg.Order != nil}))
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	pace := time.NewTicker(lookEvery)
	defer pace.Stop()
	for {
		events, last, more := s.cfg.Board.since(cursor)
		for _, e := range events {
			writeEvent(batch, s.cfg.Board.cursor(e.id), e.name, e.text)
		}
		if cursor = last; batch.Len() > 0 && !s.send(out, w, batch) {
			return
		}
		if !s.wait(r, batch, more, pace.C, beat.C) {
			return
		}
	}
}

// send writes a batch within its time.
func (s *Server) send(out *http.ResponseController, w http.ResponseWriter, batch *bytes.Buffer) bool {
	defer batch.Reset()
	if err := out.SetWriteDeadline(time.Now().Add(s.cfg.patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return false
	}
	_, err := w.Write(batch.Bytes())
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		s.counts.dropped()
	}
	return err == nil
}

// wait returns when there may be more to tell, false when the stream has to end.
func (s *Server) wait(r *http.Request, batch *bytes.Buffer, more <-chan struct{}, pace, beat <-chan time.Time) bool {
	settle := time.NewTimer(batchEvery)
	defer settle.Stop()
	select {
	case <-settle.C:
	case <-s.ended:
		return false
	case <-r.Context().Done():
		return false
	}
	for {
		select {
		case <-more:
			return true
		case <-pace:
			s.refresh() // puts up what is new, and so wakes us
		case <-beat:
			batch.WriteString(": still here\n\n")
			return true
		case <-s.ended:
			return false
		case <-r.Context().Done():
			return false
		}
	}
}

// writeEvent writes one event. Texts are JSON on one line, names are ours.
func writeEvent(w *bytes.Buffer, id, name string, text []byte) {
	fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", id, name, text)
}
