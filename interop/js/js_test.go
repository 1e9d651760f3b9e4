// Package js holds Shoal against js-libp2p's DHT: the test starts a peer of it,
// peer.js, and drives it over its standard input and output.
package js

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/shoalnet/shoal"
)

// jsPeer is a process of Node.js that runs peer.js.
type jsPeer struct {
	t     *testing.T
	id    shoal.PeerID
	addr  string
	in    io.Writer
	lines *bufio.Scanner
}

// oldest is the first version of Node.js that js-libp2p 3 runs on.
const oldest = 20

// node returns the program, or skips the test and says what to install.
func node(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("no Node.js on this machine: install version %d or later, run npm ci in interop/js, and try again", oldest)
	}
	version, err := exec.CommandContext(t.Context(), program, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		t.Skipf("Node.js %s: js-libp2p wants %d or later", bytes.TrimSpace(version), oldest)
	}
	if _, err := os.Stat("node_modules/libp2p"); err != nil {
		t.Skip("js-libp2p is not installed: run npm ci in interop/js")
	}
	return program
}

// startJS starts a peer of js-libp2p in a network, which ends with the test.
func startJS(t *testing.T, prefix string) *jsPeer {
	t.Helper()
	var complaints bytes.Buffer
	cmd := exec.Command(node(t), "peer.js", prefix)
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		if err := cmd.Wait(); t.Failed() {
			t.Logf("node: %v\n%s", err, complaints.String())
		}
	})
	j := &jsPeer{t: t, in: in, lines: bufio.NewScanner(out)}
	j.lines.Buffer(nil, 8<<20)
	var self found
	j.read(&self)
	if len(self.Addrs) == 0 {
		t.Fatal("it listens nowhere")
	}
	j.id, j.addr = self.id(t), self.Addrs[0]
	return j
}

// found is a peer as peer.js names it.
type found struct {
	ID    string   `json:"id"`
	Addrs []string `json:"addrs"`
}

