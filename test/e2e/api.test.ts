import { once } from "node:events";
import { connect } from "node:net";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { RedisClient } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { type LogEntry, recordingLogger } from "../support/logger.ts";
import { connectTo, uniquePrefix } from "../support/redis.ts";
import { ask, type GraphQLAnswer, post, startApp } from "../support/server.ts";
import { until } from "../support/until.ts";

interface Event {
  readonly type: string;
  readonly queue: string;
  readonly jobId: unknown;
  readonly attempt?: unknown;
  readonly at?: unknown;
  readonly availableAt?: unknown;
}

const enqueued = (queue: string, jobId: unknown = "job", rest: Partial<Event> = {}): Event => ({
  type: "ENQUEUED",
  queue,
  jobId,
  ...rest,
});
const dequeued = (queue: string, jobId: unknown = "job", rest: Partial<Event> = {}): Event => ({
  ...enqueued(queue, jobId, rest),
  type: "DEQUEUED",
});
const secondsAgo = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();
/** What a latency is that was this a moment ago; a moment is a minute on a busy machine. */
const sinceThen = (seconds: number) =>
  expect.toSatisfy((latency: number) => latency >= seconds && latency < seconds + 60);

const recordMutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
  recordEvents(events: $events, batchId: $batchId) { accepted duplicates early }
}`;
const everything = `queue source state latency oldestSince depth scheduled accuracy measuredAt stale`;

/** As it is written in a document. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(" ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).map(
    ([name, each]) => `${name}: ${name === "type" && typeof each === "string" ? each : literal(each)}`,
  );
  return `{ ${fields.join(" ")} }`;
}

let redis: RedisClient;
beforeAll(() => {
  redis = connectTo(inject("redisUrl"));
});
afterAll(() => redis.disconnect());

/** The app with keys of its own, and what is mostly asked of it. */
async function open(env: Readonly<Record<string, string>> = {}) {
  const prefix = uniquePrefix();
  const logger = recordingLogger();
  const app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, ...env }, logger);
  const record = (events: readonly unknown[], batchId?: string) =>
    ask(app.url, recordMutation, { events, batchId });
  return {
    url: app.url,
    keys: createKeys(prefix),
    errors: () => logger.lines.filter(({ level }) => level === "error"),
    record,
    /** Like `record`, of events that must be taken. */
    async recorded(events: readonly unknown[], batchId?: string) {
      const { body } = await record(events, batchId);
      expect(body.errors).toBeUndefined();
      return body.data.recordEvents;
    },
    async read(queues: readonly string[], fields = everything) {
      const query = `query ($queues: [String!]!) { queueLatency(queues: $queues) { ${fields} } }`;
      const { body } = await ask(app.url, query, { queues });
      expect(body.errors).toBeUndefined();
      return body.data.queueLatency;
    },
    [Symbol.asyncDispose]: app[Symbol.asyncDispose],
  };
}

type GraphQLError = NonNullable<GraphQLAnswer["errors"]>[number];

function problemOf(answer: { readonly status: number; readonly body: GraphQLAnswer }) {
  const [error] = answer.body.errors ?? [];
  return { status: answer.status, code: error?.extensions.code, message: error?.message };
}

describe("recordEvents", () => {
  test("takes events of several queues in one batch, and reports what was new", async () => {
    await using app = await open();
    expect(
      await app.recorded([
        enqueued("a", "1"),
        enqueued("a", "2"),
        enqueued("a", "2"),
        dequeued("a", "1"),
        dequeued("b", "early"),
        enqueued("c", 7),
        enqueued("c", "7"),
        enqueued("c", "7", { attempt: 1 }),
        { ...enqueued("c", "7"), type: "REMOVED" },
      ]),
    ).toEqual({ accepted: 7, duplicates: 2, early: 1 });
    expect(await app.read(["a", "b", "c"], "queue state depth")).toEqual([
      { queue: "a", state: "WAITING", depth: 1 },
      { queue: "b", state: "EMPTY", depth: 0 },
      { queue: "c", state: "WAITING", depth: 1 },
    ]);
  });

  test("takes an empty batch for nothing", async () => {
    await using app = await open();
    expect(await app.recorded([])).toEqual({ accepted: 0, duplicates: 0, early: 0 });
  });

  const good = enqueued("good");
  const long = "é".repeat(100);
  /** Names is the field that is wrong; "" where it is the event itself. */
  const invalidEvents = [
    { wrong: "an unknown type", event: { ...good, type: "LOST" }, names: "type" },
    { wrong: "no type", event: { queue: "bad", jobId: "1" }, names: "type" },
    { wrong: "no event", event: null, names: "" },
    { wrong: "a number", event: 7, names: "" },
    { wrong: "a list", event: [good], names: "" },
    { wrong: "a field that does not exist", event: { ...good, priority: 1 }, names: "priority" },
    { wrong: "no queue", event: { type: "ENQUEUED", jobId: "1" }, names: "queue" },
    { wrong: "a number as a queue", event: { ...good, queue: 7 }, names: "queue" },
    { wrong: "no jobId", event: { type: "ENQUEUED", queue: "bad" }, names: "jobId" },
    { wrong: "a list as a jobId", event: enqueued("bad", ["1"]), names: "jobId" },
    { wrong: "an empty name", event: enqueued(""), names: "queue" },
    { wrong: "a name with a wildcard", event: enqueued("bad*"), names: "queue" },
    { wrong: "a name with a line break", event: enqueued("bad\n"), names: "queue" },
    { wrong: "a name with a NUL", event: enqueued("bad\0"), names: "queue" },
    { wrong: "a name that only looks like another", event: enqueued("good\u200b"), names: "queue" },
    { wrong: "a name of 201 bytes", event: enqueued(`${long}x`), names: "queue" },
    { wrong: "half a character as a name", event: enqueued("\ud83d"), names: "queue" },
    { wrong: "an empty jobId", event: enqueued("bad", ""), names: "jobId" },
    { wrong: "a jobId of 201 bytes", event: enqueued("bad", `${long}x`), names: "jobId" },
    { wrong: "half a character as a jobId", event: enqueued("bad", "\ud83d"), names: "jobId" },
    { wrong: "a jobId that JSON has rounded", event: enqueued("bad", 2 ** 53), names: "jobId" },
    { wrong: "a fraction as a jobId", event: enqueued("bad", 1.5), names: "jobId" },
    { wrong: "a negative attempt", event: enqueued("bad", "1", { attempt: -1 }), names: "attempt" },
    { wrong: "a fraction as attempt", event: enqueued("bad", "1", { attempt: 0.5 }), names: "attempt" },
    { wrong: "no attempt on purpose", event: enqueued("bad", "1", { attempt: null }), names: "attempt" },
    {
      wrong: "seconds where milliseconds belong",
      event: enqueued("bad", "1", { at: new Date(Date.now() / 1000).toISOString() }),
      names: "at",
    },
    { wrong: "1999", event: enqueued("bad", "1", { at: "1999-12-31T23:59:59.999Z" }), names: "at" },
    { wrong: "the year 9999", event: enqueued("bad", "1", { at: "9999-12-31T23:59:59Z" }), names: "at" },
    { wrong: "the year 2100", event: enqueued("bad", "1", { at: "2100-01-01T00:00:00Z" }), names: "at" },
    {
      wrong: "the year 9999 for later",
      event: enqueued("bad", "1", { availableAt: "9999-12-31T23:59:59Z" }),
      names: "availableAt",
    },
    { wrong: "a number as a time", event: enqueued("bad", "1", { at: 1_790_000_000_000 }), names: "at" },
    { wrong: "a time of no zone", event: enqueued("bad", "1", { at: "2026-11-01T00:00:00" }), names: "at" },
    { wrong: "February 30", event: enqueued("bad", "1", { at: "2026-02-30T00:00:00Z" }), names: "at" },
    {
      wrong: "availableAt of a dequeue",
      event: dequeued("bad", "1", { availableAt: "2026-11-01T00:00:00Z" }),
      names: "availableAt",
    },
    {
      wrong: "availableAt of a removal",
      event: { ...dequeued("bad", "1", { availableAt: "2026-11-01T00:00:00Z" }), type: "REMOVED" },
      names: "availableAt",
    },
  ];

  test.each(invalidEvents)(
    "refuses the whole batch for $wrong, and says which events are invalid",
    async ({ event, names }) => {
      await using app = await open();
      const answer = await app.record([good, enqueued("bad", "0"), event, enqueued("", "also bad")]);
      expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
      expect(problemOf(answer).message).toContain(names === "" ? "events[2]: " : `events[2].${names}: `);
      expect(answer.body.errors?.[0]?.extensions).toMatchObject({
        rejected: [
          { eventIndex: 2, field: names === "" ? null : names, reason: expect.stringMatching(/./) },
          { eventIndex: 3, field: "queue", reason: "a queue's name must not be empty" },
        ],
        rejectedCount: 2,
      });
      expect(answer.body.data ?? null).toBeNull();
      expect(await app.read(["good", "bad"], "state")).toEqual([{ state: "MISSING" }, { state: "MISSING" }]);
      // The index has an empty member of its own, which marks it as complete.
      expect(await redis.zrangebylex(app.keys.index, "(", "+")).toEqual([]);
    },
  );

  const skipping = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
    recordEvents(events: $events, batchId: $batchId, onInvalid: SKIP) {
      accepted duplicates early rejected { eventIndex field reason }
    }
  }`;

  test("with SKIP records the valid events, and lists every other one, as literals and as variables", async () => {
    await using app = await open();
    // A document keeps all digits, and half a character is no GraphQL.
    const unwritable = invalidEvents.filter(({ wrong }) => /^half|rounded$/.test(wrong));
    const asLiterals = [...invalidEvents].filter((each) => !unwritable.includes(each));
    for (const [form, sent] of [
      ["variables", invalidEvents],
      ["literals", asLiterals],
    ] as const) {
      const events = sent.flatMap(({ event }, i) => [enqueued(form, i), event]);
      const { body } =
        form === "variables"
          ? await ask(app.url, skipping, { events })
          : await ask(
              app.url,
              skipping
                .replace("($events: [QueueEventInput!]!, $batchId: ID)", "")
                .replace("$events, batchId: $batchId", literal(events)),
            );
      expect(body.errors, form).toBeUndefined();
      const { rejected, ...counts } = body.data.recordEvents;
      expect(counts, form).toEqual({ accepted: sent.length, duplicates: 0, early: 0 });
      expect(rejected, form).toEqual(
        sent.map(({ names }, i) => ({
          eventIndex: 2 * i + 1,
          field: names === "" ? null : names,
          reason: expect.stringMatching(/./),
        })),
      );
      expect(await app.read([form, "bad"], "state depth")).toEqual([
        { state: "WAITING", depth: sent.length },
        { state: "MISSING", depth: expect.toSatisfy((depth) => !depth) },
      ]);
    }
  });

  test("refuses literals in the same form as variables", async () => {
    await using app = await open();
    const events = [good, { ...good, type: "LOST" }, null];
    const [asVariables, asLiterals] = [
      await app.record(events),
      await ask(app.url, `mutation { recordEvents(events: ${literal(events)}) { accepted } }`),
    ];
    for (const { body } of [asVariables, asLiterals]) {
      expect(body.errors?.[0]?.extensions).toMatchObject({
        code: "BAD_USER_INPUT",
        rejected: [
          { eventIndex: 1, field: "type" },
          { eventIndex: 2, field: null, reason: "expected an event, got null" },
        ],
      });
    }
    expect(asLiterals.status).toBe(400);
    // Variables inside of literals, too.
    const one = `mutation ($id: ID!, $at: DateTime, $attempt: Int) {
      recordEvents(events: [{ type: ENQUEUED, queue: "one", jobId: $id, at: $at, attempt: $attempt }]) { accepted }
    }`;
    for (const [field, variables] of [
      ["attempt", { id: 7, attempt: -1 }],
      ["at", { id: 7, at: "yesterday" }],
      ["jobId", { id: 2 ** 53 }],
      ["jobId", { id: ["7"] }],
    ] as const) {
      const { body } = await ask(app.url, one, variables);
      expect(body.errors?.[0]?.extensions, field).toMatchObject({ rejected: [{ eventIndex: 0, field }] });
    }
    const two = one
      .replace("events: [", "onInvalid: SKIP, events: [$event ")
      .replace("(", "($event: QueueEventInput!, ");
    const { body } = await ask(app.url, two.replace("accepted", "accepted rejected { field }"), {
      event: enqueued("two"),
      ...{ id: 7, at: "yesterday" },
    });
    expect(body.data.recordEvents).toEqual({ accepted: 1, rejected: [{ field: "at" }] });
    expect(
      (await ask(app.url, one, { id: 7, at: secondsAgo(5), attempt: 1 })).body.data.recordEvents,
    ).toEqual({ accepted: 1 });
    expect((await ask(app.url, one, { id: 8 })).body.data.recordEvents).toEqual({ accepted: 1 });
  });

  test("checks events in the same way over a WebSocket and in a batch of operations", async () => {
    await using app = await open();
    const events = [good, { ...good, type: "LOST" }];
    const expected = { accepted: 1, rejected: [{ eventIndex: 1, field: "type" }] };
    const client = createClient({ url: `${app.url.replace("http", "ws")}/graphql` });
    const answers = client.iterate({ query: skipping, variables: { events } });
    expect((await answers.next()).value?.data?.recordEvents).toMatchObject(expected);
    const refused = client.iterate({ query: recordMutation, variables: { events } });
    await expect(refused.next()).rejects.toMatchObject([
      { extensions: { code: "BAD_USER_INPUT", rejected: [{ eventIndex: 1, field: "type" }] } },
    ]);
    await client.dispose();
    const again = { query: skipping, variables: { events: [dequeued("good"), ...events.slice(1)] } };
    const { body } = await post(app.url, [again, { query: "{ __typename }" }]);
    expect(body).toMatchObject([{ data: { recordEvents: expected } }, { data: { __typename: "Query" } }]);
  });

  test("shows events as an input type in the schema", async () => {
    await using app = await open();
    const type = "type { ofType { ofType { ofType { kind name } } } }";
    const { body } = await ask(
      app.url,
      `{ __type(name: "QueueEventInput") { kind inputFields { name } } __schema { mutationType { fields { name args { name ${type} } } } } }`,
    );
    expect(body.data.__type).toMatchObject({
      kind: "INPUT_OBJECT",
      inputFields: expect.arrayContaining([{ name: "jobId" }]),
    });
    const { fields } = body.data.__schema.mutationType;
    const { args } = fields.find(({ name }: { name: string }) => name === "recordEvents");
    const { type: found } = args.find(({ name }: { name: string }) => name === "events");
    expect(found.ofType.ofType.ofType).toEqual({ kind: "INPUT_OBJECT", name: "QueueEventInput" });
  });

  test("lists at most 100 events of a batch that is refused, and counts all; with SKIP it lists all", async () => {
    await using app = await open();
    const events = Array.from({ length: 150 }, (_, i) => enqueued("a", i, { attempt: -1 }));
    const { extensions } = (await app.record(events)).body.errors?.[0] ?? expect.unreachable();
    expect(extensions).toMatchObject({ rejectedCount: 150 });
    expect(extensions.rejected).toHaveLength(100);
    const { rejected } = (await ask(app.url, skipping, { events })).body.data.recordEvents;
    expect(rejected.map(({ eventIndex }: { eventIndex: number }) => eventIndex)).toEqual(
      events.map((_, i) => i),
    );
  });

  test("with SKIP answers a batch that is sent again as it did first", async () => {
    await using app = await open();
    const batch = { events: [good, enqueued("", "bad"), dequeued("good", "2")], batchId: "skipped" };
    const first = (await ask(app.url, skipping, batch)).body.data.recordEvents;
    expect(first).toMatchObject({ accepted: 2, early: 1, rejected: [{ eventIndex: 1, field: "queue" }] });
    expect((await ask(app.url, skipping, batch)).body.data.recordEvents).toEqual(first);
    expect(await app.read(["good"], "depth")).toEqual([{ depth: 1 }]);
  });

  test("takes what is just within each bound", async () => {
    await using app = await open({ MAX_EVENTS: "5" });
    expect(
      await app.recorded([
        enqueued(long, long),
        enqueued("a", "1", { attempt: 2_147_483_647 }),
        enqueued("a", "2", { at: "2000-01-01T00:00:00Z", availableAt: "2099-12-31T23:59:59.999Z" }),
        enqueued("a", "3", { at: null, availableAt: null }),
        dequeued("a", "3", { availableAt: null }),
      ]),
    ).toEqual({ accepted: 5, duplicates: 0, early: 0 });
    expect(await app.read([long, "a"], "depth scheduled")).toEqual([
      { depth: 1, scheduled: 0 },
      { depth: 1, scheduled: 1 },
    ]);
  });

  test("takes times that are long past as they are, and says which jobs count as lost at once", async () => {
    await using app = await open({ MAX_WAIT: "2h", EVENT_WINDOW: "5m" });
    const mutation = recordMutation.replace("early }", "early expired }");
    const record = async (...events: readonly Event[]) =>
      (await ask(app.url, mutation, { events, batchId: "long past" })).body.data.recordEvents;
    const batch = [
      enqueued("hour", "1", { at: secondsAgo(3_600) }),
      enqueued("day", "1", { at: secondsAgo(86_400) }),
      enqueued("day", "2", { at: secondsAgo(86_400), availableAt: secondsAgo(-60) }),
      enqueued("day", "3", { availableAt: secondsAgo(86_400) }),
      dequeued("done", "1", { at: secondsAgo(80_000) }),
      enqueued("done", "1", { at: secondsAgo(86_400) }),
    ];
    const first = { accepted: 6, duplicates: 0, early: 1, expired: 2 };
    expect(await record(...batch)).toEqual(first);
    expect(await record(...batch)).toEqual(first);
    const fields = "state depth scheduled lost latency";
    const [hour, day, done] = await app.read(["hour", "day", "done"], fields);
    expect(hour).toMatchObject({ state: "WAITING", depth: 1, lost: 0 });
    expect(hour.latency).toEqual(sinceThen(3_600));
    expect(day).toEqual({ state: "EMPTY", depth: 0, scheduled: 1, lost: 2, latency: 0 });
    expect(done).toEqual({ state: "EMPTY", depth: 0, scheduled: 0, lost: 0, latency: 0 });
    await app.recorded([dequeued("day", "1")]);
    expect(await app.read(["day"], "lost")).toEqual([{ lost: 1 }]);
  });

  test("refuses more than MAX_EVENTS whole", async () => {
    await using app = await open({ MAX_EVENTS: "5" });
    const events = Array.from({ length: 6 }, (_, i) => enqueued(`q${i}`));
    expect(problemOf(await app.record(events))).toEqual({
      status: 400,
      code: "BAD_USER_INPUT",
      message: "expected at most 5 events, got 6",
    });
    expect(await app.read(["q0", "q5"], "state")).toEqual([{ state: "MISSING" }, { state: "MISSING" }]);
    expect(await app.recorded(events.slice(1))).toMatchObject({ accepted: 5 });
  });

  test("refuses queues that belong to Faktory when, and only when, one is read", async () => {
    await using without = await open();
    expect(await without.recorded([enqueued("faktory/a")])).toMatchObject({ accepted: 1 });
    // No server listens there; that the source is set is what counts.
    await using app = await open({ FAKTORY_URL: "tcp://127.0.0.1:1" });
    const answer = await app.record([enqueued("good"), enqueued("faktory/a")]);
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toContain("events[1].queue");
    expect(await app.read(["good", "faktory/a"], "state")).toEqual([
      { state: "MISSING" },
      { state: "MISSING" },
    ]);
    expect(await app.recorded([enqueued("faktory"), enqueued("faktory-2/a")])).toMatchObject({ accepted: 2 });
  });

  test("answers a batch that is sent again as it did first, and changes nothing", async () => {
    await using app = await open();
    const batch = [enqueued("a", "1"), dequeued("b", "2"), enqueued("a", "1")];
    const first = await app.recorded(batch, "batch-1");
    expect(first).toEqual({ accepted: 2, duplicates: 1, early: 1 });
    await app.recorded([dequeued("a", "1")]);
    const before = await app.read(["a", "b"], "state depth throughput { enqueuedPerSecond }");
    expect(await app.recorded(batch, "batch-1")).toEqual(first);
    expect(await app.read(["a", "b"], "state depth throughput { enqueuedPerSecond }")).toEqual(before);
    // With another id it is another batch, all of it recorded before.
    expect(await app.recorded(batch, "batch-2")).toEqual({ accepted: 0, duplicates: 3, early: 0 });
  });

  test("refuses other events with a batchId that has been used, rather than losing them without a word", async () => {
    await using app = await open();
    await app.recorded([enqueued("a", "1")], "batch-1");
    const answer = await app.record([enqueued("a", "2")], "batch-1");
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toContain("other events came with this one");
    expect(await app.read(["a"], "depth")).toEqual([{ depth: 1 }]);
    expect(await app.recorded([enqueued("a", "2")], "batch-2")).toMatchObject({ accepted: 1 });
  });

  test.each([
    { batchId: "", why: "no id at all" },
    { batchId: "x".repeat(201), why: "it would have to be kept" },
  ])("refuses a batchId of $batchId.length bytes: $why", async ({ batchId }) => {
    await using app = await open();
    const answer = await app.record([enqueued("a")], batchId);
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toContain("batchId");
    expect(await app.read(["a"], "state")).toEqual([{ state: "MISSING" }]);
  });

  test("takes literals and variables alike", async () => {
    await using app = await open();
    const at = secondsAgo(30);
    const literal = `mutation { recordEvents(batchId: 5, events: [
      { type: ENQUEUED, queue: "literal", jobId: 1, at: "${at}" }
      { type: ENQUEUED, queue: "literal", jobId: "2", attempt: 3 }
      { type: DEQUEUED, queue: "literal", jobId: "2", attempt: 3 }
    ]) { accepted duplicates early } }`;
    const events = [
      enqueued("variable", 1, { at }),
      enqueued("variable", "2", { attempt: 3 }),
      dequeued("variable", "2", { attempt: 3 }),
    ];
    const answer = await ask(app.url, literal);
    expect(answer.body.data?.recordEvents).toEqual(await app.recorded(events, "6"));
    const fields = `source state oldestSince depth scheduled accuracy stale throughput { enqueuedPerSecond }`;
    const [fromLiteral, fromVariable] = await app.read(["literal", "variable"], fields);
    expect(fromLiteral).toEqual(fromVariable);
    expect(fromLiteral).toMatchObject({ oldestSince: at, depth: 1 });
    // The ids are the same as text and as a number, also for batches.
    expect(await app.recorded(events, "6")).toEqual(answer.body.data?.recordEvents);
  });
});

