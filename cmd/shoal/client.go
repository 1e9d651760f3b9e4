package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
)

// clientFlags are those of the commands that ask a network and end.
type clientFlags struct {
	network networkFlags
	timeout time.Duration
}

func (f *clientFlags) add(cmd *cobra.Command) {
	f.network.add(cmd)
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to try")
}

// check returns the network and whom to ask; also names more peers to ask.
func (f *clientFlags) check(also ...dht.PeerInfo) (prefix string, peers []dht.PeerInfo, err error) {
	if f.timeout <= 0 {
		return "", nil, usagef("--timeout %v: want more than nothing", f.timeout)
	}
	prefix, peers, err = f.network.resolve()
	if err != nil {
		return "", nil, err
	}
	if peers = append(peers, also...); len(peers) == 0 {
		return "", nil, usagef("whom to ask? give --bootstrap ADDRESS of a node, or --join DIR of one on this machine")
	}
	return prefix, peers, nil
}

// client is a short-lived peer that only asks.
type client struct {
	*dht.DHT
	ctx  context.Context // ends with the time that the user grants
	stop func()
}

// connect makes a client that has joined. The caller must stop it. It listens
// only where it is given addresses.
func (a *app) connect(ctx context.Context, f *clientFlags, prefix string, peers []dht.PeerInfo, listen ...string) (*client, error) {
	identity, err := dht.NewIdentity()
	if err != nil {
		return nil, err
	}
	host, err := dht.NewHost(identity, listen...)
	if err != nil {
		return nil, usageError{bare(err)}
	}
	timed, cancel := context.WithTimeout(ctx, f.timeout)
	node, err := dht.New(ctx, host, dht.WithPrefix(prefix), dht.WithMode(dht.ModeClient), dht.WithBootstrap(peers...))
	if err != nil {
		cancel()
		return nil, errors.Join(bare(err), host.Close())
	}
	shown := a.progress("asking the network", "", 0)
	c := &client{DHT: node, ctx: timed, stop: func() {
		shown.stop()
		cancel()
		if err := errors.Join(node.Close(), host.Close()); err != nil {
			a.log.Warn("the client did not end well", "error", err)
		}
	}}
	if err := c.Joined(timed); err != nil {
		c.stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("none of %d peers answers on %s: is one running, and is --prefix right?", len(peers), prefix)
	}
	return c, nil
}

// failed says why a question had no answer.
func (f *clientFlags) failed(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("no answer within %v", f.timeout)
	}
	return bare(err)
}

func newPingCommand(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "ping PEER|ADDRESS",
		Short: "Ask a peer whether it is there, and how fast",
		Example: `  shoal ping --join DIR 12D3KooW...
  shoal ping /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW...`,
		Args: wantArgs("PEER|ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.ping(cmd.Context(), &f, args[0]) },
	}
	f.add(cmd)
	return cmd
}

func (a *app) ping(ctx context.Context, f *clientFlags, text string) error {
	target, also, err := parsePingTarget(text)
	if err != nil {
		return err
	}
	prefix, peers, err := f.check(also...)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx, f, prefix, peers)
	if err != nil {
		return err
	}
	defer c.stop()
	if len(also) == 0 {
		if _, err := c.FindPeer(c.ctx, target); err != nil {
			return f.failed(ctx, fmt.Errorf("peer %s: %w", target, err))
		}
	}
	if _, err := c.Ping(c.ctx, target); err != nil { // makes the session
		return f.failed(ctx, err)
	}
	rtt, err := c.Ping(c.ctx, target)
	if err != nil {
		return f.failed(ctx, err)
	}
	if a.json {
		return a.printJSON(map[string]any{"peer": target.String(), "rtt_ms": float64(rtt) / float64(time.Millisecond)})
	}
	_, err = fmt.Fprintf(a.stdout, "%s answers in %v\n", target, rtt.Round(10*time.Microsecond))
	return err
}

// parsePingTarget reads a peer's name or full address.
func parsePingTarget(text string) (target dht.PeerID, at []dht.PeerInfo, err error) {
	if text != "" && text[0] == '/' {
		at, err = dht.ParsePeers(text)
		if err != nil {
			return "", nil, usageError{bare(err)}
		}
		return at[0].ID, at, nil
	}
	if target, err = dht.ParsePeerID(text); err != nil {
		return "", nil, usageError{bare(err)}
	}
	return target, nil, nil
}
