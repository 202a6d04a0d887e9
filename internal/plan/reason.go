package plan

// Codes of reasons. They are stable: dashboards, alerts and scripts use them.
const (
	// Actions.
	ReasonBelowTarget   = "below_target"
	ReasonOutbid        = "outbid"
	ReasonPriceFell     = "price_fell"
	ReasonRebidProof    = "rebid_proof"
	ReasonOverTarget    = "over_target"
	ReasonPolicyRemoved = "policy_removed"
	ReasonOverCeiling   = "over_ceiling"
	ReasonOverBudget    = "over_budget"
	ReasonNotMatching   = "no_longer_matches"
	ReasonOutbidForGood = "outbid_beyond_ceiling"
	ReasonOutbidLeft    = "outbid_cheaper_elsewhere"
	ReasonRebidIgnored  = "rebid_ignored"
	ReasonStopped       = "stopped"
	ReasonBootTimeout   = "boot_timeout"
	ReasonDestroy       = "destroy"
	ReasonNotReady      = "not_ready"   // it runs, and never passed its probe
	ReasonFallback      = "fallback"    // on-demand, because spot falls short
	ReasonMigrate       = "migrate"     // a cheaper place for a machine that runs
	ReasonMigrated      = "migrated"    // the old one, when the new one runs
	ReasonResize        = "resize"      // the policy wants more of it by now
	ReasonNotParked     = "not_parked"  // stopped on purpose, and not wanted any more
	ReasonSpotReady     = "spot_ready"  // on-demand is not needed any more
	ReasonLearnScale    = "learn_scale" // the present count is sent, to see what the market makes of it

	// Holds.
	HoldInstances   = "machines_unknown" // the list of machines failed
	HoldHosts       = "offers_unknown"   // the list of hosts failed
	HoldReadyMade   = "instants_unknown" // the list of ready-made machines failed
	HoldPaused      = "paused"
	HoldBreaker     = "breaker_open"
	HoldDisagrees   = "list_disagrees_with_bill"
	HoldCooldown    = "cooldown"
	HoldMinLifetime = "min_lifetime"
	HoldProtected   = "protected"
	HoldNoOffer     = "no_offer"
	HoldSpread      = "spread" // the policy's spread leaves out what there is
	HoldBudget      = "budget"
	HoldBalance     = "balance"
	HoldProbes      = "probes_used_up"
	HoldActions     = "actions_used_up"
	HoldDeleting    = "waiting_for_deletion"
	HoldBooting     = "waiting_for_machine"
	HoldRebid       = "waiting_for_rebid"
	HoldNoAnswer    = "no_answer"
	HoldUnknown     = "status_unknown"
	HoldRenamed     = "renamed"
	HoldOrphan      = "policy_not_in_file"
	HoldShadow      = "policy_is_shadow"  // and has machines from before
	HoldLedger      = "ledger_unwritable" // the daemon's own, where nothing can be put on record
	HoldContract    = "contract_drift"    // the daemon's own, where answers have lost what safety rests on
	HoldAsking      = "asking"
	HoldProbe       = "waiting_for_probe"
	HoldDraining    = "draining"
	HoldHook        = "hook_failed" // on_ready could not be told
	HoldDeadline    = "deadline"    // passed, or cannot be met
	HoldChurn       = "churn"       // enough was replaced voluntarily within the hour
	HoldPark        = "not_stopped" // too much, and the market does not stop it
	HoldStart       = "not_started" // stopped, wanted again, and not to be started now
	HoldFallback    = "fallback"    // on-demand covers, or may not yet
	HoldReplicas    = "replicas_unknown"
	HoldScale       = "waiting_for_replicas"
	HoldUnlearnt    = "scale_unlearnt"
	HoldContainer   = "container_unknown" // an operator is asked whether it exists
	HoldAlarm       = "container_alarm"   // an operator is asked what is wrong with it
	HoldRefused     = "container_refused"

	HoldDemand = "signal_unknown" // the target should follow a signal that cannot be read

	// Of what is waited for; no plan holds with them.
	HoldUnanswered = "waiting_for_answer" // a request without an answer, which a look decides
	HoldBackoff    = "hosts_left_alone"   // after they failed or refused us
)

// Codes of breakers.
const (
	BreakerFailures      = "failures"
	BreakerDisappearance = "mass_disappearance"
	BreakerSecondDaemon  = "second_daemon" // stops deletions too, until resumed
	BreakerNeverUp       = "never_up"      // machines are ordered and never run
	BreakerPrices        = "price_outlier" // prices or charges are not to be believed
	BreakerBill          = "bill_mismatch" // the account is charged for more than the books explain
)

// BreakerCodes lists every breaker.
func BreakerCodes() []string {
	return []string{BreakerFailures, BreakerDisappearance, BreakerSecondDaemon, BreakerNeverUp, BreakerPrices, BreakerBill}
}
