package ledger

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Keys of the books bucket: the lists of the History that are small or change
// rarely, one record each. A list that is empty has none.
const (
	bookBackoffs     = "backoffs"
	bookPauses       = "pauses"
	bookBreakers     = "breakers"
	bookFailures     = "failures"
	bookScaled       = "scaled"
	bookShort        = "short"
	bookSettling     = "settling"
	bookProgress     = "progress"
	bookKnown        = "known"
	bookRebidApplies = "rebid_applies"
	bookLookedAt     = "looked_at"
	bookTotals       = "totals"
	bookDuds         = "duds"
	bookLevels       = "levels"
	bookAccount      = "account"
	bookClock        = "clock"
	bookGap          = "gap"
	bookBrackets     = "brackets"
	bookRises        = "rises"
	bookAskApplies   = "ask_applies"
	bookDemand       = "demand"
	bookOverrides    = "overrides"
	bookAims         = "aims"
	bookHeard        = "heard"
	bookShadows      = "shadows"
	bookChurn        = "churn"
	bookContainers   = "containers"
	bookScaling      = "scaling"
	bookStrangers    = "strangers"
)

func machineKey(m *plan.Machine) string { return m.Name }
func spendKey(s *plan.Spend) string     { return s.Day + "\x00" + s.Policy }

// longestHost is the longest name of a host and model that is a key as it is: what
// the market calls a host is not bounded.
const longestHost = 256

func hostKey(r *plan.HostRecord) string {
	k := r.Host + "\x00" + string(r.Model)
	if len(k) > longestHost {
		sum := sha256.Sum256([]byte(k))
		return "\x00" + string(sum[:])
	}
	return k
}

// saveHistory writes the records that differ from those of the last commit. It
// sorts machines, hosts, spend and containers as they will be read again.
func (tx *Tx) saveHistory() error {
	old, h, w := &tx.l.state.Load().history, &tx.history, &tx.w
	sortBy(h.Machines, machineKey)
	sortBy(h.Spend, spendKey)
	sortBy(h.Containers, func(c *plan.Container) string { return c.Name })
	sortBy(h.Hosts, hostKey)
	same := func(a, b *plan.Machine) bool { return reflect.DeepEqual(a, b) }
	if err := saveRecords(w, bucketMachines, old.Machines, h.Machines, machineKey, same); err != nil {
		return err
	}
	if err := saveRecords(w, bucketHosts, old.Hosts, h.Hosts, hostKey, equal[plan.HostRecord]); err != nil {
		return err
	}
	if err := saveRecords(w, bucketSpend, old.Spend, h.Spend, spendKey, equal[plan.Spend]); err != nil {
		return err
	}
	return firstError(
		saveList(w, bookBackoffs, old.Backoffs, h.Backoffs),
		saveList(w, bookPauses, old.Pauses, h.Pauses),
		saveList(w, bookBreakers, old.Breakers, h.Breakers),
		saveList(w, bookFailures, old.Failures, h.Failures),
		saveList(w, bookScaled, old.Scaled, h.Scaled),
		saveList(w, bookShort, old.Short, h.Short),
		saveList(w, bookSettling, old.Settling, h.Settling),
		saveList(w, bookProgress, old.Progress, h.Progress),
		saveList(w, bookKnown, old.Known, h.Known),
		saveList(w, bookRebidApplies, maybeList(old.RebidApplies), maybeList(h.RebidApplies)),
		saveList(w, bookLookedAt, timeList(old.LookedAt), timeList(h.LookedAt)),
		saveList(w, bookTotals, old.Totals, h.Totals),
		saveList(w, bookDuds, valueList(old.Duds), valueList(h.Duds)),
		saveList(w, bookLevels, old.Levels, h.Levels),
		saveList(w, bookAccount, valueList(old.Account), valueList(h.Account)),
		saveList(w, bookClock, valueList(old.Clock), valueList(h.Clock)),
		saveList(w, bookGap, maybeList(old.Gap), maybeList(h.Gap)),
		saveList(w, bookBrackets, old.Brackets, h.Brackets),
		saveList(w, bookRises, old.Rises, h.Rises),
		saveList(w, bookAskApplies, maybeList(old.AskApplies), maybeList(h.AskApplies)),
		saveDeep(w, bookDemand, old.Demand, h.Demand),
		saveList(w, bookOverrides, old.Overrides, h.Overrides),
		saveList(w, bookAims, old.Aims, h.Aims),
		saveList(w, bookHeard, old.Heard, h.Heard),
		saveDeep(w, bookShadows, old.Shadows, h.Shadows),
		saveList(w, bookChurn, old.Churn, h.Churn),
		saveDeep(w, bookContainers, old.Containers, h.Containers),
		saveList(w, bookScaling, valueList(old.Scaling), valueList(h.Scaling)),
		saveList(w, bookStrangers, old.Strangers, h.Strangers),
	)
}

