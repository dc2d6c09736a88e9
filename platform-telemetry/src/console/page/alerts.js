// Alerts: what fires, what may soon, the rules, and who was told.

import { now } from "./api.js";
import { badge, byId, element, fill } from "./dom.js";
import { ago, clock, count, day, duration, exact, quantity } from "./format.js";

const TONES = { firing: "bad", pending: "warn", inactive: "ok" };
const ORDER = ["firing", "pending", "inactive"];

export function showAlerts(alerts) {
  const active = [...alerts.active].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  fill(byId("active-alerts"), active.map(activeAlert));
  const rules = [...alerts.rules].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
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

function activeAlert(alert) {
  const since = alert.state === "firing" ? (alert.firedAt ?? alert.activeSince) : alert.activeSince;
  return element(
    "article",
    { class: `surface alert ${TONES[alert.state]}` },
    element(
      "header",
      {},
      badge(alert.state === "firing" ? "Firing" : "Pending", TONES[alert.state]),
      element("h3", {}, alert.name),
      element("span", { class: "tag" }, alert.severity),
      element("span", { class: "since muted" }, "since ", moment(since)),
    ),
    alert.summary && element("p", {}, alert.summary),
    element("p", { class: "labels" }, element("span", { class: "label strong" }, `value ${quantity(alert.value, "none")}`), labels(alert.labels)),
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
      badge(failed ? "Cannot be evaluated" : state[0].toUpperCase() + state.slice(1), failed ? "warn" : TONES[state]),
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
