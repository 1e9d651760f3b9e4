package sim

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// Bounds of what one peer stores.
const (
	maxRecords   = 1 << 16 // keys of either kind
	maxProviders = 256     // of one key
	maxRecordLen = 64 << 10
)

// Validator judges records: the index of the best valid value under a key, the
// first of equals, -1 if none is valid.
type Validator interface {
	Best(key string, values [][]byte) int
}

// Numbered is the validator of simulated records: eight bytes of a big-endian
// number, then the content. The higher number wins, among equal numbers the
// larger content. It stands for the signed records of a real network, whose
// signatures cost time that is not modelled.
type Numbered struct{}

// Best returns the index of the best record.
func (Numbered) Best(_ string, values [][]byte) int {
	best := -1
	for i, v := range values {
		if len(v) >= 8 && len(v) <= maxRecordLen && (best < 0 || bytes.Compare(v, values[best]) > 0) {
			best = i
		}
	}
	return best
}

// Record makes a numbered record.
func Record(number uint64, content []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, number), content...)
}

// store is what one peer keeps for others, on virtual time.
type store struct {
	valid     Validator
	values    map[string]value
	providers map[string][]provider
}

type value struct {
	record  []byte
	expires time.Duration
}

// provider is a peer by its number: of all that is stored there are most of these.
type provider struct {
	expires time.Duration
	peer    int32
}

// value returns the record under a key, nil if there is none that lives.
func (s *store) value(now time.Duration, name string) []byte {
	if v, ok := s.values[name]; ok && now < v.expires {
		return v.record
	}
	return nil
}

// putValue keeps a valid record unless a better one is held.
func (s *store) putValue(now time.Duration, name string, record []byte, expires time.Duration) bool {
	old := s.value(now, name)
	if old == nil {
		if s.valid.Best(name, [][]byte{record}) != 0 {
			return false
		}
	} else if s.valid.Best(name, [][]byte{record, old}) != 0 {
		return false
	}
	if s.values == nil {
		s.values = map[string]value{}
	}
	if _, held := s.values[name]; !held && len(s.values) >= maxRecords {
		// The order of a map does not reach the result: all that expired go.
		for other, v := range s.values {
			if now >= v.expires {
				delete(s.values, other)
			}
		}
		if len(s.values) >= maxRecords {
			return false
		}
	}
	s.values[name] = value{record, expires}
	return true
}

// of returns who provides a key, in the order of their first announcement.
func (s *store) of(now time.Duration, name string) []int32 {
	var peers []int32
	for _, p := range s.providers[name] {
		if now < p.expires {
			peers = append(peers, p.peer)
		}
	}
	return peers
}

// putProvider remembers that a peer provides a key.
func (s *store) putProvider(now time.Duration, name string, peer int32, expires time.Duration) bool {
	list := slices.DeleteFunc(s.providers[name], func(p provider) bool { return now >= p.expires })
	for i := range list {
		if list[i].peer == peer {
			list[i].expires = expires
			s.providers[name] = list
			return true
		}
	}
	if s.providers == nil {
		s.providers = map[string][]provider{}
	}
	if len(list) >= maxProviders || len(list) == 0 && len(s.providers) >= maxRecords {
		return false
	}
	s.providers[name] = append(list, provider{expires, peer})
	return true
}
