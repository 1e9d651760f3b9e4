// The shape: how many places every bucket has, before and after.
import { card, el, empty, replace, svg } from "../dom.js";
import { none } from "../format.js";

export function shape() {
  const body = el("div", {});
  return {
    nodes: [
      card(
        "Places in every bucket",
        "bucket 0 is the far half of the space, each next one half as large",
        "w12",
        el(
          "div",
          { class: "legend" },
          el("span", {}, el("i", { class: "key" }), "incumbent"),
          el("span", {}, el("i", { class: "key candidate" }), "candidate"),
          el("span", {}, el("i", { class: "key line" }), "peers that the network has for it"),
        ),
        body,
      ),
    ],
    update(s, changed) {
      if (!changed.has("all") && !changed.has("shape") && !changed.has("run")) return;
      replace(body, draw(s.shape));
    },
  };
}

function draw(s) {
  if (!s) return empty("No shape is known", "It appears with the configuration that runs.");
  const most = Math.max(...s.buckets.map((b) => Math.max(b.incumbent, b.candidate ?? 0, Math.min(b.capacity, 300)))),
    x = (v) => (300 * Math.min(v, most)) / most;
  const any = s.buckets.some((b) => b.candidate !== null);
  return [
    !any && el("p", { class: "muted" }, "There is no candidate yet: only what runs is shown."),
    any &&
      s.buckets.every((b) => b.candidate === b.incumbent) &&
      el("p", {}, "The candidate leaves the shape as it is: what it changes is under ", el("a", { href: "#/knobs" }, "Knobs"), "."),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Shape by bucket" },
      el(
        "table",
        { class: "shape" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            ["Bucket", "Places"].map((t) => el("th", { scope: "col" }, t)),
            el("th", { scope: "col", class: "num" }, "Before"),
            any && el("th", { scope: "col", class: "num" }, "After"),
            el("th", { scope: "col", class: "num hide-s" }, "Peers for it"),
            el("th", { scope: "col", class: "hide-s" }, "Why"),
          ),
        ),
        el(
          "tbody",
          {},
          s.buckets.map((b) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, b.bucket),
              el(
                "td",
                { class: "bars" },
                svg(
                  "svg",
                  { viewBox: "0 0 304 34", preserveAspectRatio: "none", "aria-hidden": "true" },
                  svg("rect", { class: "before", x: 1, y: 4, width: Math.max(1, x(b.incumbent)), height: 11 }),
                  b.candidate !== null && svg("rect", { class: "after", x: 0, y: 19, width: x(b.candidate), height: 11 }),
                  b.capacity <= most && svg("line", { class: "cap", x1: x(b.capacity), x2: x(b.capacity), y1: 0, y2: 34 }),
                ),
              ),
              el("td", { class: "num" }, b.incumbent),
              any && el("td", { class: "num" }, b.candidate === null ? none : b.candidate === b.incumbent ? "=" : b.candidate),
              el("td", { class: "num hide-s" }, b.capacity >= 10 ? Math.round(b.capacity) : +b.capacity.toFixed(1)),
              el("td", { class: "hide-s" }, b.why),
            ),
          ),
        ),
      ),
    ),
    el(
      "p",
      { class: "small muted" },
      `A network of ${s.peers} peers has about ${s.peers} / 2^(b+1) for bucket b: places beyond the dashed line stay empty.`,
    ),
  ];
}
