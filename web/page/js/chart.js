// Charts in SVG: few marks, axes with units, intervals where there are some.
import { svg } from "./dom.js";
import { number, tick } from "./format.js";

// ticks returns about n round numbers within [lo, hi].
export function ticks(lo, hi, n) {
  if (!(hi > lo)) return [lo];
  const raw = (hi - lo) / n,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let x = Math.ceil(lo / step) * step; x <= hi + step / 1e6; x += step) out.push(Math.abs(x) < step / 1e6 ? 0 : x);
  return out;
}

const mark = { baseline: "incumbent", default: "default", tuned: "candidate" };

// dots draws rows of estimates with intervals: [{name, values: [{arm, e}]}].
export function dots(rows, { width = 640, unit = "ms", label }) {
  const left = 64,
    right = 20,
    each = 52,
    height = rows.length * each + 40;
  const all = rows.flatMap((r) => r.values.flatMap((v) => [v.e.value, v.e.low, v.e.high])).filter((x) => x !== null && x !== undefined);
  const hi = Math.max(...all) * 1.05,
    x = (v) => left + ((width - left - right) * v) / hi;
  const out = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const t of ticks(0, hi, width < 450 ? 4 : 7)) {
    out.append(
      svg("line", { class: "axis", x1: x(t), x2: x(t), y1: 4, y2: height - 28 }),
      svg("text", { x: x(t), y: height - 10, "text-anchor": "middle" }, tick(t)),
    );
  }
  out.append(svg("text", { x: width, y: height - 10, "text-anchor": "end" }, unit));
  rows.forEach((row, i) => {
    const mid = i * each + each / 2 + 2;
    out.append(svg("text", { class: "strong", x: 0, y: mid + 4 }, row.name));
    row.values.forEach((v, j) => {
      const y = mid + (j - (row.values.length - 1) / 2) * 13,
        cls = mark[v.arm];
      if (v.e.low !== null && v.e.low !== undefined) out.append(svg("line", { class: cls, x1: x(v.e.low), x2: x(v.e.high), y1: y, y2: y }));
      out.append(
        v.arm === "default"
          ? svg("rect", { class: cls, x: x(v.e.value) - 4.5, y: y - 4.5, width: 9, height: 9 })
          : svg("circle", { class: cls, cx: x(v.e.value), cy: y, r: 5 }),
      );
    });
  });
  return out;
}

// ratio draws how the ratio of latencies came to be: a line with its band, 1 and the
// bound beside it.
export function ratio(points, { width = 640, height = 260, bound, label }) {
  const left = 46,
    right = 12,
    top = 10,
    bottom = 34;
  const shown = points.map((p) => ({ ...p, lo: p.ratio.low ?? p.ratio.value, hi: p.ratio.high ?? p.ratio.value }));
  const most = Math.min(4, Math.max(1.12, ...shown.map((p) => p.hi))),
    least = Math.max(0.25, 0.97 * Math.min(0.9, ...shown.map((p) => p.lo)));
  const y = (v) =>
    top + ((height - top - bottom) * (Math.log(most) - Math.log(Math.min(Math.max(v, least), most)))) / (Math.log(most) - Math.log(least));
  const x = (i) => left + ((width - left - right) * (i + 0.5)) / Math.max(points.length, 1);
  const out = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const t of ticks(least, most, 5))
    out.append(
      svg("line", { class: "axis", x1: left, x2: width - right, y1: y(t), y2: y(t) }),
      svg("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, t.toFixed(2)),
    );
  out.append(svg("line", { class: "one", x1: left, x2: width - right, y1: y(1), y2: y(1) }));
  if (bound) out.append(svg("line", { class: "bound", x1: left, x2: width - right, y1: y(bound), y2: y(bound) }));
  // A stage begins anew: its band is its own.
  const stages = [...new Set(shown.map((p) => p.stage))];
  for (const s of stages) {
    const part = shown.map((p, i) => ({ ...p, i })).filter((p) => p.stage === s);
    const known = part.filter((p) => p.ratio.low !== null);
    if (known.length > 1)
      out.append(
        svg("path", {
          class: "band",
          d:
            "M" +
            known.map((p) => `${x(p.i)},${y(p.hi)}`).join("L") +
            "L" +
            known
              .toReversed()
              .map((p) => `${x(p.i)},${y(p.lo)}`)
              .join("L") +
            "Z",
        }),
      );
    else
      for (const p of known)
        out.append(svg("line", { class: "candidate", x1: x(p.i), x2: x(p.i), y1: y(p.hi), y2: y(p.lo), opacity: 0.4 }));
    out.append(svg("path", { class: "path", d: "M" + part.map((p) => `${x(p.i)},${y(p.ratio.value)}`).join("L") }));
    for (const p of part)
      out.append(svg("circle", { class: p.ratio.low === null ? "hollow" : "candidate", cx: x(p.i), cy: y(p.ratio.value), r: 4 }));
    const first = x(part[0].i) - (width - left - right) / points.length / 2;
    if (s !== stages[0]) out.append(svg("line", { class: "axis", x1: first, x2: first, y1: top, y2: height - bottom }));
    out.append(svg("text", { x: first + 4, y: height - 12 }, `stage ${s + 1}, ${+(100 * part[0].share).toFixed(1)} %`));
  }
  return out;
}

