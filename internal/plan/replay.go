package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Replay is a decision of the past, made again from what it was made of.
type Replay struct {
	Same bool `json:"same"`
	// Differences are where the plan on record and the new one part, as paths of their
	// JSON: "actions[0].bid_usd_hour: 0.31 on record, 0.3 now".
	Differences []string `json:"differences,omitempty"`
}

// mostDifferences bounds what is listed: after the first few, a different plan is a
// different plan.
const mostDifferences = 20

// Replay computes a cycle's plan again and compares it with the one on record, byte for
// byte.
func (r *Report) Replay() (Replay, error) {
	was, err := json.Marshal(r.decided())
	if err != nil {
		return Replay{}, fmt.Errorf("replay cycle %d: %w", r.Cycle, err)
	}
	is, err := json.Marshal(Compute(r.Input))
	if err != nil {
		return Replay{}, fmt.Errorf("replay cycle %d: %w", r.Cycle, err)
	}
	if bytes.Equal(was, is) {
		return Replay{Same: true}, nil
	}
	var a, b any
	if err := unmarshal(was, &a, is, &b); err != nil {
		return Replay{}, fmt.Errorf("replay cycle %d: %w", r.Cycle, err)
	}
	d := diff(nil, "", a, b)
	return Replay{Differences: d[:min(len(d), mostDifferences)]}, nil
}

// decided is the plan without what the daemon says beside it: that its ledger cannot be
// written, or that answers have changed, is no part of the decision.
func (r *Report) decided() Plan {
	p := r.Plan
	p.Holds = slices.DeleteFunc(slices.Clone(p.Holds), func(h Hold) bool { return h.Reason.Code == HoldLedger || h.Reason.Code == HoldContract })
	if len(p.Holds) == 0 {
		p.Holds = nil
	}
	return p
}

// unmarshal reads two texts, with numbers as they are written.
func unmarshal(a []byte, va any, b []byte, vb any) error {
	for _, x := range []struct {
		text []byte
		v    any
	}{{a, va}, {b, vb}} {
		d := json.NewDecoder(bytes.NewReader(x.text))
		d.UseNumber()
		if err := d.Decode(x.v); err != nil {
			return fmt.Errorf("read a plan: %w", err)
		}
	}
	return nil
}

// diff adds the paths at which two JSON values differ.
func diff(out []string, path string, was, is any) []string {
	if a, ok := was.(map[string]any); ok {
		if b, ok := is.(map[string]any); ok {
			return diffKeys(out, path, a, b)
		}
	}
	a, ok1 := was.([]any)
	b, ok2 := is.([]any)
	if ok1 && ok2 {
		for i := range max(len(a), len(b)) {
			out = diff(out, fmt.Sprintf("%s[%d]", path, i), item(a, i), item(b, i))
		}
		return out
	}
	if x, y := short(was), short(is); x != y {
		return append(out, fmt.Sprintf("%s: %s on record, %s now", strings.TrimPrefix(path, "."), x, y))
	}
	return out
}

func diffKeys(out []string, path string, a, b map[string]any) []string {
	var keys []string
	for _, m := range []map[string]any{a, b} {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		out = diff(out, path+"."+k, a[k], b[k])
	}
	return out
}

func item(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// short is a value as it is written; "nothing" where there is none.
func short(v any) string {
	if v == nil {
		return "nothing"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
