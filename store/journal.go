package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Journal is a file of lines that only grows. A line that was appended is on
// disk when Append returns and survives kill -9 and the loss of power. What the
// lines mean, and whether one was forged, is the caller's business. A Journal
// may be used concurrently.
type Journal struct {
	mu   sync.Mutex
	file *os.File // nil once closed
	lock io.Closer
	size int64 // of the whole lines
	cut  int
}

// OpenJournal opens the journal at path, and makes one where there is none; its
// directory must exist. A last line without its end, which a killed process
// left behind, is cut off: Cut says so. A second process that opens the same
// journal gets ErrInUse; the lock is the file path + ".lock", which stays.
func OpenJournal(path string) (*Journal, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	held, err := lock(path, func() (io.Closer, error) { return vfs.Default.Lock(path + ".lock") })
	if err != nil {
		return nil, err
	}
	j := &Journal{lock: held}
	if err := j.open(path); err != nil {
		return nil, errors.Join(fmt.Errorf("store: journal: %w", err), j.Close())
	}
	return j, nil
}

func (j *Journal) open(path string) (err error) {
	if j.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	text, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	j.size = int64(bytes.LastIndexByte(text, '\n') + 1)
	j.cut = len(text) - int(j.size)
	if err := j.trim(); err != nil {
		return err
	}
	return syncDir(vfs.Default, filepath.Dir(path))
}

// Cut returns the length in bytes of the torn line that was cut off when the
// journal was opened, 0 if it ended as it should.
func (j *Journal) Cut() int { return j.cut }

// Append writes one line, without its end, and returns when it is on disk. A
// line that contains a line end is refused. After any other error the line is
// not in the journal.
func (j *Journal) Append(line []byte) error {
	if bytes.IndexByte(line, '\n') >= 0 {
		return errors.New("store: a line of a journal has no line end inside")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return ErrClosed
	}
	// One write, so that only the end of a line can be missing.
	whole := append(bytes.Clone(line), '\n')
	_, err := j.file.WriteAt(whole, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: journal: %w", err), j.trim())
	}
	j.size += int64(len(whole))
	return nil
}

// ReadAll returns all lines, oldest first, without their ends.
func (j *Journal) ReadAll() ([][]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil, ErrClosed
	}
	text := make([]byte, j.size)
	if _, err := io.ReadFull(io.NewSectionReader(j.file, 0, j.size), text); err != nil {
		return nil, fmt.Errorf("store: journal: %w", err)
	}
	lines := bytes.Split(text, []byte("\n"))
	return lines[:len(lines)-1], nil
}

// Close gives the journal free. A second Close does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	if j.file != nil {
		errs = append(errs, j.file.Close())
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
	}
	j.file, j.lock = nil, nil
	return errors.Join(errs...)
}

// trim drops what lies behind the last whole line.
func (j *Journal) trim() error {
	if err := j.file.Truncate(j.size); err != nil {
		return err
	}
	return j.file.Sync()
}
