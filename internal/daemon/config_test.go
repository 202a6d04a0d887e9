package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/policy"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const withFiles = `version: 1
daemon: {ledger: state/ledger.db}
tensordock: {api_key_file: secrets/key, api_token_file: secrets/token}
policies:
  - {name: a, target: {gpus: 1}, shape: {gpus: 1}, max_gpu_hour: 1, ssh_key_file: keys/id.pub, cloud_init_file: init.yaml}
  - {name: b, target: {gpus: 1}, shape: {gpus: 1}, max_gpu_hour: 1, password_file: secrets/pw}
`

func TestFilesAreRelativeToTheConfigurationNotToTheProcess(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "keys/id.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvciB0ZXN0cyBvbmx5IGZvciB0ZXN0cyBvbmx5IG9r me@here\n")
	put(t, dir, "init.yaml", "#cloud-config\npackages: [x]\n")
	put(t, dir, "secrets/pw", "Correct-horse-1\n")
	put(t, dir, "secrets/key", " the-key\n")
	put(t, dir, "secrets/token", "the-token\n")
	put(t, dir, "p.yaml", withFiles)
	c, problems, err := LoadConfig(filepath.Join(dir, "p.yaml"))
	if err != nil {
		t.Fatal(err, problems)
	}
	if err := c.LoadCredentials(func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	if c.Key.Reveal() != "the-key" || c.Token.Reveal() != "the-token" {
		t.Error("the credentials are not those of the files")
	}
	if m := c.Materials["a"]; !strings.HasSuffix(m.SSHKey, "me@here") || m.CloudInit != "#cloud-config\npackages: [x]\n" {
		t.Errorf("materials of a: %+v", m)
	}
	if c.Materials["b"].Password.Reveal() != "Correct-horse-1" {
		t.Error("the password is not the file's first line")
	}
	if c.Set.Daemon.Ledger != filepath.Join(dir, "state/ledger.db") {
		t.Errorf("ledger at %s", c.Set.Daemon.Ledger)
	}
}

func TestAFileThatIsMissingOrEmptyIsAnErrorThatNamesIt(t *testing.T) {
	for _, bad := range []string{"keys/id.pub", "init.yaml", "secrets/pw"} {
		for _, text := range []string{"", " \n\t\n", "missing"} {
			dir := t.TempDir()
			put(t, dir, "keys/id.pub", "ssh-ed25519 AAAA me@here\n")
			put(t, dir, "init.yaml", "#cloud-config\n")
			put(t, dir, "secrets/pw", "pw-Pw-1234\n")
			put(t, dir, bad, text)
			if text == "missing" {
				if err := os.Remove(filepath.Join(dir, bad)); err != nil {
					t.Fatal(err)
				}
			}
			put(t, dir, "p.yaml", withFiles)
			_, problems, err := LoadConfig(filepath.Join(dir, "p.yaml"))
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("%s %q: %v", bad, text, err)
			}
			last := problems[len(problems)-1]
			if last.Code != policy.CodePath || last.Line < 2 || !strings.Contains(last.Message, bad) || !strings.Contains(last.Source, "file:") {
				t.Errorf("%s %q: %s", bad, text, last)
			}
		}
	}
}

func TestAFileThatCannotBeUsedSaysWhy(t *testing.T) {
	if _, _, err := LoadConfig(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	_, problems, err := ParseConfig("p.yaml", []byte("version: 1\npolicies: [{name: a}]\n"))
	if !errors.Is(err, ErrConfig) || len(problems) == 0 {
		t.Errorf("a wrong file: %v, %v", err, problems)
	}
}

func TestCredentialsComeFromFilesOrElseFromTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"TENSORDOCK_API_KEY": " env-key ", "TENSORDOCK_API_TOKEN": "env-token"}
	config := func(tensordock string) *Config {
		c, problems, err := ParseConfig(filepath.Join(dir, "p.yaml"), []byte("version: 1\ntensordock: "+tensordock+"\npolicies: []\n"))
		if err != nil {
			t.Fatal(err, problems)
		}
		return &c
	}
	c := config("{}")
	if err := c.LoadCredentials(func(k string) string { return env[k] }); err != nil || c.Key.Reveal() != "env-key" || c.Token.Reveal() != "env-token" {
		t.Errorf("from the environment: %v", err)
	}
	for _, missing := range []string{"TENSORDOCK_API_KEY", "TENSORDOCK_API_TOKEN"} {
		err := config("{}").LoadCredentials(func(k string) string {
			if k == missing {
				return "  "
			}
			return "secret-value"
		})
		if !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), missing) || strings.Contains(err.Error(), "secret-value") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	put(t, dir, "key", "file-key\n")
	c = config("{api_key_file: key}")
	if err := c.LoadCredentials(func(k string) string { return env[k] }); err != nil || c.Key.Reveal() != "file-key" || c.Token.Reveal() != "env-token" {
		t.Errorf("one of each: %v", err)
	}
	put(t, dir, "empty", "\n")
	for _, file := range []string{"empty", "none"} {
		c = config("{api_key_file: " + file + "}")
		if err := c.LoadCredentials(func(k string) string { return env[k] }); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), "api_key_file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestCredentialsThatAServiceManagerHandsOverNeedNoConfiguration(t *testing.T) {
	dir, given := t.TempDir(), t.TempDir()
	put(t, given, "api_key", "given-key\n")
	put(t, dir, "key", "file-key\n")
	env := map[string]string{"CREDENTIALS_DIRECTORY": given}
	load := func(tensordock string) (Config, error) {
		c, problems, err := ParseConfig(filepath.Join(dir, "p.yaml"), []byte("version: 1\ntensordock: "+tensordock+"\npolicies: []\n"))
		if err != nil {
			t.Fatal(err, problems)
		}
		return c, c.LoadCredentials(func(k string) string { return env[k] })
	}
	if _, err := load("{}"); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), "TENSORDOCK_API_TOKEN") {
		t.Errorf("one of two: %v", err)
	}
	put(t, given, "api_token", "")
	if _, err := load("{}"); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), filepath.Join(given, "api_token")) {
		t.Errorf("an empty one: %v", err)
	}
	put(t, given, "api_token", "given-token\n")
	if c, err := load("{}"); err != nil || c.Key.Reveal() != "given-key" || c.Token.Reveal() != "given-token" {
		t.Errorf("both: %v", err)
	}
	env["TENSORDOCK_API_TOKEN"] = "env-token"
	if c, err := load("{api_key_file: key}"); err != nil || c.Key.Reveal() != "file-key" || c.Token.Reveal() != "env-token" {
		t.Errorf("what is configured comes first: %v", err)
	}
}

// TestTheLedgerOfASystemsFileIsWhereServicesWrite, for every command alike.
func TestTheLedgerOfASystemsFileIsWhereServicesWrite(t *testing.T) {
	for _, c := range []struct{ file, ledger, want string }{
		{"/etc/tdscaler/policies.yaml", "", "/var/lib/tdscaler/tdscaler.db"},
		{"/etc/tdscaler/../tdscaler/p.yaml", "gpu.db", "/var/lib/tdscaler/gpu.db"},
		{"/etc/tdscaler/policies.yaml", "/srv/x.db", "/srv/x.db"},
		{"/srv/tdscaler/policies.yaml", "", "/srv/tdscaler/tdscaler.db"},
	} {
		raw := "version: 1\npolicies: []\n"
		if c.ledger != "" {
			raw = "version: 1\ndaemon: {ledger: " + c.ledger + "}\npolicies: []\n"
		}
		whole, _, err := ParseConfig(c.file, []byte(raw))
		if err != nil || whole.Set.Daemon.Ledger != c.want {
			t.Errorf("%s: %s, %v", c.file, whole.Set.Daemon.Ledger, err)
		}
		sent, _, err := ReadSent(c.file, []byte(raw))
		if err != nil || sent.Set.Daemon.Ledger != c.want {
			t.Errorf("%s, sent: %s, %v", c.file, sent.Set.Daemon.Ledger, err)
		}
	}
}

func TestTheHashIsThatOfTheContents(t *testing.T) {
	a, b := Config{Path: "a", Raw: []byte("x")}, Config{Path: "b", Raw: []byte("x")}
	if a.Hash() != b.Hash() {
		t.Error("the path is part of the hash")
	}
	b.Raw = []byte("y")
	if a.Hash() == b.Hash() {
		t.Error("the contents are not")
	}
}

func TestAFileWithoutAnEndIsNotReadToItsEnd(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("no file without an end here")
	}
	if _, problems, err := LoadConfig("/dev/zero"); !errors.Is(err, ErrConfig) || len(problems) != 1 || problems[0].Code != policy.CodeTooLarge {
		t.Errorf("%v, %v", problems, err)
	}
	if _, problems, err := ReadConfig("/dev/zero"); !errors.Is(err, ErrConfig) || len(problems) != 1 {
		t.Errorf("%v, %v", problems, err)
	}
	dir := t.TempDir()
	for key, line := range map[string]string{"ssh_key_file": "ssh_key_file", "cloud_init_file": "cloud_init_file", "password_file": "password_file"} {
		path := filepath.Join(dir, "p.yaml")
		text := fmt.Sprintf("version: 1\npolicies:\n- {name: a, target: {gpus: 1}, max_gpu_hour: 1, %s: /dev/zero}\n", line)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, problems, err := LoadConfig(path)
		if !errors.Is(err, ErrConfig) || !slices.ContainsFunc(problems, func(p policy.Problem) bool { return p.Code == policy.CodePath && p.Line == 3 }) {
			t.Errorf("%s: %v, %v", key, problems, err)
		}
	}
	c := Config{Set: policy.Set{TensorDock: policy.TensorDock{APIKeyFile: "/dev/zero"}}}
	if err := c.LoadCredentials(func(string) string { return "" }); !errors.Is(err, ErrCredentials) {
		t.Error(err)
	}
}
