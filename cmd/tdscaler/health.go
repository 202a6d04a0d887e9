package main

import (
	"context"
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
	config, url string
	live        bool
	timeout     time.Duration
}

func healthCommand() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say in one line whether the daemon can be relied on; exit 1 if not",
		Long: `health asks the daemon whether it is ready: it has finished a cycle, the last look
read the list of machines, and the ledger can be written. With --live it asks only
whether the daemon answers at all. It is for Docker's HEALTHCHECK and for scripts.

It asks the address under daemon.listen of the file, or the control socket where
there is none. With --url it needs no file, so that an edit which went wrong does not
make a daemon look ill that goes on with the last good one.

When to use it: in health checks; people ask "status".`,
		Example: "  tdscaler health --config policies.yaml\n  tdscaler health --url http://127.0.0.1:9877 --live",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			line, err := f.ask(cmd)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		},
	}
	fl := cmd.Flags()
	configFlag(cmd, &f.config)
	fl.StringVar(&f.url, "url", "", "the daemon's `URL`, such as http://127.0.0.1:9877")
	fl.BoolVar(&f.live, "live", false, "ask only whether it answers, not whether it is ready")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	cmd.MarkFlagsMutuallyExclusive("config", "url")
	return cmd
}

// ask returns the line that says that all is well, or an error that says what is not.
func (f *healthFlags) ask(cmd *cobra.Command) (string, error) {
	if f.timeout <= 0 {
		return "", usageError("--timeout: %s is no time to wait", f.timeout)
	}
	if f.url != "" {
		base, err := healthURL(f.url)
		if err != nil {
			return "", err
		}
		return f.askHTTP(cmd.Context(), base)
	}
	found, err := configOf(cmd, f.config)
	if err != nil {
		return "", err
	}
	cfg, err := readConfig(found.path, cmd.ErrOrStderr())
	if err != nil {
		return "", err
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

func (f *healthFlags) askHTTP(ctx context.Context, base string) (string, error) {
	page := base + "/readyz"
	if f.live {
		page = base + "/healthz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", page, err)
	}
	// No proxy of the environment stands between a machine and itself.
	client := http.Client{
		Timeout: f.timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("no answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", page, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %d: %s", page, res.StatusCode, oneLine(string(body)))
	}
	return oneLine(string(body)), nil
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

func (f *healthFlags) askSocket(ctx context.Context, cfg *daemon.Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	client, err := control.Dial(ctx, cfg.Set.Daemon.Ledger, clock.System{})
	if err != nil {
		return "", err
	}
	st, err := client.Status(ctx, control.StatusRequest{})
	if err != nil {
		return "", deskError(ctx, cfg, true, err)
	}
	if f.live {
		return "tdscaler is healthy.", nil
	}
	return "tdscaler is ready.", notReady(&st)
}

// notReady says of a status what /readyz says.
func notReady(st *control.Status) error {
	switch {
	case st.Cycle == 0:
		return errors.New("tdscaler is not ready: no cycle has finished yet")
	case st.Problem != "":
		return errors.New("tdscaler is not ready: " + oneLine(st.Problem))
	case st.Unwritable != "":
		return errors.New("tdscaler is not ready: the ledger cannot be written: " + oneLine(st.Unwritable))
	}
	return nil
}
