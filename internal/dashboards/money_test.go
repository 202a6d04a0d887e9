package dashboards

const (
	burn     = `sum(tdscaler_burn_dollars_per_hour{$self})`
	reserved = `sum(tdscaler_reserved_dollars_per_hour{$self})`
	capped   = `sum(tdscaler_budget_hourly_dollars_per_hour{$self})`
	// onDemand is what the machines that run would cost on demand where they stand.
	onDemand = `sum(tdscaler_policy_on_demand_dollars_per_hour{$ours})`
	// compared are the policies of which that is known: containers are not.
	compared = ` and on (job, instance, policy) tdscaler_policy_on_demand_dollars_per_hour{$ours})`
	paid     = `sum(tdscaler_policy_burn_dollars_per_hour{$ours}` + compared
	// cheapest is what as many GPUs would cost at the cheapest on-demand offer of each policy.
	cheapest = `sum(sum by (job, instance, policy) (tdscaler_policy_gpus{$ours, state="ready"}) * on (job, instance, policy) tdscaler_policy_lowest_price_dollars_per_gpu_hour{$ours}` + compared
)

func money() dashboard {
	nearly := []step{{0.8, watch}, {0.95, act}}
	return dashboard{
		uid: "tdscaler-money", title: "tdscaler / Money",
		what: "What does it cost, how near are the caps, how long does the balance last, and is it worth it against on-demand?",
		sections: []section{
			{title: "Now", panels: []panel{
				stat("Burn per hour", "What all machines cost per hour as they were last seen.", "currencyUSD", q("burn", burn)).digits(2),
				stat("Hourly cap in use", "What is reserved against the hourly cap. Reserved is the worst case: every machine that may exist, at the most that it may cost. At 100 % nothing is bought.", "percentunit",
					q("reserved", reserved+` / `+capped)).at(nearly...).from(0).digits(0),
				stat("Counts for today", "What counts against the fleet's daily cap since midnight of budget.time_zone, policies that are gone included.", "currencyUSD",
					q("today", `sum(tdscaler_budget_spent_today_dollars{$self})`)).digits(2),
				stat("Counts for this month", "What counts against the fleet's monthly cap since the first.", "currencyUSD",
					q("month", `sum(tdscaler_budget_spent_month_dollars{$self})`)).digits(2),
				stat("Balance", "What is left on the prepaid account. At zero TensorDock stops machines, and later deletes them.", "currencyUSD",
					q("balance", `min(tdscaler_balance_dollars{$self})`)).at(worst(act), step{10, watch}, step{25, good}).digits(2),
				stat("Runway", "How long the balance lasts if everything costs what is reserved for it. Top up before budget.min_runway deletes machines.", "s",
					q("runway", `min(tdscaler_runway_seconds{$self}) < +Inf`)).at(worst(act), step{6 * 3600, watch}, step{24 * 3600, good}).or("nothing costs"),
				stat("Daily cap in use", "Spend of today against budget.max_daily. Machines are deleted in time to stay below it, so red means fewer GPUs soon.", "percentunit",
					q("day", `max(tdscaler_budget_spent_today_dollars{$self} / tdscaler_budget_daily_dollars{$self})`)).at(nearly...).from(0).or("no cap").digits(0),
				stat("Monthly cap in use", "Spend of this month against budget.max_monthly. Compare it with how much of the month is over.", "percentunit",
					q("month", `max(tdscaler_budget_spent_month_dollars{$self} / tdscaler_budget_monthly_dollars{$self})`)).at(nearly...).from(0).or("no cap").digits(0),
				stat("Saved against on-demand", "How much less what runs costs than the same hosts ask on demand. Below zero, on-demand would be cheaper. Without containers. To the cent: tdscaler cost.", "percentunit",
					q("saved", `1 - `+paid+` / (`+onDemand+` > 0)`)).at(worst(act), step{0, watch}, step{0.1, good}).or("nothing runs").digits(0),
				stat("Paid per GPU-hour", "Burn over GPUs that are ready, disks of dead machines included.", "currencyUSD",
					q("paid", `sum(tdscaler_policy_burn_dollars_per_hour{$ours}) / (sum(tdscaler_policy_gpus{$ours, state="ready"}) > 0)`)).or("nothing runs").digits(3),
				stat("Others on the account", "What the account pays per hour beside our machines: people, another daemon, or machines that we do not know of. If it is nobody, look at TensorDock's dashboard.", "currencyUSD",
					q("others", `max(tdscaler_account_others_dollars_per_hour{$self})`)).at(step{0.01, watch}).digits(2),
				stat("Wasted", "About what was paid in the time shown for machines that ran and never passed their probe.", "currencyUSD",
					q("wasted", `sum(increase(tdscaler_wasted_dollars_total{$self}[$__range]))`)).at(step{1, watch}).digits(2),
			}},
			{title: "Burn and caps", panels: []panel{
				lines("Burn, reserved and the hourly cap", "Burn stays below reserved, and reserved below the cap. Reserved at the cap means that money, not the market, holds the fleet back.", "currencyUSD",
					q("burn", burn), q("reserved", reserved), q("cap", capped)).bound("cap").coloured("cap", act).from(0).digits(2),
				stack("Burn by policy", "Which policy costs what per hour, in the state in which its machines were last seen.", "currencyUSD",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_burn_dollars_per_hour{$ours})`)).from(0).digits(2),
				lines("Today against the daily cap", "A line that will meet the cap before midnight costs machines: lower targets, or raise the cap.", "currencyUSD",
					q("today", `max(tdscaler_budget_spent_today_dollars{$self})`), q("cap", `max(tdscaler_budget_daily_dollars{$self})`)).bound("cap").coloured("cap", act).from(0).digits(2),
				lines("This month against the monthly cap", "The same for the month: a line that will meet the cap before the month is over costs machines then.", "currencyUSD",
					q("month", `max(tdscaler_budget_spent_month_dollars{$self})`), q("cap", `max(tdscaler_budget_monthly_dollars{$self})`)).bound("cap").coloured("cap", act).from(0).digits(2),
				stack("Spend of today, by policy", "As metered, since midnight of budget.time_zone. It drops to zero there.", "currencyUSD",
					q("{{policy}}", `sum by (policy) (tdscaler_spend_today_dollars{$ours})`)).from(0).digits(2),
				stack("Reserved by policy", "The most that the machines of each policy may cost per hour.", "currencyUSD",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_reserved_dollars_per_hour{$ours})`)).from(0).digits(2),
				table("Policies and their budgets", "What each policy has spent, beside its own caps. An empty cell is a cap that nobody wrote: then the fleet's alone hold.",
					column{name: "Reserved per hour", expr: `sum by (policy) (tdscaler_policy_reserved_dollars_per_hour{$ours})`, unit: "currencyUSD"},
					column{name: "Hourly cap", expr: `sum by (policy) (tdscaler_policy_budget_hourly_dollars_per_hour{$ours})`, unit: "currencyUSD"},
					column{name: "Today", expr: `sum by (policy) (tdscaler_spend_today_dollars{$ours})`, unit: "currencyUSD"},
					column{name: "Daily cap", expr: `sum by (policy) (tdscaler_policy_budget_daily_dollars{$ours})`, unit: "currencyUSD"},
					column{name: "Month", expr: `sum by (policy) (tdscaler_spend_month_dollars{$ours})`, unit: "currencyUSD"},
					column{name: "Monthly cap", expr: `sum by (policy) (tdscaler_policy_budget_monthly_dollars{$ours})`, unit: "currencyUSD"},
					column{name: "Ever", expr: `sum by (policy) (tdscaler_spend_lifetime_dollars{$ours})`, unit: "currencyUSD"},
					column{name: "Cap for ever", expr: `sum by (policy) (tdscaler_policy_budget_lifetime_dollars{$ours})`, unit: "currencyUSD"},
				),
			}},
			{title: "The account", panels: []panel{
				lines("Balance", "It falls with the burn and jumps when somebody tops up. A fall without machines is a bill that the books do not explain.", "currencyUSD",
					q("balance", `min(tdscaler_balance_dollars{$self})`)).from(0).digits(2),
				lines("Runway", "How long the balance lasts at what is reserved.", "s",
					q("runway", `min(tdscaler_runway_seconds{$self}) < +Inf`)).at(worst(act), step{6 * 3600, watch}, step{24 * 3600, good}).from(0),
				lines("Whose bill it is", "What TensorDock says the account costs per hour, what our machines cost, and what is left for others. If the first leaves the sum of the other two, a list is not complete.", "currencyUSD",
					q("account", `max(tdscaler_account_burn_dollars_per_hour{$self})`), q("ours", burn), q("others", `max(tdscaler_account_others_dollars_per_hour{$self})`)).bound("account").from(0).digits(2),
				lines("Bill against books", "How much more the balance fell than the books explain, in dollars and as a share. safety.bill_tolerance warns and bill_stop stops growth at their shares.", "currencyUSD",
					q("excess", `max(tdscaler_bill_excess_dollars{$self})`), q("share", `max(tdscaler_bill_excess_ratio{$self})`)).right("share", "percentunit").digits(2),
			}},
			{title: "Against on-demand", panels: []panel{
				lines("What runs, and what it would cost on demand", "Paid is below the other two when spot is worth it. The same hosts on demand is where the machines stand; cheapest is as many GPUs at the cheapest offer that each policy matches. Without containers, which have no other price.", "currencyUSD",
					q("paid", paid), q("same hosts on demand", onDemand), q("cheapest on demand", cheapest)).bound(".*on demand").from(0).digits(2),
				gauges("Saved, by policy", "How much less each policy's machines cost now than their hosts ask on demand. Policies that buy on demand stand at about zero.", "percentunit",
					q("{{policy}}", `1 - sum by (policy) (tdscaler_policy_burn_dollars_per_hour{$ours}) / (sum by (policy) (tdscaler_policy_on_demand_dollars_per_hour{$ours}) > 0)`)).at(worst(act), step{-0.05, watch}, step{0.1, good}).digits(0),
				lines("Paid per GPU-hour, by policy", "Burn over GPUs that are ready. A peak is a machine that is paid for and starts, or is dead.", "currencyUSD",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_burn_dollars_per_hour{$ours}) / (sum by (policy) (tdscaler_policy_gpus{$ours, state="ready"}) > 0)`)).from(0).digits(3),
				stack("Paid for and not delivering", "GPUs that were outbid or stopped: their disks are billed until they win again or are deleted.", "short",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_gpus{$ours, state="dead"})`)).from(0),
			}},
			{title: "Shadow policies beside the real ones", panels: []panel{
				lines("GPUs that shadows would have", "What policies with shadow: true would have ready, against what they would want.", "short",
					q("{{policy}}: ready", `sum by (policy) (tdscaler_shadow_gpus{$ours, state="ready"})`), q("{{policy}}: target", `sum by (policy) (tdscaler_shadow_target_gpus{$ours})`)).bound(".*target").from(0),
				lines("What shadows would cost, and what is paid", "Per hour. Dashed are the shadows, the rest is real: a shadow that has as many GPUs for less is the better policy.", "currencyUSD",
					q("{{policy}} (shadow)", `sum by (policy) (tdscaler_shadow_rate_dollars_per_hour{$ours})`), q("{{policy}}", `sum by (policy) (tdscaler_policy_burn_dollars_per_hour{$ours})`)).bound(`.* \(shadow\)`).from(0).digits(2),
				table("Shadows so far", "Since each shadow is in the file: what it would have cost and delivered. Compare the price of a GPU-hour with what the real policies pay.",
					column{name: "Would have cost", expr: `sum by (policy) (tdscaler_shadow_spend_lifetime_dollars{$ours})`, unit: "currencyUSD"},
					column{name: "GPU time delivered", expr: `sum by (policy) (tdscaler_shadow_delivered_gpu_seconds{$ours})`, unit: "s"},
					column{name: "Per GPU-hour", expr: `3600 * sum by (policy) (tdscaler_shadow_spend_lifetime_dollars{$ours}) / (sum by (policy) (tdscaler_shadow_delivered_gpu_seconds{$ours}) > 0)`, unit: "currencyUSD"},
				).size(12, 7),
				counts("What shadows would have done", "Orders, raises and deletions. Many deletions beside few GPUs is churn that the real policy would pay for.",
					q("{{policy}}: {{action}}", `sum by (policy, action) (increase(tdscaler_shadow_actions_total{$ours}[$__rate_interval])) > 0`)).size(12, 7),
			}},
		},
	}
}
