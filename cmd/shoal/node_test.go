package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	dht "github.com/shoalnet/shoal"
)

// asCommand makes the test binary behave as the command: the tests below run it
// as other processes.
const asCommand = "SHOAL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// process is a command that runs until it is told to end. Its first line on
// standard output is JSON.
type process struct {
	*exec.Cmd
	started map[string]any
	errors  heard
	rest    io.ReadCloser
}

// heard is what a process has said so far, read while it goes on.
type heard struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, append(args, "--json")...)}
	p.Stderr = &p.errors
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.rest = out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait() // fails where the test has waited
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &p.started) != nil {
		_ = p.Process.Kill()
		_ = p.Wait()
		t.Fatalf("shoal %s said %q and\n%s", strings.Join(args, " "), line, &p.errors)
	}
	return p
}

// end ends a process by a signal and returns its exit status.
func (p *process) end(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, p.rest)
	_ = p.Wait() // the status says it
	return p.ProcessState.ExitCode()
}

// ask runs a command of another process to its end.
func ask(t *testing.T, args ...string) map[string]any {
	t.Helper()
	cmd := command(t, append(args, "--json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var answer map[string]any
	if err != nil || json.Unmarshal(out, &answer) != nil {
		t.Fatalf("shoal %s: %v, said %q and\n%s", strings.Join(args, " "), err, out, &stderr)
	}
	return answer
}

// loopback makes a node quick to find.
var loopback = []string{"--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"}

func startNode(t *testing.T, args ...string) *process {
	t.Helper()
	return start(t, append(append([]string{"node"}, args...), loopback...)...)
}

const book = "bafkreifogwleegorwjf3uefc7ouvkgqgegoxaguph77w5advbue7j45usu"

// TestNetworkOfProcesses is a network of three processes, clients of it, and the
// sudden death of one of the three.
func TestNetworkOfProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	first := startNode(t, "--data", dirs[0])
	second := startNode(t, "--data", dirs[1], "--join", dirs[0])
	waitForServer(t, dirs[1])
	third := startNode(t, "--data", dirs[2], "--bootstrap", firstOf(t, first.started["addresses"]))
	waitForServer(t, dirs[2])

	hashed := ask(t, "put", "--join", dirs[2], "--sha256", "a value")["key"].(string)
	me := t.TempDir()
	signed := ask(t, "put", "--join", dirs[1], "--data", me, "--name", "greeting", "good morning")["key"].(string)
	if again := ask(t, "put", "--join", dirs[1], "--data", me, signed, "good evening")["key"]; again != signed {
		t.Errorf("the second value went to %v, the first to %v", again, signed)
	}
	provider := start(t, append([]string{"provide", "--join", dirs[0], book}, loopback...)...)

	everything := func(join string) {
		t.Helper()
		if got := ask(t, "get", "--join", join, hashed)["value"]; got != "a value" {
			t.Errorf("got %v", got)
		}
		if got := ask(t, "get", "--join", join, signed)["value"]; got != "good evening" {
			t.Errorf("got %v", got)
		}
		found := ask(t, "find", "--join", join, book)["providers"].([]any)
		if len(found) != 1 || found[0].(map[string]any)["peer"] != provider.started["peer"] {
			t.Errorf("found %v, want %v", found, provider.started["peer"])
		}
		if at := ask(t, "find", "--join", join, third.started["peer"].(string))["addresses"].([]any); len(at) == 0 {
			t.Error("the third peer has no address")
		}
		if rtt := ask(t, "ping", "--join", join, third.started["peer"].(string))["rtt_ms"].(float64); rtt <= 0 {
			t.Errorf("an answer in %v ms", rtt)
		}
	}
	everything(dirs[1])
	first.end(t, syscall.SIGKILL)
	everything(dirs[1])
	everything(dirs[2])
	if code := second.end(t, os.Interrupt); code != exitOK { // it comes back by itself
		t.Errorf("status %d\n%s", code, &second.errors)
	}
	second = startNode(t, "--data", dirs[1])
	waitFor(t, "ping", "--join", dirs[1], third.started["peer"].(string))
	everything(dirs[1])
	for _, p := range []*process{provider, second, third} {
		if code := p.end(t, os.Interrupt); code != exitOK {
			t.Errorf("status %d\n%s", code, &p.errors)
		}
	}
}

func firstOf(t *testing.T, list any) string {
	t.Helper()
	items, ok := list.([]any)
	if !ok || len(items) == 0 {
		t.Fatalf("no address in %v", list)
	}
	return items[0].(string)
}

// waitForServer pings a node until it serves.
func waitForServer(t *testing.T, dir string) {
	t.Helper()
	addresses, err := readLines(filepath.Join(dir, addressFile))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "ping", addresses[0])
}

// waitFor runs a command until it succeeds.
func waitFor(t *testing.T, args ...string) {
	t.Helper()
	for range 20 {
		if command(t, append(args, "--timeout", "10s")...).Run() == nil {
			return
		}
	}
	t.Fatalf("shoal %s fails again and again", strings.Join(args, " "))
}

