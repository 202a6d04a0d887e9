package tensordock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/tdscaler/tdscaler/internal/market"
)

// instanceOrder is a machine to be bought through v2, always on demand: v2 has no
// auction.
type instanceOrder struct {
	Name        string
	Location    string // a Site's ID; or
	Host        string // a hostnode's ID: one of the two
	Image       string // v2's names: ubuntu2404, ubuntu2204, windows10...
	Model       market.GPUModel
	Shape       market.Shape
	Ports       []market.PortForward // or
	DedicatedIP bool
	SSHKey      string // the public key; or
	SSHKeyID    string // one stored with the account
	CloudInit   string // a #cloud-config document, or a shell script
}

// InstancesV2 lists the account's machines as v2 sees them, sorted by ID, whole
// or as an error. Items may carry no more than ID, name and status; how a machine
// was bought is not told.
func (r *Reader) InstancesV2(ctx context.Context) ([]market.Instance, error) {
	return ask(ctx, r.v2, r.v2request("list instances", http.MethodGet, "", nil), decodeInstancesV2)
}

// InstanceV2 reads one machine through v2. ClassNotFound if there is none.
func (r *Reader) InstanceV2(ctx context.Context, id string) (market.Instance, error) {
	q := r.v2request("get instance", http.MethodGet, "/"+url.PathEscape(id), nil)
	if !isSegment(id) {
		return market.Instance{}, refuse(q, "no instance given")
	}
	return ask(ctx, r.v2, q, func(v value) (market.Instance, error) { return decodeInstanceV2(v, id) })
}

// createFor buys an order through v2.
func (c *Client) createFor(ctx context.Context, o market.Order) (market.Deployed, error) {
	v2 := instanceOrder{
		Name: o.Name, Location: o.Site, Host: o.Host, Image: o.Image, Model: o.Model, Shape: o.Shape, Ports: o.Ports,
		SSHKey: strings.TrimSpace(o.SSHKey), CloudInit: o.CloudInit,
	}
	if v2.Location != "" {
		v2.Host = ""
	}
	if o.Capacity != market.OnDemand {
		return market.Deployed{}, refuse(c.v2request("create instance", http.MethodPost, "", nil), "v2 sells on demand only")
	}
	return c.createInstance(ctx, v2)
}

// createInstance buys a machine through v2. The GPUs are sent as the map that the
// live API takes; where that is refused by name, once more as the documented
// array, which is safe because a 400 had no effect.
func (c *Client) createInstance(ctx context.Context, o instanceOrder) (market.Deployed, error) {
	q := c.v2request("create instance", http.MethodPost, "", nil)
	q.verb, q.secrets = verbBuy, []string{o.CloudInit}
	if why := faultOfV2(o); why != "" {
		return market.Deployed{}, refuse(q, why)
	}
	d, err := c.create(ctx, q, o, map[string]any{string(o.Model): map[string]any{"count": o.Shape.GPUs}})
	if refusesGPUs(err) {
		return c.create(ctx, q, o, []any{map[string]any{"gpuV0Name": o.Model, "count": o.Shape.GPUs}})
	}
	return d, err
}

func (c *Client) create(ctx context.Context, q request, o instanceOrder, gpus any) (market.Deployed, error) {
	body, err := createBody(o, gpus)
	if err != nil {
		return market.Deployed{}, refuse(q, "cloud-init: "+c.v2.scrub.with(q.secrets).line(err.Error()))
	}
	q.json = body
	return tell(ctx, c.v2, q, decodeCreated)
}

// refusesGPUs says whether an HTTP 400 complained about the form of the GPUs, and
// not about their number or absence, which have classes of their own.
func refusesGPUs(err error) bool {
	var e *market.Error
	return errors.As(err, &e) && e.Class == market.ClassRefused && errors.Is(e.Err, errBadRequest) && strings.Contains(strings.ToLower(e.Detail), "gpus")
}

func faultOfV2(o instanceOrder) string {
	switch {
	case o.Name == "" || o.Image == "" || o.Model == "":
		return "an order needs a name, an image and a GPU model"
	case o.Shape.GPUs < 1 || o.Shape.VCPUs < 1 || o.Shape.RAM < 1 || o.Shape.Storage < 1:
		return "an order needs GPUs, vCPUs, RAM and storage"
	case (o.Location == "") == (o.Host == ""):
		return "an order names a location or a host, not both"
	case o.SSHKey != "" && o.SSHKeyID != "":
		return "an order has an SSH key or the id of one, not both"
	case o.SSHKey == "" && o.SSHKeyID == "" && !strings.HasPrefix(o.Image, "windows"):
		return "an order needs an SSH key"
	}
	return ""
}

func createBody(o instanceOrder, gpus any) ([]byte, error) {
	attributes := map[string]any{
		"name": o.Name, "type": "virtualmachine", "image": o.Image,
		"resources": map[string]any{"vcpu_count": o.Shape.VCPUs, "ram_gb": o.Shape.RAM, "storage_gb": o.Shape.Storage, "gpus": gpus},
	}
	for k, s := range map[string]string{"location_id": o.Location, "hostnode_id": o.Host, "ssh_key": o.SSHKey, "ssh_key_id": o.SSHKeyID} {
		if s != "" {
			attributes[k] = s
		}
	}
	if o.DedicatedIP {
		attributes["useDedicatedIp"] = true
	} else {
		attributes["port_forwards"] = forwardsV2(o.Ports)
	}
	if o.CloudInit != "" {
		document, err := cloudInit(o.CloudInit)
		if err != nil {
			return nil, err
		}
		attributes["cloud_init"] = document
	}
	return json.Marshal(map[string]any{"data": map[string]any{"type": "virtualmachine", "attributes": attributes}})
}

