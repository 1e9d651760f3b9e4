package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/opt/proof"
)

func newTuneProveCommand(a *app) *cobra.Command {
	var short, markdown bool
	var data string
	cmd := &cobra.Command{
		Use:   "prove [FAMILY...]",
		Short: "Hold the optimizers against the published figures of their own benchmarks",
		Long: `Measures each figure anew and prints it beside the reference and the gate. A miss
is shown like a hit and does not change the exit status. Ctrl-C prints the rows
that are done. All seeds are fixed: only processor times differ between runs.

Families: ` + strings.Join(proof.Names(), ", ") + `.`,
		Example: `  shoal tune prove
  shoal tune prove nsga3 islands memetic
  shoal tune prove --short            a few seeds of each: seconds, decides nothing
  shoal tune prove forest --data DIR  DIR/anomaly-odds has the sets
  shoal tune prove nsga3 --json | jq '.rows[] | select(.holds | not)'`,
		ValidArgs: proof.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if markdown && a.json {
				return usagef("--markdown and --json: choose one")
			}
			proofs := proof.All()
			if len(args) > 0 {
				proofs = nil
			}
			for _, family := range args {
				more, err := proof.Of(family)
				if err != nil {
					return usageError{err}
				}
				proofs = append(proofs, more...)
			}
			if data != "" {
				if _, err := os.Stat(data); err != nil {
					return usagef("--data %s: want a directory of data sets: %v", data, err)
				}
				cmd.SetContext(proof.WithData(cmd.Context(), data))
			}
			return a.prove(cmd, args, proofs, short, markdown)
		},
	}
	cmd.Flags().BoolVar(&short, "short", false, "few seeds and short runs")
	cmd.Flags().StringVar(&data, "data", "", "`directory` of data sets; without it proofs that need one (forest) have no rows")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the rows as a table for a page")
	return cmd
}

// proven is the result of shoal tune prove. Its JSON names are stable.
type proven struct {
	Rows        []proof.Row `json:"rows"`
	Holds       int         `json:"holds"`  // rows
	Misses      int         `json:"misses"` // rows
	Short       bool        `json:"short"`
	Interrupted bool        `json:"interrupted,omitempty"` // the rows are those done before Ctrl-C

	repeat string
}

func (a *app) prove(cmd *cobra.Command, args []string, proofs []proof.Proof, short, markdown bool) error {
	ctx := cmd.Context()
	if short {
		ctx = proof.Short(ctx)
	}
	rows, err := a.proveAll(ctx, proofs)
	if err != nil && (ctx.Err() == nil || len(rows) == 0) {
		return err
	}
	p := proven{Rows: rows, Short: short, Interrupted: err != nil, repeat: repeatLine(cmd, args)}
	for _, row := range rows {
		if row.Holds {
			p.Holds++
		} else {
			p.Misses++
		}
	}
	switch {
	case a.json:
		return a.printJSON(p)
	case markdown:
		return p.page(a.stdout)
	}
	a.partly(p.Interrupted)
	return p.text(a.stdout)
}

// proveAll returns the rows so far on an error.
func (a *app) proveAll(ctx context.Context, proofs []proof.Proof) ([]proof.Row, error) {
	bar := a.progress("proving", "families", int64(len(proofs)))
	defer bar.stop()
	var rows []proof.Row
	for _, p := range proofs {
		bar.phase(p.Family)
		more, err := p.Run(ctx, bar.phase)
		rows = slices.Concat(rows, more)
		if err != nil {
			return rows, err
		}
		bar.add(1)
	}
	return rows, nil
}

func (p *proven) text(w io.Writer) error {
	t := newTextTable("", "family", "ours", "gate", "reference", "row", "source")
	for _, row := range p.Rows {
		t.add(verdict(row.Holds), row.Family, significant(row.Ours), significant(row.Gate), significant(row.Reference), row.Name, row.Source)
	}
	if err := t.write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d of %d rows hold\nrepeat with: %s\n", p.Holds, len(p.Rows), p.repeat)
	return err
}

func (p *proven) page(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| | family | row | ours | gate | reference | source |\n|---|---|---|---|---|---|---|\n")
	for _, row := range p.Rows {
		fmt.Fprintf(&b, "| **%s** | %s | %s | %s | %s | %s | %s |\n", verdict(row.Holds), row.Family, row.Name,
			significant(row.Ours), significant(row.Gate), significant(row.Reference), row.Source)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
