package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Replace writes a file, of mode 0600, in place of the one at path or of none. After
// kill -9 and the loss of power the file is whole: the new one once Replace has
// returned, that or the old one before. The error is the file system's.
func Replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = rename(vfs.Default, f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(f.Name())) // it may have got its name
	}
	return nil
}

// rename gives a file or directory, whose content is on disk, another name beside its
// old one, on disk, too.
func rename(disk vfs.FS, source, target string) error {
	if err := disk.Rename(source, target); err != nil {
		return err
	}
	return syncDir(disk, filepath.Dir(target))
}

// syncDir makes new names in a directory survive the loss of power, where a system
// lets a directory be synced.
func syncDir(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
