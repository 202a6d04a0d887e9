package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// The least that a terminal must have.
const (
	leastWidth  = 80
	leastHeight = 24
)

// View implements tea.Model.
func (m *top) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	return v
}

// screen is every line of the terminal.
func (m *top) screen() []string {
	switch {
	case m.width == 0:
		return nil
	case m.width < leastWidth || m.height < leastHeight:
		return strings.Split(fmt.Sprintf("%dx%d is too small:\nmake it %dx%d, or\ntdscaler status --watch", m.width, m.height, leastWidth, leastHeight), "\n")
	}
	lines := m.heading()
	foot := m.foot()
	room := m.height - len(lines) - len(foot)
	p := m.pane()
	body := p.fit(room, m.cursor[m.view], m.colours)
	for len(body) < room {
		body = append(body, "")
	}
	return append(append(lines, body...), foot...)
}

// drawing is a table for a part of the screen.
func (m *top) drawing(indent int) (*table, *bytes.Buffer) {
	c := &canvas{}
	t := newTable(c)
	if m.colours {
		t.w = tinted{c}
	}
	t.width = m.width - indent
	return t, &c.Buffer
}

// lines is what fn prints, line by line.
func (m *top) lines(indent int, fn func(*table)) []string {
	t, b := m.drawing(indent)
	fn(t)
	if err := t.flush(); err != nil { // a buffer takes everything
		return []string{err.Error()}
	}
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// heading says which view it is, and how old what it shows.
func (m *top) heading() []string {
	tabs := ""
	for v, name := range []string{"", "1 overview", "2 machines", "3 market", "4 timeline", "? help"} {
		switch {
		case v == 0:
		case topView(v) == m.view:
			tabs += "[" + name + "] "
		default:
			tabs += " " + name + "  "
		}
	}
	return m.lines(0, func(t *table) {
		t.line("tdscaler top  %s", strings.TrimRight(tabs, " "))
		t.say(m.freshness())
	})
}

// freshness says how old what is shown is, and whose it is.
func (m *top) freshness() (style, string) {
	s := &m.seen.status
	switch {
	case m.seen.at.IsZero() && m.trouble != nil:
		return bad, "no answer yet: " + m.trouble.Error()
	case m.seen.at.IsZero():
		return unstyled, "asking ..."
	case m.trouble != nil:
		return bad, "no answer for " + ago(m.now.Sub(m.seen.at)) + ", this is from before: " + m.trouble.Error()
	}
	age := "as of " + ago(m.now.Sub(m.seen.at)) + " ago, "
	if !s.Running {
		return caution, age + "no daemon runs; this is what the ledger knows. " + string(s.Mode) + ", cycle " + cycleState(s, m.now)
	}
	return unstyled, age + "a daemon runs, " + string(s.Mode) + ", cycle " + cycleState(s, m.now)
}

// foot is about what the cursor is on, and the keys.
func (m *top) foot() []string {
	text, command := m.chosen()
	keys := "q quit  ? help  1-4 views  up/down"
	switch {
	case m.typing:
		keys = "filter: " + m.filter + "_   (enter keeps it, esc clears it)"
	case m.detail != "":
		keys = "q quit  ? help  esc back"
	case m.view == viewOverview:
		keys += "  enter: the policy's market"
	case m.view == viewMachines:
		keys += "  enter: more  / filter  s S sort"
	case m.view == viewMarket:
		keys += "  left/right: other policy  / filter  a all"
	case m.view == viewTimeline:
		keys += "  / filter"
	}
	if m.filter != "" && !m.typing {
		keys = "filter: " + m.filter + " (esc clears it)  " + keys
	}
	return m.lines(0, func(t *table) {
		t.line("%s", text)
		t.line("%s", command)
		t.line("%s", keys)
	})
}

// chosen is what there is to say about the row that the cursor is on, and the command to
// type.
func (m *top) chosen() (text, command string) {
	i := m.cursor[m.view]
	switch m.view {
	case viewOverview:
		if list := worstFirst(&m.seen.status); i < len(list) {
			return m.aboutPolicy(&list[i]), "-> tdscaler explain " + list[i].Policy
		}
	case viewMachines:
		if list := m.machines(); m.detail == "" && i < len(list) {
			return list[i].Name + " stands on host " + cmp.Or(list[i].Host, "(not known yet)"), "-> tdscaler protect " + list[i].Name
		}
	case viewMarket:
		if list := m.offers(); i < len(list) {
			return list[i].Reason.Code + ": " + list[i].Reason.Text, "-> tdscaler market --policy " + m.policy + "   (this is host " + hostText(&list[i]) + ")"
		}
	case viewTimeline:
		if list := m.happened(); i < len(list) {
			return list[i].code + ": " + list[i].text, "-> " + list[i].command
		}
	}
	return "", ""
}

func (m *top) aboutPolicy(p *plan.Standing) string {
	for i := range m.seen.status.Short {
		if f := &m.seen.status.Short[i]; f.Policy == p.Policy && f.Reason.Text != "" {
			return p.Policy + ", " + gapText(f) + because(f.Reason.Text)
		}
	}
	if p.Demand != nil {
		return p.Policy + " wants " + plural(p.Demand.GPUs, "GPU") + ": " + p.Demand.Why
	}
	return ""
}

// pane is the part of the screen that changes with the view: rows that the cursor moves
// in, between what stands above and below them.
type pane struct {
	above, rows, below []string
}

// fit is the pane in so many lines. Rows that have no room are left out around the one
// that the cursor is on.
func (p *pane) fit(room, cursor int, colours bool) []string {
	n := max(room-len(p.above), 1)
	if len(p.below) > 0 && len(p.rows) <= n {
		n = len(p.rows)
	}
	from := max(0, min(cursor-n/2, len(p.rows)-n))
	out := slices.Clone(p.above)
	for i := from; i < min(from+n, len(p.rows)); i++ {
		out = append(out, marked(p.rows[i], i == cursor, colours))
	}
	out = append(out, p.below...)
	return out[:min(len(out), room)]
}

// marked is a row with the cursor on it, or not.
func marked(row string, here, colours bool) string {
	switch {
	case !here:
		return "  " + row
	case colours:
		return "\x1b[7m> " + strings.ReplaceAll(row, "\x1b[0m", "\x1b[0m\x1b[7m") + "\x1b[0m"
	}
	return "> " + row
}

// pane is what the view shows.
func (m *top) pane() pane {
	switch {
	case m.view == viewHelp:
		return pane{above: helpLines()}
	case m.seen.at.IsZero():
		return pane{}
	case m.view == viewMachines && m.detail != "":
		return m.machinePane()
	case m.view == viewMachines:
		return m.machinesPane()
	case m.view == viewMarket:
		return m.marketPane()
	case m.view == viewTimeline:
		return m.timelinePane()
	}
	return m.overview()
}

// headed cuts the first line, the heading of columns, off a table; it stands above.
func headed(lines []string, empty string) pane {
	if len(lines) < 2 {
		return pane{above: []string{"  " + empty}}
	}
	return pane{above: []string{"  " + lines[0]}, rows: lines[1:]}
}

func (m *top) overview() pane {
	s := &m.seen.status
	list := worstFirst(s)
	p := headed(m.lines(2, func(t *table) {
		t.row("POLICY", "TARGET", "READY", "BOOTING", "DEAD", "LEAVING", "RESERVED", "STATE")
		for i := range list {
			o := &list[i]
			t.row(o.Policy, o.Target, o.Ready, o.Booting, o.Dead, o.Leaving, o.Before, stateOf(o, s))
		}
	}), "no policies")
	p.above = slices.Concat(m.lines(0, func(t *table) { t.wrong(s, m.now) }), m.lines(0, func(t *table) { m.bars(t, s) }), []string{""}, p.above)
	p.below = m.lines(0, func(t *table) { t.waits(s, m.now) })
	return p
}

// bars prints money as bars.
func (m *top) bars(t *table, s *control.Status) {
	t.row("burn", m.bar(used(market.Amount(s.Reserved), market.Amount(s.HourlyCap))), "now "+s.Burn.String()+", reserved "+s.Reserved.String()+" of "+s.HourlyCap.String())
	fleet := daemon.Budget{Today: s.SpentToday, Month: s.SpentMonth}
	if len(s.Budgets) > 0 {
		fleet = s.Budgets[0]
	}
	m.capped(t, "today", fleet.Today, fleet.Caps.MaxDaily)
	m.capped(t, "month", fleet.Month, fleet.Caps.MaxMonthly)
	t.align()
	t.row("balance", balanceText(s, &fleet))
}

func (m *top) capped(t *table, name string, a market.Amount, limit market.Maybe[market.Amount]) {
	if c, ok := limit.Get(); ok {
		t.row(name, m.bar(used(a, c)), spent(a)+" of "+spent(c))
		return
	}
	t.row(name, shade{text: strings.Repeat(" ", barWidth+7)}, spent(a)+", no cap")
}

// barWidth is the length of a bar, in characters.
const barWidth = 16

// bar is a bar of so many percent.
func (m *top) bar(percent int) shade {
	if percent < 0 {
		return shade{text: strings.Repeat(" ", barWidth+7)}
	}
	full := min(percent*barWidth/100, barWidth)
	text := fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), min(percent, 999))
	return shade{costly(percent, "").style, text}
}

