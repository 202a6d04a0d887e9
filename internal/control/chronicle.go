package control

import (
	"context"
	"errors"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// ChronicleRequest asks what cycles saw and held back, newest first: at most Limit of
// them, those before a cycle; 0 begins with the newest.
type ChronicleRequest struct {
	Before uint64 `json:"before,omitempty"`
	Limit  int    `json:"limit"` // 1 to MaxChapters
}

// MaxChapters bounds a chronicle: each of its reports must be read whole.
const MaxChapters = 1500

// Chapter is what one cycle has to tell, without what it decided on. What it did are
// intents.
type Chapter struct {
	Cycle     uint64       `json:"cycle"`
	StartedAt time.Time    `json:"started_at"`
	Mode      policy.Mode  `json:"mode"`
	Early     string       `json:"early,omitempty"` // the news that it was begun for before its time
	Problem   string       `json:"problem,omitempty"`
	Events    []plan.Event `json:"events"`
	Holds     []plan.Hold  `json:"holds"`
}

// Chronicle implements Desk.
func (f *Office) Chronicle(ctx context.Context, r ChronicleRequest) ([]Chapter, error) {
	if r.Limit < 1 || r.Limit > MaxChapters {
		return nil, &Fault{Class: Usage, Message: "chronicle: 1 to 1500 cycles can be told at once"}
	}
	out, enough := []Chapter{}, errors.New("enough")
	err := f.question(func(l *ledger.Ledger) error {
		err := l.EachReport(r.Before, func(p *plan.Report) error {
			if len(out) == r.Limit {
				return enough
			}
			out = append(out, chapter(p))
			return ctx.Err()
		})
		if errors.Is(err, enough) {
			return nil
		}
		return err
	})
	return out, err
}

func chapter(r *plan.Report) Chapter {
	return Chapter{
		Cycle: r.Cycle, StartedAt: r.StartedAt, Mode: r.Mode, Early: r.Early, Problem: r.Problem,
		Events: list(r.Events), Holds: list(r.Plan.Holds),
	}
}

// Chronicle implements Desk.
func (c *Client) Chronicle(ctx context.Context, r ChronicleRequest) ([]Chapter, error) {
	return call[[]Chapter](ctx, c, "chronicle", quick, r)
}
