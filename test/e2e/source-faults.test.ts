import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { intervalSetting, polledKindNames, urlSetting } from "../../src/settings/source-kinds.ts";
import { jobSystemKeys } from "../support/job-systems.ts";
import { type LogEntry, type RecordingLogger, recordingLogger } from "../support/logger.ts";
import { startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { type Relay, startRelay } from "../support/relay.ts";
import { ask, startApp } from "../support/server.ts";
import { sseTransport } from "../support/streams.ts";
import { until } from "../support/until.ts";

/** The Redis that has the jobs of every job system, each in a database of its own, and the network that leads to it. */
interface Watched {
  readonly server: TestRedis;
  readonly at: Redis;
  readonly relay: Relay;
}

interface Fault {
  readonly name: string;
  readonly why: string;
  /** Resolves when it has struck; what it returns ends it. */
  readonly strike: (watched: Watched) => Promise<() => Promise<unknown>>;
  /** Why its queues are stale, as the log says it; null: they are right all the time. */
  readonly cause: RegExp | null;
}

const faults: readonly Fault[] = [
  {
    ...{ name: "hangs", why: "SIGSTOP: connections are there, and no answer comes" },
    async strike({ server }) {
      process.kill(server.pid, "SIGSTOP");
      return async () => process.kill(server.pid, "SIGCONT");
    },
    cause: /timed out|no full answer|ETIMEDOUT/,
  },
  {
    ...{ name: "is far away", why: "200 ms there and back, several times in a reading" },
    async strike({ relay }) {
      relay.slowDown(100);
      return async () => relay.slowDown(0);
    },
    cause: null,
  },
  {
    ...{ name: "is cut in the middle of each answer", why: "half an answer is none" },
    async strike({ relay }) {
      relay.truncate(2);
      return async () => relay.truncate(Number.POSITIVE_INFINITY);
    },
    cause: /the connection was closed|ECONNRESET/,
  },
  {
    ...{ name: "is killed", why: "what it had is there when it is back" },
    async strike({ server }) {
      await server.kill();
      return () => server.restart();
    },
    cause: /the connection was closed|ECONNRESET/,
  },
  {
    ...{ name: "is full", why: "OOM: what only reads goes on" },
    async strike({ at }) {
      await at.config("SET", "maxmemory", "1");
      return () => at.config("SET", "maxmemory", "0");
    },
    cause: null,
  },
  {
    ...{ name: "has become a replica, and has lost its master", why: "it answers with what it had then" },
    async strike({ at }) {
      await at.replicaof("127.0.0.1", "1");
      return () => at.replicaof("NO", "ONE");
    },
    cause: /a replica that has lost its master 127\.0\.0\.1:1/,
  },
  {
    ...{ name: "takes the right to run scripts away", why: "NOPERM: the search for keys goes on" },
    async strike({ at }) {
      await at.acl("SETUSER", "default", "-@scripting");
      return () => at.acl("SETUSER", "default", "+@scripting");
    },
    cause: /NOPERM/,
  },
  {
    ...{ name: "takes the right to search its keys away", why: "NOPERM: known queues are read all the same" },
    async strike({ at }) {
      await at.acl("SETUSER", "default", "-scan");
      return () => at.acl("SETUSER", "default", "+scan");
    },
    cause: null,
  },
  {
    ...{ name: "wants a password that we do not have", why: "NOAUTH at the next connection" },
    async strike({ at, relay }) {
      await at.acl("SETUSER", "default", "resetpass", ">secret");
      relay.cut();
      return () => at.acl("SETUSER", "default", "nopass");
    },
    cause: /NOAUTH/,
  },
];

/** What any source may meet first: a connection that is being closed, or a machine that is too busy to be in time. */
const lostOrLate = /the connection was closed|ECONNRESET|EPIPE|timed out|no full answer/;

interface Numbers {
  readonly queue: string;
  readonly depth: number | null;
  readonly stale: boolean;
  readonly measuredAt: string;
}

const selection = "queue state depth stale measuredAt";
/** Of another Redis, which is well. */
const other = "well/mail";

describe("while the Redis of all job systems", () => {
  let watched: Watched;
  let app: Awaited<ReturnType<typeof startApp>>;
  let logger: RecordingLogger;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    const server = await startRedis({ appendonly: true });
    const well = await startRedis();
    closing.push(server.stop, well.stop);
    const relay = await startRelay(server.url);
    const at = new Redis(server.url);
    at.on("error", () => {});
    closing.push(
      () => relay[Symbol.asyncDispose](),
      () => at.disconnect(),
    );
    watched = { server, at, relay };
    await add("mail");
    const there = new Redis(well.url);
    await jobSystemKeys.find(({ kind }) => kind === "sidekiq")?.addQueue(there, "mail");
    there.disconnect();
    const urls = jobSystemKeys.map(({ kind, parameters = "" }, database) => {
      const url = new URL(`/${database}${parameters}`, relay.url).href;
      return [urlSetting(kind), kind === "sidekiq" ? `${url} ${well.url}?as=well` : url];
    });
    logger = recordingLogger();
    app = await startApp(
      {
        ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
        ...{ RATE_LIMIT_MAX: "1000000", MAX_AGE: "0" },
        ...Object.fromEntries(urls),
        ...Object.fromEntries(polledKindNames.map((kind) => [intervalSetting(kind), "500ms"])),
      },
      logger,
    );
    closing.push(app.stop);
  });
  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
  });

  const queuesNamed = (name: string) => jobSystemKeys.map(({ kind, queueOf }) => `${kind}/${queueOf(name)}`);

  /** A queue of this name, with one job, in every job system. */
  async function add(name: string): Promise<void> {
    for (const [database, { addQueue }] of jobSystemKeys.entries()) {
      const there = new Redis(`${watched.server.url}${database}`);
      await addQueue(there, name);
      there.disconnect();
    }
  }

  async function read(queues: readonly string[]): Promise<readonly Numbers[]> {
    const query = `query ($queues: [String!]!) { queueLatency(queues: $queues) { ${selection} } }`;
    const { body } = await ask(app.url, query, { queues });
    expect(body.errors).toBeUndefined();
    return body.data.queueLatency;
  }

  const warnings = (from: number) => logger.lines.slice(from).filter(({ level }) => level === "warn");
  const unavailable = (from: number) =>
    warnings(from).filter(({ message }) => message === "source unavailable");

  /** Until every queue of these names is fresh, and has its one job. */
  async function untilRight(names: readonly string[], after = ""): Promise<readonly Numbers[]> {
    const queues = [other, ...names.flatMap(queuesNamed)];
    return await until(async () => {
      const numbers = await read(queues);
      const right = { state: "WAITING", depth: 1, stale: false };
      expect(numbers).toMatchObject(queues.map((queue) => ({ queue, ...right })));
      for (const { measuredAt } of numbers)
        expect(Date.parse(measuredAt)).toBeGreaterThan(Date.parse(after) || 0);
      return numbers;
    }, 100);
  }

  /** All ways in which the state of the queues leaves the server say that they are stale, and that the other one is not. */
  async function untilStale(queues: readonly string[], pushed: ReadonlyMap<string, Numbers>): Promise<void> {
    const fresh = (all: Iterable<Numbers>) =>
      [...all].filter(({ stale }) => !stale).map(({ queue }) => queue);
    await until(async () => {
      expect(fresh(await read([other, ...queues]))).toEqual([other]);
      expect(fresh(pushed.values())).toEqual([other]);
      const metrics = await (await fetch(`${app.url}/metrics`)).text();
      expect(metrics).toContain(`queue_depth{queue="${other}"`);
      for (const queue of queues) expect(metrics).not.toContain(`queue_depth{queue="${queue}"`);
      for (const queue of queues) expect(metrics).toMatch(new RegExp(`queue_stale{queue="${queue}".*} 1\n`));
    }, 100);
  }

  test.each(faults)(
    "$name, none of its queues has a wrong number, and no other has any harm: $why",
    async (fault) => {
      const { name, cause, strike } = fault;
      await untilRight(["mail"]);
      const queues = queuesNamed("mail");
      await using transport = sseTransport(app.url);
      const stream = transport.subscribe(
        `subscription ($queues: [String!]!) { queueLatency(queues: $queues) { ${selection} } }`,
        { queues: [other, ...queues] },
      );
      const pushed = new Map<string, Numbers>();
      (async () => {
        for await (const { data } of stream)
          for (const numbers of data?.queueLatency ?? []) pushed.set(numbers.queue, numbers);
      })().catch(() => {});
      await until(() => expect(pushed.size).toBe(queues.length + 1));
      const from = logger.lines.length;

      const heal = await strike(watched);
      onTestFinished(async () => {
        await heal();
      });
      if (cause === null) {
        // Of later than a reading is believed.
        const [first] = await untilRight(["mail"]);
        const later = new Date(Date.parse(String(first?.measuredAt)) + 5_000).toISOString();
        await untilRight(["mail"], later);
        const causes = unavailable(from).map(({ fields: { err } }) => String(err));
        expect(causes.filter((err) => !lostOrLate.test(err))).toEqual([]);
        const refused = warnings(from).filter(({ message }) => message.startsWith("SCAN refused"));
        expect(refused.length).toBeLessThanOrEqual(queues.length);
      } else {
        await untilStale(queues, pushed);
        for (const { kind } of jobSystemKeys) {
          const isOfKind = ({ fields: { source } }: LogEntry) => source === kind;
          // On a busy machine its outage may have begun before.
          await until(() => {
            const notable = logger.lines.filter(({ level }) => level !== "debug").filter(isOfKind);
            const outage = notable.filter(({ message }) => /^source (un)?available/.test(message)).at(-1);
            expect(outage?.message, kind).toBe("source unavailable");
          });
          const outages = unavailable(from).filter(isOfKind);
          // On a busy machine one may have begun and ended before it struck.
          const ended = logger.lines.slice(from).filter(isOfKind);
          const endedCount = ended.filter(({ message }) => message === "source available again").length;
          expect(outages.length - endedCount, kind).toBeLessThanOrEqual(1);
        }
        const causes = unavailable(from).map(({ fields: { err } }) => String(err));
        expect(causes.filter((err) => !cause.test(err) && !lostOrLate.test(err))).toEqual([]);
        expect(causes.some((err) => cause.test(err))).toBe(true);
      }
      await heal();
      const late = `after-${name.replaceAll(/\W+/g, "-")}`;
      await add(late);
      await untilRight(["mail", late]);
      await until(() => {
        for (const queue of queues) expect(pushed.get(queue)).toMatchObject({ depth: 1, stale: false });
      });
    },
  );
});
