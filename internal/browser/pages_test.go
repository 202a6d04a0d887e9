package browser

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

//go:embed audit.js
var audit string

// paths are one page of each kind.
func paths(w *tab) []string {
	w.visit("/fleet")
	machine := eval[string](w, `document.querySelector("tbody th a").getAttribute("href")`)
	return []string{"/", "/fleet?sort=-burn", machine, "/policies/dream", "/policies/train", "/money", "/market", "/timeline", "/intents/3", "/cycles/20", "/nowhere"}
}

func TestThePagesInChromium(t *testing.T) {
	browser := browse(t)
	s := serve(t)

	t.Run("they load without a complaint, and ask nobody else", func(t *testing.T) {
		w := open(t, browser, s, 1280, 900)
		for _, path := range paths(w) {
			w.visit(path)
			eval[bool](w, `new Promise((done) => setTimeout(() => done(true), 150))`)
			if path == "/nowhere" { // the browser itself says that it is a 404
				w.complaints = nil
			}
			w.quiet(path)
		}
		if len(w.requests) < 20 {
			t.Errorf("only %d requests were seen", len(w.requests))
		}
	})

	for _, scheme := range []string{"light", "dark"} {
		t.Run("nothing is to be said of them by who cannot see well, "+scheme, func(t *testing.T) {
			for _, width := range []int64{1280, 360} {
				w := open(t, browser, s, width, 900)
				w.scheme(scheme)
				for _, path := range paths(w) {
					w.visit(path)
					for _, c := range eval[[]string](w, audit) {
						t.Errorf("%s, %s, %d wide: %s", path, scheme, width, c)
					}
				}
			}
		})
	}

	t.Run("axe has nothing to say", func(t *testing.T) {
		file := os.Getenv("TDSCALER_AXE")
		if file == "" {
			t.Skip("no axe-core: `make test-web` gets it where there is npm")
		}
		axe, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, scheme := range []string{"light", "dark"} {
			w := open(t, browser, s, 1280, 900)
			w.scheme(scheme)
			for _, path := range paths(w) {
				w.visit(path)
				eval[bool](w, string(axe)+"; true")
				for _, v := range eval[[]string](w, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) => v.id + ": " + v.help + ", " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120) + " " + (n.any[0] || {message: ""}).message).join(" | ")))`) {
					t.Errorf("%s, %s: %s", path, scheme, v)
				}
			}
		}
	})

	t.Run("a phone needs no scrolling sideways", func(t *testing.T) {
		w := open(t, browser, s, 360, 740)
		for _, path := range paths(w) {
			w.visit(path)
			if wide := eval[float64](w, `document.documentElement.scrollWidth`); wide > 360 {
				t.Errorf("%s is %v wide: %s", path, wide, eval[string](w, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 361 && !e.closest(".scroll") && !e.closest(".cmd")).map((e) => e.outerHTML.slice(0, 90)).slice(0, 4).join(" ")`))
			}
		}
	})

	t.Run("they can be read without a script", func(t *testing.T) {
		w := open(t, browser, s, 1280, 900)
		all := paths(w)
		w.scripts(false)
		for _, path := range all {
			w.visit(path)
			if text := eval[string](w, `document.querySelector("main").innerText`); len(text) < 40 {
				t.Errorf("%s says %q", path, text)
			}
			if n := eval[int](w, `document.querySelectorAll("button[type=button]").length`); n != 0 {
				t.Errorf("%s: a script ran", path)
			}
		}
		w.visit("/timeline")
		before := eval[int](w, `document.querySelectorAll("tbody tr").length`)
		w.do(chromedp.SetValue(`select[name="kind"]`, "hold"), chromedp.Click(`.filters button`))
		w.until(`location.search.includes("kind=hold") && document.readyState === "complete"`)
		if after := eval[int](w, `document.querySelectorAll("tbody tr").length`); after == 0 || after >= before || !strings.Contains(eval[string](w, `location.search`), "kind=hold") {
			t.Errorf("%d of %d entries", after, before)
		}
	})

	t.Run("filters show what is asked for, and stay chosen", func(t *testing.T) {
		w := open(t, browser, s, 1280, 900)
		w.visit("/timeline")
		w.do(chromedp.SetValue(`select[name="policy"]`, "sweep"), chromedp.SendKeys(`input[name="q"]`, "price_fell\r"))
		w.until(`location.search.includes("q=price_fell") && document.readyState === "complete"`)
		got := eval[[]string](w, `[...document.querySelectorAll("tbody tr")].map((r) => r.innerText)`)
		if len(got) == 0 {
			t.Error("nothing is shown")
		}
		for _, row := range got {
			if !strings.Contains(row, "sweep") || !strings.Contains(row, "price_fell") {
				t.Errorf("%q", row)
			}
		}
		if v := eval[string](w, `document.querySelector("select[name=policy]").value + " " + document.querySelector("input[name=q]").value`); v != "sweep price_fell" {
			t.Errorf("chosen is %q", v)
		}
		w.visit("/fleet")
		w.do(chromedp.Click(`thead a[href="?sort=-burn"]`), chromedp.WaitReady(`th[aria-sort="descending"]`))
		w.visit("/market")
		w.do(chromedp.SetValue(`select[name="model"]`, "rtxa5000-pcie-24gb"), chromedp.Click(`.filters button`))
		w.until(`location.search.includes("rtxa5000") && document.readyState === "complete"`)
		if n := eval[int](w, `document.querySelectorAll("#prices-h ~ .grid .cell").length`); n != 1 {
			t.Errorf("%d models are drawn", n)
		}
		w.quiet("filters")
	})

	t.Run("a page follows the daemon without being loaded again", func(t *testing.T) {
		w := open(t, browser, s, 1280, 900)
		w.visit("/")
		before := eval[string](w, `window.mine = "still here"; document.getElementById("live").dataset.cycle`)
		eval[bool](w, `document.querySelector("#stop-h").scrollIntoView(); document.querySelector("a[href='/policies/train']").focus(); true`)
		eval[bool](w, `new Promise((done) => setTimeout(() => done(true), 700))`) // the stream is open
		began := time.Now()
		s.cycle(t)
		after := eval[string](w, `new Promise((done) => { const was = "`+before+`", look = () => document.getElementById("live").dataset.cycle !== was ? done(document.getElementById("live").dataset.cycle) : setTimeout(look, 50); look(); })`)
		t.Logf("cycle %s was followed by %s on the page after %s", before, after, time.Since(began).Round(time.Millisecond))
		if after <= before || eval[string](w, `window.mine`) != "still here" {
			t.Errorf("%s, then %s; loaded again: %v", before, after, eval[string](w, `String(window.mine)`))
		}
		if time.Since(began) > 10*time.Second {
			t.Error("it took until the next poll")
		}
		if got := eval[string](w, `document.getElementById("news").textContent`); !strings.Contains(got, after) {
			t.Errorf("who listens hears %q", got)
		}
		if got := eval[string](w, `document.activeElement.getAttribute("href") || ""`); got != "/policies/train" {
			t.Errorf("the focus went to %q", got)
		}
		w.quiet("following")
	})

	t.Run("the keyboard reaches everything, and is seen", func(t *testing.T) {
		w := open(t, browser, s, 1280, 900)
		w.visit("/")
		w.do(chromedp.KeyEvent("\t"))
		if got := eval[string](w, `document.activeElement.className`); got != "skip" {
			t.Errorf("the first is %q", got)
		}
		w.do(chromedp.KeyEvent("\r"))
		if got := eval[string](w, `document.activeElement.id`); got != "main" {
			t.Errorf("the skip link leads to %q", got)
		}
		met := map[string]bool{}
		for range 60 {
			w.do(chromedp.KeyEvent("\t"))
			at := eval[string](w, `(() => { const e = document.activeElement, s = getComputedStyle(e); return e === document.body ? "" : e.outerHTML.slice(0, 90) + (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2 ? " UNSEEN" : ""); })()`)
			if at == "" {
				break
			}
			if strings.Contains(at, "UNSEEN") {
				t.Errorf("the focus is not seen on %s", at)
			}
			met[at] = true
		}
		if len(met) < 25 {
			t.Errorf("only %d things were reached: a trap?", len(met))
		}
	})

	t.Run("pictures of the docs", func(t *testing.T) { pictures(t, browser, s) })
}

// pictures takes the screenshots of docs/web.md where TDSCALER_PICTURES names the folder;
// elsewhere it only sees that they could be taken.
func pictures(t *testing.T, browser context.Context, s *site) {
	dir := os.Getenv("TDSCALER_PICTURES")
	for _, p := range []struct {
		name, path, scheme string
		w, h               int64
	}{
		{"web-overview", "/", "light", 1200, 1130},
		{"web-policy", "/policies/train", "light", 1200, 1080},
		{"web-money", "/money", "dark", 1200, 1180},
		{"web-market", "/market", "light", 1200, 1240},
		{"web-phone", "/", "dark", 390, 1100},
	} {
		w := open(t, browser, s, p.w, p.h)
		w.scheme(p.scheme)
		w.visit(p.path)
		eval[bool](w, `document.querySelectorAll(".cmd code").forEach((c) => { c.textContent = c.textContent.replace(/--config \S+/, "--config policies.yaml"); }); true`)
		png, err := chromedp.Run(w.ctx, chromedp.CaptureScreenshot())
		if err != nil || len(png) < 20<<10 {
			t.Fatalf("%s: %d bytes, %v", p.name, len(png), err)
		}
		if dir == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, p.name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
