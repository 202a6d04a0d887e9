package simulator

import "github.com/tdscaler/tdscaler/internal/market"

// verdict is a soft validation's answer: market's verdict, and the price that
// would do, which only the documented shape gives away.
type verdict struct {
	market.Verdict
	suggested market.Maybe[market.Rate]
}

// Validate says whether a bid for a new machine would win now. It reserves
// nothing. The account's own machines on the host count as rivals.
func (e *Engine) Validate(q market.Question) market.Verdict {
	defer e.lock()()
	return e.validate(q).Verdict
}

func (e *Engine) validate(q market.Question) verdict {
	d := deployment{Order: market.Order{Host: q.Host, Model: q.Model, Shape: q.Shape, Capacity: market.Spot, Bid: q.Bid}}
	p, err := e.choose(&d)
	if err != nil {
		return e.judged(q, err)
	}
	if err := e.checkShape("validate", p, &d.Order); err != nil {
		return e.judged(q, err)
	}
	v := e.judged(q, p.checkBid(q.Shape.GPUs, q.Bid, nil))
	if least, ok := p.threshold(q.Shape.GPUs, nil); ok {
		v.suggested = market.Some(least)
	}
	return v
}

func (e *Engine) judged(q market.Question, err error) verdict {
	v := verdict{Verdict: market.Verdict{Question: q, Answer: market.Accepted, At: e.now}}
	if r, no := err.(*Refusal); no {
		v.Answer, v.Detail, v.Hint = market.Refused, r.Detail, r.Hint
	}
	return v
}

// ValidateExisting says whether the machine would run with this bid. Under
// ByValidateExisting it also sets the bid where the answer is yes.
func (e *Engine) ValidateExisting(id string, bid market.Rate) (market.Verdict, error) {
	defer e.lock()()
	v, err := e.validateExisting(id, bid)
	return v.Verdict, err
}

func (e *Engine) validateExisting(id string, bid market.Rate) (verdict, error) {
	m, err := e.findSpot("validate existing", id)
	if err != nil {
		return verdict{}, err
	}
	v := e.judged(market.Question{Host: m.order.Host, Model: m.order.Model, Shape: m.order.Shape, Bid: bid}, m.checkRebid(bid))
	if least, ok := m.pool.threshold(m.order.Shape.GPUs, m.bidder); ok {
		v.suggested = market.Some(least)
	}
	if v.Answer == market.Accepted && e.opts.RebidApplies == ByValidateExisting {
		e.rebid(m, bid)
	}
	return v, nil
}

// Rebid asks for a new bid the way modify/single does. What it changes depends on
// Options.RebidApplies; success alone proves nothing.
func (e *Engine) Rebid(id string, bid market.Rate) error {
	defer e.lock()()
	m, err := e.findSpot("modify", id)
	if err != nil {
		return err
	}
	if e.opts.RebidApplies != ByModify {
		return nil
	}
	if err := m.checkRebid(bid); err != nil {
		return err
	}
	e.rebid(m, bid)
	return nil
}

func (e *Engine) findSpot(op, id string) (*machine, error) {
	m, err := e.find(op, id)
	if err != nil {
		return nil, err
	}
	if m.order.Capacity != market.Spot {
		return nil, refuse(op, market.ClassRefused, "Server is not a spot instance")
	}
	return m, nil
}

func (m *machine) checkRebid(bid market.Rate) error {
	return m.pool.checkBid(m.order.Shape.GPUs, bid, m.bidder)
}

// rebid sets the bid. A machine that was outbid starts by itself if it now wins;
// one that was stopped only remembers the price.
func (e *Engine) rebid(m *machine, bid market.Rate) {
	m.rate = bid
	m.order.Bid = bid
	m.bids = append(m.bids, bid)
	e.turn(m, m.status)
	e.report(Rebid, m)
	if m.bidder != nil {
		m.bidder.bid = bid
		e.settle(m.pool)
	}
}
