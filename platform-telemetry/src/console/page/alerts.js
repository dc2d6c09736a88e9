// Alerts: what fires, what may soon, the rules, and who was told.

import { now } from "./api.js";
import { badge, byId, element, fill } from "./dom.js";
import { ago, clock, count, day, duration, exact, quantity } from "./format.js";

const SEVERITIES = ["critical", "warning", "info"];
const TONES = { critical: "bad", warning: "warn", info: "info" };
const ORDER = ["firing", "pending", "inactive"];

/** The colour of the gravest of some alerts. */
export const gravest = (alerts) => TONES[SEVERITIES.find((known) => alerts.some((alert) => alert.severity === known)) ?? "warning"];

/** By state, then by severity. */
const urgency = (a, b) =>
  ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity);

export function showAlerts(alerts) {
  const groups = Map.groupBy([...alerts.active].sort(urgency), (alert) => alert.name);
  fill(byId("active-alerts"), [...groups.values()].map((group) =>
    activeRule(group, alerts.rules.find((rule) => rule.name === group[0].name))));
  const rules = [...alerts.rules].sort(urgency);
  fill(
    byId("rules"),
    element("h3", {}, "Rules"),
    rules.length ? element("ul", { class: "rules" }, rules.map(ruleItem)) : empty("No alert rules are set."),
  );
  fill(
    byId("resolved"),
    element("h3", {}, "Recently resolved"),
    alerts.resolved.length
      ? element("ul", { class: "history" }, alerts.resolved.slice(0, 12).map(resolvedItem))
      : empty("Nothing was resolved yet."),
  );
  fill(
    byId("notifiers"),
    element("h3", {}, "Notifications"),
    alerts.notifiers.length
      ? element("ul", { class: "history" }, alerts.notifiers.map(notifierItem))
      : empty("Nobody is told of alerts: no notifier is set."),
  );
}

const empty = (text) => element("p", { class: "empty" }, text);

const moment = (millis) =>
  element("time", { datetime: exact(millis), title: `${exact(millis)}, ${ago(millis, now())}` },
    new Date(millis).toDateString() === new Date(now()).toDateString() ? clock(millis) : `${day(millis)} ${clock(millis)}`);

/** The alerts of one rule, the firing ones first. */
function activeRule(alerts, rule) {
  const [{ name, state, severity }] = alerts;
  const began = (alert) => (alert.state === "firing" ? (alert.firedAt ?? alert.activeSince) : alert.activeSince);
  const since = Math.min(...alerts.filter((alert) => alert.state === state).map(began));
  const tone = TONES[severity] ?? "warn";
  return element(
    "article",
    { class: `surface alert ${tone} ${state}` },
    element(
      "header",
      {},
      badge(state === "firing" ? "Firing" : "Pending", tone),
      element("h3", {}, name),
      element("span", { class: "tag" }, severity),
      element("span", { class: "summary" }, summary(alerts, rule)),
      element("span", { class: "since muted" }, "since ", moment(since)),
    ),
    element("ul", { class: "labels" }, alerts.map((alert) => seriesChip(alert, alerts))),
  );
}

/** What is said of all alerts of a rule; where each says something else, the rule's sentence with its gaps. */
function summary(alerts, rule) {
  const said = new Set(alerts.map((alert) => alert.summary));
  if (said.size === 1 || !rule) return alerts[0].summary;
  return rule.summary.replaceAll(/\{\{[^}]*\}\}/g, "…");
}

/** A series by the labels that tell it from the others of its rule, and its value. */
function seriesChip(alert, all) {
  const every = Object.entries(alert.labels);
  const differ = every.filter(([name, value]) => all.some((other) => other.labels[name] !== value));
  const told = differ.length ? differ : every;
  // A cluster's name is unique: its environment would say the same again.
  const shown = told.filter(([name]) => name !== "environment" || !told.some(([other]) => other === "cluster"));
  const names = every.map(([name, value]) => `${name}="${value}"`);
  return element(
    "li",
    { class: "label", title: [alert.summary, ...names].filter(Boolean).join("\n") },
    alert.state !== all[0].state && element("em", { class: "muted" }, `${alert.state} `),
    shown.map(([name, value]) => [element("span", { class: "muted" }, `${name}=`), `${value} `]).flat(),
    element("strong", {}, quantity(alert.value, "none")),
  );
}

const labels = (all) =>
  Object.entries(all).map(([name, value]) =>
    element("span", { class: "label" }, element("span", { class: "muted" }, `${name}=`), value));

function ruleItem(rule) {
  const { state } = rule;
  const failed = rule.lastError !== null;
  return element(
    "li",
    {},
    element(
      "div",
      { class: "line" },
      badge(failed ? "Cannot be evaluated" : state[0].toUpperCase() + state.slice(1), failed ? "warn" : state === "inactive" ? "ok" : TONES[rule.severity]),
      element("strong", {}, rule.name),
      element("span", { class: "tag" }, rule.severity),
      element(
        "span",
        { class: "muted small facts" },
        [
          rule.pendingFor ? `holds for ${duration(rule.pendingFor)}` : "fires at once",
          rule.fired ? `fired ${count(rule.fired)}×` : "has not fired",
          rule.lastEvaluation === null ? "not evaluated yet" : `${count(rule.evaluations)} evaluations`,
        ].join(" · "),
      ),
    ),
    element("code", { class: "promql" }, rule.promql),
    failed && element("p", { class: "message" }, rule.lastError),
  );
}

function resolvedItem(alert) {
  const fired = alert.firedAt ?? alert.activeSince;
  return element(
    "li",
    {},
    element("strong", {}, alert.name),
    element("span", { class: "labels" }, labels(alert.labels)),
    element(
      "span",
      { class: "muted small" },
      "fired ", moment(fired),
      alert.resolvedAt !== null && ["; resolved ", moment(alert.resolvedAt), ` after ${duration(alert.resolvedAt - fired)}`],
    ),
  );
}

function notifierItem(notifier) {
  const facts = [`${count(notifier.delivered)} delivered`];
  if (notifier.failed) facts.push(`${count(notifier.failed)} failed`);
  if (notifier.retried) facts.push(`${count(notifier.retried)} tried again`);
  if (notifier.queued) facts.push(`${count(notifier.queued)} waiting`);
  return element(
    "li",
    {},
    element("strong", {}, notifier.name),
    badge(facts.join(", "), notifier.lastError !== null ? "bad" : notifier.delivered ? "ok" : "idle"),
    notifier.lastDelivery !== null && element("span", { class: "muted small" }, "last at ", moment(notifier.lastDelivery)),
    notifier.lastError !== null && element("p", { class: "message" }, notifier.lastError),
  );
}
