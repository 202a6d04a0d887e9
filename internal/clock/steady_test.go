package clock

import (
	"context"
	"testing"
	"time"
)

// turned is a clock that somebody sets while time goes on.
type turned struct {
	*Virtual
	by time.Duration
}

func (t *turned) Now() time.Time { return t.Virtual.Now().Add(t.by) }

func TestASteadyClockGoesOnAsTimeDoesWhoeverSetsTheOther(t *testing.T) {
	c := &turned{Virtual: NewVirtual(epoch)}
	s := SteadyFrom(c)
	if err := c.Sleep(context.Background(), time.Minute); err != nil {
		t.Fatal(err)
	}
	c.by = -time.Hour
	if got := s.Now(); !got.Equal(epoch.Add(time.Minute)) {
		t.Errorf("an hour back: %s", got.Sub(epoch))
	}
	s.Up.Boot = "another"
	if got := s.Now(); !got.Equal(c.Now()) {
		t.Errorf("without an uptime: %s", got.Sub(epoch))
	}
}
