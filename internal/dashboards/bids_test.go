package dashboards

func increased(metric string) string { return `increase(` + metric + `[$__rate_interval])` }

func event(kinds string) string {
	return `sum by (event) (` + increased(`tdscaler_events_total{$self, event=~"`+kinds+`"}`) + `)`
}

func inRange(metric string) string { return `sum(increase(` + metric + `[$__range]))` }

func bids() dashboard {
	return dashboard{
		uid: "tdscaler-bids", title: "tdscaler / Bids and outbids",
		what: "What was done, what came of it, how often are we outbid, and does it churn?",
		sections: []section{
			{title: "In the time shown", panels: []panel{
				stat("Orders accepted", "Machines and containers that were ordered, and TensorDock said yes. Whether they run is told by the events below.", "short",
					q("orders", inRange(`tdscaler_actions_total{$ours, action=~"deploy|container_deploy", outcome="accepted"}`))).digits(0),
				stat("Bids raised", "Bids for machines of ours that were changed, mostly raised after an outbid.", "short",
					q("rebids", inRange(`tdscaler_actions_total{$ours, action="rebid", outcome="accepted"}`))).digits(0),
				stat("Outbid", "Machines of ours that lost their place to a higher bid. Some are the price of spot; against the GPU-days delivered the rate beside it says whether it is too many.", "short",
					q("outbid", inRange(`tdscaler_events_total{$self, event="outbid"}`))).digits(0),
				stat("Outbids per GPU and day", "How often a GPU that is ready is outbid in a day. Above a few, a higher margin (bidding) or a higher ceiling costs less than the losses.", "short",
					q("rate", inRange(`tdscaler_events_total{$self, event="outbid"}`)+` / (sum(avg_over_time(tdscaler_policy_gpus{$self, state="ready"}[$__range])) * $__range_s / 86400)`)).at(step{2, watch}, step{6, act}).digits(2),
				stat("Answers lost", "Writes whose answer never came. Each holds its place in target and budget until a list shows what became of it.", "short",
					q("unknown", inRange(`tdscaler_actions_total{$ours, outcome="unknown"}`))).at(step{1, watch}).digits(0),
				stat("Outages", "How often a machine that ran delivered nothing, neither by our doing nor by the auction's. tdscaler claim has the proof.", "short",
					q("outages", inRange(`tdscaler_events_total{$self, event="outage"}`))).at(step{1, watch}).digits(0),
			}},
			{title: "What was done", panels: []panel{
				counts("Actions accepted, by kind", "Orders, raises and deletions. Orders and deletions in step, hour after hour, are churn.",
					q("{{action}}", `sum by (action) (`+increased(`tdscaler_actions_total{$ours, outcome="accepted"}`)+`)`)),
				counts("Actions by outcome", "accepted is done as far as TensorDock says; refused is a bid that lost or a host that changed; unknown is an answer that was lost; failed is an error; skipped was held back at the last moment.",
					q("{{outcome}}", `sum by (outcome) (`+increased(`tdscaler_actions_total{$ours}`)+`)`)).coloured("accepted", good).coloured("refused", fine).coloured("unknown", act).coloured("failed", watch),
				table("Actions in the time shown", "Every kind and outcome that occurred, by policy. Many refusals of one policy: its ceiling is where others bid.",
					column{name: "Times", expr: `round(sum by (policy, action, outcome) (increase(tdscaler_actions_total{$ours}[$__range]))) > 0`},
				).size(12, 9).sort("Times"),
				counts("Actions, by policy", "Which policy keeps the market busy. One that acts all the time and stays short asks for what is not to be had.",
					q("{{policy}}", `sum by (policy) (`+increased(`tdscaler_actions_total{$ours}`)+`)`)).size(12, 9),
			}},
			{title: "The auction", panels: []panel{
				counts("Lost and won back", "outbid lost a place, won_back has it again without us or after a raise. Outbids without anything won back: the ceiling is too low for these hosts.",
					q("{{event}}", event("outbid|won_back"))).coloured("outbid", act).coloured("won_back", good),
				counts("Bids changed, and whether it took effect", "TensorDock does not promise that a new bid for a machine that exists is applied. Ignored ones are replaced by a new machine.",
					q("{{event}}", event("rebid_applied|rebid_ignored"))).coloured("rebid_applied", good).coloured("rebid_ignored", watch),
				counts("Questions asked of the market, by answer", "Soft validations of bids: accepted would win, refused would not, silent is no usable answer. They cost calls, not money.",
					q("{{answer}}", `sum by (answer) (`+increased(`tdscaler_probes_total{$self}`)+`)`)).coloured("accepted", good).coloured("refused", fine).coloured("silent", watch),
				lines("Bids that would win", "The share of questions that were answered with yes, over half an hour. Low: prices are above what we offer, or are still being searched for.", "percentunit",
					q("won", `sum(increase(tdscaler_probes_total{$self, answer="accepted"}[30m])) / (sum(increase(tdscaler_probes_total{$self, answer=~"accepted|refused"}[30m])) > 0)`)).from(0),
				stack("Dead GPUs", "Outbid or stopped and not deleted yet: they cost their disks, and may win again.", "short",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_gpus{$ours, state="dead"})`)).from(0),
				lines("Margin under the ceiling", "What runs costs per GPU-hour as a share of the ceiling. Near 100 % the next rival takes the machine, and there is nothing to raise.", "percentunit",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_burn_dollars_per_hour{$ours}) / (sum by (policy) (tdscaler_policy_gpus{$ours, state="ready"}) > 0) / `+ceilings)).at(step{0.8, watch}, step{1, act}).from(0).digits(0),
			}},
			{title: "Churn and wins", panels: []panel{
				counts("Machines won", "confirmed is an order that a look found, ready is one that runs for the first time, adopted had our name and no record, started was stopped and runs again.",
					q("{{event}}", event("confirmed|ready|adopted|started"))),
				counts("Machines gone", "deleted by us, lost without our doing, expired before it ever showed up, parked is stopped on purpose, wasted was paid for and never ready. Lost and expired ones are worth a look at the hosts.",
					q("{{event}}", event("deleted|lost|expired|parked|wasted"))).coloured("lost", act).coloured("expired", watch),
				lines("Deletions per GPU and day", "Over six hours. Replacing machines costs boot times: a fleet that deletes each GPU more than a few times a day pays for it.", "short",
					q("churn", `sum(increase(tdscaler_actions_total{$ours, action="delete", outcome="accepted"}[6h])) * 4 / (sum(avg_over_time(tdscaler_policy_gpus{$ours, state="ready"}[6h])) > 0)`)).from(0).digits(2),
				table("Events in the time shown", "Everything that looks at the market taught us, by kind. bill_mismatch, suspicious_list, clock_set and breaker want an explanation.",
					column{name: "Times", expr: `round(sum by (event) (increase(tdscaler_events_total{$self}[$__range]))) > 0`},
				).size(12, 8).sort("Times"),
			}},
		},
	}
}
