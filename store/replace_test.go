package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestReplace: a file is made, and replaced, and nothing is left beside it.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second and longer", ""} {
		if err := Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v: want %q", got, err, text)
		}
	}
	if err := Replace(filepath.Join(dir, "missing", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that there is no such directory", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(filepath.Join(dir, "taken"), nil); err == nil {
		t.Error("a directory was replaced")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// TestRenameOutlivesPower: what was renamed has its new name after the loss of power,
// on a disk that forgets whatever was not synced.
func TestRenameOutlivesPower(t *testing.T) {
	disk := vfs.NewCrashableMem()
	write := func(name, text string) {
		f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.MkdirAll("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	write("dir/file", "old")
	if err := errors.Join(syncDir(disk, "/"), syncDir(disk, "dir")); err != nil {
		t.Fatal(err)
	}
	write("dir/file.new", "new")
	if err := rename(disk, "dir/file.new", "dir/file"); err != nil {
		t.Fatal(err)
	}
	f, err := disk.CrashClone(vfs.CrashCloneCfg{}).Open("dir/file")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "new" {
		t.Errorf("%q, %v: want the new file", got, err)
	}
}
