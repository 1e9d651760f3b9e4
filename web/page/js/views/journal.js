// The journal, in words.
import { card, el, empty, replace, VirtualList } from "../dom.js";
import { clock, count, prose, words } from "../format.js";

const tones = { decision: "now", verdict: "good", rollback: "bad", alert: "bad", order: "warn", hold: "warn", resume: "warn" };

export function journal({ state }) {
  let only = null,
    chosen = null;
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Kinds of entries" }),
    detail = el("div", {});
  const list = new VirtualList({
    label: "Entries, newest first",
    height: 62,
    select: (e) => {
      chosen = e.seq;
      open();
    },
    render: (e) =>
      el(
        "div",
        { class: "row lookup" },
        el(
          "span",
          {},
          el("span", { class: "badge " + (tones[e.kind] || "") }, words(e.kind)),
          el("span", { class: "small muted" }, " " + clock(e.at)),
        ),
        el("span", { class: "small muted end" }, "#" + e.seq),
        el("span", { class: "small" }, prose(e.text)),
      ),
  });
  list.key = (e) => e.seq;
  function open() {
    const e = state.journal.find((x) => x.seq === chosen);
    replace(
      detail,
      e
        ? [
            el(
              "p",
              {},
              el("span", { class: "badge " + (tones[e.kind] || "") }, words(e.kind)),
              ` #${e.seq}, `,
              el("time", { datetime: e.at }, new Date(e.at).toLocaleString("en-GB")),
            ),
            el("p", {}, prose(e.text)),
          ]
        : empty("Choose an entry", "Its whole text is shown here."),
    );
  }
  function show() {
    const kinds = [...new Set(state.journal.map((e) => e.kind))];
    replace(
      chips,
      chip("all", null),
      kinds.map((k) => chip(words(k), k)),
    );
    for (const b of chips.children) b.setAttribute("aria-pressed", String((b.dataset.kind || null) === only));
    list.set(state.journal.filter((e) => !only || e.kind === only).toReversed());
  }
  const chip = (name, kind) =>
    el(
      "button",
      {
        type: "button",
        "data-kind": kind || "",
        "aria-pressed": String(kind === only),
        onclick: () => {
          only = kind;
          list.node.scrollTop = 0;
          show();
        },
      },
      name,
    );
  const many = el("p", { class: "small muted" });
  const none = empty(
    "Nothing was written yet",
    "Every step of a rollout is written here before it is done, with the numbers it was decided on. Entries are chained by hashes and survive kill -9.",
  );
  return {
    nodes: [
      el(
        "div",
        { class: "split equal w12" },
        card("Entries", "newest first", "cell", chips, list.node, many, none),
        card("In full", null, "cell", detail),
      ),
    ],
    update(s, changed) {
      if (!changed.has("all") && !changed.has("journal")) return;
      list.node.hidden = chips.hidden = !s.journal.length;
      none.hidden = !!s.journal.length;
      many.textContent = s.journal.length ? `${count(s.journal.length)} entries` : "";
      show();
      if (chosen === null && s.journal.length) list.selected = chosen = s.journal.at(-1).seq;
      list.paint();
      open();
    },
  };
}
