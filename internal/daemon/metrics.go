package daemon

import (
	"cmp"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// metrics projects reports onto Prometheus. Labels are bounded: policies, and
// the words of our own vocabularies; never ids, hosts or error texts.
type metrics struct {
	cycles    *prometheus.CounterVec
	early     *prometheus.CounterVec
	duration  prometheus.Histogram
	lastCycle prometheus.Gauge
	nextCycle prometheus.Gauge
	section   *prometheus.GaugeVec
	sectionAt *prometheus.GaugeVec
	target    *prometheus.GaugeVec
	gpus      *prometheus.GaugeVec
	satisfied *prometheus.GaugeVec
	offers    *prometheus.GaugeVec
	avoided   prometheus.Gauge
	policyUSD *prometheus.GaugeVec
	reserved  prometheus.Gauge
	burn      prometheus.Gauge
	capHourly prometheus.Gauge
	day       *prometheus.GaugeVec
	month     *prometheus.GaugeVec
	ever      *prometheus.GaugeVec
	others    prometheus.Gauge
	runway    prometheus.Gauge
	excess    prometheus.Gauge
	excessPer prometheus.Gauge
	balance   prometheus.Gauge
	account   prometheus.Gauge
	actions   *prometheus.CounterVec
	shadows   shadowMetrics
	demand    demandMetrics
	caps      capMetrics
	prices    priceMetrics
	probes    *prometheus.CounterVec
	events    *prometheus.CounterVec
	holds     *prometheus.GaugeVec
	breakers  *prometheus.GaugeVec
	paused    *prometheus.GaugeVec
	errands   *prometheus.CounterVec
	wasted    prometheus.Counter
	machines  *prometheus.GaugeVec
	auth      prometheus.Gauge
	mode      *prometheus.GaugeVec
	reloadOK  prometheus.Gauge
	reloadAt  prometheus.Gauge
	reloadHld prometheus.Gauge
	ledgerLen prometheus.Gauge
	ledgerOK  prometheus.Gauge
	ledgerBad prometheus.Counter
	failed    uint64 // of which ledgerBad knows
	pods      *prometheus.GaugeVec
	alarms    *prometheus.GaugeVec
	scaling   *prometheus.GaugeVec
	contracts contractMetrics
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tdscaler", Name: name, Help: help})
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tdscaler", Name: name, Help: help}, labels)
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tdscaler", Name: name, Help: help}, labels)
	}
	m := &metrics{
		cycles: counters("cycles_total", "Cycles finished, by result: ok, or problem where a list could not be read.", "result"),
		early:  counters("watch_looks_total", "Looks at our machines between two cycles, by result: quiet, news where a cycle began early, or failed.", "result"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tdscaler", Name: "cycle_duration_seconds",
			Help: "How long a cycle took, from the scan to the report.", Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
		lastCycle: gauge("last_cycle_timestamp_seconds", "When the last cycle finished, in Unix time."),
		nextCycle: gauge("next_cycle_timestamp_seconds", "When the next cycle is due, in Unix time; past by as much as a cycle takes while one runs."),
		sectionAt: gauges("section_last_complete_timestamp_seconds", "When this part of the market was last read completely, in Unix time.", "section"),
		section:   gauges("section_complete", "Whether the last look read this part of the market completely: 1 or 0.", "section"),
		target:    gauges("policy_target_gpus", "GPUs that the policy wants.", "policy"),
		gpus:      gauges("policy_gpus", "GPUs of the policy by state: ready, booting (ordered or starting), dead (outbid or stopped: a bill without capacity), leaving.", "policy", "state"),
		satisfied: gauges("policy_satisfied", "Whether the policy has exactly what it wants and nothing to do: 1 or 0.", "policy"),
		offers:    gauges("policy_candidate_offers", "Offers that passed every filter of the policy when it last looked for machines.", "policy"),
		avoided:   gauge("hosts_quarantined", "Host and GPU model pairs on which nothing is bought because of failures in a row."),
		policyUSD: gauges("policy_reserved_dollars_per_hour", "What the policy's machines, real and possible, may cost per hour.", "policy"),
		reserved:  gauge("reserved_dollars_per_hour", "What all machines, real and possible, may cost per hour: the figure that the hourly cap bounds."),
		burn:      gauge("burn_dollars_per_hour", "What all machines cost per hour in the state last seen."),
		capHourly: gauge("budget_hourly_dollars_per_hour", "The hourly cap: budget.max_hourly, or the sum of targets times ceilings."),
		day:       gauges("spend_today_dollars", "Spend since midnight (budget.time_zone) as metered from what each machine costs.", "policy"),
		month:     gauges("spend_month_dollars", "Spend since the first of the month (budget.time_zone) as metered from what each machine costs.", "policy"),
		ever:      gauges("spend_lifetime_dollars", "Spend in all the policy's life as metered from what each machine costs.", "policy"),
		others:    gauge("account_others_dollars_per_hour", "What the account is charged for beside our machines: listed machines of others, and what else its hourly cost contains."),
		runway:    gauge("runway_seconds", "How long the balance lasts if everything costs what is reserved for it; +Inf where nothing costs anything."),
		excess:    gauge("bill_excess_dollars", "By how much more the balance fell than the books explain, since the comparison began, at most a day ago."),
		excessPer: gauge("bill_excess_ratio", "The same as a share of what the books explain; safety.bill_tolerance and bill_stop are its thresholds."),
		balance:   gauge("balance_dollars", "Prepaid balance of the account when it was last read."),
		account:   gauge("account_burn_dollars_per_hour", "What TensorDock says the whole account costs per hour, machines that are not ours included."),
		actions:   counters("actions_total", "Actions by outcome: accepted, unknown (answer lost), refused, failed, skipped.", "policy", "action", "outcome"),
		demand:    newDemandMetrics(gauges),
		caps:      newCapMetrics(gauges),
		prices:    newPriceMetrics(gauges),
		shadows: shadowMetrics{
			actions:   counters("shadow_actions_total", "What the shadow policy would have done and did not, by kind of action.", "policy", "action"),
			gpus:      gauges("shadow_gpus", "GPUs that the shadow policy would have, by state: ready, booting, dead, leaving.", "policy", "state"),
			target:    gauges("shadow_target_gpus", "GPUs that the shadow policy would want.", "policy"),
			rate:      gauges("shadow_rate_dollars_per_hour", "What the shadow policy's machines would cost per hour.", "policy"),
			spend:     gauges("shadow_spend_lifetime_dollars", "What the shadow policy's machines would have cost since it is in the file.", "policy"),
			delivered: gauges("shadow_delivered_gpu_seconds", "Seconds of one GPU that the shadow policy would have had since it is in the file, at most its target at a time.", "policy"),
		},
		probes:   counters("probes_total", "Soft validations of spot bids, by answer.", "answer"),
		events:   counters("events_total", "What looks taught us, by kind.", "event"),
		holds:    gauges("holds", "Things not done in the last cycle, by reason.", "policy", "reason"),
		breakers: gauges("breaker_open", "Whether the breaker is open: 1 or 0.", "breaker"),
		paused:   gauges("policy_paused", "Whether the policy is paused: 1 or 0.", "policy"),
		errands:  counters("errands_total", "Probes of machines (probe) and calls of hooks (on_ready, drain), by result: ok, failed, or veto of a drain.", "errand", "result"),
		wasted: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tdscaler", Name: "wasted_dollars_total", Help: "About what was paid for machines that ran and never passed their probe.",
		}),
		machines:  gauges("policy_machines", "Machines of the policy by what they wait for: unproven (runs, has not passed its probe), untold (ready, on_ready has not been called), draining.", "policy", "state"),
		auth:      gauge("authorized", "Whether TensorDock accepted the credentials at the last look: 1 or 0."),
		mode:      gauges("mode_info", "The mode in use: dry-run or live. Always 1.", "mode"),
		reloadOK:  gauge("config_last_reload_successful", "Whether the last reload of the configuration succeeded: 1 or 0."),
		reloadAt:  gauge("config_last_reload_success_timestamp_seconds", "When the configuration in use was loaded, in Unix time."),
		reloadHld: gauge("config_change_held", "Whether a change of the file on disk waits for a SIGHUP: 1 or 0."),
		ledgerLen: gauge("ledger_size_bytes", "Size of the ledger file."),
		ledgerOK:  gauge("ledger_writable", "Whether the last change of the ledger could be written: 1 or 0. While it is 0 nothing is sent to the market."),
		ledgerBad: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tdscaler", Name: "ledger_commit_failures_total", Help: "Changes of the ledger that could not be written.",
		}),
	}
	m.pods = gauges("container_replicas", "Replicas of the policy's container by state: ready, shown (listed by the market), most (that there can be by what was asked for: the budget holds these).", "policy", "state")
	m.alarms = gauges("container_alarm", "Whether an operator is asked about the policy's container, which is then only watched and paid for: 1 or 0.", "policy")
	m.scaling = gauges("container_scaling_info", "How the market reads a request to scale a container: absolute, delta or unknown. Always 1.", "meaning")
	reg.MustRegister(m.pods, m.alarms, m.scaling)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "tdscaler", Name: "build_info",
		Help: "The running build. Always 1.", ConstLabels: buildLabels(),
	})
	build.Set(1)
	reg.MustRegister(build, m.cycles, m.early, m.duration, m.lastCycle, m.nextCycle, m.section, m.sectionAt, m.target, m.gpus, m.satisfied, m.offers, m.avoided, m.policyUSD,
		m.reserved, m.burn, m.capHourly, m.day, m.month, m.ever, m.others, m.runway, m.excess, m.excessPer, m.balance, m.account, m.actions, m.probes, m.events, m.holds,
		m.breakers, m.paused, m.errands, m.wasted, m.machines, m.auth, m.mode, m.reloadOK, m.reloadAt, m.reloadHld, m.ledgerLen, m.ledgerOK, m.ledgerBad)
	m.demand.all().register(reg)
	m.caps.all().register(reg)
	m.prices.all().register(reg)
	m.contracts = newContractMetrics()
	reg.MustRegister(m.contracts.drift, m.contracts.stops)
	reg.MustRegister(m.shadows.actions, m.shadows.gpus, m.shadows.target, m.shadows.rate, m.shadows.spend, m.shadows.delivered)
	m.start()
	return m
}

