/**
 * What reading asynq, Bull and Redis Streams costs the Redis that is watched: 100 queues of 1,000 jobs each, read once a second.
 * Run it with `node bench/source-load.ts`; it starts redis-servers of its own.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import type { EventSink } from "../src/core/observation.ts";
import type { Logger } from "../src/runtime/logger.ts";
import type { Service } from "../src/runtime/service.ts";
import { createAsynqSource } from "../src/sources/asynq.ts";
import { createBullSource } from "../src/sources/bull.ts";
import { createStreamsSource } from "../src/sources/streams.ts";
import { startRedis } from "../test/support/redis.ts";

const measuredMs = 5_000;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

interface Row {
  readonly what: string;
  /** Lua that fills queue `q` with 1,000 jobs, with `payload` of 500 bytes. */
  readonly fill: string;
  readonly create: (wiring: { url: string; intervalMs: number; sink: EventSink; logger: Logger }) => Service;
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
];

const table: Record<string, Record<string, string>> = {};
for (const { what, fill, create } of rows) {
  await using server = await startRedis();
  const redis = new Redis(server.url);
  const script = `local q, payload = ARGV[1], string.rep('x', 500)\n${fill}`;
  for (let i = 0; i < 100; i++) await redis.eval(script, 0, `a-usual-name-${i}`);
  let queues = 0;
  const observe: EventSink["observe"] = async (observed) => {
    queues = observed.queues.length;
  };
  const source = create({ url: server.url, intervalMs: 1_000, sink: { observe }, logger: silent });
  await source.start();
  while (queues < 100) await delay(10);
  await delay(500);
  await redis.config("SET", "slowlog-log-slower-than", "0");
  await redis.config("SET", "slowlog-max-len", "100000");
  await redis.slowlog("RESET");
  await redis.config("RESETSTAT");
  await delay(measuredMs);
  // Asked first, so that what is asked later does not count.
  const stats = await redis.info("stats");
  const commands = await redis.info("commandstats");
  const slow = (await redis.slowlog("GET", -1)) as [number, number, number, string[]][];
  await source.stop();
  redis.disconnect();

  const seconds = measuredMs / 1000;
  const sent = [...commands.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)].filter(
    ([, name]) => name === "sscan" || name === "scan" || name?.startsWith("eval"),
  );
  const scripts = slow.filter(([, , , [name]]) => /^eval/i.test(name ?? "")).map(([, , us]) => us);
  table[what] = {
    "commands sent/s": (sum(sent.map(([, , count]) => count)) / seconds).toFixed(1),
    "bytes in/s": (numberOf(stats, "total_net_input_bytes") / seconds).toFixed(0),
    "bytes out/s": (numberOf(stats, "total_net_output_bytes") / seconds).toFixed(0),
    "busy, ms/s": (sum(sent.map(([, , , us]) => us)) / 1000 / seconds).toFixed(2),
    "longest script, ms": (Math.max(0, ...scripts) / 1000).toFixed(2),
  };
}
console.table(table);

function numberOf(info: string, field: string): number {
  return Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1]);
}

function sum(numbers: readonly (string | undefined)[]): number {
  return numbers.reduce((total, number) => total + Number(number), 0);
}
