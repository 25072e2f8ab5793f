// The page of `fleet view`. It shows a snapshot (fleet/view/snapshot.py), which the server sends anew whenever it
// differs, or which an exported file holds. Whatever is shown comes from `render`, which changes the document in place:
// what stays the same stays the same element, and keeps focus, scroll and selection.
(() => {
"use strict";

// Elements. `h` describes one; `sync` makes an element's children be those that are described.

const SVG = new Set(["svg", "path", "circle", "rect", "g", "line"]);
const CLEARED = Symbol("attributes");

function h(tag, props, ...kids) {
  const flat = kids.flat(Infinity).filter((kid) => kid !== null && kid !== undefined && kid !== false && kid !== "");
  return { tag, props: props || {}, kids: flat };
}

function sync(parent, kids) {
  const keyed = new Map();
  const free = new Map();
  for (const node of parent.childNodes) {
    const key = node.fleetKey;
    if (key !== undefined) keyed.set(key, node);
    else {
      const kind = node.nodeType === 3 ? "#text" : node.localName;
      if (!free.has(kind)) free.set(kind, []);
      free.get(kind).push(node);
    }
  }
  let at = parent.firstChild;
  const kept = new Set();
  for (const kid of kids) {
    const isText = typeof kid !== "object";
    const key = isText ? undefined : kid.props.key;
    const kind = isText ? "#text" : kid.tag;
    let node = key === undefined ? (free.get(kind) || []).shift() : keyed.get(key);
    if (node && !isText && node.localName !== kid.tag) node = undefined;
    if (!node) node = isText ? document.createTextNode("") : create(kid);
    kept.add(node);
    if (isText) {
      if (node.data !== String(kid)) node.data = String(kid);
    } else update(node, kid);
    if (node === at) at = at.nextSibling;
    else {
      while (at && !kept.has(at) && !wanted(at, kids, keyed)) {
        const next = at.nextSibling;
        at.remove();
        at = next;
      }
      if (node === at) at = at.nextSibling;
      else parent.insertBefore(node, at);
    }
  }
  for (const node of [...parent.childNodes]) if (!kept.has(node)) node.remove();
}

// Whether an element that stands in the way is used further on: if not, it goes, and what follows need not move.
function wanted(node, kids, keyed) {
  if (node.fleetKey === undefined) return true;
  return keyed.get(node.fleetKey) === node && kids.some((kid) => typeof kid === "object" && kid.props.key === node.fleetKey);
}

function create(kid) {
  const node = SVG.has(kid.tag) ? document.createElementNS("http://www.w3.org/2000/svg", kid.tag) : document.createElement(kid.tag);
  node.fleetKey = kid.props.key;
  node[CLEARED] = new Set();
  return node;
}

function update(node, kid) {
  const before = node[CLEARED] || new Set();
  const now = new Set();
  for (const [name, value] of Object.entries(kid.props)) {
    if (name === "key" || value === undefined || value === null || value === false) continue;
    now.add(name);
    if (name.startsWith("on")) node[name] = value;
    else if (name === "style") for (const [property, set] of Object.entries(value)) node.style.setProperty(property, set);
    else if (name === "value") { if (node.value !== value && document.activeElement !== node) node.value = value; }
    else if (name === "open") { if (node.fleetOpen !== value) { node.open = value; node.fleetOpen = value; } }
    else if (node.getAttribute(name) !== String(value === true ? "" : value)) node.setAttribute(name, value === true ? "" : value);
  }
  for (const name of before) {
    if (now.has(name)) continue;
    if (name.startsWith("on")) node[name] = null;
    else node.removeAttribute(name);
  }
  node[CLEARED] = now;
  if (kid.props.text !== undefined) return;
  sync(node, kid.kids);
}

// Words and numbers.

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function age(since) {
  const s = Math.max(0, now() - since);
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const two = (n) => String(n).padStart(2, "0");
function moment(seconds) {
  const d = new Date(seconds * 1000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}
function clock(seconds) {
  const d = new Date(seconds * 1000);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}
function time(seconds, text) {
  return h("time", { datetime: new Date(seconds * 1000).toISOString(), title: moment(seconds) }, text || moment(seconds));
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = n;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
const count = (n, one, many) => `${n} ${n === 1 ? one : many || one + "s"}`;

// States: each has a word, a shape and a colour, so that no colour is needed to tell them apart.

const STATES = ["not ready", "starting", "stopping", "waiting", "unknown", "not made", "to be removed", "ready"];
const CLASS = {
  "ready": "good", "not ready": "bad", "starting": "busy", "stopping": "busy", "waiting": "idle", "unknown": "idle",
  "not made": "idle", "to be removed": "warn", "yes": "good", "no": "bad", "soon": "busy", "idle": "idle",
};
function shape(state) {
  const kind = CLASS[state] || "idle";
  const is = { "yes": "ready", "no": "not ready", "soon": "starting", "idle": "done" }[state] || state;
  const parts = {
    "ready": [h("circle", { cx: 8, cy: 8, r: 7, class: "fill" }), h("path", { d: "M4.6 8.3l2.3 2.3 4.5-4.9", class: "cut" })],
    "not ready": [h("path", { d: "M8 1.2L15.3 14.4H.7z", class: "fill join" }), h("path", { d: "M8 6v4M8 12.1v.2", class: "cut" })],
    "starting": [h("circle", { cx: 8, cy: 8, r: 6, class: "line faint" }), h("path", { d: "M8 2a6 6 0 0 1 6 6", class: "line turn" })],
    "stopping": [h("rect", { x: 1.5, y: 1.5, width: 13, height: 13, rx: 2.5, class: "fill" }), h("path", { d: "M8 4.3v6.6M5 8.2l3 3 3-3", class: "cut" })],
    "waiting": [h("circle", { cx: 8, cy: 8, r: 6.2, class: "line" }), h("path", { d: "M8 4.6V8l2.3 1.6", class: "line" })],
    "not made": [h("circle", { cx: 8, cy: 8, r: 6.2, class: "line dash" })],
    "to be removed": [h("circle", { cx: 8, cy: 8, r: 7, class: "fill" }), h("path", { d: "M4.8 8h6.4", class: "cut" })],
    "unknown": [h("path", { d: "M8 .9L15.1 8 8 15.1.9 8z", class: "line join" }), h("path", { d: "M8 5v3.6M8 10.6v.2", class: "line" })],
    "done": [h("circle", { cx: 8, cy: 8, r: 6.2, class: "line" }), h("path", { d: "M5 8.2l2.1 2.1 4-4.3", class: "line" })],
  }[is] || [];
  return h("svg", { viewBox: "0 0 16 16", class: `shape ${kind}`, "aria-hidden": "true" }, parts);
}
function badge(state) {
  return h("span", { class: `badge ${CLASS[state] || "idle"}` }, shape(state), h("span", null, state));
}

// What the page knows.

const embedded = document.getElementById("data");
const frozen = embedded ? JSON.parse(embedded.textContent) : null;
const ui = {
  filter: "", states: new Set(), closed: new Set(), shown: new Set(), connected: !frozen, arrived: 0,
  detail: null, detailOf: "", changes: null, asking: false, copied: "",
};
let snapshot = frozen ? frozen.snapshot : null;
const now = () => (frozen ? frozen.written : Date.now() / 1000);

function remembered(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key) || "";
    localStorage.setItem(key, value);
  } catch { /* A page that was opened from a file may have no storage. */ }
  return value || "";
}
function theme(choice) {
  if (choice) document.documentElement.dataset.theme = choice;
  else delete document.documentElement.dataset.theme;
}
theme(remembered("fleet-theme"));

function route() {
  const [page, name] = location.hash.replace(/^#\/?/, "").split("/");
  return { page: page || "nodes", name: name ? decodeURIComponent(name) : "" };
}
const link = (page, name) => `#/${page}${name === undefined ? "" : "/" + encodeURIComponent(name)}`;

function nodesOf(group) {
  return group.nodes.map((node) => node.name);
}
function groups() {
  const planned = snapshot.topology.groups;
  const known = new Set(planned.flatMap(nodesOf));
  const others = Object.keys(snapshot.nodes).filter((name) => !known.has(name));
  const rest = { name: "not in the spec", nodes: others.map((name) => ({ name })), containers: [], ports: [], disks: [], pods: [],
    networks: [], names: [], after: [], snippets: [], volumes: [], rest: true };
  return others.length ? [...planned, rest] : planned;
}
function groupOf(name) {
  return groups().find((group) => nodesOf(group).includes(name));
}
const NOBODY = { state: "unknown", reason: "", units: [], disks: [], failed: [], steps: [], endpoints: [], config: "", address: "",
  ssh: "", machine: "", release: "", staged: "", update: "", known: false, unknown: "", booted: null, kernel: "", os: "" };
const nodeOf = (name) => snapshot.nodes[name] || NOBODY;
const containersOf = (node) => node.units.filter((unit) => unit.kind === "container");
function tally(names) {
  const counts = new Map();
  for (const name of names) counts.set(nodeOf(name).state, (counts.get(nodeOf(name).state) || 0) + 1);
  return STATES.filter((state) => counts.has(state)).map((state) => [state, counts.get(state)]);
}
const going = () => snapshot && !frozen && (snapshot.rollout.running || Object.values(snapshot.nodes).some((n) => CLASS[n.state] === "busy"));

function matches(name) {
  const node = nodeOf(name);
  if (ui.states.size && !ui.states.has(node.state)) return false;
  const words = ui.filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = [name, node.state, node.reason, node.address, node.release, node.config,
    ...node.units.map((unit) => `${unit.name} ${unit.text}`)].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// The frame.

const TABS = [["nodes", "Nodes"], ["rollout", "Rollout"], ["network", "Network"], ["changes", "Changes"], ["history", "History"]];

function top() {
  const at = route().page === "node" ? "nodes" : route().page;
  const choice = document.documentElement.dataset.theme || "";
  const next = { "": "dark", dark: "light", light: "" }[choice];
  const shown = { "": "auto", dark: "dark", light: "light" };
  return [
    h("div", { class: "brand" },
      h("h1", null, h("a", { href: link("nodes") }, snapshot ? snapshot.fleet : "fleet")),
      snapshot && h("span", { class: "dim" }, `${snapshot.platform} · stack ${snapshot.stack}`)),
    h("nav", { "aria-label": "Pages" }, TABS.filter(([page]) => !frozen || page !== "changes").map(([page, title]) =>
      h("a", { key: page, href: link(page), class: "tab", "aria-current": page === at ? "page" : null }, title,
        page === "rollout" && snapshot && snapshot.rollout.running && h("span", { class: "pulse" }, h("span", { class: "unseen" }, "going on"))))),
    h("div", { class: "tools" },
      frozen
        ? h("span", { class: "chip" }, "as of ", time(frozen.written))
        : h("span", { class: `chip ${ui.connected ? "good" : "bad"}`, role: "status" }, shape(ui.connected ? "ready" : "not ready"),
          ui.connected ? "live" : "not connected"),
      h("button", { class: "quiet", type: "button", title: `Colours: ${shown[choice]}. Change to ${shown[next]}.`,
        onclick: () => { theme(next); remembered("fleet-theme", next); render(); } },
        h("span", { class: "unseen" }, "Colours: "), { "": "◐ auto", dark: "● dark", light: "○ light" }[choice])),
  ];
}

function foot() {
  return [h("p", null, h("span", { class: "keys" }, h("kbd", null, "/"), " filters, ", h("kbd", null, "←"), h("kbd", null, "→"), h("kbd", null, "↑"), h("kbd", null, "↓"),
    " go from node to node, ", h("kbd", null, "Enter"), " opens one, ", h("kbd", null, "Esc"), " goes back. "), "This page only shows; ",
    h("code", null, "fleet"), " changes things.")];
}

function trouble() {
  const lines = [];
  if (snapshot.trouble) lines.push(snapshot.trouble);
  if (!frozen && !ui.connected) lines.push("The connection to `fleet view` is gone; what is shown may be old. If it was stopped, start it again.");
  return lines.map((line, i) => h("p", { key: `trouble${i}`, class: "notice bad", role: "alert" }, shape("not ready"), h("span", null, line)));
}

function rolloutNotice() {
  const rollout = snapshot.rollout;
  if (!rollout.running) return null;
  const touched = rollout.nodes.map(nodeOf);
  const done = touched.filter((node) => node.steps[node.steps.length - 1].phase === "ready").length;
  return h("p", { key: "running", class: "notice busy" }, shape("starting"),
    h("span", null, h("a", { href: link("rollout") }, "An update is going on"), rollout.since ? [" for ", h("span", { class: "num" }, duration(now() - rollout.since))] : "",
      touched.length ? `: ${done} of ${count(touched.length, "node")} done` : "", rollout.holder ? `; by ${rollout.holder}` : ""));
}

// The nodes.

const DENSE = 30;

function nodesPage() {
  const all = groups().flatMap(nodesOf);
  const visible = all.filter(matches);
  return [
    trouble(), rolloutNotice(),
    h("div", { key: "bar", class: "bar" },
      h("div", { class: "counts", role: "group", "aria-label": "Filter by state" }, tally(all).map(([state, n]) =>
        h("button", { key: state, type: "button", class: `count ${CLASS[state]}`, "aria-pressed": String(ui.states.has(state)),
          onclick: () => { if (!ui.states.delete(state)) ui.states.add(state); render(); } },
          shape(state), h("b", { class: "num" }, String(n)), " ", state))),
      h("label", { class: "find" }, h("span", { class: "unseen" }, "Filter nodes"),
        h("input", { id: "filter", type: "search", placeholder: "Filter: name, container, address …", value: ui.filter, autocomplete: "off", spellcheck: "false",
          "aria-keyshortcuts": "/", oninput: (event) => { ui.filter = event.target.value; render(); } }), h("kbd", { "aria-hidden": "true" }, "/"))),
    visible.length < all.length && h("p", { key: "some", class: "dim", role: "status" }, `${visible.length} of ${count(all.length, "node")} shown. `,
      h("button", { type: "button", class: "text", onclick: () => { ui.filter = ""; ui.states.clear(); const f = document.getElementById("filter"); if (f) f.value = ""; render(); } }, "Show all")),
    groups().map((group) => groupSection(group)),
    !all.length && h("p", { key: "none", class: "empty" }, "The spec has no nodes, and none is deployed."),
  ];
}

function groupSection(group) {
  const names = nodesOf(group);
  const visible = names.filter(matches);
  if (!visible.length && (ui.filter || ui.states.size)) return null;
  const isClosed = ui.closed.has(group.name);
  const id = `group-${group.name}`;
  const releases = [...new Set(names.map((name) => nodeOf(name).release).filter(Boolean))];
  const dense = visible.length > DENSE;
  const ailing = dense ? visible.filter((name) => ["not ready", "starting", "stopping"].includes(nodeOf(name).state)) : [];
  const facts = group.rest ? ["deployed, but the spec has them no more: `fleet up` removes them"] : [
    count(group.count, "node"), group.size,
    `${group.strategy}, ${group.window} at a time${group.canary ? ", the first alone" : ""}`,
    group.after.length ? `after ${group.after.join(", ")}` : "",
    releases.length === 1 ? releases[0] : releases.length ? `${releases.length} releases` : ""];
  return h("section", { key: `group:${group.name}`, class: "group", "aria-labelledby": id },
    h("div", { class: "group-head" },
      h("h2", { id }, h("button", { type: "button", class: "fold", "aria-expanded": String(!isClosed),
        onclick: () => { if (!ui.closed.delete(group.name)) ui.closed.add(group.name); render(); } },
        h("svg", { viewBox: "0 0 16 16", class: `arrow${isClosed ? " closed" : ""}`, "aria-hidden": "true" }, h("path", { d: "M4 6l4 4 4-4", class: "line" })), group.name)),
      h("span", { class: "dim facts" }, facts.filter(Boolean).join(" · ")),
      h("span", { class: "mini" }, tally(names).map(([state, n]) => h("span", { key: state, class: "pair", title: `${n} ${state}` }, shape(state), h("span", { class: "num" }, String(n)), h("span", { class: "unseen" }, ` ${state}`))))),
    !isClosed && h("div", { key: "body", class: group.rest || !(group.containers.length || group.disks.length) ? "group-body" : `group-body ${visible.length > 8 ? "split" : "stacked"}` },
      h("div", { class: "nodes" },
        ailing.length > 0 && ailing.length <= 12 && h("ul", { key: "ailing", class: "cards", "aria-label": `Nodes of ${group.name} that are not ready` }, ailing.map(card)),
        h("ul", { key: "all", class: dense ? "tiles" : "cards", style: { "--longest": String(Math.max(...visible.map((name) => name.length))) },
          "aria-label": `Nodes of ${group.name}` }, visible.map(dense ? tile : card))),
      !group.rest && groupAside(group)));
}

function card(name) {
  const node = nodeOf(name);
  const containers = containersOf(node);
  const well = containers.filter((unit) => unit.well === "yes" || unit.well === "idle").length;
  const fullest = [...node.disks].filter((disk) => disk.size).sort((a, b) => b.used / b.size - a.used / a.size)[0];
  const last = node.steps[node.steps.length - 1];
  return h("li", { key: name },
    h("a", { class: `card ${CLASS[node.state]}`, href: link("node", name), "data-node": name },
      h("span", { class: "row" }, h("strong", null, name), badge(node.state)),
      node.reason && h("span", { key: "why", class: "why" }, node.reason),
      last && CLASS[node.state] === "busy" && h("span", { key: "phase", class: "row dim" }, h("span", null, last.phase), h("span", { class: "num" }, age(last.since))),
      node.known && containers.length > 0 && h("span", { key: "containers", class: "row" },
        h("span", { class: "dim" }, "containers"),
        h("span", { class: "dots" }, containers.slice(0, 8).map((unit) => h("span", { key: unit.unit, title: `${unit.name} ${unit.text}` }, shape(unit.well))), h("span", { class: "num" }, `${well}/${containers.length}`))),
      !node.known && node.unknown && h("span", { key: "unknown", class: "dim clip", title: node.unknown }, "containers: not known"),
      fullest && h("span", { key: "disk", class: "row" }, h("span", { class: "dim clip" }, fullest.name || fullest.mount), meter(fullest, true)),
      h("span", { class: "row dim small" }, h("span", { class: "num clip" }, node.address || "no address"),
        h("span", { class: "num" }, node.config === "outdated" ? h("span", { class: "warn-text" }, "outdated") : node.booted ? `up ${age(node.booted)}` : ""))));
}

function tile(name) {
  const node = nodeOf(name);
  const containers = containersOf(node);
  const well = containers.filter((unit) => unit.well === "yes" || unit.well === "idle").length;
  const words = [node.state, node.reason, node.config === "outdated" ? "outdated" : ""].filter(Boolean).join(": ");
  return h("li", { key: name },
    h("a", { class: `tile ${CLASS[node.state]}`, href: link("node", name), "data-node": name, title: `${name}: ${words}` },
      shape(node.state), h("span", { class: "clip" }, name), h("span", { class: "unseen" }, node.state),
      node.known && containers.length > 0 && h("span", { class: "num dim" }, `${well}/${containers.length}`),
      node.config === "outdated" && h("span", { class: "warn-text", role: "img", "aria-label": "outdated" }, "↻")));
}

function meter(disk, short) {
  const share = disk.size ? Math.min(1, disk.used / disk.size) : 0;
  const percent = Math.round(share * 100);
  const kind = share >= 0.9 ? "bad" : share >= 0.75 ? "warn" : "plain";
  return h("span", { class: "meter-line" },
    h("span", { class: `meter ${kind}`, role: "img", "aria-label": `${percent} % full` }, h("span", { style: { width: `${percent}%` } })),
    h("span", { class: "num" }, `${percent} %${share >= 0.9 ? " !" : ""}`, !short && h("span", { class: "dim" }, ` of ${bytes(disk.size)}`)));
}

function groupAside(group) {
  const names = nodesOf(group);
  const across = (container) => {
    const units = names.flatMap((name) => containersOf(nodeOf(name)).filter((unit) => unit.name === container));
    if (!units.length) return h("span", { class: "dim" }, "not known");
    const well = units.filter((unit) => unit.well === "yes" || unit.well === "idle").length;
    const state = well === units.length ? "yes" : units.some((unit) => unit.well === "no") ? "no" : "soon";
    return h("span", { class: "pair" }, shape(state), h("span", { class: "num" }, `${well}/${units.length}`));
  };
  return h("div", { key: "aside", class: "aside" },
    group.containers.length > 0 && h("div", { key: "containers", class: "wide-part" }, h("h3", null, "Containers"),
      h("ul", { class: "list" }, group.containers.map((each) => h("li", { key: each.name },
        h("span", { class: "row" }, h("span", null, h("b", null, each.name), each.role !== "service" && h("span", { class: "tag" }, each.role === "timer" ? each.schedule || "timer" : each.role), each.pod && h("span", { class: "tag" }, `pod ${each.pod}`)), across(each.name)),
        h("span", { class: "dim clip mono small", title: each.image }, each.built ? `built from ${each.image}` : shortImage(each.image)),
        portsOf(group, each.name).map((port) => h("span", { key: `p${port.number}${port.protocol}`, class: "row small" }, h("span", { class: "num" }, `${port.number}/${port.protocol}`), h("span", { class: "dim clip" }, reach(port)))))))),
    group.disks.length > 0 && h("div", { key: "disks" }, h("h3", null, "Data disks"),
      h("ul", { class: "list" }, group.disks.map((disk) => h("li", { key: disk.name }, h("span", { class: "row" }, h("b", null, disk.name), h("span", { class: "num" }, `${disk.size_gib} GiB`)), h("span", { class: "dim mono small clip" }, disk.mount))))),
    group.names.length > 0 && h("div", { key: "names" }, h("h3", null, "Names"), h("ul", { class: "list" }, group.names.map((name) => h("li", { key: name, class: "mono small clip" }, name)))));
}

const shortImage = (image) => image.replace(/@sha256:([0-9a-f]{12})[0-9a-f]*/, "@$1…");
const portsOf = (group, name) => group.ports.filter((port) => port.name === name);
function reach(port) {
  return port.reach.length ? port.reach.join(", ") : "nobody outside the fleet";
}

// One node.

function nodePage(name) {
  const node = nodeOf(name);
  const group = groupOf(name);
  if (!group) return [trouble(), h("p", { class: "empty" }, `There is no node ${name}. `, h("a", { href: link("nodes") }, "All nodes"))];
  const planned = group.nodes.find((each) => each.name === name) || {};
  const detail = ui.detailOf === name ? ui.detail : null;
  const siblings = nodesOf(group);
  const at = siblings.indexOf(name);
  const fact = (term, value) => value && h("div", { key: term, class: "fact" }, h("dt", null, term), h("dd", null, value));
  return [
    trouble(), rolloutNotice(),
    h("div", { key: "head", class: "page-head" },
      h("p", { class: "crumbs" }, h("a", { href: link("nodes") }, "Nodes"), " / ", group.name),
      h("div", { class: "row wrap" }, h("h2", null, name), badge(node.state),
        node.config === "outdated" && h("span", { class: "badge warn" }, "↻ outdated config"),
        h("span", { class: "grow" }),
        at > 0 && h("a", { key: "prev", class: "quiet", href: link("node", siblings[at - 1]) }, `← ${siblings[at - 1]}`),
        at < siblings.length - 1 && h("a", { key: "next", class: "quiet", href: link("node", siblings[at + 1]) }, `${siblings[at + 1]} →`)),
      node.reason && h("p", { class: `reason ${CLASS[node.state]}` }, node.reason)),
    h("div", { key: "grid", class: "two" },
      h("section", { key: "facts", class: "panel", "aria-label": "Facts" }, h("h3", null, "Node"), h("dl", { class: "facts-list" },
        fact("address", node.address && h("span", { class: "mono" }, node.address)),
        fact("in the fleet", planned.private && h("span", { class: "mono" }, planned.private)),
        fact("system", node.release && `${node.os} ${node.release}`),
        fact("next start", node.staged && h("span", { class: "warn-text" }, `${node.staged} is staged`)),
        fact("updates", node.update), fact("kernel", node.kernel),
        fact("up", node.booted && [age(node.booted), " ", h("span", { class: "dim" }, "since "), time(node.booted)]),
        fact("machine", node.machine && h("span", { class: "mono break" }, node.machine)),
        fact("config", node.config && (node.config === "current" ? "as in the spec" : "another than in the spec")),
        fact("log in", node.ssh && command(node.ssh)),
        fact("ports", node.endpoints.length > 0 && h("ul", { class: "plain" }, node.endpoints.map((each) => h("li", { key: each.number, class: "mono small" }, `${each.number} at ${each.host}:${each.port}`)))))),
      h("section", { key: "steps", class: "panel", "aria-label": "Timeline" }, h("h3", null, "Last provisioning"), stepsList(node))),
    h("section", { key: "units", class: "panel" }, h("h3", null, "Containers and units"), unitsTable(node, group)),
    node.disks.length > 0 && h("section", { key: "disks", class: "panel" }, h("h3", null, "Disks"), h("div", { class: "scroll" }, h("table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "disk"), h("th", { scope: "col" }, "mounted at"), h("th", { scope: "col" }, "full"))),
      h("tbody", null, node.disks.map((disk) => h("tr", { key: disk.mount }, h("th", { scope: "row" }, disk.name || "the node's own"), h("td", { class: "mono" }, disk.mount), h("td", null, meter(disk)))))))),
    h("section", { key: "console", class: "panel" }, h("h3", null, "Console"),
      detail ? (detail.console ? h("pre", { class: "console", id: "console", tabindex: "0", "aria-label": "The end of the serial console" }, detail.console) : h("p", { class: "dim" }, detail.note || "It has said nothing.")) : h("p", { class: "dim" }, "Asking …")),
    h("section", { key: "config", class: "panel" }, h("h3", null, "Config, secrets masked"),
      detail ? (detail.config.length ? detail.config.map((entry) => h("details", { key: `${entry.kind} ${entry.name}`, class: "entry" }, h("summary", null, h("span", { class: "tag" }, entry.kind), h("span", { class: "mono" }, entry.name)), h("pre", null, textOf(entry)))) : h("p", { class: "dim" }, "None is deployed.")) : h("p", { class: "dim" }, "Asking …")),
  ];
}

const textOf = (entry) => (typeof entry.text === "number" ? frozen.texts[entry.text] : entry.text);

function command(text) {
  const label = ui.copied === text ? "copied" : "copy";
  return h("span", { class: "command" }, h("code", null, text), navigator.clipboard && h("button", { type: "button", class: "quiet small", onclick: () => {
    navigator.clipboard.writeText(text).then(() => { ui.copied = text; announce("copied"); render(); setTimeout(() => { ui.copied = ""; render(); }, 2000); });
  } }, label));
}

function unitsTable(node, group) {
  if (!node.known) {
    const listed = group.containers.map((each) => each.name).join(", ");
    return h("p", { class: "dim" }, node.unknown ? `How they are is not known: ${node.unknown}.` : "How they are is not known yet.", listed ? ` It has: ${listed}.` : "");
  }
  if (!node.units.length && !node.failed.length) return h("p", { class: "dim" }, "It has none.");
  const image = (unit) => { const c = group.containers.find((each) => each.name === unit.name); return unit.kind === "container" && c ? c.image : ""; };
  return h("div", { class: "scroll" }, h("table", null,
    h("thead", null, h("tr", null, ["name", "state", "restarts", "image", "since"].map((title) => h("th", { scope: "col", key: title, class: title === "restarts" ? "right" : "" }, title)))),
    h("tbody", null,
      node.units.map((unit) => h("tr", { key: unit.unit + unit.user },
        h("th", { scope: "row" }, unit.name, unit.kind !== "container" && h("span", { class: "tag" }, unit.kind), unit.user && h("span", { class: "tag" }, `user ${unit.user}`)),
        h("td", null, h("span", { class: "pair" }, shape(unit.well), h("span", null, unit.text))),
        h("td", { class: `num right${unit.restarts ? " bad-text" : ""}` }, String(unit.restarts)),
        h("td", { class: "mono small" }, shortImage(image(unit)), unit.image && h("span", { class: "dim", title: unit.image }, ` ${unit.image.replace(/^sha256:/, "").slice(0, 12)}`)),
        h("td", { class: "num" }, unit.since ? age(unit.since) : ""))),
      node.failed.map((unit) => h("tr", { key: `failed ${unit}` }, h("th", { scope: "row" }, unit, h("span", { class: "tag" }, "system")), h("td", null, h("span", { class: "pair" }, shape("no"), "failed")), h("td"), h("td"), h("td"))))));
}

function stepsList(node) {
  if (!node.steps.length) return h("p", { class: "dim" }, "When that was is not known.");
  return h("ol", { class: "steps" }, node.steps.map((step, i) => {
    const next = node.steps[i + 1];
    const last = !next;
    const took = next ? duration(next.since - step.since) : step.phase === "ready" ? "" : `${duration(now() - step.since)} so far`;
    return h("li", { key: `${step.phase}${i}`, class: `${phaseClass(step.phase)}${last ? " last" : ""}` },
      h("span", { class: "row" }, h("b", null, step.phase), h("span", { class: "num dim" }, took)),
      h("span", { class: "dim small" }, time(step.since, clock(step.since)), step.text && ` · ${step.text}`));
  }));
}

// The rollout.

const PHASES = [["waiting", "p-wait"], ["stopping", "p-stop"], ["stopped", "p-stop"], ["making", "p-stop"], ["booting", "p-boot"], ["firmware", "p-boot"], ["boot loader", "p-boot"],
  ["kernel", "p-boot"], ["initramfs", "p-boot"], ["Ignition", "p-ign"], ["units", "p-unit"], ["started", "p-unit"], ["failing", "p-fail"], ["pulling", "p-pull"], ["settling", "p-probe"], ["probing", "p-probe"], ["ready", "p-ready"]];
const LEGEND = [["waiting", "p-wait"], ["stopping and making", "p-stop"], ["booting", "p-boot"], ["Ignition", "p-ign"], ["units", "p-unit"], ["pulling", "p-pull"], ["settling and probing", "p-probe"], ["failing", "p-fail"]];
const phaseClass = (phase) => (PHASES.find(([known]) => phase.startsWith(known)) || ["", "p-boot"])[1];

function rolloutPage() {
  const rollout = snapshot.rollout;
  const names = rollout.nodes.filter((name) => nodeOf(name).steps.length);
  if (!names.length) return [trouble(), rolloutNotice(), h("p", { class: "empty" }, rollout.running ? "An update is going on; no node is touched yet." : "When nodes were provisioned is not known: an earlier engine made them.")];
  const begin = Math.min(...names.map((name) => nodeOf(name).steps[0].since));
  const isOver = (name) => { const steps = nodeOf(name).steps; return steps[steps.length - 1].phase === "ready"; };
  const ends = names.map((name) => { const steps = nodeOf(name).steps; return isOver(name) || !rollout.running ? steps[steps.length - 1].since : now(); });
  const end = Math.max(...ends, begin + 1);
  const span = end - begin;
  const place = (since) => `${(((since - begin) / span) * 100).toFixed(3)}%`;
  const done = names.filter(isOver).length;
  const marks = ticks(span);
  return [
    trouble(), rolloutNotice(),
    h("div", { key: "head", class: "page-head" }, h("h2", null, rollout.running ? "Rollout going on" : "Last rollout"),
      h("p", { class: "dim" }, `${done} of ${count(names.length, "node")} ready, `, h("span", { class: "num" }, duration(span)), `${rollout.running ? " so far" : ""}; began `, time(begin))),
    h("section", { key: "chart", class: "panel gantt", "aria-label": "Timeline of each node" },
      h("ul", { class: "legend", "aria-label": "Phases" }, LEGEND.map(([word, kind]) => h("li", { key: kind }, h("span", { class: `swatch ${kind}` }), word))),
      h("div", { class: "axis", "aria-hidden": "true" }, h("span", { class: "lane-name" }), h("span", { class: "lane" }, marks.map((mark) => h("span", { key: mark, class: "tick num", style: { left: `${(mark / span) * 100}%` } }, duration(mark))))),
      h("ol", { class: "lanes" }, names.map((name) => {
        const node = nodeOf(name);
        const over = isOver(name);
        const turn = node.steps.find((step) => step.phase !== "waiting") || node.steps[0];
        const last = node.steps[node.steps.length - 1];
        const total = last.since - turn.since;
        const words = node.steps.map((step, i) => { const next = node.steps[i + 1]; return next ? `${step.phase} ${duration(next.since - step.since)}` : step.phase === "ready" ? "ready" : `${step.phase} so far ${duration(now() - step.since)}`; }).join(", ");
        return h("li", { key: name, class: "lane-row" },
          h("a", { class: "lane-name", href: link("node", name), "data-node": name }, shape(node.state), h("span", { class: "clip" }, name), h("span", { class: "unseen" }, `: ${node.state}. ${words}`)),
          h("span", { class: "lane", "aria-hidden": "true" },
            node.steps.map((step, i) => {
              const next = node.steps[i + 1];
              if (step.phase === "ready") return h("span", { key: i, class: "finish", title: `ready at ${clock(step.since)}`, style: { left: place(step.since) } });
              const until = next ? next.since : rollout.running ? now() : step.since;
              return h("span", { key: i, class: `bit ${phaseClass(step.phase)}${next ? "" : " open"}`, title: `${step.phase} ${duration(until - step.since)}${step.text ? ": " + step.text : ""}`,
                style: { left: place(step.since), width: `${(Math.max(0, until - step.since) / span) * 100}%` } });
            })),
          h("span", { class: "lane-total num" }, over ? duration(total) : h("span", { class: CLASS[node.state] === "bad" && last.phase !== "waiting" ? "bad-text" : "" }, last.phase)));
      }))),
    rollout.finished && h("p", { key: "finished", class: "dim" }, "All nodes were last ready together at ", time(rollout.finished), "."),
  ];
}

function ticks(span) {
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400].find((each) => span / each <= 8) || span / 4;
  const marks = [];
  for (let mark = 0; mark <= span * 0.97; mark += step) marks.push(mark);
  return marks;
}

// Networks, ports and names.

function networkPage() {
  const planned = snapshot.topology.groups;
  return [
    trouble(),
    h("div", { key: "head", class: "page-head" }, h("h2", null, "Who reaches what"),
      h("p", { class: "dim" }, snapshot.topology.network ? ["Nodes reach one another at every port in ", h("span", { class: "mono" }, snapshot.topology.network), "."] : "The spec plans no private network.")),
    h("section", { key: "ports", class: "panel" }, h("h3", null, "Ports"), h("div", { class: "scroll" }, h("table", null,
      h("thead", null, h("tr", null, ["group", "port", "what", "who may reach it"].map((title) => h("th", { scope: "col", key: title }, title)))),
      h("tbody", null, planned.flatMap((group) => group.ports.map((port) => h("tr", { key: `${group.name} ${port.number} ${port.protocol}` },
        h("th", { scope: "row" }, group.name), h("td", { class: "num" }, `${port.number}/${port.protocol}`),
        h("td", null, port.name || (port.use === "ssh" ? "SSH" : port.use), port.target && h("span", { class: "dim" }, ` → ${port.target}`)),
        h("td", null, port.reach.length ? port.reach.map((from) => h("span", { key: from, class: `tag${from === "anywhere" ? " wide" : ""}` }, from)) : h("span", { class: "dim" }, "nobody outside the fleet"))))))))),
    h("section", { key: "names", class: "panel" }, h("h3", null, "Names in the DNS"),
      planned.some((group) => group.names.length) ? h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, h("th", { scope: "col" }, "name"), h("th", { scope: "col" }, "should resolve to"))),
        h("tbody", null, planned.flatMap((group) => group.names.map((name) => h("tr", { key: name }, h("th", { scope: "row", class: "mono" }, name), h("td", { class: "mono small" }, nodesOf(group).map((each) => nodeOf(each).address || each).join(", ")))))))) : h("p", { class: "dim" }, "The spec has none.")),
    planned.some((group) => group.networks.length) && h("section", { key: "networks", class: "panel" }, h("h3", null, "Networks of containers, on each node"), h("div", { class: "scroll" }, h("table", null,
      h("thead", null, h("tr", null, ["group", "network", "range", "in it"].map((title) => h("th", { scope: "col", key: title }, title)))),
      h("tbody", null, planned.flatMap((group) => group.networks.map((network) => h("tr", { key: `${group.name} ${network.name}` }, h("th", { scope: "row" }, group.name), h("td", null, network.name, network.internal && h("span", { class: "tag" }, "internal")), h("td", { class: "mono small" }, network.subnets.join(", ") || "chosen by the engine"), h("td", null, network.members.join(", "))))))))),
  ];
}

