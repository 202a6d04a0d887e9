package notify

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

var night = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// received is one request that a fake receiver has got.
type received struct {
	path, query string
	header      http.Header
	body        []byte
}

// receiver answers every request with the next of its answers, and the last one for ever.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	got     []received
	answers []int
	text    string
	after   string
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	t.Helper()
	r := &receiver{answers: answers, text: "ok"}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, received{q.URL.Path, q.URL.RawQuery, q.Header, body})
		code := 200
		if len(r.answers) > 0 {
			code = r.answers[0]
			if len(r.answers) > 1 {
				r.answers = r.answers[1:]
			}
		}
		if r.after != "" {
			w.Header().Set("Retry-After", r.after)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, r.text)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func sinkOf(kind policy.SinkType, address string) SinkConfig {
	return SinkConfig{
		Sink:    policy.Sink{Name: string(kind), Type: kind, MinSeverity: policy.Info, Timeout: 10 * time.Second},
		Address: secret.New(address),
	}
}

func post(t *testing.T, clk clock.Clock, sinks ...SinkConfig) *Post {
	t.Helper()
	p, err := NewPost(PostOptions{Sinks: sinks, Clock: clk, Jitter: func() float64 { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sent sends a message to one sink and returns what arrived.
func sent(t *testing.T, r *receiver, c SinkConfig, m Message) received {
	t.Helper()
	out := post(t, clock.System{}, c).Send(context.Background(), m)
	if len(out) != 1 || out[0].Err != nil || len(r.all()) != 1 {
		t.Fatalf("%+v, %d requests", out, len(r.all()))
	}
	return r.all()[0]
}

// hostile is a message in which every markup finds something to obey.
func hostile() Message {
	m := Sample(policy.NotifyTargetMissed, "main", policy.DryRun, night)
	m.Title = "host <!channel> <b>*x*</b> @everyone\r\nBcc: evil@example.com"
	m.Body = "why: `rm` [link](https://evil.example) <a href=x> & ||spoiler|| \x1b[31m\nsecond"
	return m
}

func fields(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

func TestSlackGetsTextThatCallsNobody(t *testing.T) {
	r := newReceiver(t)
	got := sent(t, r, sinkOf(policy.SinkSlack, r.URL+"/services/T0/B0/tokentoken"), hostile())
	if got.path != "/services/T0/B0/tokentoken" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s, %v", got.path, got.header)
	}
	var m slackMessage
	if err := json.Unmarshal(got.body, &m); err != nil {
		t.Fatal(err)
	}
	all := m.Text + m.Attachments[0].Text
	if strings.ContainsAny(all, "<>\x1b") || m.Markdown || !strings.HasPrefix(m.Text, "[dry-run] host &lt;!channel&gt;") || strings.Contains(m.Text, "\n") {
		t.Errorf("%+v", m)
	}
	if m.Attachments[0].Color != "#f9a825" || len(m.Attachments[0].Markdown) != 0 {
		t.Errorf("%+v", m.Attachments)
	}
}

func TestDiscordGetsTextThatCallsNobody(t *testing.T) {
	r := newReceiver(t, http.StatusNoContent)
	got := sent(t, r, sinkOf(policy.SinkDiscord, r.URL+"/api/webhooks/1/tokentoken"), hostile())
	var m discordMessage
	if err := json.Unmarshal(got.body, &m); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got.body), `"allowed_mentions":{"parse":[]}`) {
		t.Errorf("mentions are allowed: %s", got.body)
	}
	if e := m.Embeds[0]; !strings.Contains(e.Title, `\@everyone`) || !strings.Contains(e.Text, "\\`rm\\`") || !strings.Contains(e.Text, `\|\|spoiler\|\|`) || e.Color != 0xf9a825 {
		t.Errorf("%+v", e)
	}
}

func TestTelegramGetsEscapedHTMLAndItsChat(t *testing.T) {
	r := newReceiver(t)
	got := sent(t, r, sinkOf(policy.SinkTelegram, r.URL+"/bot42:tokentoken/sendMessage?chat_id=-1001"), hostile())
	m := fields(t, got.body)
	if got.path != "/bot42:tokentoken/sendMessage" || got.query != "" || m["chat_id"] != "-1001" || m["parse_mode"] != "HTML" {
		t.Errorf("%+v %v", got, m)
	}
	if text := m["text"].(string); !strings.HasPrefix(text, "<b>[dry-run] host &lt;!channel&gt; &lt;b&gt;") || strings.Contains(text, "<a ") {
		t.Error(text)
	}
}

func TestNtfyGetsATitleOfOneLineAndAPriority(t *testing.T) {
	r := newReceiver(t)
	m := hostile()
	m.Severity, m.Body = policy.Critical, strings.Repeat("é", 5000)
	got := sent(t, r, sinkOf(policy.SinkNtfy, r.URL+"/my-topic"), m)
	if got.path != "/my-topic" || got.header.Get("Priority") != "5" || got.header.Get("Bcc") != "" || len(got.body) > ntfyBytes {
		t.Errorf("%s %v, %d bytes", got.path, got.header, len(got.body))
	}
	if title, err := new(mime.WordDecoder).DecodeHeader(got.header.Get("Title")); err != nil || !strings.Contains(title, "host <!channel>") {
		t.Errorf("%q %v", title, err)
	}
}

func TestAWebhookIsSignedOverTimestampAndBody(t *testing.T) {
	r := newReceiver(t)
	c := sinkOf(policy.SinkWebhook, r.URL+"/hook")
	c.Key = secret.New("0123456789abcdef")
	m := Sample(policy.NotifyTargetMissed, "main", policy.Live, night)
	got := sent(t, r, c, m)
	stamp := got.header.Get(secret.HeaderTimestamp)
	sum, err := hex.DecodeString(strings.TrimPrefix(got.header.Get(secret.HeaderSignature), "sha256="))
	if err != nil || !hmac.Equal(sum, secret.New("0123456789abcdef").Sign(stamp, got.body)) {
		t.Errorf("the signature does not fit: %v", got.header)
	}
	body := fields(t, got.body)
	if got.header.Get("X-Tdscaler-Event") != "target_missed" || body["id"] != got.header.Get("X-Tdscaler-Delivery") || body["mode"] != "live" {
		t.Errorf("%v %v", got.header, body)
	}
	item := body["items"].([]any)[0].(map[string]any)
	if item["command"] != "tdscaler explain train" || !strings.HasSuffix(item["runbook"].(string), "/docs/runbooks/TdscalerTargetMissed.md") {
		t.Errorf("%v", item)
	}
}

// TestACloudEventHasTheFormOfTheSpecification holds the attributes against CloudEvents
// 1.0: those that must be there, not empty, and named in lower case.
func TestACloudEventHasTheFormOfTheSpecification(t *testing.T) {
	r := newReceiver(t, http.StatusAccepted)
	c := sinkOf(policy.SinkCloudEvents, r.URL+"/")
	c.Key = secret.New("0123456789abcdef")
	got := sent(t, r, c, Sample(policy.NotifyTargetMissed, "main", policy.Live, night))
	e := fields(t, got.body)
	for _, must := range []string{"specversion", "id", "source", "type"} {
		if s, _ := e[must].(string); s == "" {
			t.Errorf("%s is missing", must)
		}
	}
	for name := range e {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q is no name of an attribute", name)
		}
	}
	if _, err := time.Parse(time.RFC3339, e["time"].(string)); err != nil {
		t.Error(err)
	}
	if e["specversion"] != "1.0" || e["type"] != "com.github.tdscaler.target_missed.firing" || e["subject"] != "train" || e["datacontenttype"] != "application/json" ||
		got.header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" || got.header.Get(secret.HeaderSignature) == "" {
		t.Errorf("%v %v", e, got.header)
	}
	if data := e["data"].(map[string]any); data["event"] != "target_missed" {
		t.Errorf("%v", data)
	}
}

