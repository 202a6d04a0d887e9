package policy

import (
	"strings"
	"testing"
	"time"
)

const withReport = `version: 1
budget: {max_hourly: 1, time_zone: Europe/Berlin}
notifications: {sinks: [{name: ops, type: webhook, url: "https://example.com/"}]}
report: {schedule: "0 8 * * *", since: 48h, format: html, sinks: [ops]}
policies: []
`

func TestAReportIsDueInTheZoneOfTheCapsOrInItsOwn(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for line, want := range map[string]string{
		"0 8 * * *": "2026-07-02T06:00:00Z", "CRON_TZ=UTC 0 8 * * *": "2026-07-02T08:00:00Z", "TZ=Asia/Tokyo 0 8 * * *": "2026-07-01T23:00:00Z",
	} {
		s, problems := Parse("p.yaml", []byte(strings.Replace(withReport, "0 8 * * *", line, 1)))
		if HasErrors(problems) {
			t.Fatal(problems)
		}
		due, err := s.ReportSchedule()
		if err != nil || due.Next(now).UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v, want %s", line, due.Next(now), err, want)
		}
		if s.Report.Since != 48*time.Hour || s.Report.Format != "html" || len(s.Report.Sinks) != 1 {
			t.Errorf("%+v", s.Report)
		}
	}
	var s Set
	if due, err := s.ReportSchedule(); due != nil || err != nil {
		t.Errorf("without a schedule one is due: %v, %v", due, err)
	}
}

func TestAReportThatNobodyGetsIsAnError(t *testing.T) {
	for was, is := range map[string]string{
		"sinks: [ops]}": "sinks: [opps]}", "0 8 * * *": "0 8 31 2 *", "since: 48h": "since: 1m", "format: html": "format: pdf",
		`notifications: {sinks: [{name: ops, type: webhook, url: "https://example.com/"}]}`: "",
	} {
		if _, problems := Parse("p.yaml", []byte(strings.Replace(withReport, was, is, 1))); !HasErrors(problems) {
			t.Errorf("%q is taken", is)
		}
	}
}
