package tidy

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse holds the repository itself against the rules.
func TestHouse(t *testing.T) {
	findings, err := Check(os.DirFS("../.."), House)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

// lines returns n statements, each on its own line.
func lines(n int) string { return strings.Repeat("\tprintln()\n", n) }

// badSources are files that each break one rule, or show that it is not broken.
var badSources = []struct {
	name, path, source string
	want               []string
}{
	{"downwards", "lookup/a.go", "package lookup\nimport _ \"m/table\"", nil},
	{"upwards", "table/a.go", "package table\n\nimport _ \"m/lookup\"", []string{
		"table/a.go:3: table (L1) imports lookup (L2) upwards: import only downwards",
	}},
	{"sideways", "table/a.go", "package table\nimport _ \"m/opt\"", []string{
		"table/a.go:2: table (L1) imports opt sideways: import only downwards",
	}},
	{"worlds", "sim/a.go", "package sim\nimport _ \"m/p2p\"", []string{
		"sim/a.go:2: sim (L4) imports p2p sideways: import only downwards",
	}},
	{"the root from below", "p2p/a.go", "package p2p\nimport _ \"m\"", []string{
		"p2p/a.go:2: p2p (L4) imports . (L6) upwards: import only downwards",
	}},
	{"a package and its parent", "node/echo/a.go", "package echo\nimport _ \"m/node\"", nil},
	{"two packages of one parent", "node/echo/a.go", "package echo\nimport _ \"m/node/kad\"", []string{
		"node/echo/a.go:2: node/echo (L3) imports node/kad sideways: import only downwards",
	}},
	{"an excused import", "lab/a.go", "package lab\nimport _ \"m/sim\"", nil},
	{"test-only package", "table/a.go", "package table\nimport _ \"m/internal/script\"", []string{
		"table/a.go:2: table imports internal/script: only tests may",
	}},
	{"test-only package in a test", "table/a_test.go", "package table\nimport _ \"m/internal/script\"", nil},
	{"conformance suite", "opt/opttest/a.go", "package opttest\nimport (\n\t_ \"m/opt\"\n\t_ \"testing\"\n)", nil},
	{"testing outside tests", "sim/a.go", "package sim\nimport _ \"testing/iotest\"", []string{
		"sim/a.go:2: sim imports testing/iotest: only tests may",
	}},
	{"banned import", "key/a.go", "package key\nimport (\n\t_ \"math\"\n\t_ \"net/netip\"\n\t_ \"sync/atomic\"\n)", []string{
		"key/a.go:4: key is pure and imports net/netip: take it as an argument or ask the world",
		"key/a.go:5: key is pure and imports sync/atomic: take it as an argument or ask the world",
	}},
	{"math/rand v1", "stat/a.go", "package stat\nimport _ \"math/rand\"", []string{
		"stat/a.go:2: stat is pure and imports math/rand: take it as an argument or ask the world",
	}},
	{"worlds may", "sim/a.go", "package sim\nimport _ \"os\"\nfunc f() { go f(); select {} }", nil},
	{"go statement", "node/kad/a.go", "package kad\nfunc f() {\n\tgo f()\n}", []string{
		"node/kad/a.go:3: node/kad is pure and has a go statement",
	}},
	{"select statement", "node/a.go", "package node\nfunc f() {\n\tselect {}\n}", []string{
		"node/a.go:3: node is pure and has a select statement",
	}},
	{"clock", "tune/a.go", "package tune\nimport clock \"time\"\nvar d = clock.Second\nvar t = clock.Now()", []string{
		"tune/a.go:4: tune is pure and uses clock.Now: the world passes times and seeded sources in",
	}},
	{"a variable called time", "tune/a.go", "package tune\nimport _ \"math\"\nfunc f(time struct{ Now int }) int { return time.Now }", nil},
	{"hidden dice", "stat/a.go", "package stat\nimport \"math/rand/v2\"\nvar r = rand.New(rand.NewPCG(1, 2))\nvar n = rand.IntN(6)", []string{
		"stat/a.go:4: stat is pure and uses rand.IntN: the world passes times and seeded sources in",
	}},
	{"dot import of a clock", "stat/a.go", "package stat\nimport . \"time\"\nvar t = Now()", []string{
		"stat/a.go:2: stat imports time as .: use its name",
	}},
	{"foreign library", "opt/a.go", "package opt\nimport (\n\t_ \"example.org/pure/mat\"\n\t_ \"example.org/other\"\n)", []string{
		"opt/a.go:4: opt imports example.org/other: not in the table of admitted libraries",
	}},
	{"owned import", "lab/b.go", "package lab\nimport _ \"github.com/libp2p/go-libp2p/core/peer\"", []string{
		"lab/b.go:2: lab imports github.com/libp2p/go-libp2p/core/peer: only p2p and . may",
	}},
	{"owned import by its owners", "p2p/stock/a.go", "// Package stock\npackage stock\nimport _ \"github.com/libp2p/go-libp2p\"", nil},
	{"owned import by the root", "shoal.go", "// Package shoal\npackage shoal\nimport _ \"github.com/libp2p/go-libp2p\"", nil},
	{"net/http", "shoal.go", "// Package shoal\npackage shoal\nimport _ \"net/http\"", []string{
		"shoal.go:3: . imports net/http: only web may",
	}},
	{"70 lines", "sim/a.go", "package sim\nfunc f() {\n" + lines(68) + "}", nil},
	{"71 lines", "sim/a.go", "package sim\nfunc (s *set[T]) f() {\n" + lines(69) + "}", []string{
		"sim/a.go:2: set.f has 71 lines: split it (the limit is 70)",
	}},
	{"excused length", "lab/b.go", "package lab\nfunc long() {\n" + lines(100) + "}", nil},
	{"markers", "sim/a.go", "package sim\n\n/* a\nFIXME b */\nvar s = \"TODO\" // TODO: c", []string{
		"sim/a.go:4: left-over marker FIXME: do it or open an issue",
		"sim/a.go:5: left-over marker TODO: do it or open an issue",
	}},
	{"undocumented names", "sim/a.go", "package sim\nfunc F() {}\ntype T int\nfunc (T) M() {}\ntype u int\nfunc (u) M() {}\nvar V, w int\nconst (\n\tC = 1 // counted\n\tD = 2\n)", []string{
		"sim/a.go:2: F has no doc comment",
		"sim/a.go:3: T has no doc comment",
		"sim/a.go:4: M has no doc comment",
		"sim/a.go:7: V has no doc comment",
		"sim/a.go:10: D has no doc comment",
	}},
	{"documented names", "sim/a.go", "package sim\n// F does.\nfunc F() {}\n// The numbers.\nconst (\n\tC = 1\n\tD = 2\n)\ntype (\n\t// T is.\n\tT int\n)", nil},
	{"unknown package", "utils/a.go", "package utils", []string{
		"utils/a.go:1: package utils has no layer: add it to the table in internal/tidy",
		"utils/a.go:1: package utils: name it for what it holds",
		"utils/a.go:1: package utils has no package comment",
		"utils/a.go:1: package utils is not listed in docs/map.md",
	}},
	{"not entered", "sim/testdata/a.go", "not go", nil},
	{"nested module", "tools/x.go", "not go", nil},
}

// TestBadSources injects one file at a time into a clean tree and wants exactly
// the findings given, each with file and line.
func TestBadSources(t *testing.T) {
	for _, test := range badSources {
		t.Run(test.name, func(t *testing.T) {
			tree := cleanTree()
			tree[test.path] = &fstest.MapFile{Data: []byte(test.source)}
			got, err := Check(tree, testRules())
			if err != nil {
				t.Fatal(err)
			}
			var text []string
			for _, f := range got {
				if f.Path != "internal/tidy/rules.go" { // entries that this one source does not need
					text = append(text, f.String())
				}
			}
			if fmt.Sprint(text) != fmt.Sprint(test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(text, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func testRules() Rules {
	r := House
	r.Module = "m"
	r.Edges = map[string]string{"lab -> sim": "shown in a test"}
	r.Admitted = map[string]string{"example.org/pure": "has no state"}
	r.Long = map[string]string{"lab.long": "shown in a test"}
	return r
}

// cleanTree holds every package of the layers with a comment, all of them on
// the map, and a nested module.
func cleanTree() fstest.MapFS {
	tree := fstest.MapFS{"tools/go.mod": {Data: []byte("module tools")}}
	listed := []string{"`m`", "`node/kad`", "`node/echo`", "`p2p/stock`"}
	for dir := range maps.Keys(House.Layers) {
		if dir != "." {
			tree[dir+"/doc.go"] = &fstest.MapFile{Data: []byte("// Package p is.\npackage p\n")}
			listed = append(listed, "`"+dir+"`")
		}
	}
	tree["node/echo/doc.go"] = &fstest.MapFile{Data: []byte("// Package echo is.\npackage echo\n")}
	tree["node/kad/doc.go"] = &fstest.MapFile{Data: []byte("// Package kad is.\npackage kad\n")}
	tree["docs/map.md"] = &fstest.MapFile{Data: []byte(strings.Join(listed, "\n"))}
	return tree
}

func TestStaleExcuses(t *testing.T) {
	got, err := Check(cleanTree(), testRules())
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"lab -> sim", "example.org/pure", "lab.long"} {
		if len(got) != 3 || !strings.Contains(got[i].Text, name) {
			t.Fatalf("want one finding for each unused entry, got %v", got)
		}
	}
}

func TestUnreadableTree(t *testing.T) {
	tree := cleanTree()
	tree["sim/a.go"] = &fstest.MapFile{Data: []byte("package")}
	if _, err := Check(tree, testRules()); err == nil || !strings.Contains(err.Error(), "sim/a.go:1") {
		t.Errorf("a file that does not parse must be named, got %v", err)
	}
}
