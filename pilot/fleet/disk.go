package fleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/tune"
	"github.com/shoalnet/shoal/tune/fleet"
)

// The files of a directory.
const (
	stateName   = "state.json" // of a follower
	journalName = "journal"    // of a service
)

// readState returns what saveState wrote, and whether it ever did.
func readState(dir string) (s fleet.State, saved bool, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("fleet: %s: restore it, or remove it to begin anew: %w", filepath.Join(dir, stateName), err)
	}
	return s, true, nil
}

// saveState has a state on disk, whole or not at all.
func saveState(dir string, s fleet.State) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	if err := store.Replace(filepath.Join(dir, stateName), raw); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	return nil
}

// journal is the chained journal of a service in its file.
type journal struct {
	file    *store.Journal // nil: in memory alone
	chain   tune.Journal
	entries []tune.Entry
}

func openJournal(dir string) (*journal, error) {
	file, err := store.OpenJournal(filepath.Join(dir, journalName))
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	lines, err := file.ReadAll()
	if err == nil && len(lines) > 0 {
		j.entries, _, err = j.chain.Load(append(bytes.Join(lines, []byte("\n")), '\n'))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// maxEntries bounds the entries in memory; the journal itself keeps all.
const maxEntries = 4096

// append puts an entry on disk, at the time of the wall clock.
func (j *journal) append(e tune.Entry) error {
	e.AtNanos = int64(wall())
	line, err := j.chain.Append(e)
	if err != nil {
		return err
	}
	if j.file != nil {
		if err := j.file.Append(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
	}
	e.Seq = j.chain.Seq()
	if j.entries = append(j.entries, e); len(j.entries) > maxEntries {
		j.entries = j.entries[1:]
	}
	return nil
}

// begin writes what is good now. That may be another's doing: it goes before what the
// journal knows. A rollout that the journal leaves open ends as it was decided; without a
// decision this process was killed in it, and it is rolled back.
func (j *journal) begin(good knob.Config) error {
	text, decision := "begins from "+good.Hash(), tune.Stopped
	if in, open := tune.Resume(j.entries); open {
		decision = cmp.Or(in.Decision, tune.RolledBack)
		if decision == tune.Promoted && in.Good != good.String() { // nobody heard of it
			decision = tune.Stopped
		}
		text += "; the rollout before was interrupted: " + string(decision)
	}
	return j.end(text, decision, good)
}

// end writes the end of a rollout.
func (j *journal) end(text string, decision tune.Decision, good knob.Config) error {
	data, err := json.Marshal(map[string]string{"decision": string(decision), "good": good.String()})
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	return j.append(tune.Entry{Kind: tune.KindEnd, Text: text, Data: data})
}

// after returns the entries in memory with a higher number.
func (j *journal) after(seq uint64) []tune.Entry {
	i, _ := slices.BinarySearchFunc(j.entries, seq+1, func(e tune.Entry, n uint64) int { return cmp.Compare(e.Seq, n) })
	return slices.Clone(j.entries[i:])
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