describe("queueLatency", () => {
  test("answers in the order asked, each name once", async () => {
    await using app = await open();
    await app.recorded([enqueued("b"), enqueued("a")]);
    expect(await app.read(["b", "missing", "a", "b", "missing"], "queue")).toEqual([
      { queue: "b" },
      { queue: "missing" },
      { queue: "a" },
    ]);
  });

  test("answers an empty list to an empty list", async () => {
    await using app = await open();
    expect(await app.read([])).toEqual([]);
  });

  test("distinguishes a queue that is missing from one that is empty, that waits, and that only has scheduled jobs", async () => {
    await using app = await open();
    const since = secondsAgo(5);
    await app.recorded([
      enqueued("empty"),
      dequeued("empty"),
      enqueued("waiting", "1", { at: since }),
      enqueued("waiting", "2"),
      enqueued("waiting", "3", { availableAt: secondsAgo(-3600) }),
      enqueued("scheduled", "1", { availableAt: secondsAgo(-3600) }),
    ]);
    const known = { source: "events", accuracy: "EXACT", stale: false };
    const nothing = { latency: 0, oldestSince: null, depth: 0, scheduled: 0 };
    const notKnown = { latency: null, oldestSince: null, depth: null, scheduled: null };
    expect(await app.read(["missing", "empty", "waiting", "scheduled"])).toMatchObject([
      { queue: "missing", state: "MISSING", source: null, accuracy: "UNKNOWN", stale: false, ...notKnown },
      { queue: "empty", state: "EMPTY", ...known, ...nothing },
      { queue: "waiting", state: "WAITING", ...known, oldestSince: since, depth: 2, scheduled: 1 },
      { queue: "scheduled", state: "EMPTY", ...known, ...nothing, scheduled: 1 },
    ]);
  });

  test("gives as latency the time from oldestSince to measuredAt, to the millisecond", async () => {
    await using app = await open();
    await app.recorded([
      enqueued("past", "1", { at: secondsAgo(12.345) }),
      enqueued("now"),
      enqueued("future", "1", { at: secondsAgo(-3600) }),
      enqueued("due", "1", { at: secondsAgo(100), availableAt: secondsAgo(10) }),
    ]);
    const read = await app.read(["past", "now", "future", "due"]);
    for (const { latency, measuredAt, oldestSince } of read) {
      expect(latency).toBe((Date.parse(measuredAt) - Date.parse(oldestSince)) / 1000);
      expect(latency).toBeGreaterThanOrEqual(0);
    }
    // A time in the future is taken for now; and a job that was scheduled has waited since it was due.
    expect(read.map(({ latency }: { latency: number }) => latency)).toEqual([12, 0, 0, 10].map(sinceThen));
  });

  test("counts throughput by when things happened, over the window asked for", async () => {
    await using app = await open();
    await app.recorded([
      ...["1", "2", "3"].map((job) => enqueued("a", job, { at: secondsAgo(5) })),
      enqueued("a", "old", { at: secondsAgo(200) }),
      enqueued("a", "older", { at: secondsAgo(600) }),
      dequeued("a", "1", { at: secondsAgo(4) }),
      dequeued("a", "old", { at: secondsAgo(190) }),
      { ...dequeued("a", "2"), type: "REMOVED" },
    ]);
    const rates = "{ enqueuedPerSecond dequeuedPerSecond }";
    const [read] = await app.read(
      ["a"],
      `one: throughput ${rates} five: throughput(window: FIVE_MINUTES) ${rates} fifteen: throughput(window: FIFTEEN_MINUTES) ${rates}`,
    );
    expect(read).toEqual({
      one: { enqueuedPerSecond: 0.05, dequeuedPerSecond: 0.01667 },
      five: { enqueuedPerSecond: 0.01333, dequeuedPerSecond: 0.006667 },
      fifteen: { enqueuedPerSecond: 0.005556, dequeuedPerSecond: 0.002222 },
    });
  });

  test("measures the wait of dequeued jobs, from claimable to dequeued", async () => {
    await using app = await open();
    const now = Date.now();
    const at = (ms: number) => ({ at: new Date(now - ms).toISOString() });
    // Waits of 1, 2, ... 100 s, and of one job that was scheduled, whose wait begins when it is due.
    const waits = Array.from({ length: 100 }, (_, i) => i + 1);
    await app.recorded([
      ...waits.map((wait) => enqueued("a", wait, at(1000 + wait * 1000))),
      ...waits.map((wait) => dequeued("a", wait, at(1000))),
      enqueued("scheduled", "1", { ...at(5000), availableAt: new Date(now - 3500).toISOString() }),
      dequeued("scheduled", "1", at(1000)),
      dequeued("nothing", "never enqueued"),
    ]);
    const [a, scheduled, nothing, missing] = await app.read(
      ["a", "scheduled", "nothing", "missing"],
      "waitTime { count mean p50 p95 p99 max }",
    );
    expect(a.waitTime).toMatchObject({ count: 100, mean: 50.5, max: 100 });
    for (const [quantile, seconds] of [
      ["p50", 50],
      ["p95", 95],
      ["p99", 99],
    ] as const) {
      expect(Math.abs(a.waitTime[quantile] / seconds - 1), quantile).toBeLessThanOrEqual(0.05);
    }
    expect(scheduled.waitTime).toMatchObject({ count: 1, mean: 2.5, max: 2.5 });
    expect(nothing.waitTime).toEqual({ count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 });
    expect(missing.waitTime).toBeNull();
  });

  const tooManyBytes = "é".repeat(101);
  test.each([
    { name: "", says: "must not be empty" },
    { name: "a*", says: "*" },
    { name: "a\tb", says: "U+0009" },
    { name: tooManyBytes, says: "202" },
  ])("refuses the name '$name' and says $says", async ({ name, says }) => {
    await using app = await open();
    const query = "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }";
    const answer = await ask(app.url, query, { queues: ["good", name] });
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toMatch(/^queues\[1\]/);
    expect(problemOf(answer).message).toContain(says);
  });

  test("keeps queues apart whatever their names look like", async () => {
    await using app = await open();
    const names = [
      ...["a", "{a}", "{a}b", "a}{b", "{}", "{", "}", "%7b", "%7ba%7d", "a:waiting", "queues", "changes"],
      ...["__proto__", "constructor", "toString", "hasOwnProperty", "日本語", "😀", "é", "e\u0301"],
      ...[" ", "a b", '"', "\\", "'; --", "-", "+", "[a", "(a", "\u00ff", "A", "a/b", "faktory/a"],
    ];
    await app.recorded(
      names.flatMap((name, i) => Array.from({ length: i + 1 }, (_, job) => enqueued(name, `job-${job}`))),
    );
    const read = await app.read(names, "queue depth");
    expect(read).toEqual(names.map((queue, i) => ({ queue, depth: i + 1 })));
    const listed = await ask(app.url, "{ queues(first: 100) { edges { node { queue depth } } } }");
    expect(listed.body.data.queues.edges).toHaveLength(names.length);
    for (const name of names) {
      const literal = await ask(
        app.url,
        `{ queueLatency(queues: [${JSON.stringify(name)}]) { queue depth } }`,
      );
      expect(literal.body.data.queueLatency).toEqual([{ queue: name, depth: names.indexOf(name) + 1 }]);
    }
  });
});

