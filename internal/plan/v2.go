package plan

import (
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// On-demand machines are bought through v2 where it can sell what is wanted, and
// through v0 where it cannot: v2 is the API that TensorDock develops.

// leastDiskV2 is the least storage that v2 sells, in GB.
const leastDiskV2 = 100

// memoryV2 says whether v2 sells machines with so many GB of RAM.
func memoryV2(gb int) bool {
	return slices.Contains([]int{2, 4, 6, 8, 10, 512}, gb) || gb >= 16 && gb <= 256 && gb%16 == 0
}

// sellsV2 says whether v2 can be asked for a policy's machine of this shape with these
// ports. It wants an SSH key, an image that it knows by name, and a way to log in.
func sellsV2(p *policy.Policy, s market.Shape, ports []market.PortForward) bool {
	login := strings.HasPrefix(p.ImageV2, "windows") ||
		slices.ContainsFunc(ports, func(f market.PortForward) bool { return f.Internal == 22 })
	return p.MayUseV2() && login && s.Storage >= leastDiskV2 && memoryV2(s.RAM) && s.VCPUs%2 == 0
}

// via is the way a machine is ordered on a host.
func (w *world) via(d *desk, c *candidate, ports []market.PortForward) market.Via {
	_, here := w.shelf.backed[backoffKey{siteV2(c.host.ID), c.gpu.Model, c.shape.GPUs}]
	if !w.takesV2(d) || here || !sellsV2(d.p, c.shape, ports) {
		return market.ViaHost
	}
	return market.ViaV2
}

// takesV2 says whether what is bought may be ordered through v2 at all: its machines are
// on demand, can be seen, and it has not just refused us as a whole.
func (w *world) takesV2(d *desk) bool {
	_, failed := w.shelf.backed[backoffKey{host: siteV2("")}]
	return d.buying == market.OnDemand && w.in.Snapshot.V2.Complete && !failed
}

// siteV2 is a host as v2 sells it, or v2 as a whole: what it refuses, v0 may sell.
func siteV2(host string) string { return "v2:" + host }

// Shun keeps us away from what refused an order: its site, or all of v2 where the
// refusal was not about this host.
func Shun(h *History, s policy.Safety, in *Intent, class market.Class, detail string) {
	if in.Via == market.ViaV2 && class != market.ClassNoCapacity {
		Penalise(h, s, siteV2(""), "", 0, market.MaxRate, detail, in.AnswerAt)
		return
	}
	Penalise(h, s, in.site(), in.Model, in.Shape.GPUs, market.MaxRate, detail, in.AnswerAt)
}

// spread puts v2's locations on the shelf, behind the hosts: each GPU model of one as
// that of a host which has the largest machine sold there. A location where a host lists
// the model as free is left out: that host is the surer offer.
func (s *shelf) spread(sites []market.Site) {
	s.onHosts = len(s.offers)
	if len(sites) == 0 {
		return
	}
	type stand struct {
		site  string
		model market.GPUModel
	}
	listed := map[stand]bool{}
	for i := range s.offers {
		if o := &s.offers[i]; o.gpu.Free > 0 {
			listed[stand{o.host.Location.ID, o.gpu.Model}] = true
		}
	}
	for i := range sites {
		at := &sites[i]
		for j := range at.GPUs {
			if g := &at.GPUs[j]; !listed[stand{at.Location.ID, g.Model}] {
				s.offers = append(s.offers, s.siteOffer(at, g))
			}
		}
	}
}

func (s *shelf) siteOffer(at *market.Site, g *market.SiteGPU) offer {
	host := &market.Host{
		ID: siteV2(at.Location.ID), Location: at.Location, Online: true, Listed: true,
		CPU:     market.Component{Free: g.MaxVCPUs, Price: g.PerVCPU},
		RAM:     market.Component{Free: g.MaxRAM, Price: g.PerRAM},
		Storage: market.Component{Free: g.MaxStorage, Price: g.PerStorage},
	}
	gpu := &market.HostGPU{Model: g.Model, Free: g.Max.Or(0), Price: g.Price, VRAM: g.Model.VRAM()}
	o := newOffer(host, gpu, s.place(at.Location), s.model(gpu))
	o.atSite = at.Location.ID
	if forwards, told := g.Forwards.Get(); told && !forwards { // no port to log in by
		o.open = false
	}
	return o
}

// siteSells says whether v2 can be asked to find a host for the policy now.
func (w *world) siteSells(d *desk) bool {
	return w.takesV2(d) && w.in.Snapshot.Sites.Complete &&
		len(d.p.Match.Hosts) == 0 && sellsV2(d.p, grownTo(d.p.Shape, market.Shape{VCPUs: leastVCPUs}), sitePorts(d.p.Ports))
}

// sitePorts are forwards to ask for where nobody knows the host: v2 gives others where
// these are taken.
func sitePorts(internal []int) (out []market.PortForward) {
	for i, port := range internal {
		out = append(out, market.PortForward{External: firstSitePort + i, Internal: port})
	}
	return out
}

const firstSitePort = 20000
