// What is foreseen, what all changes are worth together, and what an operation costs:
// cards of the overview.
import { card, el, empty, replace } from "../dom.js";
import { spark } from "../chart.js";
import { bytes, duration, faster, interval, many, ms, none, number, percent, sentence, times } from "../format.js";

export function outlook() {
  const forecasts = el("div", {}),
    held = el("div", {}),
    costs = el("div", {});
  const cards = {
    forecasts: card("Forecast", "a loss that is surely to come is a reason to tune", "w6", forecasts),
    holdout: card("Against the holdout", "peers that keep the first configuration for good", "w6", held),
    costs: card("Cost of an operation, and latency", "over the last intervals", "w12", costs),
  };
  return {
    nodes: Object.values(cards),
    update(s, any) {
      cards.forecasts.hidden = !s.forecasts;
      cards.holdout.hidden = !s.holdout;
      cards.costs.hidden = s.costs.length === 0;
      if (any("forecasts") && s.forecasts) replace(forecasts, foreseen(s.forecasts));
      if (any("holdout") && s.holdout) replace(held, against(s.holdout));
      if (any("costs") && s.costs.length) replace(costs, spent(s.costs));
    },
  };
}

const signed = (x) => (x > 0 ? "+" : "") + percent(x, 2);

function foreseen(f) {
  if (!f.forecasts.length) return empty("Nothing is foreseen", "No horizon is set.");
  return [
    el(
      "ul",
      {},
      f.forecasts.map((x) =>
        el(
          "li",
          {},
          el("strong", {}, sentence(x.name)),
          x.ahead
            ? `: ${signed(x.now)} now, ${signed(x.ahead.value)} in ${duration(x.horizon * f.interval_s)} (95 % interval ${signed(x.ahead.low)} to ${signed(x.ahead.high)}); ${signed(x.limit)} is a reason`
            : ": too little is known yet",
        ),
      ),
    ),
    el("p", { class: "small muted" }, "Against the level; above 0 is worse, of the load more."),
  ];
}

function against(h) {
  if (!h.ratio) return empty("Not enough to compare", sentence(h.text));
  const better = h.ratio.high < 1 ? "better" : h.ratio.low > 1 ? "worse" : "";
  return [
    el("p", { class: "value " + better }, times(h.ratio.value)),
    el("p", {}, `All changes together: ${faster(h.ratio.value)} (95 % interval ${interval(h.ratio, times)}), against ${many(h.peers, "peer")}.`),
    el("p", { class: "small muted" }, `${many(h.before, "block")} while all ran the same, ${many(h.after, "block")} since. The difference of places is taken out.`),
  ];
}

// Every fifth interval is drawn at most: a spark has 300 points.
function spent(all) {
  const step = Math.ceil(all.length / 300),
    some = all.filter((_, i) => i % step === 0),
    last = all.at(-1);
  const part = (name, values, text) =>
    el("div", {}, el("h3", {}, `${name}: ${text}`), spark(values, { label: `${name} over ${all.length} intervals, now ${text}` }));
  return el(
    "div",
    { class: "multiples" },
    part("Latency of gets", some.map((c) => c.mean_ms), last.mean_ms === null ? none : ms(last.mean_ms)),
    part("Messages", some.map((c) => c.messages_per_operation), number(last.messages_per_operation, 3)),
    part("Sent", some.map((c) => c.bytes_per_operation), bytes(last.bytes_per_operation)),
    part("Processor", some.map((c) => c.cpu_ms_per_operation), ms(last.cpu_ms_per_operation)),
    part("Success", some.map((c) => c.success_ratio), percent(last.success_ratio, 4)),
  );
}
