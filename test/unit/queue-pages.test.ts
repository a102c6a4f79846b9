import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Forecast, Health } from "../../src/core/health.ts";
import { encodeCursor } from "../../src/core/queue-order.ts";
import type { QueuePageRequest } from "../../src/core/queue-page.ts";
import { ageSnapshot, type QueueSnapshot } from "../../src/core/snapshot.ts";
import type { AllQueues } from "../../src/live/all-snapshots.ts";
import { createQueuePages } from "../../src/live/queue-pages.ts";
import { snapshot } from "../support/live.ts";

const nowMs = 1_790_000_000_000;

/** With a head of this age, in seconds; null: it is not known. */
function waiting(queue: string, ageSeconds: number | null, depth: number | null = 1): QueueSnapshot {
  const known = ageSeconds === null ? null : ageSeconds * 1000;
  return {
    ...snapshot(queue),
    ...{ state: "WAITING", depth, latencyMs: known, measuredAtMs: nowMs },
    oldestSinceMs: known === null ? null : nowMs - known,
    accuracy: known === null ? "UNKNOWN" : "EXACT",
  };
}
const noForecast: Forecast = {
  drainSeconds: null,
  breachSeconds: null,
  capacityRatio: null,
  unstable: false,
};
const likely = (seconds: number) => ({ low: seconds / 2, likely: seconds, high: seconds * 2 });
const empty = (queue: string) => snapshot(queue, { measuredAtMs: nowMs });

const everything: QueuePageRequest = {
  ...{ orderBy: "NAME", prefix: null, search: null, source: null, states: null, healths: null },
  ...{ reverse: false, first: 100, after: null, offset: 0, hasCounts: false, hasHealthCounts: false },
  ...{ throughput: [], waitTime: [] },
};

interface World {
  readonly objectives?: Readonly<Record<string, number>>;
  readonly healths?: Readonly<Record<string, Health>>;
  readonly forecasts?: Readonly<Record<string, Partial<Forecast>>>;
}

/** Pages of these queues; `set` puts another reading in their place. */
function pagesOf(
  first: readonly QueueSnapshot[],
  { objectives = {}, healths = {}, forecasts = {} }: World = {},
) {
  const readingOf = (unordered: readonly QueueSnapshot[], measuredAtMs = nowMs): AllQueues => {
    const snapshots = unordered.toSorted((a, b) =>
      Buffer.compare(Buffer.from(a.queue), Buffer.from(b.queue)),
    );
    const agedAt = (index: number) => ageSnapshot(snapshots[index] ?? expect.unreachable(), measuredAtMs);
    return { snapshots, agedAt, measuredAtMs, omitted: 0 };
  };
  let reading = readingOf(first);
  let judged = 0;
  const pages = createQueuePages({
    all: { read: async () => reading },
    allCounted: { read: async () => reading },
    withCounts: async (snapshots, { throughput }) =>
      snapshots.map((each) => ({
        ...each,
        throughput: Object.fromEntries([...throughput].map((window) => [window, null])),
      })),
    objectiveMsOf: (queue) => objectives[queue] ?? null,
    async healthOfAll({ snapshots }) {
      judged++;
      return snapshots.map(({ queue }) => healths[queue] ?? "OK");
    },
    forecastOfAll: async ({ snapshots }) =>
      snapshots.map(({ queue }) => {
        const found = forecasts[queue];
        return found === undefined ? null : { ...noForecast, ...found };
      }),
  });
  const read = (request: Partial<QueuePageRequest>) =>
    pages.read({ ...everything, ...request }, { begin: async (work) => work() });
  return {
    judgedOf: () => judged,
    read,
    names: async (request: Partial<QueuePageRequest>) =>
      (await read(request)).edges.map(({ node }) => node.queue),
    set(snapshots: readonly QueueSnapshot[], measuredAtMs: number) {
      reading = readingOf(snapshots, measuredAtMs);
    },
    /** The names of all pages from here on, in order. */
    async walk(request: Partial<QueuePageRequest>, between = () => {}) {
      const names: string[] = [];
      for (let after: string | null = request.after ?? null; ; between()) {
        const page = await read({ ...request, after });
        names.push(...page.edges.map(({ node }) => node.queue));
        if (!page.hasMore) return names;
        if (names.length > 1_000) throw new Error("the walk goes in a circle");
        after = page.endCursor ?? expect.unreachable();
      }
    },
  };
}

