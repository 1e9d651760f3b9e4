package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/node/kad"
	"github.com/shoalnet/shoal/node/roster"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/store"
	"github.com/shoalnet/shoal/table"
)

// knobSet joins the declarations of all packages that have something to tune:
// one line each.
func knobSet() (*knob.Set, error) {
	return knob.NewSet(
		table.Knobs(),
		lookup.Knobs(),
		node.Knobs(),
		kad.Knobs(),
		roster.Knobs(),
		p2p.Knobs(),
		store.Knobs(),
	)
}

// knobRow is one declaration in text form. Its JSON names are stable.
type knobRow struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit"`
	Range   string   `json:"range"`
	Scale   string   `json:"scale"`
	Default string   `json:"default"`
	Stock   string   `json:"stock"`
	Apply   string   `json:"apply"`
	Scope   string   `json:"scope"`
	Zero    string   `json:"zero"`
	Guards  []string `json:"guards"`
	Costs   []string `json:"costs"`
	Step    string   `json:"step"`
	Doc     string   `json:"doc"`
	Source  string   `json:"source"`
}

func newKnobsCommand(a *app) *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "knobs",
		Short: "Print every tunable: range, presets, how a change takes effect and whom it touches",
		Example: `  shoal knobs
  shoal knobs --json
  shoal knobs --markdown > docs/knobs.md`,
		Args: wantArgs(),
		RunE: func(*cobra.Command, []string) error {
			set, err := knobSet()
			if err != nil {
				return err
			}
			rows := knobRows(set)
			switch {
			case markdown && a.json:
				return usagef("--markdown and --json: choose one")
			case markdown:
				return writeKnobPage(a.stdout, rows)
			case a.json:
				return a.printJSON(map[string]any{"knobs": rows})
			}
			t := newTextTable("name", "kind", "unit", "range", "scale", "default", "stock", "apply", "scope", "doc")
			for _, r := range rows {
				t.add(r.Name, r.Kind, r.Unit, r.Range, r.Scale, r.Default, r.Stock, r.Apply, r.Scope, r.explained())
			}
			return t.write(a.stdout)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the page docs/knobs.md")
	return cmd
}

func knobRows(set *knob.Set) []knobRow {
	stock, ours := set.Stock(), set.Default()
	rows := []knobRow{}
	for _, k := range set.Knobs() {
		rows = append(rows, knobRow{
			Name: k.Name, Kind: k.Kind.String(), Unit: k.Unit, Range: knobRange(k), Scale: k.Scale.String(),
			Default: ours.Text(k.Name), Stock: stock.Text(k.Name), Apply: k.Apply.String(), Scope: k.Scope.String(),
			Zero: k.Zero, Guards: append([]string{}, k.Guards...), Costs: append([]string{}, k.Costs...), Step: knobStep(&k), Doc: k.Doc, Source: k.Source,
		})
	}
	return rows
}

func knobRange(k knob.Knob) string {
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	switch k.Kind {
	case knob.Enum:
		return strings.Join(k.Choices, ", ")
	case knob.Duration:
		number = func(x float64) string { return time.Duration(x).String() }
	case knob.Int, knob.Vector:
		number = func(x float64) string { return strconv.Itoa(int(x)) }
	default:
	}
	return number(k.Min) + " to " + number(k.Max)
}

// knobStep is the most that a knob may change at once, in words.
func knobStep(k *knob.Knob) string {
	step := strconv.FormatFloat(cmp.Or(k.Step, knob.DefaultStep), 'g', -1, 64)
	switch {
	case k.Kind == knob.Enum:
		return "any"
	case k.Scale == knob.Log:
		return "times " + step
	}
	return "times " + step + " or a tenth of the range"
}

// explained returns the doc with what zero means.
func (r knobRow) explained() string {
	if r.Zero == "" {
		return r.Doc
	}
	return r.Doc + " (0: " + r.Zero + ")"
}

const knobPage = `# Knobs

Everything that can be tuned. Written by ` + "`shoal knobs --markdown`" + `; a test holds this page equal to it.

**stock** is the value of go-libp2p-kad-dht v0.42.1, **default** is ours. **apply** says how a change takes effect on a
running peer: hot is at once. **scope** says whom it touches, and so what an experiment splits into arms: lookups
(request), peers (node), or clusters and time blocks (network). **step** is the most that a fleet changes at once, up or
down. **guards** are what must not get worse. **costs** are what a larger value takes more of, or less with a minus: soft
constraints hold a candidate to 80 % of the memory, 85 % of the processors, and a tenth more of all together than the baseline.

| name | kind | unit | range | scale | step | default | stock | apply | scope | guards | costs | doc | source |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

func writeKnobPage(w io.Writer, rows []knobRow) error {
	var page strings.Builder
	page.WriteString(knobPage)
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	for _, r := range rows {
		page.WriteString("|")
		for _, text := range []string{
			"`" + r.Name + "`", r.Kind, r.Unit, r.Range, r.Scale, r.Step, r.Default, r.Stock, r.Apply, r.Scope,
			strings.Join(r.Guards, ", "), strings.Join(r.Costs, ", "), r.explained(), r.Source,
		} {
			fmt.Fprintf(&page, " %s |", cell.Replace(text))
		}
		page.WriteString("\n")
	}
	_, err := io.WriteString(w, page.String())
	return err
}
