import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { startBrowser } from "./browser.ts";
import { post } from "./server.ts";
import { bearer } from "./tokens.ts";
import { hangsAfterMs } from "./until.ts";

/** The dashboard as a person has it on the screen, in a browser that was never here before. */
export interface Dashboard extends AsyncDisposable {
  readonly page: Page;
  /** Rows of the table, in the order of the screen. */
  readonly rows: Locator;
  /** The row of one queue. */
  row(queue: string): Locator;
  /** Names of the queues in the rows that are drawn, from the top. */
  names(): Promise<readonly string[]>;
  /** Errors and warnings of the console, and uncaught errors. */
  readonly complaints: readonly string[];
  /** Where requests went, without those to the server itself. */
  readonly foreignRequests: readonly string[];
}

export interface WindowOptions {
  readonly width?: number;
  readonly height?: number;
  readonly theme?: "light" | "dark";
  /** As if it had been entered before. */
  readonly token?: string;
  /** What the person allows the page, such as `notifications`. */
  readonly permissions?: readonly string[];
}

/** @param path of the page, such as `/alerts`. */
export async function openDashboard(
  browser: Browser,
  url: string,
  path = "/",
  { width = 1280, height = 800, theme = "light", token, permissions = [] }: WindowOptions = {},
): Promise<Dashboard> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    timezoneId: "UTC",
    permissions: [...permissions],
  });
  context.setDefaultTimeout(hangsAfterMs);
  if (token !== undefined) {
    const item = ["queue-latency:token", token].map((text) => JSON.stringify(text)).join();
    await context.addInitScript({ content: `try { sessionStorage.setItem(${item}) } catch {}` });
  }
  const page = await context.newPage();
  const complaints: string[] = [];
  const foreignRequests: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && new URL(request.url()).origin !== new URL(url).origin) {
      foreignRequests.push(request.url());
    }
  });
  await page.goto(new URL(path, url).href);
  const rows = page.locator("tbody tr");
  return {
    page,
    rows,
    row: (queue) => rows.filter({ has: page.getByRole("link", { name: queue, exact: true }) }),
    names: () => page.locator("tbody .queue-link").allInnerTexts(),
    complaints,
    foreignRequests,
    [Symbol.asyncDispose]: () => context.close(),
  };
}

/** What the browser itself says of requests that are refused, or that it cannot send. */
const ofConnections = /^(Failed to load resource|WebSocket connection to)/;

/**
 * A browser for the tests of a `describe`. Its windows are closed after each; none may have complained, nor asked another server.
 *
 * @param mayFail whether requests may: of those that are refused or cannot be sent the browser complains itself.
 */
export function useBrowser({ mayFail = false } = {}) {
  let browser: Browser;
  let windows: Dashboard[] = [];
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  afterEach(async () => {
    const complaints = windows.flatMap((window) => window.complaints);
    const foreignRequests = windows.flatMap((window) => window.foreignRequests);
    for (const window of windows) await window[Symbol.asyncDispose]();
    windows = [];
    expect(foreignRequests).toEqual([]);
    expect(complaints.filter((text) => !(mayFail && ofConnections.test(text)))).toEqual([]);
  });
  /** A window that the test closes, and whose complaints the test looks at itself, if at all. */
  const openUnwatched = (url: string, path?: string, options?: WindowOptions) =>
    openDashboard(browser, url, path, options);
  return {
    openUnwatched,
    async open(url: string, path?: string, options?: WindowOptions): Promise<Dashboard> {
      const window = await openUnwatched(url, path, options);
      windows.push(window);
      return window;
    },
  };
}

export interface RecordedEvent {
  readonly type: "ENQUEUED" | "DEQUEUED";
  readonly queue: string;
  readonly jobId: string;
  readonly at?: string;
}

export async function record(url: string, events: readonly RecordedEvent[], token?: string): Promise<void> {
  const query = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
  const headers = token === undefined ? {} : bearer(token);
  const { body } = await post(url, { query, variables: { events } }, headers);
  expect(body.errors).toBeUndefined();
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds on the page at level AA: a line for each rule that is broken, with its elements. */
export async function accessibilityFindings(page: Page): Promise<readonly string[]> {
  await page.evaluate(axe);
  return await page.evaluate<string[]>(`axe.run({
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }).then(({ violations }) => violations.map(({ id, nodes }) =>
    id + ": " + nodes.map((node) => node.html.slice(0, 160) + " " + (node.any[0]?.message ?? "")).join(" | ")))`);
}
