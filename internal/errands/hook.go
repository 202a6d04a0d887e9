package errands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Vetoes: what a hook answers to keep a machine.
const (
	vetoStatus = http.StatusConflict
	vetoExit   = 75 // EX_TEMPFAIL of sysexits.h
)

// waitDelay is how long the output of a command that has ended is waited for.
const waitDelay = time.Second

// post calls a webhook.
func post(ctx context.Context, clk clock.Clock, j *Job, f *plan.Finding) {
	body, err := json.Marshal(j.Facts)
	if err != nil {
		f.Text = "write the facts: " + err.Error()
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Hook.URL, bytes.NewReader(body))
	if err != nil {
		f.Text = "the address cannot be used"
		return
	}
	req.GetBody = nil // it is sent once; the books know whether to send it again
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", agent)
	req.Header.Set("X-Tdscaler-Event", string(j.Kind))
	req.Header.Set("X-Tdscaler-Delivery", j.Facts.Delivery)
	if !j.Key.IsEmpty() {
		for name, value := range j.Key.Headers(clk.Now(), body) {
			req.Header.Set(name, value)
		}
	}
	var d net.Dialer
	resp, err := client(d.DialContext).Do(req)
	if err != nil {
		f.Text = late(ctx, bare(err)).Error()
		return
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
	err = errors.Join(err, resp.Body.Close())
	said := (&tail{answer}).text()
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300: // it was taken, whatever became of the rest of the answer
		f.OK = true
	case code == vetoStatus && j.Kind == plan.ErrandDrain:
		f.Veto, f.Text = true, "veto (409)"+said
	case err != nil:
		f.Text = late(ctx, bare(err)).Error()
	default:
		f.Text = fmt.Sprintf("answers %d%s", code, said)
	}
}

// bare leaves the address out of an error: it may hold a password.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// run calls a command, in a process group of its own that ends with it.
func run(ctx context.Context, j *Job, f *plan.Finding) {
	facts, err := json.Marshal(j.Facts)
	if err != nil || len(j.Hook.Command) == 0 {
		f.Text = "there is nothing to call"
		return
	}
	cmd := exec.CommandContext(ctx, j.Hook.Command[0], j.Hook.Command[1:]...)
	cmd.Dir = j.Dir
	cmd.Env = environment(j)
	cmd.Stdin = bytes.NewReader(facts)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = &tail{}, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = waitDelay // what it left behind may hold its output open
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		f.OK = true
	case ctx.Err() != nil:
		f.Text = "took too long, and was killed" + said.text()
	case errors.As(err, &exit) && exit.ExitCode() == vetoExit && j.Kind == plan.ErrandDrain:
		f.Veto, f.Text = true, "veto (exit status 75)"+said.text()
	default:
		f.Text = err.Error() + said.text()
	}
}

// environment is what a command gets: nothing of the daemon's but where programs and
// home are. The keys of the account are in the daemon's.
func environment(j *Job) []string {
	env := []string{
		"TDSCALER_EVENT=" + string(j.Kind), "TDSCALER_MACHINE=" + j.Machine, "TDSCALER_POLICY=" + j.Policy, "TDSCALER_ID=" + j.ID,
		"TDSCALER_IP=" + j.Facts.IP, "TDSCALER_USER=" + j.Facts.User, "TDSCALER_DELIVERY=" + j.Facts.Delivery,
	}
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "KUBECONFIG"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
