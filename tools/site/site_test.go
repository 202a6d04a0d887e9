package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// project is a small one, with whatever else is given.
func project(more map[string]string) fstest.MapFS {
	all := map[string]string{
		"README.md":        "# tdscaler\n\n[docs](docs/README.md), [licence](LICENSE), [elsewhere](https://example.com/x), [code](internal)\n",
		"CHANGELOG.md":     "# Changelog\n",
		"CONTRIBUTING.md":  "# Contributing\n",
		"LICENSE":          "free",
		"internal/x.go":    "package x\n",
		"docs/README.md":   "# Documentation\n\n## Start\n\n[Start](a.md)\n\n## More\n\n| | |\n|---|---|\n| [Deep](design/b.md#why-so) | why |\n",
		"docs/a.md":        "# A <page>\n\n[up](../README.md) [b](design/b.md#why-so-1)\n\n<script>alert(1)</script>\n\n```sh\necho '<b>'\n```\n",
		"docs/design/b.md": "# B\n\n## Why `so`?\n\n## Why so\n\n[a](../a.md)\n",
	}
	maps.Copy(all, more)
	out := fstest.MapFS{}
	for name, text := range all {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func rendered(t *testing.T, more map[string]string) site {
	t.Helper()
	s, err := render(project(more))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPagesLinkToEachOtherFromEveryFolder(t *testing.T) {
	s := rendered(t, nil)
	if p := s.problems(); p != nil {
		t.Error(p)
	}
	want := []string{"CHANGELOG.html", "CONTRIBUTING.html", "LICENSE", "docs/a.html", "docs/design/b.html", "docs/index.html", "index.html", "style.css"}
	if got := slices.Sorted(maps.Keys(s)); !slices.Equal(got, want) {
		t.Errorf("files %v", got)
	}
	for name, parts := range map[string][]string{
		"index.html":         {`href="style.css"`, `href="docs/index.html"`, `href="LICENSE"`, `href="https://example.com/x"`, `, code</p>`, `<h2>Start</h2>`, `href="docs/a.html">Start`},
		"docs/a.html":        {`href="../style.css"`, `href="../index.html">up`, `href="../docs/design/b.html#why-so-1"`, `href="../docs/a.html" aria-current="page"`, `<title>A  - tdscaler</title>`, `echo '&lt;b&gt;'`},
		"docs/design/b.html": {`id="why-so"`, `id="why-so-1"`, `href="../../docs/a.html"`},
	} {
		for _, p := range parts {
			if !strings.Contains(string(s[name]), p) {
				t.Errorf("%s has no %s:\n%s", name, p, s[name])
			}
		}
	}
	if strings.Contains(string(s["docs/a.html"]), "<script") {
		t.Error("raw HTML got through")
	}
}

func TestALinkThatLeadsNowhereMakesNoSite(t *testing.T) {
	for text, want := range map[string]string{
		"# A\n\n[x](b.md)\n":           "docs/b.md",
		"# A\n\n[x](README.md#none)\n": "has no such heading",
		"# A\n\n[x](#none)\n":          "has no such heading",
	} {
		s, err := render(project(map[string]string{"docs/a.md": text}))
		got := ""
		if err != nil {
			got = err.Error()
		}
		for _, p := range s.problems() {
			got += p.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestNothingIsLoadedFromElsewhere(t *testing.T) {
	if p := rendered(t, map[string]string{"docs/a.md": "# A\n\n![x](https://example.com/x.png)\n"}).problems(); len(p) != 1 {
		t.Errorf("an image of elsewhere: %v", p)
	}
	if p := (site{"a.css": []byte("@import 'x'")}).problems(); len(p) != 1 {
		t.Errorf("an import: %v", p)
	}
}

func TestThisProjectsDocumentsMakeASite(t *testing.T) {
	out := filepath.Join(t.TempDir(), "site")
	if err := run([]string{"../..", out}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, "docs", "cli.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`id="tdscaler-ledger-list"`, `aria-current="page"`, "<table>", `href="../docs/operations.html#`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("docs/cli.html has no %s", want)
		}
	}
}
