// Command serve plays two days on the simulated market and serves the pages of it, for
// tests that look at them with a browser: it says where, has a cycle pass for every line
// that it reads, and ends with its input.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/tdscaler/tdscaler/internal/stage"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "stage")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := stage.New(ctx, dir, stage.Policies, 54*time.Hour)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.Close())
	}
	srv := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	fmt.Printf("http://%s\n", ln.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := s.Cycle(ctx); err != nil {
			return errors.Join(err, srv.Close(), s.Close())
		}
		fmt.Println("a cycle has passed")
	}
	err = srv.Close()
	if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return errors.Join(err, s.Close())
}
