package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
)

// What a terminal obeys.
const (
	otherScreen = "\x1b[?1049h\x1b[?25l" // and no cursor on it
	firstScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	restOfLine  = "\x1b[K"
	restOfAll   = "\x1b[J"
)

// watcher asks for the status again and again.
type watcher struct {
	*session
	every   time.Duration
	last    control.Status // the newest answer
	at      time.Time      // when it came; zero before the first
	trouble error          // why there is none since; nil where there is
}

// watchStatus prints the status until the command is interrupted, which is no failure.
func (f *deskFlags) watchStatus(cmd *cobra.Command, every time.Duration) error {
	s, err := f.session(cmd)
	if err != nil {
		return err
	}
	w := &watcher{session: s, every: every}
	show, done := w.changes(), func() error { return nil }
	if drawn(s.OutOrStdout()) && !s.json {
		show, done = w.draw, func() error { return s.write(firstScreen) }
		if err := s.write(otherScreen); err != nil {
			return err
		}
	}
	for err == nil {
		w.ask(s.Context())
		if s.Context().Err() != nil {
			break
		}
		if err = show(clock.System{}.Now()); err == nil && (clock.System{}).Sleep(s.Context(), every) != nil {
			break
		}
	}
	if derr := done(); err == nil {
		err = derr
	}
	return err
}

// drawn says whether an output is a terminal on which the cursor can be moved.
func drawn(w any) bool {
	width, _ := sizeOf(w)
	return width > 0 && os.Getenv("TERM") != "dumb"
}

func (s *session) write(text string) error {
	_, err := io.WriteString(s.OutOrStdout(), text)
	return err
}

// ask gets the status from whoever has it now: a daemon may have come or gone.
func (w *watcher) ask(ctx context.Context) {
	w.trouble = w.visit(func(s *session) error {
		st, err := s.desk.Status(ctx, control.StatusRequest{})
		if err == nil {
			w.last, w.at = st, clock.System{}.Now()
		}
		return err
	})
}

// text prints the newest status, and that it is old where it is.
func (w *watcher) text(t *table, now time.Time) {
	if w.trouble != nil {
		age := "nothing has answered yet: "
		if !w.at.IsZero() {
			age = "no answer for " + ago(now.Sub(w.at)) + ", this is from before: "
		}
		t.say(bad, "%s%s", age, w.trouble)
	}
	if !w.at.IsZero() {
		t.status(&w.last, now)
	}
}

// draw draws the screen anew, in place.
func (w *watcher) draw(now time.Time) error {
	out := w.OutOrStdout()
	width, height := sizeOf(out)
	c := &canvas{screen: out.(screen)}
	t := newTable(c.like(out))
	t.width = width
	t.line("every %s, now %s; Ctrl-C ends this", w.every, stamp(now))
	w.text(t, now)
	if err := t.flush(); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(c.String(), "\n"), "\n")
	if len(lines) > height {
		lines = append(lines[:max(height-1, 0)], fmt.Sprintf("... %d lines more", len(lines)-height+1))
	}
	return w.write(home + strings.Join(lines, restOfLine+"\n") + restOfLine + restOfAll)
}

// canvas collects what is to be drawn on a screen, and takes colours where that does.
type canvas struct {
	screen
	bytes.Buffer
}

func (c *canvas) Write(b []byte) (int, error) { return c.Buffer.Write(b) }

func (c *canvas) like(out io.Writer) io.Writer {
	if _, ok := out.(tinted); ok {
		return tinted{c}
	}
	return c
}

// changes prints one status for each change of what matters, and nothing else. Ages,
// the number of the cycle and what was spent change all the time.
func (w *watcher) changes() func(time.Time) error {
	before := ""
	return func(now time.Time) error {
		key := w.essence()
		if key == before {
			return nil
		}
		if w.json && w.trouble == nil {
			before = key
			return printJSON(w.OutOrStdout(), w.last)
		}
		t := newTable(w.OutOrStdout())
		if before != "" {
			t.gap()
		}
		before = key
		t.line("at %s", stamp(now))
		w.text(t, now)
		return t.flush()
	}
}

// essence is a text that differs where the status has changed in something that matters.
func (w *watcher) essence() string {
	s := &w.last
	type standing struct {
		Policy                                        string
		Target, Ready, Booting, Dead, Leaving, Parked int
	}
	type held struct{ code, policy, machine string }
	var fleet []standing
	for i := range s.Policies {
		p := &s.Policies[i]
		fleet = append(fleet, standing{p.Policy, p.Target, p.Ready, p.Booting, p.Dead, p.Leaving, p.Parked})
	}
	var holds []held
	for _, h := range s.Holds {
		holds = append(holds, held{h.Reason.Code, h.Policy, h.Machine})
	}
	var waits []held
	for i := range s.Waits {
		waits = append(waits, held{s.Waits[i].Code, s.Waits[i].Policy, s.Waits[i].Machine})
	}
	limits := []int{}
	for i := range s.Budgets {
		limits = append(limits, min(worst(&s.Budgets[i])/10, 10)) // each tenth of a cap
	}
	b, _ := json.Marshal([]any{s.Pauses, s.Breakers, s.Overrides, s.Reload, s.Unread})
	return fmt.Sprint(w.trouble != nil, s.Running, s.Mode, s.Problem, s.Unwritable, s.PauseFile, s.Machines, s.Burn, s.HourlyCap, s.Bill.Warned, fleet, holds, waits, limits, string(b))
}