describe("the order of queues", () => {
  const queues = [
    waiting("old", 60, 2),
    waiting("older", 600, 1),
    waiting("unknown", null, null),
    waiting("deep", 1, 900),
    empty("b-empty"),
    empty("a-empty"),
    { ...waiting("stale", 300, 3), stale: true },
    { ...waiting("lost", 2, 4), accuracy: "INCOMPLETE" },
    { ...empty("lost-empty"), accuracy: "INCOMPLETE" },
  ] satisfies QueueSnapshot[];
  const objectives = {
    ...{ old: 5_000, older: 3_600_000, unknown: 60_000, "a-empty": 1_000 },
    "lost-empty": 1_000,
  };
  const healths: Record<string, Health> = {
    ...{ older: "STALLED", deep: "FALLING_BEHIND", old: "SLOW" },
    ...{ unknown: "UNKNOWN", stale: "UNKNOWN", lost: "UNKNOWN", "lost-empty": "UNKNOWN" },
  };

  test.each([
    {
      orderBy: "NAME",
      names: ["a-empty", "b-empty", "deep", "lost", "lost-empty", "old", "older", "stale", "unknown"],
      why: "by name",
    },
    {
      orderBy: "LATENCY",
      names: ["unknown", "lost", "lost-empty", "older", "stale", "old", "deep", "a-empty", "b-empty"],
      why: "those that may be the worst first, also where events were lost; equal ones by name",
    },
    {
      orderBy: "DEPTH",
      names: ["unknown", "lost", "lost-empty", "deep", "stale", "old", "older", "a-empty", "b-empty"],
      why: "as by latency",
    },
    {
      orderBy: "LATENESS",
      names: ["unknown", "lost-empty", "old", "older", "a-empty", "stale", "lost", "deep", "b-empty"],
      why: "12 times its objective is worse than a sixth; what has no objective is not late",
    },
    {
      orderBy: "HEALTH",
      names: ["older", "deep", "old", "unknown", "lost", "lost-empty", "stale", "a-empty", "b-empty"],
      why: "what is certain before what is not known, within one health the latest, and what has no objective by its age",
    },
    {
      orderBy: "ACCURACY",
      names: ["stale", "unknown", "lost", "lost-empty", "a-empty", "b-empty", "deep", "old", "older"],
      why: "what is stale, then what is not known, then where events were lost; equal ones by name",
    },
  ] as const)("$orderBy: $why", async ({ orderBy, names }) => {
    const pages = pagesOf(queues, { objectives, healths });
    expect(await pages.names({ orderBy })).toEqual(names);
    expect(await pages.names({ orderBy, reverse: true })).toEqual(names.toReversed());
    expect(await pages.walk({ orderBy, reverse: true, first: 2 })).toEqual(names.toReversed());
  });

  test.each([
    {
      orderBy: "SOURCE",
      names: ["own", "faktory/a", "faktory/b", "sidekiq/a", "sidekiq-two/a"],
      why: "by the name of the source, then by their own",
    },
    {
      orderBy: "STATE",
      names: ["faktory/b", "own", "sidekiq/a", "faktory/a", "sidekiq-two/a"],
      why: "paused ones first, as they are easily forgotten",
    },
  ] as const)("$orderBy: $why", async ({ orderBy, names }) => {
    const pages = pagesOf([
      waiting("own", 5),
      { ...waiting("sidekiq/a", 5), source: "sidekiq" },
      { ...empty("sidekiq-two/a"), source: "sidekiq-two" },
      { ...empty("faktory/a"), source: "faktory" },
      { ...waiting("faktory/b", 5), source: "faktory", state: "PAUSED" },
    ]);
    expect(await pages.names({ orderBy })).toEqual(names);
    expect(await pages.walk({ orderBy, reverse: true, first: 2 })).toEqual(names.toReversed());
  });

  const counted = [
    { ...empty("busy"), throughput: { ONE_MINUTE: { enqueuedPerSecond: 9, dequeuedPerSecond: 1 } } },
    { ...empty("idle"), throughput: { ONE_MINUTE: { enqueuedPerSecond: 0, dequeuedPerSecond: 0 } } },
    { ...empty("dropped"), throughput: { ONE_MINUTE: null } },
    { ...empty("faktory/q"), throughput: null },
    { ...empty("quick"), throughput: { ONE_MINUTE: { enqueuedPerSecond: 2, dequeuedPerSecond: 3 } } },
  ].map((each, i) => ({
    ...each,
    waitTime:
      each.throughput === null
        ? null
        : { FIVE_MINUTES: { count: 1, mean: 0, p50: 0, p95: i, p99: 0, max: 0 } },
  }));
  const forecasts = {
    busy: { unstable: true },
    idle: { drainSeconds: likely(0) },
    dropped: { breachSeconds: likely(60), drainSeconds: likely(5) },
    quick: { breachSeconds: likely(0), drainSeconds: likely(900) },
  };
  test.each([
    {
      orderBy: "ENQUEUED_PER_SECOND",
      names: ["busy", "quick", "idle", "dropped", "faktory/q"],
      why: "what is not counted comes last",
    },
    {
      orderBy: "DEQUEUED_PER_SECOND",
      names: ["quick", "busy", "idle", "dropped", "faktory/q"],
      why: "the same of those that left",
    },
    {
      orderBy: "WAIT_TIME_P95",
      names: ["quick", "dropped", "idle", "busy", "faktory/q"],
      why: "what is not counted comes last",
    },
    {
      orderBy: "BREACH_SECONDS",
      names: ["quick", "dropped", "busy", "faktory/q", "idle"],
      why: "the soonest first, and broken ones before; what has no forecast comes last",
    },
    {
      orderBy: "DRAIN_SECONDS",
      names: ["busy", "quick", "dropped", "idle", "faktory/q"],
      why: "what never drains is the worst",
    },
  ] as const)("$orderBy: $why", async ({ orderBy, names }) => {
    const pages = pagesOf(counted, { forecasts });
    expect(await pages.names({ orderBy })).toEqual(names);
    expect(await pages.walk({ orderBy, reverse: true, first: 2 })).toEqual(names.toReversed());
  });

  test("by name is that of their bytes, as in Redis", async () => {
    // By its UTF-16 the first one would come last.
    const names = ["z", "\uffee", "\u{1f600}"];
    expect(await pagesOf(names.toReversed().map(empty)).names({})).toEqual(names);
    expect(await pagesOf(names.map(empty)).walk({ first: 1 })).toEqual(names);
    expect(await pagesOf(names.map(empty)).walk({ first: 1, orderBy: "DEPTH" })).toEqual(names);
    expect(await pagesOf(names.map(empty)).walk({ first: 1, reverse: true })).toEqual(names.toReversed());
  });
});

