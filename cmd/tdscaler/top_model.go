package main

import (
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// topView is what top shows.
type topView int

// Views, by their keys.
const (
	viewOverview topView = iota + 1
	viewMachines
	viewMarket
	viewTimeline
	viewHelp
)

// topAsk is what is asked for: no more than a view shows.
type topAsk struct {
	view            topView
	policy, machine string // of the market; whose intents, "" is all
}

// topSeen is an answer.
type topSeen struct {
	ask      topAsk
	at       time.Time
	err      error
	status   control.Status
	machines []control.Machine
	intents  []plan.Intent
	market   control.Market // of ask.policy, in its view
}

// topTick comes every second.
type topTick time.Time

// top is the state of the live view. Update and View are pure but for look, which is
// called as a command.
//
// Invariant: it changes nothing but itself: no key leads to more than a question.
type top struct {
	look    func(topAsk) topSeen
	every   time.Duration
	colours bool

	width, height int // 0 before the terminal has told
	now           time.Time
	seen          topSeen // the last good answer
	trouble       error   // of the last answer; nil if it was good
	asked         time.Time
	asking        bool

	view, before topView // before help
	cursor       map[topView]int
	filter       string
	typing       bool
	detail       string // the machine that is looked at closely; "" is none
	policy       string // whose market is shown
	sort         int    // column of the machines
	reversed     bool
	all          bool // of the offers: of other GPUs and places too
}

func newTop(look func(topAsk) topSeen, every time.Duration, colours bool) *top {
	return &top{look: look, every: every, colours: colours, view: viewOverview, before: viewOverview, cursor: map[topView]int{}}
}

// Init implements tea.Model.
func (m *top) Init() tea.Cmd { return tick(0) }

func tick(after time.Duration) tea.Cmd {
	return tea.Tick(after, func(t time.Time) tea.Msg { return topTick(t) })
}

// Update implements tea.Model.
func (m *top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case topTick:
		m.now = time.Time(msg)
		cmd := tick(min(time.Second, m.every))
		if !m.asking && m.now.Sub(m.asked) >= m.every {
			return m, tea.Batch(cmd, m.ask())
		}
		return m, cmd
	case topSeen:
		return m, m.take(msg)
	case tea.KeyPressMsg:
		return m, m.key(msg.String(), msg.Text)
	}
	return m, nil
}

// ask is the command that asks for what the view shows now.
func (m *top) ask() tea.Cmd {
	m.asking, m.asked = true, m.now
	want := m.wants()
	return func() tea.Msg { return m.look(want) }
}

func (m *top) wants() topAsk { return topAsk{view: m.view, policy: m.policy, machine: m.detail} }

// take shows an answer; what went wrong leaves the one before. What the view has been
// changed to meanwhile is asked for at once.
func (m *top) take(s topSeen) tea.Cmd {
	m.asking, m.trouble = false, s.err
	if s.err == nil {
		m.seen = s
		if m.policy == "" && len(s.status.Policies) > 0 {
			m.policy = s.status.Policies[0].Policy
		}
	}
	if s.at.After(m.now) {
		m.now = s.at
	}
	if s.ask != m.wants() && s.err == nil {
		return m.ask()
	}
	return nil
}

// key does what a key means. text is what it types.
func (m *top) key(key, text string) tea.Cmd {
	if key == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		m.typeFilter(key, text)
		return nil
	}
	was := m.wants()
	switch key {
	case "q":
		return tea.Quit
	case "1", "2", "3", "4":
		m.show(topView(key[0] - '0'))
	case "tab":
		m.show(m.view%viewTimeline + 1)
	case "?":
		m.help()
	case "esc":
		m.back()
	case "/":
		m.typing = m.view != viewOverview && m.view != viewHelp
	case "enter":
		m.enter()
	case "left", "h", "right", "l":
		m.otherPolicy(key == "left" || key == "h")
	case "s":
		m.sort = (m.sort + 1) % len(machineColumns())
	case "S":
		m.reversed = !m.reversed
	case "a":
		m.all, m.cursor[viewMarket] = !m.all, 0
	default:
		m.move(key)
	}
	if m.wants() != was && !m.asking {
		return m.ask()
	}
	return nil
}

func (m *top) show(v topView) {
	if v != m.view {
		m.filter, m.detail = "", ""
	}
	m.view = v
}

func (m *top) help() {
	if m.view == viewHelp {
		m.view = m.before
		return
	}
	m.before, m.view = m.view, viewHelp
}

