import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { onThisMachine } from "../support/busy-machine.ts";
import { killRedis, redisPids } from "../support/embedded-redis.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask } from "../support/server.ts";
import {
  type SlowReader,
  slowSse,
  slowWebsocket,
  sseTransport,
  websocketTransport,
} from "../support/streams.ts";
import { hangsAfterMs } from "../support/until.ts";

/** Many processes start here: it pays to compile the modules once. */
let compileCache = "";
beforeAll(async () => {
  compileCache = await mkdtemp(join(tmpdir(), "ql-compiled-"));
});
afterAll(() => rm(compileCache, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));

const recordMutation = `
  mutation ($events: [QueueEventInput!]!, $batchId: ID) {
    recordEvents(events: $events, batchId: $batchId) { accepted duplicates early }
  }`;

describe("a server with a Redis of its own", () => {
  it("says where the dashboard and GraphiQL are, and has its data when it is started again", async () => {
    await using data = await temporaryDataDir();
    await using first = await startServer({ DATA_DIR: data.path });
    expect(first.stdout()).toMatch(
      /^queue-latency is ready\. Dashboard: (http:\/\/127\.0\.0\.1:\d+)\/ GraphiQL: \1\/graphql\n$/,
    );
    const page = await fetch(`${first.url}/graphql`, { headers: { accept: "text/html" } });
    expect(page.headers.get("content-type")).toMatch(/^text\/html/);
    expect(await page.text()).toContain("GraphiQL");
    await record(first.url, [enqueued("q", "a"), enqueued("q", "b")]);
    const before = await queueOf(first.url, "q");
    expect(before).toMatchObject({ state: "WAITING", depth: 2 });
    expect(await first.end("SIGTERM")).toBe(0);

    await using second = await startServer({ DATA_DIR: data.path });
    expect(await queueOf(second.url, "q")).toEqual(before);
  });

  it("is the only one on its DATA_DIR: a second server reports the owner, and how to share", async () => {
    await using data = await temporaryDataDir();
    await using owner = await startServer({ DATA_DIR: data.path });
    const pids = await redisPids(data.path);
    await record(owner.url, [enqueued("q", "a")]);
    for (const removed of ["redis.sock", "owner"]) {
      const message = await refusalOf({ DATA_DIR: data.path });
      expect(message).toHaveLength(1);
      expect(message[0]).toMatch(/DATA_DIR .* is in use by .*set REDIS_URL/);
      if (removed === "redis.sock") {
        expect(message[0]).toContain(`process ${owner.child.pid} (${owner.url})`);
      }
      await rm(join(data.path, "redis", removed));
      expect(await queueOf(owner.url, "q")).toMatchObject({ depth: 1 });
      expect(await redisPids(data.path)).toEqual(pids);
    }
    expect(await owner.end("SIGTERM")).toBe(0);
    expect(await redisPids(data.path)).toEqual([]);
  });

  it.each([
    { how: "killed by SIGKILL", signal: "SIGKILL", code: null },
    { how: "stopped by SIGTERM", signal: "SIGTERM", code: 0 },
  ] as const)("has every acknowledged event, exactly, when it was $how while it recorded", async (row) => {
    await using data = await temporaryDataDir();
    await using first = await startServer({ DATA_DIR: data.path });
    const recording = startRecording(first.url, 3);
    while (recording.acknowledged() < 60) await sleep(5);
    expect(await first.end(row.signal)).toBe(row.code);
    const { unanswered, batches } = await recording.ended;
    expect(batches - unanswered.length).toBeGreaterThanOrEqual(60);

    await using second = await startServer({ DATA_DIR: data.path });
    // What was on its way may have arrived or not; sent again, it is there once.
    for (const batch of unanswered)
      expect(await sendBatch(second.url, batch)).toMatchObject({ accepted: 50 });
    // A dequeue that is not early shows that the enqueue was there.
    for (let batch = 0; batch < batches; batch++) {
      const events = eventsOf(batch).map((event) => ({ ...event, type: "DEQUEUED" }));
      expect(await record(second.url, events)).toEqual({ accepted: 50, duplicates: 0, early: 0 });
    }
    for (const queue of batchQueues) {
      const { state, depth, waitTime } = await queueOf(second.url, queue);
      expect({ state, depth, dequeued: waitTime.count }).toEqual({
        state: "EMPTY",
        depth: 0,
        dequeued: (batches * 50) / batchQueues.length,
      });
    }
    expect(await redisPids(data.path)).toHaveLength(1);
  });
});

