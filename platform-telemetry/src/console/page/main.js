// Brings the parts of the page together.

import { showAlerts } from "./alerts.js";
import { follow, now } from "./api.js";
import { redraw, showDashboards } from "./charts.js";
import { byId, fill } from "./dom.js";
import { ago, exact } from "./format.js";
import { setEnvironments, startLogs } from "./logs.js";
import { showStatus, showStats, showAlertCount } from "./status.js";

const STATES = {
  connecting: "Connecting",
  live: "Live",
  polling: "Polling",
  paused: "Paused",
  snapshot: "Snapshot",
  offline: "Disconnected",
};

const failures = new Map();

follow({
  status(status) {
    clear("status");
    showStatus(status);
    setEnvironments(status.environments.map((environment) => environment.name));
  },
  alerts(alerts) {
    clear("alerts");
    showAlerts(alerts);
    showAlertCount(alerts.active);
  },
  stats(stats) {
    clear("stats");
    showStats(stats);
  },
  dashboards(dashboards) {
    clear("dashboards");
    showDashboards(dashboards);
  },
  failure(part, message) {
    failures.set(part, message);
    showFailures();
  },
  state: showState,
});
startLogs();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

function clear(part) {
  if (failures.delete(part)) showFailures();
}

function showFailures() {
  const problem = byId("problem");
  const messages = [...new Set(failures.values())];
  problem.hidden = messages.length === 0;
  fill(problem, messages.join(" · "));
}

function showState(state, updated) {
  const live = byId("live");
  if (live.dataset.state !== state) {
    live.dataset.state = state;
    fill(byId("live-text"), STATES[state]);
    document.body.classList.toggle("stale", state === "offline");
  }
  const time = byId("updated");
  if (updated === null) return;
  time.dateTime = exact(updated);
  time.title = exact(updated);
  fill(time, ago(updated, now()));
}
