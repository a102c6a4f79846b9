import { on, once } from "node:events";
import { buildSchema, Lexer } from "graphql";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { createErrorMask } from "../../src/api/errors.ts";
import { AppError, errorStatus } from "../../src/core/errors.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";
import { startBareServer } from "../support/bare-server.ts";
import { countCommands } from "../support/commands.ts";
import { type Attack, attacks, repeat } from "../support/hostile-documents.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import { startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { type Cost, type GraphQLAnswer, post, startApp } from "../support/server.ts";
import { websocketTransport } from "../support/streams.ts";

/** Of this file alone: its commands are counted. */
let redis: TestRedis;
let control: Redis;
beforeAll(async () => {
  redis = await startRedis();
  control = new Redis(redis.url);
});
afterAll(async () => {
  control.disconnect();
  await redis.stop();
});

const startAppHere = (env: Readonly<Record<string, string>> = {}, logger = recordingLogger()) =>
  // All commands are counted here: no history reads the queues, and a limit so low has no points taken in advance.
  startApp(
    {
      ...{ REDIS_URL: redis.url, KEY_PREFIX: uniquePrefix(), HISTORY_MAX_QUEUES: "0" },
      ...{ RATE_LIMIT_MAX: "4900", ...env },
    },
    logger,
  );

/** Commands of the throttle's script. */
const ofThrottle = new Set(["evalsha", "get", "time", "set"]);

/** What is to hold of every refusal. */
const maxBytes = 2_048;

interface Refusal {
  /** 0 over a WebSocket. */
  readonly status: number;
  readonly bytes: number;
  readonly body: GraphQLAnswer;
}

interface Way {
  readonly over: string;
  readonly send: (url: string, attack: Attack) => Promise<Refusal>;
}

const ways: readonly Way[] = [
  {
    over: "POST",
    send: async (url, { query, variables }) => refusalOf(await postText(url, { query, variables })),
  },
  {
    over: "a batch",
    send: async (url, { query, variables }) => {
      const batch = [{ query: "{ __typename }" }, { query, variables }];
      const { status, bytes, body } = refusalOf(await postText(url, batch));
      // GraphQL's own errors are one operation's; the bounds are all of the request's.
      return { status, bytes, body: Array.isArray(body) ? (body as GraphQLAnswer[])[1]! : body };
    },
  },
  {
    over: "SSE",
    send: async (url, { query, variables }) =>
      refusalOf(await postText(url, { query, variables }, { accept: "text/event-stream" })),
  },
  { over: "a WebSocket", send: sendOverWebSocket },
];

/** Node takes 16 KB of a request's line and headers. */
const short = attacks.filter(
  (attack) => searchOf(attack).length < 12_000 && !attack.query.startsWith("mutation"),
);
const overGet: Way = {
  over: "GET",
  async send(url, attack) {
    const response = await fetch(`${url}/graphql?${searchOf(attack)}`);
    return refusalOf({ status: response.status, text: await response.text() });
  },
};