// mailServer is a fake SMTP server without TLS: it takes one mail per connection.
type mailServer struct {
	net.Listener
	mu       sync.Mutex
	commands []string
	letter   string
	refuse   string      // what RCPT is answered with
	start    *tls.Config // of STARTTLS; nil offers none
}

func newMailServer(t *testing.T) *mailServer { return newMailServerWith(t, nil, nil) }

// newMailServerWith speaks TLS from the beginning, or offers to begin it.
func newMailServerWith(t *testing.T, whole, start *tls.Config) *mailServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if whole != nil {
		ln = tls.NewListener(ln, whole)
	}
	s := &mailServer{Listener: ln, start: start}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	say := func(text string) { fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 test")
	in := bufio.NewReader(conn)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return
		}
		text = strings.TrimSpace(text)
		s.mu.Lock()
		s.commands = append(s.commands, text)
		refuse := s.refuse
		s.mu.Unlock()
		switch word, _, _ := strings.Cut(text, " "); strings.ToUpper(word) {
		case "EHLO":
			say("250-test")
			if s.start != nil {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, s.start)
			in = bufio.NewReader(conn)
		case "AUTH":
			say("235 welcome")
		case "RCPT":
			if refuse != "" {
				say(refuse)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				b.WriteString(l)
			}
			s.mu.Lock()
			s.letter = b.String()
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func TestAMailHasOneSubjectAndBothKindsOfText(t *testing.T) {
	s := newMailServer(t)
	m := hostile()
	m.HTML = "<p>hello &amp; good night</p>"
	c := sinkOf(policy.SinkEmail, "smtp://me:hunter2hunter2@"+s.Addr().String()+"?from=td@example.com&to=a@example.com,b@example.com")
	if out := post(t, clock.System{}, c).Send(context.Background(), m); out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	login := base64.StdEncoding.EncodeToString([]byte("\x00me\x00hunter2hunter2"))
	for _, want := range []string{"AUTH PLAIN " + login, "MAIL FROM:<td@example.com>", "RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"} {
		if !strings.Contains(strings.Join(s.commands, "\n"), want) {
			t.Errorf("%q is missing in %q", want, s.commands)
		}
	}
	letter, err := mail.ReadMessage(strings.NewReader(s.letter))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(letter.Header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "[dry-run] host <!channel>") || letter.Header.Get("Bcc") != "" {
		t.Errorf("%q %v %v", subject, err, letter.Header)
	}
	if kind := letter.Header.Get("Content-Type"); !strings.HasPrefix(kind, "multipart/alternative") || !strings.Contains(s.letter, "good night") || !strings.Contains(s.letter, "text/plain") {
		t.Errorf("%s\n%s", kind, s.letter)
	}
}

func TestAMailGoesOverTLSFromTheBeginningOrFromSTARTTLSOn(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	own := &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	for scheme, s := range map[string]*mailServer{"smtps": newMailServerWith(t, own, nil), "smtp": newMailServerWith(t, nil, own)} {
		for _, trust := range []*tls.Config{{RootCAs: trusted}, nil} {
			c := sinkOf(policy.SinkEmail, scheme+"://me:hunter2hunter2@"+s.Addr().String()+"?from=td@example.com&to=a@example.com")
			p, err := NewPost(PostOptions{Sinks: []SinkConfig{c}, Clock: clock.NewVirtual(night), Trust: trust})
			if err != nil {
				t.Fatal(err)
			}
			before := len(s.said("AUTH"))
			out := p.Send(context.Background(), hostile())
			if trust == nil { // the certificate is nobody's that is known
				if out[0].Err == nil || len(s.said("AUTH")) != before {
					t.Errorf("%s: a stranger got the mail: %+v, %q", scheme, out, s.said(""))
				}
				continue
			}
			if out[0].Err != nil || len(s.said("AUTH")) != 1 || scheme == "smtp" && len(s.said("STARTTLS")) != 1 {
				t.Errorf("%s: %+v, %q", scheme, out, s.said(""))
			}
		}
	}
}

// said are the commands with this beginning.
func (s *mailServer) said(word string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if strings.HasPrefix(c, word) {
			out = append(out, c)
		}
	}
	return out
}

func TestAMailThatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	for _, c := range []struct {
		answer string
		tries  int
	}{{"550 no such user", 1}, {"451 later", mostTries}} {
		s := newMailServer(t)
		s.refuse = c.answer
		to := sinkOf(policy.SinkEmail, "smtp://"+s.Addr().String()+"?from=td@example.com&to=a@example.com")
		out := post(t, clock.NewVirtual(night), to).Send(context.Background(), hostile())
		if out[0].Err == nil || out[0].Tries != c.tries || !strings.Contains(out[0].Err.Error(), c.answer[4:]) {
			t.Errorf("%s: %+v", c.answer, out)
		}
	}
}

func TestNoPasswordIsSentThatOthersCanRead(t *testing.T) {
	s := newMailServer(t)
	c := sinkOf(policy.SinkEmail, "smtp://me:hunter2hunter2@mail.example?from=td@example.com&to=a@example.com")
	one, err := newSink(c, clock.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e, err := envelopeOf(one.to)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.converse(conn, &e, []byte("x")); !errors.Is(err, errInTheClear) {
		t.Errorf("%v", err)
	}
	if strings.Contains(strings.Join(s.commands, "\n"), "AUTH") {
		t.Errorf("%q", s.commands)
	}
}

func TestAMessageIsTriedAgainWhereThatMayHelp(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int
		after   string
		tries   int
		fails   bool
		took    time.Duration
	}{
		{"at once", []int{200}, "", 1, false, 0},
		{"after two failures", []int{500, 503, 200}, "", 3, false, 3 * time.Second},
		{"never", []int{500}, "", mostTries, true, 7 * time.Second},
		{"refused for good", []int{404}, "", 1, true, 0},
		{"not too soon", []int{429, 200}, "12", 2, false, 12 * time.Second},
		{"not too late either", []int{429, 200}, "86400", 2, false, longestPause},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t, c.answers...)
			r.after = c.after
			out := post(t, clock.NewVirtual(night), sinkOf(policy.SinkSlack, r.URL+"/services/x")).Send(context.Background(), hostile())
			if o := out[0]; o.Tries != c.tries || (o.Err != nil) != c.fails || o.Took != c.took || len(r.all()) != c.tries {
				t.Errorf("%+v, %d requests", o, len(r.all()))
			}
			ids := map[string]bool{}
			for _, g := range r.all() {
				ids[string(g.body)] = true
			}
			if len(ids) != 1 {
				t.Errorf("%d different messages", len(ids))
			}
		})
	}
}

