package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
	"github.com/shoalnet/shoal/pilot/fleet"
	"github.com/shoalnet/shoal/pilot/fleet/twin"
	"github.com/shoalnet/shoal/tune"
	rules "github.com/shoalnet/shoal/tune/fleet"
)

// fleetDir and tuneDir are where a node's data directory keeps what tuning must know.
const (
	fleetDir = "fleet"
	tuneDir  = "tune"
)

func newFleetCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Keys, passes, status and orders of nodes that are tuned together",
		Long: `A fleet is nodes of one network that one of them tunes: whoever holds a lease that
goes round among those with the fleet's private key. Everybody checks for itself what
it is told. See shoal node --fleet.`,
		Example: `  shoal fleet key fleet.key                        make the key, print the public one
  shoal fleet pass --key fleet.key 12D3KooW...     admit the measurements of a node
  shoal fleet status --join a PUBLICKEY
  shoal fleet order --join a --key fleet.key hold`,
	}
	cmd.AddCommand(newFleetKeyCommand(a), newFleetPassCommand(a), newFleetStatusCommand(a), newFleetOrderCommand(a))
	return cmd
}

func newFleetKeyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Make the private key of a fleet, where there is none, and print the public one",
		Example: `  shoal fleet key fleet.key
  shoal node --data a --fleet $(shoal fleet key fleet.key) --fleet-key fleet.key`,
		Args: wantArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := dht.OpenIdentity(args[0])
			if err != nil {
				return bare(err)
			}
			name, err := dht.FleetName(key)
			if err != nil {
				return bare(err)
			}
			if a.json {
				return a.printJSON(map[string]string{"fleet": name, "file": args[0]})
			}
			_, err = fmt.Fprintln(a.stdout, name)
			return err
		},
	}
}

// readKey reads the private key of a fleet, which must be there.
func readKey(path string) (dht.Identity, error) {
	if path == "" {
		return nil, usagef("--key: want the file of the fleet's private key, shoal fleet key FILE makes one")
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("%s: there is no key, shoal fleet key FILE makes one", path)
	}
	key, err := dht.OpenIdentity(path)
	return key, bare(err)
}

func newFleetPassCommand(a *app) *cobra.Command {
	var file string
	var days int
	cmd := &cobra.Command{
		Use:   "pass PEER",
		Short: "Print a pass: with it the measurements of a node count",
		Example: `  shoal fleet pass --key fleet.key 12D3KooW... > pass
  shoal node --data b --fleet PUBLICKEY --fleet-pass pass`,
		Args: wantArgs("PEER"),
		RunE: func(_ *cobra.Command, args []string) error {
			if days < 1 {
				return usagef("--days %d: want 1 or more", days)
			}
			id, err := dht.ParsePeerID(args[0])
			if err != nil {
				return usageError{bare(err)}
			}
			key, err := readKey(file)
			if err != nil {
				return err
			}
			expires := time.Now().AddDate(0, 0, days).UTC().Truncate(time.Second)
			pass, err := dht.FleetPass(key, id, expires)
			if err != nil {
				return bare(err)
			}
			text := base64.StdEncoding.EncodeToString(pass)
			if a.json {
				return a.printJSON(map[string]any{"pass": text, "peer": id.String(), "expires": expires})
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "key", "", "`file` of the fleet's private key")
	cmd.Flags().IntVar(&days, "days", 365, "for how long it is valid")
	return cmd
}

func newFleetStatusCommand(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:     "status PUBLICKEY",
		Short:   "Show who coordinates a fleet, what is good and what is tried",
		Example: `  shoal fleet status --join a $(shoal fleet key fleet.key)`,
		Args:    wantArgs("PUBLICKEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFleet(args[0]); err != nil {
				return err
			}
			return a.askFleet(cmd.Context(), &f, func(c *client) (dht.FleetReport, error) { return c.FleetStatus(c.ctx, args[0]) })
		},
	}
	f.add(cmd)
	return cmd
}

// fleetOrders are those that a coordinator takes.
var fleetOrders = []tune.Order{
	tune.OrderOptimize, tune.OrderHold, tune.OrderResume, tune.OrderRollBack, tune.OrderPromote, tune.OrderApprove, tune.OrderInterrupt,
}

