import { once } from "node:events";
import { buildSchema } from "graphql";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { endlessSchema, startBareServer } from "../support/bare-server.ts";
import { complaintsIn, recordingLogger } from "../support/logger.ts";
import { openRaw } from "../support/raw-http.ts";
import { uniquePrefix } from "../support/redis.ts";
import { startApp } from "../support/server.ts";
import { slowSse, slowWebsocket } from "../support/streams.ts";
import { tokenFile } from "../support/tokens.ts";
import { until } from "../support/until.ts";

const logger = recordingLogger();
let app: Awaited<ReturnType<typeof startApp>>;
const maxSubscriptions = 12;
beforeAll(async () => {
  app = await startMine();
});
afterAll(() => app?.stop());

/** For tests that count, a server where nothing of another test is still open. */
function startMine() {
  const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), RATE_LIMIT_MAX: "1000000" };
  return startApp({ ...env, MAX_SUBSCRIPTIONS: String(maxSubscriptions) }, logger);
}

const init = { type: "connection_init" };
const subscribe = (id: string, query = `subscription { queueLatency(queues: ["q"]) { state } }`) => ({
  type: "subscribe",
  id,
  payload: { query },
});

describe("a socket that breaks the protocol is closed", () => {
  interface Row {
    readonly what: string;
    readonly sent: readonly (object | string | Buffer)[];
    readonly code: number;
    readonly reason: RegExp;
  }
  const rows: readonly Row[] = [
    { what: "says nothing", sent: [], code: 4408, reason: /^Connection initialisation timeout$/ },
    { what: "begins twice", sent: [init, init], code: 4429, reason: /^Too many initialisation requests$/ },
    { what: "subscribes before it begins", sent: [subscribe("1")], code: 4401, reason: /^Unauthorized$/ },
    {
      what: "subscribes twice by one id",
      sent: [init, subscribe("1"), subscribe("1")],
      code: 4409,
      reason: /^Subscriber for 1 already exists$/,
    },
    {
      what: "does so with an id that no reason has room for",
      sent: [init, subscribe("x".repeat(200)), subscribe("x".repeat(200))],
      code: 4409,
      reason: /^Subscriber for x{50,}$/,
    },
    {
      what: "has an id without end",
      sent: [init, subscribe("x".repeat(300))],
      code: 4400,
      reason: /too long/,
    },
    { what: "speaks no JSON", sent: ["no JSON"], code: 4400, reason: /^Invalid message received$/ },
    {
      what: "sends bytes that are not UTF-8 for an id",
      sent: [init, Buffer.from(JSON.stringify(subscribe("\xff", "{ __typename }")), "latin1")],
      code: 4400,
      reason: /^Invalid message received: it is not UTF-8$/,
    },
    {
      what: "sends JSON that takes long to parse, for no operation",
      sent: [init, `{"type":"ping","payload":{"a":[${"[],".repeat(60_000)}1]}}`],
      code: 4400,
      reason: /^Invalid message received: expected at most \d+ values in the JSON, got more$/,
    },
    { what: "says null", sent: ["null"], code: 4400, reason: /^Invalid message/ },
    { what: "says nothing in a message", sent: [""], code: 4400, reason: /^Invalid message/ },
    {
      what: "has a type that is not known",
      sent: [{ type: "start" }],
      code: 4400,
      reason: /^Invalid message/,
    },
    {
      what: "says what a server says",
      sent: [init, { type: "connection_ack" }],
      code: 4400,
      reason: /^Invalid/,
    },
    {
      what: "answers what was not asked",
      sent: [init, { type: "next", id: "1", payload: {} }],
      code: 4400,
      reason: /^Invalid/,
    },
    {
      what: "has no id",
      sent: [init, { type: "subscribe", payload: { query: "{ a }" } }],
      code: 4400,
      reason: /./,
    },
    {
      what: "has no query",
      sent: [init, { type: "subscribe", id: "1", payload: {} }],
      code: 4400,
      reason: /./,
    },
    {
      what: "sends more than any operation needs",
      sent: [init, "x".repeat(2_100_000)],
      code: 1009,
      reason: /^$/,
    },
  ];

  test.each(rows)("with $code when it $what", async ({ sent, code, reason }) => {
    const [first, ...others] = sent;
    const hasBegun = first === init && others[0] !== init;
    const socket = hasBegun ? await begun(app.url) : await open(app.url);
    for (const each of hasBegun ? others : sent)
      socket.send(typeof each === "string" || Buffer.isBuffer(each) ? each : JSON.stringify(each));
    const closed = await closing(socket);
    expect(closed).toEqual({ code, reason: expect.stringMatching(reason) });
    // Strangers cause no line that an operator must read.
    expect(complaintsIn(logger)).toEqual([]);
  });

  test("but not when its connection_init came while the server did something else", async () => {
    await using server = await startBareServer({ initMs: 6_000 });
    const socket = await open(server.url);
    const first = Promise.race([once(socket, "message"), once(socket, "close")]);
    socket.send(JSON.stringify(init));
    // The timers of the server run before what has arrived is read: then a quarter of the time is left.
    for (const untilMs = performance.now() + 6_100; performance.now() < untilMs; );
    expect(String((await first)[0])).toBe('{"type":"connection_ack"}');
    socket.terminate();
  });

  test("with 4406 when it speaks another protocol, or none", async () => {
    for (const protocol of ["graphql-ws", undefined]) {
      const url = `${app.url.replace("http", "ws")}/graphql`;
      const socket = protocol === undefined ? new WebSocket(url) : new WebSocket(url, [protocol]);
      // A protocol that the server does not confirm is an error for `ws` itself.
      const failed = once(socket, "error").then(([error]) => ({ error: String(error) }));
      expect(await Promise.race([closing(socket), failed])).toEqual(
        protocol === undefined
          ? { code: 4406, reason: "Subprotocol not acceptable" }
          : { error: expect.stringContaining("no subprotocol") },
      );
      socket.terminate();
    }
  });
});

