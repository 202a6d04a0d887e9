package policy

import (
	"fmt"
	"net/url"
	"time"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// Ready is how a machine proves that it is of use: one of TCP, HTTP and SSH; the zero
// value asks for no proof.
type Ready struct {
	TCP  int       `json:"tcp,omitempty"` // port inside the machine
	HTTP HTTPProbe `json:"http,omitzero"`
	SSH  SSHProbe  `json:"ssh,omitzero"`
	// Deadline is how long a machine may run without having passed.
	Deadline time.Duration `json:"deadline,omitempty"`
	Interval time.Duration `json:"interval,omitempty"` // between two probes of one machine, at least
	Timeout  time.Duration `json:"timeout,omitempty"`  // of one probe
}

// HTTPProbe passes when a GET is answered with Status.
type HTTPProbe struct {
	Port   int    `json:"port,omitempty"`
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
}

// SSHProbe passes when the command ends with status 0.
type SSHProbe struct {
	Command string `json:"command,omitempty"`
	User    string `json:"user,omitempty"` // "" is the user that the market names
	Port    int    `json:"port,omitempty"`
	KeyFile string `json:"-"` // of a private key
}

// Port is the port inside the machine that is asked; 0 where no proof is wanted.
func (r *Ready) Port() int {
	switch {
	case r.HTTP.Port != 0:
		return r.HTTP.Port
	case r.SSH.Port != 0:
		return r.SSH.Port
	}
	return r.TCP
}

// Wanted says whether a machine has to pass a probe.
func (r *Ready) Wanted() bool { return r.Port() != 0 }

// HookKind is how somebody is called.
type HookKind string

// Kinds of hook; "" is none.
const (
	HookWeb     HookKind = "webhook"
	HookCommand HookKind = "command"
)

// Hook is whom to call. Where it leads is nobody's business but whoever calls: an
// address may hold a password.
type Hook struct {
	Kind       HookKind      `json:"kind,omitempty"`
	URL        string        `json:"-"`
	SecretFile string        `json:"-"` // what a webhook is signed with; "" is not signed
	Command    []string      `json:"-"` // program and arguments; no shell
	Timeout    time.Duration `json:"timeout,omitempty"`
}

// Drain is how a running machine is given up that need not go at once; the zero value
// deletes it straight away.
type Drain struct {
	Hook Hook `json:"hook,omitzero"`
	// Grace is how long it stays once the hook has said yes, or without a hook, once it
	// is to go.
	Grace time.Duration `json:"grace,omitempty"`
	// Deadline is after how long it goes whatever the hook says. Invariant: > 0 where
	// there is a drain, and not below Grace.
	Deadline time.Duration `json:"deadline,omitempty"`
}

// Wanted says whether there is a drain.
func (d *Drain) Wanted() bool { return d.Deadline > 0 }

type fileReady struct {
	at
	TCP      integer       `yaml:"tcp" jsonschema:"minimum=1,maximum=65535" jsonschema_description:"A port inside the machine that must take a TCP connection."`
	HTTP     fileHTTPProbe `yaml:"http" jsonschema_description:"A GET that must be answered as expected; redirects are not followed."`
	SSH      fileSSHProbe  `yaml:"ssh" jsonschema_description:"A command that must end with status 0."`
	Deadline duration      `yaml:"deadline" jsonschema:"default=15m" min:"1m" jsonschema_description:"A machine that has run for so long without passing is deleted, and its host left alone."`
	Interval duration      `yaml:"interval" jsonschema:"default=15s" min:"1s" jsonschema_description:"The least time between two probes of a machine. There is at most one per cycle."`
	Timeout  duration      `yaml:"timeout" jsonschema:"default=10s" min:"100ms" jsonschema_description:"How long one probe may take."`
}

type fileHTTPProbe struct {
	at
	Port   integer `yaml:"port" jsonschema:"required,minimum=1,maximum=65535" jsonschema_description:"The port inside the machine."`
	Path   text    `yaml:"path" jsonschema:"default=/" jsonschema_description:"What is asked for, with its query."`
	Status integer `yaml:"status" jsonschema:"minimum=100,maximum=599,default=200" jsonschema_description:"The status that the answer must have."`
}

type fileSSHProbe struct {
	at
	Command text    `yaml:"command" jsonschema:"required" jsonschema_description:"What is run, such as nvidia-smi -L."`
	User    text    `yaml:"user" jsonschema_description:"Who runs it. Default: the user that the marketplace names, or user."`
	KeyFile text    `yaml:"key_file" jsonschema:"required" jsonschema_description:"Path of a file with the private key, without a passphrase, that belongs to ssh_key."`
	Port    integer `yaml:"port" jsonschema:"minimum=1,maximum=65535,default=22" jsonschema_description:"The port inside the machine."`
}

type fileHook struct {
	at
	Webhook fileHookURL `yaml:"webhook" jsonschema_description:"An address that the facts are posted to, as JSON."`
	Command words       `yaml:"command" jsonschema_description:"A program and its arguments; no shell. It gets the facts as JSON on its input, and runs as the daemon's user."`
	Timeout duration    `yaml:"timeout" jsonschema:"default=30s" min:"1s" jsonschema_description:"How long one call may take."`
}

type fileHookURL struct {
	at
	URL        text `yaml:"url" jsonschema:"required" jsonschema_description:"A https:// or http:// address. Redirects are not followed."`
	SecretFile text `yaml:"secret_file" jsonschema_description:"Path of a file with the secret that calls are signed with."`
}

type fileDrain struct {
	at
	Webhook  fileHookURL `yaml:"webhook" jsonschema_description:"An address that the facts are posted to, as JSON. Status 409 is a veto."`
	Command  words       `yaml:"command" jsonschema_description:"A program and its arguments; no shell. It gets the facts as JSON on its input. Exit status 75 is a veto."`
	Timeout  duration    `yaml:"timeout" jsonschema:"default=30s" min:"1s" jsonschema_description:"How long one call may take."`
	Grace    duration    `yaml:"grace" jsonschema:"default=5m" jsonschema_description:"How long the machine stays once the hook has said yes."`
	Deadline duration    `yaml:"deadline" jsonschema:"default=15m" min:"1s" jsonschema_description:"After how long it goes whatever the hook says."`
}

func (d *decoder) checkHooks(p *filePolicy) {
	d.checkReady(&p.Ready)
	d.checkHook(&p.OnReady.at, &p.OnReady.Webhook, &p.OnReady.Command, true)
	d.checkHook(&p.Drain.at, &p.Drain.Webhook, &p.Drain.Command, false)
	if g, end := &p.Drain.Grace, &p.Drain.Deadline; p.Drain.set && g.ok && end.ok && g.v > end.v {
		d.fail(CodeOrder, written(g.at, end.at), "", "grace (%s) is above deadline (%s)", g.v, end.v)
	}
}

// checkReady looks for exactly one probe.
func (d *decoder) checkReady(r *fileReady) {
	if !r.ok {
		return
	}
	d.checkPath(&r.SSH.KeyFile)
	if t := &r.HTTP.Path; t.ok && t.set {
		if u, err := url.Parse(t.v); err != nil || u.Host != "" || u.Scheme != "" || len(t.v) == 0 || t.v[0] != '/' || u.Fragment != "" {
			d.fail(CodeURL, t.at, "for example /healthz", "path must begin with / and hold no address")
		}
	}
	set := given(r.TCP.at, r.HTTP.at, r.SSH.at)
	switch {
	case len(set) == 0:
		d.fail(CodeHook, r.at, "for example ready: {tcp: 22}", "ready needs tcp, http or ssh")
	case len(set) > 1:
		d.fail(CodeEitherOr, set[1], "keep one of them", "%s and %s exclude each other", last(set[0].path), last(set[1].path))
	}
}

func (d *decoder) checkHook(where *at, w *fileHookURL, command *words, needed bool) {
	switch {
	case !where.ok:
	case w.set && command.set:
		d.fail(CodeEitherOr, command.at, "keep one of them", "webhook and command exclude each other")
	case needed && !w.set && !command.set:
		d.fail(CodeHook, *where, "for example command: [/usr/local/bin/join]", "%s needs a webhook or a command", last(where.path))
	case command.ok && len(command.items) == 0:
		d.fail(CodeHook, command.at, "for example [/usr/local/bin/join]", "the command is empty")
	}
	d.checkPath(&w.SecretFile)
	d.checkHookURL(&w.URL, "your machines' addresses")
}

// checkHookURL never repeats an address: it may hold a password.
func (d *decoder) checkHookURL(t *text, tells string) {
	if !t.ok {
		return
	}
	u, ok := webAddress(t.v)
	switch {
	case !ok:
		d.fail(CodeURL, t.at, "for example https://hooks.example.com/tdscaler", "url must be a https:// or http:// address")
	case u.Fragment != "":
		d.fail(CodeURL, t.at, "remove what follows #", "url must not hold a fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		d.warn(CodePlain, t.at, "use https:// where you can", "url is plain http://: everybody on the way can read %s", tells)
	}
}

func (r *fileReady) build() Ready {
	if !r.set {
		return Ready{}
	}
	out := Ready{TCP: r.TCP.v, Deadline: r.Deadline.v, Interval: r.Interval.v, Timeout: r.Timeout.v}
	if r.HTTP.set {
		out.HTTP = HTTPProbe{Port: r.HTTP.Port.v, Path: r.HTTP.Path.v, Status: r.HTTP.Status.v}
	}
	if r.SSH.set {
		out.SSH = SSHProbe{Command: r.SSH.Command.v, User: r.SSH.User.v, Port: r.SSH.Port.v, KeyFile: r.SSH.KeyFile.v}
	}
	return out
}

func buildHook(w *fileHookURL, command *words, timeout *duration) Hook {
	switch {
	case w.set:
		return Hook{Kind: HookWeb, URL: w.URL.v, SecretFile: w.SecretFile.v, Timeout: timeout.v}
	case command.set:
		return Hook{Kind: HookCommand, Command: command.values(), Timeout: timeout.v}
	}
	return Hook{}
}

func (f *fileDrain) build() Drain {
	if !f.set {
		return Drain{}
	}
	return Drain{Hook: buildHook(&f.Webhook, &f.Command, &f.Timeout), Grace: f.Grace.v, Deadline: f.Deadline.v}
}

// words are a program and its arguments, which may be repeated, and empty.
type words struct {
	at
	items []text
}

func (v *words) read(d *decoder, n *yaml.Node, _ rules) {
	if n.Kind != yaml.SequenceNode {
		d.fail(CodeType, v.at, listHint(n), "%s must be a list, not %s", last(v.path), kindOf(n))
		return
	}
	if !d.countable(n, v.at) {
		return
	}
	v.ok = true
	for i, item := range n.Content {
		t := text{at: at{line: item.Line, col: item.Column, path: fmt.Sprintf("%s[%d]", v.path, i), set: true}}
		if d.plain(item, t.at) {
			t.read(d, item, rules{emptyOK: i > 0})
		}
		v.ok = v.ok && t.ok
		v.items = append(v.items, t)
	}
}

func (v *words) values() (out []string) {
	for _, t := range v.items {
		out = append(out, t.v)
	}
	return out
}

// JSONSchema says how programs and their arguments are written.
func (words) JSONSchema() *jsonschema.Schema {
	least, most := uint64(1), uint64(maxEntries)
	return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: &least, MaxItems: &most}
}
