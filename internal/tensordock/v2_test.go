package tensordock

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestRecordedV2ListsDecodeInEveryNesting(t *testing.T) {
	b, tree := payload(t, "v2_observed_instances_list_flat.json")
	got, err := decodeInstancesV2(mustParse(t, b))
	list := tree["data"].([]any)
	if err != nil || len(got) != len(list) {
		t.Fatal(got, err)
	}
	for i, m := range got {
		eq(t, "id", m.ID, str(list[i], "id"))
		eq(t, "name", m.Name, str(list[i], "name"))
		eq(t, "status", m.Status, market.StatusRunning)
		eq(t, "ip", m.IP, str(list[i], "ipAddress"))
		eq(t, "api", m.API, market.V2)
		eq(t, "capacity", m.Capacity, market.CapacityUnknown)
	}
	sameRate(t, "rate", got[0].Total, num(list[0], "price_per_hour"))
	unknown(t, "rate of the second", got[1].Total)

	for name, path := range map[string][]string{"v2_docs_instances_list_a.json": {"data", "instances"}, "v2_docs_instances_list_b.json": {"data", "attributes", "instances"}} {
		b, tree := payload(t, name)
		got, err := decodeInstancesV2(mustParse(t, b))
		if err != nil || len(got) != 1 {
			t.Fatal(name, got, err)
		}
		want := at(tree, path...).([]any)[0]
		eq(t, "id", got[0].ID, str(want, "id"))
		eq(t, "name", got[0].Name, str(want, "attributes", "name"))
		eq(t, "raw status", got[0].RawStatus, str(want, "attributes", "status"))
	}
}

func TestTheRecordedV2InstanceDecodesBareAndWrapped(t *testing.T) {
	b, tree := payload(t, "v2_instance_get_record.json")
	id := str(tree, "id")
	for _, body := range []string{string(b), `{"data":` + string(b) + `}`, `{"data":{"id":"` + id + `","attributes":` + string(b) + `}}`, `{"data":{"attributes":` + string(b) + `,"status":null}}`} {
		m, err := decodeInstanceV2(mustParse(t, []byte(body)), id)
		if err != nil {
			t.Fatal(body, err)
		}
		eq(t, "name", m.Name, str(tree, "name"))
		eq(t, "status", m.Status, market.StatusRunning)
		eq(t, "ip", m.IP, str(tree, "ipAddress"))
		known(t, "rate", m.Total, market.Rate(272_999_000))
		same(t, m.Ports, []market.PortForward{{External: 20456, Internal: 22}})
	}
	if _, err := decodeInstanceV2(mustParse(t, b), "another"); err == nil {
		t.Error("another machine's answer was taken")
	}
}

func TestAnInstanceOfTheDocumentedV2ShapeDecodes(t *testing.T) {
	m, err := decodeInstanceV2(value(`{"data":{"type":"virtualmachine","id":"i-1","attributes":{"name":"n","status":"stopped_disassociated","ipAddress":"192.0.2.3",
		"portForwards":{"20022":22},"resources":{"vcpu_count":4,"ram_gb":16,"storage_gb":100,"gpus":[{"gpuV0Name":"l4-pcie-24gb","count":2}]},"rateHourly":0.5,"location_id":"loc-1","image":"ubuntu2404"}}}`), "i-1")
	if err != nil {
		t.Fatal(err)
	}
	same(t, m, market.Instance{
		ID: "i-1", API: market.V2, Name: "n", Status: market.StatusReleased, RawStatus: "stopped_disassociated", IP: "192.0.2.3",
		Location: market.Location{ID: "loc-1"}, Model: "l4-pcie-24gb", Shape: market.Shape{GPUs: 2, VCPUs: 4, RAM: 16, Storage: 100},
		Ports: []market.PortForward{{External: 20022, Internal: 22}}, Total: some(market.USD(0, 50)),
	})
}

