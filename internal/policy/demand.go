package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Demand is what moves a policy's target. Everything counts whole machines. The zero
// value is none: the target is a number.
type Demand struct {
	Schedule []Window `json:"schedule,omitempty"`
	Signals  []Signal `json:"signals,omitempty"`
	Min      int      `json:"min_machines,omitempty"`
	// Max is the most that a schedule, a signal or an operator can set the target to; 0
	// is what the number says.
	Max int `json:"max_machines,omitempty"`
	// Fixed: Target is what is planned with, whatever moves it; for questions of what if.
	Fixed bool `json:"-"`
}

// Moves says whether the target is more than a number.
func (d *Demand) Moves() bool { return len(d.Schedule)+len(d.Signals) > 0 || d.Min > 0 }

// Signal is a number of the world outside, and the machines it asks for.
type Signal struct {
	Name       string     `json:"name"`
	Prometheus Prometheus `json:"prometheus"`
	// PerGPU is how much of the value one GPU takes; TargetValue is what the value is to
	// be brought to by more or fewer machines. One of them is 0.
	PerGPU      float64 `json:"per_gpu,omitempty"`
	TargetValue float64 `json:"target_value,omitempty"`
	// Activation is the value up to which nothing is asked for.
	Activation float64 `json:"activation_threshold,omitempty"`
	Min        int     `json:"min_machines,omitempty"` // while the value is above Activation
	Max        int     `json:"max_machines"`
	// Up and Down are for how long more, or fewer, must be asked for without a break.
	Up        time.Duration `json:"up_stabilization,omitempty"`
	Down      time.Duration `json:"down_stabilization,omitempty"`
	Tolerance float64       `json:"tolerance,omitempty"` // share of the value that changes nothing
	OnError   OnError       `json:"on_error"`
	MaxAge    time.Duration `json:"max_age"` // older values are no values
}

// OnError is what a signal asks for that cannot be read.
type OnError string

// What can be done without a value.
const (
	OnErrorHold OnError = "hold" // what it asked for before
	OnErrorMin  OnError = "min"  // its min
	OnErrorLast OnError = "last" // what the last value asks for, however old
)

// Prometheus is a query that has one number as its answer.
type Prometheus struct {
	URL   string `json:"url"`
	Query string `json:"query"`
	// Range makes it a range query of the time up to now, of which Reduce makes one
	// number; 0 is an instant query.
	Range    time.Duration `json:"range,omitempty"`
	Step     time.Duration `json:"step,omitempty"`
	Reduce   string        `json:"reduce,omitempty"`   // avg, max, min, last
	Interval time.Duration `json:"interval,omitempty"` // least time between two queries
	Timeout  time.Duration `json:"timeout,omitempty"`

	// Files by name only.
	TokenFile    string `json:"-"`
	Username     string `json:"-"`
	PasswordFile string `json:"-"`
	CAFile       string `json:"-"`
}

// Asks says what is asked, for telling one question from another.
func (p *Prometheus) Asks() string {
	if p.Range == 0 {
		return p.URL + " " + p.Query
	}
	return fmt.Sprintf("%s %s of %s, %s every %s", p.URL, p.Query, p.Range, p.Reduce, p.Step)
}

// MaxTarget is the most machines that the policy can ever want.
func (p *Policy) MaxTarget() int { return max(p.Target, p.Demand.Max) }

type fileWindow struct {
	at
	From      text     `yaml:"from" jsonschema:"required" jsonschema_description:"When the window begins: a cron line of five fields, by the clock of time_zone."`
	For       duration `yaml:"for" min:"1m" jsonschema_description:"How long it lasts, as time passes. Exactly one of for and until is needed."`
	Until     text     `yaml:"until" jsonschema_description:"When it ends: a cron line of five fields, by the clock of time_zone."`
	TimeZone  text     `yaml:"time_zone" jsonschema:"default=UTC" jsonschema_description:"Whose clock: a name such as Europe/Berlin. What its clock skips in spring happens when it skips, what it shows twice in autumn the first time."`
	GPUs      integer  `yaml:"gpus" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"GPUs in all while the window holds; a multiple of shape.gpus."`
	Instances integer  `yaml:"instances" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"Machines in all while the window holds."`
	Replicas  integer  `yaml:"replicas" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"Replicas in all while the window holds."`
}

