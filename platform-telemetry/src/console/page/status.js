// Header, summary, environments and clusters.

import { gravest } from "./alerts.js";
import { LOCK, badge, byId, element, fill, icon } from "./dom.js";
import { compact, count, imageTag, quantity } from "./format.js";

const READINESS = {
  current: ["Ready", "ok"],
  "in-progress": ["In progress", "busy"],
  terminating: ["Terminating", "warn"],
  "not-found": ["Not found", "idle"],
  failed: ["Failed", "bad"],
};

const PHASES = {
  creating: ["Creating", "busy"],
  running: ["Running", "ok"],
  broken: ["Broken", "bad"],
  deleting: ["Deleting", "warn"],
};

const ISOLATIONS = {
  "namespace-per-environment": "Namespace per environment",
  "namespace-per-application": "Namespace per application",
  "cluster-per-environment": "Cluster per environment",
};

const tiles = new Map();

export function showStatus(status) {
  document.title = `${status.platform} · console`;
  fill(byId("platform"), status.platform);
  fill(
    byId("facts"),
    element("li", { title: "Provider of the clusters" }, status.provider),
    element("li", { title: "How environments are kept apart" }, ISOLATIONS[status.isolation] ?? status.isolation),
  );
  byId("simulated").hidden = !status.simulated;

  const applications = status.environments.flatMap((environment) => environment.applications);
  const ready = applications.filter((application) => application.readiness === "current").length;
  const running = status.clusters.filter((cluster) => cluster.phase === "running" && !cluster.message).length;
  tile("Applications ready", `${ready} / ${applications.length}`, tone(ready, applications.length));
  tile("Clusters running", `${running} / ${status.clusters.length}`, tone(running, status.clusters.length));

  const environments = status.environments.map(environmentCard);
  fill(byId("environment-list"), environments.length ? environments : empty("The platform has no environments."));
  fill(byId("cluster-list"), status.clusters.length ? clusterTable(status.clusters) : empty("There are no clusters yet."));
}

export function showStats(stats) {
  tile("Samples stored", compact(stats.samples), "", count(stats.samples));
  tile("Log records stored", compact(stats.logRecords), "", count(stats.logRecords));
  tile("Series", compact(stats.series), "", count(stats.series));
  tile("On disk", quantity(stats.diskBytes, "bytes"), "");
}

export function showAlertCount(active) {
  const firing = active.filter((alert) => alert.state === "firing");
  tile("Alerts firing", String(firing.length), firing.length ? gravest(firing) : "ok");
  const badge = byId("alert-count");
  badge.hidden = firing.length === 0;
  badge.className = `count ${gravest(firing)}`;
  fill(badge, firing.length);
  const banner = byId("firing");
  banner.hidden = firing.length === 0;
  banner.className = `banner ${gravest(firing)}`;
  const rules = [...Map.groupBy(firing, (alert) => alert.name)].map(([name, alerts]) =>
    alerts.length === 1 ? alerts[0].summary || name : `${name} in ${alerts.length} series`);
  fill(banner, element("strong", {}, firing.length === 1 ? "1 alert is firing" : `${firing.length} alerts are firing`),
    element("span", {}, rules.slice(0, 3).join(" · ") + (rules.length > 3 ? ` · and ${rules.length - 3} more rules` : "")));
}

/** The places of the tiles are fixed, whichever is known first. */
const ORDER = ["Applications ready", "Clusters running", "Alerts firing", "Samples stored", "Log records stored", "Series", "On disk"];

function tile(name, value, tone, title) {
  tiles.set(name, element("div", { class: `tile ${tone}` }, element("dt", {}, name), element("dd", { title }, value)));
  fill(byId("summary"), ORDER.map((known) => tiles.get(known)));
}

const tone = (good, all) => (all === 0 ? "" : good === all ? "ok" : "warn");

const empty = (text) => element("p", { class: "empty" }, text);

function environmentCard(environment) {
  const { applications } = environment;
  const ready = applications.filter((application) => application.readiness === "current").length;
  return element(
    "article",
    { class: "surface card", "aria-label": `Environment ${environment.name}` },
    element(
      "header",
      {},
      element("h3", {}, environment.name),
      environment.protected &&
        element("span", { class: "lock", title: "Protected: deleting it needs a confirmation" }, icon(LOCK), "protected"),
      element("span", { class: `ratio ${tone(ready, applications.length)}` }, `${ready}/${applications.length} ready`),
    ),
    element("p", { class: "muted small" }, "Cluster ", element("span", { class: "mono" }, environment.cluster)),
    applications.length
      ? element("ul", { class: "applications" }, applications.map(applicationRow))
      : empty("No applications are meant for it."),
  );
}

function applicationRow(application) {
  const [word, tone] = READINESS[application.readiness] ?? [application.readiness, "idle"];
  return element(
    "li",
    { title: application.namespace },
    element("span", { class: "name" }, application.name),
    application.image
      ? element("span", { class: "tag mono", title: application.image }, imageTag(application.image))
      : element("span", { class: "tag none" }, "not deployed"),
    badge(word, tone),
    application.message && element("p", { class: "message" }, application.message),
  );
}

function clusterTable(clusters) {
  const columns = ["Cluster", "Role", "Phase", "Version", "Nodes", "API server", "Components"];
  return element(
    "table",
    { class: "clusters" },
    element("thead", {}, element("tr", {}, columns.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, clusters.map(clusterRow)),
  );
}

function clusterRow(cluster) {
  const [word, tone] = PHASES[cluster.phase] ?? ["Does not exist", "idle"];
  const cell = (name, ...content) => element("td", { "data-label": name }, ...content);
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: "mono" }, cluster.name),
    cell("Role", role(cluster.role)),
    cell("Phase", badge(word, cluster.message && tone === "ok" ? "warn" : tone), cluster.message && element("p", { class: "message" }, cluster.message)),
    cell("Version", element("span", { class: "mono" }, cluster.kubernetesVersion ?? "–")),
    cell("Nodes", String(cluster.nodes)),
    cell("API server", element("span", { class: "mono small wrap" }, cluster.server ?? "–")),
    cell("Components", cluster.components.length ? element("ul", { class: "components" }, cluster.components.map(componentItem)) : "–"),
  );
}

function componentItem(component) {
  const [word, tone] = READINESS[component.readiness] ?? [component.readiness, "idle"];
  const text = `${component.name} ${component.version}`;
  return element(
    "li",
    { class: tone, title: `${text}: ${word}${component.message ? `. ${component.message}` : ""}` },
    element("span", { class: "dot", "aria-hidden": "true" }),
    component.name,
    element("span", { class: "muted" }, ` ${component.version}`),
    element("span", { class: "hidden" }, `: ${word}`),
    component.message && element("span", { class: "message" }, component.message),
  );
}

function role(role) {
  if (role === "control-plane") return "Control plane";
  return role.environments ? role.environments.join(", ") : String(role);
}
