package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/sim"
	"github.com/shoalnet/shoal/sim/reproduce"
	"github.com/shoalnet/shoal/sim/static"
)

func newSimReproduceCommand(a *app) *cobra.Command {
	var opt reproduce.Options
	var only string
	var markdown bool
	cmd := &cobra.Command{
		Use:   "reproduce",
		Short: "Meet published figures: hops, path lengths and tables, each beside ours",
		Long: `Simulates what others have published on Kademlia, Chord and the IPFS network and
prints each figure beside ours. A row holds if ours is within the tolerance; a
miss is shown like a hit and does not change the exit status.

--quick runs a tenth of the lookups, leaves out the rows of a million peers and
adds four standard errors to the tolerances.`,
		Example: `  shoal sim reproduce --quick
  shoal sim reproduce --only 'sweep|pairs'
  shoal sim reproduce --json --seed 7
  shoal sim reproduce --markdown > docs/reproduce.md`,
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := atLeastOne(cmd.Flags()); err != nil {
				return err
			}
			if markdown && a.json {
				return usagef("--markdown and --json: choose one")
			}
			if only != "" {
				pattern, err := regexp.Compile(only)
				if err != nil {
					return usagef("--only %q: want a regular expression: %w", only, err)
				}
				opt.Only = pattern
			}
			return a.reproduce(cmd, opt, markdown)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opt.Quick, "quick", false, "fewer lookups and wider tolerances: about a minute on two cores")
	f.StringVar(&only, "only", "", "only the rows whose name matches a regular `expression`")
	f.Uint64Var(&opt.Seed, "seed", 1, "of all networks and lookups")
	f.IntVar(&opt.Workers, "workers", 0, "threads (default: all cores); the result does not depend on it")
	f.BoolVar(&markdown, "markdown", false, "print the page docs/reproduce.md")
	return cmd
}

// reproduction is the result of shoal sim reproduce. Its JSON names are stable.
type reproduction struct {
	Rows        []reproduce.Row `json:"rows"`
	Holds       int             `json:"holds"`  // rows
	Misses      int             `json:"misses"` // rows
	Quick       bool            `json:"quick"`
	Seed        uint64          `json:"seed"`
	Seconds     float64         `json:"seconds"` // of wall time
	CPUSeconds  float64         `json:"cpu_s"`
	Interrupted bool            `json:"interrupted,omitempty"` // the rows are those done before Ctrl-C

	repeat string
}

func (a *app) reproduce(cmd *cobra.Command, opt reproduce.Options, markdown bool) error {
	started, cpu := time.Now(), sim.CPUTime()
	rows, err := a.reproduceRows(cmd, opt)
	if err != nil && (cmd.Context().Err() == nil || len(rows) == 0) {
		return simError(err)
	}
	r := reproduction{
		Rows: rows, Quick: opt.Quick, Seed: opt.Seed, Seconds: time.Since(started).Seconds(),
		CPUSeconds: (sim.CPUTime() - cpu).Seconds(), Interrupted: err != nil, repeat: repeatLine(cmd, nil),
	}
	for _, row := range rows {
		if row.Holds {
			r.Holds++
		} else {
			r.Misses++
		}
	}
	switch {
	case a.json:
		return a.printJSON(r)
	case markdown:
		a.partly(r.Interrupted)
		return r.page(a.stdout)
	}
	a.partly(r.Interrupted)
	return r.text(a.stdout)
}

// reproduceRows measures and shows which row is next.
func (a *app) reproduceRows(cmd *cobra.Command, opt reproduce.Options) ([]reproduce.Row, error) {
	var bar *progress
	shown := 0
	rows, err := reproduce.Run(cmd.Context(), opt, func(p reproduce.Progress) {
		if bar == nil {
			bar = a.progress("", "steps", int64(p.Cost))
		}
		bar.phase(fmt.Sprintf("row %d of %d, %s", p.Row+1, p.Rows, p.Name))
		bar.add(int64(p.Done - shown))
		shown = p.Done
	})
	if bar != nil {
		bar.stop()
	}
	return rows, err
}

// verdict says whether a row holds.
func verdict(holds bool) string {
	if holds {
		return "holds"
	}
	return "misses"
}

// number writes a figure with as many digits as its tolerance deserves.
func number(x float64) string { return fmt.Sprintf("%.5g", x) }

// cells returns what the table and the page show of a row.
func cells(row reproduce.Row) []string {
	slack := number(row.Tolerance)
	switch row.Relation {
	case reproduce.AtLeast:
		slack = "or more"
	case reproduce.AtMost:
		slack = "or less"
	}
	se := "-"
	if row.SE > 0 {
		se = fmt.Sprintf("%.1g", row.SE)
	}
	return []string{verdict(row.Holds), row.Name, number(row.Published), number(row.Ours), se, slack, row.Source}
}

func (r *reproduction) text(w io.Writer) error {
	t := newTextTable("", "row", "published", "ours", "error", "tolerance", "source")
	for _, row := range r.Rows {
		t.add(cells(row)...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	var b strings.Builder
	for _, row := range r.Rows {
		if strings.HasPrefix(row.Name, "pairs averaged") && row.Histogram != nil {
			fmt.Fprintf(&b, "\n%s: lookups by hops\n%s", row.Name, static.Histogram(row.Histogram, 50))
		}
	}
	b.WriteString(r.details("\n", ""))
	fmt.Fprintf(&b, "\n%s\n%s\nrepeat with: %s\n", r.summary(), r.misses("  misses: "), r.repeat)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *reproduction) summary() string {
	return fmt.Sprintf("%d of %d rows hold, in %.0f s (%.0f CPU s)", r.Holds, len(r.Rows), r.Seconds, r.CPUSeconds)
}

// details returns a line for each row that has measured more than its figure,
// below a head; nothing if there is none.
func (r *reproduction) details(head, indent string) string {
	var b strings.Builder
	for _, row := range r.Rows {
		if row.Detail != "" {
			fmt.Fprintf(&b, "%s%s%s: %s\n", head, indent, row.Name, row.Detail)
			head = ""
		}
	}
	return b.String()
}

// misses returns a line for each row that misses, with what is known about it.
func (r *reproduction) misses(indent string) string {
	var b strings.Builder
	for _, row := range r.Rows {
		if row.Holds {
			continue
		}
		fmt.Fprintf(&b, "%s%s: %s, published %s", indent, row.Name, number(row.Ours), number(row.Published))
		if row.Note != "" {
			b.WriteString(": " + row.Note)
		}
		b.WriteString("\n")
	}
	return b.String()
}

const reproducePage = `# Published results

Written by ` + "`shoal sim reproduce --markdown`" + `: what others have published beside what the simulator measures. A row holds
if ours is within the tolerance of the published figure, or on the named side of it; a miss is shown like a hit. "Error" is
the standard error of ours from the lookups alone.

`

func (r *reproduction) page(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s, with seed %d.\n", reproducePage, r.summary(), r.Seed)
	if r.Interrupted {
		b.WriteString("\n**Interrupted: these are the rows that were done by then.**\n")
	}
	b.WriteString("\n| | row | published | ours | error | tolerance | source | grade | command |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| **%s** | %s | %s | `%s` |\n", verdict(row.Holds), strings.Join(cells(row)[1:], " | "), row.Grade, row.Command)
	}
	b.WriteString(r.details("\n## Details\n\n", "- "))
	if r.Misses > 0 {
		fmt.Fprintf(&b, "\n## Misses\n\n%s", r.misses("- "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
