/**
 * What dashboards of 10,000 queues take while 1,000 changes a second come: `node bench/dashboard.ts [PART ...]`, all parts if none is
 * named. It starts a redis-server, a server with higher rate limits and a history of all queues, and Chromium.
 *
 *   cold     from the start of a server to the first rows, each time of a new server
 *   minutes  for two minutes in a browser: how soon a key press shows, and the browser's heap after a garbage collection
 *   tabs     CPU time of the server for 20 dashboards, of the same page and of different ones, against one
 *   cursor   how soon the cursor of the charts of a queue follows the pointer
 */
import { execFileSync } from "node:child_process";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { queuePage, sparklines } from "../src/dashboard/graphql/documents.ts";
import { startBrowser } from "../test/support/browser.ts";
import { type Dashboard, openDashboard } from "../test/support/dashboard.ts";
import { startRedis } from "../test/support/redis.ts";
import { ask, startServer } from "../test/support/server.ts";
import { websocket } from "../test/support/streams.ts";
import { openTracker } from "../test/support/tracker.ts";
import { changeQueues, fillQueues, manyNames } from "./support/many-queues.ts";
import { cpuMs } from "./support/process-figures.ts";
import { redisCpuMs } from "./support/redis-figures.ts";
import { median, quantile } from "./support/statistics.ts";

const parts = { cold, minutes, tabs, cursor };
const asked = process.argv.slice(2);
const hours = 2;
const changesPerSecond = 1_000;
const rowsOnScreen = 40;

execFileSync(process.execPath, [join(import.meta.dirname, "../script/build-dashboard.ts")]);
await using redis = await startRedis();
await using opened = await openTracker(redis.url);
const histories = await fillQueues(opened, redis.url, hours);
await using browser = await startBrowser();
for (const [name, part] of Object.entries(parts)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  console.log(`${name} (load ${loadavg()[0]?.toFixed(1)})`);
  await part();
}