// start sets every series with known labels to zero, so that rates and alerts
// see the first increase.
func (m *metrics) start() {
	for _, r := range []string{"ok", "problem"} {
		m.cycles.WithLabelValues(r)
	}
	for _, r := range []string{lookQuiet, lookNews, lookFailed} {
		m.early.WithLabelValues(r)
	}
	for _, a := range []market.Answer{market.Accepted, market.Refused, market.Silent} {
		m.probes.WithLabelValues(string(a))
	}
	for _, b := range plan.BreakerCodes() {
		m.breakers.WithLabelValues(b)
	}
	for _, k := range plan.ErrandKinds() {
		for _, r := range []string{"ok", "failed"} {
			m.errands.WithLabelValues(string(k), r)
		}
	}
	m.errands.WithLabelValues(string(plan.ErrandDrain), "veto")
	for _, e := range plan.EventKinds() {
		m.events.WithLabelValues(string(e))
	}
}

func buildLabels() prometheus.Labels {
	v := Build()
	return prometheus.Labels{"version": v.Version, "revision": v.Revision, "goversion": v.Go}
}

// BuildInfo is what the binary knows of its own making.
type BuildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

// String is the version, and what it was built from where that is known.
func (b BuildInfo) String() string {
	if b.Revision == "unknown" {
		return b.Version
	}
	return b.Version + " " + b.Revision
}

