package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// reasonCodes are the constants of internal/plan/reason.go.
func reasonCodes(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../plan/reason.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			codes = append(codes, texts(g)...)
		}
	}
	if len(codes) < 20 {
		t.Fatalf("only %d codes were found: the search is broken", len(codes))
	}
	return codes
}

// documented are the codes that begin a row of a table in the operations page.
func documented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page2, ok := strings.Cut(string(page), "\n## What the codes mean\n")
	if !ok {
		t.Fatal("docs/operations.md has lost its section of codes")
	}
	section, _, _ := strings.Cut(page2, "\n## ")
	var codes []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`").FindAllStringSubmatch(section, -1) {
		codes = append(codes, m[1])
	}
	return codes
}

func TestEveryReasonSaysWhatToDoAtThreeInTheMorning(t *testing.T) {
	codes, rows := reasonCodes(t), documented(t)
	for _, c := range codes {
		if !slices.Contains(rows, c) {
			t.Errorf("%q is not in docs/operations.md", c)
		}
	}
	for _, r := range rows {
		if !slices.Contains(codes, r) {
			t.Errorf("docs/operations.md explains %q, which no code says any more", r)
		}
	}
}

// pages are all Markdown files, by path relative to the project.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	walk(t, ".md", func(rel, text string) { out[rel] = text })
	if len(out) < 10 {
		t.Fatalf("only %d pages were found: the walk is broken", len(out))
	}
	return out
}

func walk(t *testing.T, suffix string, f func(rel, text string)) {
	t.Helper()
	const root = "../.."
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && p != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "bin" || e.Name() == "testdata"):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(p, suffix):
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		f(filepath.ToSlash(rel), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// anchors are the names that a page's headings can be linked by.
func anchors(text string) []string {
	var out []string
	for _, line := range strings.Split(withoutCode(text), "\n") {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			out = append(out, strings.Map(func(r rune) rune {
				switch {
				case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
					return unicode.ToLower(r)
				case r == ' ':
					return '-'
				}
				return -1
			}, strings.TrimSpace(title)))
		}
	}
	return out
}

// withoutCode drops what stands between fences.
func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(text, "")
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if problem := follow(all, page, m[1]); problem != "" {
				t.Errorf("%s: %s: %s", page, m[1], problem)
			}
		}
	}
}

func follow(all map[string]string, from, link string) string {
	target, anchor, _ := strings.Cut(link, "#")
	to := from
	if target != "" {
		to = filepath.ToSlash(filepath.Join(filepath.Dir(from), target))
	}
	if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
		return "does not exist"
	}
	if anchor != "" && !slices.Contains(anchors(all[to]), anchor) {
		return fmt.Sprintf("%s has no such heading", to)
	}
	return ""
}

func TestEveryTestAndFileThatAPageNamesExists(t *testing.T) {
	tests := map[string]bool{}
	walk(t, "_test.go", func(_, text string) {
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`).FindAllStringSubmatch(text, -1) {
			tests[m[1]] = true
		}
	})
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`").FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
		for _, m := range regexp.MustCompile("`((?:internal|cmd|docs)/[\\w./-]+)`").FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
	}
}
