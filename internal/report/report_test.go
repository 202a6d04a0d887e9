package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(hour float64) time.Time {
	return time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC).Add(time.Duration(hour * float64(time.Hour)))
}

func cent(n int64) market.Amount { return market.Amount(n * market.Cent) }

func policies() []policy.Policy {
	return []policy.Policy{
		{Name: "serve", Capacity: market.OnDemand, MaxGPUHour: market.USD(0, 60)},
		{Name: "train", Capacity: market.Spot, MaxGPUHour: market.USD(0, 40), Budget: policy.Budget{MaxDaily: market.Some(cent(4000))}},
	}
}

// share is how a policy stood, having cost so many cents.
func share(name string, target, ready int, why string, spent int64) plan.Share {
	return plan.Share{
		Target: target, Ready: ready, Why: why,
		Total: plan.Total{Policy: name, Amount: cent(spent), OnDemand: cent(2 * spent), Idle: cent(spent / 10), Uncompared: cent(spent / 20)},
	}
}

// night is a day of two policies in which about everything went wrong.
func night() Input {
	in := Input{
		From: at(0), To: at(24), Now: at(24), Owner: "main", Mode: policy.Live, Policies: policies(),
		Budget: policy.Budget{MaxDaily: market.Some(cent(5000)), MaxMonthly: market.Some(cent(90000)), Zone: "Europe/Berlin"},
		Present: Present{
			Burn: market.USD(1, 90), Runway: 50 * time.Hour, SpentMonth: cent(40000), SpentBy: map[string]plan.Spent{"train": {Month: cent(30000)}},
			Reload: "policies.yaml:7: <b>no such key</b> \"max_gpu_our\"", ReloadAt: at(20),
		},
		Costs: []plan.Cost{
			{Day: "2026-03-10", Policy: "serve", Machine: "s", Amount: cent(1300)},
			{Day: "2026-03-10", Policy: "train", Machine: "t", Amount: cent(3300)},
			{Day: "2026-03-10", Policy: "~account", Amount: cent(50)},
			{Day: "2026-03-11", Policy: "train", Machine: "t", Amount: cent(100)},
		},
		Balances: []plan.Balance{{Day: "2026-03-10", Open: cent(20000), Close: cent(25350), Deposits: cent(10000)}, {Day: "2026-03-11", Open: cent(25350), Close: cent(25200)}},
		Outages: []plan.Outage{
			{Policy: "train", Machine: "t1", Host: "host<1>", GPUs: 1, Cause: plan.OutageHost, From: at(15), LastAt: at(16), To: at(16), Rate: market.Some(market.USD(0, 30))},
			{Policy: "train", Machine: "t2", Host: "host<1>", GPUs: 2, Cause: "stopped", From: at(16), LastAt: at(18), Rate: market.Some(market.USD(0, 60))},
		},
		Intents: []plan.Intent{
			{ID: 21, Kind: plan.Delete, Policy: "train", State: plan.IntentConfirmed, At: at(11)},
			{ID: 19, Kind: plan.Deploy, Policy: "train", State: plan.IntentExpired, At: at(9)},
			{ID: 18, Kind: plan.Deploy, Policy: "train", State: plan.IntentUnknown, At: at(8)},
			{ID: 17, Kind: plan.Rebid, Policy: "train", State: plan.IntentConfirmed, At: at(7)},
			{ID: 16, Kind: plan.Deploy, Policy: "serve", State: plan.IntentRefused, At: at(7)},
		},
	}
	for id := range uint64(6) {
		in.Intents = append(in.Intents, plan.Intent{ID: 10 - id, Kind: plan.Rebid, Policy: "train", State: plan.IntentFailed, Detail: "@everyone HTTP 500", At: at(2)})
	}
	in.Cycles = nightly()
	return in
}

