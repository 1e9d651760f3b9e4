package sim

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/shoalnet/shoal/stat"
)

// Popularity says how often records are asked for, by their rank. Their keys are
// hashes of their names, so it has nothing to do with where they lie. Nil means
// all alike. It is immutable and may be shared.
type Popularity struct {
	// Name describes it in results.
	Name string
	upTo []float64 // weight of all records up to and including one
}

// maxRecordRanks bounds the records of a Popularity.
const maxRecordRanks = 1 << 24

// Zipf returns the popularity of n records in which the one of rank r has a
// weight of r to the power of -s (Zipf 1949; 0.99 is the habit of benchmarks since
// YCSB, SoCC 2010). An exponent of 0 makes all alike.
func Zipf(n int, s float64) (*Popularity, error) {
	if n < 1 || n > maxRecordRanks || !(s >= 0 && s <= 10) {
		return nil, fmt.Errorf("sim: Zipf of %d records with exponent %v: want 1 to %d records, and 0 to 10", n, s, maxRecordRanks)
	}
	p := &Popularity{Name: fmt.Sprintf("zipf:%g", s), upTo: make([]float64, n)}
	total := 0.0
	for i := range p.upTo {
		total += math.Pow(float64(i+1), -s)
		p.upTo[i] = total
	}
	return p, nil
}

// ReadPopularity reads a trace of requests, one key a line, and returns how often
// each is asked for: as many records as the trace has keys. Their order in time is
// not kept. Lines that begin with # are ignored.
func ReadPopularity(r io.Reader, name string) (*Popularity, error) {
	times := map[string]int{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if key := strings.TrimSpace(lines.Text()); key != "" && key[0] != '#' {
			times[key]++
		}
		if len(times) > maxRecordRanks {
			return nil, fmt.Errorf("sim: a trace of more than %d keys", maxRecordRanks)
		}
	}
	if err := lines.Err(); err != nil || len(times) == 0 {
		return nil, fmt.Errorf("sim: a trace of requests: %w", cmp.Or(err, errors.New("no key")))
	}
	counts := make([]int, 0, len(times))
	for _, n := range times { // sorted below
		counts = append(counts, n)
	}
	slices.SortFunc(counts, func(a, b int) int { return cmp.Compare(b, a) })
	p := &Popularity{Name: name}
	total := 0.0
	for _, n := range counts {
		total += float64(n)
		p.upTo = append(p.upTo, total)
	}
	return p, nil
}

// Records returns the number of records.
func (p *Popularity) Records() int { return len(p.upTo) }

// Draw returns the rank of a record, counted from 0, with one draw.
func (p *Popularity) Draw(from *stat.Stream) int { return p.draw(from, p.Records()) }

// draw returns a record of n, with one draw.
func (p *Popularity) draw(from *stat.Stream, n int) int {
	if p == nil {
		return from.IntN(n)
	}
	total := p.upTo[len(p.upTo)-1]
	return min(sort.SearchFloat64s(p.upTo, from.Float64()*total), len(p.upTo)-1)
}
