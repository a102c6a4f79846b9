/**
 * What folding and reading cost here, side by side with another checkout: `node bench/side-by-side.ts PATH_OF_THE_OTHER`; it
 * starts a redis-server of its own. Rounds take turns, so that a busy machine is busy for both. Printed are the medians over
 * the rounds, and the ratio of the two in each round: median, and the middle half.
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Redis } from "ioredis";
import type { QueueEvent, QueueEventType } from "../src/core/events.ts";
import type { Tracker } from "../src/tracker/tracker.ts";
import { startRedis } from "../test/support/redis.ts";

const other = process.argv[2];
if (other === undefined) throw new Error("expected the path of another checkout");
const rounds = 15;
const callsPerRound = 200;

await using server = await startRedis();
const admin = new Redis(server.url);

async function open(root: string) {
  const load = (file: string) => import(pathToFileURL(resolve(root, file)).href);
  const { openTracker, allParts } = await load("test/support/tracker.ts");
  const prefix = `bench-${root.length}`;
  const { tracker } = await openTracker(server.url, { prefix });
  // One that writes nothing.
  const { tracker: reader } = await openTracker(server.url, { prefix });
  return { tracker: tracker as Tracker, reader: reader as Tracker, allParts };
}
type Side = Awaited<ReturnType<typeof open>>;
const sides: readonly Side[] = [await open(resolve(import.meta.dirname, "..")), await open(resolve(other))];

let serial = 0;
const event = (type: QueueEventType, queue: string, jobId: string): QueueEvent => {
  return { type, queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
};
const enqueued = (queue: string, count: number) =>
  Array.from({ length: count }, () => event("ENQUEUED", queue, `job-${++serial}`));

/** Each is asked to do one call; its first queue has been written to before. */
const cases: readonly { readonly name: string; readonly call: (side: Side) => Promise<unknown> }[] = [
  { name: "fold 500 enqueued", call: ({ tracker }) => tracker.record(enqueued("enqueued", 500), null) },
  {
    name: "fold 250 enqueued and dequeued",
    call: ({ tracker }) => {
      const come = enqueued("both", 250);
      return tracker.record([...come, ...come.map((each) => ({ ...each, type: "DEQUEUED" as const }))], null);
    },
  },
  {
    name: "fold 500 enqueued, with a batch id",
    call: ({ tracker }) => tracker.record(enqueued("batches", 500), `batch-${++serial}`),
  },
  { name: "fold 1 enqueued", call: ({ tracker }) => tracker.record(enqueued("single", 1), null) },
  {
    name: "read, written elsewhere",
    call: ({ reader, allParts }) =>
      reader.read(["enqueued"], { ...allParts, lost: false, throughput: new Set(), waitTime: new Set() }),
  },
  {
    name: "read, written here",
    call: ({ tracker, allParts }) =>
      tracker.read(["enqueued"], { ...allParts, lost: false, throughput: new Set(), waitTime: new Set() }),
  },
  {
    name: "read all parts, written here",
    call: ({ tracker, allParts }) => tracker.read(["both"], { ...allParts, lost: false }),
  },
];

/** µs of one call: what Redis spent on it, and what it took from here. */
async function spent(call: () => Promise<unknown>): Promise<readonly [redis: number, here: number]> {
  await admin.config("RESETSTAT");
  const startMs = performance.now();
  for (let i = 0; i < callsPerRound; i++) await call();
  const wall = ((performance.now() - startMs) * 1000) / callsPerRound;
  const stats = await admin.info("commandstats");
  const [, calls = "0", usec = "0"] = /^cmdstat_evalsha:calls=(\d+),usec=(\d+)/m.exec(stats) ?? [];
  return [Number(usec) / Number(calls), wall];
}

const quantile = (values: readonly number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(q * (values.length - 1))] ?? Number.NaN;

for (const { name, call } of cases) {
  const [here, there] = sides as [Side, Side];
  for (const side of sides) await call(side);
  const spentHere: (readonly [number, number])[] = [];
  const spentThere: (readonly [number, number])[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) spentHere.push(await spent(() => call(here)));
    spentThere.push(await spent(() => call(there)));
    if (round % 2 === 1) spentHere.push(await spent(() => call(here)));
  }
  for (const [i, what] of ["in Redis", "from here"].entries()) {
    const ours = spentHere.map((each) => each[i] ?? Number.NaN);
    const theirs = spentThere.map((each) => each[i] ?? Number.NaN);
    const ratios = ours.map((value, round) => value / (theirs[round] ?? Number.NaN));
    const [mid, low, high] = [0.5, 0.25, 0.75].map((q) => quantile(ratios, q).toFixed(2));
    const [oursMid, theirsMid] = [ours, theirs].map((values) => quantile(values, 0.5).toFixed(1));
    console.log(`${name}, ${what}: ${oursMid} and ${theirsMid} µs, ratio ${mid} (${low} to ${high})`);
  }
}
admin.disconnect();
process.exit(0);
