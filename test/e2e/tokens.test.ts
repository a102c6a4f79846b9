import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { CloseCode } from "graphql-ws";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { recordingLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";
import { post, runServer, startApp } from "../support/server.ts";
import { type Push, type Stream, sse, websocket } from "../support/streams.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";
import { until } from "../support/until.ts";

const read = `{ queueLatency(queues: ["q"]) { state } }`;
const record = `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "q", jobId: "1" }]) { accepted } }`;
const forget = `mutation { forgetQueue(queue: "not-known") }`;
const waiting = `{ waitingJobs(queue: "q") { jobId } }`;
const remove = `mutation { removeWaitingJobs(queue: "not-known", jobs: []) }`;
const trust = `mutation { trustQueue(queue: "not-known") }`;
const watch = `subscription { queueLatency(queues: ["q"]) { state } }`;
const schema = "{ __schema { queryType { name } } }";
const viewer = "{ viewer { scopes } }";

const project = join(import.meta.dirname, "../..");
const logger = recordingLogger();
let tokens: TestTokens;
let app: Awaited<ReturnType<typeof startApp>>;

const limits = { RATE_LIMIT_MAX: "1000", MAX_SUBSCRIPTIONS: "2", RATE_LIMIT_WINDOW: "1d" };
const tokensOfAll = { reader: "read", recorder: "record", keeper: "admin", ops: "read,record,admin" };

beforeAll(async () => {
  tokens = await tokenFile(tokensOfAll);
  const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), API_TOKENS_FILE: tokens.path };
  app = await startApp({ ...env, ...limits, HOST: "0.0.0.0" }, logger);
});
afterAll(async () => {
  await app?.stop();
  await tokens?.[Symbol.asyncDispose]();
});

const url = () => app.url.replace("0.0.0.0", "127.0.0.1");

describe("what a token may do", () => {
  test.each([
    { token: "reader", query: read, may: true, why: "that is what read is" },
    { token: "reader", query: schema, may: true, why: "the schema is read, too" },
    { token: "reader", query: record, may: false, why: "to record takes record" },
    { token: "reader", query: forget, may: false, why: "to forget takes admin" },
    { token: "recorder", query: record, may: true, why: "that is what record is" },
    { token: "recorder", query: read, may: false, why: "no scope includes another" },
    { token: "recorder", query: schema, may: false, why: "the schema is read, too" },
    {
      token: "recorder",
      query: "{ __typename }",
      may: true,
      why: "it reveals nothing, and health checks ask for it",
    },
    {
      token: "recorder",
      query: "{ __typename __schema { queryType { name } } }",
      may: false,
      why: "beside it everything is as it was",
    },
    { token: "recorder", query: viewer, may: true, why: "each token may ask what it may do" },
    { token: "recorder", query: forget, may: false, why: "recording is adding" },
    { token: "reader", query: waiting, may: false, why: "the ids of jobs are not for every client" },
    { token: "keeper", query: waiting, may: true, why: "nor is it read" },
    { token: "recorder", query: remove, may: false, why: "recording is adding" },
    { token: "keeper", query: remove, may: true, why: "that is what admin is" },
    { token: "recorder", query: trust, may: false, why: "that the data is trusted is for admins to say" },
    { token: "keeper", query: trust, may: true, why: "that is what admin is" },
    { token: "keeper", query: forget, may: true, why: "that is what admin is" },
    { token: "keeper", query: record, may: false, why: "no scope includes another" },
    { token: "keeper", query: read, may: false, why: "no scope includes another" },
    { token: "ops", query: read, may: true, why: "it has all" },
    { token: "ops", query: record, may: true, why: "it has all" },
    { token: "ops", query: forget, may: true, why: "it has all" },
    {
      token: "reader",
      query: `mutation { ...F } fragment F on Mutation { forgetQueue(queue: "x") }`,
      may: false,
      why: "a fragment hides nothing",
    },
    {
      token: "reader",
      query: `mutation { a: forgetQueue(queue: "x") @skip(if: true) }`,
      may: false,
      why: "nor does an alias, nor what is skipped",
    },
    {
      token: "reader",
      query: `mutation { ... { ... on Mutation { forgetQueue(queue: "x") } } }`,
      may: false,
      why: "nor nesting",
    },
    {
      token: "reader",
      query: `query A ${read} mutation B { forgetQueue(queue: "x") }`,
      operationName: "A",
      may: true,
      why: "only what runs counts",
    },
    {
      token: "reader",
      query: `query A ${read} mutation B { forgetQueue(queue: "x") }`,
      operationName: "B",
      may: false,
      why: "only what runs counts",
    },
  ])("$token, $query: $may, for $why", async ({ token, query, operationName, may }) => {
    const { status, body } = await post(url(), { query, operationName }, bearer(token));
    expect({ status, code: body.errors?.[0]?.extensions.code }).toEqual(
      may ? { status: 200 } : { status: 403, code: "FORBIDDEN" },
    );
    if (!may)
      expect(body.errors?.[0]?.message).toMatch(/^\w+ needs a token with the scope "\w+"; this one has/);
  });

  test("is what `viewer` answers, to each its own", async () => {
    const scopesOf = async (token: string) => (await post(url(), { query: viewer }, bearer(token))).body.data;
    expect(await Promise.all(["reader", "ops", "recorder"].map(scopesOf))).toEqual([
      { viewer: { scopes: ["READ"] } },
      { viewer: { scopes: ["READ", "RECORD", "ADMIN"] } },
      { viewer: { scopes: ["RECORD"] } },
    ]);
  });

  test("holds for a batch as a whole: nothing of it runs", async () => {
    const batch = [{ query: record.replace('"1"', '"in-a-batch"') }, { query: forget }];
    const { status, body } = await post(url(), batch, bearer("recorder"));
    expect(status).toBe(403);
    expect(body).toMatchObject(Array(2).fill({ errors: [{ extensions: { code: "FORBIDDEN" } }] }));
    const { body: again } = await post(url(), batch[0], bearer("recorder"));
    expect(again.data.recordEvents.accepted).toBe(1);
  });
});

