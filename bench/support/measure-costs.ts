import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { createStepStore } from "../../src/history/step-store.ts";
import { startRedis } from "../../test/support/redis.ts";
import { startServer } from "../../test/support/server.ts";
import { openTracker, type TestTracker } from "../../test/support/tracker.ts";
import type { ProbeReading } from "./cost-probe.ts";
import { type CostRow, costRows, historyQueues, keptMs, longNames, queueNames, stepOf } from "./cost-rows.ts";
import { redisCpuMs } from "./redis-figures.ts";

const idleMs = 5_000;
/** After the queues were filled, until nothing is left to do about them. */
const settleMs = 8_000;

export interface MeasuredCost {
  readonly row: CostRow;
  readonly answer: CostAnswer;
  /** Of each round. */
  readonly cpu: readonly CpuTime[];
  /** For how long the event loop was held at most, in each round. */
  readonly holdMs: readonly number[];
}

interface CpuTime {
  readonly serverMs: number;
  readonly redisMs: number;
}

interface CostAnswer {
  readonly points: number;
  readonly events: number;
  readonly bytes: number;
  /** Its code, or null. */
  readonly error: string | null;
}

/** What a request is charged: points, or events where it records. 0: it is free. */
export function chargeOf({ points, events }: CostAnswer): number {
  return Math.max(points, events);
}

export interface MeasuringCosts {
  readonly rounds: number;
  /** Of the rows with this in their name, beside the first, which the others are compared with. @default "" */
  readonly word?: string;
  /** Called before each row. */
  readonly onRow?: (what: string) => void;
}

/** What requests take of a server with the default settings, but for its rate limits, and of its Redis. Each row asks all its rounds at once. */
export async function measureCosts({
  rounds,
  word = "",
  onRow = () => {},
}: MeasuringCosts): Promise<readonly MeasuredCost[]> {
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), "ql-cost-"));
  stack.defer(() => rm(dir, { recursive: true }));
  await writeFile(
    join(dir, "alerts.yml"),
    "rules:\n  - name: Waits\n    queues: 'queue-00*'\n    latency_above: 0s\n",
  );
  const redis = stack.use(await startRedis());
  const opened = stack.use(await openTracker(redis.url));
  const server = stack.use(
    await startServer({
      REDIS_URL: redis.url,
      KEY_PREFIX: opened.prefix,
      RATE_LIMIT_MAX: "1000000000",
      RECORD_RATE_LIMIT: "1000000000",
      ALERTS_FILE: join(dir, "alerts.yml"),
      // The history is written below: sampling it would take time that no request takes.
      HISTORY_MAX_QUEUES: "0",
      LOG_LEVEL: "error",
      COST_PROBE: join(dir, "probe"),
      NODE_OPTIONS: `--import=${new URL("cost-probe.ts", import.meta.url).pathname}`,
    }),
  );

  /** What the server did since it was asked last; from now on, its turns are watched or not. */
  async function probe(next: "watch" | "rest"): Promise<ProbeReading> {
    const socket = connect(join(dir, "probe"));
    socket.write(next);
    return JSON.parse(await text(socket));
  }

  /** CPU time of both when nothing is asked, in ms for each ms. */
  async function idle() {
    await probe("rest");
    const before = await redisCpuMs(opened.redis);
    await pause(idleMs);
    const { cpuMs } = await probe("rest");
    return { server: cpuMs / idleMs, redis: ((await redisCpuMs(opened.redis)) - before) / idleMs };
  }

  async function measure(row: CostRow, rest: Awaited<ReturnType<typeof idle>>): Promise<MeasuredCost> {
    const cpu: CpuTime[] = [];
    const holdMs: number[] = [];
    let asked = 0;
    let answer: CostAnswer | undefined;
    for (let round = -2; round < rounds; round++) {
      const before = await redisCpuMs(opened.redis);
      await probe("rest");
      const beganMs = performance.now();
      for (let i = 0; i < row.times; i++) {
        if (row.pauseMs !== undefined) await pause(row.pauseMs);
        answer = await post(server.url, row.request(asked++));
      }
      const tookMs = performance.now() - beganMs;
      const { cpuMs } = await probe("watch");
      const redisMs = (await redisCpuMs(opened.redis)) - before - rest.redis * tookMs;
      for (let i = 0; i < Math.min(row.times, 3); i++) {
        if (row.pauseMs !== undefined) await pause(row.pauseMs);
        await post(server.url, row.request(asked++));
      }
      const { maxHoldMs } = await probe("rest");
      // The first rounds warm up.
      if (round < 0) continue;
      holdMs.push(maxHoldMs);
      cpu.push({
        serverMs: Math.max(0, cpuMs - rest.server * tookMs) / row.times,
        redisMs: Math.max(0, redisMs) / row.times,
      });
    }
    if (answer === undefined) throw new Error(`${row.what}: nothing was asked`);
    return { row, answer, cpu, holdMs };
  }

  await fill(opened);
  await pause(settleMs);
  const rest = await idle();
  const measured: MeasuredCost[] = [];
  for (const row of costRows.filter(({ what }, i) => i === 0 || what.includes(word))) {
    onRow(row.what);
    measured.push(await measure(row, rest));
  }
  return measured;
}

async function post(url: string, body: object): Promise<CostAnswer> {
  const response = await fetch(`${url}/graphql`, {
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

/** 8,500 queues with long names; 1,000 queues in which jobs wait, come and go; four with all steps of an hour; 100 of which the last minutes are known. */
async function fill(opened: TestTracker): Promise<void> {
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
  for (let i = 0; i < longNames.length; i += 500) {
    await opened.tracker.record(
      longNames.slice(i, i + 500).map((queue) => ({
        ...{ type: "ENQUEUED", queue, jobId: "job", attempt: 0, atMs: null, availableAtMs: null },
      })),
      null,
    );
  }
  const store = createStepStore({ redis: opened.redis, keys: opened.keys, keptMs });
  for (const { queue, step, atMs } of historyQueues(Date.now())) {
    await store.append(queue, step, { atMs, record: stepOf() });
  }
}
