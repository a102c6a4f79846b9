import { accessSync, constants } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { type Browser, chromium, type Page } from "playwright-core";

const executablePath = process.env.CHROMIUM_PATH || "/usr/bin/chromium";

/** Why tests in a browser are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoBrowser: string | null = process.env.CI === "true" ? null : whatIsMissing();

function whatIsMissing(): string | null {
  try {
    accessSync(executablePath, constants.X_OK);
    return null;
  } catch {
    return `no Chromium at ${executablePath}: run script/test, which installs one, or set CHROMIUM_PATH`;
  }
}

/**
 * Starts a real Chromium without a window, with a profile of its own, that sends no request by itself.
 *
 * @param names that lead to this machine, as if a DNS server said so.
 */
export async function startBrowser(names: readonly string[] = []): Promise<Browser> {
  return await chromium.launch({
    executablePath,
    headless: true,
    // As root, as in containers, Chromium does not run with its sandbox.
    chromiumSandbox: false,
    args: [
      ...["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
      ...["--disable-component-update", "--disable-sync"],
      ...(names.length === 0
        ? []
        : [`--host-resolver-rules=${names.map((name) => `MAP ${name} 127.0.0.1`).join()}`]),
    ],
  });
}

/** GraphiQL as a person has it before them, in a browser that was never here before. */
export interface GraphiQL extends AsyncDisposable {
  readonly page: Page;
  /** Where requests went, without those to the server itself. */
  readonly foreignRequests: readonly string[];
  /** Errors and warnings of the console, and errors that were not caught. */
  readonly complaints: readonly string[];
  /** Resolves when the page can be used. */
  reload(): Promise<void>;
  /** The tabs' titles, with a star behind the active one. */
  tabs(): Promise<readonly string[]>;
  /** Clicks on a tab, once, and waits until its operation is there. */
  goTo(tab: string): Promise<void>;
  /** Presses the button that starts the tab's operation, and that stops a subscription. */
  press(): Promise<void>;
  /** Writes a token where the editor of headers asks for one. */
  writeToken(token: string): Promise<void>;
  /** Whether the button says that it would stop something. */
  isRunning(): Promise<boolean>;
  /** The text of the right half, as far as it is visible; null when it is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the shape of what it asked for
  answer(): Promise<any>;
}

/** @param size of the window, in pixels; by default it is so high that every answer is visible. */
export async function openGraphiQL(
  browser: Browser,
  url: string,
  size: { readonly width: number; readonly height: number } = { width: 1200, height: 2400 },
): Promise<GraphiQL> {
  const context = await browser.newContext({ viewport: size });
  const page = await context.newPage();
  const foreignRequests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && new URL(request.url()).origin !== url) {
      foreignRequests.push(request.url());
    }
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));

  const button = page.getByRole("button", { name: /^(Execute|Stop) query/ });
  const usable = () => button.waitFor();
  await page.goto(`${url}/graphql`);
  await usable();
  return {
    page,
    foreignRequests,
    complaints,
    async reload() {
      // It writes down its tabs a moment after it has drawn them; before that it would begin anew.
      await untilTrue(page, `"graphiql:tabState" in localStorage`);
      await page.reload();
      await usable();
    },
    tabs: () =>
      page.evaluate<string[]>(`[...document.querySelectorAll(".graphiql-tab")].map((tab) =>
        tab.innerText + (tab.classList.contains("graphiql-tab-active") ? "*" : ""))`),
    async goTo(tab) {
      await page.getByRole("tab", { name: tab }).click();
      // The address follows the editor; until then the button would run the operation of the tab before.
      await page.waitForURL(({ searchParams }) => searchParams.get("query")?.includes(` ${tab} {`) === true);
    },
    press: () => button.click(),
    async writeToken(token) {
      const example = page.getByText('"Bearer TOKEN"');
      const box = await example.boundingBox();
      // A double click selects the word that it meets.
      await example.dblclick({ position: { x: (box?.width ?? 0) - 20, y: (box?.height ?? 0) / 2 } });
      await page.keyboard.insertText(token);
    },
    isRunning: async () => (await button.getAttribute("aria-label"))?.startsWith("Stop") === true,
    async answer() {
      try {
        return JSON.parse(await page.evaluate<string>(visibleLines));
      } catch {
        return null;
      }
    },
    [Symbol.asyncDispose]: () => context.close(),
  };
}

/** Waits as `page.waitForFunction` does, which evaluates text in the page: GraphiQL's page does not allow that. */
export async function untilTrue(page: Page, expression: string, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await page.evaluate<boolean>(expression))) {
    if (performance.now() > deadline) throw new Error(`it was not so for ${timeoutMs} ms: ${expression}`);
    await setTimeout(20);
  }
}

/** The editor only draws what is visible, each line for itself, in any order, and with spaces that do not break. */
const visibleLines = `[...document.querySelectorAll(".result-window .view-line")]
  .sort((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top))
  .map((line) => line.textContent.replaceAll("\\u00a0", " "))
  .join("\\n")`;