describe("without a token that is known", () => {
  test.each([
    { authorization: undefined, why: "none" },
    { authorization: "", why: "an empty header" },
    { authorization: "Bearer", why: "no token" },
    { authorization: "Bearer unknown-token", why: "not one of ours" },
    { authorization: "Bearer reader x", why: "more than one" },
    { authorization: "Basic cmVhZGVyOg==", why: "another scheme" },
    { authorization: "reader", why: "no scheme" },
    { authorization: "Bearer READER", why: "tokens are compared as they are" },
    { authorization: `Bearer ${"x".repeat(8_000)}`, why: "a very long one" },
  ])("no request is accepted: $why", async ({ authorization }) => {
    for (const body of [{ query: read }, { query: schema }, [{ query: record }], { query: "{" }, "no JSON"]) {
      const answer = await post(url(), body, authorization === undefined ? {} : { authorization });
      expect(answer.status).toBe(401);
      expect(answer.headers.get("www-authenticate")).toBe("Bearer");
      expect(answer.body.errors).toHaveLength(1);
      expect(answer.body.errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
      expect(JSON.stringify(answer.body)).not.toMatch(/unknown-token|xxxx|READER/);
    }
  });

  test("over GET and as a stream neither", async () => {
    const response = await fetch(`${url()}/graphql?query=${encodeURIComponent(read)}`);
    expect(response.status).toBe(401);
    const stream = sse(url(), watch);
    expect((await stream.next()).value?.errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
    expect((await stream.next()).done).toBe(true);
  });

  test("the scheme is written in any case, as HTTP has it", async () => {
    expect((await post(url(), { query: read }, { authorization: "bearer  reader" })).status).toBe(200);
  });

  test("probes and GraphiQL's page, which show no queue, need no token", async () => {
    expect((await fetch(`${url()}/health`)).status).toBe(200);
    expect((await fetch(`${url()}/ready`)).status).toBe(200);
    const page = await fetch(`${url()}/graphql`, { headers: { accept: "text/html" } });
    expect(page.headers.get("content-type")).toContain("text/html");
    await page.body?.cancel();
  });
});

describe("a WebSocket", () => {
  const first = (connectionParams: Record<string, unknown>, query: string) =>
    new Promise<unknown>((resolve) => {
      const client = websocket(url(), (code, reason) => resolve({ code, reason }), connectionParams);
      client.subscribe(
        { query },
        {
          next: (answer) => resolve(answer),
          error: (errors) => Array.isArray(errors) && resolve({ errors }),
          complete() {},
        },
      );
      clients.push(client);
    });
  const clients: { dispose(): void | Promise<void> }[] = [];
  afterAll(async () => {
    for (const client of clients) await client.dispose();
  });

  test.each([{ authorization: "Bearer reader" }, { Authorization: "Bearer reader" }])(
    "is let in by %o among its parameters, to do what the token may",
    async (parameters) => {
      expect(await first(parameters, read)).toMatchObject({ data: { queueLatency: [{}] } });
      expect(await first(parameters, record)).toMatchObject({
        errors: [{ extensions: { code: "FORBIDDEN" } }],
      });
    },
  );

  test("is let in by the header that it began with, too", async () => {
    const socket = new WebSocket(`${url().replace("http", "ws")}/graphql`, "graphql-transport-ws", {
      headers: bearer("reader"),
    });
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "connection_init" }));
    const [message] = await once(socket, "message");
    expect(JSON.parse(String(message))).toEqual({ type: "connection_ack" });
    socket.terminate();
  });

  test.each([
    {},
    { authorization: "Bearer unknown-token" },
    { authorization: ["Bearer reader"] },
    { token: "reader" },
  ])("is closed as forbidden with %o", async (parameters) => {
    expect(await first(parameters, read)).toEqual({
      code: CloseCode.Forbidden,
      reason: expect.stringContaining('connection_init needs { "authorization": "Bearer TOKEN" }'),
    });
  });
});

