package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Namespace is that of the records of fleets in an overlay.
const Namespace = "shoal-fleet"

// The records of a fleet.
const (
	recordLease    = "lease"
	recordBulletin = "bulletin"
)

// LeaseKey returns where a fleet's lease lies.
func LeaseKey(fleet Name) string { return recordKey(fleet, recordLease) }

// BulletinKey returns where a fleet's last bulletin lies.
func BulletinKey(fleet Name) string { return recordKey(fleet, recordBulletin) }

func recordKey(fleet Name, record string) string {
	return "/" + Namespace + "/" + fleet.String() + "/" + record
}

// maxAhead is how far the clock of who signed a record may be ahead of that of who
// keeps it.
const maxAhead = 5 * time.Minute

// Validator judges the records of fleets for the peers that keep them, who need not
// belong to any: they must be signed by the fleet that the key names. A lease or
// bulletin that has run out is still kept, for its rank: who comes next must know the
// last term. It is a record.Validator of libp2p.
type Validator struct {
	// Now is the wall clock, since the Unix epoch.
	Now func() time.Duration
}

// Validate reports a record that its fleet has not signed, or from the future.
func (v Validator) Validate(key string, value []byte) error {
	_, from, err := rankOf(key, value)
	if err == nil && v.Now != nil && from > v.Now()+maxAhead {
		err = fmt.Errorf("fleet: the record under %s begins in the future: do the clocks agree?", key)
	}
	return err
}

// Select returns the record of the highest rank; of equal ones that of the larger
// bytes, so that all choose alike.
func (v Validator) Select(key string, values [][]byte) (int, error) {
	best := -1
	var top Rank
	for i, value := range values {
		rank, _, err := rankOf(key, value)
		if err != nil {
			continue
		}
		if c := rank.Compare(top); best < 0 || c > 0 || c == 0 && bytes.Compare(value, values[best]) > 0 {
			best, top = i, rank
		}
	}
	if best < 0 {
		return 0, errors.New("fleet: no valid record to select from")
	}
	return best, nil
}

// rankOf opens a record under its key.
func rankOf(key string, value []byte) (r Rank, from time.Duration, err error) {
	rest, ok := strings.CutPrefix(key, "/"+Namespace+"/")
	text, name, found := strings.Cut(rest, "/")
	if !ok || !found {
		return Rank{}, 0, fmt.Errorf("fleet: key %q: want /%s/<fleet>/<record>", key, Namespace)
	}
	fleet, err := ParseName(text)
	if err != nil {
		return Rank{}, 0, err
	}
	switch {
	case fleet.String() != text:
		return Rank{}, 0, errName // one record, one key
	case name == recordLease:
		l, err := OpenLease(fleet, value)
		return l.Rank, l.Granted, err
	case name == recordBulletin:
		b, err := OpenBulletin(fleet, value)
		return b.Rank, b.From, err
	}
	return Rank{}, 0, fmt.Errorf("fleet: key %q: unknown record %q", key, name)
}
