import { Client } from "faktory-worker";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { onThisMachine } from "../support/busy-machine.ts";
import { startFaktory, type TestFaktory, whyNoFaktory } from "../support/faktory.ts";
import { recordingLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { sse } from "../support/streams.ts";
import { until } from "../support/until.ts";

const title = whyNoFaktory === null ? "a real Faktory" : `a real Faktory (${whyNoFaktory})`;
const intervalMs = 250;
const selection = "queue source state latency oldestSince depth scheduled accuracy measuredAt stale";

describe.skipIf(whyNoFaktory !== null)(title, () => {
  let faktory: TestFaktory;
  let jobs: Client;

  beforeAll(async () => {
    faktory = await startFaktory({ password: "s3cret/%" });
    jobs = new Client({ url: faktory.url, poolSize: 2 });
  });
  afterAll(async () => {
    await jobs?.close();
    await faktory?.stop();
  });

  const logger = recordingLogger();
  const start = () =>
    startApp(
      {
        REDIS_URL: inject("redisUrl"),
        KEY_PREFIX: uniquePrefix(),
        FAKTORY_URL: faktory.url,
        FAKTORY_INTERVAL: `${intervalMs}ms`,
        // What is compared with Faktory's own answers must be read between them.
        MAX_AGE: "0",
      },
      logger,
    );

  async function latencyOf(url: string, queue: string) {
    const { body } = await ask(url, `query ($q: [String!]!) { queueLatency(queues: $q) { ${selection} } }`, {
      q: [queue],
    });
    expect(body.errors).toBeUndefined();
    return body.data.queueLatency[0];
  }

  it("has the latency that Faktory itself reports, in the query and in the list", async () => {
    await jobs.push({ jobtype: "work", queue: "equal" });
    await jobs.push({ jobtype: "work", queue: "equal" });
    await using app = await start();
    await until(async () => expect(await latencyOf(app.url, "faktory/equal")).toMatchObject({ depth: 2 }));

    const before = await faktoryLatency(jobs, "equal");
    const ours = await latencyOf(app.url, "faktory/equal");
    const after = await faktoryLatency(jobs, "equal");
    expect(ours).toMatchObject({ source: "faktory", state: "WAITING", accuracy: "EXACT", stale: false });
    // Asked in between, it lies in between; a reading is off by half a round trip, and Redis's clock counts whole ms.
    const toleranceSeconds = onThisMachine(50) / 1_000;
    expect(ours.latency).toBeGreaterThanOrEqual(before - toleranceSeconds);
    expect(ours.latency).toBeLessThanOrEqual(after + toleranceSeconds);

    const { body } = await ask(
      app.url,
      `{ queues(prefix: "faktory/") { edges { node { queue throughput { enqueuedPerSecond } } } } }`,
    );
    expect(body.data.queues.edges).toContainEqual({ node: { queue: "faktory/equal", throughput: null } });
  });

  it("keeps its last reading when it goes away, marked as stale, and comes back by itself", async () => {
    await jobs.push({ jobtype: "work", queue: "away" });
    await using app = await start();
    const stream = sse(app.url, `subscription { queueLatency(queues: ["faktory/away"]) { ${selection} } }`);
    const pushed = async (wanted: object) => {
      for (;;) {
        const push = await stream.next();
        if (push.done) throw new Error("the stream ended");
        const [queue] = push.value.data.queueLatency;
        if (Object.entries(wanted).every(([name, value]) => queue[name] === value)) return queue;
      }
    };
    await pushed({ state: "WAITING", stale: false, depth: 1 });
    const warnings = () =>
      logger.lines.filter(({ level, message }) => level === "warn" && message === "source unavailable");
    const warnedBefore = warnings().length;

    await faktory.halt();
    const last = await pushed({ state: "WAITING", stale: true, depth: 1 });
    const later = await latencyOf(app.url, "faktory/away");
    expect(later).toEqual(last);
    expect(warnings()).toHaveLength(warnedBefore + 1);

    await faktory.resume();
    const back = await pushed({ state: "WAITING", stale: false, depth: 1 });
    expect(back.latency).toBeGreaterThan(last.latency);
    stream.abort();
    expect(JSON.stringify(logger.lines)).not.toContain("s3cret");
  });

  it("loses a queue that it removes, and refuses events that would pass for it", async () => {
    await jobs.push({ jobtype: "work", queue: "removed" });
    await using app = await start();
    await until(async () => expect(await latencyOf(app.url, "faktory/removed")).toMatchObject({ depth: 1 }));
    await jobs.send(["QUEUE", "REMOVE", "removed"]);
    await until(async () =>
      expect(await latencyOf(app.url, "faktory/removed")).toMatchObject({ state: "MISSING" }),
    );

    const { body } = await ask(
      app.url,
      `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "faktory/removed", jobId: "1" }]) { accepted } }`,
    );
    expect(body.errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
  });
});

async function faktoryLatency(jobs: Client, queue: string): Promise<number> {
  const answer: unknown = JSON.parse(await jobs.send(["QUEUE", "LATENCY", queue]));
  return Number(Reflect.get(Object(answer), queue));
}
