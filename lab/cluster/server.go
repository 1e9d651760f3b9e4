package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// ServerConfig describes an embedded server.
type ServerConfig struct {
	Listen string // host:port; empty: a free port of the loopback address, port 0: a free one
	Dir    string // where queue and results are kept; it must not be empty
	Token  string // that clients must present; empty: none, for loopback alone
}

// Server is a NATS server with JetStream in this process.
type Server struct {
	server *server.Server
	url    url.URL
}

// Serve starts a server. It fails if the address is taken, the directory cannot be
// used, or others could connect without a token.
func Serve(cfg ServerConfig) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cluster: an embedded server needs a directory")
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	host, portText, err := net.SplitHostPort(cfg.Listen)
	port, portErr := strconv.ParseUint(portText, 10, 16)
	if err = errors.Join(err, portErr); err != nil {
		return nil, fmt.Errorf("cluster: listen on %q: want host:port: %w", cfg.Listen, err)
	}
	if ip := net.ParseIP(host); cfg.Token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("cluster: listen on %s: others could connect: give a token", cfg.Listen)
	}
	natsPort := int(port)
	if natsPort == 0 {
		natsPort = server.RANDOM_PORT
	}
	s, err := server.NewServer(&server.Options{
		Host: host, Port: natsPort, Authorization: cfg.Token, MaxPayload: maxPayload,
		JetStream: true, StoreDir: cfg.Dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(requestTime) {
		s.Shutdown()
		return nil, fmt.Errorf("cluster: the server on %s with directory %s did not start: is the address taken or the directory in use?", cfg.Listen, cfg.Dir)
	}
	return &Server{server: s, url: serverURL(s, host, cfg.Token)}, nil
}

func serverURL(s *server.Server, host, token string) url.URL {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "nats", Host: net.JoinHostPort(host, strconv.Itoa(s.Addr().(*net.TCPAddr).Port))}
	if token != "" {
		u.User = url.User(token)
	}
	return u
}

// URL is where this machine reaches the server, with the token. Others put its name
// or address in the place of the host.
func (s *Server) URL() string { return s.url.String() }

// Close stops the server. What it keeps stays in its directory.
func (s *Server) Close() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// redact leaves out the token of a URL, for messages.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = url.User("TOKEN")
	return u.String()
}
