package actuator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/permit"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Writer is the part of the market that spends and saves money.
type Writer interface {
	Deploy(ctx context.Context, o market.Order) (market.Deployed, error)
	Delete(ctx context.Context, id string) error
	// DeleteInstance deletes through v2 what only v2 has shown.
	DeleteInstance(ctx context.Context, id string) error
	// Stop stops a machine; with release its GPUs are given up.
	Stop(ctx context.Context, id string, release bool) error
	Start(ctx context.Context, id string) error
	// StopInstance and StartInstance are v2's, for what only v2 has shown. v2 cannot
	// release.
	StopInstance(ctx context.Context, id string) error
	StartInstance(ctx context.Context, id string) error
	// ModifyInstance changes a stopped machine's size, through v2.
	ModifyInstance(ctx context.Context, id string, model market.GPUModel, s market.Shape) error
	// ValidateExisting validates a new bid for a machine we have. It counts as a
	// write because it may apply the bid.
	ValidateExisting(ctx context.Context, id string, bid market.Rate) (market.Verdict, error)
	// ModifyBid submits the machine's present size with a new bid.
	ModifyBid(ctx context.Context, id string, model market.GPUModel, s market.Shape, bid market.Rate) error
}

// Book writes intents and outcomes, each in one transaction with the change to
// the fleet's books.
type Book interface {
	// Begin reserves the money. plan.ErrBudget, plan.ErrStale and plan.ErrForbidden
	// mean that the action is off; nothing was written.
	Begin(a plan.Action) (plan.Intent, error)
	Accept(in plan.Intent, d market.Deployed, detail string) (plan.Intent, error)
	Refuse(in plan.Intent, class market.Class, detail string) (plan.Intent, error)
	Lose(in plan.Intent, detail string) (plan.Intent, error)
}

// Gate lets a write through or says why not. It is asked before every action, and by
// the writer (package permit) when the turn of each of its requests has come.
type Gate interface {
	Allow(a plan.Action) error
}

// Outfitter completes an order with what the planner must not know: image, keys
// and password. Whatever it stores for the machine it removes in Strip.
type Outfitter interface {
	Outfit(a plan.Action, name string) (market.Order, error)
	OutfitContainer(a plan.Action, name string) (market.ContainerOrder, error)
	Strip(name string) error
}

// Actuator carries out actions.
type Actuator struct {
	writer Writer
	book   Book
	gate   Gate
	outfit Outfitter
}

// New makes an Actuator.
func New(w Writer, b Book, g Gate, o Outfitter) *Actuator {
	return &Actuator{writer: w, book: b, gate: g, outfit: o}
}

// Result is what became of one action.
type Result struct {
	Intent plan.Intent // zero where nothing was begun
	// Verdict is what a refusal taught us about the price, for the next Compute.
	Verdict market.Maybe[market.Verdict]
	Skipped string       // why nothing was begun
	Class   market.Class // how the market failed; "" for success
}

// Retry says whether another plan in the same cycle may do better.
func (r Result) Retry() bool {
	return r.Class == market.ClassNoCapacity || r.Class == market.ClassBidRefused ||
		r.Class == market.ClassRefused || r.Class == market.ClassNotFound
}

// Act carries out one action. An error means that our own books could not be
// written: the caller must stop acting.
func (a *Actuator) Act(ctx context.Context, act plan.Action) (Result, error) {
	if err := a.gate.Allow(act); err != nil {
		return Result{Skipped: err.Error()}, nil
	}
	in, err := a.book.Begin(act)
	if errors.Is(err, plan.ErrBudget) || errors.Is(err, plan.ErrStale) || errors.Is(err, plan.ErrForbidden) {
		return Result{Skipped: err.Error()}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("begin %s: %w", act.Kind, err)
	}
	ctx = permit.With(ctx, func() error { return a.gate.Allow(act) })
	switch act.Kind {
	case plan.Deploy:
		return a.deploy(ctx, act, in)
	case plan.Rebid:
		return a.rebid(ctx, act, in)
	case plan.ContainerDeploy, plan.ContainerScale, plan.ContainerStop:
		return a.container(ctx, act, in)
	case plan.Stop, plan.Start, plan.Modify:
		return a.settled(in, market.Deployed{}, a.ask(ctx, act), market.ClassDone)
	default:
		return a.delete(ctx, act, in)
	}
}

func (a *Actuator) deploy(ctx context.Context, act plan.Action, in plan.Intent) (Result, error) {
	order, err := a.outfit.Outfit(act, in.Machine)
	if err != nil {
		return a.refused(in, market.ClassUnavailable, "prepare the order: "+err.Error())
	}
	d, err := a.writer.Deploy(ctx, order)
	switch class := market.ClassOf(err); {
	case err == nil:
		in, err = a.book.Accept(in, d, "")
		return Result{Intent: in}, err
	case class == market.ClassAmbiguous:
		return a.lost(in, err)
	default:
		return a.deployRefused(in, act, class, err)
	}
}