// machineColumn is a column that machines can be sorted by.
type machineColumn struct {
	name    string
	compare func(a, b *control.Machine) int
	cell    func(*control.Machine) any
}

func machineColumns() []machineColumn {
	byText := func(name string, text func(*control.Machine) string) machineColumn {
		return machineColumn{name, func(a, b *control.Machine) int { return strings.Compare(text(a), text(b)) }, func(x *control.Machine) any { return text(x) }}
	}
	status := byText("STATUS", statusOf)
	status.cell = func(x *control.Machine) any { return shaded(statusOf(x), machineStyle) }
	return []machineColumn{
		byText("MACHINE", func(x *control.Machine) string { return x.Name }),
		status,
		{"BURN", func(a, b *control.Machine) int { return -cmp.Compare(a.Burn, b.Burn) }, func(x *control.Machine) any { return x.Burn }},
		{"BID", func(a, b *control.Machine) int { return -cmp.Compare(a.Bid.Or(0), b.Bid.Or(0)) }, func(x *control.Machine) any { return bid(x.Bid.Or(0)) }},
		{"AGE", func(a, b *control.Machine) int { return -cmp.Compare(a.AgeSeconds, b.AgeSeconds) }, func(x *control.Machine) any { return seconds(x.AgeSeconds) }},
		byText("GPUS", func(x *control.Machine) string { return gpus(x.Model, x.Shape) }),
		byText("POLICY", func(x *control.Machine) string { return x.Policy }),
		byText("PLACE", place),
	}
}

