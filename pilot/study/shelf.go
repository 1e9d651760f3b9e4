package study

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune/library"
)

// ShelfName is the library's file in a data directory.
const ShelfName = "library"

// Shelf is the study library in its file: a journal with one record a line, which
// survives kill -9. It has one owner.
type Shelf struct {
	Library library.Library
	file    *store.Journal
	site    string
	skipped int
}

// header is the first line of the file.
type header struct {
	Site string `json:"library_of"`
}

// OpenShelf opens the library at a path, or makes it, with a random name of its site.
// Lines that are no records are passed over and counted.
func OpenShelf(path string) (*Shelf, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("study: library: %w", err)
	}
	file, err := store.OpenJournal(path)
	if err != nil {
		return nil, err
	}
	s := &Shelf{file: file}
	lines, err := file.ReadAll()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	for _, line := range lines {
		s.read(line)
	}
	if s.site == "" {
		s.site = "site-" + strings.ToLower(rand.Text()[:8])
		line, err := json.Marshal(header{s.site})
		if err == nil {
			err = file.Append(line)
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return s, nil
}

func (s *Shelf) read(line []byte) {
	var h header
	if json.Unmarshal(line, &h) == nil && h.Site != "" {
		s.site = h.Site
		return
	}
	r, err := library.Decode(line)
	if err == nil {
		_, err = s.Library.Add(r)
	}
	if err != nil {
		s.skipped++
	}
}

// Site returns the name under which the studies of this library are its own.
func (s *Shelf) Site() string { return s.site }

// Skipped returns how many lines of the file were no records.
func (s *Shelf) Skipped() int { return s.skipped }

// Add puts a record on the shelf and on disk. It reports whether it was new.
func (s *Shelf) Add(r library.Record) (bool, error) {
	changed, err := s.Library.Add(r)
	if err != nil || !changed {
		return false, err
	}
	line, err := library.Encode(r)
	if err != nil {
		return false, err
	}
	return true, s.file.Append(line)
}

// Export writes all records, one a line.
func (s *Shelf) Export(w io.Writer) (int, error) {
	records := s.Library.Records()
	for _, r := range records {
		line, err := library.Encode(r)
		if err != nil {
			return 0, err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return 0, fmt.Errorf("study: export: %w", err)
		}
	}
	return len(records), nil
}

// maxLine bounds a line of an import.
const maxLine = 2 << 20

// Imported is what an import did.
type Imported struct {
	Taken   int      `json:"taken"`   // new or newer
	Known   int      `json:"known"`   // already there
	Own     int      `json:"own"`     // under this site's name: others cannot speak for it
	Refused []string `json:"refused"` // why, the first 16
	Bad     int      `json:"bad"`     // lines that were refused
}

// Import takes what another site has exported. Records under this site's own name are
// left out, and those that cannot be are refused, each alone.
func (s *Shelf) Import(r io.Reader) (Imported, error) {
	out := Imported{Refused: []string{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		record, err := library.Decode(line)
		switch {
		case err != nil:
			if out.Bad++; out.Bad <= 16 {
				out.Refused = append(out.Refused, err.Error())
			}
		case record.Site == s.site:
			out.Own++
		default:
			changed, err := s.Add(record)
			if err != nil {
				return out, err
			}
			if changed {
				out.Taken++
			} else {
				out.Known++
			}
		}
	}
	if err := lines.Err(); err != nil {
		return out, fmt.Errorf("study: import: %w", err)
	}
	return out, nil
}

// Close closes the file.
func (s *Shelf) Close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}
