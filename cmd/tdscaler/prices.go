package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plot"
	"github.com/tdscaler/tdscaler/internal/prices"
)

// Points of a trend: in the terminal, and in a plot.
const (
	sparkSteps = 32
	plotSteps  = 400
	plotLines  = 8 // in one plot, the cheapest
)

// priceOptions are the flags of prices.
type priceOptions struct {
	control.PricesRequest
	since, plot string
	csv, force  bool
}

func pricesCommand() *cobra.Command {
	var f deskFlags
	var o priceOptions
	cmd := &cobra.Command{
		Use:   "prices --config FILE",
		Short: "Show what is on record of prices: quantiles by GPU model and country, bids that won and lost, a plot",
		Long: `prices sums up the price history in the ledger. Prices are dollars per GPU and
hour, all-in, of a machine of the policy's shape or of the one given. A price counts
for as long as it was offered. The sparkline is the lowest price with enough GPUs
free, over the time asked for.

When to use it: to choose GPU models, places and ceilings by what they have cost.`,
		Example: `  tdscaler prices --config policies.yaml --since 24h
  tdscaler prices --config policies.yaml --policy train --since 168h --plot week.svg`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(f.json); err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error { return s.prices(&o) })
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.Policy, "policy", "", "for a machine of this `POLICY`, of what it matches")
	fl.StringSliceVar(&o.Models, "model", nil, "only GPU models like this `GLOB`, with * and ?; may be given again")
	fl.StringSliceVar(&o.Countries, "country", nil, "only in this `COUNTRY`; may be given again")
	fl.StringVar(&o.since, "since", "24h", "since this `TIME`: a duration back (24h), a date, or RFC 3339")
	fl.BoolVar(&o.csv, "csv", false, "print as CSV, without the trend")
	fl.StringVar(&o.plot, "plot", "", "also draw the lowest prices into this `FILE`, which ends in .svg or .png")
	fl.BoolVar(&o.force, "force", false, "replace a file that is there")
	shapeFlags(cmd, &o.Shape)
	return cmd
}

func (o *priceOptions) check(asJSON bool) (err error) {
	switch ext := strings.ToLower(filepath.Ext(o.plot)); {
	case o.csv && asJSON:
		return usageError("--csv and --json exclude each other")
	case o.plot != "" && ext != ".svg" && ext != ".png":
		return usageError("--plot takes a file that ends in .svg or .png, not %q", o.plot)
	case o.force && o.plot == "":
		return usageError("--force is for --plot")
	case o.Policy != "" && o.Shape != (market.Shape{}):
		return usageError("--policy has a shape of its own: --gpus, --vcpus, --ram and --storage are for a look without one")
	case min(o.Shape.GPUs, o.Shape.VCPUs, o.Shape.RAM, o.Shape.Storage) < 0:
		return usageError("the shape must not be negative")
	}
	if o.Steps = sparkSteps; o.plot != "" || asJSON {
		o.Steps = plotSteps
	}
	o.Since, err = pointInTime("--since", o.since, -1)
	return err
}

func (s *session) prices(o *priceOptions) error {
	o.PlanRequest = s.planRequest(false)
	p, err := s.desk.Prices(s.Context(), o.PricesRequest)
	if err != nil {
		return err
	}
	if o.plot != "" {
		if err := drawPrices(o, &p); err != nil {
			return err
		}
	}
	if o.csv {
		return pricesCSV(s.OutOrStdout(), p.Groups)
	}
	return s.printed(p, func(t *table) { t.prices(&p) })
}

func (t *table) prices(p *control.Prices) {
	t.line("since %s, %s; a machine is %s, %s", stamp(p.Since), ago(p.Until.Sub(p.Since)), gpus("GPU", p.Shape), shapeText(p.Shape))
	t.gap()
	if len(p.Groups) == 0 {
		t.line("no prices on record")
		return
	}
	t.row("MODEL", "COUNTRY", "OFFERS", "OPEN", "FIT", "NOW", "MIN", "P10", "P50", "P90", "WON AT", "LOST AT", "OUTBID", "LOST", "FAILED", "RAN", "BOOT", "LOWEST")
	for i := range p.Groups {
		g := &p.Groups[i]
		boot := "-"
		if g.Boot > 0 {
			boot = seconds(g.Boot)
		}
		t.row(g.Model, g.Country, g.Offers, g.Open, g.Fits, plain(g.Now), plain(g.Min), plain(g.P10), plain(g.P50), plain(g.P90),
			plain(g.Accepted), plain(g.Refused), g.Outbids, g.Lost, g.Failed, g.Ran, boot, sparkline(g.Trend, sparkSteps))
	}
}

