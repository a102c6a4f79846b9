import { expect, test, vi } from "vitest";
import { createReadAhead, type ReadAheadOptions } from "../../src/live/read-ahead.ts";

function open(options: Partial<ReadAheadOptions> = {}) {
  const read = vi.fn(async () => {});
  const next = { start: vi.fn(async () => {}), stop: vi.fn(async () => {}) };
  const ahead = createReadAhead({ count: async () => 1_000, read, next, settleMs: 0, ...options });
  return { read, next, ahead };
}
const away = () => Promise.reject(new Error("away"));

test.each([
  { queues: 999, reads: 0, why: "they are read at once when a client asks" },
  { queues: 1_000, reads: 1, why: "the first client would wait" },
])("of $queues queues a server that starts reads all $reads times: $why", async ({ queues, reads }) => {
  const { read, ahead } = open({ count: async () => queues });
  await ahead.start();
  expect(read).toHaveBeenCalledTimes(reads);
});

test("the start does not wait for the reading, and what reads all queues as well begins after it", async () => {
  const reading = Promise.withResolvers<void>();
  const { next, ahead } = open({ read: () => reading.promise });
  await ahead.start();
  expect(next.start).not.toHaveBeenCalled();
  reading.resolve();
  await vi.waitFor(() => expect(next.start).toHaveBeenCalledOnce());
});

test.each([
  { what: "the count cannot be read", options: { count: away } },
  { what: "the reading fails", options: { read: away } },
  { what: "there are few queues", options: { count: async () => 999 } },
])("what comes next is started though $what", async ({ options }) => {
  const { next, ahead } = open(options);
  await ahead.start();
  await vi.waitFor(() => expect(next.start).toHaveBeenCalledOnce());
});

test("what comes next is not started when the server stops meanwhile, and stops with it", async () => {
  const reading = Promise.withResolvers<void>();
  const { next, ahead } = open({ read: () => reading.promise, settleMs: 60_000 });
  await ahead.start();
  await ahead.stop();
  expect(next.stop).toHaveBeenCalledOnce();
  reading.resolve();
  await new Promise(setImmediate);
  expect(next.start).not.toHaveBeenCalled();
});

test("nor when it stops while the queues are counted", async () => {
  const counting = Promise.withResolvers<number>();
  const { next, ahead } = open({ count: () => counting.promise });
  const started = ahead.start();
  await ahead.stop();
  counting.reject(new Error("the connection was closed"));
  await started;
  expect(next.start).not.toHaveBeenCalled();
});
