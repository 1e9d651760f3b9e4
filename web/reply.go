package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The states of a reply.
const (
	stateOK     = "ok"
	stateNoData = "no_data"
)

// Reply is the form of every answer: what is known, and up to which entry of the
// journal. Where nothing is known the state is "no_data" and Why says what is
// missing; there is no figure that stands for nothing.
type Reply[T any] struct {
	State string    `json:"state" enum:"ok,no_data"`
	Seq   uint64    `json:"seq" doc:"last entry of the journal that the reply reflects, 0 before the first"`
	At    time.Time `json:"at"`
	Why   string    `json:"why,omitempty" doc:"there is no data"`
	Data  *T        `json:"data" doc:"null without data"`
}

// List is the data of a reply that may be continued.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  uint64 `json:"next,omitempty" doc:"give it as after= for what follows; absent at the end"`
}

// Problem is an error in the form of RFC 9457.
type Problem struct {
	Status     int    `json:"status"`
	Title      string `json:"title"`
	Detail     string `json:"detail" doc:"what to do"`
	Field      string `json:"field,omitempty" doc:"of the request"`
	Constraint string `json:"constraint,omitempty" doc:"that the request would break"`
	ActiveID   string `json:"active_id,omitempty" doc:"of the run that is under way"`
}

func refuse(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(encode(p)) // who has gone needs no answer
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(encode(v)) // likewise
}

// readBody reads a JSON object into v. Unknown fields and those of a wrong type are
// named.
func readBody(r *http.Request, v any) *Problem {
	if !isJSON(r) {
		return &Problem{Status: http.StatusUnsupportedMediaType, Title: "not JSON", Detail: "send the header Content-Type: application/json"}
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return &Problem{Status: http.StatusRequestEntityTooLarge, Title: "too large", Detail: fmt.Sprintf("a request has at most %d bytes", maxBody)}
		}
		return &Problem{Status: http.StatusBadRequest, Title: "not read", Detail: err.Error()}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return &Problem{Status: http.StatusBadRequest, Title: "not a JSON object", Detail: err.Error()}
	}
	if field := unknown(reflect.TypeOf(v).Elem(), fields, ""); field != "" {
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "unknown field", Field: field, Detail: "the request has no field " + field + ": see " + DescriptionPath}
	}
	if err := json.Unmarshal(text, v); err != nil {
		p := &Problem{Status: http.StatusUnprocessableEntity, Title: "wrong type", Detail: err.Error()}
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			p.Field, p.Detail = wrong.Field, fmt.Sprintf("%s: want %s, got %s", wrong.Field, jsonName(wrong.Type), wrong.Value)
		}
		return p
	}
	return nil
}

// unknown returns the path of the first field, in order of names, that a type does
// not have. Only exact names count.
func unknown(t reflect.Type, fields map[string]json.RawMessage, prefix string) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		field, ok := fieldNamed(t, name)
		if !ok {
			return prefix + name
		}
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		var below map[string]json.RawMessage
		if inner.Kind() == reflect.Struct && json.Unmarshal(fields[name], &below) == nil {
			if path := unknown(inner, below, prefix+name+"."); path != "" {
				return path
			}
		}
	}
	return ""
}

func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if own, _, _ := strings.Cut(f.Tag.Get("json"), ","); own == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// jsonName is what a Go type is called in JSON.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	default:
		return "a number"
	}
}