// nightly are the cycles of that day, one every five minutes.
func nightly() (out []Cycle) {
	for i := range 24*12 + 2 {
		h := float64(i-1) / 12
		c := Cycle{Number: uint64(100 + i), At: at(h)}
		serve, train := share("serve", 2, 2, "", int64(5*i)), share("train", 8, 8, "", int64(12*i))
		switch {
		case h >= 2 && h < 3:
			train.Ready, train.Why = 3, plan.WhyCeiling
		case h >= 4 && h < 4.5:
			serve.Ready, serve.Why = 0, plan.HoldBudget
		case h >= 6 && h < 6.25:
			train.Ready, train.Why = 7, plan.HoldBooting
		case h >= 8 && h < 9:
			train.Why = plan.HoldPaused
		case h >= 12 && h < 14:
			continue // nobody looked
		case h >= 19 && h < 19.5:
			c.Problem = "the list of hosts: HTTP 500\x1b[31m `<script>alert(1)</script>`"
		case h >= 23:
			train.Ready = 9
		}
		c.Digest = &plan.Digest{Policies: []plan.Share{serve, train, share("~account", 0, 0, "", int64(i))}, Notes: notesAt(i, h)}
		out = append(out, c)
	}
	return out
}

func notesAt(i int, h float64) (out []plan.Notice) {
	if h >= 2 && h < 3 {
		out = append(out, plan.Notice{Kind: plan.EventOutbid, Policy: "train", Machine: fmt.Sprintf("tds-main-train-%d", i)})
	}
	switch i {
	case 40:
		out = append(out, plan.Notice{Kind: plan.EventBreaker, Text: "opened: failures: 5 writes failed within 10m0s"})
	case 50, 60:
		out = append(out, plan.Notice{Kind: plan.EventLost, Policy: "train", Machine: "tds-main-train-x", Text: "gone without our doing"})
	case 70:
		out = append(out, plan.Notice{Kind: plan.EventWasted, Policy: "train", Machine: "tds-main-train-y", Text: "never ran", Intent: 15, Amount: cent(7)})
	}
	return out
}

func TestThePagesAreWhatTheyWere(t *testing.T) {
	r := Make(night())
	for _, c := range []struct {
		file  string
		write func(*bytes.Buffer) error
	}{
		{"night.txt", func(b *bytes.Buffer) error { return r.Write(b, FormatText) }},
		{"night.md", func(b *bytes.Buffer) error { return r.Write(b, FormatMarkdown) }},
		{"night.html", func(b *bytes.Buffer) error { return r.Write(b, FormatHTML) }},
		{"night.json", func(b *bytes.Buffer) error {
			e := json.NewEncoder(b)
			e.SetIndent("", "  ")
			return e.Encode(r)
		}},
	} {
		var b bytes.Buffer
		if err := c.write(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", c.file)
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), b.String()); d != "" {
			t.Errorf("%s (-update writes it anew):\n%s", c.file, d)
		}
	}
}

func TestTheFiguresOfANightAreWhatWasRecorded(t *testing.T) {
	r := Make(night())
	serve, train := r.Policies[0], r.Policies[1]
	gpuHours := func(h float64) plan.Span { return plan.Span(time.Duration(h * float64(time.Hour))) }
	// Nobody looked from 11:55, the last cycle before noon, to 14:00.
	if want := gpuHours(2 * (24 - 2 - 1./12)); serve.Wanted != want || serve.Delivered != want-gpuHours(1) {
		t.Errorf("serve: %+v, want %v", serve, want)
	}
	if want := gpuHours(8 * (24 - 2 - 1./12)); train.Wanted != want || train.Delivered != want-gpuHours(5.25) || train.Above != gpuHours(1) {
		t.Errorf("train: %+v, want %v", train, want)
	}
	// From the cycle of midnight, the second, to that of the next.
	if serve.Spent != cent(5*288) || train.Spent != cent(12*288) || train.Idle <= 0 || train.Outbids != 12 || train.Losses != 2 || train.Starts != 2 || serve.Starts != 0 {
		t.Errorf("%+v\n%+v", serve, train)
	}
	kinds := map[string]int{}
	for _, x := range r.Troubles {
		kinds[x.Kind]++
		if x.Command == "" || x.Text == "" || x.From.IsZero() {
			t.Errorf("%+v", x)
		}
	}
	want := map[string]int{
		Missed: 2, Paused: 1, NoCycle: 1, Market: 1, Outage: 1, Storm: 1, NoAnswer: 1, Failed: 1, Reload: 1, "breaker": 1, "lost": 1, "wasted": 1,
	}
	if d := cmp.Diff(want, kinds); d != "" {
		t.Error(d)
	}
	// Five GPU-hours at 0.40 lost, and one at 0.60; the outages cost 1.50 and missed 5 GPU-hours.
	if x := r.Troubles[0]; x.Kind != Outage || x.Paid != cent(150) || x.Worth != cent(350) {
		t.Errorf("the dearest is %+v", x)
	}
	if x := r.Troubles[1]; x.Kind != Missed || x.Policy != "train" || x.Worth != cent(200) || !x.From.Equal(at(2)) || !x.To.Equal(at(3)) {
		t.Errorf("then comes %+v", x)
	}
	if len(r.Advice) != 3 || !strings.Contains(r.Advice[0], "deposit") {
		t.Errorf("%q", r.Advice)
	}
	if len(r.Missing) != 1 || !strings.Contains(r.Missing[0], "2026-03-10 12:55 to 2026-03-10 15:00") {
		t.Errorf("%q", r.Missing)
	}
}