// curve draws the best value against evaluations, with every trial that is known.
export function curve(search, trials, { width = 640, height = 280, label }) {
  const left = 54,
    right = 14,
    top = 12,
    bottom = 38,
    base = search.baseline_ms;
  const ys = [...search.steps.map((s) => s.best_ms), base, ...trials.map((t) => t.mean_ms)].filter((v) => v > 0).sort((a, b) => a - b);
  const least = ys[0] * 0.96,
    most = Math.max(base || 0, ys[Math.floor((ys.length - 1) * 0.97)]) * 1.04;
  const far = Math.max(search.budget, search.done, 1);
  const x = (v) => left + ((width - left - right) * v) / far,
    y = (v) => top + ((height - top - bottom) * (most - Math.min(v, most))) / (most - least);
  const out = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const t of ticks(least, most, 5))
    out.append(
      svg("line", { class: "axis", x1: left, x2: width - right, y1: y(t), y2: y(t) }),
      svg("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, tick(t)),
    );
  for (const t of ticks(0, far, 6)) out.append(svg("text", { x: x(t), y: height - 18, "text-anchor": "middle" }, tick(t)));
  out.append(
    svg("text", { x: width - right, y: height - 3, "text-anchor": "end" }, "evaluations"),
    svg("text", { x: 0, y: top - 2 + 2 }, "ms"),
  );
  for (const t of trials) {
    if (t.mean_ms) out.append(svg("circle", { class: "faint", cx: x(t.n), cy: y(t.mean_ms), r: 3 }));
    else out.append(svg("path", { class: "failed", d: `M${x(t.n) - 3},${top}l6,6m0,-6l-6,6` }));
  }
  if (base)
    out.append(
      svg("line", { class: "one", x1: left, x2: width - right, y1: y(base), y2: y(base) }),
      svg("text", { class: "strong", x: width - right, y: y(base) - 6, "text-anchor": "end" }, `incumbent ${number(base)} ms`),
    );
  let d = "";
  search.steps.forEach((s, i) => {
    d += i ? `H${x(s.evaluations)}V${y(s.best_ms)}` : `M${x(s.evaluations)},${y(s.best_ms)}`;
  });
  if (d) out.append(svg("path", { class: "path", d: d + `H${x(search.done)}` }));
  return out;
}

