package plan

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// How what is learnt of hosts fades, and what is believed of one that is not known.
const (
	// RecordHalfLife is after how long an experience counts half.
	RecordHalfLife = 7 * 24 * time.Hour
	// recordPrior is how many running hours of its model a host's own hazard is mixed
	// with; and a model's with those of all hosts, and theirs with priorHazard.
	recordPrior = 24 * Once
	// priorHazard is one loss a day: what is believed where nothing is known.
	priorHazard = Once / 24
	// priorBoot is how long a machine takes to run where nothing is known; it weighs as
	// much as priorBoots boots.
	priorBoot  = 3 * time.Minute
	priorBoots = Once
	// longestBoot is the most that one boot counts: an answer that was lost, or a clock,
	// must not stand for the host.
	longestBoot = 30 * time.Minute
	// creditStep is how much running time is booked at once: a quiet look changes nothing.
	creditStep = 10 * time.Minute
)

// Quarantine keeps us off a host that failed again and again.
const (
	quarantineStrikes = 3
	quarantineFirst   = 6 * time.Hour
	quarantineLongest = 7 * 24 * time.Hour
)

// maxRecords bounds the records of hosts; those that say least go first.
const maxRecords = 4096

// Faded is a count that fades: in billionths, so that adding is exact and the order
// of what happened in one hour does not matter. It is JSON's plain number.
type Faded int64

// Once is a thing that happened just now.
const Once Faded = 1e9

// MarshalJSON writes the exact number.
func (f Faded) MarshalJSON() ([]byte, error) { return []byte(market.Amount(f).Decimal()), nil }

// UnmarshalJSON reads a number that is not negative.
func (f *Faded) UnmarshalJSON(b []byte) error {
	n, err := market.ParseNano(strings.Trim(string(b), `"`), market.RoundDown)
	*f = Faded(max(n, 0))
	return err
}

// Float is for showing.
func (f Faded) Float() float64 { return float64(f) / float64(Once) }

// hourlyFade is 2^(-1h/RecordHalfLife) in units of 2^-32.
const hourlyFade = 4277283299

// fading is what is left of a count after some hours: halved so often, and then
// multiplied by part / 2^32. It is made of integers: the same on every machine, and
// in steps the same as at once but for a billionth a step.
type fading struct{ halves, part int64 }

func fadingOf(hours int64) fading {
	const halfLife = int64(RecordHalfLife / time.Hour)
	f, power := fading{min(hours/halfLife, 63), 1 << 32}, int64(hourlyFade)
	for n := hours % halfLife; n > 0; n /= 2 {
		if n%2 == 1 {
			f.part = mulDiv(f.part, power, 1<<32)
		}
		power = mulDiv(power, power, 1<<32)
	}
	return f
}

func (f Faded) left(by fading) Faded { return Faded(mulDiv(int64(f>>by.halves), by.part, 1<<32)) }

// fade is what is left after so many hours.
func (f Faded) fade(hours int64) Faded { return f.left(fadingOf(hours)) }

// HostRecord is what machines of ours have been through with one GPU model on one
// host. Its counts fade with RecordHalfLife; Strikes and Quarantine do not.
//
// Invariant: what is added within an hour may be added in any order.
type HostRecord struct {
	Host  string          `json:"host"`
	Model market.GPUModel `json:"gpu_model"`
	At    time.Time       `json:"at"` // until when the counts have faded
	// Launches are machines of which we know what became: they ran (Boots), or the
	// market took the order and they never did.
	Launches Faded `json:"launches,omitzero"`
	Boots    Faded `json:"boots,omitzero"`
	// BootHours is the time from order to running, of all Boots.
	BootHours Faded `json:"boot_hours,omitzero"`
	// Hours is for how long machines ran; Losses how often one stopped without our
	// doing, and Outbids how many of these the auction took.
	Hours   Faded `json:"hours,omitzero"`
	Losses  Faded `json:"losses,omitzero"`
	Outbids Faded `json:"outbids,omitzero"`
	// Outage is for how many hours machines were down that were not outbid.
	Outage Faded `json:"outage_hours,omitzero"`
	// Strikes counts failures in a row: launches that came to nothing, machines that
	// broke down. A machine that runs for an hour ends the row.
	Strikes    int       `json:"strikes,omitempty"`
	Quarantine time.Time `json:"quarantine_until,omitzero"` // no machine is bought there before
}

