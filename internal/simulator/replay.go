package simulator

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Series is a recorded price over time.
type Series struct {
	Name   string
	Model  market.GPUModel // set where prices are per GPU of this model; else only their movement counts
	Points []PricePoint    // sorted by time
}

// PricePoint is the price from At on.
type PricePoint struct {
	At    time.Time
	Price market.Rate
}

// ErrSeries is wrapped by every error of ReadSeries.
var ErrSeries = errors.New("not a price file")

// ReadSeries reads a price file with a header: either our own
// "timestamp,host,gpu_model,price" (USD per GPU and hour) or a cloud's
// "instance_type,availability_zone,timestamp,spot_price_usd_per_hour". Timestamps
// are RFC 3339.
func ReadSeries(r io.Reader) ([]Series, error) {
	rows := csv.NewReader(r)
	head, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSeries, err)
	}
	columns, err := findColumns(head)
	if err != nil {
		return nil, err
	}
	byName := map[string]*Series{}
	for line := 2; ; line++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = columns.add(byName, row)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSeries, line, err)
		}
	}
	return sorted(byName)
}

type columns struct{ time, price, first, second, model int }

func findColumns(head []string) (columns, error) {
	at := func(name string) int { return slices.Index(head, name) }
	own := columns{at("timestamp"), at("price"), at("host"), at("gpu_model"), at("gpu_model")}
	cloud := columns{at("timestamp"), at("spot_price_usd_per_hour"), at("instance_type"), at("availability_zone"), -1}
	for _, c := range []columns{own, cloud} {
		if min(c.time, c.price, c.first, c.second) >= 0 {
			return c, nil
		}
	}
	return columns{}, fmt.Errorf("%w: header %q", ErrSeries, strings.Join(head, ","))
}

func (c columns) add(byName map[string]*Series, row []string) error {
	t, err := time.Parse(time.RFC3339, row[c.time])
	if err != nil {
		return err
	}
	price, err := market.ParseRate(row[c.price])
	if err != nil {
		return err
	}
	name := row[c.first] + "/" + row[c.second]
	s := byName[name]
	if s == nil {
		s = &Series{Name: name}
		if c.model >= 0 {
			s.Model = market.GPUModel(row[c.model])
		}
		byName[name] = s
	}
	s.Points = append(s.Points, PricePoint{At: t, Price: price})
	return nil
}

func sorted(byName map[string]*Series) ([]Series, error) {
	if len(byName) == 0 {
		return nil, fmt.Errorf("%w: no rows", ErrSeries)
	}
	out := make([]Series, 0, len(byName))
	for _, s := range byName {
		sort.SliceStable(s.Points, func(i, j int) bool { return s.Points[i].At.Before(s.Points[j].At) })
		out = append(out, *s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// median price of a series; at least 1 nano, so that it can divide.
func (s *Series) median() market.Rate {
	prices := make([]market.Rate, len(s.Points))
	for i, p := range s.Points {
		prices[i] = p.Price
	}
	slices.Sort(prices)
	return max(prices[len(prices)/2], 1)
}

// followSeries replays a series on the pool: one of its model in dollars, else
// another's movement around the pool's usual price. The first pool of a series
// starts at its first point, later ones somewhere inside; at its end it begins
// again.
func (e *Engine) followSeries(p *pool) {
	s, again := e.seriesFor(p)
	phantoms := e.phantoms(p)
	span := s.Points[len(s.Points)-1].At.Sub(s.Points[0].At) + time.Hour
	offset := time.Duration(0)
	if again {
		offset = time.Duration(p.rng.Int64N(int64(span)))
	}
	begin := s.Points[0].At.Add(offset) // the series' time at the engine's start
	i := sort.Search(len(s.Points), func(i int) bool { return s.Points[i].At.After(begin) }) - 1
	usual := s.median()
	lap := e.now.Add(-offset)
	var step func()
	step = func() {
		price := s.Points[i].Price
		if s.Model != p.model {
			scaled := float64(p.reference()) * p.level * float64(price) / float64(usual)
			price = market.Rate(scaled)
		}
		e.reprice(p, phantoms, price)
		if i++; i == len(s.Points) {
			i, lap = 0, lap.Add(span)
		}
		e.at(lap.Add(s.Points[i].At.Sub(s.Points[0].At)), step)
	}
	step()
}

// seriesFor deals the series of the pool's model out in turn, or where there is
// none, all of them. again says that another pool of the model had it before.
func (e *Engine) seriesFor(p *pool) (s *Series, again bool) {
	mine := make([]*Series, 0, len(e.opts.Replay))
	for i := range e.opts.Replay {
		if e.opts.Replay[i].Model == p.model {
			mine = append(mine, &e.opts.Replay[i])
		}
	}
	if len(mine) == 0 {
		for i := range e.opts.Replay {
			mine = append(mine, &e.opts.Replay[i])
		}
	}
	turn := e.dealt[p.model]
	e.dealt[p.model]++
	return mine[turn%len(mine)], turn >= len(mine)
}
