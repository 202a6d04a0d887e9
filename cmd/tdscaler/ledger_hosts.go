package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func ledgerHostsCommand() *cobra.Command {
	var f deskFlags
	var from, to, forget string
	var force bool
	cmd := &cobra.Command{
		Use:   "hosts --config FILE",
		Short: "List the records of hosts: launches, time to ready, hours, losses, quarantine; export and import them",
		Long: `hosts lists what machines of ours have been through on each host: what the planner
judges its offers by. All counts fade and count half after seven days. --export writes
them into a file that --import of another ledger reads. Of two records of a host the
one that rests on more stays, so importing the same twice changes nothing.

When to use it: to see which hosts are avoided, and to begin a new ledger with what
an old one has learned.`,
		Example: `  tdscaler ledger hosts --config policies.yaml
  tdscaler ledger hosts --config policies.yaml --export hosts.json
  tdscaler ledger hosts --config other.yaml --import hosts.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case from != "" && to != "" || forget != "" && from+to != "":
				return usageError("--export, --import and --forget exclude each other")
			case force && to == "":
				return usageError("--force is for --export")
			case from != "":
				return importHosts(cmd, &f, from)
			case forget != "":
				return f.at(cmd, func(s *session) error { return s.forgetHost(forget) })
			}
			return f.at(cmd, func(s *session) error {
				found, err := s.desk.Hosts(s.Context(), control.HostsRequest{})
				if err != nil {
					return err
				}
				if to != "" {
					return s.exportHosts(found, to, force)
				}
				return s.printed(found, func(t *table) { t.hosts(found, clock.System{}.Now()) })
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&to, "export", "", "write them to this `FILE` (mode 0600), as JSON")
	fl.StringVar(&from, "import", "", "take in those of this `FILE`")
	fl.StringVar(&forget, "forget", "", "drop the records of this `HOST`, which ends its quarantine")
	fl.BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

func (t *table) hosts(all []plan.HostView, now time.Time) {
	if len(all) == 0 {
		t.line("no hosts on record")
		return
	}
	t.row("HOST", "MODEL", "LAUNCHES", "RAN", "BOOT", "HOURS", "LOSSES", "OUTBIDS", "LOSS/H", "DOWN", "STRIKES", "LEFT ALONE UNTIL")
	count := func(f plan.Faded) string { return strconv.FormatFloat(f.Float(), 'f', 1, 64) }
	for i := range all {
		h := &all[i]
		until := "-"
		if now.Before(h.Quarantine) {
			until = stamp(h.Quarantine)
		}
		down := ago(time.Duration(h.Outage.Float() * float64(time.Hour)))
		t.row(h.Host, h.Model, count(h.Launches), count(h.Boots), seconds(h.Seconds), count(h.Hours), count(h.Losses), count(h.Outbids),
			strconv.FormatFloat(h.Hazard, 'f', 3, 64), down, h.Strikes, until)
	}
}

// exportHosts writes the records under another name first: there is a whole file or none.
func (s *session) exportHosts(all []plan.HostView, path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return usageError("%s is there already; --force replaces it", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".hosts-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	if err := errors.Join(printJSON(f, all), f.Close()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return s.printed(map[string]int{"written": len(all)}, func(t *table) { t.line("%s written to %s", plural(len(all), "record"), path) })
}

func (s *session) forgetHost(host string) error {
	got, err := s.desk.ImportHosts(s.Context(), control.ImportRequest{Forget: host})
	if err != nil {
		return err
	}
	return s.printed(got, func(t *table) { t.line("%s of %s dropped", plural(got.Forgotten, "record"), host) })
}

// maxHostsFile bounds what is read of a file of records, and so what the daemon is sent.
const maxHostsFile = 3 << 20

func importHosts(cmd *cobra.Command, f *deskFlags, path string) error {
	list, err := readHosts(path)
	if err != nil {
		return err
	}
	return f.at(cmd, func(s *session) error {
		got, err := s.desk.ImportHosts(s.Context(), control.ImportRequest{Hosts: list})
		if err != nil {
			return err
		}
		return s.printed(got, func(t *table) {
			t.line("%s read, %d taken; %d on record now", plural(got.Read, "record"), got.Taken, got.Known)
		})
	})
}

func readHosts(path string) ([]plan.HostRecord, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxHostsFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxHostsFile {
		return nil, usageError("%s is larger than %d MiB: that is no file of records", path, maxHostsFile>>20)
	}
	var list []plan.HostRecord
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, usageError("%s is no list of records, as --export writes it: %w", path, err)
	}
	return list, nil
}
