package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// policy lets the page load its own files and talk to its own server, and nothing
// else: no inline script or style, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard stands before every handler.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		out := &counted{ResponseWriter: w}
		defer func() { s.counts.reply(out.code()) }()
		switch {
		case !s.knowsHost(r.Host):
			refuse(out, Problem{Status: http.StatusMisdirectedRequest, Title: "unknown host", Detail: "this window does not answer to the name " + strconv.Quote(r.Host) + ": use its address"})
		case !sameSite(r):
			refuse(out, Problem{Status: http.StatusForbidden, Title: "another site's request", Detail: "requests of pages of other sites are refused"})
		case !s.cfg.unlimited && !s.limits.allow(r):
			h.Set("Retry-After", "1")
			refuse(out, Problem{Status: http.StatusTooManyRequests, Title: "too many requests", Detail: "wait a second"})
		case guarded(r.URL.Path) && !s.authorized(r):
			h.Set("WWW-Authenticate", `Bearer realm="shoal"`)
			refuse(out, Problem{Status: http.StatusUnauthorized, Title: "token needed", Detail: "send the header Authorization: Bearer TOKEN with the token that was printed at the start"})
		default:
			r.Body = http.MaxBytesReader(out, r.Body, maxBody)
			next.ServeHTTP(out, r)
		}
	})
}

// guarded reports whether a path tells or does something. The page's own files hold
// nothing but the page.
func guarded(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == "/metrics"
}

// knowsHost reports whether a Host header names this server. A page of a site whose
// name was rebound to our address sends that site's name.
func (s *Server) knowsHost(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "80"
	}
	_, own, _ := net.SplitHostPort(s.listener.Addr().String())
	if port != own {
		return false
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	if s.local {
		return strings.EqualFold(name, "localhost") || err == nil && addr.IsLoopback()
	}
	machine, _ := os.Hostname()
	return err == nil || strings.EqualFold(name, "localhost") || machine != "" && strings.EqualFold(name, machine)
}

// sameSite refuses what a browser says that a page of another site asks for.
func sameSite(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" // a link
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// authorized compares digests, so that the time says nothing about the token.
func (s *Server) authorized(r *http.Request) bool {
	if s.token == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want, got := sha256.Sum256([]byte(s.token)), sha256.Sum256([]byte(given))
	return ok && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// isJSON reports whether a request says that it brings JSON, which a form of
// another site cannot.
func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// The pace of one remote address.
const (
	readsPerS  = 50
	readBurst  = 200
	ordersPerS = 2
	orderBurst = 10
	maxRemotes = 1024
)

// limits hold the pace of every remote address. It may be used concurrently.
type limits struct {
	mu      sync.Mutex
	remotes map[string]*pace
}

// pace is what one remote may still do.
type pace struct {
	reads, orders *rate.Limiter
	seen          time.Time
}

func newLimits() *limits { return &limits{remotes: map[string]*pace{}} }

// allow reports whether the request may be carried out now.
func (l *limits) allow(r *http.Request) bool {
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.remotes[remote]
	if p == nil {
		if len(l.remotes) >= maxRemotes {
			l.forget()
		}
		p = &pace{reads: rate.NewLimiter(readsPerS, readBurst), orders: rate.NewLimiter(ordersPerS, orderBurst)}
		l.remotes[remote] = p
	}
	p.seen = time.Now()
	if r.Method == http.MethodPost {
		return p.orders.Allow()
	}
	return p.reads.Allow()
}

// forget drops who was not seen for longest.
func (l *limits) forget() {
	oldest := ""
	for remote, p := range l.remotes {
		if oldest == "" || p.seen.Before(l.remotes[oldest].seen) {
			oldest = remote
		}
	}
	delete(l.remotes, oldest)
}

// counts is what the window counts of itself. It may be used concurrently.
type counts struct {
	mu      sync.Mutex
	replies map[int]uint64 // by status
	slow    uint64         // streams that were dropped
}

func (c *counts) reply(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replies[code]++
}

func (c *counts) dropped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow++
}

// read returns the statuses, sorted, how often each was sent, and the slow streams.
func (c *counts) read() (codes []int, replies map[int]uint64, slow uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	replies = make(map[int]uint64, len(c.replies))
	for code, n := range c.replies {
		codes = append(codes, code)
		replies[code] = n
	}
	slices.Sort(codes)
	return codes, replies, c.slow
}

// counted remembers the status of a reply.
type counted struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status.
func (c *counted) WriteHeader(code int) {
	if c.status == 0 {
		c.status = code
	}
	c.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counted) code() int {
	if c.status == 0 {
		return http.StatusOK
	}
	return c.status
}
