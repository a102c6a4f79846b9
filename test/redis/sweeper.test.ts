import { expect, inject, it, onTestFinished, vi } from "vitest";
import { createQueueIndex } from "../../src/tracker/queue-index.ts";
import { createSweeper } from "../../src/tracker/sweeper.ts";
import { recordingLogger } from "../support/logger.ts";
import { openRecorder, openTracker } from "../support/tracker.ts";

it("drops the ghosts of every queue, also behind one that cannot be swept", async () => {
  const start = 1_790_000_000_000;
  let now = start;
  await using opened = await openTracker(inject("redisUrl"), { now: () => now, maxWaitMs: 60_000 });
  const { redis, keys, tracker } = opened;
  // More than one page of names, and the first of them is broken.
  const names = Array.from({ length: 250 }, (_, i) => `q${String(i).padStart(3, "0")}`);
  const event = { type: "ENQUEUED", jobId: "ghost", attempt: 0, atMs: null, availableAtMs: null } as const;
  await tracker.record(
    names.map((queue) => ({ ...event, queue })),
    null,
  );
  await redis.set(keys.state("q000"), "not a hash");
  now += 60_001;

  const logger = recordingLogger();
  const recorder = openRecorder(opened, { eventWindowMs: 300_000, maxWaitMs: 60_000, now: () => now });
  const index = createQueueIndex(redis, keys);
  const sweeper = createSweeper({ redis, keys, index, recorder, logger, everyMs: 50 });
  onTestFinished(() => sweeper.stop());
  await sweeper.start();
  await vi.waitFor(async () => expect(await redis.zcard(keys.waiting("q249"))).toBe(0), 5_000);
  expect(await redis.zcard(keys.waiting("q001"))).toBe(0);
  await vi.waitFor(() =>
    expect(logger.lines).toContainEqual({
      level: "warn",
      fields: { lost: 249 },
      message: "dropped jobs that waited longer than MAX_WAIT",
    }),
  );
  expect(logger.lines.find(({ level }) => level === "error")?.fields).toMatchObject({ queues: 1 });
});
