package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Kinds of trouble that are no event's.
const (
	Missed   = "target_missed"
	Paused   = "paused"
	NoCycle  = "no_cycle"
	Market   = "market_unread"
	Outage   = "outage"
	Storm    = "outbid_storm"
	NoAnswer = "no_answer"
	Failed   = "failed"
	Reload   = "reload_failed"
)

// What is too little to be told of by itself.
const (
	leastShare  = 0.01 // of a policy's wanted GPU time
	leastMissed = plan.Span(time.Hour)
	leastUnread = 3 // cycles
	leastFailed = 5 // writes that failed, without doing harm
	// stormOf outbids within stormIn are a storm, as for the alert.
	stormOf = 10
	stormIn = time.Hour
)

// troubles are what went wrong, the dearest first.
func (m *maker) troubles() []Trouble {
	all := slices.Concat(m.missedTargets(), m.noCycles(), m.unread(), m.outages(), m.storms(), m.unanswered(), m.failures(), m.noted())
	if m.Current() && m.Present.Reload != "" && m.Only == "" {
		all = append(all, Trouble{
			Kind: Reload, From: m.Present.ReloadAt, Count: 1, Command: "tdscaler status",
			Text: "the file on disk is not the one in use: " + m.Present.Reload,
		})
	}
	for i := range all {
		t := &all[i]
		t.Worth = max(t.Worth, t.Paid.Add(m.worth(t.Policy, t.Missed)))
	}
	slices.SortStableFunc(all, func(a, b Trouble) int {
		return cmp.Or(cmp.Compare(b.Worth, a.Worth), a.From.Compare(b.From), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Text, b.Text))
	})
	if all == nil {
		return []Trouble{}
	}
	return all
}

// worth is what GPU time is worth to a policy: its ceiling. Without one, nothing is known.
func (m *maker) worth(name string, t plan.Span) market.Amount {
	for i := range m.Policies {
		if p := &m.Policies[i]; p.Name == name && p.MaxGPUHour < market.MaxRate {
			return p.MaxGPUHour.For(time.Duration(t))
		}
	}
	return 0
}

// sentences say why a policy was short; other codes speak for themselves.
func sentence(why string) string {
	said, ok := map[string]string{
		plan.WhyCeiling:    "what there was cost more than its ceiling",
		plan.WhyBackoff:    "the hosts that fit had failed or refused orders lately",
		plan.WhyCapacity:   "no host had enough GPUs free",
		plan.WhyOutbid:     "machines were outbid",
		plan.WhyActing:     "machines were being ordered",
		plan.HoldNoOffer:   "nothing on offer fits",
		plan.HoldBudget:    "the budget allowed no more",
		plan.HoldBalance:   "the balance was too low",
		plan.HoldBreaker:   "a breaker was open",
		plan.HoldBooting:   "machines were booting",
		plan.HoldDeleting:  "deletions were not confirmed yet",
		plan.HoldRebid:     "higher bids had not taken effect yet",
		plan.HoldAsking:    "the market was being asked which bids win",
		plan.HoldHosts:     "the list of hosts could not be read",
		plan.HoldInstances: "the list of machines could not be read",
		plan.HoldPaused:    "it was paused",
		plan.HoldCooldown:  "its cooldown held it back",
		plan.HoldDisagrees: "the list disagreed with the bill",
		plan.HoldProbe:     "machines ran and had not passed their probe",
		plan.HoldDemand:    "its signal could not be read",
		plan.HoldSpread:    "its spread left out what there was",
		plan.HoldLedger:    "the ledger could not be written",
	}[why]
	if !ok {
		return "it was held: " + why
	}
	return said
}

