import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { wallClock } from "../../src/runtime/clock.ts";
import { celery } from "../../src/sources/lists/systems/celery.ts";
import { type Elapsed, expectSince, timed } from "../support/elapsed.ts";
import { countedOf, eventually, expectWait, watchLists } from "../support/list-source.ts";
import {
  type Releases,
  skipUnlessInstalled,
  startPython,
  startPythonModule,
  whyNoPythonLists,
} from "../support/python-jobs.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let server: TestRedis;
let databases = 0;

beforeAll(async () => {
  server = await startRedis({ args: ["--databases", "32"] });
});

afterAll(() => server?.stop());

interface Push {
  readonly countdown?: number;
  readonly priority?: number;
  readonly headers?: object;
  readonly fail?: boolean;
}

/** A real Celery with a database of its own. */
function createCelery(releases: Releases, transport: object = {}) {
  databases += 1;
  const url = `${server.url}${databases}`;
  const env = { CELERY_BROKER: url, CELERY_TRANSPORT: JSON.stringify(transport) };
  const app = startPython("celery_jobs.py", env, releases);
  const redis = new Redis(url);
  onTestFinished(() => redis.disconnect());
  return {
    url,
    redis,
    push: (queue: string, names: readonly string[], options: Push = {}) =>
      timed(() => app.ask({ do: "push", queue, names, ...options })),
    /** Between which two times each task was pushed, by the wall clock. */
    note: async (queue: string, names: readonly string[]) =>
      (await app.ask<{ readonly times: readonly Elapsed[] }>({ do: "push", queue, names })).times,
    purge: (queue: string) => app.ask({ do: "purge", queue }),
    restore: (queue: string) => app.ask({ do: "restore", queue }),
    takeAndReturn: (queue: string) => app.ask({ do: "takeAndReturn", queue }),
    startWorker(queue: string) {
      const options = [
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--loglevel=ERROR",
        "-c",
        "1",
      ];
      const args = ["-A", "celery_jobs", "worker", "-P", "solo", "-Q", queue, ...options];
      return startPythonModule("celery", args, env, releases);
    },
  };
}

const versions = [
  { version: "5.7", releases: "current", hasPrefix: true },
  { version: "4.4", releases: "older", hasPrefix: false },
] as const;
const isSkipped = whyNoPythonLists !== null;

