package web

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

// hush is in everything that nobody may see.
const hush = "never-to-be-seen"

// secretive has a secret wherever a policy can hold one, and something of everything.
const secretive = `version: 1
daemon: {mode: live, schedule: "@every 1m", listen: ""}
budget: {max_hourly: 20.00}
policies:
  - name: train
    capacity: spot
    target: {gpus: 4, max: 8, schedule: [{from: "0 3 * * *", for: 2h, gpus: 6}]}
    shape: {gpus: 2}
    max_gpu_hour: 1.00
    labels: {team: research}
    cloud_init: "#cloud-config\nruncmd: [\"never-to-be-seen\"]"
    ready: {http: {port: 8080, path: "/ready?token=never-to-be-seen"}}
    on_ready: {webhook: {url: "http://127.0.0.1:1/never-to-be-seen"}}
    drain: {webhook: {url: "http://127.0.0.1:1/never-to-be-seen"}}
    ports: [8080]
  - {name: serve, capacity: on_demand, target: {gpus: 1}, max_gpu_hour: 2.00, ready: {ssh: {command: "true never-to-be-seen", key_file: id}}, ssh_key_file: id.pub}
  - {name: dear, target: {gpus: 1}, max_gpu_hour: 0.01}
  - name: api
    kind: container
    target: {replicas: 1}
    image: ghcr.io/example/api:1
    max_gpu_hour: 2.00
    ports: [80]
    container: {arguments: ["--key=never-to-be-seen"], env: {KEY: never-to-be-seen}}
  - {name: thought, target: {gpus: 1}, max_gpu_hour: 1.00, shadow: true}
`

// played is a daemon on a simulated market, with some hours behind it.
type played struct {
	testing.TB
	clock *clock.Virtual
	d     *daemon.Daemon
	l     *ledger.Ledger
	o     Options
	h     http.Handler
}

// begin makes a daemon that has had no cycle yet. change, if not nil, changes the market's
// transport.
func begin(t testing.TB, change func(http.RoundTripper) http.RoundTripper) *played {
	t.Helper()
	dir := t.TempDir()
	private, public := keyPair(t)
	for name, text := range map[string]string{"p.yaml": secretive, "id": private, "id.pub": public} {
		fine(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	p := &played{TB: t, clock: clock.NewVirtual(time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC))}
	e, err := simulator.New(simulator.Options{Clock: p.clock, Seed: 3, Hosts: 40})
	fine(t, err)
	transport := http.RoundTripper(simulator.Transport(e.Handler(simulator.FaceOptions{})))
	if change != nil {
		transport = change(transport)
	}
	client, err := tensordock.NewClient(tensordock.Options{
		Key: secret.New("key-" + hush), Token: secret.New("token-" + hush), MarketplaceRPS: 1000, InstancesRPM: 60000, Transport: transport, Clock: p.clock,
	})
	fine(t, err)
	cfg, problems, err := daemon.LoadConfig(filepath.Join(dir, "p.yaml"))
	if err != nil {
		t.Fatal(err, problems)
	}
	p.l, err = ledger.Open(ledger.Options{Path: cfg.Set.Daemon.Ledger, NoSync: true, Retention: 30 * 24 * time.Hour, MaxSize: 1 << 30})
	fine(t, err)
	t.Cleanup(func() { fine(t, p.l.Close()) })
	office := control.Options{Clock: p.clock, Credentials: credentials.New(filepath.Join(dir, "credentials")), PauseFile: filepath.Join(dir, "pause")}
	p.d, err = daemon.New(daemon.Options{
		Config: cfg, Ledger: p.l, Credentials: office.Credentials, Clock: p.clock, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
		Errands: &errands.Obliging{Clock: p.clock}, PauseFile: office.PauseFile,
		Connect: func(daemon.Config) (daemon.Market, error) {
			return daemon.Market{Reader: client.Reader, Writer: client}, nil
		},
	})
	fine(t, err)
	p.o = Options{
		Gatherer: prometheus.NewRegistry(), Checks: p.d.Checks, Machines: p.d.Machines, Published: p.d.Published, Clock: p.clock, Version: "test",
		Desk: control.Running(office, p.d, p.l),
	}
	p.h = Handler(p.o)
	return p
}

// play is begin with so many cycles, a minute apart, a pause, a protection and a target by
// hand.
func play(t testing.TB, cycles int) *played {
	t.Helper()
	p := begin(t, nil)
	p.cycles(cycles)
	desk := p.o.Desk.(control.Desk)
	_, err := desk.SetTarget(t.Context(), control.SetTargetRequest{Policy: "train", N: 8, Until: p.clock.Now().Add(time.Hour), Reason: "a try"})
	fine(t, err)
	_, err = desk.Pause(t.Context(), control.PauseRequest{Policy: "dear", Reason: "too dear"})
	fine(t, err)
	p.cycles(2)
	return p
}

func (p *played) cycles(n int) {
	p.Helper()
	for range n {
		fine(p, p.d.Run(context.Background(), true))
		p.clock.Set(p.clock.Now().Add(time.Minute))
	}
}

// get asks for a path.
func (p *played) get(path string, headers ...string) *httptest.ResponseRecorder {
	p.Helper()
	return p.ask(http.MethodGet, path, headers...)
}

func (p *played) ask(method, path string, headers ...string) *httptest.ResponseRecorder {
	p.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	return w
}

// last is the newest report.
func (p *played) last() plan.Report {
	p.Helper()
	r, err := p.o.Desk.Cycle(p.Context(), control.CycleRequest{})
	fine(p, err)
	return r
}

// keyPair is a key for SSH, and what it belongs to.
func keyPair(t testing.TB) (private, public string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	fine(t, err)
	block, err := ssh.MarshalPrivateKey(key, hush)
	fine(t, err)
	own, err := ssh.NewPublicKey(pub)
	fine(t, err)
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(own))
}

func fine(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
