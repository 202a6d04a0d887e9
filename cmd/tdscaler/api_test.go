package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/web"
)

// shapeOf is the names and kinds of all that a piece of JSON holds, sorted; of a list that
// of each element.
func shapeOf(path string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			shapeOf(path+"."+k, e, into)
		}
	case []any:
		into[path+" []"] = true
		for _, e := range v {
			shapeOf(path+"[]", e, into)
		}
	default:
		into[fmt.Sprintf("%s %T", path, v)] = true
	}
}

func shapes(t *testing.T, name, text string) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v: %.300s", name, err, text)
	}
	all := map[string]bool{}
	shapeOf("", v, all)
	var out []string
	for s := range all {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// TestTheAPIAnswersInTheJSONOfTheCommands runs a daemon's cycles, asks its port, ends it,
// and asks the commands.
func TestTheAPIAnswersInTheJSONOfTheCommands(t *testing.T) {
	machine := lived(t)
	pages := map[string]string{}
	commands := map[string]string{
		"/targets": "target", "/machines?policy=train": "machines --policy train", "/containers": "container list", "/hosts": "ledger hosts",
		"/intents": "ledger list", "/intents/1": "ledger show 1", "/cycles": "ledger cycles", "/cycles/1": "ledger cycle 1", "/costs": "cost", "/balances": "", "/machines/" + machine: "",
		"/prices?steps=400": "prices", "/market?policy=train": "market --policy train", "/status": "status",
	}
	asked(t, func(get func(string) string) {
		for path := range commands {
			pages[path] = get("/api/v1" + path)
		}
	})
	for path, command := range commands {
		got := shapes(t, path, pages[path])
		if command == "" {
			continue
		}
		d := tdscaler(append(strings.Fields(command), "-c", "c.yaml", "--json")...)
		if d.code != exitOK {
			t.Fatalf("%s: %+v", command, d)
		}
		want := shapes(t, command, d.out)
		if path == "/status" { // a daemon knows more than its ledger
			got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, ".checks") || strings.HasPrefix(s, ".next_at") })
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s and %s:\n%q\n%q", path, command, lacking(got, want), lacking(want, got))
		}
	}
}

func lacking(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// asked has a daemon of the world's file run one cycle, and its port asked.
func asked(t *testing.T, visit func(get func(path string) string)) {
	t.Helper()
	cfg, err := loadConfig("c.yaml", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.LoadCredentials(os.Getenv); err != nil {
		t.Fatal(err)
	}
	l, err := openLedger(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLedger(l, zap.NewNop())
	o := daemonOptions(&cfg, l, connector(clock.System{}, nil))
	o.Credentials = credentials.New(credentialsDir(&cfg))
	d, err := daemon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	h := web.Handler(web.Options{
		Gatherer: prometheus.NewRegistry(), Checks: d.Checks, Machines: d.Machines, Published: d.Published, Desk: control.Running(officeOptions(&cfg), d, l),
	})
	visit(func(path string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		return w.Body.String()
	})
}
