import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import type { Drop } from "../../src/recorder/drop-warning.ts";
import { createRecorder, type Recorder, type RecorderOptions } from "../../src/recorder/recorder.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";

type Env = Readonly<Record<string, string>>;

const server = (env: Env = {}) =>
  startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), ...env });

/** Without its hooks of the process, and with its drops in a list. */
function recorderOf(
  url: string,
  options: Partial<RecorderOptions> = {},
): { recorder: Recorder; drops: Drop[] } {
  const drops: Drop[] = [];
  const onDrop = (drop: Drop) => void drops.push(drop);
  return { recorder: createRecorder({ url, closeAtExit: false, onDrop, ...options }), drops };
}

async function depthOf(url: string, queue: string): Promise<number | null> {
  const { body } = await ask(url, "query ($queue: String!) { queueLatency(queues: [$queue]) { depth } }", {
    queue,
  });
  return body.data.queueLatency[0].depth;
}

interface Request {
  readonly batchId: string;
  readonly events: readonly { readonly jobId: string; readonly queue: string }[];
  readonly atMs: number;
}

type Answer =
  | "recorded"
  | "cut"
  | { readonly status: number; readonly retryAfter?: () => string; readonly code?: string };

/** Answers requests in order, some by what is in them, and records all further ones. */
async function startReceiver(answers: readonly (Answer | ((events: Request["events"]) => Answer))[]) {
  const left = [...answers];
  const requests: Request[] = [];
  const receiver = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { batchId, events } = JSON.parse(body).variables;
    requests.push({ batchId, events, atMs: performance.now() });
    const next = left.shift() ?? "recorded";
    const answer = typeof next === "function" ? next(events) : next;
    if (answer === "cut") return void request.socket.destroy();
    if (answer === "recorded") return void response.end('{"data":{"recordEvents":{"rejected":[]}}}');
    const { status, retryAfter, code } = answer;
    response.writeHead(status, retryAfter === undefined ? {} : { "retry-after": retryAfter() });
    response.end(
      code === undefined ? "no JSON" : JSON.stringify({ errors: [{ message: "m", extensions: { code } }] }),
    );
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  return {
    url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      receiver.closeAllConnections();
      receiver.close();
      await once(receiver, "close");
    },
  };
}

test("records what happened to jobs, of one queue and of many", async () => {
  await using app = await server();
  const { recorder } = recorderOf(app.url);
  for (let i = 0; i < 250; i++) recorder.enqueued(`many/${i}`, i);
  recorder.enqueued("one", "a", { at: Date.now() - 60_000 });
  recorder.enqueued("one", 2n, { attempt: 1 });
  recorder.enqueued("one", "later", { availableAt: new Date(Date.now() + 60_000) });
  recorder.removed("one", "2", { attempt: 1 });
  await recorder.flush();
  expect(recorder.stats()).toEqual({ recorded: 254, dropped: 0, pending: 0 });
  const { body } = await ask(
    app.url,
    `{ queueLatency(queues: ["one", "many/249"]) { depth scheduled latency } }`,
  );
  expect(body.data.queueLatency).toMatchObject([
    { depth: 1, scheduled: 1 },
    { depth: 1, scheduled: 0 },
  ]);
  expect(body.data.queueLatency[0].latency).toBeGreaterThanOrEqual(60);
  expect(await recorder.close()).toEqual({ recorded: 254, dropped: 0, pending: 0 });
});

