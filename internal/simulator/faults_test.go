package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// faulty is a market with a plan of faults.
func faulty(t *testing.T, shape Shape, plan string) *fixture {
	t.Helper()
	faults, err := ParseFaults(plan)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, Options{}, FaceOptions{Shape: shape, Faults: faults})
}

const deployPath, listPath = "/api/v0/client/deploy/single", "/api/v0/client/list"

func TestAFaultSpoilsADeploysAnswerAndOnlyTheNamedOnesItsEffect(t *testing.T) {
	for plan, c := range map[string]struct {
		status  int    // 0: no answer
		body    string // in the answer
		machine bool   // made all the same
	}{
		"429:deploy:n1":          {429, "Too many", false},
		"429_retry=7:deploy:n1":  {429, "Too many", false},
		"json500:deploy:n1":      {500, `{"error"`, false},
		"html500:deploy:n1":      {500, "<html>", false},
		"html200:deploy:n1":      {200, "<html>", false},
		"auth:deploy:n1":         {200, "Invalid API key", false},
		"lost_request:deploy:n1": {0, "", false},
		"lost:deploy:n1":         {0, "", true},
		"late500:deploy:n1":      {500, `{"error"`, true},
		"late_html:deploy:n1":    {200, "<html>", true},
		"202:deploy:n1":          {202, `"success":true`, true},
		"string_success:*:n1":    {200, `"success":"true"`, true},
		"no_success:deploy:n1":   {200, `"server"`, true},
	} {
		f := faulty(t, Real, plan)
		resp, err := f.send("POST", deployPath, deployForm("m", "0.5"))
		if made := len(f.Fleet()) == 1; made != c.machine {
			t.Errorf("%s: machine made: %v", plan, made)
		}
		if c.status == 0 {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", plan, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", plan, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.Body.Close() != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.body) {
			t.Errorf("%s: %d %s", plan, resp.StatusCode, body)
		}
		if html := strings.Contains(string(body), "<html>"); html != strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: content type %q", plan, resp.Header.Get("Content-Type"))
		}
		if want := map[bool]string{true: "7"}[strings.HasPrefix(plan, "429_retry")]; resp.Header.Get("Retry-After") != want {
			t.Errorf("%s: Retry-After %q", plan, resp.Header.Get("Retry-After"))
		}
		if plan == "no_success:deploy:n1" && strings.Contains(string(body), "success") {
			t.Errorf("success is there: %s", body)
		}
	}
}

