package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	dht "github.com/shoalnet/shoal"
)

// putFlags are the flags of shoal put.
type putFlags struct {
	clientFlags
	hash bool
	name string
	dir  string
	ttl  time.Duration
}

func newPutCommand(a *app) *cobra.Command {
	var f putFlags
	cmd := &cobra.Command{
		Use:   "put KEY [VALUE|-]",
		Short: "Store a value in the network",
		Long: `Stores a value, read from standard input if it is not given or "-", under a key of
one of two kinds. /sha256/<hex> holds the one value with that hash: --sha256 makes
the key. /signed/<peer>/<name> holds what that peer signed last: --name makes the
key, and --data is the directory with the peer's identity, made if there is none.`,
		Example: `  shoal put --join DIR --sha256 "a value"
  shoal put --join DIR --data ME --name greeting "good morning"
  shoal put --join DIR /sha256/<hex> - < file`,
		Args: func(_ *cobra.Command, args []string) error { return f.wantArgs(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return a.put(cmd.Context(), &f, args, cmd.InOrStdin()) },
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.hash, "sha256", false, "the key is /sha256/ and the hash of the value: give no KEY")
	cmd.Flags().StringVar(&f.name, "name", "", "the key is /signed/<peer of --data>/`NAME`: give no KEY")
	cmd.Flags().StringVar(&f.dir, "data", "", "`directory` with the identity that signs")
	cmd.Flags().DurationVar(&f.ttl, "ttl", 48*time.Hour, "how long a signed value is valid")
	return cmd
}

// keyed reports whether the key comes from a flag.
func (f *putFlags) keyed() bool { return f.hash || f.name != "" }

func (f *putFlags) wantArgs(args []string) error {
	least, most, usage := 1, 2, "KEY [VALUE|-]"
	if f.keyed() {
		least, most, usage = 0, 1, "[VALUE|-] with --sha256 or --name"
	}
	if len(args) < least || len(args) > most {
		return usagef("shoal put wants %s: got %d arguments", usage, len(args))
	}
	return nil
}

// valueOf returns the value that the arguments or the input give.
func (f *putFlags) valueOf(args []string, in io.Reader) ([]byte, error) {
	if !f.keyed() {
		args = args[1:]
	}
	value := []byte(nil)
	if len(args) == 1 && args[0] != "-" {
		value = []byte(args[0])
	} else {
		var err error
		if value, err = io.ReadAll(io.LimitReader(in, dht.MaxPayload+1)); err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
	}
	if len(value) > dht.MaxPayload {
		return nil, usagef("the value is too long: want at most %d bytes", dht.MaxPayload)
	}
	return value, nil
}

// signer is who signs a value, and under which name.
type signer struct {
	identity dht.Identity
	key      string
	name     string
}

// keyOf returns the key of a value that is its own name, or who signs it.
func (f *putFlags) keyOf(args []string, value []byte) (key string, by *signer, err error) {
	switch {
	case f.hash && f.name != "":
		return "", nil, usagef("--sha256 and --name: choose one")
	case f.hash:
		return dht.HashKey(value), nil, nil
	case f.name != "":
		by, err = f.signer("", f.name)
		return "", by, err
	}
	key = args[0]
	if err := checkKey(key); err != nil {
		return "", nil, err
	}
	if _, name, err := dht.ParseSignedKey(key); err == nil {
		by, err := f.signer(key, name)
		return key, by, err
	}
	if want := dht.HashKey(value); key != want {
		return "", nil, usagef("key %q is not that of the value: want %s, or use --sha256", key, want)
	}
	return key, nil, nil
}

// signer reads the identity that owns a key; an empty key is the one that it
// makes.
func (f *putFlags) signer(key, name string) (*signer, error) {
	switch {
	case f.dir == "":
		return nil, usagef("a signed value needs --data DIR, the directory with the identity that signs")
	case f.ttl < time.Second:
		return nil, usagef("--ttl %v: want at least 1s", f.ttl)
	}
	identity, err := openIdentity(f.dir)
	if err != nil {
		return nil, err
	}
	own, _, err := dht.Sign(identity, name, dht.Signed{Expires: time.Now()})
	if err != nil {
		return nil, usageError{bare(err)}
	}
	if key != "" && key != own {
		return nil, usagef("key %q belongs to another peer: the identity in %s owns %s", key, f.dir, own)
	}
	return &signer{identity, own, name}, nil
}

func (a *app) put(ctx context.Context, f *putFlags, args []string, in io.Reader) error {
	prefix, peers, err := f.check()
	if err != nil {
		return err
	}
	if prefix == dht.PublicPrefix {
		return usagef("the public network takes no values of these kinds: put them on a network of your own")
	}
	value, err := f.valueOf(args, in)
	if err != nil {
		return err
	}
	key, by, err := f.keyOf(args, value)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx, &f.clientFlags, prefix, peers)
	if err != nil {
		return err
	}
	defer c.stop()
	if by != nil {
		if key, value, err = by.sign(c, value, f.ttl); err != nil {
			return f.failed(ctx, err)
		}
	}
	stored, err := c.Store(c.ctx, key, value)
	if err != nil {
		return f.failed(ctx, err)
	}
	if a.json {
		return a.printJSON(map[string]any{"key": key, "stored": len(stored), "bytes": len(value)})
	}
	a.screen.printf("stored at %d peers", len(stored))
	_, err = fmt.Fprintln(a.stdout, key)
	return err
}

