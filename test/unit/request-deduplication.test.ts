import { setImmediate } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createRequestDeduplication } from "../../src/server/request-deduplication.ts";

const subject = {};

test("joins runs of the same subject and key in the same tick, and no others", async () => {
  const { run } = createRequestDeduplication<object, number>();
  let runs = 0;
  const begin = async () => ++runs;
  const sameTick = [
    run(subject, "a", begin),
    run(subject, "a", begin),
    Promise.resolve().then(() => run(subject, "a", begin)),
    run(subject, "b", begin),
    run({}, "a", begin),
  ];
  expect(await Promise.all(sameTick)).toEqual([1, 1, 1, 2, 3]);
  await setImmediate();
  expect(await run(subject, "a", begin)).toBe(4);
});

test("is closed when what a run defers to the end of the tick begins", async () => {
  const { run } = createRequestDeduplication<object, string>();
  const second = vi.fn(async () => "second");
  let later: Promise<string> | undefined;
  await run(subject, "a", async () => {
    await setImmediate();
    later = run(subject, "a", second);
    return "first";
  });
  expect(await later).toBe("second");
});

test("fails all requests that have joined a run that fails", async () => {
  const { run } = createRequestDeduplication<object, number>();
  const fail = () => Promise.reject(new Error("no"));
  const answers = await Promise.allSettled([run(subject, "a", fail), run(subject, "a", async () => 1)]);
  expect(answers.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});
