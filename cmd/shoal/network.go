package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
)

// networkFlags say which network a peer belongs to and whom it joins.
type networkFlags struct {
	bootstrap []string
	join      string
	prefix    string
}

const (
	localPrefix = "/shoal/local"
	public      = "public" // as a bootstrap address
)

func (f *networkFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.bootstrap, "bootstrap", nil, "full `address` of a peer to join, may be repeated; \"public\" joins the public IPFS network")
	cmd.Flags().StringVar(&f.join, "join", "", "data `directory` of a node on this machine to join")
	cmd.Flags().StringVar(&f.prefix, "prefix", localPrefix, "`name` of the network: /shoal/ and lower-case letters, digits, hyphens")
}

var prefixForm = regexp.MustCompile(`^/shoal/[a-z0-9-]+$`)

// resolve returns the network and the peers to join; none if no flag names one.
// Only the word "public" leads to the public network.
func (f *networkFlags) resolve() (prefix string, peers []dht.PeerInfo, err error) {
	if slices.Contains(f.bootstrap, public) {
		switch {
		case len(f.bootstrap) > 1 || f.join != "":
			return "", nil, usagef("--bootstrap public: joins another network than the other peers, give it alone")
		case f.prefix != localPrefix && f.prefix != dht.PublicPrefix:
			return "", nil, usagef("--prefix %s: the public network's is %s, drop it", f.prefix, dht.PublicPrefix)
		}
		return dht.PublicPrefix, dht.PublicPeers(), nil
	}
	if f.prefix == dht.PublicPrefix {
		return "", nil, usagef("--prefix %s: that is the public network, join it with --bootstrap public", f.prefix)
	}
	if !prefixForm.MatchString(f.prefix) {
		return "", nil, usagef("--prefix %q: want /shoal/ and lower-case letters, digits, hyphens", f.prefix)
	}
	addresses := slices.Clone(f.bootstrap)
	if f.join != "" {
		lines, err := readLines(filepath.Join(f.join, addressFile))
		if err != nil {
			return "", nil, usagef("--join %s: no node has written its address there: %w", f.join, err)
		}
		addresses = append(addresses, lines...)
	}
	peers, err = dht.ParsePeers(addresses...)
	if err != nil {
		return "", nil, usageError{bare(err)}
	}
	return f.prefix, peers, nil
}

// anywhere are the addresses that a peer listens on if none are given: free
// ports of all interfaces.
func anywhere() []string {
	listen := []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"}
	if probe, err := net.ListenPacket("udp6", "[::1]:0"); err == nil && probe.Close() == nil {
		listen = append(listen, "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0")
	}
	return listen
}

// bareError is an error of package shoal without the prefix that it shares with
// the command.
type bareError struct{ err error }

func (e bareError) Error() string { return strings.TrimPrefix(e.err.Error(), "shoal: ") }
func (e bareError) Unwrap() error { return e.err }

func bare(err error) error {
	if err == nil {
		return nil
	}
	return bareError{err}
}

// peerRow is a peer for machines. Its JSON names are stable.
type peerRow struct {
	Peer      string   `json:"peer"`
	Addresses []string `json:"addresses"`
}

func rowOf(info dht.PeerInfo) peerRow {
	row := peerRow{Peer: info.ID.String(), Addresses: []string{}}
	for _, addr := range info.Addrs {
		row.Addresses = append(row.Addresses, addr.String())
	}
	return row
}

// readLines returns the lines of a file that are not empty.
func readLines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// joinTimeout bounds one attempt to reach peers known from an earlier run.
const joinTimeout = 10 * time.Second