func newFleetOrderCommand(a *app) *cobra.Command {
	var f clientFlags
	var file, try string
	cmd := &cobra.Command{
		Use:   "order ORDER",
		Short: "Give whoever coordinates a fleet an order, signed with its key",
		Long: fmt.Sprintf(`The orders are %s. What they mean is in docs/tuning.md; one that has no meaning just
now is passed on and does nothing.`, orderNames()),
		Example: `  shoal fleet order --join a --key fleet.key roll_back
  shoal fleet order --join a --key fleet.key optimize --try lookup.alpha=8`,
		Args: wantArgs("ORDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(fleetOrders, tune.Order(args[0])) {
				return usagef("order %q: want one of %s", args[0], orderNames())
			}
			if err := checkTry(try); err != nil {
				return err
			}
			if try != "" && args[0] != string(tune.OrderOptimize) {
				return usagef("--try: only optimize tries something")
			}
			key, err := readKey(file)
			if err != nil {
				return err
			}
			return a.askFleet(cmd.Context(), &f, func(c *client) (dht.FleetReport, error) {
				r, err := c.OrderFleet(c.ctx, key, args[0], try)
				if err == nil && !r.Obeyed {
					err = errors.New("nobody took the order: does anybody coordinate, and has it listened for some intervals? see shoal fleet status")
				}
				return r, err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "key", "", "`file` of the fleet's private key")
	cmd.Flags().StringVar(&try, "try", "", "`NAME=VALUE` to try, at most a step away from what is good; with optimize")
	return cmd
}

// checkTry says what is wrong with a change.
func checkTry(text string) error {
	if _, err := dht.Knobs().Parse(dht.Knobs().Default(), text); err != nil {
		return usagef("--try %s: %w", text, err)
	}
	return nil
}

// checkFleet says what is wrong with the name of a fleet, before anything is started.
func checkFleet(name string) error {
	if _, err := rules.ParseName(name); err != nil {
		return usagef("%w: shoal fleet key prints it", err)
	}
	return nil
}

func orderNames() string {
	names := make([]string, len(fleetOrders))
	for i, o := range fleetOrders {
		names[i] = string(o)
	}
	return strings.Join(names, ", ")
}

// askFleet makes a short-lived peer ask, and shows the answer.
func (a *app) askFleet(ctx context.Context, f *clientFlags, ask func(*client) (dht.FleetReport, error)) error {
	prefix, peers, err := f.check()
	if err != nil {
		return err
	}
	if prefix == dht.PublicPrefix {
		return usagef("--bootstrap public: the public network has no fleets")
	}
	c, err := a.connect(ctx, f, prefix, peers)
	if err != nil {
		return err
	}
	defer c.stop()
	r, err := ask(c)
	if err != nil {
		return f.failed(ctx, err)
	}
	if a.json {
		return a.printJSON(r)
	}
	_, err = fmt.Fprint(a.stdout, fleetText(r))
	return err
}

// fleetText is a report for people.
func fleetText(r dht.FleetReport) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	now := time.Duration(time.Now().UnixNano())
	switch {
	case r.Lease == nil:
		say("nobody has ever coordinated this fleet here")
		return b.String()
	case now >= r.Lease.Expires:
		say("nobody coordinates: the lease of term %d ran out %v ago", r.Lease.Term, (now - r.Lease.Expires).Round(time.Second))
	default:
		say("coordinator %s, term %d, for %v", dht.FleetPeer(r.Lease.Holder), r.Lease.Term, (r.Lease.Expires - now).Round(time.Second))
	}
	if r.Silent != "" {
		say("it does not answer: %s", r.Silent)
	}
	if t := r.Bulletin; t != nil {
		say("bulletin %v, %v old", t.Rank, (now - t.From).Round(time.Second))
		say("good %s\n%s", t.GoodHash, indent(t.Good))
		if t.Trial != nil {
			say("tried in stage %d, by %.3g %% of the %s: %s\n%s", t.Trial.Stage, 100*t.Trial.StageShare, unitsOf[t.Trial.Scope], t.Trial.CandidateHash, indent(t.Trial.Candidate))
		}
	}
	if s := r.Status; s != nil {
		say("%d peers report, %.3g lookups/s; %s", s.Peers, s.RatePerS, stateText(s.State))
		if s.Refusing > 0 {
			say("%d peers refuse, one because %s", s.Refusing, s.Why)
		}
		for _, line := range s.Journal {
			say("  %s", line)
		}
	}
	return b.String()
}

// unitsOf are the words for what is split, by scope.
var unitsOf = [...]string{"lookups", "peers", "time"}

// stateText is the state of a service in words.
func stateText(s tune.ServiceState) string {
	if s == "" {
		return "the coordinator only listens yet"
	}
	return string(s)
}

func indent(text string) string {
	if text == "" {
		return "  the defaults"
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}

// tuneFlags are the flags of shoal node that have it tuned.
type tuneFlags struct {
	fleet, key, pass string
	preset           string
	interval, skew   time.Duration
	try              []string
	local            string
	probe            int
}

func (f *tuneFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.fleet, "fleet", "", "be tuned with the fleet of a `public key`, see shoal fleet")
	cmd.Flags().StringVar(&f.key, "fleet-key", "", "`file` of the fleet's private key: contend for being its coordinator")
	cmd.Flags().StringVar(&f.pass, "fleet-pass", "", "`file` with a pass of the fleet: what is measured here counts")
	cmd.Flags().StringVar(&f.preset, "fleet-preset", "shoal", "stages and errors of a contender's rollouts: "+presetNames())
	cmd.Flags().DurationVar(&f.interval, "tune-interval", 0, "measure for so long at a time, for trials in a laboratory (default: that of the preset)")
	cmd.Flags().DurationVar(&f.skew, "fleet-skew", 30*time.Second, "by how much the clocks of two nodes may differ")
	cmd.Flags().StringArrayVar(&f.try, "try", nil, "`NAME=VALUE` to try first, may be repeated; with --tune local")
	cmd.Flags().StringVar(&f.local, "tune", "off", "off, or local: tune this node by itself, from its own lookups")
	cmd.Flags().IntVar(&f.probe, "probe", 0, "look up so many random keys a minute, to measure on")
}

func presetNames() string {
	var names []string
	for _, p := range tune.Presets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// check says what is wrong with the flags.
func (f *tuneFlags) check(prefix string) error {
	switch {
	case f.local != "off" && f.local != "local":
		return usagef("--tune %q: want off or local", f.local)
	case f.local == "local" && f.fleet != "":
		return usagef("--tune local and --fleet: a node is tuned by itself or by a fleet, choose one")
	case f.fleet == "" && (f.key != "" || f.pass != ""):
		return usagef("--fleet-key and --fleet-pass are for --fleet PUBLICKEY")
	case f.fleet != "" && prefix == dht.PublicPrefix:
		return usagef("--fleet: the public network has no fleets, choose another --prefix")
	case len(f.try) > 0 && f.local != "local":
		return usagef("--try is for --tune local; a fleet is told by shoal fleet order optimize --try")
	case f.probe < 0 || f.probe > 6000:
		return usagef("--probe %d: want 0 to 6000", f.probe)
	case f.interval != 0 && (f.interval < time.Second || f.interval > time.Hour):
		return usagef("--tune-interval %v: want 1s to 1h", f.interval)
	case f.skew <= 0:
		return usagef("--fleet-skew %v: want more than nothing", f.skew)
	}
	if f.fleet != "" {
		if err := checkFleet(f.fleet); err != nil {
			return err
		}
	}
	if _, err := tune.PresetNamed(f.preset); err != nil {
		return usageError{err}
	}
	for _, text := range f.try {
		if err := checkTry(text); err != nil {
			return err
		}
	}
	return nil
}

// begin has a node tuned as the flags say. The node ends it. It returns the contender
// that the node is, nil if it is none.
func (f *tuneFlags) begin(ctx context.Context, a *app, node *dht.DHT, dir string) (*fleet.Coordinator, error) {
	if f.probe > 0 {
		go node.Probe(ctx, time.Minute/time.Duration(f.probe))
	}
	say := func(format string, args ...any) { a.screen.printf(format, args...) }
	if f.local == "local" {
		_, err := node.TuneLocally(dht.LocalOptions{Dir: filepath.Join(dir, tuneDir), Interval: f.interval, Try: f.try, Say: say})
		return nil, bare(err)
	}
	if f.fleet == "" {
		return nil, nil
	}
	o := dht.FleetOptions{Fleet: f.fleet, Dir: filepath.Join(dir, fleetDir), Preset: f.preset, Interval: f.interval, Skew: f.skew, Say: say}
	var err error
	if f.key != "" {
		steps := &fleet.Steps{Knobs: fleet.Proposed(dht.Knobs()), Seed: rand.Uint64()}
		o.Propose = &twin.Search{Then: steps, Workers: max(1, runtime.NumCPU()/2), Seed: steps.Seed, Say: say}
		if o.Key, err = readKey(f.key); err != nil {
			return nil, err
		}
	}
	if f.pass != "" {
		text, err := os.ReadFile(f.pass)
		if err != nil {
			return nil, usagef("--fleet-pass: %w", err)
		}
		if o.Pass, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err != nil {
			return nil, usagef("--fleet-pass %s: not a pass of shoal fleet pass: %w", f.pass, err)
		}
	}
	joined, err := node.JoinFleet(o)
	if err != nil {
		return nil, bare(err)
	}
	return joined.Coordinator(), nil
}
