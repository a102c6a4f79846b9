import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import type { SnapshotParts } from "../../src/core/snapshot.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { allParts, openTracker, type TestTracker } from "../support/tracker.ts";

const start = 1_790_000_000_000;
const headOnly: SnapshotParts = {
  depth: false,
  scheduled: false,
  lost: false,
  throughput: new Set(),
  waitTime: new Set(),
};
const few = 10;
const many = 100_000;

/** No other client sends it commands, so all that it counts is ours. */
let server: TestRedis;
let opened: TestTracker;

beforeAll(async () => {
  server = await startRedis();
  opened = await openTracker(server.url, { now: () => start });
  for (const use of ["read", "fold"]) for (const size of [few, many]) await fill(`${use} ${size}`, size);
  // Redis gets every script once, and may then be asked by its hash alone.
  await opened.tracker.read([`read ${few}`], allParts);
});
afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await server?.stop();
});

function event(type: QueueEventType, queue: string, jobId: string, agoMs = 0): QueueEvent {
  return { type, queue, jobId, attempt: 0, atMs: start - agoMs, availableAtMs: null };
}

/** The job with the highest number is the head. */
async function fill(queue: string, size: number): Promise<void> {
  for (let from = 0; from < size; from += 5_000) {
    const count = Math.min(5_000, size - from);
    const batch = Array.from({ length: count }, (_, i) =>
      event("ENQUEUED", queue, `${from + i}`, from + i + 1_000),
    );
    await opened.tracker.record(batch, null);
  }
}

/** How often Redis ran each command, those of scripts included. */
async function commandsOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
  await opened.redis.config("RESETSTAT");
  await work();
  const stats = await opened.redis.info("commandstats");
  const counted = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
  return Object.fromEntries(
    counted
      .map(([, name, calls]): [string, number] => [String(name), Number(calls)])
      .filter(([name]) => name !== "info" && !name.startsWith("config")),
  );
}

