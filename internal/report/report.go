package report

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Input is what is on record of a stretch of time.
type Input struct {
	From, To time.Time
	Now      time.Time
	Owner    string
	Mode     policy.Mode
	Only     string          // one policy alone; "" is all
	Policies []policy.Policy // of the file
	Budget   policy.Budget   // its Zone is that of days and times

	// Cycles are those that began in the stretch or as it ended, and the last that began no
	// later than it, oldest first.
	Cycles []Cycle
	// Intents are those written in the stretch, Costs and Balances those of its days, and
	// Outages those that were not over before it.
	Intents  []plan.Intent
	Costs    []plan.Cost
	Balances []plan.Balance
	Outages  []plan.Outage
	Present  Present // of no use where the stretch ended before now
}

// lately is for how long after its end a stretch is one of the present: a page that is sent
// by the clock takes a moment to be made.
const lately = 10 * time.Minute

// Current says whether the stretch lasts until now.
func (in *Input) Current() bool { return in.Now.Sub(in.To) < lately }

// Cycle is one cycle in short. Digest is nil where none was kept.
type Cycle struct {
	Number  uint64
	At      time.Time
	Problem string
	Digest  *plan.Digest
}

// Present is how things stand now.
type Present struct {
	Burn       market.Rate // of our machines
	Runway     time.Duration
	SpentMonth market.Amount
	SpentBy    map[string]plan.Spent // of each policy: today, this month, ever
	// Reload is why the file on disk is not the one in use, and since when; "" if it is.
	Reload   string
	ReloadAt time.Time
}

// Report is one page about a stretch of time.
type Report struct {
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	At       time.Time   `json:"made_at"`
	Zone     policy.Zone `json:"time_zone,omitempty"`
	Owner    string      `json:"owner"`
	Mode     policy.Mode `json:"mode"`
	Only     string      `json:"policy,omitempty"`
	Headline string      `json:"headline"`
	Total    Line        `json:"total"`
	Policies []Line      `json:"policies"` // by name
	// Troubles are what went wrong, the dearest first.
	Troubles []Trouble `json:"troubles"`
	Money    Money     `json:"money"`
	Advice   []string  `json:"advice"`  // at most three
	Missing  []string  `json:"missing"` // what is not on record, and in no figure
	Trend    []Point   `json:"trend"`   // for a plot
}

// Line is what one policy, or all, wanted, got and paid. GPU times are GPUs times seconds.
type Line struct {
	Policy    string        `json:"policy"`
	Wanted    plan.Span     `json:"wanted_gpu_seconds"`
	Delivered plan.Span     `json:"delivered_gpu_seconds"` // of what was wanted
	Above     plan.Span     `json:"above_target_gpu_seconds,omitzero"`
	Spent     market.Amount `json:"spent_usd"`
	// OnDemand is what the machine-hours whose compute was charged would have cost at
	// what their hosts asked on demand, Uncompared what was spent where that is not known,
	// Saved OnDemand less what else was spent.
	OnDemand   market.Amount `json:"on_demand_usd"`
	Uncompared market.Amount `json:"uncompared_usd,omitzero"`
	Saved      market.Amount `json:"saved_usd"`
	// Idle is the part of Spent that was for machines that delivered nothing: ordered,
	// booting, outbid or stopped.
	Idle    market.Amount `json:"idle_usd"`
	Starts  int           `json:"starts"` // orders that were sent and not refused
	Rebids  int           `json:"rebids"`
	Deletes int           `json:"deletes"`
	Outbids int           `json:"outbids"`
	Losses  int           `json:"losses"` // gone without our doing
	Caps    []Use         `json:"caps,omitempty"`
}

// Use is how much of a cap is used up.
type Use struct {
	Cap  string        `json:"cap"` // as it is called in the file
	Used market.Amount `json:"used_usd"`
	Of   market.Amount `json:"of_usd"`
}

// Share is the part of the wanted GPU time that was delivered; unknown where none was wanted.
func (l *Line) Share() market.Maybe[float64] {
	if l.Wanted == 0 {
		return market.Maybe[float64]{}
	}
	return market.Some(float64(l.Delivered) / float64(l.Wanted))
}

