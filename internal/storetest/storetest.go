// Package storetest is the one suite that every store of a node passes, whatever
// world keeps it: maps in the simulator, datastores in p2p. Orders and traces
// are not compared, only what a node may rely on.
package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node"
)

// Store is what a world answers node.Load, node.Save and node.Check with.
type Store interface {
	// Load returns at most one value, or the providers.
	Load(store node.Store, k string) (values [][]byte, peers []key.ID)
	// Save reports whether the record was taken.
	Save(store node.Store, k string, value []byte, peer key.ID) bool
	// Check returns the index of the best valid value, -1 for none.
	Check(k string, values [][]byte) int
	// Advance lets the world's clock run.
	Advance(d time.Duration)
}

// Limits are what a store under test was made with.
type Limits struct {
	ValueBytes  int           // the longest value that is taken
	Providers   int           // the most providers of a key
	ValueAge    time.Duration // a value is gone after
	ProviderAge time.Duration // a provider is gone after
}

// Validate is the validator that the store under test must use: a value is
// "number:anything" under a key that begins with "/v/".
func Validate(k string, value []byte) error {
	if !strings.HasPrefix(k, "/v/") {
		return fmt.Errorf("storetest: key %q: want one that begins with /v/", k)
	}
	_, err := number(value)
	return err
}

// Select is the rule that goes with Validate: the largest number is the best.
func Select(_ string, values [][]byte) (int, error) {
	best, top := -1, -1
	for i, value := range values {
		if n, err := number(value); err == nil && n > top {
			best, top = i, n
		}
	}
	if best < 0 {
		return 0, errors.New("storetest: no valid value")
	}
	return best, nil
}

func number(value []byte) (int, error) {
	digits, _, _ := strings.Cut(string(value), ":")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("storetest: value %.20q: want number:anything", value)
	}
	return n, nil
}