describe("a flood", () => {
  interface Row {
    readonly of: string;
    readonly send: (socket: WebSocket, i: number) => void;
    readonly reason: string;
  }
  const rows: readonly Row[] = [
    {
      of: "pings of the protocol",
      send: (socket) => socket.send('{"type":"ping"}'),
      reason: "Too many pings",
    },
    { of: "pings of WebSockets", send: (socket) => socket.ping(), reason: "Too many pings" },
    { of: "pongs of WebSockets", send: (socket) => socket.pong(), reason: "Too many pongs" },
  ];

  test.each(rows)("of $of ends with its socket, and with no other", async ({ send, reason }) => {
    const witness = await begun(app.url);
    const socket = await begun(app.url);
    const closed = closing(socket);
    for (let i = 0; i < 10_000 && socket.readyState === socket.OPEN; i++) {
      send(socket, i);
      // As fast as it goes, but so that the end is received.
      if (i % 100 === 0) await new Promise(setImmediate);
    }
    expect(await closed).toEqual({ code: 1008, reason });
    expect(await ask(witness)).toMatchObject({ type: "next", payload: { data: { __typename: "Query" } } });
    witness.terminate();
  });

  test.each([
    { of: "pongs of the protocol", message: () => ({ type: "pong" }) },
    { of: "ends of what was never begun", message: (i: number) => ({ type: "complete", id: String(i) }) },
  ])("of $of is handled to the last one, and another socket's question before it", async ({ message }) => {
    await using tokens = await tokenFile({ flood: "read", other: "read" });
    await using mine = await startApp({
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      API_TOKENS_FILE: tokens.path,
    });
    const by = (token: string) => ({ ...init, payload: { authorization: `Bearer ${token}` } });
    const witness = await begun(mine.url, by("other"));
    const socket = await begun(mine.url, by("flood"));
    for (let i = 0; i < 14_000; i++) socket.send(JSON.stringify(message(i)));
    const order: string[] = [];
    await Promise.all([
      ask(socket).then(() => order.push("flood")),
      ask(witness).then(() => order.push("other")),
    ]);
    expect(order).toEqual(["other", "flood"]);
    for (const each of [witness, socket]) each.terminate();
  });

  test("of subscriptions is answered to the last one, and only as many as may be are open", async () => {
    await using mine = await startMine();
    const socket = await begun(mine.url);
    const answers = new Map<string, string>();
    socket.on("message", (data) => {
      const { id, type, payload } = JSON.parse(String(data));
      if (type === "next") answers.set(id, "open");
      if (type === "error") answers.set(id, payload[0].extensions.code);
    });
    for (let i = 0; i < 300; i++) socket.send(JSON.stringify(subscribe(String(i))));
    await expect.poll(() => answers.size).toBe(300);
    const open = [...answers.values()].filter((answer) => answer === "open");
    expect(open).toHaveLength(maxSubscriptions);
    expect(new Set(answers.values())).toEqual(new Set(["open", "TOO_MANY_SUBSCRIPTIONS"]));
    expect(socket.readyState).toBe(socket.OPEN);
    socket.terminate();
  });

  test("of subscriptions that are ended at once leaves none open", async () => {
    const socket = await begun(app.url);
    for (let i = 0; i < 300; i++) {
      socket.send(JSON.stringify(subscribe(String(i))));
      socket.send(`{"type":"complete","id":"${i}"}`);
    }
    expect(await ask(socket)).toMatchObject({ type: "next" });
    socket.terminate();
  });

  test("of subscriptions by one id that are ended at once leaves none open, nor ends the next by that id", async () => {
    const socket = await begun(app.url);
    const received: { readonly id: string; readonly type: string; readonly payload?: unknown }[] = [];
    socket.on("message", (data) => received.push(JSON.parse(String(data))));
    for (let i = 0; i < 3 * maxSubscriptions; i++) {
      socket.send(JSON.stringify(subscribe("1")));
      socket.send('{"type":"complete","id":"1"}');
    }
    socket.send(JSON.stringify(subscribe("1", "{ last: __typename }")));
    await expect.poll(() => received.at(-1)?.type).toBe("complete");
    const pushes = received.filter(
      ({ type, payload }) => type === "next" && !JSON.stringify(payload).includes("last"),
    );
    expect(received.slice(pushes.length)).toMatchObject([
      { id: "1", type: "next", payload: { data: { last: "Query" } } },
      { id: "1", type: "complete" },
    ]);
    expect(await ask(socket)).toMatchObject({ type: "next" });
    socket.terminate();
  });

  test("is none where a socket pings as sockets do", async () => {
    const socket = await begun(app.url);
    for (let i = 0; i < 50; i++) {
      socket.send('{"type":"ping"}');
      socket.ping();
    }
    expect(await ask(socket)).toMatchObject({ type: "next" });
    expect(socket.readyState).toBe(socket.OPEN);
    socket.terminate();
  });
});

