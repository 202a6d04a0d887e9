package policy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/problems.md")

// repeated expands a case "#!repeat N" + text, for files too large to be kept.
func repeated(t *testing.T, b []byte) []byte {
	rest, ok := bytes.CutPrefix(b, []byte("#!repeat "))
	if !ok {
		return b
	}
	count, line, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.Atoi(string(count))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(line, n)
}

func problemFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/problems/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	return files
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestEveryProblemIsToldWithItsPlaceAndAHint(t *testing.T) {
	for _, name := range problemFiles(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, ps := Parse(filepath.Base(name), repeated(t, b))
			var out strings.Builder
			for _, p := range ps {
				out.WriteString(p.String() + "\n")
			}
			if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "0f3c") || strings.Contains(out.String(), "72345") {
				t.Error("a secret is repeated")
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".golden", out.String())
		})
	}
}

func TestEveryCodeOccursInAGoldenFileAndNoOther(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range problemFiles(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, ps := Parse(name, repeated(t, b))
		for _, p := range ps {
			seen[p.Code] = true
		}
	}
	for _, c := range Codes() {
		if !seen[c.Code] {
			t.Errorf("%s (%s) is in no golden file", c.Code, c.Title)
		}
		delete(seen, c.Code)
	}
	for c := range seen {
		t.Errorf("%s is not in Codes()", c)
	}
}
