package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
)

// inspectFile is the socket in a node's data directory on which it tells what it
// knows: one JSON object to whoever connects. The directory is its owner's alone.
const inspectFile = "inspect.sock"

const (
	inspectTimeout = 10 * time.Second
	inspectLimit   = 64 << 20 // bytes of an inspection
)

// answerInspections tells what a node knows to whoever asks until stop is called. A
// directory that cannot hold a socket does not keep a node from running.
func (a *app) answerInspections(node *dht.DHT, dir *dataDir) (stop func()) {
	path := dir.file(inspectFile)
	_ = os.Remove(path) // of a node that was killed: the directory is locked, so it is ours
	listener, err := net.Listen("unix", path)
	if err != nil {
		a.log.Warn("this node cannot be inspected", "error", err)
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			_ = conn.SetDeadline(time.Now().Add(inspectTimeout))
			if err := json.NewEncoder(conn).Encode(node.Inspect()); err != nil {
				a.log.Info("an inspection was not read", "error", err)
			}
			_ = conn.Close()
		}
	}()
	return func() {
		_ = listener.Close() // removes the socket
		<-ended
	}
}

// inspectFlags say what of an inspection is shown.
type inspectFlags struct {
	lookups bool
	peers   bool
	changes bool
	replay  int
}

func newInspectCommand(a *app) *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect DIR|FILE",
		Short: "What a running node knows, and what it did of late",
		Long: `Asks the node that runs on a data directory for its routing table by bucket, its
last lookups, and why peers were admitted or evicted. Or reads what was kept of
that: the output of --json in a file.`,
		Example: `  shoal inspect a                       health, buckets, last lookups and changes
  shoal inspect a --lookups             each request of the last lookups
  shoal inspect a --peers               everybody it knows, and why a member or not
  shoal inspect a --json > then.json    all of it, to look at later
  shoal inspect then.json --replay 1    run the newest lookup again from its log`,
		Args: wantArgs("DIR|FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd.Context(), &f, args[0]) },
	}
	cmd.Flags().BoolVar(&f.lookups, "lookups", false, "show the last lookups request by request")
	cmd.Flags().BoolVar(&f.peers, "peers", false, "show everybody whom the routing table knows")
	cmd.Flags().BoolVar(&f.changes, "changes", false, "show all changes of the routing table that are remembered")
	cmd.Flags().IntVar(&f.replay, "replay", 0, "run lookup `n` again from its log; 1 is the newest")
	cmd.MarkFlagsMutuallyExclusive("lookups", "peers", "changes", "replay")
	return cmd
}

func (a *app) inspect(ctx context.Context, f *inspectFlags, path string) error {
	if f.replay < 0 {
		return usagef("--replay %d: want 1 for the newest lookup, 2 for the one before", f.replay)
	}
	in, err := readInspection(ctx, path)
	if err != nil {
		return err
	}
	switch {
	case f.replay > 0:
		return a.replayLookup(in, f.replay)
	case a.json:
		return a.printJSON(in)
	case f.lookups:
		return writeRequests(a.stdout, in)
	case f.peers:
		return writePeers(a.stdout, in)
	case f.changes:
		return writeTableChanges(a.stdout, in.Changes)
	}
	return writeInspection(a.stdout, in)
}

// readInspection asks the node of a directory, or reads a file.
func readInspection(ctx context.Context, path string) (*dht.Inspection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usagef("inspect: %w", err)
	}
	var from io.ReadCloser
	if info.IsDir() {
		if from, err = dialInspection(ctx, path); err != nil {
			return nil, err
		}
	} else if from, err = os.Open(path); err != nil {
		return nil, usagef("inspect: %w", err)
	}
	defer func() { _ = from.Close() }()
	var in dht.Inspection
	if err := json.NewDecoder(io.LimitReader(from, inspectLimit)).Decode(&in); err != nil {
		if info.IsDir() {
			return nil, fmt.Errorf("the node of %s did not tell all: %w", path, err)
		}
		return nil, usagef("%s is not what shoal inspect --json prints: %w", path, err)
	}
	return &in, nil
}

func dialInspection(ctx context.Context, dir string) (io.ReadCloser, error) {
	d := net.Dialer{Timeout: inspectTimeout}
	conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, inspectFile))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the node of %s belongs to another user: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("no node runs on %s: start one with shoal node --data %s", dir, quote(dir))
	}
	return conn, conn.SetDeadline(time.Now().Add(inspectTimeout))
}

// writeInspection shows the whole at a glance.
func writeInspection(w io.Writer, in *dht.Inspection) error {
	h := &in.Health
	if _, err := fmt.Fprintf(w, `peer %s, up %v
health %d of 100: %s of its places filled, %s of the members likely gone, %s of its requests answered
%d members of about %d peers; %d requests served, %d refused, %d sent
%s; %d since the start

`, in.Peer, time.Duration(in.UpS*float64(time.Second)).Round(time.Second),
		h.Score, percent(h.Fill), percent(h.Stale), percent(h.Answered), h.Contacts, h.NetworkSize, h.Served, h.Refused, h.Sent,
		recentLookups(&h.Lookups), h.Total); err != nil {
		return err
	}
	if err := writeBuckets(w, in.Buckets); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\nlast lookups, newest first"); err != nil {
		return err
	}
	if err := writeLookupList(w, in.Lookups); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\nlast changes, newest first"); err != nil {
		return err
	}
	const glance = 8
	return writeTableChanges(w, in.Changes[max(len(in.Changes)-glance, 0):])
}

func recentLookups(h *dht.LookupHealth) string {
	if h.Count == 0 {
		return "no lookups in the last minutes"
	}
	return fmt.Sprintf("%d lookups in the last minutes, p50 %s ms, p99 %s ms, %d without success",
		h.Count, significant(h.P50), significant(h.P99), h.Failed)
}

