package simulator

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// template is a prepared machine of a usual size: dearer to keep ready for the
// host, quicker to start for the tenant.
type template struct {
	id    string
	model market.GPUModel
	shape market.Shape
	image string
}

// instantBoot is how much quicker a prepared machine is up.
const instantBoot = 6

// instantVM is a template on a host that has it ready.
type instantVM struct {
	id       string
	template template
	pool     *pool
}

// templates are the same for the whole market, one and two GPUs of each model.
func (e *Engine) templates() []template {
	var out []template
	seen := map[market.GPUModel]bool{}
	for _, h := range e.hosts {
		for _, p := range h.pools {
			if seen[p.model] {
				continue
			}
			seen[p.model] = true
			for n := 1; n <= 2; n++ {
				id := newID(stream(e.opts.Seed, fmt.Sprintf("template/%s/%d", p.model, n)))
				shape := market.Shape{GPUs: n, VCPUs: 4 * n, RAM: 16 * n, Storage: 100}
				out = append(out, template{id: id, model: p.model, shape: shape, image: "Ubuntu 22.04 LTS"})
			}
		}
	}
	return out
}

// instantVMs are the prepared machines there are now: on every host that has room.
func (e *Engine) instantVMs() []instantVM {
	var out []instantVM
	for _, t := range e.templates() {
		for _, h := range e.hosts {
			p := h.pool(t.model)
			o := market.Order{Model: t.model, Shape: t.shape}
			if p == nil || !h.online || !h.listed || h.reserved || len(h.ports) == 0 ||
				p.shown() < t.shape.GPUs || e.checkShape("instant", p, &o) != nil {
				continue
			}
			id := newID(stream(e.opts.Seed, "instant/"+t.id+"/"+h.id))
			out = append(out, instantVM{id: id, template: t, pool: p})
		}
	}
	return out
}

func (c *call) instants() answer {
	defer c.e.lock()()
	options, vms := []any{}, object{}
	for _, t := range c.e.templates() {
		options = append(options, object{
			"uuid": t.id, "gpu_model": []any{t.model}, "gpu_count": []any{t.shape.GPUs}, "cpu_count": t.shape.VCPUs,
			"ram": t.shape.RAM, "storage": t.shape.Storage, "operating_system": t.image,
		})
	}
	for _, vm := range c.e.instantVMs() {
		vms[vm.id] = vm.json()
	}
	return ok(object{"success": true, "preconfig_options": options, "virtual_machines": vms})
}

func (vm instantVM) json() object {
	h, s := vm.pool.host, vm.template.shape
	compute, storage := vm.pool.onDemand(s), h.storage.price.Mul(s.Storage)
	out := object{
		"uuid": vm.id, "preconfig_id": vm.template.id, "hostnode": h.id, "location": h.locID,
		"city": h.place.city, "stateprovince": h.place.region, "country": h.place.country, "dc_name": nil, "dc_tier": nil,
		"gpu_model": []any{vm.template.model}, "gpu_count": []any{s.GPUs}, "cpu_model": h.cpuType, "cpu_count": s.VCPUs,
		"ram": s.RAM, "storage": s.Storage, "uptime": fmt.Sprintf("%.4f", h.uptime),
		"price": object{
			"compute_price": compute.Decimal(), "price": compute.Add(storage).Decimal(), "gpu_price": vm.pool.price.Mul(s.GPUs).Decimal(),
			"ram_price": h.ram.price.Mul(s.RAM).Decimal(), "vcpus_price": h.cpu.price.Mul(s.VCPUs).Decimal(), "storage_price": storage.Decimal(),
		},
	}
	if h.dc != nil {
		out["dc_name"], out["dc_tier"] = h.dc.name, h.dc.tier
	}
	return out
}

// deployInstant buys a prepared machine: a certain one, or any of its template.
func (c *call) deployInstant() answer {
	defer c.e.lock()()
	vm := c.e.findInstant(c.params.text("instance_uuid", "instant_vm"), c.params.text("preconfig_id"))
	if vm == nil {
		return c.refused(refuse("deploy instant", market.ClassNoCapacity, "This instant VM is no longer available"))
	}
	ports, err := c.params.ports()
	if err != nil {
		return c.failure(http.StatusBadRequest, err.Error())
	}
	boot := c.e.opts.Boot
	boot.Median /= time.Duration(instantBoot)
	m, err := c.e.deploy(deployment{api: market.V0, boot: boot, neverUp: c.hit.is(faultNeverUp), Order: market.Order{
		Name: c.params.text("name"), Host: vm.pool.host.id, Model: vm.template.model, Shape: vm.template.shape, Capacity: market.OnDemand,
		Image: vm.template.image, Ports: ports, Password: secret.New(c.params.text("password")), SSHKey: c.params.text("ssh_key"),
	}})
	if err != nil {
		return c.refused(err)
	}
	return ok(c.deployed(m))
}

func (e *Engine) findInstant(id, templateID string) *instantVM {
	for _, vm := range e.instantVMs() {
		if id != "" && (vm.id == id || vm.template.id == id) || id == "" && vm.template.id == templateID {
			return &vm
		}
	}
	return nil
}
