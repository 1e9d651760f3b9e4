// Package script runs text scenarios against any machine: files of commands and
// golden answers, in the form of github.com/cockroachdb/datadriven, that a
// reader can check by hand. Keys have 8 bits and are written in binary
// (0b00000100), so that the XOR is done by eye.
//
//	find target=0b00000100 after=250ms
//	----
//	ask 00000111
//
// Prose stands in lines that begin with #. Run the tests with -rewrite to write
// the answers into the files, then read the diff before it is committed.
package script

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/shoalnet/shoal/key"
)

// Run runs every scenario file below dir, each as a test of its own. answer is
// called for each command; it is the same function for all files, so a file
// begins with the command that makes a new machine. The folders in which go
// test and rapid keep failing inputs are passed over.
func Run(t *testing.T, dir string, answer func(*testing.T, *datadriven.TestData) string) {
	t.Helper()
	datadriven.Walk(t, dir, func(t *testing.T, path string) {
		switch top, _, _ := strings.Cut(strings.TrimPrefix(filepath.ToSlash(path), dir+"/"), "/"); top {
		case "fuzz", "rapid":
			return
		}
		datadriven.RunTest(t, path, answer)
	})
}

// ID reads an 8-bit identifier: "0b" and eight binary digits, underscores
// allowed between them.
func ID(text string) (key.ID, error) {
	digits, ok := strings.CutPrefix(text, "0b")
	digits = strings.ReplaceAll(digits, "_", "")
	n, err := strconv.ParseUint(digits, 2, 8)
	if !ok || err != nil || len(digits) != 8 {
		return key.ID{}, fmt.Errorf("script: %q is not an 8-bit key: want 0b and eight binary digits", text)
	}
	return key.FromByte(byte(n)), nil
}

// Format writes the leading byte of an identifier as ID reads it, without "0b".
func Format(id key.ID) string { return fmt.Sprintf("%08b", id.Byte()) }

// FormatAll writes identifiers in order, separated by spaces.
func FormatAll(ids []key.ID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = Format(id)
	}
	return strings.Join(words, " ")
}

// ArgIDs returns the identifiers of the argument called name, written name=K or
// name=(K,K,...); none if it is absent. A malformed one ends the test with the
// file and line of the command.
func ArgIDs(t testing.TB, td *datadriven.TestData, name string) []key.ID {
	t.Helper()
	arg, ok := td.Arg(name)
	if !ok {
		return nil
	}
	ids := make([]key.ID, len(arg.Vals))
	for i, text := range arg.Vals {
		id, err := ID(text)
		if err != nil {
			td.Fatalf(t, "%s: %v", name, err)
		}
		ids[i] = id
	}
	return ids
}

// ArgID returns the one identifier of the argument called name, which must be
// there.
func ArgID(t testing.TB, td *datadriven.TestData, name string) key.ID {
	t.Helper()
	ids := ArgIDs(t, td, name)
	if len(ids) != 1 {
		td.Fatalf(t, "%s: want %s=0b00000000", td.Cmd, name)
	}
	return ids[0]
}

// ArgDuration returns the duration of the argument called name, otherwise if it
// is absent.
func ArgDuration(t testing.TB, td *datadriven.TestData, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	var text string
	if !td.MaybeScanArgs(t, name, &text) {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		td.Fatalf(t, "%s: %v", name, err)
	}
	return d
}

// ArgInt returns the whole number of the argument called name, otherwise if it
// is absent.
func ArgInt(t testing.TB, td *datadriven.TestData, name string, otherwise int) int {
	t.Helper()
	n := otherwise
	td.MaybeScanArgs(t, name, &n)
	return n
}