type fileSignal struct {
	at
	Name        text           `yaml:"name" jsonschema_description:"What it is called in reasons and metrics. Default: signal1, signal2 and so on."`
	Prometheus  filePrometheus `yaml:"prometheus" jsonschema:"required" jsonschema_description:"Where the value comes from."`
	PerGPU      number         `yaml:"per_gpu" jsonschema:"exclusiveMinimum=0" jsonschema_description:"How much of the value one GPU takes: value / per_gpu GPUs are asked for. (The target of type AverageValue of a HorizontalPodAutoscaler, and a threshold of KEDA.) Exactly one of per_gpu and target_value is needed."`
	TargetValue number         `yaml:"target_value" jsonschema:"exclusiveMinimum=0" jsonschema_description:"What the value is to be brought to: machines that run x value / target_value are asked for. (The target of type Value.)"`
	Activation  number         `yaml:"activation_threshold" jsonschema:"minimum=0,default=0" jsonschema_description:"Up to this value nothing is asked for."`
	Min         integer        `yaml:"min" jsonschema:"minimum=0,maximum=100000,default=0" jsonschema_description:"The least it asks for while the value is above activation_threshold, in the unit of the target; and what on_error: min asks for."`
	Max         integer        `yaml:"max" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"The most it can ask for, in the unit of the target. Default: target.max."`
	Up          fileUp         `yaml:"up" jsonschema_description:"How it asks for more."`
	Down        fileDown       `yaml:"down" jsonschema_description:"How it asks for less."`
	Tolerance   number         `yaml:"tolerance" jsonschema:"minimum=0,maximum=1,default=0.1" jsonschema_description:"The share by which the value may differ from what the machines asked for would take before anything changes."`
	OnError     text           `yaml:"on_error" jsonschema:"enum=hold,enum=min,enum=last,default=hold" jsonschema_description:"What it asks for while there is no value that is young enough: hold is what it asked for before; min its min; last what the last value asks for, however old."`
	MaxAge      duration       `yaml:"max_age" jsonschema:"default=2m" min:"1s" jsonschema_description:"How old the last value may be and still count, when newer ones cannot be had."`
}

type fileUp struct {
	at
	Stabilization duration `yaml:"stabilization_window" jsonschema:"default=0s" jsonschema_description:"For how long more must be asked for, without a break, before the target rises."`
}

type fileDown struct {
	at
	Stabilization duration `yaml:"stabilization_window" jsonschema:"default=5m" jsonschema_description:"For how long less must be asked for, without a break, before the target falls: the most of this time counts."`
}

type filePrometheus struct {
	at
	URL          text     `yaml:"url" jsonschema:"required" jsonschema_description:"Address of a server with Prometheus's HTTP API, such as http://127.0.0.1:9090. A path before /api/v1 is kept."`
	Query        text     `yaml:"query" jsonschema:"required" jsonschema_description:"PromQL with one number as its answer: aggregate several series with sum() or max()."`
	Range        duration `yaml:"range" min:"1s" jsonschema_description:"Makes it a range query of this time up to now. Without it, it is an instant query."`
	Step         duration `yaml:"step" jsonschema:"default=30s" min:"1s" jsonschema_description:"For range: from one value to the next."`
	Reduce       text     `yaml:"reduce" jsonschema:"enum=avg,enum=max,enum=min,enum=last,default=avg" jsonschema_description:"For range: what becomes of its values."`
	Interval     duration `yaml:"interval" jsonschema:"default=15s" min:"1s" jsonschema_description:"The least time between two queries, however often cycles are."`
	Timeout      duration `yaml:"timeout" jsonschema:"default=5s" min:"10ms" jsonschema_description:"How long an answer may take; 30s at most."`
	TokenFile    text     `yaml:"token_file" jsonschema_description:"Path of a file with a bearer token, read anew for each query."`
	Username     text     `yaml:"username" jsonschema_description:"For basic authentication."`
	PasswordFile text     `yaml:"password_file" jsonschema_description:"Path of a file with the password, read anew for each query."`
	CAFile       text     `yaml:"ca_file" jsonschema_description:"Path of a file with the certificates (PEM) that the server's must come from. Default: the system's."`
	PlainHTTP    boolean  `yaml:"allow_plain_http" jsonschema:"default=false" jsonschema_description:"Lets a token or password go to another machine over http://, readable to everybody on the way."`
}

