// Numbers with their units, in as many digits as they deserve. What is not known is
// a dash, never a zero.

export const none = "–";
const known = (x) => x !== null && x !== undefined && Number.isFinite(x);

export function number(x, digits = 3) {
  if (!known(x)) return none;
  if (x === 0) return "0";
  const d = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(x))));
  return x.toLocaleString("en", {
    minimumFractionDigits: Math.min(d, 4),
    maximumFractionDigits: Math.min(d, 6),
    useGrouping: Math.abs(x) >= 10000,
  });
}
export const count = (x) => (known(x) ? Math.round(x).toLocaleString("en") : none);
export const ms = (x) => (!known(x) ? none : Math.abs(x) >= 10000 ? number(x / 1000) + " s" : number(x) + " ms");
export const percent = (x, digits = 3) => (known(x) ? (x === 1 ? "100" : number(100 * x, digits)) + " %" : none);
export const times = (x) => (known(x) ? "× " + x.toFixed(3) : none);
export function bytes(x) {
  if (!known(x)) return none;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (x >= 1024 && i < units.length - 1) {
    x /= 1024;
    i++;
  }
  return (i ? number(x) : count(x)) + " " + units[i];
}
export function duration(s) {
  if (!known(s)) return none;
  s = Math.max(0, Math.round(s));
  const h = Math.floor(s / 3600),
    m = Math.floor(s / 60) % 60;
  return h ? `${h} h ${m} min` : m ? `${m} min ${s % 60} s` : `${s} s`;
}
export const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
export const tail = (name) => (name && name.length > 12 ? "…" + name.slice(-8) : name || none);

// faster puts a ratio of latencies into words.
export function faster(ratio) {
  if (!known(ratio)) return none;
  const change = 100 * (1 - ratio);
  if (Math.abs(change) < 0.05) return "as fast";
  return number(Math.abs(change), 2) + (change > 0 ? " % faster" : " % slower");
}
export function interval(e, f) {
  return e && known(e.low) && known(e.high) ? `${f(e.low)} to ${f(e.high)}` : null;
}
export const share = (x) => (known(x) ? String(+(100 * x).toFixed(1)) + " %" : none);
export const many = (n, one, more) => `${count(n)} ${n === 1 ? one : (more ?? one + "s")}`;
export const sentence = (t) => (t ? t.charAt(0).toUpperCase() + t.slice(1) : "");
// prose shortens the decimals of durations in sentences that were written for logs,
// and puts decisions into words.
export const prose = (t) =>
  (t || "")
    .replace(/(\d+\.\d{2,})(?=(?:ms|µs|s)\b)/g, (x) => String(+(+x).toFixed(1)))
    .replace(/\b(not_enough_data|rolled_back)\b/g, (w) => words(w));
// breakable lets a long list break after its commas.
export const breakable = (t) => String(t).replaceAll(",", ",\u200b");
export const tick = (x) => String(+x.toPrecision(5));
export const words = (w) => (w || "").replaceAll("_", " ");
