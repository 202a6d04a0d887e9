package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// sendJSON is a v2 call.
func (f *fixture) sendJSON(method, path, body string) (int, map[string]any) {
	f.t.Helper()
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.http.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		var issues []any
		if json.Unmarshal(b, &issues) != nil {
			f.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
		}
		v = map[string]any{"issues": issues}
	}
	return resp.StatusCode, v
}

func create2(gpus, more string) string {
	return fmt.Sprintf(`{"data":{"type":"virtualmachine","attributes":{"name":"v2","type":"virtualmachine","image":"ubuntu2404",
		"hostnode_id":%q,"resources":{"vcpu_count":4,"ram_gb":16,"storage_gb":100,"gpus":%s},"ssh_key":"ssh-ed25519 x"%s}}}`, hostA, gpus, more)
}

const (
	gpuMap   = `{"rtxa4000-pcie-16gb":{"count":1}}`
	gpuArray = `[{"gpuV0Name":"rtxa4000-pcie-16gb","count":1}]`
	forward  = `,"port_forwards":[{"internal_port":22,"external_port":9}]`
)

func TestAnInstanceLivesThroughV2AndIsSeenThroughV0(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	f.deploy(deployForm("v0", ""))
	status, made := f.sendJSON("POST", "/api/v2/instances", create2(gpuMap, forward))
	id, _ := dig(t, made, "data", "id").(string)
	if status != 201 || id == "" {
		t.Fatalf("create: %d %v", status, made)
	}
	path := "/api/v2/instances/" + id
	if _, v := f.sendJSON("GET", path, ""); v["ipAddress"] != nil {
		t.Errorf("the address is known at once: %v", v)
	}
	f.pass(5 * time.Minute)
	_, one := f.sendJSON("GET", path, "")
	if one["status"] != "running" || one["ipAddress"] == nil || one["rateHourly"] != 1.01 {
		t.Errorf("get: %v", one)
	}
	_, list := f.sendJSON("GET", "/api/v2/instances", "")
	if items := list["data"].([]any); len(items) != 2 {
		t.Errorf("v2 lists %v", items)
	}
	_, list0 := f.call("POST", listPath, nil)
	if vms := dig(t, list0, "virtualmachines").(map[string]any); len(vms) != 2 || vms[id] == nil {
		t.Errorf("v0 lists %v", vms)
	}
	if status, v := f.sendJSON("POST", path+"/start", ""); status != 409 {
		t.Errorf("start of what runs: %d %v", status, v)
	}
	if status, v := f.sendJSON("PUT", path+"/modify", `{"ramGb":32}`); status != 400 {
		t.Errorf("modify of what runs: %d %v", status, v)
	}
	if status, v := f.sendJSON("POST", path+"/stop", ""); status != 200 || dig(t, v, "data", "attributes", "status") != "stopping" {
		t.Errorf("stop: %d %v", status, v)
	}
	if status, v := f.sendJSON("PUT", path+"/modify", `{"ramGb":32,"diskGb":200}`); status != 200 {
		t.Errorf("modify: %d %v", status, v)
	}
	if m := f.look(id); m.Shape.RAM != 32 || m.Shape.Storage != 200 || m.Shape.VCPUs != 4 {
		t.Errorf("modified to %+v", m.Shape)
	}
	if status, v := f.sendJSON("POST", path+"/start", ""); status != 200 {
		t.Errorf("start: %d %v", status, v)
	}
	if status, v := f.sendJSON("DELETE", path, ""); status != 200 {
		t.Errorf("delete: %d %v", status, v)
	}
	if status, v := f.sendJSON("DELETE", path, ""); status != 404 {
		t.Errorf("delete of what is gone: %d %v", status, v)
	}
	if status, v := f.sendJSON("GET", path, ""); status != 404 {
		t.Errorf("get of what is gone: %d %v", status, v)
	}
}

