// All knobs, with what runs and what the candidate would have.
import { card, el, empty, replace, table } from "../dom.js";
import { breakable, count } from "../format.js";

export function knobs({ state }) {
  const body = el("div", {}),
    find = el("input", { id: "find-knob", type: "search", autocomplete: "off", oninput: () => show() });
  const note = el("span", { class: "muted small", role: "status" });
  const only = el("input", { id: "only-changed", type: "checkbox", checked: true, onchange: () => show() });
  function show() {
    const all = state.knobs?.knobs || [],
      q = find.value.trim().toLowerCase();
    const rows = all.filter(
      (k) => (!only.checked || k.candidate || k.incumbent !== k.default) && (!q || (k.name + " " + k.doc).toLowerCase().includes(q)),
    );
    const tried = all.some((k) => k.candidate);
    replace(note, document.createTextNode(`${count(rows.length)} of ${count(all.length)}`));
    replace(
      body,
      rows.length
        ? table(
            "Knobs",
            [
              { name: "Knob" },
              { name: "Runs" },
              ...(tried ? [{ name: "Candidate" }] : []),
              { name: "Default" },
              { name: "Stock", cls: "hide-m" },
              { name: "Range", cls: "hide-m" },
              { name: "Touches", cls: "hide-m" },
              { name: "Costs", cls: "hide-m" },
            ],
            rows.map((k) => [
              [el("span", { class: "mono" }, k.name), el("span", { class: "small muted clip2", title: k.doc }, k.doc)],
              el("span", { class: "mono" }, breakable(k.incumbent)),
              ...(tried
                ? [k.candidate ? el("strong", { class: "mono better" }, breakable(k.candidate)) : el("span", { class: "muted" }, "same")]
                : []),
              el("span", { class: "mono" }, breakable(k.default)),
              el("span", { class: "mono" }, breakable(k.stock)),
              el("span", { class: "mono" }, k.range + (k.unit ? " " + k.unit : "")),
              k.scope,
              (k.costs || []).join(", "),
            ]),
          )
        : empty("No knob matches", "Clear the search and the tick to see all " + count(all.length) + "."),
    );
  }
  return {
    nodes: [
      card(
        "Knobs",
        "stock is go-libp2p-kad-dht's value, default is ours",
        "w12",
        el(
          "div",
          { class: "chips" },
          el("label", { for: "find-knob" }, "Find"),
          find,
          el("label", {}, only, " only those that differ from the default or are tried"),
          note,
        ),
        body,
      ),
    ],
    update(s, changed) {
      if (changed.has("all") || changed.has("knobs")) show();
    },
  };
}
