package control

import (
	"context"
	"errors"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// HostsRequest asks for the records of hosts.
type HostsRequest struct{}

// ImportRequest drops the records of a host, and then takes others in.
type ImportRequest struct {
	Hosts  []plan.HostRecord `json:"hosts"`
	Forget string            `json:"forget,omitempty"` // a host; its quarantine ends with its records
}

// Imported says what became of the records that were to be taken in.
type Imported struct {
	Read      int `json:"read"`
	Taken     int `json:"taken"` // new, or resting on more than what was known
	Known     int `json:"known"` // on record now
	Forgotten int `json:"forgotten"`
}

// Hosts implements Desk.
func (f *Office) Hosts(_ context.Context, _ HostsRequest) ([]plan.HostView, error) {
	h, err := f.history()
	return list(h.HostViews(f.o.Clock.Now())), err
}

// ImportHosts implements Desk.
func (f *Office) ImportHosts(_ context.Context, r ImportRequest) (Imported, error) {
	out := Imported{Read: len(r.Hosts)}
	var bad error
	err := f.b.change(func(l *ledger.Ledger) error {
		return l.Update(func(tx *ledger.Tx) error {
			h := tx.History()
			out.Forgotten = h.ForgetHost(r.Forget)
			out.Taken, bad = h.MergeHosts(r.Hosts, f.o.Clock.Now())
			out.Known = len(h.Hosts)
			return bad
		})
	})
	if bad != nil && errors.Is(err, bad) {
		return Imported{}, &Fault{Class: Usage, Message: bad.Error()}
	}
	return out, fail(err)
}
