package credentials

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/tdscaler/tdscaler/internal/secret"
)

const name = "tds-main-train-abcd1234"

func TestAPasswordIsKeptForItsOwnerAloneAndForgotten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "credentials")
	s := New(dir)
	if s.Path(name) != "" {
		t.Error("a path before there is a password")
	}
	if err := s.Put(name, secret.New("hunter-2")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, s.Path(name): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
	if b, err := os.ReadFile(s.Path(name)); err != nil || string(b) != "hunter-2\n" {
		t.Errorf("read back %q, %v", b, err)
	}
	if names, err := s.Names(); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("names %v, %v", names, err)
	}
	for range 2 { // forgetting what is forgotten is success
		if err := s.Delete(name); err != nil {
			t.Fatal(err)
		}
	}
	if s.Path(name) != "" {
		t.Error("still there")
	}
}

func TestAPasswordIsNeverOverwritten(t *testing.T) {
	s := New(t.TempDir())
	if err := s.Put(name, secret.New("first")); err != nil {
		t.Fatal(err)
	}
	err := s.Put(name, secret.New("second"))
	if err == nil || strings.Contains(err.Error(), "second") {
		t.Errorf("the second: %v", err)
	}
	if b, _ := os.ReadFile(s.Path(name)); string(b) != "first\n" {
		t.Errorf("it is now %q", b)
	}
}

func TestASymbolicLinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := New(dir).Put(name, secret.New("pw")); err == nil {
		t.Error("written through a link")
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("the target exists")
	}
}

func TestNoNameLeadsOutOfTheDirectory(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "credentials")
	outside := filepath.Join(root, "precious")
	for _, p := range []string{dir} {
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(dir)
	for _, bad := range []string{
		"", ".", "..", "../precious", "/etc/passwd", "tds-main-../../precious-abcd1234", "tds-main-a/b-abcd1234", "precious",
		"tds-main-train-abcd1234/../../precious", "tds-main-train-abcd1234\x00", "~", name + "~id",
	} {
		if err := s.Put(bad, secret.New("pw")); err == nil {
			t.Errorf("kept a password for %q", bad)
		}
		if err := s.Delete(bad); err != nil {
			t.Errorf("delete %q: %v", bad, err)
		}
		if s.Path(bad) != "" {
			t.Errorf("a path for %q", bad)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestWhatIsNoPasswordOfOursIsNotListed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := New(dir).Names(); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	if names, err := New(filepath.Join(dir, "none")).Names(); err != nil || len(names) != 0 {
		t.Errorf("without a directory: %v, %v", names, err)
	}
}

func TestADirectoryThatCannotBeMadeIsAnErrorWithoutThePassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(filepath.Join(file, "credentials")).Put(name, secret.New("hunter-2")); err == nil || strings.Contains(err.Error(), "hunter-2") {
		t.Errorf("%v", err)
	}
}

func TestGeneratedPasswordsSatisfyTheMarketsRuleAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		pw, err := Generate()
		if err != nil {
			t.Fatal(err)
		}
		p := pw.Reveal()
		has := func(f func(rune) bool) bool { return strings.IndexFunc(p, f) >= 0 }
		symbol := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
		if len(p) != 24 || seen[p] || !has(unicode.IsUpper) || !has(unicode.IsLower) || !has(unicode.IsDigit) || !has(symbol) {
			t.Fatalf("%q", p)
		}
		if strings.ContainsAny(p, "\\\"'`$ \t\n&=+%#;<>") {
			t.Fatalf("%q holds a character that shells or forms would eat", p)
		}
		seen[p] = true
	}
}
