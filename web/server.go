package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoalnet/shoal/knob"
)

// Config says what a window shows and whom it obeys.
type Config struct {
	// Addr is where to listen, "127.0.0.1:0" for a free port of the loopback. An empty
	// host means the loopback.
	Addr string
	// Token is what a request must carry as "Authorization: Bearer TOKEN". Empty: none
	// on the loopback, a new one elsewhere; see Server.URL.
	Token string
	// Board is what there is to see.
	Board *Board
	// Look, if not nil, brings the board up to date. It is called while somebody looks,
	// never twice at once and not more often than every 250 ms.
	Look func(*Board)
	// Order carries out what a person wants. nil: the window takes no orders. An error
	// is an *OrderError where the person can do something about it.
	Order func(context.Context, Order) (Receipt, error)
	// Set is the knobs that a candidate may name; nil: none may be given.
	Set *knob.Set
	// Bounds are the hard constraints of a run. A request may only ask for stricter ones.
	Bounds []Bound
	// Metrics, if not nil, is served at /metrics beside the window's own.
	Metrics prometheus.Gatherer
	// Log takes what went wrong; nil: nobody does.
	Log *slog.Logger

	// For tests: no limit on the pace of requests, and how long a page may take for a
	// batch.
	unlimited bool
	patience  time.Duration
}

// Bound is a hard constraint by name.
type Bound struct {
	Name   string
	Value  float64
	AtMost bool // a request may ask for less; else for more
	Doc    string
}

// The bounds of the server.
const (
	lookEvery     = 250 * time.Millisecond
	headerTimeout = 5 * time.Second
	replyTimeout  = 10 * time.Second // to take a whole reply, or one batch of a stream
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
	maxBody       = 64 << 10
	maxConns      = 256
	maxStreams    = 32
	shutdownGrace = time.Second
)

// Server is a window that listens. Make it with New, run it with Serve.
type Server struct {
	cfg      Config
	listener net.Listener
	token    string
	local    bool
	http     http.Server
	ended    chan struct{} // closed when streams must end
	streams  chan struct{} // room for so many
	limits   *limits
	once     *idempotency
	counts   counts

	look struct {
		sync.Mutex
		at time.Time
	}
}

// New listens. The caller must call Serve or Close.
func New(cfg Config) (*Server, error) {
	if cfg.Board == nil {
		return nil, errors.New("web: a window without a board")
	}
	if cfg.patience == 0 {
		cfg.patience = replyTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("web: address %q: want HOST:PORT such as 127.0.0.1:8080, port 0 for a free one", cfg.Addr)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s := &Server{
		cfg: cfg, listener: newRoom(listener, maxConns), token: cfg.Token, ended: make(chan struct{}),
		streams: make(chan struct{}, maxStreams), limits: newLimits(), once: newIdempotency(), counts: counts{replies: map[int]uint64{}},
	}
	addr, ok := listener.Addr().(*net.TCPAddr)
	s.local = ok && addr.IP.IsLoopback()
	if s.token == "" && !s.local {
		s.token = strings.ToLower(rand.Text())
	}
	s.http = http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: replyTimeout, WriteTimeout: 3 * replyTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Addr returns where the window listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL returns the address of the page for a browser. Where a token is needed it
// holds it behind the "#", which browsers do not send: keep it as secret as the
// token.
func (s *Server) URL() string {
	host := s.listener.Addr().String()
	if addr, ok := s.listener.Addr().(*net.TCPAddr); ok && addr.IP.IsUnspecified() {
		host = net.JoinHostPort("localhost", strconv.Itoa(addr.Port)) // nobody can go to 0.0.0.0
	}
	url := "http://" + host + "/"
	if s.token != "" {
		url += "#token=" + s.token
	}
	return url
}

// Serve answers until the context ends, then ends all streams and requests.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		close(s.ended)
		return fmt.Errorf("web: %w", err)
	case <-ctx.Done():
	}
	close(s.ended)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := s.http.Shutdown(grace)
	if err != nil {
		err = s.http.Close()
	}
	if closed := <-failed; !errors.Is(closed, http.ErrServerClosed) {
		err = errors.Join(err, closed)
	}
	return err
}

// Close gives the address free; it is for a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// refresh brings the board up to date if nobody has just done so.
func (s *Server) refresh() {
	if s.cfg.Look == nil {
		return
	}
	s.look.Lock()
	defer s.look.Unlock()
	if time.Since(s.look.at) < lookEvery {
		return
	}
	s.cfg.Look(s.cfg.Board)
	for name, err := range s.cfg.Board.Refused() {
		s.cfg.Log.Error("the window leaves out what does not encode", "part", name, "error", err)
	}
	s.look.at = time.Now()
}

// stale has the next read bring the board up to date, however fresh it is.
func (s *Server) stale() {
	s.look.Lock()
	defer s.look.Unlock()
	s.look.at = time.Time{}
}

// room is a listener with room for so many connections: more wait until one ends.
type room struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newRoom(l net.Listener, n int) *room {
	return &room{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for a place, then for a connection.
func (r *room) Accept() (net.Conn, error) {
	select {
	case r.places <- struct{}{}:
	case <-r.closed:
		return nil, net.ErrClosed
	}
	conn, err := r.Listener.Accept()
	if err != nil {
		<-r.places
		return nil, err
	}
	return &guest{Conn: conn, leave: func() { <-r.places }}, nil
}

// Close stops listening.
func (r *room) Close() error {
	r.once.Do(func() { close(r.closed) })
	return r.Listener.Close()
}

// guest is a connection that has a place.
type guest struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close gives the place free.
func (g *guest) Close() error {
	g.once.Do(g.leave)
	return g.Conn.Close()
}
