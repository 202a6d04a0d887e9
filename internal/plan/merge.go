package plan

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of what a record from elsewhere may say.
const (
	mostCounted    = 1_000_000 * Once
	mostStrikes    = 1000
	longestHostsID = 256
)

// MergeHosts takes records from elsewhere into the books. Where there is one of the
// same host and model, the one that has seen more stays, with the longer quarantine:
// taking the same twice changes nothing. A record that cannot be true is an error,
// and then none is taken. It says how many were.
func (h *History) MergeHosts(list []HostRecord, now time.Time) (taken int, err error) {
	merged := slices.Clone(h.Hosts)
	at := map[recordKey]int{}
	for i := range merged {
		at[merged[i].key()] = i
	}
	for _, r := range list {
		if err := r.check(now); err != nil {
			return 0, err
		}
		r.age(now)
		i, known := at[r.key()]
		if !known {
			at[r.key()] = len(merged)
			merged, taken = append(merged, r), taken+1
			continue
		}
		own := merged[i]
		own.age(now)
		if r.seen() > own.seen() {
			merged[i], taken = r, taken+1
		}
		m := &merged[i]
		if m.Strikes = max(own.Strikes, r.Strikes); own.Quarantine.After(m.Quarantine) {
			m.Quarantine = own.Quarantine
		}
		if r.Quarantine.After(m.Quarantine) {
			m.Quarantine = r.Quarantine
		}
	}
	if len(merged) > maxRecords {
		return 0, fmt.Errorf("%d records of hosts are too many, at most %d are kept", len(merged), maxRecords)
	}
	slices.SortFunc(merged, compareRecords)
	h.Hosts = merged
	return taken, nil
}

// ForgetHost drops every record of a host, and says how many there were.
func (h *History) ForgetHost(host string) int {
	before := len(h.Hosts)
	h.Hosts = slices.DeleteFunc(h.Hosts, func(r HostRecord) bool { return r.Host == host })
	return before - len(h.Hosts)
}

// seen is how much a record rests on.
func (r *HostRecord) seen() Faded { return r.Hours + r.Launches }

func (r *HostRecord) check(now time.Time) error {
	wrong := func(why string) error { return fmt.Errorf("the record of host %q, %q: %s", r.Host, r.Model, why) }
	if r.Host == "" || r.Model == "" || len(r.Host) > longestHostsID || len(r.Model) > longestHostsID {
		return wrong("a host and a GPU model are needed")
	}
	for _, c := range r.counts() {
		if *c < 0 || *c > mostCounted {
			return wrong("a count is out of bounds")
		}
	}
	switch {
	case r.Boots > r.Launches || r.Outbids > r.Losses:
		return wrong("more boots than launches, or more outbids than losses")
	case r.Strikes < 0 || r.Strikes > mostStrikes:
		return wrong("the strikes are out of bounds")
	case r.At.IsZero() || r.At.After(now.Add(time.Hour)):
		return wrong("its time is missing or lies ahead")
	case r.Quarantine.After(now.Add(quarantineLongest + time.Hour)):
		return wrong("its quarantine is longer than a week")
	}
	return nil
}

// HostView is a record with what it makes us believe.
type HostView struct {
	HostRecord
	Hazard  float64 `json:"hazard_per_hour"`
	Seconds int64   `json:"seconds_to_ready"`
	Success float64 `json:"success"`
}

// HostViews are the records as of now.
func (h *History) HostViews(now time.Time) []HostView {
	rs := h.Records(now)
	out := make([]HostView, 0, len(h.Hosts))
	for _, r := range h.Hosts {
		out = append(out, HostView{
			HostRecord: rs.Of(r.Host, r.Model), Hazard: rs.Hazard(r.Host, r.Model), Success: rs.Success(r.Host, r.Model),
			Seconds: int64(rs.TimeToReady(r.Host, r.Model).Round(time.Second) / time.Second),
		})
	}
	slices.SortFunc(out, func(a, b HostView) int { return compareRecords(a.HostRecord, b.HostRecord) })
	return out
}
