package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProfilesAreForThisMachineAlone(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:6060", "example.com:6060", "6060"} {
		ln, err := listenProfiles(addr)
		var coded *codedError
		if !errors.As(err, &coded) || coded.code != exitUsage {
			t.Errorf("%s: %v", addr, err)
		}
		if ln != nil {
			_ = ln.Close()
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0", "127.0.0.2:0"} {
		ln, err := listenProfiles(addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		_ = ln.Close()
	}
}

func TestAPageThatCallsItselfOtherwiseGetsNoProfile(t *testing.T) {
	srv := httptest.NewServer(profiles())
	defer srv.Close()
	get := func(path, host string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for path, want := range map[string]int{
		"/debug/pprof/": http.StatusOK, "/debug/pprof/heap": http.StatusOK, "/debug/pprof/goroutine?debug=1": http.StatusOK, "/debug/pprof/trace?seconds=0.01": http.StatusOK,
		"/debug/pprof/nothing": http.StatusNotFound, "/": http.StatusNotFound, "/metrics": http.StatusNotFound,
	} {
		if got := get(path, ""); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:6060", "192.0.2.1"} {
		if got := get("/debug/pprof/heap", host); got != http.StatusForbidden {
			t.Errorf("host %s: %d", host, got)
		}
	}
}
