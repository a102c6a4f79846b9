import { readFileSync } from "node:fs";
import type { Cluster, Redis } from "ioredis";
import { StartError } from "../core/errors.ts";
import type { EventSink, Observation } from "../core/observation.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { parseRedisUrl, redisOptions } from "../settings/redis-url.ts";
import { createForeignSystems } from "./foreign-systems.ts";
import { maxAheadMs } from "./head-age.ts";
import { createPolledSource, defaultMaxQueues } from "./polled-source.ts";
import { createReadOnlyScript } from "./read-only-script.ts";
import { escapeGlob } from "./scan-step.ts";
import { searchKeys } from "./search-keys.ts";
import { slotGroups } from "./slot-groups.ts";
import { createWatchedRedis } from "./watched-redis.ts";

export interface BullSourceOptions {
  /**
   * `redis://...`; of its parameters `prefix` is Bull's own where it is not `bull`, and `queues` names the queues to read, so that no
   * keys are looked through. It may name one node of a Redis Cluster.
   */
  readonly url: string;
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "bull" */
  readonly source?: string;
  /** More queues than these are not read, with one warning. @default 10_000 */
  readonly maxQueues?: number;
}

const lua = readFileSync(new URL("lua/bull.lua", import.meta.url), "utf8");
const queuesPerCall = 20;

/** A job whose time is not known, and when it was seen first. */
interface Sighting {
  readonly jobId: string;
  readonly firstAtMs: number;
}

/**
 * Reads every queue of Bull 3 or 4 from its Redis, which it never changes. Queues are found by their `id` keys; those with a key `meta` or
 * `events` are BullMQ's, and left out.
 *
 * - The age is the time of that Redis minus the job's `timestamp`, which its producer's clock wrote: ESTIMATED. A delayed job waits
 *   since it was due, or before if it was promoted: LOWER_BOUND.
 * - Nothing says since when a retried job waits, one that was put back, or one whose time is more than a minute ahead: it does at least
 *   since it was seen first.
 *
 * @throws StartError when the URL is not that of a Redis.
 */
export function createBullSource({ url, source = "bull", ...options }: BullSourceOptions): Service {
  const { maxQueues = defaultMaxQueues } = options;
  const { prefix, names } = parseUrl(url);
  const script = createReadOnlyScript(lua);
  const foreignSystems = createForeignSystems("bull");
  const watched = createWatchedRedis({
    options: redisOptions(url),
    connectionName: `queue-latency-${source}`,
    prepare: () => {},
  });
  const queues = new Set<string>(names ?? []);
  const sightings = new Map<string, Sighting>();
  /** Queues of BullMQ that were found. */
  const others = new Set<string>();
  let hasMore = false;
  const search = searchKeys({
    ...{ watched, source, logger: options.logger, type: "string" },
    patterns: names === null ? [`${escapeGlob(prefix)}:*:id`] : [],
    onFound(key) {
      const name = key.slice(prefix.length + 1, -":id".length);
      if (queues.size < maxQueues) queues.add(name);
      else if (!queues.has(name)) hasMore = true;
    },
  });
  const waitKey = (queue: string) => `${prefix}:${queue}:wait`;

  async function read(signal: AbortSignal) {
    return await watched.use(async (redis) => {
      const found: Observation[] = [];
      // What is found meanwhile is not read yet.
      const isDone = search.isDone();
      for (const some of slotGroups(watched, [...queues], queuesPerCall, waitKey)) {
        signal.throwIfAborted();
        found.push(...(await readSome(redis, some)));
      }
      const isSure = found.length === 0 && isDone;
      return { queues: found, hasMore, whyEmpty: isSure ? await whyEmpty(redis) : null };
    });
  }

  async function whyEmpty(redis: Redis | Cluster): Promise<string> {
    if (others.size > 0) return `its ${others.size} queues are BullMQ's: set BULLMQ_URL`;
    return `there is no key ${prefix}:*:id, and ${await foreignSystems(redis)}`;
  }

  async function readSome(redis: Redis | Cluster, some: readonly string[]): Promise<readonly Observation[]> {
    const sentAtMs = monotonicClock.now();
    const [now, ...fields] = (await script(redis, some.map(waitKey), [maxAheadMs])) as (string | number)[];
    const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
    const at = { readAtMs: sentAtMs + uncertaintyMs, uncertaintyMs };
    return some.flatMap((queue, i) => {
      const row = fields.slice(i * rowLength, (i + 1) * rowLength);
      if (row[0] === 0 || row[0] === 2) return skip(queue, row[0] === 2);
      return [{ queue, ...at, ...stateOf(queue, Number(now), at.readAtMs, row) }];
    });
  }

  function skip(queue: string, isBullmq: boolean): readonly Observation[] {
    sightings.delete(queue);
    if (isBullmq) others.add(queue);
    else others.delete(queue);
    if (names === null) queues.delete(queue);
    return [];
  }

  function stateOf(
    queue: string,
    nowMs: number,
    readAtMs: number,
    [kind, depth, since, isBound, untimed, scheduled, active, paused]: readonly (string | number)[],
  ): Omit<Observation, "queue" | "readAtMs" | "uncertaintyMs"> {
    if (kind !== 1)
      return { depth: null, headAgeMs: null, accuracy: "UNKNOWN", scheduled: null, paused: false };
    const state = {
      depth: Number(depth),
      scheduled: Number(scheduled),
      inFlight: Number(active),
      paused: paused === 1,
    };
    const seenForMs = sightingAgeMs(queue, String(untimed), readAtMs);
    if (depth === 0) return { ...state, headAgeMs: null, accuracy: "EXACT" };
    const ageMs = since === "" ? 0 : nowMs - Number(since);
    return {
      ...state,
      headAgeMs: Math.max(0, ageMs, seenForMs),
      accuracy: isBound === 1 ? "LOWER_BOUND" : "ESTIMATED",
    };
  }

  /** For how long the job whose time is not known has been seen; 0 when there is none. */
  function sightingAgeMs(queue: string, jobId: string, readAtMs: number): number {
    const known = sightings.get(queue);
    if (known !== undefined && known.jobId === jobId) return readAtMs - known.firstAtMs;
    if (jobId === "") sightings.delete(queue);
    else sightings.set(queue, { jobId, firstAtMs: readAtMs });
    return 0;
  }

  return createPolledSource({ ...options, source, read, runBeside: search.run, close: watched.close });
}

const rowLength = 8;

function parseUrl(url: string): { readonly prefix: string; readonly names: readonly string[] | null } {
  const parameters = parseRedisUrl(url)?.parameters;
  if (parameters === undefined) throw new StartError("expected the URL of Bull's Redis, as BULL_URL has it");
  const names = (parameters.get("queues") ?? "").split(",").filter((name) => name !== "");
  return {
    prefix: parameters.get("prefix") || "bull",
    names: names.length === 0 ? null : [...new Set(names)],
  };
}
