package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
)

// parseContent reads what can be provided: a CID, or the key of a value, which
// stands for the raw block with its hash.
func parseContent(text string) (cid.Cid, error) {
	if !strings.HasPrefix(text, "/") {
		c, err := cid.Decode(text)
		if err != nil {
			return cid.Undef, usagef("%q: want a CID, or a key such as /sha256/<hex>: %w", text, err)
		}
		return c, nil
	}
	if err := checkKey(text); err != nil {
		return cid.Undef, err
	}
	digest, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	if digits, isHash := strings.CutPrefix(text, "/sha256/"); isHash {
		raw, hexErr := hex.DecodeString(digits)
		if hexErr != nil {
			return cid.Undef, usagef("key %q: %w", text, hexErr)
		}
		digest, err = multihash.Encode(raw, multihash.SHA2_256)
	}
	if err != nil {
		return cid.Undef, err
	}
	return cid.NewCidV1(cid.Raw, digest), nil
}

// checkKey reports a key under which our own networks hold nothing.
func checkKey(key string) error {
	switch {
	case strings.HasPrefix(key, "/sha256/"):
		digits := strings.TrimPrefix(key, "/sha256/")
		if raw, err := hex.DecodeString(digits); err != nil || len(raw) != 32 || strings.ToLower(digits) != digits {
			return usagef("key %q: want 64 lower-case hexadecimal digits after /sha256/", key)
		}
	case strings.HasPrefix(key, "/signed/"):
		if _, _, err := dht.ParseSignedKey(key); err != nil {
			return usageError{bare(err)}
		}
	default:
		return usagef("key %q: want /sha256/<hex> or /signed/<peer>/<name>", key)
	}
	return nil
}

func newProvideCommand(a *app) *cobra.Command {
	var f clientFlags
	var listen []string
	cmd := &cobra.Command{
		Use:   "provide KEY|CID",
		Short: "Say that this machine has something, again and again until Ctrl-C",
		Example: `  shoal provide --join DIR bafkreifogwleegorwjf3uefc7ouvkgqgegoxaguph77w5advbue7j45usu
  shoal provide --join DIR /sha256/<hex>`,
		Args: wantArgs("KEY|CID"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.provide(cmd.Context(), &f, listen, args[0]) },
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&listen, "listen", nil, "`multiaddr` to be found at, may be repeated (default: QUIC and TCP on a free port of all interfaces)")
	return cmd
}

func (a *app) provide(ctx context.Context, f *clientFlags, listen []string, text string) error {
	content, err := parseContent(text)
	if err != nil {
		return err
	}
	prefix, peers, err := f.check()
	if err != nil {
		return err
	}
	if len(listen) == 0 {
		listen = anywhere()
	}
	c, err := a.connect(ctx, f, prefix, peers, listen...)
	if err != nil {
		return err
	}
	defer c.stop()
	stored, err := c.KeepProviding(c.ctx, content)
	if err != nil {
		return f.failed(ctx, err)
	}
	at := make([]string, len(stored))
	for i, id := range stored {
		at[i] = id.String()
	}
	self := c.Host().ID().String()
	if a.json {
		err = a.printJSON(map[string]any{"cid": content.String(), "peer": self, "stored": at})
	} else {
		_, err = fmt.Fprintf(a.stdout, "%s is provided by %s, stored at\n  %s\n", content, self, strings.Join(at, "\n  "))
	}
	if err != nil {
		return err
	}
	a.screen.printf("providing until Ctrl-C")
	<-ctx.Done()
	return nil
}

func newFindCommand(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "find KEY|CID|PEER",
		Short: "Find who has something, or where a peer is",
		Example: `  shoal find --join DIR bafkreifogwleegorwjf3uefc7ouvkgqgegoxaguph77w5advbue7j45usu
  shoal find --join DIR 12D3KooW...`,
		Args: wantArgs("KEY|CID|PEER"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.find(cmd.Context(), &f, args[0]) },
	}
	f.add(cmd)
	return cmd
}

func (a *app) find(ctx context.Context, f *clientFlags, text string) error {
	target, content, err := parseFindTarget(text)
	if err != nil {
		return err
	}
	prefix, peers, err := f.check()
	if err != nil {
		return err
	}
	c, err := a.connect(ctx, f, prefix, peers)
	if err != nil {
		return err
	}
	defer c.stop()
	if target != "" {
		info, err := c.FindPeer(c.ctx, target)
		if err != nil {
			return f.failed(ctx, fmt.Errorf("peer %s: %w", target, err))
		}
		row := rowOf(info)
		if a.json {
			return a.printJSON(row)
		}
		_, err = fmt.Fprintln(a.stdout, strings.Join(row.Addresses, "\n"))
		return err
	}
	found, err := c.FindProviders(c.ctx, content)
	if len(found) == 0 {
		if err == nil {
			err = fmt.Errorf("nobody provides %s", text)
		}
		return f.failed(ctx, err)
	}
	return a.printProviders(content, found)
}

func (a *app) printProviders(content cid.Cid, found []dht.PeerInfo) error {
	rows := make([]peerRow, len(found))
	for i, info := range found {
		rows[i] = rowOf(info)
	}
	if a.json {
		return a.printJSON(map[string]any{"cid": content.String(), "providers": rows})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(a.stdout, "%s\n  %s\n", row.Peer, strings.Join(row.Addresses, "\n  ")); err != nil {
			return err
		}
	}
	return nil
}

// parseFindTarget reads a peer's name, or what can be provided. A name that
// begins with Qm is a CID; as a peer's it is written /p2p/Qm....
func parseFindTarget(text string) (target dht.PeerID, content cid.Cid, err error) {
	name, isPeer := strings.CutPrefix(text, "/p2p/")
	if isPeer {
		if target, err = dht.ParsePeerID(name); err != nil {
			err = usageError{bare(err)}
		}
		return target, cid.Undef, err
	}
	if target, err = dht.ParsePeerID(text); err == nil && !strings.HasPrefix(text, "Qm") {
		return target, cid.Undef, nil
	}
	if content, err = parseContent(text); err != nil && !strings.HasPrefix(text, "/") {
		err = usagef("%q: want a peer id, a CID, or a key such as /sha256/<hex>", text)
	}
	return "", content, err
}
