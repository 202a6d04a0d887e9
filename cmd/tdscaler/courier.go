package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/report"
)

// courier sends a report whenever one is due. Which was the last is on disk before it is
// sent: a restart sends none twice, and a crash at that moment loses one rather than that.
//
//	due while the daemon was down   the last of them is sent late, once, of its own time
//	a sink did not take it          tried again, to that sink alone, every retryEvery, until
//	                                the next is due or it is mostRounds times
//	no state yet                    the first is the next that is due
type courier struct {
	clock  clock.Clock
	config func() daemon.Config
	ask    func(context.Context, control.ReportRequest) (report.Report, error)
	post   func(ctx context.Context, c *daemon.Config, m notify.Message, want func(*notify.SinkConfig) bool) ([]notify.Outcome, error)
	done   func(notify.Outcome) // told of each
	state  string               // path
	log    *zap.Logger
}

const (
	courierLooks = time.Minute // a file or a clock may have been changed meanwhile
	retryEvery   = 10 * time.Minute
	mostRounds   = 6
)

// delivery is which report was sent last.
type delivery struct {
	Due time.Time `json:"due"`
	// Owed are the sinks that have not taken it, after so many Rounds, the last at At.
	Owed   []string  `json:"owed,omitempty"`
	Rounds int       `json:"rounds,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

func newCourier(d *daemon.Daemon, l *ledger.Ledger, office *control.Office, done func(notify.Outcome), log *zap.Logger) *courier {
	return &courier{clock: clock.System{}, config: d.Config, ask: office.Report, post: postReport, done: done, state: l.Path() + ".report", log: log}
}

// start runs it beside the cycles, which never wait for it, until it is stopped.
func (c *courier) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// postReport sends through the sinks of a configuration.
func postReport(ctx context.Context, c *daemon.Config, m notify.Message, want func(*notify.SinkConfig) bool) ([]notify.Outcome, error) {
	p, err := notify.NewPost(notify.PostOptions{Sinks: c.Sinks, Clock: clock.System{}})
	if err != nil {
		return nil, err
	}
	return p.SendTo(ctx, m, want), nil
}

// run sends what is due until ctx ends.
func (c *courier) run(ctx context.Context) {
	for {
		if err := c.turn(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("report not sent", zap.Error(err))
		}
		if c.clock.Sleep(ctx, courierLooks) != nil {
			return
		}
	}
}

// turn sends what is due now, if anything is.
func (c *courier) turn(ctx context.Context) error {
	cfg, now := c.config(), c.clock.Now().Round(0)
	schedule, err := cfg.Set.ReportSchedule()
	if schedule == nil || err != nil {
		return err
	}
	last, err := c.read()
	if err != nil {
		return err
	}
	if last.Due.IsZero() || last.Due.After(now.Add(courierLooks)) { // none yet, or the clock was set back
		return c.write(delivery{Due: now})
	}
	due := latest(schedule, last.Due, now)
	switch {
	case !due.IsZero():
		last = delivery{Due: due}
		if err := c.write(last); err != nil {
			return err
		}
		return c.send(ctx, &cfg, last, wanted(&cfg))
	case len(last.Owed) > 0 && now.Sub(last.At) >= retryEvery:
		return c.send(ctx, &cfg, last, func(s *notify.SinkConfig) bool { return slices.Contains(last.Owed, s.Name) })
	}
	return nil
}

// latest is the newest time that was due after one and is not later than now; zero if
// there is none.
func latest(s policy.Schedule, after, now time.Time) (due time.Time) {
	for next := s.Next(after); !next.IsZero() && !next.After(now); next = s.Next(next) {
		due = next
	}
	return due
}

// wanted are the sinks that a file wants reports to go to.
func wanted(cfg *daemon.Config) func(*notify.SinkConfig) bool {
	return func(s *notify.SinkConfig) bool {
		if names := cfg.Set.Report.Sinks; len(names) > 0 {
			return slices.Contains(names, s.Name)
		}
		return s.Takes(policy.NotifyReport, policy.Info, "")
	}
}

// send makes the report that was due and sends it; who does not take it is owed it, and
// all are where it cannot be made.
func (c *courier) send(ctx context.Context, cfg *daemon.Config, d delivery, want func(*notify.SinkConfig) bool) error {
	d.Owed, d.At = nil, c.clock.Now().Round(0)
	d.Rounds++
	out, err := c.deliver(ctx, cfg, d, want)
	if err != nil {
		for i := range cfg.Sinks {
			if s := &cfg.Sinks[i]; want(s) {
				d.Owed = append(d.Owed, s.Name)
			}
		}
	}
	for _, o := range out {
		c.done(o)
		f := []zap.Field{zap.String("sink", o.Sink), zap.Time("due", d.Due), zap.Int("tries", o.Tries)}
		if o.Err == nil {
			c.log.Info("report sent", f...)
			continue
		}
		c.log.Warn("report not taken", append(f, zap.Error(o.Err))...)
		if ctx.Err() == nil { // else it may have it: we stop while it is sent
			d.Owed = append(d.Owed, o.Sink)
		}
	}
	if d.Rounds >= mostRounds {
		d.Owed = nil
	}
	return errors.Join(err, c.write(d))
}

// deliver makes a report and sends it. On an error nothing was sent.
func (c *courier) deliver(ctx context.Context, cfg *daemon.Config, d delivery, want func(*notify.SinkConfig) bool) ([]notify.Outcome, error) {
	r, err := c.ask(ctx, control.ReportRequest{Since: d.Due.Add(-cfg.Set.Report.Since), Until: d.Due})
	if err != nil {
		return nil, err
	}
	m, err := messageOf(&r, cfg.Set.Report.Format)
	if err != nil {
		return nil, err
	}
	return c.post(ctx, cfg, m, want)
}

// messageOf is a report as it is sent: HTML is for mail, and goes beside the text.
func messageOf(r *report.Report, format string) (notify.Message, error) {
	m := notify.Message{
		Event: policy.NotifyReport, Status: notify.Notice, Severity: policy.Info, Owner: r.Owner, Mode: r.Mode, At: r.At.UTC(), Policy: r.Only,
		Title: "tdscaler " + r.Owner + ": " + r.Headline, Columns: format != report.FormatMarkdown,
	}
	body := format
	var page, text bytes.Buffer
	if format == report.FormatHTML {
		body = report.FormatText
		if err := r.HTML(&page); err != nil {
			return m, err
		}
	}
	err := r.Write(&text, body)
	m.Body, m.HTML = text.String(), page.String()
	return m, err
}

func (c *courier) read() (d delivery, err error) {
	b, err := os.ReadFile(c.state)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil { // who cannot read what was sent must not send it again
		return d, fmt.Errorf("read which report was sent last (remove %s to begin anew): %w", c.state, err)
	}
	return d, nil
}

// write puts the file in the place of the one before, whole.
func (c *courier) write(d delivery) error {
	f, err := os.CreateTemp(filepath.Dir(c.state), ".report-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("note that a report is sent: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	if err := errors.Join(json.NewEncoder(f).Encode(d), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("note that a report is sent: %w", err)
	}
	return os.Rename(f.Name(), c.state)
}
