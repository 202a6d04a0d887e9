package notify

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/policy"
)

func rulesOf(sinks ...policy.Sink) policy.Notifications {
	n := policy.Notifications{GroupWait: 30 * time.Second, GroupInterval: 5 * time.Minute, RepeatInterval: 4 * time.Hour, MaxPerHour: 20, Sinks: sinks}
	for i := range n.Sinks {
		if n.Sinks[i].MinSeverity == "" {
			n.Sinks[i].MinSeverity = policy.Info
		}
	}
	return n
}

func missed(name string) Condition {
	return Condition{Event: policy.NotifyTargetMissed, Policy: name, Severity: policy.Warning, Title: name + " lacks 3 of 8 GPUs", Reason: "no_offer: none"}
}

func unread(section string, s policy.NotifySeverity) Condition {
	return Condition{Event: policy.NotifyUnreadable, Detail: section, Severity: s, Title: section + " cannot be read"}
}

func lookOf(cs ...Condition) *Look {
	return &Look{Owner: "main", Mode: policy.Live, Conditions: cs, Now: map[string]string{"train": "train has 8 of 8 GPUs ready"}, Outbids: map[string]int{}}
}

// player plays a story: what is seen when, and what is told for it.
type player struct {
	rules policy.Notifications
	s     State
	now   time.Time
	told  []string // "minute:second sink title"
	// fails are the sinks that take nothing.
	fails map[string]bool
	bodys []string
}

func play(n policy.Notifications) *player {
	return &player{rules: n, now: night, fails: map[string]bool{}}
}

// at steps every half minute, as a clock would, until so long after the start.
func (p *player) at(after time.Duration, l *Look) *player {
	for end := night.Add(after); p.now.Before(end); {
		p.now = p.now.Add(min(30*time.Second, end.Sub(p.now)))
		if p.now.Before(end) {
			p.step(nil)
		}
	}
	p.step(l)
	return p
}

// during has the same look once a minute.
func (p *player) during(from, to time.Duration, l *Look) *player {
	for d := from; d <= to; d += time.Minute {
		p.at(d, l)
	}
	return p
}

func (p *player) step(l *Look) {
	var due []Delivery
	p.s, due = Step(&p.rules, p.s, l, p.now)
	for _, d := range due {
		ok := !p.fails[d.Sink]
		if ok {
			p.told = append(p.told, fmt.Sprintf("%s %s %s", brief(p.now.Sub(night)), d.Sink, strings.TrimPrefix(d.Message.Title, "tdscaler main: ")))
			p.bodys = append(p.bodys, d.Message.Body)
		}
		p.s = Settle(&p.rules, p.s, d.Sink, d.Event, ok, p.now)
	}
}

