// Drives Chromium through the window: node drive.mjs BROWSER SCRIPT [URL [TOKEN]].
// It prints what it did, and ends with status 1 at the first thing that is wrong.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { Validator } from "@seriousme/openapi-schema-validator";
import { chromium } from "playwright-core";
import { recording, stage } from "./stage.mjs";

const [, , program, script, given] = process.argv;
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const patience = 30000;
fs.mkdirSync("shots", { recursive: true });
const browser = await chromium.launch({ executablePath: program, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });

// Page is a page that takes down whatever it should not do.
async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const wrong = [],
    origin = new URL(url).origin;
  page.expected = [];
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !page.expected.some((e) => e.test(m.text()))) wrong.push(`console: ${m.text()}`);
  });
  page.on("pageerror", (e) => wrong.push(`error: ${e.message}`));
  page.on("request", (r) => {
    if (new URL(r.url()).origin !== origin) wrong.push(`request to ${r.url()}`);
  });
  page.check = () => assert.deepEqual(wrong, []);
  await page.goto(url);
  return page;
}

async function api(page, path) {
  return page.evaluate(async (p) => {
    const token = sessionStorage.getItem("token");
    const r = await fetch(p, { headers: token ? { Authorization: "Bearer " + token } : {} });
    return { status: r.status, body: await r.json() };
  }, path);
}

const status = async (page) => (await api(page, "/api/v3/ml/optimize/status")).body.data;

// until waits for something to hold, and says what it waited for if it does not.
async function until(what, f, ms = patience) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    try {
      last = await f();
      if (last) return last;
    } catch (error) {
      last = error.message;
    }
    await new Promise((done) => setTimeout(done, 200));
  }
  assert.fail(`${what}: not within ${ms / 1000} s (${last})`);
}

// accessible runs axe-core on what is shown.
async function accessible(page, what) {
  // Text that is measured while a colour changes would be of neither theme.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  if (!(await page.evaluate(() => !!window.axe))) {
    await page.evaluate(fs.readFileSync(axe, "utf8")); // not by a script element: the policy forbids it
  }
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const bad = found.violations.filter((v) => ["serious", "critical"].includes(v.impact));
  assert.deepEqual(
    bad.map(
      (v) =>
        `${what}: ${v.id}: ${v.nodes
          .slice(0, 3)
          .map((n) => n.target + " " + n.failureSummary)
          .join(" | ")}`,
    ),
    [],
  );
}

const views = (page) => page.$$eval("#views a", (all) => all.map((a) => a.getAttribute("href").slice(2)));

