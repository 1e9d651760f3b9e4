package main

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/place"
)

// readMatrix reads the matrix of a directory, or makes the built-in world where
// none is named. A bad one is the user's to repair.
func readMatrix(dir string, seed uint64) (*place.Matrix, error) {
	if dir == "" {
		return place.Globe(seed), nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, usagef("--latency %s: want a directory with a latency matrix", dir)
	}
	m, err := place.ReadMatrix(os.DirFS(dir))
	if err != nil {
		return nil, usagef("--latency %s: %w", dir, err)
	}
	return m, nil
}

// readConfig reads a configuration in text form; what it does not name is as in
// base.
func readConfig(flag, path string, base knob.Config) (knob.Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return knob.Config{}, usagef("--%s %s: no such file", flag, path)
	}
	if err != nil {
		return knob.Config{}, usagef("--%s: %w", flag, err)
	}
	c, err := base.Set().Parse(base, string(text))
	if err != nil {
		return knob.Config{}, usagef("--%s %s: %w", flag, path, err)
	}
	return c, nil
}

// presetNamed returns the preset that --from names.
func presetNamed(set *knob.Set, from string) (knob.Config, error) {
	c, err := set.Preset(from)
	if err != nil {
		return knob.Config{}, usagef("--from %q: want stock or default", from)
	}
	return c, nil
}

// seedOr returns the seed of a flag, or one from the clock if none was given.
func seedOr(seed uint64, given bool) uint64 {
	if given {
		return seed
	}
	return uint64(time.Now().UnixNano())
}
