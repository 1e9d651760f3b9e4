package place

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBytes bounds what is read from one file, after decompression.
const maxBytes = 128 << 20

// ReadMatrix reads the matrix in a directory. It knows four formats by the files
// that they have; each may be stored with .gz or, decompressed, without:
//
//	rtt_avg_ms.csv.gz, cities.csv   WonderNetwork: rows of milliseconds
//	rtt.csv, regions.csv            cloudping: from,to,p50_ms in any order
//	slice*.u16.gz                   PlanetLab: one slice of 0.1 ms; the first is taken
//	frames.u16.gz                   Seattle: frames of 1 ms; the median over time is taken
//
// The last two mark a missing pair by 0. It is filled with the opposite direction,
// else with the mean of the medians of the two sites, and counted in Filled. In
// the others a missing or negative time is an error that names file and cell.
func ReadMatrix(fsys fs.FS) (*Matrix, error) {
	for _, format := range []struct {
		pattern string
		parse   func(name string, data []byte) (*Matrix, error)
		sites   string
	}{
		{"rtt_avg_ms.csv", parseGrid, "cities.csv"},
		{"rtt.csv", parsePairs, "regions.csv"},
		{"slice*.u16", parseSlice, ""},
		{"frames.u16", parseFrames, ""},
	} {
		name, data, err := readFirst(fsys, format.pattern)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err := format.parse(name, data)
		if err != nil || format.sites == "" {
			return m, err
		}
		return m, m.locate(fsys, format.sites)
	}
	return nil, errors.New("place: no latency matrix in the directory: want rtt_avg_ms.csv.gz, rtt.csv, slice*.u16.gz or frames.u16.gz")
}

// readFirst reads the first file in name order that matches the pattern, with
// or without .gz behind it.
func readFirst(fsys fs.FS, pattern string) (string, []byte, error) {
	for _, suffix := range []string{".gz", ""} {
		names, err := fs.Glob(fsys, pattern+suffix)
		if err != nil {
			return "", nil, fmt.Errorf("place: %w", err)
		}
		if len(names) == 0 {
			continue
		}
		data, err := readBounded(fsys, slices.Min(names))
		if err != nil {
			return "", nil, fmt.Errorf("place: %s: %w", slices.Min(names), err)
		}
		return slices.Min(names), data, nil
	}
	return "", nil, fs.ErrNotExist
}

func readBounded(fsys fs.FS, name string) (data []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	data, err = io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = fmt.Errorf("more than %d bytes", maxBytes)
	}
	return data, err
}

// parseGrid reads rows of milliseconds, one row for each source.
func parseGrid(name string, data []byte) (*Matrix, error) {
	rows := csv.NewReader(bytes.NewReader(data))
	rows.ReuseRecord = true
	var m *Matrix
	for i := 0; ; i++ {
		row, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF) && m != nil && i == m.N():
			return m, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("place: %s: %d rows: want as many as columns", name, i)
		case err != nil:
			return nil, fmt.Errorf("place: %s: %w", name, err)
		}
		if m == nil {
			if m, err = newMatrix(name, len(row)); err != nil {
				return nil, err
			}
		}
		if i == m.N() {
			return nil, fmt.Errorf("place: %s: more rows than its %d columns", name, m.N())
		}
		for j, cell := range row {
			if err := m.parse(i, j, cell); err != nil {
				return nil, err
			}
		}
	}
}

// parse stores a cell that is given as text; an empty one is missing.
func (m *Matrix) parse(i, j int, cell string) error {
	cell = strings.TrimSpace(cell)
	if cell == "" {
		return m.set(i, j, math.NaN())
	}
	ms, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return fmt.Errorf("place: %s: the RTT in row %d, column %d is %q: want milliseconds", m.Name, i+1, j+1, cell)
	}
	return m.set(i, j, ms)
}

// parsePairs reads a list of pairs with the columns from, to and p50_ms. Sites
// are numbered in the order in which they first stand in column from.
func parsePairs(name string, data []byte) (*Matrix, error) {
	records, column, err := parseTable(name, data, "from", "to", "p50_ms")
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	var names []string
	for _, record := range records {
		if from := record[column[0]]; index[from] == 0 {
			names = append(names, from)
			index[from] = len(names) // one more than its number: 0 is unknown
		}
	}
	m, err := newMatrix(name, len(names))
	if err != nil {
		return nil, err
	}
	for i := range names {
		m.sites[i].Name = names[i]
	}
	for line, record := range records {
		i, j := index[record[column[0]]], index[record[column[1]]]
		if j == 0 {
			return nil, fmt.Errorf("place: %s: line %d: %q has no row of its own", name, line+2, record[column[1]])
		}
		if err := m.parse(i-1, j-1, record[column[2]]); err != nil {
			return nil, fmt.Errorf("%w (line %d, %s to %s)", err, line+2, record[column[0]], record[column[1]])
		}
	}
	for cell, micros := range m.micros {
		if i, j := cell/m.N(), cell%m.N(); i != j && micros == 0 {
			return nil, fmt.Errorf("place: %s: no RTT from %s to %s: every pair needs one", name, names[i], names[j])
		}
	}
	return m, nil
}

