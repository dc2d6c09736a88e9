// Elements, made of data that is only ever text: no markup is parsed.

/** Makes an element; `null`, `false` and `undefined` children and attributes are left out. */
export function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

/** Replaces what is in `parent`. */
export function fill(parent, ...children) {
  parent.textContent = "";
  append(parent, children);
}

function append(parent, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

export const byId = (id) => document.getElementById(id);

/** A small SVG icon from a path on a 16 × 16 grid. */
export function icon(path, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const ABOUT = "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2M8 7.2v3.6M8 5v.4";
export const LOCK = "M5 7V5a3 3 0 0 1 6 0v2M4 7h8v6H4z";

/** A coloured word: `tone` is ok, busy, bad, warn, info or idle. */
export function badge(text, tone) {
  return element("span", { class: `state ${tone}` }, element("span", { class: "dot", "aria-hidden": "true" }), text);
}
