package tensordock

import (
	"math"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/market"
)

func fixture(t testing.TB, name string) value {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, b)
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func some[T any](v T) market.Maybe[T] { return market.Some(v) }

func TestHostsOfTheLiveShapeDecode(t *testing.T) {
	got, err := decodeHosts(fixture(t, "hosts_live.json"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []market.Host{
		{
			ID: "a0c3-one", Location: market.Location{ID: "place-1"}, Listed: true, Ports: some([]int{}),
			CPU:  market.Component{Free: some(4)},
			GPUs: []market.HostGPU{{Model: "l40s-pcie-48gb", Free: 2, Price: some(market.USD(0, 90)), VRAM: some(48)}},
		},
		{
			ID: "b1f0-two", Location: market.Location{ID: "place-9", City: "Turku", Region: "Southwest", Country: "Finland"},
			Online: true, Listed: true, Uptime: some(0.995), CPUType: "EPYC", Ports: some([]int{31001, 31002, 31003}),
			CPU:     market.Component{Free: some(48), Price: some(market.Rate(4_200_000))},
			RAM:     market.Component{Free: some(190), Price: some(market.Rate(1_900_000))},
			Storage: market.Component{Free: some(4100), Price: some(market.Rate(60_000))},
			GPUs: []market.HostGPU{
				{Model: "l4-pcie-24gb", Free: 0, Price: some(market.Rate(200_000_001)), VRAM: some(24)},
				{Model: "rtxa6000-pcie-48gb", Free: 3, Price: some(market.USD(0, 41)), VRAM: some(48)},
			},
			Limits: map[int]market.Restriction{
				1: {VCPUs: some(market.Bounds{Min: 2, Max: 16}), RAM: some(market.Bounds{Max: 64})},
				2: {Storage: some(market.Bounds{Min: 40, Max: 900})},
			},
		},
	})
}

func TestHostsOfTheDocumentedShapeDecodeToTheSame(t *testing.T) {
	live, err1 := decodeHosts(fixture(t, "hosts_live.json"))
	seed, err2 := decodeHosts(fixture(t, "hosts_documented.json"))
	if err1 != nil || err2 != nil || len(seed) != 2 {
		t.Fatal(err1, err2, len(seed))
	}
	for i := range live { // what the documented shape has no place for
		live[i].Uptime, live[i].Limits, live[i].Location.ID = market.Maybe[float64]{}, nil, ""
	}
	live[0].Ports = market.Maybe[[]int]{}
	same(t, seed, live)
}

func TestOneHostnodeIsFoundInEveryWrapping(t *testing.T) {
	const host = `{"specs":{"gpu":{"l4-pcie-24gb":{"amount":1,"price":0.3}}},"status":{"online":true}}`
	for _, body := range []string{host, `{"success":true,"hostnode":` + host + `}`, `{"success":true,"h-1":` + host + `}`, `{"hostnodes":{"h-1":` + host + `}}`} {
		h, err := decodeHostAnswer(mustParse(t, []byte(body)), "h-1")
		if err != nil || h.ID != "h-1" || len(h.GPUs) != 1 || !h.Online {
			t.Errorf("%s: %+v, %v", body, h, err)
		}
	}
	if _, err := decodeHostAnswer(mustParse(t, []byte(`{"success":true}`)), "h-1"); err == nil {
		t.Error("a host came of nothing")
	}
}

func TestAHostListWithoutAnyReadableHostIsAnError(t *testing.T) {
	for body, want := range map[string]int{
		`{}`: 0, `{"success":true}`: 0, `{"hostnodes":{}}`: 0, `{"hostnodes":[]}`: 0,
		`{"hostnodes":{"a":1}}`: -1, `{"a":{"x":1}}`: -1, `{"hostnodes":"none"}`: -1, `{"success":true,"data":[]}`: -1,
		`{"hostnodes":{"a":1,"b":{"specs":{}}}}`: 1, `{"hostnodes":[{"uuid":"a","specs":{}}]}`: 1,
	} {
		hosts, err := decodeHosts(mustParse(t, []byte(body)))
		if want < 0 && err == nil || want >= 0 && (err != nil || len(hosts) != want) {
			t.Errorf("%s: %d hosts, %v", body, len(hosts), err)
		}
	}
}

func wantMachines() []market.Instance {
	return []market.Instance{
		{
			ID: "vm-a", API: market.V0, Name: "other", Status: market.StatusReleased, RawStatus: "stopped_disassociated",
			Capacity: market.OnDemand, Model: "l4-pcie-24gb", Shape: market.Shape{GPUs: 1},
		},
		{
			ID: "vm-b", API: market.V0, Name: "tds-main-night-0a0b0c0d", Status: market.StatusOutbid, RawStatus: "Outbid", Capacity: market.Spot,
			Host: "b1f0-two", Location: market.Location{ID: "place-9", City: "Turku", Region: "Southwest", Country: "Finland"},
			Model: "rtxa6000-pcie-48gb", Shape: market.Shape{GPUs: 2, VCPUs: 12, RAM: 64, Storage: 200},
			Compute: some(market.Rate(330_000_001)), Storage: some(market.Rate(12_000_000)), IP: "192.0.2.17", User: "user",
			Ports:   []market.PortForward{{External: 31001, Internal: 8080}, {External: 31003, Internal: 22}},
			Created: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC),
		},
	}
}

