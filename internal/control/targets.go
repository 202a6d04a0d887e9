package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
)

// TargetsRequest asks for the target of a policy, or with "" for all.
type TargetsRequest struct {
	Policy string `json:"policy,omitempty"`
}

// SetTargetRequest sets a target by hand. It has an end, or says Forever.
type SetTargetRequest struct {
	Policy string `json:"policy"`
	N      int    `json:"n"` // GPUs, or with Instances machines
	// Instances says that N counts machines.
	Instances bool      `json:"instances,omitempty"`
	Until     time.Time `json:"until,omitzero"`
	Forever   bool      `json:"forever,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	// Webhook is the signature of the request that asks for it, where that is no
	// operator's: each is taken once.
	Webhook string `json:"-"`
}

// ClearTargetRequest ends what was set for a policy by hand, or with "" for all.
type ClearTargetRequest struct {
	Policy  string `json:"policy,omitempty"`
	Webhook string `json:"-"`
}

// Cleared says what was ended, and what every policy wants now.
type Cleared struct {
	Ended   []demand.Override `json:"ended"`
	Targets []demand.Outcome  `json:"targets"`
}

// byWebhook is who sets a target by a signed request.
const byWebhook = "webhook"

// longestReason bounds what is kept and shown of a reason.
const longestReason = 200

// Targets implements Desk.
func (f *Office) Targets(_ context.Context, r TargetsRequest) ([]demand.Outcome, error) {
	if err := f.knows(r.Policy); err != nil {
		return nil, err
	}
	return f.targets(r.Policy)
}

func (f *Office) targets(name string) ([]demand.Outcome, error) {
	h, err := f.history()
	if err != nil {
		return nil, err
	}
	c := f.b.config()
	all := daemon.Targets(&c, &h, f.o.Clock.Now())
	return slices.DeleteFunc(all, func(o demand.Outcome) bool { return name != "" && o.Policy != name }), nil
}

// SetTarget implements Desk.
func (f *Office) SetTarget(_ context.Context, r SetTargetRequest) (demand.Outcome, error) {
	c, now := f.b.config(), f.o.Clock.Now()
	p, ok := c.Set.Find(r.Policy)
	switch {
	case !ok:
		return demand.Outcome{}, f.unknown(&c, r.Policy)
	case r.Forever != r.Until.IsZero():
		return demand.Outcome{}, &Fault{Class: Usage, Message: "a target that is set by hand has an end, or is set forever: exactly one of the two"}
	case len([]rune(r.Reason)) > longestReason:
		return demand.Outcome{}, &Fault{Class: Usage, Message: fmt.Sprintf("the reason has more than %d characters", longestReason)}
	}
	o := demand.Override{Policy: r.Policy, GPUs: r.N, Since: now.Round(0), Until: r.Until.Round(0), By: "operator", Reason: r.Reason}
	if r.Instances {
		o.GPUs *= max(p.Shape.GPUs, 1)
	}
	if r.Webhook != "" {
		o.By = byWebhook
	}
	if err := daemon.CheckOverride(&c, &o, now); err != nil {
		return demand.Outcome{}, faultOf(err)
	}
	err := f.b.change(func(l *ledger.Ledger) error {
		return l.Update(func(tx *ledger.Tx) error {
			if err := errors.Join(once(tx, r.Webhook, now), yields(tx, r.Webhook, r.Policy, now)); err != nil {
				return err
			}
			daemon.SetOverride(tx, o)
			return nil
		})
	})
	if err != nil {
		return demand.Outcome{}, faultOf(err)
	}
	f.b.wake()
	all, err := f.targets(r.Policy)
	if err != nil || len(all) == 0 {
		return demand.Outcome{}, fail(err)
	}
	return all[0], nil
}

func (f *Office) unknown(c *daemon.Config, name string) *Fault {
	h, err := f.history()
	if err != nil {
		return faultOf(err)
	}
	return noSuchPolicy(name, daemon.KnownPolicies(c, &h))
}

// ClearTarget implements Desk.
func (f *Office) ClearTarget(_ context.Context, r ClearTargetRequest) (out Cleared, err error) {
	if err := f.knows(r.Policy); err != nil {
		return out, err
	}
	h, err := f.history()
	if err != nil {
		return out, err
	}
	if len(h.Overrides) > 0 || r.Webhook != "" {
		err = f.b.change(func(l *ledger.Ledger) error {
			return l.Update(func(tx *ledger.Tx) error {
				now := f.o.Clock.Now()
				if err := errors.Join(once(tx, r.Webhook, now), yields(tx, r.Webhook, r.Policy, now)); err != nil {
					return err
				}
				out.Ended = daemon.ClearOverride(tx, r.Policy)
				return nil
			})
		})
		if err != nil {
			return out, faultOf(err)
		}
		f.b.wake()
	}
	out.Ended = list(out.Ended)
	out.Targets, err = f.targets(r.Policy)
	return out, err
}

// yields refuses a webhook what an operator has decided otherwise.
func yields(tx *ledger.Tx, signature, name string, now time.Time) error {
	if signature == "" {
		return nil
	}
	for _, o := range tx.History().Overrides {
		if o.Policy == name && o.Active(now) && o.By != byWebhook {
			return &Fault{Class: Held, Message: fmt.Sprintf("the target of %s was set by the %s %s", name, o.By, o.Ends())}
		}
	}
	return nil
}

// ErrReplayed is returned for a signed request that was taken before.
var ErrReplayed = errors.New("this request was taken before: sign a new one, with the present time")

// maxHeard bounds the requests that are taken within the time that they are remembered.
const maxHeard = 1000

// once takes a signed request, in the transaction that carries it out, so that nobody
// can have it carried out again, not even after a restart.
func once(tx *ledger.Tx, signature string, now time.Time) error {
	if signature == "" {
		return nil
	}
	h := tx.History()
	heard, ok := demand.Hear(h.Heard, signature, now)
	switch {
	case !ok:
		return ErrReplayed
	case len(heard) > maxHeard:
		return fmt.Errorf("more than %d requests within %s", maxHeard, 2*demand.ReplayWindow)
	}
	h.Heard = heard
	return nil
}
