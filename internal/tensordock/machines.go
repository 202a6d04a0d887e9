package tensordock

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Instances lists the account's machines through v0, sorted by ID. The list is
// whole or an error: one machine that cannot be read makes it ClassShapeChanged.
func (r *Reader) Instances(ctx context.Context) ([]market.Instance, error) {
	return ask(ctx, r.v0, r.post("list machines", "client/list", nil), decodeInstances)
}

// Instance reads one machine through v0. ClassNotFound if there is none.
func (r *Reader) Instance(ctx context.Context, id string) (market.Instance, error) {
	q := r.post("get machine", "client/get/single", url.Values{"server": {id}})
	if id == "" {
		return market.Instance{}, refuse(q, "no machine given")
	}
	return ask(ctx, r.v0, q, func(v value) (market.Instance, error) { return decodeInstanceAnswer(v, id) })
}

// Start boots a stopped machine, at the price it was bought for. ClassDone if it
// runs already, ClassNoCapacity if its host has no room.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.act(ctx, verbStart, "start", "client/start/single", id, nil)
}

// Stop shuts a machine down. With release its GPUs go back to the host and only
// storage is billed; without, it is billed in full. ClassDone if it is stopped.
func (c *Client) Stop(ctx context.Context, id string, release bool) error {
	v := verbStop
	if release {
		v = verbRelease
	}
	return c.act(ctx, v, "stop", "client/stop/single", id, url.Values{"disassociate_resources": {strconv.FormatBool(release)}})
}

// Delete ends a machine and its disk. ClassDone or ClassNotFound if it is gone.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.act(ctx, verbDelete, "delete", "client/delete/single", id, nil)
}

// Modification is what a machine shall become. All of Model and Shape is sent
// every time, as the API knows no partial change.
type Modification struct {
	Model market.GPUModel
	Shape market.Shape
	Bid   market.Maybe[market.Rate] // spot only: whole machine, compute only
}

// Modify changes a machine's size or bid. Success is only an acceptance: no
// documented parameter changes a bid, so a later look decides whether it did.
func (c *Client) Modify(ctx context.Context, id string, m Modification) error {
	f := shapeForm(m.Model, m.Shape)
	f.Set("server_id", id)
	if bid, ok := m.Bid.Get(); ok {
		f.Set("price_type", "spot")
		f.Set("price", bid.Decimal())
	}
	return c.act(ctx, verbChange, "modify", "client/modify/single", id, f)
}

// ModifyBid is Modify with a new bid and the machine's present size, as the daemon
// sends it.
func (c *Client) ModifyBid(ctx context.Context, id string, model market.GPUModel, s market.Shape, bid market.Rate) error {
	return c.Modify(ctx, id, Modification{Model: model, Shape: s, Bid: market.Some(bid)})
}

// act is a write to one machine whose answer says no more than yes.
func (c *Client) act(ctx context.Context, v verb, op, path, id string, f url.Values) error {
	if f == nil {
		f = url.Values{}
	}
	f.Set("server", id)
	q := c.post(op, path, f)
	q.verb = v
	if id == "" {
		return refuse(q, "no machine given")
	}
	_, err := tell(ctx, c.v0, q, accepted)
	return err
}

// accepted takes every object that is not a failure.
func accepted(v value) (struct{}, error) {
	if !v.isObject() {
		return struct{}{}, errors.New("not an object")
	}
	return struct{}{}, nil
}

func shapeForm(m market.GPUModel, s market.Shape) url.Values {
	return url.Values{
		"gpu_model": {string(m)},
		"gpu_count": {strconv.Itoa(s.GPUs)},
		"vcpus":     {strconv.Itoa(s.VCPUs)},
		"ram":       {strconv.Itoa(s.RAM)},
		"storage":   {strconv.Itoa(s.Storage)},
	}
}

func decodeInstances(v value) ([]market.Instance, error) {
	list := v.get("virtualmachines", "virtual_machines")
	if list == nil {
		// An empty account may leave the key out, but then it says success.
		if v.get("success").flag().Or(false) {
			return []market.Instance{}, nil
		}
		return nil, errors.New("neither machines nor success in the answer")
	}
	if !list.isObject() && !list.isArray() {
		return nil, errors.New("the machines are neither a map nor a list")
	}
	return collect(list.entries(), decodeMachine)
}