// Build reads the build information that the Go tool left in the binary.
func Build() BuildInfo {
	b := BuildInfo{Version: "devel", Revision: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

// ObserveIn counts a duration, with the number of its cycle as the exemplar: the way
// from a slow bucket to "tdscaler ledger cycle N". Cycle 0 is none.
func ObserveIn(cycle uint64, o prometheus.Observer, took time.Duration) {
	e, ok := o.(prometheus.ExemplarObserver)
	if !ok || cycle == 0 {
		o.Observe(took.Seconds())
		return
	}
	e.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"cycle": strconv.FormatUint(cycle, 10)})
}

// Underway is the number of the cycle that runs; 0 between two.
func (d *Daemon) Underway() uint64 { return d.underway.Load() }

// configure drops the series of policies that are no longer there.
func (m *metrics) configure(s *policy.Set) {
	m.mode.Reset()
	m.mode.WithLabelValues(string(s.Daemon.Mode)).Set(1)
	m.capHourly.Set(s.HourlyCap().Float())
	m.forgetPolicies()
	for i := range s.Policies {
		for _, a := range plan.KindsFor(s.Policies[i].Kind) {
			for _, o := range []string{"accepted", "unknown", "refused", "failed", "skipped"} {
				m.actions.WithLabelValues(s.Policies[i].Name, string(a), o)
			}
		}
	}
}

// gaugeVecs are gauges that are reported together, each time anew.
type gaugeVecs []*prometheus.GaugeVec

func (g gaugeVecs) register(reg prometheus.Registerer) {
	for _, v := range g {
		reg.MustRegister(v)
	}
}

func (g gaugeVecs) reset() {
	for _, v := range g {
		v.Reset()
	}
}

