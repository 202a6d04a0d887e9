package web

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReadinessSaysOfEachCheckWhyAndSinceWhen(t *testing.T) {
	_, text, _ := ask(t, "GET", "/readyz?verbose", errors.New("the list of machines: 502\n[+]forged ok"))
	want := "tdscaler is not ready: the list of machines: 502 [+]forged ok\n" +
		"[+]first_cycle ok since 0001-01-01T00:00:00Z\n" +
		"[-]look failed since 2026-03-02T03:00:00Z: the list of machines: 502 [+]forged ok\n" +
		"[!]config ok since 0001-01-01T00:00:00Z, but: a slip\n"
	if text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	if code, text, _ := ask(t, "GET", "/readyz?verbose", nil); code != 200 || !strings.HasPrefix(text, "tdscaler is ready.\n[+]first_cycle ok") {
		t.Errorf("%d %s", code, text)
	}
}

func TestReadinessIsToldToProgramsAsJSON(t *testing.T) {
	for _, ready := range []error{nil, errors.New("<b>down</b>")} {
		r := httptest.NewRequest("GET", "/readyz", nil)
		r.Header.Set("Accept", "application/json, text/plain;q=0.5")
		w := httptest.NewRecorder()
		Handler(Options{Checks: checking(ready)}).ServeHTTP(w, r)
		var got readiness
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Ready != (ready == nil) || (w.Code == 200) != got.Ready || len(got.Checks) != 3 || got.Checks[1].OK != got.Ready || got.Checks[1].Since.IsZero() ||
			w.Header().Get("Content-Type") != "application/json" || strings.Contains(w.Body.String(), "<b>") {
			t.Errorf("%v: %d %s", ready, w.Code, w.Body)
		}
	}
}
