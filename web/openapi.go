package web

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// describe answers with the OpenAPI document.
func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, describeAPI(s.routes()))
}

// object is a JSON object under construction.
type object = map[string]any

// describeAPI makes an OpenAPI 3.1 document of routes. Schemas come from the Go
// types that are sent.
func describeAPI(routes []route) object {
	g := &schemas{made: object{}}
	paths := object{}
	for _, r := range routes {
		item, _ := paths[r.path].(object)
		if item == nil {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = g.operation(r)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Shoal", "version": "3",
			"description": "What a Shoal network or peer does, and orders to its tuner. Times are RFC 3339. A reply without data has the state no_data.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []object{{"url": "/"}},
		"paths":      paths,
		"components": object{"schemas": g.made, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
		"security":   []object{{}, {"token": []string{}}},
	}
}

// operation describes one route.
func (g *schemas) operation(r route) object {
	op := object{"operationId": r.id, "summary": r.summary, "tags": []string{"shoal"}}
	params := []object{}
	if strings.Contains(r.path, "{id}") {
		params = append(params, object{"name": "id", "in": "path", "required": true, "description": "of the run", "schema": object{"type": "string"}})
	}
	for _, p := range r.params {
		schema := object{"type": p.kind}
		if p.kind == "integer" {
			schema["minimum"] = 0
		}
		params = append(params, object{"name": p.name, "in": p.in, "required": false, "description": p.doc, "schema": schema})
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	ok := object{"description": r.summary}
	switch {
	case r.reply != nil:
		ok["content"] = object{"application/json": object{"schema": g.of(r.reply)}}
	case r.media == "application/json":
		ok["content"] = object{r.media: object{"schema": object{"type": "object"}}}
	default:
		ok["content"] = object{r.media: object{"schema": object{"type": "string"}}}
	}
	problem := object{"description": "what is wrong and what to do", "content": object{"application/problem+json": object{"schema": g.of(reflect.TypeFor[Problem]())}}}
	replies := object{statusText(r.status): ok, "default": problem}
	if r.body != nil {
		op["requestBody"] = object{"required": false, "content": object{"application/json": object{"schema": g.of(r.body)}}}
		for _, status := range []int{http.StatusConflict, http.StatusUnprocessableEntity} {
			replies[statusText(status)] = problem
		}
	}
	op["responses"] = replies
	return op
}

func statusText(status int) string {
	digits := [3]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}
	return string(digits[:])
}

// schemas makes JSON schemas of Go types. Named structs become components.
type schemas struct{ made object }

// of returns the schema of a type, a reference for a struct.
func (g *schemas) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		inner := g.of(t.Elem())
		if kind, ok := inner["type"].(string); ok {
			inner["type"] = []string{kind, "null"}
			return inner
		}
		return object{"oneOf": []object{inner, {"type": "null"}}}
	case t.Kind() == reflect.Slice:
		return object{"type": []string{"array", "null"}, "items": g.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": g.of(t.Elem())}
	case t.Kind() == reflect.Struct:
		name := schemaName(t)
		if g.made[name] == nil {
			g.made[name] = object{} // a type that holds itself finds it
			g.made[name] = g.fields(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{"type": scalar(t.Kind())}
}

// schemaName is the name of a type without its package: Reply[web.Run] is ReplyRun.
func schemaName(t reflect.Type) string {
	name := t.Name()
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' })
	for i, p := range parts {
		parts[i] = p[strings.LastIndexByte(p, '.')+1:]
	}
	return strings.Join(parts, "")
}

// fields is the schema of a struct: what is not marked omitempty is always there,
// and there is nothing else.
func (g *schemas) fields(t reflect.Type) object {
	properties, required := object{}, []string{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := g.of(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			schema["description"] = doc
		}
		if words := f.Tag.Get("enum"); words != "" {
			schema["enum"] = strings.Split(words, ",")
		}
		properties[name] = schema
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func scalar(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	default:
		return "integer"
	}
}
