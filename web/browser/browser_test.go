// Package browser holds Shoal's window against a real Chromium: the tests start
// shoal as its users do and have drive.mjs open every view, press the buttons and
// compare what is shown with what the API says. It is a module of its own, so that
// nobody needs a browser to test the rest.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// chromium returns the browser, or skips the test and says what to install.
func chromium(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no Node.js on this machine: install version 20 or later, run npm ci in web/browser, and try again")
	}
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		t.Skip("what drives the browser is not installed: run npm ci in web/browser")
	}
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Skip("no Chromium on this machine: apt-get install chromium, or name one in CHROMIUM")
	return ""
}

// build makes the command, as go build does.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shoal")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/shoal")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

var windowLine = regexp.MustCompile(`^window: (\S+)`)

// command is shoal with a window.
type command struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	mu    sync.Mutex
	said  bytes.Buffer
	ended chan error
}

// start runs shoal until stop, and returns once its window is open.
func start(t *testing.T, shoal string, args ...string) *command {
	t.Helper()
	c := &command{t: t, cmd: exec.Command(shoal, args...), ended: make(chan error, 1)}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	opened := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			c.say(lines.Text())
			if m := windowLine.FindStringSubmatch(lines.Text()); m != nil {
				opened <- m[1]
			}
		}
		c.ended <- c.cmd.Wait()
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	select {
	case c.url = <-opened:
	case err := <-c.ended:
		t.Fatalf("it ended: %v\n%s", err, c.words())
	}
	return c
}

func (c *command) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.WriteString(line + "\n")
}

// words are what it has said.
func (c *command) words() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.String()
}

// show drives the browser through its window, and tells what it said if that fails.
func (c *command) show(browser, script string, args ...string) {
	c.t.Helper()
	if !drive(c.t, browser, script, append([]string{c.url}, args...)...) {
		c.t.Log(c.words())
	}
}

// stop is Ctrl-C. It must end with status 0 within a minute, streams or not.
func (c *command) stop() {
	c.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	select {
	case err := <-c.ended:
		if err != nil {
			c.t.Errorf("after Ctrl-C: %v\n%s", err, c.words())
		}
	case <-time.After(time.Minute):
		c.t.Error("it has not ended a minute after Ctrl-C")
	}
}

// drive runs one of the scripts of drive.mjs and reports whether it held.
func drive(t *testing.T, browser, script string, args ...string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{"drive.mjs", browser, script}, args...)...)
	out, err := cmd.CombinedOutput()
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		t.Log(line)
	}
	if err != nil {
		t.Errorf("%s: %v", script, err)
	}
	return err == nil
}

// TestNetwork opens every view on thirty real peers and holds, resumes and rolls
// back a rollout.
func TestNetwork(t *testing.T) {
	browser, shoal := chromium(t), build(t)
	candidate := filepath.Join(t.TempDir(), "candidate.conf")
	text := "lookup.alpha = 5\nlookup.alpha_first = 4\nlookup.order = priced\nlookup.soft_factor = 2\n"
	if err := os.WriteFile(candidate, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	up := start(t, shoal, "up", "--peers", "30", "--for", "4m", "--seed", "7", "--candidate", candidate, "--ui", "127.0.0.1:0", "--data", t.TempDir())
	up.show(browser, "network")
	up.stop()
}

// TestPromotion sees a candidate promoted on thirty real peers: the timeline, the figures
// before and after, and the shape.
func TestPromotion(t *testing.T) {
	browser, shoal := chromium(t), build(t)
	candidate := filepath.Join(t.TempDir(), "candidate.conf")
	text := "lookup.alpha = 5\nlookup.alpha_first = 4\nlookup.order = priced\nlookup.soft_factor = 2\ntable.shape = 30,20,10\n"
	if err := os.WriteFile(candidate, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	up := start(t, shoal, "up", "--peers", "30", "--for", "3m", "--rate", "30", "--washout", "500ms", "--seed", "7", "--candidate", candidate,
		"--ui", "127.0.0.1:0", "--data", t.TempDir())
	up.show(browser, "promotion")
	up.stop()
}

// TestNode opens every view on one of three peers.
func TestNode(t *testing.T) {
	browser, shoal := chromium(t), build(t)
	dir := t.TempDir()
	first := start(t, shoal, "node", "--data", filepath.Join(dir, "a"), "--ui", "127.0.0.1:0")
	second := start(t, shoal, "node", "--data", filepath.Join(dir, "b"), "--join", filepath.Join(dir, "a"), "--ui", "127.0.0.1:0")
	third := start(t, shoal, "node", "--data", filepath.Join(dir, "c"), "--join", filepath.Join(dir, "a"), "--ui", "127.0.0.1:0")
	third.show(browser, "node")
	for _, c := range []*command{third, second, first} {
		c.stop()
	}
}

// TestHostile has every string that a peer could send be HTML with a script in it.
func TestHostile(t *testing.T) { drive(t, chromium(t), "hostile") }

// TestPanels shows what a service recorded: the race of learners, the library, forecasts,
// the holdout and costs.
func TestPanels(t *testing.T) { drive(t, chromium(t), "panels") }

// TestThousand shows a thousand peers and a storm of lookups: what is in the
// document stays bounded. It prints how long frames took.
func TestThousand(t *testing.T) { drive(t, chromium(t), "thousand") }

// TestToken opens a window that is bound beyond the loopback.
func TestToken(t *testing.T) {
	browser, shoal := chromium(t), build(t)
	node := start(t, shoal, "node", "--data", filepath.Join(t.TempDir(), "a"), "--ui", "0.0.0.0:0")
	at, err := url.Parse(node.url)
	if err != nil {
		t.Fatal(err)
	}
	drive(t, browser, "token", "http://127.0.0.1:"+at.Port(), strings.TrimPrefix(at.Fragment, "token="))
	node.stop()
}
