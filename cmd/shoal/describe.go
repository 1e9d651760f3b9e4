package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/shoalnet/shoal/place"
	"github.com/shoalnet/shoal/sim"
)

// The entries of a description: an archive of all that a worker on another machine
// needs to simulate a network.
const (
	describedWorld   = "world.json" // a traceHead whose file names are those of the archive
	describedLatency = "latency"
	describedChurn   = "churn"
	describedPopular = "popularity"
)

// describe packs the network of the flags. The same network gives the same bytes.
func (w *worldFlags) describe(cfg sim.EventsConfig) ([]byte, error) {
	head := traceHead{Events: cfg, Popular: w.popular, Knobs: cfg.Knobs.String()}
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	if w.latency != "" {
		head.Latency = describedLatency
		if err := packDir(archive, describedLatency, w.latency); err != nil {
			return nil, usagef("--latency %s: %w", w.latency, err)
		}
	}
	if file := cfg.Churn.File; file != "" {
		head.Events.Churn.File = path.Join(describedChurn, filepath.Base(file))
		if err := packFile(archive, head.Events.Churn.File, file); err != nil {
			return nil, usagef("--churn %s: %w", file, err)
		}
	}
	if popularityFile(w.popular) {
		head.Popular = path.Join(describedPopular, filepath.Base(w.popular))
		if err := packFile(archive, head.Popular, w.popular); err != nil {
			return nil, usagef("--popularity %s: %w", w.popular, err)
		}
	}
	text, err := json.Marshal(head)
	if err == nil {
		err = pack(archive, describedWorld, text)
	}
	if err == nil {
		err = archive.Close()
	}
	return packed.Bytes(), err
}

// packDir packs the files that reading the matrix of a directory opens.
func packDir(archive *zip.Writer, name, dir string) error {
	files := &opened{FS: os.DirFS(dir), names: map[string]bool{}}
	if _, err := place.ReadMatrix(files); err != nil {
		return err
	}
	var names []string
	for file := range files.names {
		names = append(names, file)
	}
	slices.Sort(names)
	for _, file := range names {
		if err := packFile(archive, path.Join(name, file), filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return nil
}

// opened is a file system that notes which regular files were opened.
type opened struct {
	fs.FS
	mu    sync.Mutex
	names map[string]bool
}

// Open implements fs.FS.
func (o *opened) Open(name string) (fs.File, error) {
	file, err := o.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		o.mu.Lock()
		o.names[name] = true
		o.mu.Unlock()
	}
	return file, nil
}

func packFile(archive *zip.Writer, name, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return pack(archive, name, content)
}

// pack adds an entry without a time.
func pack(archive *zip.Writer, name string, content []byte) error {
	entry, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err != nil {
		return err
	}
	_, err = entry.Write(content)
	return err
}

// maxDescribed bounds an unpacked entry.
const maxDescribed = 1 << 30

// readDescription unpacks what describe packed.
func readDescription(packed []byte) (sim.EventsConfig, error) {
	var head traceHead
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return head.Events, fmt.Errorf("not the description of a network: %w", err)
	}
	for _, f := range archive.File {
		if f.UncompressedSize64 > maxDescribed {
			return head.Events, fmt.Errorf("the description has an entry %q of %d bytes", f.Name, f.UncompressedSize64)
		}
	}
	text, err := fs.ReadFile(archive, describedWorld)
	if err == nil {
		err = json.Unmarshal(text, &head)
	}
	if err != nil {
		return head.Events, fmt.Errorf("not the description of a network: %w", err)
	}
	return head.config(archive)
}

// config completes what was simulated with the files that it names.
func (head *traceHead) config(files fs.FS) (cfg sim.EventsConfig, err error) {
	cfg = head.Events
	set, err := knobSet()
	if err != nil {
		return cfg, err
	}
	if cfg.Knobs, err = set.Parse(set.Default(), head.Knobs); err != nil {
		return cfg, err
	}
	if name := cfg.Churn.File; name != "" {
		err := readFrom(files, name, func(r io.Reader) (err error) {
			cfg.Churn.Sessions, err = sim.ReadSessions(r)
			return err
		})
		if err != nil {
			return cfg, err
		}
	}
	if popularityFile(head.Popular) {
		err = readFrom(files, head.Popular, func(r io.Reader) (err error) {
			cfg.Popularity, err = sim.ReadPopularity(r, path.Base(head.Popular))
			return err
		})
	} else {
		cfg.Popularity, err = readPopularity(cmp.Or(head.Popular, "uniform"), cfg.Records)
	}
	if err != nil {
		return cfg, err
	}
	if head.Latency == "" {
		cfg.Matrix = place.Globe(cfg.Seed)
		return cfg, nil
	}
	dir, err := fs.Sub(files, head.Latency)
	if err == nil {
		cfg.Matrix, err = place.ReadMatrix(dir)
	}
	return cfg, err
}
