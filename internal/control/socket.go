package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tdscaler/tdscaler/internal/clock"
)

// maxPath is the longest path that the system takes for a socket: 108 bytes with
// the final zero.
const maxPath = 107

// place is one path where the socket of a ledger may be.
type place struct {
	path string
	// private: the directory is ours, mode 0700, and made when it is needed. The
	// others are where the ledger is.
	private bool
}

// places are where the socket of a ledger may be, the best first: beside the
// ledger, or where that path is too long, under a short name.
func places(ledger string) ([]place, error) {
	abs, err := filepath.Abs(ledger)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(dir, filepath.Base(abs)) // one ledger, one socket
	}
	if beside := abs + ".sock"; len(beside) <= maxPath {
		return []place{{path: beside}}, nil
	}
	sum := sha256.Sum256([]byte(abs))
	name := hex.EncodeToString(sum[:8]) + ".sock"
	mine := "tdscaler-" + strconv.Itoa(os.Getuid())
	var out []place
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		out = append(out, place{filepath.Join(dir, "tdscaler", name), true})
	}
	for _, dir := range []string{os.TempDir(), "/tmp"} {
		out = append(out, place{filepath.Join(dir, mine, name), true})
	}
	short := out[:0]
	for _, p := range out {
		if len(p.path) <= maxPath {
			short = append(short, p)
		}
	}
	return short, nil
}

// checkPrivate refuses a directory in which somebody else could stand in for the
// daemon.
func checkPrivate(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o077 != 0 || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s must be a directory of this user with mode 0700", dir)
	}
	return nil
}

// Listen opens the control socket of a ledger, mode 0600. The caller holds the
// ledger's lock, so a socket file that is there already was left by a daemon that
// was killed; it is replaced. Closing the listener removes the file.
func Listen(ledger string) (net.Listener, error) {
	all, err := places(ledger)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		ln, one := p.listen()
		if one == nil {
			return ln, nil
		}
		err = errors.Join(err, one)
	}
	if err == nil {
		err = errors.New("no place has a path that is short enough; set XDG_RUNTIME_DIR")
	}
	return nil, fmt.Errorf("control socket: %w", err)
}

func (p place) listen() (net.Listener, error) {
	if p.private {
		dir := filepath.Dir(p.path)
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := checkPrivate(dir); err != nil {
			return nil, err
		}
	}
	if err := p.clear(); err != nil {
		return nil, err
	}
	// Linux gives the file the mode that the socket had before it was bound, so
	// that nobody else can connect before the chmod. Elsewhere this does nothing.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) })
	}}
	ln, err := private.Listen(context.Background(), "unix", p.path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(p.path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return known{ln}, nil
}

// known accepts our own user and root alone, whatever became of the file's mode.
type known struct{ net.Listener }

// Accept implements net.Listener.
func (k known) Accept() (net.Conn, error) {
	for {
		conn, err := k.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, ok := peer(conn); !ok || mayAsk(uid, os.Getuid()) {
			return conn, nil
		}
		_ = conn.Close() // nothing was said yet
	}
}

func mayAsk(uid, own int) bool { return uid == own || uid == 0 }

// clear removes a socket behind which nobody listens, and nothing else.
func (p place) clear() error {
	info, err := os.Lstat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the way: it is not a socket", p.path)
	}
	conn, err := net.Dial("unix", p.path)
	if err == nil {
		return errors.Join(fmt.Errorf("another process listens on %s", p.path), conn.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(p.path)
}

// Dial finds the daemon of a ledger; ErrNoDaemon when none listens. A socket that
// is there but must not be used is another error: the daemon of another user is
// no reason to open the ledger.
func Dial(ctx context.Context, ledger string, clk clock.Clock) (*Client, error) {
	all, err := places(ledger)
	if err != nil {
		return nil, err
	}
	ctx, cancel := clk.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, p := range all {
		err := p.probe(ctx)
		if err == nil {
			return newClient(p.path, clk), nil
		}
		if !errors.Is(err, ErrNoDaemon) {
			return nil, fmt.Errorf("ask the daemon: %w", err)
		}
	}
	return nil, ErrNoDaemon
}

// ErrNoDaemon is returned by Dial when no daemon listens.
var ErrNoDaemon = errors.New("no daemon runs")

// probe returns ErrNoDaemon where nobody listens: no file, or one that a killed
// daemon left behind.
func (p place) probe(ctx context.Context) error {
	if _, err := os.Lstat(p.path); errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return ErrNoDaemon
	}
	if p.private && checkPrivate(filepath.Dir(p.path)) != nil {
		return ErrNoDaemon // whoever listens there is none of ours; the ledger's lock decides
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", p.path)
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTSOCK):
		return ErrNoDaemon
	}
	return err
}
