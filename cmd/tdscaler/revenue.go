package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func revenueCommand() *cobra.Command {
	var path, since, until, host string
	var asJSON, asCSV bool
	cmd := &cobra.Command{
		Use:   "revenue --config FILE",
		Short: "Show what hosts of your own earned, for those who also rent out",
		Long: `revenue reads from TensorDock what the hosts of the account earned and how much of
them was rented, guest by guest. It is for those who rent out machines beside
renting some. It asks TensorDock itself, not the ledger, and changes nothing.

When to use it: if hosts of yours are on the market, too.`,
		Example: "  tdscaler revenue --config policies.yaml --since 168h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON && asCSV {
				return usageError("--csv and --json exclude each other")
			}
			q := tensordock.RevenueQuery{Host: host}
			var err error
			if q.From, q.To, err = stretch(since, until); err != nil {
				return err
			}
			return showRevenue(cmd, path, q, asJSON, asCSV)
		},
	}
	configFlag(cmd, &path)
	fl := cmd.Flags()
	fl.StringVar(&since, "since", "720h", "since this `TIME`: a duration back (24h), a date, or RFC 3339")
	fl.StringVar(&until, "until", "", "until this `TIME`, in the same forms (now)")
	fl.StringVar(&host, "host", "", "only this `HOST`")
	fl.BoolVar(&asCSV, "csv", false, "print as CSV, a line for each guest")
	fl.BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// stretch reads --since and --until; the end is zero where it is not given.
func stretch(since, until string) (from, to time.Time, err error) {
	if from, err = pointInTime("--since", since, -1); err != nil || until == "" {
		return from, to, err
	}
	if to, err = pointInTime("--until", until, -1); err == nil && !from.Before(to) {
		err = usageError("--since must be before --until")
	}
	return from, to, err
}

func showRevenue(cmd *cobra.Command, path string, q tensordock.RevenueQuery, asJSON, asCSV bool) error {
	r, err := asker(cmd, path)
	if err != nil {
		return err
	}
	all, err := r.Revenue(cmd.Context(), q)
	if err != nil {
		return err
	}
	if asCSV {
		return revenueCSV(cmd.OutOrStdout(), all)
	}
	s := &session{Command: cmd, json: asJSON}
	return s.printed(revenueView(all), func(t *table) { t.revenue(all) })
}

// asker reads the file and connects to the market, for looking alone.
func asker(cmd *cobra.Command, path string) (*tensordock.Reader, error) {
	found, err := configOf(cmd, path)
	if err != nil {
		return nil, err
	}
	cfg, err := readConfig(found.path, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	return askerOf(&cfg)
}

func askerOf(cfg *daemon.Config) (*tensordock.Reader, error) {
	if err := cfg.LoadCredentials(os.Getenv); err != nil {
		return nil, err
	}
	return tensordock.NewReader(clientOptions(cfg, clock.System{}, nil))
}

// hostRevenue is a host's earnings as JSON.
type hostRevenue struct {
	Host     string                      `json:"host"`
	Location string                      `json:"location,omitempty"`
	Compute  market.Maybe[market.Amount] `json:"compute_usd"`
	Storage  market.Maybe[market.Amount] `json:"storage_usd"`
	Used     resources                   `json:"used"`
	Free     resources                   `json:"free"`
	Guests   []guestRevenue              `json:"guests"`
}

type guestRevenue struct {
	ID      string                      `json:"id"`
	Compute market.Maybe[market.Amount] `json:"compute_usd"`
	Storage market.Maybe[market.Amount] `json:"storage_usd"`
	Used    resources                   `json:"used"`
}

type resources struct {
	GPUs    market.Maybe[int] `json:"gpus"`
	VCPUs   market.Maybe[int] `json:"vcpus"`
	RAM     market.Maybe[int] `json:"ram_gb"`
	Storage market.Maybe[int] `json:"storage_gb"`
}

func revenueView(all []tensordock.HostRevenue) []hostRevenue {
	out := []hostRevenue{}
	for i := range all {
		h := &all[i]
		v := hostRevenue{
			Host: h.Host, Location: h.Location, Compute: h.Compute, Storage: h.Storage,
			Used: resources(h.Used), Free: resources(h.Free), Guests: []guestRevenue{},
		}
		for _, m := range h.Machines {
			v.Guests = append(v.Guests, guestRevenue{ID: m.ID, Compute: m.Compute, Storage: m.Storage, Used: resources(m.Used)})
		}
		out = append(out, v)
	}
	return out
}

func (t *table) revenue(all []tensordock.HostRevenue) {
	if len(all) == 0 {
		t.line("no revenue: the account rents out no hosts, or none had guests in that time")
		return
	}
	t.row("HOST", "GUEST", "COMPUTE", "STORAGE", "GPUS USED", "GPUS FREE", "LOCATION")
	for i := range all {
		h := &all[i]
		t.row(h.Host, plural(len(h.Machines), "guest"), owned(h.Compute), owned(h.Storage), counted(h.Used.GPUs), counted(h.Free.GPUs), h.Location)
		for _, m := range h.Machines {
			t.row("", m.ID, owned(m.Compute), owned(m.Storage), counted(m.Used.GPUs), "", "")
		}
	}
}

func counted(n market.Maybe[int]) string {
	v, ok := n.Get()
	if !ok {
		return ""
	}
	return strconv.Itoa(v)
}

func revenueCSV(w io.Writer, all []tensordock.HostRevenue) error {
	rows := [][]string{{"host", "location", "guest", "compute_usd", "storage_usd", "gpus", "vcpus", "ram_gb", "storage_gb"}}
	for i := range all {
		h := &all[i]
		for _, m := range h.Machines {
			rows = append(rows, []string{
				clean(h.Host), clean(h.Location), clean(m.ID), dollars(m.Compute), dollars(m.Storage),
				counted(m.Used.GPUs), counted(m.Used.VCPUs), counted(m.Used.RAM), counted(m.Used.Storage),
			})
		}
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// dollars prints an amount as a number; nothing where it is not known.
func dollars(a market.Maybe[market.Amount]) string {
	v, ok := a.Get()
	if !ok {
		return ""
	}
	return v.Decimal()
}
