package notify

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// alertRule is what of an alert a notification shares.
type alertRule struct {
	Alert  string            `yaml:"alert"`
	Expr   string            `yaml:"expr"`
	For    string            `yaml:"for"`
	Labels map[string]string `yaml:"labels"`
}

func alertRules(t *testing.T) map[string][]alertRule {
	t.Helper()
	b, err := os.ReadFile("../../deploy/prometheus/rules/tdscaler.alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []alertRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	out := map[string][]alertRule{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			out[r.Alert] = append(out[r.Alert], r)
		}
	}
	return out
}

// TestANotificationAndTheAlertOfTheSameMeaningAgree holds durations, severities and
// thresholds to those of the shipped alerts: what wakes somebody must not depend on who
// tells them.
func TestANotificationAndTheAlertOfTheSameMeaningAgree(t *testing.T) {
	alerts := alertRules(t)
	severity := map[policy.NotifySeverity]string{policy.Critical: "page", policy.Warning: "ticket", policy.Info: "info"}
	for _, r := range Rules() {
		if r.Alert == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join("../../docs/runbooks", r.Alert+".md")); err != nil {
			t.Errorf("%s: %v", r.Event, err)
		}
		if len(alerts[r.Alert]) == 0 {
			t.Errorf("%s: there is no alert %s", r.Event, r.Alert)
			continue
		}
		if r.Once { // has no duration, and no alert of its own
			continue
		}
		var severities []string
		for _, a := range alerts[r.Alert] {
			severities = append(severities, a.Labels["severity"])
			if d, _ := time.ParseDuration(a.For); d != r.For {
				t.Errorf("%s after %s, %s after %q", r.Event, r.For, r.Alert, a.For)
			}
		}
		if !slices.Contains(severities, severity[r.Severity]) || !slices.Contains(severities, severity[r.Worst()]) {
			t.Errorf("%s is %s to %s, %s is %v", r.Event, r.Severity, r.Worst(), r.Alert, severities)
		}
	}
	for alert, threshold := range map[string]string{
		"TdscalerBudgetNearlySpent": "> 0.9", "TdscalerPolicyBudgetNearlySpent": "> 0.9", "TdscalerOverHourlyCap": "1.001 *", "TdscalerOutbidOften": "> 10",
		"TdscalerRunwayShort": "< 24 * 3600", "TdscalerBalanceLow": "< 5",
	} {
		if !strings.Contains(alerts[alert][0].Expr, threshold) {
			t.Errorf("%s is no longer at %q: %s", alert, threshold, alerts[alert][0].Expr)
		}
	}
	if nearlySpent != 0.9 || overCap != 1.001 || outbidsAHour != 10 || runwayShort != 24*time.Hour || runwayShorts != 6*time.Hour || leastBalance != 5*market.Dollar {
		t.Error("a threshold is no longer the alert's")
	}
}

