package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/ledger"
)

// addWithFile is add for a command that also takes a backup instead of the ledger
// of a configuration.
func (f *deskFlags) addWithFile(cmd *cobra.Command, file *string) {
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(file, "file", "", "a backup in this `FILE`, instead of the ledger; needs no --config")
}

func ledgerVerifyCommand() *cobra.Command {
	var f deskFlags
	var file string
	cmd := &cobra.Command{
		Use:   "verify --config FILE | --file BACKUP",
		Short: "Check every page and record of the ledger, or of a backup",
		Long: `verify reads the whole ledger: its pages, the checksum of every record, that every
report can be read back, and that all counts agree. It changes nothing. While a
daemon runs the daemon does it; one that finds its ledger damaged stops. 1 when it
is damaged.

When to use it: after a crash of the machine or its disk, and on every backup.`,
		Example: "  tdscaler ledger verify --config policies.yaml\n  tdscaler ledger verify --file /backup/tdscaler.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				c, err := ledger.VerifyFile(file, lockWait)
				if err != nil {
					return err
				}
				return (&session{Command: cmd, json: f.json}).contents(c, "is whole")
			}
			return f.at(cmd, func(s *session) error {
				c, err := s.desk.Verify(s.Context(), control.VerifyRequest{})
				if err != nil {
					return err
				}
				return s.contents(c, "is whole")
			})
		},
	}
	f.addWithFile(cmd, &file)
	cmd.Flags().BoolVar(&f.json, "json", false, "print as JSON")
	return cmd
}

// contents prints what a ledger, or a copy, holds.
func (s *session) contents(c ledger.Contents, what string) error {
	return s.printed(c, func(t *table) {
		t.line("%s %s (schema %d, %s)", c.Path, what, c.Schema, byteSize(c.FileSize))
		t.line("%s, %s (%d open), %s, %s", plural(int(c.Machines), "machine"), plural(int(c.Intents), "intent"), c.OpenIntents,
			plural(int(c.Reports), "cycle"), plural(int(c.Prices), "price"))
	})
}

func byteSize(n int64) string {
	if n < 1<<20 {
		return strconv.FormatInt((n+1<<10-1)>>10, 10) + " KiB"
	}
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
}

func ledgerBackupCommand() *cobra.Command {
	var f deskFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE --config FILE",
		Short: "Write a checked copy of the ledger, also while the daemon runs",
		Long: `backup writes a consistent copy of the ledger to FILE (mode 0600), checks it, and
gives it its name only then. While a daemon runs the daemon writes it, and goes on
working meanwhile. To restore it, stop the daemon and copy it back: see "A backup"
in docs/operations.md. Passwords of machines are not in it.

When to use it: every night, and before an upgrade.`,
		Example: "  tdscaler ledger backup /backup/tdscaler-$(date +%F).db --config policies.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				c, err := s.copyTo(path, force)
				if control.ClassOf(err) == control.Usage && !force {
					err = fmt.Errorf("%w; --force replaces it", err)
				}
				if err != nil {
					return err
				}
				return s.contents(c, "was written")
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

// copyTo has a copy of the ledger written. A daemon may see another /tmp than we do.
func (s *session) copyTo(path string, force bool) (ledger.Contents, error) {
	c, err := s.desk.Backup(s.Context(), control.BackupRequest{Path: path, Force: force})
	if err != nil {
		return c, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("the daemon wrote %s, but it cannot be seen from here: does its service have a /tmp of its own? Name a file beside the ledger", path)
	}
	return c, nil
}

func ledgerExportCommand() *cobra.Command {
	var f deskFlags
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export --config FILE | --file BACKUP",
		Short: "Write every record as a line of JSON",
		Long: `export writes every record of the ledger as a line of JSON with a field "kind".
docs/cli.md lists the kinds. It holds no credentials and no passwords. Where a
daemon runs, it is what one moment left: a copy is made beside the ledger, read,
and removed.

When to use it: for questions that no other command answers, with jq or a database.`,
		Example: `  tdscaler ledger export --config policies.yaml | jq 'select(.kind == "spend")'
  tdscaler ledger export --config policies.yaml --reports --output all.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.force && o.output == "" {
				return usageError("--force is for --output")
			}
			if o.file != "" {
				l, err := ledger.OpenCopy(o.file, lockWait)
				if err != nil {
					return err
				}
				return errors.Join(o.export(cmd.OutOrStdout(), l), l.Close())
			}
			return f.at(cmd, func(s *session) error { return s.export(&o) })
		},
	}
	f.addWithFile(cmd, &o.file)
	fl := cmd.Flags()
	fl.BoolVar(&o.reports, "reports", false, "also the whole reports of the cycles: much more")
	fl.StringVar(&o.output, "output", "", "write to this `FILE` (mode 0600) instead of stdout")
	fl.BoolVar(&o.force, "force", false, "replace a file that is there")
	return cmd
}

type exportOptions struct {
	file, output   string
	reports, force bool
}

// export works on a copy, so that whoever reads slowly holds up no daemon.
func (s *session) export(o *exportOptions) error {
	f, err := os.CreateTemp(filepath.Dir(s.cfg.Set.Daemon.Ledger), ".export-*.tmp")
	if err != nil {
		return fmt.Errorf("make a copy of the ledger: %w", err)
	}
	defer os.Remove(f.Name()) // gone already where all went well
	path, err := filepath.Abs(f.Name())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make a copy of the ledger: %w", err)
	}
	if _, err := s.copyTo(path, true); err != nil {
		return err
	}
	l, err := ledger.OpenCopy(path, lockWait)
	if err != nil {
		return err
	}
	// Open files outlive their name: nothing is left behind by a kill.
	err = os.Remove(path)
	if err == nil {
		err = o.export(s.OutOrStdout(), l)
	}
	return errors.Join(err, l.Close())
}

func (o *exportOptions) export(stdout io.Writer, l *ledger.Ledger) error {
	if o.output == "" {
		return exportTo(stdout, l, o.reports)
	}
	if _, err := os.Lstat(o.output); err == nil && !o.force {
		return usageError("%s is there already; --force replaces it", o.output)
	}
	f, err := os.CreateTemp(filepath.Dir(o.output), ".export-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	err = exportTo(f, l, o.reports)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), o.output)
}

func exportTo(w io.Writer, l *ledger.Ledger, reports bool) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := l.Export(b, reports); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func ledgerCompactCommand() *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "compact --config FILE",
		Short: "Give the ledger's free pages back to the disk, while no daemon runs",
		Long: `compact writes the ledger anew without the pages that are free, checks that, and
lets it take the old one's place. The file never shrinks by itself: do it after
ledger.max_size or ledger.retention was lowered. The daemon must be stopped.

When to use it: rarely; free pages are used again.`,
		Example: "  tdscaler ledger compact --config policies.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.at(cmd, func(s *session) error {
				if _, runs := s.desk.(*control.Client); runs {
					return errors.New("a daemon runs on this ledger: stop it first; its machines go on running")
				}
				c, err := ledger.Compact(ledger.Options{Path: s.cfg.Set.Daemon.Ledger, Timeout: lockWait})
				if err != nil {
					return err
				}
				return s.printed(c, func(t *table) { t.line("%s: %s before, %s now", c.Path, byteSize(c.Before), byteSize(c.After)) })
			})
		},
	}
	f.add(cmd)
	return cmd
}
