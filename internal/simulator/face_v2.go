package simulator

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

const perMinute2 = 100 // calls of v2 per organisation

// limit counts v2's calls and refuses what is too much. Its headers are on every
// answer in reality; their names are not documented, these are the usual ones.
func (c *call) limit() (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.e.opts.Clock.Now()
	c.recent = slices.DeleteFunc(c.recent, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(c.recent) < perMinute2 {
		c.recent = append(c.recent, now)
		return answer{}, false
	}
	a := c.shape.failure2(http.StatusTooManyRequests, "Rate limit exceeded")
	wait := int(c.recent[0].Add(time.Minute).Sub(now)/time.Second) + 1
	a.header = http.Header{"Retry-After": {strconv.Itoa(wait)}, "X-Ratelimit-Limit": {strconv.Itoa(perMinute2)}, "X-Ratelimit-Remaining": {"0"}}
	return a, true
}

// refused2 turns an error of the engine into v2's answer.
func (c *call) refused2(err error) answer {
	var r *Refusal
	if !errors.As(err, &r) {
		return c.shape.failure2(http.StatusInternalServerError, err.Error())
	}
	switch {
	case r.Class == market.ClassNotFound && r.Op != "deploy", r.Class == market.ClassDone && r.Op == "delete":
		return c.shape.failure2(http.StatusNotFound, "Instance not found")
	case r.Class == market.ClassDone:
		return c.shape.failure2(http.StatusConflict, r.Detail)
	case r.Class == market.ClassNoCapacity:
		return c.shape.failure2(http.StatusOK, r.Detail)
	}
	return c.shape.failure2(http.StatusBadRequest, r.Detail)
}

// list2 shows the account's machines, however they were bought.
func (c *call) list2() answer {
	defer c.e.lock()()
	return ok(c.shape.instances2(c.e.living()))
}

func (c *call) get2() answer {
	defer c.e.lock()()
	m, err := c.e.find("get", c.id)
	if err != nil {
		return c.refused2(err)
	}
	return ok(c.shape.instance2(m))
}

// known2 is nil where the machine in the path exists.
func (c *call) known2(op string) error {
	defer c.e.lock()()
	_, err := c.e.find(op, c.id)
	return err
}

func (c *call) act2(op string, act func() error, reply any) answer {
	err := c.known2(op)
	if err == nil {
		err = act()
	}
	if err != nil {
		return c.refused2(err)
	}
	return ok(reply)
}

func (c *call) start2() answer {
	return c.act2("start", func() error { return c.e.Start(c.id) }, c.shape.status2(c.id, "starting"))
}

func (c *call) stop2() answer {
	return c.act2("stop", func() error { return c.e.Stop(c.id, false) }, c.shape.status2(c.id, "stopping"))
}

func (c *call) delete2() answer {
	return c.act2("delete", func() error { return c.e.Delete(c.id) }, c.shape.success2("Instance deleted successfully"))
}

// modify2 needs a stopped machine; what is left out stays.
func (c *call) modify2() answer {
	var req struct {
		CPUCores, RAMGb, DiskGb int
		GPUs                    struct {
			GPUV0Name string
			Count     int
		}
	}
	if err := json.Unmarshal(c.params.raw, &req); err != nil {
		return c.shape.failure2(http.StatusBadRequest, "Invalid request body")
	}
	defer c.e.lock()()
	m, err := c.e.find("modify", c.id)
	if err != nil {
		return c.refused2(err)
	}
	if m.status != market.StatusStopped && m.status != market.StatusReleased {
		return c.shape.failure2(http.StatusBadRequest, "Instance must be stopped before modifying")
	}
	s, model := m.order.Shape, m.order.Model
	for to, v := range map[*int]int{&s.VCPUs: req.CPUCores, &s.RAM: req.RAMGb, &s.Storage: req.DiskGb, &s.GPUs: req.GPUs.Count} {
		if v != 0 {
			*to = v
		}
	}
	if req.GPUs.GPUV0Name != "" {
		model = market.GPUModel(req.GPUs.GPUV0Name)
	}
	if err := c.e.modify(m, model, s); err != nil {
		return c.refused2(err)
	}
	return ok(c.shape.success2("Instance modified successfully"))
}

// create2Request is the body of a create, with the GPUs in either form.
type create2Request struct {
	Data struct {
		Type       string
		Attributes struct {
			Name           string
			Image          string
			LocationID     string `json:"location_id"`
			HostnodeID     string `json:"hostnode_id"`
			UseDedicatedIP bool   `json:"useDedicatedIp"`
			SSHKey         string `json:"ssh_key"`
			SSHKeyID       string `json:"ssh_key_id"`
			PortForwards   []struct {
				Internal int `json:"internal_port"`
				External int `json:"external_port"`
			} `json:"port_forwards"`
			Resources struct {
				VCPUs   int             `json:"vcpu_count"`
				RAM     int             `json:"ram_gb"`
				Storage int             `json:"storage_gb"`
				GPUs    json.RawMessage `json:"gpus"`
			}
		}
	}
}

// create2 buys on demand: v2 has no bids.
func (c *call) create2() answer {
	var req create2Request
	if err := json.Unmarshal(c.params.raw, &req); err != nil {
		return c.shape.failure2(http.StatusBadRequest, "Invalid request body")
	}
	d, issue, at := c.order2(&req)
	if issue != "" {
		return c.invalid2(issue, at)
	}
	defer c.e.lock()()
	d.neverUp = c.hit.is(faultNeverUp)
	if err := c.e.pick2(&d); err != nil {
		return c.refused2(err)
	}
	m, err := c.e.deploy(d)
	if err != nil {
		return c.refused2(err)
	}
	return c.shape.created2(m)
}

// invalid2 is the answer of the live API's schema check: an array of issues.
func (c *call) invalid2(message, at string) answer {
	if c.opts.Shape == Seed {
		return c.shape.failure2(http.StatusBadRequest, message)
	}
	path := append([]string{"data", "attributes"}, strings.Split(at, ".")...)
	return reply(http.StatusBadRequest, []any{object{"code": "custom", "message": message, "path": path}})
}

func (c *call) order2(req *create2Request) (d deployment, issue, at string) {
	a := &req.Data.Attributes
	model, count := gpus2(a.Resources.GPUs)
	d = deployment{api: market.V2, boot: c.e.opts.Boot, location: a.LocationID, Order: market.Order{
		Name: a.Name, Host: a.HostnodeID, Model: model, Image: a.Image, Capacity: market.OnDemand,
		Shape:  market.Shape{GPUs: count, VCPUs: a.Resources.VCPUs, RAM: a.Resources.RAM, Storage: a.Resources.Storage},
		SSHKey: a.SSHKey + a.SSHKeyID,
	}}
	windows := strings.HasPrefix(a.Image, "windows")
	ssh := a.UseDedicatedIP
	for _, f := range a.PortForwards {
		d.Ports = append(d.Ports, market.PortForward{External: f.External, Internal: f.Internal})
		ssh = ssh || f.Internal == 22
	}
	// The documented request knows no port_forwards: there 22 is forwarded unasked.
	if c.opts.Shape == Seed && !ssh {
		d.Ports, ssh = append(d.Ports, market.PortForward{Internal: 22}), true
	}
	switch {
	case (a.LocationID == "") == (a.HostnodeID == ""):
		return d, "Exactly one of location_id and hostnode_id is required", "location_id"
	case a.Name == "":
		return d, "Name is required", "name"
	case count < 1:
		return d, "At least one GPU is required", "resources.gpus"
	case a.Resources.Storage < 100:
		return d, "Storage must be at least 100 GB", "resources.storage_gb"
	case !windows && a.SSHKey == "" && a.SSHKeyID == "":
		return d, "SSH key is required for Linux VMs", "ssh_key"
	case !windows && !ssh:
		return d, "SSH port (22) must be forwarded for Ubuntu VMs", "port_forwards"
	}
	if windows && d.SSHKey == "" {
		d.SSHKey = "none" // Windows has its own way in
	}
	return d, "", ""
}

// gpus2 reads {"model":{"count":n}} and [{"gpuV0Name":"model","count":n}].
func gpus2(raw json.RawMessage) (market.GPUModel, int) {
	var list []struct {
		GPUV0Name string
		Count     int
	}
	if json.Unmarshal(raw, &list) == nil && len(list) == 1 {
		return market.GPUModel(list[0].GPUV0Name), list[0].Count
	}
	var byName map[string]struct{ Count int }
	if json.Unmarshal(raw, &byName) == nil && len(byName) == 1 {
		for name, g := range byName {
			return market.GPUModel(name), g.Count
		}
	}
	return "", 0
}

// pick2 settles host and ports before the order is checked: an external port that
// is taken or was not named is replaced by a free one, as reality does.
func (e *Engine) pick2(d *deployment) error {
	p, err := e.choose(d)
	if err != nil {
		return err
	}
	free := slices.Clone(p.host.ports)
	for i := range d.Ports {
		if len(free) == 0 {
			return refuse("deploy", market.ClassNoCapacity, "No available public IPs on hostnode")
		}
		at, has := slices.BinarySearch(free, d.Ports[i].External)
		if !has {
			at = 0
		}
		d.Ports[i].External = free[at]
		free = slices.Delete(free, at, at+1)
	}
	return nil
}

// locations2 is what can be bought where. Like the live one it speaks of what is
// advertised, and creating there can still fail.
func (c *call) locations2() answer {
	defer c.e.lock()()
	byID := map[string][]*host{}
	var order []string
	for _, h := range c.e.hosts {
		if !h.online || !h.listed || h.reserved {
			continue
		}
		if byID[h.locID] == nil {
			order = append(order, h.locID)
		}
		byID[h.locID] = append(byID[h.locID], h)
	}
	slices.Sort(order)
	out := []any{}
	for _, id := range order {
		if gpus := gpusAt(byID[id]); len(gpus) > 0 {
			at := byID[id][0].place
			out = append(out, object{
				"id": id, "city": at.city, "stateprovince": at.region, "country": at.country, "tier": at.tier, "gpus": gpus,
			})
		}
	}
	return ok(object{"data": object{"locations": out}})
}

// gpusAt merges the hosts of a place: per model the most one host has.
func gpusAt(hosts []*host) []any {
	best := map[market.GPUModel]*pool{}
	var models []string
	for _, h := range hosts {
		for _, p := range h.pools {
			if p.shown() < 1 {
				continue
			}
			if best[p.model] == nil {
				models = append(models, string(p.model))
			}
			if b := best[p.model]; b == nil || p.shown() > b.shown() {
				best[p.model] = p
			}
		}
	}
	slices.Sort(models)
	out := []any{}
	for _, name := range models {
		p := best[market.GPUModel(name)]
		v := p.host.view()
		out = append(out, object{
			"v0Name": name, "displayName": displayName(name), "max_count": p.shown(), "price_per_hr": p.price,
			"resources": object{"max_vcpus": v.CPU.Free, "max_ram_gb": v.RAM.Free, "max_storage_gb": v.Storage.Free},
			"pricing":   pricing2(p.host),
			"network_features": object{
				"dedicated_ip_available": p.host.place.tier > 2, "port_forwarding_available": len(p.host.ports) > 0,
				"network_storage_available": false,
			},
		})
	}
	return out
}

func pricing2(h *host) object {
	return object{"per_vcpu_hr": h.cpu.price, "per_gb_ram_hr": h.ram.price, "per_gb_storage_hr": h.storage.price}
}

func displayName(model string) string { return strings.ToUpper(strings.ReplaceAll(model, "-", " ")) }

func (c *call) hostnodes2() answer {
	defer c.e.lock()()
	out := []any{}
	for _, h := range c.e.hosts {
		if h.online && h.listed && !h.reserved {
			out = append(out, hostnode2(h))
		}
	}
	return ok(object{"data": object{"hostnodes": out}})
}

func (c *call) hostnode2() answer {
	defer c.e.lock()()
	h := c.e.hostByID[c.id]
	if h == nil {
		return c.shape.failure2(http.StatusNotFound, "Hostnode not found")
	}
	return ok(object{"data": hostnode2(h)})
}

func hostnode2(h *host) object {
	v := h.view()
	gpus := []any{}
	for _, p := range h.pools {
		gpus = append(gpus, object{"v0Name": p.model, "availableCount": p.shown(), "price_per_hr": p.price})
	}
	each := max(h.gpus(), 1)
	return object{
		"id": h.id, "location_id": h.locID, "engine": "v0", "uptime_percentage": 100 * h.uptime,
		"available_resources": object{
			"gpus": gpus, "vcpu_count": v.CPU.Free, "ram_gb": v.RAM.Free, "storage_gb": v.Storage.Free,
			"max_vcpus_per_gpu": h.cpu.total / each, "max_ram_per_gpu": h.ram.total / each,
			"max_vcpus": h.cpu.total, "max_ram_gb": h.ram.total, "max_storage_gb": h.storage.total,
			"available_ports": append([]int{}, h.ports...), "has_public_ip_available": len(h.ports) > 0,
		},
		"pricing": pricing2(h),
		"location": object{
			"uuid": h.locID, "city": h.place.city, "stateprovince": h.place.region, "country": h.place.country,
			"has_network_storage": false, "network_speed_gbps": float64(h.speed) / 1000, "network_speed_upload_gbps": float64(h.speed) / 1000,
			"organization": nil, "organizationName": nil, "tier": h.place.tier,
		},
	}
}
