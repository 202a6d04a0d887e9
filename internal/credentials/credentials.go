// Package credentials keeps the passwords that tdscaler made up for machines
// whose policy names neither a password nor an SSH key: one 0600 file per
// machine, in a 0700 directory beside the ledger, from before the deploy until
// the machine is gone, and nowhere else.
package credentials

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Store is a directory of passwords.
type Store struct{ dir string }

// New uses the given directory; it is made when the first password is kept.
func New(dir string) *Store { return &Store{dir: dir} }

// Generate makes a random password of 24 characters that satisfies TensorDock's
// rule (upper and lower case, digit, symbol): about 140 bits.
func Generate() (secret.String, error) {
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
	b := make([]byte, 0, 24)
	for len(b) < 20 {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return secret.String{}, fmt.Errorf("generate a password: %w", err)
		}
		b = append(b, alphabet[n.Int64()])
	}
	// The fixed tail satisfies the rule whatever was drawn.
	return secret.New(string(append(b, "-Aa7"...))), nil
}

// Put writes the password of a machine, durably, before it is used.
func (s *Store) Put(machine string, pw secret.String) error {
	path, err := s.path(machine)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("keep the password of %s: %w", machine, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep the password of %s: %w", machine, err)
	}
	_, err = f.WriteString(pw.Reveal() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close(), s.sync()); err != nil {
		return fmt.Errorf("keep the password of %s: %w", machine, err)
	}
	return nil
}

// sync brings the directory itself to disk: without it a power cut may take the
// new file's name.
func (s *Store) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Path is where a machine's password is kept, "" if there is none.
func (s *Store) Path(machine string) string {
	path, err := s.path(machine)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// Names are the machines whose passwords are kept, sorted.
func (s *Store) Names() ([]string, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the passwords: %w", err)
	}
	var names []string
	for _, f := range files {
		if _, ok := market.ParseMachineName(f.Name()); ok {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

// Delete forgets a machine's password; that there is none is success.
func (s *Store) Delete(machine string) error {
	path, err := s.path(machine)
	if err != nil {
		return nil // never stored under such a name
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the password of %s: %w", machine, err)
	}
	return nil
}

// path refuses every name that is not a machine's, so that nothing the market
// says can lead out of the directory.
func (s *Store) path(machine string) (string, error) {
	if _, ok := market.ParseMachineName(machine); !ok {
		return "", fmt.Errorf("%q is not the name of a machine of ours", machine)
	}
	return filepath.Join(s.dir, machine), nil
}
