// Package fleet is what lets many peers be tuned by one of them: a lease that one
// of several contenders holds, bulletins with the configuration that it signs, the
// peers' own judgement of them, and reports that count once and only so much. It is
// rules and words alone; package p2p carries the words, package pilot/fleet drives.
//
// A lease in a distributed hash table is no mutual exclusion: two may hold it at once
// for a while. Safety comes from ranks. Every lease and bulletin has one, ranks are
// totally ordered, and a peer only ever goes forward in them: two coordinators can
// make it change its mind once, not back and forth. See docs/design/007-fleet.md.
//
// Times are those of the wall clock, since the Unix epoch: they cross machines. A
// driver passes its own; no two clocks may differ by more than the skew that all
// machines are given.
package fleet