// shadowMetrics are of policies that are decided and never acted on.
type shadowMetrics struct {
	actions                              *prometheus.CounterVec
	gpus, target, rate, spend, delivered *prometheus.GaugeVec
}

func (m *shadowMetrics) report(all []plan.ShadowReport) {
	gaugeVecs{m.gpus, m.target, m.rate, m.spend, m.delivered}.reset()
	for i := range all {
		r := &all[i]
		for _, k := range plan.ActionKinds() {
			m.actions.WithLabelValues(r.Policy, string(k))
		}
		for _, a := range r.Actions {
			m.actions.WithLabelValues(r.Policy, string(a.Kind)).Inc()
		}
		s := &r.Standing
		for state, n := range map[string]int{"ready": s.Ready, "booting": s.Booting, "dead": s.Dead, "leaving": s.Leaving} {
			m.gpus.WithLabelValues(r.Policy, state).Set(float64(n))
		}
		m.target.WithLabelValues(r.Policy).Set(float64(s.Target))
		m.rate.WithLabelValues(r.Policy).Set(r.Rate.Float())
		m.spend.WithLabelValues(r.Policy).Set(r.Cost.Float())
		m.delivered.WithLabelValues(r.Policy).Set(r.Delivered.Seconds())
	}
}

func (m *metrics) forgetPolicies() {
	gaugeVecs{m.target, m.gpus, m.satisfied, m.offers, m.policyUSD, m.day, m.month, m.ever, m.holds, m.paused, m.machines, m.pods, m.alarms, m.scaling}.reset()
}

func (m *metrics) reloaded(ok bool, now time.Time) {
	m.reloadOK.Set(oneIf(ok))
	if ok {
		m.reloadAt.Set(unix(now))
	}
}

func (m *metrics) held(is bool) { m.reloadHld.Set(oneIf(is)) }

func (m *metrics) acted(a plan.Action, r actuator.Result) {
	outcome := string(r.Intent.State)
	if r.Skipped != "" {
		outcome = "skipped"
	}
	m.actions.WithLabelValues(a.Policy, string(a.Kind), outcome).Inc()
}

// report projects one cycle. Everything per policy is set anew, so that a series
// never outlives its policy.
func (m *metrics) report(r *plan.Report, l *ledger.Ledger) {
	result := "ok"
	if r.Problem != "" {
		result = "problem"
	}
	m.cycles.WithLabelValues(result).Inc()
	ObserveIn(r.Cycle, m.duration, r.FinishedAt.Sub(r.StartedAt))
	m.lastCycle.Set(unix(r.FinishedAt))
	m.ledger(l)
	m.capHourly.Set(r.Input.HourlyCap.Float())
	m.snapshot(&r.Input.Snapshot)
	m.history(r)
	m.forgetPolicies()
	m.shadows.report(r.Shadows)
	m.demand.report(r.Plan.Standings)
	m.caps.report(r)
	m.prices.report(r)
	m.quarantine(r)
	spent := r.Input.History.SpentBy(r.FinishedAt.In(r.Input.Budget.Zone.Location()))
	for i := range r.Plan.Standings {
		m.standing(r, &r.Plan.Standings[i], spent[r.Plan.Standings[i].Policy])
	}
	m.containers(r)
	for _, h := range r.Plan.Holds {
		m.holds.WithLabelValues(h.Policy, h.Reason.Code).Inc()
	}
	for _, v := range r.Input.Verdicts {
		m.probes.WithLabelValues(string(v.Answer)).Inc()
	}
	for _, e := range r.Events {
		m.events.WithLabelValues(string(e.Kind)).Inc()
		if e.Kind == plan.EventWasted {
			m.wasted.Add(e.Amount.Float())
		}
	}
	for i := range r.Input.Findings {
		f := &r.Input.Findings[i]
		m.errands.WithLabelValues(string(f.Kind), resultOf(f)).Inc()
	}
}

func resultOf(f *plan.Finding) string {
	switch {
	case f.OK:
		return "ok"
	case f.Veto:
		return "veto"
	}
	return "failed"
}

func (m *metrics) ledger(l *ledger.Ledger) {
	m.ledgerLen.Set(float64(l.Stats().FileSize))
	m.ledgerOK.Set(oneIf(l.Trouble() == nil))
	failed := l.Failed()
	m.ledgerBad.Add(float64(failed - m.failed))
	m.failed = failed
}

