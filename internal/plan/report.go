package plan

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// Report is all there is to say about one cycle. Ledger, metrics, log and status
// are projections of it.
type Report struct {
	Cycle      uint64      `json:"cycle"`
	StartedAt  time.Time   `json:"started_at"`
	FinishedAt time.Time   `json:"finished_at"`
	Mode       policy.Mode `json:"mode"`
	Version    string      `json:"version,omitempty"` // of the program that decided
	Input      Input       `json:"input"`             // of the last Compute, verdicts included
	Plan       Plan        `json:"plan"`              // of the last Compute
	Intents    []Intent    `json:"intents,omitempty"` // what was done, as it stood at the end of the cycle
	Events     []Event     `json:"events,omitempty"`
	Problem    string      `json:"problem,omitempty"` // why the cycle ended early
	// Shadows are what the shadow policies would have done, by name.
	Shadows []ShadowReport `json:"shadows,omitempty"`
	Early   string         `json:"early,omitempty"` // the news that it was begun for before its time
}
