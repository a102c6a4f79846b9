import { GraphQLError } from "graphql";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { encodeResult } from "../../src/server/encoded-result.ts";
import { createFairScheduler } from "../../src/server/fair-scheduler.ts";
import { createSubscriptionGroup } from "../../src/server/subscription-group.ts";
import { createTestSource, settled } from "../support/push-source.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

describe("a member of a group", () => {
  test("that joins late begins with everything, read anew, and then gets each push with the others", async () => {
    const { join, push, joins } = open();
    const early = await join();
    await push("a");
    await push("b");
    expect(joins()).toBe(0);
    const late = await join();
    expect(late.written()).toEqual(["a b"]);
    await push("c");
    expect(early.written()).toEqual(["a", "b", "c"]);
    expect(late.written()).toEqual(["a b", "c"]);
    expect(joins()).toBe(1);
    expect(late.results.at(-1)).toBe(early.results.at(-1));
  });

  test("shares the reading of the state, and its execution, with those that join while another one is read", async () => {
    const { join, push, joins, run } = open();
    await join();
    await push("a");
    run.mockClear();
    const late = await Promise.all(Array.from({ length: 100 }, () => join()));
    expect(late.map(({ written }) => written())).toEqual(late.map(() => ["a"]));
    expect(joins()).toBeLessThanOrEqual(2);
    expect(run.mock.calls.length).toBe(joins());
  });

  test("that joins before the first push gets that one, and nothing of its own", async () => {
    const { join, push, joins } = open();
    const members = [await join(), await join()];
    await push("a");
    expect(members.map(({ written }) => written())).toEqual([["a"], ["a"]]);
    expect(joins()).toBe(0);
  });

  test("that is slow is skipped, and gets what it missed in one push when it has read, in order", async () => {
    const { join, push, run } = open();
    const [quick, slow] = [await join(), await join()];
    await push("a");
    slow.reads(false);
    for (const name of ["b", "c", "b"]) await push(name);
    expect(slow.written()).toEqual(["a"]);
    expect(run).toHaveBeenCalledTimes(4);
    slow.reads(true);
    await settled();
    expect(slow.written()).toEqual(["a", "b c"]);
    await push("d");
    expect(quick.written()).toEqual(["a", "b", "c", "b", "d"]);
    expect(slow.written()).toEqual(["a", "b c", "d"]);
  });

  test("that missed the same as others shares a push with them", async () => {
    const { join, push, run } = open();
    const [, ...slow] = [await join(), await join(), await join()];
    await push("a");
    for (const { reads } of slow) reads(false);
    await push("b");
    await push("c");
    run.mockClear();
    for (const { reads } of slow) reads(true);
    await settled();
    expect(slow.map(({ written }) => written())).toEqual([
      ["a", "b c"],
      ["a", "b c"],
    ]);
    expect(run).toHaveBeenCalledTimes(1);
  });

  test("that catches up while another push comes gets that one, too, with no further push", async () => {
    const { join, push, run } = open();
    const [quick, slow] = [await join(), await join()];
    await push("a");
    slow.reads(false);
    await push("b");
    const { promise: caughtUp, resolve: goOn } = Promise.withResolvers<void>();
    run.mockImplementationOnce(async (pushed) => {
      await caughtUp;
      return encoded(pushed);
    });
    slow.reads(true);
    await push("c");
    goOn();
    await settled();
    expect(quick.written()).toEqual(["a", "b", "c"]);
    expect(slow.written()).toEqual(["a", "b", "c"]);
  });

  test("that is alone and slow holds up the source, which then has the newest of all that changes", async () => {
    const { join, push, taken } = open();
    const member = await join();
    await push("a");
    member.reads(false);
    // It was asked for when the member was ready.
    await push("b");
    await push("c");
    expect(taken()).toBe(2);
    member.reads(true);
    await settled();
    expect(member.written().join(" ")).toBe("a b c");
  });

  test("that leaves gets nothing any more, the others do, and the source ends with the last one", async () => {
    const { join, push, isEnded, onClose } = open();
    const [first, second] = [await join(), await join()];
    await push("a");
    first.leave();
    first.leave();
    await push("b");
    expect([first.written(), second.written()]).toEqual([["a"], ["a", "b"]]);
    expect([isEnded(), first.left(), second.left()]).toEqual([false, 1, 0]);
    second.leave();
    expect([isEnded(), onClose.mock.calls.length]).toEqual([true, 1]);
  });

  test("that joined in the middle of an interval gets its next push no sooner than the interval allows", async () => {
    const { join, push, waitMs } = open({ minIntervalMs: 100 });
    const early = await join();
    await push("a");
    await waitMs(70);
    const late = await join();
    await waitMs(40);
    await push("b");
    expect([early.written(), late.written()]).toEqual([["a", "b"], ["a"]]);
    await waitMs(59);
    expect(late.written()).toEqual(["a"]);
    // And no later than one step after that: with those others that were pushed to out of turn.
    await waitMs(101);
    expect(late.written()).toEqual(["a", "b"]);
    await push("c");
    expect(early.written()).toEqual(["a", "b", "c"]);
  });

  test("gets the error that ends the source for a reason, as all do, and one that joins then opens another", async () => {
    const { join, push, end } = open();
    const members = [await join(), await join()];
    await push("a");
    end(new Error("broken"));
    await settled();
    for (const { ends, left } of members)
      expect([ends, left()]).toEqual([[new GraphQLError("masked broken")], 1]);
  });

  test("gets no error when the source is over", async () => {
    const { join, push, end } = open();
    const member = await join();
    await push("a");
    end();
    await settled();
    expect([member.ends, member.left()]).toEqual([[null], 1]);
  });

  test("that is ended for a reason before it began is ended when it begins", async () => {
    const { group } = open();
    const onLeave = vi.fn();
    const subscription = await group.join("token:a", onLeave);
    if (!("begin" in subscription)) return expect.unreachable();
    const error = new GraphQLError("revoked");
    subscription.fail(error);
    const end = vi.fn();
    subscription.begin({ isReady: () => true, write: () => expect.unreachable(), end });
    expect(end.mock.calls).toEqual([[error]]);
    expect(onLeave).toHaveBeenCalledOnce();
  });

  test("does not wait for another one that has used its share of the CPU", async () => {
    const { join, push, scheduler } = open();
    const [busy, other] = [await join("token:busy"), await join("token:other")];
    await push("a");
    // Paid off in a hundred ticks of the event loop.
    const untilMs = cpuClock.now() + 200;
    scheduler.charge("token:busy", () => {
      while (cpuClock.now() < untilMs);
    });
    await push("b");
    expect([busy.written(), other.written()]).toEqual([
      ["a", "b"],
      ["a", "b"],
    ]);
  });
});

