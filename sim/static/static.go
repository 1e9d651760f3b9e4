// Package static simulates lookups in a network at rest: nobody joins or leaves,
// and whom a peer knows follows from the seed. It answers two questions.
//
// [RunRounds] counts hops and messages: everybody knows the whole network but keeps
// only a table, all requests of a round are sent and answered together, and nothing
// is lost. It restates a lookup as a tight loop over sorted identifiers, and
// follows the rules of the balanced-buckets experiment
// (probe-lab/network-measurements, RFM 19.1) to the letter.
//
// [RunLookups] measures milliseconds, at a million peers and more: each lookup is a
// timeline of its own around the machine of package lookup.
//
// Both are functions of their configuration and seed alone: results do not depend
// on the number of workers, and a digest of everything that happened is the same
// for the same seed. Draws are keyed by what they belong to, so that two
// configurations meet the same world. Tables that are chosen online are in package
// online.
package static