// tour opens every view at every width in both themes, looks at it with axe and
// takes its picture.
async function tour(page, name) {
  const all = await views(page);
  for (const [width, height, scheme] of [
    [1440, 900, "light"],
    [1440, 900, "dark"],
    [768, 1024, "light"],
    [390, 844, "dark"],
    [390, 844, "light"],
  ]) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    for (const view of all) {
      await page.click(`#views a[href="#/${view}"]`);
      await until(`view ${view}`, () => page.$eval(`#views a[href="#/${view}"]`, (a) => a.getAttribute("aria-current") === "page"));
      await page.waitForSelector("#view h1");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${view} at ${width} px is ${wide} px too wide`);
      await accessible(page, `${view} at ${width} px, ${scheme}`);
      await page.screenshot({ path: `shots/${name}-${view}-${width}-${scheme}.png`, fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  console.log(`${name}: ${all.length} views (${all.join(", ")}) at 1440, 768 and 390 px`);
  return all;
}

// described holds the API's description against the schema of OpenAPI itself.
async function described(page) {
  const { body } = await api(page, "/api/v3/openapi.json");
  const found = await new Validator().validate(body);
  assert.ok(found.valid, JSON.stringify(found.errors));
  console.log(`described: ${Object.keys(body.paths).length} paths, valid OpenAPI ${body.openapi}`);
}

// keyboard walks the page without a mouse.
async function keyboard(page) {
  await page.goto(page.url().split("#")[0] + "#/overview");
  await page.reload();
  await page.waitForSelector("#view h1");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip", "the first stop is the skip link");
  const stops = new Set();
  for (let i = 0; i < 25; i++) {
    await page.keyboard.press("Tab");
    const [what, ring] = await page.evaluate(() => [
      document.activeElement.outerHTML.slice(0, 60),
      getComputedStyle(document.activeElement).outlineStyle,
    ]);
    if (!what.startsWith("<body")) assert.notEqual(ring, "none", `${what} shows no focus`);
    stops.add(what);
  }
  assert.ok(stops.size > 5, `only ${stops.size} places take the focus`);
  const labels = await page.evaluate(() => ["header", "nav", "main", "footer"].filter((tag) => !document.querySelector(tag)));
  assert.deepEqual(labels, [], "landmarks");
}

// listKeys moves through the list of lookups with the arrow keys.
async function listKeys(page) {
  await page.click('#views a[href="#/lookups"]');
  await until("lookups to choose from", () => page.$$eval('[role="option"]', (all) => all.length > 2));
  await page.focus('[role="listbox"]');
  await page.keyboard.press("Home");
  const first = await page.$eval('[role="option"][aria-selected="true"]', (o) => o.id);
  await page.keyboard.press("ArrowDown");
  const second = await until("another row", async () => {
    const id = await page.$eval('[role="option"][aria-selected="true"]', (o) => o.id);
    return id !== first && id;
  });
  assert.equal(await page.getAttribute('[role="listbox"]', "aria-activedescendant"), second);
}

async function network() {
  const page = await open(given);
  await page.waitForSelector("#view h1");
  await until("the page is live", () => page.$eval("#link", (l) => l.dataset.state === "live"));
  await until("peers on the map", () => page.$eval(".map canvas", (c) => /30 peers/.test(c.getAttribute("aria-label"))));
  await listKeys(page);
  // Hold as soon as a cycle has ended, so that there are figures to compare.
  await until("a first cycle", async () => (await status(page)).effect, 150000);
  await page.click('[data-order="pause"]');
  await until("it is held", async () => (await status(page)).held);
  await page.click('#views a[href="#/overview"]');
  await until("the page says so", () => page.$eval(".verdict", (v) => v.textContent === "Held"));
  await compare(page);
  await tour(page, "held");
  await page.click('#views a[href="#/overview"]');
  await page.click('[data-order="resume"]');
  await until("it goes on", async () => !(await status(page)).held);
  await until("the page says so", () => page.$eval(".verdict", (v) => v.textContent !== "Held"));
  await offline(page);
  await until("it may be rolled back", () => page.$eval('[data-order="rollback"]', (b) => !b.disabled), 60000);
  await page.click('[data-order="rollback"]');
  await page.waitForSelector("#ask[open]");
  await accessible(page, "the dialog");
  await page.keyboard.press("Escape");
  assert.equal((await status(page)).decision, "", "a cancelled dialog orders nothing");
  await page.click('[data-order="rollback"]');
  await page.fill("#ask-reason", "the browser's test");
  await page.click("#ask-yes");
  const run = await until("it is rolled back", async () => {
    const r = await status(page);
    return r.decision === "rolled_back" && r;
  });
  assert.ok(
    run.notes.some((n) => n.order === "rollback" && n.reason === "the browser's test"),
    "the reason is kept",
  );
  await page.click('#views a[href="#/overview"]');
  await until("the page says so", () => page.$eval(".verdict", (v) => v.textContent === "Rolled back"));
  await until("the journal has it", async () =>
    (await api(page, "/api/v3/ml/optimize/history?limit=1000")).body.data.items.some((e) => e.decision === "rolled_back"),
  );
  await keyboard(page);
  await tour(page, "network");
  page.check();
}

// view opens a view by its link.
async function view(page, name) {
  await page.click(`#views a[href="#/${name}"]`);
  await until(`view ${name}`, () => page.$eval(`#views a[href="#/${name}"]`, (a) => a.getAttribute("aria-current") === "page"));
}

// shapes holds the picture of the shape against the API: a bar before and after for each
// bucket, its sizes, and why.
async function shapes(page) {
  await view(page, "shape");
  return until("the shape that the API tells", async () => {
    const shape = (await api(page, "/api/v3/shape")).body.data;
    const any = shape.buckets.some((b) => b.candidate !== null);
    const rows = await page.$$eval("table.shape tbody tr", (all) =>
      all.map((r) => ({
        before: r.querySelectorAll("rect.before").length,
        after: [...r.querySelectorAll("rect.after")].map((x) => +x.getAttribute("width")),
        cells: [...r.querySelectorAll("td")].map((d) => d.textContent),
      })),
    );
    assert.equal(rows.length, shape.buckets.length);
    for (const [i, b] of shape.buckets.entries()) {
      const { before, after, cells } = rows[i];
      assert.equal(before, 1);
      assert.equal(after.length, any ? 1 : 0, "a bar for the candidate if there is one");
      assert.equal(cells[1], String(b.incumbent));
      if (any) assert.equal(cells[2], b.candidate === b.incumbent ? "=" : String(b.candidate));
      assert.equal(cells.at(-1), b.why);
    }
    return { shape, any };
  });
}

// figures holds the table of before and after against the API, cell by cell.
async function figures(page) {
  await view(page, "rollout");
  return until("the figures of the API", async () => {
    const data = (await api(page, "/api/v3/ml/optimize/arms")).body.data;
    // A machine that lagged all the time has measured nothing, and the page must say so.
    if (!data) return (await page.$eval("#view", (v) => v.textContent.includes("Nothing was measured yet"))) && { arms: [], compared: 0 };
    const arms = data.arms;
    // A cell begins with the figure; its interval stands below.
    const rows = await page.$$eval('[aria-label="Figures by configuration"] tbody tr', (all) =>
      all.map((r) => [...r.children].map((d) => d.firstChild.textContent)),
    );
    assert.equal(rows.length, arms.length, `${rows.length} rows`);
    const qs = [...new Set(arms.flatMap((a) => a.quantiles.map((q) => q.q)))].sort((x, y) => x - y);
    const same = (cell, want, what) => {
      const got = parseFloat(cell.replaceAll(",", "")) * (cell.endsWith(" s") ? 1000 : 1);
      assert.ok(Math.abs(got - want) <= 0.005 * Math.abs(want) + 1e-9, `${what}: ${cell}, the API says ${want}`);
    };
    let compared = 0;
    for (const [i, a] of arms.entries()) {
      assert.equal(rows[i][0], { baseline: "incumbent", tuned: "candidate" }[a.name] || a.name);
      for (const [k, q] of qs.entries()) {
        const e = a.quantiles.find((x) => x.q === q)?.ms;
        if (!e) continue;
        same(rows[i][1 + k], e.value, `${a.name} P${100 * q}`);
        compared++;
      }
      if (a.mean_ms) same(rows[i][1 + qs.length], a.mean_ms.value, `${a.name} mean`);
      if (a.success_ratio) same(rows[i][2 + qs.length], 100 * a.success_ratio.value, `${a.name} success`);
      if (a.messages_per_lookup) same(rows[i][3 + qs.length], a.messages_per_lookup.value, `${a.name} messages`);
    }
    return { arms, compared };
  });
}

async function promotion() {
  const page = await open(given);
  await page.waitForSelector("#view h1");
  // The page usually comes before there is a candidate: then it shows what runs alone.
  const first = await until("a shape", async () => (await api(page, "/api/v3/shape")).body.data && shapes(page), 60000);
  await until("a candidate", async () => (await status(page)).candidate, 60000);
  const { shape } = await until("the shape has an after", async () => {
    const now = await shapes(page);
    return now.any && now;
  });
  const changed = shape.buckets.filter((b) => b.candidate !== b.incumbent);
  assert.ok(changed.length >= 2, "the candidate changes buckets");
  if (!first.any)
    for (const b of changed) assert.notEqual(b.why, first.shape.buckets.find((x) => x.bucket === b.bucket).why, "the reason changes, too");
  await until("a stage runs", async () => (await status(page)).stages.some((s) => s.state === "running"), 60000);
  await until("it may be promoted", () => page.$eval('[data-order="promote"]', (b) => !b.disabled));
  await page.click('[data-order="promote"]');
  await page.waitForSelector("#ask[open]");
  await page.fill("#ask-reason", "the browser's test");
  await page.click("#ask-yes");
  const run = await until("it is promoted", async () => {
    const r = await status(page);
    return r.decision && r;
  });
  assert.equal(run.decision, "promoted", run.why);
  await view(page, "rollout");
  await until("the timeline shows it", async () => {
    const stages = await page.$$eval(".stages .stage", (all) => all.map((x) => x.querySelector(".badge").textContent));
    const now = (await status(page)).stages;
    assert.deepEqual(stages, now.map((s) => s.verdict || s.state));
    assert.ok(stages.includes("promoted by order"), `${stages}`);
    return page.$$eval("section.card p strong", (all) => all.some((x) => x.textContent === "Promoted: "));
  });
  await view(page, "overview");
  await until("the overview says so", () => page.$eval(".verdict", (v) => v.textContent.startsWith("Promoted: ")));
  // The final table follows: incumbent, default and candidate, each the whole network.
  await until("the run ends", async () => (await status(page)).ended_s !== null, 200000);
  const { arms, compared } = await figures(page);
  assert.ok(compared >= 2 * arms.length, `${compared} quantiles of ${arms.length} arms compared`);
  await shapes(page);
  const fleet = await until("all peers run the candidate", async () => {
    const f = (await api(page, "/api/v3/fleet")).body.data;
    return f.runs.length === 1 && f.runs[0].config === run.candidate.hash && f;
  });
  console.log(`promotion: seen in the timeline; ${compared} quantiles are the API's; ${changed.length} buckets changed; ${fleet.runs[0].peers} peers run it`);
  page.check();
}

// compare holds figures on the page against those of the API.
async function compare(page) {
  await until("the page shows what the API says", async () => {
    const run = await status(page),
      arms = (await api(page, "/api/v3/ml/optimize/arms")).body.data;
    const tiles = await page.$$eval(".tile", (all) => all.map((x) => x.textContent));
    assert.ok(
      tiles.some((x) => x.includes("× " + run.effect.ratio.value.toFixed(3))),
      `effect ${run.effect.ratio.value}: ${tiles}`,
    );
    for (const [name, title] of [
      ["baseline", "incumbent"],
      ["tuned", "candidate"],
    ]) {
      const q = arms.arms.find((a) => a.name === name)?.quantiles.find((x) => x.q === 0.5);
      const tile = tiles.find((x) => x.startsWith(`Latency, median, ${title}`));
      if (q)
        assert.ok(
          Math.abs(parseFloat(tile.match(/(\d[\d,.]*)\s*ms/)?.[1]) - q.ms.value) <= 0.05 * Math.max(1, q.ms.value),
          `${title} ${q.ms.value}: ${tile}`,
        );
      else assert.ok(tile.includes("no data yet"), tile);
    }
    return true;
  });
  await page.click('#views a[href="#/journal"]');
  const history = (await api(page, "/api/v3/ml/optimize/history?limit=1000")).body.data.items;
  await until("all entries are listed", () => page.$eval("#view", (v, n) => v.textContent.includes(`${n} entries`), history.length));
  console.log(`compared: effect, medians, ${history.length} journal entries`);
}

// offline takes the connection away and gives it back: the page says so, goes on
// and shows nothing twice.
async function offline(page) {
  await page.click('#views a[href="#/journal"]');
  page.expected.push(/ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED/);
  await page.context().setOffline(true);
  await page.reload().catch(() => {}); // a stream that is open would outlive the switch
  await page.context().setOffline(false);
  await page.goto(given + "#/journal");
  await until("the page is live again", () => page.$eval("#link", (l) => l.dataset.state === "live"));
  const seqs = await until("entries", async () => {
    const s = await page.$$eval(".list .row .end", (all) => all.map((x) => x.textContent));
    return s.length > 2 && s;
  });
  assert.equal(new Set(seqs).size, seqs.length, "entries are shown once");
}

async function node() {
  const page = await open(given);
  await page.waitForSelector("#view h1");
  const health = await until("it knows others", async () => {
    const h = (await api(page, "/api/v3/health")).body.data;
    return h.contacts >= 2 && h;
  });
  await until("the page says so", () => page.$eval("#view", (v, n) => v.textContent.includes(`${n} members`), health.contacts));
  const all = await tour(page, "node");
  assert.deepEqual(all, ["overview", "table", "lookups"], "no view without data");
  assert.equal(await page.$eval("#orders", (o) => o.hidden), true, "a peer takes no orders");
  await described(page);
  await page.click('#views a[href="#/table"]');
  const table = (await api(page, "/api/v3/table")).body.data;
  const shown = await page.$$eval('.list[aria-label="Peers that the table knows"] .row .mono', (rows) => rows.map((r) => r.textContent));
  assert.deepEqual(shown.toSorted(), table.contacts.map((c) => c.peer).toSorted());
  await keyboard(page);
  page.check();
}

// Every string that is not a word of ours becomes HTML with a script.
async function hostile() {
  const evil = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'"&\u202e`;
  const ours = new Set(["kind", "phase", "state", "severity", "apply", "scope", "id", "run", "at", "began", "since", "decision"]);
  const poison = (v, key) => {
    if (typeof v === "string") return ours.has(key) && key !== "title" ? v : evil;
    if (Array.isArray(v)) return key === "orders" ? v : v.map((x) => poison(x, key));
    if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, poison(x, k)]));
    return v;
  };
  for (const name of ["network", "node"]) {
    const set = await stage((send) => {
      for (const { name: n, data } of recording(name)) send(n, poison(data));
    });
    const page = await open(set.url);
    await page.waitForSelector("#view h1");
    for (const view of await views(page)) {
      await page.click(`#views a[href="#/${view}"]`);
      await page.waitForTimeout(300);
      const [pwned, images, scripts, text] = await page.evaluate(() => [
        window.pwned,
        document.querySelectorAll("main img").length,
        document.querySelectorAll("main script").length,
        document.querySelector("main").textContent,
      ]);
      assert.deepEqual([pwned, images, scripts], [undefined, 0, 0], view);
      assert.ok(!text.includes("\u202e"), `${view} lets text turn the direction`);
      assert.ok(text.includes("<img src=x"), `${view} does not show the text as text`);
      await page.screenshot({ path: `shots/hostile-${name}-${view}.png` });
    }
    page.check();
    await page.context().close();
    set.close();
  }
  console.log("hostile: shown as text in every view");
}

