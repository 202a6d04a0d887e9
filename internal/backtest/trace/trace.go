package trace

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Kind is what a trace records.
type Kind string

// Kinds of trace.
const (
	Capacity Kind = "capacity" // free GPUs per tick, without money
	Price    Kind = "price"    // price changes, without capacity
)

// ErrTrace is wrapped by every error of Read and Tape.
var ErrTrace = errors.New("not a usable trace")

// File is a file that was read.
type File struct {
	Name string
	Data []byte
}

// Trace is what the files recorded, sorted by name.
type Trace struct {
	Kind   Kind
	Zones  []Zone   // of a capacity trace
	Series []Series // of a price trace
	// OnDemand is the price of a GPU-hour on demand, where the recording knows it.
	OnDemand market.Maybe[market.Rate]
	// Until is when the recording of prices ended; with its last change, where it is zero.
	Until time.Time
}

// Zone is one file of a capacity trace.
type Zone struct {
	Name string
	Gap  time.Duration // between two ticks; 0 where the file does not tell
	Free []int         // GPUs per tick
	file string
}

// Series are the price changes of one GPU model on one host. In order; of two at
// the same time the later one holds.
type Series struct {
	Host   string
	Model  market.GPUModel
	Points []Point
	// Free is how many GPUs there are, where the recording knows it; else HostGPUs from
	// the first point on. In order.
	Free []Count
}

// Count is the number of GPUs from At on.
type Count struct {
	At   time.Time
	GPUs int
}

// Point is the price of a GPU-hour from At on.
type Point struct {
	At    time.Time
	Price market.Rate
	place place
}

// place is where a value was written.
type place struct {
	file string
	line int
}

func (p place) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s:%d: %w", ErrTrace, p.file, p.line, fmt.Errorf(format, args...))
}

// Read reads all files of one trace. They must be of one kind.
func Read(files []File) (Trace, error) {
	if len(files) == 0 {
		return Trace{}, fmt.Errorf("%w: no file", ErrTrace)
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.Data, b.Data)) })
	var t Trace
	r := rows{index: map[seriesKey]int{}}
	first := ""
	for _, f := range files {
		kind, err := kindOf(&f)
		switch {
		case err != nil:
			return Trace{}, err
		case t.Kind == "":
			t.Kind, first = kind, f.Name
		case t.Kind != kind:
			return Trace{}, fmt.Errorf("%w: %s is a %s trace and %s a %s trace: play them apart", ErrTrace, first, t.Kind, f.Name, kind)
		}
		if kind == Price {
			err = r.read(&f)
		} else {
			err = t.readZone(&f)
		}
		if err != nil {
			return Trace{}, err
		}
	}
	t.Series = r.series
	return t, t.order()
}

// kindOf tells a file by its first character.
func kindOf(f *File) (Kind, error) {
	f.Data = bytes.TrimPrefix(f.Data, []byte("\ufeff"))
	switch text := bytes.TrimSpace(f.Data); {
	case len(text) == 0:
		return "", place{f.Name, 1}.errorf("the file is empty")
	case text[0] == '{':
		return Capacity, nil
	}
	return Price, nil
}

// order sorts by name, and gives files of the same name different ones.
func (t *Trace) order() error {
	seen := map[string]int{}
	for i := range t.Zones {
		seen[t.Zones[i].Name]++
	}
	for i := range t.Zones {
		if z := &t.Zones[i]; seen[z.Name] > 1 {
			z.Name = strings.TrimSuffix(filepath.ToSlash(z.file), path.Ext(z.file))
		}
	}
	slices.SortFunc(t.Zones, func(a, b Zone) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(t.Zones); i++ {
		if t.Zones[i].Name == t.Zones[i-1].Name {
			return fmt.Errorf("%w: %s is given twice", ErrTrace, t.Zones[i].file)
		}
	}
	for i := range t.Series { // several files may tell of one host
		slices.SortStableFunc(t.Series[i].Points, func(a, b Point) int { return a.At.Compare(b.At) })
	}
	slices.SortFunc(t.Series, func(a, b Series) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model)) })
	return nil
}
