package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/transcript"
)

// What no output may show, beside the key, the token and the passwords made up.
const (
	ownPassword  = "Own-passw0rd-never-to-be-seen"
	cloudInline  = "inline-cloud-init-never-to-be-seen"
	cloudInAFile = "filed-cloud-init-never-to-be-seen"
	hookSecret   = "secret-of-the-webhook-never-to-be-seen"
	promToken    = "token-of-prometheus-never-to-be-seen"
	signing      = "signing-secret-of-a-hook-never-to-be-seen"
	hookAddress  = "address-of-a-hook-never-to-be-seen"
)

const secretive = `
version: 1
daemon: {schedule: "@every 1s", mode: live, listen: "127.0.0.1:0", log_level: debug, webhook: {listen: "127.0.0.1:0", secret_file: hook}}
tensordock: {marketplace_url: %q, instances_url: %[1]q, marketplace_rps: 1000, api_key_file: key, api_token_file: token}
budget: {max_hourly: 3.60}
safety: {unknown_looks: 2, unknown_age: 3s, absent_looks: 2, absent_age: 500ms}
policies:
  - name: made-up
    target: {gpus: 2}
    max_gpu_hour: 0.60
    cloud_init: |
      #cloud-config
      runcmd: ["echo inline-cloud-init-never-to-be-seen"]
  - {name: given, target: {gpus: 1}, max_gpu_hour: 0.60, password_file: password, cloud_init_file: cloud.yaml, on_ready: {webhook: {url: "http://127.0.0.1:1/address-of-a-hook-never-to-be-seen", secret_file: signing}}}
  # Its server is the market, which says that there is no such thing.
  - {name: follows, target: {max: 1, signals: [{prometheus: {url: %[1]q, query: q, token_file: prom, interval: 1s}, per_gpu: 1}]}, max_gpu_hour: 0.60, password_file: password}
`

// TestNothingThatTheProgramWritesShowsASecret runs the built daemon with every kind
// of secret there is, asks it everything by every command and page, makes it fail,
// and looks for the secrets in all that was written anywhere.
func TestNothingThatTheProgramWritesShowsASecret(t *testing.T) {
	b := openMarket(t, 3)
	p := newProgram(t)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.end(syscall.SIGKILL)
		}
	})
	for name, text := range map[string]string{
		"key": apiKey + "\n", "token": apiToken + "\n", "password": ownPassword + "\n", "hook": hookSecret + "\n", "prom": promToken + "\n", "signing": signing + "\n",
		"cloud.yaml": "#cloud-config\nruncmd: [\"echo " + cloudInAFile + "\"]\n", "p.yaml": fmt.Sprintf(secretive, b.server.URL),
	} {
		p.write(name, text)
	}
	heard := p.managed()
	p.begin()
	port := p.said("listening", "addr")
	if !eventually(30*time.Second, func() bool { return b.running() == 3 }) {
		t.Fatalf("the machines never ran\n%s", p.log.String())
	}
	out := map[string]string{"its arguments": read(t, fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))}
	for _, path := range []string{"/", "/metrics", "/healthz", "/livez", "/readyz", "/-/healthy", "/-/ready", "/debug/pprof/", "/nothing", "/readyz?verbose"} {
		out["page "+path] = page(t, port, path)
	}
	for _, path := range []string{
		"status", "policies", "policies/made-up", "targets", "machines", "containers", "hosts", "market", "market?policy=made-up", "prices?policy=given", "costs", "balances", "outages",
		"intents", "intents/1", "cycles", "cycles/1", "cycles/last", "sd?port=22", "openapi.json", "nothing",
	} {
		text := page(t, port, "/api/v1/"+path)
		if out["page /api/v1/"+path] = text; !strings.Contains(text, "json") {
			t.Errorf("%s: %s", path, text)
		}
	}
	p.made(b)
	if !eventually(20*time.Second, func() bool { return strings.Contains(p.log.String(), "hook_failed") }) {
		t.Error("the hook was never called")
	}
	p.ask(out)
	p.end(syscall.SIGTERM)
	p.ask(out)
	p.destroyed(b, out)
	out["the log"] = p.log.String()
	if out["the service manager"] = heard.String(); !strings.Contains(out["the service manager"], "STATUS=live; ") {
		t.Errorf("the service manager was told %q", heard.String())
	}
	p.search(b, out)
}

// managed is a service manager that keeps what it is told.
func (p *program) managed() *transcript.Log {
	p.Helper()
	p.manager = p.path("notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.manager, Net: "unixgram"})
	must(p, err)
	heard, ended := &transcript.Log{}, make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 8192); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			_, _ = heard.Write(append(b[:n], '\n')) // never fails
		}
	}()
	p.Cleanup(func() { must(p, conn.Close()); <-ended })
	return heard
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func page(t *testing.T, addr, path string) string {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + addr + path)
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return fmt.Sprint(res.Header) + string(body)
}

