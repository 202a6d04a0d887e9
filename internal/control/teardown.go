package control

import (
	"context"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
)

// lookAgain is how long Teardown waits between two looks.
const lookAgain = 3 * time.Second

// Teardown destroys until every machine is confirmed to be gone or timeout is
// over, which begins once their deletion was asked for. A look that shows a machine late, or again, makes it be deleted (again).
// What is left unconfirmed is told, not an error: the pause that it leaves behind
// keeps tearing down while a daemon runs.
func Teardown(ctx context.Context, clk clock.Clock, d Desk, r DestroyRequest, timeout time.Duration) (Destruction, error) {
	var sum Destruction
	var end time.Time
	for {
		round, err := d.Destroy(ctx, r)
		if err != nil {
			return sum, err
		}
		sum.add(round)
		if end.IsZero() {
			end = clk.Now().Add(timeout)
		}
		if len(sum.Unconfirmed) == 0 && sum.Problem == "" || !clk.Now().Add(lookAgain).Before(end) {
			return sum, nil
		}
		if err := clk.Sleep(ctx, lookAgain); err != nil {
			return sum, faultOf(err)
		}
	}
}

// add keeps the last word on every machine.
func (d *Destruction) add(round Destruction) {
	for _, m := range round.Machines {
		d.Machines = slices.DeleteFunc(d.Machines, func(o daemon.Destroyed) bool { return o.Machine == m.Machine })
		d.Machines = append(d.Machines, m)
	}
	d.Machines = list(d.Machines)
	d.Unconfirmed, d.Problem = round.Unconfirmed, round.Problem
}
