package ledger

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// fill sets every exported field below v to something, two elements per list, so
// that a field added later is not forgotten by what follows.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(start.Add(time.Duration(*n) * time.Minute)))
		return
	case market.Maybe[plan.Lesson]:
		v.Set(reflect.ValueOf(market.Some(plan.Lesson{Holds: true, At: start})))
		return
	case market.Maybe[plan.Gap]:
		v.Set(reflect.ValueOf(market.Some(plan.Gap{Since: start, Looks: *n, Rate: market.Rate(*n)})))
		return
	case market.Maybe[market.Rate]:
		v.Set(reflect.ValueOf(market.Some(market.Rate(*n))))
		return
	case market.Maybe[market.Amount]:
		v.Set(reflect.ValueOf(market.Some(market.Amount(*n))))
		return
	case market.Maybe[int]:
		v.Set(reflect.ValueOf(market.Some(*n)))
		return
	case market.Maybe[float64]:
		v.Set(reflect.ValueOf(market.Some(float64(*n))))
		return
	case market.Maybe[[]int]:
		v.Set(reflect.ValueOf(market.Some([]int{*n, *n + 1})))
		return
	case market.Maybe[market.Bounds]:
		v.Set(reflect.ValueOf(market.Some(market.Bounds{Min: *n})))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%03d", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(elem, n)
		v.SetMapIndex(key, elem)
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				panic(fmt.Sprintf("%s: teach fill about it", v.Type()))
			}
			fill(v.Field(i), n)
		}
	default:
		panic(v.Kind())
	}
}

func fullHistory() (h plan.History) {
	n := 0
	fill(reflect.ValueOf(&h).Elem(), &n)
	return h
}

func TestEveryFieldOfTheHistorySurvivesAReopen(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path})
	want := fullHistory()
	must(t, l.Update(func(tx *Tx) error { *tx.History() = want.Clone(); return nil }))
	must(t, l.Close())
	l = mustOpen(t, Options{Path: path})
	if got := asJSON(t, must1(l.History())); got != asJSON(t, want) {
		t.Errorf("%s became %s", asJSON(t, want), got)
	}
	must(t, l.Update(func(tx *Tx) error { *tx.History() = plan.History{}; return nil }))
	must(t, l.Close())
	if got := asJSON(t, must1(mustOpen(t, Options{Path: path}).History())); got != "{}" {
		t.Errorf("left over: %s", got)
	}
}

func TestAClonedHistorySharesNothing(t *testing.T) {
	h := fullHistory()
	c := h.Clone()
	if !reflect.DeepEqual(h, c) {
		t.Fatal("the clone differs")
	}
	noSharing(t, "History", reflect.ValueOf(h), reflect.ValueOf(c))
}

func noSharing(t *testing.T, path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Pointer:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
			return
		}
		noSharing(t, path, a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
			return
		}
		for i := range a.Len() {
			noSharing(t, path, a.Index(i), b.Index(i))
		}
	case reflect.Map:
		t.Errorf("%s: teach Clone about maps", path)
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() {
				noSharing(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
			}
		}
	}
}

// TestSameHostSeesEveryField changes one field at a time: a host taken for the
// same would be recorded as it was.
func TestSameHostSeesEveryField(t *testing.T) {
	n := 0
	var a market.Host
	fill(reflect.ValueOf(&a).Elem(), &n)
	if b := a; !sameHost(&a, &b) {
		t.Error("a host differs from itself")
	}
	v := reflect.ValueOf(a)
	for i := range v.NumField() {
		b := a
		f := reflect.ValueOf(&b).Elem().Field(i)
		if f.Kind() == reflect.Bool {
			f.SetBool(false)
		} else {
			n += 100
			fill(f, &n)
		}
		if sameHost(&a, &b) {
			t.Errorf("a change of %s goes unseen", v.Type().Field(i).Name)
		}
		f.SetZero()
		if sameHost(&a, &b) {
			t.Errorf("the loss of %s goes unseen", v.Type().Field(i).Name)
		}
	}
}

// model is what a ledger should hold.
type model struct {
	history plan.History
	intents map[uint64]plan.Intent
	reports map[uint64]string
	lastID  uint64
}

func (m *model) clone() *model {
	c := *m
	c.history = m.history.Clone()
	c.intents, c.reports = map[uint64]plan.Intent{}, map[uint64]string{}
	for k, v := range m.intents {
		c.intents[k] = v
	}
	for k, v := range m.reports {
		c.reports[k] = v
	}
	return &c
}

