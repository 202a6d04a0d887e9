package shipping

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// root is the project's, as seen from here.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// command fails unless the words after the program's name are a command and flags that
// there are. docs/cli.md lists them all: a test of cmd/tdscaler keeps it so.
func command(t *testing.T, where string, words []string) {
	t.Helper()
	if len(words) == 0 {
		t.Errorf("%s: no command", where)
		return
	}
	_, section, ok := strings.Cut(read(t, "docs/cli.md"), "\n## tdscaler "+words[0]+"\n")
	if !ok {
		t.Errorf("%s: there is no command %q", where, words[0])
		return
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, w := range words[1:] {
		name, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(w, "-") && !regexp.MustCompile("(?m)^\\| `"+regexp.QuoteMeta(name)+"[` ]").MatchString(section) {
			t.Errorf("%s: %s has no flag %s", where, words[0], name)
		}
	}
}

// settings reads a policy file that we ship; it has no errors.
func settings(t *testing.T, path string) policy.Set {
	t.Helper()
	c, problems, err := daemon.LoadConfig(filepath.Join(root, path))
	if err != nil {
		t.Fatalf("%s: %v %v", path, err, problems)
	}
	return c.Set
}

// port is the last part of an address.
func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// flagged is the value that follows a flag, or that it has after "=".
func flagged(words []string, flag string) string {
	for i, w := range words {
		if v, ok := strings.CutPrefix(w, flag+"="); ok {
			return v
		}
		if w == flag && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// pinned is an image with a registry, and a tag that does not move by itself.
var pinned = regexp.MustCompile(`^[a-z0-9.-]+\.[a-z]+/[a-z0-9./-]+:v?[0-9][0-9A-Za-z.-]*$`)
