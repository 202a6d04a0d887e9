package tensordock

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// InstantCatalog is what can be had ready-made: sizes, and the machines that
// wait in them.
type InstantCatalog struct {
	Templates []InstantTemplate // sorted by ID
	Machines  []InstantMachine  // sorted by ID
}

// InstantTemplate is a ready-made size.
type InstantTemplate struct {
	ID      string
	GPUs    []GPUCount
	VCPUs   market.Maybe[int]
	RAM     market.Maybe[int] // GB
	Storage market.Maybe[int] // GB
	Image   string
	Compute market.Maybe[market.Rate] // whole machine, without storage
	Disk    market.Maybe[market.Rate] // its storage
}

// InstantMachine is one machine that waits to be taken.
type InstantMachine struct {
	InstantTemplate
	Template string // ID of its InstantTemplate
	Host     string
	Location market.Location
	CPUType  string
	Uptime   market.Maybe[float64] // fraction 0..1
	Total    market.Maybe[market.Rate]
}

// GPUCount is a number of GPUs of one model.
type GPUCount struct {
	Model market.GPUModel
	Count int
}

// InstantTemplates lists the ready-made machines.
func (r *Reader) InstantTemplates(ctx context.Context) (InstantCatalog, error) {
	q := request{op: "list instant machines", method: http.MethodGet, path: "/api/v0/client/deploy/instantvms", form: r.credentials()}
	return ask(ctx, r.v0, q, decodeInstant)
}

// InstantOrder takes a ready-made machine. The Order's size is optional here;
// it is bought on demand.
type InstantOrder struct {
	market.Order
	Machine  string // ID of an InstantMachine
	Template string // ID of an InstantTemplate, instead of or beside it
}

// DeployInstant buys a ready-made machine, as Deploy does.
func (c *Client) DeployInstant(ctx context.Context, o InstantOrder) (market.Deployed, error) {
	q := c.post("deploy instant", "client/deployinstant/single", nil)
	id := firstText(o.Machine, o.Template)
	switch why := entryFault(o.Order); {
	case o.Name == "" || id == "":
		return market.Deployed{}, refuse(q, "an instant order needs a name and a machine or template")
	case o.Capacity == market.Spot:
		return market.Deployed{}, refuse(q, "instant machines are not sold by auction")
	case why != "":
		return market.Deployed{}, refuse(q, why)
	}
	f := orderForm(o.Order)
	f.Set("instant_vm", id)
	f.Set("instance_uuid", o.Machine)
	f.Set("preconfig_id", o.Template)
	for k, all := range f {
		if all[0] == "" || all[0] == "0" { // what the order leaves to the template
			f.Del(k)
		}
	}
	return c.buy(ctx, q, f, o.Order)
}

func decodeInstant(v value) (InstantCatalog, error) {
	templates, machines := v.get("preconfig_options", "templates"), v.get("virtual_machines", "virtualmachines", "instantvms")
	if templates == nil && machines == nil && !v.get("success").flag().Or(false) {
		return InstantCatalog{}, errors.New("no instant machines in the answer")
	}
	out := InstantCatalog{Templates: []InstantTemplate{}, Machines: []InstantMachine{}}
	for id, f := range templates.entries() {
		out.Templates = append(out.Templates, decodeTemplate(id, f))
	}
	for id, f := range machines.entries() {
		out.Machines = append(out.Machines, decodeInstantMachine(id, f))
	}
	slices.SortFunc(out.Templates, func(a, b InstantTemplate) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(out.Machines, func(a, b InstantMachine) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func decodeTemplate(id string, v value) InstantTemplate {
	price := v.get("price")
	return InstantTemplate{
		ID:      firstText(v.get("uuid").word(), id),
		GPUs:    gpuCounts(v),
		VCPUs:   v.get("cpu_count", "vcpus").count(),
		RAM:     v.get("ram").count(),
		Storage: v.get("storage").count(),
		Image:   v.get("operating_system").word(),
		Compute: firstKnown(v.get("compute_rate_hourly").price(), price.get("compute_price").price()),
		Disk:    firstKnown(v.get("storage_rate_hourly").price(), price.get("storage_price").price()),
	}
}

func decodeInstantMachine(id string, v value) InstantMachine {
	return InstantMachine{
		InstantTemplate: decodeTemplate(id, v),
		Template:        v.get("preconfig_id").word(),
		Host:            v.get("hostnode").word(),
		Location:        machineLocation(v),
		CPUType:         v.get("cpu_model").word(),
		Uptime:          v.get("uptime").fraction(),
		Total:           firstKnown(v.get("price").get("price", "total_price").price(), v.get("price").price()),
	}
}

// gpuCounts pairs the arrays gpu_model and gpu_count, or two single values. A
// model without a count is there at least once.
func gpuCounts(v value) []GPUCount {
	counts := v.get("gpu_count").integers().Or(nil)
	if n, ok := v.get("gpu_count").count().Get(); ok {
		counts = []int{n}
	}
	var out []GPUCount
	for i, name := range v.get("gpu_model").texts() {
		g := GPUCount{Model: market.GPUModel(strings.ToLower(name)), Count: 1}
		if i < len(counts) {
			g.Count = counts[i]
		}
		out = append(out, g)
	}
	return out
}