describe("what Redis has to do", () => {
  it.each([
    { parts: allParts, why: "everything" },
    { parts: headOnly, why: "the head alone" },
  ])("to read $why of a queue is the same with 10 and with 100,000 waiting jobs", async ({ parts }) => {
    const read = (size: number) =>
      commandsOf(async () => {
        const [snapshot] = await opened.tracker.read([`read ${size}`], parts);
        expect(snapshot).toMatchObject({ state: "WAITING", latencyMs: size - 1 + 1_000 });
        expect(snapshot?.depth).toBe(parts.depth ? size : null);
      });
    const ofFew = await read(few);
    expect(ofFew).toMatchObject({ evalsha: 1 });
    expect(await read(many)).toEqual(ofFew);
  });

  it("to fold an event is the same with 10 and with 100,000 waiting jobs", async () => {
    const record = (size: number, type: QueueEventType, jobId: string) =>
      commandsOf(async () => {
        const result = await opened.tracker.record([event(type, `fold ${size}`, jobId)], null);
        expect(result.accepted).toBe(1);
      });
    const steps: [type: QueueEventType, jobId: (size: number) => string, why: string][] = [
      ["ENQUEUED", () => "new", "a new job"],
      ["DEQUEUED", (size) => `${size - 1}`, "the head"],
      ["REMOVED", () => "5", "a job in the middle"],
      ["DEQUEUED", () => "not enqueued", "a job whose enqueue is late"],
      ["ENQUEUED", () => "not enqueued", "the late enqueue"],
      ["DEQUEUED", () => "new", "the youngest job"],
    ];
    for (const [type, jobId, why] of steps) {
      const ofFew = await record(few, type, jobId(few));
      expect(ofFew, why).toMatchObject({ evalsha: 1 });
      expect(await record(many, type, jobId(many)), why).toEqual(ofFew);
    }
  });

  /** That no key was evicted is seen by these. */
  const keysAreThere = { exists: 1, zcard: 1 };

  it("counts nothing and opens no window when only the head is asked for", async () => {
    const { prefix } = opened;
    await using other = await openTracker(server.url, { now: () => start, prefix });
    await other.tracker.read([`read ${few}`], headOnly);
    const commands = await commandsOf(() => other.tracker.read([`read ${many}`], headOnly));
    expect(commands).toEqual({ evalsha: 1, hmget: 1, zrange: 2, ...keysAreThere });
  });

  it("looks for lost writes in one small read, and only of the queues that this process has written to", async () => {
    const commands = await commandsOf(() => opened.tracker.read([`read ${many}`], headOnly));
    expect(commands).toEqual({ evalsha: 1, hmget: 1, hget: 1, zrange: 2, ...keysAreThere });
  });

  it.each([
    { parts: { ...headOnly, depth: true }, more: { zcount: 1 }, why: "the depth is one count" },
    {
      parts: { ...headOnly, scheduled: true },
      more: {},
      why: "no job is scheduled where none is due next, which is known",
    },
    {
      parts: { ...headOnly, lost: true },
      more: { zcount: 1 },
      why: "those that wait for longer than MAX_WAIT are lost, too",
    },
    {
      parts: { ...headOnly, throughput: allParts.throughput },
      more: { hmget: 3 },
      why: "each window is one read",
    },
    {
      parts: { ...headOnly, waitTime: new Set(["ONE_MINUTE"] as const) },
      more: { hmget: 1 },
      why: "of wait times too",
    },
  ])("grows only by what is selected: $why", async ({ parts, more }) => {
    const head = await commandsOf(() => opened.tracker.read([`read ${many}`], headOnly));
    const added = Object.entries(more).map(([name, calls]) => [name, (head[name] ?? 0) + calls]);
    expect(await commandsOf(() => opened.tracker.read([`read ${many}`], parts))).toEqual({
      ...head,
      ...Object.fromEntries(added),
    });
  });

  it.each([
    { queueCount: 20, parts: headOnly, calls: 1, why: "queues that are read alike share a call" },
    {
      queueCount: 60,
      parts: headOnly,
      calls: 3,
      why: "a call of more than 25 queues would hold up other clients",
    },
    {
      queueCount: 20,
      parts: allParts,
      calls: 5,
      why: "a queue with six windows takes as long as seven without",
    },
  ])(
    "is $calls script calls for $queueCount queues, all in one round trip, however many ask in one tick: $why",
    async ({ queueCount, parts, calls }) => {
      const queues = Array.from({ length: queueCount }, (_, i) => `queue-${i}`);
      await opened.tracker.record(
        queues.map((queue) => event("ENQUEUED", queue, "a", 1_000)),
        null,
      );
      const writes = vi.spyOn((opened.redis as Redis).stream, "uncork");
      try {
        const commands = await commandsOf(async () => {
          const answers = await Promise.all(
            Array.from({ length: 50 }, (_, i) => opened.tracker.read(queues, i % 2 === 0 ? headOnly : parts)),
          );
          for (const answer of answers) {
            expect(answer.map(({ queue }) => queue)).toEqual(queues);
            expect(answer.every(({ latencyMs }) => latencyMs === 1_000)).toBe(true);
          }
        });
        // Of each queue the range of its head, and of what is due next.
        expect(commands).toMatchObject({ evalsha: calls, zrange: 2 * queueCount });
        expect(writes).toHaveBeenCalledTimes(1);
      } finally {
        writes.mockRestore();
      }
    },
  );

  it("is a script call for each of the parts that queues are read with, and one of all parts for a queue that is read with several", async () => {
    const [a, b, c] = ["parts-a", "parts-b", "parts-c"];
    await opened.tracker.record(
      [a, b, c].map((queue) => event("ENQUEUED", queue, "a", 1_000)),
      null,
    );
    const withDepth = { ...headOnly, depth: true };
    const commands = await commandsOf(async () => {
      const [first, second] = await Promise.all([
        opened.tracker.read([a, b], headOnly),
        opened.tracker.read([b, c], withDepth),
      ]);
      expect(first?.map(({ queue }) => queue)).toEqual([a, b]);
      expect(second?.map(({ depth }) => depth)).toEqual([1, 1]);
    });
    expect(commands).toMatchObject({ evalsha: 2, zrange: 6, zcount: 2 });
  });

  it("is one script call a queue for a batch of many events, and the index only for queues that are new", async () => {
    const batchOf = (name: string) =>
      ["x", "y", "z"].flatMap((queue) =>
        Array.from({ length: 300 }, (_, i) => event("ENQUEUED", queue, `${name}${i}`, i)),
      );
    const first = await commandsOf(() => opened.tracker.record(batchOf("first"), "first"));
    // Of which one lists the new queues, and one looks whether they are still listed now that they have a state.
    expect(first).toMatchObject({ evalsha: 3 + 2, publish: 3, zadd: 3 + 1 });
    const second = await commandsOf(() => opened.tracker.record(batchOf("second"), "second"));
    expect(second).toMatchObject({ evalsha: 3, publish: 3, zadd: 3 });
  });
});
