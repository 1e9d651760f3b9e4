package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dstest "github.com/ipfs/go-datastore/test"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_HOLD"); dir != "" {
		hold(dir)
	}
	goleak.VerifyTestMain(m)
}

// hold is the body of a child process: it writes to a datastore and a journal
// in dir, says so, and waits to be killed.
func hold(dir string) {
	d, err := OpenDatastore(filepath.Join(dir, "records"))
	if err != nil {
		panic(err)
	}
	fill(context.Background(), d, 100)
	if err := d.Sync(context.Background(), ds.NewKey("/")); err != nil {
		panic(err)
	}
	j, err := OpenJournal(filepath.Join(dir, "journal"))
	if err != nil {
		panic(err)
	}
	if err := j.Append([]byte("kept")); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	select {}
}

// holder starts a child process that holds dir, and returns when it does.
func holder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "STORE_TEST_HOLD="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal("the child did not get ready: ", err)
	}
	return child
}

func kill(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
}

// entry returns the key and value number n.
func entry(n int) (ds.Key, []byte) {
	dice := rand.New(rand.NewPCG(uint64(n), 0))
	value := make([]byte, 50+dice.IntN(500))
	for i := range value {
		value[i] = byte(dice.Uint32())
	}
	return ds.NewKey(fmt.Sprintf("/records/%05d", n)), value
}

func fill(ctx context.Context, d *Datastore, n int) {
	for i := range n {
		k, v := entry(i)
		if err := d.Put(ctx, k, v); err != nil {
			panic(err)
		}
	}
}

// missing counts how many of the first n records are not there or wrong.
func missing(t *testing.T, d *Datastore, n int) int {
	t.Helper()
	bad := 0
	for i := range n {
		k, v := entry(i)
		if got, err := d.Get(t.Context(), k); err != nil || !bytes.Equal(got, v) {
			bad++
		}
	}
	return bad
}

