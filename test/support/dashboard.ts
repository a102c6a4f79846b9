import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Locator, Page } from "playwright-core";

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

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds on the page at level AA: a line for each rule that is broken, with its elements. */
export async function accessibilityFindings(page: Page): Promise<readonly string[]> {
  await page.evaluate(axe);
  return await page.evaluate<string[]>(`axe.run({
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }).then(({ violations }) => violations.map(({ id, nodes }) =>
    id + ": " + nodes.map((node) => node.html.slice(0, 160) + " " + (node.any[0]?.message ?? "")).join(" | ")))`);
}
