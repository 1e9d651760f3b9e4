package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

func openJournal(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// TestJournalTornAnywhere cuts a journal at any byte, as a killed process does:
// every whole line is read back, the rest is reported, and the next line is
// appended as if nothing had been.
func TestJournalTornAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	rapid.Check(t, func(r *rapid.T) {
		lines := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte("ab\x00\r {}")), 0, 8), 0, 6).Draw(r, "lines")
		text := bytes.Join(append(lines, nil), []byte("\n"))
		if len(lines) == 0 {
			text = nil
		}
		cut := rapid.IntRange(0, len(text)).Draw(r, "cut")
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			r.Fatal(err)
		}
		j, err := OpenJournal(path)
		if err != nil {
			r.Fatal(err)
		}
		whole := bytes.Count(text[:cut], []byte("\n"))
		if want := cut - (bytes.LastIndexByte(text[:cut], '\n') + 1); j.Cut() != want {
			r.Fatalf("cut %d bytes, want %d", j.Cut(), want)
		}
		if err := j.Append([]byte("next")); err != nil {
			r.Fatal(err)
		}
		got, err := j.ReadAll()
		if err != nil || len(got) != whole+1 || string(got[whole]) != "next" {
			r.Fatalf("%q, %v: want %d whole lines and one more", got, err, whole)
		}
		for i := range whole {
			if !bytes.Equal(got[i], lines[i]) {
				r.Fatalf("line %d is %q, want %q", i, got[i], lines[i])
			}
		}
		if err := j.Close(); err != nil {
			r.Fatal(err)
		}
	})
}

func TestJournalRefuses(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, filepath.Join(dir, "journal"))
	if err := j.Append([]byte("two\nlines")); err == nil {
		t.Error("a line with a line end inside was accepted")
	}
	if _, err := OpenJournal(filepath.Join(dir, "journal")); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := OpenJournal(filepath.Join(dir, "nowhere", "journal")); err == nil || errors.Is(err, ErrInUse) {
		t.Errorf("without a directory: %v", err)
	}
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Error(err)
	}
	if err := j.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, err := j.ReadAll(); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}
