// The stream of events, read with fetch so that it can carry a token. It is taken up
// again behind the last event that was seen.

const WAIT_MS = 1000,
  MOST_MS = 15000,
  QUIET_MS = 40000;

export class Stream {
  constructor({ url, token, onEvent, onState }) {
    Object.assign(this, { url, token, onEvent, onState, last: "", wait: WAIT_MS });
  }
  async run() {
    for (;;) {
      try {
        await this.read();
      } catch (error) {
        if (error.status === 401) {
          this.onState("locked");
          return;
        }
      }
      this.onState("lost");
      await new Promise((done) => setTimeout(done, this.wait));
      this.wait = Math.min(2 * this.wait, MOST_MS);
    }
  }
  async read() {
    const stop = new AbortController();
    let alarm;
    const alive = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => stop.abort(), QUIET_MS);
    };
    alive();
    try {
      const reply = await fetch(this.url, {
        headers: { ...headers(this.token), ...(this.last && { "Last-Event-ID": this.last }) },
        signal: stop.signal,
        cache: "no-store",
      });
      if (!reply.ok) throw Object.assign(new Error(reply.statusText), { status: reply.status });
      this.onState("live");
      this.wait = WAIT_MS;
      const text = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await text.read();
        if (done) return;
        alive();
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.take(block);
      }
    } finally {
      clearTimeout(alarm);
    }
  }
  take(block) {
    let id = "",
      name = "",
      data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) id = line.slice(4);
      else if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!name) return;
    this.onEvent(name, JSON.parse(data));
    if (id) this.last = id;
  }
}

const headers = (token) => (token ? { Authorization: "Bearer " + token } : {});

// order posts an order. The key makes a repeated click one order.
export async function order(url, token, body) {
  const reply = await fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    headers: {
      "Content-Type": "application/json",
      "Idempotency-Key": crypto.randomUUID ? crypto.randomUUID() : String(Math.random()),
      ...headers(token),
    },
  });
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.detail || answer.title || reply.statusText);
  return answer;
}
