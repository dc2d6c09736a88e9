// The JSON API, and the events that keep the page up to date.

const BASE = "api/v1/";
const PATIENCE = 20_000;
const STALE_AFTER = 8_000;
const POLL_EVERY = 5_000;
const PARTS = ["status", "alerts", "stats", "dashboards"];

/** Whether the page follows the platform; `?live=off` looks once, for a picture or an archive. */
export const live = new URLSearchParams(location.search).get("live") !== "off";

/** How far the server's clock is ahead of this one. */
let skew = 0;

export const now = () => Date.now() + skew;

/** Asks the API; fails with an error whose message is fit to be shown. */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  let response;
  try {
    response = await fetch(BASE + path + (text && `?${text}`), { signal: AbortSignal.timeout(PATIENCE) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "The console did not answer in time" : "The console cannot be reached");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `The console answered ${response.status}`);
  return answer;
}

/**
 * Follows the platform. `on` has a function for each part, `failure(part, message)` and `state(name, lastUpdate)`, whose names are
 * connecting, live, polling, paused, snapshot and offline.
 */
export function follow(on) {
  let source = null;
  let heard = 0;
  let polled = 0;
  let updated = null;
  let state = "connecting";

  const set = (next) => {
    state = next;
    on.state(state, updated);
  };
  const beat = (at) => {
    heard = Date.now();
    if (at !== undefined) skew = Math.abs(at - heard) < 1000 ? 0 : at - heard;
    updated = now();
  };

  async function poll() {
    polled = Date.now();
    const outcomes = await Promise.allSettled(PARTS.map(async (part) => on[part](await get(part))));
    outcomes.forEach((outcome, i) => {
      if (outcome.status === "rejected") on.failure(PARTS[i], outcome.reason.message);
    });
    const reached = outcomes.some((outcome) => outcome.status === "fulfilled");
    if (reached) updated = now();
    return reached;
  }

  function open() {
    source = new EventSource(`${BASE}events`);
    for (const part of PARTS) {
      source.addEventListener(part, (event) => {
        beat();
        on[part](JSON.parse(event.data));
      });
    }
    source.addEventListener("failure", (event) => {
      beat();
      const { part, error } = JSON.parse(event.data);
      on.failure(part, error.message);
    });
    source.addEventListener("heartbeat", (event) => {
      beat(JSON.parse(event.data).at);
      set("live");
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  // Events may be kept back by a proxy, or the console may be gone: then ask, and say which of the two it is.
  async function watch() {
    if (document.hidden || Date.now() - heard < STALE_AFTER || Date.now() - polled < POLL_EVERY) return set(state);
    if (source?.readyState === EventSource.CLOSED) close();
    const reached = await poll();
    if (Date.now() - heard < STALE_AFTER) return;
    if (reached && !source) open();
    set(reached ? "polling" : "offline");
  }

  if (!live) {
    poll().then((reached) => set(reached ? "snapshot" : "offline"));
    return;
  }

  // A browser opens few connections to a host: pages that nobody sees do not hold one.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      set("paused");
    } else {
      heard = 0;
      open();
      watch();
    }
  });

  poll().then((reached) => {
    set(reached ? "connecting" : "offline");
    if (!document.hidden) open();
  });
  setInterval(watch, 1000);
}