// sparkline draws values as bars of eight heights, from their lowest to their
// highest, in at most so many letters; a gap is a dot.
func sparkline(values []market.Maybe[market.Rate], most int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	values = squeezed(values, most)
	low, high := market.MaxRate, market.Rate(0)
	for _, m := range values {
		if v, ok := m.Get(); ok {
			low, high = min(low, v), max(high, v)
		}
	}
	var b strings.Builder
	for _, m := range values {
		v, ok := m.Get()
		switch {
		case !ok:
			b.WriteRune('·')
		case high == low:
			b.WriteRune(bars[0])
		default:
			b.WriteRune(bars[int(7*float64(v-low)/float64(high-low))])
		}
	}
	return b.String()
}

// squeezed are the lowest of as many runs of values.
func squeezed(values []market.Maybe[market.Rate], most int) []market.Maybe[market.Rate] {
	if len(values) <= most {
		return values
	}
	out := make([]market.Maybe[market.Rate], most)
	for i, m := range values {
		if v, ok := m.Get(); ok {
			at := &out[i*most/len(values)]
			*at = market.Some(min(v, at.Or(v)))
		}
	}
	return out
}

func pricesCSV(w io.Writer, all []prices.Group) error {
	out := csv.NewWriter(w)
	rows := [][]string{{
		"gpu_model", "country", "offers", "open_offers", "fitting_offers", "now_usd_hour", "min_usd_hour", "p10_usd_hour", "p50_usd_hour", "p90_usd_hour",
		"lowest_accepted_usd_hour", "highest_refused_usd_hour", "answers", "outbids", "lost", "failed", "ran", "boot_seconds",
	}}
	n := strconv.Itoa
	for i := range all {
		g := &all[i]
		rows = append(rows, []string{
			clean(string(g.Model)), clean(g.Country), n(g.Offers), n(g.Open), n(g.Fits), exact(g.Now), exact(g.Min), exact(g.P10), exact(g.P50), exact(g.P90),
			exact(g.Accepted), exact(g.Refused), n(g.Asked), n(g.Outbids), n(g.Lost), n(g.Failed), n(g.Ran), strconv.FormatInt(g.Boot, 10),
		})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// exact prints a rate as a number; nothing where it is not known.
func exact(r market.Maybe[market.Rate]) string {
	v, ok := r.Get()
	if !ok {
		return ""
	}
	return v.Decimal()
}

// drawPrices writes the plot under another name first: there is a whole picture or none.
func drawPrices(o *priceOptions, p *control.Prices) error {
	if _, err := os.Lstat(o.plot); err == nil && !o.force {
		return usageError("%s is there already; --force replaces it", o.plot)
	}
	f, err := os.CreateTemp(filepath.Dir(o.plot), ".plot-*.tmp")
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	c := chartOf(p)
	if strings.EqualFold(filepath.Ext(o.plot), ".png") {
		err = c.PNG(f)
	} else {
		err = c.SVG(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return os.Rename(f.Name(), o.plot)
}

// chartOf draws the cheapest groups that have a trend.
func chartOf(p *control.Prices) *plot.Chart {
	c := &plot.Chart{From: p.Since, To: p.Until, Title: fmt.Sprintf(
		"Lowest all-in price, $ per GPU-hour (%d GPUs, %s)", p.Shape.GPUs, p.Until.UTC().Format(time.DateOnly))}
	for i := range p.Groups {
		g := &p.Groups[i]
		if slices.ContainsFunc(g.Trend, market.Maybe[market.Rate].Known) && len(c.Lines) < plotLines {
			c.Lines = append(c.Lines, plot.Line{Name: clean(string(g.Model) + " " + g.Country), Values: floats(g.Trend)})
		}
	}
	return c
}

func floats(rates []market.Maybe[market.Rate]) []float64 {
	out := make([]float64, len(rates))
	for i, r := range rates {
		out[i] = math.NaN()
		if v, ok := r.Get(); ok {
			out[i] = v.Float()
		}
	}
	return out
}
