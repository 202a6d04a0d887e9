package simulator

import (
	"net/http"

	"github.com/tdscaler/tdscaler/internal/market"
)

// containerDeploy takes the names of both descriptions of the endpoint.
func (c *call) containerDeploy() answer {
	p := c.params
	o := ContainerOrder{
		Name: p.text("display_name", "name"), Image: p.text("image_name", "image"), Replicas: max(p.number("replicas"), 1),
		Shape:   market.Shape{GPUs: max(p.number("gpu_count"), 1), VCPUs: 4, RAM: 16, Storage: 50},
		MaxRate: market.MaxRate, Port: p.number("networking_port"),
	}
	for field, to := range map[string]*int{"vcpus": &o.Shape.VCPUs, "ram": &o.Shape.RAM, "storage": &o.Shape.Storage} {
		if p.has(field) {
			*to = p.number(field)
		}
	}
	for _, name := range append(p.list("gpu_models"), p.list("gpu_model")...) {
		o.Models = append(o.Models, market.GPUModel(name))
	}
	if p.has("max_vm_rate_hourly") {
		most, err := p.money("max_vm_rate_hourly")
		if err != nil {
			return c.refused(err)
		}
		o.MaxRate = most
	}
	o.Barren = c.hit.is(faultNeverUp)
	id, err := c.e.DeployContainer(o)
	if err != nil {
		return c.refused(err)
	}
	if c.hit.is(faultNoID) {
		return ok(object{"success": true})
	}
	return ok(object{"success": true, "container_id": id})
}

// containerScale: one of the two documents adds, the other says nothing and means the
// number.
func (c *call) containerScale() answer {
	if !c.params.has("replicas") {
		return c.failure(http.StatusBadRequest, "Missing parameter: replicas")
	}
	return c.done(c.e.ScaleContainer(c.params.text("container_id"), c.params.number("replicas"), c.opts.Scale == ScaleAbsolute || c.opts.Scale == "" && c.opts.Shape == Seed))
}

func (c *call) containerStop() answer {
	return c.done(c.e.StopContainer(c.params.text("container_id")))
}

// replicas has no success key, as documented.
func (c *call) replicas() answer {
	ms, err := c.e.Replicas(c.id)
	if err != nil {
		return c.refused(err)
	}
	defer c.e.lock()()
	result := []any{}
	for _, m := range ms {
		live := c.e.machine[m.ID]
		h := live.pool.host
		external, internal := []int{}, []int{}
		for _, f := range live.order.Ports {
			external, internal = append(external, f.External), append(internal, f.Internal)
		}
		result = append(result, object{
			"vm_uuid": m.ID, "ip_address": h.ip, "rate_hourly": live.rate.Add(live.storage),
			"external_ports": external, "internal_ports": internal, "hostnode_uptime_url": h.report,
		})
	}
	return ok(object{"result": result})
}
