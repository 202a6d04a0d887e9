package tensordock

import (
	"context"
	"errors"
	"net/url"

	"github.com/tdscaler/tdscaler/internal/market"
)

// ValidateNew asks whether a spot bid for a new machine would win now. It
// reserves nothing. A refusal is a Verdict (with the price the market named, if
// it did); an error means that the market said nothing about the bid.
func (r *Reader) ValidateNew(ctx context.Context, question market.Question) (market.Verdict, error) {
	f := shapeForm(question.Model, question.Shape)
	f.Set("hostnode", question.Host)
	f.Set("price", question.Bid.Decimal())
	q := r.post("validate bid", "client/spot/validate/new", f)
	q.verb = verbAsk
	got, err := ask(ctx, r.v0, q, decodeVerdict)
	return r.verdict(question, got, err)
}

// ValidateExisting offers a new bid for a machine that exists. It is a write:
// documented as a check, it may make the machine start, or run on, at that price.
// The Verdict carries the bid alone of a Question.
func (c *Client) ValidateExisting(ctx context.Context, id string, bid market.Rate) (market.Verdict, error) {
	q := c.post("rebid", "client/spot/validate/existing", url.Values{"server": {id}, "price": {bid.Decimal()}})
	q.verb = verbChange
	if id == "" || bid <= 0 {
		return market.Verdict{Answer: market.Silent}, refuse(q, "no machine or no bid given")
	}
	got, err := tell(ctx, c.v0, q, decodeVerdict)
	return c.verdict(market.Question{Bid: bid}, got, err)
}

// verdict turns a refusal's error into a Verdict and leaves other errors alone.
func (r *Reader) verdict(q market.Question, v market.Verdict, err error) (market.Verdict, error) {
	v.Question, v.At = q, r.v0.clk.Now()
	v.Detail = r.v0.scrub.line(v.Detail)
	var e *market.Error
	switch {
	case err == nil:
		return v, nil
	case errors.As(err, &e) && isRefusal(e.Class):
		v.Answer, v.Detail, v.Hint = market.Refused, e.Detail, e.Hint
		return v, nil
	}
	v.Answer = market.Silent
	return v, err
}

func isRefusal(c market.Class) bool {
	return c == market.ClassBidRefused || c == market.ClassNoCapacity || c == market.ClassRefused || c == market.ClassNotFound
}

// decodeVerdict reads an answer without an error: success alone, or will_succeed
// beside it, which then decides.
func decodeVerdict(v value) (market.Verdict, error) {
	success, will := v.get("success").flag(), v.get("will_succeed").flag()
	if !success.Known() && !will.Known() {
		return market.Verdict{}, errors.New("neither success nor will_succeed in the answer")
	}
	out := market.Verdict{Answer: market.Accepted, Hint: positive(v.get("suggested_price", "min_bid").price()), Detail: v.get("message").text()}
	if !will.Or(success.Or(true)) {
		out.Answer = market.Refused
	}
	return out, nil
}
