package interop

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/boxo/files"
	"github.com/ipfs/boxo/path"

	"github.com/shoalnet/shoal"
)

// daemon is Kubo as its users run it, "ipfs daemon", on the loopback. It is
// driven by "ipfs" commands.
type daemon struct {
	t       *testing.T
	program string
	repo    string
	info    shoal.PeerInfo
}

// startDaemon builds Kubo, starts a daemon with a repository of its own, and
// ends it with the test.
func startDaemon(t *testing.T) *daemon {
	t.Helper()
	program, err := exec.Command("go", "tool", "-n", "ipfs").Output() // builds it
	if err != nil {
		t.Fatalf("go tool -n ipfs: %v", err)
	}
	d := &daemon{t: t, program: strings.TrimSpace(string(program)), repo: t.TempDir()}
	d.ipfs("init", "--profile=test") // the loopback alone, no bootstrap peers, no mDNS
	d.run()
	addrs := strings.Fields(d.ipfs("id", "-f", "<addrs>"))
	infos, err := shoal.ParsePeers(addrs...)
	if err != nil || len(infos) != 1 {
		t.Fatalf("the daemon listens on %v: %v", addrs, err)
	}
	d.info = infos[0]
	return d
}

func (d *daemon) command(args ...string) *exec.Cmd {
	cmd := exec.Command(d.program, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+d.repo, "IPFS_TELEMETRY=off")
	return cmd
}

// run starts the daemon and waits until it says that it is ready.
func (d *daemon) run() {
	d.t.Helper()
	var complaints bytes.Buffer
	cmd := d.command("daemon")
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	d.t.Cleanup(func() {
		d.ipfs("shutdown")
		for lines.Scan() {
		}
		if err := cmd.Wait(); err != nil {
			d.t.Errorf("daemon: %v\n%s", err, complaints.String())
		}
	})
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Daemon is ready") {
			return
		}
	}
	d.t.Fatalf("the daemon has ended: %s", complaints.String())
}

// ipfs runs one command and returns what it prints.
func (d *daemon) ipfs(args ...string) string {
	d.t.Helper()
	var complaints bytes.Buffer
	cmd := d.command(args...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("ipfs %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return strings.TrimSpace(string(out))
}

// TestDaemon has a stock daemon and a node of ours, which knows it only by way
// of another one of ours, do everything for each other.
func TestDaemon(t *testing.T) {
	d, hub, n := startDaemon(t), ours(t), ours(t)
	ctx := t.Context()
	if err := hub.api.Swarm().Connect(ctx, d.info); err != nil {
		t.Fatal(err)
	}
	join(t, hub, n)

	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("added by a daemon"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, err := path.NewPath("/ipfs/" + d.ipfs("add", "-Q", text))
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return finds(t, n, theirs, d.info.ID) })
	read(t, n, theirs, "added by a daemon")
	name := d.ipfs("name", "publish", "-Q", theirs.String())
	if got, err := n.api.Name().Resolve(ctx, name); err != nil || got.String() != theirs.String() {
		t.Errorf("resolved to %v, %v, want %v", got, err, theirs)
	}

	added, err := n.api.Unixfs().Add(ctx, files.NewBytesFile([]byte("added by ours")))
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		return strings.Contains(d.ipfs("routing", "findprovs", "-n", "1", added.RootCid().String()), n.Identity.String())
	})
	if got := d.ipfs("cat", added.String()); got != "added by ours" {
		t.Errorf("the daemon reads %q", got)
	}
	ourName, err := n.api.Name().Publish(ctx, added)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.ipfs("name", "resolve", "/ipns/"+ourName.String()); got != added.String() {
		t.Errorf("the daemon resolves to %q, want %v", got, added)
	}
	if !strings.Contains(d.ipfs("routing", "findpeer", n.Identity.String()), "127.0.0.1") {
		t.Error("the daemon does not find our peer")
	}
}
