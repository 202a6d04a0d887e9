package tensordock

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/market"
)

func drifts(t *testing.T, op, body string) []market.Drift {
	t.Helper()
	form := contracts()[op]
	if form == nil {
		t.Fatalf("%s has no contract", op)
	}
	return form.examine(mustParse(t, []byte(body)))
}

func TestRecordedAndDocumentedAnswersKeepTheirContracts(t *testing.T) {
	for name, op := range map[string]string{
		"v0_docs_list.json": "list machines", "v0_docs_hostnodes.json": "list hosts", "v0_hostnode_record_southfield.json": "list hosts",
		"v0_docs_billing_balance.json": "balance", "v0_docs_deploy_single.json": "deploy", "v2_docs_instances_list_a.json": "list instances",
		"v2_docs_instances_list_b.json": "list instances", "v2_observed_instances_list_flat.json": "list instances",
		"v0_docs_container_replicas.json": "list replicas",
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := payload(t, name)
			if got := drifts(t, op, string(b)); len(got) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestADepartureFromTheContractIsNamedAndStopsWhatRestsOnIt(t *testing.T) {
	unknown := func(field string) market.Drift { return market.Drift{Kind: market.DriftUnknown, Field: field} }
	lacking := func(field string, stops market.Stop) market.Drift {
		return market.Drift{Kind: market.DriftMissing, Field: field, Stops: stops}
	}
	const vm = `"name":"n","status":"Running","hostnode":"h","specs":{},"cost":1`
	for _, c := range []struct {
		op, body string
		want     []market.Drift
	}{
		{"list machines", `{"success":true,"virtualmachines":{"a":{` + vm + `}}}`, nil},
		{"list machines", `{"success":true,"virtualmachines":{}}`, nil},
		{"list machines", `{"success":true,"virtualmachines":{"a":{` + vm + `,"colour":"red"},"b":{` + vm + `,"colour":1}},"tax":0}`, []market.Drift{unknown("tax"), unknown("colour")}},
		{"list machines", `{"virtualmachines":{"a":{` + vm + `},"b":{"status":"Stopped","hostnode":"h","specs":{},"cost":1}}}`, []market.Drift{lacking("name", "")}},
		{"list machines", `{"virtualmachines":{"a":{"label":"n","status":"Running","hostnode":"h","specs":{},"cost":1}}}`, []market.Drift{unknown("label"), lacking("name", market.StopWrites)}},
		{"list machines", `{"virtualmachines":[{` + vm + `}]}`, []market.Drift{lacking("id", market.StopWrites)}},
		{"list machines", `{"success":true,"machines":{}}`, []market.Drift{unknown("machines"), lacking("virtualmachines", market.StopWrites)}},
		{"list machines", `{"virtualmachines":{"a":{` + vm + `}},"links":{"next":"/p2"}}`, []market.Drift{unknown("links"), {Kind: market.DriftUnknown, Field: "(a next page)", Stops: market.StopWrites}}},
		{"list instances", `{"data":[{"id":"a","attributes":{"name":"n","mood":1}}]}`, []market.Drift{unknown("mood"), lacking("status", market.StopV2)}},
		{"list hosts", `{"hostnodes":{"h":{"specs":{"cpu":{},"ram":{},"storage":{},"tpu":{}}}}}`, []market.Drift{unknown("specs.tpu"), lacking("specs.gpu", market.StopGrowth)}},
		{"list hosts", `{"h":{"specs":{"gpu":{},"cpu":{},"ram":{}}}}`, []market.Drift{lacking("specs.storage", "")}},
		{"list replicas", `{"result":[{"vm_uuid":"a","rate_hourly":1},{"vm_uuid":"b"}]}`, []market.Drift{lacking("rate_hourly", "")}},
		{"list replicas", `{"result":[],"has_more":true}`, []market.Drift{unknown("has_more"), {Kind: market.DriftUnknown, Field: "(a next page)", Stops: market.StopGrowth}}},
		{"balance", `{"success":true,"hourly_cost":1}`, []market.Drift{lacking("balance", "")}},
		{"deploy", `{"success":true,"machine":"x"}`, []market.Drift{unknown("machine"), lacking("server", "")}},
	} {
		if diff := cmp.Diff(c.want, drifts(t, c.op, c.body)); diff != "" {
			t.Errorf("%s: %s\n%s", c.op, c.body, diff)
		}
	}
}

func TestWhatAMarketCallsItsMembersIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"success":true,"virtualmachines":{"a":{"name":"n","status":"s"`)
	for i := range 100 {
		fmt.Fprintf(&b, `,"%s\u001b[31m%d":0`, strings.Repeat("x", i), i)
	}
	b.WriteString(`}}}`)
	n := 0
	for _, d := range drifts(t, "list machines", b.String()) {
		if d.Kind == market.DriftUnknown {
			n++
		}
		if len(d.Field) > longestName+8 || strings.Contains(d.Field, "\x1b") {
			t.Errorf("%q", d.Field)
		}
	}
	if n == 0 || n > mostUnknown {
		t.Errorf("%d unknown members are told", n)
	}
}

func TestACallTellsOfDriftAndAWriteIsNotFailedByIt(t *testing.T) {
	var calls []Call
	f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		body := `{"success":true,"server":"id-1","novelty":1}`
		if strings.HasSuffix(r.URL.Path, "list") {
			body = `{"success":true,"virtualmachines":{"a":{"status":"Running"}}}`
		}
		_, _ = w.Write([]byte(body))
	})
	c, _ := client(t, f.URL, func(o *Options) { o.Observe = func(c Call) { calls = append(calls, c) } })
	if d, err := c.Deploy(bg, testOrder); err != nil || d.ID != "id-1" {
		t.Fatal(d, err)
	}
	_, err := c.Instances(bg)
	class(t, err, market.ClassShapeChanged)
	if len(calls) != 2 || len(calls[0].Drift) != 1 || calls[0].Drift[0].Field != "novelty" || calls[1].Drift[0].Stops != market.StopWrites {
		t.Errorf("%+v", calls)
	}
}

// BenchmarkExamine is what the bookkeeping adds to reading a list of a thousand hosts;
// BenchmarkDecodeHosts is the reading.
func BenchmarkExamine(b *testing.B) {
	body := manyHosts(1000)
	form := contracts()["list hosts"]
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if got := form.examine(value(body)); len(got) > 0 {
			b.Fatal(got)
		}
	}
}

// FuzzContract holds that no answer makes the bookkeeping panic or show what a terminal
// would obey.
func FuzzContract(f *testing.F) {
	for _, body := range []string{
		`{"hostnodes":{"h":{"specs":{"gpu":{}}}}}`, `{"data":[{"id":"a","attributes":{"name":"n"}}]}`, `{"virtualmachines":{"a":{"\u001b":1}},"meta":{"next":1}}`,
		`{"result":[{"vm_uuid":"a"}]}`, `{"hostnodes":`, `[[{}]]`, `{"data":{"attributes":{"attributes":{}}}}`,
	} {
		f.Add([]byte(body))
	}
	all := contracts()
	f.Fuzz(func(t *testing.T, body []byte) {
		v, ok := parse(body)
		if !ok {
			return
		}
		for op, form := range all {
			for _, d := range form.examine(v) {
				if d.Field != printable(d.Field) || len(d.Field) > 3*longestName {
					t.Errorf("%s: %q", op, d.Field)
				}
			}
		}
	})
}
