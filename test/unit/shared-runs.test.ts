import { setImmediate } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createSharedRuns } from "../../src/server/shared-runs.ts";

test("joins who asks the same in the same tick, and nobody else", async () => {
  const { run } = createSharedRuns<number>();
  let runs = 0;
  const begin = async () => ++runs;
  const sameTick = [run("a", begin), run("b", begin), Promise.resolve().then(() => run("a", begin))];
  expect(await Promise.all(sameTick)).toEqual([1, 2, 1]);
  await setImmediate();
  expect(await run("a", begin)).toBe(3);
});

test("takes nobody in any more when what a run puts off to the end of the tick begins", async () => {
  const { run } = createSharedRuns<string>();
  const second = vi.fn(async () => "second");
  let later: Promise<string> | undefined;
  await run("a", async () => {
    await setImmediate();
    later = run("a", second);
    return "first";
  });
  expect(await later).toBe("second");
});

test("fails all who have joined a run that fails", async () => {
  const { run } = createSharedRuns<number>();
  const fail = () => Promise.reject(new Error("no"));
  const answers = await Promise.allSettled([run("a", fail), run("a", async () => 1)]);
  expect(answers.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});
