import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type ChannelModel, connect, type Options } from "amqplib";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { messageOf, StartError } from "../../src/core/errors.ts";
import type { Observation } from "../../src/core/observation.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { createRabbitmqSource } from "../../src/sources/rabbitmq/rabbitmq.ts";
import { silentLogger } from "../support/logger.ts";
import { startRabbitmq, type TestRabbitmq, whyNoRabbitmq } from "../support/rabbitmq.ts";
import { eventually, type WatchedSource, watchSource } from "../support/watched-source.ts";

const statisticsMs = 250;
const intervalMs = 100;

const title = whyNoRabbitmq === null ? "a real RabbitMQ" : `a real RabbitMQ (${whyNoRabbitmq})`;

describe.skipIf(whyNoRabbitmq !== null)(title, () => {
  let rabbitmq: TestRabbitmq;
  let connection: ChannelModel;

  beforeAll(async () => {
    rabbitmq = await startRabbitmq(statisticsMs);
    connection = await connect(rabbitmq.amqpUrl);
    connection.on("error", () => {});
  });
  afterAll(async () => {
    await connection?.close().catch(() => {});
    await rabbitmq?.[Symbol.asyncDispose]();
  });

  const watch = (url = rabbitmq.url): Promise<WatchedSource> =>
    watchSource((wiring) => createRabbitmqSource({ url, intervalMs, ...wiring }));

  /** Declares an empty queue, and resolves to what publishes to it and takes from it. */
  async function declare(name: string, options: Options.AssertQueue = {}) {
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => {});
    onTestFinished(() => channel.close().catch(() => {}));
    await channel.assertQueue(name, { durable: true, ...options });
    return {
      async publish(count: number, message: Options.Publish = {}): Promise<void> {
        for (let i = 0; i < count; i++) channel.sendToQueue(name, Buffer.from(`${i}`), message);
        await channel.waitForConfirms();
      },
      async take(count: number): Promise<void> {
        for (let i = 0; i < count; i++) {
          const message = await vi.waitFor(async () => {
            const found = await channel.get(name);
            if (found === false) throw new Error("no message is ready");
            return found;
          });
          channel.ack(message);
        }
      },
      purge: () => channel.purgeQueue(name),
    };
  }

  test.each(["classic", "quorum"])("a %s queue has the age of its head by counters alone", async (type) => {
    const watched = await watch();
    const name = `curve-${type}`;
    const queue = await declare(name, { arguments: { "x-queue-type": type } });
    await watched.until(name, { depth: 0, headAgeMs: null, accuracy: "EXACT", inFlight: 0 });
    const firstAtMs = monotonicClock.now();
    await queue.publish(3);
    const first = await watched.until(name, {
      ...{ depth: 3, accuracy: "ESTIMATED" },
      headAgeMs: expect.toSatisfy((age) => age >= 3_000),
    });
    // The statistics and the readings come later than the messages.
    expect(sinceOf(first)).toBeGreaterThanOrEqual(firstAtMs - first.uncertaintyMs);
    const secondAtMs = monotonicClock.now();
    await queue.publish(2);
    await watched.until(name, { depth: 5 });
    await queue.take(3);
    await eventually(() => {
      const seen = watched.latest(name);
      expect(seen).toMatchObject({ depth: 2, accuracy: "ESTIMATED" });
      // Not one of the first: the statistics are of some time before.
      expect(sinceOf(seen)).toBeGreaterThan((firstAtMs + secondAtMs) / 2);
    });
    await queue.purge();
    await watched.until(name, { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("messages from before the first reading wait at least since then, until they have left", async () => {
    const queue = await declare("before");
    await queue.publish(4);
    const watched = await watch();
    await watched.until("before", { depth: 4, accuracy: "LOWER_BOUND" });
    await queue.publish(1);
    await watched.until("before", { depth: 5, accuracy: "LOWER_BOUND" });
    await queue.take(4);
    await watched.until("before", { depth: 1, accuracy: "ESTIMATED" });
  });

  test("a timestamp of the head is used, unless a message is unacknowledged", async () => {
    const queue = await declare("timestamps");
    const hourAgo = Math.floor(Date.now() / 1_000) - 3_600;
    await queue.publish(1, { timestamp: hourAgo });
    const watched = await watch();
    const { headAgeMs } = await watched.until("timestamps", {
      depth: 1,
      inFlight: 0,
      accuracy: expect.stringMatching(/ESTIMATED/),
    });
    expect(headAgeMs).toBeGreaterThanOrEqual(3_600_000 - 1_000);
    await queue.publish(1, { timestamp: Math.floor(Date.now() / 1_000) });
    const channel = await connection.createChannel();
    const taken = await channel.get("timestamps");
    expect(taken).not.toBe(false);
    // It is that of the message that a worker has; the head is a minute old at most.
    await watched.until("timestamps", {
      ...{ depth: 1, inFlight: 1 },
      headAgeMs: expect.toSatisfy((age) => age < 60_000),
    });
    await channel.close();
  });

  test("a timestamp in ms is one, and a time that is yet to come is none", async () => {
    const hourAgoMs = Date.now() - 3_600_000;
    const inMs = await declare("timestamps-ms");
    await inMs.publish(1, { timestamp: hourAgoMs });
    const later = await declare("timestamps-later");
    await later.publish(1, { timestamp: Math.floor(Date.now() / 1_000) + 86_400 });
    const watched = await watch();
    const { headAgeMs } = await watched.until("timestamps-ms", { depth: 1, accuracy: "ESTIMATED" });
    expect(headAgeMs).toBeGreaterThanOrEqual(3_600_000 - 1_000);
    // By the counters: it was there before the first reading.
    const seen = await watched.until("timestamps-later", { depth: 1, accuracy: "LOWER_BOUND" });
    await watched.until("timestamps-later", {
      headAgeMs: expect.toSatisfy((age) => age > (seen.headAgeMs ?? 0)),
    });
  });

  test("what a killed worker had is ready again: the age is a lower bound", async () => {
    const queue = await declare("killed");
    const watched = await watch();
    await watched.until("killed", { depth: 0, accuracy: "EXACT" });
    const worker = await connect(rabbitmq.amqpUrl);
    worker.on("error", () => {});
    const channel = await worker.createChannel();
    channel.on("error", () => {});
    await channel.prefetch(3);
    await queue.publish(3);
    await channel.consume("killed", () => {});
    // Else what is counted later looks like messages that came then, and not like those that are put back.
    await eventually(async () =>
      expect(await rabbitmq.counted("killed")).toEqual({ published: 3, delivered: 3 }),
    );
    await watched.until("killed", { depth: 0, inFlight: 3, headAgeMs: null });
    await queue.publish(2);
    await watched.until("killed", { depth: 2, inFlight: 3, accuracy: "ESTIMATED" });
    // As a process does that is killed.
    (worker.connection as unknown as { stream: { destroy(): void } }).stream.destroy();
    await watched.until("killed", { depth: 5, inFlight: 0, accuracy: "LOWER_BOUND" });
    await queue.take(5);
    await watched.until("killed", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("messages that expire leave, and those that come by dead-lettering make the age a lower bound", async () => {
    await declare("dead");
    const queue = await declare("expires", {
      arguments: { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" },
    });
    const watched = await watch();
    await watched.until("dead", { depth: 0, accuracy: "EXACT" });
    await queue.publish(3, { expiration: "1000" });
    const dead = await watched.until("dead", {
      depth: 3,
      accuracy: expect.stringMatching(/ESTIMATED|LOWER_BOUND/),
    });
    await watched.until("dead", {
      depth: 3,
      accuracy: "LOWER_BOUND",
      headAgeMs: expect.toSatisfy((age) => age > (dead.headAgeMs ?? 0)),
    });
    await watched.until("expires", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("a queue with priorities has a lower bound", async () => {
    const queue = await declare("priorities", { maxPriority: 5 });
    const watched = await watch();
    await watched.until("priorities", { depth: 0, accuracy: "EXACT" });
    await queue.publish(1);
    await queue.publish(1, { priority: 5 });
    await watched.until("priorities", { depth: 2, accuracy: "LOWER_BOUND" });
  });

  test("a full queue that refuses messages has a lower bound: RabbitMQ counts them as published", async () => {
    const queue = await declare("full", { maxLength: 2, arguments: { "x-overflow": "reject-publish" } });
    const watched = await watch();
    await watched.until("full", { depth: 0, accuracy: "EXACT" });
    await queue.publish(2);
    await expect(queue.publish(3)).rejects.toThrow("nacked");
    await eventually(async () => expect(await rabbitmq.counted("full")).toMatchObject({ published: 5 }));
    await watched.until("full", { depth: 2, accuracy: "LOWER_BOUND" });
  });

  test("names of queues and of virtual hosts may have any characters", async () => {
    const [vhost, name] = ["50% ü%2f/x", "a%2Fb ü?&=#+/c"];
    const path = (kind: string, ...parts: string[]) => [kind, ...parts.map(encodeURIComponent)].join("/");
    await rabbitmq.manage("PUT", path("vhosts", vhost));
    const may = { configure: ".*", write: ".*", read: ".*" };
    for (const user of ["admin", "watcher"])
      await rabbitmq.manage("PUT", path("permissions", vhost, user), may);
    await rabbitmq.manage("PUT", path("queues", vhost, name), { durable: true });
    for (const url of [rabbitmq.url, `${rabbitmq.url}?vhosts=${encodeURIComponent(vhost)}`])
      await (await watch(url)).until(`${vhost}/${name}`, { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("queues of virtual hosts have their name in front, and ?vhosts= reads only those", async () => {
    await rabbitmq.manage("PUT", "vhosts/a%2Fb");
    await rabbitmq.manage("PUT", "permissions/a%2Fb/admin", { configure: ".*", write: ".*", read: ".*" });
    await rabbitmq.manage("PUT", "permissions/a%2Fb/watcher", { configure: "^$", write: "^$", read: "^$" });
    await rabbitmq.manage("PUT", "queues/a%2Fb/mail", { durable: true });
    await rabbitmq.manage("PUT", "queues/%2F/gone", { durable: true });
    const all = await watch();
    await all.until("a/b/mail", { depth: 0, headAgeMs: null });
    await all.until("gone", { depth: 0 });
    await rabbitmq.manage("DELETE", "queues/%2F/gone");
    await all.untilGone("gone");
    const one = await watch(`${rabbitmq.url}?vhosts=a%2Fb`);
    await one.until("a/b/mail", { depth: 0 });
    expect((await one.next()).queues).toHaveLength(1);
    const missing = await watch(`${rabbitmq.url}?vhosts=missing`);
    const { fields } = await missing.logged("source unavailable");
    expect(String(fields.err)).toContain("404");
  });

  test("neither of two queues of one name has numbers, and a warning names both", async () => {
    await rabbitmq.manage("PUT", "vhosts/clash");
    await rabbitmq.manage("PUT", "permissions/clash/admin", { configure: ".*", write: ".*", read: ".*" });
    await rabbitmq.manage("PUT", "permissions/clash/watcher", { configure: "^$", write: "^$", read: "^$" });
    await rabbitmq.manage("PUT", "queues/clash/mail", { durable: true });
    const watched = await watch();
    await watched.until("clash/mail", { depth: 0 });
    await rabbitmq.manage("PUT", "queues/%2F/clash%2Fmail", { durable: true });
    await watched.until("clash/mail", { depth: null, headAgeMs: null, accuracy: "UNKNOWN" });
    const { fields } = await watched.logged("several queues have one name");
    expect(fields).toMatchObject({
      queue: "clash/mail",
      origins: expect.arrayContaining([
        'virtual host "clash", queue "mail"',
        'virtual host "/", queue "clash/mail"',
      ]),
    });
    await rabbitmq.manage("DELETE", "queues/%2F/clash%2Fmail");
    await watched.until("clash/mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("more queues than the limit are not read, with one warning", async () => {
    for (const name of ["limit-a", "limit-b", "limit-c"])
      await rabbitmq.manage("PUT", `queues/%2F/${name}`, { durable: true });
    const watched = await watchSource((wiring) =>
      createRabbitmqSource({ url: rabbitmq.url, intervalMs, maxQueues: 2, pageSize: 2, ...wiring }),
    );
    const { fields } = await watched.logged("skipped queues beyond the limit");
    expect(fields).toMatchObject({ read: 2 });
    const reports = watched.seen.length;
    expect((await watched.next()).queues).toHaveLength(2);
    await eventually(() => expect(watched.seen.length).toBeGreaterThan(reports + 2));
    const warnings = watched.log.filter(({ message }) => message.startsWith("skipped"));
    expect(warnings).toHaveLength(1);
  });

  test("a deletion that moves a queue to a page that was read already hides none", async () => {
    for (const name of ["page-a", "page-b", "page-c", "page-d"])
      await rabbitmq.manage("PUT", `queues/%2F/${name}`, { durable: true });
    const proxy = await startProxy(new URL(rabbitmq.url).port);
    const watched = await watchSource((wiring) =>
      createRabbitmqSource({ url: proxied(rabbitmq.url, proxy.port), intervalMs, pageSize: 2, ...wiring }),
    );
    await watched.until("page-d", { depth: 0 });
    const from = watched.seen.length;
    // The first of a page before: all others move on by one.
    let deletions = 0;
    proxy.beforePage = async (page) => {
      if (page !== 2 || deletions > 0) return;
      deletions += 1;
      await rabbitmq.manage("DELETE", "queues/%2F/page-a");
    };
    await watched.untilGone("page-a");
    expect(deletions).toBe(1);
    for (const { queues } of watched.seen.slice(from)) {
      const names = queues.map(({ queue }) => queue);
      expect(names).toEqual(expect.arrayContaining(["page-b", "page-c", "page-d"]));
    }
  });

  describe("behind a management API that fails", () => {
    const page = (items: unknown) => ({ body: JSON.stringify({ items, page_count: 1 }) });
    const faults: readonly { readonly what: string; readonly answer: OtherAnswer; readonly says: RegExp }[] =
      [
        { what: "401", answer: { status: 401 }, says: /^401: the user is unknown/ },
        { what: "403", answer: { status: 403 }, says: /^403: the user may not use/ },
        { what: "404", answer: { status: 404 }, says: /^404: there is no management API/ },
        { what: "500", answer: { status: 500, body: "oops" }, says: /^RabbitMQ answered 500$/ },
        { what: "503", answer: { status: 503, body: "<html>" }, says: /^RabbitMQ answered 503$/ },
        { what: "a redirect", answer: { status: 302, body: "" }, says: /^302: it redirects/ },
        {
          what: "a login page",
          answer: { body: "<html>Log in</html>" },
          says: /^expected an object in JSON/,
        },
        { what: "half a text", answer: { body: '{"items":[{"na' }, says: /^expected an object in JSON/ },
        { what: "null", answer: { body: "null" }, says: /^expected an object in JSON/ },
        { what: "all queues at once", answer: { body: "[]" }, says: /^expected a page of queues/ },
        { what: "no queue where one should be", answer: page([null]), says: /^expected a page of queues/ },
        {
          what: "a queue without a name",
          answer: page([{ vhost: "/" }]),
          says: /^expected a page of queues/,
        },
        {
          what: "an answer that is cut",
          answer: { body: "{}", isCut: true },
          says: /^aborted$|terminated|hang up/,
        },
        {
          what: "9 MB",
          answer: { body: " ".repeat(9_000_000) },
          says: /^the answer has more than 8000000 bytes$/,
        },
      ];

    test("nothing is reported, the cause is logged once, and all is right again by itself", async () => {
      await rabbitmq.manage("PUT", "queues/%2F/fails", { durable: true });
      const proxy = await startProxy(new URL(rabbitmq.url).port);
      const watched = await watch(proxied(rabbitmq.url, proxy.port));
      for (const { what, answer, says } of faults) {
        await watched.until("fails", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
        const from = watched.log.length;
        const failures = () =>
          watched.log.slice(from).filter(({ message }) => message === "source unavailable");
        proxy.instead = answer;
        await eventually(() => expect(failures().length, what).toBeGreaterThanOrEqual(2));
        const count = watched.seen.length;
        await eventually(() => expect(failures().length, what).toBeGreaterThanOrEqual(4));
        expect(watched.seen, what).toHaveLength(count);
        proxy.instead = null;
        await eventually(() =>
          expect(watched.log.slice(from).map(({ message }) => message)).toContain("source available again"),
        );
        expect(
          failures().filter(({ level }) => level === "warn"),
          what,
        ).toHaveLength(1);
        expect(messageOf(failures()[0]?.fields.err), what).toMatch(says);
      }
    });

    test("a count that is none makes its queue unknown, and no other", async () => {
      const counts = [-1, "5", null, 1.5, {}];
      const well = { vhost: "/", name: "well", messages_ready: 0, messages_unacknowledged: 0 };
      const odd = counts.flatMap((count, n) => [
        { ...well, name: `ready-${n}`, messages_ready: count },
        { ...well, name: `stats-${n}`, messages_ready: 3, message_stats: { publish: count } },
      ]);
      const proxy = await startProxy(new URL(rabbitmq.url).port);
      proxy.instead = page([...odd, well]);
      const watched = await watch(proxied(rabbitmq.url, proxy.port));
      await watched.until("well", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
      for (const n of counts.keys()) {
        expect(watched.latest(`ready-${n}`)).toMatchObject({
          depth: null,
          headAgeMs: null,
          accuracy: "UNKNOWN",
        });
        // As one that has no statistics yet: its messages have been there since the first reading at least.
        expect(watched.latest(`stats-${n}`)).toMatchObject({ depth: 3, accuracy: "LOWER_BOUND" });
      }
    });
  });

  test("a wrong password is logged, and the password is not", async () => {
    const watched = await watch(rabbitmq.url.replace(/watcher:[^@]*/, "watcher:hunter2"));
    const { fields } = await watched.logged("source unavailable", 2);
    expect(String(fields.err)).toContain("401");
    expect(
      JSON.stringify(watched.log.map(({ fields: { err, ...rest } }) => [String(err), rest])),
    ).not.toContain("hunter2");
  });
});

/** What of the broker's settings lets it count no message, and what the warning says of it. */
const settingsWithoutCounts = [
  { line: "management.rates_mode = none", says: "rates_mode", isLengthKnown: true },
  { line: "management_agent.disable_metrics_collector = true", says: "disable", isLengthKnown: false },
];

describe.skipIf(whyNoRabbitmq !== null)(title, () => {
  test.each(settingsWithoutCounts)("no age is known with $line, and a warning says so", async (row) => {
    const { line, says, isLengthKnown } = row;
    await using rabbitmq = await startRabbitmq(statisticsMs, [line]);
    const connection = await connect(rabbitmq.amqpUrl);
    // It ends with the broker, if it was not closed before.
    connection.on("error", () => {});
    const channel = await connection.createConfirmChannel();
    channel.on("error", () => {});
    await channel.assertQueue("flow");
    const watched = await watchSource((wiring) =>
      createRabbitmqSource({ url: rabbitmq.url, intervalMs, ...wiring }),
    );
    const { fields } = await watched.logged("RabbitMQ counts no messages: ages of their heads are unknown");
    expect(String(fields.err)).toContain(says);
    for (let i = 0; i < 3; i++) channel.sendToQueue("flow", Buffer.from("x"));
    await channel.waitForConfirms();
    if (!isLengthKnown) {
      await watched.until("flow", { depth: null, headAgeMs: null, accuracy: "UNKNOWN" });
    } else {
      const first = await watched.until("flow", { depth: 3, accuracy: "UNKNOWN" });
      // Never calm: for how long it has been unknown.
      await watched.until("flow", {
        ...{ depth: 3, accuracy: "UNKNOWN" },
        headAgeMs: expect.toSatisfy((age) => age > (first.headAgeMs ?? 0)),
      });
    }
    await watched.stop();
    await connection.close();
  });
});

interface OtherAnswer {
  /** @default 200 */
  readonly status?: number;
  readonly body?: string;
  /** Whether the connection ends before all of it was sent. */
  readonly isCut?: boolean;
}

interface Proxy {
  readonly port: number;
  beforePage: (page: number) => Promise<void>;
  /** What is answered in place of a page of queues. */
  instead: OtherAnswer | null;
}

/** Passes requests on to the management API. */
async function startProxy(port: string): Promise<Proxy> {
  const proxy = {
    ...{ port: 0, beforePage: async (_: number): Promise<void> => {} },
    instead: null as OtherAnswer | null,
  };
  const server = createServer((incoming, outgoing) => {
    const target = new URL(incoming.url ?? "/", `http://127.0.0.1:${port}`);
    const answer = async () => {
      if (proxy.instead !== null && target.pathname.includes("/queues")) {
        const { status = 200, body = "", isCut = false } = proxy.instead;
        const length = Buffer.byteLength(body) + (isCut ? 1 : 0);
        outgoing.writeHead(status, { "content-length": length });
        outgoing.write(body, () => isCut && outgoing.destroy());
        if (!isCut) outgoing.end();
        return;
      }
      await proxy.beforePage(Number(target.searchParams.get("page")));
      const response = await fetch(target, {
        headers: { authorization: incoming.headers.authorization ?? "" },
      });
      outgoing.writeHead(response.status, { date: response.headers.get("date") ?? "" });
      outgoing.end(await response.text());
    };
    answer().catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  proxy.port = (server.address() as AddressInfo).port;
  return proxy;
}

function proxied(url: string, port: number): string {
  const moved = new URL(url);
  moved.port = String(port);
  return String(moved).replace(/\/$/, "");
}

/** When the head came, as the source reports it. */
function sinceOf(seen: Observation | undefined): number {
  return (seen?.readAtMs ?? Number.NaN) - (seen?.headAgeMs ?? Number.NaN);
}

test.each([
  "hunter2",
  "amqp://user:hunter2@host",
  "http://host",
  "http://user:hunter2%@host",
  "http://user:hunter2@host?vhost=x",
])("refuses the URL %s, and does not repeat it", (url) => {
  const options = { url, intervalMs, sink: { observe: async () => {} }, logger: silentLogger };
  expect(() => createRabbitmqSource(options)).toThrow(StartError);
  expect(() => createRabbitmqSource(options)).not.toThrow(/hunter2/);
});