describe("a server that is asked to stop while it records", () => {
  it.each(["HTTP", "WebSocket"])("finishes that first, over %s", async (transport) => {
    await using data = await temporaryDataDir();
    await using server = await startServer({ DATA_DIR: data.path });
    const redis = new Redis({ path: join(data.path, "redis", "redis.sock"), retryStrategy: () => null });
    redis.on("error", () => {});
    await record(server.url, [enqueued("q", "before")]);
    await using client = websocketTransport(server.url);
    const idle = client.subscribe("{ __typename }");
    expect((await idle.next()).value).toMatchObject({ data: { __typename: "Query" } });

    await redis.client("PAUSE", 30_000, "WRITE");
    const variables = { events: [enqueued("q", "under-way")] };
    const answer =
      transport === "HTTP"
        ? ask(server.url, recordMutation, variables).then(({ body }) => body)
        : client
            .subscribe(recordMutation, variables)
            .next()
            .then(({ value }) => value);
    await until(async () =>
      / name=queue-latency-commands .* flags=\w*b/m.test(String(await redis.client("LIST"))),
    );
    const exited = server.end("SIGTERM");
    await until(async () => server.stderr().includes('"stopping"'));
    await redis.client("UNPAUSE");

    expect(await answer).toMatchObject({ data: { recordEvents: { accepted: 1 } } });
    expect(await exited).toBe(0);
    redis.disconnect();
    await using again = await startServer({ DATA_DIR: data.path });
    expect(await queueOf(again.url, "q")).toMatchObject({ depth: 2 });
  });
});