// Run puts a new store through each case. Peers are named 1 to n by name, which
// must make them known to the world. It starts no subtests, so that a world in
// virtual time can run it inside a bubble of testing/synctest.
func Run(t *testing.T, limits Limits, name func(n int) key.ID, open func(t *testing.T) Store) {
	t.Helper()
	for _, c := range []struct {
		what string
		run  func(Store, Limits, func(int) key.ID) error
	}{
		{"an empty store holds nothing", empty},
		{"a value is kept", kept},
		{"the better value wins", better},
		{"invalid values are refused", invalid},
		{"a long value is refused", long},
		{"a value expires", valueExpires},
		{"providers are kept by key", providers},
		{"a provider expires unless renewed", providerExpires},
		{"a key has so many providers", crowded},
		{"check finds the best valid value", check},
	} {
		if err := c.run(open(t), limits, name); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// value returns what is held under a key, "" for nothing.
func value(s Store, k string) string {
	values, _ := s.Load(node.Values, k)
	if len(values) == 0 {
		return ""
	}
	return string(values[0])
}

func put(s Store, k, v string) bool { return s.Save(node.Values, k, []byte(v), key.ID{}) }

func provide(s Store, k string, peer key.ID) bool { return s.Save(node.Providers, k, nil, peer) }

func provided(s Store, k string) []key.ID {
	_, peers := s.Load(node.Providers, k)
	slices.SortFunc(peers, key.ID.Compare)
	return peers
}

func sorted(ids ...key.ID) []key.ID {
	slices.SortFunc(ids, key.ID.Compare)
	return ids
}

func empty(s Store, _ Limits, _ func(int) key.ID) error {
	values, peers := s.Load(node.Values, "/v/x")
	if len(values)+len(peers) > 0 || len(provided(s, "x")) > 0 {
		return errors.New("it holds something")
	}
	return nil
}

func kept(s Store, l Limits, _ func(int) key.ID) error {
	if !put(s, "/v/x", "1:a") || value(s, "/v/x") != "1:a" {
		return fmt.Errorf("got %q", value(s, "/v/x"))
	}
	if value(s, "/v/y") != "" {
		return errors.New("it is found under another key")
	}
	s.Advance(l.ValueAge / 2)
	if value(s, "/v/x") != "1:a" {
		return errors.New("it is gone after half its age")
	}
	return nil
}

func better(s Store, _ Limits, _ func(int) key.ID) error {
	if !put(s, "/v/x", "5") || !put(s, "/v/x", "7") {
		return errors.New("a better value was refused")
	}
	if put(s, "/v/x", "6") || value(s, "/v/x") != "7" {
		return fmt.Errorf("an older value was taken: %q", value(s, "/v/x"))
	}
	if !put(s, "/v/x", "7") {
		return errors.New("the same value was not renewed")
	}
	return nil
}

func invalid(s Store, _ Limits, _ func(int) key.ID) error {
	if put(s, "/v/x", "nonsense") || put(s, "/v/x", "") || put(s, "/w/x", "1") || put(s, "", "1") {
		return errors.New("it was taken")
	}
	if value(s, "/v/x") != "" {
		return errors.New("it is held")
	}
	return nil
}

func long(s Store, l Limits, _ func(int) key.ID) error {
	if fits := "1:" + strings.Repeat("x", l.ValueBytes-2); !put(s, "/v/x", fits) {
		return errors.New("the longest that is allowed was refused")
	}
	if put(s, "/v/y", "1:"+strings.Repeat("x", l.ValueBytes-1)) {
		return errors.New("one byte more was taken")
	}
	return nil
}

func valueExpires(s Store, l Limits, _ func(int) key.ID) error {
	put(s, "/v/x", "9")
	s.Advance(l.ValueAge + time.Minute)
	if value(s, "/v/x") != "" {
		return errors.New("it is still there")
	}
	if !put(s, "/v/x", "1") || value(s, "/v/x") != "1" {
		return errors.New("it still stands against a new value")
	}
	return nil
}

func providers(s Store, _ Limits, name func(int) key.ID) error {
	if !provide(s, "x", name(1)) || !provide(s, "x", name(2)) || !provide(s, "x", name(1)) || !provide(s, "y", name(3)) {
		return errors.New("one was refused")
	}
	if got := provided(s, "x"); !slices.Equal(got, sorted(name(1), name(2))) {
		return fmt.Errorf("got %v", got)
	}
	if got := provided(s, "y"); !slices.Equal(got, sorted(name(3))) {
		return fmt.Errorf("another key: got %v", got)
	}
	return nil
}

func providerExpires(s Store, l Limits, name func(int) key.ID) error {
	provide(s, "x", name(1))
	provide(s, "x", name(2))
	s.Advance(l.ProviderAge / 2)
	provide(s, "x", name(2))
	s.Advance(l.ProviderAge/2 + time.Minute)
	if got := provided(s, "x"); !slices.Equal(got, sorted(name(2))) {
		return fmt.Errorf("got %v", got)
	}
	return nil
}

func crowded(s Store, l Limits, name func(int) key.ID) error {
	for n := 1; n <= l.Providers; n++ {
		if !provide(s, "x", name(n)) {
			return fmt.Errorf("provider %d of %d was refused", n, l.Providers)
		}
	}
	if provide(s, "x", name(l.Providers+1)) || len(provided(s, "x")) != l.Providers {
		return errors.New("one more was taken")
	}
	if !provide(s, "x", name(1)) || !provide(s, "y", name(l.Providers+1)) {
		return errors.New("a renewal or another key was refused")
	}
	return nil
}

func check(s Store, _ Limits, _ func(int) key.ID) error {
	for _, c := range []struct {
		values []string
		want   int
	}{
		{nil, -1},
		{[]string{"nonsense"}, -1},
		{[]string{"1"}, 0},
		{[]string{"nonsense", "3", "12", "", "7"}, 2},
	} {
		var values [][]byte
		for _, v := range c.values {
			values = append(values, []byte(v))
		}
		if got := s.Check("/v/x", values); got != c.want {
			return fmt.Errorf("%q: got %d, want %d", c.values, got, c.want)
		}
	}
	if s.Check("/w/x", [][]byte{[]byte("1")}) != -1 {
		return errors.New("valid under a key that is not")
	}
	return nil
}