describe("node and nodes", () => {
  const byIds =
    "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on QueueLatency { queue state depth } } }";

  test("answer the queue of an id as queueLatency does, known or not, and null to what is no id", async () => {
    await using app = await open();
    await app.recorded([enqueued("a"), enqueued("ü/{x} 1")]);
    const names = ["ü/{x} 1", "a", "missing"];
    const queues = await app.read(names, "__typename id queue state depth");
    const [odd, a, missing] = queues.map(({ id }: { id: string }) => id);
    const ofNothing = ["", "a", "YWJj", `${a}=`, Buffer.from("QueueLatency:").toString("base64url"), "42"];
    const { body } = await ask(app.url, byIds, { ids: [odd, ...ofNothing, a, missing, a] });
    expect(body.data.nodes).toEqual([
      queues[0],
      ...ofNothing.map(() => null),
      queues[1],
      queues[2],
      queues[1],
    ]);
    const one = `query ($id: ID!) { node(id: $id) { ... on QueueLatency { queue throughput { enqueuedPerSecond } } } }`;
    expect((await ask(app.url, one, { id: a })).body.data.node).toEqual({
      queue: "a",
      throughput: { enqueuedPerSecond: 0.01667 },
    });
    expect((await ask(app.url, one, { id: "nothing" })).body.data).toEqual({ node: null });
  });

  test("cost what queueLatency costs, and are bounded by MAX_QUEUES", async () => {
    await using app = await open({ MAX_QUEUES: "3" });
    const three = await ask(app.url, byIds, { ids: ["x", "y", "z"] });
    expect(three.body.extensions?.cost?.requestedQueryCost).toBe(3);
    expect(problemOf(await ask(app.url, byIds, { ids: ["x", "x", "x", "x"] }))).toMatchObject({
      code: "TOO_MANY_QUEUES",
    });
    const rates = `{ node(id: "x") { ... on QueueLatency { throughput { enqueuedPerSecond } health } } }`;
    expect((await ask(app.url, rates)).body.extensions?.cost?.requestedQueryCost).toBe(3);
  });
});

