package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocks are the pieces of a language on a page of docs that have one of these words.
func blocks(t testing.TB, page, language string, words ...string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	must(t, err)
	for _, m := range regexp.MustCompile("(?ms)^ *```"+language+"\n(.*?)^ *```").FindAllStringSubmatch(string(text), -1) {
		if regexp.MustCompile(`\b(` + strings.Join(words, "|") + `)\b`).MatchString(m[1]) {
			found = append(found, m[1])
		}
	}
	return found
}

// only is the one block that there is.
func only(t testing.TB, page, language, word string) string {
	t.Helper()
	found := blocks(t, page, language, word)
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks of %s with %s", page, len(found), language, word)
	}
	return found[0]
}

// TestWhatThePagesTypeUnderSystemdWorks does by hand, on a booted computer, what docs/systemd.md
// says, and then types what the runbooks say to look at.
func TestWhatThePagesTypeUnderSystemdWorks(t *testing.T) {
	const page, home = "../../docs/systemd.md", "/srv/tdscaler"
	wanted(t)
	s := &service{newComputer(t), openMarket(t)}
	s.copy(program(t), home+"/bin/tdscaler", 0o755)
	s.copy(unitFile, home+"/deploy/systemd/tdscaler.service", 0o644)
	s.write(home+"/policies.yaml", fmt.Sprintf(`version: 1
daemon: {schedule: "@every 1s", mode: live, listen: "127.0.0.1:0"}
tensordock: {marketplace_url: %q, instances_url: %[1]q, marketplace_rps: 1000}
budget: {max_hourly: 2.00}
policies: [{name: train, target: {gpus: 2}, shape: {gpus: 1}, max_gpu_hour: 0.60}]
`, s.market.server.URL), 0o644)
	s.write("/usr/bin/sudo", "#!/bin/sh\nexec \"$@\"\n", 0o755)
	s.write("/usr/bin/make", "#!/bin/sh\n", 0o755) // it is built
	s.start()

	s.types(home, strings.NewReplacer("# then put the key into it", "; echo "+apiKey+" >/etc/tdscaler/api_key", "# and the token", "; echo "+apiToken+" >/etc/tdscaler/api_token").
		Replace(only(t, page, "sh", "daemon-reload")))
	s.has(2)
	s.says("live; 2 of 2 GPUs ready on 2 machines")

	books, err := filepath.Glob("../../docs/runbooks/*.md")
	must(t, err)
	typed := 0
	for _, book := range books {
		for _, block := range blocks(t, book, "sh", "systemctl", "journalctl") {
			s.types("/", block)
			typed++
		}
	}
	if typed < 4 {
		t.Errorf("only %d blocks of the runbooks were found", typed)
	}

	// An editor wants a terminal, and this computer's own key would lie in memory: it is
	// only used if it is named.
	s.types(home, strings.NewReplacer("sudo systemctl edit tdscaler", "", "encrypt ", "encrypt --with-key=host ").Replace(only(t, page, "sh", "systemd-creds")))
	s.dropIn("override.conf", only(t, page, "ini", "LoadCredentialEncrypted"))
	s.types("/", "mkdir /plain; mv /etc/tdscaler/api_key /etc/tdscaler/api_token /plain; systemctl daemon-reload; systemctl restart tdscaler")
	s.says("live; 2 of 2 GPUs ready on 2 machines")
}

// types runs a piece of shell in a folder of the computer.
func (s *service) types(folder, text string) {
	s.Helper()
	if out, err := s.try("bash", "-euc", "cd "+folder+"\n"+text); err != nil {
		s.Fatalf("%v\n%s\n%s\n%s", err, text, out, s.journal("--lines=20"))
	}
}