func (m *top) machinesPane() pane {
	list, columns := m.machines(), machineColumns()
	return headed(m.lines(2, func(t *table) {
		var names []any
		for i, c := range columns {
			if i == m.sort {
				c.name += map[bool]string{false: "*", true: "*-"}[m.reversed]
			}
			names = append(names, c.name)
		}
		t.row(names...)
		for i := range list {
			var row []any
			for _, c := range columns {
				row = append(row, c.cell(&list[i]))
			}
			t.row(row...)
		}
	}), "no machines")
}

// machinePane is all about one machine, and what was done with it.
func (m *top) machinePane() pane {
	i := slices.IndexFunc(m.seen.machines, func(x control.Machine) bool { return x.Name == m.detail })
	if i < 0 {
		return pane{above: []string{m.detail + " has gone from the books; \"tdscaler ledger list --machine " + m.detail + "\" has its history"}}
	}
	return pane{above: slices.Concat(m.lines(0, func(t *table) { t.about(&m.seen.machines[i], m.now) }), []string{""}, m.lines(0, m.history))}
}

// about prints what is known of a machine.
func (t *table) about(x *control.Machine, now time.Time) {
	t.row("machine", x.Name+", id "+cmp.Or(x.ID, "not known yet"))
	t.row("policy", x.Policy+", "+string(x.Capacity))
	t.row("status", shade{machineStyle(statusOf(x)), statusOf(x) + " for " + ago(now.Sub(x.StatusAt)) + ", ordered " + seconds(x.AgeSeconds) + " ago, outbid " + plural(x.Outbids, "time")})
	t.row("GPUs", gpus(x.Model, x.Shape)+", "+shapeText(x.Shape))
	t.row("host", cmp.Or(x.Host, "-")+", "+cmp.Or(x.Location.String(), "-"))
	t.row("rate", "bid "+bid(x.Bid.Or(0))+", burn "+x.Burn.String()+", reserved "+x.Reserved.String()+", on demand "+maybe(x.ListPrice))
	address := cmp.Or(x.IP, "-")
	if port := sshPort(x); port != 0 && x.IP != "" {
		address += ", ssh -p " + strconv.Itoa(port) + " " + cmp.Or(x.User, "user") + "@" + x.IP
	}
	t.row("address", address)
	t.row("ports", portsText(x.Ports))
	if x.PasswordFile != "" {
		t.row("password", "in "+x.PasswordFile)
	}
	if x.Shield != nil {
		t.row("protected", "by an operator"+because(x.Shield.Reason))
	}
}