describe("an ID", () => {
  test.each([
    {
      jobId: 9_007_199_254_740_992,
      why: "JSON.parse has rounded it: 9007199254740993 would be the same job",
    },
    { jobId: -9_007_199_254_740_992, why: "so it is below zero" },
    { jobId: 1e300, why: "no id has as many digits as this would be written with" },
    { jobId: 1.5, why: "a fraction is no id" },
  ])("given as the number $jobId is refused: $why", async ({ jobId }) => {
    await using app = await open();
    const remove = 'mutation ($jobId: ID!) { removeWaitingJobs(queue: "a", jobs: [{ jobId: $jobId }]) }';
    const answer = await ask(app.url, remove, { jobId });
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toContain("send it as a string");
    expect(problemOf(await app.record([enqueued("a")], jobId as never))).toMatchObject({
      code: "BAD_USER_INPUT",
    });
  });

  test("keeps its digits as a string, and in a document", async () => {
    await using app = await open();
    const ids = ["9007199254740992", "9007199254740993"];
    await app.recorded([...ids.map((id) => enqueued("a", id)), enqueued("a", Number.MAX_SAFE_INTEGER)]);
    const again = ids.map((id) => `{ type: ENQUEUED, queue: "a", jobId: ${id} }`);
    const { body } = await ask(
      app.url,
      `mutation { recordEvents(events: [${again}]) { accepted duplicates } }`,
    );
    expect(body.data.recordEvents).toEqual({ accepted: 0, duplicates: 2 });
    expect(await app.read(["a"], "depth")).toEqual([{ depth: 3 }]);
  });
});

