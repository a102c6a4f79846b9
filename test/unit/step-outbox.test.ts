import { expect, test } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { FinishedStep } from "../../src/history/sampler.ts";
import { createStepOutbox } from "../../src/history/step-outbox.ts";
import { recordingLogger } from "../support/logger.ts";

const full = new AppError("SERVICE_UNAVAILABLE", "Redis is full");

function open() {
  let nowMs = 0;
  let failure: Error | undefined;
  const logger = recordingLogger();
  const outbox = createStepOutbox({ logger, retryForMs: 20_000, clock: { now: () => nowMs } });
  const written: string[] = [];
  return {
    logger,
    written,
    add(queue: string, atMs: number) {
      nowMs = atMs;
      const step: Pick<FinishedStep, "queue" | "atMs"> = { queue, atMs };
      outbox.add(step as FinishedStep);
    },
    fail(error: Error | undefined) {
      failure = error;
    },
    async flushAt(ms: number) {
      nowMs = ms;
      await outbox.flush(async ({ queue, atMs }) => {
        if (failure !== undefined) throw failure;
        written.push(`${queue} ${atMs}`);
      });
    },
    lines: () => logger.lines.filter(({ level }) => level !== "debug").map(({ message }) => message),
  };
}

test("steps that Redis refuses are written later, in order, and nothing is logged", async () => {
  const { add, fail, flushAt, written, lines } = open();
  fail(full);
  add("a", 0);
  await flushAt(0);
  add("a", 10_000);
  add("b", 10_000);
  await flushAt(10_000);
  fail(undefined);
  await flushAt(19_000);
  expect(written.filter((step) => step.startsWith("a"))).toEqual(["a 0", "a 10000"]);
  expect(written).toContain("b 10000");
  expect(lines()).toEqual([]);
});

test("steps that are given up are logged once, and once when steps are written again", async () => {
  const { add, fail, flushAt, written, logger, lines } = open();
  fail(full);
  for (const atMs of [0, 10_000, 20_000, 30_000]) {
    add("a", atMs);
    await flushAt(atMs);
  }
  expect(lines()).toEqual(["the history cannot be written: steps are missing"]);
  expect(logger.lines[0]).toMatchObject({ level: "warn", fields: { err: "Redis is full" } });
  fail(undefined);
  await flushAt(31_000);
  expect(written).toEqual(["a 20000", "a 30000"]);
  expect(lines().slice(1)).toEqual(["the history is written again"]);
});

test("a step that cannot be written for another reason is given up at once, and logged", async () => {
  const { add, fail, flushAt, written, lines } = open();
  fail(new Error("WRONGTYPE"));
  add("a", 0);
  await flushAt(0);
  fail(undefined);
  add("a", 10_000);
  await flushAt(10_000);
  expect(written).toEqual(["a 10000"]);
  expect(lines()).toEqual(["some steps of the history could not be written: they are gaps"]);
});