// unit is the key that a target counts in.
func (t *fileTarget) unit() string {
	counts := []*integer{&t.GPUs, &t.Instances, &t.Replicas}
	for i := range t.Schedule {
		w := &t.Schedule[i]
		counts = append(counts, &w.GPUs, &w.Instances, &w.Replicas)
	}
	for _, c := range counts {
		if c.set {
			return last(c.path)
		}
	}
	return ""
}

// moves says whether the target has a schedule or signals.
func (t *fileTarget) moves() bool { return len(t.Schedule)+len(t.Signals) > 0 }

// longestWindow is how long a window may last: a year. Longer ones are a number.
const longestWindow = 366 * 24 * time.Hour

// maxSteps is how many values a range query may ask for.
const maxSteps = 1000

// checkDemand looks at what moves a target.
func (d *decoder) checkDemand(p *filePolicy) {
	t := &p.Target
	if (t.GPUHours.set || t.By.set) && t.moves() {
		d.fail(CodeTarget, t.at, "use two policies", "gpu_hours cannot follow a schedule or a signal")
	}
	unit := t.unit()
	for i := range t.Schedule {
		d.checkWindow(p, &t.Schedule[i], unit)
	}
	names := map[string]int{}
	for i := range t.Signals {
		d.checkSignal(p, &t.Signals[i], names)
	}
	if len(t.Signals) > 0 && !t.Max.set {
		d.fail(CodeDemand, t.at, "add max: what you would ever pay for", "a target that follows a signal needs a max")
	}
	d.checkWhole(p, &t.Min)
	d.checkWhole(p, &t.Max)
	for _, v := range t.written() {
		if most := &t.Max; v.ok && most.ok && v.v > most.v {
			d.fail(CodeOrder, v.at, "", "%s (%d) is above max (%d)", last(v.path), v.v, most.v)
		}
	}
}

// written are the numbers that max bounds.
func (t *fileTarget) written() []*integer {
	out := []*integer{&t.GPUs, &t.Instances, &t.Replicas, &t.Min}
	for i := range t.Schedule {
		w := &t.Schedule[i]
		out = append(out, &w.GPUs, &w.Instances, &w.Replicas)
	}
	for i := range t.Signals {
		out = append(out, &t.Signals[i].Min, &t.Signals[i].Max)
	}
	return out
}

// checkWhole refuses GPUs that are no whole machines.
func (d *decoder) checkWhole(p *filePolicy, v *integer) {
	per := &p.Shape.GPUs
	counts := p.Target.unit()
	if !v.set || !v.ok || !per.ok || counts != "" && counts != "gpus" || v.v%per.v == 0 {
		return
	}
	down := v.v / per.v * per.v
	d.fail(CodeIndivisible, v.at, fmt.Sprintf("use %d or %d, or another shape.gpus", down, down+per.v),
		"%d GPUs cannot be made of machines with %d", v.v, per.v)
}

func (d *decoder) checkWindow(p *filePolicy, w *fileWindow, unit string) {
	if !w.ok {
		return
	}
	d.checkCron(&w.From)
	d.checkCron(&w.Until)
	d.checkZone(&w.TimeZone)
	switch {
	case w.For.set && w.Until.set:
		d.fail(CodeEitherOr, w.Until.at, "keep one of them", "for and until exclude each other")
	case !w.For.set && !w.Until.set:
		d.fail(CodeDemand, w.at, "add for: 12h, or until: with a cron line", "the window has no end")
	case w.For.ok && w.For.v > longestWindow:
		d.fail(CodeBounds, w.For.at, "", "for must be at most %s", longestWindow)
	}
	set := given(w.GPUs.at, w.Instances.at, w.Replicas.at)
	switch {
	case len(set) == 0:
		d.fail(CodeTarget, w.at, "for example gpus: 8", "the window does not say how much is wanted")
	case len(set) > 1:
		d.fail(CodeTarget, set[1], "keep one of them", "the window has %s and %s: which counts?", last(set[0].path), last(set[1].path))
	case last(set[0].path) != unit:
		d.fail(CodeTarget, set[0], "use "+unit, "this target counts %s already", unit)
	case p.Kind.ok && (p.Kind.v == string(Container)) != w.Replicas.set:
		d.fail(CodeKind, set[0], "", "kind %s has no target of %s", p.Kind.v, last(set[0].path))
	}
	d.checkWhole(p, &w.GPUs)
}