// What a service shows beside a rollout: every panel, with its figures, at two widths.
async function panels() {
  const run = recording("network"),
    race = run.find((e) => e.name === "race").data;
  const set = await stage((send) => {
    for (const { name, data } of run) send(name, data);
  });
  for (const width of [1440, 390]) {
    const page = await open(set.url, { viewport: { width, height: 900 } });
    await page.waitForSelector("#view h1");
    const shows = async (view, titles) => {
      await page.click(`#views a[href="#/${view}"]`);
      await until(`view ${view}`, () => page.$eval(`#views a[href="#/${view}"]`, (a) => a.getAttribute("aria-current") === "page"));
      const there = await page.$$eval("section.card:not([hidden]) h2", (all) => all.map((h) => h.textContent));
      for (const t of titles) assert.ok(there.includes(t), `${view} has no panel ${t}: ${there}`);
      await accessible(page, `${view} at ${width} px`);
      await page.screenshot({ path: `shots/panels-${view}-${width}.png`, fullPage: true });
    };
    await shows("overview", ["Forecast", "Against the holdout", "Cost of an operation, and latency"]);
    await shows("learning", ["Learning curves", "The race", "Deep Q-learning by episode", "Library of studies"]);
    const rows = await page.$$eval("main tbody tr", (all) => all.map((r) => r.textContent));
    assert.equal(rows.length, race.racers.length);
    const won = race.racers.find((r) => r.name === race.winner);
    assert.ok(
      rows.some((r) => r.includes("won") && r.includes("× " + won.effect.value.toFixed(3))),
      `no winner with its effect: ${rows}`,
    );
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `the page is ${over} px too wide at ${width}`);
    page.check();
    await page.context().close();
  }
  set.close();
  console.log("panels: race, curves, episodes, library, forecast, holdout and costs are shown");
}

