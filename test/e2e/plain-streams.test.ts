import { once } from "node:events";
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { post, startApp } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";

/**
 * A subscription whose length is announced may be answered past Yoga, one that comes in chunks never is. Two servers are told the
 * same, the one in this and the other in that way, and have to say the same, byte by byte but for the times.
 */
let tokens: TestTokens;
let direct: Awaited<ReturnType<typeof startApp>>;
let throughYoga: Awaited<ReturnType<typeof startApp>>;
const allTokens = { all: "read,record,admin", writer: "record", poor: "read", many: "read", revoked: "read" };
beforeAll(async () => {
  tokens = await tokenFile(allTokens);
  const env = { REDIS_URL: inject("redisUrl"), API_TOKENS_FILE: tokens.path, RATE_LIMIT_MAX: "100" };
  const limits = { RATE_LIMIT_WINDOW: "1h", MAX_QUEUES: "60", MAX_SUBSCRIPTIONS: "2" };
  const start = () => startApp({ ...env, ...limits, KEY_PREFIX: uniquePrefix() });
  [direct, throughYoga] = await Promise.all([start(), start()]);
});
afterAll(async () => {
  await Promise.all([direct.stop(), throughYoga.stop()]);
  await tokens[Symbol.asyncDispose]();
});

const subscription =
  "subscription ($queues: [String!]!) { queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 0) { queue state depth oldestSince measuredAt } }";
const names = (count: number) => Array.from({ length: count }, (_, i) => `q${i}`);
const watching = (count: number) => ({ query: subscription, variables: { queues: names(count) } });

