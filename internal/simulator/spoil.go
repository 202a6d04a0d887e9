package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// change lets the faults that spoil an answer have it.
func (c *call) change(a answer) answer {
	a = c.replay(a)
	for _, r := range c.hit {
		switch r.kind {
		case faultLate500, faultLateHTML:
			return c.late(r.kind)
		case fault202:
			a.status = http.StatusAccepted
		case faultTruncate:
			a.body = a.body[:len(a.body)/2]
		default:
			a = c.rewrite(a, r)
		}
	}
	return a
}

// replay keeps the lists that were answered, where a plan has stale lists, and
// answers an old one where it is time.
func (c *call) replay(a answer) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	planned := slices.ContainsFunc(c.faults.rules, func(r faultRule) bool { return r.kind == faultStale && r.concerns(c.op.name) })
	if !planned || a.status != http.StatusOK {
		return a
	}
	past := append(c.faults.history[c.op.name], a.body)
	if len(past) > 64 {
		past = past[1:]
	}
	c.faults.history[c.op.name] = past
	if r := c.hit.find(faultStale); r != nil {
		back, err := strconv.Atoi(r.value)
		if err != nil {
			back = 3
		}
		a.body = past[max(len(past)-1-back, 0)]
	}
	return a
}

// rewrite changes the decoded answer. What is no JSON object stays as it is.
func (c *call) rewrite(a answer, r faultRule) answer {
	edit := editors[r.kind]
	if edit == nil {
		return a
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.UseNumber()
	var root object
	if dec.Decode(&root) != nil {
		return a
	}
	edit(root, r.value, c.op.name)
	changed := reply(a.status, root)
	changed.header = a.header
	return changed
}

// editors change a decoded answer; the arguments are the rule's value and the
// operation. Read only.
var editors = map[string]func(root object, value, op string){
	faultEmpty: func(root object, _, op string) {
		editList(root, op, func([]entry) []entry { return nil })
	},
	faultPartial: func(root object, _, op string) {
		editList(root, op, func(es []entry) []entry {
			var out []entry
			for i := 1; i < len(es); i += 2 {
				out = append(out, es[i])
			}
			return out
		})
	},
	faultDuplicate: func(root object, _, op string) { editList(root, op, duplicate) },
	faultStatus: func(root object, value, op string) {
		if value == "" {
			value = "Hibernating"
		}
		setDeep(root, "status", value)
	},
	faultNoGPUCount: func(root object, _, op string) {
		switch op {
		case "list", "get", "v2_list", "v2_get":
			dropGPUCounts(root, false)
		}
	},
	faultStringSuccess: func(root object, _, _ string) {
		if s, is := root["success"].(bool); is {
			root["success"] = strconv.FormatBool(s)
		}
	},
	faultStringNumbers: func(root object, _, _ string) { quoteNumbers(root) },
	faultSingular: func(root object, _, _ string) {
		if vm, has := root["virtualmachines"]; has {
			delete(root, "virtualmachines")
			root["virtualmachine"] = vm
		}
	},
	faultNoSuccess: func(root object, _, _ string) { delete(root, "success") },
	faultBadBalance: func(root object, value, _ string) {
		if value == "" {
			value = "0"
		}
		root["balance"] = json.Number(value)
	},
	faultDrop: func(root object, value, _ string) { dropDeep(root, cmp.Or(value, "name")) },
	faultExtra: func(root object, value, op string) {
		editList(root, op, func(es []entry) []entry {
			for _, e := range es {
				if v, is := e.value.(object); is {
					v[cmp.Or(value, "novelty")] = "new"
				}
			}
			return es
		})
	},
	faultMore: func(root object, _, _ string) { root["has_more"] = true },
	faultNoBalance: func(root object, _, _ string) {
		delete(root, "balance")
		delete(root, "hourly_cost")
	},
}

// entry is one of a list's; key is its id where the list is a map.
type entry struct {
	key   string
	value any
}

// editList changes the list in an answer of any shape.
func editList(root object, op string, edit func([]entry) []entry) {
	for _, key := range []string{"virtualmachines", "hostnodes", "virtual_machines", "instances", "locations", "result", "data"} {
		switch v := root[key].(type) {
		case nil:
			continue
		case object:
			if key == "data" {
				editList(v, op, edit)
				return
			}
			root[key] = rebuildMap(v, edit)
		case []any:
			root[key] = rebuildList(v, edit)
		}
		return
	}
	if op != "hostnodes" {
		return
	}
	rebuilt := rebuildMap(root, edit) // the documented shape: the answer is the map
	clear(root)
	maps.Copy(root, rebuilt)
}

func rebuildMap(m object, edit func([]entry) []entry) object {
	var es []entry
	for _, k := range slices.Sorted(maps.Keys(m)) {
		es = append(es, entry{k, m[k]})
	}
	out := object{}
	for _, e := range edit(es) {
		out[e.key] = e.value
	}
	return out
}

func rebuildList(list []any, edit func([]entry) []entry) []any {
	var es []entry
	for _, v := range list {
		es = append(es, entry{"", v})
	}
	out := []any{}
	for _, e := range edit(es) {
		out = append(out, e.value)
	}
	return out
}

// CopyID is the id of a machine that a list names twice, at its second place.
const CopyID = "00000000-0000-4000-8000-00000000d0b1"

func duplicate(es []entry) []entry {
	if len(es) == 0 {
		return es
	}
	twin := entry{CopyID, es[0].value}
	if v, is := es[0].value.(object); is {
		v = maps.Clone(v)
		if _, has := v["id"]; has {
			v["id"] = CopyID
		}
		twin.value = v
	}
	return append(es, twin)
}

// dropDeep takes a member out of every object that has it.
func dropDeep(v any, key string) {
	switch v := v.(type) {
	case object:
		delete(v, key)
		for _, inner := range v {
			dropDeep(inner, key)
		}
	case []any:
		for _, inner := range v {
			dropDeep(inner, key)
		}
	}
}

// setDeep sets every text under a key, however deep.
func setDeep(v any, key, text string) {
	switch v := v.(type) {
	case object:
		for k, inner := range v {
			if _, is := inner.(string); is && k == key {
				v[k] = text
				continue
			}
			setDeep(inner, key, text)
		}
	case []any:
		for _, inner := range v {
			setDeep(inner, key, text)
		}
	}
}

// dropGPUCounts takes the numbers out of what stands under gpu or gpus, wherever
// that is; inside says whether v stands there.
func dropGPUCounts(v any, inside bool) {
	switch v := v.(type) {
	case object:
		for k, inner := range v {
			if _, is := inner.(json.Number); is && inside {
				delete(v, k)
			}
			dropGPUCounts(inner, inside || k == "gpu" || k == "gpus")
		}
	case []any:
		for _, inner := range v {
			dropGPUCounts(inner, inside)
		}
	}
}

// quoteNumbers makes texts of all numbers and returns what v became.
func quoteNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case object:
		for k, inner := range v {
			v[k] = quoteNumbers(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = quoteNumbers(inner)
		}
	}
	return v
}