// A thousand peers, forty lookups a second.
async function thousand() {
  const run = recording("network"),
    lookups = run.filter((e) => e.name === "lookups").map((e) => e.data),
    sites = run.find((e) => e.name === "peers").data.peers;
  const set = await stage((send) => {
    for (const { name, data } of run) if (!["lookups", "peers", "fleet"].includes(name)) send(name, data);
    send("peers", { peers: Array.from({ length: 1000 }, (_, i) => ({ ...sites[i % sites.length], name: "peer" + i })) });
    let n = 1000;
    const tick = setInterval(() => {
      const l = lookups[n % lookups.length];
      send("lookups", {
        ...l,
        n: ++n,
        peer: (n * 37) % 1000,
        began: new Date().toISOString(),
        requests: l.requests.map((r, i) => ({ ...r, peer: (n * 61 + i * 17) % 1000 })),
      });
      send("journal", { seq: n, at: new Date().toISOString(), kind: "cycle", text: `entry ${n}` });
      if (n % 10 === 0)
        send("fleet", {
          arm: Array.from({ length: 1000 }, (_, i) => ((i * 7 + n) % 4 === 0 ? 1 : 0)),
          entries: Array.from({ length: 1000 }, () => 50),
        });
    }, 25);
    return () => clearInterval(tick);
  });
  const page = await open(set.url);
  await page.waitForSelector("#view h1");
  for (const view of ["overview", "lookups", "journal"]) {
    await page.click(`#views a[href="#/${view}"]`);
    await page.waitForTimeout(1000);
    const frames = await page.evaluate(
      () =>
        new Promise((done) => {
          const took = [];
          let last = performance.now();
          const frame = (now) => {
            took.push(now - last);
            last = now;
            if (took.length < 200) requestAnimationFrame(frame);
            else done(took.slice(1).sort((a, b) => a - b));
          };
          requestAnimationFrame(frame);
        }),
    );
    const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
    console.log(
      `thousand, ${view}: frames p50 ${frames[99].toFixed(1)} ms, p95 ${frames[189].toFixed(1)} ms, worst ${frames.at(-1).toFixed(1)} ms; ${nodes} elements`,
    );
    assert.ok(nodes < 1500, `${view} has ${nodes} elements`);
    await page.screenshot({ path: `shots/thousand-${view}.png` });
  }
  page.check();
  set.close();
}

async function token() {
  const page = await open(given);
  page.expected.push(/401/);
  await page.waitForSelector("#token[open]");
  await accessible(page, "the token's dialog");
  assert.equal((await api(page, "/api/v3/subject")).status, 401);
  const url = new URL(given);
  const right = process.argv[5];
  await page.goto("about:blank");
  await page.goto(url.origin + "/#token=" + right);
  await page.waitForSelector("#view h1");
  assert.ok(!page.url().includes(right), "the token leaves the address");
  assert.equal((await api(page, "/api/v3/subject")).status, 200);
}

try {
  await { network, promotion, node, hostile, panels, thousand, token }[script]();
} finally {
  await browser.close();
}