func TestNothingThatFailsTellsASecret(t *testing.T) {
	const token, key = "T0SECRETT0KEN", "0123456789abcdef"
	for kind, address := range map[policy.SinkType]string{
		policy.SinkSlack:       "/services/T/B/" + token,
		policy.SinkDiscord:     "/api/webhooks/1/" + token,
		policy.SinkTelegram:    "/bot4:" + token + "/sendMessage?chat_id=100200300",
		policy.SinkNtfy:        "/" + token,
		policy.SinkWebhook:     "/?token=" + token,
		policy.SinkCloudEvents: "/?token=" + token,
	} {
		r := newReceiver(t, 400)
		r.text = "you sent " + address + " signed with " + key
		c := sinkOf(kind, r.URL+address)
		c.Key = secret.New(key)
		closed := newReceiver(t)
		closed.Close()
		dead := sinkOf(kind, closed.URL+address)
		for _, one := range []SinkConfig{c, dead} {
			out := post(t, clock.NewVirtual(night), one).Send(context.Background(), hostile())
			if out[0].Err == nil {
				t.Fatalf("%s: it was delivered", kind)
			}
			text := fmt.Sprintf("%v %+v %#v", out[0].Err, out, one)
			if strings.Contains(text, token) || strings.Contains(text, key) {
				t.Errorf("%s: %s", kind, text)
			}
		}
	}
	_, err := NewPost(PostOptions{Sinks: []SinkConfig{sinkOf(policy.SinkEmail, "smtp://me:"+token+"@")}, Clock: clock.System{}})
	if err == nil || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	other := newReceiver(t)
	r := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer r.Close()
	out := post(t, clock.NewVirtual(night), sinkOf(policy.SinkWebhook, r.URL)).Send(context.Background(), hostile())
	if out[0].Err == nil || len(other.all()) != 0 {
		t.Errorf("%+v, %d requests elsewhere", out, len(other.all()))
	}
}