// TestRestart ends a node and starts it anew on its data.
func TestRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	listen := []string{"node", "--data", dir, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"}
	if probe, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
		_ = probe.Close()
		listen[4] = "/ip6/::1/udp/0/quic-v1"
	}
	before := start(t, listen...)
	key := ask(t, "put", "--join", dir, "--sha256", "kept")["key"].(string)
	if code, _, stderr := shoal(t, "node", "--data", dir); code != exitFailed || !strings.Contains(stderr, "in use") {
		t.Errorf("a second node on the data: status %d, %q", code, stderr)
	}
	before.end(t, syscall.SIGKILL)
	after := start(t, "node", "--data", dir)
	if before.started["peer"] != after.started["peer"] || !slices.Equal(before.started["addresses"].([]any), after.started["addresses"].([]any)) {
		t.Errorf("was %v, is %v", before.started, after.started)
	}
	if got := ask(t, "get", "--join", dir, key)["value"]; got != "kept" {
		t.Errorf("got %v", got)
	}
	if code := after.end(t, os.Interrupt); code != exitOK {
		t.Errorf("status %d\n%s", code, &after.errors)
	}
}

// TestCorruptDataIsLeftAlone damages each file of a data directory.
func TestCorruptDataIsLeftAlone(t *testing.T) {
	for name, text := range map[string]string{identityFile: "nonsense", contactsFile: "/ip4/nowhere"} {
		dir := t.TempDir()
		if _, err := openIdentity(dir); err != nil {
			t.Fatal(err)
		}
		damage(t, dir, name, text)
		code, out, stderr := shoal(t, "node", "--data", dir)
		if code != exitFailed || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "damaged and was left as it is") {
			t.Errorf("%s: status %d, %q, %q", name, code, out, stderr)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("%s was changed to %q, %v", name, got, err)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) > 2 {
			t.Errorf("%s: the directory holds %v, %v", name, names, err)
		}
	}
	foreign := t.TempDir()
	damage(t, foreign, "letter", "dear")
	if code, _, stderr := shoal(t, "node", "--data", foreign); code != exitFailed || !strings.Contains(stderr, "no identity") {
		t.Errorf("a foreign directory: status %d, %q", code, stderr)
	}
	records := t.TempDir()
	if _, err := openIdentity(records); err != nil {
		t.Fatal(err)
	}
	damage(t, records, filepath.Join(recordsDir, "MANIFEST-000001"), "nonsense")
	if code, _, stderr := shoal(t, "node", "--data", records); code != exitFailed || strings.Count(stderr, "\n") != 1 {
		t.Errorf("damaged records: status %d, %q", code, stderr)
	}
}

func damage(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBadQuestions are those that never reach a network.
func TestBadQuestions(t *testing.T) {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	hash := dht.HashKey([]byte("x"))
	long := strings.Repeat("x", dht.MaxPayload+1)
	const at = "--bootstrap=/ip4/127.0.0.1/tcp/1/p2p/12D3KooWHQCHP6gkZxq2kqXjt7WBSNHeiSHufA6DEPjDP5fTc8mE"
	for _, test := range []struct {
		want string
		args []string
	}{
		{"address already in use", []string{"node", "--data", t.TempDir(), "--listen", "/ip4/127.0.0.1/tcp/" + port}},
		{"listen address", []string{"node", "--data", t.TempDir(), "--listen", "4001"}},
		{"--mode", []string{"node", "--mode", "half"}},
		{"--prefix", []string{"node", "--prefix", "/shoal/Big"}},
		{"public network", []string{"node", "--prefix", "/ipfs"}},
		{"peer address", []string{"node", "--bootstrap", "/ip4/127.0.0.1/tcp/1"}},
		{"--bootstrap public", []string{"node", "--bootstrap", "public", "--join", t.TempDir()}},
		{"--join", []string{"get", hash, "--join", t.TempDir()}},
		{"whom to ask", []string{"get", hash}},
		{"--timeout", []string{"get", hash, at, "--timeout=0s"}},
		{"hexadecimal", []string{"get", "/sha256/12", at}},
		{"want /sha256/<hex>", []string{"get", "key", at}},
		{"is not a peer id", []string{"get", "/signed/12D3KooWnobody/name", at}},
		{"too long", []string{"put", "--sha256", long, at}},
		{"not that of the value", []string{"put", hash, "y", at}},
		{"--data", []string{"put", "--name", "n", "x", at}},
		{"want a name", []string{"put", "--name", "a/b", "--data", t.TempDir(), "x", at}},
		{"belongs to another", []string{"put", "/signed/12D3KooWHQCHP6gkZxq2kqXjt7WBSNHeiSHufA6DEPjDP5fTc8mE/n", "--data", t.TempDir(), "x", at}},
		{"choose one", []string{"put", "--name", "n", "--sha256", "x", at}},
		{"shoal put wants", []string{"put", at}},
		{"public network takes", []string{"put", "--sha256", "x", "--bootstrap", "public"}},
		{"want a peer id", []string{"find", "12D3KooWnobody", at}},
		{"is not a peer id", []string{"find", "/p2p/12D3KooWnobody", at}},
		{"want a CID", []string{"provide", "book", at}},
		{"is not a peer id", []string{"ping", "12D3KooWnobody", at}},
		{"peer address", []string{"ping", "/ip4/127.0.0.1/tcp/1"}},
	} {
		code, out, stderr := shoal(t, test.args...)
		if len(stderr) > 500 || strings.Count(stderr, "\n") != 1 || code != exitUsage || out != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%.80q: status %d, %q, %.500q; want %q", test.args, code, out, stderr, test.want)
		}
		if strings.Contains(stderr, "shoal: shoal:") {
			t.Errorf("%.80q: %q", test.args, stderr)
		}
	}
	if code, out, stderr := shoal(t, "get", hash, at, "--timeout=5s"); code != exitFailed || out != "" || !strings.Contains(stderr, "answers") {
		t.Errorf("nobody there: status %d, %q, %q", code, out, stderr)
	}
}