func TestV2RefusesInItsOwnWays(t *testing.T) {
	f := start(t, Options{Scenario: oneHost(Rival{GPUs: 4, OnDemand: true})}, FaceOptions{})
	status, v := f.sendJSON("POST", "/api/v2/instances", create2(gpuMap, ""))
	if status != 400 || v["issues"] == nil {
		t.Errorf("no SSH port: %d %v", status, v)
	}
	status, v = f.sendJSON("POST", "/api/v2/instances", create2(gpuArray, forward))
	if status != 200 || v["status"] != 400.0 || v["error"] == nil {
		t.Errorf("no room: %d %v", status, v)
	}
	if status, v = f.sendJSON("POST", "/api/v2/instances", "{"); status != 400 {
		t.Errorf("no JSON: %d %v", status, v)
	}
}

func TestV2AllowsAHundredCallsAMinute(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	for i := range 100 {
		if status, _ := f.sendJSON("GET", "/api/v2/instances", ""); status != 200 {
			t.Fatalf("call %d: %d", i, status)
		}
	}
	if status, v := f.sendJSON("GET", "/api/v2/instances", ""); status != 429 || v["error"] == nil {
		t.Errorf("call 101: %d %v", status, v)
	}
	f.pass(time.Minute)
	if status, _ := f.sendJSON("GET", "/api/v2/instances", ""); status != 200 {
		t.Errorf("a minute later: %d", status)
	}
}

func TestAPlaceWithoutAHostNamedIsServedByItsCheapest(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	body := strings.Replace(create2(gpuMap, forward), `"hostnode_id":"`+hostA+`"`, `"location_id":"loc-1"`, 1)
	if status, v := f.sendJSON("POST", "/api/v2/instances", body); status != 201 {
		t.Errorf("v2: %d %v", status, v)
	}
	form := deployForm("net", "")
	form.Set("deployment_type", "network")
	form.Set("location", "loc-1")
	form.Set("external_ports", "{20005, 20006}")
	form.Del("hostnode")
	id := f.deploy(form)
	if err := f.Stop(id, true); err != nil {
		t.Fatal(err)
	}
	modify := url.Values{"server_id": {id}, "gpu_model": {string(gpu4)}, "gpu_count": {"2"}, "vcpus": {"8"}, "ram": {"32"}, "storage": {"150"}}
	if _, v := f.call("POST", "/api/v0/client/modify/single", modify); v["success"] != true || f.look(id).Shape.GPUs != 2 {
		t.Errorf("modify on network storage: %v", v)
	}
	local := deployForm("local", "")
	local.Set("external_ports", "{20004, 20003}")
	modify.Set("server_id", f.deploy(local))
	if _, v := f.call("POST", "/api/v0/client/modify/single", modify); v["success"] != false {
		t.Errorf("modify on local storage: %v", v)
	}
}

