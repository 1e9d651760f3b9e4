// The map: land once for each size and theme, peers in one pass, lookups on top. All
// of it is canvas, so that a thousand peers cost what thirty cost.
import { clean, el } from "./dom.js";
import { land, project } from "./world.js";
import { count } from "./format.js";

const SLOWER = 8; // lookups are played as much slower than they were
const MOST = 10; // lookups in flight on the map
const FADE_MS = 1200; // how long a finished one stays
const TOP = 80,
  BOTTOM = -57,
  EDGE = 178; // degrees that are shown

export class WorldMap {
  constructor() {
    this.canvas = el("canvas", { role: "img" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.node = el("div", { class: "map" }, this.canvas, this.tip);
    this.peers = [];
    this.arm = [];
    this.flying = [];
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.canvas.addEventListener("pointermove", (e) => this.point(e));
    this.canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    new ResizeObserver(() => this.resize()).observe(this.node);
  }
  set(peers, fleet) {
    if (peers !== this.source) {
      this.source = peers;
      this.peers = peers.filter((p) => p.located).length ? peers : [];
    }
    this.arm = (fleet && fleet.arm) || [];
    this.entries = (fleet && fleet.entries) || [];
    this.label();
    this.place();
    this.paintPeers();
    this.draw();
  }
  label() {
    const sites = new Set(this.peers.filter((p) => p.located).map((p) => p.site));
    const text = `World map: ${count(this.peers.length)} peers at ${count(sites.size)} places; lookups are drawn as lines from the peer that looks to those that it asks.`;
    if (this.canvas.getAttribute("aria-label") !== text) this.canvas.setAttribute("aria-label", text);
  }
  // play shows a lookup from now on, at a slower pace than it had.
  play(lookup) {
    if (!this.peers.length || document.hidden || lookup.peer < 0 || !lookup.requests.length) return;
    if (this.flying.length >= MOST) this.flying.shift();
    this.flying.push({ lookup, began: performance.now() });
    this.kick();
  }
  resize() {
    const width = this.node.clientWidth;
    if (!width) return;
    const [right] = project(EDGE, 0),
      top = project(0, TOP)[1],
      bottom = project(0, BOTTOM)[1];
    const height = Math.round((width * (top - bottom)) / (2 * right));
    const dense = Math.min(devicePixelRatio || 1, 2);
    if (this.width === width && this.dense === dense) return;
    Object.assign(this, { width, height, dense, scale: width / (2 * right), top });
    this.canvas.width = width * dense;
    this.canvas.height = height * dense;
    this.canvas.style.height = height + "px";
    this.paintLand();
    this.place();
    this.paintPeers();
    this.draw();
  }
  xy(lon, lat) {
    const [x, y] = project(lon, lat);
    return [this.width / 2 + x * this.scale, (this.top - y) * this.scale];
  }
  theme() {
    const css = getComputedStyle(document.documentElement);
    const of = (name) => css.getPropertyValue(name).trim();
    this.colors = {
      land: of("--land"),
      shore: of("--shore"),
      card: of("--card"),
      ink: of("--ink"),
      bad: of("--bad"),
      arms: [of("--incumbent"), of("--candidate")],
    };
  }
  repaint() {
    if (this.width) {
      this.paintLand();
      this.paintPeers();
      this.draw();
    }
  }
  paintLand() {
    this.theme();
    this.ground = new OffscreenCanvas(this.width * this.dense, this.height * this.dense);
    const c = this.ground.getContext("2d");
    c.scale(this.dense, this.dense);
    c.beginPath();
    for (const ring of land) {
      ring.forEach(([lon, lat], i) => {
        const [x, y] = this.xy(lon, lat);
        if (i) c.lineTo(x, y);
        else c.moveTo(x, y);
      });
      c.closePath();
    }
    c.fillStyle = this.colors.land;
    c.fill();
    c.strokeStyle = this.colors.shore;
    c.lineWidth = 0.8;
    c.stroke();
  }
  // place spreads peers of one site, so that each can be seen.
  place() {
    if (!this.width) return;
    const at = new Map();
    this.spots = this.peers.map((p) => {
      if (!p.located) return null;
      const key = p.lat + "," + p.lon,
        n = at.get(key) || 0;
      at.set(key, n + 1);
      const [x, y] = this.xy(p.lon, p.lat),
        r = n ? 6.5 * Math.sqrt(n) : 0,
        turn = n * 2.39996;
      return [x + r * Math.cos(turn), y + r * Math.sin(turn)];
    });
  }
  kick() {
    if (this.frame || !this.canvas.isConnected) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }
  draw() {
    if (!this.width || !this.ground || !this.crowd) return;
    const c = this.canvas.getContext("2d"),
      now = performance.now();
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    c.drawImage(this.ground, 0, 0);
    c.scale(this.dense, this.dense);
    this.flying = this.flying.filter((f) => now - f.began < f.lookup.took_ms * SLOWER + FADE_MS);
    for (const f of this.flying) this.drawLookup(c, f, now);
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.drawImage(this.crowd, 0, 0);
    if (this.flying.length) this.kick();
  }
  // paintPeers draws all peers once for each change of theirs.
  paintPeers() {
    if (!this.width || !this.spots) return;
    this.crowd = new OffscreenCanvas(this.width * this.dense, this.height * this.dense);
    const c = this.crowd.getContext("2d");
    c.scale(this.dense, this.dense);
    const r = this.peers.length > 300 ? 2.4 : this.width < 500 ? 3 : 4.2;
    for (const arm of [0, 1]) {
      c.beginPath();
      this.spots.forEach((s, i) => {
        if (s && (this.arm[i] || 0) === arm) {
          c.moveTo(s[0] + r, s[1]);
          c.arc(s[0], s[1], r, 0, 7);
        }
      });
      c.fillStyle = arm ? this.colors.arms[1] : this.colors.card;
      c.fill();
      c.lineWidth = r > 3 ? 2 : 1.4;
      c.strokeStyle = this.colors.arms[arm];
      c.stroke();
    }
  }
  drawLookup(c, { lookup, began }, now) {
    const still = this.still.matches,
      t = still ? Infinity : (now - began) / SLOWER;
    const over = Math.max(0, now - began - lookup.took_ms * SLOWER);
    const from = this.spots[lookup.peer];
    if (!from) return;
    const shine = Math.max(0, 1 - over / FADE_MS);
    c.strokeStyle = this.colors.arms[lookup.arm === 1 ? 1 : 0];
    for (const r of lookup.requests) {
      const to = this.spots[r.peer];
      if (!to || t < r.asked_ms || r.peer < 0) continue;
      const end = r.ended_ms ?? lookup.took_ms,
        part = still ? 1 : Math.min(1, (t - r.asked_ms) / Math.max(1, end - r.asked_ms));
      const bend = Math.min(60, Math.hypot(to[0] - from[0], to[1] - from[1]) / 4);
      const mid = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2 - bend];
      c.beginPath();
      c.moveTo(from[0], from[1]);
      const q = [from[0] + (mid[0] - from[0]) * part, from[1] + (mid[1] - from[1]) * part];
      const head = [
        (1 - part) ** 2 * from[0] + 2 * part * (1 - part) * mid[0] + part ** 2 * to[0],
        (1 - part) ** 2 * from[1] + 2 * part * (1 - part) * mid[1] + part ** 2 * to[1],
      ];
      c.quadraticCurveTo(q[0], q[1], head[0], head[1]);
      c.globalAlpha = shine * (r.outcome === "open" ? 0.3 : 1);
      c.setLineDash(r.outcome === "failed" ? [3, 3] : []);
      c.lineWidth = r.hops > 1 ? 1.1 : 1.8;
      c.stroke();
      if (part < 1) {
        c.beginPath();
        c.arc(head[0], head[1], 2.2, 0, 7);
        c.fillStyle = c.strokeStyle;
        c.fill();
      }
    }
    c.globalAlpha = shine;
    c.setLineDash([]);
    c.beginPath();
    c.arc(from[0], from[1], 7, 0, 7);
    c.lineWidth = 1.5;
    c.stroke();
    c.globalAlpha = 1;
  }
  point(e) {
    const box = this.canvas.getBoundingClientRect(),
      x = e.clientX - box.left,
      y = e.clientY - box.top;
    let best = -1,
      near = 12;
    (this.spots || []).forEach((s, i) => {
      const d = s ? Math.hypot(s[0] - x, s[1] - y) : 99;
      if (d < near) {
        near = d;
        best = i;
      }
    });
    this.tip.hidden = best < 0;
    if (best < 0) return;
    const p = this.peers[best];
    this.tip.textContent = `${clean(p.site || "somewhere")} · …${clean(p.name.slice(-8))} · knows ${count(this.entries[best])} · ${this.arm[best] ? "candidate" : "incumbent"}`;
    this.tip.style.left = Math.min(x + 12, Math.max(0, this.width - 200)) + "px";
    this.tip.style.top = Math.max(4, y - 38) + "px";
  }
}
