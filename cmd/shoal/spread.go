package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoalnet/shoal/lab"
	"github.com/shoalnet/shoal/lab/cluster"
	"github.com/shoalnet/shoal/pilot"
	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/store"
)

// spreadFlags say who evaluates.
type spreadFlags struct {
	workers uint
	nats    string
	dir     string
	listen  string
}

func (f *spreadFlags) bind(flags *pflag.FlagSet) {
	flags.UintVar(&f.workers, "workers", uint(runtime.NumCPU()), "simulations at once in this process; 0: leave all to other workers. The result does not depend on it")
	flags.StringVar(&f.dir, "dir", "", "`directory` that keeps what was evaluated: run again with the same flags it goes on where it stopped, and workers on this machine may join")
	flags.StringVar(&f.listen, "listen", "", "`host:port` at which workers of other machines may join, too; needs --dir")
	flags.StringVar(&f.nats, "nats", "", "`URL` of a NATS server with JetStream that gives the evaluations to its workers, in place of --dir")
}

// read refuses what does not fit together.
func (f *spreadFlags) read() error {
	switch {
	case f.nats != "" && (f.dir != "" || f.listen != ""):
		return usagef("--nats is a server of its own: leave out --dir and --listen")
	case f.listen != "" && f.dir == "":
		return usagef("--listen %s: give a --dir as well, which keeps the queue", f.listen)
	case f.workers == 0 && f.nats == "" && f.dir == "":
		return usagef("--workers 0: nobody would do the work without --dir or --nats")
	}
	return nil
}

// pool opens what evaluates a network, and returns how to close it; nil if it is
// goroutines of this process alone, which need nothing.
func (a *app) pool(ctx context.Context, f *spreadFlags, w *worldFlags, cfg sim.EventsConfig) (_ lab.Pool, end func(), err error) {
	if f.nats == "" && f.dir == "" {
		return nil, func() {}, nil
	}
	description, err := w.describe(cfg)
	if err != nil {
		return nil, nil, err
	}
	url := f.nats
	stack := &closers{}
	defer func() {
		if err != nil {
			stack.close()
		}
	}()
	if url == "" {
		if url, err = a.serveQueue(f, stack); err != nil {
			return nil, nil, err
		}
	}
	version, err := programVersion()
	if err != nil {
		return nil, nil, err
	}
	p, err := cluster.Open(ctx, url, cluster.Config{Version: version, Run: description})
	if err != nil {
		return nil, nil, usageError{err}
	}
	stack.add(func() { _ = p.Close() }) // what it has is kept
	if f.workers > 0 {
		stack.add(a.workHere(ctx, url, version, int(f.workers)))
	} else if workers, _, err := p.Workers(ctx); err == nil && workers == 0 && f.nats != "" {
		a.screen.printf("there is no worker yet: start one with\n  %s", workerCommand(url))
	}
	return p, stack.close, nil
}

// serveQueue starts the embedded server.
func (a *app) serveQueue(f *spreadFlags, stack *closers) (url string, err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return "", usagef("--dir: %w", err)
	}
	lock, err := store.Lock(f.dir)
	if err != nil {
		return "", usagef("--dir %s: another process uses it, or it cannot be written: %w", f.dir, err)
	}
	stack.add(func() { _ = lock.Close() }) // it ends with the process
	token, err := openToken(filepath.Join(f.dir, "token"))
	if err != nil {
		return "", usagef("--dir: %w", err)
	}
	server, err := cluster.Serve(cluster.ServerConfig{Listen: f.listen, Dir: filepath.Join(f.dir, "queue"), Token: token})
	if err != nil {
		return "", usageError{err}
	}
	stack.add(server.Close)
	a.screen.printf("more workers may join%s:\n  %s", map[bool]string{true: ", from other machines with the name of this one"}[f.listen != ""], workerCommand(server.URL()))
	return server.URL(), nil
}

func workerCommand(url string) string { return "shoal tune worker --nats " + url }

// openToken reads the secret of a directory, or makes one.
func openToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token := hex.EncodeToString(secret)
	return token, os.WriteFile(path, []byte(token+"\n"), 0o600)
}

// workHere starts workers of this process; end stops them.
func (a *app) workHere(ctx context.Context, url, version string, workers int) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := cluster.Work(ctx, url, cluster.WorkerConfig{
			Version: version, Slots: workers, Table: evaluatorTable,
			Log: func(text string) { a.log.Info(text) },
		})
		if err != nil && ctx.Err() == nil {
			a.screen.printf("the workers of this process ended: %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

// evaluatorTable is what a worker can do with a described network.
func evaluatorTable(description []byte) (lab.Table, error) {
	cfg, err := readDescription(description)
	if err != nil {
		return nil, err
	}
	return pilot.Evaluator{World: cfg}.Table(), nil
}

// closers are functions to be called in reverse.
type closers struct{ ends []func() }

func (c *closers) add(end func()) { c.ends = append(c.ends, end) }

func (c *closers) close() {
	for len(c.ends) > 0 {
		last := c.ends[len(c.ends)-1]
		c.ends = c.ends[:len(c.ends)-1]
		last()
	}
}

// programVersion names what this program computes: its commit and processor, and
// where that does not tell, the program itself.
func programVersion() (string, error) {
	if v := readVersion(); v.Commit != "" && !v.Modified {
		return v.Commit + " " + v.Arch, nil
	}
	name, err := os.Executable()
	if err != nil {
		return "", err
	}
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func newTuneWorkerCommand(a *app) *cobra.Command {
	var url string
	var workers int
	var idle time.Duration
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Evaluate configurations for a search on this or another machine",
		Long: `Does the simulations of searches that were started with --dir or --nats, until
Ctrl-C. It may join and leave at any time: what it has in hand when it leaves, or is
killed, goes to another. Only a worker of the same build gets work, because another
might compute something else. The network comes with the work; no file is needed.`,
		Example: `  shoal tune worker --nats nats://TOKEN@HOST:4222
  shoal tune worker --nats nats://HOST:4222 --workers 8 --idle 10m`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case url == "":
				return usagef("--nats is missing: it is the URL that the search printed")
			case workers < 1:
				return usagef("--workers %d: want 1 or more", workers)
			case idle < 0 || idle > 0 && idle < 10*time.Second:
				return usagef("--idle %v: want 0 or at least 10s, because the task of a worker that died comes back after a while", idle)
			}
			return a.tuneWorker(cmd.Context(), url, workers, idle)
		},
	}
	cmd.Flags().StringVar(&url, "nats", "", "`URL` of the server, as the search printed it")
	cmd.Flags().IntVar(&workers, "workers", runtime.NumCPU(), "simulations at once")
	cmd.Flags().DurationVar(&idle, "idle", 0, "end after so long without work; 0: wait for ever")
	return cmd
}

func (a *app) tuneWorker(ctx context.Context, url string, workers int, idle time.Duration) error {
	version, err := programVersion()
	if err != nil {
		return err
	}
	var count atomic.Int64
	err = cluster.Work(ctx, url, cluster.WorkerConfig{
		Version: version, Slots: workers, Table: evaluatorTable, Idle: idle,
		Log:  func(text string) { a.screen.printf("%s", text) },
		Done: func() { count.Add(1) },
	})
	if cluster.IsIdle(err) {
		err = nil
	}
	if err != nil {
		return usageError{err}
	}
	if a.json {
		return a.printJSON(map[string]int64{"evaluations": count.Load()})
	}
	_, err = fmt.Fprintf(a.stdout, "%d evaluations done\n", count.Load())
	return err
}
