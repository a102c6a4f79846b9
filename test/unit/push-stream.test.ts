import type { ServerResponse } from "node:http";
import { Writable } from "node:stream";
import type { ExecutionResult } from "graphql";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { sendPushes } from "../../src/server/push-stream.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

it("asks for the next push when the last one has left, so that a slow reader gets the newest", async () => {
  const { written, reads, asked, push } = begin();
  reads(false);
  push({ data: { n: 1 } });
  await vi.waitFor(() => expect(written()).toContain('"n":1'));
  expect(asked()).toBe(1);
  reads(true);
  await vi.waitFor(() => expect(asked()).toBe(2));
});

it("sends a comment every 12 seconds, but none to whoever has not read the last push", async () => {
  const { written, reads, asked, push } = begin();
  vi.advanceTimersByTime(24_000);
  expect(written()).toBe(":\n\n".repeat(3));
  reads(false);
  push({ data: {} });
  await vi.waitFor(() => expect(written()).toContain("event: next"));
  const before = written();
  vi.advanceTimersByTime(24_000);
  expect(written()).toBe(before);
  reads(true);
  await vi.waitFor(() => expect(asked()).toBe(2));
  vi.advanceTimersByTime(12_000);
  expect(written()).toBe(`${before}:\n\n`);
});

it("tells the cost once, with the first push", async () => {
  const { written, push } = begin();
  push({ data: { n: 1 } });
  push({ data: { n: 2 } });
  await vi.waitFor(() => expect(written()).toContain('"n":2'));
  expect(written().match(/requestedQueryCost/g)).toHaveLength(1);
  expect(written()).toMatch(/"n":1.*requestedQueryCost/);
});

it("ends the subscription when the client has gone, and pings nobody any more", async () => {
  const { response, returned } = begin();
  response.destroy();
  await vi.waitFor(() => expect(returned).toHaveBeenCalledOnce());
  expect(vi.getTimerCount()).toBe(0);
});

it("ends the subscription of a client that had gone before it began", async () => {
  const response = new Writable();
  response.destroy();
  await vi.waitFor(() => expect(response.closed).toBe(true));
  const { returned } = begin(response);
  expect(returned).toHaveBeenCalledOnce();
  expect(vi.getTimerCount()).toBe(0);
});

it("cuts the connection when the subscription breaks, since there is nothing to be said of it", async () => {
  const { response, fail, written } = begin();
  fail();
  await vi.waitFor(() => expect(response.destroyed).toBe(true));
  expect(written()).not.toContain("complete");
});

/** A subscription whose reader may stop to read. */
function begin(response = new Writable()) {
  let text = "";
  let isReading = true;
  let left = () => {};
  response._write = (chunk: Buffer, _encoding, done) => {
    text += chunk.toString();
    if (isReading) done();
    else left = done;
  };
  const waiting: PromiseWithResolvers<IteratorResult<ExecutionResult>>[] = [];
  const pushed: ExecutionResult[] = [];
  let asked = 0;
  const returned = vi.fn(async () => ({ done: true as const, value: undefined }));
  const pushes: AsyncIterator<ExecutionResult> = {
    next() {
      asked += 1;
      const value = pushed.shift();
      if (value !== undefined) return Promise.resolve({ done: false, value });
      waiting.push(Promise.withResolvers());
      return waiting[0]!.promise;
    },
    return: returned,
  };
  const throttleStatus = { maximumAvailable: 1, currentlyAvailable: 1, restoreRate: 1 };
  sendPushes(Object.assign(response, { writeHead() {} }) as unknown as ServerResponse, pushes, {
    requestedQueryCost: 1,
    actualQueryCost: 1,
    throttleStatus,
  });
  return {
    response,
    returned,
    written: () => text,
    asked: () => asked,
    reads(isWilling: boolean) {
      isReading = isWilling;
      if (isReading) left();
    },
    push(value: ExecutionResult) {
      const next = waiting.shift();
      if (next === undefined) pushed.push(value);
      else next.resolve({ done: false, value });
    },
    fail: () => waiting.shift()?.reject(new Error("broken")),
  };
}
