package ledger

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// ReportSummary is what can be said of a cycle without reading its report.
type ReportSummary struct {
	Cycle      uint64      `json:"cycle"`
	StartedAt  time.Time   `json:"started_at"`
	FinishedAt time.Time   `json:"finished_at"`
	Mode       policy.Mode `json:"mode"`
	Policies   int         `json:"policies"`
	Target     int         `json:"target_gpus"`
	Ready      int         `json:"ready_gpus"`
	Actions    int         `json:"actions"` // planned
	Holds      int         `json:"holds"`
	Questions  int         `json:"questions"` // answered in this cycle
	Intents    int         `json:"intents"`   // carried out
	Events     int         `json:"events"`
	Before     market.Rate `json:"rate_before_usd_hour"`
	After      market.Rate `json:"rate_after_usd_hour"`
	Problem    string      `json:"problem,omitempty"`
	Keyframe   uint64      `json:"keyframe"` // the cycle whose frame begins the group
	Bytes      int         `json:"bytes"`    // of the stored report
	// Burn is what all machines cost as last seen; unknown of cycles before it was kept.
	Burn market.Maybe[market.Rate] `json:"burn_usd_hour,omitzero"`
	// Digest is how each policy stood, and what is worth knowing later; nil where the
	// report was stored by a version that kept none.
	Digest *plan.Digest `json:"digest,omitempty"`
}

func summarise(r *plan.Report) ReportSummary {
	s := ReportSummary{
		Cycle: r.Cycle, StartedAt: r.StartedAt, FinishedAt: r.FinishedAt, Mode: r.Mode, Problem: r.Problem,
		Policies: len(r.Input.Policies), Actions: len(r.Plan.Actions), Holds: len(r.Plan.Holds),
		Questions: len(r.Input.Verdicts), Intents: len(r.Intents), Events: len(r.Events),
		Before: r.Plan.Before, After: r.Plan.After, Burn: market.Some(r.Input.History.Burn()),
	}
	for i := range r.Plan.Standings {
		s.Target += r.Plan.Standings[i].Target
		s.Ready += r.Plan.Standings[i].Ready
	}
	d := r.Digest()
	s.Digest = &d
	return s
}

// PutReport stores the report of a cycle in a transaction of its own.
func (l *Ledger) PutReport(r plan.Report) error {
	return l.Update(func(tx *Tx) error { return tx.PutReport(r) })
}

// PutReport stores the report of a cycle, whose number must be higher than that
// of every report before. At the start of a group of reports it also prunes.
//
// The ledger compares the next report with this one's lists: they must not be
// changed afterwards.
func (tx *Tx) PutReport(r plan.Report) error {
	return tx.l.wrap("put report", guard("put report", func() error { return tx.putReport(&r) }))
}

func (tx *Tx) putReport(r *plan.Report) error {
	b, err := open(tx.w.tx, bucketFrames)
	if err != nil {
		return err
	}
	if r.Cycle == 0 {
		return errors.New("a report without a cycle")
	}
	if tx.l.opts.Volatile {
		return nil
	}
	if last, _ := b.Cursor().Last(); last != nil && string(last) >= string(number(r.Cycle)) {
		return fmt.Errorf("cycle %d does not come after that of the last report", r.Cycle)
	}
	from := tx.chain
	if from == nil {
		from = tx.l.frames.chain
	}
	data, next, err := tx.l.frames.encode(from, r)
	if err != nil {
		return err
	}
	s := summarise(r)
	s.Keyframe, s.Bytes = next.key, len(data)
	if err := tx.w.put(bucketFrames, number(r.Cycle), data); err != nil {
		return err
	}
	if err := tx.w.putJSON(bucketSummaries, number(r.Cycle), s); err != nil {
		return err
	}
	tx.w.counts.Cycle = max(tx.w.counts.Cycle, r.Cycle)
	tx.chain = next
	if next.n > 1 {
		return nil
	}
	_, err = tx.prune(r.FinishedAt)
	return err
}

// Report reads a report back: its JSON is that of the report stored.
// ErrNoSuchCycle where none was kept.
func (l *Ledger) Report(cycle uint64) (plan.Report, error) {
	frames, err := l.framesTo(cycle)
	if err != nil {
		return plan.Report{}, err
	}
	var last *plan.Report
	err = readGroup(frames, func(r *plan.Report) error {
		last = r
		return nil
	})
	if err != nil {
		return plan.Report{}, l.wrap("read report", err)
	}
	return *last, nil
}

