package web

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"sync"
)

const (
	maxKeys     = 1024
	maxKeyBytes = 128
)

// idempotency remembers what was answered to a request with an Idempotency-Key, so
// that the same request, sent again by who did not see the answer, is not carried
// out twice. It may be used concurrently.
type idempotency struct {
	mu    sync.Mutex
	known map[string]*remembered
	order []string // oldest first
}

// remembered is one request. Its lock is held while it is carried out.
type remembered struct {
	sync.Mutex
	request [sha256.Size]byte
	status  int // 0 until it was carried out
	reply   any
}

func newIdempotency() *idempotency { return &idempotency{known: map[string]*remembered{}} }

// claim returns what is remembered under a key; the caller locks it.
func (i *idempotency) claim(key string, request [sha256.Size]byte) *remembered {
	i.mu.Lock()
	defer i.mu.Unlock()
	if m := i.known[key]; m != nil {
		return m
	}
	if len(i.order) >= maxKeys {
		delete(i.known, i.order[0])
		i.order = append(i.order[:0], i.order[1:]...)
	}
	m := &remembered{request: request}
	i.known[key], i.order = m, append(i.order, key)
	return m
}

// once carries a request out, or answers what was answered to the same one before.
// What failed on our side is not remembered.
func (s *Server) carriedOnce(do func(*http.Request) (int, any)) func(*http.Request) (int, any) {
	return func(r *http.Request) (int, any) {
		key := r.Header.Get("Idempotency-Key")
		switch {
		case key == "":
			return do(r)
		case len(key) > maxKeyBytes:
			return http.StatusBadRequest, Problem{Status: http.StatusBadRequest, Title: "key too long", Detail: "Idempotency-Key: at most 128 bytes", Field: "Idempotency-Key"}
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return http.StatusRequestEntityTooLarge, Problem{Status: http.StatusRequestEntityTooLarge, Title: "too large", Detail: err.Error()}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		request := sha256.Sum256(append([]byte(r.URL.Path+"\n"), body...))
		m := s.once.claim(key, request)
		m.Lock()
		defer m.Unlock()
		switch {
		case m.request != request:
			return http.StatusUnprocessableEntity, Problem{
				Status: http.StatusUnprocessableEntity, Title: "key used twice", Field: "Idempotency-Key",
				Detail: "this key was sent with another request: choose a new one",
			}
		case m.status == 0:
			status, reply := do(r)
			if status >= http.StatusInternalServerError {
				return status, reply
			}
			m.status, m.reply = status, reply
		}
		return m.status, m.reply
	}
}