func equal[T comparable](a, b *T) bool { return *a == *b }

func sortBy[T any](list []T, key func(*T) string) {
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(key(&a), key(&b)) })
}

// firstError is the first that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// maybeList is a list of one or none.
func maybeList[T any](m market.Maybe[T]) []T {
	if v, ok := m.Get(); ok {
		return []T{v}
	}
	return nil
}

// valueList is a list of one value, or of none where it is the zero value.
func valueList[T comparable](v T) []T {
	var zero T
	if v == zero {
		return nil
	}
	return []T{v}
}

// timeList is a list of one time, or of none where it is zero. What the clock's
// own count adds to a time would not survive a reopening.
func timeList(t time.Time) []time.Time {
	if t.IsZero() {
		return nil
	}
	return []time.Time{t.Round(0)}
}

// saveRecords walks two sorted lists and writes the difference.
func saveRecords[T any](w *writer, bucket string, old, list []T, key func(*T) string, same func(a, b *T) bool) error {
	i := 0
	for j := range list {
		k := key(&list[j])
		if j > 0 && k == key(&list[j-1]) {
			return fmt.Errorf("two records %q in %s", k, bucket)
		}
		for ; i < len(old) && key(&old[i]) < k; i++ {
			if err := w.del(bucket, []byte(key(&old[i]))); err != nil {
				return err
			}
		}
		if i < len(old) && key(&old[i]) == k {
			i++
			if same(&old[i-1], &list[j]) {
				continue
			}
		}
		if err := w.putJSON(bucket, []byte(k), &list[j]); err != nil {
			return err
		}
	}
	for ; i < len(old); i++ {
		if err := w.del(bucket, []byte(key(&old[i]))); err != nil {
			return err
		}
	}
	return nil
}

// saveList writes a list as one record where it changed.
func saveList[T comparable](w *writer, key string, old, list []T) error {
	return saveAs(w, key, list, slices.Equal(old, list))
}

// saveDeep is saveList for values with lists of their own.
func saveDeep[T any](w *writer, key string, old, list []T) error {
	return saveAs(w, key, list, len(old) == 0 && len(list) == 0 || reflect.DeepEqual(old, list))
}

func saveAs[T any](w *writer, key string, list []T, same bool) error {
	switch {
	case same:
		return nil
	case len(list) == 0:
		return w.del(bucketBooks, []byte(key))
	}
	return w.putJSON(bucketBooks, []byte(key), list)
}

// load reads the head of the ledger anew.
func (l *Ledger) load() error {
	s := &state{}
	err := guard("load", func() error {
		return l.db.View(func(tx *bbolt.Tx) (err error) {
			if !l.opts.ReadOnly {
				l.tips, err = loadTips(tx)
			}
			return firstError(err, s.read(tx))
		})
	})
	if err != nil {
		return err
	}
	l.state.Store(s)
	l.cycle.Store(max(l.cycle.Load(), s.counts.Cycle))
	return nil
}

