package tensordock

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Locations lists the sites of v2, sorted by ID. It works without credentials.
func (r *Reader) Locations(ctx context.Context) ([]market.Site, error) {
	q := request{op: "list locations", method: http.MethodGet, path: "/api/v2/locations", bearer: r.token.Reveal(), limit: hostsLimit}
	return ask(ctx, r.v2, q, decodeLocations)
}

func decodeLocations(v value) ([]market.Site, error) {
	list := layersOf(v).get("locations")
	if data := v.get("data"); data.isArray() {
		list = data
	}
	if !list.isArray() {
		return nil, errors.New("no locations in the answer")
	}
	out := []market.Site{}
	for f := range list.items() {
		s := market.Site{Location: decodeLocation(f), Tier: f.get("tier").count(), GPUs: decodeSiteGPUs(f.get("gpus"))}
		if f.isObject() && s.Location.ID != "" {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b market.Site) int { return strings.Compare(a.Location.ID, b.Location.ID) })
	return out, nil
}

func decodeSiteGPUs(v value) []market.SiteGPU {
	out := []market.SiteGPU{}
	for g := range gpuEntries(v) {
		c := decodeComponent(g.body)
		most, prices, network := g.body.get("resources"), g.body.get("pricing"), g.body.get("network_features")
		out = append(out, market.SiteGPU{
			Model:       g.model,
			Name:        g.body.get("displayName").word(),
			Max:         c.Free,
			Price:       c.Price,
			MaxVCPUs:    most.get("max_vcpus").count(),
			MaxRAM:      most.get("max_ram_gb").count(),
			MaxStorage:  most.get("max_storage_gb").count(),
			PerVCPU:     prices.get("per_vcpu_hr").price(),
			PerRAM:      prices.get("per_gb_ram_hr").price(),
			PerStorage:  prices.get("per_gb_storage_hr").price(),
			DedicatedIP: network.get("dedicated_ip_available").flag(),
			Forwards:    network.get("port_forwarding_available").flag(),
			NetDrive:    network.get("network_storage_available").flag(),
		})
	}
	slices.SortStableFunc(out, func(a, b market.SiteGPU) int { return strings.Compare(string(a.Model), string(b.Model)) })
	return out
}
