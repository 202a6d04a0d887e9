package control

import (
	"context"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/report"
)

// Desk is all that commands ask for. Every error is a *Fault or the context's.
type Desk interface {
	// Status tells where things stand.
	Status(context.Context, StatusRequest) (Status, error)
	// Plan says what would be done under a file, and does nothing.
	Plan(context.Context, PlanRequest) (Plan, error)
	// Explain is Plan for one policy, with its funnel of offers.
	Explain(context.Context, ExplainRequest) (Explanation, error)
	// Market lists the offers of the market, and what a policy makes of each.
	Market(context.Context, MarketRequest) (Market, error)
	// Prices sums up what is on record of prices.
	Prices(context.Context, PricesRequest) (Prices, error)
	// Costs lists what machines cost, by day, policy and machine.
	Costs(context.Context, CostsRequest) ([]plan.Cost, error)
	// Balances lists how the balance went, day by day.
	Balances(context.Context, CostsRequest) ([]plan.Balance, error)
	// Outages lists outages, oldest first, those that last at the end.
	Outages(context.Context, OutagesRequest) ([]plan.Outage, error)
	// Report makes a page about a stretch of time: what was delivered, what it cost, what
	// went wrong.
	Report(context.Context, ReportRequest) (report.Report, error)
	// Intents lists intents, newest first.
	Intents(context.Context, IntentsRequest) ([]plan.Intent, error)
	// Intent finds one intent.
	Intent(context.Context, IntentRequest) (plan.Intent, error)
	// Cycles lists cycles, newest first.
	Cycles(context.Context, CyclesRequest) ([]ledger.ReportSummary, error)
	// Cycle reads the report of one cycle.
	Cycle(context.Context, CycleRequest) (plan.Report, error)
	// Chronicle tells what cycles saw and held back, newest first.
	Chronicle(context.Context, ChronicleRequest) ([]Chapter, error)
	// Verify checks the whole ledger and says what it holds.
	Verify(context.Context, VerifyRequest) (ledger.Contents, error)
	// Backup writes a checked copy of the ledger to a file, as whoever keeps the
	// desk: over a socket the daemon writes it.
	Backup(context.Context, BackupRequest) (ledger.Contents, error)
	// Machines lists the machines in the books, by name.
	Machines(context.Context, MachinesRequest) ([]Machine, error)
	// Containers lists the containers in the books, by name.
	Containers(context.Context, MachinesRequest) ([]Container, error)
	// AdoptContainer books an operator's word about a container that is in doubt.
	AdoptContainer(context.Context, daemon.Adoption) (plan.Container, error)
	// Hosts lists the records of hosts.
	Hosts(context.Context, HostsRequest) ([]plan.HostView, error)
	// ImportHosts takes records of hosts in that another ledger has made.
	ImportHosts(context.Context, ImportRequest) (Imported, error)
	// Destroy deletes machines, once; Teardown repeats it until they are gone.
	Destroy(context.Context, DestroyRequest) (Destruction, error)
	// Pause stops writes until resumed, and says what pauses there are now.
	Pause(context.Context, PauseRequest) ([]plan.Pause, error)
	// Targets lists what every policy wants now, and why.
	Targets(context.Context, TargetsRequest) ([]demand.Outcome, error)
	// SetTarget sets a target by hand, until it ends.
	SetTarget(context.Context, SetTargetRequest) (demand.Outcome, error)
	// ClearTarget ends targets that were set by hand, and says which.
	ClearTarget(context.Context, ClearTargetRequest) (Cleared, error)
	// Resume ends pauses, and says which.
	Resume(context.Context, ResumeRequest) (Resumed, error)
	// Protect keeps a machine from being given up, or ends that, and returns it.
	Protect(context.Context, ProtectRequest) (Machine, error)
	// Reload makes the daemon read its file again, as confirmed by the operator.
	Reload(context.Context, ReloadRequest) (Reloaded, error)
}

// StatusRequest asks for the status.
type StatusRequest struct{}

// Status is the daemon, or without one the ledger, at a glance.
type Status struct {
	Running bool `json:"daemon_running"`
	daemon.Status
	// PauseFile is set while the file that stops all writes exists.
	PauseFile string `json:"pause_file,omitempty"`
}

// PlanRequest asks for a plan under a file, which need not be the daemon's. Without path
// and file it is about the configuration in use.
type PlanRequest struct {
	Path  string `json:"path"` // for messages
	File  []byte `json:"file"`
	Fresh bool   `json:"fresh,omitempty"` // wait for the next look
}

// Plan is what would be done, and why.
type Plan struct {
	Mode       policy.Mode `json:"mode"`
	LookedAt   time.Time   `json:"looked_at"`
	AgeSeconds int64       `json:"age_seconds"`
	// Problem is what of the market could not be read; "" if all of it could.
	Problem   string            `json:"problem,omitempty"`
	Actions   []plan.Action     `json:"actions"` // in the order to carry them out
	Holds     []plan.Hold       `json:"holds"`
	Drains    []plan.Draining   `json:"drains"` // machines on their way out, and those that stay after all
	Policies  []plan.Standing   `json:"policies"`
	Before    market.Rate       `json:"rate_before_usd_hour"`
	After     market.Rate       `json:"rate_after_usd_hour"`
	Verdicts  []market.Verdict  `json:"verdicts"`            // what the market was asked for it, and said
	Questions []market.Question `json:"questions,omitempty"` // left unasked
	// Shadows are what the shadow policies would do, and never will.
	Shadows []plan.ShadowReport `json:"shadows,omitempty"`
}

