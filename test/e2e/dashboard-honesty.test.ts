import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createStepStore } from "../../src/history/step-store.ts";
import { whyNoBrowser } from "../support/browser.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { accessibilityFindings, useBrowser, type WindowOptions } from "../support/dashboard.ts";
import { keptMs, noSamples } from "../support/history.ts";
import { uniquePrefix } from "../support/redis.ts";
import { startRelay } from "../support/relay.ts";
import { ask, post, startApp } from "../support/server.ts";
import { openTracker } from "../support/tracker.ts";

const title = whyNoBrowser === null ? "an honest dashboard" : `an honest dashboard (${whyNoBrowser})`;
const hourMs = 3_600_000;

describe.skipIf(whyNoBrowser !== null)(title, () => {
  let directory: string;
  let app: Awaited<ReturnType<typeof startApp>>;
  const browser = useBrowser({ mayFail: true });
  const prefix = uniquePrefix();
  const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, RATE_LIMIT_MAX: "1000000" };

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "ql-dashboard-"));
    const rules = join(directory, "alerts.yml");
    await writeFile(rules, `rules:\n  - name: Waits\n    queues: "late-*"\n    latency_above: 1\n`);
    app = await startApp({ ...env, ALERTS_FILE: rules });
  });
  afterAll(async () => {
    await app?.stop();
    await rm(directory, { recursive: true, force: true });
  });
  /** The server with a waiting job in each of these queues, and no other queue. */
  async function start(queues: Readonly<Record<string, number>> = {}): Promise<void> {
    const { body } = await ask(app.url, "{ queues(first: 1000) { edges { node { queue } } } }");
    const known: readonly { node: { queue: string } }[] = body.data.queues.edges;
    for (const { node } of known) {
      const query = "mutation ($queue: String!) { forgetQueue(queue: $queue) }";
      await post(app.url, { query, variables: { queue: node.queue } });
    }
    await record(Object.entries(queues).map(([queue, seconds]) => ({ type: "ENQUEUED", queue, seconds })));
  }

  async function record(
    jobs: readonly { readonly type: string; readonly queue: string; readonly seconds?: number }[],
  ): Promise<void> {
    if (jobs.length === 0) return;
    const query = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
    const events = jobs.map(({ seconds = 0, ...job }) => ({
      ...{ ...job, jobId: "1" },
      at: new Date(Date.now() - seconds * 1_000).toISOString(),
    }));
    const { body } = await post(app.url, { query, variables: { events } });
    expect(body.errors).toBeUndefined();
  }

  const open = (path = "/", options: WindowOptions = {}, url = app.url) => browser.open(url, path, options);

  /** The page again, in a browser whose clock is wrong; `setMs` sets it by so much more. */
  async function withClock(page: Page, aheadMs: number): Promise<void> {
    await page.addInitScript(`{
      const RealDate = Date;
      globalThis.setMs = 0;
      const now = () => RealDate.now() + ${aheadMs} + globalThis.setMs;
      globalThis.Date = class extends RealDate {
        constructor(...args) { super(...(args.length === 0 ? [now()] : args)); }
        static now() { return now(); }
      };
      Object.defineProperty(performance, "timeOrigin", { value: performance.timeOrigin + ${aheadMs} });
    }`);
    await page.reload();
  }

  /** How far a time of day on the page is from the true one, in seconds; the page is in UTC. */
  function secondsFromNow(text: string): number {
    const [hours = 0, minutes = 0, seconds = 0] = text.split(":").map(Number);
    const now = new Date();
    const ofDay = now.getUTCHours() * 3_600 + now.getUTCMinutes() * 60 + now.getUTCSeconds();
    const apart = Math.abs(hours * 3_600 + minutes * 60 + seconds - ofDay);
    return Math.min(apart, 86_400 - apart);
  }

  const names = [
    [".", "a dot, which browsers take out of a path"],
    ["..", "two dots"],
    ["a/../b", "two dots within"],
    ["mail/bulk", "a slash"],
    ["a//b/", "slashes, of which proxies make one"],
    ["100%", "a percent sign"],
    ["%2F", "what looks encoded"],
    ["what?now#then&so=1", "what ends a path"],
    ["\u{1f422} slow \u{1f468}\u{1f3fd}", "emoji"],
    ["<img src=x onerror=alert(1)>", "HTML"],
    ["\u05d3\u05d5\u05d0\u05e8 (1)", "letters that are written from right to left"],
    ["a  b", "two spaces"],
    ["back\\slash", "a backslash, of which browsers make a slash"],
    ["long-".repeat(40), "as long as a name can be"],
  ] as const;

  test("shows queues of any name, and leads to the page of each, which can be loaded again", async () => {
    await start(Object.fromEntries(names.map(([name], i) => [name, 10 + i])));
    const { page } = await open();
    const links = page.locator("tbody .queue-link");
    await expect.poll(() => links.count()).toBe(names.length);
    const hrefs = await links.evaluateAll((all) =>
      all.map((link) => [link.textContent, link.getAttribute("href")] as const),
    );
    expect(hrefs.map(([name]) => name).toSorted()).toEqual(names.map(([name]) => name).toSorted());
    for (const [name, href] of hrefs) {
      await links.nth(hrefs.findIndex(([other]) => other === name)).click();
      const heading = page.getByRole("heading", { level: 1 });
      await expect.poll(() => heading.textContent(), { message: String(name) }).toBe(name);
      await page.goto(new URL(String(href), app.url).href);
      await page.locator(".now-latency .number").waitFor();
      expect(await heading.textContent()).toBe(name);
      // A title has no two spaces in a row.
      expect((await page.title()).replace(/[\u2068\u2069]/g, "")).toContain(name.replace(/ +/g, " "));
      await page.keyboard.press("Escape");
      await expect.poll(() => links.count()).toBe(names.length);
    }
    expect(await page.locator("img").count()).toBe(0);
  });

  test("says of a name that no queue can have why, as the API does", async () => {
    const { page } = await open(`/queues/${"x".repeat(500)}`);
    await page.locator("main").getByText("at most 200 bytes").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
  });

  test("says nothing of OK where there is no queue", async () => {
    await start();
    const { page } = await open();
    const spoken = page.locator(".visually-hidden[role=status]");
    await expect.poll(() => spoken.textContent()).toBe("Queues: none");
  });

  test("says at most once in ten seconds what has changed, and then the newest", async () => {
    await start({ "late-1": 20 });
    const { page, row } = await open();
    await row("late-1").waitFor();
    const said = page.locator(".visually-hidden[role=status]");
    await expect.poll(() => said.textContent()).toMatch(/^Queues: (all OK|1 unknown)$/);
    await page.evaluate(`{
      globalThis.said = [];
      new MutationObserver(() => said.push([performance.now(), document.querySelector(".visually-hidden[role=status]").textContent]))
        .observe(document.querySelector(".visually-hidden[role=status]"), { childList: true, characterData: true, subtree: true });
    }`);
    // Each is another summary.
    for (const health of ["", "?q=none", "?q=late", "?q=none", "?q=late", "?q=none"]) {
      await page.evaluate(
        `history.pushState(null, "", "/${health}"); dispatchEvent(new PopStateEvent("popstate"))`,
      );
      await page.waitForTimeout(400);
    }
    await expect.poll(() => said.textContent()).toBe("Queues: none");
    const times = await page.evaluate<[number, string][]>("said");
    for (const [i, [atMs]] of times.entries()) {
      if (i > 0) expect(atMs - times[i - 1]![0]).toBeGreaterThan(9_900);
    }
  });

  test.each([
    ["an hour ahead", hourMs],
    ["an hour behind", -hourMs],
    ["a day ahead", 24 * hourMs],
  ])("shows times of the server where the clock of the browser is %s", async (_, aheadMs) => {
    await start({ "late-1": 30 });
    const { page, row } = await open();
    await withClock(page, aheadMs);
    await row("late-1").waitFor();
    expect(await row("late-1").locator(".latency").innerText()).toMatch(/^3\d s$/);
    await page.getByRole("button", { name: "Pause" }).click();
    expect(secondsFromNow(await page.locator(".banner time").innerText())).toBeLessThan(60);
    await page.getByRole("button", { name: "Go on" }).click();
    await page.context().setOffline(true);
    await page.getByText("Connection lost.").waitFor();
    expect(secondsFromNow(await page.locator(".banner time").innerText())).toBeLessThan(60);
    expect(
      secondsFromNow((await page.locator(".connection").innerText()).replace("Lost at ", "")),
    ).toBeLessThan(60);
    await page.context().setOffline(false);
    await page.getByText("Live", { exact: true }).waitFor();

    // Loaded there, the page of alerts has no push that says what time it is.
    await page.goto(`${app.url}/alerts`);
    const card = page.getByRole("article").filter({ hasText: "late-1" });
    await expect.poll(() => card.locator(".alert-condition").innerText()).toMatch(/, (\d m )?\d+ s ago$/);
    expect(await card.locator(".alert-condition time").innerText()).toMatch(/^\d\d:\d\d:\d\d$/);
    await expect.poll(() => page.getByText("No server has evaluated the rules").count()).toBe(0);
    await page.goto(`${app.url}/queues/late-1`);
    await page.locator(".section-actions").getByText("as of").waitFor();
    const asOf = /as of (\S+)/.exec(await page.locator(".section-actions").innerText())?.[1] ?? "";
    expect(secondsFromNow(asOf)).toBeLessThan(60);
  });

  test("says within two seconds of the last message that a network swallows all others", async () => {
    await start({ "late-1": 30 });
    await using relay = await startRelay(app.url);
    const { page, row } = await open("/", {}, relay.url);
    await page.addInitScript(`{
      const RealSocket = WebSocket;
      let receivedMs = 0;
      globalThis.WebSocket = class extends RealSocket {
        constructor(...args) {
          super(...args);
          this.addEventListener("message", () => { receivedMs = performance.now(); });
        }
      };
      new MutationObserver(() => {
        if (document.querySelector(".banner[data-kind=lost]") === null) return;
        globalThis.silentMs ??= performance.now() - receivedMs;
      }).observe(document, { childList: true, subtree: true });
    }`);
    await page.reload();
    await row("late-1").waitFor();
    relay.strand("back");
    await page.getByText("Connection lost.").waitFor();
    expect(await page.evaluate<number>("silentMs")).toBeLessThan(onThisMachine(2_000));
  });

  test("asks as often whether the server is there over a long way, and is live", async () => {
    await start({ "late-1": 30 });
    await using relay = await startRelay(app.url);
    const { page, row } = await open("/", {}, relay.url);
    await page.addInitScript(`{
      const RealSocket = WebSocket;
      Object.assign(globalThis, { pings: 0, pongs: 0, maxUnanswered: 0 });
      globalThis.WebSocket = class extends RealSocket {
        constructor(...args) {
          super(...args);
          this.addEventListener("message", ({ data }) => { if (JSON.parse(data).type === "pong") pongs++; });
        }
        send(data) {
          if (JSON.parse(data).type === "ping") maxUnanswered = Math.max(maxUnanswered, ++pings - pongs);
          super.send(data);
        }
      };
    }`);
    await page.reload();
    await row("late-1").waitFor();
    relay.slowDown(1_500);
    // With one at a time, the silence between two pongs is as long as the way, and no sign of an outage.
    await expect.poll(() => page.evaluate<number>("maxUnanswered")).toBeGreaterThan(1);
    await page.getByText("Live", { exact: true }).waitFor();
  });

  test("shows nothing old as new after it stood still, as when a laptop slept", async () => {
    await start({ "late-1": 30 });
    const { page, row } = await open();
    await withClock(page, 0);
    await row("late-1").waitFor();
    const shown = page.locator(".app");
    // What is on the screen in each frame: whether it is live, and the latency.
    await page.evaluate(`{
      globalThis.frames = [];
      const look = () => {
        const app = document.querySelector(".app");
        frames.push([app.dataset.frozen === undefined, document.querySelector("tbody .latency")?.textContent ?? ""]);
        requestAnimationFrame(look);
      };
      look();
    }`);
    await record([{ type: "DEQUEUED", queue: "late-1" }]);
    await expect.poll(() => row("late-1").locator(".latency").innerText()).toBe("0 s");
    await record([{ type: "ENQUEUED", queue: "late-1", seconds: 40 }]);
    // Both clocks of the page stand, as far as it can see, and then the wall clock is an hour further.
    await page.evaluate("frames.length = 0; globalThis.setMs = 3_600_000");
    await page.getByText("Connection lost.").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    await expect.poll(() => shown.getAttribute("data-frozen")).toBe(null);
    const frames = await page.evaluate<[boolean, string][]>("frames");
    // No job waited for an hour.
    expect(frames.filter(([, latency]) => latency.includes("h"))).toEqual([]);
  });

  test("shows a frozen page as lost before it is live again", async () => {
    await start({ "late-1": 30 });
    const { page, row } = await open();
    await row("late-1").waitFor();
    await page.evaluate(`{
      globalThis.states = [];
      new MutationObserver(() => states.push(document.querySelector(".connection")?.dataset.state))
        .observe(document.querySelector(".connection"), { attributes: true });
    }`);
    // Nothing runs in the page; what the server sends waits in the socket.
    const standstill = page.evaluate(
      "{ const end = performance.now() + 8_000; while (performance.now() < end); }",
    );
    await record([
      { type: "DEQUEUED", queue: "late-1" },
      { type: "ENQUEUED", queue: "new", seconds: 70 },
    ]);
    await standstill;
    await row("new").waitFor();
    await page.getByText("Live", { exact: true }).waitFor();
    expect(await page.evaluate<string[]>("states")).toContain("lost");
  });

  test("frees the order when the row that had the focus is gone, where a browser does not say so", async () => {
    await start({ "late-1": 60, "late-2": 40 });
    const { page, names: shown } = await open();
    await expect.poll(shown).toEqual(["late-1", "late-2"]);
    // As Firefox: an element that is removed loses the focus without an event.
    await page.evaluate(`addEventListener("focusout", (event) => event.stopImmediatePropagation(), true)`);
    await page.keyboard.press("j");
    await record([{ type: "ENQUEUED", queue: "late-0", seconds: 4_000 }]);
    await page.getByText("The order is held").waitFor();
    await page.evaluate("document.activeElement.blur()");
    await expect.poll(shown).toEqual(["late-0", "late-1", "late-2"]);
  });

  test("says where a number of jobs may be greater, now and in each step, and how many are in flight", async () => {
    await start();
    await using opened = await openTracker(inject("redisUrl"), { prefix, sources: () => ["jobs"] });
    const store = createStepStore({ ...opened, keptMs });
    const stepMs = 10_000;
    const beginMs = Math.floor(Date.now() / stepMs) * stepMs - 60 * stepMs;
    const steps = [
      { maxDepth: 20_000 },
      { maxDepth: 500, lowerBoundSamples: 1 },
      { maxDepth: 30_000, incompleteSamples: 1 },
    ];
    for (const [i, step] of steps.entries()) {
      const record = { ...noSamples, samples: 10, ...step };
      await store.append("jobs/deep", "TEN_SECONDS", { atMs: beginMs + i * stepMs, record });
    }
    const queue = {
      ...{ queue: "deep", headAgeMs: 20_000, uncertaintyMs: 1, depth: 10_000, depthIsLowerBound: true },
      ...{ scheduled: null, paused: false, accuracy: "EXACT" as const },
      ...{ inFlight: 7, inFlightIdleMs: 300_000 },
    };
    const observe = () =>
      opened.tracker.observe({
        source: "jobs",
        queues: [{ ...queue, readAtMs: performance.now() }],
        freshForMs: 60_000,
      });
    await observe();
    const { page, row } = await open();
    await expect.poll(() => row("jobs/deep").locator(".cell-depth .number").innerText()).toBe("10,000+");
    for (const width of [390, 320]) {
      await page.setViewportSize({ width, height: 844 });
      // On the lines of a phone no number covers the next one.
      const edges = await row("jobs/deep").evaluate((element) =>
        ["depth", "in"].map((name) => {
          const range = document.createRange();
          range.selectNodeContents(element.querySelector(`.cell-${name} :is(.number, .none)`) as Element);
          return range.getBoundingClientRect();
        }),
      );
      expect(edges[0]?.right, `${width} px`).toBeLessThanOrEqual(edges[1]?.left ?? 0);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.goto(`${app.url}/?tv&health=ok,slow,unknown,stalled`);
    await expect.poll(() => row("jobs/deep").locator(".cell-depth .number").innerText()).toBe("10,000+");
    await page.goto(`${app.url}/queues/jobs%2Fdeep`);
    await page.locator(".facts").getByText("10,000+").waitFor();
    await page.getByText("Depth, +: jobs are counted up to a limit; more may wait.").waitFor();
    expect(await page.getByRole("link", { name: "What is known of jobs" }).getAttribute("href")).toMatch(
      /^https:.*\/docs\/sources\.md$/,
    );
    const fact = (name: string) =>
      page
        .locator(".facts div")
        .filter({ has: page.getByText(name, { exact: true }) })
        .locator("dd")
        .innerText();
    expect(await fact("In flight")).toBe("7");
    expect(await fact("Oldest in flight")).toMatch(/^for 5 m/);
    const chart = page.locator("figure", { hasText: "Depth" });
    await expect.poll(() => chart.locator(".readout").innerText()).toContain("10,000+");
    await chart.getByText("Table", { exact: true }).click();
    // Each step by its own samples: not by whether it is less than what is known now.
    for (const text of ["20,000", "500+", "±too high or too low: events were lost 30,000"])
      await chart.getByRole("cell").getByText(text, { exact: true }).waitFor();
    expect(await chart.getByRole("img").getAttribute("aria-label")).toMatch(
      /minimum 500\+, maximum 30,000, /,
    );
    await observe();
  });

  test("removes jobs, and acknowledges, on a server without tokens, for which nothing is asked", async () => {
    await start({ "late-1": 600 });
    const { page } = await open("/queues/late-1");
    const card = page.getByRole("article").filter({ hasText: "Waits" });
    await card.getByRole("button", { name: "Acknowledge" }).click();
    await card.getByText(/^Acknowledged at/).waitFor();
    await page.getByRole("button", { name: "Remove job 1" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove job 1" }).click();
    await page.locator("main").getByText("Job 1 was removed.").waitFor();
    expect(await page.getByLabel("Token").count()).toBe(0);
  });

  test("begins with 200 alerts, says that there may be more, and leads to all of them", async () => {
    const many = Array.from({ length: 250 }, (_, i) => [`late-${i}`, 30] as const);
    await start(Object.fromEntries(many));
    const firing = async () =>
      (await ask(app.url, "{ alertStatus { firing } }")).body.data.alertStatus.firing;
    await expect.poll(firing).toBe(250);
    const { page } = await open("/alerts");
    await page.locator("main").getByText("200+ firing").waitFor();
    await expect.poll(() => page.title()).toMatch(/^\(200\+\) /);
    const listed = await page.getByRole("article").locator(".alert-queue").allInnerTexts();
    expect(listed).toHaveLength(200);
    const [unlisted] = many.find(([queue]) => !listed.includes(queue))!;
    await page.getByRole("button", { name: "Show more alerts" }).click();
    await page.locator("main").getByText("250 firing, 0 pending").waitFor();
    await expect.poll(() => page.title()).toMatch(/^\(250\) /);
    expect(await page.getByRole("button", { name: "Show more alerts" }).count()).toBe(0);

    // Loaded anew, the page of a queue has its alert, though it is not among the first.
    await page.goto(`${app.url}/queues/${unlisted}`);
    await page.getByRole("article").filter({ hasText: "Waits" }).waitFor();
    await start();
    await expect.poll(firing).toBe(0);
  });

  test("sorts by source, state and accuracy, too", async () => {
    await start({ b: 50 });
    await using opened = await openTracker(inject("redisUrl"), { prefix, sources: () => ["jobs"] });
    const read = { uncertaintyMs: 1, depth: 3, scheduled: null, readAtMs: performance.now() };
    await opened.tracker.observe({
      source: "jobs",
      queues: [
        { ...read, queue: "paused", headAgeMs: 20_000, paused: true, accuracy: "EXACT" },
        { ...read, queue: "about", headAgeMs: 20_000, paused: false, accuracy: "ESTIMATED" },
      ],
      freshForMs: 60_000,
    });
    const { page, names: shown } = await open();
    await expect.poll(shown).toHaveLength(3);
    for (const [order, first] of [
      ["Paused first", "jobs/paused"],
      ["Least certain", "jobs/about"],
      ["Source", "b"],
    ] as const) {
      await page.getByLabel("Sort").selectOption(order);
      await expect.poll(async () => (await shown())[0], { message: order }).toBe(first);
    }
    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByRole("button", { name: "Turn the order round" }).click();
    await expect.poll(async () => (await shown())[2]).toBe("b");
    expect(new URL(page.url()).search).toBe("?sort=source&reverse=");
  });

  test("works where the browser keeps nothing for the page", async () => {
    await start({ mail: 30 });
    const { page, row } = await open();
    await page.addInitScript(`for (const name of ["localStorage", "sessionStorage"])
      Object.defineProperty(globalThis, name, { get() { throw new DOMException("denied", "SecurityError"); } });`);
    await page.reload();
    await row("mail").waitFor();
    await page.keyboard.press("t");
    expect(await page.locator("html").getAttribute("data-theme")).toBe("light");
  });

  test.each(["light", "dark"] as const)(
    "axe-core finds nothing while the connection is lost, in the theme %s",
    async (theme) => {
      await start({ "late-1": 90, mail: 1 });
      await using relay = await startRelay(app.url);
      for (const path of ["/", "/queues/late-1", "/alerts", "/?tv"]) {
        const { page } = await open(path, { theme }, relay.url);
        await page.getByText("Live", { exact: true }).waitFor();
        await page.context().setOffline(true);
        await page.getByText("Connection lost.").waitFor();
        expect(await accessibilityFindings(page), path).toEqual([]);
      }
    },
  );

  test("says that it is throttled, why, and of when the numbers are", async () => {
    await start({ mail: 90 });
    await using server = await startApp({ ...env, RATE_LIMIT_MAX: "250", RATE_LIMIT_WINDOW: "1h" });
    const { page, row } = await open("/", {}, server.url);
    await row("mail").waitFor();
    const refusal = page
      .getByRole("alert")
      .filter({ hasText: "RATE_LIMIT_MAX on the server raises the limit" });
    // Each choice is another subscription.
    await expect
      .poll(async () => {
        await page.getByRole("button", { name: /Unknown$/ }).click();
        return refusal.count();
      })
      .toBe(1);
    await page.getByText("The server sends no new numbers. Numbers are as of").waitFor();
    const latency = row("mail").locator(".latency");
    const shown = await latency.innerText();
    // Longer than a tick.
    await page.waitForTimeout(1_500);
    expect(await latency.innerText()).toBe(shown);
    expect(await accessibilityFindings(page)).toEqual([]);
  });

  test("does not say that no alert fires, or has ended, until Redis answers", async () => {
    const url = inject("redisUrl");
    await using relay = await startRelay(url);
    const rules = join(directory, "no-alerts.yml");
    await writeFile(rules, `rules:\n  - name: Never\n    queues: "never-*"\n    latency_above: 1\n`);
    await using server = await startApp({
      ...{ ...env, REDIS_URL: relay.url, KEY_PREFIX: uniquePrefix(), ALERTS_FILE: rules },
    });
    relay.redirect("redis://127.0.0.1:1");
    relay.cut();
    const { page } = await open("/alerts", {}, server.url);
    await page.getByRole("link", { name: /Alerts.*not known/ }).waitFor();
    await expect.poll(() => page.locator("main").getByText("Not known yet.").count()).toBe(2);
    expect(await page.getByText(/No alert (fires|has ended)/).count()).toBe(0);
    // One reason for all parts of a page is said once.
    const { page: queue } = await open("/queues/mail", {}, server.url);
    await queue.getByText("Not read: the reason is at the top of the page.").first().waitFor();
    const reasons = queue.getByRole("alert").filter({ hasText: "The server cannot read its Redis" });
    await reasons.first().waitFor();
    expect(await reasons.count()).toBe(1);
    expect(await accessibilityFindings(queue)).toEqual([]);
    relay.redirect(url);
    await expect.poll(() => queue.locator(".outages").count()).toBe(0);
    await page.getByText("No alert fires.").waitFor();
    await page.getByText("No alert has ended yet.").waitFor();
    await page.getByRole("link", { name: "Alerts", exact: true }).waitFor();
  });

  test("says that it has too many subscriptions, and not that no alert fires", async () => {
    await start({ "late-1": 90 });
    await using server = await startApp({ ...env, MAX_SUBSCRIPTIONS: "1" });
    const { page: first } = await open("/", {}, server.url);
    await first.getByText("not known").or(first.locator(".firing-count")).first().waitFor();
    const { page } = await open("/queues/late-1", {}, server.url);
    await page.getByRole("alert").filter({ hasText: "Close other tabs of the dashboard" }).waitFor();
    await page.getByRole("link", { name: /Alerts.*not known/ }).waitFor();
    await page.getByText("No numbers", { exact: true }).waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
  });

  test("says that a page costs more than a client may spend, and does not go on loading", async () => {
    await using server = await startApp({ ...env, RATE_LIMIT_MAX: "1" });
    const { page } = await open("/", {}, server.url);
    await page.getByRole("alert").filter({ hasText: "Raise RATE_LIMIT_MAX and MAX_COST" }).waitFor();
    expect(await page.getByText("Loading").count()).toBe(0);
  });
});
