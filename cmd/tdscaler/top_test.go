package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// viewing is a live view whose desk is a function, and what that was asked.
type viewing struct {
	*top
	t     *testing.T
	asked []topAsk
	err   error
	away  bool // no daemon runs
}

// openTop is a view of a bad night, after its first answer.
func openTop(t *testing.T) *viewing {
	t.Helper()
	s := &viewing{t: t}
	s.top = newTop(s.answer, 2*time.Second, false)
	s.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	s.send(topTick(three))
	return s
}

func (s *viewing) answer(want topAsk) topSeen {
	s.asked = append(s.asked, want)
	out := topSeen{ask: want, at: s.now, err: s.err, status: *badNight(), machines: nightMachines(), intents: nightIntents()}
	out.status.Running = !s.away
	if want.view == viewMarket && !s.away {
		out.market = nightMarket(want.policy)
	}
	return out
}

// send gives the view a message, and its questions their answers. Ticks are the test's.
func (s *viewing) send(msg tea.Msg) {
	s.t.Helper()
	_, cmd := s.Update(msg)
	for _, one := range commandsOf(cmd) {
		if answer, ok := one.(topSeen); ok {
			s.send(answer)
		}
	}
}

// commandsOf runs what a command holds, but for ticks, which take their time.
func commandsOf(cmd tea.Cmd) (out []tea.Msg) {
	if cmd == nil {
		return nil
	}
	done := make(chan tea.Msg, 1)
	go func() { done <- cmd() }()
	select {
	case msg := <-done:
		if batch, ok := msg.(tea.BatchMsg); ok {
			for _, c := range batch {
				out = append(out, commandsOf(c)...)
			}
			return out
		}
		return []tea.Msg{msg}
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// press presses keys by their names; a name of one letter types it.
func (s *viewing) press(keys ...string) {
	s.t.Helper()
	codes := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "tab": tea.KeyTab, "backspace": tea.KeyBackspace, "end": tea.KeyEnd, "home": tea.KeyHome}
	for _, k := range keys {
		if c, ok := codes[k]; ok {
			s.send(tea.KeyPressMsg{Code: c})
			continue
		}
		s.send(tea.KeyPressMsg{Code: []rune(k)[0], Text: k})
	}
}

// sgr is what colours text.
var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// shows demands that the screen has lines like these, in this order, and fits.
func (s *viewing) shows(want ...string) {
	s.t.Helper()
	lines := s.screen()
	if len(lines) > s.height {
		s.t.Errorf("%d lines on a screen of %d", len(lines), s.height)
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(sgr.ReplaceAllString(l, "")); n > s.width && !strings.HasPrefix(l, "  ") {
			s.t.Errorf("%d characters on a screen of %d: %q", n, s.width, l)
		}
	}
	i := 0
	for _, w := range want {
		for i < len(lines) && !strings.Contains(lines[i], w) {
			i++
		}
		if i == len(lines) {
			s.t.Fatalf("no %q (after what stands before it) on\n%s", w, strings.Join(lines, "\n"))
		}
	}
}

func (s *viewing) hides(unwanted ...string) {
	s.t.Helper()
	all := strings.Join(s.screen(), "\n")
	for _, u := range unwanted {
		if strings.Contains(all, u) {
			s.t.Errorf("%q is on\n%s", u, all)
		}
	}
}

func nightMachines() []control.Machine {
	one := func(name, policy string, s market.Status, cents int64, age time.Duration) control.Machine {
		return control.Machine{Machine: plan.Machine{
			Name: name, Policy: policy, ID: "id-" + name, Phase: plan.PhaseLive, Status: s, SeenAt: three, StatusAt: three.Add(-age), Host: "host-of-" + name, Model: "rtx4090", Shape: market.Shape{GPUs: 2, VCPUs: 8, RAM: 32, Storage: 200},
			Capacity: market.Spot, Bid: market.Some(market.USD(0, cents)), Reserved: market.USD(0, cents+2), IP: "10.0.0.7", User: "user", Ports: []market.PortForward{{External: 30022, Internal: 22}}, Location: market.Location{City: "Oslo", Country: "Norway"},
		}, Burn: market.USD(0, cents+1), AgeSeconds: int64(age / time.Second)}
	}
	return []control.Machine{
		one("tds-main-serve-aaaaaaaa", "serve", market.StatusStarting, 88, 21*time.Minute),
		one("tds-main-train-bbbbbbbb", "train", market.StatusRunning, 40, 5*time.Hour),
		one("tds-main-train-cccccccc", "train", market.StatusOutbid, 44, 30*time.Hour),
	}
}

func nightIntents() []plan.Intent {
	return []plan.Intent{
		{ID: 31, At: three.Add(-time.Minute), Kind: plan.Deploy, State: plan.IntentRefused, Policy: "train", Machine: "tds-main-train-dddddddd", Reason: plan.Reason{Code: plan.ReasonBelowTarget, Text: "6 of 8 GPUs"}, Detail: "no capacity"},
		{ID: 30, At: three.Add(-time.Hour), Kind: plan.Rebid, State: plan.IntentConfirmed, Policy: "train", Machine: "tds-main-train-cccccccc", Bid: market.USD(0, 44), Reason: plan.Reason{Code: plan.ReasonOutbid, Text: "outbid at $0.41/h"}},
	}
}

func nightMarket(name string) control.Market {
	offer := func(host, code string, in bool) plan.Listing {
		var l plan.Listing
		l.Host, l.Model, l.In, l.Free, l.PerGPU = host, "rtx4090", in, 4, market.Some(market.USD(0, 39))
		l.Reason = plan.Reason{Code: code, Text: "of " + host}
		return l
	}
	return control.Market{LookedAt: three.Add(-12 * time.Second), Policy: policy.Policy{Name: name, MaxGPUHour: market.USD(0, 40)}, Offers: []plan.Listing{offer("good-host", "in", true), offer("dear-host", plan.OfferCeiling, false), offer("far-host", plan.OfferPlace, false)}}
}

func TestTheOverviewTellsWhatIsWrongMoneyFleetAndWaits(t *testing.T) {
	s := openTop(t)
	want := `tdscaler top  [1 overview]  2 machines   3 market   4 timeline   ? help
as of 0s ago, a daemon runs, live, cycle 12s ago, next in 48s
breaker  never_up, no growth until resumed: 3 machines in a … -> tdscaler resume
paused   batch: paused 2h ago, until resumed: the data… -> tdscaler resume batch
burn   [#############...]  87%  now $3.1200/h, reserved $3.4500/h of $4.0000/h
today  [################] 105%  $21.00 of $20.00
month  [############....]  78%  $312.00 of $400.00
balance  $14.00 (min_balance $5), lasts 4h at what is reserved -> tdscaler cost

  POLICY  TARGET  READY  BOOTING  DEAD  LEAVING  RESERVED   STATE
> train   8       4      2        2     0        $1.9600/h  short 2
  serve   2       1      1        0     0        $0.8800/h  booting
  batch   2       2      0        0     0        $0.6100/h  paused

WAITS  SINCE  UNTIL      CODE                 FOR WHAT
train  4m     in 6m      waiting_for_answer   tds-main-train-2h5f6c7d: an order…
serve  21m    next look  waiting_for_machine  tds-main-serve-9c4k2m8p: starting…
(all)  -      in 3m      hosts_left_alone     4 hosts are left alone after they…
not done: protected (1); "tdscaler plan" says why


train, short 2: every offer is above the ceiling
-> tdscaler explain train
q quit  ? help  1-4 views  up/down  enter: the policy's market`
	if got := strings.Join(s.screen(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if v := s.View(); !v.AltScreen || v.Content != want {
		t.Error("the view is not the screen, on the other screen")
	}
	s.press("j")
	s.shows("> serve", "-> tdscaler explain serve")
	s.press("down", "down", "down", "k")
	s.shows("> serve")
}

func TestMachinesAreSortedFilteredAndLookedAtClosely(t *testing.T) {
	s := openTop(t)
	s.press("2")
	s.shows("MACHINE*", "> tds-main-serve-aaaaaaaa  starting  $0.8900/h  $0.8800/h  21m", "  tds-main-train-bbbbbbbb", "  tds-main-train-cccccccc", "-> tdscaler protect tds-main-serve-aaaaaaaa")
	s.press("s", "s") // by burn, the dearest first
	s.shows("BURN*", "aaaaaaaa", "cccccccc", "bbbbbbbb")
	s.press("S")
	s.shows("BURN*-", "bbbbbbbb", "cccccccc", "aaaaaaaa")
	s.press("/", "O", "u", "x", "backspace", "t", "q") // while typing, q is a letter
	s.shows("no machines", "filter: Outq_")
	s.press("backspace", "enter")
	s.shows("> tds-main-train-cccccccc", "filter: Out (esc clears it)")
	s.hides("aaaaaaaa", "bbbbbbbb")
	s.press("enter")
	s.shows("machine  tds-main-train-cccccccc, id id-", "status   outbid for 1d6h", "host     host-of-", "rate     bid $0.4400/h, burn $0.4500/h", "ssh -p 30022 user@10.0.0.7", "30  1h", "rebid", "outbid: outbid at $0.41/h")
	if last := s.asked[len(s.asked)-1]; last != (topAsk{view: viewMachines, policy: "batch", machine: "tds-main-train-cccccccc"}) {
		t.Errorf("asked for %+v", last)
	}
	s.press("esc")
	s.shows("> tds-main-train-cccccccc")
	s.press("esc")
	s.shows("aaaaaaaa")
}

func TestTheMarketOfAPolicySaysWhyOffersAreOut(t *testing.T) {
	s := openTop(t)
	s.press("enter") // on train, which is worst off
	s.shows("policy train: at most $0.4000/h a GPU; the market was looked at 12s ago", "> in   in", "  out  ceiling", "in: of good-host", "-> tdscaler market --policy train   (this is host good-host)")
	s.hides("far-host")
	s.press("a", "end")
	s.shows("> out  place", "place: of far-host")
	s.press("right")
	s.shows("policy batch:") // after train, from the beginning
	s.press("left")
	s.shows("policy train:")
}

func TestWithoutADaemonTheMarketIsNotAskedFor(t *testing.T) {
	s := openTop(t)
	s.away = true
	s.send(topTick(three.Add(2 * time.Second)))
	s.shows("no daemon runs; this is what the ledger knows")
	s.press("3")
	s.shows("No daemon runs", "Once: tdscaler market --policy batch")
}

func TestTheTimelineHoldsWhatIsNotDoneAndWhatWas(t *testing.T) {
	s := openTop(t)
	s.press("4")
	s.shows("WHEN", "> now   hold", "deploy refused", "rebid confirmed")
	s.press("end", "up")
	s.shows("> 1m    deploy refused", "below_target: 6 of 8 GPUs (no capacity)", "-> tdscaler ledger show 31")
	s.press("/", "r", "e", "b", "enter")
	s.hides("deploy refused", "hold ")
}

func TestItAsksByTheClockAndSaysHowOldTheAnswerIs(t *testing.T) {
	s := openTop(t)
	asked := len(s.asked)
	s.send(topTick(three.Add(time.Second)))
	s.shows("as of 1s ago")
	if len(s.asked) != asked {
		t.Error("it asks again after a second")
	}
	s.send(topTick(three.Add(2 * time.Second)))
	s.shows("as of 0s ago")
	if len(s.asked) != asked+1 {
		t.Errorf("%d questions, want %d", len(s.asked), asked+1)
	}
	s.err = errors.New("the daemon hung up")
	s.send(topTick(three.Add(4 * time.Second)))
	s.send(topTick(three.Add(5 * time.Second)))
	s.shows("no answer for 3s, this is from before: the daemon hung up", "> train")
	s.err = nil
	s.send(topTick(three.Add(6 * time.Second)))
	s.shows("as of 0s ago, a daemon runs")
}

func TestAnAnswerThatIsSlowIsNotAskedForTwice(t *testing.T) {
	m := newTop(func(topAsk) topSeen { t.Fatal("nobody runs the command"); return topSeen{} }, 2*time.Second, false)
	m.Update(topTick(three))
	if !m.asking {
		t.Fatal("it does not ask at first")
	}
	for i := range 10 {
		at := three.Add(time.Duration(i) * time.Minute)
		if m.Update(topTick(at)); !m.asked.Equal(three) {
			t.Fatalf("asked again at %s, without an answer", at)
		}
	}
}

func TestNoKeyAsksForMoreThanToLook(t *testing.T) {
	s := openTop(t)
	for _, v := range []string{"1", "2", "3", "4", "?"} {
		for r := rune(33); r < 127; r++ {
			if r == 'q' {
				continue
			}
			s.press("esc", "esc", v, string(r), "enter", "esc")
		}
	}
	for _, a := range s.asked { // all that the desk hears; see lookAround for what it does
		if a.view < viewOverview || a.view > viewHelp {
			t.Fatalf("asked %+v", a)
		}
	}
}

func TestTooSmallATerminalIsToldSoAndAResizeHelps(t *testing.T) {
	s := openTop(t)
	s.send(tea.WindowSizeMsg{Width: 79, Height: 24})
	s.shows("79x24 is too small", "make it 80x24")
	s.hides("train")
	for _, size := range [][2]int{{80, 24}, {80, 60}, {200, 24}, {500, 200}} {
		s.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for _, v := range []string{"1", "2", "3", "4", "?"} {
			s.press(v)
			if got := len(s.screen()); got != size[1] {
				t.Errorf("view %s at %v has %d lines", v, size, got)
			}
		}
		s.press("esc")
	}
}

func TestTheCursorStaysInSightInALongList(t *testing.T) {
	p := pane{above: []string{"HEAD"}}
	for i := range 100 {
		p.rows = append(p.rows, fmt.Sprint("row", i))
	}
	for _, c := range []int{0, 3, 50, 98, 99} {
		got := p.fit(10, c, false)
		if len(got) != 10 || got[0] != "HEAD" || !strings.Contains(strings.Join(got, "|")+"|", fmt.Sprintf("> row%d|", c)) {
			t.Errorf("cursor at %d: %q", c, got)
		}
	}
	few := pane{above: []string{"HEAD"}, rows: []string{"a", "b"}, below: []string{"tail"}}
	if got := few.fit(10, 1, false); !reflect.DeepEqual(got, []string{"HEAD", "  a", "> b", "tail"}) {
		t.Errorf("%q", got)
	}
}

func TestColoursAreOnlyWhereTheyAreWanted(t *testing.T) {
	s := openTop(t)
	if all := strings.Join(s.screen(), "\n"); strings.Contains(all, "\x1b") {
		t.Errorf("without colours: %q", all)
	}
	s.colours = true
	s.shows("\x1b[7m> train", "\x1b[33mpaused\x1b[0m")
}

func TestQAndCtrlCEndIt(t *testing.T) {
	for _, k := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: 'c', Mod: tea.ModCtrl}} {
		s := openTop(t)
		_, cmd := s.Update(k)
		if got := commandsOf(cmd); !reflect.DeepEqual(got, []tea.Msg{tea.QuitMsg{}}) {
			t.Errorf("%s: %v", k, got)
		}
	}
	s := openTop(t)
	s.press("2", "/")
	if _, cmd := s.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}); !reflect.DeepEqual(commandsOf(cmd), []tea.Msg{tea.QuitMsg{}}) {
		t.Error("ctrl+c does not end it while a filter is typed")
	}
}

