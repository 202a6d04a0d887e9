package errands

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// do does one errand and returns what came of it.
func do(t *testing.T, j Job) plan.Finding {
	t.Helper()
	r := New(Options{Clock: clock.System{}})
	r.Start(t.Context(), []Job{j})
	r.Wait()
	found := r.Findings()
	if len(found) != 1 {
		t.Fatalf("%+v", found)
	}
	if found[0].At.IsZero() || found[0].Machine != j.Machine || found[0].Kind != j.Kind {
		t.Errorf("%+v", found[0])
	}
	return found[0]
}

func probing(address string, ready policy.Ready) Job {
	ready.Timeout = 5 * time.Second
	return Job{Errand: plan.Errand{Kind: plan.ErrandProbe, Policy: "p", Machine: "m", ID: "1", Address: address}, Ready: ready, Locals: true}
}

func calling(kind plan.ErrandKind, h policy.Hook) Job {
	h.Timeout = 5 * time.Second
	e := plan.Errand{Kind: kind, Policy: "p", Machine: "m", ID: "1", Facts: plan.Facts{Event: kind, Name: "m", Policy: "p", IP: "203.0.113.7", Delivery: "m/1"}}
	return Job{Errand: e, Hook: h}
}

func TestATCPProbePassesWhereSomebodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if f := do(t, probing(ln.Addr().String(), policy.Ready{TCP: 22})); !f.OK {
		t.Errorf("%+v", f)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if f := do(t, probing(ln.Addr().String(), policy.Ready{TCP: 22})); f.OK || !strings.Contains(f.Text, "refused") {
		t.Errorf("%+v", f)
	}
}

func TestAnHTTPProbePassesAtTheStatusThatIsWantedAndFollowsNothing(t *testing.T) {
	var path atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.URL.String())
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/healthz", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	for _, c := range []struct {
		path   string
		status int
		ok     bool
	}{{"/healthz?full=1", 204, true}, {"/healthz", 200, false}, {"/away", 204, false}, {"/away", 302, true}} {
		f := do(t, probing(s.Listener.Addr().String(), policy.Ready{HTTP: policy.HTTPProbe{Port: 80, Path: c.path, Status: c.status}}))
		if f.OK != c.ok || path.Load() != c.path {
			t.Errorf("%+v: %+v, asked for %s", c, f, path.Load())
		}
	}
}

func TestTheMarketCannotSendAProbeIntoOurOwnNetwork(t *testing.T) {
	for _, at := range []string{"127.0.0.1:80", "10.0.0.1:80", "192.168.1.1:80", "169.254.169.254:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[fd00::1]:80", "0.0.0.0:80", "100.64.0.1:80"} {
		for _, ready := range []policy.Ready{{TCP: 80}, {HTTP: policy.HTTPProbe{Port: 80, Path: "/", Status: 200}}} {
			j := probing(at, ready)
			j.Locals = false
			if f := do(t, j); f.OK || !strings.Contains(f.Text, "no address of a rented machine") {
				t.Errorf("%s: %+v", at, f)
			}
		}
	}
}

// newKey is a new private key, as it stands in a file.
func newKey(t *testing.T) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), s
}

// machine is an SSH server that takes one key; "nvidia-smi -L" ends with 0, "hang" never.
func machine(t *testing.T, host, mine ssh.Signer) string {
	t.Helper()
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "root" || string(k.Marshal()) != string(mine.PublicKey().Marshal()) {
			return nil, errors.New("no")
		}
		return &ssh.Permissions{}, nil
	}}
	cfg.AddHostKey(host)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answer(conn, cfg)
		}
	}()
	return ln.Addr().String()
}

func answer(conn net.Conn, cfg *ssh.ServerConfig) {
	defer func() { _ = conn.Close() }()
	_, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for c := range chans {
		ch, in, err := c.Accept()
		if err != nil {
			return
		}
		for r := range in {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			switch command := string(r.Payload[4:]); command {
			case "hang":
			case "nvidia-smi -L":
				_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
				_ = ch.Close()
			default:
				_, _ = io.WriteString(ch.Stderr(), "no devices\x1b[31m\n")
				_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 9})
				_ = ch.Close()
			}
		}
	}
}

