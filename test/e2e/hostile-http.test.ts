import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { buildSchema } from "graphql";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ServerOptions } from "../../src/server/server.ts";
import { startBareServer } from "../support/bare-server.ts";
import { complaintsIn, recordingLogger } from "../support/logger.ts";
import { createTestSource } from "../support/push-source.ts";
import { openRaw, type RawConnection } from "../support/raw-http.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";

const host = "Host: localhost\r\n";
const json = "Content-Type: application/json\r\n";
const query = '{"query":"{__typename}"}';
const post = `POST /graphql HTTP/1.1\r\n${host}${json}Content-Length: ${query.length}\r\n`;
const get = (target: string, headers = "") => `GET ${target} HTTP/1.1\r\n${host}${headers}\r\n`;

describe("an odd request", () => {
  const logger = recordingLogger();
  let app: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() }, logger);
  });
  afterAll(() => app?.stop());

  const upgrade = (headers: string, method = "GET", target = "/graphql") =>
    `${method} ${target} HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n`;
  const key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

  const rows: readonly { readonly what: string; readonly sent: string; readonly status: number }[] = [
    { what: "TRACE", sent: `TRACE /graphql HTTP/1.1\r\n${host}\r\n`, status: 405 },
    { what: "CONNECT to the server", sent: `CONNECT /graphql HTTP/1.1\r\n${host}\r\n`, status: 405 },
    { what: "CONNECT to another", sent: `CONNECT example.com:443 HTTP/1.1\r\n${host}\r\n`, status: 405 },
    { what: "a method that is not known", sent: `FOO /graphql HTTP/1.1\r\n${host}\r\n`, status: 400 },
    { what: "DELETE", sent: `DELETE /graphql HTTP/1.1\r\n${host}\r\n`, status: 405 },
    {
      what: "POST to a probe",
      sent: `POST /health HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}`,
      status: 405,
    },
    { what: "HEAD of a probe", sent: `HEAD /health HTTP/1.1\r\n${host}\r\n`, status: 200 },
    { what: "OPTIONS", sent: `OPTIONS /graphql HTTP/1.1\r\n${host}\r\n`, status: 204 },
    { what: "OPTIONS of all", sent: `OPTIONS * HTTP/1.1\r\n${host}\r\n`, status: 400 },
    { what: "two slashes", sent: get("//graphql"), status: 404 },
    { what: "a way up", sent: get("/../graphql"), status: 404 },
    { what: "a way up and down", sent: get("/graphql/../../etc/passwd"), status: 404 },
    { what: "a way up in percent codes", sent: get("/%2e%2e/%2e%2e/etc/passwd"), status: 404 },
    { what: "a name of Object's", sent: get("/__proto__"), status: 404 },
    { what: "another name of Object's", sent: get("/constructor"), status: 404 },
    { what: "a whole URL", sent: get("http://localhost/graphql?query={__typename}"), status: 200 },
    { what: "a whole URL without a host", sent: get("http://"), status: 400 },
    { what: "a URL of another kind", sent: get("ftp://localhost/graphql"), status: 400 },
    { what: "no path", sent: get("graphql"), status: 400 },
    { what: "two hosts", sent: get("/health", "Host: localhost\r\n"), status: 400 },
    {
      what: "two hosts, in two ways to write it",
      sent: get("/graphql?query={__typename}", "HOST: 127.0.0.1\r\n"),
      status: 400,
    },
    { what: "an upgrade with two hosts", sent: upgrade(`${key}Host: localhost\r\n`), status: 400 },
    {
      what: "two tokens",
      sent: get("/graphql?query={__typename}", "Authorization: Bearer a\r\nauthorization: Bearer b\r\n"),
      status: 400,
    },
    {
      what: "an upgrade with two tokens",
      sent: upgrade(`${key}${"Authorization: Bearer a\r\n".repeat(2)}`),
      status: 400,
    },
    {
      what: "HEAD of a subscription",
      sent: `HEAD /graphql?query=subscription{queueLatency(queues:[]){queue}} HTTP/1.1\r\n${host}\r\n`,
      status: 405,
    },
    { what: "HTTP/1.0", sent: "GET /health HTTP/1.0\r\n\r\n", status: 200 },
    { what: "a query over HTTP/1.0", sent: "GET /graphql?query={__typename} HTTP/1.0\r\n\r\n", status: 200 },
    { what: "no Host", sent: "GET /health HTTP/1.1\r\n\r\n", status: 400 },
    { what: "the beginning of HTTP/2", sent: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 400 },
    { what: "the beginning of TLS", sent: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", status: 400 },
    { what: "a long address", sent: get(`/${"x".repeat(20_000)}`), status: 431 },
    { what: "a long header", sent: get("/health", `X: ${"x".repeat(20_000)}\r\n`), status: 431 },
    { what: "many headers", sent: get("/health", "x: y\r\n".repeat(5_000)), status: 431 },
    { what: "a header with a space in its name", sent: get("/health", "X : y\r\n"), status: 400 },
    { what: "a header over two lines", sent: get("/health", "X: y\r\n z\r\n"), status: 400 },
    { what: "NUL in the address", sent: get("/he\0alth"), status: 400 },
    { what: "a length, and chunks", sent: `${post}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, status: 400 },
    { what: "two lengths", sent: `${post}Content-Length: 6\r\n\r\n`, status: 400 },
    {
      what: "a length below 0",
      sent: `POST /graphql HTTP/1.1\r\n${host}${json}Content-Length: -5\r\n\r\n`,
      status: 400,
    },
    {
      what: "a length beyond all",
      sent: `POST /graphql HTTP/1.1\r\n${host}${json}Content-Length: 99999999999999999999\r\n\r\n`,
      status: 400,
    },
    {
      what: "a length that is too much",
      sent: `POST /graphql HTTP/1.1\r\n${host}${json}Content-Length: 3000000\r\n\r\n`,
      status: 413,
    },
    {
      what: "a chunk of no length",
      sent: `POST /graphql HTTP/1.1\r\n${host}${json}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
      status: 400,
    },
    { what: "Expect: 100-continue", sent: `${post}Expect: 100-continue\r\n\r\n${query}`, status: 100 },
    { what: "another expectation", sent: `${post}Expect: nonsense\r\n\r\n${query}`, status: 417 },
    {
      what: "an offer of HTTP/2",
      sent: get(
        "/health",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
      ),
      status: 200,
    },
    { what: "an upgrade without a key", sent: upgrade(""), status: 400 },
    { what: "an upgrade to an old version", sent: upgrade(key.replace("13", "7")), status: 400 },
    { what: "an upgrade by POST", sent: upgrade(key, "POST"), status: 405 },
    { what: "an upgrade of another path", sent: upgrade(key, "GET", "/elsewhere"), status: 404 },
    {
      what: "an upgrade with nonsense for protocols",
      sent: upgrade(`${key}Sec-WebSocket-Protocol: ,,\r\n`),
      status: 400,
    },
    {
      what: "an upgrade",
      sent: upgrade(`${key}Sec-WebSocket-Protocol: graphql-transport-ws\r\n`),
      status: 101,
    },
    {
      what: "an upgrade that would have messages compressed",
      sent: upgrade(
        `${key}Sec-WebSocket-Protocol: graphql-transport-ws\r\nSec-WebSocket-Extensions: permessage-deflate\r\n`,
      ),
      status: 101,
    },
  ];

  test("an offer of HTTP/2 is declined with the end of the connection, since Node drops what follows it", async () => {
    await using raw = await openRaw(app.url);
    const offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    raw.send(get("/health", offer) + get("/health"));
    await raw.closed;
    expect(raw.text()).toMatch(/^HTTP\/1\.1 200 .*\r\nConnection: close\r\n/s);
    expect(raw.text().split("HTTP/1.1 ").length).toBe(2);
  });

  test.each(rows)("is answered with $status: $what", async ({ sent, status }) => {
    await using raw = await openRaw(app.url);
    raw.send(Buffer.from(sent, "latin1"));
    const answer = await raw.until(/^HTTP\/1\.1 \d+ .*\r\n\r\n/s);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    if (status === 100) await raw.until(/\r\n\r\nHTTP\/1\.1 200 /);
    expect(answer).not.toMatch(/permessage-deflate|^Server:|X-Powered-By/im);
    // No operator must act on what strangers send, and all is well.
    expect(complaintsIn(logger)).toEqual([]);
    expect((await ask(app.url, "{ __typename }")).status).toBe(200);
  });

  test("is answered over a connection that is kept longer than load balancers keep it", async () => {
    const { headers } = await fetch(`${app.url}/health`);
    expect(headers.get("keep-alive")).toBe("timeout=75");
  });

  test("keeps the connection for the next one, and answers those that come together in their order", async () => {
    await using raw = await openRaw(app.url);
    const together = ["a", "b", "c"].map((alias) => get(`/graphql?query={${alias}:__typename}`));
    raw.send(together.join(""));
    const answers = await raw.until(/"c":"Query"/);
    expect([...answers.matchAll(/"(\w)":"Query"/g)].map(([, alias]) => alias)).toEqual(["a", "b", "c"]);
    raw.send(get("/health", "Connection: close\r\n"));
    await raw.until(/"status":"ok"/);
    await raw.closed;
  });
});

