package process

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is what the road between daemon and market does to one exchange.
type fault string

const (
	none       fault = "none"
	refused    fault = "connection refused" // a phase of the whole road, not of one exchange
	resetFirst fault = "reset before the request"
	resetAfter fault = "reset after the request, answer lost"
	cut        fault = "cut in the middle of the answer"
	closed     fault = "closed in the middle of the answer"
	delay      fault = "delay"
	trickle    fault = "trickle"
	blackHole  fault = "black hole"
	stale      fault = "closed while idle" // the next request meets a dead connection
)

// proxy is a road that breaks. It speaks TCP on both sides and knows HTTP only to
// find where an exchange begins and ends.
type proxy struct {
	target string
	addr   string
	wg     sync.WaitGroup
	stop   chan struct{}

	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	rng    *rand.Rand
	share  float64 // of exchanges that meet a fault; 0: a good road
	counts map[string]int
}

func newProxy(t testing.TB, target string, seed uint64) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{
		target: target, addr: ln.Addr().String(), ln: ln, stop: make(chan struct{}), conns: map[net.Conn]bool{},
		rng: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{},
	}
	p.wg.Go(func() { p.accept(ln) })
	t.Cleanup(p.close)
	return p
}

func (p *proxy) close() {
	close(p.stop)
	p.mu.Lock()
	_ = p.ln.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) set(share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share = share
}

// outage refuses connections for a while.
func (p *proxy) outage(t testing.TB, d time.Duration) {
	t.Helper()
	p.mu.Lock()
	_ = p.ln.Close()
	for c := range p.conns {
		reset(c)
	}
	p.mu.Unlock()
	p.count(refused, "all")
	p.sleep(d)
	ln, err := net.Listen("tcp", p.addr)
	must(t, err)
	p.mu.Lock()
	p.ln = ln
	p.mu.Unlock()
	p.wg.Go(func() { p.accept(ln) })
}

func (p *proxy) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		p.hold(c, true)
		p.wg.Go(func() {
			defer p.hold(c, false)
			p.serve(c)
		})
	}
}

// hold keeps a connection in the list of those to be closed at the end.
func (p *proxy) hold(c net.Conn, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if yes {
		p.conns[c] = true
		return
	}
	delete(p.conns, c)
	_ = c.Close()
}

// reset ends a connection without a goodbye.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// serve carries the exchanges of one connection until one of them breaks it.
func (p *proxy) serve(c net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	p.hold(server, true)
	defer p.hold(server, false)
	from, back := bufio.NewReader(c), bufio.NewReader(server)
	for n := 0; ; n++ {
		if _, err := from.Peek(1); err != nil {
			return
		}
		f := p.draw(n, 1)
		if f == resetFirst || f == stale {
			p.count(f, "unread")
			reset(c)
			return
		}
		req, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		if write := lastTwo(req.URL.Path); f == none && (write == "deploy/single" || write == "delete/single") {
			f = p.draw(0, 5) // writes are rarer than reads, and what this is about
		}
		if f == resetFirst {
			p.count(f, lastTwo(req.URL.Path))
			reset(c)
			return
		}
		answer, err := exchange(req, server, back)
		if err != nil {
			return
		}
		p.count(f, lastTwo(req.URL.Path))
		if !p.deliver(c, answer, f) || req.Close {
			return
		}
	}
}

// lastTwo is the end of a path that tells one operation from another.
func lastTwo(p string) string { return path.Join(path.Base(path.Dir(p)), path.Base(p)) }

// exchange forwards a request and reads the whole answer, as bytes.
func exchange(req *http.Request, server net.Conn, back *bufio.Reader) ([]byte, error) {
	whole, err := httputil.DumpRequest(req, true)
	if err != nil {
		return nil, err
	}
	if _, err := server.Write(whole); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(back, req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body, res.ContentLength, res.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	var b bytes.Buffer
	err = res.Write(&b)
	return b.Bytes(), err
}

// deliver hands the answer on; false when the connection has ended with it.
func (p *proxy) deliver(c net.Conn, answer []byte, f fault) bool {
	write := func(b []byte) bool { _, err := c.Write(b); return err == nil }
	switch f {
	case resetAfter:
		reset(c)
		return false
	case blackHole:
		p.sleep(p.some(1500))
		reset(c)
		return false
	case cut, closed:
		write(answer[:p.number(len(answer))])
		if f == cut {
			reset(c)
		}
		return false
	case delay:
		p.sleep(p.some(800))
	case trickle:
		for i := range answer[:min(len(answer), 600)] {
			if !write(answer[i : i+1]) {
				return false
			}
			p.sleep(time.Millisecond)
		}
		return write(answer[min(len(answer), 600):])
	}
	return write(answer)
}

// draw decides what happens to the n-th exchange of a connection; times makes it
// worse.
func (p *proxy) draw(n int, times float64) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rng.Float64() >= p.share*times {
		return none
	}
	all := []fault{resetFirst, resetAfter, resetAfter, cut, closed, delay, trickle, blackHole}
	if n > 0 {
		all = append(all, stale, stale)
	}
	return all[p.rng.IntN(len(all))]
}

func (p *proxy) number(below int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rng.IntN(max(1, below))
}

func (p *proxy) some(ms int) time.Duration { return time.Duration(p.number(ms)) * time.Millisecond }

func (p *proxy) sleep(d time.Duration) {
	select {
	case <-p.stop:
	case <-time.After(d):
	}
}

func (p *proxy) count(f fault, op string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[fmt.Sprintf("%s: %s", f, op)]++
}

// summary lists what was done to what.
func (p *proxy) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p.counts)) {
		fmt.Fprintf(&b, "%5d %s\n", p.counts[k], k)
	}
	return b.String()
}
