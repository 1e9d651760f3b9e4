// The rollout: stages, the effect as it came to be, before and after, constraints.
import { card, el, empty, replace, table } from "../dom.js";
import { dots, ratio } from "../chart.js";
import {
  clock,
  count,
  faster,
  interval,
  many,
  ms,
  none,
  number,
  percent,
  prose,
  breakable,
  sentence,
  share,
  times,
  words,
} from "../format.js";

export function rollout() {
  const stages = el("div", {}),
    effect = el("div", {}),
    arms = el("div", {}),
    limits = el("div", {}),
    changes = el("div", {}),
    notes = el("div", {});
  const notesCard = card("Orders given here", null, "w12", notes);
  return {
    nodes: [
      card("Timeline", null, "w12", stages),
      card("Effect, cycle by cycle", "candidate over incumbent, below 1 is better", "w7", effect),
      card("Headroom", "what is left before a constraint is broken", "w5", limits),
      card("Latency before and after", null, "w7", arms),
      card("What the candidate changes", null, "w5", changes),
      notesCard,
    ],
    update(s, changed) {
      const any = (...names) => changed.has("all") || names.some((n) => changed.has(n));
      if (any("run")) {
        replace(stages, timeline(s.run));
        replace(changes, changed_(s.run));
        notesCard.hidden = !(s.run?.notes || []).length;
        replace(
          notes,
          table(
            "Orders given here",
            [{ name: "Time", tight: true }, { name: "Order" }, { name: "Reason" }],
            (s.run?.notes || []).map((n) => [clock(n.at), words(n.order), n.reason || none]),
          ),
        );
      }
      if (any("run", "cycles", "limits")) replace(effect, path(s));
      if (any("arms")) replace(arms, quantiles(s.arms));
      if (any("limits")) replace(limits, headroom(s.limits));
    },
  };
}

const unit = (a) => ({ request: "of lookups", peer: "of peers", "time blocks": "of the time, whole network" })[a] || "of " + a;

function timeline(run) {
  if (!run || !run.stages.length)
    return empty(
      "No rollout yet",
      "When the search has found a candidate it is tried on a small share first, then on more, and kept only when it is proven faster.",
    );
  return [
    el(
      "div",
      { class: "stages" },
      run.stages.map((st, i) =>
        el(
          "div",
          { class: "stage", "data-state": st.state },
          el("h3", {}, `Stage ${i + 1} `, badge(st)),
          el("p", { class: "share" }, share(st.share)),
          el("p", { class: "small muted" }, unit(st.assignment)),
          st.ratio
            ? el(
                "p",
                {},
                faster(st.ratio.value),
                el("span", { class: "small muted" }, ` (${interval(st.ratio, times) || "no interval yet"})`),
              )
            : null,
          st.samples > 0 && el("p", { class: "small muted" }, `${many(st.units, "cycle")}, ${many(st.samples, "lookup")}`),
          st.why && el("p", { class: "small muted" }, prose(st.why)),
        ),
      ),
    ),
    run.decision && el("p", {}, el("strong", {}, sentence(words(run.decision)) + ": "), prose(run.why)),
    run.false_alarms &&
      el(
        "p",
        { class: "small muted" },
        `A harmless candidate is rolled back with a probability of ${share(run.false_alarms.harm)} at most by stage and guard, one without effect promoted with ${share(run.false_alarms.promote)} at most. Preset ${run.preset}.`,
      ),
  ];
}

function badge(st) {
  const tone = /harm|rolled/.test(st.verdict) ? "bad" : /better|no harm/.test(st.verdict) ? "good" : st.state === "running" ? "now" : "";
  return el("span", { class: "badge " + tone }, st.verdict || st.state);
}

function path(s) {
  const points = s.cycles.filter((c) => c.run === s.run?.id && c.candidate === s.run.candidate?.hash).slice(-60);
  if (!points.length)
    return empty(
      "No cycle has ended yet",
      "A cycle runs the incumbent and the candidate side by side. After each of them the ratio of their latencies is drawn here.",
    );
  const e = points.at(-1),
    floor = s.limits?.limits.find((l) => l.name === "latency_ratio")?.bound,
    span = interval(e.ratio, times);
  return [
    ratio(points, {
      width: innerWidth < 640 ? 360 : 640,
      bound: floor,
      label: `Ratio of latencies after ${points.length} cycles: ${times(e.ratio.value)}${span ? ", 95 % interval " + span : ""}`,
    }),
    el(
      "p",
      { class: "small muted" },
      `Band: 95 % interval that holds however often one looks. Dashed: no difference${floor ? `; dotted: ${times(floor)}, beyond which it is rolled back` : ""}. Hollow: too early for an interval.`,
    ),
  ];
}