func TestAnSSHProbePassesWhenTheCommandSucceeds(t *testing.T) {
	private, mine := newKey(t)
	_, host := newKey(t)
	at := machine(t, host, mine)
	j := probing(at, policy.Ready{SSH: policy.SSHProbe{Port: 22, Command: "nvidia-smi -L", User: "root"}})
	j.Key = secret.New(private)
	f := do(t, j)
	if shown := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey()))); !f.OK || f.HostKey != shown {
		t.Fatalf("%+v, want the key %s", f, shown)
	}
	j.Ready.SSH.Command = "nvidia-smi"
	if f := do(t, j); f.OK || !strings.Contains(f.Text, "no devices") || strings.Contains(f.Text, "\x1b") {
		t.Errorf("%+v", f)
	}
	j.Ready.SSH.User, j.User = "", "nobody"
	if f := do(t, j); f.OK || f.HostKey != "" {
		t.Errorf("somebody else: %+v", f)
	}
}

func TestAMachineThatShowsAnotherHostKeyThanAtFirstFailsItsProbe(t *testing.T) {
	private, mine := newKey(t)
	_, first := newKey(t)
	_, second := newKey(t)
	at := machine(t, second, mine)
	j := probing(at, policy.Ready{SSH: policy.SSHProbe{Port: 22, Command: "nvidia-smi -L", User: "root"}})
	j.Key, j.HostKey = secret.New(private), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(first.PublicKey())))
	if f := do(t, j); f.OK || !strings.Contains(f.Text, "another SSH host key") {
		t.Errorf("%+v", f)
	}
	j.HostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(second.PublicKey())))
	if f := do(t, j); !f.OK {
		t.Errorf("%+v", f)
	}
}

func TestEveryErrandHasAnEnd(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	private, mine := newKey(t)
	_, host := newKey(t)
	hang := probing(machine(t, host, mine), policy.Ready{SSH: policy.SSHProbe{Port: 22, Command: "hang", User: "root"}})
	mute := probing(silent.Addr().String(), policy.Ready{SSH: policy.SSHProbe{Port: 22, Command: "x"}})
	slow := probing(silent.Addr().String(), policy.Ready{HTTP: policy.HTTPProbe{Port: 22, Path: "/", Status: 200}})
	hang.Key, mute.Key = secret.New(private), secret.New(private)
	stuck := calling(plan.ErrandReady, policy.Hook{Kind: policy.HookCommand, Command: []string{"sh", "-c", "sleep 60 & sleep 60"}})
	for i, j := range []Job{hang, mute, slow, stuck} {
		j.Ready.Timeout, j.Hook.Timeout = 100*time.Millisecond, 100*time.Millisecond
		if f := do(t, j); f.OK || !strings.Contains(f.Text, "too long") {
			t.Errorf("%d: %+v", i, f)
		}
	}
}

func TestAWebhookGetsTheFactsSignedAndItsAnswerIsRead(t *testing.T) {
	var code atomic.Int32
	var got atomic.Pointer[http.Request]
	var body atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body.Store(b)
		got.Store(r)
		w.WriteHeader(int(code.Load()))
		_, _ = io.WriteString(w, "busy\n")
	}))
	defer s.Close()
	for _, c := range []struct {
		kind     plan.ErrandKind
		code     int32
		ok, veto bool
	}{
		{plan.ErrandReady, 200, true, false},
		{plan.ErrandReady, 204, true, false},
		{plan.ErrandReady, 302, false, false},
		{plan.ErrandReady, 409, false, false},
		{plan.ErrandReady, 500, false, false},
		{plan.ErrandDrain, 202, true, false},
		{plan.ErrandDrain, 409, false, true},
		{plan.ErrandDrain, 503, false, false},
	} {
		code.Store(c.code)
		j := calling(c.kind, policy.Hook{Kind: policy.HookWeb, URL: s.URL + "/hook?token=hunter2"})
		j.Key = secret.New("s3cret")
		f := do(t, j)
		if f.OK != c.ok || f.Veto != c.veto {
			t.Errorf("%+v: %+v", c, f)
		}
		h := got.Load().Header
		if want := "sha256=" + hex.EncodeToString(secret.New("s3cret").Sign(h.Get("X-Tdscaler-Timestamp"), body.Load().([]byte))); h.Get("X-Tdscaler-Signature") != want {
			t.Errorf("signed %s, want %s", h.Get("X-Tdscaler-Signature"), want)
		}
		if h.Get("X-Tdscaler-Delivery") != "m/1" || h.Get("X-Tdscaler-Event") != string(c.kind) || h.Get("Content-Type") != "application/json" {
			t.Errorf("%v", h)
		}
		var facts plan.Facts
		if err := json.Unmarshal(body.Load().([]byte), &facts); err != nil || facts.Name != "m" || facts.IP != "203.0.113.7" {
			t.Errorf("%s: %v", body.Load(), err)
		}
	}
}