// Each of these mostly waits, so they do it together.
describe.concurrent("a server", () => {
  describe("that is asked to stop", () => {
    it.each([
      { how: "SIGTERM", signals: ["SIGTERM"] },
      { how: "SIGINT", signals: ["SIGINT"] },
      { how: "SIGHUP, which says that the terminal was closed", signals: ["SIGHUP"] },
      { how: "one Ctrl-C that arrives twice, as npm start passes it on", signals: ["SIGINT", "SIGINT"] },
    ] as const)("ends together with its Redis, by exit code 0, at $how", async ({ signals }) => {
      await using data = await temporaryDataDir();
      await using server = await startServer({ DATA_DIR: data.path });
      await record(server.url, [enqueued("q", "a")]);
      expect(await redisPids(data.path)).toHaveLength(1);
      for (const signal of signals) server.child.kill(signal);
      expect(await server.exited).toBe(0);
      expect(await redisPids(data.path)).toEqual([]);
      expect(logged(server, "error")).toEqual([]);
      expect(server.stderr()).not.toContain("    at ");
    });

    it("has run until then when its output is not read", async () => {
      await using data = await temporaryDataDir();
      const { port } = await listen(() => {}).then(async (taken) => {
        await taken[Symbol.asyncDispose]();
        return taken;
      });
      await using server = spawnServer({ DATA_DIR: data.path, PORT: String(port) });
      server.child.stdout?.destroy();
      await until(async () => (await fetch(`http://127.0.0.1:${port}/ready`).catch(() => null))?.ok === true);
      server.child.kill("SIGTERM");
      expect(await server.exited).toBe(0);
      expect(await redisPids(data.path)).toEqual([]);
    });

    it("ends streams without complete, and closes WebSockets with 1001", async () => {
      await using data = await temporaryDataDir();
      await using server = await startServer({ DATA_DIR: data.path });
      await record(server.url, [enqueued("q", "a")]);
      const closed: number[] = [];
      await using overHttp = sseTransport(server.url);
      await using overWebsocket = websocketTransport(server.url, (code) => closed.push(code));
      const streams = [overHttp, overWebsocket, overHttp, overWebsocket].map((client) =>
        client.subscribe(`subscription { queueLatency(queues: ["q"], minIntervalMs: 60000) { depth } }`),
      );
      for (const stream of streams) {
        expect((await stream.next()).value).toMatchObject({ data: { queueLatency: [{ depth: 1 }] } });
      }
      const ends = streams.map((stream) => stream.next().catch(() => "broken off"));
      expect(await server.end("SIGTERM")).toBe(0);
      expect(logged(server, "warn")).toEqual([]);
      for (const end of ends) expect(await end).toBe("broken off");
      await until(async () => closed.length > 0);
      expect(closed).toEqual([1001]);
    });

    it("does not wait for a connection over which nothing was ever asked", async () => {
      await using data = await temporaryDataDir();
      await using server = await startServer({ DATA_DIR: data.path });
      await using silent = await openSocket(server.url);
      expect((await ask(server.url, "{ __typename }")).status).toBe(200);
      expect(await server.end("SIGTERM")).toBe(0);
      // It would say so if it had cut off a client that took too long.
      expect(logged(server, "warn")).toEqual([]);
      expect(silent.socket.bytesRead).toBe(0);
    });

    it("does not wait for ever for clients that do not read, or do not finish their requests", async () => {
      await using data = await temporaryDataDir();
      await using server = await startServer({ DATA_DIR: data.path, RATE_LIMIT_MAX: "1000000" });
      await using half = await openSocket(server.url);
      half.socket.write(halfRequest);
      const slow: readonly SlowReader[] = [
        await slowSse(server.url, wideSubscription, { queues: longNames }),
        await slowWebsocket(server.url, wideSubscription, { queues: longNames }),
      ];
      await using client = sseTransport(server.url);
      const witness = client.subscribe(wideSubscription, { queues: [longNames[0]] });
      for (let round = 1; round <= 15; round++) {
        await witness.next();
        await record(
          server.url,
          longNames.map((queue) => enqueued(queue, String(round))),
        );
      }
      const startedAtMs = performance.now();
      expect(await server.end("SIGTERM")).toBe(0);
      expect(performance.now() - startedAtMs).toBeLessThan(onThisMachine(10_000));
      expect(await redisPids(data.path)).toEqual([]);
      for (const reader of slow) reader.cut();
    });

    it("stops at once when it is asked again a second later", async () => {
      await using data = await temporaryDataDir();
      await using server = await startServer({ DATA_DIR: data.path });
      await using half = await openSocket(server.url);
      half.socket.write(halfRequest);
      await record(server.url, [enqueued("q", "a")]);
      const startedAtMs = performance.now();
      server.child.kill("SIGINT");
      await until(async () => {
        if (performance.now() - startedAtMs > 1_100) server.child.kill("SIGINT");
        return server.child.exitCode !== null;
      });
      expect(await server.exited).toBe(130);
      expect(logged(server, "warn")).toEqual([expect.stringContaining("stopping at once")]);
      // Its Redis was left alone: the next server has the data.
      await using next = await startServer({ DATA_DIR: data.path });
      expect(await queueOf(next.url, "q")).toMatchObject({ depth: 1 });
    });

    it("leaves nothing behind when it is still starting", async () => {
      await using data = await temporaryDataDir();
      await using server = spawnServer({ DATA_DIR: data.path });
      await until(() =>
        access(join(data.path, "redis")).then(
          () => true,
          () => false,
        ),
      );
      server.child.kill("SIGTERM");
      expect(await server.exited).toBe(0);
      expect(await redisPids(data.path)).toEqual([]);
      expect(server.stderr()).not.toContain("    at ");
    });
  });

  it("says how it is used", async () => {
    await using server = spawnServer({}, ["--help"]);
    expect(await server.exited).toBe(0);
    expect(server.stdout()).toMatch(/^usage: queue-latency /);
    const script = spawnSync(new URL("../../script/server", import.meta.url).pathname, ["--help"]);
    expect(`${script.stdout}`).toBe(server.stdout());
  });

  describe("that cannot start says why in one message, without a stack trace, and ends with exit code 1", () => {
    it("when its port is taken", async () => {
      await using data = await temporaryDataDir();
      await using taken = await listen(() => {});
      const { port } = taken;
      const message = await refusalOf({ PORT: String(port), DATA_DIR: data.path });
      expect(message).toHaveLength(1);
      expect(message[0]).toMatch(new RegExp(`\\b${port}\\b.*taken.*\\bPORT\\b`));
      expect(await redisPids(data.path)).toEqual([]);
    });

    it("when settings are wrong: all of them at once", async () => {
      const message = await refusalOf({
        ...{ PORT: "http", MAX_QUEUES: "0", RATE_LIMIT_WINDOW: "60", KEY_PREFIX: "a b", LOG_LEVEL: "loud" },
        REDIS_URL: `http://:${password}@127.0.0.1/`,
      });
      for (const name of [
        "PORT",
        "MAX_QUEUES",
        "RATE_LIMIT_WINDOW",
        "KEY_PREFIX",
        "LOG_LEVEL",
        "REDIS_URL",
      ]) {
        expect(message.filter((line) => line.includes(`${name}: expected`))).toHaveLength(1);
      }
    });

    it("when files of the operator are wrong: all of them at once", async () => {
      await using data = await temporaryDataDir();
      const file = (name: string) => join(data.path, name);
      await writeFile(file("tokens"), "ops fly 0123\n", { mode: 0o600 });
      await writeFile(file("objectives.yml"), "mail: never");
      await writeFile(file("alerts.yml"), "rules: 5");
      const message = await refusalOf({
        ...{ API_TOKENS_FILE: file("tokens"), OBJECTIVES_FILE: file("objectives.yml") },
        ...{ ALERTS_FILE: file("alerts.yml"), DATA_DIR: data.path },
      });
      for (const name of ["API_TOKENS_FILE", "OBJECTIVES_FILE", "ALERTS_FILE"]) {
        expect(message.filter((line) => line.startsWith(`${name}: `))).toHaveLength(1);
      }
    });

    it("when it is given a flag that is none, with the one that was probably meant", async () => {
      const message = await refusalOf({}, ["--prot", "8080"]);
      expect(message).toEqual([
        "unknown flag --prot; did you mean --port?",
        "queue-latency --help lists all commands and flags.",
      ]);
    });

    it("when redis-server is not installed", async () => {
      await using data = await temporaryDataDir();
      const message = await refusalOf({ PATH: data.path, DATA_DIR: data.path });
      expect(message).toHaveLength(1);
      expect(message[0]).toMatch(/redis-server was not found.*apt-get install redis-server.*REDIS_URL/);
    });

    it("when DATA_DIR is a file, or in one, or where none can be made", async () => {
      await using data = await temporaryDataDir();
      const file = join(data.path, "file");
      await writeFile(file, "");
      // In /proc mkdir says ENOENT though the parent is there.
      for (const path of [file, join(file, "inside"), "/proc/x"]) {
        const message = await refusalOf({ DATA_DIR: path });
        expect(message).toHaveLength(1);
        expect(message[0]).toMatch(/DATA_DIR must be a directory/);
        expect(message[0]).toContain(path);
      }
      // Three starts, one after the other.
    });

    it("when Redis does not let it subscribe to changes", async () => {
      await using redis = await startRedis({ args: ["--user", "default", "on", "nopass", "~*", "+@all"] });
      await using muted = await startRedis({ args: ["--replicaof", "127.0.0.1", "1"] });
      const refused = await refusalOf({ REDIS_URL: redis.url });
      expect(refused).toEqual([expect.stringMatching(/does not let us subscribe to changes: NOPERM .*\.$/)]);
      const replica = await refusalOf({ REDIS_URL: muted.url });
      expect(replica).toEqual([
        expect.stringMatching(/does not let us subscribe to changes: a replica has lost its master\.$/),
      ]);
    });

    it("when there is no Redis at REDIS_URL", async () => {
      const { port } = await listen(() => {}).then(async (server) => {
        await server[Symbol.asyncDispose]();
        return server;
      });
      const message = await refusalOf({ REDIS_URL: `redis://:${password}@127.0.0.1:${port}/` });
      expect(message).toHaveLength(1);
      expect(message[0]).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED.*REDIS_URL`));
    });

    it.each([
      { what: "never says a word", answer: () => {} },
      { what: "hangs up", answer: (socket: Socket) => socket.end() },
      {
        what: "is no Redis",
        answer: (socket: Socket) =>
          socket.once("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")),
      },
    ])("when the program that listens at REDIS_URL $what", async ({ answer }) => {
      await using stranger = await listen(answer);
      const message = await refusalOf({ REDIS_URL: `redis://:${password}@127.0.0.1:${stranger.port}/` });
      expect(message).toHaveLength(1);
      expect(message[0]).toMatch(new RegExp(`127\\.0\\.0\\.1:${stranger.port}.*REDIS_URL`));
    });

    it.each([
      { what: "is wrong", login: `:${password}@`, says: /WRONGPASS|password/i },
      { what: "is missing", login: "", says: /NOAUTH|password/i },
    ])("when the password in REDIS_URL $what", async ({ login, says }) => {
      await using redis = await startRedis({ args: ["--requirepass", "another"] });
      const message = await refusalOf({ REDIS_URL: `redis://${login}127.0.0.1:${redis.port}/` });
      expect(message).toHaveLength(1);
      expect(message[0]).toMatch(says);
      expect(message[0]).toContain("REDIS_URL");
    });

    it.each([
      { what: "a database that is no number", path: "/jobs" },
      { what: "a database that Redis does not have", path: "/99" },
    ])("when REDIS_URL names $what", async ({ path }) => {
      const message = await refusalOf({ REDIS_URL: inject("redisUrl").replace(/\/$/, path) });
      expect(message.join("\n")).toContain("REDIS_URL");
    });

    it("when the password in REDIS_URL cannot be decoded", async () => {
      const message = await refusalOf({ REDIS_URL: `redis://:${password}%zz@127.0.0.1:6379/` });
      expect(message.join("\n")).toContain("REDIS_URL");
    });
  });
});

