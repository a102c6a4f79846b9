import { afterEach, describe, expect, test, vi } from "vitest";
import { createDeliveryLoop, type DeliveryLoop, retryDelayMs } from "../../src/alerts/delivery-loop.ts";
import { recordingLogger } from "../support/logger.ts";

describe("the wait after a failure", () => {
  test.each([
    { failures: 1, random: 0, ms: 500, why: "at least half, so that not all come back at once" },
    { failures: 1, random: 1, ms: 1_000, why: "at most all of it" },
    { failures: 4, random: 1, ms: 8_000, why: "doubled with each" },
    { failures: 7, random: 1, ms: 60_000, why: "but never more than a minute" },
    { failures: 9_999, random: 1, ms: 60_000, why: "however long it goes on" },
  ])("is $ms ms after $failures: $why", ({ failures, random, ms }) => {
    expect(retryDelayMs(failures, 1_000, () => random)).toBe(ms);
  });
});

describe("a loop", () => {
  let loop: DeliveryLoop;
  const logger = recordingLogger();
  const levels = () => logger.lines.map(({ level }) => level);
  const start = async (send: (signal: AbortSignal) => Promise<void>, everyMs = 3_600_000, retryMs = 1) => {
    logger.lines.length = 0;
    loop = createDeliveryLoop({ receiver: "r", send, everyMs, retryMs, logger });
    await loop.start();
  };
  afterEach(() => loop.stop());

  test("delivers at once, and again when it is woken, also while it delivers", async () => {
    const gates: (() => void)[] = [];
    await start(() => new Promise((resolve) => gates.push(resolve)));
    expect(gates).toHaveLength(1);
    loop.wake();
    expect(gates).toHaveLength(1);
    gates[0]!();
    await expect.poll(() => gates.length, { interval: 1 }).toBe(2);
    gates[1]!();
    // No caller has woken it since: only then it rests.
    await new Promise(setImmediate);
    loop.wake();
    await expect.poll(() => gates.length, { interval: 1 }).toBe(3);
    gates[2]!();
  });

  test("delivers again by itself when its time has come", async () => {
    const send = vi.fn(async () => {});
    await start(send, 2);
    await expect.poll(() => send.mock.calls.length, { interval: 1 }).toBeGreaterThan(3);
  });

  test("tries again after a failure, and says once that it fails and once that it does not", async () => {
    const send = vi.fn(async () => {
      if (send.mock.calls.length < 5) throw new Error("no");
    });
    await start(send);
    await expect.poll(() => levels().includes("info"), { interval: 1 }).toBe(true);
    expect(levels()).toEqual(["warn", "debug", "debug", "debug", "info"]);
    expect(logger.lines.at(-1)).toMatchObject({ fields: { receiver: "r", failures: 4 } });
  });

  test("sends what is new though it fails, and does not wait for the whole backoff", async () => {
    const send = vi.fn(async () => {
      throw new Error("no");
    });
    await start(send, 3_600_000, 10);
    // Fifteen backoffs would take minutes.
    for (let n = 1; n < 15; n++) {
      await expect.poll(() => send.mock.calls.length, { interval: 1 }).toBeGreaterThanOrEqual(n);
      loop.wake();
    }
  });

  test("cannot be hurried while it fails", async () => {
    const send = vi.fn(async () => {
      throw new Error("no");
    });
    await start(send, 3_600_000, 3_600_000);
    await expect.poll(levels, { interval: 1 }).toEqual(["warn"]);
    for (let n = 0; n < 100; n++) {
      loop.wake();
      await new Promise(setImmediate);
    }
    expect(send).toHaveBeenCalledTimes(1);
  });

  test("stops at once, whatever it waits for", async () => {
    await start(
      (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    );
    await loop.stop();
    expect(levels()).toEqual([]);
  });
});