func TestASlowAnswerRunsIntoTheCallersDeadlineAfterItsEffect(t *testing.T) {
	f := faulty(t, Real, "slow=5m:deploy:n1")
	ctx, cancel := f.clock.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	form := deployForm("m", "0.5")
	form.Set("api_key", "k")
	form.Set("api_token", "t")
	req, err := http.NewRequestWithContext(ctx, "POST", base+deployPath, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := f.http.Transport.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if len(f.Fleet()) != 1 || f.clock.Now() != epoch.Add(2*time.Minute) {
		t.Errorf("%d machines at %v", len(f.Fleet()), f.clock.Now())
	}
}

// names are what a list's answer shows, in either shape.
func names(t *testing.T, body string) []string {
	t.Helper()
	var v struct{ VirtualMachines json.RawMessage }
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	type vm struct{ Name, Status string }
	var byID map[string]vm
	var list []vm
	if json.Unmarshal(v.VirtualMachines, &byID) != nil && json.Unmarshal(v.VirtualMachines, &list) != nil {
		t.Fatalf("neither map nor list: %s", body)
	}
	for _, m := range byID {
		list = append(list, m)
	}
	var out []string
	for _, m := range list {
		out = append(out, m.Name+" "+m.Status)
	}
	return out
}

func TestAListCanBeEmptyPartialStaleDoubledOrOfUnknownWords(t *testing.T) {
	for _, shape := range []Shape{Real, Seed} {
		for plan, want := range map[string]int{
			"empty:list:n4": 0, "partial:list:n4": 2, "duplicate:list:n4": 5, "stale=2:list:n4": 2, "status=Frozen:list:n4": 4,
		} {
			f := faulty(t, shape, plan)
			var got []string
			for _, name := range []string{"a", "b", "c", "d"} {
				o := order(name, 1, market.USD(0, 50))
				if _, err := f.Deploy(o); err != nil {
					t.Fatal(err)
				}
				_, body := f.raw("POST", listPath, nil)
				got = names(t, body)
			}
			if len(got) != want {
				t.Errorf("%s, %s: %q", shape, plan, got)
			}
			if frozen := strings.HasPrefix(plan, "status"); frozen != strings.Contains(strings.Join(got, ""), "Frozen") {
				t.Errorf("%s, %s: %q", shape, plan, got)
			}
			_, body := f.raw("POST", listPath, nil)
			if got := names(t, body); len(got) != 4 {
				t.Errorf("%s, %s: the next list shows %q", shape, plan, got)
			}
		}
	}
}

func TestHostnodesCanBeEmptyInEitherShape(t *testing.T) {
	for _, shape := range []Shape{Real, Seed} {
		f := faulty(t, shape, "empty:hostnodes:n1")
		if _, body := f.raw("GET", "/api/v0/client/deploy/hostnodes", nil); strings.Contains(body, hostA) {
			t.Errorf("%s: %s", shape, body)
		}
		if _, body := f.raw("GET", "/api/v0/client/deploy/hostnodes", nil); !strings.Contains(body, hostA) {
			t.Errorf("%s: %s", shape, body)
		}
	}
}

func TestATruncatedBodyIsNoJSON(t *testing.T) {
	f := faulty(t, Real, "truncate:list:n1")
	if _, body := f.raw("POST", listPath, nil); json.Valid([]byte(body)) || body == "" {
		t.Errorf("got %q", body)
	}
}

func TestTheBalanceCanBeWrongOrMissing(t *testing.T) {
	f := faulty(t, Real, "bad_balance=-3.5:balance:n1,no_balance:balance:n2")
	if _, v := f.call("POST", "/api/v0/billing/balance", nil); v["balance"] != -3.5 {
		t.Errorf("wrong balance: %v", v)
	}
	if _, v := f.call("POST", "/api/v0/billing/balance", nil); v["balance"] != nil || v["hourly_cost"] != nil {
		t.Errorf("missing balance: %v", v)
	}
}

func TestNumbersCanBeTextsAndGetCanAnswerInTheOldForm(t *testing.T) {
	f := faulty(t, Real, "string_numbers:balance:n1,singular:get:n1")
	if _, v := f.call("POST", "/api/v0/billing/balance", nil); v["balance"] != "500" {
		t.Errorf("balance: %v", v)
	}
	id := f.deploy(deployForm("m", "0.5"))
	_, v := f.call("POST", "/api/v0/client/get/single", url.Values{"server": {id}})
	if dig(t, v, "virtualmachine", "name") != "m" {
		t.Errorf("get: %v", v)
	}
}

func TestThePriceCanMoveBetweenValidationAndDeploy(t *testing.T) {
	f := faulty(t, Real, "price_move=10m:validate:n1")
	form := deployForm("m", "0.5")
	if _, v := f.call("POST", "/api/v0/client/spot/validate/new", form); v["success"] != true {
		t.Fatalf("validation: %v", v)
	}
	if _, v := f.call("POST", deployPath, form); v["success"] != false {
		t.Errorf("deploy after the move: %v", v)
	}
	f.pass(11 * time.Minute)
	f.deploy(form)
}

func TestAMachineCanNeverComeUpByAFault(t *testing.T) {
	f := faulty(t, Real, "never_up:deploy:n1")
	f.deploy(deployForm("m", "0.5"))
	f.pass(5 * time.Hour)
	if m := f.Fleet()[0]; m.Status != market.StatusStarting || !m.NeverComes {
		t.Errorf("machine %+v", m)
	}
}

func TestAFaultStrikesItsCallsItsShareAndItsHours(t *testing.T) {
	failed := func(f *fixture, calls int) (n int) {
		for range calls {
			if status, _ := f.raw("POST", listPath, nil); status != 200 {
				n++
			}
		}
		return n
	}
	for plan, want := range map[string]int{"json500:list:n2-4": 3, "json500:list:n8+": 3, "json500:li*:n1": 1, "json500:get:n1": 0, "json500:*:1": 10} {
		if got := failed(faulty(t, Real, plan), 10); got != want {
			t.Errorf("%s: %d of 10 failed, want %d", plan, got, want)
		}
	}
	if got := failed(faulty(t, Real, "json500:*:0.2"), 1000); got < 150 || got > 250 {
		t.Errorf("a share of 0.2 struck %d of 1000", got)
	}
	f := faulty(t, Real, "json500:list:1:1h-2h")
	before := failed(f, 2)
	f.pass(time.Hour)
	during := failed(f, 2)
	f.pass(time.Hour)
	if after := failed(f, 2); before != 0 || during != 2 || after != 0 {
		t.Errorf("before, during, after: %d %d %d", before, during, after)
	}
}

func TestABadFaultPlanIsRefusedWithItsRule(t *testing.T) {
	for _, plan := range []string{
		"boom:deploy:0.1", "lost:nowhere:0.1", "lost:deploy", "lost:deploy:2", "lost:deploy:0", "lost:deploy:n0", "lost:deploy:n3-2",
		"lost:deploy:0.1:2h", "slow=often:deploy:0.1", "lost:deploy:0.1:x-y", "a:b:c:d:e", "lost:deploy:NaN",
	} {
		if _, err := ParseFaults(plan); !errors.Is(err, ErrFaults) || !strings.Contains(err.Error(), strings.Split(plan, ",")[0]) {
			t.Errorf("%s: %v", plan, err)
		}
	}
	if f, err := ParseFaults(" , "); err != nil || len(f.rules) != 0 {
		t.Errorf("an empty plan: %v", err)
	}
}

func TestLatencyPassesOnTheEnginesClock(t *testing.T) {
	f := start(t, Options{}, FaceOptions{Latency: Latency{Read: time.Second, Write: 10 * time.Second}})
	f.call("POST", listPath, url.Values{})
	if got := f.clock.Now().Sub(epoch); got < 900*time.Millisecond || got > 1100*time.Millisecond {
		t.Errorf("a read took %v", got)
	}
	f.deploy(deployForm("m", ""))
	if got := f.clock.Now().Sub(epoch); got < 10*time.Second || got > 12*time.Second {
		t.Errorf("a read and a write took %v", got)
	}
}
