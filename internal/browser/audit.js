// What an accessibility checker would say of this page: a list of complaints.
(() => {
  const out = [];
  const name = (e) => (e.id ? "#" + e.id : e.tagName.toLowerCase() + (e.className && e.className.baseVal === undefined ? "." + String(e.className).split(" ").join(".") : "")) + " «" + (e.textContent || "").trim().slice(0, 30) + "»";
  const seen = (e) => { const r = e.getBoundingClientRect(); const s = getComputedStyle(e); return r.width > 0 && r.height > 0 && s.visibility !== "hidden" && s.display !== "none"; };
  const label = (e) => {
    const by = e.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((i) => (document.getElementById(i) || {}).textContent || "").join(" ").trim();
    return (e.getAttribute("aria-label") || (e.labels && [...e.labels].map((l) => l.textContent).join(" ")) || e.textContent || e.getAttribute("title") || "").trim();
  };

  if (document.documentElement.lang !== "en") out.push("the page has no language");
  if (!document.title) out.push("the page has no title");
  for (const [what, n] of [["main", 1], ["header", 1], ["footer", 1], ["h1", 1]]) {
    if (document.querySelectorAll(what).length !== n) out.push(`${document.querySelectorAll(what).length} of ${what}`);
  }
  if (!document.querySelector("nav[aria-label]")) out.push("no navigation with a name");
  if (!document.querySelector("[aria-live=polite]")) out.push("no live region");

  let last = 0;
  for (const h of document.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const l = Number(h.tagName[1]);
    if (l > last + 1) out.push(`${name(h)} skips a level`);
    if (!h.textContent.trim()) out.push("an empty heading");
    last = l;
  }
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) { if (ids.has(e.id)) out.push(`the id ${e.id} twice`); ids.add(e.id); }
  for (const e of document.querySelectorAll("[aria-labelledby],[aria-describedby]")) {
    for (const a of ["aria-labelledby", "aria-describedby"]) for (const i of (e.getAttribute(a) || "").split(" ")) if (i && !ids.has(i)) out.push(`${name(e)}: nothing has the id ${i}`);
  }
  for (const e of document.querySelectorAll("a[href],button,input,select,textarea,summary")) {
    if (!label(e)) out.push(`${name(e)} ${e.outerHTML.slice(0, 80)} has no name`);
    if (["INPUT", "SELECT", "TEXTAREA"].includes(e.tagName) && !(e.labels && e.labels.length)) out.push(`${name(e)} has no label`);
  }
  for (const e of document.querySelectorAll("[role=region],section")) if (!label(e) || (!e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby"))) out.push(`${name(e)} is a region without a name`);
  for (const e of document.querySelectorAll("svg")) if (e.getAttribute("aria-hidden") !== "true" && !(e.getAttribute("role") === "img" && label(e))) out.push("a picture without words");
  for (const e of document.querySelectorAll("th")) if (!e.scope) out.push(`${name(e)} has no scope`);
  for (const e of document.querySelectorAll("table")) if (!e.querySelector("thead th")) out.push("a table without headings");
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) out.push(`${name(e)} jumps the queue of the tab key`);
  for (const e of document.querySelectorAll(".scroll")) if (e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0) out.push(`${name(e)} cannot be scrolled by keyboard`);

  // Contrast, from what the browser computed.
  const colour = (s) => {
    const m = s.match(/^rgba?\(([^)]*)\)$/);
    if (m) { const p = m[1].split(/[,/ ]+/).map(parseFloat); return [p[0], p[1], p[2], p.length > 3 ? p[3] : 1]; }
    const c = s.match(/^color\(srgb ([^)]*)\)$/);
    if (c) { const p = c[1].split(/[/ ]+/).map(parseFloat); return [p[0] * 255, p[1] * 255, p[2] * 255, p.length > 3 ? p[3] : 1]; }
    return null;
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (c) => { const f = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c && c[3] > 0) layers.push(c); if (c && c[3] === 1) break; }
    let bg = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
    for (const c of layers.reverse()) bg = over(c, bg);
    return bg;
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const told = new Set();
  let texts = 0;
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !seen(e) || e.closest("title,desc,option,.hidden,.skip")) continue;
    texts++;
    const s = getComputedStyle(e);
    const fg = colour(e.closest("svg") ? s.fill : s.color);
    if (!fg) { out.push(`${name(e)}: a colour that cannot be read: ${s.color}`); continue; }
    const bg = ground(e), r = ratio(over(fg, bg), bg);
    const size = parseFloat(s.fontSize), big = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
    const key = s.color + bg;
    if (r < (big ? 3 : 4.5) && !told.has(key)) { told.add(key); out.push(`${name(e)}: contrast ${r.toFixed(2)}`); }
  }
  if (texts < 20) out.push(`only ${texts} texts were looked at`);
  // Lines of pictures must be seen too: 3 to 1.
  for (const e of document.querySelectorAll(".plot path.line, .plot .level, .plot rect.bar")) {
    if (!seen(e) && e.getBoundingClientRect().width === 0) continue;
    const s = getComputedStyle(e), c = colour(e.matches("rect") ? s.fill : s.stroke);
    if (!c) continue;
    const bg = ground(e), r = ratio(over(c, bg), bg);
    if (r < 3 && !told.has("line" + s.stroke)) { told.add("line" + s.stroke); out.push(`a line of ${e.getAttribute("class")}: contrast ${r.toFixed(2)}`); }
  }
  return out;
})()