describe.skipIf(isSkipped).each(versions)(`a real Celery $version${whyNoPythonLists ?? ""}`, (one) => {
  const { releases, hasPrefix } = one;
  skipUnlessInstalled(releases);

  test("has the age and the waits that its producer and its worker note, though its messages hold no time", async () => {
    const { url, push, note, startWorker } = createCelery(releases);
    const watched = await watchLists({ system: celery, url: `${url}?queues=mail` });
    await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    const pushed = await push("mail", ["a"]);
    const seen = { depth: 1, accuracy: "EXACT", scheduled: null, paused: false };
    expectSince(await watched.until("mail", seen), pushed);
    const burst = await note("mail", [...Array(10).fill("slow"), ...Array(40).fill("b")]);
    expectSince(await watched.until("mail", { depth: 51, accuracy: "EXACT" }), pushed);
    const startedAtMs = wallClock.epochMs();
    const worker = startWorker("mail");
    await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    await eventually(() => expect(worker.lines).toHaveLength(51));
    const { enqueued, waits, intervalMs } = countedOf(watched, "mail");
    expect(enqueued).toBe(51);
    expect(waits).toHaveLength(51);
    const begun = worker.lines.map(({ at }) => Number(at));
    // A worker has four tasks at most: it takes one more when the first of them is done.
    const takenOf = (i: number): Elapsed => [begun[i - 4] ?? startedAtMs, begun[i] ?? Number.NaN];
    for (const [i, times] of burst.entries()) expectWait(waits[i + 1], times, takenOf(i + 1), intervalMs);
    expect(watched.log.filter(({ level }) => level !== "debug")).toEqual([]);
  });

  test("has one queue for all its priorities, and the oldest of any is its head", async () => {
    const { url, push } = createCelery(releases);
    const watched = await watchLists({ system: celery, url: `${url}?queues=mail` });
    await watched.until("mail", { depth: 0 });
    const pushed = await push("mail", ["later"], { priority: 9 });
    await watched.until("mail", { depth: 1, accuracy: "EXACT" });
    await push("mail", ["first", "second"], { priority: 0 });
    await push("mail", ["third"], { priority: 4 });
    expectSince(await watched.until("mail", { depth: 4, accuracy: "EXACT" }), pushed);
  });

  test("a task with an ETA does not wait before, and one to retry waits anew", async () => {
    const { url, push, startWorker } = createCelery(releases);
    const watched = await watchLists({ system: celery, url: `${url}?queues=mail,retried` });
    await watched.until("mail", { depth: 0 });
    await push("mail", ["later"], { countdown: 3600 });
    // In the list, and no worker has taken it.
    await watched.until("mail", { depth: 0, headAgeMs: null });
    const pushed = await push("mail", ["now"]);
    expectSince(await watched.until("mail", { depth: 1, accuracy: "EXACT" }), pushed);
    await push("retried", ["a"], { fail: true });
    const worker = startWorker("retried");
    await eventually(() => expect(worker.lines.map(({ worked }) => worked)).toEqual(["a", "a"]));
    await watched.until("retried", { depth: 0, headAgeMs: null });
  });

  test("a task that was put back is a lower bound, and a purge leaves nothing", async () => {
    const { url, push, takeAndReturn, purge } = createCelery(releases);
    const watched = await watchLists({ system: celery, url: `${url}?queues=mail` });
    await watched.until("mail", { depth: 0 });
    const pushed = await push("mail", ["a", "b", "c"]);
    await watched.until("mail", { depth: 3, accuracy: "EXACT" });
    await takeAndReturn("mail");
    const putBack = await watched.until("mail", { depth: 3, accuracy: "LOWER_BOUND" });
    expect(putBack.readAtMs - (putBack.headAgeMs ?? Number.NaN)).toBeGreaterThanOrEqual(pushed[0] - 2);
    await purge("mail");
    await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("a task of a killed worker does not wait until it is restored, and is a lower bound then", async () => {
    const { url, redis, push, restore, startWorker } = createCelery(releases, { visibility_timeout: 1 });
    const watched = await watchLists({ system: celery, url: `${url}?queues=mail` });
    await watched.until("mail", { depth: 0 });
    const pushed = await push("mail", ["die"]);
    await watched.until("mail", { depth: 1, accuracy: "EXACT" });
    const worker = startWorker("mail");
    await eventually(() => expect(worker.child.signalCode).toBe("SIGKILL"));
    await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    await eventually(async () => {
      await restore("mail");
      expect(await redis.hlen("unacked")).toBe(0);
    });
    const restored = await watched.until("mail", { depth: 1, accuracy: "LOWER_BOUND" });
    expect(restored.readAtMs - (restored.headAgeMs ?? Number.NaN)).toBeGreaterThanOrEqual(pushed[0] - 2);
  });

  test("a backlog from before is a lower bound, or estimated where a header has its time", async () => {
    const { url, push } = createCelery(releases);
    const hourAgo = Date.now() / 1000 - 3600;
    await push("plain", ["a"]);
    await push("sentry", ["a"], { headers: { "sentry-task-enqueued-time": hourAgo } });
    await push("own", ["a"], { headers: { sent: new Date(hourAgo * 1000).toISOString() } });
    const watched = await watchLists({ system: celery, url: `${url}?timeHeader=sent` });
    for (const queue of ["sentry", "own"]) {
      const seen = await watched.until(queue, { depth: 1, accuracy: "ESTIMATED" });
      expect(seen.headAgeMs).toBeGreaterThanOrEqual(3_599_000);
      expect(seen.headAgeMs).toBeLessThan(3_700_000);
    }
    await watched.until("plain", { depth: 1, accuracy: "LOWER_BOUND" });
  });

  test("its queues are found by their bindings, also with a prefix, and none else", async () => {
    const transport = hasPrefix ? { global_keyprefix: "app:" } : {};
    const { url, push, startWorker, redis } = createCelery(releases, transport);
    await push("mail", ["a"]);
    await redis.lpush("other", "no queue");
    startWorker("idle");
    const watched = await watchLists({ system: celery, url: hasPrefix ? `${url}?prefix=app:` : url });
    await watched.until("mail", { depth: 1 });
    // Its worker has bound it, and beside it what is for commands to workers.
    await watched.until("idle", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    const names = (await watched.next()).queues.map(({ queue }) => queue);
    expect(names.sort()).toEqual(["idle", "mail"]);
  });

  test("another reader goes on from the marks of the last one", async () => {
    const { url, push } = createCelery(releases);
    const first = await watchLists({ system: celery, url: `${url}?queues=mail`, intervalMs: 20 });
    await first.until("mail", { depth: 0 });
    const pushed = await push("mail", ["a", "b"]);
    await first.until("mail", { depth: 2, accuracy: "EXACT" });
    // They are stored every few seconds.
    const notes = await eventually(() => {
      const reported = first.seen
        .flatMap(({ queues }) => queues)
        .filter(({ depth, notes }) => depth === 2 && notes);
      expect(reported.length).toBeGreaterThan(0);
      return reported.at(-1)?.notes ?? "";
    });
    await first.stop();
    const second = await watchLists({
      ...{ system: celery, url: `${url}?queues=mail`, notes: new Map([["mail", notes]]) },
    });
    expectSince(await second.until("mail", { depth: 2, accuracy: "EXACT" }), pushed);
    // Counting begins again: windows are null until they were counted by this reader.
    expect(second.seen[0]?.queues[0]?.counts).toBeNull();
  });
});
