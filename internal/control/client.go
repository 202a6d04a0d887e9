package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Client is the Desk of a daemon behind a socket.
type Client struct {
	http  http.Client
	clock clock.Clock
	path  string
}

// newClient asks the daemon behind the socket at path.
func newClient(path string, clk clock.Clock) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, clock: clk, path: path}
}

// Path is where the socket is.
func (c *Client) Path() string { return c.path }

// slack is what an answer may take beyond the daemon's own limit.
const slack = 10 * time.Second

// call posts one request and reads its answer or fault.
func call[A any](ctx context.Context, c *Client, name string, limit time.Duration, q any) (a A, err error) {
	ctx, cancel := c.clock.WithTimeout(ctx, limit+slack)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return a, faultOf(fmt.Errorf("ask the daemon for %s: %w", name, err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://tdscaler/v1/"+name, bytes.NewReader(body))
	if err != nil {
		return a, faultOf(fmt.Errorf("ask the daemon for %s: %w", name, err))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return a, c.lost(ctx, name, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return a, c.lost(ctx, name, err)
	}
	return a, fail(decode(res, b, &a))
}

// lost is the fault of an exchange that broke off.
func (c *Client) lost(ctx context.Context, name string, err error) *Fault {
	if ctx.Err() != nil {
		return faultOf(fmt.Errorf("ask the daemon for %s: %w", name, ctx.Err()))
	}
	return &Fault{Class: Unreachable, Message: fmt.Sprintf("ask the daemon on %s for %s: %v", c.path, name, err)}
}

func decode(res *http.Response, b []byte, a any) error {
	if len(b) > maxAnswer {
		return fmt.Errorf("the daemon's answer is larger than %d MiB: ask for less, with --limit or --since", maxAnswer>>20)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, a); err != nil {
			return fmt.Errorf("the daemon's answer cannot be read, is it of another version? %w", err)
		}
		return nil
	}
	var f Fault
	if err := json.Unmarshal(b, &f); err != nil || f.Class == "" {
		return fmt.Errorf("the daemon answered %s", res.Status)
	}
	return &f
}

// Status implements Desk.
func (c *Client) Status(ctx context.Context, r StatusRequest) (Status, error) {
	return call[Status](ctx, c, "status", quick, r)
}

// Plan implements Desk.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	return call[Plan](ctx, c, "plan", slow, r)
}

// Explain implements Desk.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	return call[Explanation](ctx, c, "explain", slow, r)
}

// Market implements Desk.
func (c *Client) Market(ctx context.Context, r MarketRequest) (Market, error) {
	return call[Market](ctx, c, "market", slow, r)
}

// Prices implements Desk.
func (c *Client) Prices(ctx context.Context, r PricesRequest) (Prices, error) {
	return call[Prices](ctx, c, "prices", quick, r)
}

// Intents implements Desk.
func (c *Client) Intents(ctx context.Context, r IntentsRequest) ([]plan.Intent, error) {
	return call[[]plan.Intent](ctx, c, "intents", quick, r)
}

// Intent implements Desk.
func (c *Client) Intent(ctx context.Context, r IntentRequest) (plan.Intent, error) {
	return call[plan.Intent](ctx, c, "intent", quick, r)
}

// Cycles implements Desk.
func (c *Client) Cycles(ctx context.Context, r CyclesRequest) ([]ledger.ReportSummary, error) {
	return call[[]ledger.ReportSummary](ctx, c, "cycles", quick, r)
}

// Cycle implements Desk.
func (c *Client) Cycle(ctx context.Context, r CycleRequest) (plan.Report, error) {
	return call[plan.Report](ctx, c, "cycle", quick, r)
}

// Verify implements Desk.
func (c *Client) Verify(ctx context.Context, r VerifyRequest) (ledger.Contents, error) {
	return call[ledger.Contents](ctx, c, "verify", patient, r)
}

// Backup implements Desk.
func (c *Client) Backup(ctx context.Context, r BackupRequest) (ledger.Contents, error) {
	return call[ledger.Contents](ctx, c, "backup", slow, r)
}

// Machines implements Desk.
func (c *Client) Machines(ctx context.Context, r MachinesRequest) ([]Machine, error) {
	return call[[]Machine](ctx, c, "machines", quick, r)
}

// Containers implements Desk.
func (c *Client) Containers(ctx context.Context, r MachinesRequest) ([]Container, error) {
	return call[[]Container](ctx, c, "containers", quick, r)
}

// AdoptContainer implements Desk.
func (c *Client) AdoptContainer(ctx context.Context, r daemon.Adoption) (plan.Container, error) {
	return call[plan.Container](ctx, c, "adopt_container", slow, r)
}

// Hosts implements Desk.
func (c *Client) Hosts(ctx context.Context, r HostsRequest) ([]plan.HostView, error) {
	return call[[]plan.HostView](ctx, c, "hosts", quick, r)
}

// ImportHosts implements Desk.
func (c *Client) ImportHosts(ctx context.Context, r ImportRequest) (Imported, error) {
	return call[Imported](ctx, c, "import_hosts", quick, r)
}

// Destroy implements Desk.
func (c *Client) Destroy(ctx context.Context, r DestroyRequest) (Destruction, error) {
	return call[Destruction](ctx, c, "destroy", patient, r)
}

// Pause implements Desk.
func (c *Client) Pause(ctx context.Context, r PauseRequest) ([]plan.Pause, error) {
	return call[[]plan.Pause](ctx, c, "pause", quick, r)
}

// Protect implements Desk.
func (c *Client) Protect(ctx context.Context, r ProtectRequest) (Machine, error) {
	return call[Machine](ctx, c, "protect", quick, r)
}

// Resume implements Desk.
func (c *Client) Resume(ctx context.Context, r ResumeRequest) (Resumed, error) {
	return call[Resumed](ctx, c, "resume", quick, r)
}

// Reload implements Desk.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (Reloaded, error) {
	return call[Reloaded](ctx, c, "reload", quick, r)
}

// Targets implements Desk.
func (c *Client) Targets(ctx context.Context, r TargetsRequest) ([]demand.Outcome, error) {
	return call[[]demand.Outcome](ctx, c, "targets", quick, r)
}

// SetTarget implements Desk.
func (c *Client) SetTarget(ctx context.Context, r SetTargetRequest) (demand.Outcome, error) {
	return call[demand.Outcome](ctx, c, "set_target", quick, r)
}

// ClearTarget implements Desk.
func (c *Client) ClearTarget(ctx context.Context, r ClearTargetRequest) (Cleared, error) {
	return call[Cleared](ctx, c, "clear_target", quick, r)
}