func TestAnInstantMachineIsUpSooner(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	_, v := f.call("GET", "/api/v0/client/deploy/instantvms", nil)
	vms := dig(t, v, "virtual_machines").(map[string]any)
	var ids []string
	for id := range vms {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	if len(ids) != 2 || len(dig(t, v, "preconfig_options").([]any)) != 2 {
		t.Fatalf("offered: %v", v)
	}
	_, made := f.call("POST", "/api/v0/client/deployinstant/single", url.Values{"name": {"i"}, "instance_uuid": {ids[0]}, "password": {"x"}})
	id, _ := made["server"].(string)
	if made["success"] != true {
		t.Fatalf("deploy: %v", made)
	}
	f.pass(31 * time.Second)
	f.wantStatus(id, market.StatusRunning)
}

func TestContainersAndBillsThroughTheFace(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	_, v := f.call("POST", "/api/v0/client/container/deploy", url.Values{
		"display_name": {"web"}, "image_name": {"nginx"}, "gpu_models": {`["` + string(gpu4) + `"]`}, "gpu_count": {"1"},
		"replicas": {"1"}, "ram": {"16"}, "vcpus": {"4"}, "storage": {"100"}, "max_vm_rate_hourly": {"1.50"},
	})
	id, _ := v["container_id"].(string)
	if _, v = f.call("POST", "/api/v0/client/container/scale", url.Values{"container_id": {id}, "replicas": {"2"}}); v["success"] != true {
		t.Fatalf("scale: %v", v)
	}
	_, v = f.call("GET", "/api/v0/client/container/"+id+"/replicas", nil)
	if rs := v["result"].([]any); len(rs) != 3 || dig(t, rs[0], "rate_hourly") != 1.01 {
		t.Errorf("replicas: %v", v)
	}
	f.pass(time.Hour)
	if _, v = f.call("POST", "/api/v0/client/container/stop", url.Values{"container_id": {id}}); v["success"] != true {
		t.Errorf("stop: %v", v)
	}
	_, v = f.call("POST", "/api/v0/billing/summary", url.Values{"period": {"2026-03"}})
	if got := dig(t, v, "changes", "expenses"); got != "3.03" {
		t.Errorf("expenses %v", got)
	}
	_, next := f.call("POST", "/api/v0/billing/summary", url.Values{"period": {"2026-04"}})
	if end, begin := dig(t, v, "final_balance"), dig(t, next, "previous_balance"); end != begin || end == dig(t, v, "previous_balance") {
		t.Errorf("a month ends with %v, the next begins with %v", end, begin)
	}
	_, v = f.call("POST", "/api/v0/billing/summary", url.Values{"period": {"2026-02"}})
	if got := dig(t, v, "changes", "expenses"); got != "0.00" {
		t.Errorf("expenses of the month before: %v", got)
	}
	for _, path := range []string{"/api/v0/billing/revenue", "/api/v0/auth/list"} {
		if status, v := f.call("POST", path, nil); status != 200 || len(v) == 0 {
			t.Errorf("%s: %d %v", path, status, v)
		}
	}
}

// every operation of both APIs once, in an order that lets each succeed.
func everyOperation(f *fixture, check func(req *http.Request, resp *http.Response, body []byte)) {
	f.t.Helper()
	do := func(method, origin, path, kind, body string) map[string]any {
		req, err := http.NewRequest(method, origin+path, strings.NewReader(body))
		if err != nil {
			f.t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer t")
		resp, err := f.http.Do(req)
		if err != nil {
			f.t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			f.t.Fatal(err)
		}
		check(req, resp, b)
		var v map[string]any
		_ = json.Unmarshal(b, &v) // lists of issues carry no id
		return v
	}
	form := func(method, path string, v url.Values) map[string]any {
		all := url.Values{"api_key": {"k"}, "api_token": {"t"}}
		for k, x := range v {
			all[k] = x
		}
		return do(method, "https://marketplace.tensordock.com", "/api/v0/"+path, "application/x-www-form-urlencoded", all.Encode())
	}
	get := func(path string) map[string]any {
		return do("GET", "https://marketplace.tensordock.com", "/api/v0/"+path+"?api_key=k&api_token=t", "", "")
	}
	v2 := func(method, path, body string) map[string]any {
		return do(method, "https://dashboard.tensordock.com", "/api/v2/"+path, "application/json", body)
	}
	text := func(v any) string { s, _ := v.(string); return s }

	form("POST", "auth/test", nil)
	form("POST", "auth/list", nil)
	get("client/deploy/hostnodes")
	get("client/deploy/hostnodes/" + hostA)
	form("POST", "client/spot/validate/new", url.Values{"price": {"0.5"}, "hostnode": {hostA}, "gpu_model": {string(gpu4)}, "gpu_count": {"1"}})
	form("POST", "client/spot/validate/new", url.Values{"price": {"0.1"}, "hostnode": {hostA}, "gpu_model": {string(gpu4)}, "gpu_count": {"1"}})
	server := url.Values{"server": {text(form("POST", "client/deploy/single", deployForm("m", "0.5"))["server"])}}
	priced := url.Values{"server": server["server"], "price": {"0.6"}}
	form("POST", "client/spot/validate/existing", priced)
	form("POST", "client/modify/single", priced)
	f.pass(time.Hour)
	form("POST", "client/list", nil)
	form("POST", "client/get/single", server)
	form("POST", "client/stop/single", server)
	form("POST", "client/start/single", server)
	form("POST", "client/delete/single", server)
	form("POST", "client/delete/single", server)
	instants, _ := get("client/deploy/instantvms")["virtual_machines"].(map[string]any)
	var offered []string
	for id := range instants {
		offered = append(offered, id)
	}
	sort.Strings(offered)
	form("POST", "client/deployinstant/single", url.Values{"name": {"i"}, "instant_vm": {offered[0]}, "password": {"x"}})
	c := form("POST", "client/container/deploy", url.Values{"name": {"c"}, "image": {"i"}, "gpu_model": {string(gpu4)}, "storage": {"20"}})
	id := text(c["container_id"])
	form("POST", "client/container/scale", url.Values{"container_id": {id}, "replicas": {"1"}})
	get("client/container/" + id + "/replicas")
	form("POST", "client/container/stop", url.Values{"container_id": {id}})
	form("POST", "billing/balance", nil)
	form("POST", "billing/revenue", nil)
	form("POST", "billing/summary", nil)

	made := v2("POST", "instances", create2(gpuArray, forward))
	data, _ := made["data"].(map[string]any)
	path := "instances/" + text(data["id"])
	f.pass(time.Hour)
	v2("GET", "instances", "")
	v2("GET", path, "")
	v2("POST", path+"/stop", "")
	v2("PUT", path+"/modify", `{"ramGb":32}`)
	v2("POST", path+"/start", "")
	v2("DELETE", path, "")
	v2("GET", path, "")
	v2("GET", "locations", "")
	v2("GET", "hostnodes", "")
	v2("GET", "hostnodes/"+hostA, "")
}

func TestEveryOperationAnswersInEitherShape(t *testing.T) {
	for _, shape := range []Shape{Real, Seed} {
		f := start(t, Options{}, FaceOptions{Shape: shape})
		n := 0
		everyOperation(f, func(req *http.Request, resp *http.Response, body []byte) {
			n++
			if resp.StatusCode >= 500 || resp.StatusCode == 404 && req.URL.Path[len(req.URL.Path)-5:] == "ances" || !json.Valid(body) {
				t.Errorf("%s: %s %s: %d %s", shape, req.Method, req.URL.Path, resp.StatusCode, body)
			}
		})
		// A container is scaled by one in the one shape, to one in the other.
		if want := map[Shape]int{Real: 5, Seed: 4}[shape]; n != 35 || len(f.Fleet()) != want {
			t.Errorf("%s: %d calls made %d machines", shape, n, len(f.Fleet()))
		}
	}
}

func TestTheDocumentedShapeSatisfiesTheOpenAPIDocuments(t *testing.T) {
	dir := os.Getenv("TDSCALER_SEEDS")
	if dir == "" {
		t.Skip("TDSCALER_SEEDS is not set")
	}
	var documents []routers.Router
	for _, name := range []string{"marketplace-v0.openapi.yaml", "instances-v2.openapi.yaml"} {
		loader := openapi3.NewLoader()
		doc, err := loader.LoadFromFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		router, err := gorillamux.NewRouter(doc)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, router)
	}
	f := start(t, Options{}, FaceOptions{Shape: Seed})
	checked := map[string]bool{}
	everyOperation(f, func(req *http.Request, resp *http.Response, body []byte) {
		for _, router := range documents {
			route, params, err := router.FindRoute(req)
			if err != nil {
				continue
			}
			checked[route.Operation.OperationID] = true
			input := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
				Status:                 resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
				Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
			}
			if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
				t.Errorf("%s: %d %s: %v", route.Operation.OperationID, resp.StatusCode, body, err)
			}
		}
	})
	if len(checked) != 22+7 {
		t.Errorf("%d operations checked: %v", len(checked), checked)
	}
}