var errTooMany = fmt.Errorf("more than %d are listed", maxListed)

// collect reads a list of machines, whole or not at all, sorted by ID. A machine
// that is listed twice is one machine.
func collect(entries iter.Seq2[string, value], decode func(string, value) market.Instance) ([]market.Instance, error) {
	out := []market.Instance{}
	for id, v := range entries {
		switch {
		case !isID(id) || !v.isObject():
			return nil, fmt.Errorf("machine %d of the list cannot be read", len(out)+1)
		case len(out) == maxListed:
			return nil, errTooMany
		}
		out = append(out, decode(id, v))
	}
	slices.SortStableFunc(out, func(a, b market.Instance) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b market.Instance) bool { return a.ID == b.ID }), nil
}

// decodeInstanceAnswer finds the machine in an answer to get/single: under
// virtualmachine, virtualmachines or server, below its id there, or bare.
func decodeInstanceAnswer(v value, id string) (market.Instance, error) {
	wraps := []value{v.get("virtualmachine"), v.get("virtualmachines"), v.get("server"), v.get("instance"), v}
	for _, w := range wraps {
		if got, vm, ok := findMachine(w, id); ok {
			if got != id {
				return market.Instance{}, errors.New("the answer is about another machine")
			}
			return decodeMachine(id, vm), nil
		}
	}
	return market.Instance{}, errors.New("no machine in the answer")
}

// findMachine looks for a machine in a wrapper: the wrapper itself, its member
// named id, or its only member.
func findMachine(w value, id string) (string, value, bool) {
	if isMachine(w) {
		if own := w.get("id", "uuid").word(); own != "" {
			return own, w, true
		}
		return id, w, true
	}
	if vm := w.get(id); isMachine(vm) {
		return id, vm, true
	}
	only, key, n := value(nil), "", 0
	for k, f := range w.entries() {
		only, key, n = f, k, n+1
	}
	return key, only, n == 1 && key != "" && isMachine(only)
}

func isMachine(v value) bool {
	return v.get("status").isString() || v.get("specs", "resources").isObject()
}

// decodeMachine reads one machine of v0 in the live or the documented shape.
func decodeMachine(id string, v value) market.Instance {
	m := newMachine(market.V0, id, v)
	m.Capacity = capacity(v.get("type", "price_type").word())
	m.Location = machineLocation(v)
	m.IP = address(v)
	m.User = v.get("default_user", "user").word()
	decodeCost(&m, v)
	return m
}

// members is an answer of v0 or the layers of one of v2.
type members interface{ get(names ...string) value }

// newMachine reads what both APIs tell about a machine, under either's names.
func newMachine(api market.API, id string, v members) market.Instance {
	status := v.get("status").word()
	m := market.Instance{
		ID:        id,
		API:       api,
		Name:      v.get("name").word(),
		Status:    market.ParseStatus(status),
		RawStatus: status,
		Host:      v.get("hostnode_id", "hostnodeId", "hostnode").word(),
		Ports:     decodeForwards(v.get("port_forwards", "portForwards")),
		Created:   v.get("timestamp_creation", "created_at", "createdAt").moment(),
	}
	m.Model, m.Shape = decodeShape(v.get("specs", "resources"))
	return m
}

// decodeCost: cost is the compute price (the bid of a spot machine) where it is
// a number, and an object of prices in other answers.
func decodeCost(m *market.Instance, v value) {
	c := costOf(v.get("cost"))
	m.Compute = firstKnown(v.get("compute_price").price(), c.compute)
	m.Storage = firstKnown(v.get("storage_price").price(), c.storage)
	m.Total = firstKnown(v.get("total_price", "rate_hourly", "rateHourly", "price_per_hour").price(), c.total)
}

type cost struct{ compute, storage, total market.Maybe[market.Rate] }

func costOf(v value) cost {
	return cost{
		compute: firstKnown(v.get("compute_price").price(), v.price()),
		storage: v.get("storage_price").price(),
		total:   v.get("total_price").price(),
	}
}

func capacity(raw string) market.Capacity {
	switch strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(raw)) {
	case "spot", "interruptible", "bid":
		return market.Spot
	case "ondem", "ondemand", "subscription", "reserved", "hourly":
		return market.OnDemand
	}
	return market.CapacityUnknown
}

