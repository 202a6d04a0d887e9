// What this adds to a page that can be read without it: the page follows the daemon, ages
// count on, and commands can be copied. It asks nobody but the server that it came from.
"use strict";
(() => {
  const live = () => document.getElementById("live");
  const note = document.getElementById("news");
  let busy = false, again = false, last = live().dataset.cycle, timer = 0;

  // The words of ages as the server writes them.
  const length = (s) => {
    s = Math.max(0, Math.round(s));
    const two = (a, x, b, y) => `${a}${x}` + (b ? `${b}${y}` : "");
    if (s < 60) return `${s}s`;
    if (s < 3600) return two(Math.floor(s / 60), "m", s % 60, "s");
    if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
    return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
  };
  // The server's clock counts, not ours.
  let ahead = 0;
  const setClock = (doc) => {
    const t = doc.querySelector("footer time");
    if (t) ahead = Date.parse(t.getAttribute("datetime")) - Date.now();
  };
  const tick = () => {
    for (const t of document.querySelectorAll("time[data-ago]")) {
      const d = (Date.now() + ahead - Date.parse(t.getAttribute("datetime"))) / 1000;
      t.textContent = d < 0 ? `in ${length(-d)}` : `${length(d)} ago`;
    }
  };

  const buttons = () => {
    if (!navigator.clipboard) return;
    for (const c of document.querySelectorAll(".cmd")) {
      if (c.querySelector("button")) continue;
      const b = document.createElement("button");
      b.type = "button";
      b.textContent = "Copy";
      b.setAttribute("aria-label", "Copy the command " + c.querySelector("code").textContent);
      b.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(c.querySelector("code").textContent);
          b.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(c.querySelector("code"));
          b.textContent = "Selected";
        }
        setTimeout(() => { b.textContent = "Copy"; }, 1500);
      });
      c.append(b);
    }
  };

  // What the reader has opened, scrolled and focused stays as it is.
  const place = (e) => {
    const path = [];
    for (; e && e !== live(); e = e.parentElement) {
      if (e.id) return { id: e.id, path };
      path.unshift([...e.parentElement.children].indexOf(e));
    }
    return { path };
  };
  const find = (at) => {
    let e = at.id ? document.getElementById(at.id) : live();
    for (const i of at.path) e = e && e.children[i];
    return e;
  };
  const editing = () => {
    const e = document.activeElement;
    return e && e.closest && e.closest(".filters") && live().contains(e);
  };
  const swap = (doc) => {
    const next = doc.getElementById("live");
    if (!next) return false;
    const open = [...live().querySelectorAll("details[open]")].map(place);
    const moved = [...live().querySelectorAll(".scroll")].filter((e) => e.scrollLeft).map((e) => [place(e), e.scrollLeft]);
    const focus = live().contains(document.activeElement) ? place(document.activeElement) : null;
    live().replaceChildren(...document.importNode(next, true).childNodes);
    live().dataset.cycle = next.dataset.cycle;
    const stamp = document.querySelector("footer time");
    if (stamp) stamp.replaceWith(document.importNode(doc.querySelector("footer time"), true));
    for (const at of open) { const e = find(at); if (e) e.open = true; }
    for (const [at, x] of moved) { const e = find(at); if (e) e.scrollLeft = x; }
    if (focus) { const e = find(focus); if (e && e.focus) e.focus({ preventScroll: true }); }
    return true;
  };
  const refresh = async () => {
    if (busy) { again = true; return; }
    if (document.hidden) { again = true; return; }
    if (editing() || !getSelection().isCollapsed) { clearTimeout(timer); timer = setTimeout(refresh, 5000); return; }
    busy = true;
    again = false;
    try {
      const r = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      const doc = new DOMParser().parseFromString(await r.text(), "text/html");
      if (r.ok && swap(doc)) {
        setClock(document);
        said("");
        buttons();
        tick();
        const now = live().dataset.cycle;
        if (now !== last) { note.textContent = `Cycle ${now}: the page is up to date.`; last = now; }
      }
    } catch {
      said("the daemon does not answer");
    }
    busy = false;
    if (again) refresh();
  };
  const said = (text) => { const e = document.getElementById("link"); if (e) e.textContent = text; };

  // Told by the server where it can, else by looking every half minute. Nobody who does not
  // look listens: a browser has few connections for one server, and a page that was left
  // may be kept with its own.
  let poll = 0, stream = null, retry = 0;
  const polling = (on) => {
    clearInterval(poll);
    poll = on ? setInterval(refresh, 30000) : 0;
  };
  const hush = () => {
    clearTimeout(retry);
    if (stream) stream.close();
    stream = null;
  };
  const listen = () => {
    hush();
    polling(true);
    if (!window.EventSource || document.hidden) return;
    stream = new EventSource("/api/v1/events");
    stream.onopen = () => polling(false);
    stream.addEventListener("cycle", refresh);
    stream.onerror = () => {
      polling(true);
      if (stream && stream.readyState === EventSource.CLOSED) retry = setTimeout(listen, 60000);
    };
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { hush(); return; }
    listen();
    refresh();
  });
  addEventListener("pagehide", hush);
  addEventListener("pageshow", (e) => { if (e.persisted) { listen(); refresh(); } });
  setClock(document);
  setInterval(tick, 1000);
  tick();
  buttons();
  listen();
})();
