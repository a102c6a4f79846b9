import { afterAll, beforeAll, beforeEach, expect, inject, onTestFinished } from "vitest";
import type { FollowSink } from "../../src/core/log-following.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import type { Service } from "../../src/runtime/service.ts";
import { createBullmqSource } from "../../src/sources/bullmq.ts";
import type { TestQueue } from "./bullmq.ts";
import { silentLogger } from "./logger.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { allParts, openTracker, type TestTracker } from "./tracker.ts";
import { until } from "./until.ts";

export const reconcileMs = 300;

interface SourceOptions {
  readonly source?: string;
  readonly url?: string;
  readonly logger?: Logger;
  readonly reconcileMs?: number;
  readonly sink?: FollowSink;
}

/** A real Redis for BullMQ, one for each test file, and a tracker for each test that a source writes to. */
export function useBullmqSource() {
  let watched: TestRedis;
  let opened: TestTracker;
  beforeAll(async () => {
    watched = await startRedis();
  });
  afterAll(() => watched?.stop());
  beforeEach(async () => {
    opened = await openTracker(inject("redisUrl"));
    onTestFinished(() => opened[Symbol.asyncDispose]());
  });

  /** Starts a source, which ends with the test or by `halt()`. */
  async function follow(
    options: SourceOptions = {},
  ): Promise<Service & { readonly halt: () => Promise<void> }> {
    const source = createBullmqSource({
      url: watched.url,
      reconcileMs,
      sink: opened.tracker,
      logger: silentLogger,
      ...options,
    });
    await source.start();
    let ended: Promise<void> | undefined;
    const halt = () => {
      ended ??= source.stop();
      return ended;
    };
    onTestFinished(halt);
    return { ...source, halt };
  }

  async function snapshot(queue: { readonly name: string }, source = "bullmq"): Promise<QueueSnapshot> {
    const [read] = await opened.tracker.read([`${source}/${queue.name}`], { ...allParts, totals: true });
    if (read === undefined) throw new Error("one queue was asked for");
    return read;
  }

  /** Until what we say is what BullMQ says, and the head is known. */
  async function agree(queue: TestQueue, more: Partial<QueueSnapshot> = {}): Promise<QueueSnapshot> {
    return await until(async () => {
      const { waiting, delayed } = await queue.counts();
      const read = await snapshot(queue);
      expect(read).toMatchObject({ depth: waiting, scheduled: delayed, stale: false, ...more });
      return read;
    });
  }

  return {
    get watched() {
      return watched;
    },
    get tracker() {
      return opened.tracker;
    },
    ...{ follow, snapshot, agree },
  };
}

/** In small steps, so that a job's `timestamp` is when it was really added. */
export async function addAll(queue: TestQueue, count: number, opts: object = {}): Promise<void> {
  for (let n = 0; n < count; n += 50) await queue.queue.addBulk(jobs(Math.min(50, count - n), opts));
}

export const jobs = (count: number, opts: object = {}) =>
  Array.from({ length: count }, (_, n) => ({ name: "job", data: { n }, opts }));
