package tensordock

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// realTime is a client on the system's clock, for what takes time on the wire.
func realTime(t *testing.T, url string, patience time.Duration) *Client {
	t.Helper()
	c, _ := client(t, url, func(o *Options) {
		o.Clock, o.ReadTimeout, o.WriteTimeout = clock.System{}, patience, patience
		o.MarketplaceRPS, o.InstancesRPM = 1000, 60_000
	})
	return c
}

func TestNoRedirectIsFollowed(t *testing.T) {
	evil := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		_, _ = io.WriteString(w, `{"success":true,"hostnodes":{},"virtualmachines":{},"server":"vm-1"}`)
	})
	for _, code := range []int{301, 302, 303, 307, 308} {
		for name, where := range map[string]string{
			"another host": strings.Replace(evil.URL, "127.0.0.1", "localhost", 1), "plain http": evil.URL, "without a scheme": strings.TrimPrefix(evil.URL, "http:"),
		} {
			market1 := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				w.Header().Set("Location", where+r.URL.RequestURI())
				w.WriteHeader(code)
			})
			eachOperation(t, func(t *testing.T, op string, o operation) {
				c, _ := client(t, market1.URL)
				if err := o.call(bg, c); err == nil {
					t.Errorf("%s, %d to %s: taken for an answer", op, code, name)
				}
			})
		}
	}
	eq(t, "requests that followed", evil.count(), 0)
}

func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	proxy := answers(t, 200, `{"success":true,"hostnodes":{}}`)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	c := realTime(t, "http://localhost:1", time.Second)
	c.v0.origin = "http://market.invalid" // loopback is never proxied
	_, err := c.once(t)
	class(t, err, market.ClassUnavailable)
	eq(t, "requests at the proxy", proxy.count(), 0)
}

// once lists the hosts without the waits between attempts.
func (c *Client) once(t *testing.T) ([]market.Host, error) {
	t.Helper()
	q := request{op: "list hosts", method: http.MethodGet, path: "/api/v0/client/deploy/hostnodes", form: c.credentials(), limit: hostsLimit}
	hosts, f := once(t.Context(), c.v0, q, 1, decodeHosts)
	if f != nil {
		return nil, f.err(q, c.v0.scrub)
	}
	return hosts, nil
}

func TestACertificateThatNobodyVouchesForEndsTheConversation(t *testing.T) {
	var heard sync.Map
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { heard.Store(r.URL.String(), true) }))
	defer s.Close()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	c := realTime(t, s.URL, 5*time.Second)
	_, err := c.once(t)
	class(t, err, market.ClassUnavailable)
	if err == nil || !strings.Contains(err.Error(), "certificate") || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("%v", err)
	}
	class(t, c.Delete(bg, "vm-1"), market.ClassUnavailable)
	heard.Range(func(k, _ any) bool { t.Errorf("the impostor was told %v", k); return true })
}

func TestTLSBelow12IsRefused(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // the point of the test
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, err := realTime(t, s.URL, 5*time.Second).once(t)
	class(t, err, market.ClassUnavailable)
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("%v", err)
	}
	for _, c := range []*http.Client{idleReader(t).v0.read, idleReader(t).v0.write} {
		conf := c.Transport.(*http.Transport).TLSClientConfig
		if conf.MinVersion != tls.VersionTLS12 || conf.InsecureSkipVerify {
			t.Errorf("TLS configuration %+v", conf)
		}
	}
}

// idleReader is a Reader of the real market that asks nothing.
func idleReader(t *testing.T) *Reader {
	t.Helper()
	r, err := NewReader(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlainHTTPToAnotherMachineNeedsPermission(t *testing.T) {
	for raw, local := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:80": true, "https://x.test": true,
		"http://x.test": false, "http://10.0.0.1": false, "http://127.0.0.1.x.test": false, "http://localhost.x.test": false, "http://0.0.0.0:80": false,
	} {
		for _, o := range []Options{{MarketplaceURL: raw}, {InstancesURL: raw}} {
			if _, err := NewReader(o); (err == nil) != local {
				t.Errorf("%s: %v", raw, err)
			}
			o.AllowPlainHTTP = true
			if _, err := NewReader(o); err != nil {
				t.Errorf("%s, allowed: %v", raw, err)
			}
		}
	}
}

// drip writes bytes until the asker goes away.
func drip(b []byte, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; ; i = (i + 1) % len(b) {
			if _, err := w.Write(b[i : i+1]); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(every):
			}
		}
	}
}