// framesTo copies the frames that the report of a cycle is made of.
func (l *Ledger) framesTo(cycle uint64) (frames []frame, err error) {
	err = l.view("read report", func(tx *bbolt.Tx) error {
		s, ok, err := find[ReportSummary](tx, bucketSummaries, number(cycle))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: %d", ErrNoSuchCycle, cycle)
		}
		frames, err = readFrames(tx, s.Keyframe, cycle)
		return err
	})
	return frames, err
}

// readFrames copies the frames from one cycle to another, both of which must exist.
func readFrames(tx *bbolt.Tx, from, to uint64) (frames []frame, err error) {
	b, err := open(tx, bucketFrames)
	if err != nil {
		return nil, err
	}
	c := b.Cursor()
	for k, v := c.Seek(number(from)); k != nil && cycleOf(k) <= to; k, v = c.Next() {
		data, err := unseal(bucketFrames, k, v)
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame{cycleOf(k), append([]byte(nil), data...)})
	}
	if len(frames) == 0 || frames[0].cycle != from || frames[len(frames)-1].cycle != to {
		return nil, badRecord(bucketFrames, number(to), "or the keyframe it builds on is missing")
	}
	return frames, nil
}

// summaryBatch is how many summaries are read in one transaction.
const summaryBatch = 256

// Reports calls fn for the reports of the cycles that began in [from, to), newest
// first, at most limit of them; zero times and a limit of 0 are no bounds. An
// error of fn ends the list and is returned as it is.
func (l *Ledger) Reports(from, to time.Time, limit int, fn func(ReportSummary) error) error {
	return l.reports(0, from, to, limit, fn)
}

// ReportsBefore is Reports for the cycles before one, or with 0 for all, that began before to.
func (l *Ledger) ReportsBefore(cycle uint64, to time.Time, limit int, fn func(ReportSummary) error) error {
	return l.reports(cycle, time.Time{}, to, limit, fn)
}

// reports goes on before the cycle that the last batch ended with; 0 at first.
func (l *Ledger) reports(before uint64, from, to time.Time, limit int, fn func(ReportSummary) error) error {
	for n := 0; ; {
		batch, err := l.summaries(before)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, s := range batch {
			before = s.Cycle
			if !from.IsZero() && s.StartedAt.Before(from) || !to.IsZero() && !s.StartedAt.Before(to) {
				continue
			}
			if err := fn(s); err != nil {
				return err
			}
			if n++; n == limit {
				return nil
			}
		}
	}
}

// EachReport calls fn for whole reports, newest first, from the one before a cycle on; 0
// begins with the newest. They are read group by group, each group once. An error of fn
// ends the list and is returned as it is; what fn is given shares lists with others and must
// not be changed.
func (l *Ledger) EachReport(before uint64, fn func(*plan.Report) error) error {
	for {
		batch, err := l.summaries(before)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, s := range batch {
			if before > 0 && s.Cycle >= before {
				continue // it was of the last group
			}
			if err := l.backwards(s.Cycle, fn); err != nil {
				return err
			}
			before = s.Keyframe
		}
	}
}

// backwards calls fn for the reports of a group up to a cycle, newest first. A group that
// was pruned meanwhile is none.
func (l *Ledger) backwards(last uint64, fn func(*plan.Report) error) error {
	frames, err := l.framesTo(last)
	if errors.Is(err, ErrNoSuchCycle) {
		return nil
	}
	if err != nil {
		return err
	}
	all := make([]*plan.Report, 0, len(frames))
	err = readGroup(frames, func(r *plan.Report) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		return l.wrap("read report", err)
	}
	for _, r := range slices.Backward(all) {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// summaries reads the next summaries before a cycle, newest first; 0 begins.
func (l *Ledger) summaries(before uint64) (batch []ReportSummary, err error) {
	err = l.view("list reports", func(tx *bbolt.Tx) error {
		b, err := open(tx, bucketSummaries)
		if err != nil {
			return err
		}
		c := b.Cursor()
		for k, v := lastBefore(c, before); k != nil && len(batch) < summaryBatch; k, v = c.Prev() {
			s, err := decode[ReportSummary](bucketSummaries, k, v)
			if err != nil {
				return err
			}
			batch = append(batch, s)
		}
		return nil
	})
	return batch, err
}
