import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";

/** What the token `flood` does to a server, for as long as its process lives. */
export const floods = {
  "__typename by HTTP": (url: string) => repeat(50, () => http(url, post('{"query":"{ __typename }"}'))),
  "__typename by WebSocket": (url: string) =>
    repeat(5, () => webSocket(url, '{"query":"{ __typename }"}', 400)),
  "refused documents by HTTP": (url: string) =>
    repeat(8, () => http(url, post(JSON.stringify({ query: document })))),
  "refused documents by WebSocket": (url: string) =>
    repeat(2, () => webSocket(url, JSON.stringify({ query: document }), 4)),
  introspection: (url: string) => repeat(20, (i) => http(url, post(JSON.stringify({ query: schema(i) })))),
  "posts without their last byte": (url: string) => repeat(1_000, () => halfPost(url)),
  "bodies in chunks of one byte": (url: string) => repeat(5, () => oneByteChunks(url)),
  "fragments of one byte": (url: string) => repeat(5, () => fragments(url, true)),
  "fragments of one byte, by a stranger": (url: string) => repeat(5, () => fragments(url, false)),
  "frames without end": (url: string) => repeat(20, () => halfMessages(url)),
  "answers unread": (url: string) => repeat(140, () => unread(url)),
  "wide subscriptions": (url: string) => repeat(3, (i) => subscriptions(url, i)),
} as const;

/** What clients without a token do to it. */
export const strangersFloods = {
  "pipelined requests of a stranger": (url: string) => repeat(20, () => pipeline(url)),
  "chunks of one byte of a stranger": (url: string) => repeat(300, () => oneByteChunks(url, "stranger")),
  "unknown paths": (url: string) => repeat(200, () => http(url, get("/x"), 1)),
  "unknown tokens": (url: string) => repeat(200, () => http(url, post("{}", "stranger"), 1)),
  "/ready": (url: string) => repeat(800, () => http(url, get("/ready"), 1)),
  "/metrics without a token": (url: string) => repeat(50, () => http(url, get("/metrics"), 8)),
  GraphiQL: (url: string) => repeat(200, () => http(url, get("/graphql", "Accept: text/html\r\n"), 1)),
} as const;

/** Runs one of the floods, or all of the token at once, for ever. */
export async function runFloods(name: string, url: string): Promise<void> {
  const wanted = Object.entries({ ...floods, ...strangersFloods }).filter(([each]) =>
    name === "all at once" ? each in floods : name === each,
  );
  await Promise.all(wanted.map(([, flood]) => flood(url)));
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const repeat = (count: number, run: (i: number) => Promise<void>) =>
  Promise.all(numbers(count).map(forever(run)));

/** Begins again when it ends, or the server cuts it. */
function forever(run: (i: number) => Promise<void>): (i: number) => Promise<never> {
  return async (i) => {
    for (;;) {
      await run(i).catch(() => {});
      await sleep(100);
    }
  };
}

const fields = "queue state latency depth scheduled accuracy measuredAt stale";
/** Valid, within all bounds, and refused for its price. */
const document = `{ ${numbers(50)
  .map((i) => `...F${i}`)
  .join(" ")} } ${numbers(50)
  .map((i) => {
    const own = numbers(i < 18 ? 2 : 1).map(() => `queueLatency(queues: ["a"]) { ${fields} }`);
    const next = numbers(Math.min(9, 49 - i)).map((j) => `...F${i + j + 1}`);
    return `fragment F${i} on Query { ${own.join(" ")} ${next.join(" ")} }`;
  })
  .join(" ")}`;
const schema = (i: number) =>
  `query Q${i}_${Math.random().toString(36).slice(2)} { __schema { types { name kind description fields { name description args { name type { name } } type { name kind ofType { name } } } } } }`;

const head = (token: string) =>
  `POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\n`;
const post = (body: string, token = "flood") =>
  `${head(token)}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const get = (path: string, headers = "") => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;

async function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Requests one after the other, this number in flight. */
async function http(url: string, request: string, atOnce = 8): Promise<void> {
  const socket = await open(url);
  socket.setEncoding("latin1");
  let tail = "";
  socket.on("data", (text: string) => {
    const all = tail + text;
    const answers = all.split("HTTP/1.1 ").length - 1;
    tail = all.slice(-8).includes("HTTP/1.1 ") ? "" : all.slice(-8);
    if (answers > 0) socket.write(request.repeat(answers));
  });
  socket.write(request.repeat(atOnce));
  await once(socket, "close");
}

async function openSocket(url: string, token: string | null): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket.on("error", () => {});
  await Promise.race([
    once(socket, "open"),
    once(socket, "close").then(() => Promise.reject(new Error("closed"))),
  ]);
  if (token !== null) {
    socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${token}` } }));
    await Promise.race([once(socket, "message"), once(socket, "close")]);
  }
  return socket;
}