describe("a client that has sent everything, and closed its end", () => {
  let app: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
  });
  afterAll(() => app?.stop());

  // So does busybox's nc, with which containers are probed.
  const queues = '{"query":"{queueLatency(queues:[\\"q\\"]){state}}"}';
  const posted = `${post.replace(String(query.length), String(queues.length))}\r\n${queues}`;

  test.each([
    { what: "a probe of HTTP/1.0", sent: `GET /ready HTTP/1.0\r\n${host}\r\n`, answers: 1 },
    { what: "a probe", sent: get("/ready"), answers: 1 },
    { what: "a scrape", sent: get("/metrics"), answers: 1 },
    { what: "a query by GET", sent: get("/graphql?query={queueLatency(queues:%22q%22){state}}"), answers: 1 },
    { what: "a query by POST", sent: posted, answers: 1 },
    { what: "several requests", sent: posted + get("/ready") + posted, answers: 3 },
  ])("gets the answer to $what, then the end", async ({ sent, answers }) => {
    await using raw = await openRaw(app.url);
    raw.socket.end(sent);
    await raw.closed;
    expect(raw.text().match(/HTTP\/1\.1 200 OK/g)).toHaveLength(answers);
    expect(raw.text().match(/\r\n\r\n[^H]/g)).toHaveLength(answers);
  });

  test.each([
    { what: "half a head", sent: "GET /ready HTTP/1.1\r\nHost" },
    { what: "half a body", sent: posted.slice(0, -5) },
  ])("after $what has no answer to wait for", async ({ sent }) => {
    await using raw = await openRaw(app.url);
    raw.socket.end(sent);
    await raw.closed;
    expect(raw.text()).toMatch(/^(HTTP\/1\.1 400 .*)?$/s);
  });

  test("has its event stream ended: a client that has gone looks the same", async () => {
    await using raw = await openRaw(app.url);
    const subscription = "subscription{queueLatency(queues:%22q%22,refreshMs:0){state}}";
    raw.socket.end(get(`/graphql?query=${subscription}`, "Accept: text/event-stream\r\n"));
    await raw.closed;
  });
});

