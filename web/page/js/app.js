// The page: takes the stream into a state, and has the view that is open drawn from
// it at most once a frame.
import { byId, clean, el, replace } from "./dom.js";
import { Stream } from "./stream.js";
import { Orders } from "./orders.js";
import { clock, count, duration, words } from "./format.js";
import { WorldMap } from "./map.js";
import { overview } from "./views/overview.js";
import { lookups } from "./views/lookups.js";
import { shape } from "./views/shape.js";
import { rollout } from "./views/rollout.js";
import { search } from "./views/search.js";
import { learning } from "./views/learning.js";
import { journal } from "./views/journal.js";
import { knobs } from "./views/knobs.js";
import { peer, table } from "./views/peer.js";

const bounds = { journal: 4096, cycles: 1024, lookups: 128, trials: 4096, changes: 256, samples: 900, costs: 1024 };
const streams = Object.keys(bounds);
const PACE_MS = 120; // between two drawings of what changed
const state = {};
forget();
function forget() {
  for (const key of Object.keys(state)) delete state[key];
  for (const key of streams) state[key] = [];
}

// A view is there when what it shows can exist.
const all = [
  { id: "overview", name: "Overview", make: overview, when: (s) => s.subject?.kind !== "node", title: "What is going on" },
  { id: "overview", name: "Overview", make: peer, when: (s) => s.subject?.kind === "node", title: "How this peer is" },
  { id: "rollout", name: "Rollout", make: rollout, when: (s) => s.run, title: "From canary to all" },
  { id: "search", name: "Search", make: search, when: (s) => s.search, title: "Search on the twin" },
  { id: "learning", name: "Learning", make: learning, when: (s) => s.race, title: "Who learns best" },
  { id: "shape", name: "Shape", make: shape, when: (s) => s.shape, title: "Shape of the routing tables" },
  { id: "table", name: "Table", make: table, when: (s) => s.table, title: "Routing table" },
  { id: "lookups", name: "Lookups", make: lookups, when: (s) => s.run || s.health, title: "Lookups, hop by hop" },
  { id: "knobs", name: "Knobs", make: knobs, when: (s) => s.knobs, title: "Everything that can be tuned" },
  { id: "journal", name: "Journal", make: journal, when: (s) => s.run, title: "Journal" },
];

const shared = {
  map: new WorldMap(),
  state,
  go: (hash) => {
    location.hash = hash;
  },
};
let token = readToken(),
  open = null,
  drawn = false,
  dirty = new Set(),
  taken = false,
  last = -Infinity;
const orders = new Orders(() => token);
shared.prove = (title, candidate) => orders.prove(title, candidate);

function readToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname + "#/overview");
  }
  return sessionStorage.getItem("token") || "";
}

function take(name, data) {
  if (name === "hello") {
    if (data.fresh) forget();
    taken = data.orders;
    dirty.add("subject");
  } else if (name === "gap") {
    state[data] = [];
    dirty.add(data);
  } else if (streams.includes(name)) {
    const list = state[name];
    list.push(data);
    if (list.length > bounds[name] * 1.25) list.splice(0, list.length - bounds[name]);
    if (name === "lookups") shared.map.play(data);
    dirty.add(name);
  } else {
    state[name] = data;
    dirty.add(name);
  }
  schedule();
}

// schedule has what changed drawn soon, together with what changes meanwhile.
function schedule() {
  if (drawn) return;
  drawn = true;
  setTimeout(() => requestAnimationFrame(draw), Math.max(0, last + PACE_MS - performance.now()));
}

const views = () => all.filter((v) => v.when(state));

function draw() {
  drawn = false;
  last = performance.now();
  const changed = dirty;
  dirty = new Set();
  if (!state.subject) return;
  shell(changed);
  const list = views(),
    wanted = (location.hash.match(/^#\/(\w+)/) || [])[1] || "overview";
  const view = list.find((v) => v.id === wanted) || list[0];
  if (!view) return;
  if (open?.view !== view) {
    open = { view, shown: view.make(shared) };
    const title = el("h1", { id: "title", tabindex: "-1" }, view.title);
    byId("view").replaceChildren(el("div", { class: "grid" }, el("div", { class: "w12" }, title), open.shown.nodes));
    document.title = `${view.name} · Shoal`;
    open.shown.update(state, new Set(["all"]));
  } else {
    open.shown.update(state, changed);
  }
}

// shell draws what is around the views.
function shell(changed) {
  const { subject, run } = state;
  const wanted = (location.hash.match(/^#\/(\w+)/) || [])[1] || "overview";
  replace(
    byId("views"),
    views().map((v) => el("li", {}, el("a", { href: "#/" + v.id, "aria-current": v.id === wanted && "page" }, v.name))),
  );
  const what = run ? ` · ${words(run.phase)}${run.ended_s === null ? "" : " after " + duration(run.ended_s)}` : "";
  byId("subject").textContent = clean(subject.title) + what;
  byId("about").textContent = `Shoal ${clean(subject.version)}. Times are of this browser's clock. Bounds of intervals are at 95 %.`;
  if (changed.has("alarms") || changed.has("subject")) {
    replace(
      byId("alarms"),
      (state.alarms?.alarms || []).map((a) =>
        el(
          "div",
          { class: "alarm " + a.severity },
          el("b", {}, a.severity),
          el("span", {}, a.text + (a.count > 1 ? ` (${count(a.count)})` : "")),
          el("span", { class: "muted" }, "since " + clock(a.since)),
        ),
      ),
    );
  }
  orders.show(run, taken);
}

function link(to) {
  byId("link").dataset.state = to;
  byId("link-text").textContent = { live: "live", lost: "connection lost, trying again", locked: "token needed" }[to];
  if (to === "locked") unlock();
}

function unlock() {
  const dialog = byId("token");
  dialog.addEventListener(
    "close",
    () => {
      token = byId("token-text").value.trim();
      sessionStorage.setItem("token", token);
      connect();
    },
    { once: true },
  );
  dialog.showModal();
}

function theme() {
  const pick = byId("theme"),
    dark = matchMedia("(prefers-color-scheme: dark)");
  pick.value = localStorage.getItem("theme") || "auto";
  const apply = () => {
    document.documentElement.dataset.theme = pick.value === "auto" ? (dark.matches ? "dark" : "light") : pick.value;
    shared.map.repaint();
  };
  pick.addEventListener("change", () => {
    localStorage.setItem("theme", pick.value);
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

function connect() {
  new Stream({ url: "/api/v3/ml/optimize/events", token, onEvent: take, onState: link }).run();
}

addEventListener("hashchange", () => {
  draw();
  byId("title")?.focus({ preventScroll: true });
  scrollTo(0, 0);
});
theme();
connect();
