package web

import (
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

// texts returns the page's files.
func texts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(files, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		out[strings.TrimPrefix(name, "page")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Nothing is fetched from elsewhere, and nothing that peers say can become HTML or
// code: the page has no call that would do that.
func TestPageKeepsToItself(t *testing.T) {
	banned := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment|srcdoc|javascript:| style="| on[a-z]+="|@import|url\(`)
	elsewhere := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	for name, text := range texts(t) {
		if at := banned.FindString(text); at != "" {
			t.Errorf("%s has %q", name, at)
		}
		for _, url := range elsewhere.FindAllString(text, -1) {
			if !strings.HasPrefix(url, "http://www.w3.org") { // the name of SVG
				t.Errorf("%s names %s", name, url)
			}
		}
	}
}

// Every file that the page names is there, and every file is named.
func TestPageIsWhole(t *testing.T) {
	all := texts(t)
	named := map[string]bool{"/index.html": true}
	refers := regexp.MustCompile(`(?:src|href)="(/[^"#]+)"`)
	imports := regexp.MustCompile(`from "(\.[^"]+)"`)
	for name, text := range all {
		for _, m := range refers.FindAllStringSubmatch(text, -1) {
			named[m[1]] = true
		}
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			named[path.Join(path.Dir(name), m[1])] = true
		}
	}
	for name := range named {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is named and not there", name)
		}
	}
	for name := range all {
		if !named[name] {
			t.Errorf("%s is there and not named", name)
		}
	}
	s := opened(t, Config{Board: NewBoard(), unlimited: true})
	for name, text := range all {
		got := ask(t, s, http.MethodGet, name, "")
		if string(got.body) != text || !strings.HasPrefix(got.header.Get("Content-Type"), kinds[path.Ext(name)]+";") {
			t.Errorf("%s: %d %s", name, got.status, got.header.Get("Content-Type"))
		}
	}
}

// The page reads every part and stream, and asks for what is there.
func TestPageKnowsWhatIsTold(t *testing.T) {
	var all strings.Builder
	for name, text := range texts(t) {
		if strings.HasSuffix(name, ".js") {
			all.WriteString(text)
		}
	}
	for what := range posters {
		if !regexp.MustCompile(`\b(s|state|shared\.state)\??\.` + what + `\b|"` + what + `"|\b` + what + `: \d`).MatchString(all.String()) {
			t.Errorf("the page does nothing with %s", what)
		}
	}
}