func (d *decoder) checkCron(t *text) {
	if !t.ok {
		return
	}
	if _, err := wallCron(t.v); err != nil {
		d.fail(CodeSchedule, t.at, "for example '0 8 * * mon-fri'", "%s cannot be used: %v", last(t.path), err)
	}
}

func (d *decoder) checkSignal(p *filePolicy, s *fileSignal, names map[string]int) {
	if !s.ok {
		return
	}
	switch {
	case s.PerGPU.set && s.TargetValue.set:
		d.fail(CodeEitherOr, s.TargetValue.at, "keep one of them", "per_gpu and target_value exclude each other")
	case !s.PerGPU.set && !s.TargetValue.set:
		d.fail(CodeDemand, s.at, "add per_gpu: how much one GPU takes", "the signal does not say how many GPUs its value asks for")
	}
	if s.Name.ok {
		if !labelName.MatchString(s.Name.v) {
			d.fail(CodeLabel, s.Name.at, "letters, digits and _", "signal name %q cannot be used", short(s.Name.v))
		}
		if line := names[s.Name.v]; line != 0 {
			d.fail(CodeSameName, s.Name.at, "rename one of them", "signal %q is already defined in line %d", short(s.Name.v), line)
		}
		names[s.Name.v] = s.Name.line
	}
	d.checkWhole(p, &s.Min)
	d.checkWhole(p, &s.Max)
	if s.Min.ok && s.Max.ok && s.Max.set && s.Min.v > s.Max.v {
		d.fail(CodeOrder, written(s.Min.at, s.Max.at), "", "min (%d) is above max (%d)", s.Min.v, s.Max.v)
	}
	for _, w := range []*duration{&s.Up.Stabilization, &s.Down.Stabilization} {
		if w.ok && w.v > 24*time.Hour {
			d.fail(CodeBounds, w.at, "", "%s must be at most 24h", last(w.path))
		}
	}
	d.checkPrometheus(&s.Prometheus)
	if q := &s.Prometheus; s.MaxAge.ok && q.Interval.ok && s.MaxAge.v < q.Interval.v {
		d.fail(CodeOrder, written(s.MaxAge.at, q.Interval.at), "a value must last until the next", "max_age (%s) is below interval (%s)", s.MaxAge.v, q.Interval.v)
	}
}

func (d *decoder) checkPrometheus(p *filePrometheus) {
	if !p.ok {
		return
	}
	secrets := p.TokenFile.set || p.PasswordFile.set
	d.checkServer(&p.URL, secrets, p.PlainHTTP.v)
	d.checkPath(&p.TokenFile)
	d.checkPath(&p.PasswordFile)
	d.checkPath(&p.CAFile)
	d.checkSameFile(&p.TokenFile, &p.PasswordFile)
	switch {
	case p.TokenFile.set && (p.Username.set || p.PasswordFile.set):
		d.fail(CodeEitherOr, p.TokenFile.at, "keep one of them", "a bearer token and basic authentication exclude each other")
	case p.Username.set != p.PasswordFile.set:
		d.fail(CodeDemand, written(p.Username.at, p.PasswordFile.at), "add the other", "username and password_file belong together")
	}
	if p.Timeout.ok && p.Timeout.v > 30*time.Second {
		d.fail(CodeBounds, p.Timeout.at, "", "timeout must be at most 30s")
	}
	for _, k := range []*at{&p.Step.at, &p.Reduce.at} {
		if k.set && !p.Range.set {
			d.fail(CodeDemand, *k, "add range, or remove "+last(k.path), "%s has no meaning without range", last(k.path))
		}
	}
	if p.Range.ok && p.Step.ok && p.Range.set && p.Range.v/p.Step.v > maxSteps {
		d.fail(CodeBounds, p.Range.at, "make step longer", "range asks for more than %d values", maxSteps)
	}
}