function start() {
  return startServer({
    REDIS_URL: redis.url,
    KEY_PREFIX: opened.prefix,
    HISTORY_MAX_QUEUES: String(manyNames.length),
    RATE_LIMIT_MAX: "1000000000",
    MAX_SUBSCRIPTIONS: "1000",
    LOG_LEVEL: "warn",
    ...(process.env.BENCH_PROFILE_DIR === undefined
      ? {}
      : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${process.env.BENCH_PROFILE_DIR}` }),
  });
}

/** Each begins as soon as the server listens, a few seconds after another one wrote the last steps of the history. */
async function cold(): Promise<void> {
  const firstOf = {
    "a query by the API": async (url: string) => {
      const { body } = await ask(
        url,
        "{ queues(orderBy: HEALTH, first: 50) { edges { node { queue health } } } }",
      );
      if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
    },
    "a subscription of the dashboard": async (url: string) => {
      const client = websocket(url);
      const stream = client.iterate({
        query: String(queuePage),
        variables: { orderBy: "HEALTH", offset: 0, first: rowsOnScreen },
      });
      await stream.next();
      await client.dispose();
    },
    "rows in a browser": async (url: string) => {
      await using dashboard = await openDashboard(browser, url);
      await dashboard.rows.locator(".queue-link").first().waitFor();
    },
  };
  const took: Record<string, { cold: number[]; serverMs: number[]; redisMs: number[]; warm: number[] }> = {};
  for (let round = 0; round < 5; round++) {
    for (const [what, first] of Object.entries(firstOf)) {
      await histories.fillOn();
      await using server = await start();
      took[what] ??= { cold: [], serverMs: [], redisMs: [], warm: [] };
      const cpuBefore = cpuMs(server.pid);
      const redisBefore = await redisCpuMs(opened.redis);
      took[what].cold.push(await durationOf(() => first(server.url)));
      took[what].serverMs.push(cpuMs(server.pid) - cpuBefore);
      took[what].redisMs.push((await redisCpuMs(opened.redis)) - redisBefore);
      took[what].warm.push(await durationOf(() => first(server.url)));
    }
  }
  for (const [what, each] of Object.entries(took)) {
    const { cold, serverMs, redisMs, warm } = each;
    console.log(
      `  ${what}: ${said(cold)} ms, CPU of the server ${said(serverMs)}, of Redis ${said(redisMs)}; once more ${said(warm)} ms`,
    );
  }
}

async function minutes(): Promise<void> {
  await using server = await start();
  await using changes = changeQueues(opened, changesPerSecond);
  await using dashboard = await openDashboard(browser, server.url);
  const { page } = dashboard;
  await dashboard.rows.locator(".queue-link").first().waitFor();
  await watchFrames(page, "keydown");
  const cdp = await page.context().newCDPSession(page);
  const heapMB: number[] = [];
  const beganAtMs = performance.now();
  const cpuBefore = cpuMs(server.pid);
  for (let second = 0; second < 120; second++) {
    for (let i = 0; i < 4; i++) {
      await page.keyboard.press((second + i) % 16 < 11 ? "j" : "k");
      await pause(Math.max(0, beganAtMs + (4 * second + i + 1) * 250 - performance.now()));
    }
    if (second % 10 !== 9) continue;
    await cdp.send("HeapProfiler.collectGarbage");
    heapMB.push((await cdp.send("Runtime.getHeapUsage")).usedSize / 1e6);
  }
  const tookMs = performance.now() - beganAtMs;
  const framesMs = await framesOf(page);
  console.log(`  changes a second: ${((1_000 * changes.count) / tookMs).toFixed(0)}`);
  console.log(`  ${framesMs.length} key presses, ms to the next frame: ${percentiles(framesMs)}`);
  console.log(
    `  heap after a garbage collection, MB, every ten seconds: ${heapMB.map((mb) => mb.toFixed(1)).join(" ")}`,
  );
  console.log(
    `  CPU of the server: ${((100 * (cpuMs(server.pid) - cpuBefore)) / tookMs).toFixed(0)} % of a core`,
  );
  if (dashboard.complaints.length > 0)
    console.log(`  the page complained: ${dashboard.complaints.join("; ")}`);
}

async function tabs(): Promise<void> {
  await using server = await start();
  await using _ = changeQueues(opened, changesPerSecond);
  await settle(server.pid);
  const pagesOf = {
    one: [0],
    "20 of the same page": Array.from({ length: 20 }, () => 0),
    "20 of different pages": Array.from({ length: 20 }, (_, i) => i * rowsOnScreen),
  };
  const shares = Object.fromEntries(Object.keys(pagesOf).map((what) => [what, [] as number[]]));
  for (let round = 0; round < 5; round++) {
    for (const [what, offsets] of Object.entries(pagesOf)) {
      await using stack = new AsyncDisposableStack();
      for (const offset of offsets) stack.use(await openTab(server.url, offset));
      await pause(3_000);
      const cpuBefore = cpuMs(server.pid);
      const beganAtMs = performance.now();
      await pause(10_000);
      shares[what]?.push((cpuMs(server.pid) - cpuBefore) / (performance.now() - beganAtMs));
    }
  }
  const one = shares.one ?? [];
  for (const [what, each] of Object.entries(shares)) {
    const ratio = each.map((share, round) => share / (one[round] ?? Number.NaN));
    console.log(
      `  ${what}: ${said(each.map((share) => 100 * share))} % of a core, ${said(ratio, 2)} times one`,
    );
  }
}

/** What a tab of the dashboard asks for: its page, and the sparklines of its rows once a minute. */
/** A server first merges the steps that were filled in into minutes and hours, which takes a core for minutes. */
async function settle(pid: number): Promise<void> {
  for (let share = 1; share > 0.6; ) {
    const before = cpuMs(pid);
    await pause(10_000);
    share = (cpuMs(pid) - before) / 10_000;
  }
}

async function openTab(url: string, offset: number): Promise<AsyncDisposable> {
  const client = websocket(url);
  const stream = client.iterate<{ queues: { edges: { node: { queue: string } }[] } }>({
    query: String(queuePage),
    variables: { orderBy: "HEALTH", offset, first: rowsOnScreen },
  });
  const { value } = await stream.next();
  const queues = value?.data?.queues.edges.map(({ node }: { node: { queue: string } }) => node.queue) ?? [];
  if (queues.length !== rowsOnScreen)
    throw new Error(`expected ${rowsOnScreen} rows: ${JSON.stringify(value)}`);
  const reading = (async () => {
    // A tab whose socket is closed would take nothing more: then its numbers are worth nothing.
    for await (const each of stream) if (each.errors) throw new Error(JSON.stringify(each.errors));
  })();
  // A failure is reported where it is awaited, at the end.
  reading.catch(() => {});
  const load = () =>
    ask(url, String(sparklines), { queues, from: new Date(Date.now() - 1_800_000).toISOString() });
  await load();
  const timer = setInterval(() => load().catch(() => {}), 60_000);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await client.dispose();
      await reading;
    },
  };
}

async function cursor(): Promise<void> {
  await using server = await start();
  await using _ = changeQueues(opened, changesPerSecond);
  for (const range of ["1h", "24h"]) {
    const path = `/queues/${encodeURIComponent(manyNames[7] ?? "")}?range=${range}`;
    await using dashboard = await openDashboard(browser, server.url, path);
    const { page } = dashboard;
    const plot = page.locator(".pointer-area").first();
    await plot.waitFor();
    await pause(3_000);
    const box = await plot.boundingBox();
    if (box === null) throw new Error("expected a chart");
    await watchFrames(page, "pointermove");
    for (let i = 0; i < 400; i++) {
      await page.mouse.move(box.x + ((7 * i) % box.width), box.y + box.height / 2);
      await pause(25);
    }
    const framesMs = await framesOf(page);
    console.log(`  ${range}: ${framesMs.length} moves, ms to the next frame: ${percentiles(framesMs)}`);
  }
}

/** From when the browser has an event until the frame that shows what came of it is made. */
async function watchFrames(page: Dashboard["page"], type: string): Promise<void> {
  await page.evaluate(`globalThis.framesMs = [];
    addEventListener("${type}", ({ timeStamp }) => {
      requestAnimationFrame(() => setTimeout(() => framesMs.push(performance.now() - timeStamp)));
    }, true)`);
}

function framesOf(page: Dashboard["page"]): Promise<readonly number[]> {
  return page.evaluate<number[]>("framesMs");
}

async function durationOf(work: () => Promise<void>): Promise<number> {
  const beganAtMs = performance.now();
  await work();
  return performance.now() - beganAtMs;
}

function percentiles(values: readonly number[]): string {
  const at = (q: number) => quantile(values, q).toFixed(0);
  return `p50 ${at(0.5)}, p95 ${at(0.95)}, the longest ${at(1)}`;
}

function said(values: readonly number[], digits = 0): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}