function quantiles(a) {
  if (!a || !a.arms.length)
    return empty("Nothing was measured yet", "The latency of lookups under both configurations appears with the first stage.");
  const qs = [...new Set(a.arms.flatMap((x) => x.quantiles.map((q) => q.q)))].sort((x, y) => x - y),
    name = (q) => "P" + number(100 * q).replace(/\.0+$/, "");
  const rows = qs
    .map((q) => ({
      name: name(q),
      values: a.arms.flatMap((x) => x.quantiles.filter((v) => v.q === q).map((v) => ({ arm: x.name, e: v.ms }))),
    }))
    .filter((r) => r.values.length);
  const cell = (e, f) => (e ? [f(e.value), interval(e, f) && el("span", { class: "small muted" }, el("br", {}), interval(e, f))] : none);
  return [
    el(
      "div",
      { class: "legend" },
      a.arms.map((x) =>
        el(
          "span",
          {},
          el("i", { class: "key " + ({ tuned: "candidate", default: "default" }[x.name] || "") }),
          ({ baseline: "incumbent", tuned: "candidate" }[x.name] || "preset default") + `, ${count(x.samples)} lookups`,
        ),
      ),
      el("span", {}, `measured in ${a.during}`),
    ),
    rows.length > 0 &&
      dots(rows, {
        width: innerWidth < 640 ? 360 : 640,
        label:
          "Quantiles of latency: " + rows.map((r) => `${r.name} ` + r.values.map((v) => `${v.arm} ${ms(v.e.value)}`).join(", ")).join("; "),
      }),
    table(
      "Figures by configuration",
      [
        { name: "" },
        ...qs.map((q) => ({ name: name(q), num: true })),
        { name: "Mean", num: true },
        { name: "Success", num: true },
        { name: "Messages", num: true },
        { name: "Entries", num: true },
      ],
      a.arms.map((x) => [
        { baseline: "incumbent", tuned: "candidate" }[x.name] || x.name,
        ...qs.map((q) => cell(x.quantiles.find((v) => v.q === q)?.ms, ms)),
        cell(x.mean_ms, ms),
        cell(x.success_ratio, (v) => percent(v, 4)),
        cell(x.messages_per_lookup, number),
        x.entries === null || x.entries === undefined ? none : number(x.entries),
      ]),
    ),
    el(
      "p",
      { class: "small muted" },
      `${a.metric}; failures count with their time-out. A quantile is shown once ten lookups lie beyond it.`,
    ),
  ];
}

const names = { latency_ratio: "Latency", success_difference: "Success", entries_ratio: "Table entries", messages_ratio: "Messages" };

function headroom(l) {
  if (!l) return empty("No constraint", "");
  return l.limits.map((x) => {
    const f = x.unit === "times" ? times : (v) => number(100 * v) + " points",
      left = x.headroom;
    const state = { holds: "good", broken: "bad", no_data: "" }[x.state];
    return el(
      "div",
      { class: "meter" },
      el(
        "div",
        { class: "top" },
        el("strong", {}, names[x.name] || words(x.name)),
        el("span", { class: "badge " + state }, x.state === "no_data" ? "no data" : x.state),
      ),
      x.value
        ? el("progress", {
            max: "1",
            value: Math.max(0, Math.min(1, left ?? 1)).toFixed(3),
            "aria-label": `${names[x.name] || x.name}: headroom ${percent(Math.max(0, Math.min(left ?? 1, 1)))}`,
          })
        : null,
      el(
        "p",
        { class: "small muted" },
        x.value
          ? `${f(x.value.value)}${interval(x.value, f) ? ` (${interval(x.value, f)})` : ""}, ${x.at_most ? "at most" : "at least"} ${f(x.bound)}`
          : `${x.at_most ? "at most" : "at least"} ${f(x.bound)}; ${x.doc}: not measured yet`,
      ),
    );
  });
}

function changed_(run) {
  if (!run?.changes.length) return empty("No candidate yet", "Every knob that it sets otherwise is listed here.");
  const most = 8,
    rows = run.changes.slice(0, most);
  return [
    table(
      "Changes",
      [{ name: "Knob" }, { name: "From" }, { name: "To" }],
      rows.map((c) => [
        el("span", { title: c.doc }, el("span", { class: "mono" }, c.knob), el("span", { class: "small muted clip2" }, c.doc)),
        el("span", { class: "mono" }, breakable(c.from)),
        el("strong", { class: "mono" }, breakable(c.to)),
      ]),
    ),
    run.changes.length > most && el("p", { class: "small" }, el("a", { href: "#/knobs" }, `and ${run.changes.length - most} more`)),
  ];
}