type recordKey struct {
	host  string
	model market.GPUModel
}

func (r *HostRecord) key() recordKey { return recordKey{r.Host, r.Model} }

func (r *HostRecord) counts() []*Faded {
	return []*Faded{&r.Launches, &r.Boots, &r.BootHours, &r.Hours, &r.Losses, &r.Outbids, &r.Outage}
}

// age lets the counts fade until now, in whole hours.
func (r *HostRecord) age(now time.Time) {
	hours := int64(now.Sub(r.At) / time.Hour)
	if hours <= 0 {
		return
	}
	by := fadingOf(hours)
	for _, c := range r.counts() {
		*c = c.left(by)
	}
	r.At = r.At.Add(time.Duration(hours) * time.Hour)
}

// add adds what another record has seen, as of the same time.
func (r *HostRecord) add(o *HostRecord) {
	theirs := o.counts()
	for i, c := range r.counts() {
		*c = Faded(market.Amount(*c).Add(market.Amount(*theirs[i])))
	}
}

// strike counts a failure; from the third in a row on the host is left alone, twice
// as long each time.
func (r *HostRecord) strike(now time.Time) {
	r.Strikes++
	if r.Strikes < quarantineStrikes {
		return
	}
	d := quarantineFirst
	for i := quarantineStrikes; i < r.Strikes && d < quarantineLongest; i++ {
		d *= 2
	}
	if until := now.Add(min(d, quarantineLongest)); until.After(r.Quarantine) {
		r.Quarantine = until
	}
}

// empty says whether nothing is left that would change what is believed.
func (r *HostRecord) empty(now time.Time) bool {
	a := *r
	a.age(now)
	for _, c := range a.counts() {
		if *c >= Once/20 {
			return false
		}
	}
	return !now.Before(r.Quarantine.Add(quarantineLongest)) // the next failure is a repeated one
}

func compareRecords(a, b HostRecord) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model))
}

// record finds the record of a host and model, or makes one, as of now.
func (o *observer) record(m *Machine) *HostRecord {
	for i := range o.h.Hosts {
		if r := &o.h.Hosts[i]; r.Host == m.Host && r.Model == m.Model {
			r.age(o.l.Now)
			return r
		}
	}
	o.h.Hosts = append(o.h.Hosts, HostRecord{Host: m.Host, Model: m.Model, At: o.l.Now})
	return &o.h.Hosts[len(o.h.Hosts)-1]
}

// on notes something about the host of a machine, where it is known.
func (o *observer) on(m *Machine, note func(r *HostRecord)) {
	if m.Host != "" && m.Model != "" {
		note(o.record(m))
	}
}

// booted notes that a machine which was ordered runs. Of an adopted one nobody knows
// when it was ordered.
func (o *observer) booted(m *Machine) {
	if m.DeployIntent == 0 {
		return
	}
	took := min(max(o.l.Now.Sub(m.OrderedAt), 0), longestBoot)
	o.on(m, func(r *HostRecord) {
		r.Launches += Once
		r.Boots += Once
		r.BootHours += hours(took)
	})
}

// neverUp notes that an order the market had taken came to nothing.
func (o *observer) neverUp(m *Machine) { o.failedLaunch(m, !o.reclaimed(m)) }

// failedLaunch notes a launch that came to nothing, and whether its host is to blame.
func (o *observer) failedLaunch(m *Machine, blame bool) {
	if m.DeployIntent == 0 {
		return
	}
	o.on(m, func(r *HostRecord) {
		r.Launches += Once
		if blame {
			r.strike(o.l.Now)
		}
	})
}

