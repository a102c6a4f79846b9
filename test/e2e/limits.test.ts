import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { parse } from "graphql";
import { createClient } from "graphql-ws";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { WebSocket as RawWebSocket } from "ws";
import { pointsOfReading, readLength } from "../../src/limits/cost.ts";
import { createKeys, type Keys } from "../../src/redis/keys.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { countCommands, nothingRan } from "../support/commands.ts";
import { startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import {
  type Answer,
  ask,
  type Cost,
  type GraphQLAnswer,
  post,
  startApp,
  startServer,
} from "../support/server.ts";
import { until } from "../support/until.ts";

interface Operation {
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>>;
  readonly operationName?: string | null;
}

/** One request, and how it travels. */
interface Sent {
  readonly over: "POST" | "GET" | "SSE" | "EventSource" | "WebSocket";
  readonly operation: Operation | readonly Operation[];
}

/** What came back first; status 0 over a WebSocket. */
interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: GraphQLAnswer;
}

/** What Redis runs for a request that is throttled, or costs nothing; one that is refused before runs nothing at all. */
const onlyTheThrottle = { evalsha: 1, get: 1 };

const silent = { LOG_LEVEL: "silent" };
const names = (count: number) => Array.from({ length: count }, (_, i) => `queue-${i}`);
const list = (queues: readonly string[]) => JSON.stringify(queues);
const reading = (queues: readonly string[]) => `{ queueLatency(queues: ${list(queues)}) { queue } }`;
const watching = (queues: readonly string[]) => `subscription ${reading(queues)}`;

/** Of this file alone: its commands are counted, it is frozen and killed. */
let redis: TestRedis;
let control: Redis;
const commandsDuring = <T>(run: () => Promise<T>, isRight = nothingRan) =>
  countCommands(control, run, isRight);
beforeAll(async () => {
  redis = await startRedis();
  control = new Redis(redis.url);
  // It is killed in tests: then there is nothing to say.
  control.on("error", () => {});
});
afterAll(async () => {
  control.disconnect();
  await redis.stop();
});

