package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func TestAgesHaveTwoUnitsAtMost(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 12 * time.Second: "12s", time.Minute: "1m", 200 * time.Second: "3m20s", 3 * time.Hour: "3h",
		200 * time.Minute: "3h20m", 24 * time.Hour: "1d", 52*time.Hour + 59*time.Minute: "2d4h", 59*time.Second + 600*time.Millisecond: "1m",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestWhatTheMarketSaysCannotSteerATerminal(t *testing.T) {
	var b bytes.Buffer
	tab := newTable(&b)
	tab.row("a\tb", "\x1b[2Jc\nd", "", "e\u202ef\u0085g")
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != "a?b  ?[2Jc?d  -  e?f?g\n" {
		t.Errorf("%q", got)
	}
}

func TestMoneyOfOursIsRoundedAgainstUs(t *testing.T) {
	if got := owned(market.Some(market.Amount(12_349_999_999))); got != "$12.34" {
		t.Error(got)
	}
	if got := owned(market.Some(market.Amount(-12_341_000_000))); got != "-$12.35" {
		t.Error(got)
	}
	if got := owned(market.Maybe[market.Amount]{}); got != "unknown" {
		t.Error(got)
	}
	if got := spent(12_340_000_001); got != "$12.35" {
		t.Error(got)
	}
}

func TestSSHConfigTakesNoOrdersFromTheMarket(t *testing.T) {
	forward := []market.PortForward{{External: 80, Internal: 8080}, {External: 3022, Internal: 22}}
	for _, c := range []struct {
		name string
		m    plan.Machine
		want string // "" is no Host block
	}{
		{"a port that leads to 22", plan.Machine{IP: "192.0.2.7", User: "ubuntu", Ports: forward}, "Host tds-main-a-xxxxxxxx\n  HostName 192.0.2.7\n  Port 3022\n  User ubuntu\n\n"},
		{"no user", plan.Machine{IP: "host.example", Ports: forward}, "Host tds-main-a-xxxxxxxx\n  HostName host.example\n  Port 3022\n  User user\n\n"},
		{"an address of its own", plan.Machine{API: market.V2, IP: "2001:db8::7"}, "Host tds-main-a-xxxxxxxx\n  HostName 2001:db8::7\n  Port 22\n  User user\n\n"},
		{"no address", plan.Machine{Ports: forward}, ""},
		{"no way to 22", plan.Machine{IP: "192.0.2.7", Ports: forward[:1]}, ""},
		{"an option in the address", plan.Machine{IP: "x\n  ProxyCommand rm", Ports: forward}, ""},
		{"an option in the user", plan.Machine{IP: "192.0.2.7", User: "-oProxyCommand=x", Ports: forward}, ""},
	} {
		m := control.Machine{Machine: c.m}
		m.Name = "tds-main-a-xxxxxxxx"
		got := sshBlock(&m)
		if c.want == "" && (!strings.HasPrefix(got, "# ") || strings.Count(got, "\n") != 2) || c.want != "" && got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestJSONCannotSteerATerminalAndLosesNothing(t *testing.T) {
	const wicked = "\x1b[2J\u009b2J\u202e\u2028\u200b\U000e0001<é>\n"
	var b bytes.Buffer
	if err := printJSON(&b, map[string]string{"x": wicked}); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(b.String(), unprintable); i >= 0 {
		t.Errorf("%q", b.String())
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["x"] != wicked || !strings.Contains(b.String(), "<é>") {
		t.Errorf("%q, %v", back, err)
	}
}

func TestABreakerSaysWhatItStopsAndUntilWhen(t *testing.T) {
	until := time.Date(2026, 4, 1, 12, 30, 0, 0, time.UTC)
	for want, b := range map[string]plan.Breaker{
		"failures, no growth until " + stamp(until):     {Code: "failures", Until: until},
		"second_daemon, no writes at all until resumed": {Code: "second_daemon", All: true},
		"other, no growth until resumed":                {Code: "other"},
	} {
		if got := breakerHolds(&b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
