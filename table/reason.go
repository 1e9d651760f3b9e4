package table

// Reason says why a peer is a member of its bucket, or why it is not.
type Reason uint8

// The reasons. Those up to Unrivalled are why somebody is a member.
const (
	unchosen   Reason = iota
	ByRoom            // there is room for all that answer
	ByAge             // it is known longest
	ByTime            // it answers fastest
	ByBalance         // it spreads the members over the bucket's range
	Unrivalled        // it failed when last asked, but nobody else wants the place
	Silent            // it never answered
	Failing           // it failed when last asked
	Crowded           // its address group has its share of the places
	Surpassed         // the admission prefers others
	Dropped           // it failed too often, or was more likely gone than not
	Withdrew          // it serves no more
)

var reasons = []string{
	"", "room for all", "known longest", "answers fastest", "balances the bucket", "failing, unrivalled",
	"never answered", "failing", "group is crowded", "others preferred", "failed too often", "serves no more",
}

// String returns the reason in a few words.
func (r Reason) String() string { return reasons[r] }

// Member reports whether it is a reason to be a member.
func (r Reason) Member() bool { return r >= ByRoom && r <= Unrivalled }

// Reasons says of everybody whom a bucket knows, in the order of Bucket, why the
// admission chooses it or not. It chooses anew, so that it may be ahead of the
// members for a moment.
func (t *Table) Reasons(b int) []Reason {
	if b < 0 || b >= len(t.buckets) {
		return nil
	}
	k := &t.buckets[b]
	t.count(k, -1)
	chosen := t.choose(b)
	t.count(k, 1)
	for i := range chosen {
		chosen[i] = k.reason(i, chosen[i])
	}
	return chosen
}

// reason completes the outcome of a choice for the contact at place i.
func (k *bucket) reason(i int, chosen Reason) Reason {
	c := &k.pool[i]
	switch {
	case chosen != unchosen:
		return chosen
	case !c.answered:
		return Silent
	case c.failures > 0:
		return Failing
	}
	return Surpassed
}
