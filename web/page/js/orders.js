// The orders: buttons that act, or say why they cannot.
import { byId, clean, el, replace, say } from "./dom.js";
import { order } from "./stream.js";
import { words } from "./format.js";

const API = "/api/v3/ml/optimize";
const kinds = {
  optimize: {
    name: "Look for better",
    ask: "Look for a better configuration now?",
    text: "The service searches on the twin without waiting for a reason, and proves what it finds.",
    said: "Search ordered.",
  },
  pause: { name: "Hold", said: "Held: nothing goes on until you resume." },
  resume: { name: "Resume", said: "Resumed." },
  approve: { name: "Approve", said: "Approved." },
  promote: {
    name: "Promote",
    ask: "Promote the candidate now?",
    text: "It becomes the configuration of all peers, without waiting for the proof. It can still be rolled back.",
    said: "Promotion ordered.",
  },
  rollback: {
    name: "Roll back",
    ask: "Roll back to the incumbent?",
    text: "The candidate is given up everywhere, and the rollout ends.",
    said: "Roll-back ordered.",
    grave: true,
  },
};

export class Orders {
  constructor(token) {
    this.token = token;
    this.buttons = {};
    this.note = el("p", { id: "orders-note" });
    for (const [kind, k] of Object.entries(kinds)) {
      this.buttons[kind] = el(
        "button",
        {
          type: "button",
          class: k.grave ? "grave" : kind === "pause" || kind === "resume" ? "" : "plain",
          "data-order": kind,
          onclick: () => this.give(kind),
        },
        k.name,
      );
    }
    byId("orders").append(...Object.values(this.buttons), this.note);
  }
  show(run, taken) {
    const can = new Set(run?.orders || []);
    byId("orders").hidden = !run || !taken || run.ended_s !== null || (!!run.decision && !can.size);
    if (!run) return;
    this.run = run;
    for (const [kind, button] of Object.entries(this.buttons)) {
      const may = can.has(kind);
      button.hidden =
        kind === "resume" ? !may : kind === "pause" ? can.has("resume") : kind === "approve" || kind === "optimize" ? !may : false;
      if (button.disabled && may && this.lost === kind) {
        button.disabled = false;
        button.focus();
        this.lost = null;
      }
      button.disabled = !may;
    }
    let text = "";
    if ((run.ordered || []).length) text = "Ordered, not yet obeyed: " + run.ordered.map(words).join(", ");
    else if (run.held) text = "Held by a person. All peers run the incumbent until you resume.";
    else if (run.awaits) text = "Waits for approval: " + run.awaits;
    else if (!can.size) text = "Nothing can be ordered just now.";
    replace(this.note, document.createTextNode(clean(text)));
  }
  // prove orders that a candidate be proven, after a question.
  async prove(title, candidate) {
    const reason = await ask(title, "It is exposed stage by stage like any other candidate, and rolled back if it harms.", "Prove it", false);
    if (reason === null) return;
    try {
      await order(API, this.token(), { trigger: reason, candidate });
      say("Ordered: it is proven next.");
    } catch (error) {
      say("Refused: " + error.message);
      replace(this.note, document.createTextNode("Refused: " + clean(error.message)));
    }
  }
  async give(kind) {
    const k = kinds[kind];
    let reason = "";
    if (k.ask) {
      const answer = await ask(k.ask, k.text, k.name, k.grave);
      if (answer === null) return;
      reason = answer;
    }
    const button = this.buttons[kind];
    this.lost = document.activeElement === button ? kind : null;
    button.disabled = true;
    try {
      if (kind === "optimize") await order(API, this.token(), { trigger: reason });
      else await order(`${API}/${encodeURIComponent(this.run.id)}/${kind}`, this.token(), { reason });
      say(k.said);
      // What had the focus may be gone: its counterpart takes it.
      const other = { pause: "resume", resume: "pause" }[kind];
      if (other && this.lost)
        setTimeout(() => {
          if (!this.buttons[other].hidden) this.buttons[other].focus();
        }, 600);
    } catch (error) {
      say("Refused: " + error.message);
      replace(this.note, document.createTextNode("Refused: " + clean(error.message)));
      button.disabled = !(this.run.orders || []).includes(kind);
    }
  }
}

// ask opens the dialog and returns the reason, null if it was cancelled.
function ask(title, text, yes, grave) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").className = grave ? "grave" : "";
  byId("ask-reason").value = "";
  dialog.returnValue = "no";
  dialog.showModal();
  byId("ask-reason").focus();
  return new Promise((done) =>
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes" ? byId("ask-reason").value : null), { once: true }),
  );
}
