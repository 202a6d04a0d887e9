package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// reloadState is what is known of the configuration file.
//
// Invariant: the daemon always runs on the last good configuration.
type reloadState struct {
	Successful bool      `json:"successful"`
	At         time.Time `json:"at"`
	Hash       string    `json:"hash"` // of the configuration in use
	Problem    string    `json:"problem,omitempty"`
	// Held is why a change on disk waits for a SIGHUP.
	Held string `json:"held,omitempty"`
}

func (s *reloadState) ok(c *Config, now time.Time) {
	*s = reloadState{Successful: true, At: now, Hash: c.Hash()}
}

// Reload reads the configuration again. confirmed is true for a SIGHUP or the
// reload command; a change that was merely found on disk must not remove a policy
// that has machines nor more than halve a target, because that is how a slip of
// the editor looks: it is held and reported until it is confirmed.
func (d *Daemon) Reload(confirmed bool) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	old := d.current()
	c, problems, err := LoadConfig(old.Path)
	if err != nil {
		return d.reloadFailed(problems, err)
	}
	if c.Hash() == old.Hash() && confirmed && !d.held() {
		d.o.Log.Info("configuration reloaded, nothing changed in it")
	}
	if why := d.needsConfirmation(&old.Set, &c.Set); why != "" && !confirmed {
		d.mu.Lock()
		d.reload.Held = why
		d.mu.Unlock()
		d.metrics.held(true)
		d.o.Log.Warn("configuration changed on disk, but held until a SIGHUP confirms it", zap.String("why", why))
		return nil
	}
	if err := d.adopt(&old, &c); err != nil {
		return d.reloadFailed(nil, err)
	}
	d.Wake()
	return nil
}

func (d *Daemon) held() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reload.Held != ""
}

// unsettled says that the file last seen was held or could not be used: a file
// that is as it was before ends that.
func (d *Daemon) unsettled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reload.Held != "" || !d.reload.Successful
}

func (d *Daemon) reloadFailed(problems []policy.Problem, err error) error {
	var b strings.Builder
	for _, p := range problems {
		if p.Severity == policy.SeverityError {
			fmt.Fprintf(&b, "\n%s", p)
		}
	}
	err = fmt.Errorf("%w: the last good configuration stays in use%s", err, b.String())
	d.mu.Lock()
	d.reload.Successful, d.reload.Problem = false, err.Error()
	d.mu.Unlock()
	d.metrics.reloaded(false, d.o.Clock.Now())
	d.o.Log.Error("configuration not reloaded", zap.Error(err))
	return err
}

// needsConfirmation says what about a change is too drastic to come from disk
// alone; "" if nothing is.
func (d *Daemon) needsConfirmation(old, next *policy.Set) string {
	h, err := d.o.Ledger.History()
	if err != nil {
		return "the ledger cannot be read: " + err.Error()
	}
	for i := range old.Policies {
		p := &old.Policies[i]
		machines := 0
		for j := range h.Machines {
			if h.Machines[j].Policy == p.Name {
				machines++
			}
		}
		for j := range h.Containers {
			if h.Containers[j].Policy == p.Name {
				machines += max(len(h.Containers[j].Replicas), 1)
			}
		}
		n, ok := next.Find(p.Name)
		_, shadow := next.FindShadow(p.Name)
		switch {
		case shadow && machines > 0:
			return fmt.Sprintf("policy %s becomes a shadow and has %d machines, which nobody will look after then: destroy them, or give the shadow another name", p.Name, machines)
		case !ok && machines > 0:
			return fmt.Sprintf("policy %s is gone from the file and has %d machines", p.Name, machines)
		case ok && 2*mostGPUs(n) < mostGPUs(p) && machines > 0:
			return fmt.Sprintf("the target of policy %s falls from %d to %d GPUs", p.Name, mostGPUs(p), mostGPUs(n))
		}
	}
	return d.wouldDelete(next, h)
}

// wouldDelete says so when the new policies would delete more than half of the
// machines as they were last seen: a lower ceiling or cap, another match or shape.
func (d *Daemon) wouldDelete(next *policy.Set, h plan.History) string {
	d.mu.Lock()
	seen := d.seen
	d.mu.Unlock()
	look := plan.Look{Now: seen.Now, Snapshot: seen.Snapshot}
	in := inputOf(next, look, h)
	in.Limits = policy.Limits{MaxActions: len(h.Machines) + len(h.Containers)}
	deletes, all := 0, in.Limits.MaxActions
	var why string
	p := plan.Compute(in)
	for _, a := range p.Actions {
		if a.Kind.Ends() {
			deletes++
			why = a.Reason.Text
		}
	}
	for _, s := range p.Drains { // these go later
		if !s.Off {
			deletes++
			why = s.Reason.Text
		}
	}
	if 2*deletes <= all {
		return ""
	}
	return fmt.Sprintf("%d of %d machines would be deleted (%s)", deletes, all, why)
}

