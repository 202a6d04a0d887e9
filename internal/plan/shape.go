package plan

import (
	"fmt"
	"math"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A policy's shape is what a machine has at least. What a host sells is coarser:
//
//	vCPUs and GB of RAM         even numbers
//	vCPUs                       at least 2
//	GB of storage               at least 20
//	the host's restrictions     least and most of each, by the number of GPUs
//	a part of a host            three quarters of what is free of each, where the machine
//	                            leaves GPUs free and no restriction says how much it may have
//
// More of anything never costs less, and none of these rules ties one resource to
// another. So the cheapest machine that is for sale has the least of each that is for
// sale, each for itself. It depends on the host and not on what is free there: all that
// is learnt of bids for it stays true.

// resource is one of vCPUs, RAM and storage of a host.
type resource struct {
	name   string
	free   market.Maybe[int]
	used   int // by machines of ours that the host's list does not show yet
	bounds market.Maybe[market.Bounds]
	want   int // what the policy wants at least
	need   int // the least the host sells of that
}

const (
	leastVCPUs   = 2
	leastRAM     = 2
	leastStorage = 20
	// partPercent is how much of what is free a machine may have that leaves GPUs free.
	// Clients of the marketplace go by it; the market itself does not tell.
	partPercent = 75
)

// resources are those of a host for a machine of that shape.
func resources(h *market.Host, want market.Shape, t *taken) [3]resource {
	var used taken
	if t != nil {
		used = *t
	}
	l := h.Limits[want.GPUs]
	return [3]resource{
		newResource("vCPUs", h.CPU.Free, used.vcpus, l.VCPUs, want.VCPUs, leastVCPUs, 2),
		newResource("GB of RAM", h.RAM.Free, used.ram, l.RAM, want.RAM, leastRAM, 2),
		newResource("GB of storage", h.Storage.Free, used.storage, l.Storage, want.Storage, leastStorage, 1),
	}
}

func newResource(name string, free market.Maybe[int], used int, bounds market.Maybe[market.Bounds], want, least, step int) resource {
	b, _ := bounds.Get()
	need := (max(want, least, b.Min) + step - 1) / step * step
	return resource{name: name, free: free, used: used, bounds: bounds, want: want, need: need}
}

// sold says whether the host has machines with as much as is needed. What it does not
// tell is not held against it: the market has the last word.
func (r *resource) sold() bool {
	b, known := r.bounds.Get()
	return !known || r.need <= b.Max
}

// fits counts the machines that what is free holds. parts of them leave GPUs free; the
// one after those takes the last.
func (r *resource) fits(parts int) int {
	free, known := r.free.Get()
	if !known {
		return math.MaxInt
	}
	free = max(free-r.used, 0)
	if n := partsWithin(free, r.need); !r.bounds.Known() && n < parts {
		return n
	}
	return free / r.need
}

// partsWithin counts the machines, one after the other, each of which takes at most its
// part of what the others have left: need <= 75 % of free - n x need.
func partsWithin(free, need int) int {
	return max(partPercent*free-(100-partPercent)*need, 0) / (partPercent * need)
}

// solve finds the cheapest machine that the host sells with what is wanted at least; ok is
// false where its restrictions allow none.
func solve(h *market.Host, want market.Shape) (s market.Shape, ok bool) {
	r := resources(h, want, nil)
	s = market.Shape{GPUs: want.GPUs, VCPUs: r[0].need, RAM: r[1].need, Storage: r[2].need}
	return s, r[0].sold() && r[1].sold() && r[2].sold()
}

// fits counts the machines of a policy that the host's resources other than GPUs hold.
func fits(p *policy.Policy, o *offer, t *taken) int {
	n := math.MaxInt
	for _, r := range resources(o.host, p.Shape, t) {
		if !r.sold() {
			return 0
		}
		n = min(n, r.fits(parts(o.host, p.Shape.GPUs, t)))
	}
	if ports, ok := o.host.Ports.Get(); ok {
		if len(ports) == 0 {
			return 0 // the market deploys nothing where no port is free
		}
		if len(p.Ports) > 0 {
			n = min(n, t.freePorts(ports)/len(p.Ports))
		}
	}
	return n
}

// parts counts the machines of so many GPUs, one after the other, that leave GPUs free.
func parts(h *market.Host, gpus int, t *taken) int {
	free := 0
	for i := range h.GPUs {
		n := h.GPUs[i].Free
		if t != nil {
			n -= t.gpus[h.GPUs[i].Model]
		}
		free += max(n, 0)
	}
	return max(free-1, 0) / gpus
}

// shapeText says what of the shape the host does not have, as far as it tells.
func shapeText(p *policy.Policy, o *offer, t *taken) string {
	part := parts(o.host, p.Shape.GPUs, t)
	for _, r := range resources(o.host, p.Shape, t) {
		if b, _ := r.bounds.Get(); !r.sold() {
			return fmt.Sprintf("restriction: a machine with %d GPUs has %d to %d %s there, this one needs %d", p.Shape.GPUs, b.Min, b.Max, r.name, r.need)
		}
		if r.fits(part) > 0 {
			continue
		}
		free := max(r.free.Or(0)-r.used, 0)
		if r.need <= free {
			return fmt.Sprintf("%d %s are free, and a machine that leaves GPUs free may have %d %% of them; this one needs %d", free, r.name, partPercent, r.need)
		}
		return fmt.Sprintf("%d %s are free, a machine needs %d", free, r.name, r.need)
	}
	if ports, ok := o.host.Ports.Get(); ok && (len(ports) == 0 || t.freePorts(ports) < len(p.Ports)) {
		return fmt.Sprintf("%d ports are free, a machine needs %d", t.freePorts(ports), max(1, len(p.Ports)))
	}
	return "it does not fit"
}

// roundedText says what a machine has more of than its policy wants, and why; "" if
// nothing.
func roundedText(h *market.Host, want market.Shape) string {
	text := ""
	for _, r := range resources(h, want, nil) {
		if r.need == r.want {
			continue
		}
		why := "sold in steps"
		if b, _ := r.bounds.Get(); b.Min > r.want {
			why = "the least this host sells"
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s for %d (%s)", r.need, r.name, r.want, why)
	}
	return text
}
