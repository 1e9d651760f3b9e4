package sim

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/shoalnet/shoal/stat"
)

// Session is a time during which a peer is online, in seconds from the start of a
// trace, End not included. A peer may have several.
type Session struct {
	Peer       uint32
	Start, End int64
}

// ReadSessions reads a trace of sessions: CSV with a header that names at least
// the columns peer, start_s and end_s, all whole numbers. Sessions that were cut
// off by the ends of the recording count as they stand. An error begins with
// "sim: sessions: " and names the line.
func ReadSessions(r io.Reader) ([]Session, error) {
	rows := csv.NewReader(r)
	header, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("sim: sessions: no header: %w", err)
	}
	columns := [3]int{}
	for i, name := range []string{"peer", "start_s", "end_s"} {
		if columns[i] = slices.Index(header, name); columns[i] < 0 {
			return nil, fmt.Errorf("sim: sessions: line 1: no column %s: want peer, start_s and end_s", name)
		}
	}
	var sessions []Session
	for line := 2; ; line++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("sim: sessions: %w", err)
		}
		peer, err1 := strconv.ParseUint(row[columns[0]], 10, 32)
		start, err2 := strconv.ParseInt(row[columns[1]], 10, 48)
		end, err3 := strconv.ParseInt(row[columns[2]], 10, 48)
		if errors.Join(err1, err2, err3) != nil || start < 0 || end <= start {
			return nil, fmt.Errorf("sim: sessions: line %d: %v: want a peer, a start of 0 or more and a later end", line, row)
		}
		sessions = append(sessions, Session{Peer: uint32(peer), Start: start, End: end})
	}
	if len(sessions) == 0 {
		return nil, errors.New("sim: sessions: the trace has no session")
	}
	return sessions, nil
}

// stepSeconds is how often members are asked whether they are still there, and
// the length of a step of presence.
const stepSeconds = 600

// presence says who is there at each step of a world. Identifiers are those of
// everybody who ever is.
type presence struct {
	pop *population
	// rosters are the ranks of those who are there when a step begins, in order.
	// A world at rest has one step.
	rosters [][]uint32
	// online are those who are there when lookups begin, half a step after the
	// beginning of the last, so that entries are as stale as in the mean.
	online []uint32
	spans  [][2]int64 // sorted by rank; nil: all are there for ever
	first  []uint32   // first[r] to first[r+1]: the spans of rank r
}

// atRest is a world without churn.
func atRest(peers int, seed uint64) *presence {
	pop := newPopulation(peers, seed)
	return &presence{pop: pop, rosters: [][]uint32{pop.ranks}, online: pop.ranks}
}

// renewed is a world of places whose peers stay for Weibull times and are
// replaced by newcomers, from the steady state on.
func renewed(peers, steps int, churn Churn, seed uint64) *presence {
	end := int64(steps) * stepSeconds
	residual := run{cfg: EventsConfig{Churn: churn, Seed: seed}}
	var sessions []Session
	for place := range peers {
		draw := stat.NewStream(seed, "sim.session", uint64(place))
		leaves := int64(residual.residual(place).Seconds()) + 1
		for start := int64(0); start < end; {
			sessions = append(sessions, Session{Peer: uint32(len(sessions)), Start: start, End: leaves})
			start = leaves
			leaves += int64(draw.Weibull(churn.Shape, churn.Scale.Seconds())) + 1
		}
	}
	return replayed(sessions, steps, 0, seed)
}

// replayed is the part of a trace that begins at a time. Each of its peers gets
// an identifier, which it keeps when it comes back.
func replayed(sessions []Session, steps int, begin int64, seed uint64) *presence {
	end := begin + int64(steps)*stepSeconds
	numbers := map[uint32]uint32{} // of the peers of this part, in order of the trace
	var part []Session
	for _, s := range sessions {
		if s.Start < end && s.End > begin {
			if _, known := numbers[s.Peer]; !known {
				numbers[s.Peer] = uint32(len(numbers))
			}
			part = append(part, Session{Peer: numbers[s.Peer], Start: s.Start - begin, End: s.End - begin})
		}
	}
	rank := stat.NewStream(seed, "sim.ranks").Perm(len(numbers))
	for i := range part {
		part[i].Peer = uint32(rank[part[i].Peer])
	}
	slices.SortStableFunc(part, func(a, b Session) int { return cmp.Compare(a.Peer, b.Peer) })
	p := &presence{pop: newPopulation(len(numbers), seed), first: make([]uint32, len(numbers)+1)}
	for _, s := range part {
		p.spans = append(p.spans, [2]int64{s.Start, s.End})
		p.first[s.Peer+1]++
	}
	for r := range len(numbers) {
		p.first[r+1] += p.first[r]
	}
	for step := range steps {
		p.rosters = append(p.rosters, p.present(int64(step)*stepSeconds))
	}
	p.online = p.present(p.lookupsAt())
	return p
}

// there reports whether a peer is online at a time.
func (p *presence) there(rank uint32, at int64) bool {
	if p.spans == nil {
		return true
	}
	for _, span := range p.spans[p.first[rank]:p.first[rank+1]] {
		if span[0] <= at && at < span[1] {
			return true
		}
	}
	return false
}

// present lists those who are online at a time, in order.
func (p *presence) present(at int64) (ranks []uint32) {
	for _, rank := range p.pop.ranks {
		if p.there(rank, at) {
			ranks = append(ranks, rank)
		}
	}
	return ranks
}

// lookupsAt is when lookups begin.
func (p *presence) lookupsAt() int64 { return int64(len(p.rosters)-1)*stepSeconds + stepSeconds/2 }

// joins returns the step from which a peer that is online in the end has had a
// table: the first one of its present session.
func (p *presence) joins(rank uint32) int {
	if p.spans == nil {
		return 0
	}
	for _, span := range p.spans[p.first[rank]:p.first[rank+1]] {
		if span[0] <= p.lookupsAt() && p.lookupsAt() < span[1] {
			return min(int(max(span[0], 0)+stepSeconds-1)/stepSeconds, len(p.rosters)-1)
		}
	}
	return len(p.rosters) - 1
}

// candidates returns who of a step's roster belongs into a bucket of a peer.
func (p *presence) candidates(step int, peer uint32, b int) []uint32 {
	lo, hi := p.pop.bucket(peer, b)
	if p.spans == nil {
		return p.rosters[step][lo:hi]
	}
	from, _ := slices.BinarySearch(p.rosters[step], lo)
	to, _ := slices.BinarySearch(p.rosters[step], hi)
	return p.rosters[step][from:to]
}
