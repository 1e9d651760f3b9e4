package place

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// dir makes a directory of name and content pairs; names with .gz are compressed.
func dir(t testing.TB, files ...string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		data := []byte(files[i+1])
		if strings.HasSuffix(files[i], ".gz") {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			data = packed.Bytes()
		}
		out[files[i]] = &fstest.MapFile{Data: data}
	}
	return out
}

// words writes 16-bit little-endian numbers.
func words(v ...uint16) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return string(b)
}

const cityFile = "id,city,country,continent,lat,lon\n0,Berne,CH,1,46.9,7.4\n1,Quito,EC,2,-0.2,-78.5\n"

func TestReadMatrix(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name   string
		fsys   fs.FS
		rtt    [][]time.Duration
		filled int
	}{
		{
			"rows", dir(t, "rtt_avg_ms.csv.gz", "0.000,12.5\n13.25,0.000\n", "cities.csv", cityFile),
			[][]time.Duration{{0, 12500 * time.Microsecond}, {13250 * time.Microsecond, 0}},
			0,
		},
		{
			"pairs", dir(t, "rtt.csv", "from,to,p50_ms,p90_ms\nb,a,7,9\na,a,2,3\na,b,8,9\n"),
			[][]time.Duration{{0, 7 * ms}, {8 * ms, 2 * ms}},
			0,
		},
		{
			"slice, the opposite direction fills", dir(t, "slice04.u16.gz", "xyz", "slice01.u16.gz", words(0, 0, 300, 100, 0, 200, 300, 200, 0)),
			[][]time.Duration{{0, 10 * ms, 30 * ms}, {10 * ms, 0, 20 * ms}, {30 * ms, 20 * ms, 0}},
			1,
		},
		{
			"slice, medians fill", dir(t, "slice01.u16", words(0, 0, 300, 0, 0, 200, 300, 200, 0)),
			[][]time.Duration{{0, 25 * ms, 30 * ms}, {25 * ms, 0, 20 * ms}, {30 * ms, 20 * ms, 0}},
			2,
		},
		{
			"frames, median over time", dir(t, "frames.u16.gz", words(0, 5, 6, 0, 0, 9, 0, 3, 0, 7, 8, 0)),
			[][]time.Duration{{0, 7 * ms}, {6 * ms, 0}},
			0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ReadMatrix(c.fsys)
			if err != nil {
				t.Fatal(err)
			}
			if m.N() != len(c.rtt) || m.Filled != c.filled {
				t.Fatalf("%d sites, %d filled; want %d, %d", m.N(), m.Filled, len(c.rtt), c.filled)
			}
			for i, row := range c.rtt {
				for j, want := range row {
					if got := m.RTT(i, j); got != want {
						t.Errorf("RTT(%d,%d) = %v, want %v", i, j, got, want)
					}
				}
			}
		})
	}
}