// reclaimed says whether the market itself has ended a spot machine: that is how spot
// ends, and no fault of the host's.
func (o *observer) reclaimed(m *Machine) bool {
	return m.Capacity == market.Spot && slices.Contains(o.l.Snapshot.Gone, m.ID)
}

// moved notes what a machine's change of status means for its host's record. m still
// has the status before.
//
//	was       is                          noted
//	--------+--------------------------+--------------------------
//	running   outbid                     a loss, by the auction
//	running   stopped, released, error   a loss, and a strike
//	down      anything else              the time it was down
//	any       unknown, starting, ...     nothing: it may run on
//	spot      ended by the market        a loss, by the auction
//	other     ended, or seen no more     a loss, and a strike
func (o *observer) moved(m *Machine, is market.Status) {
	o.outage(m, o.l.Now)
	if is == market.StatusOutbid || down(is) {
		o.lost(m, is == market.StatusOutbid)
	}
}

// runs notes that a machine was seen running. What we asked to go away is no longer
// an experience with its host.
func (o *observer) runs(m *Machine) {
	switch {
	case m.byUs():
		o.credit(m, 0)
		m.RunAt = time.Time{}
	case m.Status != market.StatusRunning:
	case m.RunAt.IsZero():
		m.RunAt = o.l.Now
	default:
		o.credit(m, creditStep)
	}
}

// down are the states in which a machine delivers nothing though nobody outbid it.
func down(s market.Status) bool {
	return s == market.StatusStopped || s == market.StatusReleased || s == market.StatusError
}

// lost notes that a machine ran and does so no more, without our doing.
func (o *observer) lost(m *Machine, outbid bool) {
	if m.RunAt.IsZero() {
		return
	}
	o.credit(m, 0)
	m.RunAt = time.Time{}
	if m.byUs() || o.broke() && !outbid {
		return
	}
	o.on(m, func(r *HostRecord) {
		r.Losses += Once
		if outbid || o.reclaimed(m) {
			r.Outbids += Once
			return
		}
		r.strike(o.l.Now)
	})
}

// broke says whether the account is empty: then every machine stops, and no host is
// to blame.
func (o *observer) broke() bool {
	left, ok := o.l.Snapshot.Balance.Value.Balance.Get()
	return ok && left <= 0
}

// outage notes for how long a machine was down, when it no longer is.
func (o *observer) outage(m *Machine, until time.Time) {
	d := until.Sub(m.StatusAt)
	if m.ReadyAt.IsZero() || !down(m.Status) || m.byUs() || d <= 0 || o.broke() {
		return
	}
	o.on(m, func(r *HostRecord) { r.Outage += hours(d) })
}

// credit notes for how long a machine has run, where that is at least so much.
func (o *observer) credit(m *Machine, least time.Duration) {
	ran := o.l.Now.Sub(m.RunAt)
	if m.RunAt.IsZero() || ran < least || ran <= 0 {
		return
	}
	m.RunAt = o.l.Now
	o.on(m, func(r *HostRecord) {
		r.Hours += hours(ran)
		if !m.ReadyAt.IsZero() && o.l.Now.Sub(m.StatusAt) >= time.Hour {
			r.Strikes = 0
		}
	})
}

func hours(d time.Duration) Faded { return Faded(mulDiv(int64(d), int64(Once), int64(time.Hour))) }

// tidyRecords forgets what has faded, and what says least where there are too many.
func (o *observer) tidyRecords() {
	now := o.l.Now
	o.h.Hosts = slices.DeleteFunc(o.h.Hosts, func(r HostRecord) bool {
		return now.Sub(r.At) > RecordHalfLife && r.empty(now)
	})
	if len(o.h.Hosts) > maxRecords {
		slices.SortFunc(o.h.Hosts, func(a, b HostRecord) int {
			return cmp.Or(b.Quarantine.Compare(a.Quarantine), b.At.Compare(a.At), cmp.Compare(b.Hours, a.Hours), compareRecords(a, b))
		})
		o.h.Hosts = slices.Delete(o.h.Hosts, maxRecords, len(o.h.Hosts))
	}
	slices.SortFunc(o.h.Hosts, compareRecords)
}

