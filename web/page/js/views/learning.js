// The race of learners of a study, and what earlier studies said at its beginning.
import { card, el, empty, replace } from "../dom.js";
import { curves, spark } from "../chart.js";
import { clock, count, interval, many, none, number, percent, prose, sentence, times } from "../format.js";

const names = {
  default: "search of shapes (nsga3)",
  dqn: "deep Q-learning",
  evolution: "evolution strategy",
  bayes: "Bayesian optimization",
  bandit: "bandit over a menu",
  halving: "successive halving",
  stay: "nobody: what runs",
};
const named = (n) => names[n] || n;

export function learning() {
  const lines = el("div", {}),
    table = el("div", {}),
    verdict = el("p", { class: "lead" }),
    episodes = el("div", {}),
    library = el("div", {});
  const dqnCard = card("Deep Q-learning by episode", "epsilon is the share of moves by chance", "w6", episodes);
  return {
    nodes: [
      card("Learning curves", "least score against evaluations of each racer", "w12", verdict, lines),
      card("The race", "measured again on fresh seeds, 95 % intervals", "w12", table),
      dqnCard,
      card("Library of studies", "what similar studies said at the beginning", "w6", library),
    ],
    update(s, changed) {
      const any = (...parts) => changed.has("all") || parts.some((n) => changed.has(n)),
        r = s.race;
      if (any("race") && r) {
        const text = r.why
          ? sentence(prose(r.why))
          : `Study ${r.study}: ${r.phase}, ${count(r.evaluations)} of ${count(r.planned)} evaluations`;
        replace(verdict, el("span", {}, text));
        replace(lines, chart(r));
        replace(table, racers(r));
        dqnCard.hidden = r.episodes.length === 0;
        replace(episodes, byEpisode(r.episodes));
      }
      if (any("library") && s.library) replace(library, matches(s.library));
    },
  };
}

function chart(r) {
  const shown = r.racers.filter((x) => x.curve.length);
  if (!shown.length) return empty("No evaluation has ended yet", "Each racer tries what runs first.");
  return [
    curves(
      shown.map((x) => ({ name: named(x.name), points: x.curve.map((p) => [p.n, p.best_ratio]), won: x.name === r.winner })),
      {
        width: innerWidth < 640 ? 360 : 960,
        unit: "evaluations",
        label: shown.map((x) => `${named(x.name)} ${times(x.curve.at(-1).best_ratio)} after ${x.evaluations}`).join("; "),
      },
    ),
    el("p", { class: "small muted" }, "The least of many noisy scores flatters whoever found it: the table below is what counts."),
  ];
}

function racers(r) {
  const cell = (x) => el("td", { class: "num" }, x);
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Racers" },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ["Racer", "Evaluations", "Least score", "Chosen at", "Measured again", "95 % interval", "Breaks constraints"].map((t, i) =>
            el("th", { scope: "col", class: i && "num" }, t),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        r.racers.map((x) =>
          el(
            "tr",
            {},
            el("td", {}, x.name === r.winner ? el("strong", {}, named(x.name) + ", won") : named(x.name)),
            cell(count(x.evaluations)),
            cell(times(x.curve.at(-1)?.best_ratio)),
            cell(times(x.chosen_ratio)),
            cell(x.effect ? times(x.effect.value) : none),
            cell((x.effect && interval(x.effect, times)) || none),
            cell(x.effect ? (x.penalty > 0 ? number(x.penalty, 2) : "no") : none),
          ),
        ),
      ),
    ),
  );
}

function byEpisode(all) {
  const last = all.at(-1);
  if (!last) return empty("No episode has ended yet", "It learns by steps from what runs.");
  const part = (name, values, text, least) =>
    el("div", {}, el("h3", {}, `${name}: ${text}`), spark(values, { label: `${name} over ${all.length} episodes, now ${text}`, least }));
  return [
    part("Epsilon", all.map((e) => e.epsilon), number(last.epsilon, 2), 0),
    part("Loss", all.map((e) => e.loss), number(last.loss, 3), 0),
    part("Reward", all.map((e) => e.reward), number(last.reward, 3)),
    el("p", { class: "small muted" }, `${many(last.n, "episode")} of ${count(last.steps)} steps.`),
  ];
}

function matches(l) {
  const out = [el("p", { class: "small" }, `This workload: ${l.workload}.`)];
  if (!l.matches.length)
    out.push(empty("No similar study", `The library of ${l.site} has ${many(l.studies, "study", "studies")}; none is near enough to say something.`));
  else
    out.push(
      el(
        "ul",
        { class: "small" },
        l.matches.map((m) =>
          el(
            "li",
            {},
            `${m.study} of ${m.site}, ${clock(m.at)}: distance ${number(m.distance, 2)}, `,
            m.best ? `best ${times(m.best.value)} (${interval(m.best, times)})` : "found nothing",
            m.winner && ` by ${named(m.winner)}`,
          ),
        ),
      ),
    );
  if (l.starts.length)
    out.push(
      el(
        "p",
        { class: "small" },
        `The racers begin with ${many(l.starts.length, "configuration")} of them: `,
        l.starts.map((x) => `${times(x.ratio)} by ${many(x.sites, "site")}`).join(", ") + ".",
      ),
    );
  out.push(
    el(
      "p",
      { class: "small muted" },
      "Order of trying: " + l.order.map((o) => (o.studies > 0 ? `${o.name} (${percent(1 - Math.exp(-o.gain), 2)} faster)` : o.name)).join(", ") + ".",
    ),
  );
  return out;
}
