package policy

import (
	"strings"
	"time"
)

// Report is when a page of what was delivered is sent, and to whom.
type Report struct {
	Schedule string        // as written; "" is never
	Since    time.Duration // how much time it is about
	Format   string        // text, markdown, html
	Sinks    []string      // names; none is all that take reports
}

// ReportSchedule says when a page is due; nil where it never is. Days are those of the caps,
// unless the line names a zone.
func (s *Set) ReportSchedule() (Schedule, error) {
	if s.Report.Schedule == "" {
		return nil, nil
	}
	return parseIn(s.Report.Schedule, string(s.Budget.Zone))
}

// parseIn is ParseSchedule for a line that is of a zone unless it names another.
func parseIn(line, zone string) (Schedule, error) {
	line = strings.TrimSpace(line)
	if named := strings.HasPrefix(line, "CRON_TZ=") || strings.HasPrefix(line, "TZ="); !named && zone != "" {
		line = "CRON_TZ=" + zone + " " + line
	}
	return ParseSchedule(line)
}

type fileReport struct {
	at
	Schedule text     `yaml:"schedule" jsonschema_description:"When a page is sent: a cron line of five fields, in budget.time_zone unless it begins with CRON_TZ=ZONE, or @every DURATION. Without it none is."`
	Since    duration `yaml:"since" jsonschema:"default=24h" min:"1h" jsonschema_description:"How much time before that the page is about."`
	Format   text     `yaml:"format" jsonschema:"enum=text,enum=markdown,enum=html,default=text" jsonschema_description:"How it is written; html is for mail, and text for all others."`
	Sinks    texts    `yaml:"sinks" jsonschema_description:"Names of the sinks of notifications that it goes to. Default: all that take the event report."`
}

func (d *decoder) checkReport(f *file) {
	r := &f.Report
	if r.Schedule.ok {
		if _, err := parseIn(r.Schedule.v, ""); err != nil {
			d.fail(CodeSchedule, r.Schedule.at, "for example '0 8 * * *'", "the schedule cannot be used: %v", err)
		}
		if len(f.Notifications.Sinks) == 0 {
			d.fail(CodeSink, r.Schedule.at, "add a sink to notifications.sinks", "there is nobody to send a report to")
		}
	}
	names := map[string]bool{}
	for i := range f.Notifications.Sinks {
		names[f.Notifications.Sinks[i].Name.v] = true
	}
	for i := range r.Sinks.items {
		if s := &r.Sinks.items[i]; s.ok && !names[s.v] {
			d.fail(CodeSink, s.at, "use the name of a sink of notifications.sinks", "there is no sink %q", short(s.v))
		}
	}
}

func (f *fileReport) build() Report {
	return Report{Schedule: f.Schedule.v, Since: f.Since.v, Format: f.Format.v, Sinks: f.Sinks.values()}
}
