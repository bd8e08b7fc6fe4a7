"use strict";
// Comfort only: but for the further rows of long tables, the page can be read in full without this.

// Theme ---------------------------------------------------------------------------------------------------------

const themeButton = document.getElementById("theme");
const themes = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.querySelector("span").textContent = theme;
}

function rememberedTheme() {
  // Some browsers refuse storage to pages opened from disk.
  try { return localStorage.getItem("transferscope-theme"); } catch { return null; }
}

themeButton.hidden = false;
setTheme(themes.includes(rememberedTheme()) ? rememberedTheme() : "auto");
themeButton.addEventListener("click", () => {
  const current = document.documentElement.dataset.theme ?? "auto";
  const next = themes[(themes.indexOf(current) + 1) % themes.length];
  setTheme(next);
  try { localStorage.setItem("transferscope-theme", next); } catch { /* then only for this visit */ }
});

// Tables --------------------------------------------------------------------------------------------------------

const ROWS_AT_ONCE = 100;
const LONG_CELL = 28;

async function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Rows of a CSV text: null where a field is empty and not in quotation marks.
function parsedCsv(text) {
  const rows = [];
  let row = [];
  let at = 0;
  while (at < text.length) {
    let field;
    if (text[at] === '"') {
      let end = at + 1;
      while (text[end] !== '"' || text[end + 1] === '"') end += text[end] === '"' ? 2 : 1;
      field = text.slice(at + 1, end).replaceAll('""', '"');
      at = end + 1;
    } else {
      let end = at;
      while (end < text.length && text[end] !== "," && text[end] !== "\n") end += 1;
      field = end === at ? null : text.slice(at, end);
      at = end;
    }
    row.push(field);
    if (text[at] === "\n" || at >= text.length) {
      rows.push(row);
      row = [];
    }
    at += 1;
  }
  return rows;
}

// With three significant digits, as the rows are written that stand in the page.
function written(number) {
  const size = Math.abs(number);
  const minus = number < 0 ? "\u2212" : "";
  if (size === Infinity) return `${minus}\u221e`;
  if (size === 0) return "0";
  const [mantissa, exponent] = size.toExponential(2).split("e");
  if (size >= 1e-3 && size < 1e6) return minus + size.toFixed(Math.max(0, 2 - Number(exponent)));
  const raised = String(Number(exponent)).replace(/./g, (digit) => "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["-0123456789".indexOf(digit)]);
  return `${minus}${mantissa}\u00d710${raised}`;
}

function cellOf(field, type) {
  const isNumber = type === "int" || type === "float";
  if (field === null || (isNumber && field === "NaN")) return { text: "\u2013", key: null };
  if (type === "bool") return { text: field === "true" ? "yes" : "no", key: field };
  if (!isNumber) {
    const text = field.replace(/^'(?=[=+\-@\t\r])/, "");  // the apostrophe is for spreadsheets
    return { text, key: text };
  }
  const value = Number(field.replace("inf", "Infinity"));
  return { text: type === "int" ? field.replace("-", "\u2212") : written(value), key: value };
}

function drawnRow(cells, types) {
  const row = document.createElement("tr");
  cells.forEach((cell, column) => {
    const drawn = row.insertCell();
    if (cell.key === null) {
      drawn.dataset.missing = "";
      const dash = drawn.appendChild(document.createElement("abbr"));
      dash.title = "not available";
      dash.textContent = cell.text;
    } else drawn.textContent = cell.text;
    if (types[column] === "int" || types[column] === "float") drawn.className = "numeric";
    else if (cell.text.length > LONG_CELL) drawn.className = "long";
  });
  return row;
}

function compared(a, b) {
  if (a === null || b === null) return 0;
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}

function enliven(details) {
  const table = details.querySelector("table.sortable");
  const headers = Array.from(table.tHead.rows[0].cells);
  const types = headers.map((header) => header.dataset.type);
  const download = details.querySelector(".download");
  const further = details.querySelector(".further-rows");
  const filter = details.querySelector("input");
  const output = details.querySelector("output");
  let rows = null;
  let shown = [];

  async function load() {
    const text = await unpacked(download.dataset.packed);
    rows ??= parsedCsv(text).slice(1).map((fields) => {
      const cells = fields.map((field, column) => cellOf(field, types[column]));
      return { cells, words: cells.map((cell) => cell.text).join("\n").toLowerCase() };
    });
    table.parentElement.parentElement.querySelector(".without-script")?.remove();
    show();
  }

  function append(count) {
    const drawn = table.tBodies[0].rows.length;
    table.tBodies[0].append(...shown.slice(drawn, drawn + count).map((row) => drawnRow(row.cells, types)));
    further.hidden = table.tBodies[0].rows.length >= shown.length;
    const of = `${table.tBodies[0].rows.length} of ${shown.length} rows`;
    output.textContent = shown.length < rows.length ? `${of}, out of ${rows.length}` : of;
  }

  function show() {
    const wanted = filter.value.trim().toLowerCase();
    shown = rows.filter((row) => row.words.includes(wanted));
    const sorted = headers.findIndex((header) => header.hasAttribute("aria-sort"));
    if (sorted >= 0) {
      const direction = headers[sorted].getAttribute("aria-sort") === "ascending" ? 1 : -1;
      const key = (row) => row.cells[sorted].key;
      shown.sort((a, b) => (key(a) === null) - (key(b) === null) || direction * compared(key(a), key(b)));
    }
    table.tBodies[0].replaceChildren();
    append(ROWS_AT_ONCE);
  }

  for (const header of headers) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", next);
      if (rows) show();
    });
  }
  filter.addEventListener("input", () => rows && show());
  further.addEventListener("click", () => append(ROWS_AT_ONCE));
  download.addEventListener("click", async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([await unpacked(download.dataset.packed)], { type: "text/csv" }));
    link.download = download.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
  details.querySelector(".tools").hidden = false;
  details.addEventListener("toggle", () => details.open && rows === null && load());
}

