package tidy

import (
	"path"
	"slices"
	"strings"
)

// TestOnly is the layer of packages that only tests may import.
const TestOnly = -1

// Rules are what a tree is checked against. The zero Rules place no package and
// therefore refuse every one.
type Rules struct {
	Module   string              // import path of the root package
	Layers   map[string]int      // package directory to layer; directories below it share the layer
	Pure     int                 // layers 0 to Pure have no clock, goroutine, I/O or dice
	Edges    map[string]string   // excused imports, "from -> to", each with its reason
	Owners   map[string][]string // import path and all below it to the packages that alone may import it
	Admitted map[string]string   // third-party packages in pure layers, each with how it is called purely
	Long     map[string]string   // functions that may pass MaxLines, "dir.Name", each with its reason
	MaxLines int                 // of a function, from func to its closing brace
	MapFile  string              // the page that lists every package between backquotes
}

// House are the rules of Shoal.
var House = Rules{
	Module: "github.com/shoalnet/shoal",
	Layers: map[string]int{
		"key": 0, "prefetch": 0, "knob": 0, "stat": 0, "learn": 0,
		"table": 1, "place": 1, "keyspace": 1, "codec": 1, "wire": 1, "opt": 1,
		"lookup": 2, "route": 2, "tune": 2, "transfer": 2, "replica": 2,
		"node": 3,
		"sim":  4, "p2p": 4, "lab": 4, "store": 4, "ledger": 4, "web": 4,
		"pilot": 5, "sim/reproduce": 5, "opt/proof": 5, "tune/proof": 5, "pilot/report": 5,
		".":         6,
		"cmd/shoal": 7,

		"internal/chart": 6,

		"internal/script":    TestOnly,
		"internal/storetest": TestOnly,
		"internal/tidy":      TestOnly,
		"opt/opttest":        TestOnly,
	},
	Pure:  3,
	Edges: map[string]string{},
	Owners: map[string][]string{
		"github.com/libp2p": {"p2p", "."},
		"net/http":          {"web"},

		"gonum.org/v1/plot":  {"internal/chart"},
		"github.com/nats-io": {"lab/cluster"},
	},
	Admitted: map[string]string{
		"gonum.org/v1/gonum/mathext": "special functions of numbers",
		"gonum.org/v1/gonum/mat":     "matrices of at most 64 rows: products start goroutines from four blocks of 64 by 64",
		"golang.org/x/sys/cpu":       "flags that are set before main; the fast and the plain path are held against each other",
		"gonum.org/v1/gonum/blas":    "Sgemm on results of less than four blocks of 64x64, from which it would start goroutines",
	},
	Long:     map[string]string{},
	MaxLines: 70,
	MapFile:  "docs/map.md",
}

// layer returns the layer of a package directory: its own entry or that of the
// nearest directory above it. The root's entry holds for the root alone.
func (r *Rules) layer(dir string) (int, bool) {
	if n, ok := r.Layers[dir]; ok || dir == "." {
		return n, ok
	}
	for dir = path.Dir(dir); dir != "."; dir = path.Dir(dir) {
		if n, ok := r.Layers[dir]; ok {
			return n, true
		}
	}
	return 0, false
}

func (r *Rules) testOnly(dir string) bool {
	n, ok := r.layer(dir)
	return ok && n == TestOnly
}

func (r *Rules) pure(dir string) bool {
	n, ok := r.layer(dir)
	return ok && n >= 0 && n <= r.Pure
}

// own returns the directory of an import path of this module.
func (r *Rules) own(importPath string) (dir string, ok bool) {
	if importPath == r.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, r.Module+"/")
}

// within reports whether an import path or directory is root or lies below it.
func within(name, root string) bool {
	return name == root || strings.HasPrefix(name, root+"/")
}

// withinAny reports whether one of roots holds name.
func withinAny(name string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(name, root) })
}