describe.each([...ways.map((way) => ({ ...way, attacks })), { ...overGet, attacks: short }])(
  "over $over",
  ({ over, send, attacks }) => {
    let app: Awaited<ReturnType<typeof startApp>>;
    beforeAll(async () => {
      app = await startAppHere();
      // From here on Redis knows the throttle's script.
      await post(app.url, { query: "{ __typename }" });
    });
    afterAll(() => app.stop());

    test.each(attacks)(
      "$attack: refused with $code, in few words, and nothing is run, though $why",
      async (attack) => {
        // Validating a long document is charged by its length. The innocent operation of the batch is free: it may ask the throttle.
        const isValidated = ["GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"].includes(attack.code);
        const points = isValidated ? Math.max(0, Math.ceil((attack.query.length - 2_000) / 1_000)) : 0;
        const mayAsk = points > 0 || (over === "a batch" && !(attack.code in errorStatus));
        const tooMuch = (ran: object) => Object.keys(ran).filter((name) => !(mayAsk && ofThrottle.has(name)));
        const { reply, commands } = await countCommands(
          control,
          () => send(app.url, attack),
          (ran) => tooMuch(ran).length === 0,
        );
        const { status, bytes, body } = reply;
        const codes = new Set(body.errors?.map(({ extensions }) => extensions.code));

        expect([...codes]).toEqual([attack.code]);
        expect(body.data).toBeUndefined();
        expect(bytes).toBeLessThan(maxBytes);
        for (const { message } of body.errors ?? []) expect(message.length).toBeLessThanOrEqual(300);
        if (points > 0) expect(commands).toHaveProperty("evalsha");
        expect(tooMuch(commands)).toEqual([]);
        if (attack.code in errorStatus) {
          const code = attack.code as keyof typeof errorStatus;
          expect(status).toBe(over === "a WebSocket" ? 0 : over === "SSE" ? 200 : errorStatus[code]);
          expect(costIn(body)).toMatchObject({ actualQueryCost: points || null });
        } else {
          // GraphQL over HTTP wants 200 here, unless the newer media type is asked for.
          expect(status).toBe(over === "a WebSocket" ? 0 : 200);
          expect(costIn(body)).toMatchObject({ requestedQueryCost: points, actualQueryCost: points });
        }
        expect((await post(app.url, { query: "{ __typename }" })).body.data).toEqual({ __typename: "Query" });
      },
    );
  },
);

describe("what people send", () => {
  test("is parsed once, also a document that is too long to be kept", async () => {
    await using app = await startAppHere();
    await using client = websocketTransport(app.url);
    const document = (field: string) =>
      `{ queueLatency(queues: [${repeat(100, (i) => `"${i}-${"q".repeat(50)}"`)}]) { ${field} } }`;
    const ways: readonly ((query: string) => Promise<GraphQLAnswer | undefined>)[] = [
      async (query) => (await post(app.url, { query })).body,
      async (query) => (await client.subscribe(query).next()).value,
    ];
    const advance = vi.spyOn(Lexer.prototype, "advance");
    for (const ask of ways) {
      for (const field of ["state", "nothing"]) {
        advance.mockClear();
        const answer = await ask(document(field));
        expect(answer?.data?.queueLatency.length ?? answer?.errors?.[0]?.message).toEqual(
          field === "state" ? 100 : expect.stringContaining("nothing"),
        );
        // Twelve other tokens; and its end, twice.
        expect(advance).toHaveBeenCalledTimes(100 + 12 + 2);
      }
    }
    advance.mockRestore();
  });

  test("is validated until there are enough errors for an answer", async () => {
    await using app = await startAppHere();
    const { body } = await post(app.url, { query: `{ ${repeat(50, (i) => `a${i}`)} }` });
    expect(body.errors).toHaveLength(5);
    expect(body.errors?.at(-1)?.message).toBe(
      "Too many validation errors, error limit reached. Validation aborted.",
    );
  });

  test("passes as before: MAX_EVENTS events as literals, and names and lists as long as they may be", async () => {
    await using app = await startAppHere();
    const event = (i: number) =>
      `{ type: ENQUEUED, queue: "${"q".repeat(200)}", jobId: "${i}-${"j".repeat(190)}" }`;
    const literal = `mutation { recordEvents(events: [${repeat(1_000, event)}]) { accepted } }`;
    expect((await post(app.url, { query: literal })).body.data).toEqual({
      recordEvents: { accepted: 1_000 },
    });
    const events = Array.from({ length: 1_000 }, (_, i) => ({
      ...{ type: "DEQUEUED", queue: "q".repeat(200), jobId: `${i}-${"j".repeat(190)}`, attempt: 0 },
      ...{ at: "2026-11-23T08:15:30.250Z" },
    }));
    const query = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
    expect((await post(app.url, { query, variables: { events } })).body.data).toEqual({
      recordEvents: { accepted: 1_000 },
    });
    const queues = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(200, "é".repeat(98)).slice(0, 100));
    const reading = "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }";
    expect(
      (await post(app.url, { query: reading, variables: { queues } })).body.data.queueLatency,
    ).toHaveLength(100);
  });

  test("passes as deep as fragments can be nested within the bounds, with no stack that overflows", async () => {
    await using app = await startAppHere();
    const open = "... { ".repeat(17);
    const close = "}".repeat(17);
    const chain = repeat(49, (i) => `fragment F${i} on Query { ${open} ...F${i + 1} ${close} }`);
    const last = `fragment F49 on Query { ${open} queueLatency(queues: ["a"]) { queue } ${close} }`;
    const { body } = await post(app.url, { query: `{ ${open} ...F0 ${close} } ${chain} ${last}` });
    expect(body.data).toEqual({ queueLatency: [{ queue: "a" }] });
  });

  test("passes with larger settings, too", async () => {
    await using app = await startAppHere({
      MAX_QUEUES: "2000",
      MAX_COST: "1000000",
      RATE_LIMIT_MAX: "1000000",
    });
    const queues = Array.from({ length: 2_000 }, (_, i) => `${i}-${"q".repeat(190)}`);
    const query = "query ($queues: [String!]!) { queueLatency(queues: $queues) { state } }";
    const { body } = await post(app.url, { query, variables: { queues } });
    expect(body.data.queueLatency).toHaveLength(2_000);
    const more = await post(app.url, { query, variables: { queues: [...queues, "one more"] } });
    expect(more.body.errors).toMatchObject([{ extensions: { code: "TOO_MANY_QUEUES" } }]);
  });
});