func open(t *testing.T, dir string) *Datastore {
	t.Helper()
	d, err := OpenDatastore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// digest is one hash over the names, modes and contents of a directory.
func digest(t *testing.T, dir string) [32]byte {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			h.Write([]byte(path))
			return err
		}
		text, err := os.ReadFile(path)
		h.Write(fmt.Appendln(nil, path, entry.Type(), len(text)))
		h.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func TestConformance(t *testing.T) {
	d := open(t, t.TempDir())
	d.write = pebble.NoSync // the suite makes 40,000 writes
	dstest.SubtestAll(t, d)
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "records")
	d := open(t, dir)
	fill(t.Context(), d, 100)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := missing(t, open(t, dir), 100); n != 0 {
		t.Errorf("%d of 100 records are gone", n)
	}
	if left, _ := filepath.Glob(dir + ".new-*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPrefix(t *testing.T) {
	d := open(t, t.TempDir())
	for _, k := range []string{"/a", "/a/b", "/a/c/d", "/ab", "/a-b", "/b"} {
		if err := d.Put(t.Context(), ds.NewKey(k), []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string]string{
		"": "/a /a-b /a/b /a/c/d /ab /b", "/": "/a /a-b /a/b /a/c/d /ab /b", "/a": "/a/b /a/c/d", "a/": "/a/b /a/c/d", "/a/c": "/a/c/d", "/c": "",
	} {
		results, err := d.Query(t.Context(), query.Query{Prefix: prefix, Orders: []query.Order{query.OrderByKey{}}})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := results.Rest()
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("prefix %q: %s, want %s", prefix, got, want)
		}
	}
}

func TestClosed(t *testing.T) {
	d := open(t, t.TempDir())
	fill(t.Context(), d, 10)
	results, err := d.Query(t.Context(), query.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := results.NextSync(); !ok {
		t.Fatal("no first result")
	}
	batch, err := d.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if r, ok := results.NextSync(); ok {
		t.Errorf("a result after Close: %v", r)
	}
	key := ds.NewKey("/k")
	_, errGet := d.Get(t.Context(), key)
	_, errHas := d.Has(t.Context(), key)
	_, errQuery := d.Query(t.Context(), query.Query{})
	_, errBatch := d.Batch(t.Context())
	for _, err := range []error{
		errGet, errHas, errQuery, errBatch, d.Put(t.Context(), key, nil), d.Delete(t.Context(), key),
		d.Sync(t.Context(), key), batch.Commit(t.Context()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestForeignDirectoryIsLeftUntouched(t *testing.T) {
	for _, name := range []string{"letter.txt", "CURRENT", "000001.sst", ".hidden"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := digest(t, dir)
		if _, err := OpenDatastore(dir); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), dir) {
			t.Errorf("with %s: %v", name, err)
		}
		if digest(t, dir) != before {
			t.Errorf("with %s: the directory was changed", name)
		}
	}
	if _, err := OpenDatastore(filepath.Join(t.TempDir(), "\x00")); err == nil {
		t.Error("an impossible name was accepted")
	}
}

// TestDamage flips one byte at a time in every file, at places spread over it.
// Either the datastore opens with every record, or it says that it is damaged
// and no byte of the directory has changed.
func TestDamage(t *testing.T) {
	const records, places = 500, 12
	original := filepath.Join(t.TempDir(), "records")
	d := open(t, original)
	d.write = pebble.NoSync
	fill(t.Context(), d, records)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	known, err := pebble.Peek(original, vfs.Default)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files(t, original) {
		text, err := os.ReadFile(filepath.Join(original, name))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for i := range min(places, len(text)) {
			bad := bytes.Clone(text)
			bad[i*len(text)/places] ^= 0x55
			if tryDamaged(t, original, name, bad, records) {
				found++
			}
		}
		if len(text) > 0 && tryDamaged(t, original, name, text[:len(text)/2], records) {
			found++
		}
		vital := filepath.Ext(name) == ".sst" || name == filepath.Base(known.ManifestFilename)
		if vital && found != places+1 {
			t.Errorf("%s: damage was found at %d places of %d", name, found, places+1)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// tryDamaged opens a copy in which one file has other bytes and reports whether
// the damage was found.
func tryDamaged(t *testing.T, original, name string, text []byte, records int) (found bool) {
	t.Helper()
	dir := t.TempDir()
	err := os.CopyFS(dir, os.DirFS(original))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := digest(t, dir)
	d, err := OpenDatastore(dir)
	if err == nil {
		if n := missing(t, d, records); n > 0 {
			t.Errorf("%s: opened although %d records are gone", name, n)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		return false
	}
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: not one clear line: %v", name, err)
	}
	if digest(t, dir) != before {
		t.Errorf("%s: found damaged, but something was changed", name)
	}
	return true
}

// TestDamagedLog does the same to the write-ahead log that a killed process
// leaves behind. Its very end may be cut off without being damage.
func TestDamagedLog(t *testing.T) {
	const records = 100
	base := t.TempDir()
	kill(t, holder(t, base))
	original := filepath.Join(base, "records")
	logs, err := filepath.Glob(filepath.Join(original, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal("no log: ", err)
	}
	name := filepath.Base(logs[len(logs)-1])
	text, err := os.ReadFile(logs[len(logs)-1])
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.TrimRight(text, "\x00")
	if tryDamaged(t, original, name, text, records) {
		t.Fatal("a log without its padding is not damage")
	}
	found := 0
	const places = 24
	for i := range places {
		bad := bytes.Clone(text)
		bad[i*len(text)/2/places] ^= 0x55
		if tryDamaged(t, original, name, bad, records) {
			found++
		}
	}
	if found != places {
		t.Errorf("damage in the first half of the log was found at %d of %d places", found, places)
	}
}

func TestInUse(t *testing.T) {
	base := t.TempDir()
	child := holder(t, base)
	dir := filepath.Join(base, "records")
	if _, err := OpenDatastore(dir); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("held by another process: %v", err)
	}
	if _, err := OpenJournal(filepath.Join(base, "journal")); !errors.Is(err, ErrInUse) {
		t.Errorf("journal held by another process: %v", err)
	}
	kill(t, child)
	d := open(t, dir)
	if n := missing(t, d, 100); n != 0 {
		t.Errorf("after kill -9 %d of 100 synced records are gone", n)
	}
	if _, err := OpenDatastore(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("held by this process: %v", err)
	}
	j, err := OpenJournal(filepath.Join(base, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	if lines, err := j.ReadAll(); err != nil || len(lines) != 1 || string(lines[0]) != "kept" {
		t.Errorf("journal after kill -9: %q, %v", lines, err)
	}
}
