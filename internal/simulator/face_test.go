package simulator

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

func dig(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, key := range path {
		m, is := v.(map[string]any)
		if !is || m[key] == nil {
			t.Fatalf("no %q of %v in %v", key, path, v)
		}
		v = m[key]
	}
	return v
}

func (f *fixture) deploy(form url.Values) string {
	f.t.Helper()
	status, v := f.call("POST", "/api/v0/client/deploy/single", form)
	id, is := v["server"].(string)
	if status != 200 || v["success"] != true || !is {
		f.t.Fatalf("deploy: %d %v", status, v)
	}
	return id
}

func TestASpotMachineLivesThroughTheRealShape(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	_, hosts := f.call("GET", "/api/v0/client/deploy/hostnodes", url.Values{"minGPUCount": {"1"}})
	if n := dig(t, hosts, "hostnodes", hostA, "specs", "gpu", string(gpu4), "amount"); n != 4.0 {
		t.Errorf("%v GPUs free", n)
	}
	ask := url.Values{"hostnode": {hostA}, "gpu_model": {string(gpu4)}, "gpu_count": {"1"}, "vcpus": {"4"}, "ram": {"16"}, "storage": {"100"}, "price": {"0.39"}}
	if _, v := f.call("POST", "/api/v0/client/spot/validate/new", ask); v["success"] != false || v["min_bid"] != 0.4 {
		t.Errorf("below the floor: %v", v)
	}
	ask.Set("price", "0.40")
	if _, v := f.call("POST", "/api/v0/client/spot/validate/new", ask); v["success"] != true {
		t.Errorf("at the floor: %v", v)
	}
	_, made := f.call("POST", "/api/v0/client/deploy/single", deployForm("m", "0.45"))
	id := dig(t, made, "server").(string)
	if p := dig(t, made, "cost", "total_price"); p != 0.46 {
		t.Errorf("total price %v", p)
	}
	if p := dig(t, made, "port_forwards", "20002"); p != "22" {
		t.Errorf("port 20002 goes to %v", p)
	}
	f.pass(3 * time.Minute)
	_, list := f.call("POST", "/api/v0/client/list", nil)
	vm := dig(t, list, "virtualmachines", id)
	if dig(t, vm, "status") != "Running" || dig(t, vm, "type") != "spot" || dig(t, vm, "cost") != 0.45 {
		t.Errorf("listed as %v", vm)
	}
	_, one := f.call("POST", "/api/v0/client/get/single", url.Values{"server": {id}})
	if dig(t, one, "virtualmachines", "name") != "m" {
		t.Errorf("get: %v", one)
	}
	_, mod := f.call("POST", "/api/v0/client/modify/single", url.Values{"server_id": {id}, "price_type": {"spot"}, "price": {"0.5"}})
	if mod["success"] != true || f.look(id).Bid != market.USD(0, 50) {
		t.Errorf("modify: %v", mod)
	}
	_, bal := f.call("POST", "/api/v0/billing/balance", nil)
	if bal["hourly_cost"] != 0.51 {
		t.Errorf("balance: %v", bal)
	}
	status, again := f.call("GET", "/api/v0/client/start/single", url.Values{"server": {id}})
	if status != 500 || again["error"] != "Machine is running, therefore it cannot be started" {
		t.Errorf("start of what runs: %d %v", status, again)
	}
	if _, v := f.call("POST", "/api/v0/client/stop/single", url.Values{"server": {id}, "disassociate_resources": {"true"}}); v["success"] != true {
		t.Errorf("stop: %v", v)
	}
	status, again = f.call("POST", "/api/v0/client/stop/single", url.Values{"server": {id}})
	if status != 500 || again["error"] != "Machine is stoppeddisassociated, therefore it cannot be stopped" {
		t.Errorf("stop of what is stopped: %d %v", status, again)
	}
	if _, v := f.call("POST", "/api/v0/client/delete/single", url.Values{"server": {id}}); v["success"] != true {
		t.Errorf("delete: %v", v)
	}
	_, gone := f.call("POST", "/api/v0/client/delete/single", url.Values{"server": {id}})
	if gone["success"] != false || !strings.Contains(gone["error"].(string), "already terminated") {
		t.Errorf("delete of what is gone: %v", gone)
	}
}

