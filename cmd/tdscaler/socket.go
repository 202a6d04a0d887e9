package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
)

// session is one command at a desk.
type session struct {
	*cobra.Command
	desk control.Desk
	cfg  daemon.Config
	json bool
}

// deskFlags are the flags of every command that needs a desk.
type deskFlags struct {
	config string
	json   bool
}

func (f *deskFlags) add(cmd *cobra.Command) {
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&f.json, "json", false, "print as JSON")
}

// at reads the file and runs fn at the desk of the daemon, or at one of its own
// when no daemon runs. fn prints nothing before its desk has answered: a daemon
// that starts or dies at the same moment makes it run again.
func (f *deskFlags) at(cmd *cobra.Command, fn func(*session) error) error {
	s, err := f.session(cmd)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err = s.visit(fn)
		again := control.ClassOf(err) == control.Locked && try == 1 || control.ClassOf(err) == control.Unreachable && try < 5
		if !again || (clock.System{}).Sleep(cmd.Context(), 200*time.Millisecond) != nil {
			return s.error(err)
		}
	}
}

// read reads the file. One with errors keeps nobody from the daemon that goes on with what
// the file was before: what it does must be seen, and can be stopped, all the same.
func (s *session) read(path string) (err error) {
	if s.cfg, err = readConfig(path, s.ErrOrStderr()); err == nil {
		return nil
	}
	c, ok := daemon.ReadLedgerOf(path)
	if !ok {
		return err
	}
	if _, gone := control.Dial(s.Context(), c.Set.Daemon.Ledger, clock.System{}); gone != nil {
		return err
	}
	fmt.Fprintf(s.ErrOrStderr(), "tdscaler: %v; a daemon runs with what the file was before, and answers:\n", err)
	s.cfg = c
	return nil
}

// session reads the file and makes a session that has no desk yet.
func (f *deskFlags) session(cmd *cobra.Command) (*session, error) {
	found, err := configOf(cmd, f.config)
	if err != nil {
		return nil, err
	}
	s := &session{Command: cmd, json: f.json}
	return s, s.read(found.path)
}

// visit runs fn at the desk of whoever has the ledger at this moment.
func (s *session) visit(fn func(*session) error) error {
	client, err := control.Dial(s.Context(), s.cfg.Set.Daemon.Ledger, clock.System{})
	switch {
	case err == nil:
		s.desk = client
	case errors.Is(err, control.ErrNoDaemon):
		s.desk = control.Alone(officeOptions(&s.cfg), aloneOptions(s.cfg))
	default:
		return err
	}
	return fn(s)
}

// readConfig loads the file without the files that its policies name, and tells
// its errors alone: a question about the ledger is no time for warnings.
func readConfig(path string, errw io.Writer) (daemon.Config, error) {
	c, problems, err := daemon.ReadConfig(path)
	if errors.Is(err, daemon.ErrConfig) {
		printProblems(errw, problems)
		return c, &codedError{exitUsage, fmt.Errorf("%s: %s", path, countProblems(problems))}
	}
	if err != nil {
		return c, &codedError{exitUsage, hinted(err)}
	}
	return c, nil
}

func officeOptions(cfg *daemon.Config) control.Options {
	return control.Options{Clock: clock.System{}, Credentials: credentials.New(credentialsDir(cfg)), PauseFile: pauseFile(cfg)}
}

// lockWait is how long a command waits for the ledger; it does so twice.
const lockWait = 1500 * time.Millisecond

func aloneOptions(cfg daemon.Config) control.AloneOptions {
	return control.AloneOptions{
		Config:  cfg,
		Reader:  reader,
		Hosts:   hostReader,
		Signals: func(daemon.Config) daemon.Signals { return signalReader(clock.System{}, nil) },
		Open: func(readOnly bool) (*ledger.Ledger, error) {
			s := cfg.Set
			return ledger.Open(ledger.Options{Path: s.Daemon.Ledger, Timeout: lockWait, Retention: s.Ledger.Retention, MaxSize: s.Ledger.MaxSize, ReadOnly: readOnly})
		},
		Compose: func(c daemon.Config, l *ledger.Ledger) (*daemon.Daemon, error) {
			if err := c.LoadCredentials(os.Getenv); err != nil {
				return nil, err
			}
			return daemon.New(daemonOptions(&c, l, connector(clock.System{}, nil)))
		},
	}
}

// error is an error of the session's desk.
func (s *session) error(err error) error {
	_, running := s.desk.(*control.Client)
	return deskError(s.Context(), &s.cfg, running, err)
}

// deskError gives an error of a desk its exit code and its advice.
func deskError(ctx context.Context, cfg *daemon.Config, running bool, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &codedError{exitFailure, errors.New("interrupted")}
	}
	var f *control.Fault
	if !errors.As(err, &f) {
		return err
	}
	switch f.Class {
	case control.NoSuchPolicy:
		err = fmt.Errorf("%w%s", f, didYouMean(f.Word, f))
	case control.DryRun:
		err = fmt.Errorf("%w; set \"mode: live\" under daemon in the file first", f)
	case control.NoDaemon:
		err = fmt.Errorf("%w: start one with \"tdscaler run --config %s\"", f, cfg.Path)
	case control.Forbidden:
		if !running { // else it is the daemon that may not
			err = fmt.Errorf("%w: %s", f, asItsUser)
		}
	case control.Unauthorized:
		err = errors.New("TensorDock refuses the credentials: check TENSORDOCK_API_KEY and TENSORDOCK_API_TOKEN, or the files under tensordock")
	}
	return &codedError{f.ExitCode(), err}
}

// asItsUser is what somebody may do whom the files of a daemon are closed to.
const asItsUser = "run this as the daemon's user or as root, as in \"sudo tdscaler ...\""

// hinted says what to do about errors of the system that a command may end with.
func hinted(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s", err, asItsUser)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens there; choose another address, or port 0 for a free one", err)
	}
	return err
}

// printed writes v as JSON where that is wanted, or calls text.
func (s *session) printed(v any, text func(*table)) error {
	if s.json {
		return printJSON(s.OutOrStdout(), v)
	}
	t := newTable(s.OutOrStdout())
	text(t)
	return t.flush()
}
