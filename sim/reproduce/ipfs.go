package reproduce

import (
	"context"
	"fmt"
	"math"

	"github.com/shoalnet/shoal/sim/static"
)

// Measurements of the IPFS network by ProbeLab, results/ of
// github.com/probe-lab/network-measurements.
const (
	liveness = "RFM 17, 10,000 CIDs in July 2022"
	tables   = "RFM 19, 28 crawls in April 2022"
)

const (
	holders   = 15_380 // distinct holders of records in RFM 17
	reachable = 15_371 // peers that answered a crawl of RFM 19, on average
	bucket    = 20
)

// unanswering is the share of the 20 closest peers that RFM 17 could not reach, in
// the median: 2 of 20.
const unanswering = 0.1

// walk is the whole lookup of an IPFS client among as many peers as RFM 17 found,
// with or without further ones that are in tables but gone.
func walk(ctx context.Context, b *bench, stale float64) (counts, error) {
	r, err := b.run(ctx, static.RoundsConfig{
		Peers: int(math.Round(holders / (1 - stale))), Stale: stale,
		Mode: static.FindNode, Replies: static.ClosestReplies, Lookups: 50_000,
	})
	return r.HopsHistogram, err
}

// fill counts the peers by the entries of some of their buckets, which hold
// whoever there is up to room.
func (b *bench) fill(ctx context.Context, from, to, room int) (counts, error) {
	return b.keep(fmt.Sprintf("fill %d %d %d", from, to, room), func() (counts, error) {
		nets := b.networksOf(reachable)
		return spread(ctx, len(nets)*reachable, b.Workers, func(i int) int {
			ids, at := nets[i%len(nets)], from+i%(to-from+1)
			lo, hi := ids.subtree(ids[i/len(nets)]^1<<(63-at), at+1)
			return min(hi-lo, room)
		})
	})
}

// bucketOf counts the peers by the bucket of their nth closest other peer.
func (b *bench) bucketOf(ctx context.Context, nth int) (counts, error) {
	nets := b.networksOf(reachable)
	return spread(ctx, reachable, b.Workers, func(i int) int {
		ids := nets[i%len(nets)]
		return prefix(ids.closest(ids[i], nth+1)[nth], ids[i])
	})
}

func ipfsFigures() []Figure {
	const everybody = 1 << 20 // no limit of a bucket
	const still = "nobody leaves in this world and nobody is unreachable; the field study had both"
	entries := func(from, to, room int) measure {
		return func(ctx context.Context, b *bench) (value, error) {
			c, err := b.fill(ctx, from, to, room)
			return c.average(), err
		}
	}
	closest := func(nth int) measure {
		return func(ctx context.Context, b *bench) (value, error) {
			c, err := b.bucketOf(ctx, nth)
			return c.average(), err
		}
	}
	hops := func(q, stale float64) measure {
		return func(ctx context.Context, b *bench) (value, error) {
			c, err := walk(ctx, b, stale)
			v := c.quantile(q)
			v.histogram = c
			return v, err
		}
	}
	return []Figure{
		{Name: "ipfs walk hops, median", Source: liveness + ", figure 7", Grade: Read, Relation: Equal, Published: 4, Tolerance: 1, cost: 50, measure: hops(0.5, 0)},
		{Name: "ipfs walk hops, p90", Source: liveness + ", figure 7", Grade: Read, Relation: Equal, Published: 6, Tolerance: 1, Note: still, measure: hops(0.9, 0)},
		{Name: "ipfs walk hops with 10 % gone, median", Source: liveness + ", figure 7", Grade: Read, Relation: Equal, Published: 4, Tolerance: 1, cost: 100, measure: hops(0.5, unanswering)},
		{Name: "ipfs walk hops with 10 % gone, p90", Source: liveness + ", figure 7", Grade: Read, Relation: Equal, Published: 6, Tolerance: 1, measure: hops(0.9, unanswering)},
		{
			Name: "ipfs % of walks over within 4 hops", Source: liveness + ", figure 8: the 20 closest are discovered by then", Grade: Read,
			Relation: AtLeast, Published: 95, Note: "a walk ends after it has discovered them, so this is the harder of the two",
			measure: func(ctx context.Context, b *bench) (value, error) {
				c, err := walk(ctx, b, 0)
				return c.percent(0, 4), err
			},
		},
		{
			Name: "ipfs % of buckets 0-8 full", Source: tables + " (98.06 %)", Grade: Chosen, Relation: AtLeast, Published: 95,
			measure: func(ctx context.Context, b *bench) (value, error) {
				c, err := b.fill(ctx, 0, 8, bucket)
				return c.percent(bucket, bucket), err
			},
		},
		{Name: "ipfs entries of buckets 0-8", Source: tables, Grade: Read, Relation: Equal, Published: 19.88, Tolerance: 0.2, Note: still, measure: entries(0, 8, bucket)},
		{Name: "ipfs candidates of bucket 9", Source: tables + ": N/2^10", Grade: Theory, Relation: Equal, Published: reachable / 1024.0, Tolerance: 0.05, measure: entries(9, 9, everybody)},
		{Name: "ipfs entries of bucket 9", Source: tables, Grade: Read, Relation: Equal, Published: 14.16, Tolerance: 1.416, Note: still, measure: entries(9, 9, bucket)},
		{Name: "ipfs candidates of bucket 13", Source: tables + ": N/2^14", Grade: Theory, Relation: Equal, Published: reachable / 16384.0, Tolerance: 0.05, measure: entries(13, 13, everybody)},
		{Name: "ipfs entries of bucket 13", Source: tables, Grade: Read, Relation: Equal, Published: 0.908, Tolerance: 0.0908, Note: still, measure: entries(13, 13, bucket)},
		{Name: "ipfs bucket of the closest peer", Source: tables, Grade: Read, Relation: Equal, Published: 14, Tolerance: 0.5, measure: closest(1)},
		{Name: "ipfs bucket of the 20th closest peer", Source: tables, Grade: Read, Relation: Equal, Published: 9, Tolerance: 0.5, measure: closest(20)},
	}
}
