package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/store"
)

// maxRoster is the upper end of the knob roster.peers.
const maxRoster = 4 * dht.RosterLimit

// nodeFlags are the flags of shoal node.
type nodeFlags struct {
	network  networkFlags
	listen   []string
	dir      string
	mode     string
	compress int
	roster   int
	ui       string
	tune     tuneFlags
}

func newNodeCommand(a *app) *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run one peer of a network until Ctrl-C",
		Long: `Runs one peer of a real network, alone until somebody joins it or with those that
it is told to join. Its data directory keeps its identity, its records and the
peers that it knew, so that it comes back as the same peer.`,
		Example: `  shoal node --data a                       the first peer of a network
  shoal node --data b --join a              a second one on this machine
  shoal node --bootstrap ADDRESS            one on another machine
  shoal node --roster 25000                 one that knows all others, for short ways
  shoal node --bootstrap public             a peer of the public IPFS network
  shoal node --data a --ui 127.0.0.1:0      look into it with a browser
  shoal node --data a --fleet PUBLICKEY     one that a fleet tunes, see shoal fleet
  shoal node --tune local --probe 30        one that tunes itself`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.node(cmd.Context(), f) },
	}
	f.network.add(cmd)
	f.tune.add(cmd)
	uiFlag(cmd, &f.ui, "the peer")
	cmd.Flags().StringArrayVar(&f.listen, "listen", nil, "`multiaddr` to listen on, may be repeated (default: QUIC and TCP on a free port of all interfaces)")
	cmd.Flags().IntVar(&f.compress, "compress", 0, "zstd level of records on disk, 1 to 4; 0 keeps them as they are. Records are read whatever it is")
	cmd.Flags().StringVar(&f.dir, "data", "", "`directory` for identity, records and known peers (default: a new temporary one, printed)")
	cmd.Flags().StringVar(&f.mode, "mode", "auto", "auto, auto-server, server or client: whether to serve others")
	cmd.Flags().IntVar(&f.roster, "roster", 0, fmt.Sprintf("know all `peers` of the network, up to so many: most gets then take one contact; 0: the routing table alone, %d is a good choice", dht.RosterLimit))
	return cmd
}

func modeOf(text string) (dht.Mode, error) {
	modes := map[string]dht.Mode{
		"auto": dht.ModeAuto, "auto-server": dht.ModeAutoServer, "server": dht.ModeServer, "client": dht.ModeClient,
	}
	mode, ok := modes[text]
	if !ok {
		return 0, usagef("--mode %q: want auto, auto-server, server or client", text)
	}
	return mode, nil
}

// node runs a peer until the context ends.
func (a *app) node(ctx context.Context, f nodeFlags) (err error) {
	prefix, peers, err := f.network.resolve()
	if err != nil {
		return err
	}
	mode, err := modeOf(f.mode)
	if err != nil {
		return err
	}
	switch {
	case f.compress < 0 || f.compress > 4:
		return usagef("--compress %d: want 0 to 4", f.compress)
	case f.roster < 0 || f.roster > maxRoster:
		return usagef("--roster %d: want 0 to %d", f.roster, maxRoster)
	case f.roster > 0 && prefix == dht.PublicPrefix:
		return usagef("--roster: the public network is too large for it, drop one of the flags")
	}
	if err := errors.Join(checkUI(f.ui), f.tune.check(prefix)); err != nil {
		return err
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "shoal-node-"); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	dir, err := openDir(f.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	host, err := dir.host(f.listen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	records, err := compressed(dir, f.compress)
	if err != nil {
		return err
	}
	options := []dht.Option{
		dht.WithPrefix(prefix), dht.WithMode(mode), dht.WithDatastore(records), dht.WithBootstrap(peers...), dht.WithRoster(f.roster),
	}
	metrics := prometheus.NewRegistry()
	if f.ui != "" {
		options = append(options, dht.WithMetrics(metrics))
	}
	// It outlives Ctrl-C until we have saved whom it knows.
	node, err := dht.New(context.WithoutCancel(ctx), host, options...)
	if err != nil {
		return bare(err)
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if err := dir.save(node); err != nil {
		return err
	}
	head, err := f.tune.begin(ctx, a, node, dir.path)
	if err != nil {
		return err
	}
	window, err := a.openNodeWindow(f.ui, node, newFleetView(head, f.tune.preset), prefix, dir.path, metrics)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, window.close()) }()
	if err := a.introduce(node, prefix, dir.path, window); err != nil {
		return err
	}
	return a.keepNode(ctx, node, dir, len(peers) > 0)
}

// compressed returns the records of a directory, compressed by a level.
func compressed(dir *dataDir, level int) (*store.Compressed, error) {
	set, err := knobSet()
	if err != nil {
		return nil, err
	}
	return store.Compress(dir.records, store.SettingsOf(set.Default().WithNumber("store.compression_level", float64(level))))
}

// host makes the node's host: on the given addresses, on those of the last time,
// or on free ports.
func (d *dataDir) host(listen []string) (dht.Host, error) {
	if len(listen) > 0 {
		h, err := dht.NewHost(d.identity, listen...)
		if err != nil {
			return nil, usageError{bare(err)}
		}
		return h, nil
	}
	if len(d.listen) > 0 {
		if h, err := dht.NewHost(d.identity, d.listen...); err == nil {
			return h, nil // else somebody else has a port by now
		}
	}
	h, err := dht.NewHost(d.identity, anywhere()...)
	return h, bare(err)
}

// introduce prints where the node is and how to join it.
func (a *app) introduce(node *dht.DHT, prefix, dir string, window *window) error {
	addresses, err := dht.Addresses(node.Host())
	if err != nil {
		return bare(err)
	}
	suffix := ""
	if prefix != localPrefix {
		suffix = " --prefix " + prefix
	}
	join := "shoal node --join " + quote(dir) + suffix
	if best := farthest(addresses); best != "" && prefix != dht.PublicPrefix {
		join = "shoal node --bootstrap " + best + suffix
	}
	if a.json {
		shown := map[string]any{
			"peer": node.Host().ID().String(), "addresses": addresses, "prefix": prefix, "data": dir, "join": join,
		}
		if window != nil {
			shown["window"] = window.url
		}
		return a.printJSON(shown)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "peer of %s\n", prefix)
	for _, address := range addresses {
		fmt.Fprintf(&b, "  %s\n", address)
	}
	fmt.Fprintf(&b, "data in %s\njoin it with\n  %s\n", dir, join)
	if strings.Contains(join, "--bootstrap") {
		fmt.Fprintf(&b, "  shoal node --join %s%s   (on this machine)\n", quote(dir), suffix)
	}
	_, err = fmt.Fprint(a.stdout, b.String())
	return err
}

// farthest returns the address that reaches farthest: one that is not of this
// machine alone, else any.
func farthest(addresses []string) string {
	best := ""
	for _, address := range addresses {
		parts := strings.Split(address, "/") // "", "ip4", "127.0.0.1", ...
		if len(parts) < 3 {
			continue
		}
		if ip := net.ParseIP(parts[2]); ip != nil && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			return address
		}
		if best == "" {
			best = address
		}
	}
	return best
}

