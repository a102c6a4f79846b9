import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { createKeys, type Keys } from "../../src/redis/keys.ts";
import { reportsHeldBytes } from "./held-memory.ts";
import { startRedis, type TestRedis, uniquePrefix } from "./redis.ts";
import { type Relay, startRelay } from "./relay.ts";
import { ask, startServer, type TestServer } from "./server.ts";
import { sseTransport, type Transport, websocketTransport } from "./streams.ts";

/** What one of the loads asked for, and how it was answered. */
export interface Asked {
  readonly what: "query" | "queues" | "recordEvents" | "forgetQueue";
  readonly sentAtMs: number;
  readonly tookMs: number;
  readonly status: number;
  /** `extensions.code` of its errors; empty: it was answered. */
  readonly codes: readonly unknown[];
}

/** What a client was sent of the queue that is recorded to, and between which depths it must have been. */
export interface Seen {
  readonly by: string;
  readonly depth: number;
  readonly stale: boolean;
  readonly accuracy: string;
  /** By this machine's clock, which is Redis's, in ms since the epoch. */
  readonly measuredAtMs: number;
  readonly atMs: number;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
}

/**
 * A server in a process of its own, between a Redis of its own and people who do not stop: one records jobs, each batch until
 * it is acknowledged; one asks for everything there is to ask; two watch, over server-sent events and over a WebSocket.
 */
export interface UnderLoad extends AsyncDisposable {
  readonly redis: TestRedis;
  /** Between the server and its Redis. */
  readonly relay: Relay;
  /** Not through the relay, and as a user of its own, whose rights no test takes away. */
  readonly admin: Redis;
  readonly server: TestServer;
  readonly keys: Keys;
  readonly asked: readonly Asked[];
  readonly seen: readonly Seen[];
  /** How many jobs have been acknowledged, and how many were sent at all; all of them were enqueued, none left. */
  readonly acknowledged: number;
  readonly sent: number;
  /** How many had been acknowledged before then. */
  acknowledgedAt(ms: number): number;
  /** Ends the recording, once all that was sent has been acknowledged. */
  finishRecording(): Promise<void>;
  /** Ends all of it, but not the server. @throws what went wrong with a load, such as a stream that broke. */
  end(): Promise<void>;
  /** What Redis has counted of the queue, as it is found through the relay. */
  totals(): Promise<Readonly<Record<string, number>>>;
  /** Every line of the server's log. @throws when a line is none. */
  log(): readonly LogLine[];
}

const queue = "busy";
const jobsPerBatch = 3;
const selection = "queue depth stale accuracy measuredAt";

export interface UnderLoadOptions {
  readonly appendonly?: boolean;
  /** More of redis-server's command line. */
  readonly args?: readonly string[];
}

/** Arguments of a redis-server that has the admin's user. */
export const withAdmin = ["--user", "admin", "on", "nopass", "~*", "&*", "+@all"];

