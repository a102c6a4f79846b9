import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Health } from "../../src/core/health.ts";
import { encodeCursor } from "../../src/core/queue-order.ts";
import type { QueuePageRequest } from "../../src/core/queue-page.ts";
import { ageSnapshot, type QueueSnapshot } from "../../src/core/snapshot.ts";
import type { AllQueues } from "../../src/live/all-snapshots.ts";
import { createQueuePages, maxHistories } from "../../src/live/queue-pages.ts";
import { snapshot } from "../support/live.ts";

const nowMs = 1_790_000_000_000;

/** With a head of this age, in seconds; null: it cannot be told. */
function waiting(queue: string, ageSeconds: number | null, depth: number | null = 1): QueueSnapshot {
  const known = ageSeconds === null ? null : ageSeconds * 1000;
  return {
    ...snapshot(queue),
    ...{ state: "WAITING", depth, latencyMs: known, measuredAtMs: nowMs },
    oldestSinceMs: known === null ? null : nowMs - known,
    accuracy: known === null ? "UNKNOWN" : "EXACT",
  };
}
const empty = (queue: string) => snapshot(queue, { measuredAtMs: nowMs });

const everything: QueuePageRequest = {
  ...{ orderBy: "NAME", prefix: null, search: null, source: null, states: null, healths: null },
  ...{ first: 100, after: null },
};

interface World {
  readonly objectives?: Readonly<Record<string, number>>;
  readonly healths?: Readonly<Record<string, Health>>;
}

/** Pages of these queues; `set` puts another reading in their place. */
function pagesOf(first: readonly QueueSnapshot[], { objectives = {}, healths = {} }: World = {}) {
  const readingOf = (unordered: readonly QueueSnapshot[], measuredAtMs = nowMs): AllQueues => {
    const snapshots = unordered.toSorted((a, b) =>
      Buffer.compare(Buffer.from(a.queue), Buffer.from(b.queue)),
    );
    const agedAt = (index: number) => ageSnapshot(snapshots[index] ?? expect.unreachable(), measuredAtMs);
    return { snapshots, agedAt, measuredAtMs, omitted: 0 };
  };
  let reading = readingOf(first);
  const asked: string[] = [];
  const pages = createQueuePages({
    all: { read: async () => reading },
    objectiveMsOf: (queue) => objectives[queue] ?? null,
    async healthOf(snapshots) {
      asked.push(...snapshots.filter(({ state }) => state === "WAITING").map(({ queue }) => queue));
      return snapshots.map(({ queue }) => healths[queue] ?? "OK");
    },
  });
  const read = (request: Partial<QueuePageRequest>) =>
    pages.read({ ...everything, ...request }, { begin: async (work) => work() });
  return {
    asked,
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
  ] as const)("$orderBy: $why", async ({ orderBy, names }) => {
    expect(await pagesOf(queues, { objectives }).names({ orderBy })).toEqual(names);
  });

  test("by name is that of their bytes, as in Redis", async () => {
    // By its UTF-16 the first one would come last.
    const names = ["z", "\uffee", "\u{1f600}"];
    expect(await pagesOf(names.toReversed().map(empty)).names({})).toEqual(names);
    expect(await pagesOf(names.map(empty)).walk({ first: 1 })).toEqual(names);
    expect(await pagesOf(names.map(empty)).walk({ first: 1, orderBy: "DEPTH" })).toEqual(names);
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
  const orders = fc.constantFrom("NAME", "LATENCY", "DEPTH", "LATENESS");

  test("finds each queue once in its order, though all heads grow older between the pages", async () => {
    await fc.assert(
      fc.asyncProperty(someQueues, orders, fc.integer({ min: 1, max: 5 }), async (queues, orderBy, first) => {
        const snapshots = queues.map(({ queue, age, depth }) => waiting(queue, age, depth));
        const objectives = Object.fromEntries(
          queues.flatMap(({ queue, objective }) => (objective === null ? [] : [[queue, objective * 1000]])),
        );
        const pages = pagesOf(snapshots, { objectives });
        const expected = await pages.names({ orderBy });
        let later = 0;
        const walked = await pages.walk({ orderBy, first }, () => {
          later += 7_000;
          const aged = snapshots.map((each) => ({
            ...each,
            latencyMs: each.latencyMs === null ? null : each.latencyMs + later,
            measuredAtMs: nowMs + later,
          }));
          pages.set(aged, nowMs + later);
        });
        expect(walked).toEqual(expected);
      }),
    );
  });

  test("goes on behind a queue that is gone, and misses no other", async () => {
    const pages = pagesOf([waiting("a", 30), waiting("b", 20), waiting("c", 10)]);
    const { endCursor } = await pages.read({ orderBy: "LATENCY", first: 2 });
    pages.set([waiting("a", 30), waiting("c", 10), waiting("new", 5)], nowMs + 1_000);
    expect(await pages.walk({ orderBy: "LATENCY", after: endCursor })).toEqual(["c", "new"]);
  });

  test.each([
    { after: "", why: "it is nothing" },
    { after: "???", why: "it is no base64url" },
    { after: Buffer.from("\0[1,2]").toString("base64url"), why: "nothing like it was given" },
    {
      after: Buffer.from('\0["DEPTH",1790000000000,5,0,"b"]').toString("base64url"),
      why: "it is of another order",
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
    { filter: { source: "faktory" }, names: ["faktory/mail", "faktory/paused"], why: "who tells it" },
    { filter: { states: ["WAITING"] }, names: ["Mail", "mail/urgent"], why: "one state" },
    {
      filter: { states: ["WAITING", "PAUSED"] },
      names: ["Mail", "faktory/paused", "mail/urgent"],
      why: "two",
    },
    { filter: { states: [] }, names: [], why: "none of them" },
    { filter: { source: "nobody" }, names: [], why: "there is none" },
  ] as const)("$filter: $why", async ({ filter, names }) => {
    expect(await pagesOf(queues).names(filter)).toEqual(names);
    expect(await pagesOf(queues).walk({ ...filter, first: 1 })).toEqual(names);
  });

  test("by health reads it of queues that pass all else, worst first", async () => {
    const pages = pagesOf([...queues, waiting("stuck", 900)], {
      healths: { stuck: "STALLED", "mail/urgent": "SLOW", "mail/bulk": "SLOW" },
    });
    expect(await pages.names({ orderBy: "LATENCY", healths: ["SLOW", "STALLED"] })).toEqual([
      ...["stuck", "mail/urgent", "mail/bulk"],
    ]);
    pages.asked.length = 0;
    expect(await pages.names({ healths: ["SLOW"], search: "mail/*" })).toEqual(["mail/bulk", "mail/urgent"]);
    expect(pages.asked).toEqual(["mail/urgent"]);
  });

  test("by health reads no more histories for a page than it may, and goes on with the next page", async () => {
    const names = Array.from({ length: 2 * maxHistories + 50 }, (_, i) => `q${String(i).padStart(4, "0")}`);
    const [sick] = [names[maxHistories + 20] as string];
    const pages = pagesOf(
      names.map((name) => waiting(name, 5)),
      { healths: { [sick]: "STALLED" } },
    );
    const page = await pages.read({ healths: ["STALLED"], first: 10 });
    expect(page).toMatchObject({ edges: [], hasMore: true });
    expect(pages.asked).toHaveLength(maxHistories);
    expect(await pages.walk({ healths: ["STALLED"], first: 10 })).toEqual([sick]);
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
  return encodeCursor("LATENCY", { queue: "a", rank: { first: Number.POSITIVE_INFINITY, second: 0 }, atMs });
}
