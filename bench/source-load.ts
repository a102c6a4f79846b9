/**
 * What reading a job system costs the Redis, or the broker, that is watched: 100 queues, read once a second. Run it with
 * `node bench/source-load.ts [ROW...]`, with a part of the names of some rows; it starts servers of its own.
 */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import type { EventSink } from "../src/core/observation.ts";
import { type Logger, silentLogger } from "../src/runtime/logger.ts";
import type { Service } from "../src/runtime/service.ts";
import { createAsynqSource } from "../src/sources/asynq.ts";
import { createBullSource } from "../src/sources/bull.ts";
import { createListSource } from "../src/sources/lists/list-source.ts";
import { listSystems } from "../src/sources/lists/list-systems.ts";
import { createRabbitmqSource } from "../src/sources/rabbitmq/rabbitmq.ts";
import { createSidekiqSource } from "../src/sources/sidekiq.ts";
import { createStreamsSource } from "../src/sources/streams.ts";
import { startRabbitmq } from "../test/support/rabbitmq.ts";
import { startRedis } from "../test/support/redis.ts";

const measuredMs = 5_000;

interface Wiring {
  readonly url: string;
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
}

interface Row {
  readonly what: string;
  /** @default 100 */
  readonly queues?: number;
  /** Lua that fills queue `q` with jobs, with `payload` of 500 bytes. */
  readonly fill: string;
  /** Lua that pushes a job to queue `q`, and takes one, ten times a second; `n` is another number each time. @default nothing moves */
  readonly move?: string;
  readonly create: (wiring: Wiring) => Service;
}

/** 1,000 jobs in each queue; where they move, ten a second come to each and leave it. */
function ofLists(what: string, kind: keyof typeof listSystems, push: string, pop: string): readonly Row[] {
  const fill = `for n = 1, 1000 do ${push} end`;
  const create: Row["create"] = ({ url, ...wiring }) =>
    createListSource({
      system: listSystems[kind],
      source: kind,
      url,
      ...wiring,
      sink: withoutNotes(wiring.sink),
    });
  return [
    { what: `${what}, nothing moves`, fill, create },
    { what: `${what}, busy`, fill, move: `${push} ${pop}`, create },
  ];
}

const withoutNotes = (sink: EventSink) => ({ ...sink, notes: async () => new Map<string, string>() });

/** @param jobs of each queue. @param bytes of each job, as Sidekiq 6 writes it. */
function ofSidekiq(what: string, jobs: number, bytes: number, queues = 100): Row {
  const fill = `redis.call('SADD', 'queues', q)
    local job = '{"retry":true,"queue":"' .. q .. '","args":["%s"],"class":"Work","jid":"62720ec15a2581bb225824a6",' ..
      '"created_at":1700000000.5,"enqueued_at":1700000000.5}'
    job = job:gsub('%%s', string.rep('x', math.max(0, ${bytes} - #job)))
    for i = 1, ${jobs} do redis.call('LPUSH', 'queue:' .. q, job) end`;
  return { what: `Sidekiq, ${what}`, queues, fill, create: createSidekiqSource };
}

