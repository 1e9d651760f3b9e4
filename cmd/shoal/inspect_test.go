package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	dht "github.com/shoalnet/shoal"
)

// TestInspect looks into a node of another process, and at what was kept of that.
func TestInspect(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	first, second := t.TempDir(), t.TempDir()
	start(t, "node", "--data", first, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	node := start(t, "node", "--data", second, "--join", first, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	waitFor(t, "ping", "--join", first, node.started["peer"].(string))
	var in dht.Inspection
	for range 20 { // until it has joined, which takes a lookup
		code, out, stderr := shoal(t, "inspect", second, "--json")
		if code != exitOK || json.Unmarshal([]byte(out), &in) != nil {
			t.Fatalf("status %d, %.200q, %q", code, out, stderr)
		}
		if in.Health.Contacts > 0 && len(in.Lookups) > 1 {
			break
		}
		waitForServer(t, second)
	}
	if in.Peer != node.started["peer"] || in.Health.Contacts != 1 || len(in.Peers) != 1 || len(in.Changes) != 1 || in.Health.Score == 0 {
		t.Errorf("%+v", in)
	}
	kept := filepath.Join(t.TempDir(), "then.json")
	text, err := json.Marshal(in)
	if err != nil || os.WriteFile(kept, text, 0o600) != nil {
		t.Fatal(err)
	}
	node.end(t, syscall.SIGKILL)
	for args, want := range map[string]string{
		"":                  "health",
		"--lookups":         "own table",
		"--peers":           "room for all",
		"--changes":         "entered",
		"--replay 1":        "asks the same",
		"--replay 1 --json": `"same":true`,
	} {
		code, out, stderr := shoal(t, append([]string{"inspect", kept}, strings.Fields(args)...)...)
		if code != exitOK || stderr != "" || !strings.Contains(out, want) || args == "--peers" && !strings.Contains(out, in.Peers[0].Peer) {
			t.Errorf("inspect %s: status %d, %q, %q", args, code, out, stderr)
		}
	}
	damage(t, filepath.Dir(kept), "damaged.json", `{"lookups":`)
	for _, test := range []struct {
		code int
		want string
		args []string
	}{
		{exitFailed, "no node runs", []string{second}},
		{exitUsage, "no such file", []string{filepath.Join(second, "nowhere")}},
		{exitUsage, "is not what shoal inspect --json prints", []string{filepath.Join(filepath.Dir(kept), "damaged.json")}},
		{exitUsage, "are remembered", []string{kept, "--replay", "99"}},
		{exitUsage, "want 1", []string{kept, "--replay", "-1"}},
		{exitUsage, "lookups", []string{kept, "--lookups", "--peers"}},
		{exitUsage, "wants DIR|FILE", nil},
	} {
		code, out, stderr := shoal(t, append([]string{"inspect"}, test.args...)...)
		if code != test.code || out != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, %q, %q", test.args, code, out, stderr)
		}
	}
	log := in.Lookups[len(in.Lookups)-1].Logs[0]
	log.Entries = log.Entries[1:]
	if text, err = json.Marshal(in); err != nil || os.WriteFile(kept, text, 0o600) != nil {
		t.Fatal(err)
	}
	if code, _, stderr := shoal(t, "inspect", kept, "--replay", "1"); code != exitFailed || !strings.Contains(stderr, "differs from its log") {
		t.Errorf("a log without its first entry: status %d, %q", code, stderr)
	}
}