describe("a password in REDIS_URL", () => {
  it("appears in nothing that a server says while it starts, works, loses its Redis and stops", async () => {
    await using redis = await startRedis({ args: ["--requirepass", password] });
    await using server = await startServer({
      REDIS_URL: `redis://:${password}@127.0.0.1:${redis.port}/`,
      KEY_PREFIX: uniquePrefix(),
      LOG_LEVEL: "debug",
    });
    await record(server.url, [enqueued("q", "a")]);
    await redis.kill();
    await until(async () => server.stderr().includes("Redis unreachable"));
    const { body } = await ask(server.url, `{ queueLatency(queues: ["q"]) { depth } }`);
    expect(body.errors).toMatchObject([{ extensions: { code: "SERVICE_UNAVAILABLE" } }]);
    expect(await server.end("SIGTERM")).toBe(0);
    expect(server.stdout() + server.stderr() + JSON.stringify(body)).not.toContain(password);
  });
});

const password = "pa55-of-the-test";

const halfRequest =
  "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\nhalf";

const longNames = Array.from({ length: 100 }, (_, i) => `${i}-`.padEnd(200, "x"));
/** Its pushes are so large that a few of them fill the buffers of a socket. */
const wideSubscription = `
  subscription ($queues: [String!]!) {
    queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 250) {
      depth ${Array.from({ length: 60 }, (_, i) => `copy${i}: queue`).join(" ")}
    }
  }`;

interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
  /** The exit code; null when it was killed. */
  readonly exited: Promise<number | null>;
  stdout(): string;
  stderr(): string;
}

interface Started extends Running {
  readonly url: string;
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** src/main.ts in a process of its own, with nothing in its environment but what is given. */
function spawnServer(env: Readonly<Record<string, string>>, args: readonly string[] = []): Running {
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: compileCache, PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  // When the streams have ended too, all that it has said is here.
  const exited = once(child, "close").then(() => {
    process.off("exit", killAtExit);
    return child.exitCode;
  });
  return {
    child,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

async function startServer(env: Readonly<Record<string, string>>): Promise<Started> {
  const server = spawnServer(env);
  const address = () => /http:\/\/\S+(?=\/graphql)/.exec(server.stdout())?.[0];
  await until(async () => address() !== undefined || server.child.exitCode !== null);
  const url = address();
  if (url === undefined) throw new Error(`the server ended: ${server.stdout()}${server.stderr()}`);
  return {
    ...server,
    url,
    end(signal) {
      server.child.kill(signal);
      return server.exited;
    },
  };
}

/** What a server that must not start says, without its log: line by line. */
async function refusalOf(
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): Promise<readonly string[]> {
  await using server = spawnServer(env, args);
  const killTimer = setTimeout(() => server.child.kill("SIGKILL"), 2 * hangsAfterMs);
  const code = await server.exited;
  clearTimeout(killTimer);
  const said = server.stdout() + server.stderr();
  expect(code, said).toBe(1);
  expect(server.stdout()).toBe("");
  expect(said).not.toContain("    at ");
  expect(said).not.toContain(password);
  return server
    .stderr()
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith('{"level":30'));
}

/** Lines of the log, as it says them. */
function logged(server: Running, level: "warn" | "error"): readonly string[] {
  const number = level === "warn" ? 40 : 50;
  return server
    .stderr()
    .split("\n")
    .filter((line) => line.startsWith(`{"level":${number}`));
}

/** When it is disposed, nothing that uses it is left, nor itself. */
async function temporaryDataDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "ql-start-"));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await killRedis(path);
      await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    },
  };
}