const rows: readonly Row[] = [
  {
    what: "asynq",
    fill: `redis.call('SADD', 'asynq:queues', q)
      local base = 'asynq:{' .. q .. '}:'
      for i = 1, 1000 do
        redis.call('LPUSH', base .. 'pending', i)
        redis.call('HSET', base .. 't:' .. i, 'msg', payload, 'pending_since', '1700000000000000000')
      end`,
    create: createAsynqSource,
  },
  {
    what: "Bull",
    fill: `local base = 'bull:' .. q .. ':'
      redis.call('SET', base .. 'id', '1000')
      for i = 1, 1000 do
        redis.call('LPUSH', base .. 'wait', i)
        redis.call('HSET', base .. i, 'timestamp', '1700000000000', 'data', payload, 'opts', '{}', 'delay', '0')
      end`,
    create: createBullSource,
  },
  {
    what: "Redis Streams",
    fill: `redis.call('XGROUP', 'CREATE', q, 'g', '0', 'MKSTREAM')
      for i = 1, 1000 do redis.call('XADD', q, '*', 'payload', payload) end`,
    create: ({ url, ...wiring }) => createStreamsSource({ ...wiring, url: `${url}?streams=a-usual-name-*` }),
  },
  ...ofLists(
    "Celery",
    "celery",
    `redis.call('SADD', '_kombu.binding.' .. q, q .. '\\6\\22\\6\\22' .. q)
      redis.call('LPUSH', q, '{"body":"' .. payload .. '","headers":{"eta":null},"properties":{"delivery_tag":"' .. n .. '"}}')`,
    `redis.call('RPOP', q)`,
  ),
  ...ofLists(
    "RQ",
    "rq",
    `redis.call('SADD', 'rq:queues', 'rq:queue:' .. q)
      redis.call('HSET', 'rq:job:' .. q .. n, 'data', payload, 'enqueued_at', '2026-11-29T12:00:00.000000Z')
      redis.call('RPUSH', 'rq:queue:' .. q, q .. n)`,
    `redis.call('DEL', 'rq:job:' .. redis.call('LPOP', 'rq:queue:' .. q))`,
  ),
  ofSidekiq("empty", 0, 500),
  ofSidekiq("jobs of 500 bytes", 1, 500),
  ofSidekiq("10 jobs of 500 bytes", 10, 500),
  ofSidekiq("jobs of 10 kB", 1, 10_000),
  ofSidekiq("jobs of 100 kB", 1, 100_000),
  ofSidekiq("10 queues, jobs of 5 MB", 1, 5_000_000, 10),
];

const chosen = process.argv.slice(2);
const isChosen = (what: string) =>
  chosen.length === 0 || chosen.some((part) => what.toLowerCase().includes(part.toLowerCase()));
const table: Record<string, Record<string, string>> = {};
for (const row of rows) if (isChosen(row.what)) table[row.what] = await loadOfRedis(row);
if (isChosen("RabbitMQ")) table.RabbitMQ = await loadOfRabbitmq(100);
console.table(table);

async function loadOfRedis({ queues = 100, fill, move, create }: Row): Promise<Record<string, string>> {
  await using server = await startRedis();
  const redis = new Redis(server.url);
  const script = `local q, payload = ARGV[1], string.rep('x', 500)\n${fill}`;
  for (let i = 0; i < queues; i++) await redis.eval(script, 0, `a-usual-name-${i}`);
  const startReading = () => readAll(queues, (wiring) => create({ url: server.url, ...wiring }));
  const reading = await startReading();
  const stopMoving = new AbortController();
  const moving = move === undefined ? null : moveJobs(redis.duplicate(), queues, move, stopMoving.signal);
  await redis.config("SET", "slowlog-log-slower-than", "0");
  await redis.config("SET", "slowlog-max-len", "100000");
  await redis.slowlog("RESET");
  await redis.config("RESETSTAT");
  const cpuBefore = process.cpuUsage();
  await delay(measuredMs);
  const cpu = process.cpuUsage(cpuBefore);
  // Asked first, so that what is asked later does not count.
  const stats = await redis.info("stats");
  const commands = await redis.info("commandstats");
  const slow = (await redis.slowlog("GET", -1)) as [number, number, number, string[]][];
  await reading[Symbol.asyncDispose]();
  const cpuOfRedis = move === undefined ? "-" : await cpuOfReading(redis, startReading);
  stopMoving.abort();
  await moving;
  redis.disconnect();

  const seconds = measuredMs / 1000;
  const sent = [...commands.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)].filter(
    ([, name]) => name === "sscan" || name === "scan" || (name !== "eval" && name?.startsWith("eval")),
  );
  const scripts = slow
    .filter(([, , , [name]]) => /^eval(sha|_ro|sha_ro)$/i.test(name ?? ""))
    .map(([, , us]) => us);
  return {
    "commands sent/s": (sum(sent.map(([, , count]) => count)) / seconds).toFixed(1),
    "bytes in/s": move === undefined ? (numberOf(stats, "total_net_input_bytes") / seconds).toFixed(0) : "-",
    "bytes out/s":
      move === undefined ? (numberOf(stats, "total_net_output_bytes") / seconds).toFixed(0) : "-",
    "busy, ms/s": (sum(sent.map(([, , , us]) => us)) / 1000 / seconds).toFixed(2),
    "longest script, ms": (Math.max(0, ...scripts) / 1000).toFixed(2),
    "CPU of that Redis, ms/s": cpuOfRedis,
    "CPU of the reader, ms/s": ((cpu.user + cpu.system) / 1000 / seconds).toFixed(1),
  };
}

