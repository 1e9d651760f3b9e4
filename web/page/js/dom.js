// Elements are made here and nowhere else. Whatever comes from peers becomes a text
// node or an attribute's value: it is never read as HTML.

// clean shows what could turn or hide the text around it as a sign of its own: marks of
// direction and control characters.
export const clean = (text) =>
  String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : clean(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
  return node;
}

export const el = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);
export const byId = (id) => document.getElementById(id);

// replace puts other children into a node, if they look otherwise than those there,
// so that what has the focus or is being read stays.
export function replace(node, ...children) {
  const fresh = document.createDocumentFragment();
  fresh.append(...children.flat(Infinity).filter((c) => c || c === 0));
  const now = [...node.childNodes],
    next = [...fresh.childNodes];
  if (now.length === next.length && now.every((n, i) => n.isEqualNode(next[i]))) return false;
  node.replaceChildren(fresh);
  return true;
}

export function say(text) {
  const said = byId("said");
  said.textContent = "";
  requestAnimationFrame(() => {
    said.textContent = text;
  });
}

// card is a titled part of a view.
let cards = 0;
export function card(title, note, width, ...children) {
  const id = "card-" + ++cards;
  return el(
    "section",
    { class: "card " + (width || "w12"), "aria-labelledby": id },
    el("header", {}, el("h2", { id }, title), note && el("p", {}, note)),
    ...children,
  );
}

export const empty = (title, text) => el("p", { class: "empty" }, el("strong", {}, title), text);

// table makes a table of columns {name, num, tight, hide} and rows of cells.
export function table(caption, columns, rows, className) {
  const cls = (c) => [c.num && "num", c.tight && "tight", c.hide && "hide-s", c.cls].filter(Boolean).join(" ") || undefined;
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      { class: className },
      el("caption", { class: "unseen" }, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          columns.map((c) => el("th", { scope: "col", class: cls(c) }, c.name)),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map((cells) =>
          el(
            "tr",
            {},
            cells.map((cell, i) => el("td", { class: cls(columns[i]) }, cell)),
          ),
        ),
      ),
    ),
  );
}

// VirtualList shows a window of many rows: the DOM holds only those that are seen.
export class VirtualList {
  constructor({ label, height, render, select }) {
    Object.assign(this, { height, render, select, items: [], selected: null, key: (x) => x });
    this.room = el("div", { class: "room" });
    this.node = el("div", { class: "list", tabindex: "0", "aria-label": label, role: select ? "listbox" : "region" }, this.room);
    if (select) this.room.setAttribute("role", "presentation");
    this.node.addEventListener("scroll", () => this.paint(), { passive: true });
    if (select) this.node.addEventListener("keydown", (e) => this.keyed(e));
  }
  set(items) {
    const top = this.node.scrollTop;
    if (top > this.height && this.items.length && items.length && this.key(items[0]) !== this.key(this.items[0])) {
      const at = items.findIndex((x) => this.key(x) === this.key(this.items[0]));
      if (at > 0) this.node.scrollTop = top + at * this.height; // stay with what is read
    }
    this.items = items;
    this.paint();
  }
  paint() {
    const { scrollTop, clientHeight } = this.node;
    this.room.style.height = this.items.length * this.height + "px";
    const first = Math.max(0, Math.floor(scrollTop / this.height) - 3);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + (clientHeight || 600)) / this.height) + 3);
    const rows = [];
    for (let i = first; i < last; i++) {
      const item = this.items[i],
        on = this.select && this.selected === this.key(item);
      const row = this.render(item);
      row.style.top = i * this.height + "px";
      row.style.height = this.height + "px";
      if (this.select) {
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", String(on));
        row.setAttribute("aria-setsize", this.items.length);
        row.setAttribute("aria-posinset", i + 1);
        row.id = "option-" + this.key(item);
        row.addEventListener("click", () => this.choose(item));
        if (on) this.node.setAttribute("aria-activedescendant", row.id);
      }
      rows.push(row);
    }
    if (!rows.some((r) => r.getAttribute("aria-selected") === "true")) this.node.removeAttribute("aria-activedescendant");
    replace(this.room, rows);
    // Equal nodes are kept, and with them their listeners, which close over equal items.
  }
  choose(item) {
    this.selected = this.key(item);
    this.select(item);
    this.paint();
  }
  keyed(e) {
    const at = this.items.findIndex((x) => this.key(x) === this.selected);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.items.length - 1 }[e.key];
    if (to === undefined || !this.items.length) return;
    e.preventDefault();
    const i = Math.min(Math.max(to, 0), this.items.length - 1),
      top = i * this.height;
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    else if (top + this.height > this.node.scrollTop + this.node.clientHeight)
      this.node.scrollTop = top + this.height - this.node.clientHeight;
    this.choose(this.items[i]);
  }
}
