// Package bench measures what a whole cycle costs, in time and memory, with
// every real part: client, planner, ledger and daemon, over loopback HTTP.
package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

const (
	hosts    = 1000
	policies = 100
)

func TestMain(m *testing.M) {
	if url := os.Getenv("TDSCALER_BENCH_CHILD"); url != "" {
		if err := child(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hungry is a fleet of policies that read every offer and find none cheap enough:
// the dearest kind of cycle without actions.
func hungry(url string) string {
	var b strings.Builder
	head(&b, url)
	for i := range policies {
		fmt.Fprintf(&b, `  - name: p%02d
    capacity: on_demand
    target: {gpus: 1}
    match: {min_vram_gb: %d}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100}
    max_gpu_hour: 0.02
    ssh_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE bench"
`, i, 8+i%3*8)
	}
	return b.String()
}

// fed is a fleet of a hundred machines, each policy with one.
func fed(url string) string {
	return strings.ReplaceAll(hungry(url), "max_gpu_hour: 0.02", "max_gpu_hour: 3.00")
}

func head(b *strings.Builder, url string) {
	fmt.Fprintf(b, `version: 1
daemon: {schedule: "@every 1s", mode: live, ledger: ledger.db}
tensordock: {marketplace_url: %q, instances_url: %q, marketplace_rps: 1000}
limits: {max_actions_per_cycle: 200}
policies:
`, url, url)
}

// impatient is the system clock on which waiting takes no time: cycles follow each
// other at once, and the limiter is off.
type impatient struct{ clock.System }

func (impatient) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }
func (impatient) Wait(ctx context.Context, _ time.Duration, _ <-chan struct{}) (bool, error) {
	return false, ctx.Err()
}

func newDaemon(dir, text string, noSync bool, report func(plan.Report)) (*daemon.Daemon, *ledger.Ledger, error) {
	path := filepath.Join(dir, "bench.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	cfg, problems, err := daemon.LoadConfig(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %v", err, problems)
	}
	cfg.Key, cfg.Token = secret.New("k"), secret.New("t")
	l, err := ledger.Open(ledger.Options{Path: cfg.Set.Daemon.Ledger, NoSync: noSync, Retention: cfg.Set.Ledger.Retention, MaxSize: cfg.Set.Ledger.MaxSize})
	if err != nil {
		return nil, nil, err
	}
	d, err := daemon.New(daemon.Options{
		Config: cfg, Ledger: l, Credentials: credentials.New(filepath.Join(dir, "credentials")), Clock: impatient{},
		Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Report: report,
		Connect: func(c daemon.Config) (daemon.Market, error) {
			t := c.Set.TensorDock
			client, err := tensordock.NewClient(tensordock.Options{
				MarketplaceURL: t.MarketplaceURL, InstancesURL: t.InstancesURL, MarketplaceRPS: t.MarketplaceRPS,
				Key: c.Key, Token: c.Token, Clock: impatient{},
			})
			if err != nil {
				return daemon.Market{}, err
			}
			return daemon.Market{Reader: client.Reader, Writer: client}, nil
		},
	})
	return d, l, err
}

// still is a market frozen in time, so that every answer is the same.
func still(tb testing.TB, n int) *simulator.Engine {
	tb.Helper()
	e, err := simulator.New(simulator.Options{
		Clock: clock.NewVirtual(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)), Seed: 1, Hosts: n, Regime: simulator.Quiet,
		Balance: 100_000 * market.Dollar, SpotShownFree: 1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// BenchmarkCycle times a whole cycle without actions at 1,000 hosts and 100
// policies beside the sum of its floors, in one run: our own decode of the same
// answer, a bare filter, sort and pick of the same data, and one fsynced commit.
func BenchmarkCycle(b *testing.B) {
	srv := httptest.NewServer(still(b, hosts).Handler(simulator.FaceOptions{}))
	defer srv.Close()
	body := fetch(b, srv.URL+"/api/v0/client/deploy/hostnodes")
	var list []market.Host
	decode := func() {
		c, err := tensordock.NewReader(tensordock.Options{MarketplaceURL: srv.URL, Clock: impatient{}, MarketplaceRPS: 1000, Transport: canned(body)})
		if err != nil {
			b.Fatal(err)
		}
		if list, err = c.Hosts(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	decode()
	dir := b.TempDir()
	// The daemon and the floor take turns: a cycle begins with a token.
	token, cycled := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	d, l, err := newDaemon(dir, hungry(srv.URL), false, func(plan.Report) {
		cycled <- struct{}{}
		<-token
	})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- d.Run(ctx, false) }()
	<-cycled // the first cycle connects and fills caches
	commit := committer(b, dir)

	var whole, floor time.Duration
	b.ResetTimer()
	for range b.N {
		at := time.Now()
		token <- struct{}{}
		<-cycled
		whole += time.Since(at)
		at = time.Now()
		decode()
		for p := range policies {
			bareFilter(list, 8+p%3*8)
		}
		commit()
		floor += time.Since(at)
	}
	b.StopTimer()
	b.ReportMetric(float64(whole.Microseconds())/float64(b.N)/1000, "cycle-ms")
	b.ReportMetric(float64(floor.Microseconds())/float64(b.N)/1000, "floor-ms")
	b.ReportMetric(float64(whole)/float64(floor), "x-floor")
	cancel()
	close(token)
	if err := <-done; err != nil {
		b.Error(err)
	}
	if err := l.Close(); err != nil {
		b.Error(err)
	}
}

// bareFilter is the least work that choosing takes: filter, sort, pick.
func bareFilter(list []market.Host, vram int) market.Rate {
	type option struct {
		rate market.Rate
		host string
	}
	var out []option
	for i := range list {
		h := &list[i]
		if !h.Online || !h.Listed || h.Reserved {
			continue
		}
		for _, g := range h.GPUs {
			if g.VRAM.Or(0) < vram || g.Free < 1 {
				continue
			}
			rate := g.Price.Or(0).Add(h.CPU.Price.Or(0).Mul(4)).Add(h.RAM.Price.Or(0).Mul(16)).Add(h.Storage.Price.Or(0).Mul(100))
			out = append(out, option{rate, h.ID})
		}
	}
	slices.SortFunc(out, func(a, b option) int {
		if a.rate != b.rate {
			return int(a.rate - b.rate)
		}
		return strings.Compare(a.host, b.host)
	})
	if len(out) == 0 {
		return 0
	}
	return out[0].rate
}

func committer(b *testing.B, dir string) func() {
	l, err := ledger.Open(ledger.Options{Path: filepath.Join(dir, "floor.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return func() {
		err := l.Update(func(tx *ledger.Tx) error {
			id := tx.NextIntent()
			return tx.PutIntent(plan.Intent{ID: id, Kind: plan.Deploy, At: time.Unix(int64(id), 0)})
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func fetch(b *testing.B, url string) string {
	resp, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}

// canned answers every request with the same body.
type canned string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(string(c))), ContentLength: int64(len(c)),
	}, nil
}

// BenchmarkMemory runs the daemon in a process of its own for 1,000 cycles at
// 1,000 hosts and 100 machines, and reports its anonymous resident memory on the
// way. One run is enough: use -benchtime 1x.
func BenchmarkMemory(b *testing.B) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip("needs /proc to read the memory of a process")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: still(b, hosts).Handler(simulator.FaceOptions{}), ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(ln) }() // ends with Close
	defer srv.Close()
	for range b.N {
		for cycle, mb := range memoryOf(b, "http://"+ln.Addr().String()) {
			b.ReportMetric(mb, fmt.Sprintf("MB@%d", cycle))
		}
	}
}

func memoryOf(b *testing.B, url string) map[int]float64 {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "TDSCALER_BENCH_CHILD="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	mb := map[int]float64{}
	for s := bufio.NewScanner(out); s.Scan(); {
		var cycle, machines int
		var kb float64
		if _, err := fmt.Sscanf(s.Text(), "cycle %d machines %d rss %f", &cycle, &machines, &kb); err == nil {
			mb[cycle] = kb / 1024
			b.Logf("%s kB", s.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return mb
}

// child is the daemon of BenchmarkMemory.
func child(url string) error {
	dir, err := os.MkdirTemp("", "tdscaler-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	d, l, err := newDaemon(dir, fed(url), true, func(r plan.Report) {
		n++
		if n == 10 || n == 100 || n == 250 || n == 500 || n == 750 || n == 1000 {
			fmt.Printf("cycle %d machines %d rss %d\n", n, len(r.Input.History.Machines), rssAnon())
		}
		if n == 1000 {
			cancel()
		}
	})
	if err != nil {
		return err
	}
	defer l.Close()
	return d.Run(ctx, false)
}

// rssAnon is the process's anonymous resident memory in kB.
func rssAnon() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb
		}
	}
	return -1
}