// ExplainRequest asks about one policy of a file.
type ExplainRequest struct {
	PlanRequest
	Policy string `json:"policy"`
	// Offers is how many offers are listed for each reason.
	Offers int `json:"offers,omitempty"`
}

// Explanation is the part of a plan that concerns one policy.
type Explanation struct {
	Plan
	Policy   policy.Policy `json:"policy"`
	Machines []Machine     `json:"machines"`
	// Containers of the policy, where it is for them.
	Containers []Container `json:"containers,omitempty"`
	Funnel     plan.Funnel `json:"funnel"`
	// OneMore: the policy needs no offer, so the funnel is that of one machine more.
	OneMore bool `json:"funnel_of_one_machine_more,omitempty"`
	// Headline is where it stands and the one thing that is most in its way, in one line.
	Headline string `json:"headline"`
	// FunnelSteps are the funnel as it narrows, and FunnelText the same as a sentence.
	FunnelSteps []plan.FunnelStep `json:"funnel_steps"`
	FunnelText  string            `json:"funnel_text"`
	// Offers are the offers by what became of them.
	Offers []OfferGroup `json:"offers"`
	// Counterfactuals are what would bring the GPUs that are missing, the most useful first.
	Counterfactuals []plan.Counterfactual `json:"counterfactuals"`
	// Then is set where the explanation is of a cycle of the past.
	Then *Then `json:"then,omitempty"`
	// Shadow: the policy is decided and never acted on; what is told of it is what
	// would be.
	Shadow bool `json:"shadow,omitempty"`
}

// IntentsRequest selects intents; empty fields select all.
type IntentsRequest struct {
	Policy  string           `json:"policy,omitempty"`
	Action  plan.ActionKind  `json:"action,omitempty"`
	State   plan.IntentState `json:"state,omitempty"`
	Machine string           `json:"machine,omitempty"`
	Since   time.Time        `json:"since,omitzero"`
	Until   time.Time        `json:"until,omitzero"` // written before
	Open    bool             `json:"open,omitempty"`
	Limit   int              `json:"limit,omitempty"`  // the newest so many; 0 is all
	Before  uint64           `json:"before,omitempty"` // only those with a lower id; 0 is all
}

// IntentRequest asks for one intent.
type IntentRequest struct {
	ID uint64 `json:"id"`
}

// CyclesRequest asks for the newest cycles, or the newest that had begun by a time; a
// Limit of 0 is all.
type CyclesRequest struct {
	Limit  int       `json:"limit,omitempty"`
	Before uint64    `json:"before,omitempty"` // only earlier cycles than this; 0 is all
	By     time.Time `json:"by,omitzero"`
}

// CycleRequest asks for one cycle; 0 is the newest.
type CycleRequest struct {
	Cycle uint64 `json:"cycle"`
}

// VerifyRequest asks for a check of the ledger.
type VerifyRequest struct{}

// BackupRequest asks for a copy of the ledger in a file.
type BackupRequest struct {
	Path  string `json:"path"` // absolute
	Force bool   `json:"force,omitempty"`
}

// MachinesRequest asks for the machines of a policy, or with "" for all.
type MachinesRequest struct {
	Policy string `json:"policy,omitempty"`
}

// Machine is a machine in the books.
type Machine struct {
	plan.Machine
	Burn         market.Rate `json:"burn_usd_hour"` // what it costs as last seen
	AgeSeconds   int64       `json:"age_seconds"`   // since it was ordered
	PasswordFile string      `json:"password_file,omitempty"`
}

// DestroyRequest deletes the machines of a policy, or with "" all.
type DestroyRequest struct {
	Policy string `json:"policy,omitempty"`
	Reason string `json:"reason,omitempty"`
	Now    bool   `json:"now,omitempty"` // nothing is drained first
}

// Destruction says what became of machines that were to be deleted.
type Destruction struct {
	Machines []daemon.Destroyed `json:"machines"`
	// Unconfirmed are the machines that no look has shown to be gone yet.
	Unconfirmed []string `json:"unconfirmed"`
	Problem     string   `json:"problem,omitempty"` // why it ended early
}

// ProtectRequest protects a machine until a time, or until it is taken back.
type ProtectRequest struct {
	Machine string    `json:"machine"`
	Until   time.Time `json:"until,omitzero"`
	Reason  string    `json:"reason,omitempty"`
	None    bool      `json:"none,omitempty"` // take it back
}

// PauseRequest pauses a policy, or with "" all, until a time or until resumed.
type PauseRequest struct {
	Policy string    `json:"policy,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// ResumeRequest ends the pauses of a policy, or with "" all pauses and breakers.
type ResumeRequest struct {
	Policy string `json:"policy,omitempty"`
}

// Resumed is what a resume ended, and what still holds.
type Resumed struct {
	Pauses   []plan.Pause   `json:"ended_pauses"`
	Breakers []plan.Breaker `json:"closed_breakers"`
	Left     []plan.Pause   `json:"pauses"`
}

// ReloadRequest asks for a reload.
type ReloadRequest struct{}

// Reloaded says which configuration is in use after a reload.
type Reloaded struct {
	Config string `json:"config"`
	Hash   string `json:"hash"`
}
