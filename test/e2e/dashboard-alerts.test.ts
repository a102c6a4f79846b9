import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { whyNoBrowser } from "../support/browser.ts";
import {
  accessibilityFindings,
  type RecordedEvent,
  record as recordTo,
  useBrowser,
  type WindowOptions,
} from "../support/dashboard.ts";
import { freePort, uniquePrefix } from "../support/redis.ts";
import { post, startServer, type TestServer } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";

const title = whyNoBrowser === null ? "the page of alerts" : `the page of alerts (${whyNoBrowser})`;

describe.skipIf(whyNoBrowser !== null)(title, () => {
  let directory: string;
  let tokens: TestTokens;
  let server: TestServer;
  const browser = useBrowser({ mayFail: true });
  /** Queues of the test. */
  const used = new Set<string>();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "ql-dashboard-"));
    const rules = join(directory, "alerts.yml");
    await writeFile(
      rules,
      `rules:
  - name: JobsWait
    queues: "fires-*"
    depth_above: 1
    severity: page
    labels: { team: post }
    annotations: { summary: Customers wait for their mail. }
  - name: WaitsLong
    queues: "pends-*"
    latency_above: 1
    for: 1h
`,
    );
    tokens = await tokenFile({ ops: "read,record,admin", visitor: "read" });
    server = await startServer({
      ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), LOG_LEVEL: "silent" },
      ...{ API_TOKENS_FILE: tokens.path, ALERTS_FILE: rules, RATE_LIMIT_MAX: "1000000" },
      // No receiver listens there.
      ALERT_WEBHOOK_URL: `http://127.0.0.1:${await freePort()}/hook`,
      ALERT_WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString("base64")}`,
    });
  });
  afterEach(async () => {
    for (const queue of used) {
      await post(server.url, { query: `mutation { forgetQueue(queue: "${queue}") }` }, bearer("ops"));
    }
    used.clear();
  });
  afterAll(async () => {
    await server?.stop();
    await tokens?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  async function record(type: RecordedEvent["type"], queue: string, ids: readonly string[]): Promise<void> {
    used.add(queue);
    await recordTo(
      server.url,
      ids.map((jobId) => ({ type, queue, jobId })),
      "ops",
    );
  }

  async function open(path: string, options: WindowOptions = {}): Promise<Page> {
    const { page } = await browser.open(server.url, path, { token: "ops", ...options });
    await page.getByRole("heading", { level: 1 }).first().waitFor();
    return page;
  }

  const card = (page: Page, queue: string) => page.getByRole("article").filter({ hasText: queue });
  const icon = (page: Page) => page.locator("#icon").getAttribute("href");

  test("shows an alert that fires, with its facts, until it ends; on every page in the title and the icon", async () => {
    const page = await open("/alerts");
    const overview = await open("/");
    // The alerts of the test before have ended.
    await page.locator("main").getByText("0 firing, 0 pending").waitFor();
    await expect.poll(() => overview.title()).toBe("queue-latency");
    const [calmTitle, calmIcon] = [await overview.title(), await icon(overview)];
    await record("ENQUEUED", "fires-1", ["1", "2", "3"]);
    const alert = card(page, "fires-1");
    await alert.getByText("depth 3; the rule allows 1").waitFor();
    await alert.getByText("Customers wait for their mail.").waitFor();
    await alert.getByText(/The oldest job had waited .*3 jobs waited\./).waitFor();
    await alert.getByText("team=post").waitFor();
    // And how the queue is now, which goes on.
    await alert.locator(".alert-now").getByText("depth 3").waitFor();
    await record("ENQUEUED", "fires-1", ["4"]);
    await alert.locator(".alert-now").getByText("depth 4").waitFor();
    await overview.getByRole("row", { name: "fires-1" }).getByText("Firing", { exact: true }).waitFor();
    await expect.poll(() => overview.title()).toMatch(/^\(\d+\) /);
    await expect.poll(() => icon(overview)).not.toBe(calmIcon);

    await record("DEQUEUED", "fires-1", ["1", "2", "3", "4"]);
    await alert.waitFor({ state: "hidden" });
    const row = page.getByRole("row", { name: "fires-1" });
    await row.getByText("Recovered: the condition no longer holds.").waitFor();
    await expect.poll(() => overview.title()).toBe(calmTitle);
    await expect.poll(() => icon(overview)).toBe(calmIcon);
    // Also after the page is loaded again, when it is in no push.
    await page.reload();
    await row.getByText("Recovered").waitFor();
  });

  test("acknowledges an alert, and shows to others who did", async () => {
    await record("ENQUEUED", "fires-2", ["1", "2"]);
    const mine = await open("/alerts");
    const theirs = await open("/alerts", { token: "visitor" });
    await card(theirs, "fires-2").waitFor();
    await card(mine, "fires-2").getByRole("button", { name: "Acknowledge" }).click();
    await card(mine, "fires-2").getByText("Acknowledged by ops at").waitFor();
    await card(theirs, "fires-2").getByText("Acknowledged by ops at").waitFor();
    expect(await theirs.getByRole("button", { name: "Acknowledge" }).count()).toBe(0);
    // On the page of the queue, too.
    await card(theirs, "fires-2").getByRole("link", { name: "fires-2" }).click();
    await theirs.getByRole("heading", { level: 1, name: "fires-2" }).waitFor();
    await card(theirs, "fires-2").getByText("Acknowledged by ops at").waitFor();
    await record("DEQUEUED", "fires-2", ["1", "2"]);
    await card(theirs, "fires-2").waitFor({ state: "hidden" });
    // The chart of latency marks when it fired.
    await expect.poll(() => theirs.locator(".span").count()).toBe(1);
    // Its step is over soon; until then the mark is beside now, and moves with the time.
    await expect
      .poll(async () => {
        const mark = await theirs.locator(".span path").boundingBox();
        // A step is three pixels wide: it may be the one beside.
        for (const aside of [0, 3, -3]) {
          await theirs.mouse.move(mark!.x + aside, mark!.y + 20);
          const named = await theirs.locator(".readout-alerts dd").allInnerTexts();
          if (named.length > 0) return named;
        }
        return [];
      })
      .toEqual(["JobsWait"]);
  });

  test("shows what is pending apart from what fires", async () => {
    await record("ENQUEUED", "pends-1", ["1"]);
    const page = await open("/alerts");
    const pending = page.getByRole("region", { name: "Pending" });
    await pending.getByRole("link", { name: "pends-1" }).waitFor();
    await record("DEQUEUED", "pends-1", ["1"]);
    await pending.waitFor({ state: "hidden" });
    // It ended before it fired.
    expect(await page.getByRole("row", { name: "pends-1" }).count()).toBe(0);
  });

  test("says that a receiver does not accept notifications", async () => {
    await record("ENQUEUED", "fires-3", ["1", "2"]);
    const page = await open("/alerts");
    await page
      .locator("main")
      .getByText(/^webhook has not accepted \d+ notifications? yet/)
      .waitFor();
  });

  test("shows a notification of each alert once, in one of two tabs, when it is asked for", async () => {
    const page = await open("/alerts", { permissions: ["notifications"] });
    const count = `(() => {
      window.shown = [];
      window.Notification = class extends Notification {
        constructor(title, options) { super(title, options); window.shown.push(title); }
      };
    })()`;
    const shown = (tab: Page) => tab.evaluate<string[]>("window.shown");
    const second = await page.context().newPage();
    await second.goto(`${server.url}/alerts`);
    for (const tab of [page, second]) await tab.evaluate(count);
    const box = page.getByRole("checkbox", { name: "show a notification" });
    expect(await box.isChecked()).toBe(false);
    await record("ENQUEUED", "fires-4", ["1", "2"]);
    await card(page, "fires-4").waitFor();
    expect(await shown(page)).toEqual([]);
    await record("DEQUEUED", "fires-4", ["1", "2"]);
    await card(page, "fires-4").waitFor({ state: "hidden" });

    await box.check();
    await second.reload();
    await second.evaluate(count);
    await expect
      .poll(() => second.getByRole("checkbox", { name: "show a notification" }).isChecked())
      .toBe(true);
    await record("ENQUEUED", "fires-5", ["1", "2"]);
    for (const tab of [page, second]) await card(tab, "fires-5").waitFor();
    const all = async () => [...(await shown(page)), ...(await shown(second))];
    await expect.poll(all).toEqual(["JobsWait: fires-5"]);
  });

  test("rings when an alert fires, when it is asked for, and says when the browser does not let it", async () => {
    const page = await open("/alerts");
    const count = `(() => {
      window.tones = [];
      window.AudioContext = class extends AudioContext {
        createOscillator() {
          const tone = super.createOscillator();
          const start = tone.start.bind(tone);
          tone.start = (at) => { window.tones.push(tone.frequency.value); start(at); };
          return tone;
        }
      };
    })()`;
    await page.addInitScript(count);
    await page.reload();
    const tones = (tab: Page) => tab.evaluate<number[]>("window.tones");
    const box = page.getByRole("checkbox", { name: "ring" });
    expect(await box.isChecked()).toBe(false);
    await record("ENQUEUED", "fires-7", ["1", "2"]);
    await card(page, "fires-7").waitFor();
    await record("DEQUEUED", "fires-7", ["1", "2"]);
    await card(page, "fires-7").waitFor({ state: "hidden" });
    expect(await tones(page)).toEqual([]);
    // So that the person knows the sound.
    await box.check();
    await expect.poll(() => tones(page)).toEqual([880, 660]);
    await page.getByRole("heading", { level: 1 }).click();
    await record("ENQUEUED", "fires-8", ["1", "2"]);
    await card(page, "fires-8").waitFor();
    await expect.poll(() => tones(page)).toEqual([880, 660, 880, 660]);

    // A browser plays no sound of a page that was not used yet.
    await page.reload();
    const hint = page.getByText("No sound before you click on the page");
    await hint.waitFor();
    await page.getByRole("heading", { level: 1 }).click();
    await hint.waitFor({ state: "hidden" });
  });

  test("does not say that no alert fires while a proxy lets no WebSocket through, and says what is wrong", async () => {
    const page = await open("/alerts");
    // Opens, and never answers.
    await page.routeWebSocket(/graphql/, () => {});
    await page.reload();
    await page.getByRole("region", { name: "Firing" }).getByText("Not known yet.").waitFor();
    await page
      .getByRole("alert")
      .filter({ hasText: "The WebSocket to the server cannot be opened" })
      .waitFor();
    expect(await page.getByText("No alert fires.").count()).toBe(0);
  });

  test("says what is missing on a server without rules", async () => {
    await using bare = await startServer({
      ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), LOG_LEVEL: "silent" },
    });
    const { page } = await browser.open(bare.url, "/alerts");
    await page.getByText("This server has no rules for alerts.").waitFor();
    expect(await accessibilityFindings(page)).toEqual([]);
  });

  test.each([
    [390, "light"],
    [390, "dark"],
    [1280, "light"],
    [1280, "dark"],
  ] as const)("fits a window of %i pixels, and has no finding of axe-core in %s", async (width, theme) => {
    await record("ENQUEUED", "fires-6", ["1", "2"]);
    await record("ENQUEUED", "pends-6", ["1"]);
    await record("ENQUEUED", "fires-and-ends", ["1", "2"]);
    const page = await open("/alerts", { width, theme });
    for (const queue of ["fires-6", "pends-6", "fires-and-ends"]) await card(page, queue).waitFor();
    await record("DEQUEUED", "fires-and-ends", ["1", "2"]);
    const ended = page.getByRole("region", { name: "Alerts that have ended" });
    await ended.getByRole("link", { name: "fires-and-ends" }).first().waitFor();
    await page
      .getByRole("cell", { name: "webhook" })
      .or(page.getByRole("rowheader", { name: "webhook" }))
      .waitFor();
    expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
    expect(await ended.evaluate((region) => region.scrollWidth - region.clientWidth)).toBe(0);
    expect(await accessibilityFindings(page)).toEqual([]);
  });
});
