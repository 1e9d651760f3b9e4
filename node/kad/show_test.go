package kad_test

import (
	"fmt"
	"strings"

	"github.com/shoalnet/shoal/internal/script"
	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/node/kad"
)

func name(id key.ID) string { return script.Format(id) }

// show writes a message as the scenarios have it.
func show(body any) string {
	m, ok := body.(kad.Message)
	if !ok {
		return "nothing"
	}
	words := []string{m.Type.String()}
	if m.Type != kad.Ping {
		words = append(words, name(m.Target))
	}
	if m.Value != nil {
		words = append(words, fmt.Sprintf("value=%q", m.Value))
	}
	if len(m.Closer) > 0 {
		words = append(words, "closer=["+script.FormatAll(m.Closer)+"]")
	}
	if len(m.Providers) > 0 {
		words = append(words, "providers=["+script.FormatAll(m.Providers)+"]")
	}
	return strings.Join(words, " ")
}

// showResult writes what a caller is told.
func showResult(r kad.Result, final bool) string {
	words := []string{r.Op.String()}
	if !final {
		words = append(words, "so far")
	}
	if !r.Found {
		words = append(words, "found nothing")
	}
	if len(r.Peers) > 0 {
		words = append(words, "["+script.FormatAll(r.Peers)+"]")
	}
	if r.Value != nil {
		words = append(words, fmt.Sprintf("value=%q", r.Value))
	}
	if r.Elapsed > 0 {
		words = append(words, "in "+r.Elapsed.String())
	}
	s := strings.Join(words, " ")
	if r.Why != "" {
		s += ": " + r.Why
	}
	return s
}
