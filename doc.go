// Package shoal is a distributed hash table for libp2p: a drop-in
// routing.Routing that speaks /ipfs/kad/1.0.0 with the peers that are already
// there, and every tunable of which is a declared knob.
//
//	dht, err := shoal.New(ctx, host, shoal.WithBootstrap(peers...))
//
// # The idea
//
// What a peer decides is a pure machine with three verbs: Ask it what to do, do
// it, Tell it what happened; Wake says when to ask again. The machine (package
// node) owns no clock, no goroutine, no socket and no dice. This package puts it
// on a libp2p host by way of package p2p; package sim puts the very same code
// into virtual time. So what was measured in the simulator is what runs here.
//
// # Differences from go-libp2p-kad-dht
//
// The methods, errors and options are those of its IpfsDHT. Differences that a
// caller can see:
//
//   - A lookup returns only peers that answered in this lookup, and walks on
//     until k have. Records are stored on peers that took them.
//   - No lookup waits for a dead peer: a request that is late frees its place,
//     and a cold hop takes two round trips instead of three.
//   - Operations that start before the first attempt to join has ended wait for
//     it, so that New may be followed by a lookup at once.
//   - Without bootstrap peers nothing is joined, least of all the public network.
//
// # Networks
//
// The prefix names the network. "/ipfs", the default, is the public one, with its
// two namespaces "pk" and "ipns", public addresses only, and its limits on peers
// of one address group. Any other prefix, by custom "/shoal/<name>", is a
// network of its own; its values live under "pk", "sha256" (HashValidator),
// "signed" (SignedValidator) and what WithValidator adds. Peers of different
// prefixes do not see each other.
//
// A peer of the public network tells nobody of private addresses. NewDual makes a
// second one for the local network beside it, as go-libp2p-kad-dht's package dual
// does; for Kubo see the module interop.
//
// # Knobs
//
// Knobs returns every tunable of a peer with its range, unit and meaning of
// zero. A knob.Config is one immutable value of them: WithKnobs starts a peer
// with it, Configure puts another in force while it runs.
package shoal
