/**
 * What requests take of the server and of Redis for each point that they cost, the dearest first, and for how long each holds the
 * event loop. Prices follow this table: nothing that is allowed may take more than five times as much for a point as reading one
 * queue does, and nothing may hold the event loop for more than 50 ms. `node bench/cost.ts [WORD]` measures all rows, or those
 * with the word in their name; it starts a redis-server and a server with the default settings, but for RATE_LIMIT_MAX.
 *
 * All times are CPU time, in ms of a core: what others do on the machine hardly counts. Of the processes, less what they take when
 * nothing is asked, the median of several rounds; of the hold, which is measured in rounds of its own, the median of the longest.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { createStepStore } from "../src/history/step-store.ts";
import { startRedis } from "../test/support/redis.ts";
import { startServer } from "../test/support/server.ts";
import { openTracker } from "../test/support/tracker.ts";
import type { ProbeReading } from "./support/cost-probe.ts";
import { type CostRow, costRows, historyQueues, keptMs, queueNames, stepOf } from "./support/cost-rows.ts";

const rounds = 5;
const idleMs = 2_000;

const dir = await mkdtemp(join(tmpdir(), "ql-cost-"));
await writeFile(
  join(dir, "alerts.yml"),
  "rules:\n  - name: Waits\n    queues: 'queue-00*'\n    latency_above: 0s\n",
);
await using redis = await startRedis();
await using opened = await openTracker(redis.url);
await using server = await startServer({
  REDIS_URL: redis.url,
  KEY_PREFIX: opened.prefix,
  RATE_LIMIT_MAX: "1000000000",
  RECORD_RATE_LIMIT: "1000000000",
  ALERTS_FILE: join(dir, "alerts.yml"),
  // The history is written below: sampling it would take time that no request takes.
  HISTORY_MAX_QUEUES: "0",
  LOG_LEVEL: "error",
  COST_PROBE: join(dir, "probe"),
  NODE_OPTIONS: `--import=${new URL("support/cost-probe.ts", import.meta.url).pathname}`,
});

/** What the server did since it was asked last; from now on, its turns are watched or not. */
async function probe(next: "watch" | "rest"): Promise<ProbeReading> {
  const socket = connect(join(dir, "probe"));
  socket.write(next);
  return JSON.parse(await text(socket));
}

async function redisCpuMs(): Promise<number> {
  const info = await opened.redis.info("cpu");
  const seconds = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
  return 1_000 * (seconds("used_cpu_user") + seconds("used_cpu_sys"));
}

interface Answer {
  readonly points: number;
  readonly events: number;
  readonly bytes: number;
  /** Its code, or null. */
  readonly error: string | null;
}

async function post(body: object): Promise<Answer> {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.text();
  const { errors, extensions } = JSON.parse(answer);
  return {
    points: extensions?.cost?.recording === undefined ? (extensions?.cost?.actualQueryCost ?? 0) : 0,
    events: extensions?.cost?.recording?.actualCost ?? 0,
    bytes: answer.length,
    error: errors?.[0]?.extensions?.code ?? null,
  };
}

/** 1,000 queues in which jobs wait, come and go; four with all steps of an hour; 100 of which the last minutes are known. */
async function fill(): Promise<void> {
  const events = (type: "ENQUEUED" | "DEQUEUED", from: number, count: number) =>
    queueNames.map((queue) =>
      Array.from({ length: count }, (_, i) => ({
        ...{ type, queue, jobId: `job-${from + i}`, attempt: 0, atMs: null, availableAtMs: null },
      })),
    );
  for (const type of ["ENQUEUED", "DEQUEUED"] as const) {
    for (const some of events(type, 0, 10)) await opened.tracker.record(some, null);
  }
  for (const some of events("ENQUEUED", 10, 20)) await opened.tracker.record(some, null);
  for (const some of events("ENQUEUED", 0, 2)) {
    await opened.tracker.record(
      some.map((event) => ({ ...event, jobId: event.queue + event.jobId, queue: "many" })),
      null,
    );
  }
  const store = createStepStore({ redis: opened.redis, keys: opened.keys, keptMs });
  for (const { queue, step, atMs } of historyQueues(Date.now())) {
    await store.append(queue, step, { atMs, record: stepOf() });
  }
}

interface Measured {
  readonly row: CostRow;
  readonly answer: Answer;
  readonly serverMs: number;
  readonly redisMs: number;
  readonly holdMs: number;
}

/** CPU time of both when nothing is asked, in ms for each ms. */
async function idle() {
  await probe("rest");
  const before = await redisCpuMs();
  await pause(idleMs);
  const { cpuMs } = await probe("rest");
  return { server: cpuMs / idleMs, redis: ((await redisCpuMs()) - before) / idleMs };
}

async function measure(row: CostRow, rest: Awaited<ReturnType<typeof idle>>): Promise<Measured> {
  const cpu: { readonly serverMs: number; readonly redisMs: number }[] = [];
  const holds: number[] = [];
  let asked = 0;
  let answer: Answer | undefined;
  for (let round = -2; round < rounds; round++) {
    const before = await redisCpuMs();
    await probe("rest");
    const beganMs = performance.now();
    for (let i = 0; i < row.times; i++) answer = await post(row.request(asked++));
    const tookMs = performance.now() - beganMs;
    const { cpuMs } = await probe("watch");
    const redisMs = (await redisCpuMs()) - before - rest.redis * tookMs;
    for (let i = 0; i < Math.min(row.times, 3); i++) await post(row.request(asked++));
    const { maxHoldMs } = await probe("rest");
    // The first rounds warm up.
    if (round < 0) continue;
    holds.push(maxHoldMs);
    cpu.push({
      serverMs: Math.max(0, cpuMs - rest.server * tookMs) / row.times,
      redisMs: Math.max(0, redisMs) / row.times,
    });
  }
  if (answer === undefined) throw new Error(`${row.what}: nothing was asked`);
  return {
    row,
    answer,
    serverMs: median(cpu.map(({ serverMs }) => serverMs)),
    redisMs: median(cpu.map(({ redisMs }) => redisMs)),
    holdMs: median(holds),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}

await fill();
const rest = await idle();
const word = process.argv[2] ?? "";
const measured: Measured[] = [];
for (const row of costRows.filter(({ what }, i) => i === 0 || what.includes(word))) {
  measured.push(await measure(row, rest));
  process.stderr.write(`${row.what}\n`);
}
/** Of a request that records, its events: they are what is charged. */
const perPoint = ({ answer, serverMs, redisMs }: Measured) =>
  (serverMs + redisMs) / Math.max(answer.points, answer.events);
const [one] = measured;
if (one === undefined) throw new Error("no row was measured");
console.table(
  Object.fromEntries(
    measured
      .toSorted((a, b) => perPoint(b) - perPoint(a))
      .map((each) => [
        each.row.what,
        {
          "server, ms": each.serverMs.toFixed(2),
          "Redis, ms": each.redisMs.toFixed(2),
          points: each.answer.points,
          events: each.answer.events,
          "µs a point": Number.isFinite(perPoint(each)) ? (1_000 * perPoint(each)).toFixed(0) : "free",
          "÷ one queue": Number.isFinite(perPoint(each)) ? (perPoint(each) / perPoint(one)).toFixed(2) : "",
          "hold, ms": each.holdMs.toFixed(0),
          KB: (each.answer.bytes / 1_000).toFixed(0),
          refused: each.answer.error ?? "",
        },
      ]),
  ),
);
await rm(dir, { recursive: true });
