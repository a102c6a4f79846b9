import { setImmediate as tick } from "node:timers/promises";
import { expect, test } from "vitest";
import { createFairScheduler } from "../../src/server/fair-scheduler.ts";

function begun() {
  let nowMs = 0;
  const done: string[] = [];
  const scheduler = createFairScheduler({ shareMs: 1, clock: { now: () => nowMs } });
  const work = (name: string, client: string, takesMs: number) =>
    scheduler.begin(client, async () => {
      nowMs += takesMs;
      done.push(name);
      return name;
    });
  const charge = (client: string, takesMs: number) =>
    scheduler.charge(client, () => {
      nowMs += takesMs;
    });
  return { scheduler, done, work, charge };
}

test("a client is worked for until it has had its share of a tick, and then again in each tick after it, in order", async () => {
  const { done, work } = begun();
  const all = Array.from({ length: 8 }, (_, i) => work(`a${i}`, "a", 0.5));
  expect(done).toEqual(["a0", "a1"]);
  await tick();
  expect(done).toEqual(["a0", "a1", "a2", "a3"]);
  expect(await Promise.all(all)).toEqual(Array.from({ length: 8 }, (_, i) => `a${i}`));
});

test("others are worked for while a client waits for its turn, however much it wants", async () => {
  const { done, work } = begun();
  const all = Array.from({ length: 20 }, (_, i) => work(`a${i}`, "a", 1));
  all.push(work("b0", "b", 1));
  expect(done).toEqual(["a0", "b0"]);
  await tick();
  all.push(work("c0", "c", 1));
  expect(done).toEqual(["a0", "b0", "a1", "c0"]);
  await Promise.all(all);
});

test("a client that took more than its share waits for as many ticks as it took shares", async () => {
  const { done, work } = begun();
  const both = [work("long", "a", 3), work("next", "a", 0)];
  for (let ticks = 0; ticks < 2; ticks++) {
    await tick();
    expect(done).toEqual(["long"]);
  }
  await tick();
  expect(done).toEqual(["long", "next"]);
  await Promise.all(both);
});

test("who comes later does not pass who waits", async () => {
  const { done, work } = begun();
  const all = [work("first", "a", 3), work("second", "a", 0)];
  await tick();
  all.push(work("third", "a", 0));
  await Promise.all(all);
  expect(done).toEqual(["first", "second", "third"]);
});

test("what fails takes its turn like all else", async () => {
  const { scheduler, work } = begun();
  const all = [work("first", "a", 3)];
  const failing = scheduler.begin("a", () => Promise.reject(new Error("no")));
  all.push(work("last", "a", 1));
  await expect(failing).rejects.toThrow("no");
  expect(await Promise.all(all)).toEqual(["first", "last"]);
});

test("what cannot wait is taken off the next shares", async () => {
  const { done, work, charge } = begun();
  charge("a", 3);
  const all = [work("a0", "a", 0), work("b0", "b", 0)];
  expect(done).toEqual(["b0"]);
  for (let ticks = 0; ticks < 2; ticks++) await tick();
  expect(done).toEqual(["b0"]);
  await Promise.all(all);
});

test("work within work of the same client begins at once, and is measured once", async () => {
  const { scheduler, done, work } = begun();
  const outer = scheduler.begin("a", () => {
    const inner = [work("a0", "a", 0.3), work("a1", "a", 0.3)];
    return Promise.all(inner);
  });
  expect(done).toEqual(["a0", "a1"]);
  // Of 0.6 ms, 0.4 are left.
  const next = [work("a2", "a", 0.4), work("a3", "a", 0)];
  expect(done).toEqual(["a0", "a1", "a2"]);
  await Promise.all([outer, ...next]);
});
