package web

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// trouble is a thing that a person should know, and what to do about it.
type trouble struct {
	Mood mark
	What string
	Why  string
	Link string // where the page says more
	More string // the link's words
	Run  string // the command that changes it
}

// overview answers on one screen: what have I got, what does it cost, why is it not what I
// asked for, what happened, how do I stop it.
type overview struct {
	Troubles []trouble
	Policies []row
	Shadows  []plan.ShadowReport
	Money    purse
	Burn     figure
	Latest   []plan.Intent
	Stop     []step
}

// row is one policy among all.
type row struct {
	plan.Standing
	Capacity market.Capacity
	Bar      picture
	State    string
	Mood     mark
	Why      string // the first reason for which it is not satisfied
	Cap      market.Maybe[market.Rate]
}

// step is a command with what it does.
type step struct{ What, Run string }

// latestActions is how many actions the first screen shows.
const latestActions = 8

func (s *site) overview(v *visitor) (any, error) {
	r, err := s.book.report(v.ctx, v.status.Cycle)
	if err != nil {
		return nil, err
	}
	latest, err := s.o.Desk.Intents(v.ctx, control.IntentsRequest{Limit: latestActions})
	if err != nil {
		return nil, err
	}
	cycles, err := s.o.Desk.Cycles(v.ctx, control.CyclesRequest{Limit: dayOfCycles})
	if err != nil {
		return nil, err
	}
	return overview{
		Troubles: troubles(v), Policies: rows(&v.status, r), Shadows: v.status.Shadows, Money: purseOf(&v.status, r),
		Burn: burnPlot(v, cycles, 24*time.Hour, 180), Latest: latest, Stop: stops(&v.status),
	}, nil
}

// rows are the policies, those first that are not what they should be.
func rows(s *control.Status, r *plan.Report) (out []row) {
	for _, st := range s.Policies {
		one := row{Standing: st, Bar: fleetBar(&st)}
		if p := policyOf(r, st.Policy); p != nil {
			one.Capacity, one.Cap = p.Capacity, p.Budget.MaxHourly
		}
		one.State, one.Mood = standingWord(&st)
		for _, h := range s.Holds {
			if h.Policy == st.Policy && one.Why == "" && one.Mood != good {
				one.Why = h.Reason.Text
			}
		}
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(a, b row) int { return cmp.Compare(severity(b.Mood), severity(a.Mood)) })
	return out
}

func severity(m mark) int { return slices.Index([]mark{calm, good, caution, bad}, m) }

func policyOf(r *plan.Report, name string) *policy.Policy {
	for i := range r.Input.Policies {
		if p := &r.Input.Policies[i]; p.Name == name {
			return p
		}
	}
	return nil
}

// standingWord says how a policy stands.
func standingWord(s *plan.Standing) (string, mark) {
	switch missing := s.Target - s.Ready - s.Booting; {
	case missing > 0:
		return plural(missing, "GPU") + " short", bad
	case s.Booting > 0 && s.Ready < s.Target:
		return "on its way", caution
	case s.Satisfied:
		return "as wanted", good
	case s.Ready+s.Booting > s.Target:
		return plural(s.Ready+s.Booting-s.Target, "GPU") + " too many", caution
	}
	return "changing", caution
}

// troubles are what stands in the way, the worst first.
func troubles(v *visitor) []trouble {
	s := &v.status
	all := slices.Concat(standing(v), stopped(s), unread(s), ill(s), lacking(s))
	slices.SortStableFunc(all, func(a, b trouble) int { return cmp.Compare(severity(b.Mood), severity(a.Mood)) })
	return all
}

// mood is the state of everything, for the header.
func mood(v *visitor) trouble {
	all := troubles(v)
	n := 0
	for _, t := range all {
		if t.Mood == bad {
			n++
		}
	}
	switch {
	case n > 0:
		return trouble{Mood: bad, What: plural(n, "problem")}
	case len(all) > 0:
		return trouble{Mood: caution, What: plural(len(all), "note")}
	}
	return trouble{Mood: good, What: "all well"}
}

// standing is about the daemon and its cycles.
func standing(v *visitor) (out []trouble) {
	s := &v.status
	if s.Mode == policy.DryRun {
		out = append(out, trouble{Mood: caution, What: "Dry run: it looks and plans, and changes nothing", Why: "daemon.mode is dry-run in " + s.Config})
	}
	if !s.Running {
		out = append(out, trouble{Mood: bad, What: "No daemon runs", Why: "this is what the ledger knows of the last cycle"})
	}
	switch late := v.now.Sub(s.NextAt); {
	case s.Cycle == 0:
		out = append(out, trouble{Mood: caution, What: "No cycle has finished yet", Why: "what the market shows is not known before the first look is over; it takes about a minute"})
	case !s.NextAt.IsZero() && late > 5*time.Minute:
		out = append(out, trouble{Mood: bad, What: "The next cycle is " + ago(late) + " late", Why: "the daemon is stuck, or the market does not answer", Run: command(*s, "status")})
	}
	if s.Problem != "" {
		out = append(out, trouble{Mood: bad, What: "The last cycle ended early", Why: s.Problem, Link: cyclePath(s.Cycle), More: "what it saw"})
	}
	return out
}

