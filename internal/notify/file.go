package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// StateFile is where a State is kept, beside its ledger.
func StateFile(ledger string) string { return ledger + ".notifications" }

// ReadState reads a State; no file is the empty one.
func ReadState(path string) (s State, err error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, fmt.Errorf("read what was told: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, fmt.Errorf("read what was told, in %s: %w", path, err)
	}
	if !s.sound() {
		return State{}, fmt.Errorf("read what was told, in %s: it is not as we write it", path)
	}
	return s, nil
}

// save puts a file in the place of another, whole: a crash leaves the one or the other.
func save(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*.tmp")
	if err != nil {
		return fmt.Errorf("write what was told: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write what was told: %w", err)
	}
	return nil
}
