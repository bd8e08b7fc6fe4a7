"use strict";
// Asks the server that it came from how things stand, and draws it. All text is set as text, never as HTML.
const EVERY_MS = 1000, WIDTH = 300, HEIGHT = 150, LEFT = 46, BOTTOM = 18, TOP = 8, RIGHT = 8;
const SVG = "http://www.w3.org/2000/svg";
const trainings = new Map();
let version = 0, columns = [];

const by = (id) => document.getElementById(id);
const make = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const draw = (name, attributes, text) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const short = (value) => Number(value.toPrecision(3)).toString();
const duration = (seconds) => seconds < 90 ? `${Math.round(seconds)} s`
  : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

function said(state) {
  const counts = state.counts, all = Object.values(counts).reduce((sum, one) => sum + one, 0);
  const parts = [`${counts.done} of ${all} tasks done`];
  if (counts.running) parts.push(`${counts.running} under way`);
  if (counts.failed) parts.push(`${counts.failed} failed`);
  if (!state.is_complete && state.seconds_left !== null) parts.push(`about ${duration(state.seconds_left)} left`);
  if (state.is_complete) parts.push(state.report ? `report: ${state.report}` : state.is_running ? "the report is being drawn" : "the report is not drawn yet");
  else if (!state.is_running) parts.push("no run is under way");
  return parts.join(" · ");
}

function show(state) {
  document.title = `${Math.floor(100 * state.share)} % ${state.study}`;
  set(by("folder"), state.folder);
  set(by("study"), state.study);
  set(by("said"), said(state));
  by("share").value = state.share;
  by("failures").hidden = !state.failed.length;
  by("failed").replaceChildren(...state.failed.map((one) => {
    const item = make("li");
    item.append(make("strong", one.title), make("div", one.reason, { class: "detail" }));
    return item;
  }));
  by("idle").hidden = state.running.length > 0;
  by("running").replaceChildren(...state.running.map((one) => {
    const item = make("li");
    const bar = make("progress", undefined, { max: 1, "aria-label": one.title });
    if (one.share > 0) bar.value = one.share;
    const loss = one.loss === null ? "" : `, loss ${short(one.loss)}`;
    const said = make("span", one.title);
    said.append(make("span", ` ${duration(one.seconds)}${loss}`, { class: "detail" }));
    item.append(bar, said);
    return item;
  }));
  by("groups").replaceChildren(...state.groups.map((group) => {
    const row = make("tr", undefined, { role: "row" });
    row.append(make("th", group.name, { scope: "row", role: "rowheader" }));
    for (const name of ["done", "running", "failed", "waiting"]) {
      const count = group.counts[name];
      row.append(make("td", count ? String(count) : "", { "data-label": name, role: "cell" }));
    }
    return row;
  }));
}

function line(training, name, x, y, kind) {
  const at = columns.indexOf(name), epoch = columns.indexOf("epoch");
  const points = training.rows.filter((row) => row[at] !== null && row[at] !== undefined);
  if (!points.length) return [];
  const [place, of] = [(row) => `${x(row[epoch]).toFixed(1)},${y(row[at]).toFixed(1)}`, `${training.state} ${kind}`];
  const path = draw("path", { d: `M${points.map(place).join("L")}`, class: of });
  path.append(draw("title", {}, `${training.title}, ${kind === "test" ? "test" : "training"}: ${short(points.at(-1)[at])}`));
  if (points.length > 1) return [path];
  return [path, draw("circle", { cx: x(points[0][epoch]), cy: y(points[0][at]), r: 2, class: of })];
}

function chart(name, group, quantity) {
  const numbers = (column) => group.flatMap((one) => one.rows.map((row) => row[columns.indexOf(column)]))
    .filter((value) => value !== null && value !== undefined);
  const kinds = ["train", "test"];
  const values = kinds.flatMap((kind) => numbers(`${kind}_${quantity}`));
  const last = Math.max(1, ...group.map((one) => one.epochs), ...numbers("epoch"));
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = [0, 1];
  if (low === high) [low, high] = low > 0 ? [0, 2 * low] : low < 0 ? [2 * low, 0] : [0, 1];
  const x = (epoch) => LEFT + (WIDTH - LEFT - RIGHT) * epoch / last;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
  const drawing = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${quantity} by epoch: ${name}` });
  for (const value of [low, high]) {
    drawing.append(draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    drawing.append(draw("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  drawing.append(draw("text", { x: LEFT, y: HEIGHT - 4 }, "0"));
  drawing.append(draw("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, String(last)));
  const order = ["done", "failed", "running"];
  for (const one of [...group].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state)))
    for (const kind of kinds) drawing.append(...line(one, `${kind}_${quantity}`, x, y, kind));
  const figure = make("figure"), caption = make("figcaption");
  const running = group.filter((one) => one.state === "running").length;
  caption.append(make("b", name), ` ${group.length === 1 ? "1 training" : `${group.length} trainings`}${running ? `, ${running} under way` : ""}`);
  figure.append(caption, drawing);
  return figure;
}

function chartAll() {
  const quantity = document.querySelector("input[name=quantity]:checked").value;
  const groups = new Map();
  for (const one of trainings.values()) {
    if (!groups.has(one.group)) groups.set(one.group, []);
    groups.get(one.group).push(one);
  }
  by("charts").replaceChildren(...[...groups].map(([name, group]) => chart(name, group, quantity)));
}

async function ask() {
  try {
    const answer = await fetch(`state?since=${version}`);
    if (!answer.ok) throw new Error(String(answer.status));
    const state = await answer.json();
    by("lost").hidden = true;
    show(state);
    columns = state.curves.columns;
    if (state.curves.version < version) {  // the server was started again
      version = 0;
      trainings.clear();
    }
    if (state.curves.version !== version) {
      version = state.curves.version;
      for (const one of state.curves.trainings) trainings.set(one.key, one);
      chartAll();
    }
    document.body.dataset.ready = "yes";
  } catch {
    by("lost").hidden = false;
  }
  setTimeout(ask, EVERY_MS);
}

for (const choice of document.querySelectorAll("input[name=quantity]")) choice.addEventListener("change", chartAll);
ask();