// sign makes the record that follows the one that the network holds. Numbers are
// milliseconds since 1970, so that they grow even where the last is not found.
func (by *signer) sign(c *client, payload []byte, ttl time.Duration) (key string, value []byte, err error) {
	now := time.Now()
	s := dht.Signed{Sequence: uint64(now.UnixMilli()), Expires: now.Add(ttl), Payload: payload}
	held, err := c.GetValue(c.ctx, by.key)
	if err != nil && !errors.Is(err, dht.ErrNotFound) {
		return "", nil, err
	}
	if last, err := dht.ParseSigned(held); err == nil {
		s.Sequence = max(s.Sequence, last.Sequence+1)
	}
	return dht.Sign(by.identity, by.name, s)
}

func newGetCommand(a *app) *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print a value of the network",
		Example: `  shoal get --join DIR /sha256/<hex> > file
  shoal get --join DIR /signed/12D3KooW.../greeting`,
		Args: wantArgs("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.get(cmd.Context(), &f, args[0]) },
	}
	f.add(cmd)
	return cmd
}

// gotten is a value for machines. Its JSON names are stable.
type gotten struct {
	Key      string     `json:"key"`
	Text     *string    `json:"value,omitempty"` // where it is text
	Raw      []byte     `json:"value_base64"`
	Sequence uint64     `json:"sequence,omitempty"` // of a signed value, likewise Expires
	Expires  *time.Time `json:"expires,omitempty"`
}

func (a *app) get(ctx context.Context, f *clientFlags, key string) error {
	prefix, peers, err := f.check()
	if err != nil {
		return err
	}
	if prefix != dht.PublicPrefix {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	c, err := a.connect(ctx, f, prefix, peers)
	if err != nil {
		return err
	}
	defer c.stop()
	value, err := c.GetValue(c.ctx, key)
	if err != nil {
		return f.failed(ctx, fmt.Errorf("%s: %w", key, err))
	}
	result := gotten{Key: key, Raw: value}
	if strings.HasPrefix(key, "/signed/") {
		s, err := dht.ParseSigned(value)
		if err != nil {
			return bare(err)
		}
		result.Raw, result.Sequence, result.Expires = s.Payload, s.Sequence, &s.Expires
	}
	return a.printValue(result)
}

// printValue writes a value as it is; on a terminal with the end of a line.
func (a *app) printValue(v gotten) error {
	if a.json {
		if utf8.Valid(v.Raw) {
			text := string(v.Raw)
			v.Text = &text
		}
		return a.printJSON(v)
	}
	if newScreen(a.stdout).terminal {
		v.Raw = append(v.Raw, '\n')
	}
	_, err := a.stdout.Write(v.Raw)
	return err
}
