import { once } from "node:events";
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createKeys } from "../../src/redis/keys.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { type Answer, ask, startServer, type TestServer } from "../support/server.ts";
import { sseTransport, websocketTransport } from "../support/streams.ts";
import { until } from "../support/until.ts";

const prefix = "names-under-test";
const keys = createKeys(prefix);

let redis: TestRedis;
let direct: Redis;
let server: TestServer;

beforeAll(async () => {
  redis = await startRedis();
  direct = new Redis(redis.url);
  const env = { REDIS_URL: redis.url, KEY_PREFIX: prefix, LOG_LEVEL: "debug", RATE_LIMIT_MAX: "100000000" };
  server = await startServer({ ...env, MAX_COST: "5000", MAX_QUEUES: "1000" });
});
// FLUSHALL would be a loss of acknowledged writes, which the server notices and marks seconds later.
beforeEach(async () => {
  for (const { queue } of await pageThrough("")) await forget(queue);
});
afterAll(async () => {
  direct?.disconnect();
  await server?.stop();
  await redis?.stop();
});

/** Names that mean something: to JavaScript, Redis, Lua, our own keys, terminals, pages, JSON, GraphQL, Unicode. */
const meaningful: readonly string[] = [
  ...["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "__defineGetter__"],
  ...["null", "undefined", "NaN", "true", "0", "-1", "1e3", "[object Object]"],
  ...["a", "{a}", "{a}b", "a}{b", "{}", "}{", "{", "}", "{{a}}", "{a", "a}", "a{b}c"],
  ...["%7b", "%7B", "%7ba%7d", "%25", "%257b", "%", "%%", "%00", "%0a", "a%2Fb"],
  ...[
    "queues",
    "ql:changes",
    "changes",
    "sweep",
    "a:waiting",
    "a}:waiting",
    "a}:state",
    "{a}:state",
    "a}:recent",
  ],
  ...[
    "a}:departed:0",
    "throttle:address:127.0.0.1",
    "lease:{faktory}",
    `${prefix}:queues`,
    `${prefix}:{a}:state`,
  ],
  ...["batch:1", "heardUntil", "0:job", "waiting", "state", "events", "source"],
  ...["*", "?", "[", "[a-z]", "[^a]", "a?", "\\*", "(a", "[a", "+", "-", "+inf", "-inf", "(+inf"],
  ...["%a+", "%s", "%d", "%b()", "^$", ".-", "')--", "]] .. redis.call('FLUSHALL') .. [["],
  ...[
    "a\r\nFLUSHALL\r\n",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "$-1\r\n",
    "+OK",
    ":1",
    "a\nb",
    "\r",
    "\t",
    "\0",
    "a\0b",
  ],
  ...["\x1b[31mred", "\x1b]0;title\x07", "\u009b31m", "\x7f", "\x08", "\u0085"],
  ...[
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--",
    "]]>",
    "&lt;",
    "'\"><svg/onload=1>",
  ],
  ...[
    '"',
    "\\",
    '\\"',
    '"}]}',
    '{"a":1}',
    "$" + "{7*7}",
    "{{7*7}}",
    "#",
    "# a",
    '"""',
    "$queues",
    "@skip(if: true)",
    "...",
  ],
  ...["javascript:alert(1)", "data:text/html,x", "../../etc/passwd", "..", ".", "/", "//", "a/b", "C:\\"],
  ...["é", "e\u0301", "Å", "A\u030a", "\u212b", "ﬁ", "fi", "ſ", "K", "\u212a", "İ", "i\u0307", "ß", "SS"],
  ...[
    "\u202eabc",
    "a\u202db",
    "\u2066a\u2069",
    "\u200b",
    "a\u200db",
    "\ufeffa",
    "\u00ad",
    "\u2028",
    "\u2029",
    "\u00a0",
  ],
  ...[
    "\ud800",
    "\udfff",
    "a\ud83d",
    "\ude00a",
    "\udc00\ud800",
    "\ufffd",
    "a\ufffdb",
    "\ufffe",
    "\uffff",
    "\u{10ffff}",
    "\ue000",
  ],
  ...["😀", "👩‍👩‍👧", "🇩🇪", "日本語", "שלום", "مرحبا", "a\u0300\u0301\u0302\u0303"],
  ...["", " ", "  ", " a", "a ", "a  b", "x".repeat(200), "x".repeat(201), "é".repeat(100), "é".repeat(101)],
  ...[
    "😀".repeat(50),
    "😀".repeat(51),
    "x".repeat(10_000),
    "\n".repeat(10_000),
    "{".repeat(200),
    "%".repeat(200),
  ],
];

/** A name that is right, or may be: built of what is special somewhere. */
const nameArb = fc.oneof(
  fc
    .array(
      fc.constantFrom(
        ...'a b { } % 7b : * [ " \\ < \n \x1b \u202e \ud83d \ude00 é \u0301 waiting state'.split(" "),
      ),
      {
        minLength: 1,
        maxLength: 8,
      },
    )
    .map((parts) => parts.join("")),
  fc.string({ unit: "grapheme", maxLength: 30 }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
    .map((units) => String.fromCharCode(...units)),
);

describe("names of queues, whatever they are,", () => {
  it("are returned byte for byte and have a state of their own, or are refused in a few words", async () => {
    await expectApart(meaningful);
  });

  it("are so at random, too", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(nameArb, { minLength: 1, maxLength: 60, size: "max" }), expectApart),
      {
        numRuns: 25,
      },
    );
  });

  it.each([
    { over: "server-sent events", connect: sseTransport },
    { over: "WebSocket", connect: websocketTransport },
  ])("are distinguished by subscribers over $over", async ({ connect }) => {
    const names = await acceptedOf(meaningful);
    await using client = connect(server.url);
    const stream = client.subscribe(
      `subscription ($queues: [String!]!) { queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 0) { queue depth } }`,
      { queues: names },
    );
    const first = (await stream.next()).value?.data.queueLatency;
    expect(first).toEqual(names.map((queue) => ({ queue, depth: null })));
    for (const queue of names.filter((_, i) => i % 5 === 0)) {
      await record([{ queue, jobId: "1" }]);
      expect((await stream.next()).value?.data.queueLatency).toEqual([{ queue, depth: 1 }]);
    }
    for (const queue of names) await forget(queue);
  });

  it("that no text can be decoded from are not taken for each other", async () => {
    const body = (bytes: readonly number[]) =>
      Buffer.concat([
        Buffer.from('{"query":"query($q:[String!]!){queueLatency(queues:$q){queue}}","variables":{"q":["a'),
        Buffer.from(bytes),
        Buffer.from('"]}}'),
      ]);
    for (const bytes of [
      [0xff],
      [0xfe],
      [0xc3],
      [0xed, 0xa0, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xc0, 0xaf],
    ]) {
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${server.url}/graphql`, { method: "POST", headers, body: body(bytes) });
      expect(response.status, String(bytes)).toBe(400);
      const encoded = bytes.map((byte) => `%${byte.toString(16)}`).join("");
      const query = encodeURIComponent('{ queueLatency(queues: ["a?"]) { queue } }').replace("%3F", encoded);
      expect((await fetch(`${server.url}/graphql?query=${query}`)).status, encoded).toBe(400);
    }
  });
});

describe("ids of jobs and batches, whatever they are,", () => {
  it("are distinguished, or refused in a few words", async () => {
    const answers = await Promise.all(
      meaningful.map(async (jobId) => ({ jobId, ...(await recordRaw([{ queue: "ids", jobId }], null)) })),
    );
    for (const answer of answers) expectTakenOrRefused(answer, answer.jobId);
    const taken = answers.filter(({ status }) => status === 200).map(({ jobId }) => jobId);
    expect(taken.length).toBeGreaterThan(100);
    expect(await depthOf("ids")).toBe(taken.length);
    // And in each order of a batch.
    await record(taken.toReversed().map((jobId) => ({ queue: "ids", jobId, type: "DEQUEUED" })));
    expect(await depthOf("ids")).toBe(0);

    for (const [i, batchId] of taken.entries()) {
      const first = await recordRaw([{ queue: "batches", jobId: `job-${i}` }], batchId);
      expect(first.body.data, JSON.stringify(batchId)).toEqual({
        recordEvents: { accepted: 1, duplicates: 0 },
      });
      const again = await recordRaw([{ queue: "batches", jobId: `job-${i}` }], batchId);
      expect(again.body.data).toEqual(first.body.data);
      expectTakenOrRefused(await recordRaw([{ queue: "batches", jobId: "another" }], batchId), batchId);
    }
    expect(await depthOf("batches")).toBe(taken.length);
    await forget("ids");
    await forget("batches");
  });
});

describe("whatever names there are,", () => {
  it("every key begins with KEY_PREFIX, and has one of the forms that are known", async () => {
    const names = await acceptedOf(meaningful);
    await record(
      names.flatMap((queue) => [
        { queue, jobId: "1" },
        { queue, jobId: "2" },
        { queue, jobId: "2", type: "DEQUEUED" },
      ]),
    );
    const found = await direct.keys("*");
    const tag = "\\{[^{}]+\\}";
    const known = new RegExp(
      `^${prefix}:(${tag}:(waiting|state|recent|departed:[01]|history:(10|60|3600))|lease:\\{/history\\}(:fence)?|queues(:recorded)?|sweep|throttle:[^{}]+)$`,
    );
    expect(found.filter((key) => !known.test(key))).toEqual([]);
    expect(found.filter((key) => key.endsWith(":state"))).toHaveLength(names.length);
    for (const queue of names) await forget(queue);
  });

  it("no page carries them, and no error but as JSON", async () => {
    const marker = "</script><script>alert(8415)</script>";
    const encoded = encodeURIComponent(marker);
    const page = await fetch(
      `${server.url}/graphql?query=${encoded}&variables=${encoded}&operationName=${encoded}`,
      {
        headers: { accept: "text/html" },
      },
    );
    expect(page.headers.get("content-type")).toMatch(/^text\/html/);
    expect(await page.text()).not.toContain("8415");
    const errors = [
      `/graphql?query=${encoded}`,
      `/graphql?query={${encoded}}`,
      `/graphql?query={queueLatency(queues:["${encodeURIComponent(`${marker}*`)}"]){queue}}`,
      `/graphql?query=query($q:[String!]!){queueLatency(queues:$q){queue}}&variables=${encodeURIComponent(JSON.stringify({ q: marker }))}`,
      `/${encoded}`,
      `/graphql/${encoded}`,
    ];
    for (const path of errors) {
      for (const accept of ["*/*", "application/json", "text/event-stream", "text/plain, text/*"]) {
        const response = await fetch(`${server.url}${path}`, { headers: { accept } });
        const type = String(response.headers.get("content-type"));
        expect(type, path).toMatch(/^(application\/(graphql-response\+)?json|text\/event-stream)\b/);
        await response.body?.cancel();
      }
    }
  });

  it("the log stays one JSON object a line, with nothing in it that a terminal obeys", async () => {
    // All that logs a name: a queue that cannot be read.
    const names = await acceptedOf(meaningful);
    await using client = websocketTransport(server.url);
    const queues = names.filter((name) => /["'\\<{%$]/.test(name)).slice(0, 50);
    const stream = client.subscribe(
      `subscription ($queues: [String!]!) { queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 0) { queue state accuracy } }`,
      { queues },
    );
    await stream.next();
    for (const queue of queues) {
      await direct.set(keys.state(queue), "of the wrong type");
      await direct.publish(keys.changes, queue);
      expect((await stream.next()).value?.data.queueLatency).toEqual([
        { queue, state: "EMPTY", accuracy: "UNKNOWN" },
      ]);
    }
    stream.abort();
    for (const queue of queues) await direct.del(keys.state(queue));
    for (const text of meaningful) {
      await direct.publish(keys.changes, text);
      // Everywhere that text can be.
      await ask(server.url, `query ${text} { ${text} }`, { [text]: text });
      for (const jobId of ["1", "2"]) await recordRaw([{ queue: "q", jobId }], text);
      const odd = { queue: text, jobId: text, at: text };
      await recordRaw([{ ...odd, type: text as "ENQUEUED" }], text);
      await recordRaw([odd], text);
      await ask(server.url, `{ queueLatency(queues: [${JSON.stringify(text)}]) { ${text} } }`);
      await fetch(
        `${server.url}/${encodeURIComponent(text.toWellFormed())}?${encodeURIComponent(text.toWellFormed())}`,
      );
      await sayToSocket([
        text,
        JSON.stringify({ type: text, id: text, payload: { query: text, operationName: text } }),
      ]);
    }
    await until(() => expect(server.stderr()).toMatch(/\n$/));
    const lines = server.stderr().split("\n").slice(0, -1);
    expect(lines.length).toBeGreaterThan(queues.length);
    for (const line of lines) {
      expect(Object.keys(JSON.parse(line)), line).toContain("msg");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
      expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
    }
  });
});

interface JobEvent {
  readonly queue: string;
  readonly jobId: string;
  readonly type?: "ENQUEUED" | "DEQUEUED";
}

/** Each of the names is refused, or has as many jobs as it was given and no others, in every way that it can be asked for. */
async function expectApart(names: readonly string[]): Promise<void> {
  const accepted = await acceptedOf(names);
  const jobs = (i: number) => 1 + (i % 7);
  await record(
    accepted.flatMap((queue, i) => Array.from({ length: jobs(i) }, (_, n) => ({ queue, jobId: String(n) }))),
  );
  const expected = accepted.map((queue, i) => ({ queue, depth: jobs(i) }));
  expect(await readAll(accepted)).toEqual(expected);
  const byBytes = expected.toSorted((a, b) => Buffer.compare(Buffer.from(a.queue), Buffer.from(b.queue)));
  expect(await pageThrough("")).toEqual(byBytes);
  for (const { queue } of byBytes.filter((_, i) => i % 10 === 0)) {
    expect(await pageThrough(queue)).toEqual(byBytes.filter((each) => each.queue.startsWith(queue)));
  }
  const forgotten = accepted.filter((_, i) => i % 2 === 0);
  for (const queue of forgotten) expect(await forget(queue), queue).toBe(true);
  expect(await readAll(accepted)).toEqual(
    expected.map((each, i) => (i % 2 === 0 ? { ...each, depth: null } : each)),
  );
  for (const queue of accepted) expect(await forget(queue), queue).toBe(!forgotten.includes(queue));
  expect(await pageThrough("")).toEqual([]);
}

/** Those that are not refused, each once; the same in every way that takes a name. */
async function acceptedOf(names: readonly string[]): Promise<readonly string[]> {
  const query = "query ($q: [String!]!) { queueLatency(queues: $q) { queue state } }";
  const accepted = await Promise.all(
    [...new Set(names)].map(async (name) => {
      const answer = await ask(server.url, query, { q: [name] });
      expectTakenOrRefused(answer, name);
      const isTaken = answer.status === 200;
      if (isTaken) expect(answer.body.data.queueLatency).toEqual([{ queue: name, state: "MISSING" }]);
      else {
        for (const other of [
          await recordRaw([{ queue: name, jobId: "1" }], null),
          await ask(server.url, "mutation ($q: String!) { forgetQueue(queue: $q) }", { q: name }),
        ]) {
          expect(other.status, JSON.stringify(name.slice(0, 50))).toBe(400);
          expectTakenOrRefused(other, name);
        }
      }
      return isTaken ? [name] : [];
    }),
  );
  return accepted.flat();
}

function expectTakenOrRefused({ status, body }: Answer, what: string): void {
  const where = JSON.stringify(what.slice(0, 50));
  if (status === 200) {
    expect(body.errors, where).toBeUndefined();
    return;
  }
  expect(status, where).toBe(400);
  expect(body.errors, where).toHaveLength(1);
  const { message, extensions } = body.errors![0]!;
  expect(extensions.code, where).toBe("BAD_USER_INPUT");
  expect(Buffer.byteLength(message), where).toBeLessThan(400);
}

async function recordRaw(events: readonly JobEvent[], batchId: string | null): Promise<Answer> {
  const mutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
    recordEvents(events: $events, batchId: $batchId) { accepted duplicates } }`;
  return ask(server.url, mutation, {
    events: events.map((event) => ({ type: "ENQUEUED", ...event })),
    batchId,
  });
}

async function record(events: readonly JobEvent[]): Promise<void> {
  for (let from = 0; from < events.length; from += 1000) {
    const some = events.slice(from, from + 1000);
    expect((await recordRaw(some, null)).body).toMatchObject({
      data: { recordEvents: { accepted: some.length } },
    });
  }
}

async function readAll(queues: readonly string[]) {
  const { body } = await ask(
    server.url,
    "query ($q: [String!]!) { queueLatency(queues: $q) { queue depth } }",
    { q: queues },
  );
  return body.data.queueLatency;
}

async function depthOf(queue: string): Promise<number> {
  return (await readAll([queue]))[0].depth;
}

/** All queues with such names, in small pages. */
async function pageThrough(start: string): Promise<readonly { readonly queue: string }[]> {
  const query = `query ($prefix: String, $after: String) { queues(prefix: $prefix, first: 7, after: $after) {
    edges { node { queue depth } } pageInfo { hasNextPage endCursor } } }`;
  const nodes: { readonly queue: string }[] = [];
  for (let after: string | null = null; ; ) {
    const { body }: Answer = await ask(server.url, query, { prefix: start, after });
    const { edges, pageInfo } = body.data.queues;
    nodes.push(...edges.map(({ node }: { readonly node: { readonly queue: string } }) => node));
    if (!pageInfo.hasNextPage) return nodes;
    after = pageInfo.endCursor;
  }
}

async function forget(queue: string): Promise<boolean> {
  const { body } = await ask(server.url, "mutation ($q: String!) { forgetQueue(queue: $q) }", { q: queue });
  return body.data.forgetQueue;
}

/** Each message over a WebSocket of its own, after the greeting; resolves when the server has closed it, or answered. */
async function sayToSocket(messages: readonly string[]): Promise<void> {
  await Promise.all(
    messages.map(async (message) => {
      const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
      socket.on("error", () => {});
      await once(socket, "open");
      socket.send(JSON.stringify({ type: "connection_init", payload: { [message]: message } }));
      // A socket is closed when it sends too much before it is acknowledged.
      const answered = () => Promise.race([once(socket, "message"), once(socket, "close")]);
      await answered();
      if (socket.readyState === socket.OPEN) {
        socket.send(message.toWellFormed());
        socket.send(JSON.stringify({ type: "ping" }));
        await answered();
      }
      socket.terminate();
    }),
  );
}
