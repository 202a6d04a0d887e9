package ledger

import (
	"slices"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestALedgerKnowsTheNamesItGaveOutAndTookIn(t *testing.T) {
	o := Options{Path: t.TempDir() + "/ledger.db", NoSync: true}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	foreign := market.MachineName{Owner: "main", Policy: "train", Key: "abcd2345"}
	bare := market.MachineName{Owner: "main", Policy: "train"}
	var given market.MachineName
	ask := func() []market.MachineName {
		t.Helper()
		out, err := l.Strangers([]market.MachineName{foreign, given, bare})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	update := func(fn func(tx *Tx) error) {
		t.Helper()
		if err := l.Update(fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *Tx) error {
		given = tx.NewName("main", "train")
		return nil
	})
	if got := ask(); !slices.Equal(got, []market.MachineName{foreign, bare}) {
		t.Errorf("strangers: %v", got)
	}
	update(func(tx *Tx) error { return tx.TakeIn(foreign) })
	update(func(tx *Tx) error { return tx.TakeIn(foreign) })
	update(func(tx *Tx) error { return tx.TakeIn(given) })
	update(func(tx *Tx) error { return tx.TakeIn(bare) })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(o); err != nil { // which counts and checks every record
		t.Fatal(err)
	}
	if got := ask(); len(got) != 0 {
		t.Errorf("after a restart these are strangers: %v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
