package daemon

import (
	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Announcing is what whoever tells people about a cycle needs beside its report.
type Announcing struct {
	Rules policy.Notifications
	Sinks []notify.SinkConfig
	// Generation changes with the configuration that is in use.
	Generation uint64
	File       notify.File
}

// Announcing is that of the configuration in use.
func (d *Daemon) Announcing() Announcing {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := Announcing{Rules: d.config.Set.Notifications, Sinks: d.config.Sinks, Generation: d.generation, File: notify.File{Held: d.reload.Held}}
	if !d.reload.Successful {
		a.File.Problem = d.reload.Problem
	}
	return a
}