const names = Array.from({ length: 20 }, (_, i) => `a${i}`);
const throttleStatus = { maximumAvailable: 1, currentlyAvailable: 1, restoreRate: 1 };

test.each(ways)("over $over, whatever fields fail with is reported in few words", async ({ send, over }) => {
  const guard = createRequestGuard({ maxQueues: 100, maxEvents: 1_000, introspection: true });
  const fields = names.map((name) => `${name}: Int`).join(" ");
  const fail = () => {
    throw new AppError("BAD_USER_INPUT", "x".repeat(5_000));
  };
  const cost = { requestedQueryCost: 0, actualQueryCost: 0, throttleStatus };
  const schema = buildSchema(`type Query { ${fields} }`);
  for (const field of Object.values(schema.getQueryType()?.getFields() ?? {})) field.resolve = fail;
  await using server = await startBareServer({
    ...{ schema, guard, maskError: createErrorMask(silentLogger) },
    admit: async (_, operations) => ({ refusal: null, costs: operations.map(() => cost), variables: [] }),
  });
  const query = `{ ${names.join(" ")} }`;
  const { body, bytes } = await send(server.url, { attack: "", why: "", code: "BAD_USER_INPUT", query });
  expect(body.errors).toHaveLength(over === "a batch" ? 3 : 5);
  expect(bytes).toBeLessThan(4_096);
});