// machineLocation: the place's id as a string, and its names beside it.
func machineLocation(v value) market.Location {
	l := decodeLocation(v.get("location"))
	if l.ID == "" {
		l.ID = v.get("location_id").word()
	}
	beside := decodeLocation(v)
	l.City, l.Region, l.Country = or(l.City, beside.City), or(l.Region, beside.Region), or(l.Country, beside.Country)
	return l
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// address is the machine's IP or DNS name. Old answers put the IP in hostname,
// newer ones an id.
func address(v value) string {
	if ip := v.get("ip_address", "ip", "ipAddress", "dedicated_ip_address").word(); ip != "" {
		return ip
	}
	if ip, err := netip.ParseAddr(v.get("hostname").word()); err == nil {
		return ip.String()
	}
	return ""
}

// decodeForwards reads port forwards, sorted by external port: a map from
// external to internal port, or an array of pairs by name.
func decodeForwards(v value) []market.PortForward {
	var out []market.PortForward
	add := func(ext, in market.Maybe[int]) {
		if e, ok := ext.Get(); ok {
			if i, ok := in.Get(); ok {
				out = append(out, market.PortForward{External: e, Internal: i})
			}
		}
	}
	for k, f := range v.fields() {
		if len(out) == maxEntries {
			break
		}
		in := firstKnown(f.count(), f.get("internal_port", "internal", "internalPort").count())
		if ext, err := strconv.Atoi(string(k)); err == nil {
			add(market.Some(ext), in)
		}
	}
	for f := range v.items() {
		if len(out) == maxEntries {
			break
		}
		add(f.get("external_port", "external", "externalPort").count(), f.get("internal_port", "internal", "internalPort").count())
	}
	slices.SortStableFunc(out, func(a, b market.PortForward) int { return a.External - b.External })
	return out
}

// decodeShape reads a machine's size and GPU model; 0 is a number that is not
// told. A machine of several models is shown under the first by name, with all its
// GPUs counted, or none if one count is missing: a part would look like a machine
// of another size than the one ordered, which is then deleted.
func decodeShape(v value) (market.GPUModel, market.Shape) {
	s := market.Shape{
		VCPUs:   firstKnown(v.get("vcpus", "vcpu_count", "cpuCores").count(), decodeComponent(v.get("cpu")).Free).Or(0),
		RAM:     firstKnown(v.get("ram", "ram_gb", "ramGb").count(), decodeComponent(v.get("ram")).Free).Or(0),
		Storage: firstKnown(v.get("storage", "storage_gb", "diskGb").count(), decodeComponent(v.get("storage")).Free).Or(0),
	}
	var model market.GPUModel
	told, models := true, 0
	for g := range gpuEntries(v.get("gpu", "gpus")) {
		n, ok := decodeComponent(g.body).Free.Get()
		models++
		s.GPUs, told = s.GPUs+n, told && ok && models <= maxModels
		if model == "" || g.model < model {
			model = g.model
		}
	}
	if !told {
		s.GPUs = 0
	}
	return model, s
}

// gpuEntry is one GPU model in an answer: body is an object or a bare count.
type gpuEntry struct {
	key   string
	model market.GPUModel
	body  value
}

// gpuEntries walks GPUs in all forms: one object that names its model, a map from
// model to object or count, an array of objects or names.
func gpuEntries(v value) iter.Seq[gpuEntry] {
	return func(yield func(gpuEntry) bool) {
		if name := gpuName(v); name != "" {
			yield(gpuEntry{model: name, body: v})
			return
		}
		for k, f := range v.fields() {
			if !f.isObject() && !f.count().Known() {
				continue
			}
			name := gpuName(f)
			if name == "" {
				name = market.GPUModel(strings.ToLower(printable(string(k))))
			}
			if !yield(gpuEntry{key: string(k), model: name, body: f}) {
				return
			}
		}
		for f := range v.items() {
			name := gpuName(f)
			if f.isString() {
				name = market.GPUModel(strings.ToLower(f.word()))
			}
			if name != "" && !yield(gpuEntry{model: name, body: f}) {
				return
			}
		}
	}
}

// gpuName is the model an object names.
func gpuName(v value) market.GPUModel {
	if f := v.get("v0Name", "gpuV0Name", "gpu_model", "model", "type", "name"); f.isString() {
		return market.GPUModel(strings.ToLower(f.word()))
	}
	return ""
}