// What would change.

function changesPage() {
  const result = ui.changes;
  const button = h("button", { key: "ask", type: "button", class: "primary", disabled: ui.asking || null, onclick: askChanges }, ui.asking ? "Looking …" : result ? "Look again" : "Find out");
  return [
    trouble(),
    h("div", { key: "head", class: "page-head" }, h("div", { class: "row wrap" }, h("h2", null, "What an update would change"), h("span", { class: "grow" }), button),
      h("p", { class: "dim" }, "As ", h("code", null, "fleet diff"), " says: a preview of the spec as it is now. It changes nothing, and takes some seconds. Secrets are masked.")),
    h("div", { key: "result", "aria-live": "polite", "aria-busy": String(ui.asking) },
      result && result.error && h("p", { key: "error", class: "notice bad" }, shape("not ready"), h("span", { class: "pre" }, result.error)),
      result && result.nodes && !result.nodes.some((node) => node.fate !== "unchanged") && h("p", { key: "none", class: "notice good" }, shape("ready"), "Nothing would change."),
      result && result.nodes && alike(result.nodes.filter((node) => node.fate !== "unchanged")).map(([node, names]) => h("section", { key: node.node, class: "panel" },
        h("div", { class: "row wrap" }, h("h3", null, names.length > 6 ? `${names.slice(0, 3).join(", ")}, … ${names[names.length - 1]}` : names.join(", ")),
          names.length > 1 && h("span", { class: "dim" }, count(names.length, "node")), h("span", { class: "badge warn" }, node.fate)),
        node.reasons.length > 0 && h("p", { class: "dim" }, node.reasons.join(", ")),
        node.changes.map((change) => h("details", { key: `${change.kind} ${change.name}`, class: "entry", open: true }, h("summary", null, h("span", { class: "tag" }, change.kind), h("span", { class: "mono" }, change.name || change.kind), h("span", { class: "dim" }, ` ${change.how}`)),
          change.diff.length > 0 && h("pre", { class: "diff" }, change.diff.map((line, i) => h("span", { key: i, class: { "+": "plus", "-": "minus", "@": "at" }[line[0]] || "" }, line + "\n")))))))),
  ];
}

