import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { createWriter } from "../../src/tracker/acknowledged-writes.ts";

const eventWindowMs = 1_000;
let now = 0;
beforeEach(() => {
  now = 5_000;
  vi.spyOn(monotonicClock, "now").mockImplementation(() => now);
});
afterEach(() => vi.restoreAllMocks());

describe("a writer", () => {
  it("has an id of its own", () => {
    const ids = Array.from({ length: 100 }, () => createWriter({ eventWindowMs }).id);
    expect(new Set(ids).size).toBe(100);
    for (const id of ids) expect(id).toMatch(/^[\w-]{12}$/);
  });

  it.each([
    { next: { forgets: 0, count: 8, atMs: 1 }, is: "0 8 1", why: "it is later" },
    { next: { forgets: 0, count: 6, atMs: 9 }, is: "0 7 5", why: "it was given before, whenever it came" },
    { next: { forgets: 0, count: 7, atMs: 9 }, is: "0 7 5", why: "it is the same" },
    { next: { forgets: 1, count: 0, atMs: 9 }, is: "1 0 9", why: "the queue was forgotten since" },
  ])("makes $is of 0 7 5 when the next answer is $next: $why", ({ next, is }) => {
    const writer = createWriter({ eventWindowMs });
    writer.learn("q", { forgets: 0, count: 7, atMs: 5 });
    writer.learn("q", next);
    expect(writer.answered("q")).toBe(is);
  });

  it("takes no answer of the time before a queue was forgotten", () => {
    const writer = createWriter({ eventWindowMs });
    writer.learn("q", { forgets: 2, count: 1, atMs: 5 });
    writer.learn("q", { forgets: 1, count: 900, atMs: 6 });
    expect(writer.answered("q")).toBe("2 1 5");
  });

  it("remembers for the event window, from the last answer", () => {
    const writer = createWriter({ eventWindowMs });
    writer.learn("a", { forgets: 0, count: 1, atMs: 1 });
    writer.learn("b", { forgets: 0, count: 1, atMs: 1 });
    now += 999;
    writer.learn("a", { forgets: 0, count: 2, atMs: 2 });
    expect(writer.queues()).toEqual(["b", "a"]);
    now += 1;
    expect(writer.queues()).toEqual(["a"]);
    expect(["a", "b", "c"].map(writer.answered)).toEqual(["0 2 2", "", ""]);
    // What is not remembered does not keep out an answer that seems to be an earlier one.
    writer.learn("b", { forgets: 0, count: 1, atMs: 3 });
    expect(writer.answered("b")).toBe("0 1 3");
  });

  it("leaves out the queues that were not written to for longest when there are too many", () => {
    const writer = createWriter({ eventWindowMs, maxQueues: 2 });
    for (const [i, queue] of ["a", "b", "a", "c"].entries())
      writer.learn(queue, { forgets: 0, count: i, atMs: 0 });
    expect(writer.queues()).toEqual(["a", "c"]);
    expect(writer.answered("b")).toBe("");
  });
});
