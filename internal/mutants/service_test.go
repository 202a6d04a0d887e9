package mutants

// ofService are the breakages of what a service manager is told.
func ofService() []mutant {
	const (
		clock   = "internal/clock"
		daemon  = "internal/daemon"
		program = "cmd/tdscaler"
	)
	return []mutant{
		{
			0, "a wait without an end is patience", clock + "/pulse.go",
			"		if w.end.After(due) {\n			due = w.end\n		}\n", "		_ = w\n		due = p.clock.Now()\n",
			clock, "TestAPulseStopsWhereAStepDoesNotEnd", "does not end with its time",
		},
		{
			0, "waiting for the market is a standstill", clock + "/pulse.go",
			"	if p, ok := ctx.Value(pulseKey{}).(*Pulse); ok {\n		return p.begin(d)\n	}\n", "	_, _ = ctx, d\n",
			daemon, "TestAPulseGoesOnThroughAllPatienceAndStopsWhereTheLedgerHangs", "stuck after",
		},
		{
			0, "a wait that ended early still counts", clock + "/pulse.go",
			"			delete(p.waits, w)\n", "",
			clock, "TestAPulseStopsWhereAStepDoesNotEnd", "stuck after a long wait",
		},
		{
			0, "what destroy does is a standstill of the cycle", daemon + "/daemon.go",
			"	ctx = d.o.Pulse.Watch(ctx)\n	d.o.Pulse.Beat()\n", "",
			daemon, "TestWhatDestroyDoesIsNoStandstillOfTheCycle", "",
		},
		{
			0, "a ticker feeds the watchdog", program + "/manager.go",
			"	if !alive {\n", "	if !alive && last.IsZero() {\n",
			program, "TestTheWatchdogIsFedByAPulseAndByNothingElse", "",
		},
		{
			0, "it is ready before its ledger is open", program + "/run.go",
			"	l, err := openLedger(cfg)\n", "	newManager(log).tell(\"READY=1\")\n	l, err := openLedger(cfg)\n",
			program, "TestWhoDoesNotStartIsNeverReady", "",
		},
		{
			0, "a reload does not say when it began", program + "/manager.go",
			", strings.TrimSpace(systemd.SdNotifyMonotonicUsec())", "",
			program, "TestTheServiceManagerIsToldOfEachStep", "",
		},
		{
			0, "commands look for the ledger of a system's file beside that", daemon + "/commands.go",
			"c.resolveState(set.Daemon.Ledger)", "c.resolve(set.Daemon.Ledger)",
			daemon, "TestTheLedgerOfASystemsFileIsWhereServicesWrite", "",
		},
	}
}
