package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// vague are package names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc"}

var marker = regexp.MustCompile(`\b(TODO|FIXME)\b`)

// packageRules checks once for each package what holds for it as a whole.
func (c *check) packageRules(f *file, documented bool) {
	if c.packages[f.dir] {
		return
	}
	c.packages[f.dir] = true
	top := f.ast.Package
	if _, ok := c.rules.layer(f.dir); !ok {
		c.report(f, top, "package %s has no layer: add it to the table in internal/tidy", f.dir)
	}
	if slices.Contains(vague, path.Base(f.dir)) || slices.Contains(vague, f.ast.Name.Name) {
		c.report(f, top, "package %s: name it for what it holds", f.dir)
	}
	if !documented {
		c.report(f, top, "package %s has no package comment", f.dir)
	}
	name := f.dir
	if name == "." {
		name = path.Base(c.rules.Module)
	}
	if !strings.Contains(c.mapText, "`"+name+"`") {
		c.report(f, top, "package %s is not listed in %s", name, c.rules.MapFile)
	}
}

// form checks how one file looks: left-over markers, long functions, names
// without a comment.
func (c *check) form(f *file) {
	for _, group := range f.ast.Comments {
		for _, comment := range group.List {
			if at := marker.FindStringIndex(comment.Text); at != nil {
				c.report(f, comment.Pos()+token.Pos(at[0]), "left-over marker %s: do it or open an issue", comment.Text[at[0]:at[1]])
			}
		}
	}
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			c.length(f, fn)
		}
		if !strings.HasSuffix(f.path, "_test.go") {
			c.documented(f, decl)
		}
	}
}

func (c *check) length(f *file, fn *ast.FuncDecl) {
	lines := f.line(fn.End()) - f.line(fn.Pos()) + 1
	if lines <= c.rules.MaxLines {
		return
	}
	name := fn.Name.Name
	if recv := receiver(fn); recv != "" {
		name = recv + "." + name
	}
	if !c.excused(c.rules.Long, f.dir+"."+name) {
		c.report(f, fn.Pos(), "%s has %d lines: split it (the limit is %d)", name, lines, c.rules.MaxLines)
	}
}

// documented checks that exported names carry a comment. One comment above a
// group of constants or variables stands for all of them.
func (c *check) documented(f *file, decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		recv := receiver(decl)
		if decl.Doc == nil && decl.Name.IsExported() && (recv == "" || ast.IsExported(recv)) {
			c.report(f, decl.Pos(), "%s has no doc comment", decl.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				alone := !decl.Lparen.IsValid() && decl.Doc != nil
				if spec.Name.IsExported() && spec.Doc == nil && !alone {
					c.report(f, spec.Pos(), "%s has no doc comment", spec.Name.Name)
				}
			case *ast.ValueSpec:
				if decl.Doc != nil || spec.Doc != nil || spec.Comment != nil {
					continue
				}
				for _, name := range spec.Names {
					if name.IsExported() {
						c.report(f, name.Pos(), "%s has no doc comment", name.Name)
					}
				}
			}
		}
	}
}

// receiver returns the type name of a method's receiver, empty for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return ""
	}
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