describe("DateTime", () => {
  test.each([
    { given: "2025-11-01T12:30:15Z", means: "2025-11-01T12:30:15.000Z", why: "whole seconds" },
    { given: "2025-11-01T12:30:15.250Z", means: "2025-11-01T12:30:15.250Z", why: "milliseconds" },
    { given: "2025-11-01T12:30:15.2509Z", means: "2025-11-01T12:30:15.250Z", why: "more is cut off" },
    { given: "2025-11-01T12:30:15.25Z", means: "2025-11-01T12:30:15.250Z", why: "fewer digits" },
    { given: "2025-11-01T12:30:15.250+02:00", means: "2025-11-01T10:30:15.250Z", why: "east" },
    { given: "2025-11-01T22:30:15.250-05:30", means: "2025-11-02T04:00:15.250Z", why: "west, over midnight" },
    { given: "2025-11-01t12:30:15z", means: "2025-11-01T12:30:15.000Z", why: "RFC 3339 allows it" },
  ])("reads $given as $means: $why", async ({ given, means }) => {
    await using app = await open({ MAX_WAIT: "3650d" });
    const literal = `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "literal", jobId: 1, at: "${given}" }]) { accepted } }`;
    expect((await ask(app.url, literal)).body.errors).toBeUndefined();
    await app.recorded([enqueued("variable", "1", { at: given })]);
    for (const { oldestSince } of await app.read(["literal", "variable"])) expect(oldestSince).toBe(means);
  });

  test("is always given in UTC with milliseconds", async () => {
    await using app = await open();
    await app.recorded([enqueued("a", "1", { at: secondsAgo(60) })]);
    const [{ oldestSince, measuredAt }] = await app.read(["a"]);
    for (const instant of [oldestSince, measuredAt]) {
      expect(instant).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(new Date(instant).toISOString()).toBe(instant);
    }
  });
});