const (
	saveEvery   = time.Minute
	healthEvery = 30 * time.Second // where standard error is not a terminal
)

// keepNode shows how the node is and saves whom it knows until the context ends.
func (a *app) keepNode(ctx context.Context, node *dht.DHT, dir *dataDir, joins bool) error {
	defer a.answerInspections(node, dir)()
	rejoin(ctx, node, dir)
	every := healthEvery
	if a.screen.terminal {
		every = time.Second
		defer a.screen.paint("")
	}
	show, save := time.NewTicker(every), time.NewTicker(saveEvery)
	defer show.Stop()
	defer save.Stop()
	began, last := time.Now(), node.Health()
	for {
		select {
		case <-ctx.Done():
			return dir.save(node)
		case <-save.C:
			a.saveNode(node, dir)
			rejoin(ctx, node, dir)
		case <-show.C:
			now := node.Health()
			if now.Contacts != last.Contacts {
				a.saveNode(node, dir)
			}
			line := healthLine(last, now, every, time.Since(began))
			if joins && now.Contacts == 0 {
				line += ", nobody joined yet"
			}
			if a.screen.terminal {
				a.screen.paint(line)
			} else {
				a.screen.printf("%s", line)
			}
			last = now
		}
	}
}

func (a *app) saveNode(node *dht.DHT, dir *dataDir) {
	if err := dir.save(node); err != nil {
		a.log.Warn("what the node knows was not saved", "error", err)
	}
}

// healthLine is what an operator sees between two looks.
func healthLine(last, now dht.Health, between, up time.Duration) string {
	rate := func(from, to uint64) string { return significant(float64(to-from) / between.Seconds()) }
	lookups := "no lookups"
	if n := now.Lookups.Count; n > 0 {
		lookups = fmt.Sprintf("%d lookups p50 %s ms", n, significant(now.Lookups.P50)) // of the last minutes
	}
	return fmt.Sprintf("health %d: %d of ~%d peers, %s stale, %s, %s/s in, %s/s out, %v",
		now.Score, now.Contacts, now.NetworkSize, percent(now.Stale), lookups, rate(last.Served, now.Served), rate(last.Sent, now.Sent), up.Round(time.Second))
}

// rejoin connects to the peers of an earlier run if the node knows nobody.
// Nobody waits for it: whoever answers enters the table.
func rejoin(ctx context.Context, node *dht.DHT, dir *dataDir) {
	if len(dir.contacts) == 0 || len(node.Contacts()) > 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, joinTimeout)
		defer cancel()
		_ = node.Join(ctx, dir.contacts...) // tried again in a minute
	}()
}
