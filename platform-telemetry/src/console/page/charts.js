// Dashboards: tabs, panels and charts.

import { get, live, now } from "./api.js";
import { ABOUT, byId, element, fill, icon } from "./dom.js";
import { clock, day, duration, minute, quantity } from "./format.js";
import { logRow } from "./logs.js";

const WINDOWS = [["5m", 300_000], ["15m", 900_000], ["1h", 3_600_000], ["6h", 21_600_000]];
const NOTHING = "Nothing in this window";
/** What is left free before the first data, of the time since. */
const LEAD = 0.04;
const BINARY_STEPS = Array.from({ length: 60 }, (_, i) => 2 ** i);

let dashboards = [];
let shown = null;
let panels = [];
/** The window that was chosen; `null`: the dashboard's own. */
let chosen = null;

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const panel = panels.find((candidate) => candidate.node === target);
    if (!panel) continue;
    panel.visible = isIntersecting;
    if (isIntersecting) panel.refresh();
  }
}, { rootMargin: "300px" });

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) panels.find((panel) => panel.plot === target)?.resize();
});

export function showDashboards(published) {
  const before = shown && JSON.stringify(shown);
  dashboards = published;
  const wanted = location.hash.match(/^#dashboard-(.+)$/)?.[1];
  const linked = !shown && find(wanted);
  shown = linked || find(shown?.uid) || dashboards[0] || null;
  showTabs();
  showWindows();
  if (JSON.stringify(shown) !== before) showPanels();
  if (linked) byId("dashboards").scrollIntoView();
}

/** Draws everything anew, in the colours of the present scheme. */
export function redraw() {
  for (const panel of panels) panel.draw(true);
}

const find = (uid) => dashboards.find((dashboard) => dashboard.uid === uid);

addEventListener("hashchange", () => {
  const dashboard = find(location.hash.match(/^#dashboard-(.+)$/)?.[1]);
  if (dashboard) select(dashboard);
});

setInterval(() => {
  if (!live || document.hidden) return;
  for (const panel of panels) if (panel.visible && Date.now() >= panel.due) panel.refresh();
}, 500);

function select(dashboard) {
  shown = dashboard;
  showTabs();
  showWindows();
  showPanels();
}

function showTabs() {
  const tabs = byId("tabs");
  const focused = tabs.contains(document.activeElement);
  tabs.hidden = dashboards.length < 2;
  fill(tabs, dashboards.map((dashboard) =>
    element("button", {
      type: "button", role: "tab", id: `dashboard-${dashboard.uid}`, "aria-controls": "panels",
      "aria-selected": String(dashboard === shown), tabindex: dashboard === shown ? 0 : -1,
      onclick: () => select(dashboard), onkeydown: moveTab,
    }, dashboard.title)));
  byId("panels").setAttribute("aria-labelledby", shown && dashboards.length > 1 ? `dashboard-${shown.uid}` : "dashboards-title");
  if (focused) tabs.querySelector("[aria-selected=true]")?.focus();
}

function moveTab(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = dashboards.indexOf(shown);
  select(dashboards[(at + step + dashboards.length) % dashboards.length]);
}

function showWindows() {
  const group = byId("windows");
  const current = span();
  const known = WINDOWS.some(([, millis]) => millis === current);
  const choices = known || !shown ? WINDOWS : [...WINDOWS, [duration(current), current]];
  if (group.dataset.shown === JSON.stringify([choices, current])) return;
  group.dataset.shown = JSON.stringify([choices, current]);
  fill(group, element("legend", { class: "hidden" }, "Time window"), choices.map(([name, millis]) =>
    element("label", {},
      element("input", {
        type: "radio", name: "window", value: millis, checked: millis === current,
        onchange: () => {
          chosen = millis;
          for (const panel of panels) panel.refresh();
        },
      }), element("span", {}, name))));
}

const span = () => chosen ?? shown?.window ?? 900_000;

function showPanels() {
  seen.disconnect();
  resized.disconnect();
  for (const panel of panels) panel.end();
  panels = shown ? shown.panels.map((spec, number) => new Panel(shown, spec, number)) : [];
  fill(byId("panels"), panels.length ? panels.map((panel) => panel.node)
    : element("p", { class: "empty surface" }, shown ? "This dashboard has no panels." : "No dashboard is published yet."));
  for (const panel of panels) {
    // Who looks once, for a picture or an archive, does not scroll.
    if (live) seen.observe(panel.node);
    else panel.refresh();
    resized.observe(panel.plot);
  }
}

/**
 * Where the time axis begins: at the start of the window; where no panel knows anything of its first part, shortly before the first data,
 * unless that window was asked for.
 */
function start(from) {
  if (chosen !== null) return from;
  const known = panels.map((panel) => panel.first).filter((time) => time !== null);
  if (known.length === 0) return from;
  const first = Math.min(...known);
  const to = Math.max(...panels.map((panel) => panel.range?.[1] ?? first));
  return Math.max(from, first - Math.max((to - first) * LEAD, 1000));
}

/** The time of the first value; `null` where there is none. */
function firstTime({ series, times }) {
  const index = times?.findIndex((_, i) => series.some((line) => line.values[i] !== null)) ?? -1;
  return index < 0 ? null : times[index];
}

/** A query's series as one where those of all clusters are equal, as on one machine: their lines would cover each other. */
function merged(series) {
  const queries = [...Map.groupBy(series, (line) => line.query).values()];
  return queries.flatMap((lines) => (lines.length > 1 && lines.every((line) => same(line, lines[0])) && union(lines)) || lines);
}

const same = (one, other) =>
  one.values.every((value, i) => {
    const [a, b] = [value, other.values[i]];
    return a === null || b === null ? a === b : Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
  });

function union(lines) {
  const [{ query, values }] = lines;
  const clusters = new Set(lines.map((line) => line.labels.cluster).filter(Boolean));
  const legends = new Set(lines.map((line) => line.legend.replace(line.labels.cluster, `${clusters.size} clusters`)));
  if (clusters.size < lines.length || legends.size > 1) return null;
  return [{ query, labels: {}, legend: [...legends][0], values, equal: lines.map((line) => line.legend) }];
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class Panel {
  constructor(dashboard, spec, number) {
    this.dashboard = dashboard;
    this.spec = spec;
    this.number = number;
    this.due = 0;
    this.visible = false;
    this.hidden = new Set();
    this.chart = null;
    this.data = null;
    this.range = null;
    this.first = null;
    this.plot = element("div", { class: "plot" }, element("p", { class: "empty" }, "Loading…"));
    this.legend = element("ul", { class: "legend" });
    this.at = element("span", { class: "at muted small" });
    this.node = element("figure", { class: `surface panel ${spec.type}`, "aria-label": spec.title },
      element("figcaption", { title: spec.description },
        element("h3", {}, spec.title),
        element("button", { type: "button", class: "about-button", popovertarget: `about-${number}`, title: "What this shows" },
          icon(ABOUT, `About ${spec.title}`)),
        this.at),
      this.plot, this.legend, this.about());
    this.node.style.setProperty("--width", spec.width);
  }

  /** What is shown and by which queries. */
  about() {
    const { title, description, queries, text, matchers, minSeverity } = this.spec;
    const conditions = [text, ...(matchers ?? []), minSeverity && `severity ${minSeverity} and above`].filter(Boolean);
    const lines = queries ? queries.map((query) => query.promql) : conditions;
    return element("div", { class: "about", popover: true, id: `about-${this.number}` },
      element("h3", {}, title), element("p", { class: "muted" }, description),
      lines.map((line) => element("code", { class: "promql" }, line)));
  }

  async refresh() {
    const window = span();
    const to = Math.round(now());
    this.due = Date.now() + Math.max(this.dashboard.refresh, 1000, window / 720);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const path = `dashboards/${encodeURIComponent(this.dashboard.uid)}/panels/${this.number}`;
      const data = await get(path, { from: to - window, to });
      // An answer that a later one has overtaken is not shown.
      if (turn !== this.turn || this.ended) return;
      this.show(data, to - window, to);
    } catch (error) {
      if (turn === this.turn && !this.ended) this.say(error.message, "bad");
    }
  }

  show(data, from, to) {
    const before = start(from);
    this.data = this.spec.type === "timeSeries" ? { ...data, series: merged(data.series) } : data;
    this.first = firstTime(data);
    this.range = [from, to];
    this.draw(false);
    // All panels show the same time: one that knows more of the past draws the others anew.
    if (start(from) !== before) for (const panel of panels) if (panel !== this && panel.chart) panel.draw(false);
  }

  draw(anew) {
    if (!this.data) return;
    if (this.data.type === "logs") return this.drawLogs();
    this.spec.type === "stat" ? this.drawStat() : this.drawChart(anew);
  }

  drawLogs() {
    const rows = this.data.records.map((record) => logRow(record));
    fill(this.plot, rows.length ? element("div", { class: "records" }, rows)
      : element("p", { class: "empty" }, "No such records in this window."));
    fill(this.at, `${this.data.total} in this window`);
  }

  drawStat() {
    const { series } = this.data;
    if (series.length === 0) return this.say(NOTHING);
    fill(this.plot, element("dl", { class: "stats" }, series.map((line) =>
      element("div", {}, element("dt", {}, line.legend),
        element("dd", {}, quantity(latest(line.values), this.spec.unit), sparkline(line.values))))));
  }

  drawChart(anew) {
    const { series, times } = this.data;
    if (!series.some((line) => line.values.some((value) => value !== null))) return this.say(NOTHING);
    const shape = JSON.stringify(series.map((line) => [line.legend, line.query, line.labels]));
    const columns = [times.map((time) => time / 1000), ...series.map((line) => line.values)];
    if (this.chart && shape === this.shape && !anew) {
      this.chart.setData(columns);
    } else {
      this.chart?.destroy();
      this.shape = shape;
      fill(this.plot);
      this.chart = new uPlot(this.options(series), columns, this.plot);
    }
    this.showLegend();
    this.resize();
  }

  options(series) {
    const { unit, range, threshold } = this.spec;
    const palette = Array.from({ length: 8 }, (_, i) => color(`--series-${i + 1}`));
    const groups = [...new Set(series.map((line) => JSON.stringify(line.labels)))];
    this.colors = series.map((line) => palette[groups.indexOf(JSON.stringify(line.labels)) % palette.length]);
    const grid = { stroke: color("--grid"), width: 1 };
    const axis = { stroke: color("--muted"), font: `11px ${color("--sans")}`, grid, ticks: { show: false } };
    const bytes = unit.startsWith("bytes");
    return {
      ...this.size(),
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: this.dashboard.uid, setSeries: false },
        drag: { x: false, y: false },
        points: { size: 6, width: 0, fill: (u, i) => u.series[i].stroke(u, i) },
      },
      scales: {
        x: { range: () => [start(this.range[0]), this.range[1]].map((millis) => millis / 1000) },
        y: { range: (u, low, high) => range ?? fitted(low, high, threshold) },
      },
      axes: [
        { ...axis, space: 70, size: 28, values: (u, splits, i, space, step) => splits.map((second) => tick(second * 1000, step)) },
        {
          ...axis, space: 34, incrs: bytes ? BINARY_STEPS : undefined,
          size: (u, values) => 16 + 6.4 * Math.max(0, ...(values ?? []).map((text) => text.length)),
          values: (u, splits) => splits.map((value) => quantity(value, unit)),
        },
      ],
      series: [
        {},
        ...series.map((line, i) => ({
          stroke: () => this.colors[i],
          width: 1.6,
          dash: line.query > 0 ? [5, 4] : undefined,
          fill: groups.length <= 3 && line.query === 0 ? `${this.colors[i]}14` : undefined,
          show: !this.hidden.has(line.legend),
          points: { show: (u, s, from, to) => to - from < 2, size: 5, fill: this.colors[i] },
        })),
      ],
      hooks: {
        draw: threshold === null ? [] : [(u) => drawThreshold(u, threshold, quantity(threshold, unit))],
        setCursor: [() => this.showValues()],
      },
    };
  }

  showLegend() {
    const { series } = this.data;
    if (this.legend.dataset.shape !== this.shape + this.colors.join()) {
      this.legend.dataset.shape = this.shape + this.colors.join();
      fill(this.legend, series.map((line, i) => {
        const swatch = element("span", { class: line.query > 0 ? "swatch dashed" : "swatch", "aria-hidden": "true" });
        swatch.style.setProperty("--color", this.colors[i]);
        return element("li", {}, element("button", {
          type: "button", "aria-pressed": String(!this.hidden.has(line.legend)),
          title: line.equal ? `Equal, drawn as one line:\n${line.equal.join("\n")}` : "Show or hide",
          onclick: (event) => this.toggle(i, line.legend, event.currentTarget),
        }, swatch, element("span", { class: "name" }, line.legend), line.equal && element("span", { class: "tag" }, "each"), element("span", { class: "value" })));
      }));
    }
    this.showValues();
  }

  /** The values under the cursor, or the latest. */
  showValues() {
    if (!this.data?.series || !this.chart) return;
    const index = this.chart.cursor.idx;
    const { series, times } = this.data;
    fill(this.at, typeof index === "number" ? clock(times[index]) : "");
    this.legend.querySelectorAll(".value").forEach((node, i) => {
      const values = series[i]?.values ?? [];
      node.textContent = quantity(typeof index === "number" ? values[index] : latest(values), this.spec.unit);
    });
  }

  toggle(i, legend, button) {
    const hide = !this.hidden.has(legend);
    this.hidden[hide ? "add" : "delete"](legend);
    button.setAttribute("aria-pressed", String(!hide));
    this.chart?.setSeries(i + 1, { show: !hide });
  }

  size() {
    return { width: this.plot.clientWidth, height: this.plot.clientHeight };
  }

  /** The legend takes its rows from the plot. */
  resize() {
    const { width, height } = this.size();
    if (this.chart && width > 0 && (width !== this.chart.width || height !== this.chart.height)) this.chart.setSize({ width, height });
  }

  say(text, tone = "") {
    this.chart?.destroy();
    this.chart = null;
    this.shape = null;
    delete this.legend.dataset.shape;
    fill(this.legend);
    fill(this.plot, element("p", { class: `empty ${tone}` }, text));
  }

  end() {
    this.ended = true;
    this.chart?.destroy();
  }
}

/** The value at the end, or shortly before: the last step may not have been scraped yet. */
const latest = (values) => values.slice(-3).findLast((value) => value !== null) ?? null;

/** From zero where values are not negative, with room above; the threshold is always in sight. */
function fitted(low, high, threshold) {
  const limits = [low, high, threshold].filter((value) => value !== null && Number.isFinite(value));
  const bottom = Math.min(0, ...limits);
  const top = Math.max(...limits, bottom);
  return [bottom, top === bottom ? bottom + 1 : top + (top - bottom) * 0.12];
}

function tick(millis, step) {
  if (step >= 86_400) return day(millis);
  return step < 60 ? clock(millis) : minute(millis);
}

function drawThreshold(u, threshold, text) {
  const { ctx, bbox } = u;
  const y = Math.round(u.valToPos(threshold, "y", true)) + 0.5;
  if (y < bbox.top || y > bbox.top + bbox.height) return;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = color("--bad");
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.font = `600 ${10.5 * ratio}px ${color("--sans")}`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  const label = `limit ${text}`;
  const [width, height] = [ctx.measureText(label).width + 12 * ratio, 17 * ratio];
  ctx.beginPath();
  ctx.roundRect(bbox.left + 6 * ratio, y - height / 2, width, height, 5 * ratio);
  ctx.fillStyle = color("--bad-soft");
  ctx.fill();
  ctx.fillStyle = color("--bad");
  ctx.fillText(label, bbox.left + 12 * ratio, y + ratio / 2);
  ctx.restore();
}

/** A small line without axes; points that are missing are bridged. */
function sparkline(values) {
  const known = values.map((value, i) => [i, value]).filter(([, value]) => value !== null);
  if (known.length < 2) return null;
  const heights = known.map(([, value]) => value);
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  const [[begin]] = known;
  const x = (i) => (((i - begin) / (values.length - 1 - begin)) * 100).toFixed(2);
  const y = (value) => (high === low ? 12 : 22 - ((value - low) / (high - low)) * 20).toFixed(2);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", known.map(([i, value], n) => `${n === 0 ? "M" : "L"}${x(i)} ${y(value)}`).join(""));
  svg.append(path);
  return svg;
}
