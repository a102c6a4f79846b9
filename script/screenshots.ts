// While `npm run demo` runs, `node script/screenshots.ts [URL]` writes the README's pictures, docs/dashboard-light.png and -dark.png, and
// each page in each width and theme into .cache/screenshots, to be looked at.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { startBrowser } from "../test/support/browser.ts";

const url = process.argv[2] ?? "http://127.0.0.1:4000";
const project = join(import.meta.dirname, "..");
const directory = join(project, ".cache/screenshots");

const themes = ["light", "dark"] as const;
const widths = [390, 1280, 2560];
/** Of a television, on which only the TV view is shown. */
const tvWidth = 3840;
/** With the heading or row that is there when the page is. */
const pages = [
  { name: "overview", path: "/", shown: "tbody .sparkline" },
  { name: "tv", path: "/?tv", shown: "tbody .latency, .all-ok" },
  { name: "queue", path: "/queues/demo%2Ffalling-behind", shown: "h1" },
  { name: "alerts", path: "/alerts", shown: "h1" },
] as const;

interface Shot {
  readonly path: string;
  readonly shown: string;
  readonly width: number;
  readonly height: number;
  readonly theme: (typeof themes)[number];
  readonly file: string;
}

async function shoot(browser: Browser, { path, shown, width, height, theme, file }: Shot): Promise<void> {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  try {
    const page = await context.newPage();
    await page.goto(new URL(path, url).href);
    // The history of a new demo begins after a minute.
    await page.locator(shown).first().waitFor({ timeout: 150_000 });
    // Charts draw when their history has come.
    await page.waitForLoadState("networkidle");
    await page.screenshot({ path: file });
    console.log(file);
  } finally {
    await context.close();
  }
}

await mkdir(directory, { recursive: true });
const browser = await startBrowser();
try {
  const [overview] = pages;
  // Right after each other: the same state in both.
  for (const theme of themes) {
    const file = join(project, `docs/dashboard-${theme}.png`);
    await shoot(browser, { ...overview, width: 1280, height: 330, theme, file });
  }
  for (const theme of themes) {
    for (const { name, path, shown } of pages) {
      for (const width of name === "tv" ? [...widths, tvWidth] : widths) {
        const height = width < 600 ? 844 : Math.round((width * 10) / 16);
        const shot = join(directory, `${name}-${width}-${theme}.png`);
        await shoot(browser, { path, shown, width, height, theme, file: shot });
      }
    }
  }
} finally {
  await browser.close();
}
