package mutants

// list is every deliberate breakage, by rule. A test is named that was written for
// the rule; campaigns would find most of them too.
func list() []mutant {
	const (
		plan       = "internal/plan"
		daemon     = "internal/daemon"
		tensordock = "internal/tensordock"
	)
	return []mutant{
		{
			1, "machines are taken in the order in which the ledger happens to hold them", plan + "/compute.go",
			"	slices.SortFunc(w.machines, func(a, b *Machine) int { return cmp.Compare(a.Name, b.Name) })\n", "",
			plan, "TestTheSameInputGivesTheSamePlanWhateverTheOrderOfItsLists", "another order, another plan",
		},
		{
			1, "a look takes the list in the order in which it came", plan + "/observe.go",
			"		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Status, b.Status))\n", "		return 0\n",
			plan, "TestWhichTwinIsWhichDoesNotHangOnTheOrderOfTheList", "",
		},
		{
			2, "the hourly cap of a policy is not looked at", plan + "/caps.go",
			`r.take(own.Sub(p.own), "the policy's max_hourly`, `r.take(own, "the policy's max_hourly`,
			plan, "TestAPolicyIsBoughtUpToItsOwnHourlyCapLessWhatItHas", "fit into",
		},
		{
			2, "a machine is priced at what is wanted, not at what the host sells", plan + "/offers.go",
			"	shape, sold := solve(o.host, d.p.Shape)\n", "	shape := d.p.Shape\n	_, sold := solve(o.host, d.p.Shape)\n",
			plan, "TestNoRoundingGoesAboveTheCeiling", "",
		},
		{
			2, "a machine is ordered in another shape than it was priced in", plan + "/offers.go",
			"Location: c.host.Location, Model: c.gpu.Model, Shape: c.shape,", "Location: c.host.Location, Model: c.gpu.Model, Shape: p.Shape,",
			plan, "TestAMachineIsBoughtReservedAndKeptInTheShapeThatTheHostSells", "",
		},
		{
			2, "a deploy is booked although its money is gone by then", plan + "/book.go",
			"if a.Rate > bound.room {", "if a.Rate > market.MaxRate {",
			plan, "TestBeginRefusesWhatTheCapsDoNotLeave", "",
		},
		{
			2, "a raise, a start or a change of size is booked although its money is gone by then", plan + "/book.go",
			"more > bound.room {", "more > market.MaxRate {",
			plan, "TestBeginRefusesWhatTheCapsDoNotLeave", "",
		},
		{
			2, "the daily cap forgets what was spent", plan + "/caps.go",
			"perHour(c.Sub(spent.Day), d.day)", "perHour(c, d.day)",
			plan, "TestTheDaysMoneyEndsWhatItCannotPay", "",
		},
		{
			2, "the monthly cap forgets what was spent", plan + "/caps.go",
			"perHour(c.Sub(spent.Month), d.month)", "perHour(c, d.month)",
			plan, "TestTheDaysMoneyEndsWhatItCannotPay", "",
		},
		{
			2, "the lifetime cap forgets what was spent", plan + "/caps.go",
			"perHour(c.Sub(spent.Total), d.total)", "perHour(c, d.total)",
			plan, "TestAWholeLifesMoneyEndsAPolicy", "",
		},
		{
			2, "min_balance is spent too", plan + "/caps.go",
			"perHour(balance.Sub(least), d)", "perHour(balance, d)",
			plan, "TestAShortBalanceIsShedForByPriority", "",
		},
		{
			2, "the runway is that of our own machines alone", plan + "/shed.go",
			"fixed.Add(sure), w.caps.Lag, 0)", "fixed, w.caps.Lag, 0)",
			plan, "TestAShortBalanceIsShedForByPriority", "",
		},
		{
			2, "one answer about the bill gives the fleet up", plan + "/account.go",
			"if !ok || g.Looks < o.l.Safety.UnknownLooks || o.l.Now.Sub(g.Since) < o.l.Safety.UnknownAge {", "if !ok {",
			plan, "TestOneAnswerAboutTheBillEndsNoMachineAndSpendsNoBudget", "",
		},
		{
			4, "machines of a policy that has become a shadow are torn down", plan + "/shed.go",
			"case w.shadowed(m.Policy):", "case false && w.shadowed(m.Policy):",
			daemon, "TestAPolicyThatBecomesAShadowKeepsItsMachinesUntouchedAndSaysSo", "",
		},
		{
			4, "machines of a shadow are shed for a cap", plan + "/shed.go",
			"w.pausedBy(m.Policy) != nil || w.shadowed(m.Policy) ||", "w.pausedBy(m.Policy) != nil ||",
			daemon, "TestAPolicyThatBecomesAShadowKeepsItsMachinesUntouchedAndSaysSo", "machines of a shadow were shed",
		},
		{
			5, "what a shadow would do is an open intent", plan + "/intent.go",
			" || s == IntentShadow\n", "\n",
			daemon, "TestAShadowIsDecidedRecordedAndCountedAndSendsNothing", "",
		},
		{
			2, "what a shadow would have is in what is decided on", daemon + "/cycle.go",
			"	h.Shadows = nil // what they would have is no reason for anything\n", "",
			daemon, "TestAShadowChangesNoDecisionOfAnybodyElse", "",
		},
		{
			3, "looks within seconds count as looks", plan + "/evidence.go",
			"	if !o.l.Early {\n", "	if true {\n",
			plan, "TestEarlyLooksCountForNothingThatLooksAloneProve", "after five early looks",
		},
		{
			10, "a list that changes all the time begins cycles all the time", daemon + "/vigil.go",
			"		v.left--\n", "",
			daemon, "TestNewsWithoutEndBringsNoCyclesWithoutEnd", "began early",
		},
		{
			2, "the churn budget is not looked at", plan + "/churn.go",
			"	if n < most {\n", "	if n < most || true {\n",
			plan, "TestNoPlanReplacesMoreThanTheHourLeaves", "were left",
		},
		{
			2, "a replacement whose answer is lost is no replacement", plan + "/book.go",
			"IntentUnknown, detail, now\n	h.churned(in, now)\n", "IntentUnknown, detail, now\n",
			plan, "TestAReplacementIsBookedWhenItMayHaveHappenedAndForgottenAfterAnHour", "lost",
		},
		{
			2, "a booking forgets what was spent since the look", plan + "/caps.go",
			"since > 0 {", "since < 0 {",
			plan, "TestABookingCountsWhatWasSpentSinceTheLook", "",
		},
		{
			2, "a clock that is set makes yesterday's spend today's", plan + "/steps.go",
			"case all && day != today:", "case all && day == today:",
			plan, "TestAClockThatIsSetAddsNoOtherDaysSpendToThePresentOne", "",
		},
		{
			2, "a slow market stretches a cycle for ever", daemon + "/gate.go",
			"g.late != nil && g.late()", "g.late != nil && false",
			daemon, "TestNothingIsBoughtOnALookThatIsTooOld", "",
		},
		{
			2, "an unanswered order holds no money", plan + "/shed.go",
			"m.Phase == PhaseUnknown || m.Phase == PhaseAccepted || slow", "slow",
			plan, "TestOrdersThatNoLookHasShownAreShedFor", "",
		},
		{
			2, "shedding takes the highest priority first", plan + "/shed.go",
			"cmp.Compare(a.priority(), b.priority())", "cmp.Compare(b.priority(), a.priority())",
			plan, "TestTooDearAFleetIsShedByPriorityThenPrice", "",
		},
		{
			2, "the cheaper of two states is charged", plan + "/meter.go",
			"rate := max(o.before[m.Name], m.Burn())", "rate := min(o.before[m.Name], m.Burn())",
			plan, "TestTheDearerOfTwoStatesIsCharged", "charged",
		},
		{
			2, "a clock that is set forward charges the time it skipped", plan + "/steps.go",
			"	o.h.shift(step)\n", "",
			plan, "TestAClockThatIsSetNeitherForgivesNorDoublesSpend", "",
		},
		{
			2, "a clock that is set opens a new day's budget", plan + "/steps.go",
			"	o.carry(should)\n", "",
			plan, "TestAClockThatIsSetNeitherForgivesNorDoublesSpend", "",
		},
		{
			2, "days begin at midnight UTC wherever the user lives", plan + "/meter.go",
			"from, to = from.In(o.zone), to.In(o.zone)", "from, to = from.UTC(), to.UTC()",
			plan, "TestDaysAndMonthsBeginInTheirTimeZone", "",
		},
		{
			2, "one wrong reading of the balance tears the fleet down", plan + "/account.go",
			"if d.Looks < o.l.Safety.AbsentLooks || o.l.Now.Sub(d.Since) < o.l.Safety.AbsentAge {", "if false {",
			plan, "TestABalanceThatFallsAtOnceIsBelievedOnlyWhenRepeated", "",
		},
		{
			2, "a bill above the books goes unnoticed", plan + "/account.go",
			"		o.trip(BreakerBill, text)\n", "",
			plan, "TestABillAboveTheBooksIsReportedAndThenStopsGrowth", "",
		},
		{
			2, "machines that never run are ordered for ever", plan + "/breakers.go",
			"o.h.Duds >= n", "o.h.Duds < 0",
			plan, "TestMachinesThatNeverRunOpenTheBreaker", "",
		},
		{
			2, "prices in another unit are believed at once", plan + "/breakers.go",
			"moved > 0 && moved*2 >= compared", "false",
			plan, "TestPricesThatAllMoveAtOnceAreNotBelieved", "",
		},
		{
			3, "absence counts at the first look", plan + "/observe.go",
			"if m.Missed < s.AbsentLooks || o.l.Now.Sub(m.MissedAt) < s.AbsentAge {", "if m.Missed < min(s.AbsentLooks, 0) {",
			plan, "TestAbsenceNeedsEnoughLooksAndEnoughTime", "",
		},
		{
			3, "a list that lost half of the machines is believed", plan + "/observe.go",
			"if absent < 2 || absent*2 < live {", "if true {",
			plan, "TestAMassDisappearanceOpensTheBreakerAndNothingGrows", "",
		},
		{
			3, "a list that could not be read is an empty one", plan + "/compute.go",
			"if !in.Snapshot.Instances.Complete {", "if false {",
			plan, "TestAnIncompleteListCausesNothing", "machines unknown, yet",
		},
		{
			4, "the machines of every owner are ours", plan + "/observe.go",
			"ours = ours && name.Owner == o.l.Owner", "_ = name.Owner",
			plan, "TestNoActionNamesAMachineThatIsNotOurs", "",
		},
		{
			4, "a machine of ours without a record is overlooked", plan + "/observe.go",
			"			adopt = append(adopt, inst)\n", "",
			plan, "TestOneOfOursWithoutARecordIsAdoptedAndATwinToo", "",
		},
		{
			5, "the request leaves before the intent is on disk", "internal/actuator/actuator.go",
			"	in, err := a.book.Begin(act)\n", "	if act.Kind == plan.Delete {\n		_ = a.writer.Delete(ctx, act.Instance)\n	}\n	in, err := a.book.Begin(act)\n",
			"internal/actuator", "TestTheOrderIsGateIntentRequestOutcome", "",
		},
		{
			5, "a lost answer counts as a refusal", "internal/actuator/actuator.go",
			"	in, err := a.book.Lose(in, cause.Error())\n", "	in, err := a.book.Refuse(in, market.ClassRefused, cause.Error())\n",
			"internal/actuator", "TestEveryFailureEndsWithAnOutcomeInTheBooksAndNothingMoreIsSent", "",
		},
		{
			5, "writes keep their connections, which net/http may use to send one again", tensordock + "/options.go",
			"	w.DisableKeepAlives = true\n", "",
			tensordock, "TestEveryWriteHasAConnectionOfItsOwn", "",
		},
		{
			5, "an unknown order is given up by age alone", plan + "/observe.go",
			"m.Missed < s.UnknownLooks", "m.Missed < 0",
			plan, "TestAnUnknownDeployIsNotGivenUpByItsAgeAlone", "",
		},
		{
			6, "an accepted deletion frees its place at once", plan + "/observe.go",
			"if m.Missed < 2 && !slices.Contains(o.l.Snapshot.Gone, m.ID) {", "if false {",
			plan, "TestADeletionIsConfirmedByTwoLooksOrByTheMarketsWord", "",
		},
		{
			6, "an accepted bid counts as applied", plan + "/observe.go",
			"case known && shown >= r.Bid-rebidTolerance:", "case r.Accepted:",
			plan, "TestARebidIsConfirmedOnlyByALookThatShowsIt", "",
		},
		{
			7, "a bid may go down", plan + "/book.go",
			"ok && a.Bid <= bid {", "ok && a.Bid < bid-bid {",
			plan, "TestBeginSeesThatTheMachineChanged", "",
		},
		{
			7, "raises go above the ceiling", plan + "/outbid.go",
			"limit := d.p.CeilingOf(market.Spot, d.gpus(m)).Sub(storage)", "limit := d.p.CeilingOf(market.Spot, 2*d.gpus(m)).Sub(storage)",
			plan, "TestNoRaiseGoesAboveTheCeilingWhateverWins", "",
		},
		{
			11, "what was released is started upon a spot machine of ours", "internal/plan/park.go",
			"		case w.fallsUpon(m):\n", "		case false:\n",
			"internal/plan", "TestWhatWasReleasedIsNotStartedUponASpotMachineOfOurs", "",
		},
		{
			11, "the GPU of a machine that is being started is given away", "internal/plan/offers.go",
			"	starting := m.Parked != nil && m.Parked.Start != 0\n", "	starting := false\n",
			"internal/plan", "TestTheGPUOfAMachineThatIsBeingStartedIsNotGivenAway", "",
		},
		{
			11, "a raise does not wait for what leaves its host", plan + "/outbid.go",
			"next.settled && w.frees(m.Host):", "next.settled && false:",
			plan, "TestNothingIsRaisedOnAHostWhileAnotherMachineOfOursLeavesIt", "",
		},
		{
			7, "an outbid machine is given up for a host that is no cheaper", plan + "/leave.go",
			"case known != nil && w.cheaper(known, raised):", "case known != nil:",
			plan, "TestAnOutbidMachineIsRaisedWhereNoOtherHostIsCheaperByMoreThanTheLongerAbsence", "a cent less",
		},
		{
			8, "an outbid machine is given up although it is protected", plan + "/leave.go",
			"slices.Contains(d.p.Protected, m.Name) || ", "",
			plan, "TestAnOutbidMachineThatMayNotOrCannotBeReplacedIsRaised", "protected",
		},
		{
			8, "a machine that is being deleted gives its place away", plan + "/compute.go",
			"	for _, m := range d.machines {\n		if !d.covers(m) && !w.overlaps(m) && !m.parked() {\n", "	for _, m := range d.kept {\n		if !d.covers(m) && !w.overlaps(m) && !m.parked() {\n",
			plan, "TestAReplacementComesAfterTheDeletionIsConfirmed", "",
		},
		{
			8, "an outbid machine costs nothing", plan + "/book.go",
			"	return m.Storage.Or(m.Reserved)\n", "	return 0\n",
			plan, "TestWhatIsDeadStillCostsItsDisk", "",
		},
		{
			9, "what was just bought at the ceiling is too dear to keep", plan + "/fit.go",
			"m.Reserved.Sub(displayRounding) > d.ceiling(m)", "m.Reserved.Mul(4) > d.ceiling(m)",
			plan, "TestAfterAPlanWasAcceptedTheNextOneIsEmpty", "",
		},
		{
			10, "a policy that waits says nothing", plan + "/compute.go",
			"	w.explainWaiting(d)\n", "",
			plan, "TestNothingHappensWithoutAReasonAndNothingIsLeftOutWithoutOne", "",
		},
		{
			7, "a lower bid is believed at its first sight", plan + "/shade.go",
			"cutLooks = 2", "cutLooks = 1",
			plan, "TestALowerBidFreesNothingBeforeTwoLooksShowIt", "shown once",
		},
		{
			7, "a lower bid frees its money when it is asked for", plan + "/shade.go",
			"	in.Reserved = m.Reserved\n", "	in.Reserved = m.Reserved\n	m.Reserved = a.Rate\n",
			plan, "TestALowerBidFreesNothingBeforeTwoLooksShowIt", "submitted",
		},
		{
			7, "a bid is lowered on one word of the market", plan + "/shade.go",
			"w.in.Now.Sub(c.since) >= cutProof", "true",
			plan, "TestOneWordIsNotEnoughAndNoStepIsTooGreat", "known for",
		},
		{
			7, "the market is asked about a bid below ours before it is known what that does", plan + "/shade.go",
			"case !known || !w.in.History.RebidApplies.Known():", "case known && false:",
			plan, "TestWhereNoNewcomerCouldTellTheMarketIsAskedAboutOurOwnBid", "before it is known",
		},
		{
			7, "a bid falls by more than a step", plan + "/shade.go",
			"max(c.wins.Add(c.margin).CeilCent(), c.lowest)", "c.wins.Add(c.margin).CeilCent()",
			plan, "TestOneWordIsNotEnoughAndNoStepIsTooGreat", "at once",
		},
		{
			11, "hosts shown as full are tried although one of ours stands there", plan + "/search.go",
			"t == nil && !w.shelf.homeless", "!w.shelf.homeless",
			plan, "TestHostsShownAsTakenAreTriedWhereNoneOfOursStands", "",
		},
		{
			11, "orders go where one of ours is dead and may win again", plan + "/offers.go",
			"		t.blocked = true\n", "",
			plan, "TestNoNewcomerGoesWhereItsGPUsAreNotProvablyFreeOrOursIsDead", "",
		},
		{
			11, "a raise whose answer was lost is relied upon", plan + "/book.go",
			"		return m.SureBid\n", "		return m.Bid\n",
			plan, "TestARaiseOfUnknownOutcomeProtectsNoMachineFromOurOwnBids", "",
		},
		{
			12, "the gate does not ask whether answers have changed their form", daemon + "/gate.go",
			`if why := g.canary.forbids(a); why != "" {`, `if why := g.canary.forbids(a); false && why != "" {`,
			daemon, "TestTheGateStopsWhatRestsOnAnAnswerThatHasDrifted", "",
		},
		{
			3, "a list in which no machine has a name any more is believed", tensordock + "/transport.go",
			"err != nil && !q.verb.writes() {", "false && err != nil {",
			tensordock, "TestAListOfMachinesIsWholeOrAnError", "",
		},
		{
			0, "what we end ourselves is claimed as an outage", plan + "/outage.go",
			"	case m.Leaving != nil:\n		return OutageDeleted\n", "",
			plan, "TestWhatIsNotTheHostsDoingIsNoOutage", "",
		},
		{
			12, "a destroy goes on in a dry run", daemon + "/gate.go",
			"g.dryRun != nil && g.dryRun()", "g.dryRun != nil && false",
			daemon, "TestAReloadToDryRunEndsADestroyUnderWay", "",
		},
		{
			12, "the gate does not ask for pauses and breakers", daemon + "/gate.go",
			`if why := h.Forbids(a, g.clock.Now()); why != "" {`, `if why := h.Forbids(a, g.clock.Now()); false {`,
			daemon, "TestTheGateLetsThroughOnlyWhatPausesAndBreakersAllow", "",
		},
		{
			12, "a pause that came in since the plan was made is overlooked", plan + "/book.go",
			`if why := h.Forbids(a, now); why != "" && !(caps.Operator && a.Kind.Ends()) {`, `if why := h.Forbids(a, now); false && why != "" {`,
			plan, "TestBeginSeesAPauseOrABreakerThatCameUp", "",
		},
		{
			12, "a secret prints as itself", "internal/secret/secret.go",
			"func (s String) String() string { return Redacted }", "func (s String) String() string { return s.Reveal() }",
			"internal/secret", "TestNoVerbPrintsASecret", "",
		},
		{
			2, "containers hold nothing of the budget", plan + "/book.go",
			"return sum.Add(h.reservedContainers(func(string) bool { return true }))", "return sum",
			plan, "TestTheFirstRequestToScaleSendsThePresentCountAndOnlyAtOneReplica", "",
		},
		{
			2, "a container is booked although its money is gone by then", plan + "/containers_book.go",
			"if c.Reserved > bound.room {", "if c.Reserved > market.MaxRate {",
			plan, "TestBeginOfAContainerRefusesWhatTheCapsDoNotLeaveAndASecondOne", "",
		},
		{
			2, "replicas are booked although their money is gone by then", plan + "/containers_book.go",
			"more > 0 && more > bound.room {", "more > 0 && more > market.MaxRate {",
			plan, "TestBeginOfAContainerRefusesWhatTheCapsDoNotLeaveAndASecondOne", "",
		},
		{
			2, "only what was asked for before is held while a request to scale is under way", plan + "/containers_book.go",
			"	next.Guesses = tidyGuesses(append(slices.Clone(c.Guesses), afterAll(c.Guesses, a.Replicas)...))\n", "",
			plan, "TestALostRequestToScaleIsHeldBothWaysAndNeverRepeated", "",
		},
		{
			2, "replicas that are to go are held no more before a look shows them gone", plan + "/containers.go",
			"		for _, g := range c.Scale.From {\n			n = max(n, g.Wanted)\n		}\n", "",
			plan, "TestReplicasThatAreToGoAreHeldUntilALookShowsThemGone", "",
		},
		{
			3, "a replica that is not there counts where the market has no room for it", plan + "/containers_observe.go",
			"return of.open && of.priced && enough && rate <= c.Ceiling", "return enough || rate >= 0",
			plan, "TestAReplicaThatIsNotThereSaysNothingWhereTheMarketHasNoRoom", "",
		},
		{
			3, "a container is gone on the word of one call alone", plan + "/containers_observe.go",
			"	if o.listed(c) {\n		o.alarm(", "	if false {\n		o.alarm(",
			plan, "TestAContainerIsGoneOnlyWhereItsMachinesAreGoneToo", "",
		},
		{
			4, "a container's machine is adopted as ours", plan + "/observe.go",
			"byName[inst.Name] == nil && o.h.replicaOf(inst) != nil", "false",
			plan, "TestAReplicasMachineIsNeitherOursToTouchNorSomebodyElsesCost", "",
		},
		{
			4, "a container's machine is somebody else's cost besides", plan + "/account.go",
			" && o.h.replicaOf(inst) == nil {", " {",
			plan, "TestAReplicasMachineIsNeitherOursToTouchNorSomebodyElsesCost", "",
		},
		{
			5, "a second container is ordered where one may exist", plan + "/containers_book.go",
			"if len(h.containersOf(a.Policy)) > 0 || h", "if h",
			plan, "TestBeginOfAContainerRefusesWhatTheCapsDoNotLeaveAndASecondOne", "",
		},
		{
			5, "a container is scaled again before it is known what a lost request did", plan + "/containers_book.go",
			" || c.Scale != nil && !c.Scale.Accepted {", " {",
			plan, "TestBeginOfAContainerRefusesWhatTheCapsDoNotLeaveAndASecondOne", "",
		},
		{
			5, "the new target is sent first, before it is known how it is read", plan + "/containers_plan.go",
			"w.send(d, c, 1, Reason{ReasonLearnScale", "w.send(d, c, want, Reason{ReasonLearnScale",
			plan, "TestTheFirstRequestToScaleSendsThePresentCountAndOnlyAtOneReplica", "",
		},
		{
			6, "one list with a replica more is taken for proof", plan + "/containers_observe.go",
			"sure := min(was, len(list))", "sure := max(was, len(list))",
			plan, "TestTwoListsWithASecondReplicaMeanADifferenceAndTenMinutesWithoutTheNewCount", "",
		},
		{
			6, "more replicas than were asked for are no surprise", plan + "/containers_observe.go",
			"if c.exceeds(sure) || o.disproves(c, n, old) {", "if o.disproves(c, n, old) {",
			plan, "TestMoreReplicasThanAnythingExplainsUnlearnHoldAndAskAnOperator", "",
		},
		{
			0, "a machine is given up before it was drained", plan + "/fit.go",
			"	if w.drains(m, why) {\n		return true\n	}\n", "",
			plan, "TestNoVoluntaryTeardownComesBeforeTheDrain", "goes at once",
		},
		{
			0, "a machine that nobody asked about goes at the drain's deadline", plan + "/drain.go",
			"return last.Add(p.Deadline)", "return last",
			plan, "TestAMachineWhoseHookNobodyCalledDoesNotGoAtTheDeadline", "",
		},
		{
			0, "a machine is ready that has not passed its probe", plan + "/history.go",
			"m.Status == market.StatusRunning && !m.Unproven\n", "m.Status == market.StatusRunning\n",
			plan, "TestOnDemandGoesOnUntilSpotHasPassedItsProbe", "",
		},
		{
			0, "a probe that was never made ends a machine", plan + "/probe.go",
			"if m.Probe.At.Sub(m.since()) >= deadline {", "if w.in.Now.Sub(m.since()) >= deadline {",
			plan, "TestAMachineThatNeverPassesIsDeletedAtTheDeadlineAndItsHostLeftAlone", "",
		},
		{
			0, "the market sends a probe to this computer", "internal/errands/probe.go",
			"if !j.Locals && inside(ap.Addr().Unmap()) {", "if false {",
			"internal/errands", "TestTheMarketCannotSendAProbeIntoOurOwnNetwork", "",
		},
		{
			0, "a machine may show another host key each time", "internal/errands/probe.go",
			"if j.HostKey != \"\" && shown != j.HostKey {", "if false {",
			"internal/errands", "TestAMachineThatShowsAnotherHostKeyThanAtFirstFailsItsProbe", "",
		},
		{
			0, "a command gets the daemon's environment", "internal/errands/hook.go",
			"	cmd.Env = environment(j)\n", "	cmd.Env = append(os.Environ(), environment(j)...)\n",
			"internal/errands", "TestACommandGetsTheFactsAndNothingOfTheDaemonsEnvironment", "",
		},
		{
			7, "a machine is resized to what its policy does not allow", plan + "/resize.go",
			"return rate != market.MaxRate && rate > d.ceiling(m)", "return rate != market.MaxRate && rate < 0",
			plan, "TestAMachineIsNotResizedToWhatWouldCostMoreThanItsPolicyAllows", "",
		},
		{
			6, "a resize stays open where somebody else starts the machine", plan + "/park.go",
			"		o.closeModify(m)\n", "",
			plan, "TestAResizeIsSettledWhereSomebodyElseStartsTheMachineMeanwhile", "",
		},
		{
			6, "a resize stays open where the machine is gone", plan + "/observe.go",
			"	o.closePark(m)\n", "",
			plan, "TestAResizeIsSettledWhereTheMachineIsGone", "",
		},
		{
			3, "an old list that shows what was deleted costs a machine that runs", plan + "/fit.go",
			"	case w.mayBeGone(m):\n		return 2\n", "",
			plan, "TestWhatMayBeGoneIsGivenUpBeforeAMachineThatIsNot", "",
		},
	}
}