func TestEveryEventOfTheFileHasARule(t *testing.T) {
	var got []policy.NotifyEvent
	for _, r := range Rules() {
		got = append(got, r.Event)
		if r.Name == "" || r.Severity == "" {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(got, policy.NotifyEvents()) {
		t.Errorf("%v", got)
	}
}

// healthy is a report about which there is nothing to say.
func healthy() plan.Report {
	ok := func(at time.Time) market.Section[[]market.Instance] {
		return market.Section[[]market.Instance]{At: at, Complete: true}
	}
	r := plan.Report{
		Cycle: 7, StartedAt: night, FinishedAt: night.Add(time.Second), Mode: policy.Live,
		Input: plan.Input{Now: night, Owner: "main", HourlyCap: market.USD(8, 0), Policies: []policy.Policy{{Name: "train"}, {Name: "web"}}},
		Plan: plan.Plan{Standings: []plan.Standing{
			{Policy: "train", Target: 8, Ready: 8, Satisfied: true}, {Policy: "web", Target: 1, Ready: 1, Satisfied: true},
		}},
	}
	r.Input.Snapshot = market.Snapshot{
		Instances: ok(night), Hosts: market.Section[[]market.Host]{At: night, Complete: true},
		Balance: market.Section[market.Balance]{At: night, Complete: true, Value: market.Balance{
			Balance: market.Some(market.Amount(500 * market.Dollar)), Hourly: market.Some(market.USD(2, 0)),
		}},
	}
	return r
}

func TestWhatAReportSays(t *testing.T) {
	type told struct {
		event    policy.NotifyEvent
		policy   string
		severity policy.NotifySeverity
		title    string // a part of it
	}
	for _, c := range []struct {
		name string
		do   func(r *plan.Report, f *File)
		want []told
	}{
		{"nothing", func(*plan.Report, *File) {}, nil},
		{"missed", func(r *plan.Report, _ *File) { r.Plan.Standings[0].Ready = 5 }, []told{{policy.NotifyTargetMissed, "train", policy.Warning, "train lacks 3 of 8 GPUs"}}},
		{"none at all", func(r *plan.Report, _ *File) { r.Plan.Standings[1].Ready = 0 }, []told{
			{policy.NotifyTargetMissed, "web", policy.Warning, "web lacks 1 of 1 GPU"}, {policy.NotifyNoCapacity, "web", policy.Critical, "web has none of 1 GPU"},
		}},
		{"missed in a dry run", func(r *plan.Report, _ *File) { r.Mode, r.Plan.Standings[0].Ready = policy.DryRun, 0 }, nil},
		{"missed while paused", func(r *plan.Report, _ *File) {
			r.Plan.Standings[0].Ready = 0
			r.Input.History.Pauses = []plan.Pause{{Policy: "train", Since: night, Reason: "lunch"}}
		}, []told{{policy.NotifyPaused, "train", policy.Warning, "train is paused"}}},
		{"all paused", func(r *plan.Report, _ *File) { r.Input.History.Pauses = []plan.Pause{{Since: night}} }, []told{{policy.NotifyPaused, "", policy.Warning, "the whole fleet"}}},
		{"a pause that is over", func(r *plan.Report, _ *File) {
			r.Input.History.Pauses = []plan.Pause{{Since: night.Add(-time.Hour), Until: night}}
		}, nil},
		{"stuck", func(r *plan.Report, _ *File) { r.Plan.Standings[0].Leaving = 2 }, []told{{policy.NotifyDeletionStuck, "train", policy.Warning, "2 GPUs of train"}}},
		{"a day's budget", func(r *plan.Report, _ *File) { spend(r, "train", 95); r.Input.Budget.MaxDaily = dollars(100) }, []told{{policy.NotifyBudgetSpent, "", policy.Warning, "95 % of the day's budget"}}},
		{"a budget not nearly spent", func(r *plan.Report, _ *File) { spend(r, "train", 90); r.Input.Budget.MaxDaily = dollars(100) }, nil},
		{"a policy's month, at its end", func(r *plan.Report, _ *File) {
			spend(r, "train", 100)
			r.Input.Policies[0].Budget.MaxMonthly = dollars(100)
		}, []told{{policy.NotifyBudgetSpent, "train", policy.Warning, "the month's budget of train is spent"}}},
		{"a life", func(r *plan.Report, _ *File) {
			r.Input.History.Totals = []plan.Total{{Policy: "train", Amount: 96 * market.Dollar}}
			r.Input.Policies[0].Budget.MaxTotal = dollars(100)
		}, []told{{policy.NotifyBudgetSpent, "train", policy.Warning, "96 % of the life's budget of train"}}},
		{"over the hourly cap", func(r *plan.Report, _ *File) {
			r.Input.History.Machines = []plan.Machine{{Name: "tds-main-train-x", Policy: "train", Reserved: market.USD(9, 0)}}
		}, []told{{policy.NotifyOverCap, "", policy.Critical, "$9.0000/h are reserved, the hourly cap is $8.0000/h"}}},
		{"four dollars", func(r *plan.Report, _ *File) {
			r.Input.Snapshot.Balance.Value = market.Balance{Balance: dollars(4), Hourly: market.Some(market.USD(0, 10))}
		}, []told{{policy.NotifyBalance, "", policy.Critical, "the account holds $4.00"}}},
		{"a day's runway", func(r *plan.Report, _ *File) {
			r.Input.Snapshot.Balance.Value = market.Balance{Balance: dollars(46), Hourly: market.Some(market.USD(2, 0))}
		}, []told{{policy.NotifyRunway, "", policy.Warning, "lasts for 23h"}}},
		{"six hours' runway", func(r *plan.Report, _ *File) {
			r.Input.Snapshot.Balance.Value = market.Balance{Balance: dollars(11), Hourly: market.Some(market.USD(2, 0))}
		}, []told{{policy.NotifyRunway, "", policy.Critical, "lasts for 5h30m"}}},
		{"a bill", func(r *plan.Report, _ *File) {
			r.Input.History.Account.Bill = plan.Bill{Since: night, Charged: 10 * market.Dollar, Excess: 2 * market.Dollar, Warned: true}
		}, []told{{policy.NotifyBill, "", policy.Warning, "fell by $2.00 more"}}},
		{"breakers", func(r *plan.Report, _ *File) {
			r.Input.History.Breakers = []plan.Breaker{
				{Code: plan.BreakerFailures, Since: night, Until: night.Add(time.Hour), Reason: "5 writes failed"},
				{Code: plan.BreakerBill, Since: night},
				{Code: plan.BreakerPrices, Since: night.Add(-time.Hour), Until: night},
				{Code: plan.BreakerSecondDaemon, Since: night, All: true},
			}
		}, []told{
			{policy.NotifyBreaker, "", policy.Warning, "the breaker failures is open"},
			{policy.NotifyBreaker, "", policy.Critical, "the breaker bill_mismatch"},
			{policy.NotifySecondDaemon, "", policy.Critical, "another daemon buys under the owner main"},
		}},
		{"credentials", func(r *plan.Report, _ *File) {
			r.Input.Snapshot.Instances = market.Section[[]market.Instance]{Class: market.ClassUnauthorized, Problem: "401"}
		}, []told{{policy.NotifyUnauthorized, "", policy.Critical, "refuses the credentials"}}},
		{"not readable", func(r *plan.Report, _ *File) {
			r.Input.Snapshot.Instances = market.Section[[]market.Instance]{Problem: "502"}
			r.Input.Snapshot.Hosts.Complete = false
		}, []told{{policy.NotifyUnreadable, "", policy.Critical, "the list of machines"}, {policy.NotifyUnreadable, "", policy.Warning, "the list of hosts"}}},
		{"holds", func(r *plan.Report, _ *File) {
			for _, code := range []string{plan.HoldBudget, plan.HoldDeadline, plan.HoldHook, plan.HoldOrphan, plan.HoldAlarm, plan.HoldLedger, plan.HoldContract, plan.HoldNoOffer} {
				name := "train"
				if code == plan.HoldLedger || code == plan.HoldContract {
					name = ""
				}
				for range 2 { // two machines, one thing to tell
					r.Plan.Holds = append(r.Plan.Holds, plan.Hold{Policy: name, Reason: plan.Reason{Code: code, Text: "because"}})
				}
			}
		}, []told{
			{policy.NotifyBudgetHolds, "train", policy.Warning, "a cap keeps train"},
			{policy.NotifyDeadline, "train", policy.Warning, "GPU-hours of train"},
			{policy.NotifyHook, "train", policy.Warning, "on_ready hook of train"},
			{policy.NotifyUnknownMachine, "train", policy.Warning, "machines of train"},
			{policy.NotifyContainer, "train", policy.Critical, "container of train"},
			{policy.NotifyLedger, "", policy.Critical, "ledger cannot be written"},
			{policy.NotifyContractStopped, "", policy.Critical, "changed its answers"},
		}},
		{"the file", func(_ *plan.Report, f *File) { f.Problem, f.Held = "line 3", "halved" }, []told{
			{policy.NotifyReload, "", policy.Warning, "not in use"}, {policy.NotifyChangeHeld, "", policy.Warning, "waits for a word"},
		}},
		{"adopted", func(r *plan.Report, _ *File) {
			r.Events = []plan.Event{{Kind: plan.EventAdopted, At: night, Policy: "train", Machine: "tds-main-train-x", Text: "found"}, {Kind: plan.EventOutbid, Policy: "train"}}
		}, []told{{policy.NotifyAdopted, "train", policy.Info, "tds-main-train-x was found"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := healthy(), File{}
			c.do(&r, &f)
			l := Read(&r, f)
			all := append(slices.Clone(l.Conditions), l.Happened...)
			for _, w := range c.want {
				i := slices.IndexFunc(all, func(c Condition) bool {
					return c.Event == w.event && c.Policy == w.policy && c.Severity == w.severity && strings.Contains(c.Title, w.title)
				})
				if i < 0 {
					t.Errorf("%+v is missing in %+v", w, all)
					continue
				}
				if all[i].Command == "" || all[i].Runbook == "" {
					t.Errorf("nobody is told what to do: %+v", all[i])
				}
				all = slices.Delete(all, i, i+1)
			}
			if len(all) > 0 {
				t.Errorf("told too: %+v", all)
			}
		})
	}
}

func dollars(n int64) market.Maybe[market.Amount] {
	return market.Some(market.Amount(n * market.Dollar))
}

// spend books money of this day.
func spend(r *plan.Report, name string, n int64) {
	r.Input.History.Spend = []plan.Spend{{Day: night.Format(time.DateOnly), Policy: name, Amount: market.Amount(n * market.Dollar)}}
}

func TestWhatALookCannotJudgeStaysAsItWas(t *testing.T) {
	r := healthy()
	r.Input.Snapshot.Instances.Complete = false
	r.Input.Snapshot.Balance.Complete = false
	l := Read(&r, File{})
	for _, e := range []policy.NotifyEvent{policy.NotifyTargetMissed, policy.NotifyNoCapacity, policy.NotifyDeletionStuck, policy.NotifyUnknownMachine, policy.NotifyRunway, policy.NotifyBill} {
		if !slices.Contains(l.Unknown, e) {
			t.Errorf("%s is judged on a list that was not read", e)
		}
	}
	if slices.Contains(l.Unknown, policy.NotifyLedger) || slices.Contains(l.Unknown, policy.NotifyReload) {
		t.Error("what is ours is always known")
	}
}

func TestTheReasonsOfAMissedTargetAreItsHolds(t *testing.T) {
	r := healthy()
	r.Plan.Standings[0].Ready = 0
	for _, text := range []string{"one", "two", "three", "four"} {
		r.Plan.Holds = append(r.Plan.Holds, plan.Hold{Policy: "train", Reason: plan.Reason{Code: "no_offer", Text: text}})
	}
	r.Plan.Holds = append(r.Plan.Holds, plan.Hold{Policy: "web", Reason: plan.Reason{Code: "other", Text: "elsewhere"}})
	if got := Read(&r, File{}).Conditions[0].Reason; got != "no_offer: one; no_offer: two; no_offer: three; 1 more" {
		t.Error(got)
	}
}
