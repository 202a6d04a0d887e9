// Package report is pure: it makes one page of what is on record of a stretch of time:
// what was delivered, what it cost and would have cost, what went wrong and where to look
// closer. Records come in, a Report comes out, and text, Markdown and HTML are three
// ways to write it.
//
// It must not decide anything, and knows neither the ledger nor the market. It must not
// read a cycle's report: a month of them would be read for a page.
//
// Invariants:
//   - The policies' lines add up to the total, to the nano-dollar and the nanosecond.
//   - What was delivered above the target counts beside, never in place of what was
//     missing elsewhere.
//   - What is not on record is said to be missing, and in no figure.
//   - HTML holds no script, no link to fetch, and nothing that is not escaped.
package report
