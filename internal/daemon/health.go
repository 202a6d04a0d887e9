package daemon

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// Check is one thing that a daemon which can be relied on has in order.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Reason is why not; where OK, what is wrong although the daemon can be relied on.
	Reason string `json:"reason,omitempty"`
	// Since is since when it is, or is not, OK, as far as cycles and whoever asked have
	// seen.
	Since time.Time `json:"since"`
}

// Names of checks, in the order in which they are told.
const (
	CheckFirstCycle = "first_cycle" // a cycle has finished
	CheckLook       = "look"        // the last look read what it needed of the market
	CheckLedger     = "ledger"      // the last change of the ledger was written
	CheckSchedule   = "schedule"    // the next cycle is not overdue
	CheckConfig     = "config"      // the configuration file was read; the last good one serves as well
)

// latest is how late a cycle may be that comes every so often: slow answers make a cycle
// long, and are no reason to give the daemon up.
func latest(interval time.Duration) time.Duration { return max(interval, 10*time.Minute) }

// Checks say whether the daemon can be relied on, one by one, in a fixed order.
func (d *Daemon) Checks() []Check {
	now, trouble := d.o.Clock.Now(), d.o.Ledger.Trouble()
	d.mu.Lock()
	defer d.mu.Unlock()
	all := []Check{
		d.begun(),
		{Name: CheckLook, OK: d.last.Problem == "", Reason: d.last.Problem},
		writable(trouble), d.punctual(now),
		{Name: CheckConfig, OK: true, Reason: d.reload.Problem},
	}
	for i := range all {
		c := &all[i]
		c.Since = now
		if was, told := d.checks[c.Name]; !told {
			c.Since = d.began
		} else if was.OK == c.OK {
			c.Since = was.Since
		}
		d.checks[c.Name] = *c
	}
	return all
}

func (d *Daemon) begun() Check {
	if d.last.Cycle == 0 {
		return Check{Name: CheckFirstCycle, Reason: "no cycle has finished yet"}
	}
	return Check{Name: CheckFirstCycle, OK: true}
}

func writable(trouble error) Check {
	if trouble != nil {
		return Check{Name: CheckLedger, Reason: "the ledger cannot be written: " + trouble.Error()}
	}
	return Check{Name: CheckLedger, OK: true}
}

// punctual says whether the cycle that is due after the last one is not overdue. Of the
// first there is begun to tell.
func (d *Daemon) punctual(now time.Time) Check {
	c := Check{Name: CheckSchedule, OK: true}
	s, err := policy.ParseSchedule(d.config.Set.Daemon.Schedule)
	if err != nil || d.last.Cycle == 0 { // the parser has accepted this schedule before
		return c
	}
	due := s.Next(d.last.FinishedAt)
	if late := now.Sub(due); late > latest(s.Interval(due)) {
		c.OK, c.Reason = false, fmt.Sprintf("the cycle that was due at %s has not finished after %s", due.UTC().Format(time.RFC3339), late.Round(time.Second))
	}
	return c
}

// Unready is why a daemon with these checks cannot be relied on; nil where it can.
func Unready(all []Check) error {
	var why []string
	for i := range all {
		if !all[i].OK {
			why = append(why, all[i].Reason)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return errors.New(strings.Join(why, "; "))
}

// Ready says why the daemon is not ready to be relied on; nil when it is.
func (d *Daemon) Ready() error { return Unready(d.Checks()) }
