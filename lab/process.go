package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Processes returns a pool of n child processes. The command must call Serve on
// its standard input and output; what it writes to standard error is part of the
// error when it dies. A task that ends with ctx costs its child, which is
// replaced. Children are killed when ctx ends or the pool is closed, and end by
// themselves when this process does. It fails if a child cannot be started.
func Processes(ctx context.Context, command []string, n int) (Pool, error) {
	if len(command) == 0 {
		return nil, errors.New("lab: no command: give the program that calls lab.Serve")
	}
	p, err := newPool(ctx, n, func(ctx context.Context) (worker, error) { return startProcess(ctx, command) })
	if err != nil {
		return nil, err // not a nil *pool in an interface
	}
	return p, nil
}

// process is one child.
type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	log     *tail
}

// killDelay is how long a child's descendants may keep its pipes open.
const killDelay = time.Second

func startProcess(ctx context.Context, command []string) (worker, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.WaitDelay = killDelay
	p := &process{command: cmd, log: &tail{}}
	cmd.Stderr = p.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", command[0], err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", command[0], err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", command[0], err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, nil
}

func (p *process) do(ctx context.Context, task Task) (Result, error) {
	body, err := task.MarshalBinary()
	if err == nil && len(body) > maxFrame {
		err = errTooLarge
	}
	if err != nil {
		return Result{Err: err.Error()}, nil
	}
	defer context.AfterFunc(ctx, p.kill)()
	if err := writeFrame(p.in, body); err != nil {
		return Result{}, p.death(err)
	}
	body, err = readFrame(p.out)
	if err != nil {
		return Result{}, p.death(err)
	}
	var r Result
	if err := r.UnmarshalBinary(body); err != nil {
		return Result{}, p.death(err)
	}
	return r, ctx.Err() // it may have been killed after its answer
}

func (p *process) kill() { _ = p.command.Process.Kill() } // fails only if it has ended

// death says why a child is gone, with its last words.
func (p *process) death(err error) error {
	p.kill()
	_ = p.command.Wait() // what it says is in the state
	return fmt.Errorf("lab: worker %d died (%v, %w): %s", p.command.Process.Pid, p.command.ProcessState, err, p.log)
}

func (p *process) close() {
	_ = p.in.Close() // already closed if it died
	p.kill()
	_ = p.command.Wait() // the error is that it was killed
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// maxTail is how much of a child's standard error an error message may hold.
const maxTail = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if extra := len(t.text) - maxTail; extra > 0 {
		t.text = append([]byte(nil), t.text[extra:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) == 0 {
		return "it said nothing"
	}
	return strings.TrimSpace(string(t.text))
}

// Serve is a child's side: it does tasks from in, one at a time, and writes
// their results to out, until in ends. Nothing else may write to out. When ctx
// ends, so does the task in hand, and Serve if in can be closed while it is read,
// as pipes can.
func Serve(ctx context.Context, in io.Reader, out io.Writer, table Table) error {
	if closer, ok := in.(io.Closer); ok {
		defer context.AfterFunc(ctx, func() { _ = closer.Close() })()
	}
	buffered := bufio.NewReader(in)
	for {
		body, err := readFrame(buffered)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("lab: read a task: %w", err)
		}
		var task Task
		if err := task.UnmarshalBinary(body); err != nil {
			return err
		}
		r := table.Do(ctx, task)
		if ctx.Err() != nil { // it may be half done
			return ctx.Err()
		}
		answer := encodeResult(r)
		if len(answer) > maxFrame {
			answer = encodeResult(Result{Err: errTooLarge.Error()})
		}
		if err := writeFrame(out, answer); err != nil {
			return fmt.Errorf("lab: write a result: %w", err)
		}
	}
}