describe("limits", () => {
  test("are counted by token, not by address", async () => {
    const left = async (token: string) => {
      const { body } = await post(url(), { query: read }, bearer(token));
      return body.extensions?.cost?.throttleStatus.currentlyAvailable ?? Number.NaN;
    };
    // Again when a point, which takes a minute and a half, has come back meanwhile.
    await until(async () => {
      const [ops, reader] = [await left("ops"), await left("reader")];
      expect(await left("ops")).toBe(ops - 1);
      expect(await left("ops")).toBe(ops - 2);
      expect(await left("reader")).toBe(reader - 1);
    });
  });

  test("of subscriptions, too; and a token that is revoked ends its streams and no others", async () => {
    const open = async (token: string) => {
      const stream = sse(url(), watch, {}, bearer(token));
      expect((await stream.next()).value?.data).toBeDefined();
      return stream;
    };
    const streams = [await open("reader"), await open("reader"), await open("ops")];
    try {
      const third = await sse(url(), watch, {}, bearer("reader")).next();
      expect(third.value?.errors?.[0]?.extensions.code).toBe("TOO_MANY_SUBSCRIPTIONS");

      await tokens.write({ ...tokensOfAll, reader: "record" });
      for (const stream of streams.slice(0, 2)) {
        expect((await lastOf(stream))?.errors).toMatchObject([{ extensions: { code: "FORBIDDEN" } }]);
        expect(stream.isComplete).toBe(true);
      }
      expect((await post(url(), { query: read }, bearer("reader"))).status).toBe(403);
      await post(url(), { query: record.replace('"1"', '"2"') }, bearer("ops"));
      expect((await streams[2]!.next()).value?.data).toBeDefined();
      expect(streams[2]!.isComplete).toBe(false);
    } finally {
      for (const stream of streams) stream.abort();
      await tokens.write(tokensOfAll);
    }
    await expect.poll(async () => (await post(url(), { query: read }, bearer("reader"))).status).toBe(200);
  });
});

describe("a token that is revoked", () => {
  const { reader: _, ...others } = tokensOfAll;
  afterEach(async () => {
    await tokens.write(tokensOfAll);
    await expect.poll(async () => (await post(url(), { query: read }, bearer("reader"))).status).toBe(200);
  });

  test("ends its streams with an error that says so, over server-sent events and WebSockets", async () => {
    const closed: { readonly code: number; readonly reason: string }[] = [];
    const socket = websocket(url(), (code, reason) => closed.push({ code, reason }), bearer("reader"));
    const messages: unknown[] = [];
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    socket.subscribe(
      { query: watch },
      {
        next: (answer) => messages.push(answer),
        error(errors) {
          messages.push({ errors });
          resolve();
        },
        complete: resolve,
      },
    );
    const stream = sse(url(), watch, {}, bearer("reader"));
    expect((await stream.next()).value?.data).toBeDefined();
    await expect.poll(() => messages).toHaveLength(1);

    await tokens.write(others);
    const errors = [{ message: expect.stringContaining("revoked"), extensions: { code: "UNAUTHENTICATED" } }];
    expect((await lastOf(stream))?.errors).toMatchObject(errors);
    expect(stream.isComplete).toBe(true);
    await ended;
    // A push may have come before it.
    expect(messages.at(-1)).toMatchObject({ errors });
    await expect.poll(() => closed).toEqual([{ code: 4403, reason: expect.stringContaining("revoked") }]);
    await socket.dispose();
  });

  test("closes a WebSocket that has nothing open when it asks the next time", async () => {
    const { promise: closed, resolve } = Promise.withResolvers<number>();
    const socket = websocket(url(), resolve, bearer("reader"));
    const answer = () =>
      new Promise<unknown>((settle) => {
        socket.subscribe({ query: read }, { next: settle, error: settle, complete() {} });
      });
    expect(await answer()).toMatchObject({ data: {} });
    await tokens.write(others);
    await expect.poll(async () => (await post(url(), { query: read }, bearer("reader"))).status).toBe(401);
    expect(await answer()).toMatchObject([{ extensions: { code: "UNAUTHENTICATED" } }]);
    expect(await closed).toBe(4403);
    await socket.dispose();
  });
});

async function lastOf(stream: Stream): Promise<Push | undefined> {
  let last: Push | undefined;
  for await (const push of stream) last = push;
  return last;
}