async function webSocket(url: string, payload: string, atOnce: number): Promise<void> {
  const socket = await openSocket(url, "flood");
  let id = 0;
  const ask = () => socket.send(`{"type":"subscribe","id":"${++id}","payload":${payload}}`);
  socket.on("message", (data: Buffer) => {
    const text = data.subarray(0, 60).toString();
    if (text.includes('"complete"') || text.includes('"error"')) ask();
  });
  for (let i = 0; i < atOnce; i++) ask();
  await once(socket, "close");
}

async function halfPost(url: string): Promise<void> {
  const socket = await open(url);
  socket.resume();
  socket.write(`${head("flood")}Content-Length: 1099000\r\n\r\n{`);
  socket.write(Buffer.alloc(1_098_000, " "));
  await once(socket, "close");
}

/** As many requests as the server takes in. */
async function pipeline(url: string): Promise<void> {
  const socket = await open(url);
  socket.resume();
  const closed = once(socket, "close");
  const requests = "GET /x HTTP/1.1\r\nHost:\r\n\r\n".repeat(2_500);
  while (!socket.destroyed) if (!socket.write(requests)) await Promise.race([once(socket, "drain"), closed]);
  await closed;
}

const chunks = Buffer.from("1\r\n \r\n".repeat(100_000));

async function oneByteChunks(url: string, token = "flood"): Promise<void> {
  const socket = await open(url);
  socket.resume();
  socket.write(`${head(token)}Transfer-Encoding: chunked\r\n\r\n`);
  const closed = once(socket, "close");
  for (let i = 0; i < 10 && !socket.destroyed; i++) {
    if (!socket.write(chunks)) await Promise.race([once(socket, "drain"), closed]);
  }
  await closed;
}

/** Frames of one byte that are a text message which never ends: masked by zeros. */
async function fragments(url: string, isClient: boolean): Promise<void> {
  const socket = await openSocket(url, isClient ? "flood" : null);
  const raw = (socket as unknown as { readonly _socket: Socket })._socket;
  const closed = once(socket, "close");
  raw.write(Buffer.from([0x01, 0x81, 0, 0, 0, 0, 0x20]));
  const more = Buffer.concat(Array<Buffer>(50_000).fill(Buffer.from([0x00, 0x81, 0, 0, 0, 0, 0x20])));
  while (!raw.destroyed) if (!raw.write(more)) await Promise.race([once(raw, "drain"), closed]);
  await closed;
}

/** A megabyte of a message that never ends. */
async function halfMessages(url: string): Promise<void> {
  const socket = await openSocket(url, "flood");
  const raw = (socket as unknown as { readonly _socket: Socket })._socket;
  const size = Buffer.alloc(8);
  size.writeUInt32BE(1_099_000, 4);
  raw.write(Buffer.concat([Buffer.from([0x81, 0xff]), size, Buffer.alloc(4), Buffer.alloc(1_098_000, " ")]));
  await once(socket, "close");
}

async function unread(url: string): Promise<void> {
  const socket = await openSocket(url, "flood");
  socket.pause();
  for (let i = 0; i < 200; i++) {
    socket.send(JSON.stringify({ type: "subscribe", id: String(i), payload: { query: schema(i) } }));
  }
  await once(socket, "close");
}

/** Of 100 queues, each with 190 aliases; another client records to them. */
async function subscriptions(url: string, i: number): Promise<void> {
  const aliases = numbers(190)
    .map((j) => `a${j}: latency`)
    .join(" ");
  const queues = numbers(100).map((j) => `wide${i}-${j}`);
  const socket = await openSocket(url, "flood");
  const query = `subscription ($queues: [String!]!) { queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 250) { queue ${aliases} } }`;
  socket.send(JSON.stringify({ type: "subscribe", id: "1", payload: { query, variables: { queues } } }));
  const events = queues.map((queue) => ({ type: "ENQUEUED", queue, jobId: String(Math.random()) }));
  const record = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
  await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer other" },
    body: JSON.stringify({ query: record, variables: { events } }),
  });
  await once(socket, "close");
}
