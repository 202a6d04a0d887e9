package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheConfigurationIsTakenFromTheFirstPlaceThatHasOne(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	xdg := filepath.Join(dir, "xdg")
	inXDG := filepath.Join(xdg, "tdscaler", "policies.yaml")
	env := map[string]string{"XDG_CONFIG_HOME": xdg, "HOME": filepath.Join(dir, "home")}
	find := func(flag string) foundConfig {
		t.Helper()
		f, err := findConfig(flag, func(k string) string { return env[k] })
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	write := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(inXDG)
	if got := find(""); got != (foundConfig{inXDG, false}) {
		t.Errorf("took %v", got)
	}
	write("policies.yaml")
	if got := find(""); got != (foundConfig{"policies.yaml", false}) {
		t.Errorf("took %v, not the one of the folder", got)
	}
	env[configVariable] = "/nowhere/mine.yaml" // named: what is not there is an error, not a reason to look on
	if got := find(""); got != (foundConfig{"/nowhere/mine.yaml", true}) {
		t.Errorf("took %v, not the one of the environment", got)
	}
	if got := find("flag.yaml"); got != (foundConfig{"flag.yaml", true}) {
		t.Errorf("took %v, not the one of the flag", got)
	}
}

func TestWithoutAConfigurationEveryPlaceThatWasTriedIsNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := os.Lstat("/etc/tdscaler/policies.yaml"); err == nil {
		t.Skip("this machine has a configuration")
	}
	for xdg, want := range map[string]string{"/x": "/x/tdscaler/policies.yaml", "": "/h/.config/tdscaler/policies.yaml"} {
		_, err := findConfig("", func(k string) string {
			return map[string]string{"XDG_CONFIG_HOME": xdg, "HOME": "/h"}[k]
		})
		var coded *codedError
		if !errors.As(err, &coded) || coded.code != exitUsage {
			t.Fatalf("err %v", err)
		}
		for _, w := range []string{"--config", "$TDSCALER_CONFIG", "policies.yaml", want, "/etc/tdscaler/policies.yaml"} {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not name %s", err, w)
			}
		}
	}
}
