import { readFileSync } from "node:fs";
import { StartError } from "../core/errors.ts";
import type { PresentJob } from "../core/log-following.ts";
import { monotonicClock } from "../runtime/clock.ts";
import { namedReply } from "../runtime/named-reply.ts";
import { parseRedisUrl, type RedisConnectionOptions, redisOptions } from "../settings/redis-url.ts";
import { createForeignSystems } from "./foreign-systems.ts";
import { maxAheadMs } from "./head-age.ts";
import { isRefusal } from "./resumed-scan.ts";
import { escapeGlob, scanStep } from "./scan-step.ts";
import { hashTagOf } from "./slot-groups.ts";
import { createWatchedRedis } from "./watched-redis.ts";

/** The lists and sets of a queue that hold the jobs that wait or are scheduled. */
export const jobLists = ["wait", "paused", "prioritized", "delayed"] as const;
export type JobList = (typeof jobLists)[number];

export interface ReadRequest {
  readonly queue: string;
  /** Entry of the stream that was read last; null: from the beginning. */
  readonly cursor: string | null;
  /** `added` of the reply that came with the cursor; null: not known. */
  readonly added: number | null;
  readonly counts: boolean;
  /** A job whose key is looked for. */
  readonly head: string | null;
  /** With `list` "all": all of them at once, if they hold at most {@link pageSize} jobs together. */
  readonly page: { readonly list: JobList | "all"; readonly index: number } | null;
}

/** What bullmq-read.lua says of one queue; all of it at one moment. Times are by the watched Redis's clock. */
export interface ReadReply {
  readonly exists: boolean;
  readonly cursor: string;
  /** The end of the stream was not reached: then there are neither counts nor page. */
  readonly more: boolean;
  /** Events from before this time may have been trimmed unread; null: none was. */
  readonly missedUntilMs: number | null;
  /** How many events the stream had ever had at `cursor`; null: Redis before 7.0 does not count them. */
  readonly added: number | null;
  /** How many events BullMQ keeps at least: `streams.events.maxLen`. */
  readonly maxEvents: number;
  readonly events: readonly StreamEvent[];
  readonly counts: { readonly jobs: number; readonly paused: boolean } | null;
  readonly there: readonly string[];
  readonly headIsGone: boolean;
  readonly page: readonly PresentJob[];
  /** How many the page looked at: fewer than {@link pageSize} when the list has ended. -1: "all" were more than a page. */
  readonly looked: number;
  /** By how much the clock of the newest job's producer is ahead of the watched Redis's, in ms; null: no job was added. */
  readonly skewMs: number | null;
}

export interface StreamEvent {
  readonly atMs: number;
  readonly kind: "W" | "P" | "S" | "T" | "R" | "p" | "r" | "c";
  readonly jobId: string;
  readonly dueMs: number | null;
}

export interface Reading {
  readonly sourceNowMs: number;
  /** The middle of the round trip, by monotonicClock, and half its length. */
  readonly readAtMs: number;
  readonly uncertaintyMs: number;
  readonly replies: readonly ReadReply[];
}

/** The watched Redis, asked in small steps only. Every method throws when it does not answer. */
export interface BullmqReader {
  /** The queues that the URL names; null: they are found by their keys. */
  readonly names: readonly string[] | null;
  /** BullMQ's own prefix. */
  readonly prefix: string;
  /** How many calls may be made at once: of a Redis Cluster each queue may be on a node of its own. */
  readonly maxCalls: number;
  /** Only queues of the same group can be read in one call. */
  groupOf(queue: string): string;
  read(requests: readonly ReadRequest[]): Promise<Reading>;
  /** One step of a look through all keys; "0" is the begin, and the end. */
  scan(position: string): Promise<{ readonly position: string; readonly queues: readonly string[] }>;
  /** Those of the queues that there are, and a refusal where this user may not look for one. */
  existing(
    queues: readonly string[],
  ): Promise<{ readonly found: readonly string[]; readonly refusal: unknown }>;
  /** What else is in its Redis. */
  foreign(): Promise<string>;
  close(): void;
}

/** What keeps each call far below 10 ms: entries of one queue, entries of all, jobs in a page, keys of one `SCAN`. */
const entriesOfQueue = 300;
const entriesOfCall = 400;
export const pageSize = 400;
const keysPerScan = 4_000;

/**
 * @param url as settings/redis-url.ts reads it; of its parameters `prefix` is BullMQ's own, and `queues` names the queues to read.
 * @throws StartError when it is another one.
 */