describe("walking through the pages", () => {
  const someQueues = fc.uniqueArray(
    fc.record({
      queue: fc.string({ minLength: 1, maxLength: 4 }),
      age: fc.option(fc.nat(30), { freq: 5 }),
      depth: fc.option(fc.nat(3)),
      objective: fc.option(fc.integer({ min: 1, max: 100 })),
    }),
    { selector: ({ queue }) => queue, maxLength: 30 },
  );
  const orders = fc.constantFrom("NAME", "HEALTH", "LATENCY", "DEPTH", "LATENESS");

  test("finds each queue once in its order, though all heads grow older between the pages", async () => {
    await fc.assert(
      fc.asyncProperty(
        someQueues,
        orders,
        fc.boolean(),
        fc.nat(4),
        async (queues, orderBy, reverse, more) => {
          const first = more + 1;
          const snapshots = queues.map(({ queue, age, depth }) => waiting(queue, age, depth));
          const objectives = Object.fromEntries(
            queues.flatMap(({ queue, objective }) => (objective === null ? [] : [[queue, objective * 1000]])),
          );
          const healths = Object.fromEntries(
            queues.map(({ queue, depth }) => [
              queue,
              depth === 3 ? "STALLED" : depth === 2 ? "UNKNOWN" : "OK",
            ]),
          ) as Record<string, Health>;
          const pages = pagesOf(snapshots, { objectives, healths });
          const expected = await pages.names({ orderBy, reverse });
          let later = 0;
          const walked = await pages.walk({ orderBy, reverse, first }, () => {
            later += 7_000;
            const aged = snapshots.map((each) => ({
              ...each,
              latencyMs: each.latencyMs === null ? null : each.latencyMs + later,
              measuredAtMs: nowMs + later,
            }));
            pages.set(aged, nowMs + later);
          });
          expect(walked).toEqual(expected);
        },
      ),
    );
  });

  test("goes on behind a queue that is gone, and misses no other", async () => {
    const pages = pagesOf([waiting("a", 30), waiting("b", 20), waiting("c", 10)]);
    const { endCursor } = await pages.read({ orderBy: "LATENCY", first: 2 });
    pages.set([waiting("a", 30), waiting("c", 10), waiting("new", 5)], nowMs + 1_000);
    expect(await pages.walk({ orderBy: "LATENCY", after: endCursor })).toEqual(["c", "new"]);
    expect(await pages.walk({ orderBy: "LATENCY", reverse: true, after: endCursor })).toEqual(["a"]);
  });

  const letters = ["a", "b", "c", "d", "e", "f"];
  test.each([
    { request: { offset: 4 }, names: ["e", "f"], hasMore: false, why: "the rows from the fifth" },
    { request: { offset: 2, first: 2 }, names: ["c", "d"], hasMore: true, why: "two from the third" },
    { request: { offset: 6 }, names: [], hasMore: false, why: "there are no more than six" },
    {
      request: { offset: 1, reverse: true },
      names: ["e", "d", "c", "b", "a"],
      hasMore: false,
      why: "in its direction",
    },
    {
      request: { offset: 1, search: "?", source: "none" },
      names: [],
      hasMore: false,
      why: "of those that match",
    },
  ])("$request jumps over queues: $why", async ({ request, names, hasMore }) => {
    const page = await pagesOf(letters.map(empty)).read(request);
    expect(page.edges.map(({ node }) => node.queue)).toEqual(names);
    expect(page.hasMore).toBe(hasMore);
  });

  test("jumps from the cursor, when there is one", async () => {
    const pages = pagesOf(letters.map((name, i) => waiting(name, 60 - i)));
    const { endCursor } = await pages.read({ orderBy: "LATENCY", first: 2 });
    expect(await pages.names({ orderBy: "LATENCY", after: endCursor, offset: 1 })).toEqual(["d", "e", "f"]);
  });

  test.each([
    { after: "", why: "it is nothing" },
    { after: "???", why: "it is no base64url" },
    { after: Buffer.from("\0[1,2]").toString("base64url"), why: "nothing like it was given" },
    {
      after: Buffer.from('\0["DEPTH",1790000000000,5,0,"b"]').toString("base64url"),
      why: "it is of another order",
    },
    {
      after: Buffer.from('\0["LATENCY",1790000000000,5,0,0,"b"]').toString("base64url"),
      why: "its rank has a key too many",
    },
    { after: Buffer.from("b").toString("base64url"), why: "it is of the order of names" },
    { after: Buffer.from('\0["LATENCY",null,5,0,"b"]').toString("base64url"), why: "it has no instant" },
  ])("refuses a cursor when $why", async ({ after }) => {
    const pages = pagesOf([waiting("a", 30)]);
    await expect(pages.read({ orderBy: "LATENCY", after })).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
  });

  test("a page of none says whether there is one behind it", async () => {
    expect(await pagesOf([empty("a")]).read({ first: 0 })).toMatchObject({
      edges: [],
      hasMore: true,
      endCursor: null,
    });
    expect(await pagesOf([]).read({ first: 0 })).toMatchObject({
      edges: [],
      hasMore: false,
      endCursor: null,
    });
  });
});

