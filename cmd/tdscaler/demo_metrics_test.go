package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/demo"
)

func TestAHistoryIsWhatTwoScrapesWouldHaveSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.om")
	var o demo.Options
	h, err := recordHistory(&o, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	o.Scrape(time.Unix(1000, 0))
	o.Scrape(time.Unix(1060, 0))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nup{instance=\"tdscaler:9877\",job=\"tdscaler\"} 1.0 1000.0\n", "\nup{instance=\"tdscaler:9877\",job=\"tdscaler\"} 1.0 1060.0\n",
		"\ntdscaler_demand_queries_total{result=\"ok\",instance=\"tdscaler:9877\",job=\"tdscaler\"} 0.0 1060.0\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%.2000s", want, text)
		}
	}
	if !strings.HasSuffix(string(text), "\n# EOF\n") {
		t.Errorf("it ends with %q", text[max(0, len(text)-40):])
	}
}
