package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/shoalnet/shoal/store"
)

// runLog is a journal of finished runs: a line that says what is run, then one for
// each run. It survives kill -9 up to the last whole line.
type runLog[T any] struct {
	file  *os.File
	lock  io.Closer
	known []T // runs of before
}

// openRunLog opens the journal of a directory or begins it. The head must be that of
// before, else it is of another kind of run; whole says whether a line is a run.
func openRunLog[T any](dir, name, kind string, head any, whole func(*T) bool) (*runLog[T], error) {
	first, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, usagef("--dir: %w", err)
	}
	l := &runLog[T]{}
	if l.lock, err = store.Lock(dir); err != nil {
		return nil, usagef("--dir %s: %w", dir, err)
	}
	path := filepath.Join(dir, name)
	if l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(usagef("--dir: %w", err), l.lock.Close())
	}
	if err := l.read(first, kind, whole); err != nil {
		return nil, errors.Join(usagef("%s: %w", path, err), l.Close())
	}
	return l, nil
}

// read takes the finished runs, and cuts off a line that a kill left unfinished.
func (l *runLog[T]) read(first []byte, kind string, whole func(*T) bool) error {
	lines := bufio.NewReader(l.file)
	good := int64(0)
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch {
		case n == 0 && !bytes.Equal(bytes.TrimSpace(line), first):
			return fmt.Errorf("it is of another %s, or of another build of this program: choose another --dir", kind)
		case n > 0:
			var run T
			if err := json.Unmarshal(line, &run); err != nil || !whole(&run) {
				return fmt.Errorf("line %d is damaged", n+1)
			}
			l.known = append(l.known, run)
		}
		good += int64(len(line))
	}
	if err := l.file.Truncate(good); err != nil {
		return err
	}
	if _, err := l.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good > 0 {
		return nil
	}
	return l.write(first)
}

func (l *runLog[T]) write(line []byte) error {
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return l.file.Sync()
}

func (l *runLog[T]) add(run T) error {
	line, err := json.Marshal(run)
	if err != nil {
		return err
	}
	return l.write(line)
}

// Close ends the log.
func (l *runLog[T]) Close() error { return errors.Join(l.file.Close(), l.lock.Close()) }
