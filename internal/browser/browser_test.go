package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the browser of this machine; without one the tests are skipped, or with
// TDSCALER_CHROMIUM_REQUIRED fail.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("TDSCALER_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	const text = "no Chromium here: `make test-web` installs one, or name it in TDSCALER_CHROMIUM"
	if os.Getenv("TDSCALER_CHROMIUM_REQUIRED") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

// site is a daemon on a simulated market, two days in, with its pages.
type site struct {
	url string
	in  io.WriteCloser
	out *bufio.Scanner
}

// cycle has the daemon do one more cycle.
func (s *site) cycle(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(s.in, "\n"); err != nil || !s.out.Scan() {
		t.Fatal("no cycle: ", err)
	}
}

// serve builds and starts the program of the main module that serves the pages.
func serve(t *testing.T) *site {
	t.Helper()
	program := filepath.Join(t.TempDir(), "serve")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", program, "./internal/stage/serve").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error("serve: ", err)
		}
	})
	s := &site{in: in, out: bufio.NewScanner(out)}
	if !s.out.Scan() {
		t.Fatal("it serves nothing")
	}
	s.url = s.out.Text()
	return s
}

// tab is a window of the browser, and what it complained of.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string

	mu         sync.Mutex
	complaints []string
	requests   []string
}

// browse starts a browser.
func browse(t *testing.T) context.Context {
	t.Helper()
	opts := append(
		chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// open makes a window of a size.
func open(t *testing.T, browser context.Context, s *site, width, height int64) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	w := &tab{t: t, ctx: ctx, url: s.url}
	if err := chromedp.Listen(ctx, w.hear); err != nil {
		t.Fatal(err)
	}
	w.do(chromedp.EmulateViewport(width, height))
	return w
}

func (w *tab) hear(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := ev.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry != nil && !strings.Contains(e.Entry.Text, "favicon") {
			w.complaints = append(w.complaints, fmt.Sprintf("%v: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		w.complaints = append(w.complaints, "an exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		w.complaints = append(w.complaints, fmt.Sprintf("the console: %v", e.Type))
	case *network.EventRequestWillBeSent:
		w.requests = append(w.requests, e.Request.URL)
	}
}

// quiet fails where the browser complained, or asked anybody but the server.
func (w *tab) quiet(where string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.complaints {
		w.t.Errorf("%s: %s", where, c)
	}
	for _, r := range w.requests {
		if !strings.HasPrefix(r, w.url+"/") && r != w.url && r != "about:blank" {
			w.t.Errorf("%s: it asked %s", where, r)
		}
	}
	w.complaints = nil
}

func (w *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	if err := chromedp.Do(w.ctx, steps...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *tab) visit(path string) {
	w.t.Helper()
	w.do(chromedp.Navigate(w.url+path), chromedp.WaitReady("#main"))
}

func eval[T any](w *tab, js string) T {
	w.t.Helper()
	v, err := chromedp.Run(w.ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("%.100s: %v", js, err)
	}
	return v
}

// scheme chooses light or dark.
func (w *tab) scheme(name string) {
	w.t.Helper()
	_, err := chromedp.Call(w.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// scripts allows or forbids scripts.
func (w *tab) scripts(on bool) {
	w.t.Helper()
	if _, err := chromedp.Call(w.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for what a script says to be true; a page may go away meanwhile.
func (w *tab) until(js string) {
	w.t.Helper()
	for range 200 {
		if ok, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool](js)); err == nil && ok {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatalf("it never came to be: %s", js)
}