func TestMachinesOfBothShapesDecode(t *testing.T) {
	got, err := decodeInstances(fixture(t, "machines_live.json"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, wantMachines())

	got, err = decodeInstances(fixture(t, "machines_documented.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := wantMachines()
	want[0].Shape.GPUs = 0 // not told
	want[0].RawStatus, want[0].Capacity = "StoppedDisassociated", market.CapacityUnknown
	want[1].RawStatus, want[1].Location, want[1].User, want[1].Created = "outbid", market.Location{}, "", time.Time{}
	want[1].Compute, want[1].Storage, want[1].Total = market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}, some(market.Rate(342_000_000))
	same(t, got, want)
}

func TestAListOfMachinesIsWholeOrAnError(t *testing.T) {
	const good = `{"name":"n","status":"Running"}`
	for body, want := range map[string]int{
		`{"success":true}`: 0, `{"success":"true","virtualmachines":null}`: 0, `{"virtualmachines":{}}`: 0, `{"virtualmachines":[]}`: 0,
		`{"success":true,"virtualmachines":{"a":` + good + `,"b":{}}}`:              2,
		`{"virtualmachines":[{"id":"a","name":"n","status":"Running"},{"id":"a"}]}`: 1,
		// What safety rests on is gone from all of them, or the list from its place.
		`{"success":true,"virtualmachines":{"a":{"name":"n"},"b":{"name":"m"}}}`:    -1,
		`{"virtualmachines":[{"id":"a","status":"Running"}]}`:                       -1,
		`{"success":true,"machines":{"a":` + good + `}}`:                            -1,
		`{"success":true,"virtualmachines":{"a":` + good + `},"next_page":2}`:       -1,
		`{"success":true,"virtualmachines":{},"meta":{"has_more":true}}`:            -1,
		`{"success":true,"virtualmachines":{"a":` + good + `},"next_page":null}`:    1,
		`{"success":true,"virtualmachines":{"a":` + good + `},"has_more":"false"}`:  1,
		`{"success":true,"virtualmachines":{"a":{"name":null,"status":"Running"}}}`: 1, // it says that it has none
		`{}`: -1, `{"virtualmachines":"none"}`: -1, `{"virtualmachines":null}`: -1, `{"success":"maybe"}`: -1, `{"data":[]}`: -1,
		`{"success":true,"virtualmachines":{"a":` + good + `,"b":"gone"}}`: -1,
		`{"success":true,"virtualmachines":{"a":` + good + `,"b":null}}`:   -1,
		`{"success":true,"virtualmachines":{"":` + good + `}}`:             -1,
		`{"virtualmachines":[{"id":"a"},{"hostnode":"h","name":"no id"}]}`: -1,
		`{"virtualmachines":[{"id":"a"},null]}`:                            -1,
		`{"virtualmachines":` + good + `}`:                                 -1,
	} {
		f := answers(t, 200, body)
		c, _ := client(t, f.URL)
		got, err := c.Instances(bg)
		if want < 0 {
			class(t, err, market.ClassShapeChanged)
			eq(t, "machines of "+body, len(got), 0)
		} else if err != nil || len(got) != want {
			t.Errorf("%s: %d machines, %v", body, len(got), err)
		}
	}
}

func TestOneMachineIsFoundInEveryWrapping(t *testing.T) {
	const vm = `{"name":"n","status":"Running","deployment":{"status":"Failed"}}`
	for _, body := range []string{
		vm, `{"success":true,"virtualmachine":` + vm + `}`, `{"success":true,"virtualmachines":` + vm + `}`,
		`{"success":true,"virtualmachines":{"vm-1":` + vm + `}}`, `{"virtualmachines":{"vm-1":` + vm + `,"vm-2":` + vm + `}}`,
		`{"success":true,"server":` + vm + `}`, `{"success":true,"vm-1":` + vm + `}`,
		`{"virtualmachines":[{"id":"vm-1","status":"Running","name":"n"}]}`, `{"id":"vm-1","name":"n","status":"running","server":"vm-1"}`,
	} {
		m, err := decodeInstanceAnswer(mustParse(t, []byte(body)), "vm-1")
		if err != nil || m.ID != "vm-1" || m.Name != "n" || m.Status != market.StatusRunning {
			t.Errorf("%s: %+v, %v", body, m, err)
		}
	}
	for _, body := range []string{
		`{"success":true}`, `{"virtualmachines":{}}`, `{"virtualmachines":{"vm-2":` + vm + `}}`,
		`{"virtualmachine":{"id":"vm-2","status":"Running"}}`, `{"virtualmachines":[` + vm + `]}`,
	} {
		if m, err := decodeInstanceAnswer(mustParse(t, []byte(body)), "vm-1"); err == nil {
			t.Errorf("%s gave %+v", body, m)
		}
	}
}

func TestHowAMachineWasBoughtIsNeverGuessed(t *testing.T) {
	for raw, want := range map[string]market.Capacity{
		"spot": market.Spot, "Spot": market.Spot, "ondem": market.OnDemand, "on_demand": market.OnDemand, "on-demand": market.OnDemand,
		"ondemand": market.OnDemand, "subscription": market.OnDemand, "": market.CapacityUnknown, "virtualmachine": market.CapacityUnknown,
	} {
		eq(t, raw, capacity(raw), want)
	}
}

func TestPortForwardsDecodeInAllForms(t *testing.T) {
	want := []market.PortForward{{External: 30117, Internal: 80}, {External: 30118, Internal: 22}}
	for _, text := range []string{
		`{"30118":"22","30117":"80"}`, `{"30118":22,"30117":80}`, `[{"internal_port":22,"external_port":30118},{"internal_port":"80","external_port":"30117"}]`,
		`[{"internal":22,"external":30118},{"internalPort":80,"externalPort":30117}]`, `{"30118":{"internal_port":22},"30117":{"internal":80}}`,
	} {
		same(t, decodeForwards(value(text)), want)
	}
	for _, text := range []string{`{}`, `[]`, `null`, `"none"`, `{"a":1}`, `[1,2]`, ``} {
		if got := decodeForwards(value(text)); len(got) != 0 {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestGPUsOfAMachineDecodeInAllForms(t *testing.T) {
	for text, want := range map[string]int{
		`{"gpus":{"l4-pcie-24gb":{"count":2,"v0Name":"l4-pcie-24gb"}}}`: 2,
		`{"gpus":{"x":{"gpuV0Name":"L4-pcie-24gb","count":"2"}}}`:       2,
		`{"gpus":[{"gpuV0Name":"l4-pcie-24gb","count":2}]}`:             2,
		`{"gpus":{"gpuV0Name":"l4-pcie-24gb","count":3}}`:               3,
		`{"gpu":{"type":"l4-pcie-24gb","amount":4}}`:                    4,
		`{"gpu":{"l4-pcie-24gb":5}}`:                                    5,
		`{"gpus":["l4-pcie-24gb"]}`:                                     0, // not told
		`{"gpus":{"l4-pcie-24gb":{}}}`:                                  0,
		`{"gpu":{"type":"l4-pcie-24gb"}}`:                               0,
		`{"gpus":{"l4-pcie-24gb":{"v0Name":"l4-pcie-24gb"}}}`:           0,
		`{"gpu":{"type":"l4-pcie-24gb","amount":null}}`:                 0,
		`{"gpu":{"type":"l4-pcie-24gb","amount":"many"}}`:               0,
		`{"gpus":{"z9":{"count":4},"l4-pcie-24gb":{}}}`:                 0,
		`{"gpus":{"z9":{"count":1},"l4-pcie-24gb":{"count":2}}}`:        3,
	} {
		model, shape := decodeShape(value(text))
		eq(t, text, model, market.GPUModel("l4-pcie-24gb"))
		eq(t, text, shape.GPUs, want)
	}
	if model, shape := decodeShape(nil); model != "" || shape != (market.Shape{}) {
		t.Errorf("%q %+v", model, shape)
	}
}

func TestAMachineWithoutAGPUCountIsOfNoTellableSizeInEitherAPI(t *testing.T) {
	const v0, v2 = `{"specs":{"gpu":{"type":"l4-pcie-24gb"},"vcpus":8}}`, `{"data":{"resources":{"gpus":{"l4-pcie-24gb":{}},"vcpu_count":8}}}`
	one, err := decodeInstanceV2(value(v2), "vm")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []market.Instance{decodeMachine("vm", value(v0)), one} {
		eq(t, "model", m.Model, market.GPUModel("l4-pcie-24gb"))
		eq(t, "shape", m.Shape, market.Shape{VCPUs: 8})
	}
}

func TestTextsThatAreNoUTF8AreCleanedOnTheirWayIn(t *testing.T) {
	body := []byte("{\"success\":true,\"virtualmachines\":{\"vm-1\":{\"name\":\"a\xff\xfeb\",\"city\":\"S\xe3o Paulo\",\"status\":\"Run\xc3\"}}}")
	f := answers(t, 200, string(body))
	c, _ := client(t, f.URL)
	got, err := c.Instances(bg)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	eq(t, "name", got[0].Name, "a\uFFFDb")
	eq(t, "city", got[0].Location.City, "S\uFFFDo Paulo")
	eq(t, "status", got[0].RawStatus, "Run\uFFFD")

	f = answers(t, 200, "{\"hostnodes\":{\"h\":{\"location\":{\"city\":\"Z\xfcrich\"},\"specs\":{\"gpu\":{},\"cpu\":{\"type\":\"E\xff\"}}}}}")
	c, _ = client(t, f.URL)
	hosts, err := c.Hosts(bg)
	if err != nil || len(hosts) != 1 {
		t.Fatal(hosts, err)
	}
	eq(t, "host's city", hosts[0].Location.City, "Z\uFFFDrich")
	eq(t, "host's CPU", hosts[0].CPUType, "E\uFFFD")

	for _, body := range []string{"{\"success\":false,\"error\":\"d\xe9sol\xe9\"}", "<html>\xff", "\xff\xfe"} {
		f = answers(t, 400, body)
		c, _ = client(t, f.URL)
		if err := c.Delete(bg, "vm-1"); err == nil || !utf8.ValidString(err.Error()) {
			t.Errorf("%q: %q", body, err)
		}
	}
}

func TestADeploysAnswerDecodesInAllForms(t *testing.T) {
	for _, c := range []struct {
		body                    string
		compute, storage, total market.Maybe[market.Rate]
	}{
		{`{"success":true,"server":"s","cost":{"compute_price":"0.2","storage_price":0.01,"total_price":0.21}}`, some(market.USD(0, 20)), some(market.USD(0, 1)), some(market.USD(0, 21))},
		{`{"success":"true","server":"s","cost":0.2}`, some(market.USD(0, 20)), market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}},
		{`{"server":{"id":"s"},"cost":{}}`, market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}},
	} {
		d, err := decodeDeployed(value(c.body))
		if err != nil {
			t.Fatal(err)
		}
		same(t, d, market.Deployed{ID: "s", Compute: c.compute, Storage: c.storage, Total: c.total})
	}
}

func TestAVerdictComesOfEveryWayToSayNo(t *testing.T) {
	for _, c := range []struct {
		code   int
		body   string
		answer market.Answer
		hint   string
		class  market.Class
	}{
		{200, `{"success":true}`, market.Accepted, "", ""},
		{200, `{"success":"true","will_succeed":true,"suggested_price":0.3}`, market.Accepted, "0.3", ""},
		{200, `{"will_succeed":true}`, market.Accepted, "", ""},
		{200, `{"success":true,"will_succeed":false,"suggested_price":"0.37","message":"too low"}`, market.Refused, "0.37", ""},
		{200, `{"success":false,"min_bid":0.25}`, market.Refused, "0.25", ""},
		{200, `{"success":false}`, market.Refused, "", ""},
		{200, `{"success":false,"error":"Minimum bid is $0.415 for this node"}`, market.Refused, "0.415", ""},
		{400, `{"error":"Bid must be at least 0.5"}`, market.Refused, "0.5", ""},
		{400, `{"error":"Bid for 2 GPUs refused"}`, market.Refused, "", ""},
		{200, `{"success":false,"error":"Your balance must be at least $1"}`, market.Refused, "", ""},
		{500, `{"error":"Not enough resources available"}`, market.Refused, "", ""},
		{404, `{"error":"hostnode not found"}`, market.Refused, "", ""},
		{500, `{"error":"internal error"}`, market.Silent, "", market.ClassUnavailable},
		{200, page, market.Silent, "", market.ClassShapeChanged},
		{200, `{}`, market.Silent, "", market.ClassShapeChanged},
		{200, `{"success":false,"error":"Unauthorized"}`, market.Silent, "", market.ClassUnauthorized},
	} {
		f := answers(t, c.code, c.body)
		cl, _ := client(t, f.URL)
		v, err := cl.ValidateNew(bg, testQuestion)
		eq(t, "answer to "+c.body, v.Answer, c.answer)
		eq(t, "question", v.Question, testQuestion)
		class(t, err, c.class)
		hint := ""
		if r, ok := v.Hint.Get(); ok {
			hint = r.Decimal()
		}
		eq(t, "hint of "+c.body, hint, c.hint)
	}
	f := answers(t, 200, page)
	cl, _ := client(t, f.URL)
	v, err := cl.ValidateExisting(bg, "vm-1", market.USD(0, 40))
	class(t, err, market.ClassAmbiguous)
	eq(t, "answer", v.Answer, market.Silent)
}

func TestNumbersAreReadExactlyOrNotAtAll(t *testing.T) {
	for text, want := range map[string]market.Maybe[market.Rate]{
		`0.1`: some(market.USD(0, 10)), `"0.305"`: some(market.Rate(305_000_000)), `5e-05`: some(market.Rate(50_000)), `"$1.5"`: some(market.USD(1, 50)),
		`0.1234567891`: some(market.Rate(123_456_790)), `0`: some(market.Rate(0)),
		`-1`: {}, `"n/a"`: {}, `null`: {}, `true`: {}, `{}`: {}, `""`: {}, `1e99`: {}, `"NaN"`: {}, ``: {},
	} {
		if got := value(text).price(); got != want {
			t.Errorf("price of %s: %+v", text, got)
		}
	}
	for text, want := range map[string]market.Maybe[int]{
		`7`: some(7), `"7"`: some(7), `7.9`: some(7), `"16.0"`: some(16), `-1`: {}, `"x"`: {}, `1e300`: {}, `null`: {}, `[]`: {},
	} {
		if got := value(text).count(); got != want {
			t.Errorf("count of %s: %+v", text, got)
		}
	}
	for text, want := range map[string]market.Maybe[float64]{`0.99`: some(0.99), `"1"`: some(1.0), `50`: some(0.5), `-1`: {}, `900`: {}, `"NaN"`: {}} {
		if got := value(text).fraction(); got != want {
			t.Errorf("fraction of %s: %+v", text, got)
		}
	}
	eq(t, "an open bound", bounds(value(`{"min":2}`)), some(market.Bounds{Min: 2, Max: math.MaxInt32}))
}

func TestABalanceKnowsWhatItWasTold(t *testing.T) {
	for body, want := range map[string]market.Balance{
		`{"success":true,"balance":-3.5,"hourly_cost":"0.25"}`: {Balance: some(market.Amount(-3_500_000_000)), Hourly: some(market.USD(0, 25))},
		`{"success":true,"balance":"7","currency":"USD"}`:      {Balance: some(market.Amount(7_000_000_000))},
	} {
		b, err := decodeBalance(value(body))
		if err != nil || b != want {
			t.Errorf("%s: %+v, %v", body, b, err)
		}
	}
	if _, err := decodeBalance(value(`{"success":true}`)); err == nil {
		t.Error("a balance came of nothing")
	}
}

func TestAuthorizationsOfBothShapesDecode(t *testing.T) {
	b, tree := payload(t, "v0_docs_auth_list.json")
	got, err := decodeAuthorizations(mustParse(t, b))
	if err != nil || len(got) != len(at(tree, "authorizations").(map[string]any)) {
		t.Fatal(got, err)
	}
	for _, a := range got {
		eq(t, "note", a.Note, str(tree, "authorizations", a.Name, "note"))
		eq(t, "permissions", strings.Join(a.Permissions, ","), str(tree, "authorizations", a.Name, "permissions"))
		eq(t, "created", a.Created.Format("2006-01-02 15:04:05.999999"), str(tree, "authorizations", a.Name, "timestamp_creation"))
	}
	got, err = decodeAuthorizations(value(`{"authorizations":[{"name":"b","permissions":["x","y"]},{"name":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []Authorization{{Name: "a"}, {Name: "b", Permissions: []string{"x", "y"}}})
}

func TestInstantMachinesDecode(t *testing.T) {
	got, err := decodeInstant(fixture(t, "instant.json"))
	if err != nil {
		t.Fatal(err)
	}
	// iv-2 has GPUs of two models; iv-1 has a price by its size alone.
	same(t, got.offers(), []market.Instant{{
		ID: "iv-1", Location: market.Location{City: "Bergen"}, Model: "l4-pcie-24gb", Image: "Ubuntu 22.04 LTS",
		Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 80}, Compute: some(market.USD(0, 25)), Storage: some(market.Rate(4_000_000)),
	}, {
		ID: "iv-3", Host: "h-2", Location: market.Location{City: "Bergen", Region: "Vestland", Country: "Norway"}, Uptime: some(0.998),
		Model: "l4-pcie-24gb", Image: "Ubuntu 22.04 LTS", Shape: market.Shape{GPUs: 2, VCPUs: 8, RAM: 32, Storage: 100},
		Compute: some(market.USD(0, 51)), Storage: some(market.Rate(5_000_000)), Total: some(market.Rate(515_000_000)),
	}})
}

func TestSizesAreOnOfferWhereNoMachinesAreListed(t *testing.T) {
	got, err := decodeInstant(mustParse(t, []byte(`{"templates":[{"id":"t1","gpu_model":"l4-pcie-24gb","vcpus":4,"ram":16,"storage":80,"price":"0.3"}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got.offers(), []market.Instant{{
		ID: "t1", Many: true, Model: "l4-pcie-24gb", Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 80}, Total: some(market.USD(0, 30)),
	}})
	got, err = decodeInstant(mustParse(t, []byte(`{"success":true,"templates":[{"id":"t1","gpu_model":"l4-pcie-24gb"}],"virtual_machines":{}}`)))
	if err != nil || len(got.offers()) != 0 {
		t.Errorf("sizes of which none is ready: %+v, %v", got.offers(), err)
	}
}

func TestRecordedReplicasDecode(t *testing.T) {
	b, tree := payload(t, "v0_docs_container_replicas.json")
	got, err := decodeReplicas(mustParse(t, b))
	list := tree["result"].([]any)
	if err != nil || len(got) != len(list) {
		t.Fatal(got, err)
	}
	for i, r := range got { // the file is in order of the machines
		eq(t, "machine", r.Machine, str(list[i], "vm_uuid"))
		eq(t, "ip", r.IP, str(list[i], "ip_address"))
		eq(t, "url", r.UptimeURL, str(list[i], "hostnode_uptime_url"))
		sameRate(t, "rate", r.Rate, num(list[i], "rate_hourly"))
		for j, p := range r.Ports {
			eq(t, "external", p.External, int(at(list[i], "external_ports").([]any)[j].(float64)))
			eq(t, "internal", p.Internal, int(at(list[i], "internal_ports").([]any)[j].(float64)))
		}
		eq(t, "ports", len(r.Ports), 3)
	}
}

func TestTheRecordedStatementDecodes(t *testing.T) {
	b, tree := payload(t, "v0_docs_billing_summary.json")
	s, err := decodeStatement(mustParse(t, b))
	if err != nil {
		t.Fatal(err)
	}
	eq(t, "from", s.From, "2024-02")
	eq(t, "to", s.To, "2024-03")
	eq(t, "previous", s.Previous.Or(0).Decimal(), str(tree, "previous_balance"))
	eq(t, "final", s.Final.Or(0).Decimal(), str(tree, "final_balance"))
	eq(t, "expenses", s.Expenses.Or(0).Decimal(), str(tree, "changes", "expenses"))
	eq(t, "payouts", s.Payouts.Or(0).Decimal(), str(tree, "changes", "payouts"))
	eq(t, "tax code", s.TaxCode, str(tree, "organization_tax_id"))
	if len(s.Transactions) != 2 {
		t.Fatalf("%+v", s.Transactions)
	}
	for _, tr := range s.Transactions {
		want := at(tree, "transactions", tr.Kind).([]any)[0]
		eq(t, "machine", tr.Machine, str(want, "virtual_machine_id"))
		eq(t, "host", tr.Host, str(want, "hostnode_id"))
		sameRate(t, "rate", tr.Rate, num(want, "rate_hourly"))
		eq(t, "amount", tr.Amount.Or(0).Float(), num(want, "total_amount"))
	}
	eq(t, "kinds", s.Transactions[0].Kind+" "+s.Transactions[1].Kind, "storage_payouts vm_payouts")
	known(t, "storage", s.Transactions[0].StorageGB, 200)
	if _, err := decodeStatement(value(`{"success":true}`)); err == nil {
		t.Error("a statement came of nothing")
	}
}

func TestTheRecordedRevenueDecodes(t *testing.T) {
	b, tree := payload(t, "v0_docs_billing_revenue.json")
	got, err := decodeRevenue(mustParse(t, b))
	if err != nil || len(got) != 1 || len(got[0].Machines) != 1 {
		t.Fatal(got, err)
	}
	want := tree["data"].([]any)[0]
	h := got[0]
	eq(t, "host", h.Host, str(want, "hostnode_id"))
	eq(t, "place", h.Location, str(want, "location"))
	known(t, "GPUs", h.Used.GPUs, int(num(want, "used_gpus")))
	known(t, "free RAM", h.Free.RAM, int(num(want, "available_ram")))
	eq(t, "compute", h.Compute.Or(0).Float(), num(want, "revenue_compute"))
	vm := at(want, "virtual_machines").([]any)[0]
	eq(t, "machine", h.Machines[0].ID, str(vm, "id"))
	eq(t, "storage", h.Machines[0].Storage.Or(0).Float(), num(vm, "revenue_storage"))
}

func TestAnOrderWithOnlyAnSSHKeyGetsAPasswordNobodyKnows(t *testing.T) {
	f := answers(t, 200, `{"success":true,"server":"s"}`)
	c, _ := client(t, f.URL)
	o := testOrder
	o.Password, o.Capacity, o.Ports, o.CloudInit = market.Order{}.Password, market.OnDemand, nil, "a\r\nb\n"
	var seen []string
	for range 2 {
		if _, err := c.Deploy(bg, o); err != nil {
			t.Fatal(err)
		}
		form := f.last().Form
		seen = append(seen, form.Get("password"))
		eq(t, "spot fields on demand", form.Get("price_type")+form.Get("price"), "")
		eq(t, "ports", form.Get("external_ports")+form.Get("internal_ports"), "{}{}")
		eq(t, "cloud-init", form.Get("cloudinit_script"), `a\nb\n`)
	}
	if len(seen[0]) < 20 || seen[0] == seen[1] {
		t.Errorf("passwords %q", seen)
	}
}

func TestUnlistedPathsOfTheAPIAreNotFollowed(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	c, _ := client(t, f.URL)
	class(t, c.Delete(bg, "vm-1"), market.ClassAmbiguous)
	eq(t, "requests", f.count(), 1)
}