describe("forgetQueue", () => {
  test("makes a queue MISSING, and says whether it was known", async () => {
    await using app = await open();
    await app.recorded([enqueued("a"), dequeued("a", "other"), enqueued("b")], "batch-1");
    const forget = "mutation ($queue: String!) { forgetQueue(queue: $queue) }";
    expect((await ask(app.url, forget, { queue: "a" })).body.data).toEqual({ forgetQueue: true });
    expect((await ask(app.url, forget, { queue: "a" })).body.data).toEqual({ forgetQueue: false });
    expect(await app.read(["a", "b"], "queue state")).toEqual([
      { queue: "a", state: "MISSING" },
      { queue: "b", state: "WAITING" },
    ]);
    const listed = await ask(app.url, "{ queues { edges { node { queue } } } }");
    expect(listed.body.data.queues.edges).toEqual([{ node: { queue: "b" } }]);
    expect(await redis.exists(app.keys.waiting("a"), app.keys.state("a"), app.keys.recent("a"))).toBe(0);
    // What was forgotten is forgotten: the same batch is news again.
    expect(await app.recorded([enqueued("a"), dequeued("a", "other")], "batch-1")).toMatchObject({
      accepted: 2,
    });
  });

  test("refuses a bad name", async () => {
    await using app = await open();
    const answer = await ask(app.url, 'mutation { forgetQueue(queue: "*") }');
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toMatch(/^queue: /);
  });
});

describe("queues", () => {
  interface Page {
    readonly edges: readonly { readonly cursor: string; readonly node: { readonly queue: string } }[];
    readonly pageInfo: {
      readonly hasNextPage: boolean;
      readonly hasPreviousPage: boolean;
      readonly startCursor: string | null;
      readonly endCursor: string | null;
    };
  }

  async function page(url: string, args: object): Promise<Page> {
    const query = `query ($prefix: String, $first: Int! = 50, $after: String) {
      queues(prefix: $prefix, first: $first, after: $after) {
        edges { cursor node { queue } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }`;
    const { body } = await ask(url, query, args);
    expect(body.errors).toBeUndefined();
    return body.data.queues;
  }
  const namesOf = ({ edges }: Page) => edges.map(({ node }) => node.queue);

  test("is an empty page when nothing is known", async () => {
    await using app = await open();
    expect(await page(app.url, {})).toEqual({
      edges: [],
      pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null },
    });
  });

  test("lists all that is known by the bytes of the names, with what was asked of each", async () => {
    await using app = await open();
    const names = ["Z", "a", "a/b", "b", "é", "日本語", "\ufb00", "😀"];
    await app.recorded([...names].reverse().map((name) => enqueued(name)));
    await app.recorded([dequeued("b")]);
    const listed = await page(app.url, {});
    expect(namesOf(listed)).toEqual(names);
    expect(listed.pageInfo).toEqual({
      hasNextPage: false,
      hasPreviousPage: false,
      startCursor: listed.edges.at(0)?.cursor,
      endCursor: listed.edges.at(-1)?.cursor,
    });
    const fields = `{ queues(prefix: "b") { edges { node { ${everything} throughput { dequeuedPerSecond } waitTime { count } } } } }`;
    expect((await ask(app.url, fields)).body.data.queues.edges).toMatchObject([
      {
        node: {
          queue: "b",
          state: "EMPTY",
          depth: 0,
          throughput: { dequeuedPerSecond: 0.01667 },
          waitTime: { count: 1 },
        },
      },
    ]);
  });

  test.each([
    { prefix: "a", finds: ["a", "a/1", "a/2", "ab"], why: "a name begins with itself" },
    { prefix: "a/", finds: ["a/1", "a/2"], why: "a source's" },
    {
      prefix: "",
      finds: ["a", "a/1", "a/2", "ab", "b", "日", "日本", "月"],
      why: "every name begins with nothing",
    },
    { prefix: "日", finds: ["日", "日本"], why: "a character is several bytes" },
    { prefix: "B", finds: [], why: "case counts" },
    { prefix: "a*", finds: [], why: "no wildcard" },
    { prefix: "x".repeat(500), finds: [], why: "longer than any name" },
    { prefix: null, finds: ["a", "a/1", "a/2", "ab", "b", "日", "日本", "月"], why: "null is no prefix" },
  ])("with the prefix $prefix finds $finds: $why", async ({ prefix, finds }) => {
    await using app = await open();
    await app.recorded(["a", "a/1", "a/2", "ab", "b", "日", "日本", "月"].map((name) => enqueued(name)));
    expect(namesOf(await page(app.url, { prefix }))).toEqual(finds);
    // Page by page it is the same.
    const found: string[] = [];
    for (let after: string | null = null; ; ) {
      const next: Page = await page(app.url, { prefix, first: 1, after });
      found.push(...namesOf(next));
      after = next.pageInfo.endCursor;
      if (!next.pageInfo.hasNextPage) break;
    }
    expect(found).toEqual(finds);
  });

  test("gives no more than `first`, and says whether there is more", async () => {
    await using app = await open();
    await app.recorded(["a", "b", "c"].map((name) => enqueued(name)));
    expect((await page(app.url, { first: 0 })).edges).toEqual([]);
    const one = await page(app.url, { first: 1 });
    expect(namesOf(one)).toEqual(["a"]);
    expect(one.pageInfo).toMatchObject({ hasNextPage: true, endCursor: one.edges[0]?.cursor });
    const two = await page(app.url, { first: 2, after: one.pageInfo.endCursor });
    expect(namesOf(two)).toEqual(["b", "c"]);
    expect(two.pageInfo).toMatchObject({ hasNextPage: false, startCursor: two.edges[0]?.cursor });
    expect((await page(app.url, { first: 3 })).pageInfo.hasNextPage).toBe(false);
    const behind = await page(app.url, { after: two.pageInfo.endCursor });
    expect(behind).toMatchObject({ edges: [], pageInfo: { hasNextPage: false, endCursor: null } });
  });

  test.each([
    { args: { first: -1 }, says: "first", why: "less than nothing" },
    { args: { first: 1001 }, says: "first", why: "more than a page may have" },
    { args: { after: "" }, says: "after", why: "no cursor" },
    { args: { after: "a" }, says: "after", why: "a name is not a cursor" },
    { args: { after: "YQ==" }, says: "after", why: "not how we write it" },
    { args: { after: "_w" }, says: "after", why: "bytes that are no text" },
  ])("refuses $args: $why", async ({ args, says }) => {
    await using app = await open({ MAX_COST: "5000" });
    const query =
      "query ($first: Int! = 50, $after: String) { queues(first: $first, after: $after) { edges { cursor } } }";
    const answer = await ask(app.url, query, args);
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toContain(says);
  });

  test("gives up to 1000 at once", async () => {
    await using app = await open();
    const names = Array.from({ length: 1001 }, (_, i) => `queue-${String(i).padStart(4, "0")}`);
    for (const part of [names.slice(0, 500), names.slice(500, 1000), names.slice(1000)]) {
      await app.recorded(part.map((name) => enqueued(name)));
    }
    const listed = await page(app.url, { first: 1000 });
    expect(namesOf(listed)).toEqual(names.slice(0, 1000));
    expect(listed.pageInfo.hasNextPage).toBe(true);
  });

  test("pages through 120 queues with none twice and none left out, while some are forgotten and come up", async () => {
    await using app = await open();
    const names = Array.from({ length: 120 }, (_, i) => `queue-${String(i).padStart(3, "0")}`);
    await app.recorded(names.map((name) => enqueued(name)));
    const forget = (queue: string) =>
      ask(app.url, "mutation ($queue: String!) { forgetQueue(queue: $queue) }", { queue });

    const found: string[] = [];
    const gone = new Set<string>();
    let after: string | null = null;
    for (;;) {
      const next: Page = await page(app.url, { first: 7, after });
      found.push(...namesOf(next));
      after = next.pageInfo.endCursor;
      if (!next.pageInfo.hasNextPage) break;
      // The one that the cursor stands for, one long behind, and the next one ahead.
      const last = names.indexOf(found.at(-1) ?? "");
      for (const i of [last, last - 5, last + 1]) {
        if (i >= 0 && i < names.length) await forget(names[i] ?? "");
        if (i > last && i < names.length) gone.add(names[i] ?? "");
      }
      // And one comes up between those that were seen: it must not push another one onto the next page.
      await app.recorded([enqueued(`${names[last - 3]}-new`)]);
    }
    expect(found).toEqual(names.filter((name) => !gone.has(name)));
    expect(gone.size).toBeGreaterThan(10);
  });

  test("passes over a name that is listed, but not known, and still fills the page", async () => {
    await using app = await open();
    await app.recorded(["a", "c", "d", "e", "g"].map((name) => enqueued(name)));
    await redis.zadd(app.keys.index, ...["b", "f", "h"].flatMap((name) => [0, name]));
    const first = await page(app.url, { first: 3 });
    expect(namesOf(first)).toEqual(["a", "c", "d"]);
    const second = await page(app.url, { first: 3, after: first.pageInfo.endCursor });
    expect(namesOf(second)).toEqual(["e", "g"]);
    expect(second.pageInfo.hasNextPage).toBe(false);
  });
});

