package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// files are the page: plain HTML, CSS and JavaScript modules, as they are written.
//
//go:embed page
var files embed.FS

// kinds are the types of the page's files; nothing is guessed.
var kinds = map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

// pageFile is one file, ready to be sent.
type pageFile struct {
	kind, tag string
	text      []byte
}

// pageHandler serves the page. A browser asks each time whether a file is still as
// it was, so that no old page meets a new API.
func pageHandler() http.Handler {
	ready := map[string]pageFile{}
	err := fs.WalkDir(files, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		sum := sha256.Sum256(text)
		ready[strings.TrimPrefix(name, "page")] = pageFile{
			kind: mime.FormatMediaType(kinds[path.Ext(name)], map[string]string{"charset": "utf-8"}),
			tag:  `"` + hex.EncodeToString(sum[:8]) + `"`, text: text,
		}
		return err
	})
	if err != nil {
		panic("web: the page is not in the program: " + err.Error())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, Problem{Status: http.StatusMethodNotAllowed, Title: "wrong method", Detail: "the page is read with GET"})
			return
		}
		name := r.URL.Path
		if name == "/" {
			name = "/index.html"
		}
		f, ok := ready[name]
		if !ok {
			refuse(w, Problem{Status: http.StatusNotFound, Title: "no such page", Detail: "the page is at /"})
			return
		}
		w.Header().Set("Content-Type", f.kind)
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", f.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.text))
	})
}
