// One peer: how it is, its table, and what passes through it.
import { card, el, empty, replace, svg, table as grid, VirtualList } from "../dom.js";
import { spark } from "../chart.js";
import { bytes, clock, count, duration, ms, none, number, percent, tail } from "../format.js";

export function peer({ state }) {
  const health = el("div", {}),
    recent = el("div", {}),
    traffic = el("dl", { class: "facts" }),
    lines = el("div", { class: "multiples" }),
    changes = el("div", {}),
    about = el("div", {});
  return {
    nodes: [
      card("Health", "0 to 100", "w5", health),
      card("Of late", "while somebody looked, a point a second", "w7", lines),
      card("Lookups of the last minutes", null, "w5", recent),
      card("Since the start", null, "w7", traffic),
      card("Last changes of the table", null, "w7", changes),
      card("This peer", null, "w5", about),
    ],
    update(s, changed) {
      const any = (...names) => changed.has("all") || names.some((n) => changed.has(n)),
        h = s.health;
      if (any("health")) {
        replace(health, h ? score(h) : empty("Not known yet", ""));
        if (h) {
          replace(
            recent,
            h.lookups.count
              ? el(
                  "dl",
                  { class: "facts" },
                  [
                    ["Lookups", count(h.lookups.count)],
                    ["Without success", count(h.lookups.failed)],
                    ["P50", ms(h.lookups.p50_ms)],
                    ["P90", ms(h.lookups.p90_ms)],
                    ["P99", ms(h.lookups.p99_ms)],
                  ].map(fact),
                )
              : empty("No lookup in the last minutes", "Lookups that somebody asks this peer for are counted here."),
          );
          replace(
            traffic,
            [
              ["Requests served", count(h.served)],
              ["Requests sent", count(h.sent)],
              ["Received", bytes(h.bytes_in)],
              ["Sent", bytes(h.bytes_out)],
              ["Turned away", count(h.refused)],
              ["Lookups", count(h.lookups_total)],
              ["Crowds noticed", count(h.crowded)],
              ["Up", duration(h.up_s)],
            ].map(fact),
          );
        }
      }
      if (any("samples")) replace(lines, figures(s.samples));
      if (any("changes")) {
        const last = s.changes.slice(-8).toReversed();
        replace(
          changes,
          last.length
            ? grid(
                "Changes of the table",
                [{ name: "Time", tight: true }, { name: "Peer" }, { name: "" }, { name: "Because" }],
                last.map((c) => [
                  clock(c.at),
                  el("span", { class: "mono", title: c.peer }, tail(c.peer)),
                  c.member ? "entered" : "left",
                  c.why,
                ]),
              )
            : empty("Nothing has changed yet", "Who enters and leaves the routing table is told here, with the reason."),
        );
      }
      if (any("subject"))
        replace(
          about,
          el(
            "dl",
            { class: "facts" },
            (s.subject?.facts || []).map((f) => fact([f.name, f.value])),
          ),
          el("p", { class: "small muted" }, "All figures for Prometheus are at ", el("a", { href: "/metrics" }, "/metrics"), "."),
        );
    },
  };
}

const fact = ([k, v]) =>
  el("div", { class: (String(v).length > 28 || String(v).includes("/")) && "long" }, el("dt", {}, k), el("dd", {}, v));

function score(h) {
  const factor = (name, x, doc) =>
    el(
      "div",
      { class: "meter" },
      el("div", { class: "top" }, el("strong", {}, name), el("span", {}, percent(x))),
      el("progress", { max: "1", value: Math.min(1, x).toFixed(3), "aria-label": name + ": " + percent(x) }),
      el("p", { class: "small muted" }, doc),
    );
  return [
    el("p", { class: "score" }, String(h.score), el("small", {}, "of 100")),
    h.contacts === 0 && el("p", {}, "Nobody has joined yet, and it has joined nobody."),
    factor("Places filled", h.fill, `${count(h.contacts)} members; the network has about ${count(h.network_size)} peers`),
    factor("Members alive", 1 - h.stale_share, "by their ages and silences"),
    factor("Requests answered", h.answered, "of the last five to ten minutes"),
    h.roster > 0 &&
      el("p", { class: "small muted" }, `The roster holds ${count(h.roster)} others${h.roster_settled ? "" : " and is still gathering"}.`),
  ];
}

function figures(samples) {
  if (samples.length < 2) return empty("Gathering", "Figures over time begin when somebody looks.");
  const last = samples.at(-1),
    shown = samples.slice(-300);
  const line = (name, key, f) =>
    el(
      "div",
      {},
      el("h3", {}, name),
      el("p", { class: "small muted" }, last[key] === null ? "none just now" : f(last[key])),
      spark(
        shown.map((x) => x[key]),
        { label: `${name}, the last ${shown.length} samples`, least: 0 },
      ),
    );
  return [
    line("Members of the table", "contacts", count),
    line("Requests served", "served_per_s", (x) => number(x) + " a second"),
    line("Requests sent", "sent_per_s", (x) => number(x) + " a second"),
    line("Bytes out", "bytes_out_per_s", (x) => bytes(x) + " a second"),
  ];
}

export function table() {
  const buckets = el("div", {}),
    contacts = el("div", {}),
    hidden = el("p", { class: "small muted" });
  const list = new VirtualList({
    label: "Peers that the table knows",
    height: 58,
    render: (c) =>
      el(
        "div",
        { class: "row lookup" },
        el("span", { class: "mono", title: c.peer }, c.peer),
        el("span", { class: "end" }, c.rtt_ms === null ? none : ms(c.rtt_ms)),
        el("span", { class: "small muted" }, `bucket ${c.bucket} · ${c.member ? "member" : "spare"}: ${c.why}`),
        el("span", { class: "small muted end" }, `silent ${duration(c.silence_s)}`),
      ),
  });
  contacts.append(list.node, hidden);
  return {
    nodes: [card("By bucket", "bucket 0 is the far half of the space", "w7", buckets), card("Peers that it knows", null, "w5", contacts)],
    update(s, changed) {
      if (!changed.has("all") && !changed.has("table")) return;
      const t = s.table,
        used = (t?.buckets || []).filter((b) => b.members + b.spares > 0 || b.requests > 0);
      replace(
        buckets,
        used.length
          ? grid(
              "Buckets",
              [
                { name: "Bucket", num: true },
                { name: "Filled" },
                { name: "Members", num: true },
                { name: "Places", num: true },
                { name: "Spares", num: true },
                { name: "Answered", num: true },
                { name: "Likely gone", num: true },
                { name: "RTT", num: true },
              ],
              used.map((b) => [
                b.bucket,
                svg(
                  "svg",
                  { viewBox: "0 0 120 14", width: "120", height: "14", class: "chart", "aria-hidden": "true" },
                  svg("rect", { class: "hollow", x: 1, y: 2, width: 118, height: 10 }),
                  svg("rect", { class: "candidate", x: 1, y: 2, width: 118 * Math.min(1, b.members / (b.places || 1)), height: 10 }),
                ),
                b.members,
                b.places,
                b.spares,
                percent(b.answered),
                percent(b.stale_share),
                ms(b.rtt_ms),
              ]),
            )
          : empty("It knows nobody yet", "Join it from another peer, or give --bootstrap or --join."),
      );
      list.set(t?.contacts || []);
      list.node.hidden = !(t?.contacts || []).length;
      hidden.textContent = t?.hidden ? `and ${count(t.hidden)} more` : "";
      if (!(t?.contacts || []).length) hidden.textContent = "Nobody.";
    },
  };
}
