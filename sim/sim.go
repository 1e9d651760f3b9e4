// Package sim is the simulated world, in three modes that answer different
// questions.
//
// [RunRounds] counts hops and messages in a network at rest: everybody knows the
// whole network but keeps only a table, all requests of a round are sent and
// answered together, and nothing is lost. It restates a lookup as a tight loop
// over sorted identifiers, and follows the rules of the balanced-buckets
// experiment (probe-lab/network-measurements, RFM 19.1) to the letter.
//
// [RunLookups] measures lookups in such a network in milliseconds, at a million
// peers and more: each is a timeline of its own around the machine of package
// lookup.
//
// [RunEvents] drives the peers of package node, the very code of the libp2p
// world, in virtual time: latencies from a matrix, sessions, loss, stale
// entries, churn and a workload. It answers in milliseconds and bytes.
//
// [RunOnline] fills the tables of the first world, or of one with churn, by rules
// that choose online among those who come by.
//
// All are functions of their configuration and seed alone: results do not depend
// on the number of workers, and a digest of everything that happened is the same
// for the same seed. Draws are keyed by what they belong to, never by the order of
// events, so that two configurations meet the same world.
package sim