func (m *metrics) snapshot(s *market.Snapshot) {
	m.part("machines", s.Instances.Complete, s.Instances.At)
	m.part("hosts", s.Hosts.Complete, s.Hosts.At)
	m.part("balance", s.Balance.Complete, s.Balance.At)
	if m.part("machines_v2", s.V2.Complete || s.V2.At.IsZero(), s.V2.At); s.V2.At.IsZero() { // mostly it is not asked
		m.sectionAt.DeleteLabelValues("machines_v2")
	}
	m.auth.Set(oneIf(s.Instances.Class != market.ClassUnauthorized))
	if b, ok := s.Balance.Value.Balance.Get(); ok {
		m.balance.Set(b.Float())
	}
	if h, ok := s.Balance.Value.Hourly.Get(); ok {
		m.account.Set(h.Float())
	}
}

func (m *metrics) part(name string, complete bool, at time.Time) {
	m.section.WithLabelValues(name).Set(oneIf(complete))
	if complete {
		m.sectionAt.WithLabelValues(name).Set(unix(at))
	}
}

func (m *metrics) quarantine(r *plan.Report) {
	n := 0
	for i := range r.Input.History.Hosts {
		if r.FinishedAt.Before(r.Input.History.Hosts[i].Quarantine) {
			n++
		}
	}
	m.avoided.Set(float64(n))
}

func (m *metrics) history(r *plan.Report) {
	h := &r.Input.History
	m.burn.Set(h.Burn().Float())
	m.reserved.Set(h.Reserved().Float())
	m.others.Set(h.Account.Others.Float())
	m.excess.Set(h.Account.Bill.Excess.Float())
	m.excessPer.Set(h.Account.Bill.Ratio())
	m.runway.Set(math.Inf(1))
	if d, ok := h.Runway().Get(); ok {
		m.runway.Set(d.Seconds())
	}
	m.breakers.Reset()
	for _, code := range plan.BreakerCodes() {
		m.breakers.WithLabelValues(code).Set(0)
	}
	for i := range h.Breakers {
		if b := &h.Breakers[i]; b.Open(r.FinishedAt) {
			m.breakers.WithLabelValues(b.Code).Set(1)
		}
	}
}

func (m *metrics) standing(r *plan.Report, s *plan.Standing, spent plan.Spent) {
	h := &r.Input.History
	m.target.WithLabelValues(s.Policy).Set(float64(s.Target))
	for state, n := range map[string]int{"ready": s.Ready, "booting": s.Booting, "dead": s.Dead, "leaving": s.Leaving} {
		m.gpus.WithLabelValues(s.Policy, state).Set(float64(n))
	}
	m.satisfied.WithLabelValues(s.Policy).Set(oneIf(s.Satisfied))
	m.offers.WithLabelValues(s.Policy).Set(float64(s.Funnel.Candidates))
	m.policyUSD.WithLabelValues(s.Policy).Set(h.ReservedFor(s.Policy).Float())
	m.day.WithLabelValues(s.Policy).Set(spent.Day.Float())
	m.month.WithLabelValues(s.Policy).Set(spent.Month.Float())
	m.ever.WithLabelValues(s.Policy).Set(spent.Total.Float())
	for state, n := range h.Waiting(s.Policy, r.Input.Policies) {
		m.machines.WithLabelValues(s.Policy, state).Set(float64(n))
	}
	m.paused.WithLabelValues(s.Policy).Set(oneIf(h.PausedBy(s.Policy, r.FinishedAt) != nil))
}

// containers projects the containers, those of policies that are gone included.
func (m *metrics) containers(r *plan.Report) {
	h := &r.Input.History
	used := len(h.Containers) > 0
	for i := range r.Input.Policies {
		if p := &r.Input.Policies[i]; p.Kind == policy.Container {
			used = true
			m.alarms.WithLabelValues(p.Name).Set(0)
			for _, state := range []string{"ready", "shown", "most"} {
				m.pods.WithLabelValues(p.Name, state).Set(0)
			}
		}
	}
	for i := range h.Containers {
		c := &h.Containers[i]
		m.pods.WithLabelValues(c.Policy, "ready").Add(float64(c.Ready()))
		m.pods.WithLabelValues(c.Policy, "shown").Add(float64(len(c.Replicas)))
		m.pods.WithLabelValues(c.Policy, "most").Add(float64(c.Most()))
		if c.Alarm != "" {
			m.alarms.WithLabelValues(c.Policy).Set(1)
		}
	}
	if used {
		m.scaling.WithLabelValues(cmp.Or(string(h.Scaling.Meaning), "unknown")).Set(1)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
