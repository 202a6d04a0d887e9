package policy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
)

// bombs are files that cost a careless reader much more than they weigh.
func bombs() map[string]string {
	laughs := "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 30 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), ", "))
	}
	laughs += "policies: *a30\n"
	full := func(s string) string { return strings.Repeat(s, MaxFileSize/len(s)) }
	return map[string]string{
		"a billion laughs":        laughs,
		"merged laughs":           "version: 1\na: &a {<<: [*a, *a]}\ndaemon: {<<: *a}\n",
		"an anchor of itself":     "version: 1\npolicies: &p [*p, *p]\n",
		"nested lists":            "version: 1\npolicies: " + full("["),
		"nested maps":             "version: 1\npolicies: " + full("{a: "),
		"nested lines":            full("- "),
		"questions":               full("? "),
		"a huge scalar":           "version: 1\ndaemon: {owner: " + strings.Repeat("x", MaxFileSize-100) + "}\n",
		"a huge quoted scalar":    "version: 1\ndaemon: {owner: \"" + strings.Repeat("\\u0041", (MaxFileSize-100)/6) + "\"}\n",
		"a huge block":            "version: 1\npolicies:\n- name: a\n  cloud_init: |\n" + strings.Repeat("    y\n", (MaxFileSize-100)/6),
		"a quote that never ends": "version: 1\nowner: \"" + full("x\n"),
		"many documents":          full("---\n"),
		"many keys":               "version: 1\n" + manyLines("k%d: 1\n"),
		"many policies":           "version: 1\npolicies:\n" + manyLines("- {name: p%d}\n"),
		"many labels":             "version: 1\npolicies:\n- name: a\n  labels:\n" + manyLines("    l%d: x\n"),
		"one key many times":      "version: 1\n" + full("a: 1\n"),
		"many anchors":            "version: 1\npolicies:\n" + manyLines("- &a%d x\n"),
		"many comments":           "version: 1\n" + full("#\n"),
		"many tags":               "version: 1\npolicies:\n" + full("- !!binary AAAA\n"),
		"tabs":                    full("\t"),
		"line ends":               full("\n"),
		"byte order marks":        full("\uFEFF"),
		"a huge number":           "version: " + strings.Repeat("9", MaxFileSize-100),
		"a huge exponent":         "version: 1\nbudget: {max_hourly: 1e999999999}\n",
		"a huge patience":         "version: 1\ndaemon: {schedule: \"@every " + strings.Repeat("9", 1000) + "h\"}\n",
		"a long pattern":          "version: 1\npolicies:\n- {name: a, target: {gpus: 1}, max_gpu_hour: 1, match: {hosts: [\"" + strings.Repeat("*a", 100_000) + "\"]}}\n",
	}
}

func manyLines(format string) string {
	var b strings.Builder
	for i := 0; b.Len() < MaxFileSize-100; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestNoFileOfAnyShapeCostsMuchMoreThanItsSize(t *testing.T) {
	for name, text := range bombs() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, problems := Parse("bomb.yaml", []byte(text))
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		used := (after.TotalAlloc - before.TotalAlloc) >> 20
		if took > 10*time.Second || used > 1500 {
			t.Errorf("%s: %s, %d MiB", name, took, used)
		}
		if name != "many comments" && name != "a huge block" && name != "a long pattern" && !HasErrors(problems) {
			t.Errorf("%s passes", name)
		}
		size := 0
		for _, p := range problems {
			size += len(p.String())
			if i := strings.IndexFunc(p.String(), func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%s: a problem holds %q", name, p.String()[i:min(len(p.String()), i+4)])
			}
		}
		if size > 1<<20 {
			t.Errorf("%s: %d bytes of problems", name, size)
		}
		if took > 500*time.Millisecond {
			t.Logf("%s: %s, %d MiB allocated", name, took, used)
		}
	}
}

func TestProblemsShowNothingThatATerminalObeys(t *testing.T) {
	for _, w := range []string{`\x1b[2J`, `\u009b2J`, `\u202e`, `\0`, `\u200b`} {
		for _, text := range []string{
			"version: 1\n\"%s\": 1", "version: 1\ndaemon: {mode: \"%s\", owner: \"%[1]s\", listen: \"%[1]s\", schedule: \"%[1]s\", ledger: \"~%[1]s\"}",
			"version: \"%s\"", "version: 1\nbudget: {max_hourly: \"%s\", min_runway: \"%[1]s\"}", "version: 1\nledger: {max_size: \"%s\"}",
			"version: 1\npolicies: [{name: \"%s\", image: \"%[1]s\", ssh_key: \"%[1]s\", match: {gpu_models: [\"%[1]s\"]}, labels: {\"%[1]s\": \"%[1]s\"}, protected: [\"%[1]s\"], ports: [\"%[1]s\"]}]",
			"version: 1\ntensordock: {marketplace_url: \"%s\"}",
		} {
			_, problems := Parse("f.yaml", fmt.Appendf(nil, text, w))
			for _, p := range problems {
				s := p.String()
				if i := strings.IndexFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%q in %s of\n%s", s[i:min(len(s), i+4)], p.Code, s)
				}
			}
		}
	}
}

func TestAFileWithoutKeysIsNotRepeated(t *testing.T) {
	for _, secret := range []string{"hunter2-hunter2", "@hunter2-hunter2", "\"hunter2-hunter2", "{hunter2-hunter2", "%hunter2-hunter2", "[hunter2-hunter2", "*hunter2-hunter2", "&hunter2-hunter2", "!hunter2-hunter2 x", "- hunter2-hunter2", "hunter2-hunter2\nhunter2-hunter2"} {
		_, problems := Parse("key", []byte(secret+"\n"))
		if !HasErrors(problems) {
			t.Errorf("%q passes", secret)
		}
		for _, p := range problems {
			if strings.Contains(fmt.Sprintf("%+v", p), "hunter2-hunter2") {
				t.Errorf("%q is repeated: %+v", secret, p)
			}
		}
	}
}
