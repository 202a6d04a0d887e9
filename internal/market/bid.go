package market

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/secret"
)

// MinBid is the least bid the marketplace's own form takes. Bids are whole cents.
const MinBid Rate = 5 * Cent

// Question is a soft validation of a spot bid for a new machine: would this bid
// win now? Asking reserves nothing and costs one request.
type Question struct {
	Host  string   `json:"host"`
	Model GPUModel `json:"gpu_model"`
	Shape Shape    `json:"shape"`
	Bid   Rate     `json:"bid_usd_hour"` // whole machine, compute only
}

// Answer is what the market said to a Question.
type Answer string

// Answers. Only Accepted and Refused are verdicts; Silent (a transport error, an
// HTML page) says nothing about the price.
const (
	Accepted Answer = "accepted"
	Refused  Answer = "refused"
	Silent   Answer = "silent"
)

// Verdict is an answered Question.
type Verdict struct {
	Question
	Answer Answer      `json:"answer"`
	Hint   Maybe[Rate] `json:"hint_usd_hour,omitzero"` // a price the market named: minimum or suggestion
	Detail string      `json:"detail,omitempty"`
	At     time.Time   `json:"at"`
}

// Via is the way by which a machine is bought.
type Via string

// Ways to buy.
const (
	ViaHost    Via = ""        // v0, a machine of our own size on a host
	ViaInstant Via = "instant" // v0, a machine that waits ready-made; on demand only
	ViaV2      Via = "v2"      // v2, of our own size on a host or anywhere at a location; on demand only
)

// Order is a machine to be bought. Name is the only idempotency key there is.
type Order struct {
	Via       Via
	Instant   string // ViaInstant: the ID of an Instant
	Many      bool   // ... which is a size, and not one machine
	Site      string // ViaV2: a location's ID, instead of Host
	Name      string
	Host      string
	Model     GPUModel
	Shape     Shape
	Capacity  Capacity
	Bid       Rate // spot only: whole machine, compute only
	Image     string
	Ports     []PortForward
	Password  secret.String
	SSHKey    string
	CloudInit string
}

// Deployed is the market's acceptance of an Order. Accepted is not done: only a
// later look shows the machine.
type Deployed struct {
	ID      string
	Compute Maybe[Rate]
	Storage Maybe[Rate]
	Total   Maybe[Rate]
	IP      string
	Ports   []PortForward
}