func (a *Actuator) deployRefused(in plan.Intent, act plan.Action, class market.Class, cause error) (Result, error) {
	if err := a.outfit.Strip(in.Machine); err != nil {
		return Result{}, err
	}
	r, err := a.refused(in, class, cause.Error())
	if class == market.ClassBidRefused {
		r.Verdict = market.Some(refusal(r.Intent, act, cause))
	}
	return r, err
}

// refusal is newer than the acceptance that the order was made on, and voids it.
func refusal(in plan.Intent, act plan.Action, cause error) market.Verdict {
	v := market.Verdict{
		Question: market.Question{Host: act.Host, Model: act.Model, Shape: act.Shape, Bid: act.Bid},
		Answer:   market.Refused, At: in.AnswerAt, Detail: cause.Error(),
	}
	var e *market.Error
	if errors.As(cause, &e) {
		v.Hint = e.Hint
	}
	return v
}

// rebid validates the new bid on the machine and submits it. Whichever of the two
// calls applies it, only a look can tell, so every answer but a refusal leaves the
// rebid pending.
func (a *Actuator) rebid(ctx context.Context, act plan.Action, in plan.Intent) (Result, error) {
	v, err := a.writer.ValidateExisting(ctx, act.Instance, act.Bid)
	switch class := market.ClassOf(err); {
	case class == market.ClassAmbiguous:
		return a.lost(in, err)
	case err != nil:
		return a.refused(in, class, err.Error())
	case v.Answer == market.Refused:
		r, err := a.refused(in, market.ClassBidRefused, v.Detail)
		v.Question = market.Question{Host: act.Host, Model: act.Model, Shape: act.Shape, Bid: act.Bid}
		v.At = in.At
		r.Verdict = market.Some(v)
		return r, err
	}
	if act.AskOnly {
		in, err = a.book.Accept(in, market.Deployed{}, "validated, and not submitted")
		return Result{Intent: in}, err
	}
	err = a.writer.ModifyBid(ctx, act.Instance, act.Model, act.Shape, act.Bid)
	switch market.ClassOf(err) {
	case market.ClassAmbiguous, market.ClassUnavailable, market.ClassRateLimited, market.ClassUnauthorized:
		// Validated, and perhaps submitted, perhaps not: nothing is learnt from it.
		return a.lost(in, err)
	}
	detail := "validated and submitted"
	if err != nil {
		detail = "validated; submitting it was refused: " + err.Error()
	}
	in, err = a.book.Accept(in, market.Deployed{}, detail)
	return Result{Intent: in}, err
}

// delete asks for the machine's end. That it is gone already is success.
func (a *Actuator) delete(ctx context.Context, act plan.Action, in plan.Intent) (Result, error) {
	end := a.writer.Delete
	if act.API == market.V2 {
		end = a.writer.DeleteInstance
	}
	return a.settled(in, market.Deployed{}, end(ctx, act.Instance), market.ClassDone, market.ClassNotFound)
}

// settled books an answer: a yes, a definite no, or that nobody knows. Failures of the
// classes in done say that it is so already, which is a yes.
func (a *Actuator) settled(in plan.Intent, d market.Deployed, answer error, done ...market.Class) (Result, error) {
	switch class := market.ClassOf(answer); {
	case answer == nil || slices.Contains(done, class):
		in, err := a.book.Accept(in, d, detailOf(answer))
		return Result{Intent: in}, err
	case class == market.ClassAmbiguous:
		return a.lost(in, answer)
	default:
		return a.refused(in, class, answer.Error())
	}
}

// ask has a machine stopped, started or modified.
func (a *Actuator) ask(ctx context.Context, act plan.Action) error {
	switch v2 := act.API == market.V2; {
	case act.Kind == plan.Modify:
		return a.writer.ModifyInstance(ctx, act.Instance, act.Model, act.Shape)
	case act.Kind == plan.Stop && v2 && !act.Release:
		return a.writer.StopInstance(ctx, act.Instance)
	case act.Kind == plan.Stop:
		return a.writer.Stop(ctx, act.Instance, act.Release)
	case v2:
		return a.writer.StartInstance(ctx, act.Instance)
	}
	return a.writer.Start(ctx, act.Instance)
}

func detailOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (a *Actuator) lost(in plan.Intent, cause error) (Result, error) {
	in, err := a.book.Lose(in, cause.Error())
	return Result{Intent: in, Class: market.ClassAmbiguous}, err
}

func (a *Actuator) refused(in plan.Intent, class market.Class, detail string) (Result, error) {
	in, err := a.book.Refuse(in, class, detail)
	return Result{Intent: in, Class: class}, err
}