// back leaves what is innermost.
func (m *top) back() {
	switch {
	case m.view == viewHelp:
		m.view = m.before
	case m.detail != "":
		m.detail = ""
	default:
		m.filter = ""
	}
}

func (m *top) typeFilter(key, text string) {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		r := []rune(m.filter)
		m.filter = string(r[:max(len(r)-1, 0)])
	default:
		m.filter += clean(text)
	}
	m.cursor[m.view] = 0
}

// enter looks closer: at the market of a policy, at a machine.
func (m *top) enter() {
	i := m.cursor[m.view]
	switch m.view {
	case viewOverview:
		if list := worstFirst(&m.seen.status); i < len(list) {
			m.show(viewMarket)
			m.policy = list[i].Policy
		}
	case viewMachines:
		if list := m.machines(); i < len(list) && m.detail == "" {
			m.detail = list[i].Name
		}
	}
}

// otherPolicy shows the market of the policy before, or after.
func (m *top) otherPolicy(back bool) {
	list := m.seen.status.Policies
	i := slices.IndexFunc(list, func(s plan.Standing) bool { return s.Policy == m.policy })
	if m.view != viewMarket || len(list) == 0 {
		return
	}
	if i++; back {
		i += len(list) - 2
	}
	m.policy, m.cursor[viewMarket] = list[i%len(list)].Policy, 0
}

// move moves the cursor.
func (m *top) move(key string) {
	n, i := m.length(), m.cursor[m.view]
	switch key {
	case "up", "k":
		i--
	case "down", "j":
		i++
	case "pgup", "ctrl+b":
		i -= m.page()
	case "pgdown", "ctrl+f", "space":
		i += m.page()
	case "home", "g":
		i = 0
	case "end", "G":
		i = n - 1
	}
	m.cursor[m.view] = max(0, min(i, n-1))
}

// page is how many rows a key that turns pages goes.
func (m *top) page() int { return max(m.height-8, 1) }

// length is how many rows the view has.
func (m *top) length() int {
	switch m.view {
	case viewOverview:
		return len(m.seen.status.Policies)
	case viewMachines:
		return len(m.machines())
	case viewMarket:
		return len(m.offers())
	case viewTimeline:
		return len(m.happened())
	}
	return 0
}

// matches says whether a row has what is filtered for.
func (m *top) matches(text ...string) bool {
	return m.filter == "" || strings.Contains(strings.ToLower(strings.Join(text, " ")), strings.ToLower(m.filter))
}

// machines are those that are shown, in their order.
func (m *top) machines() []control.Machine {
	list := slices.DeleteFunc(slices.Clone(m.seen.machines), func(x control.Machine) bool {
		return !m.matches(x.Name, x.Policy, statusOf(&x), gpus(x.Model, x.Shape), place(&x), x.Host, x.IP)
	})
	by := machineColumns()[m.sort].compare
	slices.SortStableFunc(list, func(a, b control.Machine) int {
		if m.reversed {
			return by(&b, &a)
		}
		return by(&a, &b)
	})
	return list
}

// offers are those that are shown.
func (m *top) offers() []plan.Listing {
	if m.seen.ask.policy != m.policy {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.seen.market.Offers), func(l plan.Listing) bool {
		return !m.all && unlikeWanted(&l) || !m.matches(string(l.Model), l.Location.String(), l.Host, l.Reason.Code)
	})
}

// event is one line of the timeline.
type event struct {
	at                                         time.Time // zero: it holds now
	what, policy, machine, code, text, command string
	style                                      style
}

// happened are the holds of now and the newest intents.
func (m *top) happened() (out []event) {
	for _, h := range m.seen.status.Holds {
		command := "tdscaler plan"
		if h.Policy != "" {
			command = "tdscaler explain " + h.Policy
		}
		out = append(out, event{what: "hold", policy: fleet(h.Policy), machine: h.Machine, code: h.Reason.Code, text: h.Reason.Text, style: caution, command: command})
	}
	for i := range m.seen.intents {
		in := &m.seen.intents[i]
		text := in.Reason.Text
		if in.Detail != "" {
			text += " (" + in.Detail + ")"
		}
		out = append(out, event{at: in.At, what: string(in.Kind) + " " + string(in.State), policy: in.Policy, machine: in.Machine, code: in.Reason.Code, text: text, style: intentStyle(in.State), command: showIntent(in.ID)})
	}
	return slices.DeleteFunc(out, func(e event) bool { return !m.matches(e.what, e.policy, e.machine, e.code, e.text) })
}
