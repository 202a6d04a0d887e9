package web

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func ready(name, policy string) plan.Machine {
	return plan.Machine{
		Name: name, Policy: policy, ID: "id-" + name, API: market.V0, Phase: plan.PhaseLive, Status: market.StatusRunning, Capacity: market.Spot,
		Host: "h", Model: "rtxa5000-pcie-24gb", Shape: market.Shape{GPUs: 2}, Location: market.Location{Country: "Norway", City: "Bodø"},
		IP: "203.0.113.7", Ports: []market.PortForward{{External: 30022, Internal: 22}, {External: 30910, Internal: 9100}},
	}
}

func discovering(machines []plan.Machine, seen bool) Options {
	return Options{
		Gatherer: prometheus.NewRegistry(),
		Machines: func() ([]plan.Machine, []policy.Policy, bool) {
			return machines, []policy.Policy{{Name: "train", Labels: map[string]string{"team": "research"}}}, seen
		},
	}
}

func discovered(t *testing.T, o Options, query string, header ...string) (*httptest.ResponseRecorder, []group) {
	t.Helper()
	r := httptest.NewRequest("GET", "/api/v1/sd"+query, nil)
	for _, h := range header {
		r.Header.Add("If-None-Match", h)
	}
	w := httptest.NewRecorder()
	Handler(o).ServeHTTP(w, r)
	var out []group
	if w.Code == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out == nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return w, out
}

func TestPrometheusIsToldOfReadyMachinesUnderTheirOuterPorts(t *testing.T) {
	unproven, outbid, leaving, hidden := ready("c", "train"), ready("d", "train"), ready("e", "train"), ready("f", "train")
	unproven.Unproven, outbid.Status, leaving.Leaving, hidden.IP = true, market.StatusOutbid, &plan.PendingDelete{}, ""
	six := ready("g", "other")
	six.API, six.Ports, six.IP, six.Drain = market.V2, nil, "2001:db8::1", &plan.Drain{}
	o := discovering([]plan.Machine{six, ready("b", "train"), ready("a", "other"), unproven, outbid, leaving, hidden}, true)
	for query, want := range map[string]string{
		"?port=9100":                           "203.0.113.7:30910 203.0.113.7:30910 [2001:db8::1]:9100",
		"?port=22&policy=train":                "203.0.113.7:30022",
		"?port=22&policy=train&policy=nothing": "203.0.113.7:30022",
		"?port=9400":                           "[2001:db8::1]:9400",
		"?port=9400&policy=train":              "",
	} {
		w, got := discovered(t, o, query)
		var targets []string
		for _, g := range got {
			targets = append(targets, g.Targets...)
		}
		if strings.Join(targets, " ") != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %q, want %q", query, targets, want)
		}
	}
	_, got := discovered(t, o, "?port=9100&policy=train")
	want := map[string]string{
		"__meta_tdscaler_machine": "b", "__meta_tdscaler_id": "id-b", "__meta_tdscaler_policy": "train", "__meta_tdscaler_host": "h",
		"__meta_tdscaler_gpu_model": "rtxa5000-pcie-24gb", "__meta_tdscaler_gpus": "2", "__meta_tdscaler_capacity": "spot",
		"__meta_tdscaler_country": "Norway", "__meta_tdscaler_region": "", "__meta_tdscaler_city": "Bodø", "__meta_tdscaler_draining": "false",
		"__meta_tdscaler_label_team": "research",
	}
	if len(got) != 1 || !maps.Equal(got[0].Labels, want) {
		t.Errorf("%+v", got)
	}
}

func TestDiscoveryIsCheapForWhoHasTheAnswerAndSilentBeforeThereIsOne(t *testing.T) {
	one := discovering([]plan.Machine{ready("a", "train")}, true)
	w, _ := discovered(t, one, "?port=22")
	tag := w.Header().Get("ETag")
	for _, has := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if w, _ := discovered(t, one, "?port=22", has); w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("%s: %d %s", has, w.Code, w.Body)
		}
	}
	if w, _ := discovered(t, discovering([]plan.Machine{ready("b", "train")}, true), "?port=22", tag); w.Code != 200 {
		t.Errorf("another fleet: %d", w.Code)
	}
	if w, got := discovered(t, discovering(nil, true), "?port=22"); w.Code != 200 || len(got) != 0 {
		t.Errorf("an empty fleet: %d %s", w.Code, w.Body)
	}
	if w, _ := discovered(t, discovering(nil, false), "?port=22"); w.Code != 503 {
		t.Errorf("not looked yet: %d", w.Code)
	}
	for _, bad := range []string{"", "?port=0", "?port=x", "?port=70000", "?port=-1"} {
		if w, _ := discovered(t, one, bad); w.Code != 400 {
			t.Errorf("%q: %d", bad, w.Code)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		w := httptest.NewRecorder()
		Handler(one).ServeHTTP(w, httptest.NewRequest(method, "/api/v1/sd?port=22", nil))
		if w.Code != 405 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}
