package tensordock

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// instantCatalog is what can be had ready-made: sizes, and the machines that wait in
// them.
type instantCatalog struct {
	templates     []instantTemplate // sorted by id
	machines      []instantMachine  // sorted by id
	listsMachines bool              // there is a list of machines, be it empty
}

// instantTemplate is a ready-made size.
type instantTemplate struct {
	id      string
	gpus    []gpuCount
	vcpus   market.Maybe[int]
	ram     market.Maybe[int] // GB
	storage market.Maybe[int] // GB
	image   string
	compute market.Maybe[market.Rate] // whole machine, without storage
	disk    market.Maybe[market.Rate] // its storage
	total   market.Maybe[market.Rate]
}

// instantMachine is one machine that waits to be taken.
type instantMachine struct {
	instantTemplate
	template string // id of its instantTemplate
	host     string
	location market.Location
	uptime   market.Maybe[float64] // fraction 0..1
}

// gpuCount is a number of GPUs of one model.
type gpuCount struct {
	Model market.GPUModel
	Count int
}

// Instants lists the ready-made machines that are on offer, sorted by ID: machines, or
// where the market lists none but only sizes, the sizes that have a price. What holds
// GPUs of several models is left out.
func (r *Reader) Instants(ctx context.Context) ([]market.Instant, error) {
	q := request{op: "list instant machines", method: http.MethodGet, path: "/api/v0/client/deploy/instantvms", form: r.credentials()}
	c, err := ask(ctx, r.v0, q, decodeInstant)
	return c.offers(), err
}

func (c *instantCatalog) offers() []market.Instant {
	out := []market.Instant{}
	sizes := map[string]*instantTemplate{}
	for i := range c.templates {
		t := &c.templates[i]
		sizes[t.id] = t
		if o, ok := t.offer(); ok && !c.listsMachines {
			o.Many = true
			out = append(out, o)
		}
	}
	for i := range c.machines {
		m := &c.machines[i]
		if t := sizes[m.template]; t != nil {
			m.complete(t)
		}
		if o, ok := m.instantTemplate.offer(); ok {
			o.Host, o.Location, o.Uptime = m.host, m.location, m.uptime
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b market.Instant) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// complete fills in from its size what a machine's entry does not tell.
func (m *instantMachine) complete(t *instantTemplate) {
	if len(m.gpus) == 0 {
		m.gpus = t.gpus
	}
	m.vcpus, m.ram, m.storage = firstKnown(m.vcpus, t.vcpus), firstKnown(m.ram, t.ram), firstKnown(m.storage, t.storage)
	m.image = firstText(m.image, t.image)
	if !m.compute.Known() && !m.total.Known() {
		m.compute, m.disk, m.total = t.compute, t.disk, t.total
	}
}

// offer is the size in market's terms; false where it cannot be ordered.
func (t *instantTemplate) offer() (market.Instant, bool) {
	if t.id == "" || len(t.gpus) != 1 || t.gpus[0].Count < 1 {
		return market.Instant{}, false
	}
	g := t.gpus[0]
	return market.Instant{
		ID: t.id, Model: g.Model, Image: t.image, Compute: t.compute, Storage: t.disk, Total: t.total,
		Shape: market.Shape{GPUs: g.Count, VCPUs: t.vcpus.Or(0), RAM: t.ram.Or(0), Storage: t.storage.Or(0)},
	}, true
}

// deployInstant buys a ready-made machine, whose size is not the order's to choose.
func (c *Client) deployInstant(ctx context.Context, o market.Order) (market.Deployed, error) {
	q := c.post("deploy instant", "client/deployinstant/single", nil)
	switch why := entryFault(o); {
	case o.Name == "" || o.Instant == "":
		return market.Deployed{}, refuse(q, "an instant order needs a name and a machine")
	case o.Capacity == market.Spot:
		return market.Deployed{}, refuse(q, "instant machines are not sold by auction")
	case why != "":
		return market.Deployed{}, refuse(q, why)
	}
	f := orderForm(o)
	f.Set("instant_vm", o.Instant)
	if o.Many {
		f.Set("preconfig_id", o.Instant)
	} else {
		f.Set("instance_uuid", o.Instant)
	}
	for k, all := range f {
		if all[0] == "" || all[0] == "0" || all[0] == "{}" { // what is left to the market
			f.Del(k)
		}
	}
	return c.buy(ctx, q, f, o)
}

func decodeInstant(v value) (instantCatalog, error) {
	templates, machines := v.get("preconfig_options", "templates"), v.get("virtual_machines", "virtualmachines", "instantvms", "instant_vms")
	if v.isArray() {
		machines = v
	}
	if templates == nil && machines == nil && !v.get("success").flag().Or(false) {
		return instantCatalog{}, errors.New("no instant machines in the answer")
	}
	out := instantCatalog{listsMachines: machines != nil}
	for id, f := range templates.entries() {
		out.templates = append(out.templates, decodeTemplate(id, f))
	}
	for id, f := range machines.entries() {
		out.machines = append(out.machines, decodeInstantMachine(id, f))
	}
	slices.SortFunc(out.templates, func(a, b instantTemplate) int { return strings.Compare(a.id, b.id) })
	slices.SortFunc(out.machines, func(a, b instantMachine) int { return strings.Compare(a.id, b.id) })
	return out, nil
}

func decodeTemplate(id string, v value) instantTemplate {
	price := v.get("price")
	return instantTemplate{
		id:      firstText(v.get("uuid").word(), id),
		gpus:    gpuCounts(v),
		vcpus:   v.get("cpu_count", "vcpus", "vcpu_count").count(),
		ram:     v.get("ram", "ram_gb").count(),
		storage: v.get("storage", "storage_gb").count(),
		image:   v.get("operating_system").word(),
		compute: firstKnown(v.get("compute_rate_hourly").price(), price.get("compute_price").price()),
		disk:    firstKnown(v.get("storage_rate_hourly").price(), price.get("storage_price").price()),
		total:   firstKnown(price.get("price", "total_price").price(), price.price(), v.get("rate_hourly", "total_price", "price_per_hour", "hourly_price").price()),
	}
}

func decodeInstantMachine(id string, v value) instantMachine {
	return instantMachine{
		instantTemplate: decodeTemplate(id, v),
		template:        v.get("preconfig_id").word(),
		host:            v.get("hostnode").word(),
		location:        machineLocation(v),
		uptime:          v.get("uptime").fraction(),
	}
}

// gpuCounts pairs the arrays gpu_model and gpu_count, or two single values. A
// model without a count is there at least once.
func gpuCounts(v value) []gpuCount {
	counts := v.get("gpu_count").integers().Or(nil)
	if n, ok := v.get("gpu_count").count().Get(); ok {
		counts = []int{n}
	}
	var out []gpuCount
	for i, name := range v.get("gpu_model").texts() {
		g := gpuCount{Model: market.GPUModel(strings.ToLower(name)), Count: 1}
		if i < len(counts) {
			g.Count = counts[i]
		}
		out = append(out, g)
	}
	return out
}
