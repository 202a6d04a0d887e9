package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tdscaler/tdscaler/internal/market"
	"gopkg.in/yaml.v3"
)

const (
	examplePath  = "../../policies.example.yaml"
	policyPath   = "../../docs/policy.md"
	problemsPath = "../../docs/problems.md"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// problemsPage is docs/problems.md.
func problemsPage() string {
	var b strings.Builder
	b.WriteString("# Problems in a policy file\n\n" +
		"`tdscaler check` lists every problem of a file at once, each with its place, a hint and one of these codes.\n" +
		"An error stops the file from being used (a running daemon keeps the last good one); a warning does not.\n" +
		"What each key means is in [policy.md](policy.md). This page is generated from `policy.Codes()`:\n" +
		"`go test ./internal/policy -update`.\n")
	for _, c := range Codes() {
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** %s\n\n```yaml\n%s\n```\n\n%s\n", c.Code, c.Title, c.Meaning, c.Example, c.Mend)
	}
	return b.String()
}

func TestProblemsPageHasASectionForEachCodeAndNoOther(t *testing.T) {
	golden(t, problemsPath, problemsPage())
	var want, got []string
	for _, c := range Codes() {
		want = append(want, c.Code)
		if c.Title == "" || c.Meaning == "" || c.Example == "" || c.Mend == "" {
			t.Errorf("%s is not explained", c.Code)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (\S+)`).FindAllStringSubmatch(string(read(t, problemsPath)), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections of %s (-want +got):\n%s", problemsPath, diff)
	}
	if !slices.IsSorted(want) {
		t.Error("codes are not in order")
	}
}

func TestPolicyPageNamesEveryKey(t *testing.T) {
	page := string(read(t, policyPath))
	for _, p := range keyPaths() {
		if !strings.Contains(page, "`"+p+"`") {
			t.Errorf("%s does not name `%s`", policyPath, p)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(page, -1) {
		if !slices.Contains(keyPaths(), m[1]) {
			t.Errorf("%s names `%s`, which is no key", policyPath, m[1])
		}
	}
}

// keyTable is the table of a section's keys.
func keyTable(section string) string {
	var b strings.Builder
	b.WriteString("| Key | Value | Default | Bounds | Meaning |\n|---|---|---|---|---|\n")
	for _, k := range Keys() {
		if k.Section != section {
			continue
		}
		value, def := k.Value, k.Default
		if len(k.Words) > 0 {
			value = "`" + strings.Join(k.Words, "`, `") + "`"
		}
		switch {
		case k.Required:
			def = "required"
		case k.HasDefault:
			def = "`" + def + "`"
		}
		bounds := regexp.MustCompile(`(above|from|to) (\S+)`).ReplaceAllString(k.Bounds, "$1 `$2`")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Path, value, def, bounds, strings.ReplaceAll(k.Meaning, "*", "\\*"))
	}
	return b.String()
}

func TestPolicyPageStatesEveryDefaultBoundAndUnit(t *testing.T) {
	page := string(read(t, policyPath))
	tables := regexp.MustCompile(`(?s)(<!-- keys of (\S+) -->\n).*?(<!-- end -->)`)
	got := tables.ReplaceAllStringFunc(page, func(block string) string {
		m := tables.FindStringSubmatch(block)
		section := m[2]
		if section == "file" {
			section = ""
		}
		return m[1] + keyTable(section) + m[3]
	})
	golden(t, policyPath, got)
}

func TestTheWorkedExampleOfThePolicyPage(t *testing.T) {
	p := mustParse(t, least).Policies[0] // four GPUs at 0.40
	storage, err := market.ParseRate("0.005")
	if err != nil {
		t.Fatal(err)
	}
	page := string(read(t, policyPath))
	for _, r := range []market.Rate{p.Ceiling(), p.BidCeiling(storage), market.USD(1, 20).Add(storage).PerGPU(p.Shape.GPUs)} {
		if !strings.Contains(page, "$"+r.Decimal()) {
			t.Errorf("%s does not hold $%s", policyPath, r.Decimal())
		}
	}
}

// The one warning is meant: the example cannot name the reader's own key.
func TestTheExampleHasNoProblemsButTheMissingKeyAndIsDryRun(t *testing.T) {
	s, ps := Parse("policies.example.yaml", read(t, examplePath))
	for _, p := range ps {
		if p.Code != CodeNoKey {
			t.Error(p)
		}
	}
	if s.Daemon.Mode != DryRun || len(s.Policies) == 0 {
		t.Errorf("mode %s, %d policies", s.Daemon.Mode, len(s.Policies))
	}
}

// uncommented turns the example's disabled keys ("#key: value") into keys; prose
// has a blank after its "#".
func uncommented(b []byte) []byte {
	return regexp.MustCompile(`(?m)^(\s*(?:- )?)#([a-z_]+:)`).ReplaceAll(b, []byte("$1$2"))
}

func TestTheExampleShowsEveryKey(t *testing.T) {
	b := uncommented(read(t, examplePath))
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i, c := range n.Content {
			switch {
			case n.Kind == yaml.SequenceNode:
				walk(prefix+"[]", c)
			case n.Kind == yaml.MappingNode && i%2 == 0:
				seen[join(prefix, c.Value)] = true
				walk(join(prefix, c.Value), n.Content[i+1])
			}
		}
	}
	walk("", doc.Content[0])
	for _, p := range keyPaths() {
		if !seen[p] {
			t.Errorf("the example does not show %s", p)
		}
	}
	// The disabled keys contradict each other, but each is well written.
	_, ps := Parse("uncommented.yaml", b)
	for _, p := range ps {
		if p.Code < "TD2" {
			t.Error(p)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policies.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policies.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, b []byte) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(v) // an editor sees JSON's types
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestTheSchemaAcceptsTheExampleAndWhatParseAccepts(t *testing.T) {
	s := compileSchema(t)
	for name, b := range map[string][]byte{
		"example": read(t, examplePath), "uncommented": uncommented(read(t, examplePath)), "least": []byte(least),
	} {
		if err := validate(t, s, b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSchemaRejectsWhatParseRejects(t *testing.T) {
	s := compileSchema(t)
	for _, b := range []string{
		"version: 2", "policies: []", "version: 1\nunknown: 1", "version: 1\nbudget: {max_hourley: 1}",
		"version: 1\nbudget: {max_hourly: 0}", "version: 1\nbudget: {max_hourly: \"5\"}", "version: 1\nbudget: {min_runway: 5 minutes}",
		"version: 1\nbudget: {min_runway: 5}", "version: 1\ndaemon: {mode: prod}", "version: 1\nledger: {max_size: 1}",
		"version: 1\npolicies: [{name: a}]", "version: 1\nlimits: {max_actions_per_cycle: 0}",
		"version: 1\npolicies: [{name: a, target: {gpus: 1, nodes: 1}, max_gpu_hour: 1}]",
		"version: 1\npolicies: [{name: a, target: {gpus: 1}, max_gpu_hour: 1, ports: [0]}]",
		"version: 1\npolicies: [{name: a, target: {gpus: 1}, max_gpu_hour: 1, match: {min_uptime: 99}}]",
	} {
		if err := validate(t, s, []byte(b)); err == nil {
			t.Errorf("the schema accepts %q", b)
		}
		if _, ps := Parse("x", []byte(b)); !HasErrors(ps) {
			t.Errorf("Parse accepts %q", b)
		}
	}
}

func TestEveryKeyOfTheSchemaIsDescribed(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if items, ok := s["items"].(map[string]any); ok {
			walk(path, items)
		}
		props, _ := s["properties"].(map[string]any)
		for k, v := range props {
			n++
			p := v.(map[string]any)
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("%s.%s has no description", path, k)
			}
			walk(fmt.Sprintf("%s.%s", path, k), p)
		}
	}
	walk("", root)
	if n != len(keyPaths()) {
		t.Errorf("the schema has %d keys, the file %d", n, len(keyPaths()))
	}
}