interface Stranger extends AsyncDisposable {
  readonly port: number;
}

async function listen(answer: (socket: Socket) => void): Promise<Stranger> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    answer(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

async function openSocket(url: string): Promise<AsyncDisposable & { readonly socket: Socket }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  return {
    socket,
    async [Symbol.asyncDispose]() {
      socket.destroy();
    },
  };
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + hangsAfterMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error("it did not come to that in time");
    await sleep(10);
  }
}

interface JobEvent {
  readonly type: string;
  readonly queue: string;
  readonly jobId: string;
}

const enqueued = (queue: string, jobId: string): JobEvent => ({ type: "ENQUEUED", queue, jobId });

async function record(url: string, events: readonly JobEvent[], batchId: string | null = null) {
  const { body } = await ask(url, recordMutation, { events, batchId });
  if (body.errors !== undefined) throw new Error(`expected no errors, got ${JSON.stringify(body.errors)}`);
  return body.data.recordEvents;
}

async function queueOf(url: string, queue: string) {
  const { body } = await ask(
    url,
    `query ($queue: String!) {
      queueLatency(queues: [$queue]) {
        state depth scheduled oldestSince throughput(window: FIFTEEN_MINUTES) { enqueuedPerSecond }
        waitTime(window: FIFTEEN_MINUTES) { count }
      }
    }`,
    { queue },
  );
  expect(body.errors).toBeUndefined();
  return body.data.queueLatency[0];
}

const batchQueues = ["a", "b", "c", "d", "e"];

/** The fifty events of a batch, evenly over the queues. */
function eventsOf(batch: number): readonly JobEvent[] {
  return Array.from({ length: 50 }, (_, i) =>
    enqueued(batchQueues[i % batchQueues.length]!, `${batch}-${i}`),
  );
}

const sendBatch = (url: string, batch: number) => record(url, eventsOf(batch), `batch-${batch}`);

interface Recording {
  /** How many batches were acknowledged so far. */
  acknowledged(): number;
  /** Resolves when the server does not answer any more. */
  readonly ended: Promise<{ readonly batches: number; readonly unanswered: readonly number[] }>;
}

/** Sends batches without a pause, several at a time, until the server is gone. */
function startRecording(url: string, atOnce: number): Recording {
  let batches = 0;
  let acknowledged = 0;
  const unanswered: number[] = [];
  async function loop(): Promise<void> {
    for (;;) {
      const batch = batches++;
      try {
        expect(await sendBatch(url, batch)).toEqual({ accepted: 50, duplicates: 0, early: 0 });
        acknowledged++;
      } catch {
        unanswered.push(batch);
        return;
      }
    }
  }
  const loops = Promise.all(Array.from({ length: atOnce }, loop));
  return { acknowledged: () => acknowledged, ended: loops.then(() => ({ batches, unanswered })) };
}