func TestNoFindingShowsAnAddressOrASecret(t *testing.T) {
	j := calling(plan.ErrandReady, policy.Hook{Kind: policy.HookWeb, URL: "http://user:hunter2@127.0.0.1:1/hook?token=hunter2"})
	j.Key = secret.New("hunter2")
	if f := do(t, j); f.OK || strings.Contains(f.Text, "hunter2") {
		t.Errorf("%+v", f)
	}
	var u *url.Error
	if err := bare(&url.Error{Op: "Post", URL: "http://hunter2", Err: io.EOF}); errors.As(err, &u) || !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestACommandGetsTheFactsAndNothingOfTheDaemonsEnvironment(t *testing.T) {
	t.Setenv("TENSORDOCK_API_KEY", "hunter2")
	dir := t.TempDir()
	j := calling(plan.ErrandReady, policy.Hook{Kind: policy.HookCommand, Command: []string{"sh", "-c", "cat >facts; env >env; pwd >where; printf '%s' \"$1\" >arg", "-", "$HOME; exit 1"}})
	j.Dir = dir
	if f := do(t, j); !f.OK {
		t.Fatalf("%+v", f)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var facts plan.Facts
	if err := json.Unmarshal([]byte(read("facts")), &facts); err != nil || facts.Name != "m" {
		t.Errorf("%s: %v", read("facts"), err)
	}
	if env := read("env"); strings.Contains(env, "hunter2") || strings.Contains(env, "TENSORDOCK") || !strings.Contains(env, "TDSCALER_MACHINE=m\n") {
		t.Errorf("%s", env)
	}
	if read("arg") != "$HOME; exit 1" {
		t.Errorf("a shell read the arguments: %s", read("arg"))
	}
}

func TestExitStatus75IsAVetoOfADrainAlone(t *testing.T) {
	for _, c := range []struct {
		kind     plan.ErrandKind
		script   string
		ok, veto bool
	}{
		{plan.ErrandDrain, "echo 'three jobs left' >&2; exit 75", false, true},
		{plan.ErrandReady, "exit 75", false, false},
		{plan.ErrandDrain, "exit 1", false, false},
		{plan.ErrandDrain, "kill -9 $$", false, false},
		{plan.ErrandDrain, "sleep 60 >/dev/null 2>&1 </dev/null & exit 0", true, false},
	} {
		f := do(t, calling(c.kind, policy.Hook{Kind: policy.HookCommand, Command: []string{"sh", "-c", c.script}}))
		if f.OK != c.ok || f.Veto != c.veto || c.veto && !strings.Contains(f.Text, "three jobs left") {
			t.Errorf("%+v: %+v", c, f)
		}
	}
	if f := do(t, calling(plan.ErrandReady, policy.Hook{Kind: policy.HookCommand, Command: []string{"/does/not/exist"}})); f.OK || f.Text == "" {
		t.Errorf("%+v", f)
	}
}

func TestOneErrandOfAKindIsUnderWayForAMachineAndNoneIsDoneAgainBeforeItWasTold(t *testing.T) {
	var calls atomic.Int32
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		<-release
	}))
	defer s.Close()
	j := calling(plan.ErrandReady, policy.Hook{Kind: policy.HookWeb, URL: s.URL})
	r := New(Options{Clock: clock.System{}})
	for range 3 {
		r.Start(t.Context(), []Job{j})
	}
	if found := r.Findings(); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	close(release)
	r.Wait()
	r.Start(t.Context(), []Job{j}) // it ended, and nobody was told
	r.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("called %d times", n)
	}
	if a, b := r.Findings(), r.Findings(); len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Errorf("told %+v, then %+v", a, b)
	}
	r.Start(t.Context(), []Job{j}) // told, and the books want it again
	r.Wait()
	if n := calls.Load(); n != 2 {
		t.Errorf("called %d times", n)
	}
}

func TestWhatAStopCutsOffIsNoFinding(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := New(Options{Clock: clock.System{}, AtOnce: 1})
	jobs := []Job{calling(plan.ErrandReady, policy.Hook{Kind: policy.HookCommand, Command: []string{"sleep", "60"}})}
	waiting := jobs[0]
	waiting.Machine = "n"
	r.Start(ctx, append(jobs, waiting))
	cancel()
	r.Wait()
	if found := r.Findings(); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}
