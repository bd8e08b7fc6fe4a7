"use strict";
// Comfort only: the page can be read in full without this.

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

function sortRows(table, header) {
  const column = header.cellIndex;
  const isNumeric = header.dataset.numeric !== undefined;
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const keyOf = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.missing !== undefined) return null;
    return isNumeric ? Number(cell.dataset.key ?? cell.textContent) : cell.textContent;
  };
  const rows = Array.from(table.tBodies[0].rows, (row) => ({ row, key: keyOf(row) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return direction * (isNumeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true }));
  });
  table.tBodies[0].append(...rows.map(({ row }) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortRows(table, header));
  }
}

for (const filter of document.querySelectorAll(".filter")) {
  const rows = document.getElementById(filter.dataset.table).tBodies[0].rows;
  filter.hidden = false;
  filter.querySelector("input").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    let numKept = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      numKept += !row.hidden;
    }
    filter.querySelector("output").textContent = wanted ? `${numKept} of ${rows.length} rows` : "";
  });
}

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = Array.from(document.querySelectorAll("details:not([open])"));
  for (const details of closed) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
