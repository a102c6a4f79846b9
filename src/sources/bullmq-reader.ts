import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { monotonicClock } from "../core/clock.ts";
import { StartError } from "../core/errors.ts";
import { parseRedisUrl, type RedisConnectionOptions, redisOptions } from "../core/redis-url.ts";

/** The lists and sets of a queue that hold the jobs that wait or are scheduled. */
export const jobLists = ["wait", "paused", "prioritized", "delayed"] as const;
export type JobList = (typeof jobLists)[number];

export interface ReadRequest {
  readonly queue: string;
  /** Entry of the stream that was read last; null: from the beginning. */
  readonly cursor: string | null;
  readonly counts: boolean;
  /** A job whose key is looked for. */
  readonly head: string | null;
  readonly page: { readonly list: JobList; readonly index: number } | null;
}

/** What bullmq-read.lua says of one queue; all of it at one moment. Times are by the watched Redis's clock. */
export interface ReadReply {
  readonly exists: boolean;
  readonly gap: boolean;
  readonly cursor: string;
  readonly more: boolean;
  readonly events: readonly StreamEvent[];
  readonly counts: { readonly jobs: number; readonly paused: boolean } | null;
  readonly there: readonly string[];
  readonly headIsGone: boolean;
  readonly page: readonly { readonly jobId: string; readonly timeMs: number | null }[];
  /** How many the page looked at: fewer than {@link pageSize} when the list has ended. */
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
  read(requests: readonly ReadRequest[]): Promise<Reading>;
  /** One step of a look through all keys. */
  scan(cursor: string): Promise<{ readonly cursor: string; readonly queues: readonly string[] }>;
  close(): void;
}

/** What keeps each call far below 10 ms: entries of one queue, entries of all, jobs in a page. */
const entriesOfQueue = 300;
const entriesOfCall = 400;
export const pageSize = 400;
const keysPerScan = 500;

/** @param url as core/redis-url.ts reads it; its parameter `prefix` is BullMQ's own. @throws StartError when it is another one. */
export function createBullmqReader(url: string, name: string): BullmqReader {
  const { options, prefix } = parseUrl(url);
  const redis = new Redis({
    ...options,
    connectionName: `queue-latency-${name}`,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: 2_000,
    connectTimeout: 2_000,
    retryStrategy: (attempt) => Math.min(100 * attempt, 1_000),
  });
  // Without a listener ioredis prints it; every read fails with it too.
  let reason: Error | undefined;
  redis.on("error", (error: Error) => {
    reason = error;
  });
  redis.on("ready", () => {
    reason = undefined;
  });
  redis.defineCommand("bullmqRead", {
    lua: readFileSync(new URL("lua/bullmq-read.lua", import.meta.url), "utf8"),
    readOnly: true,
  });
  const script = redis as unknown as {
    bullmqRead(...args: readonly (string | number)[]): Promise<[number, RawReply[]]>;
  };
  const metaKeys = `${escapeGlob(prefix)}:*:meta`;

  const closed = Promise.withResolvers<void>();

  /** A connection that is being made is waited for, until it fails; ioredis tells nobody when it is closed meanwhile. */
  async function ready(): Promise<void> {
    if (redis.status === "wait") redis.connect().catch(() => {});
    if (redis.status === "ready" || redis.status === "end") return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const turns = ["ready", "close", "end"] as const;
    for (const turn of turns) redis.once(turn, resolve);
    await Promise.race([promise, closed.promise]);
    for (const turn of turns) redis.off(turn, resolve);
  }

  async function answered<T>(ask: () => Promise<T>): Promise<T> {
    await ready();
    try {
      return await ask();
    } catch (error) {
      // What ioredis throws while it is not connected says only that; and its errors carry the command, with a password.
      throw new Error((reason ?? (error as Error)).message);
    }
  }

  return {
    async read(requests) {
      const sentAtMs = monotonicClock.now();
      const [sourceNowMs, replies] = await answered(() =>
        script.bullmqRead(
          requests.length,
          ...requests.map(({ queue }) => `${prefix}:${queue}:events`),
          ...[entriesOfQueue, entriesOfCall, pageSize],
          ...requests.flatMap(({ cursor, counts, head, page }) => [
            cursor ?? "",
            Number(counts),
            head ?? "",
            page?.list ?? "",
            page?.index ?? 0,
          ]),
        ),
      );
      const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
      const readAtMs = sentAtMs + uncertaintyMs;
      return { sourceNowMs, readAtMs, uncertaintyMs, replies: replies.map(replyOf) };
    },
    async scan(cursor) {
      const [next, keys] = await answered(() => redis.scan(cursor, "MATCH", metaKeys, "COUNT", keysPerScan));
      const names = keys.map((key) => key.slice(prefix.length + 1, -":meta".length));
      // BullMQ allows no colon in a queue's name: such a key belongs to something else.
      return { cursor: next, queues: names.filter((queue) => queue !== "" && !queue.includes(":")) };
    },
    close() {
      redis.disconnect();
      closed.resolve();
    },
  };
}

function parseUrl(url: string): { options: RedisConnectionOptions; prefix: string } {
  const parsed = parseRedisUrl(url);
  if (parsed === null) throw new StartError("expected the URL of BullMQ's Redis, as BULLMQ_URL has it");
  return { options: redisOptions(url), prefix: parsed.parameters.get("prefix") || "bull" };
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, "\\$&");
}

type RawReply = [
  exists: number,
  gap: number,
  cursor: string,
  more: number,
  events: string[],
  counts: number[],
  there: string[],
  headIsGone: number,
  page: string[],
  looked: number,
  skew: string,
];

function replyOf(raw: RawReply): ReadReply {
  const [
    exists,
    gap,
    cursor,
    more,
    flat,
    [claimable, delayed, paused],
    there,
    headIsGone,
    jobs,
    looked,
    skew,
  ] = raw;
  const events: StreamEvent[] = [];
  for (let i = 0; i < flat.length; i += 4) {
    const [at = "", kind = "", jobId = "", due = ""] = flat.slice(i, i + 4);
    events.push({ atMs: Number(at), kind: kind as StreamEvent["kind"], jobId, dueMs: numberOf(due) });
  }
  const page: { jobId: string; timeMs: number | null }[] = [];
  for (let i = 0; i < jobs.length; i += 2)
    page.push({ jobId: jobs[i] ?? "", timeMs: numberOf(jobs[i + 1] ?? "") });
  const isCounted = claimable !== undefined && delayed !== undefined;
  return {
    exists: exists === 1,
    gap: gap === 1,
    cursor,
    more: more === 1,
    events,
    counts: isCounted ? { jobs: claimable + delayed, paused: paused === 1 } : null,
    there,
    headIsGone: headIsGone === 1,
    page,
    looked,
    skewMs: numberOf(skew),
  };
}

/** null: nothing was told, or no number. */
function numberOf(text: string): number | null {
  const number = Number(text);
  return text === "" || !Number.isFinite(number) ? null : number;
}
