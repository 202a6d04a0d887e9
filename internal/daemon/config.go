package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Config is a policy file with everything it refers to.
type Config struct {
	Path string
	Raw  []byte
	Set  policy.Set
	// Materials are, by policy, what a machine is fitted out with.
	Materials map[string]Material
	// Sinks are the notifications' sinks with what their files hold.
	Sinks    []notify.SinkConfig
	Key      secret.String
	Token    secret.String
	Problems []policy.Problem // warnings, once loading succeeded
}

// Material is what a policy's machines get beside their size: the contents of
// the files that the policy names.
type Material struct {
	SSHKey    string
	CloudInit string
	Password  secret.String
	// Env are the environment variables of a container whose values are in files.
	Env map[string]secret.String
	// ProbeKey is the private key of an SSH probe; the secrets are what hooks are
	// signed with.
	ProbeKey    secret.String
	ReadySecret secret.String
	DrainSecret secret.String
}

// ErrConfig is wrapped by Load when the file cannot be used; the problems say why.
var ErrConfig = errors.New("the configuration has errors")

// ErrCredentials is wrapped when the API key or token cannot be had.
var ErrCredentials = errors.New("no TensorDock credentials")

// LoadConfig reads, parses and completes a configuration file. Credentials are
// not read: many commands work without them.
func LoadConfig(path string) (Config, []policy.Problem, error) {
	raw, err := readConfig(path)
	if err != nil {
		return Config{}, nil, err
	}
	return ParseConfig(path, raw)
}

// readConfig reads one byte more than a policy file may have: the parser says
// that it is too large.
func readConfig(path string) ([]byte, error) {
	raw, err := readUpTo(path, policy.MaxFileSize+1)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return raw, nil
}

// readUpTo reads at most limit bytes: a path may lead to a device without an end.
func readUpTo(path string, limit int64) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// The most that a file may hold which the configuration names.
const (
	maxMaterial   = 256 << 10
	maxCredential = 4 << 10
)

// readNamed reads a file that the configuration names.
func (c *Config) readNamed(path string, limit int64) (string, error) {
	b, err := readUpTo(c.resolve(path), limit+1)
	switch {
	case err != nil:
		return "", err
	case len(strings.TrimSpace(string(b))) == 0:
		return "", fmt.Errorf("%s is empty", path)
	case int64(len(b)) > limit:
		return "", fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return string(b), nil
}

// ParseConfig is LoadConfig for a file that was read already. Relative paths in
// it are relative to the folder of path.
func ParseConfig(path string, raw []byte) (Config, []policy.Problem, error) {
	set, problems := policy.Parse(path, raw)
	if policy.HasErrors(problems) {
		return Config{}, problems, ErrConfig
	}
	c := Config{Path: path, Raw: raw, Set: set, Materials: map[string]Material{}, Problems: problems}
	c.Set.Daemon.Ledger = c.resolveState(set.Daemon.Ledger)
	c.resolveDemand()
	for i := range set.Policies {
		var bad []policy.Problem
		c.Materials[set.Policies[i].Name], bad = c.material(&set.Policies[i])
		problems = append(problems, bad...)
	}
	problems = append(problems, c.readSinks()...)
	if policy.HasErrors(problems) {
		return Config{}, problems, ErrConfig
	}
	return c, problems, nil
}

// Hash identifies the file's contents.
func (c *Config) Hash() string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:8])
}

// resolveDemand makes the paths of what targets follow relative to the file's folder.
func (c *Config) resolveDemand() {
	c.Set.Daemon.Webhook.SecretFile = c.resolve(c.Set.Daemon.Webhook.SecretFile)
	for _, list := range [][]policy.Policy{c.Set.Policies, c.Set.Shadows} {
		for i := range list {
			for j := range list[i].Demand.Signals {
				p := &list[i].Demand.Signals[j].Prometheus
				p.TokenFile, p.PasswordFile, p.CAFile = c.resolve(p.TokenFile), c.resolve(p.PasswordFile), c.resolve(p.CAFile)
			}
		}
	}
}

func (c *Config) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.Path), path)
}

// Where a system keeps what its administrator writes, and what a service does.
const (
	systemConfig = "/etc/tdscaler"
	systemState  = "/var/lib/tdscaler"
)

