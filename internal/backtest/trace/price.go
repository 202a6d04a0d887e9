package trace

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// rows collects the series of all files.
type rows struct {
	series []Series
	index  map[seriesKey]int
}

type seriesKey struct {
	host  string
	model market.GPUModel
}

// columns are where a row holds what. A cloud's own format is read too: its host is
// the instance type in its zone, its price is that of a machine, taken as a GPU's.
type columns struct{ time, host, zone, model, price int }

func findColumns(head []string) (c columns, ok bool) {
	at := func(name string) int { return slices.Index(head, name) }
	own := columns{at("timestamp"), at("host"), -1, at("gpu_model"), at("price")}
	if len(head) == 4 && min(own.time, own.host, own.model, own.price) >= 0 {
		return own, true
	}
	cloud := columns{at("timestamp"), at("instance_type"), at("availability_zone"), at("instance_type"), at("spot_price_usd_per_hour")}
	return cloud, len(head) == 4 && min(cloud.time, cloud.host, cloud.zone, cloud.price) >= 0
}

func (r *rows) read(f *File) error {
	in := csv.NewReader(bytes.NewReader(f.Data))
	in.ReuseRecord = true
	head, err := in.Read()
	if err != nil {
		return place{f.Name, 1}.errorf("not CSV: %w", err)
	}
	for i := range head {
		head[i] = strings.TrimSpace(head[i])
	}
	cols, ok := findColumns(head)
	if !ok {
		return place{f.Name, 1}.errorf("begins with %q: a price trace begins with the line timestamp,host,gpu_model,price, a capacity trace with {", strings.Join(head, ","))
	}
	n := 0
	for ; ; n++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var bad *csv.ParseError
			at := place{f.Name, n + 2}
			if errors.As(err, &bad) {
				at.line, err = bad.Line, bad.Err
			}
			return at.errorf("%w", err)
		}
		line, _ := in.FieldPos(0)
		if err := r.add(cols, row, place{f.Name, line}); err != nil {
			return err
		}
	}
	if n == 0 {
		return place{f.Name, 1}.errorf("there is no row below the header")
	}
	return nil
}

func (r *rows) add(c columns, row []string, at place) error {
	when, err := parseTime(row[c.time])
	if err != nil {
		return at.errorf("the timestamp %q is neither RFC 3339 nor seconds since 1970", row[c.time])
	}
	price, err := market.ParseRate(row[c.price])
	if err != nil {
		return at.errorf("the price: %w", err)
	}
	if price < 0 {
		return at.errorf("the price %q is negative", row[c.price])
	}
	key := seriesKey{strings.TrimSpace(row[c.host]), market.GPUModel(strings.ToLower(strings.TrimSpace(row[c.model])))}
	if c.zone >= 0 {
		key.host += "/" + strings.TrimSpace(row[c.zone])
	}
	if key.host == "" || key.model == "" {
		return at.errorf("the host or the GPU model is empty")
	}
	return r.put(key, Point{At: when, Price: price, place: at})
}

func (r *rows) put(key seriesKey, p Point) error {
	i, ok := r.index[key]
	if !ok {
		i = len(r.series)
		r.index[key] = i
		r.series = append(r.series, Series{Host: strings.Clone(key.host), Model: key.model})
	}
	s := &r.series[i]
	if n := len(s.Points); n > 0 && s.Points[n-1].place.file == p.place.file && p.At.Before(s.Points[n-1].At) {
		last := &s.Points[n-1]
		return p.place.errorf("%s is earlier than %s of %s:%d: the rows of one host must be in order of time",
			p.At.Format(time.RFC3339), last.At.Format(time.RFC3339), last.place.file, last.place.line)
	}
	s.Points = append(s.Points, p)
	return nil
}

// Times before and after which a timestamp is a mistake, and durations might not
// fit.
const minYear, maxYear = 1970, 2200

func parseTime(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		nano, nerr := market.ParseNano(text, market.RoundDown)
		if nerr != nil {
			return time.Time{}, err
		}
		t = time.Unix(nano/1e9, nano%1e9)
	}
	if t = t.UTC(); t.Year() < minYear || t.Year() > maxYear {
		return time.Time{}, strconv.ErrRange
	}
	return t, nil
}
