package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// listenProfiles opens the port for profiles of the running program. They tell what it
// does and hold it up, so that nobody but this machine gets at them.
func listenProfiles(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usageError("--pprof is HOST:PORT, as 127.0.0.1:6060: %w", err)
	}
	if !onlyHere(host) {
		return nil, usageError("--pprof %s: profiles are for this machine alone: 127.0.0.1, [::1] or localhost", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof: %w", err)
	}
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() { // a localhost that is none
		_ = ln.Close() // nobody was served yet
		return nil, usageError("--pprof %s: it leads to %s, which is not this machine alone", addr, ln.Addr())
	}
	return ln, nil
}

// startProfiles serves profiles until stop is called.
func startProfiles(ctx context.Context, addr string, d policy.Daemon, errw io.Writer) (stop func(), err error) {
	log, err := newLogger(d, errw)
	if err != nil {
		return nil, err
	}
	ln, err := listenProfiles(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { serveProfiles(ctx, ln, log) })
	return func() { cancel(); wg.Wait() }, nil
}

func onlyHere(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// serveProfiles serves them until ctx ends.
func serveProfiles(ctx context.Context, ln net.Listener, log *zap.Logger) {
	log.Warn("serving profiles: go tool pprof http://"+ln.Addr().String()+"/debug/pprof/heap", zap.String("addr", ln.Addr().String()))
	// A profile takes as long as its visitor says.
	srv := &http.Server{Handler: profiles(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Minute, MaxHeaderBytes: 16 << 10}
	serveUntil(ctx, atMost(ln, maxProfilers), srv, brief, log)
}

// maxProfilers is how many connections the port has at once.
const maxProfilers = 4

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page in a browser may call itself whatever leads here.
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if !onlyHere(host) {
			http.Error(w, "profiles are for this machine alone", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
