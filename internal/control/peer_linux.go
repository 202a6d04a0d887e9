package control

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer is the user at the other end of a unix socket; false where the system does
// not tell. The file's mode has the first word, this the second.
func peer(conn net.Conn) (uid int, ok bool) {
	u, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || credErr != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
