package ledger

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// Errors of this package. Each is wrapped with the path and what to do.
var (
	// ErrLocked: another process holds the file.
	ErrLocked = errors.New("the ledger is in use")
	// ErrCorrupt: the file is not exactly what a ledger wrote.
	ErrCorrupt = errors.New("the ledger is damaged")
	// ErrNotExist: there is no file, and it was opened read-only.
	ErrNotExist = errors.New("there is no ledger")
	// ErrSchema: the file's format is not the one of this program.
	ErrSchema = errors.New("the ledger has another format")
	// ErrWrite: a change could not be brought to disk. The caller must act as if
	// nothing was written; reading still works.
	ErrWrite = errors.New("the ledger could not be written")
	// ErrReadOnly: a change was asked of a ledger opened read-only.
	ErrReadOnly = errors.New("the ledger is open for reading only")
	// ErrClosed: the ledger was closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrExists: a copy would replace a file that is there.
	ErrExists = errors.New("there is a file of this name already")
	// ErrNoSuchIntent: no intent has this id, or it was pruned.
	ErrNoSuchIntent = errors.New("no such intent")
	// ErrNoSuchCycle: no report of this cycle was kept.
	ErrNoSuchCycle = errors.New("no report of this cycle")
)

// DefaultTimeout is how long Open waits for another process to let go.
const DefaultTimeout = 3 * time.Second

// Options say where the ledger is and how much it keeps.
type Options struct {
	Path    string
	Timeout time.Duration // for the file's lock; 0 is DefaultTimeout
	// NoSync skips fsync: for demo and simulations, whose ledger nobody needs
	// after a crash.
	NoSync bool
	// Volatile keeps the books in memory, and neither reports nor prices, for backtests, which spend most
	// of their time on them otherwise. Transactions work as ever, but the file cannot be
	// used afterwards.
	Volatile bool
	// ReadOnly never creates or changes a file.
	ReadOnly bool
	// Retention drops cycle reports, settled intents and prices that are older;
	// 0 keeps them.
	Retention time.Duration
	// MaxSize is how many bytes of the file may be in use before the oldest cycle
	// reports are dropped; 0 is no bound. The file itself never shrinks.
	MaxSize int64
	// ID is what a ledger that has to be made is called, for simulations that
	// replay: names of machines are made from it. "" is a random one.
	ID string
	// Fault is for tests and simulations: it is called before each commit, and its
	// error fails the commit as the disk would: nothing changed, and Update returns
	// ErrWrite. It must not call the ledger. nil is a disk that works.
	Fault func() error
}

// Ledger is an open ledger. Its methods may be called from any goroutine.
type Ledger struct {
	opts   Options
	id     string
	schema int // of the file
	// old: a file of an older schema is read as it is.
	old  bool
	db   *bbolt.DB
	file *os.File // db's own; kept for checks

	// state is what the last commit left; its value is never changed, only replaced.
	state atomic.Pointer[state]
	cycle atomic.Uint64 // the last number given out by NextCycle

	trouble atomic.Pointer[error] // why the last change could not be written; nil once one could
	failed  atomic.Uint64         // changes that could not be written

	writing sync.Mutex // held by the one transaction that writes, and by Close
	closed  bool
	broken  error // set when bbolt failed us beyond repair
	frames  frameWriter
	// tips are the newest quotes. They belong to whoever holds writing.
	tips map[seriesKey]tip
}

// state is the decoded head of the ledger.
type state struct {
	history plan.History
	counts  counters
}

// ID is a random 128-bit number in hex that was made with the file.
func (l *Ledger) ID() string { return l.id }

// Path is where the ledger is.
func (l *Ledger) Path() string { return l.opts.Path }

// Trouble is why the last change could not be written; nil once one could. It
// tells of the last attempt, not of the next.
func (l *Ledger) Trouble() error {
	if err := l.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Failed counts the changes that could not be written since the ledger was opened.
func (l *Ledger) Failed() uint64 { return l.failed.Load() }

// Close lets go of the file. Closing again is harmless.
func (l *Ledger) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if err := guard("close", l.db.Close); err != nil {
		return fmt.Errorf("close ledger %s: %w", l.opts.Path, err)
	}
	return nil
}

// History is what the books say: a copy that the caller may change. It is the
// state of the last commit, also while another one is under way.
func (l *Ledger) History() (plan.History, error) {
	return l.state.Load().history.Clone(), nil
}

// NextCycle is the number of the next cycle. It costs no write: the number is
// brought to disk with the first intent or report that carries it. A number that
// no record carries may be given out again after a restart.
func (l *Ledger) NextCycle() (uint64, error) {
	if l.opts.ReadOnly {
		return 0, l.wrap("next cycle", ErrReadOnly)
	}
	return l.cycle.Add(1), nil
}

// Stats says how much is kept.
type Stats struct {
	FileSize    int64 `json:"file_bytes"` // on disk; never shrinks
	UsedSize    int64 `json:"used_bytes"` // pages in use; what MaxSize bounds
	DataSize    int64 `json:"data_bytes"` // keys and values
	Machines    int64 `json:"machines"`
	Intents     int64 `json:"intents"`
	OpenIntents int64 `json:"open_intents"`
	Reports     int64 `json:"reports"`
	Prices      int64 `json:"prices"`
	Costs       int64 `json:"costs"`
	Outages     int64 `json:"outages"`
}

// Stats counts records without reading them; it is zero for a closed ledger.
func (l *Ledger) Stats() Stats {
	c := &l.state.Load().counts
	s := Stats{
		Machines:    c.Sizes[bucketMachines].Records,
		Intents:     c.Sizes[bucketIntents].Records,
		OpenIntents: c.Sizes[bucketOpen].Records,
		Reports:     c.Sizes[bucketSummaries].Records,
		Prices:      c.Sizes[bucketPrices].Records,
		Costs:       c.Sizes[bucketCosts].Records,
		Outages:     c.Sizes[bucketOutages].Records,
		DataSize:    c.bytes(),
	}
	err := l.view("stats", func(tx *bbolt.Tx) error {
		s.FileSize, s.UsedSize = tx.Size(), l.used(tx)
		return nil
	})
	if err != nil {
		return Stats{}
	}
	return s
}

// used is how many bytes of the file hold something, as of the last commit.
func (l *Ledger) used(tx *bbolt.Tx) int64 {
	st := l.db.Stats()
	return tx.Size() - int64(st.FreePageN+st.PendingPageN)*int64(l.db.Info().PageSize)
}

// view runs fn in a read transaction. fn must be quick: the file cannot grow
// while it runs.
func (l *Ledger) view(op string, fn func(*bbolt.Tx) error) error {
	err := guard(op, func() error { return l.db.View(fn) })
	return l.wrap(op, err)
}

// wrap adds the operation, the path and, where it helps, what to do.
func (l *Ledger) wrap(op string, err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = ErrClosed
	}
	return describe(op, l.opts.Path, err)
}

func describe(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("%s: ledger %s: %w; nothing was changed: move the file away and keep it, "+
			"restore a backup or start without it (machines are found again by their names, spend and pauses are not)", op, path, err)
	default:
		return fmt.Errorf("%s: ledger %s: %w", op, path, err)
	}
}

// guard turns bbolt's panics on damaged pages, and faults on pages that the file
// no longer has, into ErrCorrupt. Nothing of the caller's may run inside it.
func guard(what string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrCorrupt, what, r)
		}
	}()
	return fn()
}
