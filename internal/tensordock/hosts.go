package tensordock

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Hosts lists the marketplace's hostnodes, sorted by ID. It works without
// credentials; with them it also lists those reserved for the organisation. A
// host that cannot be read is left out; if none can, that is ClassShapeChanged.
func (r *Reader) Hosts(ctx context.Context) ([]market.Host, error) {
	q := request{op: "list hosts", method: http.MethodGet, path: "/api/v0/client/deploy/hostnodes", form: r.credentials(), limit: hostsLimit}
	return ask(ctx, r.v0, q, decodeHosts)
}

// Host reads one hostnode.
func (r *Reader) Host(ctx context.Context, id string) (market.Host, error) {
	q := request{op: "get host", method: http.MethodGet, path: "/api/v0/client/deploy/hostnodes/" + url.PathEscape(id), form: r.credentials()}
	if !isSegment(id) {
		return market.Host{}, refuse(q, "no host given")
	}
	return ask(ctx, r.v0, q, func(v value) (market.Host, error) { return decodeHostAnswer(v, id) })
}

func decodeHosts(v value) ([]market.Host, error) {
	list := v.get("hostnodes")
	wrapped := list.isObject() || list.isArray()
	if !wrapped {
		list = v
	}
	hosts, dropped := make([]market.Host, 0, 64), 0
	for id, entry := range list.entries() {
		h, ok := decodeHost(id, entry)
		switch {
		case ok && len(hosts) == maxListed:
			return nil, errTooMany
		case ok:
			hosts = append(hosts, h)
		case wrapped || id != "success":
			dropped++
		}
	}
	if len(hosts) == 0 && dropped > 0 {
		return nil, errors.New("no hostnode could be read")
	}
	slices.SortFunc(hosts, func(a, b market.Host) int { return strings.Compare(a.ID, b.ID) })
	return hosts, nil
}

func decodeHostAnswer(v value, id string) (market.Host, error) {
	for _, candidate := range []value{v.get("hostnode"), v.get("hostnodes").get(id), v.get(id), v} {
		if h, ok := decodeHost(id, candidate); ok {
			return h, nil
		}
	}
	return market.Host{}, errors.New("no hostnode in the answer")
}

// decodeHost reads one hostnode; false for what is not an object with specs.
func decodeHost(id string, v value) (market.Host, bool) {
	h := market.Host{ID: id, Online: true, Listed: true}
	specs, prices := value(nil), value(nil)
	for k, f := range v.fields() {
		switch string(k) {
		case "location":
			h.Location = decodeLocation(f)
		case "networking":
			h.Ports = f.get("ports").integers()
		case "specs":
			specs = f
		case "status":
			decodeHostStatus(&h, f)
		case "pricing":
			prices = f
		case "uuid", "id":
			if h.ID == "" {
				h.ID = f.word()
			}
		}
	}
	if !isID(h.ID) || !specs.isObject() {
		return market.Host{}, false
	}
	decodeSpecs(&h, specs, prices)
	return h, true
}

// decodeLocation reads a place, which may be its bare id.
func decodeLocation(v value) market.Location {
	if !v.isObject() {
		return market.Location{ID: v.word()}
	}
	return market.Location{
		ID:      v.get("id", "uuid").word(),
		Country: v.get("country").word(),
		Region:  v.get("region", "state", "stateprovince").word(),
		City:    v.get("city").word(),
	}
}

// decodeHostStatus: an object of flags, or one word. What is absent keeps its
// default; what is there and cannot be read counts against the host.
func decodeHostStatus(h *market.Host, v value) {
	if v.isString() {
		h.Online = slices.Contains([]string{"online", "active", "up", "available", "listed"}, strings.ToLower(v.word()))
		return
	}
	for k, f := range v.fields() {
		if f.isNull() {
			continue
		}
		switch string(k) {
		case "online":
			h.Online = f.flag().Or(false)
		case "listed":
			h.Listed = f.flag().Or(false)
		case "reserved":
			h.Reserved = f.flag().Or(true)
		case "uptime":
			h.Uptime = f.fraction()
		}
	}
}