func TestASinkThatHangsIsGivenUpAtItsTimeout(t *testing.T) {
	hang := make(chan struct{})
	r := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer r.Close()
	defer close(hang)
	c := sinkOf(policy.SinkWebhook, r.URL)
	c.Timeout = 20 * time.Millisecond
	one, err := newSink(c, clock.System{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := hostile()
	var f *Failure
	if err := one.deliver(context.Background(), &m); !errors.As(err, &f) || !f.Retry || !strings.Contains(f.Text, "took too long") {
		t.Errorf("%v", err)
	}
}

func TestAnAddressThatCannotBeIsNotRepeated(t *testing.T) {
	for _, c := range []struct {
		kind    policy.SinkType
		address string
		ok      bool
	}{
		{policy.SinkSlack, "https://hooks.slack.com/services/T/B/secretsecret", true},
		{policy.SinkSlack, "http://hooks.slack.com/services/T/B/secretsecret", false},
		{policy.SinkSlack, "secretsecret", false},
		{policy.SinkSlack, "ht tp://secretsecret", false},
		{policy.SinkTelegram, "https://api.telegram.org/botsecretsecret", false},
		{policy.SinkTelegram, "https://api.telegram.org/botsecretsecret/sendMessage?chat_id=1", true},
		{policy.SinkNtfy, "https://ntfy.sh/", false},
		{policy.SinkEmail, "smtps://u:secretsecret@mail.example?from=a@b.c&to=d@e.f", true},
		{policy.SinkEmail, "smtps://u:secretsecret@mail.example?from=a@b.c", false},
		{policy.SinkEmail, "smtps://u:secretsecret@mail.example?from=a@b.c&to=d@e.f&cc=x", false},
		{policy.SinkEmail, "https://secretsecret", false},
		{policy.SinkWebhook, "http://10.0.0.1/secretsecret", true},
		{policy.SinkWebhook, "gopher://secretsecret", false},
	} {
		err := CheckAddress(c.kind, secret.New(c.address))
		if (err == nil) != c.ok || err != nil && strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s %s: %v", c.kind, c.address, err)
		}
	}
}

func TestTemplatesAreTriedBeforeTheyAreNeeded(t *testing.T) {
	for text, ok := range map[string]bool{
		"{{.Title}}": true, "{{range .Items}}{{.Policy}} {{.Reason}}{{range .Figures}} {{.Name}}={{.Value}}{{end}}{{end}}": true,
		"{{.Titel}}": false, "{{.Title": false, "{{(index .Items 0).Title}}": false, // a report has no items
		"{{range .Items}}{{.Nope}}{{end}}": false, "{{printf \"%70000d\" 1}}": false,
	} {
		for _, s := range []policy.Sink{{Title: text}, {Body: text}} {
			var bad *TemplateError
			if err := CheckTemplates(&s); (err == nil) != ok || err != nil && !errors.As(err, &bad) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	r := newReceiver(t)
	c := sinkOf(policy.SinkWebhook, r.URL)
	c.Title, c.Body = "{{.Event}} of {{.Owner}}", "{{range .Items}}{{.Command}}{{end}}"
	m := fields(t, sent(t, r, c, Sample(policy.NotifyTargetMissed, "main", policy.Live, night)).body)
	if m["title"] != "target_missed of main" || m["text"] != "tdscaler explain train" {
		t.Errorf("%v", m)
	}
}

func TestASinkTakesWhatItsFilterSays(t *testing.T) {
	for _, c := range []struct {
		sink     policy.Sink
		event    policy.NotifyEvent
		severity policy.NotifySeverity
		policy   string
		want     bool
	}{
		{policy.Sink{MinSeverity: policy.Info}, policy.NotifyTargetMissed, policy.Warning, "train", true},
		{policy.Sink{MinSeverity: policy.Critical}, policy.NotifyTargetMissed, policy.Warning, "train", false},
		{policy.Sink{MinSeverity: policy.Warning}, policy.NotifyReport, policy.Info, "", false},
		{policy.Sink{MinSeverity: policy.Critical, Events: []policy.NotifyEvent{policy.NotifyReport}}, policy.NotifyReport, policy.Info, "", true},
		{policy.Sink{MinSeverity: policy.Info, Events: []policy.NotifyEvent{policy.NotifyReport}}, policy.NotifyTargetMissed, policy.Warning, "train", false},
		{policy.Sink{MinSeverity: policy.Info, Policies: []string{"web"}}, policy.NotifyTargetMissed, policy.Warning, "train", false},
		{policy.Sink{MinSeverity: policy.Info, Policies: []string{"web"}}, policy.NotifyLedger, policy.Critical, "", true},
		{policy.Sink{MinSeverity: policy.Critical, Events: []policy.NotifyEvent{policy.NotifyBill}}, policy.NotifyTest, policy.Info, "", true},
	} {
		if got := c.sink.Takes(c.event, c.severity, c.policy); got != c.want {
			t.Errorf("%+v %s %s %q: %v", c.sink, c.event, c.severity, c.policy, got)
		}
	}
}