func TestAV2ListIsWholeOrAnError(t *testing.T) {
	for body, want := range map[string]int{
		`{"data":[]}`: 0, `{"data":{"instances":[]}}`: 0, `{"data":{"attributes":{"instances":[{"id":"a","attributes":{"name":"n","status":"running"}}]}}}`: 1,
		`{"instances":[{"id":"a","name":"n","status":"error","error":"no GPU"}]}`: 1, `{"data":[{"id":"a","name":"n"}]}`: -1,
		`{"data":[{"id":"a","name":"n","status":"running"}],"meta":{"pagination":{"next_cursor":"abc"}}}`: -1,
		`{}`: -1, `{"data":{}}`: -1, `[]`: -1, `{"data":null}`: -1, `{"data":[{"id":"a"},{"name":"b"}]}`: -1, `{"data":["a"]}`: -1, `{"data":{"instances":"none"}}`: -1,
	} {
		f := answers(t, 200, body)
		c, _ := client(t, f.URL)
		got, err := c.InstancesV2(bg)
		if want < 0 {
			class(t, err, market.ClassShapeChanged)
		} else if err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}

func TestRecordedLocationsDecode(t *testing.T) {
	for _, name := range []string{"v2_docs_locations.json", "v2_locations_record_chubbuck.json"} {
		b, tree := payload(t, name)
		got, err := decodeLocations(mustParse(t, b))
		if err != nil || len(got) != 1 || len(got[0].GPUs) != 1 {
			t.Fatal(name, got, err)
		}
		want := at(tree, "data", "locations").([]any)[0]
		eq(t, "place", got[0].Location, market.Location{ID: str(want, "id"), City: str(want, "city"), Region: str(want, "stateprovince"), Country: str(want, "country")})
		known(t, "tier", got[0].Tier, int(num(want, "tier")))
		gpu, g := at(want, "gpus").([]any)[0], got[0].GPUs[0]
		eq(t, "model", string(g.Model), str(gpu, "v0Name"))
		eq(t, "name", g.Name, str(gpu, "displayName"))
		known(t, "most", g.Max, int(num(gpu, "max_count")))
		known(t, "most storage", g.MaxStorage, int(num(gpu, "resources", "max_storage_gb")))
		sameRate(t, "price", g.Price, num(gpu, "price_per_hr"))
		if at(gpu, "pricing") == nil {
			unknown(t, "price of RAM", g.PerRAM)
			unknown(t, "dedicated IP", g.DedicatedIP)
			continue
		}
		sameRate(t, "price of storage", g.PerStorage, num(gpu, "pricing", "per_gb_storage_hr"))
		known(t, "dedicated IP", g.DedicatedIP, at(gpu, "network_features", "dedicated_ip_available").(bool))
		known(t, "network storage", g.NetDrive, at(gpu, "network_features", "network_storage_available").(bool))
	}
}

func TestRecordedV2AnswersToWritesAreUnderstood(t *testing.T) {
	b, tree := payload(t, "v2_instance_create_record.json")
	d, err := decodeCreated(mustParse(t, b))
	if err != nil || d.ID != str(tree, "data", "id") {
		t.Errorf("%+v, %v", d, err)
	}
	for _, name := range []string{"v2_docs_instance_start.json", "v2_docs_instance_stop.json", "v2_docs_instance_delete.json"} {
		b, _ := payload(t, name)
		if _, f := judge(request{verb: verbStart}, answer{code: 200, body: b}); f != nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	b, tree = payload(t, "v2_observed_error_http200_body.json")
	_, f := judge(request{verb: verbBuy}, answer{code: 200, body: b})
	if f == nil || f.class != market.ClassNoCapacity || f.text != str(tree, "error") {
		t.Errorf("error with 200: %+v", f)
	}
	b, _ = payload(t, "v2_observed_error_http400_array.json")
	_, f = judge(request{verb: verbBuy}, answer{code: 400, body: b})
	if f == nil || f.class != market.ClassRefused || f.cause != errBadRequest {
		t.Errorf("array of issues: %+v", f)
	}
	if _, f := judge(request{verb: verbDelete}, answer{code: http.StatusNoContent}); f != nil {
		t.Errorf("204: %+v", f)
	}
	if _, f := judge(request{verb: verbDelete}, answer{code: http.StatusNotFound}); f == nil || f.class != market.ClassNotFound {
		t.Errorf("404: %+v", f)
	}
}

// body is what the n-th request carried.
func creating(t *testing.T, o instanceOrder, handle func(w http.ResponseWriter, n int)) (bodies []map[string]any, d market.Deployed, err error) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		b, _ := io.ReadAll(r.Body)
		var tree map[string]any
		_ = json.Unmarshal(b, &tree)
		bodies = append(bodies, tree)
		handle(w, n)
	})
	c, _ := client(t, f.URL)
	d, err = c.createInstance(bg, o)
	return bodies, d, err
}