// build makes it a Demand of machines.
func (t *fileTarget) demand(shape market.Shape) Demand {
	whole := func(v int) int { return v }
	if u := t.unit(); u == "" || u == "gpus" {
		whole = func(v int) int { return v / max(shape.GPUs, 1) }
	}
	out := Demand{Min: whole(t.Min.v), Max: whole(t.Max.v)}
	number := whole(max(t.GPUs.v, t.Instances.v, t.Replicas.v))
	for i := range t.Schedule {
		w := &t.Schedule[i]
		out.Schedule = append(out.Schedule, Window{
			From: w.From.v, For: w.For.v, Until: w.Until.v, Zone: Zone(w.TimeZone.v),
			Machines: whole(max(w.GPUs.v, w.Instances.v, w.Replicas.v)),
		})
		number = max(number, out.Schedule[i].Machines)
	}
	if !t.Max.set && (t.moves() || t.Min.set) {
		out.Max = max(number, out.Min)
	}
	for i := range t.Signals {
		out.Signals = append(out.Signals, t.Signals[i].build(i, out.Max, whole))
	}
	return out
}

func (s *fileSignal) build(i, most int, whole func(int) int) Signal {
	q := &s.Prometheus
	out := Signal{
		Name: s.Name.v, PerGPU: s.PerGPU.v, TargetValue: s.TargetValue.v, Activation: s.Activation.v,
		Min: whole(s.Min.v), Max: most, Up: s.Up.Stabilization.v, Down: s.Down.Stabilization.v,
		Tolerance: s.Tolerance.v, OnError: OnError(s.OnError.v), MaxAge: s.MaxAge.v,
		Prometheus: Prometheus{
			URL: q.URL.v, Query: q.Query.v, Interval: q.Interval.v, Timeout: q.Timeout.v,
			TokenFile: q.TokenFile.v, Username: q.Username.v, PasswordFile: q.PasswordFile.v, CAFile: q.CAFile.v,
		},
	}
	if out.Name == "" {
		out.Name = fmt.Sprintf("signal%d", i+1)
	}
	if s.Max.set {
		out.Max = min(whole(s.Max.v), most)
	}
	if q.Range.set {
		out.Prometheus.Range, out.Prometheus.Step, out.Prometheus.Reduce = q.Range.v, q.Step.v, q.Reduce.v
	}
	return out
}

// SignalNames are the names of the signals of a policy, in order.
func (p *Policy) SignalNames() []string {
	var out []string
	for i := range p.Demand.Signals {
		out = append(out, p.Demand.Signals[i].Name)
	}
	return slices.Clip(out)
}

// checkServer looks at an address with a path. Messages do not repeat the URL: it
// might hold a password.
func (d *decoder) checkServer(t *text, secrets, plainToo bool) {
	if !t.ok {
		return
	}
	t.ok = false
	u, ok := webAddress(t.v)
	switch {
	case !ok:
		d.fail(CodeURL, t.at, "for example http://127.0.0.1:9090", "%s must be a http:// or https:// address", last(t.path))
	case u.User != nil:
		d.fail(CodeURL, t.at, "use username and password_file, or token_file", "%s must not hold a user or password", last(t.path))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(t.v, "#"):
		d.fail(CodeURL, t.at, "the PromQL belongs into query", "%s must not hold a query or fragment", last(t.path))
	case secrets && u.Scheme == "http" && !loopback(u.Hostname()) && !plainToo:
		d.fail(CodeURL, t.at, "use https://, or allow_plain_http", "%s would send your token or password readable to all", last(t.path))
	default:
		if secrets && u.Scheme == "http" && !loopback(u.Hostname()) {
			d.warn(CodePlain, t.at, "use https:// where you can", "%s is plain http://: everybody on the way can read the token or password, and forge every value", last(t.path))
		}
		t.v, t.ok = strings.TrimRight(t.v, "/"), true
	}
}

func (d *decoder) checkWebhook(w *fileWebhook) {
	d.checkPath(&w.SecretFile)
	if w.Listen.ok {
		d.listenHost(&w.Listen, "for example 127.0.0.1:9878")
	}
	if w.Listen.set != w.SecretFile.set {
		d.fail(CodeDemand, written(w.Listen.at, w.SecretFile.at), "add the other", "webhook needs listen and secret_file")
	}
}
