package simulator

import (
	"bytes"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// hostnodes lists the hosts as the marketplace does: unlisted and offline ones
// too, those reserved for an organisation only to who signs in. The filter is per
// host, not per GPU.
func (c *call) hostnodes() answer {
	defer c.e.lock()()
	signed := c.authorized()
	filter := filterOf(c.params)
	if filter == (hostFilter{}) {
		key := "all"
		if signed {
			key = "signed"
		}
		return answer{status: 200, body: cached(c.whole, key).get(c.e.hostsVer, func() []byte { return c.encodeHosts(filter, signed) })}
	}
	return answer{status: 200, body: c.encodeHosts(filter, signed)}
}

func (c *call) encodeHosts(filter hostFilter, signed bool) []byte {
	var b bytes.Buffer
	b.Grow(1500 * len(c.e.hosts))
	open, closing := c.shape.hostMap()
	b.WriteString(open)
	first := true
	for _, h := range c.e.hosts {
		if h.reserved && !signed || !filter.takes(h) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`"` + h.id + `":`)
		b.Write(c.encodeHost(h))
	}
	b.WriteString(closing)
	return b.Bytes()
}

func (f *face) encodeHost(h *host) []byte {
	return cached(f.hostJSON, h.id).get(h.version, func() []byte { return encode(f.shape.host(h)) })
}

func (c *call) hostnode() answer {
	defer c.e.lock()()
	h := c.e.hostByID[c.id]
	if h == nil {
		return c.refused(refuse("get hostnode", market.ClassNotFound, "Hostnode not found"))
	}
	return answer{status: 200, body: c.shape.singleHost(c.encodeHost(h))}
}

type hostFilter struct {
	minGPUs, maxGPUs, minRAM, maxRAM, minCPUs, minStorage, minVRAM int
	rtx, gtx                                                       bool
}

func filterOf(p params) hostFilter {
	return hostFilter{
		minGPUs: p.number("minGPUCount"), maxGPUs: p.number("maxGPUCount"), minRAM: p.number("minRAM"), maxRAM: p.number("maxRAM"),
		minCPUs: p.number("minvCPUs"), minStorage: p.number("minStorage"), minVRAM: p.number("minVRAM"),
		rtx: p.truth("requiresRTX"), gtx: p.truth("requiresGTX"),
	}
}

func (f hostFilter) takes(h *host) bool {
	v := h.view()
	gpus, vram, rtx, gtx := 0, 0, false, false
	for _, g := range v.GPUs {
		gpus, vram = gpus+g.Free, max(vram, g.VRAM.Or(0))
		rtx, gtx = rtx || isRTX(g.Model), gtx || isGTX(g.Model)
	}
	ram := v.RAM.Free.Or(0)
	return gpus >= f.minGPUs && (f.maxGPUs == 0 || gpus <= f.maxGPUs) &&
		ram >= f.minRAM && (f.maxRAM == 0 || ram <= f.maxRAM) &&
		v.CPU.Free.Or(0) >= f.minCPUs && v.Storage.Free.Or(0) >= f.minStorage &&
		vram >= f.minVRAM && (!f.rtx || rtx) && (!f.gtx || gtx)
}

func isRTX(m market.GPUModel) bool { return strings.Contains(string(m), "rtx") }
func isGTX(m market.GPUModel) bool { return strings.Contains(string(m), "gtx") }