/** What it takes more while its queues are read than while they are not, by turns. On a busy machine `busy` counts what others take, too. */
async function cpuOfReading(redis: Redis, startReading: () => Promise<AsyncDisposable>): Promise<string> {
  const rounds = 3;
  const usedMs = async () => {
    const cpu = await redis.info("cpu");
    return 1_000 * (numberOf(cpu, "used_cpu_user_main_thread") + numberOf(cpu, "used_cpu_sys_main_thread"));
  };
  const spentMs = async () => {
    const before = await usedMs();
    await delay(measuredMs);
    return (await usedMs()) - before;
  };
  let more = 0;
  for (let round = 0; round < rounds; round++) {
    {
      await using _ = await startReading();
      more += await spentMs();
    }
    more -= await spentMs();
  }
  return (more / rounds / (measuredMs / 1000)).toFixed(1);
}

/** Pushes and takes a job of each queue ten times a second, by one command for all of them. */
async function moveJobs(redis: Redis, queues: number, move: string, signal: AbortSignal): Promise<void> {
  const script = `local payload = string.rep('x', 500)
    for i = 0, ${queues - 1} do local q, n = 'a-usual-name-' .. i, ARGV[1] ${move} end`;
  for (let n = 1_001; !signal.aborted; n++) {
    await redis.eval(script, 0, n);
    await delay(100);
  }
  redis.disconnect();
}

/** Of RabbitMQ's process the CPU time while its queues are read, and while they are not, in turns. */
async function loadOfRabbitmq(queues: number): Promise<Record<string, string>> {
  await using rabbitmq = await startRabbitmq(5_000);
  const message = { properties: {}, payload: "x".repeat(500), payload_encoding: "string" };
  for (let i = 0; i < queues; i++) {
    const name = `a-usual-name-${i}`;
    await rabbitmq.manage("PUT", `queues/%2F/${name}`, { durable: true });
    await rabbitmq.manage("POST", "exchanges/%2F/amq.default/publish", { ...message, routing_key: name });
  }
  const spent = { read: 0, idle: 0 };
  const rounds = 3;
  for (let round = 0; round < rounds; round++) {
    {
      await using _ = await readAll(queues, (wiring) =>
        createRabbitmqSource({ url: rabbitmq.url, ...wiring }),
      );
      spent.read += await cpuMs(rabbitmq.pid, () => delay(measuredMs));
    }
    spent.idle += await cpuMs(rabbitmq.pid, () => delay(measuredMs));
  }
  const perSecond = (ms: number) => ((ms / rounds / measuredMs) * 1_000).toFixed(1);
  return { "busy, ms/s": perSecond(spent.read), "busy without, ms/s": perSecond(spent.idle) };
}

/** Starts a source, which ends with the scope; resolves half an interval after it has read all queues once. */
async function readAll(
  queues: number,
  create: (wiring: Omit<Wiring, "url">) => Service,
): Promise<AsyncDisposable> {
  let seen = 0;
  const observe: EventSink["observe"] = async (observed) => {
    seen = observed.queues.length;
  };
  const source = create({ intervalMs: 1_000, sink: { observe }, logger: silentLogger });
  await source.start();
  while (seen < queues) await delay(10);
  await delay(500);
  return { [Symbol.asyncDispose]: () => source.stop() };
}

/** The CPU time that a group of processes takes meanwhile, in ms. */
async function cpuMs(group: number, work: () => Promise<unknown>): Promise<number> {
  const before = await ticksOf(group);
  await work();
  const ticksPerSecond = 100;
  return ((await ticksOf(group)) - before) * (1_000 / ticksPerSecond);
}

/** Of the processes whose group this is: utime and stime of /proc/PID/stat. */
async function ticksOf(group: number): Promise<number> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")));
  // The name of the program, in parentheses, may have spaces.
  const fields = stats.map((stat) => stat.slice(stat.lastIndexOf(")") + 2).split(" "));
  const ours = fields.filter(([, , processGroup]) => Number(processGroup) === group);
  return sum(ours.flatMap((each) => each.slice(11, 13)));
}

function numberOf(info: string, field: string): number {
  return Number(new RegExp(`^${field}:([\\d.]+)`, "m").exec(info)?.[1]);
}

function sum(numbers: readonly (string | undefined)[]): number {
  return numbers.reduce((total, number) => total + Number(number), 0);
}