func drawHistory(t *rapid.T) (h plan.History) {
	small := rapid.IntRange(0, 4)
	name := func() string { return rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "name") }
	when := func() time.Time { return start.Add(time.Duration(small.Draw(t, "minute")) * time.Minute) }
	seen := map[string]bool{}
	for range small.Draw(t, "machines") {
		m := plan.Machine{Name: name(), Policy: name(), SeenAt: when(), Reserved: market.Rate(small.Draw(t, "rate"))}
		if rapid.Bool().Draw(t, "rebid") {
			m.Rebid = &plan.PendingRebid{Intent: 1, At: when()}
		}
		if !seen[m.Name] {
			h.Machines = append(h.Machines, m)
		}
		seen[m.Name] = true
	}
	days := map[string]bool{}
	for range small.Draw(t, "spend") {
		s := plan.Spend{Day: "2031-04-0" + fmt.Sprint(1+small.Draw(t, "day")), Policy: name(), Amount: market.Amount(small.Draw(t, "amount"))}
		if !days[s.Day+s.Policy] {
			h.Spend = append(h.Spend, s)
		}
		days[s.Day+s.Policy] = true
	}
	for range small.Draw(t, "backoffs") {
		h.Backoffs = append(h.Backoffs, plan.Backoff{Host: name(), Until: when()})
	}
	for range small.Draw(t, "pauses") {
		h.Pauses = append(h.Pauses, plan.Pause{Policy: name(), Since: when()})
	}
	for range small.Draw(t, "failures") {
		h.Failures = append(h.Failures, when())
	}
	if rapid.Bool().Draw(t, "applies") {
		h.RebidApplies = market.Some(plan.Lesson{Holds: rapid.Bool().Draw(t, "how"), At: when()})
		h.Gap = market.Some(plan.Gap{Since: when(), Looks: rapid.IntRange(1, 9).Draw(t, "doubted")})
	}
	if rapid.Bool().Draw(t, "looked") {
		h.LookedAt = when()
	}
	return h
}

// TestTheLedgerHoldsWhatAModelHolds runs random transactions, some of which
// fail, and reopens the file at random moments.
func TestTheLedgerHoldsWhatAModelHolds(t *testing.T) {
	states := []plan.IntentState{plan.IntentOpen, plan.IntentUnknown, plan.IntentConfirmed, plan.IntentFailed}
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		o := Options{Path: fmt.Sprintf("%s/%d.db", dir, run), NoSync: true}
		l, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		m := &model{intents: map[uint64]plan.Intent{}, reports: map[uint64]string{}}
		w := newWorld(5, 2, 1)
		w.churn = 0.3
		no := fmt.Errorf("no")
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				next := m.clone()
				fail := rapid.IntRange(0, 4).Draw(t, "fail") == 0
				err := l.Update(func(tx *Tx) error {
					next.history = drawHistory(t)
					sortBy(next.history.Machines, machineKey)
					sortBy(next.history.Spend, spendKey)
					*tx.History() = next.history.Clone()
					for range rapid.IntRange(0, 3).Draw(t, "intents") {
						id := tx.NextIntent()
						if id != next.lastID+1 {
							t.Fatalf("intent %d after %d", id, next.lastID)
						}
						next.lastID = id
						if rapid.Bool().Draw(t, "old") {
							id = rapid.Uint64Range(1, id).Draw(t, "id")
						}
						in := plan.Intent{ID: id, At: start, State: rapid.SampledFrom(states).Draw(t, "state")}
						next.intents[id] = in
						if err := tx.PutIntent(in); err != nil {
							return err
						}
					}
					if rapid.IntRange(0, 3).Draw(t, "report") == 0 {
						r := w.next()
						next.reports[r.Cycle] = asJSONOf(r)
						if err := tx.PutReport(r); err != nil {
							return err
						}
					}
					if fail {
						return no
					}
					return nil
				})
				if fail != (err == no) || !fail && err != nil {
					t.Fatal(err)
				}
				if !fail {
					m = next
				}
			},
			"reopen": func(t *rapid.T) {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(o); err != nil {
					t.Fatal(err)
				}
				m.compareReports(t, l)
			},
			"": func(t *rapid.T) { m.compare(t, l) },
		})
		m.compareReports(t, l)
		if err := l.Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

func asJSONOf(v any) string { return string(must1(json.Marshal(v))) }

func (m *model) compare(t *rapid.T, l *Ledger) {
	if got, want := asJSONOf(must1(l.History())), asJSONOf(m.history); got != want {
		t.Fatalf("history is %s, not %s", got, want)
	}
	all, open := must1(l.Intents(Filter{})), 0
	for i, in := range all {
		if in != m.intents[in.ID] || i > 0 && all[i-1].ID <= in.ID {
			t.Fatalf("intent %v, not %v", in, m.intents[in.ID])
		}
		if !in.State.Settled() {
			open++
		}
	}
	if got := must1(l.Intents(Filter{OpenOnly: true})); len(got) != open || len(all) != len(m.intents) {
		t.Fatalf("%d intents, %d open by the index, %d by state, %d in the model", len(all), len(got), open, len(m.intents))
	}
}

// compareReports holds the last report and a few others against the model.
func (m *model) compareReports(t *rapid.T, l *Ledger) {
	n := 0
	err := l.Reports(time.Time{}, time.Time{}, 0, func(s ReportSummary) error {
		if n++; n%7 != 1 {
			return nil
		}
		r, err := l.Report(s.Cycle)
		if err == nil && asJSONOf(r) != m.reports[s.Cycle] {
			t.Fatalf("report %d is another", s.Cycle)
		}
		return err
	})
	if err != nil || n != len(m.reports) {
		t.Fatal(n, len(m.reports), err)
	}
}
