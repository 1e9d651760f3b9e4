// Package tidy enforces the rules of the house inside go test: which package may
// import which, what the pure layers must not touch, and how code must look.
// The tables are in [House]; a rule is broken by changing the table with a
// reason, never by an annotation in the code.
//
// Only syntax is read, so the whole tree takes well under a second and no tool
// has to be installed. What needs types is left to go vet and the linter.
package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Finding is one broken rule.
type Finding struct {
	Path string // of the file, relative to the root of the tree
	Line int    // 1 where the whole file or package is meant
	Text string // what is wrong and what to do
}

// String returns the finding as "path:line: text", which editors understand.
func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text) }

// file is one parsed source file.
type file struct {
	path string
	dir  string // of its package; "." is the root
	test bool   // built only for tests
	ast  *ast.File
	set  *token.FileSet
}

func (f *file) line(pos token.Pos) int { return f.set.Position(pos).Line }

// check collects the findings of one run.
type check struct {
	rules    Rules
	mapText  string
	found    []Finding
	used     map[string]bool // excuses that were needed
	packages map[string]bool // directories already seen by packageRules
}

func (c *check) report(f *file, pos token.Pos, format string, args ...any) {
	c.found = append(c.found, Finding{Path: f.path, Line: f.line(pos), Text: fmt.Sprintf(format, args...)})
}

// excused reports whether a table has an entry for name, and remembers that the
// entry is needed.
func (c *check) excused(table map[string]string, name string) bool {
	_, ok := table[name]
	c.used[name] = c.used[name] || ok
	return ok
}

// Check reads the Go files of a module and returns every broken rule, sorted by
// file and line. It reports an error only for a tree that cannot be read or
// parsed. Hidden directories, testdata and nested modules are not entered.
func Check(tree fs.FS, rules Rules) ([]Finding, error) {
	files, err := load(tree, rules)
	if err != nil {
		return nil, err
	}
	c := &check{rules: rules, used: map[string]bool{}, packages: map[string]bool{}}
	if text, err := fs.ReadFile(tree, rules.MapFile); err == nil {
		c.mapText = string(text)
	}
	documented := map[string]bool{}
	for _, f := range files {
		documented[f.dir] = documented[f.dir] || f.ast.Doc != nil
	}
	for _, f := range files {
		c.packageRules(f, documented[f.dir])
		c.imports(f)
		if !f.test && c.rules.pure(f.dir) {
			c.purity(f)
		}
		c.form(f)
	}
	c.staleExcuses()
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		if n := strings.Compare(a.Path, b.Path); n != 0 {
			return n
		}
		return a.Line - b.Line
	})
	return c.found, nil
}

// staleExcuses keeps the tables short: an entry that excuses nothing goes.
func (c *check) staleExcuses() {
	for _, table := range []map[string]string{c.rules.Edges, c.rules.Admitted, c.rules.Long} {
		for _, name := range slices.Sorted(maps.Keys(table)) {
			if !c.used[name] {
				c.found = append(c.found, Finding{Path: "internal/tidy/rules.go", Line: 1, Text: fmt.Sprintf("the entry %q is not needed any more: drop it", name)})
			}
		}
	}
}

// load parses every file of the module's own packages, in lexical order.
func load(tree fs.FS, rules Rules) ([]*file, error) {
	var files []*file
	set := token.NewFileSet()
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && skip(tree, name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("tidy: %w", err)
		}
		dir := path.Dir(name)
		files = append(files, &file{
			path: name, dir: dir, ast: parsed, set: set,
			test: strings.HasSuffix(name, "_test.go") || rules.testOnly(dir),
		})
		return nil
	})
	return files, err
}

func skip(tree fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(tree, dir+"/go.mod")
	return err == nil
}
