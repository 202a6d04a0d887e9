package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/web"
)

// serveHTTP serves the read-only port until ctx ends.
func serveHTTP(ctx context.Context, ln net.Listener, d *daemon.Daemon, reg *prometheus.Registry, log *zap.Logger) {
	h := web.Handler(web.Options{Gatherer: reg, Ready: d.Ready, Version: daemon.Build().Version})
	serveUntil(ctx, ln, h, brief, log)
}

// brief is how long readers under way may go on after a stop.
const brief = 2 * time.Second

// serveUntil serves a handler until ctx ends, and returns when the requests under
// way have ended too, or were cut off after wait.
func serveUntil(ctx context.Context, ln net.Listener, h http.Handler, wait time.Duration, log *zap.Logger) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx }, // who waits for us need not wait longer
	}
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
