import { expect, inject, onTestFinished, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp, startServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const record = `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`;
const historyOf = `query ($from: DateTime!, $to: DateTime, $step: HistoryStep) {
  queueLatency(queues: ["q"]) {
    history(from: $from, to: $to, step: $step) {
      at step samples maxLatency meanLatency maxDepth enqueued dequeued waitTime { count p99 }
    }
  }
}`;
const env = () => ({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
const agoS = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
const events = (...types: readonly string[]) =>
  types.map((type, i) => ({ type, queue: "q", jobId: `${Math.floor(i / 2)}` }));

async function pointsOf(url: string, variables: object) {
  const { body } = await ask(url, historyOf, variables);
  expect(body.errors).toBeUndefined();
  return { points: body.data.queueLatency[0].history, cost: body.extensions?.cost?.requestedQueryCost };
}

test("every process answers what happened in steps, also when the one that wrote is killed", async () => {
  const settings = { ...env(), LOG_LEVEL: "debug" };
  await using first = await startServer(settings);
  await using second = await startServer(settings);
  await ask(first.url, record, { events: events("ENQUEUED", "DEQUEUED", "ENQUEUED") });
  const variables = { from: agoS(60), step: "TEN_SECONDS" };
  const newest = () =>
    until(async () => {
      const { points } = await pointsOf(second.url, variables);
      expect(points.length).toBeGreaterThan(0);
      return points;
    }, 250);
  const [point] = await newest();
  expect(point).toMatchObject({ step: "TEN_SECONDS", maxDepth: 1, enqueued: 2, dequeued: 1 });
  expect(point.waitTime).toMatchObject({ count: 1 });
  expect(Date.parse(point.at) % 10_000).toBe(0);
  expect(point.samples).toBeLessThanOrEqual(11);
  expect(point.maxLatency).toBeLessThanOrEqual(10);

  const writes = (server: { stdout(): string }) =>
    server.stdout().includes("this process writes the history");
  const [writer, other] = writes(first) ? [first, second] : [second, first];
  expect(writes(other)).toBe(false);
  await writer.kill();
  const known = (await pointsOf(other.url, variables)).points.length;
  await until(
    async () => expect((await pointsOf(other.url, variables)).points.length).toBeGreaterThan(known),
    500,
  );
  const { points } = await pointsOf(other.url, variables);
  expect(points.at(-1)).toMatchObject({ maxDepth: 1, enqueued: 0, dequeued: 0, waitTime: { count: 0 } });
  expect(points.at(-1).maxLatency).toBeGreaterThan(point.maxLatency);
  expect((await ask(other.url, `mutation { forgetQueue(queue: "q") }`)).body.data.forgetQueue).toBe(true);
  expect((await pointsOf(other.url, variables)).points).toEqual([]);
});

test("a history costs a tenth of a point for each step, whether it is there or not", async () => {
  const app = await startApp(env());
  onTestFinished(() => app[Symbol.asyncDispose]());
  const costs = [
    [{ from: agoS(3_595), step: "TEN_SECONDS" }, 1 + 36, "an hour of ten seconds"],
    [{ from: agoS(3_595) }, 1 + 36, "the shortest that fit"],
    [{ from: agoS(35_950) }, 1 + 60, "ten hours: ten seconds are not kept for so long"],
    [{ from: agoS(86_350) }, 1 + 3, "a day: more than 1,000 minutes"],
    [{ from: agoS(3_595), to: agoS(3_600 - 95) }, 1 + 1, "a part of a step is one"],
    [{ from: agoS(95), to: "2100-01-01T00:00:00Z" }, 1 + 1, "what has not been yet costs nothing"],
    [{ from: "2100-01-01T00:00:00Z", to: "2101-01-01T00:00:00Z" }, 1, "the future is empty"],
  ] as const;
  for (const [variables, cost, why] of costs) {
    expect((await pointsOf(app.url, variables)).cost, why).toBe(cost);
  }
});

test("a history that cannot be meant is refused with what was expected", async () => {
  const app = await startApp(env());
  onTestFinished(() => app[Symbol.asyncDispose]());
  const refused = [
    [{ from: agoS(20_000), step: "TEN_SECONDS" }, "at most 1000 steps"],
    [{ from: "1970-01-01T00:00:00Z" }, "at most 1000 steps"],
    [{ from: agoS(10), to: agoS(20) }, "not behind `to`"],
  ] as const;
  for (const [variables, expected] of refused) {
    const { body } = await ask(app.url, historyOf, variables);
    expect(body.errors?.[0]?.message).toContain(expected);
    expect(body.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  }
});