func TestACreateSendsTheRecordedFormOfItsRequest(t *testing.T) {
	_, want := payload(t, "v2_docs_create_request_portforward.json")
	attributes := at(want, "data", "attributes").(map[string]any)
	o := instanceOrder{
		Name: str(attributes, "name"), Image: str(attributes, "image"), Host: str(attributes, "hostnode_id"), SSHKeyID: str(attributes, "ssh_key_id"),
		Model: "geforcertx4090-pcie-24gb", Shape: market.Shape{GPUs: 1, VCPUs: 2, RAM: 4, Storage: 300},
		Ports:     []market.PortForward{{External: 20000, Internal: 22}, {External: 20001, Internal: 80}},
		CloudInit: "#cloud-config\nruncmd: [\"echo 'Hello World'\", apt-get install -y nginx]\npackages: [curl, git]\npackage_update: true\npackage_upgrade: false\n",
	}
	bodies, d, err := creating(t, o, func(w http.ResponseWriter, _ int) {
		w.WriteHeader(201)
		_, _ = w.Write([]byte(`{"data":{"type":"virtualmachine","id":"i-9","name":"n","status":"queued"}}`))
	})
	if err != nil || len(bodies) != 1 {
		t.Fatal(err, len(bodies))
	}
	same(t, bodies[0], want)
	same(t, d, market.Deployed{ID: "i-9"})
}

func TestACreateRefusedForItsGPUMapIsSentOnceMoreWithTheArray(t *testing.T) {
	bodies, d, err := creating(t, testV2Order, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`[{"code":"invalid_type","message":"Expected array","path":["data","attributes","resources","gpus"]}]`))
			return
		}
		_, _ = w.Write([]byte(`{"data":{"id":"i-1","attributes":{"name":"n"}}}`))
	})
	if err != nil || len(bodies) != 2 || d.ID != "i-1" {
		t.Fatal(d, err, len(bodies))
	}
	same(t, at(bodies[0], "data", "attributes", "resources", "gpus"), any(map[string]any{"l40s-pcie-48gb": map[string]any{"count": 2.0}}))
	same(t, at(bodies[1], "data", "attributes", "resources", "gpus"), any([]any{map[string]any{"gpuV0Name": "l40s-pcie-48gb", "count": 2.0}}))
}

func TestACreateIsNotSentAgainForAnyOtherReason(t *testing.T) {
	for body, code := range map[string]int{
		`{"error":"gpus: No available nodes found"}`:            400, // capacity, not form
		`{"error":"name is taken"}`:                             400,
		`{"status":400,"error":"resources.gpus is no array"}`:   200, // only HTTP says 400 for sure
		`{"error":"resources.gpus is no array"}`:                500,
		`{"errors":[{"status":"422","detail":"gpus missing"}]}`: 422,
		page: 400,
	} {
		bodies, _, err := creating(t, testV2Order, func(w http.ResponseWriter, _ int) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
		if err == nil || len(bodies) != 1 {
			t.Errorf("%s: %d requests, %v", body, len(bodies), err)
		}
	}
	// Refused twice: there is no third form.
	bodies, _, err := creating(t, testV2Order, func(w http.ResponseWriter, _ int) {
		w.WriteHeader(400)
		_, _ = w.Write([]byte(`{"error":"gpus are not understood"}`))
	})
	class(t, err, market.ClassRefused)
	eq(t, "requests", len(bodies), 2)
}

func TestCloudInitBecomesAnObject(t *testing.T) {
	got, err := cloudInit("#!/bin/sh\necho one\n")
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, map[string]any{"runcmd": []string{"#!/bin/sh\necho one\n"}})
	o := testV2Order
	o.CloudInit = "#cloud-config\n\tbad: [hidden-in-cloud-init"
	f := answers(t, 200, `{}`)
	c, _ := client(t, f.URL)
	_, err = c.createInstance(bg, o)
	class(t, err, market.ClassRefused)
	eq(t, "requests", f.count(), 0)
}
