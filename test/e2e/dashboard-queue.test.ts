import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createKeys } from "../../src/redis/keys.ts";
import { whyNoBrowser } from "../support/browser.ts";
import {
  accessibilityFindings,
  type RecordedEvent,
  record as recordTo,
  useBrowser,
  type WindowOptions,
} from "../support/dashboard.ts";
import { connectTo, uniquePrefix } from "../support/redis.ts";
import { seedHistory } from "../support/seeded-history.ts";
import { post, startServer, type TestServer } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";

const title = whyNoBrowser === null ? "the page of one queue" : `the page of one queue (${whyNoBrowser})`;
const late = "mail_within_30_seconds";
const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;

describe.skipIf(whyNoBrowser !== null)(title, () => {
  let directory: string;
  let tokens: TestTokens;
  let server: TestServer;
  const browser = useBrowser({ mayFail: true });
  const [prefix, sidekiq] = [uniquePrefix(), uniquePrefix()];

  beforeAll(async () => {
    const redisUrl = inject("redisUrl");
    directory = await mkdtemp(join(tmpdir(), "ql-dashboard-"));
    const objectives = join(directory, "objectives.yml");
    await writeFile(objectives, `calm: 60\n`);
    tokens = await tokenFile({ ops: "read,record,admin", visitor: "read" });
    const redis = connectTo(redisUrl);
    await redis.sadd(`${sidekiq}:queues`, "mail");
    const enqueued_at = Date.now() - 5 * minuteMs;
    await redis.lpush(`${sidekiq}:queue:mail`, JSON.stringify({ jid: "1", class: "Mail", enqueued_at }));
    redis.disconnect();
    server = await startServer({
      ...{ REDIS_URL: redisUrl, KEY_PREFIX: prefix, LOG_LEVEL: "warn", RATE_LIMIT_MAX: "1000000" },
      ...{ API_TOKENS_FILE: tokens.path, OBJECTIVES_FILE: objectives },
      SIDEKIQ_URL: `${redisUrl}?namespace=${sidekiq}`,
    });
    await record("ENQUEUED", late, ["job-1", "job-2", "job-3"], 2 * minuteMs);
    await record("ENQUEUED", "calm", ["job-1"], 5 * secondMs);
    // An hour of it was not sampled.
    await seedHistory({ redisUrl, prefix, queue: late }, (agoMs) =>
      agoMs > 2 * hourMs && agoMs < 3 * hourMs
        ? null
        : { latencyMs: 2_000, depth: 7, enqueuedPerSecond: 3, dequeuedPerSecond: 2 },
    );
  });
  afterAll(async () => {
    await server?.stop();
    await tokens?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  async function record(
    type: RecordedEvent["type"],
    queue: string,
    ids: readonly string[],
    agoMs = 0,
  ): Promise<void> {
    const at = new Date(Date.now() - agoMs).toISOString();
    await recordTo(
      server.url,
      ids.map((jobId) => ({ type, queue, jobId, at })),
      "ops",
    );
  }

  async function open(queue: string, query = "", options: WindowOptions = {}): Promise<Page> {
    const path = `/queues/${encodeURIComponent(queue)}${query}`;
    const { page } = await browser.open(server.url, path, { token: "ops", ...options });
    await page.getByRole("heading", { level: 1, name: queue }).waitFor();
    return page;
  }

  const latency = (page: Page) => page.locator(".now-latency .number");
  /** What is above the charts, and the charts, have their place. */
  async function isComplete(page: Page): Promise<void> {
    await latency(page).waitFor();
    await page.getByRole("heading", { name: "Oldest jobs" }).waitFor();
    await page.getByRole("img", { name: /^Latency\. latency: minimum/ }).waitFor();
  }
  const times = (page: Page) => page.locator(".readout-time dd").allInnerTexts();

  test("says how late it is, why, and what to do; the latency grows", async () => {
    const page = await open(late);
    await page
      .locator("main")
      .getByText(/^The oldest job has waited \d+ m.*; the objective is 30 s\.$/)
      .waitFor();
    await page.locator("main").getByText("If it stays, add workers.").waitFor();
    await page.locator(".now-health").getByText("Slow").waitFor();
    const before = await latency(page).innerText();
    expect(before).toMatch(/^\d+ m/);
    await expect.poll(() => latency(page).innerText()).not.toBe(before);
  });

  test("says of a name that no queue has that it is unknown, and shows no 0", async () => {
    const page = await open("no-such-queue");
    await page.locator("main").getByText("The server does not know this queue").waitFor();
    expect(await page.locator(".now-panel").innerText()).not.toMatch(/\b0\b/);
    await page.locator("main").getByText("There is no history of this queue in this range").waitFor();
    expect(await page.getByRole("heading", { name: "Oldest jobs" }).count()).toBe(0);
  });

  test("shows another range when its button is pressed, and the one before by the button Back", async () => {
    const page = await open(late);
    const pressed = page.locator(".range-buttons [aria-pressed=true]");
    expect(await pressed.innerText()).toMatch(/1 h$/);
    await page.getByRole("button", { name: "Last 24 h" }).click();
    await expect.poll(() => pressed.innerText()).toMatch(/24 h$/);
    expect(new URL(page.url()).searchParams.get("range")).toBe("24h");
    await page.locator("main").getByText("the highest in each 1 m", { exact: false }).waitFor();
    await page.goBack();
    await expect.poll(() => pressed.innerText()).toMatch(/1 h$/);
  });

  test("has the numbers of a chart in a table, in which a gap is no 0", async () => {
    const page = await open(late, "?range=6h");
    const chart = page.locator("figure", { hasText: "Depth" });
    await chart.getByText("Table").click();
    const cells = chart.locator("tbody td");
    await expect.poll(() => cells.filter({ hasText: /^7$/ }).count()).toBeGreaterThan(290);
    const gaps = await cells.filter({ hasText: "no data" }).count();
    // An hour, and the minutes between what was seeded and now.
    expect(gaps).toBeGreaterThanOrEqual(59);
    expect(gaps).toBeLessThan(90);
    expect(await cells.filter({ hasText: /^0$/ }).count()).toBe(0);
    const label = await chart.getByRole("img").getAttribute("aria-label");
    expect(label).toMatch(/^Depth\. depth: minimum \d+, maximum \d+, last \d+\.$/);
    // A gap interrupts the line: it begins at least twice.
    const line = await chart.locator(".line path").first().getAttribute("d");
    expect(line?.match(/M/g)?.length).toBeGreaterThanOrEqual(2);
  });

  test("shows own times that are typed, and says what is wrong with them", async () => {
    const page = await open(late);
    await page.locator("main").getByText("From – to").click();
    const inputs = page.locator("input[type=datetime-local]");
    const at = (agoMs: number) => new Date(Date.now() - agoMs).toISOString().slice(0, 16);
    await inputs.first().fill(at(hourMs));
    await inputs.last().fill(at(5 * hourMs));
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator("main").getByText("The first time has to be before the second one.").waitFor();
    const [from, to] = [at(5 * hourMs), at(4 * hourMs)];
    await inputs.first().fill(from);
    await inputs.last().fill(to);
    await page.getByRole("button", { name: "Show" }).click();
    await expect.poll(() => new URL(page.url()).searchParams.get("from")).toBe(`${from}Z`);
    expect(new URL(page.url()).searchParams.get("to")).toBe(`${to}Z`);
    await expect
      .poll(() => page.getByRole("img", { name: /^Latency/ }).getAttribute("aria-label"))
      .toBe("Latency. latency: minimum 2.0 s, maximum 2.0 s, last 2.0 s.");
    // What has ended is not dashed.
    expect(await page.locator(".running").count()).toBe(0);
  });

  test("has one cursor for all charts", async () => {
    const page = await open(late, "?range=24h");
    await isComplete(page);
    const plot = page.getByRole("img", { name: /^Wait times/ });
    await plot.hover({ position: { x: 500, y: 80 } });
    await expect.poll(() => page.locator(".cursor").count()).toBe(4);
    const shown = await times(page);
    expect(shown).toHaveLength(4);
    expect(new Set(shown).size).toBe(1);
    await page.mouse.move(600, 5);
    await expect.poll(() => page.locator(".cursor").count()).toBe(0);
    expect((await times(page))[0]).not.toBe(shown[0]);
  });

  test("shows the part of a chart that is dragged over", async () => {
    const page = await open(late, "?range=24h");
    await isComplete(page);
    const plot = page.getByRole("img", { name: /^Latency/ });
    const box = await plot.boundingBox();
    await page.mouse.move(box!.x + 400, box!.y + 60);
    await page.mouse.down();
    await page.mouse.move(box!.x + 500, box!.y + 70, { steps: 4 });
    await page.locator(".selection").waitFor();
    await page.mouse.up();
    await page.waitForURL(/from=.*to=/);
    const { searchParams } = new URL(page.url());
    const length = Date.parse(searchParams.get("to")!) - Date.parse(searchParams.get("from")!);
    expect(length).toBeGreaterThan(hourMs);
    expect(length).toBeLessThan(4 * hourMs);
  });

  test("removes a job after a confirmation that names it", async () => {
    await record("ENQUEUED", "ghosts", ["ghost-1", "ghost-2"], 10 * minuteMs);
    const page = await open("ghosts");
    const row = (job: string) => page.getByRole("row", { name: job });
    await page.getByRole("button", { name: "Remove job ghost-1" }).click();
    const dialog = page.getByRole("dialog", { name: "Remove job ghost-1?" });
    await dialog.getByText(/Job ghost-1, attempt 0, has waited 1\d m/).waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
    await dialog.getByRole("button", { name: "Keep it" }).click();
    await dialog.waitFor({ state: "hidden" });
    expect(await row("ghost-1").count()).toBe(1);

    await page.getByRole("button", { name: "Remove job ghost-1" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove job ghost-1" }).click();
    await page.locator("main").getByText("Job ghost-1 was removed.").waitFor();
    await row("ghost-1").waitFor({ state: "hidden" });
    expect(await row("ghost-2").count()).toBe(1);
    const { body } = await post(
      server.url,
      { query: `{ queueLatency(queues: ["ghosts"]) { depth } }` },
      bearer("ops"),
    );
    expect(body.data).toEqual({ queueLatency: [{ depth: 1 }] });

    // Another person is faster.
    await record("DEQUEUED", "ghosts", ["ghost-2"]);
    await page.getByRole("button", { name: "Remove job ghost-2" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove job ghost-2" }).click();
    await page.locator("main").getByText("Job ghost-2 had left already: nothing was removed.").waitFor();
    await page.locator("main").getByText("No job waits.").last().waitFor();
  });

  test("alerts of an unread list of jobs only when its button was pressed", async () => {
    const page = await browser.open(server.url, "/", { token: "ops" }).then((opened) => opened.page);
    await page.route(/graphql/, (route) =>
      route.request().postData()?.includes("waitingJobs") === true ? route.abort() : route.continue(),
    );
    await page.goto(`${server.url}/queues/${late}`);
    await page.getByText("The list was not read.").waitFor();
    const alerts = page.locator(".waiting-jobs").getByRole("alert");
    expect(await alerts.count()).toBe(0);
    await page.getByRole("button", { name: "Read again" }).click();
    await alerts.filter({ hasText: "The server does not answer. Try again when it does." }).waitFor();
    expect(await page.getByText("The list was not read.").count()).toBe(0);
    await page.unroute(/graphql/);
    await page.getByRole("button", { name: "Read again" }).click();
    await page.getByRole("button", { name: "Remove job job-1" }).waitFor();
    await expect.poll(() => alerts.count()).toBe(0);
  });

  test("offers no removal to a token without the scope admin, and says which scope is missing", async () => {
    const page = await open(late, "", { token: "visitor" });
    await page.locator("main").getByText("A token with the scope admin lists them here.").waitFor();
    expect(await page.getByRole("button", { name: /^Remove/ }).count()).toBe(0);
  });

  test("offers no removal from a queue of a job system, and says where to remove", async () => {
    const page = await open("sidekiq/mail");
    await page.locator("main").getByText("Only sidekiq knows the jobs of this queue.").waitFor();
    expect(await page.getByRole("button", { name: /^Remove/ }).count()).toBe(0);
  });

  test("trusts a queue of which Redis has lost events again, when it is confirmed", async () => {
    await record("ENQUEUED", "lossy", ["1", "2"], 5 * secondMs);
    const redis = connectTo(inject("redisUrl"));
    await redis.del(createKeys(prefix).waiting("lossy"));
    redis.disconnect();
    const page = await open("lossy");
    await page.locator("main").getByText("Redis has lost events of this queue").waitFor();
    await page.getByRole("button", { name: "Trust the numbers again" }).click();
    const dialog = page.getByRole("dialog", { name: "Trust the numbers of lossy?" });
    await dialog.getByRole("button", { name: "Trust lossy" }).click();
    await page.locator("main").getByText("Redis has lost events of this queue").waitFor({ state: "hidden" });
    expect(await page.getByRole("button", { name: "Trust the numbers again" }).count()).toBe(0);
  });

  test("goes on when a step has ended", async () => {
    const page = await open("calm", "?range=15m");
    const chart = page.locator("figure", { hasText: "Depth" });
    await chart.getByText("Table").click();
    const known = () => chart.locator("tbody td").filter({ hasText: /^1$/ }).count();
    // Now, and a step: the history has come.
    await expect.poll(known).toBeGreaterThanOrEqual(2);
    const before = await known();
    // A step is of ten seconds, and is listed up to 15 s after it began.
    await expect.poll(known).toBeGreaterThan(before);
    // The end of the line is dashed: the running step.
    expect(await chart.locator(".running").getAttribute("d")).toMatch(/^M.*L/);
  });

  test("goes back to the overview by Esc, as it was left", async () => {
    const { page } = await browser.open(server.url, "/?q=calm", { token: "ops" });
    await page.getByRole("link", { name: "calm" }).click();
    await page.getByRole("heading", { level: 1, name: "calm" }).waitFor();
    await page.keyboard.press("Escape");
    await page.waitForURL(`${server.url}/?q=calm`);
    await page.getByRole("link", { name: "calm" }).waitFor();
  });

  test("leads to GraphiQL with the query behind a chart", async () => {
    const page = await open(late);
    const href = await page.getByRole("link", { name: "Query behind Depth" }).getAttribute("href");
    const query = new URL(href!, page.url()).searchParams.get("query");
    const { body } = await post(server.url, { query }, bearer("visitor"));
    expect(body.errors).toBeUndefined();
    expect(body.data.queueLatency[0].history.length).toBeGreaterThan(300);
  });

  test("stops when the connection is lost, and says since when; goes on afterwards", async () => {
    const page = await open("calm");
    await latency(page).waitFor();
    await page.locator(".readout").first().waitFor();
    await page.context().setOffline(true);
    await page.getByText(/Numbers are as of \d\d:\d\d:\d\d/).waitFor();
    const frozen = await latency(page).innerText();
    const readouts = await page.locator(".readout").allInnerTexts();
    // Longer than a tick, by the page's own clock.
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 1_500))");
    expect(await latency(page).innerText()).toBe(frozen);
    expect(await page.locator(".readout").allInnerTexts()).toEqual(readouts);
    await page.context().setOffline(false);
    await expect.poll(() => latency(page).innerText()).not.toBe(frozen);
  });

  test.each([
    [390, "light"],
    [390, "dark"],
    [1280, "light"],
    [1280, "dark"],
  ] as const)("fits a window of %i pixels, and has no finding of axe-core in %s", async (width, theme) => {
    const page = await open(late, "?range=6h", { width, theme });
    await page.locator("main").getByText("Table").first().click();
    await page.locator(".chart-table tbody tr").first().waitFor();
    expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
    expect(await accessibilityFindings(page)).toEqual([]);
  });
});
