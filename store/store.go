// Package store holds what outlives a process: the datastore in which a peer
// keeps its records, and journals, whose lines survive kill -9.
//
// Nothing here repairs. A directory that is damaged, foreign or in use gives an
// error that says so, and is left as it is, byte for byte: the user may have a
// better idea, and a copy.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// What can be wrong with a place on disk. The errors of this package wrap them.
var (
	ErrForeign = errors.New("holds files that are not a datastore of shoal: choose an empty or a new directory")
	ErrDamaged = errors.New("is damaged and was left as it is: restore a copy of it or choose another directory")
	ErrInUse   = errors.New("is in use by another process: stop that one or choose another directory")
	ErrClosed  = errors.New("store: closed")
)

// absolute returns the one name by which this process locks a path: locks of
// the operating system do not exclude their own process, names do.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	return abs, nil
}

// lock takes the lock file of a path, which excludes other processes and the
// rest of this one. It creates the file if there is none.
func lock[L any](path string, take func() (L, error)) (L, error) {
	held, err := take()
	var cause *fs.PathError // the file itself is the trouble, not the lock on it
	switch {
	case err == nil:
		return held, nil
	case errors.As(err, &cause):
		return held, fmt.Errorf("store: cannot lock %s: %w", path, err)
	}
	return held, fmt.Errorf("store: %s %w", path, ErrInUse)
}
