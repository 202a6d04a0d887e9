// Package monitoring holds no code, only the tests of what is in deploy/prometheus,
// deploy/alertmanager and deploy/grafana: rules, their unit tests, runbooks and
// dashboards, held to the metrics that the program really has.
//
// It is a module of its own, for the sake of PromQL's parser: that and what it needs
// would stand in the go.mod of everybody who builds tdscaler, for tests alone. It imports
// nothing of the project. What it needs of it is the built program, whose metrics it
// scrapes, and docs/metrics.md, which another test holds to the code.
//
// `make test` runs what needs no server. `make test-monitoring` also plays a day of a
// simulated market, puts it into a real Prometheus, and lets an alert go all the way from
// a daemon that is stopped to a webhook.
package monitoring
