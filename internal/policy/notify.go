package policy

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
)

// Notifications are what is told to whom. Without sinks nobody is told anything.
type Notifications struct {
	GroupWait      time.Duration // how long what comes together is waited for
	GroupInterval  time.Duration // the least time between two messages of one event to one sink
	RepeatInterval time.Duration // after how long what goes on is told again
	MaxPerHour     int           // messages to one sink
	Sinks          []Sink        // in the file's order
}

// SinkType is how a sink is spoken to.
type SinkType string

// Types of sink.
const (
	SinkSlack       SinkType = "slack"
	SinkDiscord     SinkType = "discord"
	SinkTelegram    SinkType = "telegram"
	SinkEmail       SinkType = "email"
	SinkNtfy        SinkType = "ntfy"
	SinkWebhook     SinkType = "webhook"
	SinkCloudEvents SinkType = "cloudevents"
)

// Secret says whether the address of such a sink is itself a secret, which nobody writes
// into the file.
func (t SinkType) Secret() bool { return t != SinkWebhook && t != SinkCloudEvents }

// Sink is one place where messages go.
type Sink struct {
	Name        string
	Type        SinkType
	URL         string // where it is no secret; else in URLFile
	URLFile     string
	SecretFile  string         // what messages are signed with; "" is not signed
	MinSeverity NotifySeverity // what is less grave is not told here
	Events      []NotifyEvent  // that are told; none is all
	Policies    []string       // whose events are told; none is all
	Title       string         // a text/template of the title; "" is the usual one
	Body        string         // and of the text
	Timeout     time.Duration  // of one try
}

// NotifySeverity is how grave something is.
type NotifySeverity string

// Severities of what is told, as the alerts' page, ticket and info.
const (
	Critical NotifySeverity = "critical" // now, also at night
	Warning  NotifySeverity = "warning"  // in the morning
	Info     NotifySeverity = "info"
)

// rank orders severities.
func (s NotifySeverity) rank() int {
	return slices.Index([]NotifySeverity{Info, Warning, Critical}, s)
}

// AtLeast says whether a severity is as grave as another.
func (s NotifySeverity) AtLeast(o NotifySeverity) bool { return s.rank() >= o.rank() }

// NotifyEvent is a class of what is told.
type NotifyEvent string

// Classes of events. Most have an alert of the same meaning; notify's table says which.
const (
	NotifyTargetMissed    NotifyEvent = "target_missed"
	NotifyNoCapacity      NotifyEvent = "no_capacity"
	NotifyOutbidOften     NotifyEvent = "outbid_often"
	NotifyDeadline        NotifyEvent = "deadline_missed"
	NotifyBudgetSpent     NotifyEvent = "budget_nearly_spent"
	NotifyBudgetHolds     NotifyEvent = "budget_holds"
	NotifyOverCap         NotifyEvent = "over_hourly_cap"
	NotifyBalance         NotifyEvent = "balance_low"
	NotifyRunway          NotifyEvent = "runway_short"
	NotifyBill            NotifyEvent = "bill_mismatch"
	NotifyBreaker         NotifyEvent = "breaker_open"
	NotifySecondDaemon    NotifyEvent = "second_daemon"
	NotifyAdopted         NotifyEvent = "orphan_adopted"
	NotifyUnknownMachine  NotifyEvent = "unknown_machine"
	NotifyDeletionStuck   NotifyEvent = "deletion_stuck"
	NotifyContainer       NotifyEvent = "container_alarm"
	NotifyHook            NotifyEvent = "hook_failing"
	NotifyPaused          NotifyEvent = "paused_long"
	NotifyReload          NotifyEvent = "reload_failed"
	NotifyChangeHeld      NotifyEvent = "change_held"
	NotifyUnauthorized    NotifyEvent = "unauthorized"
	NotifyLedger          NotifyEvent = "ledger_unwritable"
	NotifyUnreadable      NotifyEvent = "market_unreadable"
	NotifyContractStopped NotifyEvent = "contract_stopped"
	NotifyReport          NotifyEvent = "report" // what a schedule sends, not what happened
	NotifyTest            NotifyEvent = "test"   // of "tdscaler notify test"
)