// adopt takes a new configuration into use. What a running process cannot change
// keeps its old value, with a warning.
func (d *Daemon) adopt(old, c *Config) error {
	for _, k := range []struct {
		key       string
		old, next *string
	}{
		{"daemon.ledger", &old.Set.Daemon.Ledger, &c.Set.Daemon.Ledger},
		{"daemon.owner", &old.Set.Daemon.Owner, &c.Set.Daemon.Owner},
		{"daemon.listen", &old.Set.Daemon.Listen, &c.Set.Daemon.Listen},
		{"daemon.webhook.listen", &old.Set.Daemon.Webhook.Listen, &c.Set.Daemon.Webhook.Listen},
		{"daemon.webhook.secret_file", &old.Set.Daemon.Webhook.SecretFile, &c.Set.Daemon.Webhook.SecretFile},
		{"daemon.log_level", &old.Set.Daemon.LogLevel, &c.Set.Daemon.LogLevel},
		{"daemon.log_format", &old.Set.Daemon.LogFormat, &c.Set.Daemon.LogFormat},
	} {
		if *k.old != *k.next {
			d.o.Log.Warn("this key changes only with a restart", zap.String("key", k.key), zap.String("in_use", *k.old), zap.String("in_file", *k.next))
			*k.next = *k.old
		}
	}
	m, err := d.reconnect(old, c)
	if err != nil {
		return err
	}
	now := d.o.Clock.Now()
	// Once this returns, nothing more is done under the old configuration: what is
	// under way is waited for, and the gate is shut to the rest of the cycle's plan.
	d.acting.Lock()
	d.mu.Lock()
	d.config, d.market = *c, m
	d.generation++
	d.reload.ok(c, now)
	d.mu.Unlock()
	d.acting.Unlock()
	d.rests.Clear()
	d.metrics.reloaded(true, now)
	d.metrics.held(false)
	d.metrics.configure(&c.Set)
	for _, p := range c.Problems {
		d.o.Log.Warn("configuration", zap.String("code", p.Code), zap.String("path", p.Path), zap.String("message", p.Message))
	}
	d.o.Log.Info("configuration reloaded", zap.String("hash", c.Hash()), zap.Int("policies", len(c.Set.Policies)), zap.String("mode", string(c.Set.Daemon.Mode)))
	return nil
}

// reconnect makes new adapters only where the connection itself changed: the
// pace that was kept so far is not forgotten by a reload.
func (d *Daemon) reconnect(old, c *Config) (Market, error) {
	t := c.Set.TensorDock
	if err := c.LoadCredentials(os.Getenv); err != nil {
		if t.APIKeyFile != "" || t.APITokenFile != "" {
			return Market{}, err
		}
		c.Key, c.Token = old.Key, old.Token // the environment of this process is what it was
	}
	if old.Set.TensorDock == t && old.Set.Daemon.Mode == c.Set.Daemon.Mode &&
		old.Key.Reveal() == c.Key.Reveal() && old.Token.Reveal() == c.Token.Reveal() {
		return d.connection(), nil
	}
	return d.o.Connect(*c)
}

// stillFor is how long the file must be left alone before a change counts:
// editors and copies write in steps.
const stillFor = 2 * time.Second

// Watch reloads when the file has changed on disk and then been still for two
// seconds. changed delivers hints that something happened near the file. It
// returns when ctx ends.
func (d *Daemon) Watch(ctx context.Context, changed <-chan struct{}) {
	began := d.current()
	tried := began.Hash() // the file may have changed since it was loaded
	used := tried
	for {
		if woken, err := d.o.Clock.Wait(ctx, time.Hour, changed); err != nil {
			return
		} else if woken && !d.settle(ctx, changed) {
			return
		}
		c := d.current()
		if c.Hash() != used { // reloaded, perhaps by hand: what was tried before it may be tried again
			used = c.Hash()
			tried = used
		}
		if h := d.fileHash(); h != "" && h != tried {
			tried = h
			if h != c.Hash() || d.unsettled() {
				_ = d.Reload(false) // logged, counted and kept in the state
			}
		}
	}
}

// settle waits until nothing was reported for stillFor; false when ctx ended.
func (d *Daemon) settle(ctx context.Context, changed <-chan struct{}) bool {
	for {
		woken, err := d.o.Clock.Wait(ctx, stillFor, changed)
		if err != nil {
			return false
		}
		if !woken {
			return true
		}
	}
}

func (d *Daemon) fileHash() string {
	c := d.current()
	raw, err := readConfig(c.Path)
	if err != nil {
		return "" // gone for the moment: editors replace files
	}
	c.Raw = raw
	return c.Hash()
}