// stopped is what keeps tdscaler from writing.
func stopped(s *control.Status) (out []trouble) {
	if s.PauseFile != "" {
		out = append(out, trouble{Mood: bad, What: "Everything is stopped by a file", Why: "nothing is bought, raised or deleted while " + s.PauseFile + " exists", Run: "rm " + quoted(s.PauseFile)})
	}
	for _, b := range s.Breakers {
		what := "Breaker " + b.Code + ": no growth"
		if b.All {
			what = "Breaker " + b.Code + ": no writes at all"
		}
		out = append(out, trouble{Mood: bad, What: what + " " + until(b.Until), Why: b.Reason, Run: command(*s, "resume")})
	}
	for _, p := range s.Pauses {
		words := []string{"resume"}
		what := "The whole fleet is paused"
		if p.Policy != "" {
			words, what = append(words, p.Policy), "Policy "+p.Policy+" is paused"
		}
		if p.Teardown {
			what += ", and its machines are deleted,"
		}
		out = append(out, trouble{Mood: caution, What: what + " " + until(p.Until), Why: "since " + stamp(p.Since) + because(p.Reason), Run: command(*s, words...)})
	}
	return out
}

func until(t time.Time) string {
	if t.IsZero() {
		return "until resumed"
	}
	return "until " + stamp(t)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// unread is what could not be read or written.
func unread(s *control.Status) (out []trouble) {
	switch {
	case !s.Running:
	case s.Reload.Held != "":
		out = append(out, trouble{Mood: caution, What: "A change of the file waits for a confirmation", Why: s.Reload.Held, Run: command(*s, "reload")})
	case !s.Reload.Successful && s.Reload.Problem != "":
		out = append(out, trouble{Mood: bad, What: "The file could not be loaded; the last good one is in use", Why: s.Reload.Problem, Run: "tdscaler check " + quoted(s.Config)})
	}
	if s.Unwritable != "" && s.Unwritable != s.Problem {
		out = append(out, trouble{Mood: bad, What: "The ledger cannot be written", Why: s.Unwritable})
	}
	for _, u := range s.Unread {
		out = append(out, trouble{Mood: caution, What: "Not read: " + u.List, Why: u.Why})
	}
	for _, d := range s.Drift[:min(len(s.Drift), 4)] {
		t := trouble{Mood: caution, What: "TensorDock's answers changed: " + d.Operation, Why: d.Kind + " " + d.Field}
		if d.Stops != "" {
			t.Mood, t.Why = bad, t.Why+"; it stops "+string(d.Stops)
		}
		out = append(out, t)
	}
	return out
}

// ill is about money and containers.
func ill(s *control.Status) (out []trouble) {
	if s.Bill.Warned {
		out = append(out, trouble{
			Mood: bad, What: "The balance falls faster than the books explain", Link: "/money", More: "the money",
			Why: "by " + spent(s.Bill.Excess) + " more than " + spent(s.Bill.Charged) + " since " + stamp(s.Bill.Since),
		})
	}
	if s.Runway > 0 && s.Runway < 24*time.Hour {
		out = append(out, trouble{Mood: bad, What: "The balance lasts " + ago(s.Runway), Why: owned(s.Balance.Balance) + " left at " + rate(s.Reserved) + " reserved; at zero every machine stops", Link: "/money", More: "the money"})
	}
	for i := range s.Containers {
		if c := &s.Containers[i]; c.Alarm != "" {
			out = append(out, trouble{Mood: bad, What: "Container " + c.Name + " needs a person", Why: c.Alarm, Link: policyPath(c.Policy), More: "its policy"})
		}
	}
	return out
}

// lacking are the policies that do not have what they want.
func lacking(s *control.Status) (out []trouble) {
	for i := range s.Policies {
		st := &s.Policies[i]
		if word, m := standingWord(st); m == bad {
			out = append(out, trouble{Mood: bad, What: "Policy " + st.Policy + " is " + word, Why: whyShort(s, st), Link: policyPath(st.Policy), More: "why", Run: command(*s, "explain", st.Policy)})
		}
		if st.Demand != nil {
			for _, p := range st.Demand.Problems {
				out = append(out, trouble{Mood: caution, What: "A signal of policy " + st.Policy + " has no value", Why: p, Link: policyPath(st.Policy), More: "its target"})
			}
		}
	}
	return out
}

// whyShort is the reason on record, of the policy's own or of the whole fleet.
func whyShort(s *control.Status, st *plan.Standing) string {
	for _, name := range []string{st.Policy, ""} {
		for _, h := range s.Holds {
			if h.Policy == name {
				return h.Reason.Text
			}
		}
	}
	if st.Funnel.Offers > 0 {
		return st.Funnel.String()
	}
	return "the next cycles buy"
}

// stops are how to stop it, the gentlest first.
func stops(s *control.Status) []step {
	out := []step{{"Buy, raise and delete nothing for an hour; machines go on running, and costing", command(*s, "pause", "--for", "1h")}}
	return append(
		out,
		step{"Delete every machine, and end every bill", command(*s, "destroy", "--all", "--yes")},
		step{"Go on after either", command(*s, "resume")},
	)
}
