import { describe, expect, test } from "vitest";
import { createAlertStream } from "../../src/alerts/alert-stream.ts";
import { createAlert, ended, fired } from "../../src/alerts/make-alert.ts";
import type { Alert } from "../../src/core/alerts.ts";
import { AppError } from "../../src/core/errors.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";
import { silentLogger } from "../support/logger.ts";

const [rule] = parseAlertRules('rules: [{ name: Late, queues: "*", latency_above: 60 }]');
const pending = (queue: string) => createAlert(rule!, queue, 61, 1_000);
const firing = (queue: string) => fired(pending(queue), rule!, { value: 90, facts: null, nowMs: 2_000 });
const over = (alert: Alert) => ended(alert, "RECOVERED", 1, 3_000);

/** As it is published. */
const toRecord = ({ acknowledgement, ...alert }: Alert) =>
  `${acknowledgement === null ? "" : JSON.stringify(acknowledgement)}\n${JSON.stringify(alert)}`;

/** News from a feed and a Redis that the test plays. */
async function open() {
  let active: readonly Alert[] = [];
  let resolved: readonly Alert[] = [];
  let reads = 0;
  let gate: Promise<void> | undefined;
  let failure: Error | undefined;
  let listener: Parameters<Parameters<typeof createAlertStream>[0]["feed"]["listen"]>[0];
  const read = async (of: () => readonly Alert[]) => {
    reads += 1;
    const found = [...of()];
    await gate;
    if (failure !== undefined) throw failure;
    return found;
  };
  const news = createAlertStream({
    feed: {
      listen(added) {
        listener = added;
      },
      start: async () => listener.onConnected(),
      stop: async () => {},
    },
    store: { active: () => read(() => active), resolved: () => read(() => resolved) },
    logger: silentLogger,
  });
  await news.start();

  /** It is written, but not received. */
  function write(alert: Alert): void {
    active = active.filter(({ id }) => id !== alert.id);
    if (alert.state !== "RESOLVED") active = [...active, alert];
    else if (alert.firedAtMs !== null) resolved = [alert, ...resolved];
  }

  return {
    news,
    reads: () => reads,
    write,
    /** It is written to Redis, and received. */
    publish(alert: Alert) {
      write(alert);
      listener.onChange(toRecord(alert));
    },
    receive: (text: string) => listener.onChange(text),
    disconnect: () => listener.onDisconnected(),
    connect: () => listener.onConnected(),
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
    fail(error: Error | undefined) {
      failure = error;
    },
  };
}

const next = async (watch: AsyncIterableIterator<Alert>) => {
  const { done, value } = await watch.next();
  return done === true ? "done" : `${value.queue} ${value.state}`;
};

