package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/shoalnet/shoal/stat"
)

// Sessions are those of a trace of real peers. How long they last is estimated
// from those whose start was seen, by Kaplan and Meier (JASA 1958): a session
// that was still open when the observation ended counts as longer than what was
// seen of it. It is immutable and may be shared.
type Sessions struct {
	spans   []span
	upTo    []float64 // peer-seconds of the spans up to and including one
	lengths []time.Duration
	ended   []float64 // share of the sessions that are no longer than a length
}

// span is what was seen of one session.
type span struct {
	from, to    time.Duration
	left, right bool // its start, its end was not seen
}

// maxSessions bounds what ReadSessions takes.
const maxSessions = 1 << 22

// ReadSessions reads a table of sessions as comma-separated values. The first
// line names the columns: start_s and end_s, in seconds, and left_censored and
// right_censored, 1 where that end of the session was not seen; others are
// ignored.
func ReadSessions(r io.Reader) (*Sessions, error) {
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		return nil, fmt.Errorf("sim: no sessions: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
	}
	var columns [4]int
	header := strings.Split(lines.Text(), ",")
	for i, name := range [...]string{"start_s", "end_s", "left_censored", "right_censored"} {
		if columns[i] = slices.Index(header, name); columns[i] < 0 {
			return nil, fmt.Errorf("sim: a table of sessions without the column %s in its first line", name)
		}
	}
	s := &Sessions{}
	for n := 2; lines.Scan(); n++ {
		var v [4]float64
		fields := strings.Split(lines.Text(), ",")
		for i, c := range columns {
			var err error
			if c >= len(fields) {
				return nil, fmt.Errorf("sim: line %d of the sessions has %d columns, the first line %d", n, len(fields), len(header))
			}
			if v[i], err = strconv.ParseFloat(fields[c], 64); err != nil || !(v[i] >= 0 && v[i] < 1e10) {
				return nil, fmt.Errorf("sim: line %d of the sessions: %q is not a number of seconds", n, fields[c])
			}
		}
		if v[1] < v[0] || len(s.spans) == maxSessions {
			return nil, fmt.Errorf("sim: line %d of the sessions: an end before its start, or more than %d sessions", n, maxSessions)
		}
		if v[1] > v[0] {
			second := float64(time.Second)
			s.spans = append(s.spans, span{time.Duration(v[0] * second), time.Duration(v[1] * second), v[2] != 0, v[3] != 0})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("sim: sessions: %w", err)
	}
	return s, s.estimate()
}

// estimate fills in the distribution of lengths.
func (s *Sessions) estimate() error {
	var seen []span // from its start
	total := 0.0
	for _, x := range s.spans {
		total += (x.to - x.from).Seconds()
		s.upTo = append(s.upTo, total)
		if !x.left {
			seen = append(seen, span{to: x.to - x.from, right: x.right})
		}
	}
	slices.SortFunc(seen, func(a, b span) int { return int(a.to - b.to) })
	alive := 1.0
	for i := 0; i < len(seen); {
		ended, next := 0, i
		for ; next < len(seen) && seen[next].to == seen[i].to; next++ {
			if !seen[next].right {
				ended++
			}
		}
		if ended > 0 {
			alive *= 1 - float64(ended)/float64(len(seen)-i)
			s.lengths, s.ended = append(s.lengths, seen[i].to), append(s.ended, 1-alive)
		}
		i = next
	}
	if len(s.lengths) == 0 {
		return errors.New("sim: no session whose start and end were seen")
	}
	return nil
}

// length returns the length that a share u of the sessions does not exceed. Who
// outlives all that were seen to end stays for ever.
func (s *Sessions) length(u float64) time.Duration {
	if i := sort.SearchFloat64s(s.ended, u); i < len(s.lengths) {
		return s.lengths[i]
	}
	return forever
}

// residual draws a moment of all peers' time in the trace, and returns how much
// was left of that peer's session. Where the end was not seen, it goes on as
// sessions of that length do.
func (s *Sessions) residual(draw *stat.Stream) time.Duration {
	u, at, more := draw.Float64(), draw.Float64(), draw.Float64()
	total := s.upTo[len(s.upTo)-1]
	x := s.spans[min(sort.SearchFloat64s(s.upTo, u*total), len(s.spans)-1)]
	length := x.to - x.from
	rest := time.Duration((1 - at) * float64(length))
	if x.right {
		ended := 0.0
		if i := sort.Search(len(s.lengths), func(i int) bool { return s.lengths[i] > length }); i > 0 {
			ended = s.ended[i-1]
		}
		whole := s.length(ended + float64((1-ended)*more))
		if whole == forever {
			return forever
		}
		rest += max(whole-length, 0)
	}
	return rest
}
