package tensordock

import (
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// contract is the form in which an operation's answers are known: which members the
// things in them have (machines, hosts, or the answer itself), and which of those must
// be there. Decoders take every form that they can; this is only bookkeeping, so that
// a change is noticed before it does harm.
type contract struct {
	// things walks what the answer is about; nil is the answer itself.
	things func(value) iter.Seq2[string, value]
	// list is where they stand: without it, an answer with members that nobody knows is
	// no empty list.
	list []string
	// around are the members of the answer beside them; nil where anything may stand
	// there, as in a bare map of hosts.
	around []string
	known  []string
	needs  []need
	inner  map[string]*contract // of members that are objects
	// stops is what ends when a vital need is missing from every thing.
	stops market.Stop
	// whole: a list that says it goes on elsewhere is not whole.
	whole bool
	// noIDs: its things are known by a member, and not by an id.
	noIDs bool

	index map[string]int // a known member -> the need it serves, or -1
}

// need is a member that answers have always had, under one of its names.
type need struct {
	names []string
	vital bool
}

func vital(names ...string) need    { return need{names, true} }
func expected(names ...string) need { return need{names, false} }

// Bounds of what is looked at in one answer. A change concerns all things of a list.
const (
	mostThings  = 64
	mostUnknown = 16
	longestName = 64
)

// idNeed stands for the id of a thing in an array; in a map it is the key.
const idNeed = "id"

// drifting collects what is found in one answer.
type drifting struct {
	unknown []string
	things  int
	lacks   map[*contract][]int // how many things lack each need
	noID    int
}

// examine says how an answer departs from its contract.
func (c *contract) examine(v value) []market.Drift {
	if c == nil {
		return nil
	}
	d := drifting{lacks: map[*contract][]int{}}
	if c.things == nil {
		d.look(c, v, "")
		d.things = 1
	} else {
		d.walk(c, v)
	}
	out := d.told(c, "", c.stops)
	if len(d.unknown) > 0 && len(c.list) > 0 && v.get(c.list...) == nil {
		out = append(out, missing(c.list[0], true, c.stops))
	}
	if c.whole && goesOn(v) {
		out = append(out, market.Drift{Kind: market.DriftUnknown, Field: "(a next page)", Stops: c.stops})
	}
	return out
}

func (d *drifting) walk(c *contract, v value) {
	if c.around != nil {
		for k := range v.fields() {
			if !slices.Contains(c.around, string(k)) {
				d.stranger("", k)
			}
		}
	}
	for id, thing := range c.things(v) {
		if d.things == mostThings {
			return
		}
		if !thing.isObject() {
			continue
		}
		d.things++
		if id == "" && !c.noIDs {
			d.noID++
		}
		d.look(c, thing, "")
	}
}

// look notes the members of one thing. v2 may put them below attributes.
func (d *drifting) look(c *contract, thing value, path string) {
	got := make([]bool, len(c.needs))
	d.members(c, thing, path, got)
	d.members(c, thing.get("attributes"), path, got)
	if d.lacks[c] == nil {
		d.lacks[c] = make([]int, len(c.needs))
	}
	for i, there := range got {
		if !there {
			d.lacks[c][i]++
		}
	}
}

func (d *drifting) members(c *contract, thing value, path string, got []bool) {
	for k, f := range thing.fields() {
		i, known := c.index[string(k)]
		switch inner := c.inner[string(k)]; {
		case !known && string(k) == "attributes": // looked at beside it; an answer may be nested without end
		case !known:
			d.stranger(path, k)
		case inner != nil && f.isObject():
			d.look(inner, f, path+string(k)+".")
		}
		if known && i >= 0 {
			got[i] = true
		}
	}
}

// number makes the index, of inner contracts too.
func (c *contract) number() {
	for _, inner := range c.inner {
		inner.number()
	}
	c.index = map[string]int{}
	for k := range c.inner {
		c.index[k] = -1
	}
	for _, k := range c.known {
		c.index[k] = -1
	}
	for i, n := range c.needs {
		for _, name := range n.names {
			c.index[name] = i
		}
	}
}

// stranger notes a member that nobody knows, by its name alone.
func (d *drifting) stranger(path string, key []byte) {
	name := printable(string(key))
	if name == "" || len(name) > longestName {
		name = "(a long name)"
	}
	if name = path + name; len(d.unknown) < mostUnknown && !slices.Contains(d.unknown, name) {
		d.unknown = append(d.unknown, name)
	}
}

func (d *drifting) told(c *contract, path string, stops market.Stop) (out []market.Drift) {
	for _, name := range d.unknown {
		out = append(out, market.Drift{Kind: market.DriftUnknown, Field: name})
	}
	if d.noID > 0 {
		out = append(out, missing(idNeed, d.noID == d.things, stops))
	}
	return append(out, d.missing(c, path, stops)...)
}

func (d *drifting) missing(c *contract, path string, stops market.Stop) (out []market.Drift) {
	for i, n := range d.lacks[c] {
		if n > 0 {
			out = append(out, missing(path+c.needs[i].names[0], c.needs[i].vital && n == d.things, stops))
		}
	}
	names := make([]string, 0, len(c.inner))
	for k := range c.inner {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		out = append(out, d.missing(c.inner[k], path+k+".", stops)...)
	}
	return out
}

// missing is a need that is not met; it stops something only where no thing meets it.
func missing(field string, everywhere bool, stops market.Stop) market.Drift {
	d := market.Drift{Kind: market.DriftMissing, Field: field}
	if everywhere {
		d.Stops = stops
	}
	return d
}

// unreadable is the drift of an answer that could not be decoded.
func (c *contract) unreadable() market.Drift {
	d := market.Drift{Kind: market.DriftUnreadable}
	if c != nil {
		d.Stops = c.stops
	}
	return d
}

// gravest is what an answer must not be believed for; nil if it may be. A list that
// goes on elsewhere says nothing about what it leaves out.
func gravest(all []market.Drift) error {
	for _, d := range all {
		switch {
		case d.Stops == market.StopNothing:
		case d.Kind == market.DriftMissing:
			return errors.New("nothing in the answer has the member " + d.Field + " any more")
		default:
			return errors.New("the list says that it goes on, on another page")
		}
	}
	return nil
}

// goesOn says whether an answer, or what stands around its list, names a next page.
func goesOn(v value) bool {
	for _, w := range []value{v, v.get("data"), v.get("meta"), v.get("pagination"), v.get("links"), v.get("meta").get("pagination"), v.get("data").get("meta", "pagination", "links", "attributes")} {
		for k, f := range w.fields() {
			if isNext(k) && tells(f) {
				return true
			}
		}
	}
	return false
}

func isNext(key []byte) bool {
	switch strings.ReplaceAll(strings.ToLower(string(key)), "_", "") {
	case "next", "nextpage", "nextcursor", "nexttoken", "nextpagetoken", "nexturl", "hasmore", "hasnext", "hasnextpage", "more":
		return true
	}
	return false
}

// tells says whether a value is more than none, no or nothing.
func tells(v value) bool {
	if on, ok := v.flag().Get(); ok {
		return on
	}
	return v.isObject() || v.isArray() || v.text() != ""
}

// machineMembers are those of machines, as either API and either description names them.
func machineMembers() []string {
	return strings.Fields(`id uuid server type price_type hostname location location_id locationId city region state stateprovince country
	ip ip_address ipAddress dedicated_ip_address default_user user port_forwards portForwards cost compute_price storage_price total_price
	rate_hourly rateHourly price_per_hour timestamp_creation created_at createdAt operating_system image error cpu_threadscount deployment execution_id
	hostnode hostnode_id hostnodeId specs resources`)
}

// contracts are those of the operations that decisions rest on. The others say yes or no
// alone, or are of no consequence.
func contracts() map[string]*contract {
	all := map[string]*contract{
		"list machines": {
			things: func(v value) iter.Seq2[string, value] { return v.get("virtualmachines", "virtual_machines").entries() },
			around: []string{"success", "virtualmachines", "virtual_machines", "message", "error"},
			known:  machineMembers(), list: []string{"virtualmachines", "virtual_machines"}, stops: market.StopWrites, whole: true,
			needs: []need{
				vital("name"), vital("status"), expected("hostnode", "hostnode_id", "hostnodeId"), expected("specs", "resources"),
				expected("cost", "compute_price", "total_price", "rate_hourly", "rateHourly", "price_per_hour"),
			},
		},
		"list instances": {
			things: instancesOf, around: []string{"data", "instances", "virtualmachines", "success", "error", "message", "type", "id"},
			known: machineMembers(), stops: market.StopV2, whole: true, needs: []need{vital("name"), vital("status")},
		},
		"list hosts": {
			things: hostsOf, known: strings.Fields("uuid id location networking status pricing"), stops: market.StopGrowth,
			needs: []need{vital("specs")},
			inner: map[string]*contract{"specs": {
				known: []string{"restrictions"}, needs: []need{vital("gpu", "gpus"), expected("cpu"), expected("ram"), expected("storage")},
			}},
		},
		"list replicas": {
			things: func(v value) iter.Seq2[string, value] { return v.get("result", "replicas").entries() }, noIDs: true, whole: true,
			around: []string{"success", "result", "replicas", "message", "error"}, stops: market.StopGrowth,
			known: strings.Fields("id ip ip_address external_ports internal_ports hostnode_uptime_url"),
			needs: []need{expected("vm_uuid"), expected("rate_hourly")},
		},
		"balance": {
			known: []string{"success", "hourly_cost", "currency", "message"}, needs: []need{expected("balance")},
		},
		"validate bid": {
			known: []string{"success", "message", "error", "suggested_price", "min_bid"}, needs: []need{expected("success", "will_succeed")},
		},
		"deploy": {
			known: strings.Fields("success cost execution_id ip ip_address port_forwards portForwards compute_price storage_price total_price rate_hourly message error"),
			needs: []need{expected("server", "id", "uuid")},
		},
	}
	for _, c := range all {
		c.number()
	}
	return all
}

func instancesOf(v value) iter.Seq2[string, value] {
	if data := v.get("data"); data.isArray() {
		return data.entries()
	}
	return layersOf(v).get("instances", "virtualmachines").entries()
}

// hostsOf begins to walk a list that is long, of which the first few are looked at.
func hostsOf(v value) iter.Seq2[string, value] {
	if list := v.from("hostnodes"); list.isObject() || list.isArray() {
		return list.entries()
	}
	return v.entries()
}

// from is the text from where a member begins, to the end of v: its own end is not
// looked for.
func (v value) from(name string) value {
	if !v.isObject() {
		return nil
	}
	for i := skipSpace(v, 1); i < len(v) && v[i] == '"'; {
		end := skipValue(v, i)
		key := unescape(v[i:end])
		if i = skipSpace(v, skipSpace(v, end)+1); string(key) == name {
			return v[min(i, len(v)):]
		}
		i = skipSpace(v, skipSpace(v, skipValue(v, i))+1)
	}
	return nil
}
