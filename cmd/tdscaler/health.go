package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
)

// healthFlags say whom to ask, and for what.
type healthFlags struct {
	config, url         string
	live, verbose, json bool
	timeout             time.Duration
}

// verdict is what the daemon says of itself; of --live, no more than that it answers.
type verdict struct {
	Ready  bool           `json:"ready"`
	Checks []daemon.Check `json:"checks"`
	said   string         // in words, where it is no daemon that answers
}

func healthCommand() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say in one line whether the daemon can be relied on; exit 1 if not",
		Long: `health asks the daemon whether it is ready: it has finished a cycle, the last look
read the list of machines, the ledger can be written, and no cycle is overdue. If it
is not, every reason is in that line. With --live it asks only whether the daemon
answers at all. It is for Docker's HEALTHCHECK and for scripts.

It asks the address under daemon.listen of the file, or the control socket where
there is none. With --url it needs no file, so that an edit which went wrong does not
make a daemon look ill that goes on with the last good one.

When to use it: in health checks; people ask "status".`,
		Example: "  tdscaler health --config policies.yaml\n  tdscaler health --url http://127.0.0.1:9877 --live",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := f.ask(cmd)
			if err != nil {
				return err
			}
			return errors.Join(f.print(cmd.OutOrStdout(), v), v.trouble())
		},
	}
	fl := cmd.Flags()
	configFlag(cmd, &f.config)
	fl.StringVar(&f.url, "url", "", "the daemon's `URL`, such as http://127.0.0.1:9877")
	fl.BoolVar(&f.live, "live", false, "ask only whether it answers, not whether it is ready")
	fl.BoolVar(&f.verbose, "verbose", false, "print every check, and since when it is as it is")
	fl.BoolVar(&f.json, "json", false, "print as JSON")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	cmd.MarkFlagsMutuallyExclusive("config", "url")
	cmd.MarkFlagsMutuallyExclusive("live", "verbose", "json")
	return cmd
}

// trouble is why the daemon cannot be relied on; nil where it can.
func (v *verdict) trouble() error {
	if v.Ready {
		return nil
	}
	return fmt.Errorf("tdscaler is not ready: %s", oneLine(daemon.Unready(v.Checks).Error()))
}

// print prints what was asked for, besides the error that says what is wrong.
func (f *healthFlags) print(w io.Writer, v *verdict) error {
	t := newTable(w)
	switch {
	case f.json:
		return printJSON(w, v)
	case v.said != "":
		t.line("%s", v.said)
	case f.live:
		t.line("tdscaler is healthy.")
	case v.Ready:
		t.line("tdscaler is ready.")
	}
	if f.verbose {
		t.row("CHECK", "OK", "SINCE", "WHY")
		for _, c := range v.Checks {
			t.row(c.Name, c.OK, stamp(c.Since), c.Reason)
		}
	}
	return t.flush()
}

func (f *healthFlags) ask(cmd *cobra.Command) (*verdict, error) {
	if f.timeout <= 0 {
		return nil, usageError("--timeout: %s is no time to wait", f.timeout)
	}
	if f.url != "" {
		base, err := healthURL(f.url)
		if err != nil {
			return nil, err
		}
		return f.askHTTP(cmd.Context(), base)
	}
	found, err := configOf(cmd, f.config)
	if err != nil {
		return nil, err
	}
	cfg, err := readConfig(found.path, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	if base, ok := visitable(cfg.Set.Daemon.Listen); ok {
		return f.askHTTP(cmd.Context(), base)
	}
	return f.askSocket(cmd.Context(), &cfg)
}

// healthURL accepts the root of a server alone: which page is asked is not the caller's.
func healthURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return "", usageError("--url: want a server such as http://127.0.0.1:9877, without a path")
	}
	return u.Scheme + "://" + u.Host, nil
}

// visitable is the URL behind daemon.listen; false where only the daemon knows it, or
// where there is none. An address that means all of them is asked on this machine.
func visitable(listen string) (string, bool) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return "", false
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, port), true
}

func (f *healthFlags) askHTTP(ctx context.Context, base string) (*verdict, error) {
	page := base + "/readyz"
	if f.live {
		page = base + "/healthz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", page, err)
	}
	req.Header.Set("Accept", "application/json")
	// No proxy of the environment stands between a machine and itself.
	client := http.Client{
		Timeout: f.timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", page, err)
	}
	v := &verdict{Checks: []daemon.Check{}}
	if json.Unmarshal(body, v) != nil { // a simulator answers a line of text
		v.said = oneLine(string(body))
	}
	if v.Ready = res.StatusCode == http.StatusOK; v.Ready || daemon.Unready(v.Checks) != nil {
		return v, nil
	}
	return nil, fmt.Errorf("%s answers %d: %s", page, res.StatusCode, oneLine(string(body)))
}

// oneLine is the first line of an answer, fit for a terminal: a reason may hold words
// of the market's.
func oneLine(text string) string {
	const most = 300
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, ""))
	if r := []rune(line); len(r) > most {
		line = string(r[:most]) + " ..."
	}
	return line
}

func (f *healthFlags) askSocket(ctx context.Context, cfg *daemon.Config) (*verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	client, err := control.Dial(ctx, cfg.Set.Daemon.Ledger, clock.System{})
	if err != nil {
		return nil, err
	}
	st, err := client.Status(ctx, control.StatusRequest{})
	if err != nil {
		return nil, deskError(ctx, cfg, true, err)
	}
	return &verdict{Ready: f.live || daemon.Unready(st.Checks) == nil, Checks: st.Checks}, nil
}
