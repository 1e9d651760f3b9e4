package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// OpenDatastore opens the datastore in dir, and makes one where dir is missing
// or empty.
//
// An existing one is first read without writing: descriptors, logs, and every
// block of every table against its checksum, which costs one pass over the data
// on disk. If anything is wrong the error wraps ErrForeign, ErrDamaged or
// ErrInUse and no byte has been changed. The torn end of the last log, where
// kill -9 or the loss of power cut a write short, is not damage.
func OpenDatastore(dir string) (*Datastore, error) {
	dir, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	if len(names) == 0 {
		if err := create(dir); err != nil {
			return nil, err
		}
	}
	known, err := pebble.Peek(dir, untouched{vfs.Default})
	if err != nil || !known.Exists {
		return nil, fmt.Errorf("store: %s %w", dir, ErrForeign)
	}
	lock, err := lock(dir, func() (*pebble.Lock, error) { return pebble.LockDirectory(dir, vfs.Default) })
	if err != nil {
		return nil, err
	}
	if err := check(dir, known.ManifestFilename, lock); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s %w: %w", dir, ErrDamaged, err), lock.Close())
	}
	o := options(lock)
	o.ErrorIfNotExists = true
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s: %w", dir, err), lock.Close())
	}
	return &Datastore{db: db, lock: lock, write: pebble.Sync, queries: map[*cursor]struct{}{}}, nil
}

// create makes an empty datastore. It is made beside its place and then moved
// there, so that a process that is killed meanwhile leaves no half of one.
func create(dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	temp, err := os.MkdirTemp(parent, filepath.Base(dir)+".new-")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	o := options(nil)
	o.ErrorIfExists = true
	db, err := pebble.Open(temp, o)
	if err == nil {
		err = db.Close()
	}
	if err == nil {
		err = replaceEmpty(temp, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: create %s: %w", dir, err), os.RemoveAll(temp))
	}
	return nil
}

// replaceEmpty moves source to target, which is missing or an empty directory.
func replaceEmpty(source, target string) error {
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return rename(vfs.Default, source, target)
}

// check reads a whole datastore and reports the first thing that is wrong. It
// cannot write.
func check(dir, manifest string, lock *pebble.Lock) (err error) {
	defer func() { // some damage makes the engine panic while it reads
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	o := options(lock)
	o.ReadOnly = true
	o.FS = untouched{vfs.Default}
	if err := checkManifest(o.FS, manifest); err != nil {
		return err
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	levels, err := db.SSTables()
	if err != nil {
		return err
	}
	for _, level := range levels {
		for _, table := range level {
			if err := checkTable(o.FS, filepath.Join(dir, table.BackingSSTNum.String()+".sst")); err != nil {
				return err
			}
		}
	}
	return db.CheckLevels(nil)
}

// checkManifest reads the list of live tables to its end. The engine takes
// damage there for the end of the list, and would then delete every table that
// is listed behind it.
func checkManifest(disk vfs.FS, path string) (err error) {
	file, err := disk.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for records := record.NewReader(file, 0); ; {
		next, err := records.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, next)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
}

// checkTable compares every block of a table with its checksum.
func checkTable(disk vfs.FS, path string) (err error) {
	file, err := disk.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	reader, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	return reader.ValidateBlockChecksums()
}

// untouched is a file system that refuses every change.
type untouched struct{ vfs.FS }

var _ vfs.FS = untouched{}

var errUntouched = errors.New("the check does not write")

func (untouched) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, errUntouched }
func (untouched) Link(string, string) error                              { return errUntouched }
func (untouched) Remove(string) error                                    { return errUntouched }
func (untouched) RemoveAll(string) error                                 { return errUntouched }
func (untouched) Rename(string, string) error                            { return errUntouched }
func (untouched) MkdirAll(string, os.FileMode) error                     { return errUntouched }
func (untouched) Lock(string) (io.Closer, error)                         { return nil, errUntouched }

func (untouched) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errUntouched
}

func (untouched) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errUntouched
}