// Records answers what is known of hosts at one moment. It is made once for many
// questions, in time linear in the records.
type Records struct {
	of     map[recordKey]HostRecord
	models map[market.GPUModel]HostRecord
	fleet  HostRecord
	now    time.Time
}

// Records are those of the history as of now.
func (h *History) Records(now time.Time) *Records {
	rs := &Records{of: make(map[recordKey]HostRecord, len(h.Hosts)), models: map[market.GPUModel]HostRecord{}, now: now}
	for _, r := range h.Hosts {
		r.age(now)
		rs.of[r.key()] = r
		m := rs.models[r.Model]
		m.add(&r)
		rs.models[r.Model] = m
		rs.fleet.add(&r)
	}
	return rs
}

// Record is what is known of one host and model as of now; all zero but for its
// names where nothing is.
func (h *History) Record(host string, model market.GPUModel, now time.Time) HostRecord {
	return h.Records(now).Of(host, model)
}

// Of is the record of a host and model; all zero but for its names where there is none.
func (rs *Records) Of(host string, model market.GPUModel) HostRecord {
	r := rs.of[recordKey{host, model}]
	r.Host, r.Model = host, model
	return r
}

// Hazard is how many losses an hour of running on the host costs: the host's own,
// mixed with 24 hours of its model's, mixed with 24 hours of all hosts', mixed with 24
// hours of one loss a day.
func (rs *Records) Hazard(host string, model market.GPUModel) float64 {
	return rs.hazard(host, model).Float()
}

func (rs *Records) hazard(host string, model market.GPUModel) Faded {
	rate := priorHazard
	own, pool := rs.of[recordKey{host, model}], rs.models[model]
	for _, r := range []*HostRecord{&rs.fleet, &pool, &own} {
		rate = mixed(r.Losses, r.Hours, rate, recordPrior)
	}
	return rate
}

// TimeToReady is how long a machine takes on the host from its order until it runs,
// mixed in the same way.
func (rs *Records) TimeToReady(host string, model market.GPUModel) time.Duration {
	took := hours(priorBoot)
	own, pool := rs.of[recordKey{host, model}], rs.models[model]
	for _, r := range []*HostRecord{&rs.fleet, &pool, &own} {
		took = mixed(r.BootHours, r.Boots, took, priorBoots)
	}
	return time.Duration(mulDiv(int64(took), int64(time.Hour), int64(Once)))
}

// Success is the share of launches that came to run, mixed in the same way with one
// that did.
func (rs *Records) Success(host string, model market.GPUModel) float64 {
	share := Once
	own, pool := rs.of[recordKey{host, model}], rs.models[model]
	for _, r := range []*HostRecord{&rs.fleet, &pool, &own} {
		share = mixed(r.Boots, r.Launches, share, Once)
	}
	return share.Float()
}

// Quarantined says until when no machine is bought on the host; zero if one may be.
func (rs *Records) Quarantined(host string, model market.GPUModel) time.Time {
	if r := rs.of[recordKey{host, model}]; rs.now.Before(r.Quarantine) {
		return r.Quarantine
	}
	return time.Time{}
}

// mixed is the rate of n in of, together with as much again as weight at a prior rate.
func mixed(n, of, prior, weight Faded) Faded {
	sum := market.Amount(n).Add(market.Amount(mulDiv(int64(prior), int64(weight), int64(Once))))
	return Faded(mulDiv(int64(sum), int64(Once), int64(market.Amount(of).Add(market.Amount(weight)))))
}

// mulDiv is a x b / c for numbers that are not negative and c > 0, rounded down,
// without overflow in between.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(max(a, 0)), uint64(max(b, 0)))
	if hi >= uint64(c) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, math.MaxInt64))
}