// NotifyEvents lists the classes that a sink can be asked to tell.
func NotifyEvents() []NotifyEvent {
	return []NotifyEvent{
		NotifyTargetMissed, NotifyNoCapacity, NotifyOutbidOften, NotifyDeadline, NotifyBudgetSpent, NotifyBudgetHolds, NotifyOverCap, NotifyBalance,
		NotifyRunway, NotifyBill, NotifyBreaker, NotifySecondDaemon, NotifyAdopted, NotifyUnknownMachine, NotifyDeletionStuck, NotifyContainer,
		NotifyHook, NotifyPaused, NotifyReload, NotifyChangeHeld, NotifyUnauthorized, NotifyLedger, NotifyUnreadable, NotifyContractStopped, NotifyReport,
	}
}

// Takes says whether a sink is told of something. A report that a sink asks for by name
// comes whatever its severity; what concerns no single policy is for all.
func (s *Sink) Takes(e NotifyEvent, severity NotifySeverity, policy string) bool {
	switch {
	case e == NotifyTest:
		return true
	case len(s.Events) > 0 && !slices.Contains(s.Events, e):
		return false
	case policy != "" && len(s.Policies) > 0 && !slices.Contains(s.Policies, policy):
		return false
	}
	return severity.AtLeast(s.MinSeverity) || e == NotifyReport && len(s.Events) > 0
}

var sinkName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

type fileNotifications struct {
	at
	GroupWait      duration   `yaml:"group_wait" jsonschema:"default=30s" jsonschema_description:"How long a message waits for others of its kind, to be told together."`
	GroupInterval  duration   `yaml:"group_interval" jsonschema:"default=5m" min:"1s" jsonschema_description:"The least time between two messages of one event to one sink."`
	RepeatInterval duration   `yaml:"repeat_interval" jsonschema:"default=4h" min:"1m" jsonschema_description:"After how long what goes on is told again."`
	MaxPerHour     integer    `yaml:"max_per_hour" jsonschema:"minimum=1,maximum=1000,default=20" jsonschema_description:"The most messages to one sink within an hour. What is more waits, and is told together."`
	Sinks          []fileSink `yaml:"sinks" jsonschema_description:"Where messages go."`
}

type fileSink struct {
	at
	Name        text     `yaml:"name" jsonschema:"required" jsonschema_description:"Unique; how commands, metrics and logs name it. Letters, digits, - and _."`
	Type        text     `yaml:"type" jsonschema:"required,enum=slack,enum=discord,enum=telegram,enum=email,enum=ntfy,enum=webhook,enum=cloudevents" jsonschema_description:"How it is spoken to. slack is for Mattermost and Rocket.Chat, too."`
	URL         text     `yaml:"url" jsonschema_description:"A https:// or http:// address, for webhook and cloudevents. Redirects are not followed."`
	URLFile     text     `yaml:"url_file" jsonschema_description:"Path of a file with the address, for whatever holds a key or a password: that of every other type does."`
	SecretFile  text     `yaml:"secret_file" jsonschema_description:"Path of a file with the secret that messages of webhook and cloudevents are signed with: at least 16 bytes."`
	MinSeverity text     `yaml:"min_severity" jsonschema:"enum=info,enum=warning,enum=critical,default=info" jsonschema_description:"What is less grave is not told here."`
	Events      texts    `yaml:"events" jsonschema_description:"What is told here, see docs/notifications.md. Default: everything."`
	Policies    texts    `yaml:"policies" jsonschema_description:"Whose events are told here, besides those of no single policy. Default: all."`
	Title       text     `yaml:"title_template" jsonschema_description:"A text/template of Go for the title."`
	Body        text     `yaml:"template" jsonschema_description:"A text/template of Go for the text."`
	Timeout     duration `yaml:"timeout" jsonschema:"default=10s" min:"1s" jsonschema_description:"How long one try to deliver may take."`
}

func (d *decoder) checkNotifications(f *file) {
	names := map[string]int{}
	policies := map[string]bool{}
	for i := range f.Policies {
		policies[f.Policies[i].Name.v] = true
	}
	for i := range f.Notifications.Sinks {
		s := &f.Notifications.Sinks[i]
		if !s.ok { // not a section: reported already
			continue
		}
		d.checkSinkName(s, names)
		d.checkSinkAddress(s)
		d.checkSinkFilter(s, policies)
		d.checkTemplate(&s.Title)
		d.checkTemplate(&s.Body)
	}
}