func (f found) id(t *testing.T) shoal.PeerID {
	t.Helper()
	id, err := shoal.ParsePeerID(f.ID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (j *jsPeer) read(into any) {
	j.t.Helper()
	if !j.lines.Scan() {
		j.t.Fatalf("node has ended: %v", j.lines.Err())
	}
	if err := json.Unmarshal(j.lines.Bytes(), into); err != nil {
		j.t.Fatalf("%s: %v", j.lines.Bytes(), err)
	}
}

// ask has the peer do something; arguments are pairs of name and value.
func ask[T any](j *jsPeer, op string, args ...string) (answer T) {
	j.t.Helper()
	request := map[string]string{"op": op}
	for i := 0; i < len(args); i += 2 {
		request[args[i]] = args[i+1]
	}
	line, err := json.Marshal(request)
	if err != nil {
		j.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(j.in, "%s\n", line); err != nil {
		j.t.Fatal(err)
	}
	var reply struct {
		OK    T      `json:"ok"`
		Error string `json:"error"`
	}
	j.read(&reply)
	if reply.Error != "" {
		j.t.Fatalf("%s: %s", op, reply.Error)
	}
	return reply.OK
}

// ours starts a peer of Shoal on TCP, which js-libp2p can dial.
func ours(t *testing.T, prefix string, bootstrap ...shoal.PeerInfo) *shoal.DHT {
	t.Helper()
	identity, err := shoal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	h, err := shoal.NewHost(identity, "/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := shoal.New(t.Context(), h, shoal.WithPrefix(prefix), shoal.WithMode(shoal.ModeServer), shoal.WithBootstrap(bootstrap...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within a minute")
		}
	}
}

// TestJS has a peer of js-libp2p and two of ours share a network. It knows only
// the first of ours at the beginning, and so does the second of ours.
func TestJS(t *testing.T) {
	const prefix = "/shoal/interop"
	theirs := startJS(t, prefix)
	first := ours(t, prefix)
	hub := shoal.PeerInfo{ID: first.Host().ID(), Addrs: first.Host().Addrs()}
	second := ours(t, prefix, hub)
	full, err := shoal.Addresses(first.Host())
	if err != nil {
		t.Fatal(err)
	}
	ask[bool](theirs, "connect", "addr", full[0])
	until(t, func() bool {
		return slices.ContainsFunc(first.Contacts(), func(p shoal.PeerInfo) bool { return p.ID == theirs.id })
	})
	until(t, func() bool { return ask[int](theirs, "known") > 0 })

	peers(t, theirs, first, second)
	values(t, theirs, second)
	providers(t, theirs, second)
	for name, d := range map[string]*shoal.DHT{"first": first, "second": second} {
		if h := d.Health(); h.Served == 0 || h.Refused > 0 {
			t.Errorf("%s served %d requests and refused %d", name, h.Served, h.Refused)
		}
	}
}

// peers is FIND_NODE both ways.
func peers(t *testing.T, theirs *jsPeer, first, second *shoal.DHT) {
	t.Helper()
	if info, err := second.FindPeer(t.Context(), theirs.id); err != nil || len(info.Addrs) == 0 {
		t.Errorf("we find %v, %v", info, err)
	}
	got := ask[[]found](theirs, "peer", "id", second.Host().ID().String())
	if len(got) == 0 || got[0].id(t) != second.Host().ID() || len(got[0].Addrs) == 0 {
		t.Errorf("js finds %v, want %s", got, second.Host().ID())
	}
	closest, err := second.GetClosestPeers(t.Context(), "a key")
	if err != nil || !slices.Contains(closest, theirs.id) {
		t.Errorf("our closest peers are %v, %v, want %s among them", closest, err, theirs.id)
	}
	names := ask[[]string](theirs, "closest", "key", "a key")
	for _, d := range []*shoal.DHT{first, second} {
		if !slices.Contains(names, d.Host().ID().String()) {
			t.Errorf("the closest peers of js are %v, want %s among them", names, d.Host().ID())
		}
	}
	if _, err := second.Ping(t.Context(), theirs.id); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// values is PUT_VALUE and GET_VALUE both ways.
func values(t *testing.T, theirs *jsPeer, d *shoal.DHT) {
	t.Helper()
	value := []byte("put by js")
	took := ask[[]string](theirs, "put", "key", shoal.HashKey(value), "value", base64.StdEncoding.EncodeToString(value))
	if !slices.Contains(took, d.Host().ID().String()) {
		t.Errorf("its value was taken by %v, want %s among them", took, d.Host().ID())
	}
	if got, err := d.GetValue(t.Context(), shoal.HashKey(value)); err != nil || !bytes.Equal(got, value) {
		t.Errorf("we get %q, %v", got, err)
	}
	value = []byte("put by us")
	stored, err := d.Store(t.Context(), shoal.HashKey(value), value)
	if err != nil || !slices.Contains(stored, theirs.id) {
		t.Errorf("our value was taken by %v, %v, want %s among them", stored, err, theirs.id)
	}
	got := ask[[]string](theirs, "get", "key", shoal.HashKey(value))
	if len(got) == 0 || got[0] != base64.StdEncoding.EncodeToString(value) {
		t.Errorf("js gets %q", got)
	}
}

// providers is ADD_PROVIDER and GET_PROVIDERS both ways.
func providers(t *testing.T, theirs *jsPeer, d *shoal.DHT) {
	t.Helper()
	book := cidOf(t, "provided by js")
	if took := ask[[]string](theirs, "provide", "cid", book.String()); !slices.Contains(took, d.Host().ID().String()) {
		t.Errorf("its record was sent to %v, want %s among them", took, d.Host().ID())
	}
	until(t, func() bool { // nobody confirms a record
		infos, err := d.FindProviders(t.Context(), book)
		return err == nil && len(infos) == 1 && infos[0].ID == theirs.id && len(infos[0].Addrs) > 0
	})
	book = cidOf(t, "provided by us")
	stored, err := d.KeepProviding(t.Context(), book)
	if err != nil || !slices.Contains(stored, theirs.id) {
		t.Errorf("our record was sent to %v, %v, want %s among them", stored, err, theirs.id)
	}
	until(t, func() bool {
		got := ask[[]found](theirs, "providers", "cid", book.String())
		return len(got) > 0 && got[0].id(t) == d.Host().ID() && len(got[0].Addrs) > 0
	})
}

func cidOf(t *testing.T, text string) cid.Cid {
	t.Helper()
	digest, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, digest)
}
