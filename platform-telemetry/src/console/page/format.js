// Numbers and times as people read them.

const number = (digits) => new Intl.NumberFormat("en", { maximumFractionDigits: digits });
const whole = number(0);
const precise = [number(2), number(1), number(0)];
const compactNumber = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** Three significant digits at most. */
function short(value) {
  const size = Math.abs(value);
  return precise[size < 10 ? 0 : size < 100 ? 1 : 2].format(value);
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let power = 0;
  while (Math.abs(value) >= 1024 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${short(value)} ${units[power]}`;
}

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${short(value * 1e6)} µs`;
  if (size < 1) return `${short(value * 1e3)} ms`;
  if (size < 120) return `${short(value)} s`;
  return size < 7200 ? `${short(value / 60)} min` : `${short(value / 3600)} h`;
}

const WRITERS = {
  none: (value) => (Math.abs(value) >= 10_000 ? compactNumber.format(value) : short(value)),
  percent: (value) => `${short(value)} %`,
  bytes,
  "bytes-per-second": (value) => `${bytes(value)}/s`,
  seconds,
};

/** A value in a unit of the API; a dash where there is none. */
export function quantity(value, unit) {
  if (value === null || value === undefined) return "–";
  return (WRITERS[unit] ?? WRITERS.none)(value);
}

export const count = (value) => whole.format(value);
export const compact = (value) => (value < 10_000 ? whole.format(value) : compactNumber.format(value));

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const minuteFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });

export const clock = (millis) => clockFormat.format(millis);
export const minute = (millis) => minuteFormat.format(millis);
export const day = (millis) => dayFormat.format(millis);
export const exact = (millis) => new Date(millis).toISOString();

/** 14:03:07.250, with the day in front where it is not the day of `now`. */
export function stamp(millis, now) {
  const fraction = String(((millis % 1000) + 1000) % 1000).padStart(3, "0");
  const time = `${clock(millis)}.${fraction}`;
  return new Date(millis).toDateString() === new Date(now).toDateString() ? time : `${day(millis)} ${time}`;
}

/** 45s, 5m, 2h 5m: the greatest two units. */
export function duration(millis) {
  let rest = Math.max(0, Math.round(millis / 1000));
  const parts = [];
  for (const [length, unit] of [[86_400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
    if (rest >= length && parts.length < 2) {
      parts.push(`${Math.floor(rest / length)}${unit}`);
      rest %= length;
    } else if (parts.length > 0) {
      break;
    }
  }
  return parts.join(" ") || "0s";
}

/** 3s ago, 5m ago. */
export function ago(millis, now) {
  const passed = now - millis;
  if (passed < 1000) return "now";
  let [size, unit] = [passed / 1000, "s"];
  for (const [length, next] of [[60, "m"], [60, "h"], [24, "d"]]) {
    if (size < length) break;
    [size, unit] = [size / length, next];
  }
  return `${Math.floor(size)}${unit} ago`;
}

/** The tag of an image, or the start of its digest. */
export function imageTag(image) {
  const digest = image.split("@")[1];
  const name = image.split("@")[0];
  const tag = name.slice(name.lastIndexOf("/") + 1).split(":")[1];
  return tag ?? (digest ? digest.replace(/^sha256:/, "").slice(0, 12) : "latest");
}
