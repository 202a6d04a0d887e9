package ledger

import (
	"errors"
	"reflect"
	"testing"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// fallible is a disk that fails its commits while err is set.
type fallible struct {
	err    error
	commit int // how many were asked for
}

func (f *fallible) fault() error {
	f.commit++
	return f.err
}

func TestACommitThatFailsLeavesMemoryAndDiskAsTheyWere(t *testing.T) {
	t.Parallel()
	disk := &fallible{}
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path, Fault: disk.fault})
	order := func(tx *Tx) error {
		h := tx.History()
		h.Machines = append(h.Machines, plan.Machine{Name: tx.NewName("main", "pool").String(), DeployIntent: tx.NextIntent()})
		return tx.PutIntent(plan.Intent{ID: h.Machines[len(h.Machines)-1].DeployIntent, State: plan.IntentOpen})
	}
	must(t, l.Update(order))
	before := must1(l.History())
	disk.err = errors.New("no space left on device")
	for range 3 {
		if err := l.Update(order); !errors.Is(err, ErrWrite) || !errors.Is(err, disk.err) {
			t.Fatalf("got %v", err)
		}
	}
	if after := must1(l.History()); !reflect.DeepEqual(before, after) {
		t.Errorf("memory: %+v instead of %+v", after, before)
	}
	must(t, l.Verify())
	disk.err = nil
	must(t, l.Update(order))
	must(t, l.Verify())
	if h := must1(l.History()); len(h.Machines) != 2 || h.Machines[0].DeployIntent+h.Machines[1].DeployIntent != 3 || disk.commit != 5 {
		t.Errorf("%d commits, %+v", disk.commit, h.Machines)
	}
	must(t, l.Close())
	if h := must1(mustOpen(t, Options{Path: path}).History()); len(h.Machines) != 2 {
		t.Errorf("disk: %+v", h.Machines)
	}
}