func forwardsV2(ports []market.PortForward) []any {
	out := []any{}
	for _, p := range ports {
		out = append(out, map[string]int{"internal_port": p.Internal, "external_port": p.External})
	}
	return out
}

// cloudInit makes the object that v2 takes of a #cloud-config document or, as its
// one command, of a script.
func cloudInit(text string) (map[string]any, error) {
	if !strings.HasPrefix(text, "#cloud-config") {
		return map[string]any{"runcmd": []string{text}}, nil
	}
	document := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, fmt.Errorf("not a cloud-config document: %w", err)
	}
	return document, nil
}

// StartInstance boots a machine through v2. ClassDone if it runs already.
func (c *Client) StartInstance(ctx context.Context, id string) error {
	return c.actV2(ctx, verbStart, "start instance", http.MethodPost, id, "/start", nil)
}

// StopInstance stops a machine through v2, keeping its GPUs. ClassDone if it is
// stopped.
func (c *Client) StopInstance(ctx context.Context, id string) error {
	return c.actV2(ctx, verbStop, "stop instance", http.MethodPost, id, "/stop", nil)
}

// DeleteInstance ends a machine through v2. ClassDone or ClassNotFound if gone.
func (c *Client) DeleteInstance(ctx context.Context, id string) error {
	return c.actV2(ctx, verbDelete, "delete instance", http.MethodDelete, id, "", nil)
}

// ModifyInstance changes a stopped machine's size through v2.
func (c *Client) ModifyInstance(ctx context.Context, id string, model market.GPUModel, s market.Shape) error {
	body, err := json.Marshal(map[string]any{
		"cpuCores": s.VCPUs, "ramGb": s.RAM, "diskGb": s.Storage,
		"gpus": map[string]any{"gpuV0Name": model, "count": s.GPUs},
	})
	if err != nil {
		return fmt.Errorf("modify instance: %w", err)
	}
	return c.actV2(ctx, verbChange, "modify instance", http.MethodPut, id, "/modify", body)
}

func (c *Client) actV2(ctx context.Context, v verb, op, method, id, suffix string, body []byte) error {
	q := c.v2request(op, method, "/"+url.PathEscape(id)+suffix, body)
	q.verb = v
	if !isSegment(id) {
		return refuse(q, "no instance given")
	}
	_, err := tell(ctx, c.v2, q, accepted)
	return err
}

func (r *Reader) v2request(op, method, path string, body []byte) request {
	return request{
		op: op, method: method, path: "/api/v2/instances" + path, json: body,
		bearer: r.token.Reveal(), locked: r.token.IsEmpty(),
	}
}

// layers looks a field up where v2 may put it: in data.attributes, data, or the
// answer itself.
type layers []value

func layersOf(v value) layers {
	data := v.get("data", "instance")
	return layers{data.get("attributes"), v.get("attributes"), data, v}
}

func (l layers) get(names ...string) value {
	for _, v := range l {
		if f := v.get(names...); f != nil {
			return f
		}
	}
	return nil
}

// decodeInstancesV2: an array under data, instances, or both, with attributes
// between or not.
func decodeInstancesV2(v value) ([]market.Instance, error) {
	data := v.get("data")
	for _, list := range []value{data, layersOf(v).get("instances", "virtualmachines")} {
		if list.isArray() {
			return collect(list.entries(), func(id string, item value) market.Instance { return machineV2(id, layersOf(item)) })
		}
	}
	return nil, errors.New("no instances in the answer")
}

func decodeInstanceV2(v value, id string) (market.Instance, error) {
	l := layersOf(v)
	if !l.get("status").isString() && !l.get("resources").isObject() {
		return market.Instance{}, errors.New("no instance in the answer")
	}
	if got := l.get("id").word(); got != "" && got != id {
		return market.Instance{}, errors.New("the answer is about another instance")
	}
	return machineV2(id, l), nil
}

// machineV2 reads one machine of v2. How it was bought stays unknown: v2 also
// lists machines that were bought through v0.
func machineV2(id string, l layers) market.Instance {
	m := newMachine(market.V2, id, l)
	m.Location.ID = l.get("location_id", "locationId").word()
	m.IP = l.get("ipAddress", "ip_address", "ip").word()
	m.Total = l.get("rateHourly", "rate_hourly", "price_per_hour").price()
	return m
}

func decodeCreated(v value) (market.Deployed, error) {
	l := layersOf(v)
	d := market.Deployed{
		ID:    l.get("id").text(),
		Total: l.get("rateHourly", "rate_hourly").price(),
		IP:    l.get("ipAddress", "ip_address").word(),
		Ports: decodeForwards(l.get("portForwards", "port_forwards")),
	}
	if !isID(d.ID) {
		return d, errors.New("no instance id in the answer")
	}
	return d, nil
}
