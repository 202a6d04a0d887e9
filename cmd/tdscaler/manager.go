package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// manager tells the service manager that started us how we do, in systemd's words. It
// does nothing where nobody did.
type manager struct {
	log *zap.Logger
	// pulse is nil where nobody restarts us when we are stuck.
	pulse *clock.Pulse
	every time.Duration // between two looks at how we do
	news  chan struct{} // a cycle has ended: look now
	stop  sync.Once

	mu   sync.Mutex
	said string // the last status
}

// Between two looks at the status, and at the pulse, in shares of the watchdog's time.
const (
	lookEvery = 10 * time.Second
	looks     = 4
)

// newManager reads WATCHDOG_USEC and WATCHDOG_PID: a step of a cycle may take half of the
// watchdog's time, so that a stuck one is restarted after at most one and a half.
func newManager(log *zap.Logger) *manager {
	m := &manager{log: log, every: lookEvery, news: make(chan struct{}, 1)}
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", zap.Error(err))
	}
	if limit > 0 {
		m.pulse, m.every = clock.NewPulse(clock.System{}, limit/2), min(lookEvery, limit/looks)
	}
	return m
}

// ready is said once the ledger is open, the policies are good and everything listens.
// The first look at the market is not waited for: while TensorDock is down there is none,
// and a daemon that is restarted for it looks no better.
func (m *manager) ready(d *daemon.Daemon) { m.tell(systemd.SdNotifyReady, m.status(d)) }

// reloading says so while fn reads the configuration. Whether that succeeded is in the
// status: either way the daemon goes on.
func (m *manager) reloading(d *daemon.Daemon, fn func()) {
	m.tell(systemd.SdNotifyReloading, strings.TrimSpace(systemd.SdNotifyMonotonicUsec()))
	fn()
	m.tell(systemd.SdNotifyReady, m.status(d))
}

// attend tells how we do until ctx ends, and then that we stop.
func (m *manager) attend(ctx context.Context, d *daemon.Daemon) {
	for {
		if _, err := (clock.System{}).Wait(ctx, m.every, m.news); err != nil {
			break
		}
		m.alive()
		if s := m.status(d); s != m.last() {
			m.tell(s)
		}
	}
	m.stopping(d, "stopping; machines are left as they are, and cost")
}

// reported is told of every cycle.
func (m *manager) reported(plan.Report) {
	select {
	case m.news <- struct{}{}:
	default: // a look is due already
	}
}

// alive feeds the watchdog as long as the cycle goes on.
func (m *manager) alive() {
	if m.pulse == nil {
		return
	}
	last, alive := m.pulse.Last()
	if !alive {
		m.log.Error("the cycle is stuck: the service manager is left to restart the daemon", zap.Time("last_step", last))
		return
	}
	m.tell(systemd.SdNotifyWatchdog)
}

// stopping is said once. A write whose answer is awaited gets its time, whatever the
// service manager allows otherwise.
func (m *manager) stopping(d *daemon.Daemon, why string) {
	m.stop.Do(func() {
		words := []string{systemd.SdNotifyStopping}
		if d.Acting() {
			words = append(words, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", 2*grace.Microseconds()))
			why = "waiting for the answer to a request; " + why
		}
		m.tell(append(words, statusWord(why))...)
	})
}

func (m *manager) status(d *daemon.Daemon) string {
	s, err := d.Status()
	if err != nil {
		return statusWord("the ledger cannot be read: " + err.Error())
	}
	return statusWord(headline(&s, clock.System{}.Now()))
}

// tell sends words to the service manager, if there is one. That it does not hear us is
// no reason to stop buying and deleting: it is told to the log.
func (m *manager) tell(words ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range words {
		if strings.HasPrefix(w, statusPrefix) {
			m.said = w
		}
	}
	if _, err := systemd.SdNotify(false, strings.Join(words, "\n")); err != nil {
		m.log.Warn("the service manager cannot be told", zap.String("words", words[0]), zap.Error(err))
	}
}

// last is the last status that was told; a reload may be telling one just now.
func (m *manager) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said
}

const statusPrefix = "STATUS="

// longestStatus is how many characters of the status anybody reads.
const longestStatus = 600

// statusWord is a status in one line.
func statusWord(s string) string {
	return statusPrefix + shorten(clean(s), longestStatus)
}

// unquoted is a text of several lines in one, without those that quote the file.
func unquoted(s string) string {
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return strings.HasPrefix(l, " ") })
	return strings.Join(lines, "; ")
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// headline is the status in one line, what needs somebody first.
func headline(s *daemon.Status, now time.Time) string {
	parts := append([]string{string(s.Mode)}, troubles(s, now)...)
	parts = append(parts, fleetLine(s), cycleLine(s))
	return strings.Join(append(parts, waits(s)...), "; ")
}

// troubles are what will not pass by itself, or keeps everything from going on.
func troubles(s *daemon.Status, now time.Time) (out []string) {
	if !s.Reload.Successful {
		out = append(out, "FILE NOT RELOADED: "+unquoted(s.Reload.Problem))
	}
	if s.Reload.Held != "" {
		out = append(out, "A CHANGE OF THE FILE IS HELD: "+s.Reload.Held)
	}
	if s.Unwritable != "" {
		out = append(out, "LEDGER NOT WRITTEN: "+s.Unwritable)
	}
	for _, p := range s.Pauses {
		if p.Active(p.Policy, now) {
			out = append(out, "PAUSED "+fleet(p.Policy)+because(p.Reason))
		}
	}
	for i := range s.Breakers {
		if b := &s.Breakers[i]; b.Open(now) {
			out = append(out, "BREAKER "+breakerHolds(b))
		}
	}
	if s.Problem != "" && s.Problem != s.Unwritable {
		out = append(out, "PROBLEM: "+s.Problem)
	}
	return out
}

func fleetLine(s *daemon.Status) string {
	if s.Cycle == 0 {
		return fmt.Sprintf("%s in the books, %s", plural(s.Machines, "machine"), s.Burn)
	}
	target, ready := 0, 0
	for i := range s.Policies {
		target, ready = target+s.Policies[i].Target, ready+s.Policies[i].Ready
	}
	return fmt.Sprintf("%d of %d GPUs ready on %s, %s of at most %s", ready, target, plural(s.Machines, "machine"), s.Burn, s.HourlyCap)
}

func cycleLine(s *daemon.Status) string {
	const clockTime = "15:04:05Z"
	if s.Cycle == 0 {
		return "the first cycle is under way"
	}
	text := fmt.Sprintf("cycle %d at %s", s.Cycle, s.FinishedAt.UTC().Format(clockTime))
	if s.NextAt.After(s.FinishedAt) {
		text += ", next at " + s.NextAt.UTC().Format(clockTime)
	}
	return text
}

// The most that is told of holds, and how many characters of each.
const (
	mostWaits   = 2
	longestWait = 120
)

// waits are the first reasons for which something is not done.
func waits(s *daemon.Status) (out []string) {
	for i, h := range s.Holds {
		if i == mostWaits {
			return append(out, plural(len(s.Holds)-i, "more hold"))
		}
		out = append(out, shorten(cmp.Or(h.Policy, "all")+" waits, "+h.Reason.Code+": "+h.Reason.Text, longestWait))
	}
	return out
}