describe("a batch", () => {
  test.each([
    { answer: "cut", why: "it may have been recorded" },
    { answer: { status: 503, code: "SERVICE_UNAVAILABLE" }, why: "Redis is away" },
    { answer: { status: 502 }, why: "a proxy's server is starting" },
    { answer: { status: 404 }, why: "no GraphQL: a proxy's own page" },
    {
      answer: { status: 401, code: "UNAUTHENTICATED" },
      why: "the operator may add the token a minute later",
    },
    {
      answer: { status: 429, code: "THROTTLED", retryAfter: () => "0" },
      why: "there is a place for it later",
    },
  ] as const)("is sent again with its id and events after $answer: $why", async ({ answer }) => {
    await using receiver = await startReceiver([answer, answer]);
    const { recorder, drops } = recorderOf(receiver.url);
    recorder.enqueued("q", "1");
    recorder.enqueued("q", "2");
    await recorder.flush();
    const { requests } = receiver;
    expect(requests.map(({ events }) => events)).toEqual(Array(3).fill(requests[0]?.events));
    expect(new Set(requests.map(({ batchId }) => batchId)).size).toBe(1);
    expect({ ...recorder.stats(), drops }).toEqual({ recorded: 2, dropped: 0, pending: 0, drops: [] });
    await recorder.close();
  });

  test.each([
    { retryAfter: () => "1", form: "seconds" },
    // A date of whole seconds: from the answer on, at least one of the two is left.
    { retryAfter: () => new Date(Date.now() + 2_000).toUTCString(), form: "a date" },
  ])("waits for as long as Retry-After says, in $form", async ({ retryAfter }) => {
    await using receiver = await startReceiver([{ status: 429, code: "THROTTLED", retryAfter }]);
    const { recorder } = recorderOf(receiver.url);
    recorder.enqueued("q", "1");
    await recorder.flush();
    const [first, second] = receiver.requests.map(({ atMs }) => atMs);
    expect(second! - first!).toBeGreaterThan(900);
    await recorder.close();
  });

  test("is dropped, counted and reported when it is refused, and others are not", async () => {
    await using receiver = await startReceiver([{ status: 400, code: "GRAPHQL_VALIDATION_FAILED" }]);
    const { recorder, drops } = recorderOf(receiver.url, { maxBatchEvents: 1 });
    recorder.enqueued("q", "1");
    await recorder.flush();
    recorder.enqueued("q", "2");
    expect(await recorder.close()).toEqual({ recorded: 1, dropped: 1, pending: 0 });
    expect(drops).toEqual([{ events: 1, reason: "m" }]);
  });

  test("is given up before the server forgets its id", async () => {
    await using receiver = await startReceiver(Array(20).fill({ status: 503 }));
    const { recorder, drops } = recorderOf(receiver.url, { giveUpAfterMs: 300 });
    recorder.enqueued("q", "1");
    await recorder.flush();
    expect(receiver.requests.length).toBeLessThan(20);
    expect(drops).toEqual([
      { events: 1, reason: "not recorded in time: the server answered 503, and no GraphQL" },
    ]);
    await recorder.close();
  });

  test("becomes smaller for a server with lower limits", async () => {
    await using app = await server({ MAX_EVENTS: "3", MAX_COST: "2" });
    const { recorder, drops } = recorderOf(app.url);
    for (let i = 0; i < 40; i++) recorder.enqueued(`q${i % 8}`, i);
    expect(await recorder.close()).toEqual({ recorded: 40, dropped: 0, pending: 0 });
    expect(drops).toEqual([]);
    expect(await depthOf(app.url, "q0")).toBe(5);
  });

  test("stays as large after an event that is refused for its queue, and loses that one only", async () => {
    // As the server refuses a queue that another server on its Redis reads from a job system.
    const owned = (events: Request["events"]): Answer =>
      events.some(({ queue }) => queue === "faktory/mail")
        ? { status: 200, code: "BAD_USER_INPUT" }
        : "recorded";
    await using receiver = await startReceiver(Array(30).fill(owned));
    const { recorder } = recorderOf(receiver.url);
    for (let i = 0; i < 64; i++) recorder.enqueued(i === 40 ? "faktory/mail" : "mail", i);
    await recorder.flush();
    expect(recorder.stats()).toEqual({ recorded: 63, dropped: 1, pending: 0 });
    for (let i = 0; i < 64; i++) recorder.dequeued("mail", i);
    await recorder.close();
    expect(receiver.requests.at(-1)?.events).toHaveLength(64);
  });

  test("loses only what is wrong in it: invalid events, and queues for which there is no place", async () => {
    await using app = await server({ MAX_KNOWN_QUEUES: "2" });
    const { recorder, drops } = recorderOf(app.url);
    recorder.enqueued("a", "1");
    recorder.enqueued("b", "1");
    recorder.enqueued("a*", "1");
    await recorder.flush();
    expect(drops).toEqual([{ events: 1, reason: expect.stringMatching(/^queue: /) }]);
    recorder.enqueued("a", "2");
    recorder.enqueued("c", "1");
    expect(await recorder.close()).toEqual({ recorded: 3, dropped: 2, pending: 0 });
    expect(drops[1]).toEqual({ events: 1, reason: expect.stringContaining("MAX_KNOWN_QUEUES") });
    expect(await depthOf(app.url, "a")).toBe(2);
  });
});