describe("INTROSPECTION=off", () => {
  const ask = [
    { asks: "__schema", query: "{ __schema { queryType { name } } }" },
    { asks: "__type", query: '{ __type(name: "Query") { name } }' },
    { asks: "__schema in a fragment", query: "{ ...F } fragment F on Query { s: __schema { description } }" },
    {
      asks: "__schema beside a queue",
      query: '{ queueLatency(queues: ["a"]) { queue } __schema { description } }',
    },
    {
      asks: "__schema of a mutation",
      query: 'mutation { forgetQueue(queue: "a") __schema { description } }',
    },
  ];
  test.each(ways.flatMap((way) => ask.map((each) => ({ ...way, ...each }))))(
    "refuses $asks over $over",
    async ({ send, query, over }) => {
      await using app = await startAppHere({ INTROSPECTION: "off" });
      const { status, body } = await send(app.url, {
        attack: "",
        why: "",
        code: "INTROSPECTION_DISABLED",
        query,
      });
      expect(body.errors).toMatchObject([{ extensions: { code: "INTROSPECTION_DISABLED" } }]);
      expect(status).toBe(over === "a WebSocket" ? 0 : over === "SSE" ? 200 : 403);
      expect(body.data ?? null).toBeNull();
    },
  );

  const near = [
    { wrong: "a field", query: "{ queueLatenc }" },
    { wrong: "an argument", query: '{ queueLatency(queuess: ["a"], queues: []) { queue } }' },
    { wrong: "a type", query: "query ($a: QueueEventInpt) { __typename }" },
    {
      wrong: "an enum value",
      query: "{ queueLatency(queues: []) { throughput(window: ONE_MINUT) { __typename } } }",
    },
    { wrong: "a missing selection", query: "{ queues }" },
    {
      wrong: "an enum value in a variable",
      query: "query ($state: AlertState) { alerts(state: $state) { id } }",
      variables: { state: "FIRIN" },
    },
    {
      wrong: "a field in a variable",
      query: 'mutation ($jobs: [WaitingJobInput!]!) { removeWaitingJobs(queue: "a", jobs: $jobs) }',
      variables: { jobs: [{ jobId: 1, atempt: 1 }] },
    },
  ];
  test.each(ways.flatMap((way) => near.map((each) => ({ ...way, ...each }))))(
    "suggests no names for $wrong over $over, as it does otherwise",
    async ({ send, query, variables = {} }) => {
      await using off = await startAppHere({ INTROSPECTION: "off" });
      await using on = await startAppHere();
      const messages = async (url: string) => {
        const { body } = await send(url, { attack: "", why: "", code: "BAD_USER_INPUT", query, variables });
        return body.errors?.map(({ message }) => message).join();
      };
      expect(await messages(on.url)).toContain("Did you mean");
      const message = await messages(off.url);
      expect(message).not.toContain("Did you mean");
      expect(message).toMatch(/\w/);
    },
  );

  test("leaves __typename, and GraphiQL's page", async () => {
    await using app = await startAppHere({ INTROSPECTION: "off" });
    const query = '{ __typename queueLatency(queues: ["a"]) { __typename queue } }';
    expect((await post(app.url, { query })).body.data).toEqual({
      __typename: "Query",
      queueLatency: [{ __typename: "QueueLatency", queue: "a" }],
    });
    const page = await fetch(`${app.url}/graphql`, { headers: { accept: "text/html" } });
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    await page.body?.cancel();
  });
});

function searchOf({ query, variables = {} }: Attack): string {
  return String(new URLSearchParams({ query, variables: JSON.stringify(variables) }));
}

async function postText(url: string, body: unknown, headers: Readonly<Record<string, string>> = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}

function refusalOf({ status, text }: { readonly status: number; readonly text: string }): Refusal {
  const json = /^event: next\ndata: (.*)$/m.exec(text)?.[1] ?? text;
  return { status, bytes: Buffer.byteLength(text), body: JSON.parse(json) as GraphQLAnswer };
}

/** Where what was refused must not close the socket: it answers the next operation. */
async function sendOverWebSocket(url: string, { query, variables }: Attack): Promise<Refusal> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  const messages = on(socket, "message")[Symbol.asyncIterator]();
  const messageTo = async (wanted: string | undefined): Promise<string> => {
    for (;;) {
      const text = String((await messages.next()).value?.[0]);
      const { id, type } = JSON.parse(text);
      if (id === wanted && type !== "complete") return text;
    }
  };
  const say = (type: string, id?: string, payload?: object) =>
    socket.send(JSON.stringify({ type, id, payload }));
  await once(socket, "open");
  say("connection_init");
  await messageTo(undefined);
  say("subscribe", "attack", { query, variables });
  const text = await messageTo("attack");
  // This one needs no Redis either.
  say("subscribe", "after", { query: "{ after }" });
  expect(JSON.parse(await messageTo("after"))).toMatchObject({ type: "error" });
  socket.close();
  await once(socket, "close");
  const { type, payload } = JSON.parse(text);
  return {
    status: 0,
    bytes: Buffer.byteLength(text),
    body: type === "error" ? { errors: payload } : payload,
  };
}

function costIn({ extensions, errors }: GraphQLAnswer): Cost | undefined {
  // Over a WebSocket an `error` message is a list of errors, so the first carries it.
  return extensions?.cost ?? (errors?.[0]?.extensions.cost as Cost | undefined);
}