func TestNothingWrongAndNothingKnownAreSaid(t *testing.T) {
	in := Input{From: at(0), To: at(24), Now: at(30), Owner: "main", Mode: policy.DryRun, Policies: policies()}
	for i := range 24 * 60 {
		in.Cycles = append(in.Cycles, Cycle{Number: uint64(i + 1), At: at(float64(i) / 60), Digest: &plan.Digest{Policies: []plan.Share{share("train", 8, 8, "", int64(i))}}})
	}
	r := Make(in)
	if !strings.HasSuffix(r.Headline, "nothing went wrong") || !strings.Contains(r.Headline, "100.0 %") || r.Money.Now != nil || len(r.Missing) > 0 {
		t.Errorf("%s\n%+v", r.Headline, r)
	}
	in.Cycles = nil
	r = Make(in)
	if !strings.Contains(r.Headline, "no cycle is on record, $0.00") || len(r.Missing) != 1 {
		t.Errorf("%s %q", r.Headline, r.Missing)
	}
	for _, format := range []string{FormatText, FormatMarkdown, FormatHTML} {
		var b bytes.Buffer
		if err := r.Write(&b, format); err != nil || b.Len() == 0 {
			t.Errorf("%s: %v", format, err)
		}
	}
	if err := r.Write(&bytes.Buffer{}, "pdf"); err == nil {
		t.Error("a format that there is not is written")
	}
}

func TestCyclesOfAnOlderVersionAreSaidToBeMissing(t *testing.T) {
	in := night()
	for i := range in.Cycles[:100] {
		in.Cycles[i].Digest = nil
	}
	r := Make(in)
	if !strings.Contains(strings.Join(r.Missing, "\n"), "100 of 266 cycles are of a version that kept less") {
		t.Errorf("%q", r.Missing)
	}
	if got := r.Policies[1].Spent; got != cent(12*(289-100)) {
		t.Errorf("spent %s", got)
	}
}

// TestThePageHoldsNothingToRunOrToFetch reads the HTML back.
func TestThePageHoldsNothingToRunOrToFetch(t *testing.T) {
	r := Make(night())
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	tags := regexp.MustCompile(`<([a-zA-Z0-9]+)([^>]*)>`).FindAllStringSubmatch(b.String(), -1)
	if len(tags) < 100 {
		t.Fatalf("%d tags", len(tags))
	}
	for _, tag := range tags {
		if slices.Contains([]string{"script", "link", "img", "iframe", "object", "a", "form", "b"}, tag[1]) {
			t.Errorf("there is a %s", tag[0])
		}
		if regexp.MustCompile(`\s(on\w+|src|href|srcset|action)\s*=`).MatchString(tag[2]) {
			t.Errorf("%s fetches or runs something", tag[0])
		}
	}
	if s := b.String(); strings.Contains(s, "url(") || strings.Contains(s, "@import") || !strings.Contains(s, "&lt;script&gt;") || b.Len() > 90<<10 {
		t.Errorf("%d bytes, and something to fetch or nothing escaped", b.Len())
	}
}