describe("queues in an order, and of some kind", () => {
  const page = `query (
    $orderBy: QueueOrder!, $reverse: Boolean! = false, $first: Int! = 50, $after: String, $offset: Int! = 0
    $state: [QueueState!], $health: [Health!], $source: String, $search: String
  ) {
    queues(
      orderBy: $orderBy, reverse: $reverse, first: $first, after: $after, offset: $offset
      state: $state, health: $health, source: $source, search: $search
    ) {
      edges { node { queue latency measuredAt waitTime { count } } cursor }
      pageInfo { hasNextPage endCursor }
      measuredAt omitted
    }
  }`;
  const late = [
    enqueued("late_within_10s", "1", { at: secondsAgo(60) }),
    enqueued("old", "1", { at: secondsAgo(600) }),
    ...["1", "2", "3"].map((id) => enqueued("deep", id)),
    enqueued("empty"),
    dequeued("empty"),
  ];

  // Health is of objectives alone: a history would add what it finds in the course of the test.
  const env = { HISTORY_MAX_QUEUES: "0" };

  test("come worst first from one reading, whatever is worse", async () => {
    await using app = await open(env);
    await app.recorded(late);
    const ask1 = async (variables: object) => (await ask(app.url, page, variables)).body.data.queues;
    const names = async (variables: object) =>
      (await ask1(variables)).edges.map(({ node }: { node: { queue: string } }) => node.queue);
    expect(await names({ orderBy: "LATENCY" })).toEqual(["old", "late_within_10s", "deep", "empty"]);
    expect(await names({ orderBy: "DEPTH" })).toEqual(["deep", "late_within_10s", "old", "empty"]);
    expect(await names({ orderBy: "LATENESS" })).toEqual(["late_within_10s", "old", "deep", "empty"]);
    expect(await names({ orderBy: "NAME" })).toEqual(["deep", "empty", "late_within_10s", "old"]);
    expect(await names({ orderBy: "LATENCY", state: "WAITING", search: "*d*" })).toEqual(["old", "deep"]);
    expect(await names({ orderBy: "LATENCY", health: ["SLOW", "STALLED"] })).toEqual(["late_within_10s"]);
    const first = await ask1({ orderBy: "LATENCY", first: 1 });
    expect(first).toMatchObject({
      edges: [{ node: { queue: "old", waitTime: { count: 0 } } }],
      pageInfo: { hasNextPage: true, endCursor: first.edges[0].cursor },
      omitted: 0,
    });
    const { node } = first.edges[0];
    expect(node.latency).toBeCloseTo(
      (Date.parse(node.measuredAt) - Date.parse(late[1]?.at as string)) / 1000,
      3,
    );
    expect(Math.abs(Date.parse(first.measuredAt) - Date.now())).toBeLessThan(60_000);
    expect(await names({ orderBy: "LATENCY", after: first.pageInfo.endCursor })).toEqual([
      ...["late_within_10s", "deep", "empty"],
    ]);
    expect((await ask1({ orderBy: "NAME" })).measuredAt).toBeNull();
    expect(await names({ orderBy: "HEALTH" })).toEqual(["late_within_10s", "old", "deep", "empty"]);
    expect(await names({ orderBy: "NAME", reverse: true, first: 2, offset: 1 })).toEqual([
      ...["late_within_10s", "empty"],
    ]);
  });

  test("are counted, by health and by source, beside the page", async () => {
    await using app = await open(env);
    await app.recorded(late);
    const counted = (args: string) =>
      ask(
        app.url,
        `{ queues(${args}) {
          edges { node { queue health waitTime { count } } }
          totalCount healthCounts { health count } sourceCounts { source count } measuredAt
        } }`,
      );
    const { body } = await counted("first: 1, orderBy: HEALTH");
    expect(body.errors).toBeUndefined();
    expect(body.data.queues).toMatchObject({
      edges: [{ node: { queue: "late_within_10s", health: "SLOW", waitTime: { count: 0 } } }],
      totalCount: 4,
      healthCounts: [
        { health: "OK", count: 1 },
        { health: "SLOW", count: 1 },
        { health: "FALLING_BEHIND", count: 0 },
        { health: "STALLED", count: 0 },
        { health: "UNKNOWN", count: 2 },
      ],
      sourceCounts: [{ source: "events", count: 4 }],
      measuredAt: expect.any(String),
    });
    const plain = await counted('first: 1, prefix: "o"');
    expect(plain.body.data.queues, "a page by name, too").toMatchObject({
      edges: [{ node: { queue: "old" } }],
      totalCount: 1,
      measuredAt: expect.any(String),
    });
  });

  test("come by the thousand with the default settings", async () => {
    await using app = await open();
    const names = Array.from({ length: 1000 }, (_, i) => `q${String(i).padStart(4, "0")}`);
    for (const half of [names.slice(0, 500), names.slice(500)])
      await app.recorded(half.map((name) => enqueued(name)));
    for (const orderBy of ["NAME", "DEPTH"]) {
      const { body } = await ask(
        app.url,
        `{ queues(orderBy: ${orderBy}, first: 1000) { edges { node { queue } } } }`,
      );
      expect(body.errors).toBeUndefined();
      expect(body.data.queues.edges.map(({ node }: { node: { queue: string } }) => node.queue)).toEqual(
        names,
      );
    }
  });

  test.each([
    {
      variables: { orderBy: "LATENCY", after: "YQ" },
      message: "same orderBy",
      why: "the cursor is of names",
    },
    { variables: { orderBy: "NAME", search: "é".repeat(101) }, message: "search", why: "it is too long" },
    { variables: { orderBy: "NAME", first: 1001 }, message: "first", why: "it is too much" },
    { variables: { orderBy: "NAME", offset: -1 }, message: "offset", why: "no row is there" },
  ])("are refused when $why", async ({ variables, message }) => {
    await using app = await open();
    const answer = await ask(app.url, page, variables);
    expect(problemOf(answer)).toMatchObject({ status: 400, code: "BAD_USER_INPUT" });
    expect(problemOf(answer).message).toContain(message);
  });
});