describe("the throttle", () => {
  test("lets exactly RATE_LIMIT_MAX of 200 concurrent requests through, over three processes", async () => {
    const prefix = uniquePrefix();
    const env = { ...silent, REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix };
    await using stack = new AsyncDisposableStack();
    const start = async () =>
      stack.use(await startServer({ ...env, RATE_LIMIT_MAX: "100", RATE_LIMIT_WINDOW: "1d" }));
    const servers = await Promise.all([start(), start(), start()]);
    const answers = await Promise.all(
      names(200).map((_, i) => ask(servers[i % 3]?.url ?? "", reading(["one"]))),
    );

    const passed = answers.filter(({ body }) => body.errors === undefined);
    const refused = answers.filter(({ body }) => body.errors !== undefined);
    expect(passed).toHaveLength(100);
    expect(refused).toHaveLength(100);
    // No two were given the same point.
    expect(new Set(passed.map((answer) => costOf(answer).throttleStatus.currentlyAvailable)).size).toBe(100);
    for (const answer of refused)
      expectThrottled(answer, { cost: 1, left: 0, max: 100, windowSeconds: 86_400 });
  });

  test("counts points, not requests, gives none above the maximum, and reports what is left", async () => {
    const prefix = uniquePrefix();
    const env = { ...silent, REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix };
    await using stack = new AsyncDisposableStack();
    const start = async () =>
      stack.use(await startServer({ ...env, RATE_LIMIT_MAX: "100", RATE_LIMIT_WINDOW: "1d" }));
    const servers = await Promise.all([start(), start(), start()]);
    const url = servers[0]?.url ?? "";
    const shared = new Redis(inject("redisUrl"));
    stack.defer(() => shared.disconnect());

    const key = createKeys(prefix).throttle("address:127.0.0.1");
    await ask(url, reading(names(1)));
    const bytesAtFirst = await shared.memory("USAGE", key);
    await ask(url, reading(names(6)));
    const answers = await Promise.all(
      names(200).map((_, i) => ask(servers[i % 3]?.url ?? "", reading(names(7)))),
    );
    // 7 of 100 were taken before: 13 requests of 7 points fit into the 93 that were left, and leave 2.
    expect(answers.filter(({ body }) => body.errors === undefined)).toHaveLength(13);
    for (const answer of answers.filter(({ body }) => body.errors !== undefined)) {
      expectThrottled(answer, { cost: 7, left: 2, max: 100, windowSeconds: 86_400 });
    }
    expectThrottled(await ask(url, reading(names(3))), { cost: 3, left: 2, max: 100, windowSeconds: 86_400 });
    expect(costOf(await ask(url, reading(names(2)))).throttleStatus.currentlyAvailable).toBe(0);
    expectThrottled(await ask(url, reading(names(1))), { cost: 1, left: 0, max: 100, windowSeconds: 86_400 });
    expect((await ask(url, "{ __typename }")).body.data).toEqual({ __typename: "Query" });

    // All that Redis keeps of the client: one small value, that expires when all points are back.
    expect(await shared.keys(`${prefix}:*address*`)).toEqual([key]);
    expect(Number(await shared.memory("USAGE", key))).toBeLessThanOrEqual(Number(bytesAtFirst) + 16);
    expect(await shared.pttl(key)).toBeGreaterThan(86_300_000);
    expect(await shared.pttl(key)).toBeLessThanOrEqual(86_400_001);
  });

  test("gives points back one by one, as fast as restoreRate says", async () => {
    await using app = await startAppHere({ RATE_LIMIT_MAX: "3", RATE_LIMIT_WINDOW: "2s" });
    const startedMs = performance.now();
    const first = await ask(app.url, reading(names(3)));
    expect(costOf(first).throttleStatus).toEqual({
      maximumAvailable: 3,
      currentlyAvailable: 0,
      restoreRate: 1.5,
    });
    const again = await until(async () => {
      const answer = await ask(app.url, reading(names(1)));
      expect(answer.status).toBe(200);
      return answer;
    });
    // A point takes two thirds of a second.
    expect(performance.now() - startedMs).toBeGreaterThan(650);
    expect(costOf(again).throttleStatus.currentlyAvailable).toBeLessThan(3);
  });

  test("refuses what can never fit into a window as too expensive, rather than for now", async () => {
    await using app = await startAppHere({ RATE_LIMIT_MAX: "5", MAX_COST: "500" });
    const answer = await ask(app.url, reading(names(6)));
    expect(answer).toMatchObject({
      status: 400,
      body: { errors: [{ extensions: { code: "MAX_COST_EXCEEDED" } }] },
    });
  });

  test.each(["one request", "a batch"])(
    "refuses %s for a larger answer than a client may have under way",
    async (as) => {
      await using app = await startAppHere({ RATE_LIMIT_MAX: "100000", MAX_COST: "100000" });
      const page = (first: number, aliases: number) => {
        const names = Array.from({ length: aliases }, (_, i) => `a${i}: queue`).join(" ");
        return { query: `{ queues(first: ${first}) { edges { node { ${names} } } } }` };
      };
      const body = as === "one request" ? page(250, 190) : [page(250, 95), page(250, 95)];
      const response = await fetch(`${app.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      expect(response.status).toBe(400);
      const [error] = [await response.json()].flat()[0].errors;
      expect(error.extensions.code).toBe("MAX_COST_EXCEEDED");
      expect(error.message).toMatch(/at most 8 MB.*up to 1\d MB.*fewer/);
    },
  );

  const ways: readonly Sent["over"][] = ["POST", "GET", "SSE", "WebSocket"];
  test.each(ways)("refuses over %s what it does not let through", async (over) => {
    await using app = await startAppHere({ RATE_LIMIT_MAX: "5", RATE_LIMIT_WINDOW: "1d" });
    await ask(app.url, reading(names(4)));
    const query = over === "SSE" ? watching(names(2)) : reading(names(2));
    const { reply, commands } = await commandsDuring(
      () => send(app.url, { over, operation: { query } }),
      (ran) => nothingRan(ran) || isDeepStrictEqual(ran, onlyTheThrottle),
    );
    // It is known that too few are left, and for a second that is believed.
    expect([{}, onlyTheThrottle]).toContainEqual(commands);
    if (over === "WebSocket") {
      expect(reply.body.errors?.[0]?.extensions).toMatchObject({ code: "THROTTLED" });
      // One of the two points is there, the other one takes a fifth of a day.
      expect(reply.body.errors?.[0]?.extensions.retryAfterSeconds).toBeGreaterThan(17_000);
      expect(reply.body.errors?.[0]?.extensions.retryAfterSeconds).toBeLessThanOrEqual(17_280);
      expect(costOf(reply)).toMatchObject({ requestedQueryCost: 2, actualQueryCost: null });
    } else {
      expectThrottled(reply, { cost: 2, left: 1, max: 5, windowSeconds: 86_400 });
    }
  });

  test("refuses a batch whole, also when part of it would fit", async () => {
    await using app = await startAppHere({ RATE_LIMIT_MAX: "5", RATE_LIMIT_WINDOW: "1d" });
    const batch = [{ query: reading(["a"]) }, { query: reading(["b"]) }];
    await ask(app.url, reading(names(4)));
    expectThrottled(await post(app.url, batch), { cost: 2, left: 1, max: 5, windowSeconds: 86_400 });
    expect((await post(app.url, batch.slice(1))).status).toBe(200);
  });
});

interface Way {
  readonly way: string;
  readonly why: string;
  /** A request of n points. */
  readonly points: (count: number) => Sent;
  /** A request with a field of n queues; by default the same. */
  readonly queues?: (count: number) => Sent;
}

const posted = (operation: Operation | readonly Operation[]): Sent => ({ over: "POST", operation });
const aliases = (fields: readonly (readonly string[])[]) =>
  `{ ${fields.map((queues, i) => `a${i}: queueLatency(queues: ${list(queues)}) { queue }`).join(" ")} }`;
const each = (queues: readonly string[]) => queues.map((queue) => [queue]);

const waysAround: readonly Way[] = [
  {
    way: "a literal",
    why: "the plain case",
    points: (count) => posted({ query: reading(names(count)) }),
  },
  {
    way: "a variable",
    why: "the document alone does not say",
    points: (count) =>
      posted({
        query: "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
        variables: { queues: names(count) },
      }),
  },
  {
    way: "variables inside of a list",
    why: "one variable stands for one name",
    points: (count) =>
      posted({
        query: `query (${names(count)
          .map((_, i) => `$v${i}: String!`)
          .join()}) { queueLatency(queues: [${names(count)
          .map((_, i) => `$v${i}`)
          .join()}]) { queue } }`,
        variables: Object.fromEntries(names(count).map((name, i) => [`v${i}`, name])),
      }),
  },
  {
    way: "a variable's default",
    why: "nothing is sent with the document",
    points: (count) =>
      posted({
        query: `query ($queues: [String!]! = ${list(names(count))}) { queueLatency(queues: $queues) { queue } }`,
      }),
  },
  {
    way: "a variable that overrides its default",
    why: "a small default must not be believed",
    points: (count) =>
      posted({
        query: 'query ($queues: [String!]! = ["a"]) { queueLatency(queues: $queues) { queue } }',
        variables: { queues: names(count) },
      }),
  },
  {
    way: "a fragment",
    why: "the operation itself selects nothing but a spread",
    points: (count) => posted({ query: `{ ...F } fragment F on Query ${reading(names(count))}` }),
  },
  {
    way: "an inline fragment",
    why: "a selection without a name",
    points: (count) => posted({ query: `{ ... on Query ${reading(names(count))} }` }),
  },
  {
    way: "nested fragments",
    why: "a fragment spreads fragments, some of them twice",
    points: (count) =>
      posted({
        query: `{ ...F } fragment F on Query { ... { ...G } a: queueLatency(queues: ["a"]) { queue } }
          fragment G on Query { ...H } fragment H on Query ${reading(names(count - 1))}`,
      }),
    queues: (count) =>
      posted({
        query: `{ ...F } fragment F on Query { ... { ...G } } fragment G on Query { ...H }
          fragment H on Query ${reading(names(count))}`,
      }),
  },
  {
    way: "aliases",
    why: "the same field many times",
    points: (count) => posted({ query: aliases(each(names(count))) }),
    queues: (count) => posted({ query: aliases([["a"], names(count)]) }),
  },
  {
    way: "parts that cost, by fragment",
    why: "a throughput for each queue counts like a queue",
    points: (count) =>
      posted({
        query: `{ a: queueLatency(queues: ["a", "b"]) { ...T } b: queueLatency(queues: ${list(names(count - 4))}) { queue } }
          fragment T on QueueLatency { throughput { enqueuedPerSecond } }`,
      }),
    queues: (count) =>
      posted({
        query: `{ queueLatency(queues: ${list(names(count))}) { ...T } } fragment T on QueueLatency { queue }`,
      }),
  },
  {
    way: "a batch",
    why: "each operation alone is small",
    points: (count) => posted(each(names(count)).map((queues) => ({ query: reading(queues) }))),
    queues: (count) => posted([{ query: reading(["a"]) }, { query: reading(names(count)) }]),
  },
  {
    way: "one of two operations in a document",
    why: "the one that runs is charged, not the first",
    points: (count) =>
      posted({
        query: `query Small ${reading(["a"])} query Large ${reading(names(count))}`,
        operationName: "Large",
      }),
  },
  {
    way: "a GET request",
    why: "the variables are text in the address",
    points: (count) => ({
      over: "GET",
      operation: {
        query: "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
        variables: { queues: names(count) },
      },
    }),
  },
  {
    way: "a query over a WebSocket",
    why: "it is not an HTTP request",
    points: (count) => ({ over: "WebSocket", operation: { query: reading(names(count)) } }),
  },
  {
    way: "a subscription over SSE",
    why: "it must not have opened its source",
    points: (count) => ({ over: "SSE", operation: { query: watching(names(count)) } }),
  },
  {
    way: "a subscription of an EventSource",
    why: "browsers subscribe with GET",
    points: (count) => ({ over: "EventSource", operation: { query: watching(names(count)) } }),
  },
  {
    way: "a subscription over a WebSocket",
    why: "it must not have opened its source",
    points: (count) => ({ over: "WebSocket", operation: { query: watching(names(count)) } }),
  },
];

const bounds = [
  { setting: "MAX_COST", code: "MAX_COST_EXCEEDED" },
  { setting: "MAX_QUEUES", code: "TOO_MANY_QUEUES" },
] as const;

describe.each(bounds)("$setting", ({ setting, code }) => {
  const limit = 6;
  let app: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    // Every query reads, so that a query that runs is seen in the commands.
    app = await startAppHere({ [setting]: String(limit), MAX_AGE: "0" });
    // From here on Redis knows the throttle's script.
    await ask(app.url, "{ __typename }");
  });
  afterAll(() => app.stop());

  const request = ({ points, queues }: Way, count: number) =>
    setting === "MAX_COST" ? points(count) : (queues ?? points)(count);

  test.each(waysAround)("is not passed by one through $way: $why", async (way) => {
    const { reply, commands } = await commandsDuring(() => send(app.url, request(way, limit + 1)));
    expect(codesOf(reply.body)).toEqual([code]);
    expect(reply.body.data ?? null).toBeNull();
    expect(reply.status).toBe(
      { WebSocket: 0, SSE: 200, EventSource: 200, POST: 400, GET: 400 }[request(way, 1).over],
    );
    expect(costOf(reply).actualQueryCost).toBeNull();
    expect(commands).toEqual({});
  });

  test.each(waysAround)("is met exactly through $way: $why", async (way) => {
    const { reply, commands } = await commandsDuring(
      () => send(app.url, request(way, limit)),
      () => true,
    );
    const answers = Array.isArray(reply.body) ? (reply.body as GraphQLAnswer[]) : [reply.body];
    for (const answer of answers) expect(answer).toMatchObject({ data: {} });
    expect(codesOf(reply.body)).toEqual([]);
    expect(reply.status).toBe(request(way, 1).over === "WebSocket" ? 0 : 200);
    const charged = answers.reduce((sum, body) => sum + (costOf({ body }).actualQueryCost ?? 0), 0);
    expect(charged).toBeGreaterThanOrEqual(limit);
    // So what was counted above would have been seen: the state of each queue.
    expect(commands.hmget).toBeGreaterThan(0);
  });
});

describe("no request gets around its cost", () => {
  let app: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    app = await startAppHere();
    await ask(app.url, "{ __typename }");
  });
  afterAll(() => app.stop());

  const other = 'other: queueLatency(queues: ["a"]) { queue }';
  test.each([
    {
      request: "null for a number with a default",
      query: `query ($first: Int = 5) { queues(first: $first) { edges { cursor } } ${other} }`,
      variables: { first: null },
      why: "null is not the default",
    },
    {
      request: "null for a list with a default",
      query: `query ($queues: [String!] = ["a"]) { queueLatency(queues: $queues) { queue } ${other} }`,
      variables: { queues: null },
      why: "there is nothing to count",
    },
    {
      request: "null inside of a list",
      query: `query ($queue: String = "a") { queueLatency(queues: ["b", $queue]) { queue } ${other} }`,
      variables: { queue: null },
      why: "the list is no list of names any more",
    },
    {
      request: "null for @skip",
      query: `query ($skip: Boolean = true) { queueLatency(queues: ["b"]) @skip(if: $skip) { queue } ${other} }`,
      variables: { skip: null },
      why: "neither skipped nor not",
    },
  ])("with $request: refused whole, $why", async ({ query, variables }) => {
    const { reply, commands } = await commandsDuring(() => ask(app.url, query, variables));
    expect(codesOf(reply.body)).toEqual(["BAD_USER_INPUT"]);
    expect(costOf(reply)).toMatchObject({ requestedQueryCost: 0, actualQueryCost: null });
    expect(commands).toEqual({});
  });

  test.each([
    { operationName: "Missing", why: "no operation has this name" },
    { operationName: "", why: "an empty name is a name" },
    { operationName: null, why: "two operations, and it is not said which" },
  ])("with operationName $operationName: free, and nothing is run, since $why", async ({ operationName }) => {
    const query = `query A ${reading(["a"])} query B ${reading(["b"])}`;
    const { reply, commands } = await commandsDuring(() => post(app.url, { query, operationName }));
    expect(reply.body.data).toBeUndefined();
    expect(reply.body.errors).toHaveLength(1);
    expect(costOf(reply)).toMatchObject({ requestedQueryCost: 0, actualQueryCost: 0 });
    expect(commands).toEqual({});
  });

  test("with more operations in a batch than 50: refused whole", async () => {
    const batch = names(51).map((name) => ({ query: reading([name]) }));
    const { reply, commands } = await commandsDuring(() => post(app.url, batch));
    expect(reply.status).toBe(400);
    expect(codesOf(reply.body)).toEqual(["BAD_USER_INPUT"]);
    expect(commands).toEqual({});
    expect(await post(app.url, batch.slice(1))).toMatchObject({ status: 200, body: { length: 50 } });
  });

  test("what costs nothing reads nothing, however often it is asked for", async () => {
    const pages = names(50).map((_, i) => `a${i}: queues(first: 0) { pageInfo { hasNextPage } }`);
    const { reply, commands } = await commandsDuring(() => ask(app.url, `{ ${pages.join(" ")} }`));
    const isFree = costOf(reply).requestedQueryCost === 0;
    expect({ isFree, reads: commands.zrangebylex ?? 0 }).not.toEqual({ isFree: true, reads: 50 });
  });
});

describe("a random operation", () => {
  test("costs what its fields, aliases, fragments and variables add up to, and reads no more than it pays for", async () => {
    await using app = await startAppHere({
      MAX_COST: "1000000",
      RATE_LIMIT_MAX: "1000000000",
      MAX_AGE: "0",
    });
    await ask(app.url, "{ __typename }");
    await fc.assert(
      fc.asyncProperty(fc.array(anySelection, { minLength: 1, maxLength: 4 }), async (selections) => {
        const { query, variables, points } = operationOf(selections);
        // Of each queue its state, and each window that is asked for.
        const isPaidFor = ({ hmget = 0 }: Readonly<Record<string, number>>) => hmget <= points;
        const { reply, commands } = await commandsDuring(() => ask(app.url, query, variables), isPaidFor);
        expect(reply.body.errors).toBeUndefined();
        // A long document costs what reading it takes, if that is more.
        const cost = Math.max(points, pointsOfReading(readLength(parse(query))));
        expect(costOf(reply)).toMatchObject({ requestedQueryCost: cost, actualQueryCost: cost });
        expect(commands).toSatisfy(isPaidFor);
      }),
      { numRuns: 60 },
    );
  });

  interface Field {
    readonly queues: readonly string[];
    readonly given: "literal" | "variable" | "default" | "overridden";
    readonly parts: readonly ("throughput" | "waitTime")[];
    readonly guard: Guard;
  }
  interface Group {
    readonly selections: readonly Selection[];
    readonly given: "inline" | "named" | "spread twice";
    readonly guard: Guard;
  }
  type Selection = Field | Group;
  type Guard = (typeof guards)[number];

  const guards = [
    { text: "", lets: true },
    { text: "@skip(if: true)", lets: false },
    { text: "@skip(if: $no)", lets: true },
    { text: "@include(if: $no)", lets: false },
    { text: "@include(if: $yes) @skip(if: $no)", lets: true },
  ] as const;

  const anyGuard = fc.constantFrom(...guards);
  const { selection: anySelection } = fc.letrec<{ selection: Selection }>((tie) => ({
    selection: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.record<Field>({
        queues: fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 6 }),
        given: fc.constantFrom("literal", "variable", "default", "overridden"),
        parts: fc.subarray(["throughput", "waitTime"]),
        guard: anyGuard,
      }),
      fc.record<Group>({
        selections: fc.array(tie("selection"), { minLength: 1, maxLength: 3 }),
        given: fc.constantFrom("inline", "named", "spread twice"),
        guard: anyGuard,
      }),
    ),
  }));

  /** The operation as text, and what it is to cost by the words of the contract. */
  function operationOf(selections: readonly Selection[]) {
    const declarations: string[] = [];
    const fragments: string[] = [];
    const variables: Record<string, unknown> = {};
    let aliases = 0;

    function fieldOf({ queues, given, parts, guard }: Field): { text: string; points: number } {
      const alias = `a${aliases++}`;
      const fallback = given === "default" ? queues : ["z"];
      if (given !== "literal") {
        const standard = given === "variable" ? "" : ` = ${list(fallback)}`;
        declarations.push(`$${alias}: [String!]!${standard}`);
      }
      if (given === "variable" || given === "overridden") variables[alias] = queues;
      const argument = given === "literal" ? list(queues) : `$${alias}`;
      const body = ["queue", ...parts.map((part) => `${part} { __typename }`)].join(" ");
      const text = `${alias}: queueLatency(queues: ${argument}) ${guard.text} { ${body} }`;
      return { text, points: guard.lets ? new Set(queues).size * (1 + parts.length) : 0 };
    }

    function groupOf({ selections: inner, given, guard }: Group): { text: string; points: number } {
      const { text, points } = allOf(inner);
      const each = guard.lets ? points : 0;
      if (given === "inline") return { text: `... ${guard.text} { ${text} }`, points: each };
      const name = `F${fragments.length}`;
      fragments.push(`fragment ${name} on Query { ${text} }`);
      const spread = `...${name} ${guard.text}`;
      if (given === "named") return { text: spread, points: each };
      return { text: `${spread} ${spread}`, points: 2 * each };
    }

    function allOf(all: readonly Selection[]): { text: string; points: number } {
      const parts = all.map((each) => ("queues" in each ? fieldOf(each) : groupOf(each)));
      return {
        text: parts.map(({ text }) => text).join(" "),
        points: parts.reduce((sum, { points }) => sum + points, 0),
      };
    }

    const { text, points } = allOf(selections);
    const whole = [text, ...fragments].join("\n");
    for (const [name, value] of [
      ["yes", true],
      ["no", false],
    ] as const) {
      if (whole.includes(`$${name})`)) {
        declarations.push(`$${name}: Boolean!`);
        variables[name] = value;
      }
    }
    const declared = declarations.length === 0 ? "" : `query (${declarations.join()}) `;
    return { query: `${declared}{ ${text} }\n${fragments.join("\n")}`, variables, points };
  }
});

describe("extensions.cost", () => {
  const max = 100;
  const shape = { maximumAvailable: max, currentlyAvailable: expect.any(Number), restoreRate: max / 86_400 };
  const withBadName = '{ queueLatency(queues: ["*"]) { queue } }';

  test.each([
    { answer: "data", sent: posted({ query: reading(["a"]) }), requested: 1, charged: 1 },
    {
      answer: "introspection",
      sent: posted({ query: "{ __schema { __typename } }" }),
      requested: 0,
      charged: 0,
    },
    {
      answer: "a refusal by MAX_COST",
      sent: posted({ query: reading(names(51)) }),
      requested: 51,
      charged: null,
    },
    { answer: "a refusal of an argument", sent: posted({ query: withBadName }), requested: 0, charged: null },
    { answer: "a validation error", sent: posted({ query: "{ nothing }" }), requested: 0, charged: 0 },
    { answer: "a syntax error", sent: posted({ query: "{" }), requested: 0, charged: 0 },
    { answer: "a missing query", sent: posted({} as Operation), requested: 0, charged: 0 },
    {
      answer: "a GET request",
      sent: { over: "GET", operation: { query: reading(["a"]) } },
      requested: 1,
      charged: 1,
    },
    {
      answer: "the first push over SSE",
      sent: { over: "SSE", operation: { query: watching(names(2)) } },
      requested: 2,
      charged: 2,
    },
    {
      answer: "the first next over a WebSocket",
      sent: { over: "WebSocket", operation: { query: watching(names(2)) } },
      requested: 2,
      charged: 2,
    },
    {
      answer: "a query over a WebSocket",
      sent: { over: "WebSocket", operation: { query: reading(names(2)) } },
      requested: 2,
      charged: 2,
    },
    {
      answer: "a refusal over SSE",
      sent: { over: "SSE", operation: { query: watching(names(51)) } },
      requested: 51,
      charged: null,
    },
    {
      answer: "a refusal over a WebSocket",
      sent: { over: "WebSocket", operation: { query: watching(names(51)) } },
      requested: 51,
      charged: null,
    },
    {
      answer: "a validation error over a WebSocket",
      sent: { over: "WebSocket", operation: { query: "{ nothing }" } },
      requested: 0,
      charged: 0,
    },
  ] satisfies readonly {
    answer: string;
    sent: Sent;
    requested: number;
    charged: number | null;
  }[])("is in $answer", async ({ sent, requested, charged }) => {
    await using app = await startAppHere({
      RATE_LIMIT_MAX: String(max),
      RATE_LIMIT_WINDOW: "1d",
      MAX_COST: "50",
    });
    expect(costOf(await send(app.url, sent))).toEqual({
      requestedQueryCost: requested,
      actualQueryCost: charged,
      throttleStatus: { ...shape, currentlyAvailable: max - (charged ?? 0) },
    });
  });

  test("is in every entry of a batch, also of one that is refused", async () => {
    await using app = await startAppHere({ RATE_LIMIT_MAX: String(max), RATE_LIMIT_WINDOW: "1d" });
    const batch = [{ query: reading(names(2)) }, { query: "{ nothing }" }, { query: reading(names(3)) }];
    const { status, body } = await post(app.url, batch);
    expect(status).toBe(200);
    // All entries have the client's status when all of the batch is paid for.
    const throttleStatus = { ...shape, currentlyAvailable: max - 5 };
    expect((body as unknown as GraphQLAnswer[]).map((entry) => entry.extensions?.cost)).toEqual([
      { requestedQueryCost: 2, actualQueryCost: 2, throttleStatus },
      { requestedQueryCost: 0, actualQueryCost: 0, throttleStatus },
      { requestedQueryCost: 3, actualQueryCost: 3, throttleStatus },
    ]);
    const refused = await post(app.url, [{ query: reading(names(99)) }, { query: reading(names(2)) }]);
    expect(refused.status).toBe(400);
    const cost = { requestedQueryCost: 101, actualQueryCost: null, throttleStatus };
    expect(refused.body).toEqual(
      Array(2).fill({
        errors: [
          expect.objectContaining({ extensions: expect.objectContaining({ code: "MAX_COST_EXCEEDED" }) }),
        ],
        extensions: { cost },
      }),
    );
  });

  test("goes down by what was charged, and by nothing else", async () => {
    await using app = await startAppHere({ RATE_LIMIT_MAX: String(max), RATE_LIMIT_WINDOW: "1d" });
    const left = async (query: string) => costOf(await ask(app.url, query)).throttleStatus.currentlyAvailable;
    const enqueue =
      'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "a", jobId: 1 }]) { accepted } }';
    expect(await left("{ __typename }")).toBe(100);
    expect(await left(reading(names(3)))).toBe(97);
    expect(await left(reading(names(101)))).toBe(97);
    expect(await left(withBadName)).toBe(97);
    expect(await left("{ nothing }")).toBe(97);
    expect(await left('{ queueLatency(queues: ["a"]) { throughput { enqueuedPerSecond } } }')).toBe(95);
    expect(await left("{ queues(first: 100) { edges { cursor } } }")).toBe(85);

    const stream = await openSse(app.url, watching(["a", "b"]));
    expect(costOf({ body: await stream.next() }).throttleStatus.currentlyAvailable).toBe(83);
    // Recording has a budget of its own.
    expect(await left(enqueue)).toBe(83);
    // The push that follows costs nothing, and so has nothing to say of it.
    const pushed = await stream.next();
    expect(pushed.data.queueLatency).toMatchObject([{ queue: "a" }]);
    expect(pushed.extensions).toBeUndefined();
    stream.close();
    expect(await left("{ __typename }")).toBe(83);
  });
});

describe("recording", () => {
  const record = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
  const eventsOf = (queues: readonly string[]) =>
    queues.map((queue, i) => ({ type: "ENQUEUED", queue, jobId: String(i) }));

  test("has a budget of its own, in events: a call for each job leaves the points for reading", async () => {
    await using app = await startAppHere({
      RATE_LIMIT_MAX: "5",
      RECORD_RATE_LIMIT: "30",
      RATE_LIMIT_WINDOW: "1h",
    });
    for (let i = 0; i < 29; i++) {
      const { body } = await ask(app.url, record, { events: eventsOf(["a"]) });
      expect(body.errors).toBeUndefined();
    }
    // Two more do not fit, even of one queue; one does.
    const refused = await ask(app.url, record, { events: eventsOf(["a", "a", "a"]) });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("Retry-After"))).toBeLessThanOrEqual(240);
    expect(costOf(refused)).toMatchObject({
      requestedQueryCost: 1,
      actualQueryCost: null,
      recording: { requestedCost: 3, actualCost: null },
    });
    const read = await ask(app.url, reading(names(5)));
    expect(codesOf(read.body)).toEqual([]);
    expect(costOf(read).recording).toBeUndefined();
  });

  test("costs a point for each queue, and reports what was charged", async () => {
    await using app = await startAppHere({ RECORD_RATE_LIMIT: "600", RATE_LIMIT_MAX: "100", MAX_COST: "3" });
    const answer = await ask(app.url, record, { events: eventsOf(["a", "b", "a", "c"]) });
    expect(costOf(answer)).toEqual({
      requestedQueryCost: 3,
      actualQueryCost: 3,
      throttleStatus: { maximumAvailable: 100, currentlyAvailable: 100, restoreRate: 100 / 60 },
      recording: {
        // Four events, and ten for each queue beyond the first.
        requestedCost: 24,
        actualCost: 24,
        throttleStatus: { maximumAvailable: 600, currentlyAvailable: 576, restoreRate: 10 },
      },
    });
    const tooMany = await ask(app.url, record, { events: eventsOf(names(4)) });
    expect(codesOf(tooMany.body)).toEqual(["MAX_COST_EXCEEDED"]);
  });

  test("refuses at once what can never fit into its budget", async () => {
    await using app = await startAppHere({ RECORD_RATE_LIMIT: "3" });
    const tooMany = await ask(app.url, record, { events: eventsOf(["a", "a", "a", "a"]) });
    expect(codesOf(tooMany.body)).toEqual(["MAX_COST_EXCEEDED"]);
  });
});

describe("MAX_SUBSCRIPTIONS", () => {
  test("counts those over SSE and over WebSocket together, and refuses one more over either", async () => {
    await using app = await startAppHere({ MAX_SUBSCRIPTIONS: "3" });
    await using client = createWsClient(app.url);
    const streams = [await openSse(app.url, watching(["a"])), await openSse(app.url, watching(["a"]))];
    for (const stream of streams) expect((await stream.next()).data).toBeDefined();
    const third = client.iterate({ query: watching(["a"]) });
    expect((await third.next()).value?.data).toBeDefined();

    const overSse = await send(app.url, { over: "SSE", operation: { query: watching(["a"]) } });
    expect(overSse.status).toBe(200);
    expect(codesOf(overSse.body)).toEqual(["TOO_MANY_SUBSCRIPTIONS"]);
    const overWs = await send(app.url, { over: "WebSocket", operation: { query: watching(["a"]) } });
    expect(codesOf(overWs.body)).toEqual(["TOO_MANY_SUBSCRIPTIONS"]);
    // What is open goes on, and queries are not subscriptions.
    expect((await ask(app.url, reading(["a"]))).status).toBe(200);
    await ask(
      app.url,
      'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "a", jobId: 1 }]) { early } }',
    );
    expect((await streams[0]?.next())?.data.queueLatency).toHaveLength(1);
    for (const stream of streams) stream.close();
  });

  test("are exactly the maximum when more are asked for at the same time, and no others are charged", async () => {
    const slowRefill = { RATE_LIMIT_MAX: "100", RATE_LIMIT_WINDOW: "1d" };
    await using app = await startAppHere({ MAX_SUBSCRIPTIONS: "5", ...slowRefill });
    const streams = await Promise.all(names(20).map((name) => openSse(app.url, watching([name]))));
    const codes = (await Promise.all(streams.map((stream) => stream.next()))).flatMap(codesOf);
    expect(codes).toEqual(Array(15).fill("TOO_MANY_SUBSCRIPTIONS"));
    const overWs = await send(app.url, { over: "WebSocket", operation: { query: watching(["a"]) } });
    expect(costOf(overWs)).toMatchObject({ requestedQueryCost: 1, actualQueryCost: null });
    expect(costOf(await ask(app.url, "{ __typename }")).throttleStatus.currentlyAvailable).toBe(95);
    for (const stream of streams) stream.close();
  });

  test("that are throttled leave their slots to others", async () => {
    const slowRefill = { RATE_LIMIT_MAX: "3", RATE_LIMIT_WINDOW: "1d" };
    await using app = await startAppHere({ MAX_SUBSCRIPTIONS: "1", ...slowRefill });
    await ask(app.url, reading(names(2)));
    const throttled = await send(app.url, { over: "SSE", operation: { query: watching(names(2)) } });
    expect(codesOf(throttled.body)).toEqual(["THROTTLED"]);
    const stream = await openSse(app.url, watching(["a"]));
    expect(stream.status).toBe(200);
    stream.close();
  });

  test("can all be on one WebSocket, each with its own pushes", async () => {
    await using app = await startAppHere({ MAX_SUBSCRIPTIONS: "30" });
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    await using client = createWsClient(app.url);
    const streams = names(30).map((name) => client.iterate({ query: watching([name]) }));
    const pushes = await Promise.all(streams.map((stream) => stream.next()));
    expect(pushes.map(({ value }) => value?.data)).toEqual(
      names(30).map((queue) => ({ queueLatency: [{ queue }] })),
    );
    // Node would have warned of the eleventh listener on a socket.
    expect(warnings).toEqual([]);
    process.off("warning", onWarning);
  });

  interface Leaving {
    readonly leaving: string;
    readonly why: string;
    readonly leave: (url: string, keys: Keys) => Promise<void>;
  }
  const query = watching(["a"]);
  const body = JSON.stringify({ query });

  test.each<Leaving>([
    {
      leaving: "its SSE connection was cut",
      why: "a tab was closed",
      async leave(url) {
        const stream = await openSse(url, query);
        await stream.next();
        stream.close();
      },
    },
    {
      leaving: "its request was cut before it was answered",
      why: "a tab was closed, or reloaded, early",
      async leave(url) {
        await whileRedisIsFrozen(async () => {
          const request = httpRequest(`${url}/graphql`, {
            method: "POST",
            headers: { "content-type": "application/json", accept: "text/event-stream" },
          });
          request.on("error", () => {});
          const closed = new Promise((resolve) => request.once("close", resolve));
          request.end(body);
          await once(request, "finish");
          await serverHasSeen(url);
          request.destroy();
          await closed;
        });
      },
    },
    {
      leaving: "no stream could be sent, since the client takes none",
      why: "it is answered with 406",
      async leave(url) {
        const headers = { "content-type": "application/json", accept: "application/json" };
        const response = await fetch(`${url}/graphql`, { method: "POST", headers, body });
        expect(response.status).toBeGreaterThanOrEqual(400);
        await response.body?.cancel();
      },
    },
    {
      leaving: "its points could not be taken, since Redis did not answer",
      why: "it was never opened",
      async leave(url) {
        await whileRedisIsFrozen(async () => {
          const reply = await send(url, { over: "SSE", operation: { query: watching(["a"]) } });
          expect(codesOf(reply.body)).toEqual(["SERVICE_UNAVAILABLE"]);
        });
      },
    },
    {
      leaving: "it was part of a batch",
      why: "the answer to a batch is one JSON text, which cannot go on",
      async leave(url) {
        const answer = await post(url, [{ query }, { query: "{ __typename }" }]);
        expect(JSON.stringify(answer.body)).toContain("errors");
      },
    },
    {
      leaving: "it was all of a batch",
      why: "the answer to a batch of one is JSON, too",
      async leave(url) {
        expect(JSON.stringify((await post(url, [{ query }])).body)).toContain("errors");
      },
    },
    {
      leaving: "it was completed over its WebSocket",
      why: "the socket stays",
      async leave(url) {
        const client = createWsClient(url);
        const iterator = client.iterate({ query });
        await iterator.next();
        await iterator.return?.();
        expect((await client.iterate({ query: "{ __typename }" }).next()).value?.data).toBeDefined();
        await client.dispose();
      },
    },
    {
      leaving: "its WebSocket was closed",
      why: "a tab was closed",
      async leave(url) {
        const client = createWsClient(url);
        await client.iterate({ query }).next();
        await client.dispose();
      },
    },
    {
      leaving: "its WebSocket was torn",
      why: "a cable was pulled",
      async leave(url) {
        const socket = await openRawWebSocket(url);
        const message = once(socket, "message");
        socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query } }));
        expect(String((await message)[0])).toContain('"next"');
        socket.terminate();
      },
    },
    {
      leaving: "its WebSocket was torn before it was answered",
      why: "a cable was pulled early",
      async leave(url) {
        const socket = await openRawWebSocket(url);
        await whileRedisIsFrozen(async () => {
          socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query } }));
          await pong(socket);
          socket.terminate();
          await once(socket, "close");
        });
      },
    },
    {
      leaving: "it was completed before it was answered",
      why: "a client changed its mind",
      async leave(url) {
        const socket = await openRawWebSocket(url);
        await whileRedisIsFrozen(async () => {
          socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query } }));
          socket.send(JSON.stringify({ type: "complete", id: "1" }));
          await pong(socket);
        });
        await ask(url, reading(["a"]));
        socket.close();
      },
    },
    {
      leaving: "its id was used again before it was answered",
      why: "a client that numbers badly, or on purpose",
      async leave(url) {
        const socket = await openRawWebSocket(url);
        await whileRedisIsFrozen(async () => {
          socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query } }));
          socket.send(JSON.stringify({ type: "complete", id: "1" }));
          socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query } }));
          await pong(socket);
        });
        await ask(url, reading(["a"]));
        socket.close();
        await once(socket, "close");
      },
    },
  ])("is free again when $leaving: $why", async ({ leave }) => {
    const prefix = uniquePrefix();
    await using app = await startAppHere({ MAX_SUBSCRIPTIONS: "2", KEY_PREFIX: prefix });
    for (let i = 0; i < 2; i++) await leave(app.url, createKeys(prefix));
    // Answered after whatever was under way: what would be held is held by now.
    await ask(app.url, reading(["a"]));
    await until(async () => {
      const streams = [await openSse(app.url, query), await openSse(app.url, query)];
      const pushes = await Promise.all(streams.map((stream) => stream.next()));
      for (const stream of streams) stream.close();
      expect(pushes.flatMap(codesOf)).toEqual([]);
    }, 50);
  });
});

describe("with Redis away", () => {
  const enqueue =
    'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "a", jobId: 1 }]) { accepted } }';
  const ready = async (url: string) => (await fetch(`${url}/ready`)).status;
  const health = async (url: string) => (await fetch(`${url}/health`)).status;

  async function expectUnavailable(url: string, query: string): Promise<void> {
    const startedMs = performance.now();
    const answer = await ask(url, query);
    expect(performance.now() - startedMs).toBeLessThan(onThisMachine(2_000));
    expect(answer.status).toBe(503);
    expect(answer.headers.get("Retry-After")).toMatch(/^[1-9]\d*$/);
    expect(codesOf(answer.body)).toEqual(["SERVICE_UNAVAILABLE"]);
    expect(answer.body.data ?? null).toBeNull();
  }

  async function expectAway(url: string): Promise<void> {
    await expectUnavailable(url, reading(["a"]));
    await expectUnavailable(url, enqueue);
    await expectUnavailable(url, watching(["a"]));
    await expectUnavailable(url, "{ queues { edges { cursor } } }");
    expect((await ask(url, "{ __typename }")).body.data).toEqual({ __typename: "Query" });
    expect((await ask(url, "{ __schema { queryType { name } } }")).status).toBe(200);
    // What is wrong in the request itself is still said.
    expect(codesOf((await ask(url, reading(names(101)))).body)).toEqual(["TOO_MANY_QUEUES"]);
    expect(await ready(url)).toBe(503);
    expect(await health(url)).toBe(200);
  }

  async function expectBack(url: string): Promise<void> {
    await until(async () => expect(await ready(url)).toBe(200));
    expect(await health(url)).toBe(200);
    // Nothing of what was answered with an error was applied behind our backs.
    const before = await ask(url, '{ queueLatency(queues: ["a"]) { state depth } }');
    expect(before.body.data).toEqual({ queueLatency: [{ state: "MISSING", depth: null }] });
    expect((await ask(url, enqueue)).body.data).toEqual({ recordEvents: { accepted: 1 } });
    const stream = await openSse(url, watching(["a"]));
    expect((await stream.next()).data).toEqual({ queueLatency: [{ queue: "a" }] });
    stream.close();
    expect(await ready(url)).toBe(200);
  }

  // It is whole again for the others.
  afterEach(() => redis.restart());

  test("that was killed, answers SERVICE_UNAVAILABLE at once, and works again when it is back", async () => {
    await using app = await startAppHere();
    expect([await ready(app.url), await health(app.url)]).toEqual([200, 200]);
    await redis.kill();
    await expectAway(app.url);
    await redis.restart();
    await expectBack(app.url);
  });

  test("that hangs, answers SERVICE_UNAVAILABLE within two seconds, and works again when it goes on", async () => {
    await using app = await startAppHere();
    await ask(app.url, "{ __typename }");
    await whileRedisIsFrozen(async () => {
      await expectUnavailable(app.url, reading(["a"]));
      const startedMs = performance.now();
      expect((await ask(app.url, "{ __typename }")).body.data).toEqual({ __typename: "Query" });
      expect(await ready(app.url)).toBe(503);
      expect(performance.now() - startedMs).toBeLessThan(onThisMachine(4_000));
      expect(await health(app.url)).toBe(200);
    });
    await expectBack(app.url);
  });
});

/** The app on the Redis of this file. */
function startAppHere(env: Readonly<Record<string, string>> = {}) {
  // All commands are counted here, and the leader of the history reads the queues by itself.
  const alone = { REDIS_URL: redis.url, KEY_PREFIX: uniquePrefix(), HISTORY_MAX_QUEUES: "0" };
  // Commands are counted: a limit so low has no points taken in advance, which a timer puts back.
  return startApp({ ...alone, RATE_LIMIT_MAX: "4900", ...env });
}

/** Of a batch that is refused each entry says so. */
function costOf({ body: answered }: { readonly body: GraphQLAnswer }): Cost {
  const [body = answered] = [answered].flat();
  // Over a WebSocket an `error` message is a list of errors, so the first carries it.
  const cost = body.extensions?.cost ?? (body.errors?.[0]?.extensions.cost as Cost | undefined);
  if (cost === undefined) throw new Error(`no cost in ${JSON.stringify(body)}`);
  return cost;
}

function codesOf(answered: GraphQLAnswer): readonly unknown[] {
  const [body = answered] = [answered].flat();
  return body.errors?.map(({ extensions }) => extensions.code) ?? [];
}

function expectThrottled(
  answer: Answer | Reply,
  is: { readonly cost: number; readonly left: number; readonly max: number; readonly windowSeconds: number },
): void {
  const isStream = answer.headers.get("content-type")?.startsWith("text/event-stream") === true;
  expect(answer.status).toBe(isStream ? 200 : 429);
  expect(codesOf(answer.body)).toEqual(["THROTTLED"]);
  const retryAfter = answer.headers.get("Retry-After");
  expect(retryAfter).toMatch(/^[1-9]\d*$/);
  expect(Number(retryAfter)).toBeLessThanOrEqual(is.windowSeconds);
  expect(costOf(answer)).toEqual({
    requestedQueryCost: is.cost,
    actualQueryCost: null,
    throttleStatus: {
      maximumAvailable: is.max,
      currentlyAvailable: is.left,
      restoreRate: is.max / is.windowSeconds,
    },
  });
}

/** Redis takes what it is sent meanwhile, and answers afterwards. */
async function whileRedisIsFrozen(run: () => Promise<void>): Promise<void> {
  process.kill(redis.pid, "SIGSTOP");
  try {
    await run();
  } finally {
    process.kill(redis.pid, "SIGCONT");
  }
}

/** A request that needs no Redis: when it is answered, those that were sent before have begun. */
async function serverHasSeen(url: string): Promise<void> {
  await fetch(`${url}/health`);
}

async function send(url: string, { over, operation }: Sent): Promise<Reply> {
  switch (over) {
    case "POST":
      return post(url, operation);
    case "GET":
      return replyOf(await fetch(`${url}/graphql?${parametersOf(operation)}`));
    case "SSE":
    case "EventSource": {
      const { query } = operation as Operation;
      const stream = await openSse(url, query, over === "SSE" ? "POST" : "GET");
      const body = await stream.next();
      stream.close();
      return { status: stream.status, headers: stream.headers, body };
    }
    case "WebSocket": {
      const client = createWsClient(url);
      try {
        const { value } = await client.iterate(operation as Operation).next();
        return { status: 0, headers: new Headers(), body: value as GraphQLAnswer };
      } catch (error) {
        if (!Array.isArray(error)) throw error;
        return { status: 0, headers: new Headers(), body: { errors: error } };
      } finally {
        await client.dispose();
      }
    }
  }
}

function parametersOf(operation: Operation | readonly Operation[]): URLSearchParams {
  const { query, variables = {} } = operation as Operation;
  return new URLSearchParams({ query, variables: JSON.stringify(variables) });
}

async function replyOf(response: Response): Promise<Reply> {
  const { status, headers } = response;
  return { status, headers, body: (await response.json()) as GraphQLAnswer };
}

interface SseStream {
  readonly status: number;
  readonly headers: Headers;
  /** The next push; what arrives with it is kept. */
  next(): Promise<GraphQLAnswer>;
  close(): void;
}

/** With a connection of its own, so that closing it leaves nothing behind. */
async function openSse(url: string, query: string, method: "GET" | "POST" = "POST"): Promise<SseStream> {
  const search = method === "GET" ? `?${new URLSearchParams({ query })}` : "";
  const request = httpRequest(`${url}/graphql${search}`, {
    agent: false,
    method,
    headers: { "content-type": "application/json", accept: "text/event-stream" },
  });
  request.end(method === "POST" ? JSON.stringify({ query }) : undefined);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  // It ends when we cut it.
  response.on("error", () => {});
  const chunks = response.setEncoding("utf8")[Symbol.asyncIterator]();
  let text = "";
  return {
    status: response.statusCode ?? 0,
    headers: new Headers(response.headers as Record<string, string>),
    async next() {
      for (;;) {
        const [whole, data] = /event: next\ndata: (.*)\n\n/.exec(text) ?? [];
        if (whole !== undefined && data !== undefined) {
          text = text.slice(text.indexOf(whole) + whole.length);
          return JSON.parse(data) as GraphQLAnswer;
        }
        const { value, done } = await chunks.next();
        if (done === true) throw new Error(`the stream ended: ${text}`);
        text += value;
      }
    },
    close: () => request.destroy(),
  };
}

function createWsClient(url: string) {
  const client = createClient({ url: `${url.replace("http", "ws")}/graphql`, retryAttempts: 0, lazy: true });
  return { ...client, [Symbol.asyncDispose]: async () => client.dispose() };
}

/** A socket that says what no client library would. */
async function openRawWebSocket(url: string): Promise<RawWebSocket> {
  const socket = new RawWebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  await once(socket, "open");
  const acknowledged = once(socket, "message");
  socket.send(JSON.stringify({ type: "connection_init" }));
  await acknowledged;
  return socket;
}

/** When it is answered, what was sent before has begun. */
async function pong(socket: RawWebSocket): Promise<void> {
  socket.ping();
  await once(socket, "pong");
}
