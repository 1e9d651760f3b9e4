package store

import (
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Lock takes a directory, which must exist, for its caller alone until the lock is
// closed or the process ends. The error is ErrInUse if somebody else has it.
func Lock(dir string) (io.Closer, error) {
	path, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	held, err := lock(path, func() (*pebble.Lock, error) { return pebble.LockDirectory(path, vfs.Default) })
	if err != nil {
		return nil, err // not a nil *pebble.Lock in an interface
	}
	return held, nil
}
