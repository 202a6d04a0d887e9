package notify

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/policy"
)

var update = flag.Bool("update", false, "write the generated part of docs/notifications.md")

const (
	page      = "../../docs/notifications.md"
	beginMark = "<!-- begin: written by `go test ./internal/notify -update` -->\n"
	endMark   = "<!-- end -->"
)

// meanings are what the page says of each event.
func meanings() map[policy.NotifyEvent]string {
	return map[policy.NotifyEvent]string{
		policy.NotifyTargetMissed:    "a policy has fewer GPUs ready than it wants, with its holds' reasons",
		policy.NotifyNoCapacity:      "it has none at all",
		policy.NotifyOutbidOften:     "more than ten machines were outbid within the hour",
		policy.NotifyDeadline:        "GPU-hours will not be done by `target.by`",
		policy.NotifyBudgetSpent:     "nine tenths of a cap on a day, a month or a policy's life are spent; again when it is all but spent",
		policy.NotifyBudgetHolds:     "a cap keeps a policy from having what it wants",
		policy.NotifyOverCap:         "more is reserved than the hourly cap allows",
		policy.NotifyBalance:         "less than $5 are left, or the balance holds growth",
		policy.NotifyRunway:          "the balance lasts for less than a day; critical below six hours",
		policy.NotifyBill:            "the balance fell by more than the books explain",
		policy.NotifyBreaker:         "a breaker has stopped growth; critical where machines or money are not where the books have them",
		policy.NotifySecondDaemon:    "another daemon buys under the same owner, and all writes have stopped",
		policy.NotifyAdopted:         "a machine with our mark and without a record was taken in",
		policy.NotifyUnknownMachine:  "machines are left alone and cost money",
		policy.NotifyDeletionStuck:   "machines were to be deleted and are still there",
		policy.NotifyContainer:       "a container needs somebody to decide",
		policy.NotifyHook:            "an `on_ready` hook fails",
		policy.NotifyPaused:          "a policy, or the fleet, is paused; it is over with `resume`",
		policy.NotifyReload:          "the file on disk has errors, and the last good one goes on",
		policy.NotifyChangeHeld:      "a change on disk waits for `tdscaler reload`",
		policy.NotifyUnauthorized:    "TensorDock refuses the credentials",
		policy.NotifyLedger:          "nothing can be put on record, so nothing is done",
		policy.NotifyUnreadable:      "a list cannot be read; critical for that of the machines",
		policy.NotifyContractStopped: "answers have lost what safety rests on",
		policy.NotifyReport:          "the report that a schedule sends",
	}
}

func eventTable() string {
	var b strings.Builder
	b.WriteString("| event | severity | for | what | page |\n|---|---|---|---|---|\n")
	for _, r := range Rules() {
		severity, after, link := string(r.Severity), brief(r.For), ""
		if w := r.Worst(); w != r.Severity {
			severity += " to " + string(w)
		}
		if r.For == 0 {
			after = ""
		}
		if r.Alert != "" {
			link = fmt.Sprintf("[%s](runbooks/%s.md)", r.Alert, r.Alert)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Event, severity, after, meanings()[r.Event], link)
	}
	return b.String()
}

func TestThePageHasEveryEvent(t *testing.T) {
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(old), beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 || len(meanings()) != len(Rules()) {
		t.Fatalf("%s has lost its marks, or an event its meaning", page)
	}
	want := head + beginMark + eventTable() + endMark + tail
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(old)); diff != "" {
		t.Errorf("run go test ./internal/notify -update (-want +got):\n%s", diff)
	}
}