describe("a recorder", () => {
  test("keeps a bounded number of events and bytes while the server is away", async () => {
    await using receiver = await startReceiver([]);
    for (const options of [{ maxBufferedEvents: 10 }, { maxBufferedBytes: 10 * 150 }]) {
      const { recorder, drops } = recorderOf(receiver.url, { ...options, flushIntervalMs: 1_000_000 });
      for (let i = 100; i < 120; i++) recorder.enqueued("q", i);
      const { pending, dropped } = recorder.stats();
      expect(pending + dropped).toBe(20);
      expect(pending).toBeLessThanOrEqual(10);
      expect(pending).toBeGreaterThanOrEqual(5);
      expect(drops).toEqual(Array(dropped).fill({ events: 1, reason: "too many events wait to be sent" }));
      expect((await recorder.close()).recorded).toBe(pending);
    }
  });

  test("throws nothing into a job, whatever it is given", async () => {
    await using receiver = await startReceiver([]);
    const onDrop = () => {
      throw new Error("of the program");
    };
    const { recorder } = recorderOf(receiver.url, { onDrop });
    const wrong = recorder.enqueued as (...args: unknown[]) => void;
    for (const args of [
      [],
      [null, "1"],
      ["", "1"],
      ["q"],
      ["q", ""],
      ["q", 1.5],
      ["q", {}],
      ["q", "1", { at: Number.NaN }],
      // No JSON: the whole batch would be refused for it.
      ["q", "1", { attempt: () => 1 }],
      ["q", "1", { attempt: "1" }],
    ])
      wrong(...args);
    wrong("q", "x".repeat(600_000));
    expect(recorder.stats()).toEqual({ recorded: 0, dropped: 11, pending: 0 });
    await recorder.close();
    recorder.enqueued("q", "too late");
    expect(recorder.stats()).toMatchObject({ dropped: 12 });
  });

  test("takes null for a detail that was left out, not for the year 1970", async () => {
    await using receiver = await startReceiver([]);
    const { recorder } = recorderOf(receiver.url);
    const untyped = recorder.enqueued as (...args: unknown[]) => void;
    untyped("q", "1", null);
    untyped("q", "1", { attempt: null, at: null, availableAt: null });
    await recorder.close();
    const events = receiver.requests.flatMap((request) => request.events as readonly object[]);
    const now = expect.stringMatching(/^20/);
    expect(events).toEqual(Array(2).fill({ type: "ENQUEUED", queue: "q", jobId: "1", at: now }));
  });

  test("wraps a handler, which gets its arguments and `this`, and whose result and error are its own", async () => {
    await using receiver = await startReceiver([]);
    const { recorder } = recorderOf(receiver.url);
    const worker = {
      name: "w",
      handle: recorder.wrap(
        async function (
          this: { readonly name: string } | unknown,
          job: { readonly id: string },
          extra: number,
        ) {
          if (job.id === "bad") throw new Error("failed");
          return `${(this as { name: string }).name} ${job.id} ${extra}`;
        },
        (job) => ({ queue: "q", jobId: job.id }),
      ),
    };
    expect(await worker.handle({ id: "1" }, 5)).toBe("w 1 5");
    await expect(worker.handle({ id: "bad" }, 5)).rejects.toThrow("failed");
    const unknownJob = recorder.wrap(
      () => "done",
      (): never => {
        throw new Error("no job");
      },
    );
    expect(unknownJob()).toBe("done");
    expect(await recorder.close()).toEqual({ recorded: 2, dropped: 1, pending: 0 });
    expect(receiver.requests.flatMap(({ events }) => events)).toMatchObject([
      { type: "DEQUEUED", queue: "q", jobId: "1" },
      { type: "DEQUEUED", queue: "q", jobId: "bad" },
    ]);
  });

  test("closes within its bound while the server is away, and counts what it drops", async () => {
    await using receiver = await startReceiver(Array(100).fill("cut"));
    const { recorder } = recorderOf(receiver.url, { closeTimeoutMs: 200, maxBatchEvents: 10 });
    for (let i = 0; i < 100; i++) recorder.enqueued("q", i);
    expect(await recorder.close()).toEqual({ recorded: 0, dropped: 100, pending: 0 });
  });

  test.each([
    { url: "ftp://host", why: "another protocol" },
    { url: "nowhere", why: "no URL" },
  ])("is not made of $url: $why", ({ url }) => {
    expect(() => createRecorder({ url })).toThrow(/URL/);
  });
});

describe("a process with a recorder", () => {
  const module = new URL("../../src/recorder/recorder.ts", import.meta.url).href;

  async function run(url: string, code: string) {
    const program = `import { createRecorder } from "${module}";
      const recorder = createRecorder({ url: "${url}", flushIntervalMs: 1_000_000 });
      for (let i = 0; i < 1500; i++) recorder.enqueued("q", i);
      ${code}`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const ended = once(child, "close");
    if (code !== "") {
      await once(child.stdout, "data");
      child.kill("SIGTERM");
    }
    return await ended;
  }

  test.each([
    { code: "", ends: [0, null], why: "nothing else to do" },
    { code: `setInterval(() => {}, 1000); console.log("up");`, ends: [null, "SIGTERM"], why: "SIGTERM" },
    {
      code: `const timer = setInterval(() => {}, 1000); console.log("up");
        process.once("SIGTERM", () => { recorder.enqueued("q", "last"); clearInterval(timer); });`,
      ends: [0, null],
      jobs: 1501,
      why: "SIGTERM, which the program handles itself",
    },
  ])("sends everything before it ends: $why", async ({ code, ends, jobs = 1500 }) => {
    await using app = await server();
    expect(await run(app.url, code)).toEqual(ends);
    expect(await depthOf(app.url, "q")).toBe(jobs);
  });

  test("sends everything of two copies of the package before SIGTERM ends it", async () => {
    await using app = await server();
    const copy = await mkdtemp(join(tmpdir(), "ql-recorder-"));
    onTestFinished(() => rm(copy, { recursive: true }));
    await cp(new URL(".", module), copy, { recursive: true });
    await writeFile(join(copy, "package.json"), '{ "type": "module" }');
    const code = `const other = (await import("${copy}/recorder.ts")).createRecorder({ url: "${app.url}", flushIntervalMs: 1_000_000 });
      for (let i = 0; i < 3000; i++) other.enqueued("r", i);
      setInterval(() => {}, 1000); console.log("up");`;
    expect(await run(app.url, code)).toEqual([null, "SIGTERM"]);
    expect([await depthOf(app.url, "q"), await depthOf(app.url, "r")]).toEqual([1500, 3000]);
  });
});
