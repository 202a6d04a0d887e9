package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/web"
)

// serveHTTP serves the read-only port until ctx ends.
func serveHTTP(ctx context.Context, ln net.Listener, d *daemon.Daemon, desk web.Desk, reg *prometheus.Registry, log *zap.Logger) {
	h := web.Handler(web.Options{
		Gatherer: reg, Checks: d.Checks, Machines: d.Machines, Version: daemon.Build().Version, Desk: desk, Published: d.Published,
	})
	serveUntil(ctx, atMost(ln, maxReaders), statusServer(h), brief, log)
}

// maxReaders is how many connections the read-only port has at once: its visitors
// must not use up the files that the daemon needs.
const maxReaders = 64

// statusServer is for visitors who may be anybody: every phase has an end.
func statusServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

// socketServer is for our own commands, whose answers may take an hour; the
// handler bounds bodies and answers itself.
func socketServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
}

// crowd accepts no more connections than it has places.
type crowd struct {
	net.Listener
	places chan struct{}
}

func atMost(ln net.Listener, n int) net.Listener { return crowd{ln, make(chan struct{}, n)} }

// Accept implements net.Listener. Who finds no place is turned away, so that Close
// need not wait for one.
func (c crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case c.places <- struct{}{}:
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { <-c.places })}, nil
		default:
			_ = conn.Close() // nothing was said yet
		}
	}
}

type guest struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}

// brief is how long readers under way may go on after a stop.
const brief = 2 * time.Second

// serveUntil serves until ctx ends, and returns when the requests under
// way have ended too, or were cut off after wait.
func serveUntil(ctx context.Context, ln net.Listener, srv *http.Server, wait time.Duration, log *zap.Logger) {
	srv.BaseContext = func(net.Listener) context.Context { return ctx } // who waits for us need not wait longer
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		if err := srv.Shutdown(late); err != nil {
			_ = srv.Close() // what does not finish in time is cut off
		}
	})
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		log.Error("serve", zap.String("addr", ln.Addr().String()), zap.Error(err))
	}
	if !stop() {
		<-ended
	}
}