if ("DecompressionStream" in window) document.querySelectorAll("details.table").forEach(enliven);

// What a mark of a chart stands for, beside the pointer ------------------------------------------------------------

const bubble = document.body.appendChild(document.createElement("div"));
bubble.id = "tip";
bubble.setAttribute("aria-hidden", "true");
bubble.hidden = true;

// A line is thin: what lies a few pixels beside the pointer counts too.
function markAt(x, y) {
  for (const [right, down] of [[0, 0], [4, 0], [-4, 0], [0, 4], [0, -4]]) {
    const mark = document.elementFromPoint(x + right, y + down)?.closest("[data-tip]");
    if (mark) return mark;
  }
  return null;
}

function pointAt(event) {
  const mark = event.target.closest?.(".drawing") ? markAt(event.clientX, event.clientY) : null;
  bubble.hidden = mark === null;
  if (mark === null) return;
  bubble.replaceChildren(...mark.dataset.tip.split("; ").map((part) => {
    const line = document.createElement("div");
    line.textContent = part;
    return line;
  }));
  const { width, height } = bubble.getBoundingClientRect();
  const left = Math.max(4, Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 4));
  const above = event.clientY - height - 12;
  bubble.style.left = `${left}px`;
  bubble.style.top = `${above < 4 ? event.clientY + 16 : above}px`;
}

document.addEventListener("pointermove", pointAt, { passive: true });
document.addEventListener("pointerdown", pointAt, { passive: true });
document.addEventListener("scroll", () => { bubble.hidden = true; }, { passive: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") bubble.hidden = true; });

// A narrow screen: sections fold to what was found -------------------------------------------------------------------

const narrow = window.matchMedia("(max-width: 48rem)");

function unfold() {
  const id = decodeURIComponent(location.hash.slice(1));
  const place = id && document.getElementById(id);
  const body = place && (place.closest("details.body") ?? place.querySelector(":scope > details.body"));
  if (body) body.open = true;
}

function fold() {
  for (const body of document.querySelectorAll("details.body")) body.open = !narrow.matches;
  unfold();
}

if (narrow.matches) fold();
narrow.addEventListener("change", fold);
window.addEventListener("hashchange", unfold);
document.addEventListener("click", (event) => {
  // a second time to the same place changes no hash
  if (event.target.closest?.('a[href^="#"]')?.hash === location.hash) unfold();
});

// Print: charts, images and tests unfold; tables don't, they lie in files beside the report ------------------------

let closed = [];
window.addEventListener("beforeprint", () => {
  bubble.hidden = true;
  closed = Array.from(document.querySelectorAll("details:is(.body, .more, .gallery):not([open])"));
  for (const details of closed) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
