package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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

func TestAnErrorAfterTheEffectComesInManyWordsAndTheSameOnesForTheSameSeed(t *testing.T) {
	answers := func(plan string) (out []string) {
		f := faulty(t, Real, plan)
		for range 40 {
			status, body := f.raw("POST", deployPath, deployForm("m", "0.5"))
			out = append(out, strconv.Itoa(status)+" "+body)
			if fleet := f.Fleet(); fleet[len(fleet)-1].Status == market.StatusTerminated {
				t.Fatalf("%s: nothing was made", plan)
			} else if err := f.Delete(fleet[len(fleet)-1].ID); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	for plan, c := range map[string]struct {
		part     string
		distinct int
	}{"late500:deploy:1": {`{"error"`, 10}, "late_html:deploy:1": {"<html>", 4}} {
		got := answers(plan)
		distinct := map[string]bool{}
		for _, a := range got {
			distinct[a] = true
			if !strings.Contains(a, c.part) || c.distinct == 10 && !strings.HasPrefix(a, "500 ") {
				t.Errorf("%s: %s", plan, a)
			}
		}
		if len(distinct) < c.distinct {
			t.Errorf("%s: %d different answers in 40", plan, len(distinct))
		}
		if again := answers(plan); !slices.Equal(got, again) {
			t.Errorf("%s: the same seed answers otherwise", plan)
		}
	}
}

func TestAMachinesGPUCountCanBeMissingAndNothingElse(t *testing.T) {
	for _, shape := range []Shape{Real, Seed} {
		f := faulty(t, shape, "no_gpu_count:*:n1-4")
		if _, body := f.raw("GET", "/api/v0/client/deploy/hostnodes", nil); !strings.Contains(body, `"amount":4`) {
			t.Errorf("%s: a host's GPUs are gone: %s", shape, body)
		}
		id := f.deploy(deployForm("m", "0.5"))
		for try := range 2 { // the first of each is struck
			for _, path := range []string{listPath, "/api/v0/client/get/single"} {
				_, body := f.raw("POST", path, url.Values{"server": {id}})
				count := strings.Contains(body, `"gpu":{"amount":1`) || strings.Contains(body, `"count":1`)
				if !strings.Contains(body, string(gpu4)) || !strings.Contains(body, "100") || count != (try == 1) {
					t.Errorf("%s, %s, call %d: %s", shape, path, try+1, body)
				}
			}
		}
	}
}

func TestARenamedMachineKeepsItsNewNameInEveryAnswer(t *testing.T) {
	f := faulty(t, Real, "renamed=Mine now:list:n2,renamed:get:n2")
	var ids []string
	for _, name := range []string{"tds-a", "tds-b"} {
		m, err := f.Deploy(order(name, 1, market.USD(0, 50)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	get := func(id string) any {
		_, v := f.call("POST", "/api/v0/client/get/single", url.Values{"server": {id}})
		return dig(t, v, "virtualmachines", "name")
	}
	f.raw("POST", listPath, nil)
	before := get(ids[0])
	_, body := f.raw("POST", listPath, nil)
	if got := strings.Join(names(t, body), ","); strings.Contains(got, before.(string)) || !strings.Contains(got, "Mine now") || !strings.Contains(got, "tds-") {
		t.Errorf("after the first: %s", got)
	}
	if got := get(ids[0]); got != "My TensorDock Server" { // the second rule strikes this very call
		t.Errorf("get says %v", got)
	}
	if _, body = f.raw("POST", listPath, nil); strings.Contains(body, "Mine now") || !strings.Contains(body, "My TensorDock Server") {
		t.Errorf("after the second: %s", body)
	}
}

func TestOnlyTheAnswerForOneMachineCanBeStrange(t *testing.T) {
	f := faulty(t, Real, "status=Frozen:get:1:0s-1h,empty:list:1:1h-2h,html200:get:0.5:1h-2h,html500:get:1:1h-2h")
	id := f.deploy(deployForm("m", "0.5"))
	get := func() (int, string) { return f.raw("POST", "/api/v0/client/get/single", url.Values{"server": {id}}) }
	list := func() []string {
		_, body := f.raw("POST", listPath, nil)
		return names(t, body)
	}
	if _, body := get(); !strings.Contains(body, `"status":"Frozen"`) || !slices.Equal(list(), []string{"m Starting"}) {
		t.Errorf("a word nobody knows: %s, but the list %v", body, list())
	}
	f.pass(time.Hour)
	if status, body := get(); !strings.Contains(body, "<html>") || len(list()) != 0 {
		t.Errorf("a page: %d %s, while the list shows %v", status, body, list())
	}
	f.pass(time.Hour)
	if status, body := get(); status != 200 || strings.Contains(body, "Frozen") || len(list()) != 1 {
		t.Errorf("afterwards: %d %s, %v", status, body, list())
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
