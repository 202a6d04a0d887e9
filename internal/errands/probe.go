package errands

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// probe finds out whether a machine delivers.
func probe(ctx context.Context, j *Job, f *plan.Finding) {
	if j.Problem != "" {
		f.Text = j.Problem
		return
	}
	var err error
	switch {
	case j.Ready.HTTP.Port != 0:
		err = probeHTTP(ctx, j)
	case j.Ready.SSH.Port != 0:
		f.HostKey, err = probeSSH(ctx, j)
	default:
		err = probeTCP(ctx, j)
	}
	if f.OK = err == nil; !f.OK {
		f.Text = err.Error()
	}
}

func probeTCP(ctx context.Context, j *Job) error {
	conn, err := j.dial(ctx, "tcp", j.Address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func probeHTTP(ctx context.Context, j *Job) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+j.Address+j.Ready.HTTP.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", agent)
	resp, err := client(j.dial).Do(req)
	if err != nil {
		return late(ctx, bare(err))
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != j.Ready.HTTP.Status {
		return fmt.Errorf("answers %d, not %d", resp.StatusCode, j.Ready.HTTP.Status)
	}
	return nil
}

// agent is what we call ourselves.
const agent = "tdscaler"

// ErrHostKey is wrapped where a machine shows another key than when it was first met.
var ErrHostKey = errors.New("the machine shows another SSH host key than when it was first met")

// probeSSH runs the command. The key that the machine shows is believed the first time
// (it is returned once the machine has taken ours), and held it to from then on.
func probeSSH(ctx context.Context, j *Job) (hostKey string, err error) {
	signer, err := ssh.ParsePrivateKey([]byte(j.Key.Reveal()))
	if err != nil {
		return "", errors.New("ssh.key_file holds no private key that can be used")
	}
	conn, err := j.dial(ctx, "tcp", j.Address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // the client may have closed it
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	user := j.Ready.SSH.User
	if user == "" {
		user = j.User
	}
	if user == "" {
		user = "user"
	}
	shown := ""
	c, chans, reqs, err := ssh.NewClientConn(conn, j.Address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			shown = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
			if j.HostKey != "" && shown != j.HostKey {
				return ErrHostKey
			}
			return nil
		},
		HostKeyAlgorithms: algorithmsFor(j.HostKey),
	})
	if err != nil {
		return "", late(ctx, err)
	}
	cl := ssh.NewClient(c, chans, reqs)
	defer func() { _ = cl.Close() }()
	session, err := cl.NewSession()
	if err != nil {
		return shown, late(ctx, err)
	}
	session.Stdout, session.Stderr = &tail{}, &tail{}
	said := session.Stderr.(*tail)
	if err := session.Run(j.Ready.SSH.Command); err != nil {
		return shown, fmt.Errorf("%q: %w%s", j.Ready.SSH.Command, late(ctx, err), said.text())
	}
	return shown, nil
}

// algorithmsFor asks for the kind of key that the machine was first met with: a server
// has several, and shows the one that is asked for.
func algorithmsFor(hostKey string) []string {
	kind, _, _ := strings.Cut(hostKey, " ")
	switch kind {
	case "":
		return nil
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{kind}
}

// CheckKey says why a private key cannot be used for probes.
func CheckKey(pem string) error {
	if _, err := ssh.ParsePrivateKey([]byte(pem)); err != nil {
		var locked *ssh.PassphraseMissingError
		if errors.As(err, &locked) {
			return errors.New("the private key has a passphrase")
		}
		return errors.New("no private key that can be used")
	}
	return nil
}

// late says that time was up where that is why something failed.
func late(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("took too long")
	}
	return err
}

// dial reaches a machine.
func (j *Job) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !j.Locals && inside(ap.Addr().Unmap()) {
			return fmt.Errorf("%s is no address of a rented machine", ap.Addr())
		}
		return nil
	}}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, late(ctx, bare(err))
	}
	return conn, nil
}

// inside are the addresses of this computer, of its network and of its provider's
// services: the market must not send us there.
func inside(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10")
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || shared.Contains(a)
}

// tail keeps the last of what is written.
type tail struct{ b []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - longestAnswer; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

// text is the last line, for a reason.
func (t *tail) text() string {
	lines := strings.Split(strings.TrimSpace(string(t.b)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return ": " + last
	}
	return ""
}

// short makes a text fit for a log: machines and programs write what they like.
func short(s string) string {
	out := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " ")))
	if len(out) > longestText {
		out = append(out[:longestText], '…')
	}
	return string(out)
}
