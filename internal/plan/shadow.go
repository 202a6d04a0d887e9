package plan

import (
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Shadow is what the ledger keeps of a policy that is decided and never acted on: the
// machines that it would have, and its own books. Nothing of it is in the books that
// money is spent by.
type Shadow struct {
	Policy string    `json:"policy"`
	Since  time.Time `json:"since"` // of its first look
	// Given counts the names and intents that were made up for it.
	Given    uint64     `json:"given,omitempty"`
	Machines []Machine  `json:"machines,omitempty"` // none of them exists
	Missing  []Missing  `json:"missing,omitempty"`
	Backoffs []Backoff  `json:"backoffs,omitempty"`
	Brackets []Bracket  `json:"brackets,omitempty"`
	Spend    []Spend    `json:"spend,omitempty"`
	Totals   []Total    `json:"totals,omitempty"`
	Scaled   []Scaled   `json:"scaled,omitempty"`
	Churn    []Scaled   `json:"churn,omitempty"`
	Short    []Short    `json:"short,omitempty"`
	Settling []Settling `json:"settling,omitempty"`
	Progress []Progress `json:"progress,omitempty"`
	Clock    ClockMark  `json:"clock,omitzero"`
	LookedAt time.Time  `json:"looked_at,omitzero"`
	// Up is how much real time its looks span; Delivered and Wanted are GPUs times time.
	Up        time.Duration `json:"up,omitempty"`
	Delivered time.Duration `json:"gpu_time,omitempty"`
	Wanted    time.Duration `json:"gpu_time_wanted,omitempty"`
	Target    int           `json:"target_gpus,omitempty"` // at the last look
	Starts    int           `json:"starts,omitempty"`
	Losses    int           `json:"losses,omitempty"`
}

// Missing counts the looks in a row at which there were no GPUs for a machine of a
// shadow.
type Missing struct {
	Machine string `json:"machine"`
	Looks   int    `json:"looks"`
}

// ShadowReport is what a shadow policy would have done in a cycle, and what it has come
// to.
type ShadowReport struct {
	Policy   string    `json:"policy"`
	Since    time.Time `json:"since"`
	Actions  []Action  `json:"actions,omitempty"` // none was carried out
	Holds    []Hold    `json:"holds,omitempty"`
	Standing Standing  `json:"standing"`
	// Rate is what its machines would cost per hour now, Cost what they would have cost
	// in all.
	Rate      market.Rate   `json:"rate_usd_hour"`
	Cost      market.Amount `json:"cost_usd"`
	Delivered time.Duration `json:"gpu_time"`
	Wanted    time.Duration `json:"gpu_time_wanted"`
	Starts    int           `json:"starts"`
	Losses    int           `json:"losses"`
	// Asked counts its questions in this cycle, Assumed those of them to which the
	// record has no answer.
	Asked   int `json:"questions"`
	Assumed int `json:"questions_assumed"`
}

// PerGPUHour is what a delivered GPU-hour would have cost; unknown where there is none.
func (r *ShadowReport) PerGPUHour() market.Maybe[market.Rate] {
	if r.Delivered < time.Minute {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(perHour(r.Cost, r.Delivered))
}

// shadowed says whether a policy is in the file as a shadow: what machines it has are
// from before, and nobody's business but the operator's.
func (w *world) shadowed(name string) bool { return slices.Contains(w.in.Shadows, name) }