export function createBullmqReader(url: string, name: string): BullmqReader {
  const { options, prefix, names } = parseUrl(url);
  const lua = readFileSync(new URL("lua/bullmq-read.lua", import.meta.url), "utf8");
  const watched = createWatchedRedis({
    options,
    connectionName: `queue-latency-${name}`,
    prepare: (redis) => redis.defineCommand("bullmqRead", { lua, readOnly: true }),
  });
  const foreignSystems = createForeignSystems("bullmq");
  const metaKeys = `${escapeGlob(prefix)}:*:meta`;

  return {
    names,
    prefix,
    get maxCalls() {
      return watched.isCluster ? maxClusterCalls : 1;
    },
    groupOf: (queue) => (watched.isCluster ? hashTagOf(`${prefix}:${queue}:events`) : ""),
    async read(requests) {
      const args = [
        requests.length,
        ...requests.map(({ queue }) => `${prefix}:${queue}:events`),
        ...[entriesOfQueue, entriesOfCall, pageSize, maxAheadMs],
        ...requests.flatMap(({ cursor, added, counts, head, page }) => [
          ...[cursor ?? "", added ?? "", Number(counts), head ?? ""],
          ...[page?.list ?? "", page?.index ?? 0],
        ]),
      ];
      return await watched.use(async (redis) => {
        const script = redis as unknown as {
          bullmqRead(...args: readonly (string | number)[]): Promise<unknown>;
        };
        const sentAtMs = monotonicClock.now();
        const reply = await script.bullmqRead(...args);
        const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
        const readAtMs = sentAtMs + uncertaintyMs;
        const { now: sourceNowMs, queues } = namedReply<{ now: number; queues: unknown[] }>(reply);
        return { sourceNowMs, readAtMs, uncertaintyMs, replies: queues.map(replyOf) };
      });
    },
    async scan(position) {
      return await watched.use(async (redis) => {
        const step = { match: metaKeys, count: keysPerScan };
        const { position: next, keys } = await scanStep(redis, position, step);
        const queues = keys.map((key) => key.slice(prefix.length + 1, -":meta".length));
        return {
          position: next,
          // BullMQ allows no colon in a queue's name: such a key belongs to something else.
          queues: queues.filter((queue) => queue !== "" && !queue.includes(":")),
        };
      });
    },
    async existing(queues) {
      return await watched.use(async (redis) => {
        let refusal: unknown = null;
        const isThere = async (queue: string) => {
          try {
            return (await redis.exists(`${prefix}:${queue}:meta`)) === 1;
          } catch (error) {
            if (!isRefusal(error)) throw error;
            refusal = error;
            return false;
          }
        };
        const areThere = await Promise.all(queues.map(isThere));
        return { found: queues.filter((_, i) => areThere[i]), refusal };
      });
    },
    foreign: () => watched.use(foreignSystems),
    close: watched.close,
  };
}

const maxClusterCalls = 16;

interface BullmqUrl {
  readonly options: RedisConnectionOptions;
  readonly prefix: string;
  readonly names: readonly string[] | null;
}

function parseUrl(url: string): BullmqUrl {
  const parsed = parseRedisUrl(url);
  if (parsed === null) throw new StartError("expected the URL of BullMQ's Redis, as BULLMQ_URL has it");
  const names = (parsed.parameters.get("queues") ?? "").split(",").filter((name) => name !== "");
  return {
    options: redisOptions(url),
    prefix: parsed.parameters.get("prefix") || "bull",
    names: names.length === 0 ? null : [...new Set(names)],
  };
}

/** What bullmq-read.lua returns of one queue, whose header says what it means. */
interface RawReply {
  readonly exists: 0 | 1;
  readonly cursor: string;
  readonly more: 0 | 1;
  readonly missedUntil?: string;
  readonly added?: string;
  readonly maxEvents: number;
  readonly events: readonly string[];
  readonly skew?: string;
  readonly claimable?: number;
  readonly delayed?: number;
  readonly paused?: 0 | 1;
  readonly there: readonly string[];
  readonly isGone: 0 | 1;
  readonly page: readonly string[];
  readonly looked: number;
}

function replyOf(reply: unknown): ReadReply {
  const raw = namedReply<RawReply>(reply);
  const { cursor, maxEvents, claimable, delayed, there, looked } = raw;
  const isCounted = claimable !== undefined && delayed !== undefined;
  return {
    exists: raw.exists === 1,
    cursor,
    more: raw.more === 1,
    missedUntilMs: numberOf(raw.missedUntil),
    added: numberOf(raw.added),
    maxEvents,
    events: inGroups(raw.events, 4).map(([at = "", kind, jobId = "", due]) => {
      return { atMs: Number(at), kind: kind as StreamEvent["kind"], jobId, dueMs: numberOf(due) };
    }),
    counts: isCounted ? { jobs: claimable + delayed, paused: raw.paused === 1 } : null,
    there,
    headIsGone: raw.isGone === 1,
    page: inGroups(raw.page, 3).map(([jobId = "", time, kind = ""]) => {
      return { jobId, sinceMs: numberOf(time), kind: presentKinds[kind] ?? "ESTIMATED" };
    }),
    looked,
    skewMs: numberOf(raw.skew),
  };
}

const presentKinds: Readonly<Record<string, PresentJob["kind"]>> = {
  S: "SCHEDULED",
  E: "ESTIMATED",
  L: "AT_LEAST",
};

function inGroups<T>(flat: readonly T[], size: number): T[][] {
  return Array.from({ length: flat.length / size }, (_, i) => flat.slice(i * size, (i + 1) * size));
}

/** null: no text, or no number. */
function numberOf(text = ""): number | null {
  const number = Number(text);
  return text === "" || !Number.isFinite(number) ? null : number;
}
