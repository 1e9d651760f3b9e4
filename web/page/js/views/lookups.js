// Lookups: a list of the last, and one of them opened request by request.
import { card, el, empty, replace, svg, VirtualList } from "../dom.js";
import { clock, count, many, ms, none, number, tail } from "../format.js";

export function lookups({ state }) {
  let shown = null;
  const detail = el("div", {});
  const list = new VirtualList({
    label: "Last lookups, newest first",
    height: 58,
    select: (l) => {
      shown = l.n;
      open();
    },
    render: (l) =>
      el(
        "div",
        { class: "row lookup" },
        el("strong", {}, `${l.op}${l.own ? " (own)" : ""}`),
        el("span", { class: "end" }, ms(l.took_ms)),
        el("span", { class: "small muted" }, `${who(state, l.peer)} · ${clock(l.began)}`),
        el("span", { class: "small muted end" }, l.found ? `${l.messages} requests` : "not found"),
      ),
  });
  list.key = (l) => l.n;
  // What one reads does not move: while the list has the focus or the pointer it
  // stays as it is, and says how many have come.
  const waiting = el("p", { class: "small muted" });
  let newest = 0;
  const reading = () => list.items.length > 0 && (document.activeElement === list.node || list.node.matches(":hover"));
  function show() {
    const fresh = state.lookups.filter((l) => l.n > newest).length;
    if (reading() && newest) {
      waiting.textContent = fresh ? `${many(fresh, "more", "more")} since: move away to see` : "";
      return;
    }
    waiting.textContent = "";
    newest = state.lookups.at(-1)?.n || 0;
    list.set(state.lookups.toReversed());
  }
  for (const event of ["blur", "pointerleave"]) list.node.addEventListener(event, () => setTimeout(show));
  const listCard = el(
    "div",
    { class: "split w12" },
    card("The last ones", "sampled; newest first", "cell", list.node, waiting),
    card("Hop by hop", null, "cell", detail),
  );
  function open() {
    const l = list.items.find((x) => x.n === shown);
    replace(
      detail,
      l
        ? one(state, l)
        : empty(
            state.lookups.length ? "Choose a lookup" : "No lookup has ended yet",
            state.lookups.length
              ? "Use the arrow keys or click. Each request is shown with its time, who named the peer and why it was asked."
              : "They appear here as they end.",
          ),
    );
  }
  return {
    nodes: [listCard],
    update(s, changed) {
      if (!changed.has("all") && !changed.has("lookups")) return;
      show();
      if (shown === null && s.lookups.length) {
        const best = s.lookups.slice(-24).reduce((a, b) => (b.requests.length > a.requests.length ? b : a));
        list.selected = shown = best.n;
        list.paint();
        open();
      } else if (changed.has("all") || shown === null) open();
    },
  };
}

function who(s, n, name) {
  if (n < 0) return name ? tail(name) : "this peer";
  const p = s.peers?.peers[n];
  return p ? (p.site ? `${p.site} (${n})` : tail(p.name)) : `peer ${n}`;
}

function one(s, l) {
  const long = Math.max(l.took_ms, ...l.requests.map((r) => r.ended_ms || r.asked_ms), 1);
  const facts = [
    ["Asked by", who(s, l.peer)],
    ["Outcome", l.found ? "found" : l.why || "not found"],
    ["Took", ms(l.took_ms)],
    ["Requests", count(l.messages)],
    ["Without answer", count(l.failures)],
    ["Hops", count(l.hops)],
  ];
  if (l.arm >= 0 && s.run) facts.push(["Arm", l.arm ? "candidate" : "incumbent"]);
  const rows = l.requests.map((r) =>
    el(
      "tr",
      {},
      el("td", { class: "num" }, r.hops),
      el(
        "td",
        {},
        who(s, r.peer, r.name),
        el("span", { class: "small muted" }, el("br", {}), "from " + (r.by >= 0 || r.by_name ? who(s, r.by, r.by_name) : "own table")),
      ),
      el("td", { class: "lane", title: `asked at ${ms(r.asked_ms)}` }, bar(r, long)),
      el("td", { class: "num" }, r.ended_ms === null ? none : ms(r.ended_ms - r.asked_ms)),
      el("td", {}, r.outcome),
      el("td", { class: "hide-s" }, r.why),
    ),
  );
  return [
    el(
      "dl",
      { class: "facts" },
      facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))),
    ),
    el("p", { class: "small muted" }, "Key ", el("span", { class: "mono" }, l.key)),
    rows.length
      ? el(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "Requests of the lookup" },
          el(
            "table",
            { class: "waterfall" },
            el(
              "thead",
              {},
              el(
                "tr",
                {},
                el("th", { scope: "col", class: "num" }, "Hop"),
                el("th", { scope: "col" }, "Peer"),
                el("th", { scope: "col" }, `0 to ${number(long)} ms`),
                el("th", { scope: "col", class: "num" }, "Took"),
                el("th", { scope: "col" }, "Outcome"),
                el("th", { scope: "col", class: "hide-s" }, "Asked because"),
              ),
            ),
            el("tbody", {}, rows),
          ),
        )
      : empty("No request", "The peer had what was asked for, or knew nobody to ask."),
    rows.length > 0 &&
      el(
        "p",
        { class: "small muted" },
        "Filled: answered. Outlined: no answer. Pale: taken back, or not waited for. The tick is the answer time that was expected.",
      ),
    l.cut > 0 && el("p", { class: "small muted" }, `and ${count(l.cut)} more requests`),
    !l.cut &&
      l.messages > rows.length &&
      el(
        "p",
        { class: "small muted" },
        `The other ${count(l.messages - rows.length)} requests followed the lookup: they asked the nearest peers to keep what was ${l.op === "get" ? "found" : "stored"}.`,
      ),
  ];
}

function bar(r, long) {
  const x = (t) => (400 * t) / long,
    end = r.ended_ms ?? long,
    w = Math.max(2, x(end - r.asked_ms));
  const cls = { answered: "run", reached: "run", failed: "lost" }[r.outcome] || "left";
  const tick =
    r.predicted_ms > 0 &&
    x(r.asked_ms + r.predicted_ms) < 400 &&
    svg("line", { class: "tick", x1: x(r.asked_ms + r.predicted_ms), x2: x(r.asked_ms + r.predicted_ms), y1: 1, y2: 19 });
  return svg(
    "svg",
    { viewBox: "0 0 400 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: cls, x: x(r.asked_ms), y: 4, width: w, height: 12, rx: 2 }),
    tick,
  );
}
