package tidy

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// banned are the imports that pure layers must not have, with all below them:
// each brings a clock, a goroutine, I/O or hidden dice.
var banned = []string{
	"os", "net", "sync", "context", "log", "runtime", "unsafe", "math/rand", "crypto/rand",
	"hash/maphash", "syscall", "C",
}

// partly are the imports of which pure layers may use only the names given:
// time as a unit, and random sources that were seeded by the caller.
var partly = map[string][]string{
	"time": {"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "ParseDuration"},
	"math/rand/v2": {
		"Rand", "Source", "PCG", "ChaCha8", "Zipf", "New", "NewPCG", "NewChaCha8", "NewZipf",
	},
}

// imports checks who imports whom. Tests may import what they like: they hold
// worlds and foreign libraries against each other.
func (c *check) imports(f *file) {
	if f.test {
		return
	}
	for _, spec := range f.ast.Imports {
		target := importPath(spec)
		if target == "testing" || strings.HasPrefix(target, "testing/") {
			c.report(f, spec.Pos(), "%s imports %s: only tests may", f.dir, target)
		}
		if dir, ok := c.rules.own(target); ok {
			c.edge(f, spec, dir)
		} else if c.rules.pure(f.dir) {
			c.pureImport(f, spec, target)
		}
		for _, root := range slices.Sorted(maps.Keys(c.rules.Owners)) {
			owners := c.rules.Owners[root]
			if within(target, root) && !withinAny(f.dir, owners) {
				c.report(f, spec.Pos(), "%s imports %s: only %s may", f.dir, target, strings.Join(owners, " and "))
			}
		}
	}
}

// edge checks an import inside the module: downwards only, except between a
// package and one below its own directory.
func (c *check) edge(f *file, spec *ast.ImportSpec, target string) {
	from, ok := c.rules.layer(f.dir)
	to, known := c.rules.layer(target)
	switch {
	case !ok || !known: // packageRules names the package without a layer
	case to == TestOnly:
		c.report(f, spec.Pos(), "%s imports %s: only tests may", f.dir, target)
	case to < from, f.dir != "." && within(target, f.dir), target != "." && within(f.dir, target):
	case c.excused(c.rules.Edges, f.dir+" -> "+target):
	case to == from:
		c.report(f, spec.Pos(), "%s (L%d) imports %s sideways: import only downwards", f.dir, from, target)
	default:
		c.report(f, spec.Pos(), "%s (L%d) imports %s (L%d) upwards: import only downwards", f.dir, from, target, to)
	}
}

// pureImport checks what a pure package imports from outside the module.
func (c *check) pureImport(f *file, spec *ast.ImportSpec, target string) {
	first, _, _ := strings.Cut(target, "/")
	_, part := partly[target]
	switch {
	case strings.Contains(first, "."):
		for lib := range c.rules.Admitted {
			if within(target, lib) && c.excused(c.rules.Admitted, lib) {
				return
			}
		}
		c.report(f, spec.Pos(), "%s imports %s: not in the table of admitted libraries", f.dir, target)
	case part:
		if name := localName(spec); name == "." || name == "_" {
			c.report(f, spec.Pos(), "%s imports %s as %s: use its name", f.dir, target, name)
		}
	default:
		if withinAny(target, banned) {
			c.report(f, spec.Pos(), "%s is pure and imports %s: take it as an argument or ask the world", f.dir, target)
		}
	}
}

// purity checks the statements and names of a pure file.
func (c *check) purity(f *file) {
	allowed := map[string][]string{}
	for _, spec := range f.ast.Imports {
		if names, ok := partly[importPath(spec)]; ok {
			allowed[localName(spec)] = names
		}
	}
	packages := map[*ast.Ident]bool{} // what no scope of the file declares
	for _, ident := range f.ast.Unresolved {
		packages[ident] = true
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			c.report(f, n.Pos(), "%s is pure and has a go statement", f.dir)
		case *ast.SelectStmt:
			c.report(f, n.Pos(), "%s is pure and has a select statement", f.dir)
		case *ast.SelectorExpr:
			ident, ok := n.X.(*ast.Ident)
			if !ok || !packages[ident] {
				break
			}
			if names, ok := allowed[ident.Name]; ok && !slices.Contains(names, n.Sel.Name) {
				c.report(f, n.Pos(), "%s is pure and uses %s.%s: the world passes times and seeded sources in", f.dir, ident.Name, n.Sel.Name)
			}
		}
		return true
	})
}

func importPath(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has already refused it
	}
	return name
}

// localName returns the name by which a file knows an import: the given one, or
// the last element of its path that is not a version.
func localName(spec *ast.ImportSpec) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	target := importPath(spec)
	base := path.Base(target)
	if len(base) > 1 && base[0] == 'v' && token.IsIdentifier(base) && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(target))
	}
	return base
}