func (s *state) read(tx *bbolt.Tx) (err error) {
	if s.counts, _, err = find[counters](tx, bucketMeta, []byte(keyCounters)); err != nil {
		return err
	}
	h := &s.history
	if h.Machines, err = loadRecords(tx, bucketMachines, machineKey); err != nil {
		return err
	}
	if tx.Bucket([]byte(bucketHosts)) != nil { // a schema before 3 has none
		if h.Hosts, err = loadRecords(tx, bucketHosts, hostKey); err != nil {
			return err
		}
	}
	if h.Spend, err = loadRecords(tx, bucketSpend, spendKey); err != nil {
		return err
	}
	var rebid []plan.Lesson
	var asks []plan.Lesson
	var looked []time.Time
	var duds []int
	var account []plan.Account
	var mark []plan.ClockMark
	var gap []plan.Gap
	var scaling []plan.ScaleLesson
	err = firstError(
		loadList(tx, bookBackoffs, &h.Backoffs),
		loadList(tx, bookPauses, &h.Pauses),
		loadList(tx, bookBreakers, &h.Breakers),
		loadList(tx, bookFailures, &h.Failures),
		loadList(tx, bookScaled, &h.Scaled),
		loadList(tx, bookShort, &h.Short),
		loadList(tx, bookSettling, &h.Settling),
		loadList(tx, bookProgress, &h.Progress),
		loadList(tx, bookKnown, &h.Known),
		loadList(tx, bookRebidApplies, &rebid),
		loadList(tx, bookLookedAt, &looked),
		loadList(tx, bookTotals, &h.Totals),
		loadList(tx, bookDuds, &duds),
		loadList(tx, bookLevels, &h.Levels),
		loadList(tx, bookAccount, &account),
		loadList(tx, bookClock, &mark),
		loadList(tx, bookGap, &gap),
		loadList(tx, bookBrackets, &h.Brackets),
		loadList(tx, bookRises, &h.Rises),
		loadList(tx, bookAskApplies, &asks),
		loadList(tx, bookDemand, &h.Demand),
		loadList(tx, bookOverrides, &h.Overrides),
		loadList(tx, bookAims, &h.Aims),
		loadList(tx, bookHeard, &h.Heard),
		loadList(tx, bookShadows, &h.Shadows),
		loadList(tx, bookChurn, &h.Churn),
		loadList(tx, bookContainers, &h.Containers),
		loadList(tx, bookScaling, &scaling),
		loadList(tx, bookStrangers, &h.Strangers),
	)
	h.Duds, h.Account, h.Clock, h.Scaling = first(duds), first(account), first(mark), first(scaling)
	if err == nil && len(rebid) > 0 {
		h.RebidApplies = market.Some(rebid[0])
	}
	if err == nil && len(asks) > 0 {
		h.AskApplies = market.Some(asks[0])
	}
	if err == nil && len(gap) > 0 {
		h.Gap = market.Some(gap[0])
	}
	if err == nil && len(looked) > 0 {
		h.LookedAt = looked[0]
	}
	return err
}

// first is the value that a list of one holds, or the zero value.
func first[T any](list []T) (v T) {
	if len(list) > 0 {
		v = list[0]
	}
	return v
}

// lifetimes is the step from schema 1, which did not know what a policy has spent in
// all its life: what is still known of it is the spend of this month and the last.
func lifetimes(w *writer) error {
	spend, err := loadRecords(w.tx, bucketSpend, spendKey)
	if err != nil {
		return err
	}
	sums := map[string]market.Amount{}
	for _, s := range spend {
		sums[s.Policy] = sums[s.Policy].Add(s.Amount)
	}
	var totals []plan.Total
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		totals = append(totals, plan.Total{Policy: name, Amount: sums[name]})
	}
	return saveList(w, bookTotals, nil, totals)
}

// hosts is the step from schema 2, which kept no records of hosts, and each price in
// a record of its own.
func hosts(w *writer) error {
	if _, err := w.tx.CreateBucketIfNotExists([]byte(bucketHosts)); err != nil {
		return err
	}
	return gather(w)
}

// loadRecords reads a bucket whose keys are made of its records.
func loadRecords[T any](tx *bbolt.Tx, bucket string, key func(*T) string) (list []T, err error) {
	b, err := open(tx, bucket)
	if err != nil {
		return nil, err
	}
	err = b.ForEach(func(k, value []byte) error {
		v, err := decode[T](bucket, k, value)
		if err != nil {
			return err
		}
		if key(&v) != string(k) {
			return badRecord(bucket, k, "carries another key")
		}
		list = append(list, v)
		return nil
	})
	return list, err
}

func loadList[T any](tx *bbolt.Tx, key string, to *[]T) error {
	list, _, err := find[[]T](tx, bucketBooks, []byte(key))
	*to = list
	return err
}
