package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1   // not found, unreachable, or anything else that went wrong
	exitUsage       = 2   // the command line or a file that it names is wrong
	exitInterrupted = 130 // Ctrl-C before there was anything to show
)

// usageError is an error that the user can repair: it ends the command with
// status 2. Every error that arises before a command starts is one.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef returns a usageError. Its text says what is wanted.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what the commands share. Each command is made by a function
//
//	func newXCommand(a *app) *cobra.Command
//
// in a file of its own and listed in newRoot. Its Args is wantArgs. Its RunE
// takes the context from cmd.Context(), writes its result to a.stdout (one
// object by a.printJSON when a.json is set), everything else by a.screen.printf,
// and returns a usageError for bad input. On Ctrl-C the context ends: print what
// there is and return nil.
type app struct {
	stdout  io.Writer
	screen  *screen
	log     *slog.Logger
	json    bool
	level   levelFlag
	started bool // a command has begun: later errors are not about the command line
}

func newApp(stdout, stderr io.Writer) *app {
	a := &app{stdout: stdout, screen: newScreen(stderr)}
	a.level.now.Set(slog.LevelWarn)
	a.log = slog.New(slog.NewTextHandler(a.screen, &slog.HandlerOptions{Level: &a.level.now}))
	return a
}

// run is the whole program: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := newApp(stdout, stderr)
	return a.execute(ctx, newRoot(a), args)
}

// execute runs a command line and reports its error, if any, on one line.
func (a *app) execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code, text := exitFailed, oneLine(err)
	var usage usageError
	switch {
	case errors.As(err, &usage) || !a.started:
		code = exitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		code, text = exitInterrupted, "interrupted"
	}
	a.screen.printf("shoal: %s", text)
	return code
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "shoal",
		Short: "A peer-to-peer overlay that tunes itself",
		Long: `Shoal is a distributed hash table on libp2p in which every tunable is a declared
knob: a change is first tried in a simulator that runs the same code, then proven
on a canary, and rolled back when it hurts.`,
		Example: `  shoal up                           a network on this machine that measures, searches and proves
  shoal up --ui 127.0.0.1:8000       the same, with a window in the browser
  shoal node --data peer-a           one peer; prints the line that joins it
  shoal sim events --peers 1000      milliseconds, in virtual time
  shoal tune shape --budget 100      better bucket sizes for a described network
  shoal knobs                        what can be tuned
  shoal completion bash              completion for your shell`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().Var(&a.level, "log-level", "what is logged to standard error: debug, info, warn or error")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object on standard output")
	root.AddCommand(
		newClaimsCommand(a),
		newInspectCommand(a),
		newKnobsCommand(a),
		newReplayCommand(a),
		newSimCommand(a),
		newTuneCommand(a),
		newNodeCommand(a),
		newFleetCommand(a),
		newPutCommand(a),
		newGetCommand(a),
		newProvideCommand(a),
		newFindCommand(a),
		newPingCommand(a),
		newUpCommand(a),
		newVersionCommand(a),
	)
	finish(a, root)
	return root
}

// finish gives every command of the tree the same manners: unknown words and
// flags are usage errors on one line that name the fix.
func finish(a *app, root *cobra.Command) {
	root.SetOut(a.stdout)
	root.SetErr(a.screen)
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.HasSubCommands() {
			cmd.Args = noSuchCommand
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		if cmd.Name() == "help" && cmd.Parent() == root {
			cmd.Args = func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err != nil || len(rest) == 0 {
					return err
				}
				return noSuchCommand(topic, rest)
			}
		}
		if body := cmd.RunE; body != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				a.started = true
				return body(cmd, args)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// wantArgs is the rule for a command's arguments: exactly those named, as in its
// usage line.
func wantArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == len(names):
			return nil
		case len(names) == 0:
			return usagef("%s takes no argument: drop %q", cmd.CommandPath(), args[0])
		}
		return usagef("%s wants %s: got %d of %d", cmd.CommandPath(), strings.Join(names, " "), len(args), len(names))
	}
}

// noSuchCommand refuses words after a command that only groups others.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q: did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usagef("unknown command %q: %s --help lists the commands", args[0], cmd.CommandPath())
}

// flagError says in one line what a flag wants.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return noSuchCommand(cmd, args) // a misspelt command has no flags of its own
	}
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return usagef("%w: %s --help lists the flags", err, cmd.CommandPath())
	}
	f := bad.GetFlag()
	wants := map[string]string{
		"bool": "true or false", "duration": "a duration such as 30s or 5m",
		"int": "a whole number", "int64": "a whole number", "float64": "a number",
		"uint": "a whole number from 0", "uint64": "a whole number from 0",
	}
	if want, ok := wants[f.Value.Type()]; ok {
		return usagef("--%s %q: want %s", f.Name, bad.GetValue(), want)
	}
	return usagef("--%s %q: %w", f.Name, bad.GetValue(), bad.Unwrap())
}

// oneLine joins the lines of an error.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "; ")
}

// printJSON writes v as one object on a line of its own.
func (a *app) printJSON(v any) error { return json.NewEncoder(a.stdout).Encode(v) }

// repeatLine returns the command line that repeats a run: what was given, and
// the seed also where it was drawn. Flags that change only the output are left
// out.
func repeatLine(cmd *cobra.Command, args []string) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed && f.Name != "seed" || f.Name == "json" || f.Name == "log-level" {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				words = append(words, "--"+f.Name, quote(v))
			}
			return
		}
		if f.Value.Type() == "bool" {
			words = append(words, "--"+f.Name+"="+f.Value.String())
			return
		}
		words = append(words, "--"+f.Name, quote(f.Value.String()))
	})
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote returns a word as a shell reads it.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// levelFlag is the value of --log-level.
type levelFlag struct{ now slog.LevelVar }

var _ pflag.Value = (*levelFlag)(nil)

func (l *levelFlag) String() string { return strings.ToLower(l.now.Level().String()) }
func (*levelFlag) Type() string     { return "level" }

func (l *levelFlag) Set(text string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if text == strings.ToLower(level.String()) {
			l.now.Set(level)
			return nil
		}
	}
	return errors.New("want debug, info, warn or error")
}
