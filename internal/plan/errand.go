package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// ErrandKind is what an errand does.
type ErrandKind string

// Kinds of errand.
const (
	ErrandProbe ErrandKind = "probe"    // does it deliver?
	ErrandReady ErrandKind = "on_ready" // tell that it is ready
	ErrandDrain ErrandKind = "drain"    // ask whether it may go
)

// ErrandKinds lists them.
func ErrandKinds() []ErrandKind { return []ErrandKind{ErrandProbe, ErrandReady, ErrandDrain} }

// Errand is something to be done for one machine between two cycles that is no write
// to the market. What comes of it is a Finding of a later look.
type Errand struct {
	Kind    ErrandKind
	Policy  string
	Machine string
	ID      string
	// Address is host:port of a probe; Problem says why there is none.
	Address string
	Problem string
	User    string // of the machine, as the market names it
	// HostKey is what the machine is known by since it was first met; "" before.
	HostKey string
	Facts   Facts // of a hook
}

// Facts are what a hook is told.
type Facts struct {
	Event    ErrandKind           `json:"event"`
	Text     string               `json:"text"` // the same in a sentence, for people
	Name     string               `json:"name"`
	Policy   string               `json:"policy"`
	ID       string               `json:"id"`
	IP       string               `json:"ip,omitempty"`
	Ports    []market.PortForward `json:"ports"`
	User     string               `json:"user,omitempty"`
	Model    market.GPUModel      `json:"gpu_model,omitempty"`
	GPUs     int                  `json:"gpus"`
	Host     string               `json:"host,omitempty"`
	Location market.Location      `json:"location,omitzero"`
	Capacity market.Capacity      `json:"capacity,omitempty"`
	Rate     market.Rate          `json:"rate_usd_hour"` // all-in
	HostKey  string               `json:"ssh_host_key,omitempty"`
	ReadyAt  time.Time            `json:"ready_at,omitzero"`
	Reason   *Reason              `json:"reason,omitempty"` // of a drain
	GoesBy   time.Time            `json:"goes_by,omitzero"` // of a drain: at the latest
	Delivery string               `json:"delivery"`         // the same each time that the same is told
	Labels   map[string]string    `json:"labels,omitempty"` // of the policy
}

// Finding is what came of an errand.
type Finding struct {
	Kind    ErrandKind `json:"errand"`
	Machine string     `json:"machine"`
	ID      string     `json:"id"`
	At      time.Time  `json:"at"`
	OK      bool       `json:"ok"`
	Veto    bool       `json:"veto,omitempty"` // of a drain: a no, not a failure
	Text    string     `json:"text,omitempty"` // why not, without secrets
	HostKey string     `json:"ssh_host_key,omitempty"`
}

// Tries is what became of the errands of one kind for one machine.
type Tries struct {
	At     time.Time `json:"at,omitzero"`      // of the last one
	Failed int       `json:"failed,omitempty"` // in a row
	Text   string    `json:"text,omitempty"`   // why the last one failed
	DoneAt time.Time `json:"done_at,omitzero"` // of the one that succeeded
}

// A hook that failed is called again after hookFirst, then twice as long each time.
const (
	hookFirst   = 5 * time.Second
	hookLongest = 10 * time.Minute
)

// due says whether a hook is to be called (again).
func (t *Tries) due(now time.Time) bool {
	if !t.DoneAt.IsZero() {
		return false
	}
	return t.Failed == 0 || !now.Before(t.next())
}

func (t *Tries) next() time.Time {
	wait := hookFirst
	for i := 1; i < t.Failed && wait < hookLongest; i++ {
		wait *= 2
	}
	return t.At.Add(min(wait, hookLongest))
}

func (t *Tries) take(f *Finding, at time.Time) {
	t.At, t.Text = at, f.Text
	if f.OK {
		t.Failed, t.DoneAt = 0, at
		return
	}
	t.Failed++
}

func (t *Tries) moments() []*time.Time { return []*time.Time{&t.At, &t.DoneAt} }

