/**
 * What reading Sidekiq costs the Redis that is watched: commands and bytes a second with 100 queues read once a second, and
 * for how long one script holds it. Run it with `node bench/sidekiq-load.ts`; it starts redis-servers of its own.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Logger } from "../src/runtime/logger.ts";
import { createSidekiqSource } from "../src/sources/sidekiq.ts";
import { startRedis } from "../test/support/redis.ts";

const measuredMs = 5_000;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

interface Row {
  readonly what: string;
  readonly queues: number;
  readonly payloadBytes: number | null;
  readonly jobs?: number;
}
const rows: readonly Row[] = [
  { what: "100 queues, empty", queues: 100, payloadBytes: null },
  { what: "100 queues of 10 jobs of 500 bytes", queues: 100, payloadBytes: 500, jobs: 10 },
  { what: "100 queues, jobs of 500 bytes", queues: 100, payloadBytes: 500 },
  { what: "100 queues, jobs of 10 kB", queues: 100, payloadBytes: 10_000 },
  { what: "100 queues, jobs of 100 kB", queues: 100, payloadBytes: 100_000 },
  { what: "10 queues, jobs of 5 MB", queues: 10, payloadBytes: 5_000_000 },
];

const table: Record<string, Record<string, string>> = {};
for (const { what, queues, payloadBytes, jobs = 1 } of rows) {
  await using server = await startRedis();
  const redis = new Redis(server.url);
  for (let i = 0; i < queues; i++) {
    const name = `a-usual-name-${i}`;
    await redis.sadd("queues", name);
    for (let n = 0; payloadBytes !== null && n < jobs; n++)
      await redis.lpush(`queue:${name}`, payload(name, payloadBytes));
  }
  let readings = 0;
  const observe = async () => {
    readings += 1;
  };
  const source = createSidekiqSource({
    url: server.url,
    intervalMs: 1_000,
    sink: { observe },
    logger: silent,
  });
  await source.start();
  // Half an interval after the first reading: the connection and the script have been brought.
  while (readings === 0) await delay(10);
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
  const calls = [...commands.matchAll(/^cmdstat_([^:]+):calls=(\d+),usec=(\d+)/gm)].filter(
    ([, name]) => name !== "info" && name !== "config|resetstat",
  );
  const sent = calls.filter(([, name]) => name === "sscan" || name?.startsWith("eval"));
  const scripts = slow.filter(([, , , [name]]) => /^eval/i.test(name ?? "")).map(([, , us]) => us);
  table[what] = {
    "commands sent/s": (sum(sent.map(([, , count]) => count)) / seconds).toFixed(1),
    "and by scripts/s": (
      sum(calls.map(([, , count]) => count)) / seconds -
      sum(sent.map(([, , count]) => count)) / seconds
    ).toFixed(0),
    "bytes in/s": (numberOf(stats, "total_net_input_bytes") / seconds).toFixed(0),
    "bytes out/s": (numberOf(stats, "total_net_output_bytes") / seconds).toFixed(0),
    "busy, ms/s": (sum(sent.map(([, , , us]) => us)) / 1000 / seconds).toFixed(2),
    "longest script, ms": (Math.max(0, ...scripts) / 1000).toFixed(2),
  };
}
console.table(table);

/** As Sidekiq 6 writes it. */
function payload(queue: string, bytes: number): string {
  const job = { retry: true, queue, args: [""], class: "Work", jid: "62720ec15a2581bb225824a6" };
  const times = { created_at: Date.now() / 1000, enqueued_at: Date.now() / 1000 };
  const missing = bytes - JSON.stringify({ ...job, ...times }).length;
  return JSON.stringify({ ...job, args: ["x".repeat(Math.max(0, missing))], ...times });
}

function numberOf(info: string, field: string): number {
  return Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1]);
}

function sum(numbers: readonly (string | undefined)[]): number {
  return numbers.reduce((total, number) => total + Number(number), 0);
}
