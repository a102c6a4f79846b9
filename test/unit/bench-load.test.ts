import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  request as requestOverHttp,
} from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client/core";
import { Client, cacheExchange, fetchExchange } from "@urql/core";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { createArrivals } from "../../bench/load/arrivals.ts";
import { askAtRate, askInTurn } from "../../bench/load/ask.ts";
import { type ClientKind, requestOf } from "../../bench/load/client-requests.ts";
import { openConnection, postOf } from "../../bench/load/http-connection.ts";
import { createResponseParser } from "../../bench/load/response-parser.ts";

describe("the parser of responses", () => {
  const responses = [
    { status: 200, body: "hello", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" },
    { status: 204, body: "", bytes: "HTTP/1.1 204 No Content\r\n\r\n" },
    {
      status: 429,
      body: "first second",
      bytes:
        "HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n",
    },
  ];

  test("finds the same responses, however the connection cuts them", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...responses), { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(40), { maxLength: 60 }),
        (sent, cuts) => {
          const received: { status: number; body: string }[] = [];
          let body = "";
          const parser = createResponseParser({
            onBody: (bytes) => {
              body += bytes.toString();
            },
            onEnd(status) {
              received.push({ status, body });
              body = "";
            },
          });
          let rest = Buffer.from(sent.map(({ bytes }) => bytes).join(""));
          for (const cut of cuts) {
            parser.feed(rest.subarray(0, cut));
            rest = rest.subarray(cut);
          }
          parser.feed(rest);
          expect(received).toEqual(sent.map((each) => ({ status: each.status, body: each.body })));
        },
      ),
    );
  });

  test("does not take anything else for a response", () => {
    const parser = createResponseParser({ onBody() {}, onEnd() {} });
    expect(() => parser.feed(Buffer.from("-ERR unknown command\r\n\r\n"))).toThrow(
      "expected an HTTP response",
    );
  });
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("the requests of clients", () => {
  const query = "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue latency } }";
  const queues = ["mail", "reports"];
  const authorization = "Bearer secret";
  const headers = { authorization };

  /** How each asks by itself; KEDA as Go's HTTP client does, for the URL of its example. */
  const clients: Readonly<Record<ClientKind, (url: string) => Promise<unknown>>> = {
    fetch: (url) =>
      fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ query, variables: { queues } }),
      }),
    "Apollo Client": (uri) =>
      new ApolloClient({ cache: new InMemoryCache(), link: new HttpLink({ uri, headers }) }).query({
        query: gql(query),
        variables: { queues },
      }),
    urql: (url) =>
      new Client({
        url,
        exchanges: [cacheExchange, fetchExchange],
        fetchOptions: { headers },
        preferGetMethod: false,
      })
        .query(query, { queues })
        .toPromise(),
    async KEDA(url) {
      const document = `{ queueLatency(queues: ${JSON.stringify(queues)}) { queue latency } }`;
      const asGo = { "user-agent": "Go-http-client/1.1", "accept-encoding": "gzip", ...headers };
      const sent = requestOverHttp(`${url}?query=${encodeURIComponent(document)}`, { headers: asGo }).end();
      const [response] = await once(sent, "response");
      response.resume();
    },
  };

  test.each(Object.entries(clients))("are those that %s sends", async (client, ask) => {
    const received: object[] = [];
    const url = await serve(async (request, response) => {
      received.push(await partsOf(request));
      response.setHeader("content-type", "application/json").end('{"data":{"queueLatency":[]}}');
    });
    await ask(`${url}/graphql`);
    const connection = await openConnection(url);
    await connection.ask(requestOf(client as ClientKind, { query, queues }, "secret"));
    connection.close();
    expect(received[1]).toEqual(received[0]);
  });

  async function partsOf(request: IncomingMessage): Promise<object> {
    const { host, connection, "content-length": _, ...others } = request.headers;
    // Apollo Client says which version it is.
    const body = (await text(request)).replace(/("version":")[\d.]+/, "$1");
    return { method: request.method, url: request.url, headers: others, body };
  }
});

describe("asking", () => {
  const question = { request: postOf("{}", "name"), status: 200, contains: "right" };

  test("asks on every connection at once, each question in its turn, with its token", async () => {
    const tokens = new Set<string | undefined>();
    let open = 0;
    let maxOpen = 0;
    const url = await serve((request, response) => {
      tokens.add(request.headers.authorization);
      maxOpen = Math.max(maxOpen, ++open);
      setImmediate(() => {
        open -= 1;
        response.end("right");
      });
    });
    const questions = [question, { ...question, request: postOf("{}", "other") }];
    const { tookMs } = await askInTurn({ url, questions, connections: 3, forMs: 100 });
    expect(tookMs.map((times) => times.length > 0)).toEqual([true, true]);
    expect([...tokens].sort()).toEqual(["Bearer name", "Bearer other"]);
    expect(maxOpen).toBeGreaterThan(1);
    expect(maxOpen).toBeLessThanOrEqual(3);
  });

  test.each([
    ["of another status", 500, "right"],
    ["that lacks what it should have", 200, "wrong"],
  ])("fails on an answer %s", async (_, status, body) => {
    const url = await serve((_request, response) => response.writeHead(status).end(body));
    const asked = askInTurn({ url, questions: [question], connections: 1, forMs: 1_000 });
    await expect(asked).rejects.toThrow(`got ${status}: ${body}`);
  });

  test("counts the time that a question waits for those before it", async () => {
    const answerAfterMs = 20;
    const url = await serve((_request, response) => setTimeout(() => response.end("right"), answerAfterMs));
    // All of them are due at once.
    const asking = { url, questions: [question], connections: 1, forMs: 1, perSecond: 5_000 };
    const [tookMs = []] = (await askAtRate(asking)).tookMs;
    expect(tookMs).toHaveLength(5);
    // Timers may be a little early.
    expect(Math.max(...tookMs)).toBeGreaterThan(5 * (answerAfterMs - 2));
  });
});

describe("arrivals", () => {
  const push = (queue: string, depth: number) => `[{"queue":"${queue}","state":"WAITING","depth":${depth}}]`;

  test("are the first time that a watcher sees a depth, or a greater one", () => {
    const arrivals = createArrivals("mail", 2);
    arrivals.observe(0, push("mail", 3));
    arrivals.observe(1, push("mail", 3));
    arrivals.begin();
    arrivals.observe(0, push("mail", 4));
    arrivals.observe(0, push("other", 9));
    arrivals.observe(0, push("mail", 4));
    arrivals.observe(1, push("mail", 5));
    expect(arrivals.seenByAll()).toBe(4);
    const seen = arrivals.end();
    expect([...seen].map(([depth, times]) => [depth, times.length])).toEqual([
      [4, 2],
      [5, 1],
    ]);
  });
});