func TestReadMatrixSites(t *testing.T) {
	m, err := ReadMatrix(dir(t, "rtt_avg_ms.csv", "0,1\n1,0\n", "cities.csv", cityFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Site(1), (Site{Name: "Quito", Lat: -0.2, Lon: -78.5, Located: true}); got != want {
		t.Errorf("site 1 = %+v, want %+v", got, want)
	}
	m, err = ReadMatrix(dir(t, "rtt.csv", "from,to,p50_ms\nx,y,1\ny,x,2\n", "regions.csv", "region,city,lat,lon\ny,Yaren,-0.5,166.9\nx,Xalapa,19.5,-96.9\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Site(1).Name; got != "Yaren" {
		t.Errorf("site 1 = %q, want Yaren", got)
	}
}

// Bad input names the file and the cell.
func TestReadMatrixErrors(t *testing.T) {
	for _, c := range []struct{ want, name, data string }{
		{"row 2, column 1 is -3 ms", "rtt_avg_ms.csv.gz", "0,1\n-3,0\n"},
		{"row 1, column 2 is missing", "rtt_avg_ms.csv", "0,\n1,0\n"},
		{"row 1, column 2 is missing", "rtt_avg_ms.csv", "0,0\n1,0\n"},
		{"row 1, column 2 is missing", "rtt_avg_ms.csv", "0,NaN\n1,0\n"},
		{`row 2, column 1 is "fast"`, "rtt_avg_ms.csv", "0,1\nfast,0\n"},
		{"row 1, column 2 is +Inf ms", "rtt_avg_ms.csv", "0,inf\n1,0\n"},
		{"1 rows", "rtt_avg_ms.csv", "0,1\n"},
		{"more rows", "rtt_avg_ms.csv", "0,1\n1,0\n1,1\n"},
		{"0 rows", "rtt_avg_ms.csv", ""},
		{"no RTT from b to a", "rtt.csv", "from,to,p50_ms\na,b,1\nb,b,0\n"},
		{"is -1 ms: want 0 to 600000 (line 3, b to a)", "rtt.csv", "from,to,p50_ms\na,b,1\nb,a,-1\n"},
		{`"c" has no row`, "rtt.csv", "from,to,p50_ms\na,c,1\n"},
		{"no column p50_ms", "rtt.csv", "from,to\na,b\n"},
		{"no square", "slice01.u16", words(0, 1, 2)},
		{"row 1 has no RTT at all", "slice01.u16", words(0, 0, 1, 0)},
		{"no frames", "frames.u16", words(1, 1, 1)},
		{"no latency matrix", "README.md", ""},
		{"frames.u16.gz: EOF", "frames.u16.gz", ""},
	} {
		fsys := fstest.MapFS{c.name: {Data: []byte(c.data)}}
		if strings.HasSuffix(c.name, ".csv.gz") {
			fsys = dir(t, c.name, c.data).(fstest.MapFS)
		}
		_, err := ReadMatrix(fsys)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "place: ") {
			t.Errorf("%s %q: error %v, want %q", c.name, c.data, err, c.want)
		}
	}
	_, err := ReadMatrix(dir(t, "rtt_avg_ms.csv", "0,1\n1,0\n", "cities.csv", "id,city,lat,lon\n0,Berne,46.9,north\n1,Quito,0,0\n"))
	if err == nil || !strings.Contains(err.Error(), `cities.csv: site 0: latitude "46.9", longitude "north"`) {
		t.Errorf("bad longitude: error %v", err)
	}
}

// FuzzReadMatrix feeds every parser; what it accepts must be a whole matrix.
func FuzzReadMatrix(f *testing.F) {
	names := []string{"rtt_avg_ms.csv", "rtt.csv", "slice01.u16", "frames.u16"}
	f.Add(uint8(0), []byte("0,1.5\n2,0\n"))
	f.Add(uint8(1), []byte("from,to,p50_ms\na,b,1\nb,a,2\n"))
	f.Add(uint8(2), []byte(words(0, 0, 300, 100, 0, 200, 300, 200, 0)))
	f.Add(uint8(3), []byte(words(0, 5, 6, 0, 0, 9, 0, 0)))
	f.Fuzz(func(t *testing.T, format uint8, data []byte) {
		if len(data) > 1<<14 {
			t.Skip("larger input only takes longer")
		}
		m, err := ReadMatrix(fstest.MapFS{names[int(format)%len(names)]: {Data: data}})
		if err != nil {
			return
		}
		for i := range m.N() {
			for j := range m.N() {
				if rtt := m.RTT(i, j); rtt < 0 || rtt > maxRTT || i != j && rtt == 0 {
					t.Fatalf("RTT(%d,%d) = %v", i, j, rtt)
				}
			}
		}
	})
}

// The shared sets, by the figures of their README files.
func TestReadMatrixShared(t *testing.T) {
	for _, c := range []struct {
		name         string
		located      bool
		median, tail float64 // ms; 50 and 90 % of the ordered pairs
	}{
		{"latency-wonder", true, 138.6, 274.3}, // of all 213 cities
		{"latency-planetlab", false, 134.5, 286.7},
		{"latency-seattle", false, 180, 410}, // of medians over time: below the raw 220 and 580
		{"latency-aws", true, 156.1, 258.6},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := ReadMatrix(os.DirFS(shared(t, c.name)))
			if err != nil {
				t.Fatal(err)
			}
			var rtts []float64
			for i := range m.N() {
				for j := range m.N() {
					if i != j {
						rtts = append(rtts, m.RTT(i, j).Seconds()*1000)
					}
				}
			}
			slices.Sort(rtts)
			near := func(got, want float64) bool { return got > 0.97*want && got < 1.03*want }
			if p50, p90 := rtts[len(rtts)/2], rtts[len(rtts)*9/10]; !near(p50, c.median) || !near(p90, c.tail) {
				t.Errorf("median %v, p90 %v; want %v, %v within 3 %%", p50, p90, c.median, c.tail)
			}
			if m.Site(0).Located != c.located {
				t.Errorf("located = %v", m.Site(0).Located)
			}
		})
	}
}

// shared finds a data set beside the module, or skips the test.
func shared(t *testing.T, name string) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	path := filepath.Join(root, "..", "shared", "data", name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the data set %s is not on this machine (looked beside the module, in shared/data)", name)
	}
	return path
}
