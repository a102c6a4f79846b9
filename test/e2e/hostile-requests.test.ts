import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { complaintsIn, recordingLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { until } from "../support/until.ts";

const logger = recordingLogger();
let app: Awaited<ReturnType<typeof startApp>>;
beforeAll(async () => {
  // Points come back slowly enough that none does while they are counted.
  const limits = { RATE_LIMIT_MAX: "10000", RATE_LIMIT_WINDOW: "1d" };
  app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), ...limits }, logger);
});
afterAll(() => app.stop());
beforeEach(() => {
  logger.lines.length = 0;
});

interface Sent {
  readonly method?: string;
  /** Behind the path, with its question mark. */
  readonly search?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const json = { "content-type": "application/json" };
const query = "{ __typename }";

/** As Node sends it, with nothing added or corrected. */
async function send({ method = "POST", search = "", headers = json, body = "" }: Sent): Promise<Reply> {
  const request = httpRequest(`${app.url}/graphql${search}`, { agent: false, method, headers });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return { status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", text };
}

/** Writes bytes on a connection of their own. */
async function sendBytes(...chunks: readonly (string | Buffer)[]): Promise<string> {
  const socket = connect(Number(new URL(app.url).port), "127.0.0.1");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  // What the server does not read any more, it resets.
  socket.on("error", () => {});
  for (const chunk of chunks) socket.write(chunk);
  const answered = new Promise<void>((resolve) => {
    socket.on("data", () => {
      if (text.includes("\r\n\r\n")) resolve();
    });
    socket.once("close", () => resolve());
  });
  await answered;
  socket.destroy();
  return text;
}

test.each([
  {
    accept: "application/graphql-response+json,application/json;q=0.9",
    type: "application/graphql-response+json",
    why: "Apollo reads errors of 4xx and 5xx only there",
  },
  {
    accept: "application/json, application/graphql-response+json",
    type: "application/json",
    why: "both are taken alike",
  },
  { accept: "*/*", type: "application/json", why: "anything" },
  { accept: "text/event-stream", type: "application/json", why: "no stream begins" },
  { accept: "image/png", type: "application/json", why: "there is no such thing" },
])("a refusal before the request is read is $type for $accept: $why", async ({ accept, type }) => {
  const reply = await send({ headers: { ...json, accept, host: "elsewhere.example" } });
  expect({ status: reply.status, type: reply.type }).toEqual({ status: 403, type: `${type}; charset=utf-8` });
  expect(JSON.parse(reply.text)).toMatchObject({ errors: [{ extensions: { code: "FORBIDDEN" } }] });
});

async function expectUnharmed(): Promise<void> {
  expect((await ask(app.url, query)).body.data).toEqual({ __typename: "Query" });
  expect(complaintsIn(logger)).toEqual([]);
}

interface Row extends Sent {
  readonly request: string;
  readonly status: number;
  /** Of its first error; null for an answer with data. */
  readonly code: string | null;
}

const posted = (request: string, body: unknown, status: number, code: string | null): Row => ({
  request,
  body: typeof body === "string" ? body : JSON.stringify(body),
  status,
  code,
});
const got = (request: string, search: string, status: number, code: string | null): Row => ({
  request,
  method: "GET",
  search,
  headers: {},
  status,
  code,
});
const plain = JSON.stringify({ query });
const subscription = JSON.stringify({ query: 'subscription { queueLatency(queues: ["a"]) { queue } }' });
const asks = (variable: string, variables: string) =>
  `{"query":"query ($${variable}: [String!]!) { queueLatency(queues: $${variable}) { state } }","variables":${variables}}`;

const rows: readonly Row[] = [
  posted("no body", "", 400, "BAD_USER_INPUT"),
  posted("half a body", '{"query":', 400, "BAD_USER_INPUT"),
  posted("null", "null", 400, "BAD_USER_INPUT"),
  posted("a number", "1e999", 400, "BAD_USER_INPUT"),
  posted("a string", '"{ __typename }"', 400, "BAD_USER_INPUT"),
  posted("an empty object", {}, 400, "BAD_REQUEST"),
  posted("a query that is a number", { query: 1 }, 400, "BAD_REQUEST"),
  posted("a query that is a list", { query: [query] }, 400, "BAD_REQUEST"),
  posted("a query with a NUL", { query: `${query}\0` }, 200, "GRAPHQL_PARSE_FAILED"),
  posted("variables that are a list", { query, variables: [1] }, 400, "BAD_REQUEST"),
  posted("variables that are a text", { query, variables: "{}" }, 400, "BAD_REQUEST"),
  posted("extensions that are a text", { query, extensions: "x" }, 400, "BAD_REQUEST"),
  posted("an operationName that is a number", { query, operationName: 1 }, 400, "BAD_REQUEST"),
  posted("an operationName that is an object", { query, operationName: {} }, 400, "BAD_REQUEST"),
  posted(
    "a hash in the place of a query",
    { extensions: { persistedQuery: { version: 1, sha256Hash: "0".repeat(64) } } },
    200,
    "PERSISTED_QUERY_NOT_FOUND",
  ),
  ...["__proto__", "constructor", "toString", "x".repeat(100_000)].map((operationName) =>
    posted(
      `operationName ${operationName.slice(0, 20)}`,
      { query, operationName },
      400,
      "OPERATION_RESOLUTION_FAILURE",
    ),
  ),
  posted("a parameter __proto__", `{"query":"${query}","__proto__":{"query":"{ a }"}}`, 400, "BAD_REQUEST"),
  posted("a parameter constructor", { query, constructor: { a: 1 } }, 400, "BAD_REQUEST"),
  posted("a parameter with a long name", { query, ["x".repeat(100_000)]: 1 }, 400, "BAD_REQUEST"),
  posted("a variable $constructor", asks("constructor", '{"constructor":["a"]}'), 200, null),
  posted("a variable $toString that is not given", asks("toString", "{}"), 400, "BAD_USER_INPUT"),
  posted("variables with a __proto__", asks("a", '{"__proto__":{"a":["a"]}}'), 400, "BAD_USER_INPUT"),
  posted(
    "a lone surrogate in a document",
    '{"query":"{ a(b: \\"\\ud800\\") }"}',
    200,
    "GRAPHQL_PARSE_FAILED",
  ),
  posted("a lone surrogate in a name", asks("a", '{"a":["\\ud800"]}'), 400, "BAD_USER_INPUT"),
  posted("a key twice, the last of which counts", `{"query":"{ a }","query":"${query}"}`, 200, null),
  posted("a byte order mark", `\ufeff${plain}`, 400, "BAD_USER_INPUT"),
  posted("a byte order mark in the document", { query: `\ufeff${query}` }, 200, null),
  posted("100,000 levels of lists", "[".repeat(100_000), 400, "VARIABLES_TOO_DEEP"),
  posted("100,000 levels of objects", '{"a":'.repeat(100_000), 400, "VARIABLES_TOO_DEEP"),
  posted("300,000 values", `[${"{},".repeat(300_000)}{}]`, 400, "VARIABLES_TOO_LARGE"),
  posted("a batch of 20,000 operations", `[${`${plain},`.repeat(20_000)}{}]`, 400, "BAD_USER_INPUT"),
  posted("1.2 MB", { query, extensions: { a: "x".repeat(1_200_000) } }, 413, "BODY_TOO_LARGE"),
  {
    ...posted("a compressed body", "", 415, "UNSUPPORTED_MEDIA_TYPE"),
    body: gzipSync(plain),
    headers: { ...json, "content-encoding": "gzip" },
  },
  {
    ...posted("bytes that are no UTF-8", "", 400, "BAD_USER_INPUT"),
    body: Buffer.from([0xff, 0xfe, 0x7b, 0x00]),
  },
  {
    ...posted("UTF-16", "", 400, "BAD_USER_INPUT"),
    body: Buffer.from(plain, "utf16le"),
    headers: { "content-type": "application/json; charset=utf-16" },
  },
  ...[
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/graphql",
    "application/xml",
    "application/jsonp",
    "__proto__",
    "constructor",
    ";;;",
    "",
  ].map(
    (type): Row => ({
      ...posted(`the media type ${type || "that is empty"}`, plain, 415, "UNSUPPORTED_MEDIA_TYPE"),
      headers: type === "" ? {} : { "content-type": type },
    }),
  ),
  {
    ...posted("JSON by another name", plain, 200, null),
    headers: { "content-type": "Application/JSON;charset=utf-8" },
  },
  ...[
    "image/png",
    "text/html;q=0",
    "application/json;charset=latin1",
    "application/json;q=0",
    "*/*;q=0, application/json;q=0",
    "multipart/mixed;q=0",
    "/",
    ",",
  ].map(
    (accept): Row => ({
      ...posted(`an answer as ${accept}`, plain, 406, "NOT_ACCEPTABLE"),
      headers: { ...json, accept },
    }),
  ),
  ...[
    "application/json",
    "application/json, text/html",
    "image/png",
    "*/*, text/event-stream;q=0",
    'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json',
  ].map(
    (accept): Row => ({
      ...posted(`a subscription to be answered as ${accept}`, subscription, 406, "NOT_ACCEPTABLE"),
      headers: { ...json, accept },
    }),
  ),
  ...["PUT", "DELETE", "PATCH", "PROPFIND"].map(
    (method): Row => ({
      ...posted(method, plain, 405, "METHOD_NOT_ALLOWED"),
      method,
      // Node announces no length for DELETE.
      headers: { ...json, "content-length": String(plain.length) },
    }),
  ),
  got("no parameters", "", 400, "BAD_REQUEST"),
  {
    ...got("no parameters, for any media type", "", 400, "BAD_REQUEST"),
    headers: { accept: "*/*" },
  },
  ...["application/json, text/html;q=0", "text/html;q=0.1, application/json", "text/html;q=0, */*;q=0.1"].map(
    (accept): Row => ({
      ...got(`a query for a browser that accepts ${accept}`, `?query=${query}`, 200, null),
      headers: { accept },
    }),
  ),
  got("GET with variables that are no JSON", `?query=${query}&variables={`, 400, "BAD_USER_INPUT"),
  got("GET with variables that are a number", `?query=${query}&variables=1`, 400, "BAD_REQUEST"),
  got("GET with variables that are null", `?query=${query}&variables=null`, 200, null),
  got("GET with extensions that are no JSON", `?query=${query}&extensions=x`, 400, "BAD_USER_INPUT"),
  got("GET with deep variables", `?query=${query}&variables=${"[".repeat(9_000)}`, 400, "VARIABLES_TOO_DEEP"),
  got("GET with bytes that are no UTF-8", "?query=%ff%fe%", 200, "GRAPHQL_PARSE_FAILED"),
  got("GET with two queries, the first of which counts", `?query=${query}&query={a}`, 200, null),
  got("a mutation by GET", '?query=mutation{forgetQueue(queue:"a")}', 405, "METHOD_NOT_ALLOWED"),
].map((row) => ({ ...row, search: row.search?.replaceAll(" ", "%20") ?? "" }));

describe("a request of", () => {
  test.each(rows)(
    "$request is answered with $status and $code, in few words",
    async ({ status, code, ...sent }) => {
      const reply = await send(sent);
      expect({ status: reply.status, type: reply.type }).toEqual({
        status,
        type: "application/json; charset=utf-8",
      });
      const { errors, data } = JSON.parse(reply.text);
      expect(errors?.[0]?.extensions.code ?? null).toBe(code);
      expect(data === undefined).toBe(code !== null);
      expect(reply.text.length).toBeLessThan(1_024);
      for (const { message } of errors ?? []) expect(message).not.toBe("");
      await expectUnharmed();
    },
  );

  test("a batch is answered one by one where the parameters of one are wrong", async () => {
    const batch = [[{ query }], null, 1, { query: 1 }, { query }];
    const { status, text } = await send({ body: JSON.stringify(batch) });
    expect(status).toBe(200);
    const answers = JSON.parse(text) as {
      readonly data?: unknown;
      readonly errors?: { extensions: { code: string } }[];
    }[];
    expect(answers.map(({ errors }) => errors?.[0]?.extensions.code ?? null)).toEqual([
      ...Array(4).fill("BAD_REQUEST"),
      null,
    ]);
    await expectUnharmed();
  });

  test("nothing but what is charged is charged", async () => {
    const left = async (body: unknown) =>
      JSON.parse((await send({ body: JSON.stringify(body) })).text).extensions.cost.throttleStatus
        .currentlyAvailable;
    const reading = '{ queueLatency(queues: ["a"]) { queue } }';
    // Again when a point, which takes nine seconds, has come back meanwhile.
    await until(async () => {
      const before = await left({ query: reading });
      for (const more of [{ variables: [] }, { extensions: 1 }, { other: 1 }, { operationName: "A" }]) {
        expect(await left({ query: reading, ...more })).toBe(before);
      }
      const { status } = await send({ body: subscription, headers: { ...json, accept: "application/json" } });
      expect(status).toBe(406);
      expect(await left({ query: reading })).toBe(before - 1);
    });
  });
});

describe("a connection on which", () => {
  const head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const megabyte = `${(65_536).toString(16)}\r\n${" ".repeat(65_536)}\r\n`.repeat(16);

  test.each([
    { comes: "a negative Content-Length", bytes: [`${head}Content-Length: -5\r\n\r\n${plain}`], status: 400 },
    {
      comes: "two lengths",
      bytes: [`${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n${plain}`],
      status: 400,
    },
    {
      comes: "a length and chunks",
      bytes: [`${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      status: 400,
    },
    {
      comes: "the promise of a terabyte",
      bytes: [`${head}Content-Length: 1099511627776\r\n\r\n{`],
      status: 413,
    },
    {
      comes: "two megabytes in chunks, of no known length",
      bytes: [`${head}Transfer-Encoding: chunked\r\n\r\n`, megabyte, megabyte],
      status: 413,
    },
    {
      comes: "an address of 20,000 characters",
      bytes: [`GET /graphql?query=${"x".repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`],
      status: 431,
    },
    {
      comes: "a chunk with no length",
      bytes: [`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
      status: 400,
    },
  ])("$comes is answered with $status", async ({ bytes, status }) => {
    const text = await sendBytes(...bytes);
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    if (status === 413) expect(text).toContain('"code":"BODY_TOO_LARGE"');
    expect(text.length).toBeLessThan(1_024);
    await expectUnharmed();
  });

  test.each([
    { sends: "half of the body that it promised", bytes: `${head}Content-Length: 500\r\n\r\n{"query":` },
    { sends: "a chunk, and not the last", bytes: `${head}Transfer-Encoding: chunked\r\n\r\n5\r\n{"que\r\n` },
  ])("a client that $sends, and hangs up, is not logged", async ({ bytes }) => {
    const socket = connect(Number(new URL(app.url).port), "127.0.0.1");
    socket.on("error", () => {});
    await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
    // The request has begun when one that came later is answered.
    await expectUnharmed();
    socket.resetAndDestroy();
    await once(socket, "close");
    await expectUnharmed();
    await expectUnharmed();
  });
});

describe("a random request", () => {
  const anyWord = fc.constantFrom(
    ...[
      "{",
      "}",
      "[",
      "]",
      '"',
      "\\",
      ",",
      ":",
      "null",
      "1",
      "-1e999",
      "query",
      "variables",
      "__proto__",
      "\0",
      "\ud800",
      "\ufeff",
      "é",
      "{ __typename }",
      "$a",
      "@skip",
    ],
  );
  const anyText = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(anyWord, { maxLength: 30 }).map((words) => words.join("")),
  );
  const anyValue = fc.jsonValue({ maxDepth: 4 });
  const anyParams = fc.record(
    {
      query: fc.oneof(fc.constant(query), anyText, anyValue),
      variables: fc.oneof(fc.dictionary(anyText, anyValue), anyValue),
      operationName: fc.oneof(anyText, anyValue),
      extensions: anyValue,
    },
    { requiredKeys: [] },
  );
  /** JSON, and JSON with a piece cut out or put in. */
  const anyBody = fc
    .tuple(
      fc.oneof(anyParams, fc.array(anyParams, { maxLength: 3 }), anyValue),
      fc.option(anyText),
      fc.nat(),
      fc.nat(20),
    )
    .map(([value, piece, at, length]) => {
      const text = JSON.stringify(value);
      if (piece === null) return text;
      const start = at % (text.length + 1);
      return text.slice(0, start) + piece + text.slice(start + length);
    });
  const mediaTypes = [
    "application/json",
    "application/graphql",
    "application/graphql+json",
    "application/x-www-form-urlencoded",
    "application/json; charset=x",
    "text/plain",
  ];
  const accepts = [
    "*/*",
    "application/json",
    "application/graphql-response+json",
    "text/event-stream",
    "multipart/mixed",
    "image/png",
    "*/*;q=0",
    "json",
  ];

  const anyRequest: fc.Arbitrary<Sent> = fc.record({
    method: fc.constantFrom("POST", "POST", "POST", "GET", "PUT"),
    search: fc.oneof(
      fc.constant(""),
      fc
        .array(fc.tuple(fc.constantFrom("query", "variables", "operationName", "extensions", "x"), anyText), {
          maxLength: 4,
        })
        .map(
          // A text that is no Unicode cannot be sent in an address.
          (pairs) => `?${new URLSearchParams(pairs.map(([name, value]) => [name, value.slice(0, 200)]))}`,
        ),
      fc.base64String().map((text) => `?query=%${text}`),
    ),
    headers: fc.record(
      {
        "content-type": fc.constantFrom(...mediaTypes),
        accept: fc.constantFrom(...accepts),
        "content-encoding": fc.constantFrom("identity", "gzip", "x"),
      },
      { requiredKeys: ["content-type"] },
    ),
    body: fc.oneof(
      anyBody,
      anyBody.map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    ),
  });

  test("is answered with 200 or 4xx and a small body that says why, and does no harm", async () => {
    await fc.assert(
      fc.asyncProperty(anyRequest, async ({ method = "POST", body = "", ...sent }) => {
        const { status, type, text } = await send({ ...sent, method, body: method === "GET" ? "" : body });
        expect([200, 400, 403, 405, 406, 413, 415]).toContain(status);
        expect(text.length).toBeLessThan(4_096);
        const [, part] = /^(?:data|\{|\[)(?:: )?/.test(text)
          ? ["", text]
          : (/(?:^data: |\r\n\r\n)([[{].*)$/m.exec(text) ?? []);
        expect(type).toMatch(
          /^(?:application\/(?:graphql-response\+)?json; charset=utf-8|text\/event-stream|multipart\/mixed; boundary="-")$/,
        );
        const answers = [JSON.parse(part ?? "")].flat() as {
          readonly errors?: readonly { readonly message: string }[];
        }[];
        if (status !== 200) expect(answers[0]?.errors?.[0]?.message).toMatch(/\w/);
        expect(text).not.toContain("Unexpected error");
      }),
      { numRuns: 400 },
    );
    await expectUnharmed();
  });
});
