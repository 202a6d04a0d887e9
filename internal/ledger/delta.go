package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A report is written as lines of JSON: first the report without its long lists,
// then each list as a listHead and its ops. Against an empty base all elements
// are written out (a keyframe); against the report before, only those that changed.

// frameHead is the first line.
type frameHead struct {
	Cycle  uint64       `json:"cycle"`
	Base   uint64       `json:"base,omitempty"` // the cycle this one builds on; 0 for a keyframe
	Report *plan.Report `json:"report"`
}

// listHead begins a list.
type listHead struct {
	List string `json:"list"`
	Len  int    `json:"len"` // -1 for a list that is nil
	Ops  int    `json:"ops"`
}

// op is either N elements of the base beginning at From, or one element.
type op[T any] struct {
	From int `json:"from,omitempty"`
	N    int `json:"n,omitempty"`
	Item *T  `json:"item,omitempty"`
}

// list is one long list of a report.
type list interface {
	name() string
	clear(r *plan.Report)
	share(from, to *plan.Report)
	write(enc *json.Encoder, base, next *plan.Report) error
	read(dec *json.Decoder, h listHead, base, next *plan.Report) error
}

// lists are those that hardly change from one cycle to the next. The hosts come
// last, so that everything else is in the dictionary of the group.
func lists() []list {
	type R = plan.Report
	return []list{
		listOf[plan.Machine, string]{
			"machines", func(r *R) *[]plan.Machine { return &r.Input.History.Machines },
			machineKey, deepEqual[plan.Machine],
		},
		listOf[market.Instance, string]{
			"instances", func(r *R) *[]market.Instance { return &r.Input.Snapshot.Instances.Value },
			func(i *market.Instance) string { return i.ID }, deepEqual[market.Instance],
		},
		listOf[plan.Standing, string]{
			"standings", func(r *R) *[]plan.Standing { return &r.Plan.Standings },
			func(s *plan.Standing) string { return s.Policy }, deepEqual[plan.Standing],
		},
		listOf[plan.Hold, plan.Hold]{
			"holds", func(r *R) *[]plan.Hold { return &r.Plan.Holds },
			func(h *plan.Hold) plan.Hold { return *h }, equal[plan.Hold],
		},
		listOf[plan.Backoff, plan.Backoff]{
			"backoffs", func(r *R) *[]plan.Backoff { return &r.Input.History.Backoffs },
			func(b *plan.Backoff) plan.Backoff { return *b }, equal[plan.Backoff],
		},
		listOf[plan.HostRecord, string]{
			"records", func(r *R) *[]plan.HostRecord { return &r.Input.History.Hosts },
			hostKey, equal[plan.HostRecord],
		},
		listOf[plan.Rise, plan.Rise]{
			"rises", func(r *R) *[]plan.Rise { return &r.Input.History.Rises },
			func(r *plan.Rise) plan.Rise { return *r }, equal[plan.Rise],
		},
		listOf[plan.Bracket, plan.Bracket]{
			"brackets", func(r *R) *[]plan.Bracket { return &r.Input.History.Brackets },
			func(b *plan.Bracket) plan.Bracket { return *b }, equal[plan.Bracket],
		},
		listOf[plan.Spend, string]{
			"spend", func(r *R) *[]plan.Spend { return &r.Input.History.Spend },
			spendKey, equal[plan.Spend],
		},
		listOf[policy.Policy, string]{
			"policies", func(r *R) *[]policy.Policy { return &r.Input.Policies },
			func(p *policy.Policy) string { return p.Name }, deepEqual[policy.Policy],
		},
		listOf[market.Instant, string]{
			"instants", func(r *R) *[]market.Instant { return &r.Input.Snapshot.Instants.Value },
			func(i *market.Instant) string { return i.ID }, equal[market.Instant],
		},
		listOf[market.Site, string]{
			"sites", func(r *R) *[]market.Site { return &r.Input.Snapshot.Sites.Value },
			func(s *market.Site) string { return s.Location.ID }, deepEqual[market.Site],
		},
		listOf[market.Host, string]{
			"hosts", func(r *R) *[]market.Host { return &r.Input.Snapshot.Hosts.Value },
			func(h *market.Host) string { return h.ID }, sameHost,
		},
	}
}