func TestASlowOrEndlessAnswerIsGivenUpInTime(t *testing.T) {
	big := []byte(`{"success":true,"x":"` + strings.Repeat("y", 1<<20))
	for name, h := range map[string]http.HandlerFunc{
		"a byte at a time": drip([]byte(`{"success":true,"hostnodes":{}}      `), 20*time.Millisecond),
		"no header":        func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no end": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(big); err != nil {
					return
				}
			}
		},
		"headers without end": func(w http.ResponseWriter, _ *http.Request) {
			for i := range 20_000 {
				w.Header().Set(fmt.Sprintf("X-Header-%d", i), "value value value")
			}
			_, _ = io.WriteString(w, `{"success":true,"hostnodes":{}}`)
		},
		"one header without end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", strings.Repeat("9", 1<<20))
			_, _ = io.WriteString(w, `{"success":true,"hostnodes":{}}`)
		},
		"early hints without end": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusEarlyHints)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { h(w, r) })
			c := realTime(t, f.URL, 500*time.Millisecond)
			start := time.Now()
			if _, err := c.once(t); err == nil {
				t.Error("taken for an answer")
			}
			class(t, c.Delete(bg, "vm-1"), market.ClassAmbiguous)
			if took := time.Since(start); took > 10*time.Second { // twice half a second, on a busy machine
				t.Errorf("took %s", took)
			}
		})
	}
}

// spent runs fn and says how much memory it allocated.
func spent(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAnAnswerThatUnpacksToGigabytesIsGivenUp(t *testing.T) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 256 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	})
	c := realTime(t, f.URL, 20*time.Second)
	used := spent(func() { _, err = c.once(t) })
	class(t, err, market.ClassShapeChanged)
	if used > 12*hostsLimit {
		t.Errorf("%d MiB were used for %d KiB of an answer", used>>20, packed.Len()>>10)
	}
}

// many repeats a member with a number in it until the text has the length.
func many(open, member, end string, length int) []byte {
	var b bytes.Buffer
	b.WriteString(open)
	for i := 0; b.Len() < length-2*len(member)-len(end)-40; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		_, _ = fmt.Fprintf(&b, member, i)
	}
	b.WriteString(end)
	return b.Bytes()
}

func TestAnAnswerOfMillionsOfSmallThingsIsBoundedInMemoryAndTime(t *testing.T) {
	hosts, vms := func(v value) error { return drop(decodeHosts(v)) }, func(v value) error { return drop(decodeInstances(v)) }
	host := `{"hostnodes":{"a":{"specs":{"gpu":{"m":{"amount":1}}`
	for name, c := range map[string]struct {
		body   []byte
		decode func(value) error
		ok     bool
	}{
		"hosts":         {many(`{"hostnodes":{`, `"%x":{"specs":{}}`, `}}`, 4<<20), hosts, false},
		"list of hosts": {many(`{"hostnodes":[`, `{"id":"%x","specs":{}}`, `]}`, 4<<20), hosts, false},
		"GPU models":    {many(`{"hostnodes":{"a":{"specs":{"gpu":{`, `"%x":1`, `}}}}}`, 4<<20), hosts, true},
		"GPU names":     {many(`{"hostnodes":{"a":{"specs":{"gpu":[`, `"%x"`, `]}}}}`, 4<<20), hosts, true},
		"restrictions":  {many(host+`,"restrictions":{`, `"%d":{}`, `}}}}}`, 4<<20), hosts, true},
		"ports":         {many(host+`},"networking":{"ports":[`, `%d`, `]}}}}`, 4<<20), hosts, true},
		"machines":      {many(`{"virtualmachines":{`, `"%x":{}`, `}}`, 4<<20), vms, false},
		"forwards":      {many(`{"virtualmachines":{"a":{"port_forwards":{`, `"%d":1`, `}}}}`, 4<<20), vms, true},
		"errors":        {many(`{"errors":[`, `{"title":"%x"}`, `]}`, 4<<20), vms, false},
	} {
		start := time.Now()
		var err error
		used := spent(func() {
			v, f := judge(request{}, answer{code: 200, body: c.body})
			if f != nil {
				err = f.err(request{}, newScrubber(testKey, testToken))
				return
			}
			err = c.decode(v)
		})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > time.Minute || used > 40*uint64(len(c.body)) {
			t.Errorf("%s: %s and %d MiB for %d MiB", name, took, used>>20, len(c.body)>>20)
		}
		t.Logf("%-14s %4d ms, %4d MiB for %d MiB", name, time.Since(start).Milliseconds(), used>>20, len(c.body)>>20)
	}
}

// wicked are texts that must not reach a terminal, a path or a book as they are.
var wicked = []string{
	"\x1b[2J\x1b[31m", "a\nb\r\nc", "\u009b2J", "\u202egnp.exe", "\x00", "a\tb", "<script>alert(1)</script>", "../../etc/passwd", "..", ".", "a/b", `a\b`,
	"%2e%2e", "a?b", "a#b", "\u200b", "\ufeff", strings.Repeat("x", 300), strings.Repeat("é", 300), "' OR 1=1 --", "$(reboot)", "`reboot`",
}

