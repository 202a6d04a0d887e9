package ledger

import (
	"errors"
	"testing"

	"github.com/tdscaler/tdscaler/internal/plan"
)

func TestVolatileBooksAreKeptFromOneTransactionToTheNext(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true, Volatile: true})
	var id uint64
	must(t, l.Update(func(tx *Tx) error {
		h := tx.History()
		h.Machines = append(h.Machines, plan.Machine{Name: "b"}, plan.Machine{Name: "a"})
		id = tx.NextIntent()
		return tx.PutIntent(plan.Intent{ID: id, Kind: plan.Deploy, Machine: "a"})
	}))
	failed := errors.New("changed my mind")
	if err := l.Update(func(tx *Tx) error { tx.History().Machines = nil; return failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	r := newWorld(3, 1, 1).next()
	must(t, l.PutReport(r))
	h, err := l.History()
	must(t, err)
	if len(h.Machines) != 2 || h.Machines[1].Name != "a" {
		t.Errorf("%+v", h.Machines)
	}
	must(t, l.Update(func(tx *Tx) error {
		in, ok, err := tx.Intent(id)
		if !ok || in.Machine != "a" || tx.NextIntent() != id+1 {
			t.Errorf("%+v, %v", in, ok)
		}
		return err
	}))
	if s := l.Stats(); s.Reports != 0 || s.Intents != 1 {
		t.Errorf("%+v", s)
	}
}