// restart forgets all but what is on disk.
func (p *player) restart(t *testing.T) *player {
	t.Helper()
	b, err := json.Marshal(p.s)
	if err != nil {
		t.Fatal(err)
	}
	p.s = State{}
	if err := json.Unmarshal(b, &p.s); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatIsToldAndWhen(t *testing.T) {
	ops := policy.Sink{Name: "ops"}
	const m, h = time.Minute, time.Hour
	for _, c := range []struct {
		name string
		plot func(t *testing.T) *player
		want []string
	}{
		{
			"a target that is missed for half an hour, and met again",
			func(*testing.T) *player {
				return play(rulesOf(ops)).during(0, 40*m, lookOf(missed("train"))).during(41*m, 50*m, lookOf())
			},
			[]string{"30m ops train lacks 3 of 8 GPUs", "41m ops over: train lacks 3 of 8 GPUs"},
		},
		{
			"a target that is met before anybody would be told",
			func(*testing.T) *player {
				return play(rulesOf(ops)).during(0, 29*m, lookOf(missed("train"))).during(30*m, 90*m, lookOf())
			},
			nil,
		},
		{
			"what comes and goes within group_wait",
			func(*testing.T) *player {
				p := play(rulesOf(ops)).during(0, 30*m, lookOf(missed("train")))
				p.now = p.now.Add(20 * time.Second)
				p.step(lookOf())
				return p.during(31*m, 60*m, lookOf())
			},
			nil,
		},
		{
			"what belongs together is told together",
			func(*testing.T) *player {
				return play(rulesOf(ops)).during(0, 40*m, lookOf(missed("train"), missed("web"), missed("lab")))
			},
			[]string{"30m ops GPUs missing: lab, train, web"},
		},
		{
			"one more comes group_interval later, with those that go on",
			func(*testing.T) *player {
				return play(rulesOf(ops)).at(0, lookOf(missed("train"))).during(m, 50*m, lookOf(missed("train"), missed("web")))
			},
			[]string{"30m ops train lacks 3 of 8 GPUs", "35m ops GPUs missing: train, web"},
		},
		{
			"what goes on is told again after repeat_interval",
			func(*testing.T) *player { return play(rulesOf(ops)).during(0, 9*h, lookOf(missed("train"))) },
			[]string{"30m ops train lacks 3 of 8 GPUs", "4h30m ops train lacks 3 of 8 GPUs", "8h30m ops train lacks 3 of 8 GPUs"},
		},
		{
			"a restart repeats nothing and loses no recovery",
			func(t *testing.T) *player {
				return play(rulesOf(ops)).during(0, 60*m, lookOf(missed("train"))).restart(t).during(61*m, 90*m, lookOf(missed("train"))).restart(t).during(91*m, 95*m, lookOf())
			},
			[]string{"30m ops train lacks 3 of 8 GPUs", "1h31m ops over: train lacks 3 of 8 GPUs"},
		},
		{
			"a look that cannot judge changes nothing",
			func(*testing.T) *player {
				blind := lookOf()
				blind.Unknown = []policy.NotifyEvent{policy.NotifyTargetMissed}
				return play(rulesOf(ops)).during(0, 15*m, lookOf(missed("train"))).during(16*m, 40*m, blind).during(41*m, 50*m, lookOf(missed("train"))).during(51*m, 55*m, lookOf())
			},
			[]string{"41m ops train lacks 3 of 8 GPUs", "51m ops over: train lacks 3 of 8 GPUs"},
		},
		{
			"what has become worse is told again",
			func(*testing.T) *player {
				return play(rulesOf(ops)).during(0, 40*m, lookOf(unread("hosts", policy.Warning))).during(41*m, 60*m, lookOf(unread("hosts", policy.Critical)))
			},
			[]string{"30m ops hosts cannot be read", "41m ops hosts cannot be read"},
		},
		{
			"a sink that takes nothing less is told of what has become grave, and of its end",
			func(*testing.T) *player {
				return play(rulesOf(policy.Sink{Name: "pager", MinSeverity: policy.Critical})).during(0, 40*m, lookOf(unread("hosts", policy.Warning))).
					during(41*m, 60*m, lookOf(unread("hosts", policy.Critical))).during(61*m, 70*m, lookOf())
			},
			[]string{"41m pager hosts cannot be read", "1h01m pager over: hosts cannot be read"},
		},
		{
			"each sink by its filter",
			func(*testing.T) *player {
				return play(rulesOf(ops, policy.Sink{Name: "web", Policies: []string{"web"}}, policy.Sink{Name: "money", Events: []policy.NotifyEvent{policy.NotifyBill}})).
					during(0, 35*m, lookOf(missed("train"), unread("hosts", policy.Warning)))
			},
			[]string{"30m ops hosts cannot be read", "30m ops train lacks 3 of 8 GPUs", "30m web hosts cannot be read"},
		},
		{
			"a sink that is down is told later, and misses nothing that lasts",
			func(*testing.T) *player {
				p := play(rulesOf(ops))
				p.fails["ops"] = true
				p.during(0, 60*m, lookOf(missed("train")))
				p.fails["ops"] = false
				return p.during(61*m, 70*m, lookOf(missed("train")))
			},
			[]string{"1h ops train lacks 3 of 8 GPUs"},
		},
		{
			"what is over before a sink could be told is not told",
			func(*testing.T) *player {
				p := play(rulesOf(ops))
				p.fails["ops"] = true
				p.during(0, 60*m, lookOf(missed("train"))).at(61*m, lookOf())
				p.fails["ops"] = false
				return p.during(62*m, 70*m, lookOf())
			},
			nil,
		},
		{
			"a pause has the age that the books know",
			func(*testing.T) *player {
				c := Condition{Event: policy.NotifyPaused, Policy: "train", Severity: policy.Warning, Title: "train is paused", From: night.Add(-23 * h)}
				return play(rulesOf(ops)).during(0, 70*m, lookOf(c)).during(71*m, 75*m, lookOf())
			},
			[]string{"1h ops train is paused", "1h11m ops over: train is paused"},
		},
		{
			"outbids are a storm from the eleventh within the hour on, for a quarter of an hour",
			func(*testing.T) *player {
				p := play(rulesOf(ops))
				for i := range 24 {
					l := lookOf()
					l.Outbids["train"] = 1
					p.at(time.Duration(i)*2*m, l)
				}
				return p.during(47*m, 4*h, lookOf())
			},
			[]string{"36m ops 19 machines were outbid within the hour", "1h26m ops over: 19 machines were outbid within the hour"},
		},
		{
			"an adopted machine is told once, and never over",
			func(*testing.T) *player {
				l := lookOf()
				l.Happened = []Condition{{Event: policy.NotifyAdopted, Policy: "train", Detail: "tds-main-train-x", Severity: policy.Info, Title: "tds-main-train-x was found"}}
				return play(rulesOf(ops)).at(0, l).during(m, 5*h, lookOf())
			},
			[]string{"0m ops tds-main-train-x was found"},
		},
		{
			"a sink that leaves the file is told nothing, one that joins is told what goes on",
			func(*testing.T) *player {
				p := play(rulesOf(ops)).during(0, 35*m, lookOf(missed("train")))
				p.rules = rulesOf(policy.Sink{Name: "new"})
				return p.during(36*m, 40*m, lookOf(missed("train"))).during(41*m, 50*m, lookOf())
			},
			[]string{"30m ops train lacks 3 of 8 GPUs", "36m new train lacks 3 of 8 GPUs", "41m new over: train lacks 3 of 8 GPUs"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if p := c.plot(t); !slices.Equal(p.told, c.want) {
				t.Errorf("told %q, want %q", p.told, c.want)
			}
		})
	}
}

func TestNoMoreThanSoManyMessagesAnHourAndTheLateOneSaysSo(t *testing.T) {
	n := rulesOf(policy.Sink{Name: "ops"})
	n.MaxPerHour, n.GroupInterval = 3, time.Second
	p := play(n)
	for i := range 120 { // one condition more with each minute
		var cs []Condition
		for j := range i + 1 {
			c := missed(fmt.Sprintf("p%03d", j))
			c.From = night.Add(-time.Hour)
			cs = append(cs, c)
		}
		p.at(time.Duration(i)*time.Minute, lookOf(cs...))
	}
	var at []time.Duration
	for _, s := range p.told {
		var d time.Duration
		if _, err := fmt.Sscanf(s, "%s", new(string)); err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(s, " ")
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, d)
	}
	if len(at) != 6 || at[3]-at[0] < time.Hour || at[5]-at[2] < time.Hour {
		t.Errorf("told at %v", at)
	}
	if last := p.bodys[3]; !strings.Contains(last, "max_per_hour") || !strings.Contains(last, "and 49 more") {
		t.Errorf("the late message does not say so:\n%s", last)
	}
	if strings.Contains(p.bodys[0], "max_per_hour") {
		t.Errorf("the first message says that it is late:\n%s", p.bodys[0])
	}
}

