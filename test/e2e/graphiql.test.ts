import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { type GraphiQL, openGraphiQL, startBrowser, whyNoBrowser } from "../support/browser.ts";
import { startPathProxy } from "../support/path-proxy.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";
import { tokenFile } from "../support/tokens.ts";

const title = whyNoBrowser === null ? "GraphiQL" : `GraphiQL (${whyNoBrowser})`;

describe.skipIf(whyNoBrowser !== null)(title, () => {
  let dataDir: string;
  let server: TestServer;
  let browser: Browser;
  let windows: GraphiQL[];

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "ql-graphiql-"));
    server = await startServer({
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      DATA_DIR: dataDir,
      LOG_LEVEL: "warn",
    });
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  beforeEach(async () => {
    windows = [];
    await ask(server.url, `mutation { forgetQueue(queue: "example") }`);
  });
  afterEach(async () => {
    for (const window of windows) await window[Symbol.asyncDispose]();
    // Whatever a test does: GraphiQL needs no other server, and nothing in it fails.
    expect(windows.flatMap(({ foreignRequests }) => foreignRequests)).toEqual([]);
    expect(windows.flatMap(({ complaints }) => complaints)).toEqual([]);
  });

  async function open(): Promise<GraphiQL> {
    const window = await openGraphiQL(browser, server.url);
    windows.push(window);
    return window;
  }

  const example = async (window: GraphiQL) => {
    const rows: { queue: string; state: string; latency: number }[] =
      (await window.answer())?.data?.queueLatency ?? [];
    return rows.find(({ queue }) => queue === "example");
  };

  test("opens with a query, two subscriptions and a mutation as tabs, and keeps them", async () => {
    const window = await open();
    expect(await window.tabs()).toEqual(["Queues*", "Watch", "Record", "Alerts"]);
    await window.reload();
    expect(await window.tabs()).toEqual(["Queues*", "Watch", "Record", "Alerts"]);
    await window.goTo("Watch");
    await window.reload();
    expect(await window.tabs()).toEqual(["Queues", "Watch*", "Record", "Alerts"]);
  });

  test("shows rows when the query is run", async () => {
    await record("ENQUEUED");
    const window = await open();
    await window.press();
    const row = { queue: "example", state: "WAITING", depth: 1, scheduled: 0, waitTime: { count: 0 } };
    await expect
      .poll(window.answer)
      .toMatchObject({ data: { queues: { edges: [{ node: row }] } }, extensions: { cost: {} } });
  });

  test("shows the latency grow while the subscription runs, until it is stopped", async () => {
    await record("ENQUEUED");
    const window = await open();
    await window.goTo("Watch");
    await window.press();
    await expect.poll(() => example(window)).toMatchObject({ state: "WAITING" });
    expect(await window.isRunning()).toBe(true);
    const before = (await example(window))?.latency;
    await expect.poll(async () => (await example(window))?.latency).toBeGreaterThan(before! + 1);

    await window.press();
    await expect.poll(window.isRunning).toBe(false);
  });

  test("shows in one window what the mutation in another one records", async () => {
    const watching = await open();
    await watching.goTo("Watch");
    await watching.press();
    await expect.poll(() => example(watching)).toMatchObject({ state: "MISSING", latency: null });

    const recording = await open();
    await recording.goTo("Record");
    await recording.press();
    const recorded = { accepted: 1, duplicates: 0, early: 0 };
    await expect.poll(recording.answer).toMatchObject({ data: { recordEvents: recorded } });
    await expect.poll(() => example(watching)).toMatchObject({ state: "WAITING", depth: 1 });

    await record("DEQUEUED");
    await expect.poll(() => example(watching)).toMatchObject({ state: "EMPTY", latency: 0 });
  });

  test("says in the Alerts tab that there are no rules", async () => {
    const alerts = await open();
    await alerts.goTo("Alerts");
    await alerts.press();
    await alerts.page.locator(".result-window").getByText('"NO_ALERT_RULES"').waitFor();
  });

  test("says what latency is, and in which unit", async () => {
    const { page } = await open();
    await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
    await page.getByRole("link", { name: "QueueLatency", exact: true }).click();
    await page.getByText("State of one queue at one instant.").waitFor();
    await page.getByRole("link", { name: "latency", exact: true }).click();
    await page.getByText(/^Seconds since the head, .* 0 when no job waits/).waitFor();
  });

  test("asks for a token where one is needed, and works with it, streams too", async () => {
    await using tokens = await tokenFile({ visitor: "read" });
    const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), API_TOKENS_FILE: tokens.path };
    await using guarded = await startServer({ ...env, LOG_LEVEL: "warn" });
    await using window = await openGraphiQL(browser, guarded.url);
    await window.page.getByText('"UNAUTHENTICATED"').waitFor();
    await window.page.locator(".result-window").getByText("This server needs a").waitFor();
    await window.page.getByRole("button", { name: "Show Documentation Explorer" }).click();
    await window.page.locator(".graphiql-doc-explorer-error").waitFor();
    const shown = `getComputedStyle(document.querySelector(".graphiql-doc-explorer-error"), "::after").content`;
    expect(await window.page.evaluate(shown)).toContain("This server needs a token.");
    await window.page.getByRole("button", { name: "Hide Documentation Explorer" }).click();

    for (const tab of ["Queues", "Watch"]) {
      await window.goTo(tab);
      await window.writeToken("visitor");
      // GraphiQL takes up what was written after a while, and does not say when.
      const data = async () => {
        if (!(await window.isRunning())) await window.press();
        return (await window.answer())?.data;
      };
      await expect.poll(data, { interval: 300 }).toBeDefined();
    }
    // What the browser itself says of the questions that it asked before it had a token.
    expect(window.complaints.filter((text) => !text.includes("401"))).toEqual([]);
  });

  test.each([
    { how: "takes its path away", strips: true, env: {} },
    { how: "passes its path on, which BASE_PATH names", strips: false, env: { BASE_PATH: "/queues" } },
  ])("works behind a proxy that $how", async ({ strips, env }) => {
    const redis = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() };
    await using behind = await startServer({ ...redis, ...env, LOG_LEVEL: "warn" });
    await using proxy = await startPathProxy({ target: behind.url, path: "/queues", strips });
    const context = await browser.newContext();
    const page = await context.newPage();
    const requested: string[] = [];
    page.on("request", (request) => {
      if (/^http/.test(request.url())) requested.push(request.url());
    });
    try {
      // From the dashboard.
      await page.goto(`${proxy.url}/queues/`);
      await page.getByRole("link", { name: "GraphiQL" }).click();
      await page.waitForURL(({ pathname }) => pathname === "/queues/graphql");
      await page.getByRole("button", { name: /^Execute query/ }).click();
      await page.locator(".result-window").getByText('"queues"').first().waitFor();
      await page.getByRole("tab", { name: "Watch" }).click();
      await page.waitForURL(({ searchParams }) => searchParams.get("query")?.includes(" Watch {") === true);
      await page.getByRole("button", { name: /^Execute query/ }).click();
      await page.locator(".result-window").getByText('"MISSING"').first().waitFor();
      expect(requested.filter((url) => !url.startsWith(`${proxy.url}/queues/`))).toEqual([]);
    } finally {
      await context.close();
    }
    const socket = new WebSocket(`${proxy.url.replace("http", "ws")}/queues/graphql`, "graphql-transport-ws");
    await once(socket, "open");
    socket.close();
  });

  test("fits on a phone, with the answer below the query", async () => {
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true });
    try {
      const page = await context.newPage();
      await page.goto(`${server.url}/graphql`);
      const [editors, answer] = [".graphiql-editors", ".graphiql-response"].map((each) => page.locator(each));
      await answer!.waitFor();
      const [above, below] = [await editors!.boundingBox(), await answer!.boundingBox()];
      expect(below!.y).toBeGreaterThanOrEqual(above!.y + above!.height - 1);
      expect(below!.width).toBeGreaterThan(250);
      expect(await page.evaluate("[innerWidth, document.documentElement.scrollWidth]")).toEqual([390, 390]);
    } finally {
      await context.close();
    }
  });

  test("is sent once, and then only when it is another one", async () => {
    const page = await fetch(`${server.url}/graphql`, { headers: { accept: "text/html" } });
    const etag = page.headers.get("etag") ?? "";
    const again = (tag: string) =>
      fetch(`${server.url}/graphql`, { headers: { accept: "text/html", "if-none-match": tag } });
    for (const tag of [etag, `W/${etag}`, `"other", ${etag}`])
      expect((await again(tag)).status, tag).toBe(304);
    expect((await again('"other"')).status).toBe(200);
  });

  async function record(type: "ENQUEUED" | "DEQUEUED"): Promise<void> {
    const event = `{ type: ${type}, queue: "example", jobId: "job-1" }`;
    const { body } = await ask(server.url, `mutation { recordEvents(events: [${event}]) { accepted } }`);
    expect(body.data.recordEvents).toEqual({ accepted: 1 });
  }
});
