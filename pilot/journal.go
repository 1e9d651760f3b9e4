package pilot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune"
)

// JournalName is the journal's file in the data directory, LogName that of the
// log of the last rollout, which Replay reads.
const (
	JournalName = "journal"
	LogName     = "rollout.log"
)

// journal is the chained journal of rollouts in its file.
type journal struct {
	file    *store.Journal
	chain   tune.Journal
	entries []tune.Entry // that were there when it was opened, and those of rolledBack
	live    *Live
}

func openJournal(dir string, live *Live) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pilot: data directory: %w", err)
	}
	file, err := store.OpenJournal(filepath.Join(dir, JournalName))
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, live: live}
	lines, err := file.ReadAll()
	if err == nil && len(lines) > 0 {
		text := append(bytes.Join(lines, []byte("\n")), '\n')
		j.entries, _, err = j.chain.Load(text)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	for _, e := range j.entries {
		live.wrote(e)
	}
	return j, nil
}

// append puts an entry on disk, with the wall clock in place of the driver's.
func (j *journal) append(e tune.Entry) error {
	_, err := j.write(e)
	return err
}

// write is append that returns the entry as it is on disk.
func (j *journal) write(e tune.Entry) (tune.Entry, error) {
	e.AtNanos = time.Now().UnixNano()
	line, err := j.chain.Append(e)
	if err != nil {
		return e, err
	}
	if err := j.file.Append(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
		return e, err
	}
	e.Seq = j.chain.Seq()
	j.live.wrote(e)
	return e, nil
}

// rolledBack closes a rollout that a killed process left open, with what runs from here
// on: a service that reads the journal must begin from the same.
func (j *journal) rolledBack(in tune.Interrupted, why string) error {
	var closing []tune.Entry
	decided := in.Decision
	if decided == "" {
		decided = tune.RolledBack
		closing = append(closing, tune.Entry{Kind: tune.KindDecision, Text: "rolled back: " + why})
	}
	closing = append(closing, tune.Entry{Kind: tune.KindEnd, Text: fmt.Sprintf("ended by a later run: %s, %s", decided, why)})
	for _, e := range closing {
		data := map[string]string{"decision": string(decided)}
		if e.Kind == tune.KindEnd {
			data["good"] = in.Good
		}
		var err error
		if e.Data, err = json.Marshal(data); err != nil {
			return fmt.Errorf("pilot: %w", err)
		}
		if e, err = j.write(e); err != nil {
			return err
		}
		j.entries = append(j.entries, e)
	}
	return nil
}

// Close closes the file.
func (j *journal) Close() error { return j.file.Close() }
