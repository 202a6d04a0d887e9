package simulator

import (
	"errors"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestTheManualNamesEveryFaultAndEveryOperation(t *testing.T) {
	raw, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(string(raw), func(r rune) bool { return strings.ContainsRune(" `|,=\n", r) }) {
		words[w] = true
	}
	for _, op := range operations() {
		if !words[op] {
			t.Errorf("operation %s is not in the manual", op)
		}
	}
	for kind := range FaultKinds() {
		if !words[kind] {
			t.Errorf("fault %s is not in the manual", kind)
		}
	}
}

// FuzzTheMarketTakesWhateverItIsSent holds two readers of text: the plan of faults
// is read or refused, and a request of any kind, under that plan, is answered (or
// lost, where the plan says so) and leaves books that balance.
func FuzzTheMarketTakesWhateverItIsSent(f *testing.F) {
	for _, plan := range []string{"", "html500:deploy:0.05,lost:deploy:n3", "stale=9:li*:n2-4,duplicate:list:1", "status=odd:*:1:1h-3h", "::,a=b:c:d", "slow=40s:*:0.02"} {
		f.Add(plan, "POST", "/api/v0/client/deploy/single", "api_key=k&api_token=t&name=m&hostnode="+hostA+"&gpu_count=-1&external_ports={,}")
		f.Add(plan, "POST", "/api/v0/client/deploy/single", "api_key=k&api_token=t&"+deployForm("m", "1e9").Encode())
	}
	f.Add("", "POST", "/api/v0/client/container/deploy", "api_key=k&api_token=t&name=c&image=i&gpu_model="+string(gpu4)+"&replicas=1000&storage=20")
	f.Add("truncate:*:1", "GET", "/api/v0/client/deploy/hostnodes", "")
	f.Add("", "POST", "/api/v2/instances", create2(gpuArray, forward))
	f.Add("", "PUT", "/api/v2/instances/x/modify", `{"gpus":null}`)
	f.Fuzz(func(t *testing.T, plan, method, path, body string) {
		faults, err := ParseFaults(plan)
		switch {
		case err != nil && !errors.Is(err, ErrFaults):
			t.Fatal(err)
		case err != nil && faults != nil:
			t.Fatal("a plan beside an error")
		}
		if again, err2 := ParseFaults(plan); !reflect.DeepEqual(again, faults) || (err == nil) != (err2 == nil) {
			t.Fatalf("%q is read in two ways", plan)
		}
		if strings.Contains(plan, faultSlow) {
			faults = nil // years may pass
		}
		req, err := http.NewRequest(method, base, strings.NewReader(body))
		if err != nil {
			t.Skip("no request")
		}
		m := start(t, Options{}, FaceOptions{Faults: faults})
		req.URL.Path = path
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "Bearer t")
		resp, err := m.http.Transport.RoundTrip(req)
		if err != nil && faults == nil {
			t.Fatal(err)
		}
		if err == nil {
			if err := resp.Body.Close(); err != nil || resp.StatusCode < 200 {
				t.Fatalf("%d, %v", resp.StatusCode, err)
			}
		}
		if a := m.Account(); a.Spent < 0 || a.Burn < 0 {
			t.Fatalf("account %+v", a)
		}
		checkBooks(t, m.Engine)
	})
}
