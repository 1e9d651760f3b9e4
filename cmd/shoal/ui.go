package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/shoalnet/shoal/knob"
	"github.com/shoalnet/shoal/web"
)

// uiFlag adds the flag --ui.
func uiFlag(cmd *cobra.Command, addr *string, what string) {
	cmd.Flags().StringVar(addr, "ui", "", "`address` HOST:PORT of a window that shows "+what+", such as 127.0.0.1:0 for a free port; its URL is printed on standard error")
}

// checkUI refuses an address that cannot be one, before anything is started.
func checkUI(addr string) error {
	if addr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return usagef("--ui %q: want HOST:PORT such as 127.0.0.1:0", addr)
	}
	return nil
}

// windowConfig is what a window shows.
type windowConfig struct {
	addr    string
	look    func(*web.Board)
	order   func(context.Context, web.Order) (web.Receipt, error)
	set     *knob.Set
	bounds  []web.Bound
	metrics prometheus.Gatherer
}

// window is a window that is open.
type window struct {
	board *web.Board
	url   string
	end   context.CancelFunc
	ended chan error
}

// openWindow opens a window and prints where it is.
func (a *app) openWindow(c windowConfig) (*window, error) {
	w := &window{board: web.NewBoard(), ended: make(chan error, 1)}
	server, err := web.New(web.Config{
		Addr: c.addr, Board: w.board, Look: c.look, Order: c.order, Set: c.set, Bounds: c.bounds, Metrics: c.metrics, Log: a.log,
	})
	if err != nil {
		return nil, usageError{bare(err)}
	}
	w.url = server.URL()
	ctx, end := context.WithCancel(context.Background())
	w.end = end
	go func() { w.ended <- server.Serve(ctx) }()
	a.screen.printf("window: %s", w.url)
	return w, nil
}

// close ends the window with all its streams. A second close does nothing.
func (w *window) close() error {
	if w == nil || w.end == nil {
		return nil
	}
	w.end()
	w.end = nil
	return bare(<-w.ended)
}

// orderRefused is why an order is not carried out, for a person.
func orderRefused(active, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return errors.Join(&web.OrderError{Active: active, Why: err.Error()})
}

// versionText is the version in a few letters.
func versionText() string {
	v := readVersion()
	if len(v.Commit) >= 7 {
		return v.Version + " " + v.Commit[:7]
	}
	return v.Version
}

func estimate(value float64) web.Estimate { return web.Estimate{Value: value} }

func bounded(value float64, low, high *float64) web.Estimate {
	return web.Estimate{Value: value, Low: low, High: high}
}
