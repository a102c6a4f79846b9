import { once } from "node:events";
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { openGraphiQL, startBrowser, whyNoBrowser } from "../support/browser.ts";
import { countCommands, nothingRan } from "../support/commands.ts";
import { startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";

const dashboard = "https://dashboard.example.com";
const evil = "https://evil.example";

const mutation = `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "q", jobId: "1" }]) { accepted } }`;
const query = `{ queueLatency(queues: ["q"]) { state } }`;
const subscription = `subscription { queueLatency(queues: ["q"]) { state } }`;

type App = Awaited<ReturnType<typeof startApp>>;
/** Of this file alone: its commands are counted. */
let redis: TestRedis;
let control: Redis;
/** By what CORS_ORIGINS says. */
let apps: Record<"none" | "listed" | "all", App>;
beforeAll(async () => {
  redis = await startRedis();
  control = new Redis(redis.url);
  const start = (CORS_ORIGINS: string) =>
    startApp({
      REDIS_URL: redis.url,
      KEY_PREFIX: uniquePrefix(),
      // Commands are counted: a limit so low has no points taken in advance, which a timer puts back.
      RATE_LIMIT_MAX: "4900",
      HISTORY_MAX_QUEUES: "0",
      CORS_ORIGINS,
    });
  apps = {
    none: await start(""),
    listed: await start(`${dashboard}, http://localhost:3000`),
    all: await start("*"),
  };
});
afterAll(async () => {
  for (const app of Object.values(apps ?? {})) await app.stop();
  control?.disconnect();
  await redis?.stop();
});

describe("a request that a page can make a browser send", () => {
  interface Row {
    readonly what: string;
    readonly to?: keyof typeof apps;
    readonly method?: string;
    readonly path?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly status: number;
    readonly code?: string;
    /** Of the answer; undefined: it has none of that name. */
    readonly answers?: Readonly<Record<string, string | undefined>>;
    /** Whether anything is done for it. */
    readonly runs?: boolean;
  }

  const json = { "content-type": "application/json" };
  const asked = (text: string) => JSON.stringify({ query: text });
  const search = (text: string) => `/graphql?query=${encodeURIComponent(text)}`;
  const none = { "access-control-allow-origin": undefined };
  const preflight = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type",
  };

  const rows: readonly Row[] = [
    // A client that is no browser.
    { what: "a mutation of a program", headers: json, body: asked(mutation), status: 200, runs: true },
    {
      what: "a mutation of a program, in capitals and with a charset",
      headers: { "content-type": "Application/JSON; charset=UTF-8" },
      body: asked(mutation),
      status: 200,
      runs: true,
    },
    // Our own pages.
    {
      what: "a query of our own page",
      headers: { ...json, origin: "SELF", "sec-fetch-site": "same-origin" },
      body: asked(query),
      status: 200,
      answers: none,
      runs: true,
    },
    // Pages of others, with what a browser sends without asking first.
    {
      what: "a form of another page",
      headers: { "content-type": "application/x-www-form-urlencoded", origin: evil },
      body: new URLSearchParams({ query: mutation }).toString(),
      status: 403,
      code: "FORBIDDEN",
      answers: none,
    },
    {
      what: "JSON as plain text of another page",
      headers: { "content-type": "text/plain", origin: evil },
      body: asked(mutation),
      status: 403,
      code: "FORBIDDEN",
    },
    {
      what: "a mutation by GET of another page",
      method: "GET",
      path: search(mutation),
      headers: { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
      status: 403,
      code: "FORBIDDEN",
    },
    {
      what: "a query by GET of another page",
      method: "GET",
      path: search(query),
      headers: { origin: evil },
      status: 403,
      code: "FORBIDDEN",
    },
    {
      what: "a subscription of another page's EventSource",
      method: "GET",
      path: search(subscription),
      headers: { accept: "text/event-stream", origin: evil, "sec-fetch-site": "cross-site" },
      status: 403,
      code: "FORBIDDEN",
      answers: none,
    },
    {
      what: "a query of a page on another port of the same host",
      method: "GET",
      path: search(query),
      headers: { "sec-fetch-site": "same-site" },
      status: 403,
      code: "FORBIDDEN",
    },
    // Types that need no question first, from wherever they come.
    ...[
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/graphql",
      "text/plain; application/json",
      "",
    ].map((type): Row => {
      const body = type.includes("urlencoded")
        ? new URLSearchParams({ query: mutation }).toString()
        : asked(mutation);
      const headers: Record<string, string> = type === "" ? {} : { "content-type": type };
      return { what: `a mutation as "${type}"`, headers, body, status: 415, code: "UNSUPPORTED_MEDIA_TYPE" };
    }),
    { what: "a mutation by GET", method: "GET", path: search(mutation), status: 405 },
    // The question that comes first.
    {
      what: "another page's question",
      method: "OPTIONS",
      headers: { ...preflight, origin: evil },
      status: 403,
      answers: { ...none, "access-control-allow-headers": undefined },
    },
    {
      what: "another page's question where others are listed",
      to: "listed",
      method: "OPTIONS",
      headers: { ...preflight, origin: evil },
      status: 403,
      answers: { ...none, "access-control-allow-headers": undefined },
    },
    {
      what: "a listed page's question",
      to: "listed",
      method: "OPTIONS",
      headers: { ...preflight, origin: dashboard },
      status: 204,
      answers: {
        "access-control-allow-origin": dashboard,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": expect.stringMatching(/^authorization, content-type, .*x-graphql-/),
        "access-control-max-age": "7200",
      },
    },
    {
      what: "any page's question where all may come",
      to: "all",
      method: "OPTIONS",
      headers: { ...preflight, origin: evil },
      status: 204,
      answers: { "access-control-allow-origin": "*", "access-control-max-age": "7200" },
    },
    // And what follows.
    {
      what: "a mutation of a listed page",
      to: "listed",
      headers: { ...json, origin: dashboard, "sec-fetch-site": "cross-site" },
      body: asked(mutation),
      status: 200,
      answers: { "access-control-allow-origin": dashboard, "access-control-expose-headers": "Retry-After" },
      runs: true,
    },
    {
      what: "what is wrong, of a listed page",
      to: "listed",
      headers: { ...json, origin: dashboard },
      body: "no JSON",
      status: 400,
      answers: { "access-control-allow-origin": dashboard },
    },
    {
      what: "a mutation of a page that is not listed",
      to: "listed",
      headers: { ...json, origin: evil },
      body: asked(mutation),
      status: 403,
      code: "FORBIDDEN",
      answers: none,
    },
    {
      what: "a mutation of any page where all may come",
      to: "all",
      headers: { ...json, origin: evil },
      body: asked(mutation),
      status: 200,
      answers: { "access-control-allow-origin": "*" },
      runs: true,
    },
    {
      what: "a form of any page where all may come",
      to: "all",
      headers: { "content-type": "application/x-www-form-urlencoded", origin: evil },
      body: new URLSearchParams({ query: mutation }).toString(),
      status: 415,
      code: "UNSUPPORTED_MEDIA_TYPE",
    },
    {
      what: "a mutation by GET of any page where all may come",
      to: "all",
      method: "GET",
      path: search(mutation),
      headers: { origin: evil },
      status: 405,
    },
    // Names that lead here.
    {
      what: "a mutation to a name of another site that leads here",
      headers: { ...json, host: "evil.example:4000", origin: "http://evil.example:4000" },
      body: asked(mutation),
      status: 403,
      code: "FORBIDDEN",
    },
    {
      what: "the page at such a name",
      method: "GET",
      headers: { host: "evil.example:4000", accept: "text/html" },
      status: 403,
      code: "FORBIDDEN",
    },
    {
      what: "a mutation through a proxy at a listed name",
      to: "listed",
      headers: { ...json, host: "dashboard.example.com", origin: dashboard },
      body: asked(mutation),
      status: 200,
      runs: true,
    },
  ];

  test.each(rows)("$what: $status", async (row) => {
    const { to = "none", method = "POST", path = "/graphql", headers = {}, body } = row;
    const { url } = apps[to];
    const sent = { ...headers, ...(headers.origin === "SELF" && { origin: url }) };
    const { reply, commands } = await countCommands(
      control,
      () => send(url + path, { method, headers: sent, body }),
      (ran) => nothingRan(ran) !== (row.runs === true),
    );
    expect(reply.status).toBe(row.status);
    if (row.code !== undefined) expect(JSON.parse(reply.body).errors[0].extensions.code).toBe(row.code);
    for (const [name, value] of Object.entries(row.answers ?? {}))
      expect(reply.headers[name], name).toEqual(value);
    expect(reply.headers.vary).toBe("Origin");
    expect(reply.headers["access-control-allow-credentials"]).toBeUndefined();
    if (row.runs === true) expect(commands).not.toEqual({});
    else expect(commands).toEqual({});
  });
});

describe("a WebSocket", () => {
  test.each([
    { to: "none", origin: undefined, status: 101, why: "a program sends no origin" },
    { to: "none", origin: "SELF", status: 101, why: "our own page" },
    { to: "none", origin: evil, status: 403, why: "a page of another site" },
    { to: "none", origin: "null", status: 403, why: "a sandboxed frame" },
    { to: "listed", origin: dashboard, status: 101, why: "it is listed" },
    { to: "listed", origin: evil, status: 403, why: "it is not listed" },
    { to: "all", origin: evil, status: 101, why: "all may come" },
  ] as const)(
    "from $origin, where CORS_ORIGINS lets in $to: $status, $why",
    async ({ to, origin, status }) => {
      const { url } = apps[to];
      const headers = origin === undefined ? {} : { origin: origin === "SELF" ? url : origin };
      const { status: got, headers: answered } = await upgrade(url, headers);
      expect(got).toBe(status);
      if (status === 403) expect(answered["x-content-type-options"]).toBe("nosniff");
    },
  );

  test("to a name of another site that leads here: 403", async () => {
    const headers = { host: "evil.example", origin: "http://evil.example" };
    expect((await upgrade(apps.none.url, headers)).status).toBe(403);
  });
});

describe("every answer", () => {
  test.each([
    { what: "an answer", method: "POST", path: "/graphql", headers: { "content-type": "application/json" } },
    { what: "a refusal", method: "POST", path: "/graphql", headers: { origin: evil } },
    { what: "GraphiQL", method: "GET", path: "/graphql", headers: { accept: "text/html" } },
    {
      what: "a stream",
      method: "GET",
      path: `/graphql?query=${encodeURIComponent(subscription)}`,
      headers: {},
    },
    { what: "a probe", method: "GET", path: "/health", headers: {} },
    { what: "the dashboard", method: "GET", path: "/", headers: {} },
    { what: "nothing", method: "GET", path: "/nowhere", headers: {} },
    { what: "a wrong method", method: "DELETE", path: "/graphql", headers: {} },
  ])("has its headers: $what", async ({ method, path, headers }) => {
    const body = method === "POST" ? JSON.stringify({ query }) : undefined;
    const { headers: answered } = await send(apps.none.url + path, { method, headers, body });
    expect(answered).toMatchObject({
      "content-security-policy": expect.stringMatching(/^default-src 'none'; .*frame-ancestors 'none'/),
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      vary: "Origin",
    });
    expect(answered["cache-control"]).toMatch(/^no-(store|cache)$/);
    expect(answered).not.toHaveProperty("server");
    expect(answered).not.toHaveProperty("x-powered-by");
  });

  test("but GraphiQL's page lets no script run that is not its own, and nothing be loaded", async () => {
    const { headers } = await send(`${apps.none.url}/graphql`, {
      method: "GET",
      headers: { accept: "text/html" },
    });
    const policy = String(headers["content-security-policy"]);
    const directives = Object.fromEntries(
      policy.split("; ").map((directive) => [directive.split(" ", 1)[0], directive.split(" ").slice(1)]),
    );
    expect(directives["script-src"]).toHaveLength(2);
    for (const source of directives["script-src"]!) expect(source).toMatch(/^'sha256-.{44}'$/);
    expect(directives["connect-src"]).toEqual(["'self'"]);
    expect(policy).not.toMatch(/https?:|\*/);
  });
});

const title = whyNoBrowser === null ? "in a browser" : `in a browser (${whyNoBrowser})`;
describe.skipIf(whyNoBrowser !== null)(title, () => {
  let browser: Browser;
  let foreign: Awaited<ReturnType<typeof startForeignSite>>;
  let listing: App;
  beforeAll(async () => {
    foreign = await startForeignSite();
    listing = await startApp({
      REDIS_URL: redis.url,
      KEY_PREFIX: uniquePrefix(),
      RATE_LIMIT_MAX: "4900",
      HISTORY_MAX_QUEUES: "0",
      CORS_ORIGINS: foreign.url,
    });
    browser = await startBrowser(["evil.example"]);
  });
  afterAll(async () => {
    await browser?.close();
    await listing?.stop();
    await foreign?.[Symbol.asyncDispose]();
  });

  /** What a page of another origin gets, in words, and what it caused. */
  async function onForeignPage(
    script: (page: Page) => Promise<unknown>,
    isRight: typeof nothingRan = () => true,
  ) {
    const page = await browser.newPage();
    try {
      await page.goto(foreign.url);
      const { reply, commands } = await countCommands(control, () => script(page), isRight);
      return { got: reply, commands };
    } finally {
      await page.close();
    }
  }

  const run = (url: string, body: string) => (page: Page) =>
    page.evaluate(`(async (url, mutation, query, subscription) => { ${body} })(
      ${[url, mutation, query, subscription].map((text) => JSON.stringify(text)).join()})`);

  /** Ways of a page into a server, each with the words for having got nowhere. */
  const ways = [
    {
      way: "fetch of JSON",
      script: `return await fetch(url + "/graphql", { method: "POST", body: JSON.stringify({ query: mutation }),
        headers: { "content-type": "application/json" } }).then((response) => response.status, () => "refused");`,
      refused: "refused",
    },
    {
      way: "fetch of plain text, without reading the answer",
      script: `return await fetch(url + "/graphql", { method: "POST", mode: "no-cors",
        body: JSON.stringify({ query: mutation }) }).then(() => "sent", () => "refused");`,
      refused: "refused",
    },
    {
      way: "fetch with credentials",
      script: `return await fetch(url + "/graphql", { method: "POST", credentials: "include",
        headers: { "content-type": "application/json" }, body: JSON.stringify({ query: mutation }) })
        .then((response) => response.status, () => "refused");`,
      refused: "refused",
    },
    {
      way: "an image",
      script: `return await new Promise((resolve) => Object.assign(new Image(), {
        onload: () => resolve("loaded"), onerror: () => resolve("refused"),
        src: url + "/graphql?query=" + encodeURIComponent(query) }));`,
      refused: "refused",
    },
    {
      way: "a form",
      script: `const form = Object.assign(document.createElement("form"), { method: "POST", action: url + "/graphql",
          target: "frame" });
        const frame = Object.assign(document.createElement("iframe"), { name: "frame" });
        form.append(Object.assign(document.createElement("input"), { name: "query", value: mutation }));
        document.body.append(frame, form);
        await new Promise((resolve) => { frame.onload = resolve; form.submit(); });
        return "sent";`,
      refused: "sent",
    },
    {
      way: "an EventSource",
      script: `return await new Promise((resolve) => {
        const source = new EventSource(url + "/graphql?query=" + encodeURIComponent(subscription));
        source.onopen = () => resolve("open");
        source.onerror = () => resolve("refused");
      });`,
      refused: "refused",
    },
    {
      way: "a WebSocket",
      script: `return await new Promise((resolve) => {
        const socket = new WebSocket(url.replace("http", "ws") + "/graphql", "graphql-transport-ws");
        socket.onopen = () => { socket.close(); resolve("open"); };
        socket.onerror = () => resolve("refused");
      });`,
      refused: "refused",
    },
  ];

  test.each(ways)("a page of another origin gets nowhere by $way", async ({ script, refused }) => {
    const { got, commands } = await onForeignPage(run(apps.none.url, script), nothingRan);
    expect(got).toBe(refused);
    expect(commands).toEqual({});
  });

  test("a page that CORS_ORIGINS lists may use all of it, and read how long to wait", async () => {
    const script = `
      const answer = await fetch(url + "/graphql", { method: "POST", body: JSON.stringify({ query: mutation }),
        headers: { "content-type": "application/json", authorization: "Bearer x", "x-graphql-client-name": "test" } });
      const withCookies = await fetch(url + "/graphql", { method: "POST", body: "{}", credentials: "include",
        headers: { "content-type": "application/json" } }).then(() => "read", () => "refused");
      const source = new EventSource(url + "/graphql?query=" + encodeURIComponent(subscription));
      const push = await new Promise((resolve) => source.addEventListener("next", ({ data }) => resolve(data)));
      source.close();
      const socket = new WebSocket(url.replace("http", "ws") + "/graphql", "graphql-transport-ws");
      await new Promise((resolve) => (socket.onopen = resolve));
      socket.close();
      return { status: answer.status, body: await answer.json(), push: JSON.parse(push), withCookies };`;
    const { got } = await onForeignPage(run(listing.url, script));
    expect(got).toMatchObject({
      status: 200,
      body: { data: { recordEvents: { accepted: 1 } } },
      push: { data: { queueLatency: [{ state: "WAITING" }] } },
      withCookies: "refused",
    });
  });

  test("a page cannot show GraphiQL in a frame, to have its visitor press the button", async () => {
    const { got } = await onForeignPage(async (page) => {
      await page.setContent(`<iframe src="${apps.none.url}/graphql"></iframe>`);
      const frame = page.frames()[1];
      await frame?.waitForLoadState("load");
      return frame?.url();
    });
    expect(got).toMatch(/^chrome-error:/);
  });

  test("a link of another page leads to GraphiQL, and runs nothing", async () => {
    const { got } = await onForeignPage(async (page) => {
      const linked = mutation.replace('"q"', '"by-a-link"');
      const link = `${apps.none.url}/graphql?query=${encodeURIComponent(linked)}`;
      await page.setContent(`<a href="${link}">here</a>`);
      await page.getByRole("link").click();
      await page.getByRole("button", { name: "Execute query" }).waitFor();
      return page.title();
    });
    expect(got).toBe("queue-latency");
    const { body } = await ask(apps.none.url, `{ queueLatency(queues: ["by-a-link"]) { state } }`);
    expect(body.data.queueLatency).toEqual([{ state: "MISSING" }]);
  });

  test("a page whose name leads to this machine gets nowhere, though the browser takes it for ours", async () => {
    const page = await browser.newPage();
    const url = apps.none.url.replace("127.0.0.1", "evil.example");
    const visit = async () => {
      const response = await page.goto(`${url}/graphql`);
      const fetched = await page.evaluate(
        `fetch("/graphql", { method: "POST", headers: { "content-type": "application/json" },
          body: ${JSON.stringify(JSON.stringify({ query: mutation }))} }).then(({ status }) => status, String)`,
      );
      return { page: response?.status(), fetched };
    };
    const { reply, commands } = await countCommands(control, visit, nothingRan);
    await page.close();
    expect(reply.page).toBe(403);
    expect([403, "TypeError: Failed to fetch"]).toContain(reply.fetched);
    expect(commands).toEqual({});
  });

  test("GraphiQL works as strictly as it is held: its editor, its workers, its answers", async () => {
    await using window = await openGraphiQL(browser, apps.none.url);
    const workers = () => window.page.workers().map((worker) => new URL(worker.url()).protocol);
    await expect.poll(workers).toContain("blob:");
    await window.press();
    await expect.poll(window.answer).toMatchObject({ data: { queues: {} } });
    // Whatever gets into the page, it is no script that runs.
    const ran = await window.page.evaluate(`(async () => {
      const script = Object.assign(document.createElement("script"), { textContent: "window.ran = true" });
      document.body.append(script);
      const image = Object.assign(document.createElement("img"), { src: "${foreign.url}/picture" });
      await new Promise((resolve) => { image.onerror = resolve; document.body.append(image); });
      return window.ran === true;
    })()`);
    expect(ran).toBe(false);
    expect(foreign.asked).not.toContain("/picture");
    await expect.poll(() => window.complaints).toHaveLength(2);
    for (const complaint of window.complaints) expect(complaint).toContain("Content Security Policy");
  });
});

interface Sent {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Empty when it is a stream, which is cut. */
  readonly body: string;
}

/** With every header as it is given: `fetch` has some of its own. */
async function send(
  url: string,
  { method, headers, body }: Omit<Sent, "body"> & Partial<Sent>,
): Promise<Reply> {
  const request = httpRequest(url, { agent: false, method, headers });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const reply = { status: response.statusCode ?? 0, headers: response.headers };
  if (response.headers["content-type"]?.startsWith("text/event-stream") === true) {
    response.on("error", () => {});
    request.destroy();
    return { ...reply, body: "" };
  }
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { ...reply, body: Buffer.concat(chunks).toString() };
}

async function upgrade(url: string, headers: Readonly<Record<string, string>>) {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws", { headers });
  socket.on("error", () => {});
  const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
  socket.on("upgrade", resolve);
  socket.on("unexpected-response", (_request, response: IncomingMessage) => resolve(response));
  const response = await promise;
  socket.terminate();
  return { status: response.statusCode, headers: response.headers };
}

/** Another site: another port is another origin. */
async function startForeignSite() {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>foreign</title>");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** The paths that were asked for. */
    asked: asked as readonly (string | undefined)[],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