// resolveState is resolve for what the daemon writes: not in /etc, which a service
// cannot change. It goes by the path alone, so that every command finds the same file.
func (c *Config) resolveState(path string) string {
	if dir, err := filepath.Abs(filepath.Dir(c.Path)); err == nil && dir == systemConfig && !filepath.IsAbs(path) {
		return filepath.Join(systemState, path)
	}
	return c.resolve(path)
}

// material reads the files that a policy names; each that cannot be used is a
// problem of the configuration.
func (c *Config) material(p *policy.Policy) (m Material, problems []policy.Problem) {
	m = Material{SSHKey: p.SSHKey, CloudInit: p.CloudInit}
	for _, f := range []struct {
		key, path string
		take      func(string)
	}{
		{"ssh_key_file", p.SSHKeyFile, func(s string) { m.SSHKey = strings.TrimSpace(s) }},
		{"cloud_init_file", p.CloudInitFile, func(s string) { m.CloudInit = s }},
		{"password_file", p.PasswordFile, func(s string) { m.Password = secret.New(strings.TrimRight(s, "\r\n")) }},
		{"ready.ssh.key_file", p.Ready.SSH.KeyFile, func(s string) { m.ProbeKey = secret.New(s) }},
		{"on_ready.webhook.secret_file", p.OnReady.SecretFile, func(s string) { m.ReadySecret = secret.New(strings.TrimSpace(s)) }},
		{"drain.webhook.secret_file", p.Drain.Hook.SecretFile, func(s string) { m.DrainSecret = secret.New(strings.TrimSpace(s)) }},
	} {
		if f.path == "" {
			continue
		}
		text, err := c.readNamed(f.path, maxMaterial)
		if err != nil {
			problems = append(problems, policy.PathProblem(c.Path, c.Raw, p.Name, f.key, err.Error()))
			continue
		}
		f.take(text)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Run.EnvFiles)) {
		text, err := c.readNamed(p.Run.EnvFiles[name], maxMaterial)
		if err != nil {
			problems = append(problems, policy.PathProblem(c.Path, c.Raw, p.Name, "container.env_files."+name, err.Error()))
			continue
		}
		if m.Env == nil {
			m.Env = map[string]secret.String{}
		}
		m.Env[name] = secret.New(strings.TrimRight(text, "\r\n"))
	}
	if !m.ProbeKey.IsEmpty() {
		if err := errands.CheckKey(m.ProbeKey.Reveal()); err != nil {
			problems = append(problems, policy.PathProblem(c.Path, c.Raw, p.Name, "ready.ssh.key_file", err.Error()))
		}
	}
	return m, problems
}

// LoadCredentials reads the API key and token: from the files the configuration
// names, else from TENSORDOCK_API_KEY and TENSORDOCK_API_TOKEN, else from the files
// api_key and api_token in the CREDENTIALS_DIRECTORY that a service manager gives.
func (c *Config) LoadCredentials(getenv func(string) string) error {
	var err error
	if c.Key, err = c.credential("api_key_file", c.Set.TensorDock.APIKeyFile, "TENSORDOCK_API_KEY", getenv); err != nil {
		return err
	}
	c.Token, err = c.credential("api_token_file", c.Set.TensorDock.APITokenFile, "TENSORDOCK_API_TOKEN", getenv)
	return err
}

func (c *Config) credential(key, file, env string, getenv func(string) string) (secret.String, error) {
	from := "tensordock." + key
	if file == "" {
		if v := strings.TrimSpace(getenv(env)); v != "" {
			return secret.New(v), nil
		}
		if file = c.given(strings.TrimSuffix(key, "_file"), getenv); file == "" {
			return secret.String{}, fmt.Errorf("%w: set %s in the environment, or tensordock.%s in %s", ErrCredentials, env, key, c.Path)
		}
		from = file
	}
	text, err := c.readNamed(file, maxCredential)
	if err != nil {
		return secret.String{}, fmt.Errorf("%w: %s: %w", ErrCredentials, from, err)
	}
	return secret.New(strings.TrimSpace(text)), nil
}

// given is the file of a credential that the service manager hands over; "" where it
// hands over none of this name.
func (c *Config) given(name string, getenv func(string) string) string {
	dir := getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return path
}
