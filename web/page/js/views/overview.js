// The overview of a network: where the run stands, in one sentence and a map.
import { card, el, empty, replace } from "../dom.js";
import {
  clock,
  count,
  duration,
  faster,
  interval,
  many,
  ms,
  none,
  number,
  percent,
  prose,
  sentence,
  share,
  times,
  words,
} from "../format.js";

import { outlook } from "./outlook.js";

// A run that goes round once ends, a service watches.
const phases = [
  ["starting", "Start"],
  ["measuring", "Measure"],
  ["searching", "Search"],
  ["proving", "Prove"],
  ["comparing", "Compare"],
  ["ended", "End"],
];

export function overview({ map, go }) {
  const hero = el("section", { class: "card w12 hero", "aria-label": "Run" });
  const tiles = el("div", { class: "grid even w12" });
  const legend = el(
    "div",
    { class: "legend" },
    el("span", {}, el("i", { class: "key" }), "runs the incumbent"),
    el("span", {}, el("i", { class: "key candidate" }), "runs the candidate"),
    el("span", {}, "lookups are sampled and shown 8 times slower; pale: not waited for; dashed: no answer"),
  );
  const where = el("details", {}, el("summary", {}, "Peers by place"));
  const places = el("div", {});
  where.append(places);
  const slot = el("div", {});
  const mapCard = card("Peers and live lookups", null, "w8", slot, legend, where);
  const news = el("div", { class: "journal brief" });
  const facts = el("dl", { class: "facts" });
  const watched = el("div", {});
  const watchCard = card("What is looked out for", "a bar that is full is a reason to tune", "w12", watched);
  const ahead = outlook();
  const newsCard = card("Latest in the journal", null, "w4", news, el("p", {}, el("a", { href: "#/journal" }, "All of it")));
  return {
    nodes: [hero, tiles, mapCard, newsCard, watchCard, ...ahead.nodes, card("This network", null, "w12", facts)],
    update(s, changed) {
      const any = (...names) => changed.has("all") || names.some((n) => changed.has(n));
      if (any("run", "search")) replace(hero, lead(s.run, s.search));
      if (any("run", "arms", "search")) replace(tiles, ...figures(s));
      if (any("peers", "fleet")) {
        if (s.peers?.peers.some((p) => p.located)) {
          if (map.node.parentNode !== slot) replace(slot, map.node);
          map.set(s.peers.peers, s.fleet);
          where.hidden = false;
          replace(places, byPlace(s));
        } else {
          where.hidden = true;
          replace(
            slot,
            empty(
              s.peers ? "No places are known" : "No peers yet",
              s.peers ? "The latency matrix of this network has no coordinates." : "They appear as soon as they have started.",
            ),
          );
        }
      }
      ahead.update(s, any);
      watchCard.hidden = !s.watch;
      if (any("watch") && s.watch) replace(watched, watching(s.watch));
      if (any("subject"))
        replace(
          facts,
          (s.subject?.facts || []).map((f) => el("div", {}, el("dt", {}, f.name), el("dd", {}, f.value))),
        );
      if (any("journal")) {
        const last = s.journal.slice(-5).toReversed();
        replace(
          news,
          last.length
            ? last.map((e) =>
                el(
                  "div",
                  { class: "entry" },
                  el("time", { class: "muted small", datetime: e.at }, clock(e.at)),
                  el("p", { class: "small clip" }, prose(e.text)),
                ),
              )
            : empty("Nothing was written yet", "The journal begins with the first rollout."),
        );
      }
    },
  };
}

// lead says in a sentence where the run stands.
function lead(run, search) {
  if (!run) return empty("No run", "Nothing has begun.");
  const at = run.phase === "watching" ? phases.length - 1 : phases.findIndex(([id]) => id === run.phase),
    step = run.step;
  const part = step && step.total > 0 ? step.done / step.total : null;
  const [title, text] = verdict(run);
  return [
    el("h2", { class: "verdict" }, title),
    el("p", { class: "lead" }, sentence(prose(text))),
    el(
      "ol",
      { class: "steps", "aria-label": "Steps of the run" },
      phases.map(([id, name], i) =>
        el(
          "li",
          { "data-state": i < at || run.phase === "closing" ? "past" : i === at ? "now" : "next", "aria-current": i === at && "step" },
          id === "ended" && run.phase === "watching" ? "Watch" : name,
          el(
            "span",
            {},
            id === "searching" && i < at && !search
              ? "left out: a candidate was given"
              : i === at && step
                ? words(step.name) +
                  (step.total
                    ? `, ${count(step.done)} of ${count(step.total)} ${step.unit}`
                    : step.done
                      ? `, ${count(step.done)} ${step.unit}`
                      : "")
                : "",
          ),
        ),
      ),
    ),
    part !== null && run.ended_s === null && el("progress", { max: "1", value: part.toFixed(3), "aria-label": words(step.name) }),
  ];
}