func writeBuckets(w io.Writer, buckets []dht.Bucket) error {
	t := newTextTable("bucket", "members", "places", "spares", "requests", "answered", "stale", "age s", "silence s", "rtt ms")
	for _, b := range buckets {
		if b.Members+b.Spares == 0 && b.Requests == 0 {
			continue
		}
		t.add(strconv.Itoa(b.Bucket), strconv.Itoa(b.Members), strconv.Itoa(b.Places), strconv.Itoa(b.Spares), strconv.FormatUint(b.Requests, 10),
			percent(b.Success), percent(b.Stale), significant(b.Age.Median), significant(b.Silence.Median), significant(b.RTT.Median))
	}
	return t.write(w)
}

func writeLookupList(w io.Writer, lookups []dht.Lookup) error {
	t := newTextTable("n", "at", "ms", "what", "requests", "hops", "outcome", "key")
	for i := range lookups {
		l := &lookups[len(lookups)-1-i]
		t.add(strconv.Itoa(i+1), l.Began.Format(time.TimeOnly), significant(l.TookMs), l.Op, strconv.Itoa(l.Messages), strconv.Itoa(l.Hops), outcomeOf(l), l.Key)
	}
	return t.write(w)
}

func outcomeOf(l *dht.Lookup) string {
	switch {
	case l.Why != "":
		return l.Why
	case l.Found:
		return "found"
	}
	return "not found"
}

// writeRequests shows every lookup request by request.
func writeRequests(w io.Writer, in *dht.Inspection) error {
	for i := range in.Lookups {
		l := &in.Lookups[len(in.Lookups)-1-i]
		if err := writeLookup(w, i+1, l); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

func writeLookup(w io.Writer, n int, l *dht.Lookup) error {
	whose := ""
	if l.Own {
		whose = ", of its own accord"
	}
	if _, err := fmt.Fprintf(w, "%d: %s %s at %s%s, %s ms: %s\n", n, l.Op, l.Key, l.Began.Format(time.TimeOnly), whose, significant(l.TookMs), outcomeOf(l)); err != nil {
		return err
	}
	t := newTextTable("asked ms", "peer", "hop", "place", "because", "named by", "expected ms", "took ms", "outcome", "named", "new")
	for i := range l.Requests {
		r := &l.Requests[i]
		by, took := "own table", "-"
		if r.By != "" {
			by = tail(r.By)
		}
		if r.EndedMs > 0 {
			took = significant(r.EndedMs - r.AskedMs)
		}
		outcome := r.Outcome
		if r.Late {
			outcome += ", late"
		}
		t.add(significant(r.AskedMs), tail(r.Peer), strconv.Itoa(r.Hops), strconv.Itoa(r.Place), r.Why, by, significant(r.PredictedMs), took,
			outcome, strconv.Itoa(len(r.Named)), strconv.Itoa(r.New))
	}
	if len(l.Requests) > 0 {
		if err := t.write(w); err != nil {
			return err
		}
	}
	for _, s := range l.Stores {
		said := "open"
		if s.EndedMs > 0 {
			said = map[bool]string{true: "yes", false: "no"}[s.OK] + " after " + significant(s.EndedMs-s.AskedMs) + " ms"
		}
		if _, err := fmt.Fprintf(w, "at %s ms %s: %s\n", significant(s.AskedMs), tail(s.Peer), said); err != nil {
			return err
		}
	}
	return nil
}

func writePeers(w io.Writer, in *dht.Inspection) error {
	t := newTextTable("bucket", "peer", "member", "because", "rtt ms", "silence s", "failures")
	for _, c := range in.Peers {
		member, rtt := "no", "-"
		if c.Member {
			member = "yes"
		}
		if c.RTTMs > 0 {
			rtt = significant(c.RTTMs)
		}
		t.add(strconv.Itoa(c.Bucket), c.Peer, member, c.Why, rtt, significant(c.SilenceS), strconv.Itoa(c.Failures))
	}
	return t.write(w)
}

// writeTableChanges shows changes of the table, newest first.
func writeTableChanges(w io.Writer, changes []dht.Change) error {
	t := newTextTable("at", "peer", "", "because")
	for i := range changes {
		c := &changes[len(changes)-1-i]
		what := "left"
		if c.Member {
			what = "entered"
		}
		t.add(c.At.Format(time.TimeOnly), c.Peer, what, c.Why)
	}
	return t.write(w)
}

// replayLookup runs a lookup again and says whether it asks the same.
func (a *app) replayLookup(in *dht.Inspection, n int) error {
	if n > len(in.Lookups) {
		return usagef("--replay %d: %d lookups are remembered", n, len(in.Lookups))
	}
	l := &in.Lookups[len(in.Lookups)-n]
	if len(l.Logs) == 0 {
		return usagef("--replay %d: a %s without a lookup", n, l.Op)
	}
	requests, cut := 0, false
	var err error
	for _, log := range l.Logs {
		steps, _, differs := log.Replay()
		requests, cut, err = requests+len(steps), cut || log.Cut, errors.Join(err, differs)
	}
	if a.json {
		return errors.Join(err, a.printJSON(map[string]any{"op": l.Op, "key": l.Key, "same": err == nil, "requests": requests, "cut": cut}))
	}
	if err := writeLookup(a.stdout, n, l); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	whole := ""
	if cut {
		whole = ", as far as the log goes"
	}
	_, err = fmt.Fprintf(a.stdout, "run again from its log it asks the same %d peers in the same order%s\n", requests, whole)
	return err
}

// tail returns the end of a peer's name, which tells peers apart.
func tail(name string) string { return name[max(len(name)-10, 0):] }

func percent(x float64) string { return significant(100*x) + " %" }