describe("a mistake in a request", () => {
  test.each([
    { mistake: "bad syntax", query: "{ queueLatency( }" },
    { mistake: "an unknown field", query: "{ queueLatencies }" },
    { mistake: "a missing argument", query: "{ queueLatency { queue } }" },
    { mistake: "a bad argument", query: '{ queueLatency(queues: ["*"]) { queue } }' },
    { mistake: "two bad fields", query: "{ one two }" },
  ])("is reported over a WebSocket as over HTTP: $mistake", async ({ query }) => {
    await using app = await open();
    const overHttp = (await ask(app.url, query)).body.errors?.map(withoutCost);
    const client = createClient({ url: `${app.url.replace("http", "ws")}/graphql`, retryAttempts: 0 });
    const refused = client.iterate({ query }).next();
    await expect(refused.catch((errors) => errors.map(withoutCost))).resolves.toEqual(overHttp);
    await client.dispose();
  });

  function withoutCost({ extensions: { cost: _, ...extensions }, ...error }: GraphQLError): object {
    return { ...error, extensions };
  }
});

describe("an unexpected error", () => {
  const masked = {
    message: "Unexpected error",
    extensions: { code: "INTERNAL_SERVER_ERROR" },
  };

  /** Beside a line of its own of whatever else reads the broken queue, such as the history. */
  function expectLoggedOnce(all: readonly LogEntry[]): void {
    const errors = all.filter(({ message }) => message === "unexpected error");
    expect(errors).toHaveLength(1);
    const error = errors[0]?.fields.err;
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).stack).toMatch(/WRONGTYPE.*\n\s+at /s);
  }

  test.each([
    {
      by: "recordEvents",
      query: 'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "broken", jobId: 1 }]) { early } }',
    },
    { by: "waitingJobs", query: '{ waitingJobs(queue: "broken", first: 1) { jobId } }' },
    {
      by: "removeWaitingJobs",
      query: 'mutation { removeWaitingJobs(queue: "broken", jobs: [{ jobId: 1 }]) }',
    },
  ])("of $by is masked, and logged once with its stack", async ({ query }) => {
    await using app = await open();
    await app.recorded([enqueued("broken")]);
    await redis.set(app.keys.waiting("broken"), "of the wrong type");
    const answer = await ask(app.url, query);
    expect(answer.status).toBe(500);
    expect(answer.body.errors).toHaveLength(1);
    expect(answer.body.errors?.[0]).toMatchObject(masked);
    expect(answer.body.data ?? null).toBeNull();
    expect(JSON.stringify(answer.body)).not.toMatch(/WRONGTYPE|script|node_modules|\.ts/);
    expectLoggedOnce(app.errors());
  });

  test("in one operation of a batch leaves the others alone", async () => {
    await using app = await open();
    await app.recorded([enqueued("good"), enqueued("broken")]);
    await redis.set(app.keys.waiting("broken"), "of the wrong type");
    const { body } = await post(app.url, [
      { query: '{ waitingJobs(queue: "broken", first: 1) { jobId } }' },
      { query: '{ waitingJobs(queue: "good", first: 1) { jobId } }' },
    ]);
    expect(body).toMatchObject([
      { data: null, errors: [masked] },
      { data: { waitingJobs: [{ jobId: "job" }] } },
    ]);
    expectLoggedOnce(app.errors());
  });

  test("is not what a client causes", async () => {
    await using app = await open();
    for (const query of [
      "{",
      "{ nothing }",
      '{ queueLatency(queues: ["*"]) { queue } }',
      "query A { __typename } query B { __typename }",
    ]) {
      await ask(app.url, query);
    }
    for (const body of [null, 5, [], [null], {}, { query: 5 }, { query: "{ __typename }", variables: 5 }]) {
      await post(app.url, body);
    }
    await fetch(`${app.url}/graphql`, { method: "POST", body: "text" });
    await fetch(`${app.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{",
    });
    // A subscription that skips its only field has nothing to send.
    await ask(app.url, 'subscription { queueLatency(queues: ["a"]) @skip(if: true) { queue } }');
    expect(app.errors()).toEqual([]);
  });
});

test("a connection on which nothing was asked yet, as browsers open ahead of time, does not hold up the end", async () => {
  const app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
  const socket = connect(Number(new URL(app.url).port), "127.0.0.1");
  await once(socket, "connect");
  const closed = once(socket, "close");
  // It has been accepted when a later one is answered.
  await ask(app.url, "{ __typename }");
  const startedMs = performance.now();
  await app.stop();
  expect(performance.now() - startedMs).toBeLessThan(onThisMachine(1_000));
  await closed;
});

describe("a query that follows another one within MAX_AGE", () => {
  const env = { KEY_PREFIX: uniquePrefix(), MAX_AGE: "5s" };

  test("is answered with what was read before, until a change by any server is received", async () => {
    await using app = await open(env);
    await using other = await open(env);
    await app.recorded([enqueued("q", "1")]);
    // Its own change, too, may be received only after a read.
    await until(async () => {
      const [first] = await app.read(["q"]);
      expect(first).toMatchObject({ depth: 1 });
      expect(await app.read(["q"])).toEqual([first]);
    });

    // The other server shows at once what it has acknowledged; this one when it has received it, long before its memory ends.
    let depth = 1;
    let isSoon = false;
    // A busy machine may take as long as that once.
    while (!isSoon && depth < 5) {
      depth += 1;
      await other.recorded([enqueued("q", String(depth))]);
      expect(await other.read(["q"], "depth")).toEqual([{ depth }]);
      const startedMs = performance.now();
      await expect.poll(() => app.read(["q"], "depth")).toEqual([{ depth }]);
      isSoon = performance.now() - startedMs < 4_000;
    }
    expect(isSoon).toBe(true);
  });

  test("shows whatever this server has acknowledged", async () => {
    await using app = await open(env);
    const stateOf = async () => (await app.read(["own"], "state depth"))[0];
    await app.recorded([enqueued("own", "1"), enqueued("own", "2")]);
    expect(await stateOf()).toEqual({ state: "WAITING", depth: 2 });
    await app.recorded([dequeued("own", "1")]);
    expect(await stateOf()).toEqual({ state: "WAITING", depth: 1 });
    await ask(app.url, `mutation { removeWaitingJobs(queue: "own", jobs: [{ jobId: "2" }]) }`);
    expect(await stateOf()).toEqual({ state: "EMPTY", depth: 0 });
    await ask(app.url, `mutation { forgetQueue(queue: "own") }`);
    expect(await stateOf()).toMatchObject({ state: "MISSING" });
  });
});