describe("filters", () => {
  const queues = [
    empty("mail/bulk"),
    waiting("mail/urgent", 5),
    waiting("Mail", 5),
    { ...empty("faktory/mail"), source: "faktory" },
    { ...empty("faktory/paused"), source: "faktory", state: "PAUSED" as const },
  ];

  test.each([
    {
      filter: { search: "mail" },
      names: ["faktory/mail", "mail/bulk", "mail/urgent"],
      why: "a part of the name",
    },
    { filter: { search: "mail*" }, names: ["mail/bulk", "mail/urgent"], why: "a glob of the whole name" },
    { filter: { search: "?ail" }, names: ["Mail"], why: "one character" },
    { filter: { search: "ail", prefix: "Ma" }, names: ["Mail"], why: "both" },
    { filter: { prefix: "faktory/" }, names: ["faktory/mail", "faktory/paused"], why: "how the name begins" },
    { filter: { source: "faktory" }, names: ["faktory/mail", "faktory/paused"], why: "one source" },
    { filter: { source: "events", search: "mail" }, names: ["mail/bulk", "mail/urgent"], why: "and a name" },
    { filter: { states: ["WAITING"] }, names: ["Mail", "mail/urgent"], why: "one state" },
    {
      filter: { states: ["WAITING", "PAUSED"] },
      names: ["Mail", "faktory/paused", "mail/urgent"],
      why: "two",
    },
    { filter: { states: [] }, names: [], why: "none of them" },
    { filter: { source: "other" }, names: [], why: "there is none" },
  ] as const)("$filter: $why", async ({ filter, names }) => {
    expect(await pagesOf(queues).names(filter)).toEqual(names);
    expect(await pagesOf(queues).walk({ ...filter, first: 1 })).toEqual(names);
  });

  test("by health finds all of them, and shows the health that it went by", async () => {
    const pages = pagesOf([...queues, waiting("stuck", 900)], {
      healths: { stuck: "STALLED", "mail/urgent": "SLOW", "mail/bulk": "SLOW" },
    });
    const { edges } = await pages.read({ orderBy: "LATENCY", healths: ["SLOW", "STALLED"] });
    expect(edges.map(({ node }) => [node.queue, node.health])).toEqual([
      ["stuck", "STALLED"],
      ["mail/urgent", "SLOW"],
      ["mail/bulk", "SLOW"],
    ]);
    expect(await pages.names({ healths: ["SLOW"], search: "mail/*" })).toEqual(["mail/bulk", "mail/urgent"]);
    expect(await pages.names({ healths: [] })).toEqual([]);
  });

  test("has what is counted in the windows that are asked for", async () => {
    const { edges } = await pagesOf([empty("a")]).read({ throughput: ["FIVE_MINUTES"] });
    expect(edges[0]?.node.throughput).toEqual({ FIVE_MINUTES: null });
  });

  test("needs no health where none is asked for", async () => {
    const pages = pagesOf(queues);
    expect((await pages.read({ orderBy: "LATENCY", hasCounts: true })).counts?.byHealth).toBeNull();
    expect(pages.judgedOf()).toBe(0);
    expect((await pages.read({ orderBy: "LATENCY" })).counts).toBeNull();
  });

  const healths = { Mail: "SLOW", "mail/urgent": "SLOW", "faktory/mail": "STALLED" } as const;
  test.each([
    {
      filter: {},
      total: 5,
      byHealth: { SLOW: 2, STALLED: 1, OK: 2 },
      bySource: { events: 3, faktory: 2 },
      why: "all queues",
    },
    {
      filter: { healths: ["SLOW"] },
      total: 2,
      byHealth: { SLOW: 2, STALLED: 1, OK: 2 },
      bySource: { events: 2 },
      why: "a count by health does not depend on the filter by health, and one by source does",
    },
    {
      filter: { source: "faktory" },
      total: 2,
      byHealth: { STALLED: 1, OK: 1 },
      bySource: { events: 3, faktory: 2 },
      why: "and the other way round",
    },
    {
      filter: { source: "faktory", healths: ["SLOW"] },
      total: 0,
      byHealth: { STALLED: 1, OK: 1 },
      bySource: { events: 2 },
      why: "each with the filters of the others",
    },
    {
      filter: { search: "mail", states: ["WAITING"] },
      total: 1,
      byHealth: { SLOW: 1 },
      bySource: { events: 1 },
      why: "both with all else",
    },
  ] as const)("counts the queues that match $filter: $why", async ({ filter, total, byHealth, bySource }) => {
    const page = await pagesOf(queues, { healths }).read({
      ...filter,
      first: 1,
      hasCounts: true,
      hasHealthCounts: true,
    });
    const none = { OK: 0, SLOW: 0, FALLING_BEHIND: 0, STALLED: 0, UNKNOWN: 0 };
    expect(page.counts).toEqual({
      total,
      byHealth: { ...none, ...byHealth },
      bySource: new Map(Object.entries(bySource)),
    });
  });

  test.each([
    {
      what: "put in order",
      count: 200,
      request: (atMs: number) => ({ orderBy: "LATENCY" as const, after: cursorAt(atMs) }),
    },
    { what: "searched", count: 20, request: (i: number) => ({ search: `*a?${i}*` }) },
  ])("$count pages that are $what at once let the event loop turn", async ({ request, count }) => {
    const many = Array.from({ length: 5_000 }, (_, i) =>
      waiting(`${"a".repeat(100)}${i}`, (i * 7_919) % 5_000),
    );
    const pages = pagesOf(many);
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    await Promise.all(
      Array.from({ length: count }, (_, i) => pages.read({ ...request(nowMs + i), first: 1 })),
    );
    isOver = true;
    // Work of more than 100 ms, in slices of 2 ms.
    expect(turns).toBeGreaterThan(50);
  });
});

function cursorAt(atMs: number): string {
  return encodeCursor("LATENCY", { queue: "a", rank: [Number.POSITIVE_INFINITY, 0], atMs });
}