export async function putUnderLoad({ appendonly = true, args = [] }: UnderLoadOptions): Promise<UnderLoad> {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(
    await startRedis({ appendonly, args: ["--appendfsync", "everysec", ...args, ...withAdmin] }),
  );
  const relay = stack.use(await startRelay(redis.url));
  const adminAt = (url: string) => {
    const options = { username: "admin", password: "any", retryStrategy: () => 50, enableReadyCheck: false };
    const connection = new Redis(url, options);
    connection.on("error", () => {});
    stack.defer(() => connection.disconnect());
    return connection;
  };
  const admin = adminAt(redis.url);
  const prefix = uniquePrefix();
  const keys = createKeys(prefix);
  const server = stack.use(
    await startServer({
      ...reportsHeldBytes,
      REDIS_URL: relay.url,
      KEY_PREFIX: prefix,
      RATE_LIMIT_MAX: "10000000",
    }),
  );

  const asked: Asked[] = [];
  const seen: Seen[] = [];
  const acknowledgedAtMs: number[] = [];
  let sent = 0;
  const ending = new AbortController();
  let isRecording = true;

  async function askFor(what: Asked["what"], query: string, variables: object = {}) {
    const sentAtMs = Date.now();
    const startedAtMs = performance.now();
    const { status, body } = await ask(server.url, query, variables);
    const codes = (body.errors ?? []).map(({ extensions }) => extensions.code);
    asked.push({ what, sentAtMs, tookMs: performance.now() - startedAtMs, status, codes });
    return codes.length === 0 ? body.data : null;
  }

  function receive(by: string, rows: readonly Row[]): void {
    for (const { depth, stale, accuracy, measuredAt } of rows) {
      // Until the first event was recorded the depth is not known.
      seen.push({
        by,
        depth: depth ?? 0,
        stale,
        accuracy,
        measuredAtMs: Date.parse(measuredAt),
        atMs: Date.now(),
      });
    }
  }

  const recording = (async () => {
    for (let batch = 0; isRecording; batch++) {
      const events = Array.from({ length: jobsPerBatch }, () => {
        return { type: "ENQUEUED", queue, jobId: String(sent++) };
      });
      // Half of them have nothing but the events' own identity to be distinguished by.
      const variables = { events, batchId: batch % 2 === 0 ? `batch-${batch}` : null };
      const mutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
        recordEvents(events: $events, batchId: $batchId) { accepted duplicates } }`;
      while (!ending.signal.aborted && (await askFor("recordEvents", mutation, variables)) === null) {
        await pause(20);
      }
      acknowledgedAtMs.push(...events.map(() => Date.now()));
      await pause(20);
    }
  })();
  const asking = (async () => {
    for (let round = 0; !ending.signal.aborted; round++) {
      await Promise.all([
        askFor("query", `{ queueLatency(queues: ["${queue}"]) { ${selection} } }`).then((data) => {
          if (data !== null) receive("query", data.queueLatency);
        }),
        askFor("queues", `{ queues(prefix: "${queue}") { edges { node { ${selection} } } } }`).then(
          (data) => {
            const edges: readonly { readonly node: Row }[] = data?.queues.edges ?? [];
            receive(
              "queues",
              edges.map(({ node }) => node),
            );
          },
        ),
        askFor("forgetQueue", `mutation { forgetQueue(queue: "unknown-${round}") }`),
      ]);
      await pause(20);
    }
  })();
  const transports = { sse: sseTransport, websocket: websocketTransport };
  const watching = Object.entries(transports).map(([by, connect]) =>
    watch(stack.use(connect(server.url)), ending.signal, (rows) => receive(by, rows)),
  );
  // A load that fails is reported when the test asks for the end.
  const all = Promise.all([recording, asking, ...watching]);
  all.catch(() => {});
  async function end(): Promise<void> {
    ending.abort();
    isRecording = false;
    await all;
  }

  return {
    redis,
    relay,
    admin,
    server,
    keys,
    asked,
    seen,
    get acknowledged() {
      return acknowledgedAtMs.length;
    },
    get sent() {
      return sent;
    },
    // In the same millisecond it may have been acknowledged later.
    acknowledgedAt: (ms) => acknowledgedAtMs.filter((at) => at < ms).length,
    async finishRecording() {
      isRecording = false;
      await recording;
    },
    end,
    async totals() {
      const state = await adminAt(relay.url).hgetall(keys.state(queue));
      const counted = ["enqueued", "dequeued", "removed", "lost"].filter((name) => name in state);
      return Object.fromEntries(counted.map((name) => [name, Number(state[name])]));
    },
    log: () => server.stderr().split("\n").slice(0, -1).map(parseLine),
    async [Symbol.asyncDispose]() {
      await end().catch(() => {});
      await stack.disposeAsync();
    },
  };
}

interface Row {
  readonly depth: number | null;
  readonly stale: boolean;
  readonly accuracy: string;
  readonly measuredAt: string;
}

/** @throws when the stream ends, breaks or has an error in it. */
async function watch(
  transport: Transport,
  end: AbortSignal,
  receive: (rows: readonly Row[]) => void,
): Promise<void> {
  const stream = transport.subscribe(
    `subscription { queueLatency(queues: ["${queue}"], minIntervalMs: 50, refreshMs: 250) { ${selection} } }`,
  );
  end.addEventListener("abort", () => stream.abort());
  for (;;) {
    const { done, value } = await stream.next().catch((error: unknown) => {
      if (end.aborted) return { done: true, value: undefined } as const;
      throw error;
    });
    if (end.aborted) return;
    if (done) throw new Error("the server has ended a subscription");
    if (value.errors !== undefined) throw new Error(`a push had errors: ${JSON.stringify(value.errors)}`);
    receive(value.data.queueLatency);
  }
}

function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`the log has a line that is none: ${line}`);
  }
}