// Nodes of which the same is said, together: the first of them, and the names of all.
function alike(nodes) {
  const by = new Map();
  for (const node of nodes) {
    const key = JSON.stringify([node.fate, node.reasons, node.changes]);
    if (!by.has(key)) by.set(key, [node, []]);
    by.get(key)[1].push(node.node);
  }
  return [...by.values()];
}

async function askChanges() {
  ui.asking = true;
  render();
  try {
    const answer = await fetch("changes", { cache: "no-store" });
    ui.changes = answer.ok ? await answer.json() : { error: "`fleet view` does not answer any more." };
  } catch {
    ui.changes = { error: "`fleet view` does not answer any more." };
  }
  ui.asking = false;
  render();
}

// The history.

function historyPage() {
  const entries = snapshot.history;
  return [
    trouble(),
    h("div", { key: "head", class: "page-head" }, h("h2", null, "History"), h("p", { class: "dim" }, "Rollouts, the latest first. ", h("code", null, "fleet rollback --to N"), " goes back to one.")),
    entries.length ? h("ol", { key: "list", class: "history" }, entries.map(historyEntry)) : h("p", { key: "none", class: "empty" }, "No rollout is recorded."),
  ];
}

function historyEntry(entry) {
  const nodes = entry.nodes || [];
  const state = { done: "yes", running: "soon" }[entry.result] || "no";
  return h("li", { key: String(entry.number), class: "panel" },
    h("div", { class: "row wrap" }, h("h3", { class: "num" }, `#${entry.number}`), h("span", { class: "pair" }, shape(state), entry.result), h("span", { class: "grow" }),
      h("span", { class: "dim num" }, [entry.time, entry.duration && duration(entry.duration), entry.who].filter(Boolean).join(" · "))),
    entry.summary && h("p", null, entry.summary),
    nodes.length > 0 && h("details", { key: "nodes", class: "entry" }, h("summary", null, count(nodes.length, "node")),
      h("div", { class: "scroll" }, h("table", null, h("tbody", null, nodes.map((node) => h("tr", { key: node.node }, h("th", { scope: "row" }, node.node), h("td", null, node.what), h("td", { class: "dim" }, node.why), h("td", { class: "num right" }, node.seconds === null || node.seconds === undefined ? "" : duration(node.seconds)))))))));
}

