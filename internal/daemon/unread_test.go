package daemon

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func TestTheStatusNamesTheListsThatWereAskedForAndNotRead(t *testing.T) {
	at := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	var last plan.Report
	s := &last.Input.Snapshot
	s.V2 = market.Section[[]string]{At: at, Problem: "v2 hangs"}
	s.Instants = market.Section[[]market.Instant]{At: at, Complete: true} // and nobody asked for v2's locations
	s.Containers = []market.ReplicaList{
		{Container: "a", Replicas: market.Section[[]market.Replica]{At: at, Complete: true}},
		{Container: "b", Replicas: market.Section[[]market.Replica]{At: at, Problem: "a web page"}},
	}
	got := StatusAfter(&Config{}, &last, &plan.History{}, at).Unread
	if len(got) != 2 || got[0] != (Unread{"v2's machines", "v2 hangs"}) || got[1] != (Unread{"replicas of b", "a web page"}) {
		t.Errorf("%+v", got)
	}
}