describe("a client", () => {
  const checkEveryMs = 50;
  const shortHead = { headMs: 500, requestMs: 3_600_000, checkEveryMs };
  const shortRequest = { headMs: 500, requestMs: 1_000, checkEveryMs };

  test.each([
    { what: "says nothing", sent: "", timeouts: shortHead, afterMs: 500 },
    {
      what: "never ends its headers",
      sent: "GET /health HTTP/1.1\r\nX: y\r\n",
      timeouts: shortHead,
      afterMs: 500,
    },
    { what: "never sends its body", sent: `${post}\r\n`, timeouts: shortRequest, afterMs: 1_000 },
  ])("that $what is cut", async ({ sent, timeouts, afterMs }) => {
    await using server = await startBareServer({ timeouts });
    const startedAtMs = performance.now();
    await using raw = await openRaw(server.url);
    raw.send(sent);
    await raw.closed;
    expect(performance.now() - startedAtMs).toBeGreaterThan(afterMs - 100);
  });

  test.each([
    { what: "headers", begin: "GET /health HTTP/1.1\r\n", drop: "X: y\r\n", timeouts: shortHead },
    {
      what: "a body",
      begin: `${post.replace(String(query.length), "90000")}\r\n`,
      drop: " ",
      timeouts: shortRequest,
    },
  ])("that sends $what drop by drop is cut all the same", async ({ begin, drop, timeouts }) => {
    await using server = await startBareServer({ timeouts });
    await using raw = await openRaw(server.url);
    raw.send(begin);
    const dripping = setInterval(() => raw.send(drop), 20);
    await raw.closed;
    clearInterval(dripping);
    expect(raw.text()).toMatch(/^HTTP\/1\.1 408 |^$/);
  });

  test("has a bounded number of requests under way, over however many connections", async () => {
    let proceed = () => {};
    const gate = new Promise<void>((resolve) => {
      proceed = resolve;
    });
    let waiting = 0;
    await using server = await startBareServer({
      maxSubscriptions: 1,
      identify: ({ forwardedFor }) => ({ id: forwardedFor ?? "unknown", scopes: new Set() }),
      routes: {
        "/wait": async () => {
          waiting += 1;
          await gate;
          return { status: 200, body: {} };
        },
      },
    });
    const taken = await Promise.all(Array.from({ length: 1_001 }, () => openRaw(server.url)));
    await using another = await openRaw(server.url);
    for (const raw of taken) raw.send(get("/wait"));
    await expect.poll(() => waiting).toBe(1_001);
    another.send(get("/wait"));
    const refused = await another.until(/THROTTLED.*\}\n/s);
    expect(refused).toMatch(/^HTTP\/1\.1 429 /);
    expect(refused).toMatch(/^Retry-After: 1\r$/m);
    expect(refused).toMatch(/^Connection: close\r$/m);
    await another.closed;
    // Another client is not held up by it.
    const other = await fetch(`${server.url}/nowhere`, { headers: { "x-forwarded-for": "192.0.2.1" } });
    expect(other.status).toBe(404);
    proceed();
    await Promise.all(taken.map((raw) => raw.until(/^HTTP\/1\.1 200 OK/)));
    expect((await fetch(`${server.url}/nowhere`)).status).toBe(404);
    for (const raw of taken) raw.socket.destroy();
  });

  test("has nothing parsed behind an unanswered request, and is answered in order in the end", async () => {
    const gate = Promise.withResolvers<void>();
    let begun = 0;
    await using server = await startBareServer({
      routes: {
        "/wait": async () => {
          begun += 1;
          await gate.promise;
          return { status: 200, body: {} };
        },
      },
    });
    await using raw = await openRaw(server.url);
    raw.send(get("/wait").repeat(2_000));
    await expect.poll(() => begun).toBeGreaterThan(0);
    // Another connection is read as often as this one.
    for (let i = 0; i < 20; i++) expect((await fetch(`${server.url}/nowhere`)).status).toBe(404);
    expect(begun).toBeLessThan(100);
    gate.resolve();
    await expect.poll(() => raw.text().split("HTTP/1.1 200 OK").length).toBe(2_001);
  });

  const upgrade = `GET /graphql HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
  const connect = `CONNECT /graphql HTTP/1.1\r\n${host}\r\n`;

  /** A server with a route that waits for the gate. */
  async function startGated() {
    const gate = Promise.withResolvers<void>();
    const wait = async () => {
      await gate.promise;
      return { status: 200, body: {} };
    };
    return { server: await startBareServer({ routes: { "/wait": wait } }), gate };
  }

  test("that asks for a WebSocket behind unanswered requests gets their answers in order, and no WebSocket", async () => {
    const { server, gate } = await startGated();
    await using _ = server;
    await using raw = await openRaw(server.url);
    raw.send(get("/wait").repeat(2) + upgrade);
    expect((await fetch(`${server.url}/nowhere`)).status).toBe(404);
    gate.resolve();
    await raw.closed;
    expect(raw.text().match(/^HTTP\/1\.1 \d+/gm)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 400"]);
  });

  test.each([
    { what: "a WebSocket", last: upgrade },
    { what: "a tunnel", last: connect },
  ])(
    "that asks for $what behind unanswered requests leaves none of them open when it goes",
    async ({ last }) => {
      const { server, gate } = await startGated();
      await using _ = server;
      // In all more than may be open at a time.
      const of20 = get("/wait").repeat(20) + last;
      for (let i = 0; i < 60; i++) {
        await using raw = await openRaw(server.url);
        raw.send(of20);
      }
      const all = await Promise.all(Array.from({ length: 200 }, () => openRaw(server.url)));
      for (const raw of all) raw.send(get("/wait"));
      gate.resolve();
      await Promise.all(all.map((raw) => raw.until(/^HTTP\/1\.1 200 OK/)));
      for (const raw of all) raw.socket.destroy();
    },
  );

  test("that sends requests without end is answered by turns with others", async () => {
    const answered: string[] = [];
    const route = (name: string) => async () => {
      answered.push(name);
      return { status: 200, body: {} };
    };
    await using server = await startBareServer({ routes: { "/many": route("many"), "/one": route("one") } });
    await using many = await openRaw(server.url);
    await using one = await openRaw(server.url);
    // As much as one read of a socket returns.
    many.send(get("/many").repeat(1_500));
    one.send(get("/one"));
    await expect.poll(() => answered.length).toBe(1_501);
    expect(answered.indexOf("one")).toBeLessThan(750);
  });

  test("that reads nothing of its answers is cut, and one that reads slowly is not", async () => {
    const logger = recordingLogger();
    const cuts = () => logger.lines.filter(({ message }) => message.startsWith("cut a connection")).length;
    const body = { text: "x".repeat(100_000) };
    await using server = await startBareServer({
      logger,
      timeouts: { unreadMs: 2_000 },
      routes: { "/large": async () => ({ status: 200, body }) },
    });
    await using slow = await openRaw(server.url);
    await using unread = await openRaw(server.url);
    for (const raw of [slow, unread]) {
      raw.socket.pause();
      raw.send(get("/large").repeat(300));
    }
    // A little at a time, until the other one is cut, and for as long again.
    const startedAtMs = performance.now();
    let cutAtMs = Number.NaN;
    while (!(performance.now() - cutAtMs > cutAtMs - startedAtMs)) {
      slow.socket.resume();
      await once(slow.socket, "data");
      slow.socket.pause();
      await sleep(20);
      if (cuts() > 0 && Number.isNaN(cutAtMs)) cutAtMs = performance.now();
    }
    expect(cuts()).toBe(1);
    unread.socket.resume();
    await unread.closed;
    expect(unread.text().length).toBeLessThan(300 * 100_000);
  });
});

describe("a stream of events", () => {
  const body = '{"query":"subscription { pushes }"}';
  const accept = `${host}Accept: text/event-stream\r\nContent-Type: application/json\r\n`;
  const subscribing = (version: string) =>
    `POST /graphql HTTP/${version}\r\n${accept}Content-Length: ${body.length}\r\n\r\n${body}`;
  const url = `/graphql?query=${encodeURIComponent("subscription { pushes }")}`;
  const next = (n: number) => `event: next\ndata: {"data":{"pushes":"${n}"}}\n\n`;
  const complete = "event: complete\ndata:\n\n";
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
  const chunked = `${chunk(":\n\n")}${chunk(next(1))}${chunk(next(2))}${chunk(complete)}0\r\n\r\n`;

  /** A server whose one subscription pushes what the test says. */
  async function startPushing(options: Partial<ServerOptions> = {}) {
    const schema = buildSchema("type Query { a: String } type Subscription { pushes: String }");
    const field = schema.getSubscriptionType()?.getFields().pushes;
    if (field === undefined) throw new Error("the field was just declared");
    const test = createTestSource();
    field.subscribe = () => test.source;
    field.resolve = (push) => push;
    return { ...test, server: await startBareServer({ schema, ...options }) };
  }

  test.each([
    { what: "to a POST", sent: subscribing("1.1"), got: chunked },
    { what: "to a GET", sent: `GET ${url} HTTP/1.1\r\n${accept}\r\n`, got: chunked },
    {
      what: "to a GET with a body, which says nothing",
      sent: `GET ${url} HTTP/1.1\r\n${accept}Content-Length: 5\r\n\r\nhello`,
      got: chunked,
    },
    { what: "behind which a line is sent", sent: `${subscribing("1.1")}\r\n`, got: chunked },
    {
      what: "behind which another request is sent, which is not answered",
      sent: subscribing("1.1") + get("/health"),
      got: chunked,
    },
    {
      what: "behind which more requests are sent than are read",
      sent: subscribing("1.1") + get("/health").repeat(1_000),
      got: chunked,
    },
    {
      what: "in HTTP/1.0, with no chunks",
      sent: subscribing("1.0"),
      got: `:\n\n${next(1)}${next(2)}${complete}`,
    },
  ])("$what has each push as it comes, and closes the connection", async ({ sent, got }) => {
    const { server, push, end } = await startPushing();
    await using _ = server;
    await using raw = await openRaw(server.url);
    raw.send(sent);
    await raw.until(/:\n\n/);
    push("1");
    await raw.until(/"pushes":"1"/);
    push("2");
    await raw.until(/"pushes":"2"/);
    end();
    await raw.closed;
    const [head = "", ...rest] = raw.text().split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 200 .*^Content-Type: text\/event-stream\r$.*^Connection: close\r?$/ms);
    expect(rest.join("\r\n\r\n")).toBe(got);
  });

  test.each([
    { how: "is closed", go: ({ socket }: RawConnection) => void socket.end() },
    { how: "is reset", go: ({ socket }: RawConnection) => void socket.resetAndDestroy() },
    {
      how: "is reset behind more than is read of it",
      go({ socket }: RawConnection) {
        socket.write(get("/health").repeat(20_000));
        socket.resetAndDestroy();
      },
    },
  ])("whose connection $how by the client ends its subscription", async ({ go }) => {
    const { server, isEnded, push } = await startPushing();
    await using _ = server;
    await using raw = await openRaw(server.url);
    raw.send(subscribing("1.1"));
    await raw.until(/:\n\n/);
    go(raw);
    await expect
      .poll(() => {
        // A broken connection is noticed at a write, of a ping at the latest.
        push("1");
        return isEnded();
      })
      .toBe(true);
  });

  test("comes behind the answer to an earlier request on its connection", async () => {
    const gate = Promise.withResolvers<void>();
    const wait = async () => {
      await gate.promise;
      return { status: 200, body: { is: "earlier" } };
    };
    const { server, push, isEnded } = await startPushing({ routes: { "/wait": wait } });
    await using _ = server;
    await using raw = await openRaw(server.url);
    await using gone = await openRaw(server.url);
    for (const each of [raw, gone]) each.send(get("/wait") + subscribing("1.1"));
    push("1");
    gone.socket.resetAndDestroy();
    gate.resolve();
    await raw.until(/^HTTP.*"earlier".*^HTTP.*"pushes":"1"/ms);
    expect(isEnded()).toBe(false);
    raw.socket.resetAndDestroy();
    await expect.poll(isEnded).toBe(true);
  });

  test("does not begin before the body that its GET announces has come", async () => {
    const { server, push } = await startPushing();
    await using _ = server;
    await using raw = await openRaw(server.url);
    raw.send(`GET ${url} HTTP/1.1\r\n${accept}Content-Length: 5\r\n\r\nhel`);
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect(raw.text()).toBe("");
    raw.send("lo");
    await raw.until(/:\n\n/);
    push("1");
    await raw.until(/"pushes":"1"/);
  });
});
