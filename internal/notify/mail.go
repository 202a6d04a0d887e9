package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// mail hands the message to the mail server. A password is never sent over a connection
// that others can read.
func (s *sink) mail(ctx context.Context, m *Message) *Failure {
	e, err := envelopeOf(s.to)
	if err != nil {
		return &Failure{Text: err.Error()}
	}
	letter, err := write(&e, m, s.clock.Now())
	if err != nil {
		return &Failure{Text: "write the mail: " + err.Error()}
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return failed(ctx, "reach the mail server", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // net/smtp knows no context
	defer stop()
	defer func() { _ = conn.Close() }() // closed by Quit already, if all went well
	if err := s.converse(conn, &e, letter); err != nil {
		return refusedMail(ctx, err)
	}
	return nil
}

// refusedMail tells what the server will say again from what may pass.
func refusedMail(ctx context.Context, err error) *Failure {
	f := failed(ctx, "send the mail", err)
	var said *textproto.Error
	if errors.As(err, &said) {
		f.Retry = said.Code < 500
	} else if errors.Is(err, errInTheClear) {
		f.Retry = false
	}
	return f
}

var errInTheClear = errors.New("the server offers no TLS, and the password is not sent without")

func (s *sink) dial(ctx context.Context) (net.Conn, error) {
	port := map[string]string{"smtps": "465", "smtp": "587"}[s.to.Scheme]
	addr := net.JoinHostPort(s.to.Hostname(), cmp.Or(s.to.Port(), port))
	if s.to.Scheme == "smtps" {
		d := tls.Dialer{Config: s.trust()}
		return d.DialContext(ctx, "tcp", addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (s *sink) trust() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.tls != nil {
		c = s.tls.Clone()
	}
	c.ServerName = s.to.Hostname()
	return c
}

func (s *sink) converse(conn net.Conn, e *envelope, letter []byte) error {
	c, err := smtp.NewClient(conn, s.to.Hostname())
	if err != nil {
		return err
	}
	if err := s.login(c); err != nil {
		return err
	}
	if err := c.Mail(e.from.Address); err != nil {
		return err
	}
	for _, to := range e.to {
		if err := c.Rcpt(to.Address); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(letter); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the server has taken the mail
	return nil
}

// login goes over to TLS where the server can, and logs in where the address names a user.
func (s *sink) login(c *smtp.Client) error {
	private := s.to.Scheme == "smtps" || loopback(s.to.Hostname())
	if can, _ := c.Extension("STARTTLS"); can && s.to.Scheme == "smtp" {
		if err := c.StartTLS(s.trust()); err != nil {
			return err
		}
		private = true
	}
	password, given := s.to.User.Password()
	if !given {
		return nil
	}
	if !private {
		return errInTheClear
	}
	return c.Auth(smtp.PlainAuth("", s.to.User.Username(), password, s.to.Hostname()))
}

// write makes the mail: plain text, and HTML for those who prefer it.
func write(e *envelope, m *Message, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	var to []string
	for _, a := range e.to {
		to = append(to, a.String())
	}
	_, domain, _ := strings.Cut(e.from.Address, "@")
	for _, h := range [][2]string{
		{"From", e.from.String()},
		{"To", strings.Join(to, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", cut(m.headline(), discordTitle))},
		{"Date", now.Format(time.RFC1123Z)},
		{"Message-Id", "<" + m.ID + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, // nobody's holiday answers it
		{"Mime-Version", "1.0"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if m.HTML == "" {
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
		err := quoted(&b, lines(m.Body))
		return b.Bytes(), err
	}
	w := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=%s\r\n\r\n", w.Boundary())
	err := errors.Join(part(w, "text/plain", lines(m.Body)), part(w, "text/html", m.HTML), w.Close())
	return b.Bytes(), err
}

func part(w *multipart.Writer, kind, text string) error {
	p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return err
	}
	return quoted(p, text)
}

func quoted(to io.Writer, text string) error {
	w := quotedprintable.NewWriter(to)
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}