// Following.

let pending = false;
function render() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    const { page, name } = route();
    sync(document.getElementById("top"), top());
    sync(document.getElementById("foot"), foot());
    if (!snapshot) return;
    const main = document.getElementById("main");
    const pre = document.getElementById("console");
    const follows = !pre || pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
    const pages = { nodes: nodesPage, node: () => nodePage(name), rollout: rolloutPage, network: networkPage, changes: changesPage, history: historyPage };
    sync(main, [h("div", { key: `${page}/${name}`, class: `page page-${page}` }, (pages[page] || nodesPage)())]);
    const shown = document.getElementById("console");
    if (shown && follows) shown.scrollTop = shown.scrollHeight;
    const all = groups().flatMap(nodesOf);
    const well = all.filter((each) => nodeOf(each).state === "ready").length;
    document.title = `${page === "node" ? `${name} · ` : ""}${well}/${all.length} ready · ${snapshot.fleet} (${snapshot.stack})`;
  });
}

function announce(text) {
  document.getElementById("announce").textContent = text;
}

function take(next) {
  const before = snapshot;
  snapshot = next;
  if (before) {
    const changed = Object.keys(next.nodes).filter((name) => before.nodes[name] && before.nodes[name].state !== next.nodes[name].state);
    if (changed.length > 4) announce(`${changed.length} nodes changed: ${tally(Object.keys(next.nodes)).map(([state, n]) => `${n} ${state}`).join(", ")}`);
    else if (changed.length) announce(changed.map((name) => `${name}: ${next.nodes[name].state}`).join(", "));
  }
  render();
}

