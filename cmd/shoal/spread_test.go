package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/shoalnet/shoal/sim"
)

var smallShape = strings.Fields("tune shape --peers 40 --budget 20 --rate 60 --churn none --seed 3 --family sobol")

// joinWorker starts a worker process that ends with the test, and returns once it has
// a task in its hands.
func joinWorker(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	cmd := command(t, "tune", "worker", "--nats", url, "--workers", "1")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // the error is that it was killed
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "working on run") {
			return cmd
		}
		t.Log(lines.Text())
	}
	t.Fatal("the worker ended")
	return nil
}

// A search whose evaluations are done by two worker processes, of which one is killed
// as by kill -9 in the middle, is the search of one process. Run again it evaluates
// nothing.
func TestTuneShapeSurvivesKilledWorker(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates 80,000 lookups")
	}
	want := jsonOf(t, smallShape...)

	dir := t.TempDir()
	search := command(t, append(smallShape, "--dir", dir, "--workers", "0", "--json")...)
	var out bytes.Buffer
	search.Stdout = &out
	told, err := search.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := search.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(told)
	url := ""
	for url == "" && lines.Scan() {
		t.Log(lines.Text())
		_, url, _ = strings.Cut(lines.Text(), "tune worker --nats ")
	}
	if url == "" {
		t.Fatal("no worker was asked for")
	}
	victim := joinWorker(t, url)
	joinWorker(t, url)
	if err := victim.Process.Kill(); err != nil {
		t.Error(err)
	}
	for lines.Scan() { // or it could not write on
		t.Log(lines.Text())
	}
	if err := search.Wait(); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}

	again := jsonOf(t, append(smallShape, "--dir", dir)...)
	if !reflect.DeepEqual(again, want) {
		t.Errorf("again\n%v\nwant\n%v", again, want)
	}
}

func TestSpreadFlags(t *testing.T) {
	dir := t.TempDir()
	file := file(t, "file", "")
	for _, test := range []struct{ args, want string }{
		{"tune shape --nats nats://127.0.0.1:1", "127.0.0.1:1"},
		{"tune shape --nats nats://127.0.0.1:1 --dir " + dir, "leave out --dir"},
		{"tune shape --listen 127.0.0.1:0", "give a --dir"},
		{"tune shape --workers 0", "nobody"},
		{"tune shape --listen nowhere --dir " + filepath.Join(dir, "a"), "want host:port"},
		{"tune shape --dir " + filepath.Join(file, "b"), "--dir"},
		{"tune worker", "--nats is missing"},
		{"tune worker --nats nats://127.0.0.1:1 --workers 0", "--workers 0"},
		{"tune worker --nats nats://127.0.0.1:1 --idle 1s", "--idle"},
		{"tune worker --nats nats://127.0.0.1:1", "127.0.0.1:1"},
	} {
		code, _, stderr := shoal(t, strings.Fields(test.args)...)
		if code != exitUsage || !strings.Contains(stderr, test.want) {
			t.Errorf("shoal %s: status %d, %s", test.args, code, stderr)
		}
	}
}

// What a worker unpacks is the network that was packed, with its files.
func TestDescription(t *testing.T) {
	churn := file(t, "sessions.csv", "peer,start_s,end_s,left_censored,right_censored\n0,0,3600,0,0\n1,1800,7200,0,0\n")
	popular := file(t, "keys.txt", "a\nb\na\n")
	matrix := filepath.Join(t.TempDir(), "matrix")
	if err := os.MkdirAll(matrix, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"rtt.csv":     "from,to,p50_ms\na,a,1\na,b,10\nb,a,11\nb,b,2\n",
		"regions.csv": "region,city,lat,lon\na,A,0,0\nb,B,10,10\n",
		"README":      "not needed",
	} {
		if err := os.WriteFile(filepath.Join(matrix, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := worldFlags{cfg: sim.DefaultEvents()}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	w.bind(flags)
	if err := flags.Parse([]string{"--latency", matrix, "--churn", churn, "--popularity", popular, "--seed", "5", "--peers", "30"}); err != nil {
		t.Fatal(err)
	}
	if err := w.read(flags); err != nil {
		t.Fatal(err)
	}
	packed, err := w.describe(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.describe(w.cfg)
	if err != nil || !bytes.Equal(packed, again) {
		t.Errorf("packed twice it differs: %v", err)
	}
	if bytes.Contains(packed, []byte("README")) {
		t.Error("a file that nobody reads was packed")
	}
	got, err := readDescription(packed)
	if err != nil {
		t.Fatal(err)
	}
	got.Churn.File = w.cfg.Churn.File
	if !reflect.DeepEqual(got, w.cfg) {
		t.Errorf("got %+v\nwant %+v", got, w.cfg)
	}
	for _, bad := range [][]byte{nil, []byte("not a zip"), packed[:len(packed)/2]} {
		if _, err := readDescription(bad); err == nil {
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
}