interface Row {
  readonly why: string;
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** Nothing of these is open for long. */
const answeredAtOnce: readonly Row[] = [
  { why: "a query", status: 200, body: { query: '{ queueLatency(queues: "a") { state } }' } },
  { why: "a mutation", status: 200, body: { query: 'mutation { forgetQueue(queue: "a") }' } },
  {
    why: "a subscription for JSON",
    status: 406,
    body: watching(1),
    headers: { accept: "application/json" },
  },
  { why: "too many queues", status: 400, body: watching(61) },
  {
    why: "a name that no queue has",
    status: 400,
    body: { query: subscription, variables: { queues: ["*"] } },
  },
  {
    why: "variables that do not fit",
    status: 400,
    body: { query: subscription, variables: { queues: [1] } },
  },
  {
    why: "an interval that is too short",
    status: 400,
    body: { ...watching(1), query: subscription.replace("50", "1") },
  },
  { why: "no GraphQL", status: 200, body: { query: "subscription { queueLatency" } },
  { why: "a field that there is not", status: 200, body: { query: "subscription { nothing }" } },
  { why: "a subscription in a batch", status: 400, body: [watching(1)] },
  { why: "a parameter that there is not", status: 400, body: { ...watching(1), more: 1 } },
  { why: "no token", status: 401, body: watching(1), headers: { authorization: undefined } },
  { why: "a token that is not known", status: 401, body: watching(1), headers: bearer("nobody") },
  { why: "no right to it", status: 403, body: watching(1), headers: bearer("writer") },
];

describe("past Yoga and through it, the same is said of", { shuffle: false }, () => {
  test.each(answeredAtOnce)("$why", async ({ body, headers, status }) => {
    const [past, through] = await both(async (url, how) => {
      const { answer } = await send(url, body, how, headers);
      return { ...headOf(answer), body: timeless(await text(answer)) };
    });
    expect(past).toEqual(through);
    expect(past.status).toBe(status);
  });

  test("a client with no points left", async () => {
    const [past, through] = await both(async (url, how) => {
      (await send(url, watching(60), how, bearer("poor"))).asked.destroy();
      const { answer } = await send(url, watching(60), how, bearer("poor"));
      return { ...headOf(answer), body: await text(answer) };
    });
    expect(past).toEqual(through);
    expect(past.status).toBe(429);
  });

  test("one subscription more than a client may have, and of one when another has gone", async () => {
    const [past, through] = await both(async (url, how) => {
      const open = [await send(url, watching(1), how, bearer("many"))];
      open.push(await send(url, watching(1), how, bearer("many")));
      for (const { answer } of open) await untilEvents(answer, 1);
      const refused = await send(url, watching(1), how, bearer("many"));
      const told = { ...headOf(refused.answer), body: await text(refused.answer) };
      open[0]?.asked.destroy();
      await expect
        .poll(async () => {
          const { asked, answer } = await send(url, watching(1), how, bearer("many"));
          const events = await untilEvents(answer, 1);
          asked.destroy();
          return events;
        })
        .toContain('"data":{');
      open[1]?.asked.destroy();
      return told;
    });
    expect(past).toEqual(through);
    expect(past.body).toContain("TOO_MANY_SUBSCRIPTIONS");
  });

  test("a subscription, its pushes, and its end", async () => {
    const [past, through] = await both(async (url, how) => {
      const { answer } = await send(url, watching(3), how, bearer("revoked"));
      const first = await untilEvents(answer, 1);
      const events = [{ type: "ENQUEUED", queue: "q1", jobId: "1" }];
      const record = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
      await post(url, { query: record, variables: { events } }, bearer("all"));
      const second = await untilEvents(answer, 1);
      return { answer, head: headOf(answer), events: [timeless(first), timeless(second)] };
    });
    const { revoked: _, ...others } = allTokens;
    await tokens.write(others);
    const [pastEnd, throughEnd] = await Promise.all([text(past.answer), text(through.answer)]);
    await tokens.write(allTokens);
    expect([past.head, past.events, pastEnd]).toEqual([through.head, through.events, throughEnd]);
    expect(past.head.status).toBe(200);
    expect(past.events[0]).toMatch(/^:\n\nevent: next\ndata: \{"data":.*"requestedQueryCost":3.*\}\n\n$/);
    expect(past.events[1]).toMatch(/^event: next\ndata: \{"data":[^\n]*"depth":1[^\n]*\}\n\n$/);
    expect(pastEnd).toBe("event: complete\ndata:\n\n");
  });
});

type How = "at once" | "in chunks";

function both<T>(act: (url: string, how: How) => Promise<T>): Promise<[T, T]> {
  return Promise.all([act(direct.url, "at once"), act(throughYoga.url, "in chunks")]);
}

async function send(
  url: string,
  body: unknown,
  how: How,
  headers: Row["headers"] = {},
): Promise<{ readonly asked: ClientRequest; readonly answer: IncomingMessage }> {
  const bytes = Buffer.from(JSON.stringify(body));
  const usual = { "content-type": "application/json", accept: "text/event-stream", ...bearer("all") };
  const all = Object.entries({ ...usual, ...headers }).filter(([, value]) => value !== undefined);
  const asked = request(`${url}/graphql`, {
    method: "POST",
    agent: false,
    headers: Object.fromEntries(all),
  });
  if (how === "in chunks") asked.write(bytes.subarray(0, 1));
  asked.end(how === "in chunks" ? bytes.subarray(1) : bytes);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  // Whoever gives it up wants to hear nothing of it.
  asked.on("error", () => {});
  answer.on("error", () => {});
  return { asked, answer };
}

/** What came until there were so many events in it; comments count as none. */
async function untilEvents(answer: IncomingMessage, count: number): Promise<string> {
  let read = "";
  while (read.split("event: ").length <= count || !read.endsWith("\n\n")) {
    const chunk = answer.read() as Buffer | null;
    if (chunk === null) await once(answer, "readable");
    else read += chunk.toString();
  }
  return read;
}

function headOf(answer: IncomingMessage): { status: number | undefined; headers: IncomingHttpHeaders } {
  const { date: _, ...headers } = answer.headers;
  return { status: answer.statusCode, headers };
}

function timeless(text: string): string {
  return text.replaceAll(/"(measuredAt|oldestSince)":"[^"]+"/g, '"$1":"…"');
}