func TestWordsOfAHostileMarketAreTamedOnTheirWayIn(t *testing.T) {
	for _, w := range wicked {
		q := quoted(w, false)
		v := mustParse(t, fmt.Appendf(nil, `{"virtualmachines":{"vm-1":{"name":"%s","status":"%s","hostnode_id":"%s","ip_address":"%s","default_user":"%s","location":{"city":"%s"},
			"specs":{"gpu":{"%s":{"amount":1}}}}}}`, q, q, q, q, q, q, q))
		list, err := decodeInstances(v)
		if err != nil {
			t.Fatal(err)
		}
		m := list[0]
		for what, s := range map[string]string{"name": m.Name, "status": m.RawStatus, "host": m.Host, "IP": m.IP, "user": m.User, "city": m.Location.City, "model": string(m.Model)} {
			if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != unicode.ReplacementChar }); i >= 0 || len(s) > 3*maxWord {
				t.Errorf("%s of %q is %q", what, w, s)
			}
		}
		if n, ours := market.ParseMachineName(m.Name); ours {
			t.Errorf("%q was taken for a machine of ours: %+v", w, n)
		}
	}
}

func TestAnIDThatCouldLeadElsewhereMakesNoMachine(t *testing.T) {
	for _, id := range append(wicked, "", "a b", `a"b`, "a&b", "a;b") {
		if id == "' OR 1=1 --" || !isID(id) {
			body := fmt.Appendf(nil, `{"%s":{"name":"tds-main-a-12345678","specs":{}}}`, quoted(id, false))
			if list, err := decodeInstances(mustParse(t, fmt.Appendf(nil, `{"virtualmachines":%s}`, body))); err == nil {
				t.Errorf("%q: %+v", id, list)
			}
			if hosts, err := decodeHosts(mustParse(t, fmt.Appendf(nil, `{"hostnodes":%s}`, body))); err == nil {
				t.Errorf("%q: %+v", id, hosts)
			}
			if _, err := decodeDeployed(mustParse(t, fmt.Appendf(nil, `{"server":"%s"}`, quoted(id, false)))); err == nil {
				t.Errorf("a deploy with the id %q", id)
			}
			if _, err := decodeInstancesV2(mustParse(t, fmt.Appendf(nil, `{"data":[{"id":"%s"}]}`, quoted(id, false)))); err == nil {
				t.Errorf("a v2 machine with the id %q", id)
			}
		} else if !strings.ContainsAny(id, "$`'") {
			t.Errorf("%q passes for an id", id)
		}
	}
	for _, id := range []string{"cdf1f5a7-3b54-4b0b-9a3d-0123456789ab", "vm_1.2:3", "ABC~9"} {
		eq(t, id, isID(id), true)
	}
}

func TestAnIDNeverLeavesItsPlaceInAPath(t *testing.T) {
	f := answers(t, 200, `{"success":true}`)
	c, _ := client(t, f.URL)
	for _, id := range []string{"..", ".", ""} {
		for name, err := range map[string]error{
			"delete": c.DeleteInstance(bg, id), "get": drop(c.InstanceV2(bg, id)), "host": drop(c.Host(bg, id)), "replicas": drop(c.Replicas(bg, id)),
		} {
			if market.ClassOf(err) != market.ClassRefused {
				t.Errorf("%s %q: %v", name, id, err)
			}
		}
	}
	eq(t, "requests", f.count(), 0)
	_ = c.DeleteInstance(bg, "../../v0/client/x?y#z%2e%2e")
	if got := f.last().URL.EscapedPath(); got != "/api/v2/instances/"+url.PathEscape("../../v0/client/x?y#z%2e%2e") || f.last().URL.RawQuery != "" {
		t.Errorf("asked for %s", f.last().URL)
	}
}

func TestNumbersOfAHostileMarketAreNoNumbers(t *testing.T) {
	for _, n := range []string{`-1`, `"-1"`, `1e999`, `"NaN"`, `"Inf"`, `"-Inf"`, `"0x7f"`, `9223372036854775807`, `-9223372036854775808`, `1e30`, `"1e30"`, `"1_000"`, `""`, `{}`, `[]`, `true`} {
		v := mustParse(t, fmt.Appendf(nil, `{"virtualmachines":{"vm-1":{"cost":%s,"storage_price":%s,"total_price":%s,"port_forwards":{"%s":%s},
			"specs":{"vcpus":%s,"ram":%s,"storage":%s,"gpu":{"a":{"amount":%s},"b":{"amount":%s}}}}}}`, n, n, n, strings.Trim(n, `"{}[]`), n, n, n, n, n, n))
		list, err := decodeInstances(v)
		if err != nil {
			t.Fatal(err)
		}
		m := list[0]
		for what, p := range map[string]market.Maybe[market.Rate]{"compute": m.Compute, "storage": m.Storage, "total": m.Total} {
			if r, ok := p.Get(); ok && r < 0 {
				t.Errorf("%s of %s is %s", what, n, r)
			}
		}
		if s := m.Shape; min(s.GPUs, s.VCPUs, s.RAM, s.Storage) < 0 || max(s.GPUs, s.VCPUs, s.RAM, s.Storage) > 2e12 {
			t.Errorf("the shape of %s is %+v", n, s)
		}
	}
}

func TestACancelledReadLeavesNothingBehind(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { drip([]byte("x"), time.Millisecond)(w, r) })
	c := realTime(t, f.URL, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Hosts(ctx); err == nil {
		t.Error("an answer")
	}
}