function open({ minIntervalMs = 0 } = {}) {
  const scheduler = createFairScheduler({ shareMs: 2, clock: cpuClock });
  const { source, push, end, isEnded, joins } = createTestSource(minIntervalMs);
  const next = vi.spyOn(source, "next");
  const run = vi.fn(async (pushed: unknown) => encoded(pushed));
  const onClose = vi.fn();
  const group = createSubscriptionGroup({
    open: async () => source,
    run,
    maskError: (error) => new GraphQLError(`masked ${(error as Error).message}`),
    scheduler,
    onClose,
  });

  async function join(client = "token:a") {
    let isReady = true;
    const results: { readonly json: string }[] = [];
    const ends: unknown[] = [];
    const onLeave = vi.fn();
    const subscription = await group.join(client, onLeave);
    if (!("begin" in subscription)) return expect.unreachable();
    subscription.begin({
      isReady: () => isReady,
      write: (result) => void results.push(result),
      end: (error) => void ends.push(error),
    });
    await settled();
    return {
      results,
      ends,
      leave: () => subscription.leave(),
      left: () => onLeave.mock.calls.length,
      written: () => results.map(({ json }) => (JSON.parse(json).data.names as string[]).join(" ")),
      reads(isReading: boolean) {
        isReady = isReading;
        if (isReading) subscription.drained();
      },
    };
  }
  return {
    ...{ group, join, run, scheduler, onClose, isEnded, joins, end },
    taken: () => next.mock.calls.length,
    async push(name: string) {
      push([name]);
      await settled();
    },
    async waitMs(ms: number) {
      await vi.advanceTimersByTimeAsync(ms);
      await settled();
    },
  };
}

function encoded(pushed: unknown) {
  return encodeResult({ data: JSON.stringify({ names: pushed }) });
}

const cpuClock = { now: () => Number(process.hrtime.bigint()) / 1e6 };
