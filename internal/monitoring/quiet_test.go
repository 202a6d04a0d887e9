package monitoring

import (
	"slices"
	"testing"
	"time"
)

// expectedOfTheDay are the alerts that the day does give reason for: "dream" can never be
// had, what the queue asks for fails for a while, and machines are outbid.
func expectedOfTheDay() []string {
	return []string{"TdscalerTargetMissed dream", "TdscalerNoCapacity dream"}
}

// An alert that fires on an ordinary day is soon read by nobody.
func TestAnOrdinaryDayRaisesNoAlarm(t *testing.T) {
	s := day(t)
	met := map[string]bool{}
	for _, a := range alerts(t) {
		if a.Alert == "TdscalerAbsent" {
			continue // nothing has a value but when it fires
		}
		for _, found := range s.queryRange(t, a.Expr, dayStart.Add(10*time.Minute), dayEnd, time.Minute) {
			who := a.Alert + " " + found.labels["policy"]
			held := found.longest(time.Minute)
			switch fires := held >= a.patience(t); {
			case fires && slices.Contains(expectedOfTheDay(), who):
				met[who] = true
			case fires:
				t.Errorf("%s (%s) fires: its condition held for %s", who, a.Labels["severity"], held)
			}
		}
	}
	for _, who := range expectedOfTheDay() {
		if !met[who] {
			t.Errorf("%s does not fire", who)
		}
	}
}
