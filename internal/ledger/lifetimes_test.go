package ledger

import (
	"slices"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func TestALedgerWithoutLifetimesLearnsThemFromItsSpend(t *testing.T) {
	o := Options{Path: tempPath(t)}
	l, err := openAs(o, 1, nil)
	must(t, err)
	must(t, l.Update(func(tx *Tx) error {
		tx.History().Spend = []plan.Spend{
			{Day: "2026-02-27", Policy: "b", Amount: 3 * market.Dollar},
			{Day: "2026-02-28", Policy: "a", Amount: market.Dollar},
			{Day: "2026-03-01", Policy: "b", Amount: 4 * market.Dollar},
		}
		return nil
	}))
	must(t, l.Close())
	l = mustOpen(t, o)
	want := []plan.Total{{Policy: "a", Amount: market.Dollar}, {Policy: "b", Amount: 7 * market.Dollar}}
	if got := must1(l.History()).Totals; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	must(t, l.Verify())
}
