package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
)

// statusPort serves a handler as the read-only port does and returns its address.
func statusPort(t *testing.T, h http.Handler, change func(*http.Server)) string {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) }) // after the other cleanups
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := statusServer(h)
	change(srv)
	var wg sync.WaitGroup
	wg.Go(func() { serveUntil(ctx, atMost(ln, 4), srv, time.Second, zap.NewNop()) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ln.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryPhaseOfAVisitHasAnEnd(t *testing.T) {
	s := statusServer(nil)
	for what, d := range map[string]time.Duration{"header": s.ReadHeaderTimeout, "read": s.ReadTimeout, "write": s.WriteTimeout, "idle": s.IdleTimeout} {
		if d <= 0 || d > 2*time.Minute {
			t.Errorf("%s: %s", what, d)
		}
	}
	if s := socketServer(nil); s.ReadHeaderTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 1<<16 {
		t.Errorf("the socket: %+v", s)
	}
	short := func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	}
	addr := statusPort(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.URL.Path == "/long" && i < 1000; i++ {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}), short)
	for name, said := range map[string]string{
		"nothing": "", "half a header": "GET / HTTP/1.1\r\nHost: x\r\n", "half a body": "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx",
		"idle": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "an answer that is not read": "GET /long HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		c := dial(t, addr)
		if _, err := io.WriteString(c, said); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if name == "an answer that is not read" {
			time.Sleep(500 * time.Millisecond)
		}
		n, err := io.Copy(io.Discard, c)
		if took := time.Since(start); took > 5*time.Second || n > 500<<20 {
			t.Errorf("%s: closed after %s and %d bytes, %v", name, took, n, err)
		}
		_ = c.Close()
	}
}

func TestAHeaderWithoutEndIsRefused(t *testing.T) {
	addr := statusPort(t, http.NotFoundHandler(), func(*http.Server) {})
	c := dial(t, addr)
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	}()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(line, "431") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestACrowdOfVisitorsLeavesTheDaemonItsFiles(t *testing.T) {
	addr := statusPort(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "here") }), func(*http.Server) {})
	var crowd []net.Conn
	for range 20 {
		crowd = append(crowd, dial(t, addr))
	}
	turnedAway := 0
	for _, c := range crowd {
		if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == io.EOF || strings.Contains(fmt.Sprint(err), "reset") {
			turnedAway++
		}
	}
	if turnedAway != 16 {
		t.Errorf("%d of 20 were turned away, there are 4 places", turnedAway)
	}
	for _, c := range crowd {
		_ = c.Close()
	}
	if !eventually(func() bool {
		res, err := http.Get("http://" + addr)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return err == nil && string(b) == "here"
	}) {
		t.Error("nobody is served when the crowd has gone")
	}
	http.DefaultClient.CloseIdleConnections()
}