async function fetchDetail() {
  const { page, name } = route();
  if (page !== "node" || !snapshot || document.hidden) return;
  if (frozen) {
    ui.detail = frozen.details[name] || null;
    ui.detailOf = name;
    render();
    return;
  }
  try {
    const answer = await fetch(`nodes/${encodeURIComponent(name)}`, { cache: "no-store" });
    if (!answer.ok || route().name !== name) return;
    ui.detail = await answer.json();
    ui.detailOf = name;
    render();
  } catch { /* The stream says that nobody answers. */ }
}

function follow() {
  const stream = new EventSource("events");
  stream.addEventListener("snapshot", (event) => {
    ui.connected = true;
    const first = !snapshot;
    take(JSON.parse(event.data));
    if (first) fetchDetail();
  });
  stream.onopen = () => { ui.connected = true; render(); };
  stream.onerror = () => {
    ui.connected = false;
    render();
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  };
}

// Keys: `/` filters, arrows go from node to node in the direction that is seen, Escape goes back.

function step(links, from, key) {
  const box = from.getBoundingClientRect();
  const middle = (b) => [b.left + b.width / 2, b.top + b.height / 2];
  const [x, y] = middle(box);
  let best = null;
  let least = Infinity;
  for (const each of links) {
    if (each === from) continue;
    const [ex, ey] = middle(each.getBoundingClientRect());
    const dx = ex - x;
    const dy = ey - y;
    const across = key === "ArrowLeft" || key === "ArrowRight";
    const along = { ArrowRight: dx, ArrowLeft: -dx, ArrowDown: dy, ArrowUp: -dy }[key];
    const aside = Math.abs(across ? dy : dx);
    if (along < 4) continue;
    const cost = along + aside * 3;
    if (cost < least) { least = cost; best = each; }
  }
  if (!best && (key === "ArrowRight" || key === "ArrowLeft")) best = links[links.indexOf(from) + (key === "ArrowRight" ? 1 : -1)];
  return best;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const on = document.activeElement;
  const typing = on && (on.tagName === "INPUT" || on.tagName === "TEXTAREA");
  const filter = document.getElementById("filter");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    if (filter) { filter.focus(); filter.select(); }
    else { location.hash = link("nodes"); setTimeout(() => { const f = document.getElementById("filter"); if (f) f.focus(); }, 60); }
    return;
  }
  if (event.key === "Escape") {
    if (typing && ui.filter) { ui.filter = ""; on.value = ""; render(); }
    else if (typing) on.blur();
    else if (route().page === "node") location.hash = link("nodes");
    return;
  }
  if (event.key.startsWith("Arrow") && (!typing || event.key === "ArrowDown")) {
    const links = [...document.querySelectorAll("main a[data-node]")];
    if (!links.length || (on && on.closest("pre, nav, details"))) return;
    const next = links.includes(on) ? step(links, on, event.key) : typing || event.key === "ArrowDown" ? links[0] : null;
    if (next) { event.preventDefault(); next.focus(); next.scrollIntoView({ block: "nearest" }); }
  }
});

let lastNode = "";
window.addEventListener("hashchange", () => {
  if (location.hash === "#main") { document.getElementById("main").focus(); history.replaceState(null, "", "#/"); return; }
  const { page, name } = route();
  render();
  fetchDetail();
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (page === "nodes" && lastNode) {
      const back = document.querySelector(`main a[data-node="${CSS.escape(lastNode)}"]`);
      if (back) { back.focus(); back.scrollIntoView({ block: "nearest" }); }
    } else { document.getElementById("main").focus({ preventScroll: true }); window.scrollTo(0, 0); }
    lastNode = page === "node" ? name : "";
  }));
});

let ticksGone = 0;
setInterval(() => {
  ticksGone += 1;
  if (going() || ticksGone % 15 === 0) render();
  if (ticksGone % 2 === 0 && !frozen) fetchDetail();
}, 1000);
document.addEventListener("visibilitychange", fetchDetail);

if (!frozen) follow();
else fetchDetail();
lastNode = route().page === "node" ? route().name : "";
render();
})();
