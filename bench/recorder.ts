/**
 * How many events a second one process records: `node bench/recorder.ts [EVENTS]`, 200,000 in each round if not said. The recorder of the
 * package, in this process, sends them to a server process with a redis-server of its own, all on this machine. A job is enqueued and
 * dequeued, by turns in 20 queues. Recording waits only while half of the recorder's memory is taken, as a real producer would be slower.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { createRecorder } from "../src/recorder/recorder.ts";
import { startRedis } from "../test/support/redis.ts";
import { startServer } from "../test/support/server.ts";
import { spread } from "./support/statistics.ts";

const events = Number(process.argv[2] ?? 200_000);
const rounds = 7;
const maxPending = 50_000;
const queues = Array.from({ length: 20 }, (_, i) => `queue-${i}`);

await using redis = await startRedis();
await using server = await startServer({
  ...{ REDIS_URL: redis.url, LOG_LEVEL: "error" },
  ...{ RATE_LIMIT_MAX: "1000000000", RECORD_RATE_LIMIT: "1000000000" },
});
const recorder = createRecorder({ url: server.url });

const perSecond: number[] = [];
const cpuUs: number[] = [];
await round(-1);
for (let i = 0; i < rounds; i++) {
  const startedAtMs = performance.now();
  const before = process.cpuUsage();
  await round(i);
  const { user, system } = process.cpuUsage(before);
  perSecond.push((events / (performance.now() - startedAtMs)) * 1_000);
  cpuUs.push((user + system) / events);
}
const { recorded, dropped } = await recorder.close();
console.log(`${recorded} events were recorded, ${dropped} dropped`);
console.log(`recorded and acknowledged: ${said(perSecond, 0)} events/s`);
console.log(`CPU of the recording process: ${said(cpuUs, 2)} µs for each event`);

/** Resolves when the server has acknowledged all events. */
async function round(number: number): Promise<void> {
  for (let i = 0; i < events / 2; i++) {
    const queue = queues[i % queues.length] ?? "";
    recorder.enqueued(queue, `${number}-${i}`);
    recorder.dequeued(queue, `${number}-${i}`);
    while (recorder.stats().pending >= maxPending) await nextTurn();
  }
  await recorder.flush();
}

function said(values: readonly number[], digits: number): string {
  const { median, min, max } = spread(values);
  return `${median.toFixed(digits)} (${min.toFixed(digits)} to ${max.toFixed(digits)})`;
}
