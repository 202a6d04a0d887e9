package simulator

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/tdscaler/tdscaler/internal/market"
)

// seedShape answers as the published OpenAPI documents say.
type seedShape struct{ f *face }

func (seedShape) failure(text string) object {
	return object{"success": false, "error": text, "message": text}
}

func (seedShape) hostMap() (open, closing string) { return "{", "}\n" }

func (seedShape) singleHost(encoded []byte) []byte { return encoded }

func (seedShape) host(h *host) any {
	v := h.view()
	status := "online"
	if !h.online || !h.listed {
		status = "offline"
	}
	gpus, prices := object{}, object{}
	for _, g := range v.GPUs {
		gpus[string(g.Model)] = object{"amount": g.Free, "vram": g.VRAM}
		prices[string(g.Model)] = g.Price
	}
	amount := func(c market.Component) object { return object{"amount": c.Free} }
	return object{
		"uuid": h.id, "status": status,
		"location":   object{"country": h.place.country, "region": h.place.region, "city": h.place.city},
		"specs":      object{"cpu": object{"amount": v.CPU.Free, "type": h.cpuType}, "gpu": gpus, "ram": amount(v.RAM), "storage": amount(v.Storage)},
		"networking": object{"speed": h.speed, "ports": append([]int{}, h.ports...)},
		"pricing":    object{"gpu": prices, "cpu": h.cpu.price, "ram": h.ram.price, "storage": h.storage.price},
	}
}

func (s seedShape) list(ms []*machine) []byte {
	var b bytes.Buffer
	b.Grow(1000 * (len(ms) + 1))
	b.WriteString(`{"success":true,"virtualmachines":[`)
	for i, m := range ms {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(s.f.encodeVM(m, s.vm))
	}
	b.WriteString("]}\n")
	return b.Bytes()
}

func (s seedShape) machine(m *machine) any { return s.vm(m) }

func (s seedShape) vm(m *machine) object {
	return object{
		"id": m.id, "name": m.name(), "status": rawStatus(m.status), "hostnode": m.pool.host.id, "ip": m.pool.host.ip,
		"port_forwards": s.ports(m.order.Ports), "resources": resourcesSeed(m), "rate_hourly": m.rate.Add(m.storage),
	}
}

func resourcesSeed(m *machine) object {
	return object{
		"vcpu_count": m.order.Shape.VCPUs, "ram_gb": m.order.Shape.RAM, "storage_gb": m.order.Shape.Storage,
		"gpus": []any{object{"gpuV0Name": m.order.Model, "count": m.order.Shape.GPUs}},
	}
}

func (seedShape) ports(fs []market.PortForward) object {
	out := object{}
	for _, p := range fs {
		out[strconv.Itoa(p.External)] = p.Internal
	}
	return out
}

func (seedShape) verdict(v verdict) object {
	out := object{"success": true, "will_succeed": v.Answer == market.Accepted, "message": "This bid would be accepted"}
	if v.Answer != market.Accepted {
		out["message"] = v.Detail
	}
	if least, known := v.suggested.Get(); known {
		out["suggested_price"] = least
	}
	return out
}

func (seedShape) balance(b market.Balance) object {
	return object{"success": true, "balance": b.Balance, "currency": "USD"}
}

func (seedShape) authorizations(as []authorization) any {
	out := make([]any, 0, len(as))
	for _, a := range as {
		out = append(out, object{"name": a.name, "permissions": a.permissions, "note": a.note})
	}
	return out
}

// v2

func (seedShape) failure2(status int, text string) answer {
	if status == http.StatusOK {
		status = http.StatusBadRequest
	}
	issue := object{"status": strconv.Itoa(status), "title": http.StatusText(status), "detail": text}
	return reply(status, object{"errors": []any{issue}})
}

func (s seedShape) instances2(ms []*machine) any {
	out := make([]any, 0, len(ms))
	for _, m := range ms {
		out = append(out, s.envelope(m))
	}
	return object{"data": object{"instances": out}}
}

func (s seedShape) instance2(m *machine) any { return object{"data": s.envelope(m)} }

func (s seedShape) envelope(m *machine) object {
	attributes := object{
		"name": m.name(), "status": statusSeed(m.status), "portForwards": s.ports(m.order.Ports),
		"resources": resourcesSeed(m), "rateHourly": m.rate.Add(m.storage), "location_id": m.pool.host.locID,
		"image": m.order.Image,
	}
	if ip, known := s.f.address2(m).(string); known {
		attributes["ipAddress"] = ip
	}
	return object{"type": "virtualmachine", "id": m.id, "attributes": attributes}
}

// statusSeed knows seven words only.
func statusSeed(s market.Status) string {
	switch s {
	case market.StatusStarting, market.StatusRunning, market.StatusStopped:
		return string(s)
	case market.StatusTerminated:
		return "deleted"
	}
	return "stopped"
}

func (s seedShape) created2(m *machine) answer {
	return reply(http.StatusCreated, object{"data": s.envelope(m)})
}

func (seedShape) status2(id, status string) any {
	return object{"data": object{"type": "virtualmachine", "id": id, "attributes": object{"status": status}}}
}

func (seedShape) success2(text string) any {
	return object{"data": object{"type": "success", "message": text}}
}
