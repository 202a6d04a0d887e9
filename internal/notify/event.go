package notify

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Rule is what makes a condition worth telling. For and Severity are those of the alert
// of the same meaning; a test holds them together.
type Rule struct {
	Event policy.NotifyEvent
	// Alert has the runbook; "" is none.
	Alert    string
	For      time.Duration // how long the condition must hold
	Severity policy.NotifySeverity
	Name     string // in a title that several share
	// Once: it happens, and is nothing that ends.
	Once bool
}

// Worst is the severity that it can come to: some conditions are graver than others of
// their event.
func (r *Rule) Worst() policy.NotifySeverity {
	switch r.Event {
	case policy.NotifyRunway, policy.NotifyBreaker, policy.NotifyUnreadable:
		return policy.Critical
	}
	return r.Severity
}

// Rules are all of them, in the order of policy.NotifyEvents.
func Rules() []Rule {
	const minute, hour = time.Minute, time.Hour
	return []Rule{
		{policy.NotifyTargetMissed, "TdscalerTargetMissed", 30 * minute, policy.Warning, "GPUs missing", false},
		{policy.NotifyNoCapacity, "TdscalerNoCapacity", hour, policy.Critical, "no GPU at all", false},
		{policy.NotifyOutbidOften, "TdscalerOutbidOften", 15 * minute, policy.Info, "outbid often", false},
		{policy.NotifyDeadline, "TdscalerDeadlineMissed", 15 * minute, policy.Warning, "deadline missed", false},
		{policy.NotifyBudgetSpent, "TdscalerBudgetNearlySpent", 5 * minute, policy.Warning, "budget nearly spent", false},
		{policy.NotifyBudgetHolds, "TdscalerBudgetHolds", hour, policy.Warning, "held by a budget", false},
		{policy.NotifyOverCap, "TdscalerOverHourlyCap", 15 * minute, policy.Critical, "above the hourly cap", false},
		{policy.NotifyBalance, "TdscalerBalanceLow", 10 * minute, policy.Critical, "balance low", false},
		{policy.NotifyRunway, "TdscalerRunwayShort", 15 * minute, policy.Warning, "runway short", false},
		{policy.NotifyBill, "TdscalerBillMismatch", hour, policy.Warning, "bill above the books", false},
		{policy.NotifyBreaker, "TdscalerBreakerOpen", 5 * minute, policy.Warning, "breaker open", false},
		{policy.NotifySecondDaemon, "TdscalerSecondDaemon", 0, policy.Critical, "second daemon", false},
		{policy.NotifyAdopted, "TdscalerUnknownMachine", 0, policy.Info, "machine adopted", true},
		{policy.NotifyUnknownMachine, "TdscalerUnknownMachine", 30 * minute, policy.Warning, "machines nobody manages", false},
		{policy.NotifyDeletionStuck, "TdscalerDeletionStuck", hour, policy.Warning, "deletion stuck", false},
		{policy.NotifyContainer, "TdscalerContainerAlarm", 5 * minute, policy.Critical, "container alarm", false},
		{policy.NotifyHook, "TdscalerHookFailing", 30 * minute, policy.Warning, "hook failing", false},
		{policy.NotifyPaused, "TdscalerPausedLong", 24 * hour, policy.Warning, "paused for long", false},
		{policy.NotifyReload, "TdscalerConfigReloadFailed", 5 * minute, policy.Warning, "file not in use", false},
		{policy.NotifyChangeHeld, "TdscalerConfigChangeHeld", 30 * minute, policy.Warning, "change held", false},
		{policy.NotifyUnauthorized, "TdscalerUnauthorized", 5 * minute, policy.Critical, "credentials refused", false},
		{policy.NotifyLedger, "TdscalerLedgerUnwritable", 5 * minute, policy.Critical, "ledger not writable", false},
		{policy.NotifyUnreadable, "TdscalerScanIncomplete", 30 * minute, policy.Warning, "market not readable", false},
		{policy.NotifyContractStopped, "TdscalerContractStopped", 5 * minute, policy.Critical, "answers have changed", false},
		{policy.NotifyReport, "", 0, policy.Info, "report", true},
	}
}

// Thresholds of conditions that are more than a yes or no of the report. They are the
// alerts', too.
const (
	nearlySpent  = 0.9
	allButSpent  = 0.99 // machines are given up in time to stay below the cap
	overCap      = 1.001
	outbidsAHour = 10
	runwayShort  = 24 * time.Hour
	runwayShorts = 6 * time.Hour // critical
)

// leastBalance is when an account counts as empty whatever it costs.
const leastBalance = 5 * market.Dollar

func ruleOf(e policy.NotifyEvent) Rule {
	for _, r := range Rules() {
		if r.Event == e {
			return r
		}
	}
	return Rule{Event: e, Severity: policy.Info, Name: string(e), Once: true}
}

// runbook is the page of an alert.
func runbook(alert string) string {
	if alert == "" {
		return ""
	}
	return "https://github.com/tdscaler/tdscaler/blob/main/docs/runbooks/" + alert + ".md"
}

// Condition is something that holds now, or happened.
type Condition struct {
	Event    policy.NotifyEvent    `json:"event"`
	Policy   string                `json:"policy,omitempty"`
	Detail   string                `json:"detail,omitempty"`
	Severity policy.NotifySeverity `json:"severity"`
	// Level rises where it has become worse by so much that it is told again.
	Level int `json:"level,omitempty"`
	// From is since when it holds, where that is known; else it is since it was first seen.
	From    time.Time `json:"from,omitzero"`
	Title   string    `json:"title"`
	Reason  string    `json:"reason,omitempty"`
	Figures []Figure  `json:"figures,omitempty"`
	Command string    `json:"command,omitempty"`
	Runbook string    `json:"runbook,omitempty"`
}

// key is what makes two conditions the same one.
func (c *Condition) key() string { return string(c.Event) + "\x1f" + c.Policy + "\x1f" + c.Detail }

// Sample is a message of an event as it would be told, for trying a sink.
func Sample(e policy.NotifyEvent, owner string, mode policy.Mode, now time.Time) Message {
	r := ruleOf(e)
	c := Condition{
		Event: e, Policy: "train", Severity: r.Severity, Title: "train lacks 3 of 8 GPUs (" + r.Name + ")", Runbook: runbook(r.Alert),
		Reason:  "no_offer: of 412 offers, 9 are under the ceiling and none has GPUs free",
		Figures: []Figure{{"target", "8 GPUs"}, {"ready", "5 GPUs"}}, Command: "tdscaler explain train",
	}
	if e == policy.NotifyTest {
		c.Title, c.Policy, c.Reason, c.Command = "this is a test", "", "somebody typed tdscaler notify test", "tdscaler notify list"
		c.Figures = nil
	}
	status := Firing
	if r.Once {
		status = Notice
	}
	m := compose(e, owner, mode, now, []Item{c.item(status, now.Add(-r.For))}, 0)
	if e != policy.NotifyTest {
		m.Title += " (a sample)"
	}
	return m
}

// samples are what templates are tried with: one item, several, and none.
func samples() []Message {
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	one := Sample(policy.NotifyTargetMissed, "main", policy.Live, now)
	over := one.Items[0]
	over.Status, over.Until = Resolved, now
	two := compose(policy.NotifyTargetMissed, "main", policy.DryRun, now, []Item{one.Items[0], over}, 3)
	report := Message{Event: policy.NotifyReport, Status: Notice, Severity: policy.Info, Owner: "main", Mode: policy.Live, At: now, Title: "report", Body: "text"}
	return []Message{one, two, report}
}
