import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { GraphQLError } from "graphql";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { JsonResult } from "../../src/executor/execute.ts";
import { createByteBudget } from "../../src/server/byte-budget.ts";
import { createConcurrencyLimiter } from "../../src/server/concurrency-limiter.ts";
import { encodeResult } from "../../src/server/encoded-result.ts";
import { createEventStreams } from "../../src/server/graphql-sse.ts";
import type { Subscriber } from "../../src/server/subscriber.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

it("is ready for the next push when the last one has left, so that a slow reader gets the newest", async () => {
  const { written, reads, isReady, drained, push } = begin();
  await vi.waitFor(() => expect(isReady()).toBe(true));
  reads(false);
  push({ data: '{"n":1}' });
  expect(written()).toContain('"n":1');
  expect(isReady()).toBe(false);
  drained.mockClear();
  await new Promise(setImmediate);
  expect(drained).not.toHaveBeenCalled();
  reads(true);
  await vi.waitFor(() => expect(drained).toHaveBeenCalledOnce());
  expect(isReady()).toBe(true);
});

it("sends a comment every 12 seconds, but none to a reader that has not read the last push", async () => {
  const { written, reads, isReady, push } = begin();
  vi.advanceTimersByTime(24_000);
  expect(written()).toBe(":\n\n".repeat(3));
  reads(false);
  push({ data: "{}" });
  const before = written();
  vi.advanceTimersByTime(24_000);
  expect(written()).toBe(before);
  reads(true);
  await vi.waitFor(() => expect(isReady()).toBe(true));
  vi.advanceTimersByTime(12_000);
  expect(written()).toBe(`${before}:\n\n`);
});

it("sends no comment in an interval in which it pushed", async () => {
  const { written, push } = begin();
  for (let n = 0; n < 3; n++) {
    vi.advanceTimersByTime(11_999);
    push({ data: "{}" });
    await new Promise(setImmediate);
  }
  expect(written().match(/^:$/gm)).toHaveLength(1);
  vi.advanceTimersByTime(24_000);
  expect(written().match(/^:$/gm)).toHaveLength(2);
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
  const { socket, left } = begin();
  socket.destroy();
  await vi.waitFor(() => expect(left).toHaveBeenCalledOnce());
  expect(vi.getTimerCount()).toBe(0);
});

it("ends the subscription of a client that had gone before it began", async () => {
  const socket = new Duplex();
  socket.destroy();
  await vi.waitFor(() => expect(socket.closed).toBe(true));
  const { left } = begin(socket);
  expect(left).toHaveBeenCalledOnce();
  expect(vi.getTimerCount()).toBe(0);
});

it("cuts a client that leaves more unread than its byte budget", async () => {
  const budget = createByteBudget(1_000);
  const { socket, reads, push, left } = begin(new Duplex({ read() {} }), budget);
  reads(false);
  push({ data: `"${"x".repeat(2_000)}"` });
  // Its only push in flight may be of any size.
  expect(socket.destroyed).toBe(false);
  expect(budget.reserve("token:a", 1)).toBeNull();
  reads(true);
  await vi.waitFor(() => expect(budget.reserve("token:a", 999)).not.toBeNull());
  reads(false);
  push({ data: "{}" });
  expect(socket.destroyed).toBe(true);
  await vi.waitFor(() => expect(left).toHaveBeenCalledOnce());
});

it("completes a subscription that is over", async () => {
  const { socket, written, end } = begin();
  end();
  await vi.waitFor(() => expect(socket.writableFinished).toBe(true));
  expect(written()).toBe(":\n\nevent: complete\ndata:\n\n");
});

it("says why it ends a subscription for a reason, and completes it", async () => {
  const { socket, written, fail } = begin();
  fail(new GraphQLError("revoked", { extensions: { code: "UNAUTHENTICATED", http: { status: 401 } } }));
  await vi.waitFor(() => expect(socket.writableFinished).toBe(true));
  expect(written()).toBe(
    ':\n\nevent: next\ndata: {"errors":[{"message":"revoked","extensions":{"code":"UNAUTHENTICATED"}}]}\n\nevent: complete\ndata:\n\n',
  );
});

it("ends a subscription without complete when the server leaves, so that its client comes back", async () => {
  const { socket, written, leave, left } = begin();
  leave();
  await vi.waitFor(() => expect(left).toHaveBeenCalledOnce());
  expect(socket.writableFinished).toBe(true);
  expect(written()).toBe(":\n\n");
});

it("cuts the connection when the subscription breaks, since there is nothing to be said of it", async () => {
  const { socket, fail, written } = begin();
  fail();
  await vi.waitFor(() => expect(socket.destroyed).toBe(true));
  expect(written()).not.toContain("complete");
});

/** A subscription whose reader may stop to read. */
function begin(socket = new Duplex({ read() {} }), budget = createByteBudget(1_000)) {
  let text = "";
  let isReading = true;
  let flush = () => {};
  socket._write = (chunk: Buffer, _encoding, done) => {
    text += chunk.toString();
    if (isReading) done();
    else flush = done;
  };
  let subscriber: Subscriber | undefined;
  const drained = vi.fn();
  const leave = vi.fn();
  const throttleStatus = { maximumAvailable: 1, currentlyAvailable: 1, restoreRate: 1 };
  const requests = createConcurrencyLimiter(1);
  const streams = createEventStreams({
    take: () => taken,
    ...{ budget, requests, stalled: { watch() {} } },
  });
  const destroySoon = () => socket.once("finish", () => socket.destroy());
  const taken = Object.assign(socket, { destroySoon }) as unknown as Socket;
  const response = {
    req: { readableEnded: true, socket },
    writeHead() {},
    flushHeaders() {},
    // As for HTTP/1.0: what is written is the body as it is.
    chunkedEncoding: false,
  };
  void streams.send(
    response as unknown as ServerResponse,
    {
      begin(given) {
        subscriber = given;
      },
      drained,
      leave,
      fail: () => expect.unreachable(),
    },
    "token:a",
    { requestedQueryCost: 1, actualQueryCost: 1, throttleStatus },
  );
  const begun = () => subscriber ?? expect.unreachable();
  return {
    socket,
    drained,
    left: leave,
    requests: () => requests.count("token:a"),
    written: () => text,
    isReady: () => begun().isReady(),
    reads(isWilling: boolean) {
      isReading = isWilling;
      if (isReading) flush();
    },
    push: (value: JsonResult) => begun().write(encodeResult(value)),
    end: () => begun().end(null),
    fail: (error: GraphQLError = new GraphQLError("broken", unexpected)) => begun().end(error),
    leave: streams.leave,
  };
}

const unexpected = { extensions: { code: "INTERNAL_SERVER_ERROR" } };
