package tensordock

import (
	"net/http"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// sameHost compares a decoded host with the plain tree of its answer.
func sameHost(t *testing.T, h market.Host, tree map[string]any) {
	t.Helper()
	eq(t, "city", h.Location.City, str(tree, "location", "city"))
	eq(t, "country", h.Location.Country, str(tree, "location", "country"))
	eq(t, "region", h.Location.Region, str(tree, "location", "region"))
	eq(t, "location id", h.Location.ID, str(tree, "location", "id"))
	eq(t, "cpu type", h.CPUType, str(tree, "specs", "cpu", "type"))
	for name, c := range map[string]market.Component{"cpu": h.CPU, "ram": h.RAM, "storage": h.Storage} {
		known(t, name+" free", c.Free, int(num(tree, "specs", name, "amount")))
		sameRate(t, name+" price", c.Price, num(tree, "specs", name, "price"))
	}
	eq(t, "gpu kinds", len(h.GPUs), len(at(tree, "specs", "gpu").(map[string]any)))
	for _, g := range h.GPUs {
		eq(t, "gpu free", g.Free, int(num(tree, "specs", "gpu", string(g.Model), "amount")))
		sameRate(t, "gpu price", g.Price, num(tree, "specs", "gpu", string(g.Model), "price"))
	}
	if status := at(tree, "status"); status != nil {
		eq(t, "online", h.Online, at(status, "online").(bool))
		eq(t, "listed", h.Listed, at(status, "listed").(bool))
		known(t, "uptime", h.Uptime, num(status, "uptime"))
		eq(t, "reserved", h.Reserved, at(status, "reserved") == true)
	}
	if want, ok := at(tree, "networking", "ports").([]any); ok {
		got, _ := h.Ports.Get()
		eq(t, "ports", len(got), len(want))
		for i := range min(len(got), len(want)) {
			eq(t, "port", got[i], int(want[i].(float64)))
		}
	}
}

func TestRecordedHostnodesDecodeToTheirValues(t *testing.T) {
	for _, name := range []string{"v0_hostnode_record_southfield.json", "v0_docs_hostnodes.json"} {
		t.Run(name, func(t *testing.T) {
			b, tree := payload(t, name)
			hosts, err := decodeHosts(mustParse(t, b))
			if err != nil || len(hosts) != 1 {
				t.Fatalf("%d hosts, %v", len(hosts), err)
			}
			if inner, ok := tree["hostnodes"]; ok {
				tree = inner.(map[string]any)
			}
			id, entry := only(t, tree)
			eq(t, "id", hosts[0].ID, id)
			sameHost(t, hosts[0], entry)
		})
	}
}

func TestARecordedHostnodeKeepsItsRestrictionsAndListsGPUsThatAreTaken(t *testing.T) {
	b, tree := payload(t, "v0_hostnode_record_southfield.json")
	hosts, err := decodeHosts(mustParse(t, b))
	if err != nil {
		t.Fatal(err)
	}
	_, entry := only(t, tree)
	limit := hosts[0].Limits[0]
	for name, got := range map[string]market.Maybe[market.Bounds]{"cpu": limit.VCPUs, "ram": limit.RAM, "storage": limit.Storage} {
		want := at(entry, "specs", "restrictions", "0", name)
		known(t, name, got, market.Bounds{Min: int(num(want, "min")), Max: int(num(want, "max"))})
	}
	eq(t, "free GPUs", hosts[0].GPUs[0].Free, 0)
	known(t, "VRAM", hosts[0].GPUs[0].VRAM, 12)
	known(t, "storage price in nano-USD", hosts[0].Storage.Price, market.Rate(50_000))
}

func TestARecordedSingleHostnodeIsFoundUnderItsID(t *testing.T) {
	b, tree := payload(t, "v0_docs_hostnode_single.json")
	id, entry := only(t, tree)
	h, err := decodeHostAnswer(mustParse(t, b), id)
	if err != nil {
		t.Fatal(err)
	}
	sameHost(t, h, entry)
	known(t, "VRAM from the name", h.GPUs[0].VRAM, 10)
}

func TestRecordedSpecsWithoutRestrictionsDecode(t *testing.T) {
	b, tree := payload(t, "v0_hostnode_specs_l40.json")
	h, ok := decodeHost("x", mustParse(t, []byte(`{"specs":`+string(b)+`}`)))
	if !ok {
		t.Fatal("not a host")
	}
	sameHost(t, h, map[string]any{"specs": tree})
	eq(t, "limits", len(h.Limits), 0)
	eq(t, "online by default", h.Online && h.Listed && !h.Reserved, true)
	unknown(t, "ports", h.Ports)
}

func TestTheRecordedSpotMachineDecodesToItsValues(t *testing.T) {
	b, tree := payload(t, "v0_vm_record_spot_running.json")
	list := mustParse(t, []byte(`{"success":true,"virtualmachines":`+string(b)+`}`))
	got, err := decodeInstances(list)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d machines, %v", len(got), err)
	}
	id, vm := only(t, tree)
	m := got[0]
	eq(t, "id", m.ID, id)
	eq(t, "api", m.API, market.V0)
	eq(t, "name", m.Name, str(vm, "name"))
	eq(t, "status", m.Status, market.StatusRunning)
	eq(t, "raw status", m.RawStatus, str(vm, "status"))
	eq(t, "capacity", m.Capacity, market.Spot)
	eq(t, "host", m.Host, str(vm, "hostnode"))
	eq(t, "place", m.Location, market.Location{ID: str(vm, "location"), City: str(vm, "city"), Region: str(vm, "state"), Country: str(vm, "country")})
	eq(t, "model", string(m.Model), str(vm, "specs", "gpu", "type"))
	eq(t, "shape", m.Shape, market.Shape{GPUs: 1, VCPUs: int(num(vm, "specs", "vcpus")), RAM: int(num(vm, "specs", "ram")), Storage: int(num(vm, "specs", "storage"))})
	sameRate(t, "compute", m.Compute, num(vm, "compute_price"))
	sameRate(t, "storage", m.Storage, num(vm, "storage_price"))
	sameRate(t, "total", m.Total, num(vm, "total_price"))
	eq(t, "ip", m.IP, str(vm, "ip_address"))
	eq(t, "user", m.User, str(vm, "default_user"))
	eq(t, "ports", len(m.Ports), len(at(vm, "port_forwards").(map[string]any)))
	eq(t, "first port", m.Ports[0], market.PortForward{External: 47906, Internal: 8188})
	eq(t, "created", m.Created, time.Date(2024, 11, 3, 7, 16, 59, 0, time.UTC))
}

