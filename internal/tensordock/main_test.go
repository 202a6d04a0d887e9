package tensordock

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

const (
	testKey   = "0b6ee1c2-key-key-key-3f9a55d7e001"
	testToken = "t0k+en/with=odd&chars\"<%>"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a scripted API: each request gets the next answer, the last one again.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	calls []*http.Request // with parsed forms
}

func serve(t testing.TB, handle func(w http.ResponseWriter, r *http.Request, n int)) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.calls = append(f.calls, r)
		n := len(f.calls)
		f.mu.Unlock()
		_ = r.ParseForm()
		handle(w, r, n)
	}))
	t.Cleanup(f.Close)
	return f
}

// answers serves one fixed status and body.
func answers(t testing.TB, code int, body string) *fake {
	return serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	})
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func (f *fake) last() *http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[len(f.calls)-1]
}

// client talks to f on a virtual clock, so that pacing and retries take no time.
func client(t testing.TB, url string, change ...func(*Options)) (*Client, *clock.Virtual) {
	t.Helper()
	vc := clock.NewVirtual(start)
	o := Options{MarketplaceURL: url, InstancesURL: url, Key: secret.New(testKey), Token: secret.New(testToken), Clock: vc}
	for _, f := range change {
		f(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c, vc
}

// payload reads a recorded answer as bytes and as a plain tree, to compare with.
func payload(t testing.TB, name string) ([]byte, map[string]any) {
	t.Helper()
	dir := os.Getenv("TDSCALER_PAYLOADS")
	if dir == "" {
		t.Skip("TDSCALER_PAYLOADS is not set")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	_ = json.Unmarshal(b, &tree) // arrays have no tree
	return b, tree
}

// at walks a plain tree.
func at(tree any, path ...string) any {
	for _, p := range path {
		m, _ := tree.(map[string]any)
		tree = m[p]
	}
	return tree
}

func num(tree any, path ...string) float64 {
	f, _ := at(tree, path...).(float64)
	return f
}

func str(tree any, path ...string) string {
	s, _ := at(tree, path...).(string)
	return s
}

// only is the one member of a map that is an object.
func only(t testing.TB, tree any) (string, map[string]any) {
	t.Helper()
	for k, v := range tree.(map[string]any) {
		if m, ok := v.(map[string]any); ok {
			return k, m
		}
	}
	t.Fatal("no object")
	return "", nil
}

// sameRate compares an exact rate with the same number read as a float.
func sameRate(t testing.TB, what string, got market.Maybe[market.Rate], want float64) {
	t.Helper()
	r, ok := got.Get()
	if d := r.Float() - want; !ok || d > 1e-9 || d < -1e-9 {
		t.Errorf("%s is %v (known %v), want %v", what, r, ok, want)
	}
}

func eq[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func known[T comparable](t testing.TB, what string, got market.Maybe[T], want T) {
	t.Helper()
	if v, ok := got.Get(); !ok || v != want {
		t.Errorf("%s is %v (known %v), want %v", what, v, ok, want)
	}
}

func unknown[T any](t testing.TB, what string, got market.Maybe[T]) {
	t.Helper()
	if v, ok := got.Get(); ok {
		t.Errorf("%s is %v, want unknown", what, v)
	}
}

func mustParse(t testing.TB, b []byte) value {
	t.Helper()
	v, ok := parse(b)
	if !ok {
		t.Fatalf("not an answer: %s", b)
	}
	return v
}

func class(t testing.TB, err error, want market.Class) {
	t.Helper()
	if got := market.ClassOf(err); got != want {
		t.Errorf("class is %q, want %q (%v)", got, want, err)
	}
}

var bg = context.Background()