function verdict(run) {
  const e = run.effect,
    span = e && interval(e.ratio, times);
  const so = e
    ? `The candidate is ${faster(e.ratio.value)} so far (ratio ${times(e.ratio.value)}${span ? `, 95 % interval ${span}` : ", no interval yet"}).`
    : "";
  if (run.error) return ["The run failed", run.error];
  if (run.phase === "watching")
    return ["Watching the network", run.decision ? `The last rollout: ${words(run.decision)}. ${sentence(run.why)}` : "Nothing was tried yet: there was no reason."];
  if (run.decision === "promoted") return [`Promoted: ${faster(e?.ratio.value)}`, run.why];
  if (run.decision === "rolled_back") return ["Rolled back", run.why];
  if (run.decision === "not_enough_data") return ["Not enough data for a verdict", run.why];
  if (run.decision === "stopped") return ["Stopped", run.why];
  if (run.held) return ["Held", "All peers run the incumbent until a person resumes. " + so];
  const stage = run.stages.find((x) => x.state === "running");
  if (run.awaits) return ["Waits for approval", run.awaits + ". " + so];
  if (stage) return [`Proving on ${share(stage.share)} of the ${unit(stage.assignment)}`, so || "No cycle has ended yet."];
  return [run.said ? sentence(run.said) : "Starting", `Planned: ${duration(run.planned_s)}. ${so}`];
}

const unit = (a) => ({ request: "lookups", peer: "peers" })[a] || a;

// figures are the tiles. One without a figure says so.
function figures(s) {
  const arm = (name) => s.arms?.arms.find((a) => a.name === name),
    base = arm("baseline"),
    tuned = arm("tuned");
  const p50 = (a) => a?.quantiles.find((q) => q.q === 0.5)?.ms;
  const tile = (name, value, unitText, note, tone) =>
    el(
      "div",
      { class: "card tile w3" },
      el("p", { class: "name" }, name),
      value === null
        ? el("p", { class: "value none" }, "no data yet")
        : el("p", { class: "value " + (tone || "") }, value, unitText && el("small", {}, unitText)),
      note && el("p", { class: "note" }, note),
    );
  const sofar = (a) =>
    a && (p50(a) ? interval(p50(a), ms) || `${count(a.samples)} lookups` : `${many(a.samples, "lookup")} so far, shown from 20 on`);
  const effect = s.run?.effect,
    bounds = effect && interval(effect.ratio, times),
    measured = s.arms && `${count(base?.samples)} and ${count(tuned?.samples)} lookups`;
  const clear = bounds && (effect.ratio.high < 1 ? "better" : effect.ratio.low > 1 ? "worse" : "");
  const out = [
    tile("Latency, median, incumbent", p50(base) ? number(p50(base).value) : null, "ms", sofar(base)),
    tile("Latency, median, candidate", p50(tuned) ? number(p50(tuned).value) : null, "ms", sofar(tuned)),
    tile(
      "Effect on latency",
      effect ? times(effect.ratio.value) : null,
      "",
      effect && (bounds ? `95 %, always valid: ${bounds}` : "no interval yet"),
      clear,
    ),
    tile(
      "Lookups that succeed",
      base?.success_ratio ? percent(base.success_ratio.value, 4) : null,
      "",
      base?.success_ratio && (tuned?.success_ratio ? `candidate ${percent(tuned.success_ratio.value, 4)}` : measured),
    ),
  ];
  return out;
}

function byPlace(s) {
  const by = new Map();
  s.peers.peers.forEach((p, i) => {
    const key = p.site || none,
      row = by.get(key) || { n: 0, tuned: 0, entries: 0 };
    row.n++;
    row.tuned += s.fleet?.arm[i] === 1 ? 1 : 0;
    row.entries += s.fleet?.entries[i] || 0;
    by.set(key, row);
  });
  const rows = [...by].sort((a, b) => b[1].n - a[1].n || a[0].localeCompare(b[0])),
    most = 40;
  return [
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Peers by place" },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "Place"),
            el("th", { scope: "col", class: "num" }, "Peers"),
            el("th", { scope: "col", class: "num" }, "Run the candidate"),
            el("th", { scope: "col", class: "num" }, "Mean table entries"),
          ),
        ),
        el(
          "tbody",
          {},
          rows
            .slice(0, most)
            .map(([site, r]) =>
              el(
                "tr",
                {},
                el("td", {}, site),
                el("td", { class: "num" }, r.n),
                el("td", { class: "num" }, r.tuned),
                el("td", { class: "num" }, number(r.entries / r.n)),
              ),
            ),
        ),
      ),
    ),
    rows.length > most && el("p", { class: "small muted" }, `and ${count(rows.length - most)} more places`),
  ];
}

// watching shows how near everything that a service watches is to being a reason.
function watching(w) {
  const states = {
    idle: "watching",
    study: "looking for a candidate",
    rollout: "proving a candidate",
    soak: "watching a promoted candidate",
  };
  return [
    el(
      "p",
      {},
      `It is ${states[w.state] || w.state}; ${many(w.peers, "peer")} left. `,
      w.waiting.length ? "Queued: " + w.waiting.map(prose).join("; ") : "No reason is queued.",
    ),
    el(
      "div",
      { class: "multiples" },
      w.gauges.map((g) =>
        el(
          "div",
          { class: "meter" },
          el("div", { class: "top" }, el("strong", {}, sentence(g.name)), el("span", {}, `${number(g.value, 2)} of ${number(g.limit, 2)}`)),
          el("progress", {
            max: "1",
            value: Math.max(0, Math.min(1, g.value / (g.limit || 1))).toFixed(3),
            "aria-label": `${g.name}: ${percent(g.value / (g.limit || 1))} of the way to a reason`,
          }),
          g.loss !== null &&
            el(
              "p",
              { class: "small muted" },
              `the last interval was ${percent(Math.abs(g.loss), 2)} ${g.loss > 0 ? "worse" : "better"} than usual`,
            ),
        ),
      ),
    ),
  ];
}
