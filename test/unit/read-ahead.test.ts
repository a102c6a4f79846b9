import { expect, test, vi } from "vitest";
import { createReadAhead } from "../../src/live/read-ahead.ts";

test.each([
  { queues: 999, reads: 0, why: "they are read at once when a client asks" },
  { queues: 1_000, reads: 1, why: "the first client would wait" },
])("of $queues queues a server that starts reads all $reads times: $why", async ({ queues, reads }) => {
  const read = vi.fn(async () => {});
  await createReadAhead({ count: async () => queues, read }).start();
  expect(read).toHaveBeenCalledTimes(reads);
});

test("the start does not wait for the reading", async () => {
  const read = vi.fn(() => new Promise(() => {}));
  await createReadAhead({ count: async () => 1_000, read }).start();
  expect(read).toHaveBeenCalledOnce();
});

test.each([
  { what: "the count", count: () => Promise.reject(new Error("away")), read: async () => {} },
  { what: "the reading", count: async () => 1_000, read: () => Promise.reject(new Error("away")) },
])("a server starts though $what fails", async ({ count, read }) => {
  await createReadAhead({ count, read }).start();
});
