package dashboards

const (
	missing  = `clamp_min(sum by (policy) (tdscaler_policy_target_gpus{$ours}) - sum by (policy) (tdscaler_policy_gpus{$ours, state="ready"}), 0)`
	lacking  = `sum(` + missing + `)`
	ofStates = `sum by (state) (tdscaler_policy_gpus{$ours})`
	wanted   = `sum(tdscaler_policy_target_gpus{$ours})`
)

func fleet() dashboard {
	return dashboard{
		uid: "tdscaler-fleet", title: "tdscaler / Fleet and targets",
		what: "Does every policy have the GPUs that it wants, since when not, and why not?",
		sections: []section{
			{title: "Now", panels: []panel{
				stat("GPUs ready", "GPUs that run and have passed their probe. Work can be done on these and on no others.", "short",
					q("ready", `sum(tdscaler_policy_gpus{$ours, state="ready"})`)),
				stat("GPUs wanted", "The sum of the targets. Where it moves, a schedule, a signal or somebody's hand moves it: see below.", "short",
					q("wanted", wanted)),
				stat("GPUs missing", "What is wanted and not ready. Some are missing after every outbid, for the minutes that a new machine takes to start; look at the reasons below when it lasts.", "short",
					q("missing", lacking)).at(step{1, watch}),
				stat("Policies not satisfied", "Policies that do not have exactly what they want, or have something to do. For half an hour and more, somebody should look why.", "short",
					q("not satisfied", `count(tdscaler_policy_satisfied{$ours} == 0) or vector(0)`)).at(step{1, watch}),
				stat("Time with nothing missing", "The share of the time shown in which every GPU that was wanted was ready.", "percentunit",
					q("complete", `1 - avg_over_time((`+lacking+` > bool 0)[$__range:5m])`)).at(worst(act), step{0.9, watch}, step{0.99, good}).digits(1),
				stat("Mode", "live buys. dry-run only says what it would do: nothing on the market is changed, whatever the other panels ask for.", "none",
					q("{{mode}}", `max by (mode) (tdscaler_mode_info{$self})`)).names(),
			}},
			{title: "Targets", panels: []panel{
				gpuStates(stack("GPUs by state, against the target", "Green should reach the dashed line. Blue is on its way; red is outbid or stopped, which is a bill for disks without capacity; orange is being deleted.", "short",
					q("{{state}}", ofStates), q("target", wanted))).bound("target").coloured("target", faint).from(0),
				stack("GPUs missing", "Whose GPUs are missing, and since when. A saw is an auction being lost and won again; a plateau is a ceiling, a cap or a market without offers.", "short",
					q("{{policy}}", missing)).from(0),
				table("Policies now", "One line for each policy. Dead GPUs cost their disks and deliver nothing; reserved is the most that the policy's machines may cost.",
					column{name: "Target", expr: `sum by (policy) (tdscaler_policy_target_gpus{$ours})`},
					column{name: "Ready", expr: `sum by (policy) (tdscaler_policy_gpus{$ours, state="ready"})`},
					column{name: "Missing", expr: missing, steps: []step{{1, watch}}},
					column{name: "Booting", expr: `sum by (policy) (tdscaler_policy_gpus{$ours, state="booting"})`},
					column{name: "Dead", expr: `sum by (policy) (tdscaler_policy_gpus{$ours, state="dead"})`, steps: []step{{1, act}}},
					column{name: "Leaving", expr: `sum by (policy) (tdscaler_policy_gpus{$ours, state="leaving"})`},
					column{name: "Satisfied", expr: `min by (policy) (tdscaler_policy_satisfied{$ours})`, values: []value{yes("yes", good), no("no", watch)}},
					column{name: "Paused", expr: `max by (policy) (tdscaler_policy_paused{$ours})`, values: []value{yes("paused", act), no("no", faint)}},
					column{name: "Reserved per hour", expr: `sum by (policy) (tdscaler_policy_reserved_dollars_per_hour{$ours})`, unit: "currencyUSD"},
				),
				states("Satisfied", "When each policy had exactly what it wants and nothing to do.", []value{yes("satisfied", good), no("not", watch)},
					q("{{policy}}", `min by (policy) (tdscaler_policy_satisfied{$ours})`)),
				gauges("Time with GPUs missing", "For how much of the time shown each policy lacked at least one GPU.", "s",
					q("{{policy}}", `avg_over_time((`+missing+` > bool 0)[$__range:5m]) * $__range_s`)).at(step{1, watch}).from(0),
			}},
			{title: "Why not", panels: []panel{
				table("Things not done, by reason", "What held each policy back: how many things now, and for which share of the time shown. The reason leads to what it means and what to do.",
					column{name: "Now", expr: `sum by (policy, reason) (tdscaler_holds{$ours})`, steps: []step{{1, watch}}},
					column{
						name: "Share of the time", unit: "percentunit",
						expr: `sum by (policy, reason) (count_over_time(tdscaler_holds{$ours}[$__range]) / on (job, instance) group_left () count_over_time(tdscaler_last_cycle_timestamp_seconds{$self}[$__range]))`,
					},
				).size(12, 9).sort("Share of the time").link("Reason", "What it means", operations),
				stack("Things not done", "The same over time. A reason that comes and goes with each outbid is the market; one that stays is a decision for you: a ceiling, a cap, a filter.", "short",
					q("{{policy}}: {{reason}}", `sum by (policy, reason) (tdscaler_holds{$ours})`)).size(12, 9).from(0),
				states("Paused", "Nothing is bought or changed for a policy while it is paused; its machines go on running and costing.", []value{yes("paused", act), no("runs", good)},
					q("{{policy}}", `max by (policy) (tdscaler_policy_paused{$ours})`)).size(8, 8),
				stack("Machines that wait", "Machines that wait for something: unproven runs, and does not count until it has passed its probe; untold counts, and on_ready has not been called for it; draining has been given time to go. What never passes its probe is deleted as waste.", "short",
					q("{{state}}", `sum by (state) (tdscaler_policy_machines{$ours})`)).size(8, 8).from(0),
				counts("Probes and hooks", "Calls, by result. Failed hooks are yours to mend; a veto keeps a machine that was to be drained.",
					q("{{errand}}: {{result}}", `sum by (errand, result) (increase(tdscaler_errands_total{$self}[$__rate_interval]))`)).size(8, 8),
			}},
			{title: "Replicas of containers", panels: []panel{
				lines("Replicas", "ready serve; shown are all that the market lists; most is what there can be by what was asked for, and what the budget holds. Far apart, an answer was lost.", "short",
					q("{{policy}}: {{state}}", `sum by (policy, state) (tdscaler_container_replicas{$ours})`)).from(0),
				states("Waits for your word", "A container whose state the market does not tell: it is only watched and paid for until you say what is true (docs/containers.md).", []value{yes("asks", act), no("no", good)},
					q("{{policy}}", `max by (policy) (tdscaler_container_alarm{$ours})`)).size(8, 8),
				stat("Scaling means", "How the market reads a request to scale, as was learnt at one replica. While it is unknown, a container begins with one replica, where it is learnt.", "none",
					q("{{meaning}}", `max by (meaning) (tdscaler_container_scaling_info{$self})`)).names().size(4, 8).or("no containers"),
			}},
			{title: "What targets follow", panels: []panel{
				lines("GPUs that signals ask for", "After their windows. The target follows the greatest, between its bounds; dashed is the most that it can ever be.", "short",
					q("{{policy}}: {{signal}}", `max by (policy, signal) (tdscaler_demand_signal_gpus{$ours})`), q("{{policy}}: most", `max by (policy) (tdscaler_demand_max_gpus{$ours})`)).bound(".*most").from(0),
				lines("Values of signals", "What the signals' servers last answered. Divide it by per_gpu or target_value of the policy if a target surprises you.", "short",
					q("{{policy}}: {{signal}}", `max by (policy, signal) (tdscaler_demand_signal_value{$ours})`)),
				lines("Age of signals", "How old the values are. Seconds to a few minutes are well; older than max_age, on_error decides in their place.", "s",
					q("{{policy}}: {{signal}}", `max by (policy, signal) (tdscaler_demand_signal_age_seconds{$ours})`)).size(8, 8).from(0),
				states("Signals that count", "A signal whose value is too old or missing is stale: the target is what on_error says.", []value{yes("fresh", good), no("stale", act)},
					q("{{policy}}: {{signal}}", `min by (policy, signal) (tdscaler_demand_signal_fresh{$ours})`)).size(8, 8),
				states("Targets set by hand", "While a target is set by hand, neither schedule nor signal moves it: tdscaler target clear ends it.", []value{yes("by hand", watch), no("by itself", good)},
					q("{{policy}}", `max by (policy) (tdscaler_demand_override{$ours})`)).size(8, 8),
			}},
			{title: "Policy $policy", repeat: "policy", panels: []panel{
				gpuStates(stack("GPUs of $policy", "One policy by itself: green should reach the dashed line.", "short",
					q("{{state}}", ofStates), q("target", wanted))).bound("target").coloured("target", faint).from(0).size(12, 7),
				lines("What $policy pays for a GPU", "Per hour and all-in, dead machines' disks included: what runs, the ceiling, and the cheapest on-demand offer. Between the first and the last is what spot saves.", "currencyUSD",
					q("paid", `sum(tdscaler_policy_burn_dollars_per_hour{$ours}) / (sum(tdscaler_policy_gpus{$ours, state="ready"}) > 0)`),
					q("ceiling", `max(tdscaler_policy_ceiling_dollars_per_gpu_hour{$ours})`),
					q("cheapest on demand", `min(tdscaler_policy_lowest_price_dollars_per_gpu_hour{$ours})`)).bound("ceiling").size(12, 7).from(0).digits(3),
			}},
		},
	}
}