func deepEqual[T any](a, b *T) bool { return reflect.DeepEqual(a, b) }

// sameHost is reflect.DeepEqual at a tenth of its price: hosts are many and
// their lists of ports long.
func sameHost(a, b *market.Host) bool {
	pa, ka := a.Ports.Get()
	pb, kb := b.Ports.Get()
	return a.ID == b.ID && a.Location == b.Location &&
		a.Online == b.Online && a.Listed == b.Listed && a.Reserved == b.Reserved &&
		a.Uptime == b.Uptime && a.CPU == b.CPU && a.CPUType == b.CPUType &&
		a.RAM == b.RAM && a.Storage == b.Storage &&
		ka == kb && sameSlice(pa, pb) && sameSlice(a.GPUs, b.GPUs) && maps.Equal(a.Limits, b.Limits)
}

func sameSlice[T comparable](a, b []T) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

// listOf is a list of T in a report. key tells which element of the base to
// compare with; equal elements must encode alike.
type listOf[T any, K comparable] struct {
	label string
	at    func(*plan.Report) *[]T
	key   func(*T) K
	equal func(a, b *T) bool
}

func (l listOf[T, K]) name() string         { return l.label }
func (l listOf[T, K]) clear(r *plan.Report) { *l.at(r) = nil }

func (l listOf[T, K]) share(from, to *plan.Report) { *l.at(to) = *l.at(from) }

// ops says how next is made of base.
func (l listOf[T, K]) ops(base, next []T) []op[T] {
	var ops []op[T]
	var index map[K]int
	p := 0 // where in base the next element most likely is
	for i := range next {
		k := l.key(&next[i])
		if p >= len(base) || l.key(&base[p]) != k {
			if index == nil {
				index = l.index(base)
			}
			if at, ok := index[k]; ok {
				p = at
			}
		}
		if p < len(base) && l.equal(&base[p], &next[i]) {
			if n := len(ops); n > 0 && ops[n-1].Item == nil && ops[n-1].From+ops[n-1].N == p {
				ops[n-1].N++
			} else {
				ops = append(ops, op[T]{From: p, N: 1})
			}
			p++
			continue
		}
		ops = append(ops, op[T]{Item: &next[i]})
		if p < len(base) && l.key(&base[p]) == k {
			p++
		}
	}
	return ops
}

func (l listOf[T, K]) index(base []T) map[K]int {
	m := make(map[K]int, len(base))
	for i := range base {
		m[l.key(&base[i])] = i
	}
	return m
}

func (l listOf[T, K]) write(enc *json.Encoder, base, next *plan.Report) error {
	to := *l.at(next)
	ops := l.ops(*l.at(base), to)
	h := listHead{List: l.label, Len: len(to), Ops: len(ops)}
	if to == nil {
		h.Len = -1
	}
	if err := enc.Encode(h); err != nil {
		return err
	}
	for i := range ops {
		if err := enc.Encode(&ops[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l listOf[T, K]) read(dec *json.Decoder, h listHead, base, next *plan.Report) error {
	if h.Len < 0 {
		return nil
	}
	from, to := *l.at(base), []T{}
	for range h.Ops {
		var o op[T]
		if err := dec.Decode(&o); err != nil {
			return err
		}
		if o.Item != nil {
			to = append(to, *o.Item)
			continue
		}
		if o.From < 0 || o.N < 0 || o.From > len(from)-o.N {
			return fmt.Errorf("list %s copies elements that its base does not have", l.label)
		}
		to = append(to, from[o.From:o.From+o.N]...)
	}
	if len(to) != h.Len {
		return fmt.Errorf("list %s has %d elements instead of %d", l.label, len(to), h.Len)
	}
	*l.at(next) = to
	return nil
}