test("JSON that takes long to parse is refused before that, and the socket goes on", async () => {
  const socket = await begun(app.url);
  const message = once(socket, "message");
  socket.send(
    `{"id":"1","type":"subscribe","payload":{"query":"{a}","variables":{"a":[${"[],".repeat(60_000)}no JSON]}}}`,
  );
  const [data] = await message;
  expect(JSON.parse(String(data))).toMatchObject({
    ...{ id: "1", type: "error" },
    payload: [{ extensions: { code: "VARIABLES_TOO_LARGE" } }],
  });
  expect(await ask(socket)).toMatchObject({ type: "next", payload: { data: { __typename: "Query" } } });
  socket.terminate();
});

describe("the sockets of one client", () => {
  test("are a hundred more than its subscriptions may be; one more is refused, and may come when one has gone", async () => {
    await using mine = await startMine();
    const sockets = await Promise.all(Array.from({ length: maxSubscriptions + 100 }, () => begun(mine.url)));
    const refused = await refusal(mine.url);
    expect(refused).toMatchObject({ status: 429, retryAfter: "1" });
    expect(refused.body).toContain("TOO_MANY_SUBSCRIPTIONS");
    sockets.pop()?.terminate();
    sockets.push(await until(() => begun(mine.url)));
    for (const socket of sockets) socket.terminate();
  });

  test("have a thousand operations under way together, and the others are answered later", async () => {
    const gate = Promise.withResolvers<string>();
    let running = 0;
    const schema = buildSchema("type Query { a: String }");
    const field = schema.getQueryType()?.getFields().a;
    if (field === undefined) throw new Error("the field was just declared");
    field.resolve = () => {
      running += 1;
      return gate.promise;
    };
    await using server = await startBareServer({ schema });
    const sockets = await Promise.all(Array.from({ length: 20 }, () => begun(server.url)));
    let answers = 0;
    for (const [i, socket] of sockets.entries()) {
      socket.on("message", (data) => (answers += String(data).includes('"next"') ? 1 : 0));
      // Each a query of its own: equal ones share an execution.
      for (let j = 0; j < 80; j++) socket.send(JSON.stringify(subscribe(String(j), `{ a${i}x${j}: a }`)));
    }
    await expect.poll(() => running).toBe(1_000);
    // Whatever could begin has begun when one that came later is answered.
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect(running).toBe(1_000);
    gate.resolve("a");
    await expect.poll(() => answers).toBe(1_600);
    for (const socket of sockets) socket.terminate();
  });

  test("may have one subscription each, and the first that is too many is refused with a reason", async () => {
    await using mine = await startMine();
    const sockets = await Promise.all(Array.from({ length: maxSubscriptions + 10 }, () => begun(mine.url)));
    const answers = await Promise.all(
      sockets.map(async (socket) => {
        socket.send(JSON.stringify(subscribe("1")));
        const [data] = await once(socket, "message");
        const { type, payload } = JSON.parse(String(data));
        return type === "error" ? payload[0].extensions.code : "open";
      }),
    );
    expect(answers.filter((answer) => answer === "open")).toHaveLength(maxSubscriptions);
    expect(answers.filter((answer) => answer === "TOO_MANY_SUBSCRIPTIONS")).toHaveLength(10);
    for (const socket of sockets) socket.terminate();
  });

  test("count by its token as soon as it has said it, and until then by its address", async () => {
    await using tokens = await tokenFile({ one: "read", other: "read" });
    await using mine = await startApp({
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      MAX_SUBSCRIPTIONS: "10",
      API_TOKENS_FILE: tokens.path,
    });
    const by = (token: string) => ({ ...init, payload: { authorization: `Bearer ${token}` } });
    const sockets: WebSocket[] = [];
    for (let i = 0; i < 110; i++) sockets.push(await begun(mine.url, by("one")));
    const another = await open(mine.url);
    another.send(JSON.stringify(by("one")));
    expect(await closing(another)).toEqual({
      code: 4429,
      reason: expect.stringMatching(/^too many open WebSockets/),
    });
    // Another token from the same address has its own.
    sockets.push(await begun(mine.url, by("other")));
    const silent = await Promise.all(Array.from({ length: 110 }, () => open(mine.url)));
    expect(await refusal(mine.url)).toMatchObject({ status: 429 });
    for (const socket of [...sockets, ...silent]) socket.terminate();
  });

  test("are free again when they were never upgraded", async () => {
    await using server = await startBareServer({ maxSubscriptions: 1 });
    for (let i = 0; i < 120; i++) {
      await using raw = await openRaw(server.url);
      raw.send("GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      expect(await raw.until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 400 /);
    }
    const socket = await begun(server.url);
    socket.terminate();
  });
});

describe("a reader that never reads", () => {
  const text = "subscription { text }";

  test.each([
    { over: "server-sent events", connect: slowSse },
    { over: "a WebSocket", connect: slowWebsocket },
  ])("over $over is cut after a while, and what it had open ends", async ({ connect }) => {
    let ended = 0;
    const schema = endlessSchema(100_000, () => {
      ended += 1;
    });
    await using server = await startBareServer({ schema, timeouts: { unreadMs: 500 } });
    await using reader = await connect(server.url, text);
    await expect.poll(() => ended).toBe(1);
    reader.cut();
  });

  test("is cut at once when its sockets together leave more unread than one client may", async () => {
    let ended = 0;
    const schema = endlessSchema(1_000_000, () => {
      ended += 1;
    });
    await using server = await startBareServer({ schema, timeouts: { unreadMs: 3_600_000 } });
    const sockets = await Promise.all(Array.from({ length: 30 }, () => begun(server.url)));
    for (const [i, socket] of sockets.entries()) {
      socket.pause();
      // Each a group of its own, so that each end is counted.
      socket.send(JSON.stringify(subscribe("1", `# ${i}\n${text}`)));
    }
    // 16 may each have a push of a megabyte in flight.
    await expect.poll(() => ended).toBeGreaterThanOrEqual(14);
    expect(ended).toBeLessThan(30);
    for (const socket of sockets) socket.terminate();
  });
});

describe("one client may have a bounded number of bytes on the way, over however many connections", () => {
  const head = (bytes: number) =>
    `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`;

  test("of bodies: what is more is refused before it is read, and may come when others have gone", async () => {
    await using server = await startBareServer();
    await using stack = new AsyncDisposableStack();
    const post = async () => {
      const raw = stack.use(await openRaw(server.url));
      raw.send(`${head(200_000)}{`);
      return raw;
    };
    const open = await Promise.all(Array.from({ length: 80 }, post));
    const one = await post();
    const refusal = await one.until(/THROTTLED.*\}/s);
    expect(refusal).toMatch(/^HTTP\/1\.1 429 /);
    expect(refusal).toMatch(/^Retry-After: 1\r$/m);
    expect(refusal).toMatch(/^Connection: close\r$/m);
    await one.closed;
    open[0]?.socket.destroy();
    await expect
      .poll(async () => {
        const again = await post();
        again.send(" ".repeat(199_999));
        return again.until(/\r\n\r\n/);
      })
      .toMatch(/^HTTP\/1\.1 400 /);
  });

  test("of messages that have no end: the socket with one byte too many is closed with 1013", async () => {
    await using server = await startBareServer();
    const sockets = await Promise.all(Array.from({ length: 100 }, () => begun(server.url)));
    const codes: number[] = [];
    for (const socket of sockets) {
      socket.on("close", (code) => codes.push(code));
      // The first frame of a message that never ends.
      socket.send("x".repeat(190_000), { fin: false });
    }
    await expect.poll(() => codes.length).toBeGreaterThan(0);
    expect(new Set(codes)).toEqual(new Set([1013]));
    expect(codes.length).toBeLessThan(90);
    for (const socket of sockets) socket.terminate();
  });

  test.each([
    { what: "chunks of one byte", send: "1\r\n \r\n", status: 413 },
    { what: "chunks of a kilobyte", send: `400\r\n${" ".repeat(1_024)}\r\n`, status: 400 },
  ])("and a body in $what is counted as what it costs", async ({ send, status }) => {
    await using server = await startBareServer();
    await using raw = await openRaw(server.url);
    raw.send(head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked"));
    const bytes = /^400/.test(send) ? 150 : 50_000;
    raw.send(send.repeat(bytes));
    if (status === 400) raw.send("0\r\n\r\n");
    expect(await raw.until(/\r\n\r\n/)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    await using next = await openRaw(server.url);
    next.send(`${head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked")}2\r\n{}\r\n0\r\n\r\n`);
    next.send(`${head(2)}{}`);
    expect(await next.until(/HTTP\/1\.1 400.*HTTP\/1\.1 400 /s)).not.toContain("429");
  });
});

describe("a stranger", () => {
  test.each([
    { what: "message of 100 KB", send: (socket: WebSocket) => socket.send("x".repeat(100_000)) },
    {
      what: "message that never ends",
      send(socket: WebSocket) {
        for (let i = 0; i < 100; i++) socket.send("x".repeat(1_000), { fin: false });
      },
    },
    {
      what: "flood of fragments",
      send(socket: WebSocket) {
        for (let i = 0; i < 1_000; i++) socket.send("x", { fin: false });
      },
    },
  ])("who sends a $what before connection_init is closed with 1008", async ({ send }) => {
    await using server = await startBareServer();
    const socket = await open(server.url);
    const closed = closing(socket);
    send(socket);
    expect((await closed).code).toBe(1008);
  });
});

async function open(url: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket.on("error", () => {});
  await Promise.race([
    once(socket, "open"),
    once(socket, "close").then(() => Promise.reject(new Error("the socket was not opened"))),
  ]);
  return socket;
}

/** Opens one, and says who it is. */
async function begun(url: string, message: object = init): Promise<WebSocket> {
  const socket = await open(url);
  socket.send(JSON.stringify(message));
  const [data] = await once(socket, "message");
  expect(JSON.parse(String(data))).toMatchObject({ type: "connection_ack" });
  return socket;
}

async function closing(socket: WebSocket): Promise<{ readonly code: number; readonly reason: string }> {
  const [code, reason] = await once(socket, "close");
  return { code, reason: String(reason) };
}

/** What comes first for a small query. */
async function ask(socket: WebSocket): Promise<unknown> {
  // Two messages may come at once: a listener for each would miss the second.
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const onMessage = (data: unknown) => {
    const message = JSON.parse(String(data));
    if (message.id === "asked") resolve(message);
  };
  socket.on("message", onMessage);
  socket.send(JSON.stringify(subscribe("asked", "{ __typename }")));
  return promise.finally(() => socket.off("message", onMessage));
}

async function refusal(url: string) {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, retryAfter: response.headers["retry-after"], body };
}