// decodeSpecs reads what is free and its price; prices names what the specs do
// not.
func decodeSpecs(h *market.Host, specs, prices value) {
	var gpus value
	for k, f := range specs.fields() {
		switch string(k) {
		case "cpu":
			h.CPU, h.CPUType = decodeComponent(f), f.get("type", "model", "name").word()
		case "ram":
			h.RAM = decodeComponent(f)
		case "storage":
			h.Storage = decodeComponent(f)
		case "gpu", "gpus":
			gpus = f
		case "restrictions":
			h.Limits = decodeRestrictions(f)
		}
	}
	h.CPU.Price = firstKnown(h.CPU.Price, priceOf(prices.get("cpu", "vcpu", "vcpus", "per_vcpu_hr", "cpu_price")))
	h.RAM.Price = firstKnown(h.RAM.Price, priceOf(prices.get("ram", "memory", "per_gb_ram_hr", "ram_price")))
	h.Storage.Price = firstKnown(h.Storage.Price, priceOf(prices.get("storage", "disk", "per_gb_storage_hr", "storage_price")))
	h.GPUs = decodeHostGPUs(gpus, prices.get("gpu", "gpus", "per_gpu_hr", "gpu_price"))
}

// priceOf reads a price that is a number or an object around one.
func priceOf(v value) market.Maybe[market.Rate] {
	if v.isObject() {
		return decodeComponent(v).Price
	}
	return v.price()
}

// decodeComponent reads {amount, price}, or a bare amount.
func decodeComponent(v value) market.Component {
	if !v.isObject() {
		return market.Component{Free: v.count()}
	}
	var c market.Component
	for k, f := range v.fields() {
		switch string(k) {
		case "amount", "count", "available", "availableCount", "free", "max_count":
			c.Free = firstKnown(c.Free, f.count())
		case "price", "price_per_hr", "pricePerHour", "per_hr", "hourly", "per_gpu_hr":
			c.Price = firstKnown(c.Price, f.price())
		}
	}
	return c
}

// decodeHostGPUs reads a map from model to GPU, an array of GPUs, or one GPU,
// sorted by model. An amount that is not known sells nothing: 0.
func decodeHostGPUs(v, prices value) []market.HostGPU {
	out := make([]market.HostGPU, 0, 2)
	for g := range gpuEntries(v) {
		if len(out) == maxModels {
			break
		}
		vram := g.body.get("vram").count()
		if n, ok := vram.Get(); !ok || n == 0 {
			vram = g.model.VRAM()
		}
		c := decodeComponent(g.body)
		out = append(out, market.HostGPU{
			Model: g.model,
			Free:  c.Free.Or(0),
			Price: firstKnown(c.Price, priceOf(prices.get(g.key, string(g.model))), priceOf(prices)),
			VRAM:  vram,
		})
	}
	slices.SortFunc(out, func(a, b market.HostGPU) int { return strings.Compare(string(a.Model), string(b.Model)) })
	return out
}

func decodeRestrictions(v value) map[int]market.Restriction {
	var out map[int]market.Restriction
	for k, f := range v.fields() {
		gpus, err := strconv.Atoi(string(k))
		if err != nil || !f.isObject() || len(out) == maxEntries {
			continue
		}
		if out == nil {
			out = map[int]market.Restriction{}
		}
		out[gpus] = market.Restriction{VCPUs: bounds(f.get("cpu", "vcpus")), RAM: bounds(f.get("ram")), Storage: bounds(f.get("storage"))}
	}
	return out
}

// bounds reads {min, max}; an absent end does not bound.
func bounds(v value) market.Maybe[market.Bounds] {
	lo, hi := v.get("min").count(), v.get("max").count()
	if !lo.Known() && !hi.Known() {
		return market.Maybe[market.Bounds]{}
	}
	return market.Some(market.Bounds{Min: lo.Or(0), Max: hi.Or(math.MaxInt32)})
}
