import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import { openGraphiQL, startBrowser, whyNoBrowser } from "../support/browser.ts";
import { freePort, uniquePrefix } from "../support/redis.ts";
import { startRelay } from "../support/relay.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";
import { type Subscriber, subscribers, whyNoGql } from "../support/subscribers.ts";

/**
 * A stream that ends because its server goes away must not look like one that is over: client libraries take `complete` for
 * "there is no more" and never come back, with the last number on the screen.
 */
const query = `subscription { queueLatency(queues: ["restarts"], minIntervalMs: 50) { queue state depth } }`;

let env: Readonly<Record<string, string>>;
let held: AsyncDisposable[];

beforeEach(() => {
  env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), LOG_LEVEL: "warn" };
  held = [];
});
afterEach(async () => {
  for (const each of held.toReversed()) await each[Symbol.asyncDispose]();
});

async function start(port = 0): Promise<TestServer> {
  const server = await startServer({ ...env, PORT: String(port) });
  held.push(server);
  return server;
}

function subscribeAll(url: string): Readonly<Record<string, Subscriber>> {
  const entries = Object.entries(subscribers).map(
    ([name, subscribe]) => [name, subscribe(url, query)] as const,
  );
  held.push(...entries.map(([, subscriber]) => subscriber));
  return Object.fromEntries(entries);
}

async function enqueue(server: TestServer, jobId: string): Promise<void> {
  const event = `{ type: ENQUEUED, queue: "restarts", jobId: "${jobId}" }`;
  const { body } = await ask(server.url, `mutation { recordEvents(events: [${event}]) { accepted } }`);
  expect(body).toMatchObject({ data: { recordEvents: { accepted: 1 } } });
}

function depths(all: Readonly<Record<string, Subscriber>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(all).map(([name, { newest }]) => [name, newest?.queueLatency?.[0]?.depth ?? null]),
  );
}

async function untilAllSee(all: Readonly<Record<string, Subscriber>>, depth: number): Promise<void> {
  const wanted = Object.fromEntries(Object.keys(all).map((name) => [name, depth]));
  const logs = () => JSON.stringify(Object.entries(all).map(([name, { log }]) => [name, log.slice(-5)]));
  await expect
    .poll(() => depths(all))
    .toEqual(wanted)
    .catch((error: unknown) => {
      throw new Error(`${String(error)}\n${logs()}`);
    });
}

function expectNoComplete(all: Readonly<Record<string, Subscriber>>): void {
  const over = Object.entries(all).filter(([, { log }]) => log.includes("complete"));
  expect(over.map(([name]) => name)).toEqual([]);
}

const title = whyNoGql === null ? "client libraries" : `client libraries (${whyNoGql})`;

describe(title, () => {
  for (const [how, end] of [
    ["SIGTERM", (server: TestServer) => server.stop()],
    ["SIGKILL", (server: TestServer) => server.kill()],
  ] as const) {
    test(`come back with a fresh state when the server is ended by ${how} and started again`, async () => {
      const port = await freePort();
      const first = await start(port);
      await enqueue(first, "job-1");
      const all = subscribeAll(first.url);
      await untilAllSee(all, 1);

      await end(first);
      const second = await start(port);
      await enqueue(second, "job-2");
      await untilAllSee(all, 2);
      expectNoComplete(all);
    });
  }

  test("come back through a proxy while two servers are restarted one after the other", async () => {
    let [one, other] = [await start(), await start()];
    const relay = await startRelay(one.url);
    held.push(relay);
    await enqueue(one, "job-1");
    const all = subscribeAll(relay.url.replace(/\/$/, ""));
    await untilAllSee(all, 1);

    for (const depth of [2, 3]) {
      relay.redirect(other.url);
      await one.stop();
      await enqueue(other, `job-${depth}`);
      await untilAllSee(all, depth);
      [one, other] = [other, await start()];
    }
    expectNoComplete(all);
  });
});

describe.skipIf(whyNoBrowser !== null)(
  whyNoBrowser === null ? "GraphiQL" : `GraphiQL (${whyNoBrowser})`,
  () => {
    test("goes on with its subscription after the server was restarted", async () => {
      const port = await freePort();
      const first = await start(port);
      const record = (server: TestServer, jobId: string) =>
        ask(
          server.url,
          `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "example", jobId: "${jobId}" }]) { accepted } }`,
        );
      await record(first, "job-1");
      const browser = await startBrowser();
      held.push({ [Symbol.asyncDispose]: () => browser.close() });
      const window = await openGraphiQL(browser, first.url);
      const depth = async () => {
        const rows: { queue: string; depth: number }[] = (await window.answer())?.data?.queueLatency ?? [];
        return rows.find(({ queue }) => queue === "example")?.depth;
      };
      await window.goTo("Watch");
      await window.press();
      await expect.poll(depth).toBe(1);

      await first.stop();
      const second = await start(port);
      await record(second, "job-2");
      await expect.poll(depth).toBe(2);
    });
  },
);
