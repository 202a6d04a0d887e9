package process

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/tdscaler/tdscaler/internal/market"
)

// wicked are values that a hostile market puts where any other value was.
func wicked() []any {
	return []any{
		"\x1b[2J\x1b[31mred", "\u009b2J", "\u202egnp", "a\nb", "\x00", "<script>alert(1)</script>", "../../escaped", "..", "tds-main-train-../../x", "tds-main-train-\x1b[2J",
		strings.Repeat("x", 100_000), -1, 1e308, 9223372036854775807.0, "NaN", "Infinity", "-0", nil, true,
		[]any{},
		map[string]any{},
		[]any{[]any{[]any{}}},
		map[string]any{"\x1b[2J": map[string]any{"../..": -1}},
		"tds-main-train-aaaaaaaa", "tds-main-\u202e-aaaaaaaa", "Running", "0x10", "$1", "1e9",
	}
}

// liar is a market that tells the truth about most things.
type liar struct {
	face http.Handler
	mu   sync.Mutex
	rng  *rand.Rand
	lies float64 // share of the values
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	l.face.ServeHTTP(rec, r)
	l.mu.Lock()
	defer l.mu.Unlock()
	body := rec.Body.Bytes()
	var v any
	if l.lies > 0 && json.Unmarshal(body, &v) == nil {
		if b, err := json.Marshal(l.twist(v)); err == nil {
			body = b
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

func (l *liar) twist(v any) any {
	if l.rng.Float64() < l.lies {
		all := wicked()
		return all[l.rng.IntN(len(all))]
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) { // sorted, so that a seed repeats
			t := l.twist(v[k])
			if l.rng.Float64() < l.lies/2 {
				delete(v, k)
				k = fmt.Sprint(wicked()[l.rng.IntN(20)])
			}
			v[k] = t
		}
	case []any:
		for i := range v {
			v[i] = l.twist(v[i])
		}
	}
	return v
}

// TestTheRealProgramSurvivesAMarketThatSaysAnything: it neither dies nor spends more
// than its cap, writes nothing outside its folder, and prints nothing that a
// terminal would obey.
func TestTheRealProgramSurvivesAMarketThatSaysAnything(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about ten seconds")
	}
	t.Parallel()
	b := openMarket(t, 1000) // who is lied to about what exists may buy too often; the cap holds
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &liar{face: b.server.Config.Handler, rng: rand.New(rand.NewPCG(seed, 3))}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	p := newProgram(t)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.end(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("%q", p.log.String())
		}
	})
	must(t, os.Mkdir(p.path("home"), 0o700))
	above := p.dir
	p.dir = p.path("home") // what escapes from here is found above
	p.write("p.yaml", hasty(server.URL, 4))
	p.begin()
	if !eventually(20*time.Second, func() bool { return b.running() == 4 }) {
		t.Fatal("the machines never ran")
	}
	out := map[string]string{}
	for round := range 6 {
		l.mu.Lock()
		l.lies = []float64{0.003, 0.01, 0.03, 0.1, 0.3, 0.01}[round]
		l.mu.Unlock()
		for _, line := range []string{"status", "machines", "machines --json", "machines --ssh-config", "plan", "explain train --json", "ledger list", "ledger cycle last --json"} {
			text, _ := p.command(append(strings.Fields(line), "--config", "p.yaml")...).CombinedOutput() // a market of lies may make it fail
			out[fmt.Sprintf("%s, round %d", line, round)] = string(text)
		}
		time.Sleep(time.Second)
	}
	p.end(syscall.SIGTERM) // fails where the process has died
	out["the log"] = p.log.String()
	for where, text := range out {
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s holds %q", where, text[max(0, i-60):min(len(text), i+20)])
		}
		if strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") {
			t.Errorf("%s: %s", where, text)
		}
	}
	files, err := os.ReadDir(above)
	must(t, err)
	for _, f := range files {
		if f.Name() != "home" {
			t.Errorf("%s was written outside its folder", f.Name())
		}
	}
	kept, err := os.ReadDir(p.path("credentials"))
	must(t, err)
	for _, f := range kept {
		if _, ours := market.ParseMachineName(f.Name()); !ours {
			t.Errorf("a password of %q", f.Name())
		}
	}
	// It may lie about what storage costs, which is a small part of the whole.
	if peak := b.Account().Peak; peak > hourly.Scale(11, 10).Add(b.burn) {
		t.Errorf("the account burnt %s", peak)
	}
}