// history prints the intents of the machine that is looked at.
func (m *top) history(t *table) {
	if m.seen.ask.machine != m.detail {
		t.line("asking ...")
		return
	}
	t.row("ID", "AGE", "ACTION", "STATE", "BID", "WHY")
	for i := range m.seen.intents {
		in := &m.seen.intents[i]
		t.row(in.ID, ago(m.now.Sub(in.At)), in.Kind, shaded(in.State, intentStyle), bid(in.Bid), in.Reason.Code+": "+in.Reason.Text)
	}
}

func (m *top) marketPane() pane {
	s := &m.seen.status
	if !s.Running {
		return pane{above: []string{"", "  No daemon runs, and to ask TensorDock itself every few seconds would be rude.", "  Once: tdscaler market --policy " + m.policy}}
	}
	if m.seen.ask.view != viewMarket || m.seen.ask.policy != m.policy {
		return pane{above: []string{"", "  asking for the market of " + m.policy + " ..."}}
	}
	k, list := &m.seen.market, m.offers()
	p := headed(m.lines(2, func(t *table) {
		t.row("IN", "CODE", "PER GPU", "BID", "FREE", "MODEL", "PLACE", "HOST")
		for i := range list {
			l := &list[i]
			verdict := shade{unstyled, "out"}
			if l.In {
				verdict = shade{good, "in"}
			}
			t.row(verdict, l.Reason.Code, plain(l.PerGPU), bid(l.Bid), l.Free, l.Model, cmp.Or(l.Location.String(), "-"), hostText(l))
		}
	}), "no offers")
	about := fmt.Sprintf("policy %s: at most %s a GPU; the market was looked at %s ago; %s", m.policy, k.Policy.MaxGPUHour, ago(m.now.Sub(k.LookedAt)), offersText(k.Offers, len(k.Offers)))
	p.above = append(m.lines(0, func(t *table) { t.line("%s", about) }), p.above...)
	return p
}

func (m *top) timelinePane() pane {
	list := m.happened()
	return headed(m.lines(2, func(t *table) {
		t.row("WHEN", "WHAT", "ABOUT", "WHY")
		for i := range list {
			e := &list[i]
			when := "now"
			if !e.at.IsZero() {
				when = ago(m.now.Sub(e.at))
			}
			t.row(when, shade{e.style, e.what}, cmp.Or(e.machine, e.policy), e.code+": "+e.text)
		}
	}), "nothing has happened yet")
}

// helpLines are the keys.
func helpLines() []string {
	var out []string
	for _, l := range [][2]string{
		{"1 2 3 4", "overview, machines, market, timeline; tab is the next"},
		{"up down j k", "move; pgup pgdown g G too"},
		{"enter", "the market of a policy; all about a machine"},
		{"left right h l", "market: of another policy"},
		{"/", "show only what has this text; enter keeps it, esc clears it"},
		{"s S", "machines: sort by the next column, or the other way round"},
		{"a", "market: offers of other GPUs and places too, or not"},
		{"esc", "back"},
		{"?", "these keys, and back"},
		{"q ctrl+c", "end"},
	} {
		out = append(out, "  "+l[0]+strings.Repeat(" ", 16-utf8.RuneCountInString(l[0]))+l[1])
	}
	return append([]string{""}, append(out, "", "  No key changes anything at TensorDock or in the ledger. What there is to do is", "  done by the command below.")...)
}

func showIntent(id uint64) string { return "tdscaler ledger show " + strconv.FormatUint(id, 10) }
