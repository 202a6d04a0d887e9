package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func all() []dashboard {
	return []dashboard{fleet(), money(), theMarket(), bids(), health()}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write deploy/grafana/dashboards and docs/dashboards.md")
	flag.Parse()
	os.Exit(m.Run())
}

// hold compares a file with what it should be, or with -update makes it that.
func hold(t *testing.T, path string, want []byte) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code says: run go test ./internal/dashboards -update and look at the difference", path)
	}
}

func TestTheDashboardsAreWhatTheCodeSays(t *testing.T) {
	var files []string
	for _, d := range all() {
		b := new(bytes.Buffer)
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(d.json()); err != nil {
			t.Fatal(err)
		}
		hold(t, d.file(), b.Bytes())
		files = append(files, d.file())
	}
	there, err := filepath.Glob("../../deploy/grafana/dashboards/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		if !slices.Contains(files, filepath.ToSlash(f)) {
			t.Errorf("%s is no dashboard of ours: remove it", f)
		}
	}
}

func TestThePageOfDashboardsIsWhatTheCodeSays(t *testing.T) {
	hold(t, "../../docs/dashboards.md", []byte(page(all())))
}

func page(ds []dashboard) string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, d := range ds {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | `%s` |\n", d.short(), strings.ToLower(strings.ReplaceAll(d.short(), " ", "-")), d.what, filepath.Base(d.file()))
	}
	for _, d := range ds {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| panel | what to make of it |\n|---|---|\n", d.short(), d.what)
		for _, s := range d.sections {
			fmt.Fprintf(&b, "| **%s** | |\n", s.title)
			for _, p := range s.panels {
				fmt.Fprintf(&b, "| %s | %s |\n", p.title, p.what)
			}
		}
	}
	return b.String()
}

func (d *dashboard) short() string { return strings.TrimPrefix(d.title, "tdscaler / ") }

const pageHead = `<!-- Written by ` + "`go test ./internal/dashboards -update`" + `: change the code there. -->
# Dashboards

Five dashboards for Grafana 11 and later, in ` + "`deploy/grafana/dashboards`" + `. They need a Prometheus that scrapes the daemon ([metrics](metrics.md)) and nothing else.

- In a Grafana that you have: *Dashboards*, *New*, *Import*, one file after the other. The data source is asked for at the top of each.
- Provisioned: ` + "`deploy/grafana/provisioning`" + ` holds a data source (uid ` + "`prometheus`" + `, http://prometheus:9090) and a provider that reads ` + "`/var/lib/grafana/dashboards`" + `:
  mount the two folders at ` + "`/etc/grafana/provisioning` and `/var/lib/grafana/dashboards`" + `. Set ` + "`timeInterval`" + ` of the data source to your scrape interval.

At the top of each: the data source, the job and instance of the daemon, and the policies. The menu *tdscaler* leads from one to the others and keeps
time and choice. Marks show starts, reloads, cycles with problems, breakers while they are open, and
alerts that fire where the rules of ` + "`deploy/prometheus`" + ` are loaded; nothing else here needs the rules. They cannot be edited in place,
so that the next version replaces them without taking your work away: save a copy under another name to change one.

| dashboard | questions | file |
|---|---|---|
`
