// The search on the twin: best value against evaluations, and what moves the score.
import { card, el, empty, replace, table } from "../dom.js";
import { curve, effects } from "../chart.js";
import { count, ms, number } from "../format.js";

export function search({ prove }) {
  const best = el("div", {}),
    facts = el("dl", { class: "facts" }),
    rules = el("div", {}),
    moves = el("div", {});
  const front = el("div", {}),
    frontCard = card("None is better in everything", "evaluations of the last search", "w12", front);
  const movesCard = card("What moves the latency", null, "w12", moves);
  return {
    nodes: [
      card("Best value against evaluations", "mean latency on the twin", "w8", best),
      card("The search", null, "w4", facts, rules),
      frontCard,
      movesCard,
    ],
    update(s, changed) {
      const any = (...names) => changed.has("all") || names.some((n) => changed.has(n)),
        v = s.search;
      if (any("search", "trials") && v) {
        replace(
          best,
          v.steps.length || s.trials.length
            ? [
                curve(v, s.trials, {
                  width: innerWidth < 640 ? 360 : 720,
                  label: `Lowest mean latency after ${v.done} evaluations: ${ms(v.best_ms)}; the incumbent has ${ms(v.baseline_ms)}`,
                }),
                el(
                  "p",
                  { class: "small muted" },
                  `The step line is the lowest so far: the best of many noisy scores, so what it finds is simulated again on fresh seeds before it is believed.${s.trials.length ? " Dots: every evaluation; crosses: broke a constraint." : ""}`,
                ),
              ]
            : empty("No evaluation has ended yet", "Each simulates the whole network under another configuration."),
        );
        const gain = v.best_ms && v.baseline_ms ? number(100 * (1 - v.best_ms / v.baseline_ms), 2) + " % below the incumbent" : "–";
        replace(
          facts,
          [
            ["Optimizer", v.family],
            ["Evaluations", `${count(v.done)} of ${count(v.budget)}`],
            ["Lowest mean", ms(v.best_ms)],
            ["That is", gain],
            ["Incumbent, twin", ms(v.baseline_ms)],
            v.twin_p50_ms && ["Twin and network, median", `${ms(v.twin_p50_ms)} and ${ms(v.network_p50_ms)}`],
          ]
            .filter(Boolean)
            .map(([k, x]) => el("div", {}, el("dt", {}, k), el("dd", {}, x))),
        );
        replace(
          rules,
          el("h3", {}, "A candidate must have"),
          el(
            "ul",
            { class: "small" },
            (v.constraints || []).map((c) => el("li", {}, "· " + c)),
          ),
        );
      }
      if (any("front", "run")) {
        frontCard.hidden = !s.front?.points.length;
        if (s.front) replace(front, points(s.front.points, (s.run?.orders || []).includes("optimize") ? prove : null));
      }
      if (any("sensitivity")) {
        movesCard.hidden = !s.sensitivity;
        if (s.sensitivity) replace(moves, sensitivity(s.sensitivity));
      }
    },
  };
}

// points is a table of a front, with a button on each point if one may be picked.
function points(list, prove) {
  const changes = (p) => Object.entries(p.changes).map(([name, value]) => `${name} = ${value}`);
  return [
    el(
      "p",
      { class: "small muted" },
      "Of these, each is the best for somebody: faster, smaller, or with fewer messages. One evaluation each, so a picked one is proven on the network first.",
    ),
    table(
      "None is better in everything",
      [
        { name: "Mean", num: true },
        { name: "Entries", num: true },
        { name: "Messages", num: true },
        { name: "Success", num: true, cls: "hide-m" },
        { name: "Differs from what runs in" },
        ...(prove ? [{ name: "" }] : []),
      ],
      list.map((p) => [
        ms(p.mean_ms),
        number(p.entries, 3),
        number(p.messages, 3),
        `${number(100 * p.success_ratio, 4)} %`,
        el("span", { class: "small mono clip2", title: changes(p).join("\n") }, changes(p).join(", ") || "nothing"),
        ...(prove
          ? [
              changes(p).length
                ? el(
                    "button",
                    { type: "button", class: "plain", "data-trial": String(p.trial), onclick: () => prove(`Prove evaluation ${p.trial}?`, p.changes) },
                    "Prove",
                    el("span", { class: "unseen" }, ` evaluation ${p.trial}`),
                  )
                : "",
            ]
          : []),
      ]),
    ),
  ];
}

function sensitivity(s) {
  return [
    el(
      "p",
      { class: "small muted" },
      `${s.method}. ${count(s.trials)} evaluations of the search; bars are 95 % intervals, hollow marks have fewer than ${s.least}. Below the dashed line is faster than the mean of all.`,
    ),
    el(
      "div",
      { class: "multiples" },
      s.knobs.map((k) =>
        el(
          "div",
          {},
          el("h3", {}, el("span", { class: "mono" }, k.knob), el("span", { class: "small muted" }, `${k.unit ? ` in ${k.unit}` : ""}, information ${number(k.information_nats, 2)} nats`)),
          effects(k, s.least, s.unit),
        ),
      ),
    ),
    s.knobs.length ? el("p", { class: "small muted" }, `Vertical: ${s.metric}, ${s.unit}.`) : "",
    s.causes && s.causes.length
      ? [
          el("h3", {}, "What each change has caused, by the rollouts' own lots"),
          el(
            "ul",
            { class: "small" },
            s.causes.map((c) => el("li", {}, "· " + c.text + ".")),
          ),
        ]
      : "",
  ];
}
