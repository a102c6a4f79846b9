import { setImmediate } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createRequestDeduplication } from "../../src/server/request-deduplication.ts";

test("joins runs of the same key and scopes in the same tick, and no others", async () => {
  const { run } = createRequestDeduplication<number>();
  let runs = 0;
  const begin = async () => ++runs;
  const sameTick = [
    run("key", "a", begin),
    run("key", "a", begin),
    Promise.resolve().then(() => run("key", "a", begin)),
    run("key", "b", begin),
    run("other key", "a", begin),
  ];
  expect(await Promise.all(sameTick)).toEqual([1, 1, 1, 2, 3]);
  await setImmediate();
  expect(await run("key", "a", begin)).toBe(4);
});

test("is closed when what a run defers to the end of the tick begins", async () => {
  const { run } = createRequestDeduplication<string>();
  const second = vi.fn(async () => "second");
  let later: Promise<string> | undefined;
  await run("key", "a", async () => {
    await setImmediate();
    later = run("key", "a", second);
    return "first";
  });
  expect(await later).toBe("second");
});

test("fails all requests that have joined a run that fails", async () => {
  const { run } = createRequestDeduplication<number>();
  const fail = () => Promise.reject(new Error("no"));
  const answers = await Promise.allSettled([run("key", "a", fail), run("key", "a", async () => 1)]);
  expect(answers.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});
