// Command site renders the project's Markdown into a static site: "site ROOT OUT".
// Nothing in it is loaded from elsewhere, and every link within it leads somewhere, or
// there is no site.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: site ROOT OUT")
	}
	s, err := render(os.DirFS(args[0]))
	if err != nil {
		return err
	}
	if err := errors.Join(s.problems()...); err != nil {
		return err
	}
	if err := os.RemoveAll(args[1]); err != nil {
		return err
	}
	for name, b := range s {
		path := filepath.Join(args[1], filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%d files in %s\n", len(s), args[1])
	return nil
}