// effects draws what each range of a knob's values does to the score.
export function effects(knob, least, unit) {
  const width = 300,
    height = 150,
    left = 44,
    bottom = 34,
    top = 10;
  const all = knob.bins.flatMap((b) => [b.effect.low ?? b.effect.value, b.effect.high ?? b.effect.value, 0]);
  const lo = Math.min(...all),
    hi = Math.max(...all),
    y = (v) => top + ((height - top - bottom) * (hi - v)) / (hi - lo || 1);
  const x = (i) => left + ((width - left - 8) * (i + 0.5)) / knob.bins.length;
  const out = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `${knob.knob}: ` + knob.bins.map((b) => `${b.label} ${number(b.effect.value)} ${unit}, ${b.n} trials`).join("; "),
  });
  for (const t of ticks(lo, hi, 5))
    out.append(
      svg("text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, tick(t)),
      svg("line", { class: "axis", x1: left, x2: width - 8, y1: y(t), y2: y(t) }),
    );
  out.append(svg("line", { class: "one", x1: left, x2: width - 8, y1: y(0), y2: y(0) }));
  knob.bins.forEach((b, i) => {
    if (b.effect.low !== null)
      out.append(svg("line", { class: "candidate", x1: x(i), x2: x(i), y1: y(b.effect.low), y2: y(b.effect.high), opacity: 0.55 }));
    out.append(svg("circle", { class: b.n < least ? "hollow" : "candidate", cx: x(i), cy: y(b.effect.value), r: 4.5 }));
    out.append(
      svg("text", { class: "bin", x: x(i), y: height - 18, "text-anchor": "middle" }, b.label),
      svg("text", { class: "bin", x: x(i), y: height - 4, "text-anchor": "middle" }, "n " + b.n),
    );
  });
  return out;
}

// spark draws one figure over time.
export function spark(values, { width = 300, height = 64, label, least }) {
  const known = values.filter((v) => v !== null && v !== undefined);
  const out = svg("svg", {
    class: "chart",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": label,
    preserveAspectRatio: "none",
  });
  if (known.length < 2) return out;
  const lo = least ?? Math.min(...known),
    hi = Math.max(...known, lo + 1e-9);
  const x = (i) => 3 + ((width - 6) * i) / (values.length - 1),
    y = (v) => 4 + ((height - 8) * (hi - v)) / (hi - lo);
  let d = "",
    pen = "M";
  values.forEach((v, i) => {
    if (v === null || v === undefined) {
      pen = "M";
      return;
    }
    d += `${pen}${x(i).toFixed(1)},${y(v).toFixed(1)}`;
    pen = "L";
  });
  out.append(svg("line", { class: "axis", x1: 0, x2: width, y1: height - 2, y2: height - 2 }), svg("path", { class: "path", d }));
  return out;
}

// curves draws several falling lines with their names at their ends: [{name, points:
// [[x, ratio]], won}].
export function curves(lines, { width = 960, height = 300, unit, label }) {
  const left = 46,
    right = width < 450 ? 12 : 190,
    top = 12,
    bottom = 38;
  const all = lines.flatMap((l) => l.points.map((p) => p[1])).concat([1]);
  const least = Math.min(...all) * 0.97,
    most = Math.min(Math.max(...all), 1.5) * 1.02;
  const far = Math.max(...lines.flatMap((l) => l.points.map((p) => p[0])), 2);
  const x = (v) => left + ((width - left - right) * v) / far,
    y = (v) => top + ((height - top - bottom) * (most - Math.min(Math.max(v, least), most))) / (most - least || 1);
  const out = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const t of ticks(least, most, 5))
    out.append(
      svg("line", { class: "axis", x1: left, x2: width - right, y1: y(t), y2: y(t) }),
      svg("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, t.toFixed(2)),
    );
  for (const t of ticks(0, far, width < 450 ? 4 : 7)) out.append(svg("text", { x: x(t), y: height - 18, "text-anchor": "middle" }, tick(t)));
  out.append(
    svg("text", { x: width - right, y: height - 3, "text-anchor": "end" }, unit),
    svg("line", { class: "one", x1: left, x2: width - right, y1: y(1), y2: y(1) }),
  );
  const ends = lines.map((l, i) => ({ i, at: y(l.points.at(-1)[1]) })).sort((a, b) => a.at - b.at);
  ends.forEach((e, k) => {
    if (k && e.at < ends[k - 1].at + 15) e.at = ends[k - 1].at + 15;
  });
  for (const { i, at } of ends) {
    const l = lines[i];
    let d = "";
    l.points.forEach(([n, v], k) => {
      d += k ? `H${x(n)}V${y(v)}` : `M${x(n)},${y(v)}`;
    });
    out.append(svg("path", { class: "path", d, opacity: l.won ? 1 : 0.35 + 0.08 * (i % 3), "stroke-dasharray": l.won ? null : [null, "6 3", "2 3"][i % 3] }));
    if (right > 100) out.append(svg("text", { class: l.won ? "strong" : null, x: width - right + 8, y: at + 4 }, l.name));
  }
  return out;
}
