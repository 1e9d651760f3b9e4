package p2p

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// resident returns the bytes that the process has in memory (proc(5), statm).
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	return number(fields[1]) * uint64(os.Getpagesize())
}

// memoryLimit returns the bytes that the process may have: the least of the machine's and
// those of its control groups. A group is within the limits of all those above it.
func memoryLimit() uint64 {
	least := machineMemory()
	take := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			return
		}
		// "max" is no number, and no limit.
		if limit := number(strings.TrimSpace(string(text))); limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	groups, _ := os.ReadFile("/proc/self/cgroup") // no groups, no limits
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		switch {
		case strings.Contains(","+parts[1]+",", ",memory,"):
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case parts[1] != "":
			continue
		}
		for path := filepath.Clean("/" + parts[2]); ; path = filepath.Dir(path) {
			take(filepath.Join(root, path, file))
			if path == "/" {
				break
			}
		}
	}
	return least
}

// machineMemory returns the bytes of the machine (proc(5), meminfo).
func machineMemory() uint64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == "MemTotal:" {
			const kibibyte = 1024
			return number(f[1]) * kibibyte
		}
	}
	return 0
}

// number is 0 where there is none.
func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
