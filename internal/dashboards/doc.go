// Package dashboards holds no code, only the tests that write deploy/grafana/dashboards
// and docs/dashboards.md, and hold both to what is said here:
//
//	go test ./internal/dashboards -update
//
// A dashboard is a list of sections of panels (fleet_test.go and its neighbours), a panel
// a title, what a person concludes from it, a unit and its queries. What Grafana wants
// beside that stands once, in grafana_test.go. What every panel must have is in
// rules_test.go; that each query means something to a Prometheus is tested in
// internal/monitoring, which has the servers for it.
package dashboards