func TestARecoverySaysHowLongItTookAndWhatThereIsNow(t *testing.T) {
	p := play(rulesOf(policy.Sink{Name: "ops"})).during(0, 40*time.Minute, lookOf(missed("train"))).during(41*time.Minute, 45*time.Minute, lookOf())
	want := "over: train lacks 3 of 8 GPUs (from 2026-03-01 03:00 UTC, for 41m)\nwhy: train has 8 of 8 GPUs ready"
	if len(p.bodys) != 2 || p.bodys[1] != want {
		t.Errorf("%q", p.bodys)
	}
	if !strings.Contains(p.bodys[0], "why: no_offer: none") {
		t.Errorf("%q", p.bodys[0])
	}
}

func TestAClockThatIsSetHoldsNoMessageBack(t *testing.T) {
	p := play(rulesOf(policy.Sink{Name: "ops"})).during(0, 40*time.Minute, lookOf(missed("train")))
	p.now = p.now.Add(-30 * 24 * time.Hour) // a month back
	p.step(lookOf())
	for range 12 {
		p.now = p.now.Add(30 * time.Second)
		p.step(lookOf())
	}
	if len(p.told) != 2 || !strings.Contains(p.told[1], "over: train") {
		t.Errorf("%q", p.told)
	}
}

// TestEveryFiringHasAtMostOneEndAndNothingIsToldWithoutAReason plays random stories, with
// sinks that fail, restarts and messages that take time, and looks at each message.
func TestEveryFiringHasAtMostOneEndAndNothingIsToldWithoutAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rulesOf(policy.Sink{Name: "a"}, policy.Sink{Name: "b", Policies: []string{"train"}})
		n.MaxPerHour = rapid.IntRange(2, 20).Draw(t, "max")
		n.RepeatInterval = rapid.SampledFrom([]time.Duration{20 * time.Minute, 4 * time.Hour}).Draw(t, "repeat")
		all := []Condition{missed("train"), missed("web"), unread("hosts", policy.Warning)}
		var s State
		knows := map[string]map[string]bool{"a": {}, "b": {}} // sink -> key -> told that it fires
		sent := map[string][]time.Time{}
		last := map[string]time.Time{} // sink and event
		now := night
		var flying []Delivery
		settle := func(t *rapid.T, d Delivery) {
			ok := rapid.IntRange(0, 3).Draw(t, "fails") > 0
			if ok {
				for _, i := range d.Message.Items {
					switch i.Status {
					case Firing:
						knows[d.Sink][i.key()] = true
					case Resolved:
						if !knows[d.Sink][i.key()] {
							t.Fatalf("%s is told that %q is over, and never was that it fires", d.Sink, i.Title)
						}
						if !slices.ContainsFunc(d.Message.Items, func(o Item) bool { return o.Status == Firing && o.key() == i.key() }) {
							delete(knows[d.Sink], i.key())
						}
					}
				}
			}
			s = Settle(&n, s, d.Sink, d.Event, ok, now)
		}
		for range rapid.IntRange(10, 200).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.IntRange(5, 600).Draw(t, "seconds")) * time.Second)
			var look *Look
			if rapid.IntRange(0, 3).Draw(t, "look") > 0 {
				var cs []Condition
				for _, c := range all {
					if rapid.IntRange(0, 4).Draw(t, "holds") > 0 {
						cs = append(cs, c)
					}
				}
				look = lookOf(cs...)
				if rapid.IntRange(0, 9).Draw(t, "blind") == 0 {
					look.Unknown = []policy.NotifyEvent{policy.NotifyTargetMissed}
				}
			}
			before, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			next, due := Step(&n, s, look, now)
			again, dueAgain := Step(&n, s, look, now)
			if after, _ := json.Marshal(s); string(after) != string(before) {
				t.Fatal("Step changes its argument")
			}
			if !reflect.DeepEqual(due, dueAgain) || !reflect.DeepEqual(next, again) {
				t.Fatal("Step is not a function of its arguments")
			}
			s = next
			for _, d := range due {
				key := d.Sink + string(d.Event)
				if at, ok := last[key]; ok && now.Sub(at) < n.GroupInterval && d.Message.Status == Firing {
					t.Fatalf("two messages of %s within %s", key, now.Sub(at))
				}
				if len(d.Message.Items) == 0 {
					t.Fatal("an empty message")
				}
				for _, i := range d.Message.Items {
					if i.Policy == "web" && d.Sink == "b" {
						t.Fatal("b is told of web")
					}
				}
				sent[d.Sink] = append(sent[d.Sink], now)
				if k := len(sent[d.Sink]) - n.MaxPerHour - 1; k >= 0 && now.Sub(sent[d.Sink][k]) < time.Hour {
					t.Fatalf("more than %d messages an hour", n.MaxPerHour)
				}
				last[key] = now
				flying = append(flying, d)
			}
			for len(flying) > 0 && rapid.Bool().Draw(t, "arrives") {
				settle(t, flying[0])
				flying = flying[1:]
			}
			if len(flying) == 0 && rapid.IntRange(0, 19).Draw(t, "restart") == 0 {
				b, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				s = State{}
				if err := json.Unmarshal(b, &s); err != nil {
					t.Fatal(err)
				}
			}
		}
		// In the end everything is over, and everybody who was told of it hears so.
		for len(flying) > 0 {
			settle(t, flying[0])
			flying = flying[1:]
		}
		for range 400 {
			now = now.Add(5 * time.Minute)
			var due []Delivery
			s, due = Step(&n, s, lookOf(), now)
			for _, d := range due {
				settle(t, d)
			}
		}
		for sink, keys := range knows {
			if len(keys) > 0 {
				t.Fatalf("%s still believes in %v", sink, keys)
			}
		}
		if _, due := Step(&n, s, lookOf(), now.Add(24*time.Hour)); len(due) > 0 {
			t.Fatalf("a message about nothing: %+v", due)
		}
	})
}
