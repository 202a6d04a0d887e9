package plan

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestImportingTheSameRecordsTwiceChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []HostRecord
		for _, r := range append(drawRecords(t), drawRecords(t)...) {
			r.Boots, r.Outbids = min(r.Boots, r.Launches), min(r.Outbids, r.Losses)
			list = append(list, r)
		}
		a := History{Hosts: drawRecords(t)}
		if _, err := a.MergeHosts(list, t0); err != nil {
			t.Fatal(err)
		}
		once := asJSON(t, a.HostViews(t0))
		if n, err := a.MergeHosts(list, t0); n != 0 || err != nil || asJSON(t, a.HostViews(t0)) != once {
			t.Fatalf("%d were taken again, %v:\n%s\n%s", n, err, once, asJSON(t, a.HostViews(t0)))
		}
	})
}

func TestTheRecordThatRestsOnMoreStays(t *testing.T) {
	h := History{Hosts: []HostRecord{{Host: "a", Model: rtx4090, At: t0, Hours: 10 * Once}, {Host: "b", Model: rtx4090, At: t0, Hours: 10 * Once}}}
	n, err := h.MergeHosts([]HostRecord{
		{Host: "a", Model: rtx4090, At: t0, Hours: 20 * Once, Losses: Once},
		{Host: "b", Model: rtx4090, At: t0.Add(-RecordHalfLife), Hours: 15 * Once, Losses: Once, Strikes: 3, Quarantine: t0.Add(time.Hour)}, // faded to 7.5
		{Host: "c", Model: rtx4090, At: t0, Launches: Once},
	}, t0)
	rs := h.Records(t0)
	if err != nil || n != 2 || rs.Of("a", rtx4090).Losses != Once || rs.Of("b", rtx4090).Losses != 0 || rs.Of("c", rtx4090).Launches != Once {
		t.Errorf("%d taken, %v: %+v", n, err, h.Hosts)
	}
	if rs.Quarantined("b", rtx4090).IsZero() {
		t.Error("the longer quarantine was dropped")
	}
}

func TestARecordThatCannotBeTrueIsRefusedAndNoneIsTaken(t *testing.T) {
	good := HostRecord{Host: "a", Model: rtx4090, At: t0, Hours: Once}
	for want, change := range map[string]func(*HostRecord){
		"a host and a GPU model": func(r *HostRecord) { r.Host = "" },
		"a GPU model are needed": func(r *HostRecord) { r.Host = strings.Repeat("x", 300) },
		"a count":                func(r *HostRecord) { r.Hours = mostCounted + 1 },
		"out of bounds":          func(r *HostRecord) { r.Losses = -1 },
		"more boots":             func(r *HostRecord) { r.Boots = Once },
		"strikes":                func(r *HostRecord) { r.Strikes = -1 },
		"lies ahead":             func(r *HostRecord) { r.At = t0.Add(48 * time.Hour) },
		"missing":                func(r *HostRecord) { r.At = time.Time{} },
		"longer than a week":     func(r *HostRecord) { r.Quarantine = t0.Add(1000 * time.Hour) },
	} {
		bad := good
		change(&bad)
		h := History{}
		if n, err := h.MergeHosts([]HostRecord{good, bad}, t0); n != 0 || err == nil || !strings.Contains(err.Error(), want) || len(h.Hosts) != 0 {
			t.Errorf("%s: %d, %v", want, n, err)
		}
	}
	many := make([]HostRecord, maxRecords+1)
	for i := range many {
		many[i] = good
		many[i].Host = nameOf("h", i)
	}
	if _, err := (&History{}).MergeHosts(many, t0); err == nil {
		t.Error("more than are kept were taken")
	}
}
