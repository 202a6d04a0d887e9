// Package signals asks for the numbers that targets follow: it puts PromQL queries to
// servers with Prometheus's HTTP API.
//
// It decides nothing: what a number asks for is in package demand. It must not hold
// anybody up for longer than a query's timeout, ask more often than a query's interval,
// take an answer for a number that is none, or show a token or password in an error.
package signals
