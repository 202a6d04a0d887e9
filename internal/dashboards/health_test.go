package dashboards

func health() dashboard {
	const cycles = `tdscaler_cycle_duration_seconds_bucket{$self}[$__rate_interval]`
	const queries = `tdscaler_demand_query_duration_seconds_bucket{$self}[$__rate_interval]`
	const age = `time() - max by (instance) (tdscaler_last_cycle_timestamp_seconds{$self})`
	return dashboard{
		uid: "tdscaler-health", title: "tdscaler / Health",
		what: "Does the daemon itself work: does it look, may it act, does it keep its books, and does it understand TensorDock?",
		sections: []section{
			{title: "Now", panels: []panel{
				stat("Last cycle", "How long ago the last cycle finished. With a cycle each minute, more than five minutes means that nothing looks after the fleet.", "s",
					q("{{instance}}", age)).at(step{180, watch}, step{300, act}).digits(0),
				stat("Breakers open", "A breaker is a doubt, and stops growth until it closes after its cooldown; tdscaler resume closes it at once. tdscaler status says what the doubt is.", "short",
					q("open", `sum(tdscaler_breaker_open{$self})`)).at(step{1, act}),
				stat("Configuration", "Whether the file was read at the last reload. After a failure the last good one stays in use: tdscaler check says what is wrong.", "none",
					q("{{instance}}", `min by (instance) (tdscaler_config_last_reload_successful{$self})`)).meaning(yes("in use", good), no("refused", act)),
				stat("Change held back", "A change that was found on disk, and would remove a policy with machines or more than halve a target, waits for a SIGHUP or tdscaler reload.", "none",
					q("{{instance}}", `max by (instance) (tdscaler_config_change_held{$self})`)).meaning(yes("waits", watch), no("none", good)),
				stat("Ledger", "Whether it can be put on record what is done. While it cannot, nothing is sent to the market: look at the disk.", "none",
					q("{{instance}}", `min by (instance) (tdscaler_ledger_writable{$self})`)).meaning(yes("writable", good), no("stuck", act)),
				stat("Contract", "Operations whose answers have lost what safety rests on. Their writes are stopped: update tdscaler, or read docs/operations.md.", "short",
					q("stopped", `count(tdscaler_contract_stopped{$self}) or vector(0)`)).at(step{1, act}),
			}},
			{title: "Cycles", panels: []panel{
				heat("Cycles by how long they took", "Dark is where most cycles lie. Cycles that order take longer, as TensorDock takes ten seconds and more for an order; a band that climbs leaves less time to react.", "s",
					`sum by (le) (increase(`+cycles+`))`),
				lines("How long cycles take", "Half, nine tenths and all but a hundredth of them. Near the schedule's interval, looks come late.", "s",
					q("50 %", `histogram_quantile(0.5, sum by (le) (rate(`+cycles+`)))`), q("90 %", `histogram_quantile(0.9, sum by (le) (rate(`+cycles+`)))`), q("99 %", `histogram_quantile(0.99, sum by (le) (rate(`+cycles+`)))`)).from(0),
				counts("Cycles by result", "problem is a cycle in which a list could not be read. Some are TensorDock's bad minutes; all of them are an outage, of TensorDock or of your network.",
					q("{{result}}", `sum by (result) (`+increased(`tdscaler_cycles_total{$self}`)+`)`)).coloured("ok", good).coloured("problem", act),
				counts("Looks between cycles", "quiet saw nothing new, news began a cycle early, failed could not look. Without any, daemon.watch is off, and an outbid is seen a cycle later.",
					q("{{result}}", `sum by (result) (`+increased(`tdscaler_watch_looks_total{$self}`)+`)`)).coloured("quiet", good).coloured("news", fine).coloured("failed", act),
				lines("Age of the last cycle, and how late the next one is", "The first is a saw as high as the schedule's interval and a cycle; the second stays at about the length of a cycle. A slope of both is a daemon that hangs.", "s",
					q("{{instance}}: age", age), q("{{instance}}: late", `clamp_min(time() - max by (instance) (tdscaler_next_cycle_timestamp_seconds{$self}), 0)`)).at(step{180, watch}, step{300, act}).from(0),
				states("Scraped", "Whether Prometheus reaches the daemon. What is not scraped may still run: look at the machine before you start another.", []value{yes("up", good), no("down", act)},
					q("{{instance}}", `min by (instance) (up{$self})`)),
			}},
			{title: "What stops it", panels: []panel{
				states("Breakers", "What each means and what to do: the page of codes above. Most close by themselves after a cooldown; second_daemon stops deletions too, and only tdscaler resume closes it.", []value{yes("open", act), no("closed", good)},
					q("{{breaker}}", `max by (breaker) (tdscaler_breaker_open{$self})`)),
				states("Pauses", "Policies that somebody paused. Their machines go on costing.", []value{yes("paused", act), no("runs", good)},
					q("{{policy}}", `max by (policy) (tdscaler_policy_paused{$ours})`)),
				counts("Answers of TensorDock that departed from what is known", "By operation and kind: unknown members are harmless, missing and unreadable ones may stop writes. Anything here is a change at TensorDock: look at status, and for a new version.",
					q("{{operation}}: {{kind}}", `sum by (operation, kind) (`+increased(`tdscaler_contract_drift_total{$self}`)+`) or vector(0)`)),
				lines("Operations stopped by their contract", "Writes, growth or v2 alone, until an answer is whole again.", "short",
					q("{{operation}}: {{stops}}", `sum by (operation, stops) (tdscaler_contract_stopped{$self}) or vector(0)`)).from(0),
			}},
			{title: "Books and configuration", panels: []panel{
				lines("Size of the ledger", "It grows for some weeks and then stays: old records are dropped. It never shrinks by itself, and need not; tdscaler ledger compact does it.", "bytes",
					q("{{instance}}", `max by (instance) (tdscaler_ledger_size_bytes{$self})`)).from(0).size(8, 8),
				counts("Changes of the ledger that failed", "Each is a full or broken disk. What could not be written is not sent to the market either.",
					q("{{instance}}", `sum by (instance) (`+increased(`tdscaler_ledger_commit_failures_total{$self}`)+`)`)).size(8, 8),
				lines("Age of the configuration", "It falls to zero at each reload that succeeded, and at each start.", "s",
					q("{{instance}}", `time() - max by (instance) (tdscaler_config_last_reload_success_timestamp_seconds{$self})`)).from(0).size(8, 8),
			}},
			{title: "Requests", panels: []panel{
				stack("Requests to TensorDock, by class of failure", "Per second. rate_limited means that others use the same account, or tensordock.marketplace_rps is too high; unauthorized that the credentials are wrong.", "reqps",
					q("{{class}}", `sum by (class) (label_replace(`+answers+`, "class", "success", "class", ""))`)).coloured("success", good).from(0),
				stack("Requests to TensorDock, by operation", "Per second. Lists come with each look; questions dominate while a price is searched for.", "reqps",
					q("{{api}} {{operation}}", `sum by (api, operation) (`+answers+`)`)).from(0),
				counts("Queries of signals, by result", "Where targets follow Prometheus: errors are its server's, and on_error decides meanwhile.",
					q("{{result}}", `sum by (result) (`+increased(`tdscaler_demand_queries_total{$self}`)+`)`)).coloured("ok", good).coloured("error", act).size(8, 8),
				lines("How long queries of signals take", "Half and all but a hundredth of them. A cycle waits for them.", "s",
					q("50 %", `histogram_quantile(0.5, sum by (le) (rate(`+queries+`)))`), q("99 %", `histogram_quantile(0.99, sum by (le) (rate(`+queries+`)))`)).from(0).size(8, 8),
				counts("Requests to the webhook, by result", "unauthorized and replayed ones are somebody else's, or a clock that is wrong; refused ones ask for what a policy does not allow.",
					q("{{result}}", `sum by (result) (`+increased(`tdscaler_demand_webhook_requests_total{$self}`)+`)`)).coloured("ok", good).coloured("unauthorized", act).size(8, 8),
			}},
			{title: "The process", panels: []panel{
				lines("Memory", "Resident is what the system gives it, heap what Go uses of it. Both stay flat over weeks; a slope is a leak: report it with tdscaler version.", "bytes",
					q("resident", `sum(process_resident_memory_bytes{$self})`), q("heap", `sum(go_memstats_heap_inuse_bytes{$self})`)).from(0).size(8, 8),
				lines("Processor", "Cores in use. It is idle between cycles.", "short",
					q("cores", `sum(rate(process_cpu_seconds_total{$self}[$__rate_interval]))`)).from(0).size(8, 8).digits(3),
				lines("Goroutines and open files", "Both stay flat, at some dozens; what climbs for days is a leak.", "short",
					q("goroutines", `sum(go_goroutines{$self})`), q("open files", `sum(process_open_fds{$self})`)).from(0).size(8, 8),
				table("Builds", "What runs where, and since when. Two lines with different versions: one of them was not restarted after an upgrade.",
					column{name: "Started", expr: `1000 * max by (instance, version, revision, goversion) (process_start_time_seconds{$self} * on (job, instance) group_right () tdscaler_build_info{$self})`, unit: "dateTimeAsIso"},
				).size(24, 5),
			}},
		},
	}
}