// made: each machine without a password of the user's has one of its own, in a file
// for its owner alone, and it is the one that was sent.
func (p *program) made(b *bazaar) {
	p.Helper()
	for name, sent := range b.keys() {
		info, err := os.Stat(p.path("credentials/" + name))
		if strings.HasPrefix(name, "tds-main-given-") {
			if !errors.Is(err, fs.ErrNotExist) || sent != ownPassword {
				p.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || info.Mode().Perm() != 0o600 || strings.TrimSpace(read(p, p.path("credentials/"+name))) != sent || len(sent) < 20 {
			p.Errorf("the password of %s: %v, %v", name, info, err)
		}
	}
	for path, mode := range map[string]fs.FileMode{"credentials": 0o700, "tdscaler.db": 0o600, "tdscaler.db.sock": 0o600} {
		if info, err := os.Stat(p.path(path)); err != nil || info.Mode().Perm() != mode {
			p.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

// ask runs every command that prints something, failing ones too.
func (p *program) ask(out map[string]string) {
	p.Helper()
	for _, line := range []string{
		"status", "status --json", "machines", "machines --json", "machines --ssh-config", "plan", "plan --json", "plan --fresh", "explain made-up", "explain given --json",
		"ledger list", "ledger list --json", "ledger show 1", "ledger show 1 --json", "ledger cycles", "ledger cycles --json", "ledger cycle last", "ledger cycle last --json", "ledger cycle 1 --json",
		"pause given --reason because", "pause --json", "resume", "resume --json", "reload", "reload --json", "explain nobody", "ledger show 99999", "destroy nobody --yes",
		"ledger verify", "ledger export", "ledger backup copy-" + fmt.Sprint(len(out)) + ".db", "ledger compact",
	} {
		c := p.command(append(strings.Fields(line), "--config", "p.yaml")...)
		text, _ := c.CombinedOutput() // some must fail, and some versions lack some
		out[line+" ("+fmt.Sprint(p.cmd != nil)+")"] = string(text)
	}
	for _, line := range []string{"check p.yaml", "check --json p.yaml", "version", "plan --config missing.yaml", "plan --config key", "check key token password", "check --json key token"} {
		text, _ := p.command(strings.Fields(line)...).CombinedOutput()
		out[line] = string(text)
	}
	c := p.command("plan", "--fresh", "--config", "wrong.yaml")
	p.write("wrong.yaml", strings.NewReplacer("api_key_file: key", "api_key_file: token", "api_token_file: token", "api_token_file: password", "mode: live", "mode: live, ledger: wrong.db").Replace(read(p, p.path("p.yaml"))))
	text, err := c.CombinedOutput()
	if err == nil {
		p.Error("the market takes any token")
	}
	out["plan with a wrong token"] = string(text)
	must(p, os.Remove(p.path("wrong.yaml")))
}

// destroyed ends all machines; with them their passwords go.
func (p *program) destroyed(b *bazaar, out map[string]string) {
	p.Helper()
	p.begin()
	defer p.end(syscall.SIGTERM)
	text, err := p.command("destroy", "--all", "--yes", "--config", "p.yaml").CombinedOutput()
	out["destroy --all"] = string(text)
	if err != nil {
		p.Errorf("%v: %s", err, text)
	}
	if !eventually(20*time.Second, func() bool {
		files, err := os.ReadDir(p.path("credentials"))
		return err == nil && len(files) == 0 && len(b.ours()) == 0
	}) {
		files, err := os.ReadDir(p.path("credentials"))
		p.Errorf("passwords outlive their machines: %v, %v; %d machines", files, err, len(b.ours()))
	}
}

// search looks for the secrets in the outputs, and in every file but those in which
// they belong.
func (p *program) search(b *bazaar, out map[string]string) {
	p.Helper()
	must(p, filepath.WalkDir(p.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			switch rel, _ := filepath.Rel(p.dir, path); rel {
			case "key", "token", "password", "hook", "prom", "signing", "cloud.yaml", "p.yaml":
			default:
				out["file "+rel] = read(p, path)
			}
		}
		return err
	}))
	secrets := map[string]string{"the key": apiKey, "the token": apiToken, "a password": ownPassword, "cloud-init": cloudInline, "cloud-init of a file": cloudInAFile, "the webhook's": hookSecret, "Prometheus's": promToken, "a hook's": signing, "a hook's address": hookAddress}
	for name, pw := range b.keys() {
		secrets["the password of "+name] = pw
	}
	if len(secrets) < 10 || len(out) < 70 || len(out["file tdscaler.db"]) < 1<<14 || !strings.Contains(out["page /metrics"], "tdscaler_cycles_total") {
		p.Errorf("only %d secrets were looked for in %d outputs: the search is broken", len(secrets), len(out))
	}
	for where, text := range out {
		for what, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				p.Errorf("%s is in the output of %s: %q", what, where, text[max(0, i-80):min(len(text), i+10)])
			}
		}
	}
}