func TestTheDocumentedListAndOutbidMachineDecode(t *testing.T) {
	b, tree := payload(t, "v0_docs_list.json")
	got, err := decodeInstances(mustParse(t, b))
	if err != nil || len(got) != 1 {
		t.Fatalf("%d machines, %v", len(got), err)
	}
	id, vm := only(t, tree["virtualmachines"])
	eq(t, "id", got[0].ID, id)
	eq(t, "capacity", got[0].Capacity, market.CapacityUnknown)
	sameRate(t, "compute from cost", got[0].Compute, num(vm, "cost"))
	unknown(t, "storage price", got[0].Storage)
	unknown(t, "total", got[0].Total)

	b, tree = payload(t, "v0_docs_get_single_outbid_spot.json")
	m, err := decodeInstanceAnswer(mustParse(t, b), "the-id")
	if err != nil {
		t.Fatal(err)
	}
	vm = tree["virtualmachine"].(map[string]any)
	eq(t, "id", m.ID, "the-id")
	eq(t, "status", m.Status, market.StatusOutbid)
	eq(t, "capacity", m.Capacity, market.Spot)
	eq(t, "gpus", m.Shape.GPUs, int(num(vm, "specs", "gpu", "amount")))
	eq(t, "ip from the host name", m.IP, str(vm, "hostname"))
	sameRate(t, "bid from cost", m.Compute, num(vm, "cost"))
}

func TestTheDocumentedDeployModifyAndBalanceDecode(t *testing.T) {
	b, tree := payload(t, "v0_docs_deploy_single.json")
	d, err := decodeDeployed(mustParse(t, b))
	if err != nil {
		t.Fatal(err)
	}
	eq(t, "id", d.ID, str(tree, "server"))
	eq(t, "ip", d.IP, str(tree, "ip"))
	sameRate(t, "compute", d.Compute, num(tree, "cost", "compute_price"))
	sameRate(t, "storage", d.Storage, num(tree, "cost", "storage_price"))
	sameRate(t, "total", d.Total, num(tree, "cost", "total_price"))
	eq(t, "second port", d.Ports[1], market.PortForward{External: 30118, Internal: 22})

	b, _ = payload(t, "v0_docs_modify_single.json")
	if _, f := judge(request{verb: verbChange}, answer{code: 200, body: b}); f != nil {
		t.Errorf("modify: %v", f.text)
	}
	b, tree = payload(t, "v0_docs_billing_balance.json")
	bal, err := decodeBalance(mustParse(t, b))
	if err != nil {
		t.Fatal(err)
	}
	known(t, "balance", bal.Balance, market.Amount(999_987_000_000))
	sameRate(t, "burn", bal.Hourly, num(tree, "hourly_cost"))
}

func TestObservedHTTP500SaysThatNothingIsLeftToDo(t *testing.T) {
	for name, c := range map[string]struct {
		verb verb
		want market.Class
	}{
		"v0_observed_error_http500_start.json": {verbStart, market.ClassDone},
		"v0_observed_error_http500_stop.json":  {verbRelease, market.ClassDone},
	} {
		b, tree := payload(t, name)
		_, f := judge(request{verb: c.verb}, answer{code: http.StatusInternalServerError, body: b})
		if f == nil || f.class != c.want || f.text != str(tree, "error") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
