import { Client } from "faktory-worker";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { onThisMachine } from "../support/busy-machine.ts";
import { startFaktory, type TestFaktory, whyNoFaktory } from "../support/faktory.ts";
import { uniquePrefix } from "../support/redis.ts";
import { startRelay } from "../support/relay.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";
import { sse } from "../support/streams.ts";
import { until } from "../support/until.ts";

const title = whyNoFaktory === null ? "servers that share a Redis" : `servers (${whyNoFaktory})`;
const selection = "queue source state latency oldestSince depth stale";
const reads = '"msg":"started reading a source"';

/** One head is read anew by every reader, each time off by as much as half a round trip on a busy machine. */
const toleranceMs = () => onThisMachine(50);

interface Reported {
  readonly state: string;
  readonly oldestSince: string | null;
  readonly depth: number;
  readonly stale: boolean;
  readonly arrivedAtMs: number;
}

describe.skipIf(whyNoFaktory !== null)(title, () => {
  let faktory: TestFaktory;
  let jobs: Client;
  let queueNumber = 0;

  beforeAll(async () => {
    faktory = await startFaktory({ password: "s3cret" });
    jobs = new Client({ url: faktory.url, poolSize: 2 });
  });
  afterAll(async () => {
    await jobs?.close();
    await faktory?.stop();
  });

  /** Servers on one Redis, all set to read one Faktory, in which two jobs wait in a queue of the test's own. */
  async function start(count: number) {
    const relay = await startRelay(faktory.url);
    onTestFinished(() => relay[Symbol.asyncDispose]());
    const queue = `q${queueNumber++}`;
    for (let n = 0; n < 2; n++) await jobs.push({ jobtype: "work", queue });
    const env = {
      ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
      ...{ FAKTORY_URL: relay.url, FAKTORY_INTERVAL: "250ms" },
    };
    const servers = await Promise.all(Array.from({ length: count }, () => startServer(env)));
    onTestFinished(async () => {
      await Promise.all(servers.map((server) => server.kill()));
    });
    const name = `faktory/${queue}`;
    for (const { url } of servers) {
      await until(async () => expect(await latencyOf(url, name)).toMatchObject({ depth: 2 }));
    }
    const push = () => jobs.push({ jobtype: "work", queue });
    return { relay, name, push, servers, ...(await sortOut(servers)) };
  }

  async function sortOut(servers: readonly TestServer[]) {
    const readers = servers.filter(({ stderr }) => stderr().includes(reads));
    expect(readers).toHaveLength(1);
    const [reader] = readers as [TestServer];
    const others = servers.filter((server) => server !== reader);
    return { reader, others, witness: others[0] as TestServer };
  }

  it("are seen by Faktory as one reader, and all report the same", async () => {
    const { relay, name, servers } = await start(3);
    const [first, ...rest] = await Promise.all(servers.map(({ url }) => latencyOf(url, name)));
    expect(first).toMatchObject({ source: "faktory", state: "WAITING", depth: 2, stale: false });
    expect(rest.map(({ depth, stale }) => ({ depth, stale }))).toEqual(
      rest.map(() => ({ depth: 2, stale: false })),
    );
    expect(spreadMs([first, ...rest])).toBeLessThan(toleranceMs());
    expect({ open: relay.open, maxOpen: relay.maxOpen }).toEqual({ open: 1, maxOpen: 1 });
  });

  it("go on within five seconds when the one that reads is killed, with no wrong word to a subscriber", async () => {
    const { relay, name, push, reader, witness } = await start(3);
    const subscription = listen(witness, name);
    await subscription.until(({ depth }) => depth === 2);
    await reader.kill();
    const killedAtMs = performance.now();
    await push();
    const next = await subscription.until(({ depth, stale }) => depth === 3 && !stale);
    expect(next.arrivedAtMs - killedAtMs).toBeLessThan(onThisMachine(5_000));
    expectNothingWrong(subscription.all, [2, 3]);
    expect({ open: relay.open, maxOpen: relay.maxOpen }).toEqual({ open: 1, maxOpen: 1 });
  });

  it("go on at once when the one that reads stops, so that nothing is stale for a moment", async () => {
    const { relay, name, push, reader, witness } = await start(2);
    const subscription = listen(witness, name);
    await subscription.until(({ depth }) => depth === 2);
    expect(await reader.stop()).toBe(0);
    const stoppedAtMs = performance.now();
    await push();
    const next = await subscription.until(({ depth }) => depth === 3);
    expect(next.arrivedAtMs - stoppedAtMs).toBeLessThan(onThisMachine(1_000));
    expectNothingWrong(subscription.all, [2, 3]);
    expect(subscription.all.some(({ stale }) => stale)).toBe(false);
    expect({ open: relay.open, maxOpen: relay.maxOpen }).toEqual({ open: 1, maxOpen: 1 });
  });

  it("go on without the one that reads while it is frozen, which then stands back", async () => {
    const { relay, name, push, reader, witness } = await start(2);
    const subscription = listen(witness, name);
    await subscription.until(({ depth }) => depth === 2);
    process.kill(reader.pid, "SIGSTOP");
    onTestFinished(() => resume(reader));
    await push();
    await subscription.until(({ depth, stale }) => depth === 3 && !stale);
    process.kill(reader.pid, "SIGCONT");
    await until(() => expect(reader.stderr()).toContain("lost lease"));
    await until(() => expect(relay.open).toBe(1));
    relay.countAnew();
    await push();
    await subscription.until(({ depth }) => depth === 4);
    expectNothingWrong(subscription.all, [2, 3, 4]);
    expect({ open: relay.open, maxOpen: relay.maxOpen }).toEqual({ open: 1, maxOpen: 1 });
    // It serves what the other one reads.
    expect(await latencyOf(reader.url, name)).toMatchObject({ depth: 4, stale: false });
  });

  it("read two systems of one kind, each under its own name, and keep their queues apart", async () => {
    await using other = await startFaktory();
    const queue = `q${queueNumber++}`;
    const client = new Client({ url: other.url, poolSize: 1 });
    await jobs.push({ jobtype: "work", queue });
    for (let n = 0; n < 3; n++) await client.push({ jobtype: "work", queue });
    await client.close();
    await using server = await startServer({
      ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
      FAKTORY_URL: `${faktory.url} ${other.url}?as=billing`,
    });
    const reported = async () => [
      await latencyOf(server.url, `faktory/${queue}`),
      await latencyOf(server.url, `billing/${queue}`),
    ];
    await until(async () =>
      expect(await reported()).toMatchObject([
        { source: "faktory", depth: 1 },
        { source: "billing", depth: 3 },
      ]),
    );
    const { body } = await ask(
      server.url,
      `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "billing/x", jobId: "1" }]) { accepted } }`,
    );
    expect(body.errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
  });
});

async function latencyOf(url: string, queue: string) {
  const { body } = await ask(url, `query ($q: [String!]!) { queueLatency(queues: $q) { ${selection} } }`, {
    q: [queue],
  });
  expect(body.errors).toBeUndefined();
  return body.data.queueLatency[0];
}

/** A subscription that keeps every push. */
function listen({ url }: TestServer, queue: string) {
  const all: Reported[] = [];
  const stream = sse(url, `subscription ($q: [String!]!) { queueLatency(queues: $q) { ${selection} } }`, {
    q: [queue],
  });
  onTestFinished(() => stream.abort());
  return {
    all,
    async until(isIt: (reported: Reported) => boolean): Promise<Reported> {
      for (;;) {
        const push = await stream.next();
        if (push.done) throw new Error("the stream ended");
        const reported: Reported = {
          ...push.value.data.queueLatency[0],
          arrivedAtMs: push.value.arrivedAtMs,
        };
        all.push(reported);
        if (isIt(reported)) return reported;
      }
    },
  };
}

/** Of the times that the head is said to wait since. */
function spreadMs(all: readonly Reported[]): number {
  const times = all.map(({ oldestSince }) => Date.parse(String(oldestSince)));
  return Math.max(...times) - Math.min(...times);
}

/** The queue waited all along, its head stayed, and its depth only ever took the next of these values. */
function expectNothingWrong(all: readonly Reported[], depths: readonly number[]): void {
  expect(new Set(all.map(({ state }) => state))).toEqual(new Set(["WAITING"]));
  expect(spreadMs(all)).toBeLessThan(toleranceMs());
  const steps = all.map(({ depth }) => depth).filter((depth, index, list) => depth !== list[index - 1]);
  expect(steps).toEqual(depths);
}

function resume({ pid }: TestServer): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch {
    // It has ended.
  }
}