// parseTable reads a CSV file with a header and returns its records and where
// the wanted columns are.
func parseTable(name string, data []byte, want ...string) ([][]string, []int, error) {
	records, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("place: %s: %w", name, err)
	}
	if len(records) == 0 {
		return nil, nil, fmt.Errorf("place: %s: empty", name)
	}
	column := make([]int, len(want))
	for i, title := range want {
		if column[i] = slices.Index(records[0], title); column[i] < 0 {
			return nil, nil, fmt.Errorf("place: %s: no column %s", name, title)
		}
	}
	return records[1:], column, nil
}

// locate reads names and coordinates of the sites, if the file is there: in the
// order of the sites, or by their names in column region.
func (m *Matrix) locate(fsys fs.FS, pattern string) error {
	name, data, err := readFirst(fsys, pattern)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id := "id"
	if pattern == "regions.csv" {
		id = "region"
	}
	records, column, err := parseTable(name, data, id, "city", "lat", "lon")
	if err != nil {
		return err
	}
	byName := map[string][]string{}
	for _, record := range records {
		byName[record[column[0]]] = record
	}
	for i := range m.sites {
		known := m.sites[i].Name
		if known == "" {
			known = strconv.Itoa(i)
		}
		record, ok := byName[known]
		if !ok {
			return fmt.Errorf("place: %s: no line for site %s", name, known)
		}
		lat, errLat := strconv.ParseFloat(record[column[2]], 64)
		lon, errLon := strconv.ParseFloat(record[column[3]], 64)
		if errLat != nil || errLon != nil || !(math.Abs(lat) <= 90) || !(math.Abs(lon) <= 180) {
			return fmt.Errorf("place: %s: site %s: latitude %q, longitude %q: want degrees", name, known, record[column[2]], record[column[3]])
		}
		m.sites[i] = Site{Name: record[column[1]], Lat: lat, Lon: lon, Located: true}
	}
	return nil
}

// parseSlice reads n times n 16-bit little-endian numbers of 0.1 ms.
func parseSlice(name string, data []byte) (*Matrix, error) {
	values := len(data) / 2
	n := int(math.Sqrt(float64(values)))
	if len(data)%2 != 0 || n*n != values {
		return nil, fmt.Errorf("place: %s: %d bytes are no square of 16-bit numbers", name, len(data))
	}
	m, err := newMatrix(name, n)
	if err != nil {
		return nil, err
	}
	for i := range m.micros {
		m.micros[i] = int32(binary.LittleEndian.Uint16(data[2*i:])) * 100
	}
	return m, m.fill()
}

// parseFrames reads frames of n times n 16-bit little-endian numbers of 1 ms and
// takes the median over time of each pair, without the zeros. The file does not
// say n: it is the largest for which most of the diagonals are zero.
func parseFrames(name string, data []byte) (*Matrix, error) {
	at := func(i int) uint16 { return binary.LittleEndian.Uint16(data[2*i:]) }
	values := len(data) / 2
	n := min(int(math.Sqrt(float64(values))), maxSites)
	for n > 1 && (values%(n*n) != 0 || !mostlyZero(n, values, at)) {
		n--
	}
	if len(data)%2 != 0 || n < 2 {
		return nil, fmt.Errorf("place: %s: %d bytes are no frames of 16-bit numbers with diagonals of zeros", name, len(data))
	}
	m, err := newMatrix(name, n)
	if err != nil {
		return nil, err
	}
	var seen []int32
	for cell := range m.micros {
		seen = seen[:0]
		for i := cell; i < values; i += n * n {
			if ms := at(i); ms > 0 {
				seen = append(seen, int32(ms)*int32(time.Millisecond/time.Microsecond))
			}
		}
		m.micros[cell] = median(seen)
	}
	return m, m.fill()
}

// mostlyZero reports whether more than half of the diagonals of all frames is
// zero: some devices of the set did measure themselves.
func mostlyZero(n, values int, at func(int) uint16) bool {
	zeros := 0
	for frame := 0; frame < values; frame += n * n {
		for i := range n {
			if at(frame+i*(n+1)) == 0 {
				zeros++
			}
		}
	}
	return 2*zeros*n > values
}

// fill replaces the zeros off the diagonal and clears what is on it.
func (m *Matrix) fill() error {
	n := m.N()
	medians := make([]int32, n)
	var row []int32
	for i := range n {
		m.micros[i*n+i] = 0
		row = row[:0]
		for _, micros := range m.micros[i*n : (i+1)*n] {
			if micros > 0 {
				row = append(row, micros)
			}
		}
		if medians[i] = median(row); medians[i] == 0 && n > 1 {
			return fmt.Errorf("place: %s: row %d has no RTT at all", m.Name, i+1)
		}
	}
	measured := slices.Clone(m.micros)
	for i := range n {
		for j := range n {
			if i == j || measured[i*n+j] > 0 {
				continue
			}
			m.Filled++
			m.micros[i*n+j] = measured[j*n+i]
			if measured[j*n+i] == 0 {
				m.micros[i*n+j] = (medians[i] + medians[j]) / 2
			}
		}
	}
	return nil
}

// median returns the lower median, 0 of nothing. It reorders its argument.
func median(v []int32) int32 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[(len(v)-1)/2]
}
