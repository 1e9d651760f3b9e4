package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// shoal runs a command line in this process.
func shoal(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestBadInputIsOneLineAndStatus2(t *testing.T) {
	for args, want := range map[string]string{
		"versn":                       `shoal: unknown command "versn": did you mean version?`,
		"versn --peers 5":             `shoal: unknown command "versn": did you mean version?`,
		"zebra":                       `shoal: unknown command "zebra": shoal --help lists the commands`,
		"completion fsh":              `shoal: unknown command "fsh": did you mean bash or fish or zsh?`,
		"help zebra":                  `shoal: unknown command "zebra": shoal --help lists the commands`,
		"--bogus":                     `shoal: unknown flag: --bogus: shoal --help lists the flags`,
		"knobs --peers 4":             `shoal: unknown flag: --peers: shoal knobs --help lists the flags`,
		"version extra":               `shoal: shoal version takes no argument: drop "extra"`,
		"version --json=maybe":        `shoal: --json "maybe": want true or false`,
		"version --log-level loud":    `shoal: --log-level "loud": want debug, info, warn or error`,
		"version --log-level":         `shoal: flag needs an argument: --log-level: shoal version --help lists the flags`,
		"knobs --json --markdown":     `shoal: --markdown and --json: choose one`,
		"--log-level=WARN+1 version":  `shoal: --log-level "WARN+1": want debug, info, warn or error`,
		"version --json extra --json": `shoal: shoal version takes no argument: drop "extra"`,
	} {
		code, out, err := shoal(t, strings.Fields(args)...)
		if code != exitUsage || out != "" || err != want+"\n" {
			t.Errorf("shoal %s: status %d\nstdout %q\nstderr %q\nwant   %q", args, code, out, err, want+"\n")
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"", "--help", "help", "help version", "completion", "completion bash", "knobs --help"} {
		code, out, err := shoal(t, strings.Fields(args)...)
		if code != exitOK || out == "" || err != "" {
			t.Errorf("shoal %s: status %d, %d bytes of output, stderr %q", args, code, len(out), err)
		}
	}
}

// TestEveryCommandHasAnExample also holds for commands that are added later.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := newRoot(newApp(io.Discard, io.Discard))
	for _, cmd := range root.Commands() {
		if name := cmd.Name(); name != "help" && name != "completion" && (cmd.Short == "" || cmd.Example == "") {
			t.Errorf("shoal %s: wants a Short and an Example", name)
		}
	}
}

// TestErrorsOfACommand runs commands that fail in each way.
func TestErrorsOfACommand(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		text string
	}{
		{"success", t.Context(), nil, exitOK, ""},
		{"not found", t.Context(), errors.New("find: no such peer"), exitFailed, "shoal: find: no such peer\n"},
		{"bad file", t.Context(), fmt.Errorf("sim: %w", usagef("line 3: negative")), exitUsage, "shoal: sim: line 3: negative\n"},
		{"several lines", t.Context(), errors.Join(errors.New("a\n\tb"), errors.New("c")), exitFailed, "shoal: a; b; c\n"},
		{"Ctrl-C", cancelled, context.Canceled, exitInterrupted, "shoal: interrupted\n"},
		{"cancelled by itself", t.Context(), context.Canceled, exitFailed, "shoal: context canceled\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			a := newApp(io.Discard, &stderr)
			root := &cobra.Command{Use: "shoal", SilenceErrors: true, SilenceUsage: true}
			root.AddCommand(&cobra.Command{Use: "do", RunE: func(*cobra.Command, []string) error { return test.err }})
			finish(a, root)
			if code := a.execute(test.ctx, root, []string{"do"}); code != test.code || stderr.String() != test.text {
				t.Errorf("status %d, stderr %q; want %d, %q", code, stderr.String(), test.code, test.text)
			}
		})
	}
}

func TestFlagsSayWhatTheyWant(t *testing.T) {
	for arg, want := range map[string]string{
		"--peers=many":  `--peers "many": want a whole number`,
		"--seed=-1":     `--seed "-1": want a whole number from 0`,
		"--for=6":       `--for "6": want a duration such as 30s or 5m`,
		"--stale=a lot": `--stale "a lot": want a number`,
	} {
		var stderr bytes.Buffer
		a := newApp(io.Discard, &stderr)
		root := &cobra.Command{Use: "shoal", SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error { return nil }}
		root.Flags().Int("peers", 0, "")
		root.Flags().Uint64("seed", 0, "")
		root.Flags().Duration("for", 0, "")
		root.Flags().Float64("stale", 0, "")
		finish(a, root)
		if code := a.execute(t.Context(), root, []string{arg}); code != exitUsage || stderr.String() != "shoal: "+want+"\n" {
			t.Errorf("status %d, stderr %q, want %q", code, stderr.String(), want)
		}
	}
}

func TestLogLevel(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1, "": 2} {
		var stderr bytes.Buffer
		a := newApp(io.Discard, &stderr)
		root := &cobra.Command{Use: "shoal", RunE: func(*cobra.Command, []string) error {
			a.log.Debug("a")
			a.log.Info("b")
			a.log.Warn("c")
			a.log.Error("d")
			return nil
		}}
		root.PersistentFlags().Var(&a.level, "log-level", "")
		finish(a, root)
		var args []string
		if level != "" {
			args = []string{"--log-level", level}
		}
		if code := a.execute(t.Context(), root, args); code != exitOK || strings.Count(stderr.String(), "\n") != want {
			t.Errorf("level %q: status %d, logged\n%swant %d lines", level, code, stderr.String(), want)
		}
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := shoal(t, "version")
	if code != exitOK || !strings.HasPrefix(out, "shoal ") || strings.Count(out, "\n") != 1 {
		t.Errorf("status %d, %q", code, out)
	}
	code, out, _ = shoal(t, "version", "--json")
	var v version
	if err := json.Unmarshal([]byte(out), &v); code != exitOK || err != nil || v != readVersion() {
		t.Errorf("status %d, %q: %v", code, out, err)
	}
}

func TestRepeatLine(t *testing.T) {
	cmd := &cobra.Command{Use: "shoal", RunE: func(*cobra.Command, []string) error { return nil }}
	cmd.Flags().Uint64("seed", 42, "")
	cmd.Flags().Int("peers", 12, "")
	cmd.Flags().StringSlice("listen", nil, "")
	cmd.Flags().String("data", "", "")
	cmd.Flags().Bool("json", false, "")
	cmd.Flags().Bool("fast", false, "")
	cmd.SetArgs([]string{"--listen", "a,b", "--data", "it's here", "--json", "--fast", "x", "y z"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	want := `shoal --data 'it'\''s here' --fast=true --listen a --listen b --seed 42 x 'y z'`
	if got := repeatLine(cmd, cmd.Flags().Args()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