// keysOf are the paths of a JSON value's keys; ids, models and ports are stars.
func keysOf(v any, at string, into map[string]bool) {
	object, is := v.(map[string]any)
	if !is {
		if list, is := v.([]any); is && len(list) > 0 {
			keysOf(list[0], at+"[]", into)
		}
		return
	}
	for k, inner := range object {
		if len(k) == 36 || strings.Contains(k, "gb") && strings.Contains(k, "-") || strings.Trim(k, "0123456789") == "" {
			k = "*"
		}
		into[at+"."+k] = true
		keysOf(inner, at+"."+k, into)
	}
}

// The recorded answers are the yardstick of the real shape: whatever key they
// have, ours has.
func TestTheRealShapeHasEveryKeyOfTheRecordedAnswers(t *testing.T) {
	dir := os.Getenv("TDSCALER_PAYLOADS")
	if dir == "" {
		t.Skip("TDSCALER_PAYLOADS is not set")
	}
	world := oneHost()
	world.Hosts[0].Host.Limits = map[int]market.Restriction{0: {
		VCPUs: market.Some(market.Bounds{Min: 2, Max: 8}), RAM: market.Some(market.Bounds{Min: 2, Max: 8}), Storage: market.Some(market.Bounds{Min: 2, Max: 8}),
	}}
	f := start(t, Options{Scenario: world}, FaceOptions{})
	f.hosts[0].dc = &datacentre{name: "x", tier: 1}
	answers := map[string]map[string]any{}
	everyOperation(f, func(req *http.Request, resp *http.Response, body []byte) {
		var v map[string]any
		if json.Unmarshal(body, &v) == nil && resp.StatusCode < 300 {
			answers[req.Method+" "+req.URL.Path] = v
		}
	})
	for name, c := range map[string]struct {
		call string
		in   []string // where the recorded object stands in our answer
	}{
		"v0_docs_hostnodes.json":             {"GET /api/v0/client/deploy/hostnodes", nil},
		"v0_hostnode_record_southfield.json": {"GET /api/v0/client/deploy/hostnodes", []string{"hostnodes"}},
		"v0_docs_list.json":                  {"POST /api/v0/client/list", nil},
		"v0_vm_record_spot_running.json":     {"POST /api/v0/client/list", []string{"virtualmachines"}},
		"v0_docs_deploy_single.json":         {"POST /api/v0/client/deploy/single", nil},
		"v0_docs_modify_single.json":         {"POST /api/v0/client/modify/single", nil},
		"v0_docs_billing_balance.json":       {"POST /api/v0/billing/balance", nil},
		"v0_docs_billing_summary.json":       {"POST /api/v0/billing/summary", nil},
		"v2_docs_locations.json":             {"GET /api/v2/locations", nil},
		"v2_instance_create_record.json":     {"POST /api/v2/instances", nil},
	} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var recorded any
		if err := json.Unmarshal(raw, &recorded); err != nil {
			t.Fatal(err)
		}
		want, got := map[string]bool{}, map[string]bool{}
		keysOf(recorded, "", want)
		keysOf(dig(t, answers[c.call], c.in...), "", got)
		for key := range want {
			if !got[key] && !strings.Contains(key, "payouts[]") { // the account owns no hosts
				t.Errorf("%s: we have no %s", name, key)
			}
		}
	}
}

func TestParallelClientsOverRealSockets(t *testing.T) {
	e, err := New(Options{Clock: clock.System{}, Seed: 4, Boot: BootModel{Median: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	faults, err := ParseFaults("stale:list:0.2,lost:list:0.05,429:hostnodes:0.1")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(e.Handler(FaceOptions{Faults: faults, Latency: Latency{Read: time.Millisecond, Sigma: 1}}))
	defer srv.Close()
	client := srv.Client()
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				for _, path := range []string{"/api/v0/client/deploy/hostnodes", "/api/v2/locations"} {
					if resp, err := client.Get(srv.URL + path); err == nil {
						_ = resp.Body.Close()
					}
				}
				form := url.Values{"api_key": {"k"}, "api_token": {"t"}}
				if resp, err := client.PostForm(srv.URL+listPath, form); err == nil {
					_ = resp.Body.Close()
				}
				buyAnywhere(e, 0)
				e.Fleet()
			}
		})
	}
	all.Wait()
	if a := e.Account(); a.Balance <= 0 || len(e.Fleet()) == 0 {
		t.Errorf("account %+v", a)
	}
}