// missedTargets are the shortages, one for each policy and reason.
func (m *maker) missedTargets() (out []Trouble) {
	little := map[string]plan.Span{}
	for _, k := range slices.SortedFunc(maps.Keys(m.short), func(a, b shortage) int {
		return cmp.Or(cmp.Compare(a.policy, b.policy), cmp.Compare(a.why, b.why))
	}) {
		t := m.shortfall(k, m.short[k])
		if m.isLittle(k, t.Missed) {
			little[k.policy] += t.Missed
			continue
		}
		if t.Missed > 0 || k.why == plan.HoldPaused {
			out = append(out, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(little)) {
		if t := little[name]; float64(t) >= leastShare*float64(m.line[name].Wanted) {
			out = append(out, Trouble{
				Kind: Missed, Policy: name, From: m.From, To: m.To, Count: 1, Missed: t, Command: "tdscaler explain " + name,
				Text: fmt.Sprintf("%s missed %s GPU-hours in short moments of several kinds", name, hours(t)),
			})
		}
	}
	return out
}

// isLittle says whether a shortage is not worth a line of its own. Buying, booting and being
// outbid are daily business up to a share; of what keeps a policy from buying, an hour is much.
func (m *maker) isLittle(k shortage, missed plan.Span) bool {
	if k.why == plan.HoldPaused {
		return false
	}
	daily := slices.Contains([]string{
		plan.HoldBooting, plan.HoldAsking, plan.HoldDeleting, plan.HoldRebid, plan.HoldProbe, plan.WhyOutbid, plan.WhyActing,
	}, k.why)
	return (daily || missed < leastMissed) && float64(missed) < leastShare*float64(m.line[k.policy].Wanted)
}

// shortfall tells of all spells with one reason; the worst is where to look.
func (m *maker) shortfall(k shortage, list []spell) Trouble {
	t := Trouble{Kind: Missed, Policy: k.policy, From: list[0].from, To: list[len(list)-1].to, Count: len(list)}
	worst := list[0]
	for _, s := range list {
		t.Missed += s.missed
		if s.missed > worst.missed {
			worst = s
		}
	}
	when := m.between(worst.stretch)
	if len(list) > 1 {
		when = fmt.Sprintf("%d times, at worst %s", len(list), when)
	}
	t.Command = fmt.Sprintf("tdscaler explain %s --cycle %d", k.policy, worst.cycle)
	if k.why == plan.HoldPaused {
		t.Kind = Paused
		t.Text = fmt.Sprintf("%s was paused %s; %s GPU-hours are missing for it", k.policy, when, hours(t.Missed))
		return t
	}
	t.Text = fmt.Sprintf("%s missed %s GPU-hours because %s, %s", k.policy, hours(t.Missed), sentence(k.why), when)
	return t
}

// between is a stretch in words: the day is told twice only where it is another.
func (m *maker) between(s stretch) string {
	from, to := s.from.In(m.zone), s.to.In(m.zone)
	layout := "2006-01-02 15:04"
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		layout = "15:04"
	}
	return fmt.Sprintf("from %s to %s", from.Format("2006-01-02 15:04"), to.Format(layout))
}

// noCycles are the times in which nobody looked, but not those before the first cycle.
func (m *maker) noCycles() (out []Trouble) {
	for _, g := range m.gaps {
		if g.from.Equal(m.From) && (len(m.Cycles) == 0 || !m.Cycles[0].At.Before(m.From)) {
			continue
		}
		out = append(out, Trouble{
			Kind: NoCycle, From: g.from, To: g.to, Count: 1, Command: "tdscaler ledger cycles",
			Text: fmt.Sprintf("no cycle %s, for %s: the daemon was down, or stood still", m.between(g), lasted(g.long())),
		})
	}
	return out
}

// unread are the cycles that could not read the market.
func (m *maker) unread() []Trouble {
	t := Trouble{Kind: Market}
	worst, most := "", 0
	counts := map[string]int{}
	cycles := 0
	for i := range m.Cycles {
		c := &m.Cycles[i]
		if !m.within(c) {
			continue
		}
		cycles++
		if c.Problem == "" {
			continue
		}
		if t.Count++; t.Count == 1 {
			t.From = c.At
		}
		t.To = c.At
		if counts[c.Problem]++; counts[c.Problem] > most {
			worst, most = c.Problem, counts[c.Problem]
			t.Command = fmt.Sprintf("tdscaler ledger cycle %d", c.Number)
		}
	}
	if t.Count < leastUnread {
		return nil
	}
	t.Text = fmt.Sprintf("%d of %d cycles had a problem, %s; most often: %s", t.Count, cycles, m.between(stretch{t.From, t.To}), worst)
	return []Trouble{t}
}

// outages are those of one host together: it is the host that one may leave.
func (m *maker) outages() (out []Trouble) {
	hosts := map[string][]plan.Outage{}
	for i := range m.Outages {
		if u := &m.Outages[i]; m.of(u.Policy) != nil && m.down(u).long() > 0 {
			hosts[u.Host] = append(hosts[u.Host], *u)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		out = append(out, m.outage(host, hosts[host]))
	}
	return out
}

// down is for how long of the stretch an outage lasted.
func (m *maker) down(u *plan.Outage) stretch { return m.clip(u.From, u.From.Add(u.Lasted())) }

func (m *maker) outage(host string, all []plan.Outage) Trouble {
	t := Trouble{
		Kind: Outage, Policy: all[0].Policy, Count: len(all), Command: "tdscaler claim --since " + m.From.In(m.zone).Format(time.DateOnly),
	}
	long, causes := time.Duration(0), []string{}
	for i := range all {
		u := &all[i]
		s := m.down(u)
		if t.From.IsZero() || s.from.Before(t.From) {
			t.From = s.from
		}
		if s.to.After(t.To) {
			t.To = s.to
		}
		long += s.long()
		t.Missed += gpuTime(u.GPUs, s.long())
		t.Paid = t.Paid.Add(u.Rate.Or(0).For(s.long()))
		causes = append(causes, u.Cause)
		if u.Policy != t.Policy {
			t.Policy = ""
		}
	}
	slices.Sort(causes)
	name := host
	if name == "" {
		name = "a host that is not told"
	}
	t.Text = fmt.Sprintf("%s on host %s, %s together (%s), %s", plural(len(all), "outage"), name, lasted(long), strings.Join(slices.Compact(causes), ", "), m.between(stretch{t.From, t.To}))
	return t
}

// storms are the hours in which a policy's machines were outbid again and again.
func (m *maker) storms() (out []Trouble) {
	when := map[string][]time.Time{}
	for _, n := range m.notes() {
		if n.Kind == plan.EventOutbid {
			when[n.Policy] = append(when[n.Policy], n.at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(when)) {
		if t, ok := m.storm(name, when[name]); ok {
			out = append(out, t)
		}
	}
	return out
}

// storm finds the worst hour of a policy; the times are in order.
func (m *maker) storm(name string, at []time.Time) (t Trouble, ok bool) {
	first := 0
	for last := range at {
		for at[last].Sub(at[first]) > stormIn {
			first++
		}
		if n := last - first + 1; n > max(stormOf, t.Count) {
			t = Trouble{Kind: Storm, Policy: name, From: at[first], To: at[last], Count: n}
		}
	}
	t.Text = fmt.Sprintf("%s was outbid %d times within the hour, %s; %d times in all", name, t.Count, m.between(stretch{t.From, t.To}), len(at))
	t.Command = "tdscaler prices --policy " + name
	return t, t.Count > 0
}

// unanswered are the writes of which nobody knows what became of them, or that were given
// up without knowing.
func (m *maker) unanswered() []Trouble {
	var ids []uint64
	t := Trouble{Kind: NoAnswer}
	for i := range m.Intents {
		in := &m.Intents[i]
		if in.State != plan.IntentUnknown && in.State != plan.IntentExpired || m.of(in.Policy) == nil {
			continue
		}
		ids = append(ids, in.ID)
		if t.From.IsZero() || in.At.Before(t.From) {
			t.From = in.At
		}
		if in.At.After(t.To) {
			t.To = in.At
		}
	}
	if t.Count = len(ids); t.Count == 0 {
		return nil
	}
	t.Command = fmt.Sprintf("tdscaler ledger show %d", slices.Min(ids))
	t.Text = fmt.Sprintf("%s to the market got no answer that could be believed, and no list has shown what became of them", plural(t.Count, "write"))
	return []Trouble{t}
}

// failures are writes that did certainly not have their effect. A bid that is refused is
// the auction's daily bread.
func (m *maker) failures() []Trouble {
	why, first := map[string]int{}, map[string]*plan.Intent{}
	for i := range m.Intents {
		in := &m.Intents[i]
		if in.State != plan.IntentFailed || m.of(in.Policy) == nil {
			continue
		}
		k := string(in.Kind) + ": " + in.Detail
		why[k]++
		if f := first[k]; f == nil || in.ID < f.ID {
			first[k] = in
		}
	}
	var out []Trouble
	for _, k := range slices.Sorted(maps.Keys(why)) {
		if why[k] >= leastFailed {
			in := first[k]
			out = append(out, Trouble{
				Kind: Failed, From: in.At, Count: why[k], Command: fmt.Sprintf("tdscaler ledger show %d", in.ID),
				Text: fmt.Sprintf("%s failed alike: %s", plural(why[k], "write"), k),
			})
		}
	}
	return out
}

// note is an event with when and where it is on record.
type note struct {
	plan.Notice
	at    time.Time
	cycle uint64
}

// notes are those of the stretch, in order.
func (m *maker) notes() (out []note) {
	for i := range m.Cycles {
		c := &m.Cycles[i]
		if c.Digest == nil || !m.within(c) {
			continue
		}
		for _, n := range c.Digest.Notes {
			if m.Only == "" || n.Policy == m.Only {
				out = append(out, note{n, c.At, c.Number})
			}
		}
	}
	return out
}

// eventText is what is said of events of a kind; the newest one's own words follow.
func eventText(k plan.EventKind) string {
	return map[plan.EventKind]string{
		plan.EventAdopted:    "adopted without a record of ours",
		plan.EventLost:       "gone without our doing",
		plan.EventSuspicious: "a list that was not believed",
		plan.EventBreaker:    "a breaker opened",
		plan.EventClock:      "the clock was set",
		plan.EventBill:       "the bill and the books differ",
		plan.EventWasted:     "paid for and never ready",
		plan.EventNotParked:  "asked to stop, and went on",
		plan.EventNotStarted: "asked to start, and did not",
		plan.EventNotResized: "asked to change its size, and did not",
		plan.EventAlarm:      "a container is not what it should be",
		plan.EventHookFailed: "a hook failed",
	}[k]
}

// noted are the events that say that something is wrong, those of a kind together.
func (m *maker) noted() (out []Trouble) {
	kinds := map[plan.EventKind][]note{}
	for _, n := range m.notes() {
		if eventText(n.Kind) != "" {
			kinds[n.Kind] = append(kinds[n.Kind], n)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, m.event(k, kinds[k]))
	}
	return out
}

func (m *maker) event(k plan.EventKind, all []note) Trouble {
	last := all[len(all)-1]
	t := Trouble{
		Kind: string(k), Policy: last.Policy, From: all[0].at, To: last.at, Count: len(all), Command: fmt.Sprintf("tdscaler ledger cycle %d", last.cycle),
	}
	for _, n := range all {
		t.Paid = t.Paid.Add(n.Amount)
		if n.Policy != t.Policy {
			t.Policy = ""
		}
	}
	if last.Intent > 0 {
		t.Command = fmt.Sprintf("tdscaler ledger show %d", last.Intent)
	}
	about := last.Machine
	if about == "" {
		about = last.Policy
	}
	if about != "" {
		about = " (" + about + ")"
	}
	if len(all) == 1 {
		t.To = time.Time{}
		t.Text = fmt.Sprintf("%s, %s%s: %s", eventText(k), m.stamp(last.at), about, last.Text)
		return t
	}
	t.Text = fmt.Sprintf("%s, %d times, last %s%s: %s", eventText(k), len(all), m.stamp(last.at), about, last.Text)
	return t
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// hours are GPU-hours with one decimal.
func hours(s plan.Span) string { return fmt.Sprintf("%.1f", s.Hours()) }
