package web

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHostsAndSites(t *testing.T) {
	s := opened(t, Config{Board: NewBoard()})
	_, port, _ := net.SplitHostPort(s.Addr().String())
	for _, c := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"its address", nil, 200},
		{"localhost", []string{"Host", "localhost:" + port}, 200},
		{"another name of the loopback", []string{"Host", "127.8.9.1:" + port}, 200},
		{"a rebound name", []string{"Host", "evil.example:" + port}, 421},
		{"a name that begins alike", []string{"Host", "127.0.0.1.evil.example:" + port}, 421},
		{"another port", []string{"Host", "127.0.0.1:1"}, 421},
		{"no port", []string{"Host", "localhost"}, 421},
		{"its own page", []string{"Origin", "http://" + s.Addr().String(), "Sec-Fetch-Site", "same-origin"}, 200},
		{"a page of another site", []string{"Origin", "http://evil.example"}, 403},
		{"a page without a name", []string{"Origin", "null"}, 403},
		{"another page of this host", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a cross-site fetch", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
	} {
		got := ask(t, s, http.MethodGet, apiRoot+"/subject", "", c.headers...)
		if got.status != c.status {
			t.Errorf("%s: %d, want %d", c.name, got.status, c.status)
		}
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: it allows another origin", c.name)
		}
	}
	if got := ask(t, s, http.MethodGet, "/", "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"); got.status != http.StatusOK {
		t.Errorf("a link to the page: %d", got.status)
	}
}

func TestToken(t *testing.T) {
	s := opened(t, Config{Board: NewBoard(), Token: "secret"})
	for _, path := range []string{apiRoot + "/subject", mlRoot + "/events", DescriptionPath, "/metrics"} {
		for name, header := range map[string]string{"none": "", "another": "Bearer other", "a longer one": "Bearer secrets", "without a word": "secret", "empty": "Bearer "} {
			got := ask(t, s, http.MethodGet, path, "", "Authorization", header)
			if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s, token %s: %d", path, name, got.status)
			}
		}
	}
	if got := ask(t, s, http.MethodGet, apiRoot+"/subject", "", "Authorization", "Bearer secret"); got.status != http.StatusOK {
		t.Errorf("the token: %d", got.status)
	}
	if got := ask(t, s, http.MethodGet, "/", ""); got.status != http.StatusOK || strings.Contains(string(got.body), "secret") {
		t.Errorf("the page: %d", got.status)
	}
	if !strings.HasSuffix(s.URL(), "/#token=secret") {
		t.Errorf("URL %s", s.URL())
	}
}

// Bound to all interfaces it makes a token of its own, and answers to addresses but
// not to names.
func TestBoundElsewhere(t *testing.T) {
	s := opened(t, Config{Addr: "0.0.0.0:0", Board: NewBoard()})
	_, port, _ := net.SplitHostPort(s.Addr().String())
	ask := func(host string, headers ...string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+apiRoot+"/subject", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		got, err := client(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Body.Close()
		return got.StatusCode
	}
	if len(s.token) < 20 {
		t.Fatalf("token %q", s.token)
	}
	if got := ask("127.0.0.1:" + port); got != http.StatusUnauthorized {
		t.Errorf("without a token: %d", got)
	}
	if got := ask("192.0.2.7:"+port, "Authorization", "Bearer "+s.token); got != http.StatusOK {
		t.Errorf("by address: %d", got)
	}
	if got := ask("evil.example:"+port, "Authorization", "Bearer "+s.token); got != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", got)
	}
}

func TestPace(t *testing.T) {
	s := opened(t, Config{Board: NewBoard(), Order: (&orders{}).take})
	refused := 0
	for range orderBurst + 5 {
		if got := ask(t, s, http.MethodPost, mlRoot, "{}"); got.status == http.StatusTooManyRequests {
			refused++
			if got.header.Get("Retry-After") == "" {
				t.Error("it does not say when to come again")
			}
		}
	}
	if refused == 0 {
		t.Errorf("%d orders at once: none was refused", orderBurst+5)
	}
	l := newLimits()
	for i := range 3 * maxRemotes {
		l.allow(&http.Request{Method: http.MethodGet, RemoteAddr: fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)})
	}
	if n := len(l.remotes); n > maxRemotes {
		t.Errorf("the pace of %d remotes is remembered, want %d at most", n, maxRemotes)
	}
}

func TestHeadersOfThePage(t *testing.T) {
	s := opened(t, Config{Board: NewBoard()})
	got := ask(t, s, http.MethodGet, "/", "")
	csp := got.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
		t.Errorf("policy %q", csp)
	}
	if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers %v", got.header)
	}
	if again := ask(t, s, http.MethodGet, "/", "", "If-None-Match", got.header.Get("ETag")); again.status != http.StatusNotModified {
		t.Errorf("the same page again: %d", again.status)
	}
	if post := ask(t, s, http.MethodPost, "/", ""); post.status != http.StatusMethodNotAllowed {
		t.Errorf("POST of the page: %d", post.status)
	}
}

// Connections beyond the room wait; those that end make room.
func TestRoom(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(inner, 1)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := r.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.DialTimeout("tcp", inner.Addr().String(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := dial(), dial()
	a := <-accepted
	select {
	case <-accepted:
		t.Error("a second connection was taken beside the first")
	default:
	}
	_ = a.Close()
	_ = a.Close() // gives its place once
	b := <-accepted
	_ = b.Close()
	_ = r.Close()
	if _, open := <-accepted; open {
		t.Error("it accepts after its end")
	}
	_, _ = first.Close(), second.Close()
}
