import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { Client } from "faktory-worker";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { messageOf, StartError } from "../../src/core/errors.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { createFaktorySource, type FaktorySourceOptions } from "../../src/sources/faktory.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { startFaktory, type TestFaktory, whyNoFaktory, whyNoTls } from "../support/faktory.ts";
import { silentLogger } from "../support/logger.ts";
import { until } from "../support/until.ts";
import { watchSource } from "../support/watched-source.ts";

const intervalMs = 20;

const title = whyNoFaktory === null ? "the Faktory source" : `the Faktory source (${whyNoFaktory})`;

describe.skipIf(whyNoFaktory !== null)(title, () => {
  let faktory: TestFaktory;
  let jobs: Client;

  beforeAll(async () => {
    faktory = await startFaktory();
    jobs = new Client({ url: faktory.url, poolSize: 2 });
  });

  afterAll(async () => {
    await jobs?.close();
    await faktory?.stop();
  });

  test("reports the age that Faktory's own QUEUE LATENCY reports", async () => {
    const queue = newQueue();
    await enqueueRaw(faktory, queue, { enqueued_at: new Date(Date.now() - 3_600_000).toISOString() });
    await jobs.push({ jobtype: "younger", queue });
    const watched = await watch(faktory.url);
    const observed = await watched.until(queue, { depth: 2 });
    const sentAtMs = monotonicClock.now();
    const asked: unknown = JSON.parse(await jobs.send(["QUEUE", "LATENCY", queue]));
    const halfMs = (monotonicClock.now() - sentAtMs) / 2;

    // Both readings say when the head was enqueued, by this process's clock: they may differ by what they do not know.
    const bySource = observed.readAtMs - (observed.headAgeMs ?? Number.NaN);
    const byFaktory = sentAtMs + halfMs - Reflect.get(Object(asked), queue) * 1000;
    const roundingMs = 1;
    expect(Math.abs(bySource - byFaktory)).toBeLessThanOrEqual(observed.uncertaintyMs + halfMs + roundingMs);
    expect(observed).toMatchObject({ accuracy: "EXACT", scheduled: null, paused: false });
    expect(observed.headAgeMs).toBeGreaterThan(3_599_000);
  });

  test("follows jobs that are pushed and fetched, and distinguishes an empty queue from an unknown one", async () => {
    const queue = newQueue();
    const watched = await watch(faktory.url);
    await watched.next();
    expect(watched.latest(queue)).toBeUndefined();

    await enqueueRaw(faktory, queue, { enqueued_at: new Date(Date.now() - 3_600_000).toISOString() });
    for (let n = 0; n < 2; n++) await jobs.push({ jobtype: "work", queue });
    const first = await watched.until(queue, { depth: 3 });
    expect(first.headAgeMs).toBeGreaterThan(3_599_000);

    await finishOne(jobs, queue);
    const second = await watched.until(queue, { depth: 2 });
    expect(second.headAgeMs).toBeGreaterThan(0);
    expect(second.headAgeMs).toBeLessThan(600_000);

    await finishOne(jobs, queue);
    await finishOne(jobs, queue);
    await watched.until(queue, { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("leaves out a queue that was removed from Faktory", async () => {
    const [gone, stays] = [newQueue(), newQueue()];
    await jobs.push({ jobtype: "work", queue: gone });
    await jobs.push({ jobtype: "work", queue: stays });
    const watched = await watch(faktory.url);
    await watched.until(gone, { depth: 1 });
    await jobs.send(["QUEUE", "REMOVE", gone]);
    await watched.untilGone(gone);
    expect(watched.latest(stays)).toMatchObject({ depth: 1 });
  });

  test("says for how long an observation may be believed", async () => {
    const watched = await watch(faktory.url, { source: "other" });
    expect(await watched.next()).toMatchObject({ source: "other", freshForMs: 2000 });
  });

  test.each([
    { enqueuedAt: "0001-01-01T00:00:00Z", why: "Go's zero time, whose age Faktory cuts at 292 years" },
    { enqueuedAt: "1969-12-31T23:59:59Z", why: "there was no Faktory before 1970" },
  ])("a head that was enqueued at $enqueuedAt is UNKNOWN, with its depth: $why", async ({ enqueuedAt }) => {
    const queue = newQueue();
    await enqueueRaw(faktory, queue, { enqueued_at: enqueuedAt });
    const watched = await watch(faktory.url);
    const observed = await watched.until(queue, { depth: 1, accuracy: "UNKNOWN" });
    expect(observed.headAgeMs).toBeGreaterThanOrEqual(0);
    await jobs.send(["QUEUE", "REMOVE", queue]);
  });

  test("a queue that the URL names is paused", async () => {
    const [paused, running] = [newQueue(), newQueue()];
    for (const queue of [paused, running]) await jobs.push({ jobtype: "work", queue });
    await jobs.send(["QUEUE", "PAUSE", paused]);
    const watched = await watch(`${faktory.url}?paused=other,${paused}`);
    await watched.until(paused, { depth: 1, paused: true, accuracy: "EXACT" });
    await watched.until(running, { depth: 1, paused: false });
    for (const queue of [paused, running]) await jobs.send(["QUEUE", "REMOVE", queue]);
  });

  test("a head from the future waits, for 0 at least", async () => {
    const queue = newQueue();
    await enqueueRaw(faktory, queue, { enqueued_at: new Date(Date.now() + 3_600_000).toISOString() });
    const watched = await watch(faktory.url);
    await watched.until(queue, { depth: 1, headAgeMs: 0, accuracy: "LOWER_BOUND" });
    await jobs.send(["QUEUE", "REMOVE", queue]);
  });

  test("a head whose time cannot be read hides no other queue, and never looks calm", async () => {
    await using own = await startFaktory();
    const client = new Client({ url: own.url, poolSize: 1 });
    const names = Array.from({ length: 20 }, newQueue);
    const [missing = "", nonsense = ""] = [names[7], names[13]];
    for (const queue of names) {
      if (queue === nonsense) await enqueueRaw(own, queue, { enqueued_at: "yesterday" });
      else if (queue === missing) await enqueueRaw(own, queue, {});
      else await client.push({ jobtype: "work", queue });
    }
    const asked = await tap(own.url);
    const watched = await watch(asked.url);
    const { queues } = await watched.next();
    expect(queues.map(({ queue }) => queue).sort()).toEqual([...names].sort());
    for (const { queue, accuracy, depth } of queues) {
      const expected = queue === missing || queue === nonsense ? "UNKNOWN" : "EXACT";
      expect({ queue, accuracy, depth }).toEqual({ queue, accuracy: expected, depth: 1 });
    }

    // 0 at the first reading, for want of anything better; then it grows with the time, which is not known better.
    const first = watched.seen[0]?.queues.find(({ queue }) => queue === nonsense);
    expect(first?.headAgeMs).toBe(0);
    const grown = { accuracy: "UNKNOWN", headAgeMs: expect.toSatisfy((ms) => ms > 100) };
    const later = await watched.until(nonsense, grown);
    expect(later.headAgeMs).toBeCloseTo(later.readAtMs - (first?.readAtMs ?? 0), 3);
    expect(watched.log.map(({ level, message, fields: { queue } }) => ({ level, message, queue }))).toEqual(
      [missing, nonsense].sort().map((queue) => ({
        level: "warn",
        message: "unknown age of the head of a queue",
        queue,
      })),
    );
    await watched.next();
    // From the second reading on, the two are asked alone, and all others with one command.
    const starts = asked.commands.flatMap((line, at) => (line === "INFO" ? [at] : [])).slice(-2);
    const reading = asked.commands.slice(...starts).filter((line) => line.startsWith("QUEUE LATENCY "));
    expect(reading.map((line) => line.split(" ").length - 2)).toEqual([18, 1, 1]);

    await finishOne(client, nonsense);
    await watched.until(nonsense, { accuracy: "EXACT", headAgeMs: null, depth: 0 });
    await watched.stop();
    await client.close();
  });

  test("asks about 250 queues in bounded commands, each queue once", async () => {
    await using own = await startFaktory();
    const client = new Client({ url: own.url, poolSize: 1 });
    // As long as a name can be, "faktory/" before it: fewer of these fit into a command.
    const names = Array.from({ length: 250 }, (_, n) => `${n}-${newQueue()}`.padEnd(n < 100 ? 0 : 190, "."));
    await client.pushBulk(names.map((queue) => ({ jobtype: "work", queue })));
    await client.close();
    const asked = await tap(own.url);
    const watched = await watch(asked.url, { intervalMs: 60_000 });
    const { queues } = await watched.next();
    expect(queues).toHaveLength(250);
    const questions = asked.commands.filter((line) => line.startsWith("QUEUE LATENCY "));
    expect(questions.flatMap((line) => line.split(" ").slice(2)).sort()).toEqual([...names].sort());
    for (const line of questions) {
      expect(line.split(" ").length - 2).toBeLessThanOrEqual(100);
      expect(line.length).toBeLessThanOrEqual(8192);
    }
    await watched.stop();
  });

  test("leaves out queues whose names cannot be asked for, and warns once", async () => {
    await using own = await startFaktory();
    const good = newQueue();
    await enqueueRaw(own, good, { enqueued_at: new Date().toISOString() });
    await withRedisOf(own, (redis) => redis.sadd("queues", good, "two words", "a\r\nFLUSH", "x".repeat(193)));
    // It learns of queues that it did not make itself when it starts.
    await own.halt();
    await own.resume();
    const watched = await watch(own.url);
    await watched.next();
    const { queues } = await watched.next();
    expect(queues.map(({ queue, depth }) => ({ queue, depth }))).toEqual([{ queue: good, depth: 1 }]);
    expect(watched.log).toMatchObject([
      { level: "warn", message: "skipped queues with invalid names", fields: { count: 3 } },
    ]);
    await watched.stop();
  });

  test("warns once while Faktory is away, and is back by itself", async () => {
    const consoleError = vi.spyOn(console, "error");
    await using own = await startFaktory();
    await own.halt();
    const watched = await watch(own.url);
    await watched.logged("source unavailable", 3);
    expect(watched.seen).toEqual([]);

    await own.resume();
    await watched.next();
    const failures = watched.log.filter(({ message }) => message === "source unavailable").length;
    await own.halt();
    await watched.logged("source unavailable", failures + 3);
    await own.resume();
    await watched.next();
    expect(
      watched.log.filter(({ level }) => level !== "debug").map(({ level, message }) => [level, message]),
    ).toEqual([
      ["warn", "source unavailable"],
      ["info", "source available again"],
      ["warn", "source unavailable"],
      ["info", "source available again"],
    ]);
    expect(consoleError).not.toHaveBeenCalled();
    await watched.stop();
  });

  test("a Faktory that falls silent is a failure, and is read through a new connection when it goes on", async () => {
    await using own = await startFaktory();
    const relay = await tap(own.url);
    const watched = await watch(relay.url);
    await watched.next();
    const before = relay.connections();
    process.kill(own.pid, "SIGSTOP");
    const { fields } = await watched.logged("source unavailable");
    expect(messageOf(fields.err)).toBe("no full answer within 2000 ms");
    process.kill(own.pid, "SIGCONT");
    await watched.next();
    expect(relay.connections()).toBeGreaterThan(before);
    await watched.stop();
  });

  test("a connection that is cut in the middle of an answer is a failure, and the next reading opens another", async () => {
    const asked = await tap(faktory.url);
    const watched = await watch(asked.url);
    await watched.next();
    asked.cutNextAnswer();
    await watched.logged("source unavailable");
    await watched.next();
    await watched.logged("source available again");
  });

  test("says so when Faktory is too old to report latencies", async () => {
    const old = await tap(faktory.url, (answer) => answer.replace('"1.9.4"', '"1.9.1"'));
    const watched = await watch(old.url);
    const { fields } = await watched.logged("source unavailable");
    expect(messageOf(fields.err)).toBe("Faktory 1.9.2 or later reports latencies, this is 1.9.1");
  });

  test("with the right password, %-escaped in the URL, it reads", async () => {
    await using own = await startFaktory({ password: "50% of p@ss/word:é" });
    const watched = await watch(own.url);
    await watched.next();
    await watched.stop();
  });

  test("a wrong password is warned of, and stands nowhere in the log", async () => {
    const consoleError = vi.spyOn(console, "error");
    await using own = await startFaktory({ password: "right" });
    const watched = await watch(own.url.replace("right", "hunter2"));
    const { fields } = await watched.logged("source unavailable", 3);
    expect(messageOf(fields.err)).toBe("ERR Invalid password");
    expect(watched.log.filter(({ level }) => level === "warn")).toHaveLength(1);
    const logged = watched.log.map(({ fields }) => ({ ...fields, err: fieldsOf(fields.err) }));
    expect(JSON.stringify(logged)).not.toContain("hunter2");
    expect(consoleError).not.toHaveBeenCalled();
    await watched.stop();
  });

  test.skipIf(whyNoTls !== null)(
    "reads through TLS, when the certificate is one that Node trusts",
    async () => {
      const trusted = getCACertificates("default");
      onTestFinished(() => setDefaultCACertificates(trusted));
      await using own = await startFaktory({ tls: true, password: "secret" });
      const watched = await watch(own.url);
      const { fields } = await watched.logged("source unavailable", 2);
      expect(messageOf(fields.err)).toContain("self-signed certificate");
      setDefaultCACertificates([...trusted, own.certificate ?? ""]);
      await watched.next();
      await watched.stop();
    },
  );

  test.skipIf(whyNoTls !== null)(
    "reads through TLS with any certificate, or with one of its own, by URL",
    async () => {
      await using own = await startFaktory({ tls: true, password: "secret" });
      const dir = await mkdtemp(join(tmpdir(), "ql-ca-"));
      onTestFinished(() => rm(dir, { recursive: true }));
      const ca = join(dir, "ca.pem");
      await writeFile(ca, own.certificate ?? "");
      for (const parameter of ["tls=insecure", `ca=${ca}`]) {
        const watched = await watch(`${own.url}?${parameter}`);
        await watched.next();
        await watched.stop();
      }
    },
  );

  test("a sink that fails is not Faktory's fault: it is logged once, and reading goes on", async () => {
    let works = false;
    const watched = await watch(faktory.url, {}, () => works);
    await watched.logged("source reading not stored", 3);
    works = true;
    await watched.next();
    await watched.logged("source readings stored again");
    expect(watched.log.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  test("stop() resolves at once while a server accepts and never answers", async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket.resume())).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const watched = await watch(`tcp://127.0.0.1:${portOf(server.address())}`);
    await until(() => expect(sockets).toHaveLength(1));
    const startedAtMs = monotonicClock.now();
    await watched.stop();
    expect(monotonicClock.now() - startedAtMs).toBeLessThan(onThisMachine(500));
    await until(() => expect(sockets[0]?.closed).toBe(true));
    expect(sockets).toHaveLength(1);
    expect(watched.log).toEqual([]);
  });
});

test.each(["redis://:hunter2@localhost:6379", "tcp://:hunter2@", "hunter2"])("refuses the URL %s", (url) => {
  const options = { url, intervalMs, sink: { observe: async () => {} }, logger: silentLogger };
  expect(() => createFaktorySource(options)).toThrow(StartError);
  expect(() => createFaktorySource(options)).not.toThrow(/hunter2/);
});

const watch = (url: string, options: Partial<FaktorySourceOptions> = {}, sinkWorks = () => true) =>
  watchSource((wiring) => createFaktorySource({ url, intervalMs, ...wiring, ...options }), sinkWorks);

/** What a structured log prints of an error: its enumerable fields too. */
function fieldsOf(err: unknown): unknown {
  return err instanceof Error ? { ...err, name: err.name, message: err.message, stack: err.stack } : err;
}

let queueNumber = 0;

function newQueue(): string {
  queueNumber += 1;
  return `queue-${process.pid}-${queueNumber}`;
}

/** Puts a job with any `enqueued_at` into a queue: on a push, Faktory replaces it by its own time. */
async function enqueueRaw(faktory: TestFaktory, queue: string, job: { enqueued_at?: string }): Promise<void> {
  const client = new Client({ url: faktory.url, poolSize: 1 });
  // A queue is only known to Faktory once something was pushed.
  await client.push({ jobtype: "first", queue });
  await client.fetch(queue);
  await client.close();
  const payload = { jid: `raw-${queue}`, jobtype: "work", queue, args: [], ...job };
  await withRedisOf(faktory, (redis) => redis.lpush(queue, JSON.stringify(payload)));
}

async function withRedisOf(faktory: TestFaktory, work: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis(faktory.redisSocket);
  try {
    await work(redis);
  } finally {
    redis.disconnect();
  }
}

async function finishOne(client: Client, queue: string): Promise<void> {
  const job = await client.fetch(queue);
  await client.ack(job?.jid ?? "");
}

interface Tap {
  readonly url: string;
  /** The lines that were sent to the server, in order. */
  readonly commands: readonly string[];
  /** How many have been accepted so far. */
  connections(): number;
  /** Passes half of what the server says next on, and then closes both sides. */
  cutNextAnswer(): void;
}

/** A relay before the real server, to see what it is asked, and to change what it answers. */
async function tap(url: string, rewrite = (answer: string) => answer): Promise<Tap> {
  const target = new URL(url);
  const commands: string[] = [];
  const sockets = new Set<Socket>();
  let cutting = false;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket.on("error", () => {}));
      socket.once("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    let rest = "";
    client.on("data", (chunk) => {
      const lines = (rest + chunk.toString()).split("\r\n");
      rest = lines.pop() ?? "";
      commands.push(...lines);
      upstream.write(chunk);
    });
    upstream.on("data", (chunk) => {
      if (!cutting) return void client.write(rewrite(chunk.toString()));
      cutting = false;
      client.end(chunk.subarray(0, chunk.length / 2));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    url: `tcp://127.0.0.1:${portOf(server.address())}`,
    commands,
    connections: () => sockets.size / 2,
    cutNextAnswer() {
      cutting = true;
    },
  };
}

function portOf(address: string | AddressInfo | null): number {
  if (address === null || typeof address === "string")
    throw new Error("a TCP server has an address and a port");
  return address.port;
}
