// Package sim is the simulated world.
//
// [RunEvents] drives the peers of package node, the very code of the libp2p
// world, in virtual time: latencies from a matrix, sessions, loss, stale
// entries, churn and a workload. It answers in milliseconds and bytes. A [World]
// does the same for peers of any protocols.
//
// Networks at rest, of which simpler and much larger simulations tell enough, are
// in package static.
//
// A run is a function of its configuration and seed alone: results do not depend
// on the number of workers, and a digest of everything that happened is the same
// for the same seed. Draws are keyed by what they belong to, never by the order of
// events, so that two configurations meet the same world.
package sim