// deskOfTop answers for a daemon that runs or does not, and counts looks at the market.
type deskOfTop struct {
	running bool
	looks   int
}

func (d *deskOfTop) Status(context.Context, control.StatusRequest) (control.Status, error) {
	return control.Status{Running: d.running}, nil
}

func (d *deskOfTop) Machines(context.Context, control.MachinesRequest) ([]control.Machine, error) {
	return nightMachines(), nil
}

func (d *deskOfTop) Intents(_ context.Context, r control.IntentsRequest) ([]plan.Intent, error) {
	return []plan.Intent{{Machine: r.Machine}}, nil
}

func (d *deskOfTop) Market(_ context.Context, r control.MarketRequest) (control.Market, error) {
	d.looks++
	return nightMarket(r.Policy), nil
}

func TestTheMarketIsLookedAtInItsViewAloneAndOnlyThroughADaemon(t *testing.T) {
	for _, c := range []struct {
		ask     topAsk
		running bool
		looks   int
	}{
		{topAsk{view: viewMarket, policy: "train"}, true, 1},
		{topAsk{view: viewMarket, policy: "train"}, false, 0}, // each would be one at TensorDock
		{topAsk{view: viewMarket}, true, 0},
		{topAsk{view: viewMachines, policy: "train", machine: "m"}, true, 0},
	} {
		d, s := &deskOfTop{running: c.running}, topSeen{ask: c.ask}
		if err := s.from(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if d.looks != c.looks || s.market.Policy.Name != strings.Repeat("train", c.looks) {
			t.Errorf("%+v: %d looks, of %q", c, d.looks, s.market.Policy.Name)
		}
		if len(s.machines) != 3 || s.intents[0].Machine != c.ask.machine {
			t.Errorf("%+v: %+v", c, s)
		}
	}
}
