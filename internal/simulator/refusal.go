package simulator

import (
	"fmt"
	"net/http"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Refusal is the market saying no: the class for those who call the engine, the
// HTTP status for the face. market.ClassOf sees through it.
type Refusal struct {
	Op     string
	Class  market.Class
	Detail string                    // the text of the answer
	Hint   market.Maybe[market.Rate] // the host's minimum, where the bid is below it
	Status int                       // as v0 sends it; most refusals come with 200
}

func (r *Refusal) Error() string { return r.Unwrap().Error() }

// Unwrap is the refusal as market knows it.
func (r *Refusal) Unwrap() error {
	return &market.Error{Op: r.Op, Class: r.Class, Detail: r.Detail, Hint: r.Hint}
}

func refuse(op string, class market.Class, format string, args ...any) *Refusal {
	return refuseWith(http.StatusOK, op, class, format, args...)
}

func refuseWith(status int, op string, class market.Class, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Op: op, Class: class, Detail: fmt.Sprintf(format, args...)}
}
