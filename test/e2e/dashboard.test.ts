import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createStepStore } from "../../src/history/step-store.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { whyNoBrowser } from "../support/browser.ts";
import { accessibilityFindings, type RecordedEvent, record, useBrowser } from "../support/dashboard.ts";
import { keptMs, noSamples } from "../support/history.ts";
import { uniquePrefix } from "../support/redis.ts";
import { startRelay } from "../support/relay.ts";
import { ask, startApp, startServer } from "../support/server.ts";
import { tokenFile } from "../support/tokens.ts";
import { openTracker } from "../support/tracker.ts";

/** A job of each queue, which has waited for this number of seconds. */
function waiting(queue: string, seconds: number, jobId = "1"): RecordedEvent {
  return { type: "ENQUEUED", queue, jobId, at: new Date(Date.now() - seconds * 1_000).toISOString() };
}

describe("the files of the dashboard", () => {
  let app: Awaited<ReturnType<typeof startApp>>;
  let assets: readonly string[];
  const get = (path: string, headers = {}, method = "GET") => send(app.url + path, headers, method);

  beforeAll(async () => {
    app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
    assets = [...(await get("/")).text.matchAll(/(?:src|href)="\.(\/assets\/[^"]+)"/g)].map(
      ([, path]) => path!,
    );
  });
  afterAll(() => app?.stop());

  test.each(["/", "/?health=slow", "/alerts", "/queues/mail%2Fbulk", "/queues/mail/bulk"])(
    "are a page at %s, whose scripts and styles are found from there",
    async (path) => {
      const { status, headers, text } = await get(path);
      expect([status, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
      expect(headers["cache-control"]).toBe("no-cache");
      const found = [...text.matchAll(/(?:src|href)="([^"]*assets\/[^"]+)"/g)].map(([, link]) => link!);
      expect(found.map((link) => new URL(link, app.url + path).pathname)).toEqual(assets);
    },
  );

  test("let the browser run and load nothing that is written in the page, or comes from elsewhere", async () => {
    const { headers, text } = await get("/");
    const policy = String(headers["content-security-policy"]);
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
    expect(policy).not.toContain("unsafe");
    for (const rule of ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
      expect(policy).toContain(rule);
    expect(text).not.toMatch(/<style|style=|<script(?![^>]*src)|https?:\/\/(?!www\.w3\.org)/);
  });

  test("are sent once: the page when it is another one, assets by a name that has their hash", async () => {
    expect(assets).toHaveLength(2);
    for (const path of ["/", ...assets]) {
      const { headers } = await get(path);
      const etag = String(headers.etag);
      for (const tag of [etag, `W/${etag}`, `"other", ${etag}`, "*"])
        expect((await get(path, { "if-none-match": tag })).status, `${path} ${tag}`).toBe(304);
      expect((await get(path, { "if-none-match": '"other"' })).status, path).toBe(200);
      if (path === "/") continue;
      expect(path).toMatch(/^\/assets\/\w+-\w{8}\.(js|css)$/);
      expect(headers["cache-control"]).toBe("public, max-age=31536000, immutable");
    }
  });

  test.each([
    ["br, gzip", "br", "the smallest"],
    ["gzip, deflate", "gzip", "what is accepted"],
    ["br;q=0, gzip", "gzip", "a weight of 0 refuses"],
    ["", undefined, "none is accepted"],
  ])("are compressed for `Accept-Encoding: %s` as %s: %s", async (accepted, encoding, _why) => {
    for (const path of assets) {
      const plain = await get(path);
      const { headers, size } = await get(path, { "accept-encoding": accepted });
      expect(headers["content-encoding"]).toBe(encoding);
      expect(headers.vary).toContain("Accept-Encoding");
      if (encoding !== undefined) expect(size).toBeLessThan(plain.size / 2);
    }
  });

  test("are answered to HEAD without a body, and to other methods with 405", async () => {
    for (const path of ["/", "/queues/mail", ...assets]) {
      const [head, body] = [await get(path, {}, "HEAD"), await get(path)];
      expect([head.status, head.size, head.headers["content-length"]]).toEqual([200, 0, String(body.size)]);
      const refused = await get(path, {}, "POST");
      expect([refused.status, refused.headers.allow]).toEqual([405, "GET, HEAD"]);
    }
    for (const path of [
      "/assets/main.js",
      "/assets/../index.html",
      "/assets/",
      "/queues/",
      `/queues/${"a/".repeat(451)}`,
      "/other",
    ])
      expect((await get(path)).status, path).toBe(404);
  });

  test("weigh less than 60 kB together, compressed", async () => {
    const texts = await Promise.all(["/", ...assets].map(async (path) => (await get(path)).text));
    const bytes = texts.reduce((sum, text) => sum + gzipSync(text).length, 0);
    expect(bytes).toBeGreaterThan(10_000);
    expect(bytes).toBeLessThan(60_000);
  });
});

const title = whyNoBrowser === null ? "the dashboard" : `the dashboard (${whyNoBrowser})`;

describe.skipIf(whyNoBrowser !== null)(title, () => {
  const { open, openUnwatched } = useBrowser();
  let redis: Redis;
  let directory: string;
  let app: Awaited<ReturnType<typeof startApp>>;
  const prefix = uniquePrefix();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "ql-dashboard-"));
    await writeFile(join(directory, "objectives.yml"), '"*": 30\n');
    redis = new Redis(inject("redisUrl"));
    app = await startApp({
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: prefix,
      OBJECTIVES_FILE: join(directory, "objectives.yml"),
      RATE_LIMIT_MAX: "1000000",
    });
  });
  afterAll(async () => {
    await app?.stop();
    redis?.disconnect();
    await rm(directory, { recursive: true, force: true });
  });
  /** The server with these events, and no other queue. */
  async function start(events: readonly RecordedEvent[] = []): Promise<string> {
    const { body } = await ask(app.url, "{ queues(first: 1000) { edges { node { queue } } } }");
    const known: readonly { node: { queue: string } }[] = body.data.queues.edges;
    for (const { node } of known) await ask(app.url, `mutation { forgetQueue(queue: "${node.queue}") }`);
    if (events.length > 0) await record(app.url, events);
    return app.url;
  }

  test("says how to record an event while there is no queue, and shows the queue when it is recorded", async () => {
    const url = await start();
    const { page, row } = await open(url);
    await page.getByRole("heading", { name: "No queues yet" }).waitFor();
    expect(await page.locator("pre").innerText()).toContain(`curl ${url}/graphql`);
    await record(url, [waiting("mail", 2)]);
    await row("mail").getByText("events").waitFor();
  });

  test("shows the worst queue first, with its numbers, and the latency grows by itself", async () => {
    const url = await start([
      waiting("a-fine", 2),
      waiting("late", 95),
      waiting("late", 60, "2"),
      waiting("later", 4_000),
    ]);
    const { names, row, page } = await open(url);
    await expect.poll(names).toEqual(["later", "late", "a-fine"]);
    const late = row("late");
    expect(await late.locator(".health").innerText()).toBe("Slow");
    expect(await late.locator(".cell-depth .number").innerText()).toBe("2");
    expect(await late.locator(".cell-objective").innerText()).toMatch(/\d{3} percent of\s30 s/);
    const seconds = async () => Number(/1 m (\d+) s/.exec(await late.locator(".latency").innerText())?.[1]);
    const before = await seconds();
    await expect.poll(seconds).toBeGreaterThan(before + 1);
    expect(await page.getByRole("button", { name: /2 Slow/ }).count()).toBe(1);
    // No job was dequeued: there is no wait time, and no 0.
    expect(await late.locator(".cell-p95").innerText()).toContain("–");
  });

  test("never shows a number that is not known as 0", async () => {
    const url = await start([waiting("broken", 5), waiting("sound", 5)]);
    await redis.set(createKeys(prefix).state("broken"), "garbage");
    const { row } = await open(url);
    await expect.poll(() => row("broken").locator(".latency").innerText()).toMatch(/^\?/);
    expect(await row("broken").locator(".cell-depth").innerText()).toContain("–");
    expect(await row("broken").locator(".health").innerText()).toBe("Unknown");
    expect(await row("sound").locator(".latency").innerText()).toMatch(/^\d/);
  });

  test("filters by health, source and state, searches by globs, and has all of it in the address", async () => {
    const url = await start([
      ...[waiting("mail/late", 95), waiting("mail/fine", 2), waiting("sync/late", 80)],
      ...[waiting("sync/empty", 1), { type: "DEQUEUED", queue: "sync/empty", jobId: "1" } as const],
    ]);
    const { page, names } = await open(url);
    await expect.poll(names).toHaveLength(4);
    await page.getByRole("button", { name: /Slow$/ }).click();
    await expect.poll(names).toEqual(["mail/late", "sync/late"]);
    // As slowly as people type: pushes come meanwhile.
    await page.getByRole("searchbox").pressSequentially("mail/*", { delay: 300 });
    await expect.poll(names).toEqual(["mail/late"]);
    await expect.poll(() => new URL(page.url()).search).toBe("?health=slow&q=mail%2F*");

    await page.reload();
    await expect.poll(names).toEqual(["mail/late"]);
    expect(await page.getByRole("searchbox").inputValue()).toBe("mail/*");
    await page.getByRole("button", { name: /Slow$/ }).click();
    await expect.poll(names).toEqual(["mail/late", "mail/fine"]);
    await page.goBack();
    await expect.poll(names).toEqual(["mail/late"]);

    await page.goto(`${url}/?state=empty`);
    await expect.poll(names).toEqual(["sync/empty"]);
    await page.getByLabel("State").selectOption("Waiting");
    await page.getByLabel("Source").selectOption({ label: "events (3)" });
    await expect.poll(names).toHaveLength(3);
    // No regular expression: that is said.
    await page.getByRole("searchbox").fill("(mail|sync)/.+");
    await page.getByText("In a search, * is any text and ? is one character").waitFor();
    await page.getByRole("button", { name: "Show all queues" }).click();
    await expect.poll(names).toHaveLength(4);
  });

  test("sorts by any column, and turns the order round", async () => {
    const url = await start([waiting("b", 50), waiting("a", 2), waiting("a", 1, "2"), waiting("c", 10)]);
    const { page, names } = await open(url);
    const sortBy = (column: string) =>
      page.getByRole("columnheader", { name: column }).getByRole("button").click();
    await expect.poll(names).toEqual(["b", "c", "a"]);
    for (const [column, order] of [
      ["Queue", ["a", "b", "c"]],
      ["Queue", ["c", "b", "a"]],
      ["Depth", ["a", "b", "c"]],
      ["Latency", ["b", "c", "a"]],
      ["Latency", ["a", "c", "b"]],
    ] as const) {
      await sortBy(column);
      await expect.poll(names).toEqual(order);
    }
    await expect.poll(() => page.locator("[aria-sort]").getAttribute("aria-sort")).toBe("ascending");
  });

  test("holds the order while the pointer is in the table, and says so", async () => {
    const url = await start([waiting("first", 60), waiting("second", 40)]);
    const { page, names, row } = await open(url);
    await expect.poll(names).toEqual(["first", "second"]);
    await row("second").hover();
    await record(url, [waiting("second", 4_000, "2")]);
    await expect.poll(() => row("second").locator(".latency").innerText()).toContain("1 h");
    await page.getByText("The order is held").waitFor();
    expect(await names()).toEqual(["first", "second"]);
    await page.mouse.move(5, 5);
    await expect.poll(names).toEqual(["second", "first"]);
    await expect.poll(() => page.getByText("The order is held").count()).toBe(0);
  });

  test("shows a queue below others that have left the filter, while the pointer is in the table", async () => {
    const url = await start([waiting("first", 60), waiting("second", 40), waiting("third", 30)]);
    const { row, names } = await open(url, "/?state=waiting");
    await expect.poll(names).toEqual(["first", "second", "third"]);
    await row("second").hover();
    await record(
      url,
      ["first", "second"].map((queue) => ({ type: "DEQUEUED", queue, jobId: "1" })),
    );
    await expect.poll(() => row("first").locator(".latency").innerText()).toBe("0 s");
    expect(await names()).toContain("third");
  });

  test("draws a sparkline from the history, with its gaps and the objective", async () => {
    const url = await start([waiting("mail", 40)]);
    await using opened = await openTracker(inject("redisUrl"), { prefix });
    const store = createStepStore({ ...opened, keptMs });
    const minute = Math.floor(Date.now() / 60_000) * 60_000;
    for (const [minutesAgo, latencyMs] of [
      ...([
        [20, 5_000],
        [19, 90_000],
        [18, 1_000],
      ] as const),
      ...([
        [10, 2_000],
        [9, 61_000],
      ] as const),
    ]) {
      const record = { ...noSamples, samples: 60, maxLatencyMs: latencyMs, sumLatencyMs: 60 * latencyMs };
      await store.append("mail", "ONE_MINUTE", { atMs: minute - minutesAgo * 60_000, record });
    }
    const { row } = await open(url);
    const sparkline = row("mail").getByRole("img", { name: /^latency of the last 30 m/ });
    await sparkline.waitFor();
    expect(await sparkline.getAttribute("aria-label")).toMatch(/lowest 1.0 s, highest 1 m 30 s, last \d/);
    // And one more when a minute has just ended.
    expect([2, 3]).toContain(await sparkline.locator(".line").count());
    expect(await sparkline.locator(".limit").count()).toBe(1);
  });

  test("asks for the last half hour of the server, and does not age a job, when the clock of the browser is set", async () => {
    const url = await start([waiting("mail", 40)]);
    const { page, row } = await open(url);
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.postData() ?? ""));
    await page.addInitScript(
      "const now = Date.now; Date.now = () => now() + 7_200_000 + (globalThis.setMs ?? 0)",
    );
    await page.reload();
    await row("mail").waitFor();
    const fromOf = () =>
      asked.findLast((text) => text.includes("Sparklines"))?.match(/"from":"([^"]+)"/)?.[1] ?? "";
    await expect.poll(fromOf).not.toBe("");
    expect(Date.now() - Date.parse(fromOf())).toBeLessThan(31 * 60_000);
    expect(Date.now() - Date.parse(fromOf())).toBeGreaterThan(29 * 60_000);
    const latency = row("mail").locator(".latency");
    const before = await latency.innerText();
    await page.evaluate("globalThis.setMs = 3_600_000");
    // It ticks.
    await expect.poll(() => latency.innerText()).not.toBe(before);
    expect(await latency.innerText()).not.toContain("h");
  });

  test("draws the rows of 1,500 queues that are in the window, and finds the last one", async () => {
    await using server = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
    const { url } = server;
    const names = Array.from({ length: 1_500 }, (_, i) => `q-${String(i).padStart(4, "0")}`);
    for (let from = 0; from < names.length; from += 500) {
      await record(
        url,
        names.slice(from, from + 500).map((queue, i) => waiting(queue, 3_600 - from - i)),
      );
    }
    const { page, rows, row } = await open(url, "/?sort=name");
    await row("q-0000").waitFor();
    expect(await page.getByRole("table").getAttribute("aria-rowcount")).toBe("1501");
    expect(await rows.count()).toBeLessThan(60);
    await page.keyboard.press("End");
    await row("q-1499").waitFor();
    expect(await rows.count()).toBeLessThan(60);
    await page.getByRole("searchbox").fill("q-07?7");
    await row("q-0777").waitFor();
    await expect.poll(() => rows.count()).toBe(10);
  });

  test("is used by the keyboard alone: / j k Enter Esc p t ?", async () => {
    const url = await start([waiting("one", 90), waiting("two", 60), waiting("three", 31)]);
    const { page, row } = await open(url);
    await row("three").waitFor();
    const focused = () =>
      page.evaluate<string>("document.activeElement.textContent || document.activeElement.name");
    await page.keyboard.press("/");
    expect(await focused()).toBe("q");
    await page.keyboard.press("Escape");
    for (const [key, queue] of [
      ["j", "one"],
      ["j", "two"],
      ["j", "three"],
      ["k", "two"],
    ] as const) {
      await page.keyboard.press(key);
      await expect.poll(focused).toBe(queue);
    }
    await page.keyboard.press("Enter");
    await page.waitForURL(`${url}/queues/two`);
    await page.goBack();
    await row("two").waitFor();

    await page.keyboard.press("t");
    expect(await page.locator("html").getAttribute("data-theme")).toBe("light");
    await page.keyboard.press("t");
    await page.reload();
    expect(await page.locator("html").getAttribute("data-theme")).toBe("dark");

    await row("two").waitFor();
    await page.keyboard.press("p");
    await page.getByText("Paused. Numbers are as of").waitFor();
    await record(url, [waiting("four", 4_000)]);
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Help" }).waitFor();
    await page.keyboard.press("Escape");
    await expect.poll(() => page.getByRole("dialog").count()).toBe(0);
    expect(await row("four").count()).toBe(0);
    await page.keyboard.press("p");
    await row("four").waitFor();
  });

  test("leads to GraphiQL with the query behind the table", async () => {
    const url = await start([waiting("mail/1", 60), waiting("sync/1", 60)]);
    const { page, row } = await open(url, "/?q=mail*&health=slow");
    await row("mail/1").waitFor();
    await page.getByRole("link", { name: "GraphiQL" }).click();
    await page.waitForURL(/\/graphql\?/);
    const query = new URL(page.url()).searchParams.get("query") ?? "";
    expect(query).toMatch(/\$search: String = "mail\*"/);
    const { body } = await ask(url, query.replace("subscription", "query"));
    expect(body.errors).toBeUndefined();
    expect(body.data.queues.edges.map(({ node }: { node: { queue: string } }) => node.queue)).toEqual([
      "mail/1",
    ]);
  });

  test("is scrolled to where it was, by the button Back, by Esc, and after a reload", async () => {
    const queues = Array.from({ length: 200 }, (_, i) => `queue-${String(i).padStart(3, "0")}`);
    const url = await start(queues.map((queue) => waiting(queue, 2)));
    const { page, row } = await open(url, "/?sort=name");
    const scrolled = () => page.evaluate<number>("scrollY");
    await row("queue-000").waitFor();
    await page.evaluate("scrollTo(0, 4000)");
    await row("queue-105").waitFor();
    const ways: readonly (readonly [how: string, back: () => Promise<unknown>])[] = [
      ["Back", () => page.goBack()],
      ["Esc", () => page.keyboard.press("Escape")],
      ["Back and a reload", () => page.goBack().then(() => page.reload())],
    ];
    for (const [how, back] of ways) {
      await row("queue-105").getByRole("link").click();
      await page.getByRole("heading", { level: 1, name: "queue-105" }).waitFor();
      await expect.poll(scrolled, { message: how }).toBe(0);
      await back();
      await row("queue-105").waitFor();
      await expect.poll(scrolled, { message: how }).toBe(4_000);
    }
    // The keys go on from there.
    await page.keyboard.press("j");
    await expect.poll(() => page.evaluate("document.activeElement?.dataset.index > 90")).toBe(true);
    expect(await scrolled()).toBe(4_000);
  });

  test("on a phone the other columns are below the name, and nothing is wider than the window", async () => {
    const url = await start([
      waiting("a-queue-with-a-name-that-is-long-enough-to-be-cut-somewhere", 95),
      waiting("b", 2),
    ]);
    const { page, row } = await open(url, "/", { width: 390, height: 844 });
    await row("b").waitFor();
    const name = await row("b").getByRole("link").boundingBox();
    for (const column of ["depth", "in", "out", "p95", "forecast"]) {
      const cell = await row("b").locator(`.cell-${column}`).boundingBox();
      expect(cell!.y, column).toBeGreaterThan(name!.y + name!.height);
      expect(cell!.x + cell!.width, column).toBeLessThanOrEqual(390);
    }
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
    await page.getByLabel("Sort").selectOption("Name");
    await page.waitForURL(/sort=name/);
  });

  test("on a screen on the wall only what is not OK is shown", async () => {
    const done = { type: "DEQUEUED", queue: "fine", jobId: "1" } as const;
    const url = await start([waiting("late", 95), waiting("fine", 2), done]);
    const { page, names } = await open(url, "/?tv", { width: 1920, height: 1080 });
    await expect.poll(names).toEqual(["late"]);
    await record(url, [{ type: "DEQUEUED", queue: "late", jobId: "1" }]);
    await page.getByRole("heading", { name: "All 2 queues are OK" }).waitFor();
  });

  test.each(["light", "dark"] as const)("axe-core finds nothing, in the theme %s", async (theme) => {
    const url = await start([waiting("late", 95), waiting("fine", 2), waiting("broken", 5)]);
    await redis.set(createKeys(prefix).state("broken"), "garbage");
    const { page, row } = await open(url, "/", { theme });
    await row("broken").locator(".accuracy").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await page.keyboard.press("p");
    await page.getByText("Paused.").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.goto(`${url}/?tv`);
    await row("late").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.goto(`${url}/?q=none`);
    await page.getByRole("heading", { name: "No queue matches" }).waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
  });

  test("says so when the connection is silent, stops ticking, and has the fresh state first afterwards", async () => {
    const url = await start([waiting("mail", 65)]);
    await using relay = await startRelay(url);
    const { page, row } = await open(relay.url);
    await row("mail").waitFor();
    relay.strand("back");
    const banner = page.getByRole("alert").filter({ hasText: "Connection lost. Numbers are as of" });
    await banner.waitFor();
    const latency = () => row("mail").locator(".latency").innerText();
    const shown = await latency();
    await record(url, [{ type: "DEQUEUED", queue: "mail", jobId: "1" }, waiting("new", 45)]);
    // Nothing ticks on for as long as the banner is there.
    const seen = new Set<string>();
    while ((await banner.count()) > 0) seen.add(await latency());
    expect([...seen].filter((text) => text !== "0 s")).toEqual([shown]);
    await row("new").waitFor();
    await expect.poll(latency).toBe("0 s");
  });

  test("names the instant at which it was stopped, though the connection was lost later", async () => {
    const url = await start([waiting("mail", 65)]);
    await using window = await openUnwatched(url);
    const { page, row } = window;
    await row("mail").waitFor();
    await page.keyboard.press("p");
    const time = page.locator(".banner time");
    const stopped = await time.innerText();
    // Into another second, by the page's own clock.
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 1_100))");
    await page.context().setOffline(true);
    await page.getByText("Connection lost.").waitFor();
    expect(await time.innerText()).toBe(stopped);
  });

  test("filters while it is stopped", async () => {
    const url = await start([waiting("mail", 65), waiting("sync", 40)]);
    const { page, names } = await open(url);
    await expect.poll(names).toEqual(["mail", "sync"]);
    await page.keyboard.press("p");
    await page.getByRole("searchbox").fill("sync");
    await expect.poll(names).toEqual(["sync"]);
  });

  test("says at once that the browser is offline, and is live when it is online again", async () => {
    const url = await start([waiting("mail", 65)]);
    // Not among the windows of which the console is looked at: Chromium complains of each try to connect.
    await using window = await openUnwatched(url);
    const { page, row } = window;
    await row("mail").waitFor();
    await page.context().setOffline(true);
    await page.getByText("Connection lost.").waitFor();
    await record(url, [waiting("new", 45)]);
    await page.context().setOffline(false);
    await row("new").waitFor();
    await expect.poll(() => page.getByText("Connection lost.").count()).toBe(0);
  });

  test("is live again after a restart of the server, and says meanwhile that it is not", async () => {
    const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() };
    const first = await startServer(env);
    await record(first.url, [waiting("mail", 65)]);
    const window = await openUnwatched(first.url);
    try {
      await window.row("mail").waitFor();
      await first.kill();
      await window.page.getByText("Connection lost.").waitFor();
      await using second = await startServer({ ...env, PORT: new URL(first.url).port });
      await window.page.getByText("Live", { exact: true }).waitFor();
      await expect.poll(() => window.page.getByText("Connection lost.").count()).toBe(0);
      await record(second.url, [waiting("sync", 95)]);
      await window.row("sync").waitFor();
    } finally {
      await window[Symbol.asyncDispose]();
      await first.stop();
    }
  });

  test("asks for a token where the server has tokens, keeps it for the tab, and asks again when it is revoked", async () => {
    await using tokens = await tokenFile({ reader: "read", writer: "record" });
    const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), API_TOKENS_FILE: tokens.path };
    await using server = await startApp(env);
    const { url } = server;
    await record(url, [waiting("mail", 65)], "writer");
    const window = await openUnwatched(url);
    const { page, row } = window;
    try {
      const field = page.getByLabel("Token");
      await field.waitFor();
      expect(await accessibilityFindings(page)).toEqual([]);
      await field.fill("wrong");
      await page.keyboard.press("Enter");
      await page.getByText("The token was refused").waitFor();
      await field.fill("reader");
      await page.getByRole("button", { name: "Use token" }).click();
      await row("mail").waitFor();
      await page.reload();
      await row("mail").waitFor();
      expect(await page.evaluate("Object.keys(localStorage).length")).toBe(0);

      await tokens.write({ writer: "record" });
      await page.getByText("The token was refused").waitFor();
      expect(await row("mail").count()).toBe(0);
    } finally {
      await window[Symbol.asyncDispose]();
    }
  });
});

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
  readonly size: number;
}

/** With the headers as they are given: `fetch` accepts encodings by itself, and cleans paths. */
async function send(url: string, headers: object, method: string): Promise<Reply> {
  const { origin, hostname, port } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const request = httpRequest({
    hostname,
    port,
    path: url.slice(origin.length),
    method,
    agent: false,
    headers: { ...headers },
  });
  request.on("error", reject);
  request.on("response", async (response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    resolve({
      status: response.statusCode ?? 0,
      headers: response.headers,
      text: body.toString(),
      size: body.length,
    });
  });
  request.end();
  return await promise;
}