// Errands are what is to be done for machines now, by machine and kind.
//
//	probe     it runs, and its policy wants a proof that it has not given yet
//	on_ready  it is ready, and nobody was told
//	drain     it is to go, and whoever is to be asked has not agreed
func (h *History) Errands(policies []policy.Policy, now time.Time) []Errand {
	var out []Errand
	for i := range h.Machines {
		m := &h.Machines[i]
		p := policyOf(policies, m.Policy)
		if p == nil || m.Phase != PhaseLive || m.Status != market.StatusRunning || m.byUs() || m.Renamed != "" {
			continue
		}
		e := Errand{Policy: m.Policy, Machine: m.Name, ID: m.ID, User: m.User, HostKey: m.HostKey}
		switch {
		case m.Unproven:
			if p.Ready.Wanted() && now.Sub(m.Probe.At) >= p.Ready.Interval {
				e.Kind = ErrandProbe
				e.Address, e.Problem = m.reach(p.Ready.Port())
				out = append(out, e)
			}
		case m.Drain != nil:
			paused := h.PausedBy(m.Policy, now)
			if p.Drain.Hook.Kind != "" && m.Drain.Asked.due(now) && (paused == nil || paused.Gentle) {
				e.Kind, e.Facts = ErrandDrain, m.facts(ErrandDrain, p)
				out = append(out, e)
			}
		case p.OnReady.Kind != "" && !m.ReadyAt.IsZero() && m.Told.due(now):
			e.Kind, e.Facts = ErrandReady, m.facts(ErrandReady, p)
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Errand) int {
		return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

func policyOf(policies []policy.Policy, name string) *policy.Policy {
	for i := range policies {
		if policies[i].Name == name {
			return &policies[i]
		}
	}
	return nil
}

// reach is the address under which a port inside the machine can be had from outside,
// or why there is none.
func (m *Machine) reach(port int) (address, problem string) {
	if m.IP == "" {
		return "", "the market gives no address"
	}
	external := m.External(port)
	if external == 0 {
		return "", fmt.Sprintf("no port leads to %d", port)
	}
	host := m.IP
	if strings.Contains(host, ":") {
		host = "[" + m.IP + "]"
	}
	return host + ":" + strconv.Itoa(external), ""
}

// External is the port outside that leads to one inside the machine; 0 where none
// does. A machine with an address of its own has no forwards: every port is itself.
func (m *Machine) External(port int) int {
	for _, p := range m.Ports {
		if p.Internal == port {
			return p.External
		}
	}
	if len(m.Ports) == 0 && m.API == market.V2 {
		return port
	}
	return 0
}

func (m *Machine) facts(kind ErrandKind, p *policy.Policy) Facts {
	f := Facts{
		Event: kind, Name: m.Name, Policy: m.Policy, ID: m.ID, IP: m.IP, Ports: slices.Clone(m.Ports), User: m.User, Model: m.Model, GPUs: m.Shape.GPUs,
		Host: m.Host, Location: m.Location, Capacity: m.Capacity, Rate: m.Reserved, HostKey: m.HostKey, ReadyAt: m.ReadyAt, Labels: p.Labels,
	}
	if f.Ports == nil {
		f.Ports = []market.PortForward{}
	}
	what := fmt.Sprintf("%s of policy %s (%d %s, %s)", m.Name, m.Policy, m.Shape.GPUs, m.Model, m.Reserved)
	f.Text = what + " is ready at " + cmp.Or(m.IP, "an unknown address")
	f.Delivery = strings.Join([]string{m.Name, m.ID, string(kind)}, "/")
	if kind == ErrandDrain {
		f.Reason, f.GoesBy = &m.Drain.Reason, m.Drain.Since.Add(p.Drain.Deadline)
		f.Text = fmt.Sprintf("%s is to be deleted: %s", what, m.Drain.Reason.Text)
		f.Delivery += "/" + m.Drain.Since.UTC().Format(time.RFC3339)
	} else if m.Spared > 0 {
		f.Delivery += "/" + strconv.Itoa(m.Spared)
	}
	return f
}

// findings books what came of errands. One that is about another machine of the same
// name, or older than what is known, says nothing.
func (o *observer) findings() {
	all := slices.Clone(o.l.Findings)
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Kind, b.Kind))
	})
	for i := range all {
		f := &all[i]
		m := o.h.Machine(f.Machine)
		if m == nil || m.ID != f.ID {
			continue
		}
		if t := m.tries(f.Kind); t != nil && f.At.Add(-o.step).After(t.At) && t.DoneAt.IsZero() {
			o.found(m, t, f)
		}
	}
}

// tries are those of one kind; nil where nobody waits for any.
func (m *Machine) tries(k ErrandKind) *Tries {
	switch k {
	case ErrandProbe:
		return &m.Probe
	case ErrandReady:
		return &m.Told
	case ErrandDrain:
		if m.Drain != nil {
			return &m.Drain.Asked
		}
	}
	return nil
}

func (o *observer) found(m *Machine, t *Tries, f *Finding) {
	if f.Kind == ErrandDrain && f.At.Add(-o.step).Before(m.Drain.Since) {
		return // an answer to an earlier question
	}
	t.take(f, f.At.Add(-o.step))
	if m.HostKey == "" {
		m.HostKey = f.HostKey
	}
	switch {
	case f.Kind == ErrandProbe: // told by being ready, and by the holds
	case f.OK:
		o.emit(EventHook, m, "%s was called", f.Kind)
	case f.Veto:
		o.emit(EventVeto, m, "%s says no: %s", f.Kind, f.Text)
	default:
		o.emit(EventHookFailed, m, "%s failed %d times in a row: %s", f.Kind, t.Failed, f.Text)
	}
}

// Waiting counts the machines of a policy by what they wait for.
func (h *History) Waiting(name string, policies []policy.Policy) map[string]int {
	out := map[string]int{"unproven": 0, "untold": 0, "draining": 0}
	p := policyOf(policies, name)
	for i := range h.Machines {
		switch m := &h.Machines[i]; {
		case m.Policy != name || m.byUs() || m.Status != market.StatusRunning:
		case m.Unproven:
			out["unproven"]++
		case m.Drain != nil:
			out["draining"]++
		case p != nil && p.OnReady.Kind != "" && m.Told.DoneAt.IsZero():
			out["untold"]++
		}
	}
	return out
}
