package simulator

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// realShape answers as the live API was recorded to.
type realShape struct{ f *face }

func (realShape) failure(text string) object { return object{"success": false, "error": text} }

func (realShape) hostMap() (open, closing string) { return `{"success":true,"hostnodes":{`, "}}\n" }

func (realShape) singleHost(encoded []byte) []byte {
	return append(append([]byte(`{"success":true,"hostnode":`), encoded...), "}\n"...)
}

func (realShape) host(h *host) any {
	v := h.view()
	gpus := object{}
	for _, g := range v.GPUs {
		gpus[string(g.Model)] = object{
			"amount": g.Free, "price": g.Price, "vram": g.VRAM, "rtx": isRTX(g.Model), "gtx": isGTX(g.Model),
			"pcie": strings.Contains(string(g.Model), "-pcie-"),
		}
	}
	specs := object{
		"cpu": object{"amount": v.CPU.Free, "price": v.CPU.Price, "type": h.cpuType}, "gpu": gpus,
		"ram": component0(v.RAM), "storage": component0(v.Storage),
	}
	if len(h.limits) > 0 {
		specs["restrictions"] = restrictions0(h.limits)
	}
	location := object{
		"id": h.locID, "city": h.place.city, "region": h.place.region, "country": h.place.country, "dc": nil,
	}
	if h.dc != nil {
		location["dc"] = object{"name": h.dc.name, "tier": h.dc.tier}
	}
	return object{
		"location":   location,
		"networking": object{"ports": append([]int{}, h.ports...), "receive": h.speed, "send": h.speed},
		"specs":      specs,
		"status": object{
			"listed": h.listed, "online": h.online, "reserved": h.reserved, "report": h.report, "uptime": h.uptime,
		},
	}
}

func component0(c market.Component) object { return object{"amount": c.Free, "price": c.Price} }

func restrictions0(limits map[int]market.Restriction) object {
	out := object{}
	for n, l := range limits {
		r := object{}
		for name, b := range map[string]market.Maybe[market.Bounds]{"cpu": l.VCPUs, "ram": l.RAM, "storage": l.Storage} {
			if v, known := b.Get(); known {
				r[name] = v
			}
		}
		out[strconv.Itoa(n)] = r
	}
	return out
}

func (s realShape) list(ms []*machine) []byte {
	var b bytes.Buffer
	b.Grow(1000 * (len(ms) + 1))
	b.WriteString(`{"success":true,"virtualmachines":{`)
	for i, m := range ms {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + m.id + `":`)
		b.Write(s.f.encodeVM(m, s.vm))
	}
	b.WriteString("}}\n")
	return b.Bytes()
}

func (s realShape) machine(m *machine) any {
	return object{"success": true, "virtualmachines": s.vm(m)}
}

// vm is one machine. Its prices do not change when it is stopped or outbid, and
// its deployment may stay Pending for ever, as recorded.
func (s realShape) vm(m *machine) object {
	h, o := m.pool.host, &m.order
	kind := "spot"
	if o.Capacity == market.OnDemand {
		kind = "ondem"
	}
	return object{
		"name": o.Name, "hostname": m.id, "hostnode": h.id, "location": h.locID,
		"city": h.place.city, "state": h.place.region, "country": h.place.country,
		"status": rawStatus(m.status), "type": kind, "operating_system": o.Image,
		"cost": m.rate, "compute_price": m.rate, "storage_price": m.storage, "total_price": m.rate.Add(m.storage),
		"cpu_threadscount": o.Shape.VCPUs, "dedicated_ip_address": nil, "ip_address": h.ip, "default_user": "user",
		"deployment":    object{"status": "Pending", "timestamp_completion": nil, "timestamp_failure": nil},
		"port_forwards": s.ports(o.Ports),
		"specs": object{
			"gpu":   object{"amount": o.Shape.GPUs, "type": o.Model},
			"vcpus": o.Shape.VCPUs, "ram": o.Shape.RAM, "storage": o.Shape.Storage,
		},
		"timestamp_creation": m.created.UTC().Format(http.TimeFormat),
	}
}

func (s realShape) ports(fs []market.PortForward) object {
	out := object{}
	for _, p := range fs {
		if s.f.opts.IntPorts {
			out[strconv.Itoa(p.External)] = p.Internal
		} else {
			out[strconv.Itoa(p.External)] = strconv.Itoa(p.Internal)
		}
	}
	return out
}

// verdict names the host's minimum where the bid is below it, and nothing else.
func (realShape) verdict(v verdict) object {
	if v.Answer == market.Accepted {
		return object{"success": true}
	}
	out := object{"success": false, "error": v.Detail}
	if hint, known := v.Hint.Get(); known {
		out["min_bid"] = hint
	}
	return out
}

func (realShape) balance(b market.Balance) object {
	return object{"success": true, "balance": b.Balance, "hourly_cost": b.Hourly}
}

func (realShape) authorizations(as []authorization) any {
	out := object{}
	for _, a := range as {
		out[a.name] = object{
			"permissions": a.permissions, "note": a.note,
			"timestamp_creation": a.created.UTC().Format("2006-01-02 15:04:05.000000"),
		}
	}
	return out
}

// v2

// failure2 answers some refusals with HTTP 200 and the status inside, as reality
// does.
func (realShape) failure2(status int, text string) answer {
	if status == http.StatusOK {
		return reply(http.StatusOK, object{"error": text, "status": http.StatusBadRequest})
	}
	return reply(status, object{"error": text})
}

func (s realShape) instances2(ms []*machine) any {
	out := make([]any, 0, len(ms))
	for _, m := range ms {
		out = append(out, s.instance2(m))
	}
	return object{"data": out}
}

func (s realShape) instance2(m *machine) any {
	forwards := make([]any, 0, len(m.order.Ports))
	for _, p := range m.order.Ports {
		forwards = append(forwards, object{"internal_port": p.Internal, "external_port": p.External})
	}
	name := string(m.order.Model)
	return object{
		"type": "virtualmachine", "id": m.id, "name": m.name(), "status": strings.ToLower(rawStatus(m.status)),
		"ipAddress": s.f.address2(m), "portForwards": forwards, "rateHourly": m.rate.Add(m.storage),
		"resources": object{
			"vcpu_count": m.order.Shape.VCPUs, "ram_gb": m.order.Shape.RAM, "storage_gb": m.order.Shape.Storage,
			"gpus": object{name: object{"count": m.order.Shape.GPUs, "v0Name": name}},
		},
	}
}

// address2 is known only some seconds after the machine was made.
func (f *face) address2(m *machine) any {
	if f.e.now.Sub(m.created) < 10*time.Second {
		return nil
	}
	return m.pool.host.ip
}

func (realShape) created2(m *machine) answer {
	return reply(http.StatusCreated, object{"data": object{
		"type": "virtualmachine", "id": m.id, "name": m.name(), "status": "creating",
	}})
}

func (realShape) status2(id, status string) any {
	return object{"data": object{"type": "instance", "id": id, "attributes": object{"status": status}}}
}

func (realShape) success2(text string) any {
	return object{"data": object{"type": "success", "attributes": object{"message": text}}}
}