func TestADeployWithABadParameterIsRefusedAndHasNoEffect(t *testing.T) {
	for name, c := range map[string]struct {
		key, value string
		status     int
	}{
		"odd vcpus":             {"vcpus", "3", 400},
		"no password":           {"password", "", 400},
		"no name":               {"name", "", 400},
		"unknown host":          {"hostnode", "bbbbbbbb-0000-4000-8000-000000000009", 200},
		"unknown model":         {"gpu_model", "nonesuch-pcie-1gb", 200},
		"too many GPUs":         {"gpu_count", "5", 200},
		"no GPU":                {"gpu_count", "0", 400},
		"odd ram":               {"ram", "17", 400},
		"too much RAM":          {"ram", "9998", 200},
		"more than its part":    {"vcpus", "50", 200},
		"unknown system":        {"operating_system", "TempleOS", 400},
		"port that is not free": {"external_ports", "{1, 2}", 400},
		"uneven ports":          {"internal_ports", "{22}", 400},
		"unknown price type":    {"price_type", "auction", 400},
		"price that is none":    {"price", "cheap", 400},
		"bid below the floor":   {"price", "0.10", 200},
	} {
		f := start(t, Options{}, FaceOptions{})
		form := deployForm("m", "0.45")
		form.Set(c.key, c.value)
		status, v := f.call("POST", "/api/v0/client/deploy/single", form)
		if status != c.status || v["success"] == true || v["error"] == nil {
			t.Errorf("%s: %d %v", name, status, v)
		}
		if n := len(f.Fleet()); n != 0 {
			t.Errorf("%s: %d machines", name, n)
		}
	}
}

func TestPortsAreReadInEveryFormThatClientsSend(t *testing.T) {
	for _, form := range []url.Values{
		{"external_ports": {"{20002, 20001}"}, "internal_ports": {"{22, 80}"}},
		{"external_ports": {"[20002,20001]"}, "internal_ports": {"[22,80]"}},
		{"external_ports": {"20002,20001"}, "internal_ports": {"22,80"}},
		{"external_port_22": {"20002"}, "external_port_80": {"20001"}, "internal_port_22": {"22"}},
	} {
		full := deployForm("m", "")
		full.Del("external_ports")
		full.Del("internal_ports")
		for k, v := range form {
			full[k] = v
		}
		f := start(t, Options{}, FaceOptions{IntPorts: true})
		id := f.deploy(full)
		_, list := f.call("POST", "/api/v0/client/list", nil)
		ports := dig(t, list, "virtualmachines", id, "port_forwards").(map[string]any)
		if ports["20002"] != 22.0 || ports["20001"] != 80.0 || len(ports) != 2 {
			t.Errorf("%v gave %v", form, ports)
		}
	}
}

func TestMultipartFormsAndWrongCredentials(t *testing.T) {
	f := start(t, Options{}, FaceOptions{Key: "key", Token: "right"})
	send := func(token string) string {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for k, v := range map[string]string{"api_key": "key", "api_token": token} {
			if err := w.WriteField(k, v); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		resp, err := f.http.Post(base+"/api/v0/auth/test", w.FormDataContentType(), &b)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out bytes.Buffer
		if _, err := out.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := send("right"); !strings.Contains(got, `"success":true`) {
		t.Errorf("good token: %s", got)
	}
	if got := send("wrong"); !strings.Contains(got, `"success":false`) || !strings.Contains(got, `"error"`) {
		t.Errorf("bad token: %s", got)
	}
	if status, _ := f.raw("GET", "/api/v2/instances", nil); status != http.StatusUnauthorized {
		t.Errorf("v2 with a bad token: %d", status)
	}
}
