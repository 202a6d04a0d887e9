package notify

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strings"

	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// CheckAddress says what is wrong with the address of a sink, without repeating it. All
// addresses are URLs:
//
//	slack        https://hooks.slack.com/services/T.../B.../...
//	discord      https://discord.com/api/webhooks/ID/TOKEN
//	telegram     https://api.telegram.org/botTOKEN/sendMessage?chat_id=ID
//	ntfy         https://ntfy.sh/TOPIC, with USER:PASSWORD@ where it wants them
//	email        smtps://USER:PASSWORD@HOST?from=ADDRESS&to=ADDRESS,ADDRESS
//	webhook      any
//	cloudevents  any
func CheckAddress(t policy.SinkType, address secret.String) error {
	_, err := parseAddress(t, address)
	return err
}

func parseAddress(t policy.SinkType, address secret.String) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(address.Reveal()))
	if err != nil || u.Hostname() == "" || u.Fragment != "" {
		return nil, errors.New("it holds no address") // the error would repeat it
	}
	if t == policy.SinkEmail {
		return u, checkMail(u)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the address must begin with https:// or http://")
	case u.Scheme == "http" && t.Secret() && !loopback(u.Hostname()):
		return nil, errors.New("the address must begin with https://: it is a secret, and http:// shows it to everybody on the way")
	case t == policy.SinkTelegram && (!strings.HasSuffix(u.Path, "/sendMessage") || u.Query().Get("chat_id") == ""):
		return nil, errors.New("the address must be like https://api.telegram.org/botTOKEN/sendMessage?chat_id=ID")
	case t == policy.SinkNtfy && strings.Trim(u.Path, "/") == "":
		return nil, errors.New("the address must name a topic: https://ntfy.sh/TOPIC")
	}
	return u, nil
}

func checkMail(u *url.URL) error {
	if u.Scheme != "smtp" && u.Scheme != "smtps" {
		return errors.New("the address must begin with smtp:// or smtps://")
	}
	_, err := envelopeOf(u)
	return err
}

// envelope is from whom a mail is, and for whom.
type envelope struct {
	from *mail.Address
	to   []*mail.Address
}

func envelopeOf(u *url.URL) (e envelope, err error) {
	q := u.Query()
	for k := range q {
		if k != "from" && k != "to" {
			return e, fmt.Errorf("the address has from and to after the ?, not %q", line(k))
		}
	}
	if e.from, err = mail.ParseAddress(q.Get("from")); err != nil {
		return e, errors.New("the address must end with ?from=ADDRESS&to=ADDRESS: from is none")
	}
	if e.to, err = mail.ParseAddressList(q.Get("to")); err != nil {
		return e, errors.New("the address must end with ?from=ADDRESS&to=ADDRESS: to is none")
	}
	return e, nil
}

func loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}
