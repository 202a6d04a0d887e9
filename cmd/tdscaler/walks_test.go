package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the program says into the pages that are played")

// playedMark marks a page whose transcripts are the program's own words: its blocks are
// played in order, and what is said must be what is printed there.
const playedMark = "<!-- played: what is said here is what the program says -->"

func isPlayed(page string) bool { return strings.Contains(page, playedMark) }

func TestPlayedPagesSayWhatTheProgramSays(t *testing.T) {
	if runtime.GOOS != "linux" || !installed("bash") {
		t.Skip("the documents are for bash on Linux")
	}
	pages := 0
	for path, text := range pagesOfDocs(t) {
		if !isPlayed(text) {
			continue
		}
		pages++
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			next := playPage(t, newStage(t), path, text)
			if *update && next != text {
				if err := os.WriteFile(filepath.Join("../..", path), []byte(next), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if pages == 0 {
		t.Error("no page is played: the mark was lost")
	}
}

var (
	shellBlock      = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	transcriptBlock = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")
)

// playPage plays the shell and the transcripts of a page in their order, and returns it
// with what was really said.
func playPage(t *testing.T, s *stage, path, text string) string {
	t.Helper()
	next := text
	for _, block := range regexp.MustCompile("(?ms)^```(?:sh|console)\n.*?^```$").FindAllString(text, -1) {
		if m := shellBlock.FindStringSubmatch(block); m != nil {
			if out, err := s.play(t, m[1]); err != nil {
				t.Errorf("%s: %v\n%s\n%s", path, err, m[1], out)
			}
			continue
		}
		m := transcriptBlock.FindStringSubmatch(block)
		said := s.transcript(t, typed(m[1]))
		if *update {
			next = strings.Replace(next, block, "```console\n"+said+"```", 1)
		} else if want, got := steady(m[1]), steady(said); got != want {
			t.Errorf("%s: the page says\n%s\nthe program says\n%s\n(go test ./cmd/tdscaler -run %s -update writes it)", path, m[1], said, "TestPlayedPages")
		}
	}
	return next
}

// transcript is what a terminal shows of commands, whatever they end with.
func (s *stage) transcript(t *testing.T, commands string) string {
	t.Helper()
	var script strings.Builder
	script.WriteString("set +e\n")
	for _, line := range strings.Split(strings.TrimSpace(commands), "\n") {
		fmt.Fprintf(&script, "printf '%%s\\n' '$ %s'\n%s\n", strings.ReplaceAll(line, "'", `'\''`), line)
	}
	script.WriteString("true\n")
	out, err := s.play(t, script.String())
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, commands, out)
	}
	text := strings.ReplaceAll(string(out), s.dir, "/home/you")
	return regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(text, "")
}

// steady is a transcript without what differs from one night to the next: times, ages,
// addresses, and the widths of columns.
func steady(text string) string {
	for _, r := range []struct{ was, is string }{
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?`, "TIME"},
		{`\b(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d+)?(s|ms|µs))\b|\b(\d+d)(\d+h)?\b|\b(\d+h)(\d+m)?\b|\b\d+m\b`, "AGE"},
		{`127\.0\.0\.1:\d+`, "ADDR"},
		{`[ \t]+`, " "},
		{`(?m) +$`, ""},
	} {
		text = regexp.MustCompile(r.was).ReplaceAllString(text, r.is)
	}
	return text
}
