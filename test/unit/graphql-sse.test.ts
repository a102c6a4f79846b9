import type { ServerResponse } from "node:http";
import { Writable } from "node:stream";
import { GraphQLError } from "graphql";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createByteBudget } from "../../src/server/byte-budget.ts";
import { encodeResult } from "../../src/server/encoded-result.ts";
import type { JsonResult } from "../../src/server/execute.ts";
import { createEventStreams } from "../../src/server/graphql-sse.ts";
import type { Pushes } from "../../src/server/subscription-deduplication.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

it("asks for the next push when the last one has left, so that a slow reader gets the newest", async () => {
  const { written, reads, asked, push } = begin();
  reads(false);
  push({ data: '{"n":1}' });
  await vi.waitFor(() => expect(written()).toContain('"n":1'));
  expect(asked()).toBe(1);
  reads(true);
  await vi.waitFor(() => expect(asked()).toBe(2));
});

it("sends a comment every 12 seconds, but none to a client that has not read the last push", async () => {
  const { written, reads, asked, push } = begin();
  vi.advanceTimersByTime(24_000);
  expect(written()).toBe(":\n\n".repeat(3));
  reads(false);
  push({ data: "{}" });
  await vi.waitFor(() => expect(written()).toContain("event: next"));
  const before = written();
  vi.advanceTimersByTime(24_000);
  expect(written()).toBe(before);
  reads(true);
  await vi.waitFor(() => expect(asked()).toBe(2));
  vi.advanceTimersByTime(12_000);
  expect(written()).toBe(`${before}:\n\n`);
});

it("reports the cost once, with the first push", async () => {
  const { written, push } = begin();
  push({ data: '{"n":1}' });
  push({ data: '{"n":2}' });
  await vi.waitFor(() => expect(written()).toContain('"n":2'));
  expect(written().match(/requestedQueryCost/g)).toHaveLength(1);
  expect(written()).toMatch(/"n":1.*requestedQueryCost/);
});

it("ends the subscription when the client has gone, and sends no more pings", async () => {
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

it("cuts a client that leaves more unread than its byte budget", async () => {
  const { response, reads, push, returned, budget } = begin();
  reads(false);
  push({ data: `"${"x".repeat(2_000)}"` });
  push({ data: "{}" });
  await new Promise(setImmediate);
  // Its only push in flight may be of any size.
  expect(response.destroyed).toBe(false);
  expect(budget.reserve("token:a", 1)).toBeNull();
  reads(true);
  await vi.waitFor(() => expect(budget.reserve("token:a", 999)).not.toBeNull());
  push({ data: "{}" });
  push({ data: "{}" });
  await vi.waitFor(() => expect(response.destroyed).toBe(true));
  await vi.waitFor(() => expect(returned).toHaveBeenCalledOnce());
});

it("completes a subscription that is over", async () => {
  const { response, written, end } = begin();
  end();
  await vi.waitFor(() => expect(response.writableFinished).toBe(true));
  expect(written()).toBe(":\n\nevent: complete\ndata:\n\n");
});

it("says why it ends a subscription for a reason, and completes it", async () => {
  const { response, written, fail } = begin();
  fail(new GraphQLError("revoked", { extensions: { code: "UNAUTHENTICATED", http: { status: 401 } } }));
  await vi.waitFor(() => expect(response.writableFinished).toBe(true));
  expect(written()).toBe(
    ':\n\nevent: next\ndata: {"errors":[{"message":"revoked","extensions":{"code":"UNAUTHENTICATED"}}]}\n\nevent: complete\ndata:\n\n',
  );
});

it("ends a subscription without complete when the server leaves, so that its client comes back", async () => {
  const { response, written, leave, returned } = begin();
  leave();
  await vi.waitFor(() => expect(returned).toHaveBeenCalledOnce());
  expect(response.writableFinished).toBe(true);
  expect(written()).toBe(":\n\n");
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
  const waiting: PromiseWithResolvers<Awaited<ReturnType<Pushes["next"]>>>[] = [];
  const pushed: JsonResult[] = [];
  let asked = 0;
  const returned = vi.fn(async () => ({ done: true as const, value: undefined }));
  const pushes: Pushes = {
    next() {
      asked += 1;
      const value = pushed.shift();
      if (value !== undefined) return Promise.resolve({ done: false, value: encodeResult(value) });
      waiting.push(Promise.withResolvers());
      return waiting[0]!.promise;
    },
    return: returned,
  };
  const throttleStatus = { maximumAvailable: 1, currentlyAvailable: 1, restoreRate: 1 };
  const budget = createByteBudget(1_000);
  const streams = createEventStreams(budget);
  streams.send(Object.assign(response, { writeHead() {} }) as unknown as ServerResponse, pushes, {
    client: "token:a",
    cost: { requestedQueryCost: 1, actualQueryCost: 1, throttleStatus },
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
    push(value: JsonResult) {
      const next = waiting.shift();
      if (next === undefined) pushed.push(value);
      else next.resolve({ done: false, value: encodeResult(value) });
    },
    end: () => waiting.shift()?.resolve({ done: true, value: undefined }),
    fail: (error: Error = new Error("broken")) => waiting.shift()?.reject(error),
    leave: streams.leave,
    budget,
  };
}
