package mutants

// ofDemand are the breakages of what moves a target; rule 2's are about money.
func ofDemand() []mutant {
	const (
		demand  = "internal/demand"
		policy  = "internal/policy"
		daemon  = "internal/daemon"
		plan    = "internal/plan"
		control = "internal/control"
		webhook = "internal/webhook"
	)
	return []mutant{
		{
			2, "the target may be above max", demand + "/demand.go",
			"		best.machines = most\n", "",
			demand, "TestMinAndMaxBoundAll", "",
		},
		{
			2, "an override may be above max", demand + "/demand.go",
			"		p.machines = most\n", "",
			demand, "TestAnOverrideHoldsUntilItsEndAndNotAboveMax", "",
		},
		{
			2, "the hourly cap is reckoned with the target of the moment", policy + "/types.go",
			"dearest.Mul(p.MaxTarget())", "dearest.Mul(p.Target)",
			policy, "TestATargetThatMovesCountsWholeMachines", "",
		},
		{
			2, "an override lowers the hourly cap, which sheds what comes back later", demand + "/demand.go",
			"		p.Demand.Max = p.MaxTarget() // an override is no lower bound of what may come\n", "",
			demand, "TestResolvingKeepsTheMostThatCanBeWanted", "",
		},
		{
			2, "an override above max is taken", daemon + "/demand.go",
			"	case o.GPUs > mostGPUs(p):\n", "	case false:\n",
			daemon, "TestOverridesThatMustNotBeAreRefused", "",
		},
		{
			2, "an override has no end", demand + "/demand.go",
			"(o.Until.IsZero() || now.Before(o.Until))", "true",
			demand, "TestAnOverrideHoldsUntilItsEndAndNotAboveMax", "",
		},
		{
			0, "a window does not hold at the instant it begins", policy + "/window.go",
			"	return now.Before(end), end\n", "	return now.Before(end) && shows(start, loc).Before(now), end\n",
			policy, "TestWindowsThatMeetLeaveNoGap", "neither",
		},
		{
			0, "an hour that comes twice begins a window twice", policy + "/window.go",
			"		if before := wallOf(set.Add(-time.Nanosecond), loc); before.After(wall) {\n			return before\n		}\n", "		_ = set\n",
			policy, "TestTheReadingsOfAClockAreFoundByWatchingIt", "",
		},
		{
			0, "a target falls at once", demand + "/signal.go",
			"	m.Highs = push(m.Highs, raw, now, s.Down,", "	m.Highs = push(m.Highs, raw, now, 0,",
			demand, "TestADownWindowHoldsTheMostOfItsTime", "",
		},
		{
			0, "a failing signal lets go of what it asked for", demand + "/signal.go",
			"		machines = min(m.Want, s.Max)\n", "		machines = 0\n",
			demand, "TestWithoutAValueWhatIsAskedForIsHeld", "",
		},
		{
			0, "the answer to another question counts", demand + "/signal.go",
			"same(&o) && o.Asks == asks", "same(&o)",
			demand, "TestAnotherQueryIsNotAnsweredByTheOldOne", "",
		},
		{
			0, "an override goes by a clock that somebody set", plan + "/demand.go",
			"		c.shift(o.steady())\n", "		_ = o\n",
			daemon, "TestAClockThatIsSetMovesAnOverrideAlong", "",
		},
		{
			12, "a request to the webhook is taken twice", control + "/targets.go",
			"	case !ok:\n		return ErrReplayed\n", "	case !ok && now.IsZero():\n		return ErrReplayed\n",
			webhook, "TestARequestIsTakenOnceAlsoAfterARestart", "",
		},
		{
			12, "an old request is taken", webhook + "/webhook.go",
			".Abs() > demand.ReplayWindow {", ".Abs() > 1000*demand.ReplayWindow {",
			webhook, "TestWhatIsNotSignedForNowIsRefused", "",
		},
		{
			12, "a webhook does as it likes with what an operator has set", control + "/targets.go",
			"o.Active(now) && o.By != byWebhook", "o.Active(now) && o.By == \"\"",
			webhook, "TestAWebhookYieldsToTheOperator", "",
		},
	}
}