describe("a subscriber", () => {
  test("gets first what is there, then what changes, of its queue or of all", async () => {
    const { news, publish } = await open();
    publish(firing("a"));
    publish(pending("b"));
    const [all, one] = [await news.watch({ queue: null }, 100), await news.watch({ queue: "b" }, 100)];
    expect([await next(all), await next(all)]).toEqual(["a FIRING", "b PENDING"]);
    expect(await next(one)).toBe("b PENDING");
    publish(over(firing("a")));
    publish(firing("b"));
    expect([await next(all), await next(all)]).toEqual(["a RESOLVED", "b FIRING"]);
    expect(await next(one)).toBe("b FIRING");
  });

  test("begins with as many as it asks for, FIRING ones first, then the newest, and gets every change", async () => {
    const { news, publish } = await open();
    publish({ ...firing("old"), sinceMs: 1 });
    publish({ ...pending("newest"), sinceMs: 3 });
    publish({ ...firing("new"), sinceMs: 2 });
    const [two, none] = [await news.watch({ queue: null }, 2), await news.watch({ queue: null }, 0)];
    expect([await next(two), await next(two)]).toEqual(["new FIRING", "old FIRING"]);
    publish(firing("newest"));
    expect([await next(two), await next(none)]).toEqual(["newest FIRING", "newest FIRING"]);
  });

  test("that is slow gets the newest state of each alert, and skips those in between", async () => {
    const { news, publish } = await open();
    const watch = await news.watch({ queue: null }, 100);
    publish(pending("a"));
    publish(pending("b"));
    publish(firing("a"));
    publish(over(firing("a")));
    expect([await next(watch), await next(watch)]).toEqual(["a RESOLVED", "b PENDING"]);
  });

  test("that reads nothing is kept no more than a bounded number of alerts, and those that last", async () => {
    const { news, receive } = await open();
    const watch = await news.watch({ queue: null }, 100);
    receive(toRecord(firing("lasts")));
    for (let n = 0; n < 25_000; n++) receive(toRecord(over(firing(`q${n}`))));
    expect(await next(watch)).toBe("lasts FIRING");
    expect(await next(watch)).toBe("q5001 RESOLVED");
  });

  test("shares one object with all others, and the first reading with those who come later", async () => {
    const { news, publish, reads } = await open();
    publish(firing("a"));
    const watches = [await news.watch({ queue: null }, 100), await news.watch({ queue: null }, 100)];
    const pushed = await Promise.all(watches.map((watch) => watch.next()));
    expect(pushed[0]!.value).toBe(pushed[1]!.value);
    expect(reads()).toBe(2);
    publish(over(firing("a")));
    const later = await Promise.all(watches.map((watch) => watch.next()));
    expect(later[0]!.value).toBe(later[1]!.value);
  });

  test("gets after a break what it has missed, even when it left no trace, and nothing twice", async () => {
    const { news, publish, write, disconnect, connect } = await open();
    for (const queue of ["a", "b", "c", "d"]) publish(queue === "b" ? pending(queue) : firing(queue));
    const watch = await news.watch({ queue: null }, 100);
    for (let n = 0; n < 4; n++) await watch.next();
    disconnect();
    write(over(firing("a")));
    write(over(pending("b")));
    write({ ...firing("c"), acknowledgement: { by: "x", atMs: 4_000 } });
    write(firing("e"));
    connect();
    expect([await next(watch), await next(watch), await next(watch), await next(watch)]).toEqual([
      ...["a RESOLVED", "b RESOLVED", "c FIRING", "e FIRING"],
    ]);
    publish(over(firing("d")));
    expect(await next(watch)).toBe("d RESOLVED");
  });

  test("does not get an older state that was read before a newer one was received", async () => {
    const { news, publish, hold } = await open();
    publish(firing("a"));
    publish(pending("b"));
    const release = hold();
    const opening = news.watch({ queue: null }, 100);
    await Promise.resolve();
    publish(over(firing("a")));
    publish(firing("b"));
    release();
    const watch = await opening;
    // The other one ended before anything of it was pushed.
    expect(await next(watch)).toBe("b FIRING");
    const { value } = await Promise.race([
      watch.next(),
      new Promise<{ value: string }>((resolve) => setImmediate(resolve, { value: "nothing" })),
    ]);
    expect(value).toBe("nothing");
  });

  test("is refused when nothing can be read, and leaves nothing behind", async () => {
    const { news, fail, publish } = await open();
    fail(new AppError("SERVICE_UNAVAILABLE", "away"));
    await expect(news.watch({ queue: null }, 100)).rejects.toThrow("away");
    fail(undefined);
    publish(firing("a"));
    expect(await next(await news.watch({ queue: null }, 100))).toBe("a FIRING");
  });

  test("ends with a reason when it is ended, also while it waits, and no text of others breaks it", async () => {
    const { news, receive, publish } = await open();
    const [ends, stays] = [await news.watch({ queue: null }, 100), await news.watch({ queue: null }, 100)];
    receive("no alert");
    receive("\n{");
    const waiting = [next(ends), next(ends)];
    await ends.return?.();
    expect(await Promise.all(waiting)).toEqual(["done", "done"]);
    publish(firing("a"));
    expect(await next(stays)).toBe("a FIRING");
    const last = next(stays);
    await news.stop();
    expect(await last).toBe("done");
    expect(await next(await news.watch({ queue: null }, 100))).toBe("done");
  });
});