// PerGPUHour is what a delivered GPU-hour cost; unknown where none was delivered.
func (l *Line) PerGPUHour() market.Maybe[market.Rate] {
	h := (l.Delivered + l.Above).Hours()
	if h <= 0 {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(market.Rate(float64(l.Spent) / h))
}

// add adds another line to a total.
func (l *Line) add(o *Line) {
	l.Wanted, l.Delivered, l.Above = l.Wanted+o.Wanted, l.Delivered+o.Delivered, l.Above+o.Above
	l.Spent, l.OnDemand, l.Uncompared = l.Spent.Add(o.Spent), l.OnDemand.Add(o.OnDemand), l.Uncompared.Add(o.Uncompared)
	l.Saved, l.Idle = l.Saved.Add(o.Saved), l.Idle.Add(o.Idle)
	l.Starts, l.Rebids, l.Deletes = l.Starts+o.Starts, l.Rebids+o.Rebids, l.Deletes+o.Deletes
	l.Outbids, l.Losses = l.Outbids+o.Outbids, l.Losses+o.Losses
}

// Trouble is one thing that went wrong, and how to look closer.
type Trouble struct {
	Kind   string    `json:"kind"`
	Policy string    `json:"policy,omitempty"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"` // zero: it is a moment, or goes on
	Count  int       `json:"count"`
	Text   string    `json:"text"`
	Missed plan.Span `json:"missed_gpu_seconds,omitzero"`
	// Paid is what was paid for nothing. Worth orders: Paid, and each GPU-hour missed at
	// the policy's ceiling, which is what its owner says that it is worth.
	Paid    market.Amount `json:"paid_usd,omitzero"`
	Worth   market.Amount `json:"worth_usd"`
	Command string        `json:"command"`
}

// Money is how spend and balance went.
type Money struct {
	Days     []Day                       `json:"days"` // whole ones, also where the stretch is not
	MaxDaily market.Maybe[market.Amount] `json:"max_daily_usd,omitzero"`
	// Open and Close are the balance at the beginning of the first day and the end of
	// the last; Fell is by how much it fell, Deposits apart.
	Open     market.Maybe[market.Amount] `json:"balance_open_usd,omitzero"`
	Close    market.Maybe[market.Amount] `json:"balance_close_usd,omitzero"`
	Deposits market.Amount               `json:"deposits_usd"`
	Fell     market.Amount               `json:"balance_fell_usd"`
	// Now is nil where the stretch ended before the present.
	Now *Outlook `json:"outlook,omitempty"`
}

// Outlook is how it goes on if nothing changes.
type Outlook struct {
	Runway     time.Duration               `json:"runway,omitempty"` // 0: not known
	Burn       market.Rate                 `json:"burn_usd_hour"`
	SpentMonth market.Amount               `json:"spent_month_usd"`
	Forecast   market.Amount               `json:"forecast_month_usd"` // to its end, at the present burn
	MaxMonthly market.Maybe[market.Amount] `json:"max_monthly_usd,omitzero"`
}

// Day is what one day cost.
type Day struct {
	Day   string        `json:"day"`
	Spent market.Amount `json:"spent_usd"` // by our policies
	Rest  market.Amount `json:"rest_of_account_usd,omitzero"`
}

// Point is how things stood on average in one part of the stretch. Known is false where
// no cycle tells.
type Point struct {
	At        time.Time `json:"at"` // its beginning
	Wanted    float64   `json:"wanted_gpus"`
	Delivered float64   `json:"delivered_gpus"`
	Known     bool      `json:"known"`
}

// Make makes the page.
func Make(in Input) Report {
	m := newMaker(in)
	m.walk()
	m.lines()
	r := Report{
		From: in.From, To: in.To, At: in.Now, Zone: in.Budget.Zone, Owner: in.Owner, Mode: in.Mode, Only: in.Only,
		Total: Line{Policy: "total"}, Policies: []Line{}, Money: m.money(), Missing: m.missing, Trend: m.trend(),
	}
	for _, name := range m.names() {
		r.Policies = append(r.Policies, *m.line[name])
		r.Total.add(m.line[name])
	}
	r.Total.Caps = m.caps(in.Budget, "")
	r.Troubles = m.troubles()
	r.Advice = m.advice(&r)
	r.Headline = headline(&r, m.Current())
	return r
}
