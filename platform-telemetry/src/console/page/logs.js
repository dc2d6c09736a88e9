// The log search.

import { get, live, now } from "./api.js";
import { byId, element, fill } from "./dom.js";
import { ago, count, exact, stamp } from "./format.js";

const LIMIT = 200;
const TAIL_EVERY = 2000;
const TYPING = 250;

const form = byId("log-filters");
const tail = byId("tail");
const list = byId("records");

/** Rows by what they show, so that an opened one stays open when others come in. */
let rows = new Map();
let asked = 0;
let visible = true;

export function startLogs() {
  tail.setAttribute("aria-pressed", String(live));
  let timer;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, TYPING);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  tail.addEventListener("click", () => {
    tail.setAttribute("aria-pressed", String(!tailing()));
    if (tailing()) search();
  });
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
  }).observe(list);
  setInterval(() => {
    if (tailing() && visible && !document.hidden) search();
  }, TAIL_EVERY);
  search();
}

export function setEnvironments(names) {
  const select = form.elements.environment;
  const known = [...select.options].slice(1).map((option) => option.value);
  if (known.join() === names.join()) return;
  const chosen = select.value;
  fill(select, element("option", { value: "" }, "All environments"), names.map((name) => element("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : "";
}

const tailing = () => tail.getAttribute("aria-pressed") === "true";

async function search() {
  const turn = ++asked;
  const { text, environment, severity, period } = Object.fromEntries(new FormData(form));
  try {
    const from = Math.round(now() - Number(period));
    const page = await get("logs", { text, environment, severity, from, limit: LIMIT });
    // An answer that a later search has overtaken is not shown.
    if (turn === asked) show(page, words(text));
  } catch (error) {
    if (turn !== asked) return;
    rows = new Map();
    fill(byId("log-total"), "");
    fill(list, element("p", { class: "empty bad" }, error.message));
  }
}

function show(page, marked) {
  const shown = page.records.length;
  fill(byId("log-total"), page.total > shown ? `${count(shown)} of ${count(page.total)} records` : `${count(shown)} records`);
  if (shown === 0) {
    rows = new Map();
    fill(list, element("p", { class: "empty" }, "No records match in this period."));
    return;
  }
  list.querySelector(".empty")?.remove();
  const kept = new Map();
  const key = (record, nth) => JSON.stringify([record.timestamp, record.severity, record.body, record.labels, marked, nth]);
  let before = list.firstChild;
  for (const record of page.records) {
    let nth = 0;
    while (kept.has(key(record, nth))) nth += 1;
    const id = key(record, nth);
    const row = rows.get(id) ?? logRow(record, marked);
    kept.set(id, row);
    row.querySelector(".ago").textContent = ago(record.timestamp, now());
    if (row === before) before = before.nextSibling;
    else list.insertBefore(row, before);
  }
  for (const [id, row] of rows) if (!kept.has(id)) row.remove();
  rows = kept;
}

/** A record that opens to show its labels. */
export function logRow(record, marked = []) {
  const { environment, cluster, source } = record.labels;
  const origin = environment ?? cluster ?? source ?? "";
  return element(
    "details",
    { class: `record ${record.severity}` },
    element(
      "summary",
      {},
      element("time", { datetime: exact(record.timestamp), title: exact(record.timestamp) }, stamp(record.timestamp, now())),
      element("span", { class: "ago" }, ago(record.timestamp, now())),
      element("span", { class: "severity" }, record.severity),
      element("span", { class: "origin", title: origin }, origin),
      element("span", { class: "body" }, highlighted(record.body, marked)),
    ),
    element(
      "dl",
      { class: "fields" },
      Object.entries(record.labels).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    ),
  );
}

/** The words and phrases of a search that are looked for, longest first. */
function words(text) {
  const found = [...text.matchAll(/(-?)"([^"]*)"|(\S+)/g)]
    .filter(([whole]) => !whole.startsWith("-"))
    .map(([, , phrase, word]) => (phrase ?? word).replaceAll('"', "").toLowerCase())
    .filter((word) => word !== "");
  return [...new Set(found)].sort((a, b) => b.length - a.length);
}

function highlighted(body, marked) {
  const lower = body.toLowerCase();
  // Lower case may be of another length in some scripts; positions would not fit then.
  if (marked.length === 0 || lower.length !== body.length) return [body];
  const parts = [];
  let from = 0;
  let at = 0;
  while (at < lower.length) {
    const word = marked.find((candidate) => lower.startsWith(candidate, at));
    if (word === undefined) {
      at += 1;
      continue;
    }
    if (at > from) parts.push(body.slice(from, at));
    parts.push(element("mark", {}, body.slice(at, at + word.length)));
    at += word.length;
    from = at;
  }
  parts.push(body.slice(from));
  return parts;
}
