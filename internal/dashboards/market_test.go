package dashboards

const (
	latency   = `tdscaler_api_request_duration_seconds_bucket{$self}[$__rate_interval]`
	answers   = `rate(tdscaler_api_requests_total{$self}[$__rate_interval])`
	failures  = `rate(tdscaler_api_requests_total{$self, class!=""}[$__rate_interval])`
	lowest    = `min by (policy) (tdscaler_policy_lowest_price_dollars_per_gpu_hour{$ours})`
	ceilings  = `max by (policy) (tdscaler_policy_ceiling_dollars_per_gpu_hour{$ours})`
	condition = `min by (section) (tdscaler_section_complete{$self})`
)

func quantile(share, by string) string {
	return `histogram_quantile(` + share + `, sum by (` + by + `) (rate(` + latency + `)))`
}

func theMarket() dashboard {
	whole := []value{yes("complete", good), no("not", act)}
	return dashboard{
		uid: "tdscaler-market", title: "tdscaler / Market",
		what: "What do GPUs cost, is there enough under the ceiling, and does TensorDock answer?",
		sections: []section{
			{title: "Now", panels: []panel{
				stat("Lowest price of a GPU-hour", "The cheapest on-demand offer, all-in, of what any of the policies matches. Spot is often won for less.", "currencyUSD",
					q("lowest", `min(tdscaler_policy_lowest_price_dollars_per_gpu_hour{$ours})`)).or("nothing on offer").digits(3),
				stat("GPUs within reach", "GPUs free in whole machines on what the policies match, at most at what they pay on demand. Offers that two policies match count twice.", "short",
					q("within", `sum(tdscaler_policy_offered_gpus{$ours, price="within"})`)).at(worst(watch), step{1, good}),
				stat("GPUs above the ceiling", "The same, dearer than the policies pay on demand. They may still be won as spot.", "short",
					q("above", `sum(tdscaler_policy_offered_gpus{$ours, price="above"})`)),
				stat("Hosts left alone", "Host and GPU model pairs on which nothing is bought because they failed three times in a row or more. Many of them: look at tdscaler ledger hosts.", "short",
					q("quarantined", `max(tdscaler_hosts_quarantined{$self})`)).at(step{5, watch}),
				stat("Lists not complete", "Parts of the market that the last look could not read completely. Nothing is bought or deleted on such evidence.", "short",
					q("incomplete", `count(`+condition+` == 0) or vector(0)`)).at(step{1, act}),
				stat("Failed requests", "The share of requests to TensorDock that failed, refusals included.", "percentunit",
					q("failed", `(sum(`+failures+`) or vector(0)) / sum(`+answers+`)`)).at(step{0.05, watch}, step{0.25, act}).digits(1),
			}},
			{title: "Prices and depth", panels: []panel{
				lines("Lowest price against the ceiling", "Per GPU-hour, all-in and on demand, of what each policy matches; dashed is the policy's ceiling. Above it only spot can fill the target.", "currencyUSD",
					q("{{policy}}", lowest), q("{{policy}} ceiling", ceilings)).bound(".* ceiling").from(0).digits(3),
				gauges("Lowest price as a share of the ceiling", "Below 100 % on-demand would do. Far above it, the ceiling is below the market, and spot must be lucky.", "percentunit",
					q("{{policy}}", lowest+` / `+ceilings)).at(step{1, watch}, step{2, act}).from(0).digits(0),
				stack("GPUs on offer within the ceiling", "Depth: what could be bought now on demand. When it thins out while you want to grow, raise the ceiling or match more.", "short",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_offered_gpus{$ours, price="within"})`)).from(0),
				stack("GPUs on offer above the ceiling", "What is there for more money on demand, or for a bid on spot.", "short",
					q("{{policy}}", `sum by (policy) (tdscaler_policy_offered_gpus{$ours, price="above"})`)).from(0),
				lines("Offers that passed every filter", "When the policy last looked for machines: 0 while it looks means that a filter or the ceiling leaves nothing; tdscaler explain shows which.", "short",
					q("{{policy}}", `max by (policy) (tdscaler_policy_candidate_offers{$ours})`)).from(0),
				lines("Hosts left alone", "It grows when hosts fail to bring machines up, and shrinks as their time is over. A jump is an outage of one owner's hosts.", "short",
					q("quarantined", `max(tdscaler_hosts_quarantined{$self})`)).from(0),
			}},
			{title: "Does TensorDock answer?", panels: []panel{
				states("What could be read", "Each list of the last look. Without a complete list of machines nothing is bought, and nothing counts as gone.", whole,
					q("{{section}}", condition)).size(8, 8),
				lines("How old what is known is", "How long ago each part of the market was last read completely. A slope is a list that fails again and again: decisions that need it wait.", "s",
					q("{{section}}", `time() - max by (section) (tdscaler_section_last_complete_timestamp_seconds{$self})`)).at(step{600, watch}, step{1800, act}).from(0).size(8, 8),
				states("Credentials", "Whether TensorDock accepted the key and token. Refused means that nothing works until you replace them: tdscaler auth says what is wrong.", []value{yes("accepted", good), no("refused", act)},
					q("{{instance}}", `min by (instance) (tdscaler_authorized{$self})`)).size(8, 8),
				stack("Requests by outcome", "Per second, retries counted each. Refusals are a part of bidding; timeouts, overloads and nonsense are TensorDock's trouble.", "reqps",
					q("{{class}}", `sum by (class) (label_replace(`+answers+`, "class", "success", "class", ""))`)).coloured("success", good).from(0),
				lines("Share of requests that failed, by operation", "A write that fails often holds a policy back; a list that fails often blinds all of them.", "percentunit",
					q("{{operation}}", `sum by (operation) (`+failures+`) / sum by (operation) (`+answers+`)`)).from(0),
				lines("How long answers take", "Half, nine tenths and all but a hundredth of the answers come within this time. An order takes TensorDock ten seconds and more.", "s",
					q("50 %", quantile("0.5", "le")), q("90 %", quantile("0.9", "le")), q("99 %", quantile("0.99", "le"))).from(0),
				lines("Nine tenths of answers come within, by operation", "Which call is the slow one. Orders and deletions take long by nature; a list that takes long delays every cycle.", "s",
					q("{{operation}}", quantile("0.9", "le, operation"))).from(0),
				heat("Answers by how long they took", "Each column is a moment, each row a time; dark is where most answers lie. Two bands are reads and writes; a band that climbs is TensorDock slowing down.", "s",
					`sum by (le) (increase(`+latency+`))`),
				table("Operations in the time shown", "How often each was called, how often that failed, and how long nine tenths of its answers took at most.",
					column{name: "Requests", expr: `sum by (api, operation) (increase(tdscaler_api_requests_total{$self}[$__range]))`},
					column{name: "Failed", expr: `sum by (api, operation) (increase(tdscaler_api_requests_total{$self, class!=""}[$__range]))`, steps: []step{{1, watch}}},
					column{name: "90 % within", expr: `histogram_quantile(0.9, sum by (le, api, operation) (increase(tdscaler_api_request_duration_seconds_bucket{$self}[$__range])))`, unit: "s"},
				).size(12, 8).sort("Failed"),
			}},
		},
	}
}
