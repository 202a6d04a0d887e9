package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestEveryCommandAndKeyHasItsPlaceInTheManual(t *testing.T) {
	pages := manual(root(), time.Unix(1700000000, 0))
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		page, ok := pages[pageName(c)+".1"]
		if !ok {
			t.Errorf("%s has no page", c.CommandPath())
		}
		for _, want := range []string{"2023-11-14", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXIT STATUS", ".SH SEE ALSO"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page of %s has no %q", c.CommandPath(), want)
			}
		}
		for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(c.LocalFlags().FlagUsages(), -1) {
			if m[1] != "help" && !strings.Contains(page, roffText("--"+m[1])) {
				t.Errorf("the page of %s has no --%s", c.CommandPath(), m[1])
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
	for _, k := range policy.Keys() {
		if !strings.Contains(pages["tdscaler-policies.5"], roffText(k.Path)) {
			t.Errorf("tdscaler-policies(5) has no %s", k.Path)
		}
	}
}

func TestTheSameProgramWritesTheSameManual(t *testing.T) {
	date := time.Unix(1700000000, 0)
	if diff := cmp.Diff(manual(root(), date), manual(root(), date)); diff != "" {
		t.Error(diff)
	}
	if d, err := manDate("1700000000"); err != nil || !d.Equal(date) {
		t.Errorf("SOURCE_DATE_EPOCH gives %v, %v", d, err)
	}
	if _, err := manDate("yesterday"); err == nil {
		t.Error("a SOURCE_DATE_EPOCH that is no number is taken")
	}
}

// Whatever stands in a text, roff reads no request in it.
func TestTextsAreNoRequestsToRoff(t *testing.T) {
	r := newRoff("x", 1, time.Time{}, "devel", "m")
	r.text(`.TH begins "a' line \n .PP`)
	r.verbatim("  'quoted\n  .hidden")
	for _, line := range strings.Split(r.b.String(), "\n")[1:] {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".TH") || strings.HasPrefix(line, ".hidden") || strings.Contains(line, `\n`) {
			t.Errorf("roff reads %q", line)
		}
	}
}

func TestMandocFindsNothingInTheManual(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("there is no mandoc here")
	}
	dir := t.TempDir()
	if err := writeMan(dir, manual(root(), time.Unix(1700000000, 0))); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	var out bytes.Buffer
	c := exec.Command(mandoc, append([]string{"-Tlint", "-Wstyle"}, files...)...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
