package web_test

import (
	"fmt"
	"os"
	"testing"
)

var tempDir string //nolint:gochecknoglobals // of the stage that tests share

func mkdir() (string, error) { return os.MkdirTemp(tempDir, "stage") }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "web")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tempDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
