package monitoring

import (
	"path/filepath"
	"strings"
	"testing"
)

// runbookHeadings are what every page has.
func runbookHeadings() []string {
	return []string{"## What it means", "## What to look at", "## What to do", "## When it is harmless"}
}

func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	index := read(t, root("docs", "runbooks", "README.md"))
	wanted := map[string]bool{}
	for _, a := range alerts(t) {
		wanted[a.Alert+".md"] = true
	}
	found, err := filepath.Glob(root("docs", "runbooks", "Tdscaler*.md"))
	must(t, err)
	for _, path := range found {
		name := filepath.Base(path)
		if !wanted[name] {
			t.Errorf("docs/runbooks/%s is of no alert", name)
		}
		delete(wanted, name)
		text := read(t, path)
		for _, h := range runbookHeadings() {
			if !strings.Contains(text, "\n"+h+"\n") {
				t.Errorf("docs/runbooks/%s has no heading %q", name, h)
			}
		}
		if !strings.HasPrefix(text, "# "+strings.TrimSuffix(name, ".md")+"\n") || !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/runbooks/%s does not begin with its alert's name, or is not in the index", name)
		}
	}
	for name := range wanted {
		t.Errorf("docs/runbooks/%s is missing", name)
	}
}