func TestTextKeepsTo80ColumnsAndNothingMovesTheCursor(t *testing.T) {
	in := night()
	in.Policies = append(in.Policies, policy.Policy{Name: "a-policy-with-a-name-that-is-as-long-as-a-name-may-be-at-all"})
	r := Make(in)
	var text, md bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.Markdown(&md); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(text.String(), "\n") {
		if length(line) > textWidth {
			t.Errorf("%d columns: %s", length(line), line)
		}
	}
	for name, s := range map[string]string{"text": text.String(), "markdown": md.String()} {
		if strings.ContainsAny(s, "\x1b\r\t") {
			t.Errorf("%s holds what a terminal obeys", name)
		}
	}
	if s := md.String(); strings.Contains(s, "@everyone") || strings.Contains(s, "<script>") {
		t.Error("Markdown calls everyone, or holds HTML")
	}
}

// drawn are cycles that anything may have happened in.
func drawn(t *rapid.T) Input {
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	in := Input{From: at(0), To: at(24), Now: at(24 + float64(rnd.IntN(2))), Policies: policies()}
	when, spent := -1.0, [3]int64{}
	whys := []string{"", plan.WhyCeiling, plan.HoldPaused, plan.HoldBooting}
	for n := range rnd.IntN(400) {
		when += []float64{0, 1. / 60, 1. / 12, 3}[rnd.IntN(4)]
		d := &plan.Digest{}
		for i, name := range []string{"gone", "serve", "train"} {
			spent[i] += rnd.Int64N(50)
			d.Policies = append(d.Policies, share(name, rnd.IntN(9), rnd.IntN(12), whys[rnd.IntN(4)], spent[i]))
		}
		if rnd.IntN(20) == 0 {
			d = nil
		}
		in.Cycles = append(in.Cycles, Cycle{Number: uint64(n + 1), At: at(when), Digest: d})
	}
	return in
}

func TestThePoliciesAddUpToTheTotalAndNothingIsMoreThanThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawn(t)
		r := Make(in)
		sum := Line{Policy: "total"}
		for i := range r.Policies {
			l := &r.Policies[i]
			sum.add(l)
			if l.Delivered > l.Wanted || l.Wanted < 0 || l.Above < 0 || l.Spent < 0 || l.Idle > l.Spent || l.Saved != l.OnDemand-(l.Spent-l.Uncompared) {
				t.Fatalf("%+v", l)
			}
			if l.Wanted > plan.Span(8*24*time.Hour) {
				t.Fatalf("%s wanted %v in a day", l.Policy, l.Wanted)
			}
		}
		if d := cmp.Diff(sum, r.Total); d != "" {
			t.Fatal(d)
		}
		for i := 1; i < len(r.Troubles); i++ {
			if r.Troubles[i-1].Worth < r.Troubles[i].Worth {
				t.Fatalf("%+v before %+v", r.Troubles[i-1], r.Troubles[i])
			}
		}
		missed := plan.Span(0)
		for _, x := range r.Troubles {
			if x.Kind == Missed || x.Kind == Paused {
				missed += x.Missed
			}
		}
		if missed > sum.Wanted-sum.Delivered {
			t.Fatalf("%v is told to be missing, of %v", missed, sum.Wanted-sum.Delivered)
		}
		for _, format := range []string{FormatText, FormatMarkdown, FormatHTML} {
			if err := r.Write(&bytes.Buffer{}, format); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestTwoHalvesCostAndDeliverWhatTheWholeDoes cuts a stretch in two at a cycle.
func TestTwoHalvesCostAndDeliverWhatTheWholeDoes(t *testing.T) {
	in := night()
	noon := in.Cycles[100].At
	whole, first, second := in, in, in
	first.To, second.From = noon, noon
	a, b, all := Make(first), Make(second), Make(whole)
	sum := Line{Policy: "total"}
	for _, l := range []*Line{&a.Total, &b.Total} {
		sum.Wanted, sum.Delivered, sum.Spent, sum.Idle = sum.Wanted+l.Wanted, sum.Delivered+l.Delivered, sum.Spent+l.Spent, sum.Idle+l.Idle
	}
	if sum.Wanted != all.Total.Wanted || sum.Delivered != all.Total.Delivered || sum.Spent != all.Total.Spent || sum.Idle != all.Total.Idle {
		t.Errorf("%+v, want %+v", sum, all.Total)
	}
}