// checkTemplate reads a template; whoever knows what it is of tries it, too.
func (d *decoder) checkTemplate(t *text) {
	if !t.ok {
		return
	}
	if _, err := template.New(last(t.path)).Parse(t.v); err != nil {
		d.fail(CodeTemplate, t.at, "for example '{{.Title}}'", "%s", strings.TrimPrefix(err.Error(), "template: "))
	}
}

func (d *decoder) checkSinkName(s *fileSink, names map[string]int) {
	if !s.Name.ok {
		return
	}
	if !sinkName.MatchString(s.Name.v) {
		d.fail(CodeSink, s.Name.at, "for example ops", "a sink's name is 1 to 40 letters, digits, - and _, not %q", short(s.Name.v))
		return
	}
	if line, taken := names[s.Name.v]; taken {
		d.fail(CodeSameName, s.Name.at, "rename one of them", "sink %q is already defined in line %d", short(s.Name.v), line)
		return
	}
	names[s.Name.v] = s.Name.line
}

// checkSinkAddress never repeats an address: it may hold a password.
func (d *decoder) checkSinkAddress(s *fileSink) {
	d.checkPath(&s.URLFile)
	d.checkPath(&s.SecretFile)
	kind := SinkType(s.Type.v)
	switch {
	case s.URL.set && s.URLFile.set:
		d.fail(CodeEitherOr, s.URLFile.at, "keep one of them", "url and url_file exclude each other")
	case !s.URL.set && !s.URLFile.set:
		d.fail(CodeSink, s.at, "add url_file: the path of a file with the address", "sink %s has no address", short(s.Name.v))
	case s.Type.ok && s.URL.set && kind.Secret():
		d.fail(CodeSink, s.URL.at, "put it into a file, and name that with url_file; if it stood here, replace it", "the address of a sink of type %s is a secret", s.Type.v)
	case s.URL.ok:
		d.checkPlainAddress(&s.URL)
	}
	if s.Type.ok && s.SecretFile.set && kind.Secret() {
		d.fail(CodeSink, s.SecretFile.at, "remove it", "only messages of webhook and cloudevents are signed")
	}
}

func (d *decoder) checkPlainAddress(t *text) {
	if u, err := url.Parse(t.v); err == nil && u.User != nil {
		d.fail(CodeURL, t.at, "put it into a file, and name that with url_file", "url must not hold a user or password")
		return
	}
	d.checkHookURL(t, "what is told")
}

func (d *decoder) checkSinkFilter(s *fileSink, policies map[string]bool) {
	for i := range s.Events.items {
		e := &s.Events.items[i]
		if !e.ok || slices.Contains(NotifyEvents(), NotifyEvent(e.v)) {
			continue
		}
		var known []string
		for _, k := range NotifyEvents() {
			known = append(known, string(k))
		}
		hint := "known are " + strings.Join(known, ", ")
		if near, ok := Nearest(e.v, known); ok {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		d.fail(CodeSink, e.at, hint, "%q is no event", short(e.v))
	}
	for i := range s.Policies.items {
		if p := &s.Policies.items[i]; p.ok && !policies[p.v] {
			d.fail(CodeSink, p.at, "use the name of a policy of this file", "there is no policy %q", short(p.v))
		}
	}
}

func (f *fileNotifications) build() Notifications {
	n := Notifications{GroupWait: f.GroupWait.v, GroupInterval: f.GroupInterval.v, RepeatInterval: f.RepeatInterval.v, MaxPerHour: f.MaxPerHour.v}
	for i := range f.Sinks {
		s := &f.Sinks[i]
		sink := Sink{
			Name: s.Name.v, Type: SinkType(s.Type.v), URL: s.URL.v, URLFile: s.URLFile.v, SecretFile: s.SecretFile.v,
			MinSeverity: NotifySeverity(s.MinSeverity.v), Policies: s.Policies.values(), Title: s.Title.v, Body: s.Body.v, Timeout: s.Timeout.v,
		}
		for _, e := range s.Events.values() {
			sink.Events = append(sink.Events, NotifyEvent(e))
		}
		n.Sinks = append(n.Sinks, sink)
	}
	return n
}