describe("behind a proxy", () => {
  const left = async (at: string, forwardedFor: string) => {
    const { body } = await post(at, { query: read }, { "x-forwarded-for": forwardedFor });
    return body.extensions?.cost?.throttleStatus.currentlyAvailable;
  };

  test.each([
    { trusted: "127.0.0.0/8", separate: true, why: "the proxy says who it is" },
    { trusted: "10.0.0.0/8", separate: false, why: "the client itself says so" },
  ])("$trusted, clients are counted apart: $separate, for $why", async ({ trusted, separate }) => {
    const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), TRUST_PROXY: trusted };
    await using proxied = await startApp({ ...env, RATE_LIMIT_MAX: "100", RATE_LIMIT_WINDOW: "1d" });
    expect(await left(proxied.url, "198.51.100.1")).toBe(99);
    expect(await left(proxied.url, "198.51.100.2")).toBe(separate ? 99 : 98);
    expect(await left(proxied.url, "198.51.100.2, 198.51.100.1")).toBe(separate ? 98 : 97);
  });
});

test("no token is ever written into the log", async () => {
  await post(url(), { query: read }, bearer("unknown-token"));
  const timesRead = () => logger.lines.filter(({ message }) => message.includes("read tokens again")).length;
  const before = timesRead();
  await tokens.write({ ...tokensOfAll, another: "read" });
  await expect.poll(timesRead).toBeGreaterThan(before);
  const said = JSON.stringify(logger.lines);
  for (const secret of ["Bearer", "unknown-token"]) expect(said).not.toContain(secret);
});

describe("a server that others can reach", () => {
  test.each([
    {
      env: { HOST: "0.0.0.0" },
      says: "HOST: expected 127.0.0.1, ::1 or localhost while there are no tokens",
    },
    {
      env: { HOST: "0.0.0.0", API_TOKENS_FILE: "/nowhere/tokens" },
      says: "queue-latency token NAME read --api-tokens-file /nowhere/tokens",
    },
  ])("does not start without tokens: $says", async ({ env, says }) => {
    const { code, stderr } = await runServer({ ...env, REDIS_URL: inject("redisUrl"), PORT: "0" });
    expect(code).toBe(1);
    expect(stderr).toContain(says);
  });
});

describe("queue-latency token", () => {
  test("adds a line to the file, and its token lets in", async () => {
    const dir = await mkdtemp(join(tmpdir(), "ql-token-"));
    try {
      const file = join(dir, "tokens");
      const first = await make(["ops", "read,record,admin"], file);
      const second = await make(["dashboard", "read"], file);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect(await readFile(file, "utf8")).toMatch(
        /^ops read,record,admin [\da-f]{64}\ndashboard read [\da-f]{64}\n$/,
      );

      const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), API_TOKENS_FILE: file };
      await using server = await startApp(env);
      expect((await post(server.url, { query: forget }, bearer(first))).status).toBe(200);
      expect((await post(server.url, { query: read }, bearer(second))).status).toBe(200);
      expect((await post(server.url, { query: forget }, bearer(second))).status).toBe(403);

      await expect(make(["ops", "read"], file)).rejects.toThrow("a name of its own");
      await expect(make(["other", "write"], file)).rejects.toThrow("expected scopes out of");
      await expect(make(["other"], file)).rejects.toThrow("usage: ");
      expect((await readFile(file, "utf8")).split("\n")).toHaveLength(3);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  test("says the line when it knows no file", async () => {
    const { stdout } = await run(["dashboard", "read"], {});
    expect(stdout).toMatch(/\nql_[\w-]{43}\n.*\ndashboard read [\da-f]{64}\n$/);
  });

  test("makes the file when its output is redirected to one, as npm does it, and shows the secret all the same", async () => {
    const dir = await mkdtemp(join(tmpdir(), "ql-token-"));
    try {
      const file = join(dir, "tokens");
      const command = `npm run token -- ops read > ${file}`;
      const { stderr } = await promisify(execFile)("sh", ["-c", command], {
        cwd: project,
        env: { PATH: process.env.PATH },
      });
      const secret = /^ql_\S+$/m.exec(stderr)?.[0] ?? "";
      expect(await readFile(file, "utf8")).not.toContain("ql_");
      const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), API_TOKENS_FILE: file };
      await using server = await startApp(env);
      expect((await post(server.url, { query: read }, bearer(secret))).status).toBe(200);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  async function make(args: readonly string[], file: string): Promise<string> {
    const { stdout } = await run(args, { API_TOKENS_FILE: file });
    return /^ql_\S+$/m.exec(stdout)?.[0] ?? "";
  }

  function run(args: readonly string[], env: Readonly<Record<string, string>>) {
    return promisify(execFile)(process.execPath, ["src/main.ts", "token", ...args], { cwd: project, env });
  }
});
