import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
import { StartError } from "../core/errors.ts";
import { monotonicClock } from "../runtime/clock.ts";
import {
  parseRedisUrl,
  type RedisConnectionOptions,
  redisOptions,
  redisParameters,
} from "../settings/redis-url.ts";
import { maxAheadMs } from "./head-age.ts";
import { createPolledRedis } from "./polled-redis.ts";
import { createReadOnlyScript, type ReadOnlyScript } from "./read-only-script.ts";

/** What one reading of a list returned. */
export interface SidekiqReading {
  readonly queue: string;
  /** How many jobs wait; null when the key is no list. */
  readonly size: number | null;
  /**
   * Age of the oldest job that was looked at, in ms, by the time of the Redis; below 0 when its time lies ahead. Null when no job waits,
   * or it is not known.
   */
  readonly headAgeMs: number | null;
  /**
   * What was looked at: "all" jobs; some at both ends of the list, "ordered" by their times; or "disordered", so that older ones
   * may lie in between, now or, where all were looked at, once more jobs have come.
   */
  readonly order: "all" | "ordered" | "disordered" | "all disordered";
  readonly paused: boolean;
  /** The middle of the round trip that returned it, by {@link monotonicClock}, and half of its length. */
  readonly readAtMs: number;
  readonly uncertaintyMs: number;
}

export interface SidekiqSession {
  /** The names of all queues, at most `max` of them, in no order; with `hasMore`, others were left out. */
  names(max: number): Promise<{ readonly names: readonly string[]; readonly hasMore: boolean }>;
  /**
   * One step of a look through all keys, for lists that are in no set: workers take from them all the same. "0" is the begin, and
   * the end.
   */
  scan(position: string): Promise<{ readonly position: string; readonly names: readonly string[] }>;
  /** What else is in its Redis. */
  foreign(look: (redis: Redis) => Promise<string>): Promise<string>;
  /** One reading for each name, in order, by as many round trips as it takes to keep each of them short. */
  readings(names: readonly string[], chunkSize: number): Promise<readonly SidekiqReading[]>;
}

export interface SidekiqReader {
  /**
   * Works over the one connection, which is opened when there is none. After any failure, and when the signal aborts, it is
   * thrown away, so that a Redis that hangs cannot hold what comes later.
   *
   * @throws what went wrong, in words that hold no command and so no password.
   */
  use<T>(signal: AbortSignal, work: (session: SidekiqSession) => Promise<T>): Promise<T>;
  close(): void;
}

const lua = readFileSync(new URL("lua/sidekiq.lua", import.meta.url), "utf8");

const orders = ["all", "ordered", "disordered", "all disordered"] as const;
/** How many names one step of a scan looks at. */
const scanStep = 100;
/** How many keys. */
const keysPerScan = 1_000;

/**
 * Reads the Redis of a Sidekiq: by `SSCAN`, and by a script that writes nothing.
 *
 * @throws StartError when the URL is not that of a Redis; it does not repeat the URL, which may hold a password.
 */
export function createSidekiqReader(url: string, connectionName: string): SidekiqReader {
  const { namespace, ...options } = parseUrl(url);
  const prefix = namespace === "" ? "" : `${namespace}:`;
  const isClusterMessage = "a node of a Redis Cluster, which Sidekiq cannot use";
  const redis = createPolledRedis({ options, connectionName, isClusterMessage });
  const run = createReadOnlyScript(lua);
  return {
    use: (signal, work) => redis.use(signal, (connection) => work(createSession(connection, run, prefix))),
    close: redis.close,
  };
}

function createSession(redis: Redis, run: ReadOnlyScript, prefix: string): SidekiqSession {
  const listPrefix = `${prefix}queue:`;

  async function ask(names: readonly string[]): Promise<readonly SidekiqReading[]> {
    const sentAtMs = monotonicClock.now();
    const answer = await run(
      redis,
      [`${prefix}paused`, ...names.map((name) => `${listPrefix}${name}`)],
      [listPrefix, maxAheadMs],
    );
    const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
    const readAtMs = sentAtMs + uncertaintyMs;
    if (!Array.isArray(answer) || answer.length === 0) {
      throw new Error(`expected four entries for each queue, got ${JSON.stringify(answer)}`);
    }
    return names.slice(0, answer.length / 4).map((queue, i) => {
      const [size, age, order, paused] = answer.slice(4 * i, 4 * i + 4).map(String);
      return {
        queue,
        size: size === "-1" ? null : Number(size),
        headAgeMs: age === "" || age === "?" ? null : Number(age),
        order: orders[Number(order)] ?? "ordered",
        paused: paused === "1",
        readAtMs,
        uncertaintyMs,
      };
    });
  }

  return {
    async names(max) {
      const found = new Set<string>();
      let cursor = "0";
      do {
        const [next, names] = await redis.sscan(`${prefix}queues`, cursor, "COUNT", scanStep);
        for (const name of names) found.add(name);
        cursor = next;
      } while (cursor !== "0" && found.size <= max);
      return { names: [...found].slice(0, max), hasMore: found.size > max };
    },
    async scan(position) {
      const pattern = `${escapeGlob(listPrefix)}*`;
      const [next, keys] = await redis.scan(position, "MATCH", pattern, "COUNT", keysPerScan, "TYPE", "list");
      const names = keys.map((key) => key.slice(listPrefix.length));
      // With a bar: jobs that a process of Sidekiq Pro has in work.
      return { position: next, names: names.filter((name) => name !== "" && !name.includes("|")) };
    },
    foreign: (look) => look(redis),
    async readings(names, chunkSize) {
      const readings: SidekiqReading[] = [];
      while (readings.length < names.length) {
        readings.push(...(await ask(names.slice(readings.length, readings.length + chunkSize))));
      }
      return readings;
    },
  };
}

interface ServerOptions extends RedisConnectionOptions {
  /** Stands before every key, with a colon; "" when there is none. */
  readonly namespace: string;
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, "\\$&");
}

function parseUrl(url: string): ServerOptions {
  const parsed = parseRedisUrl(url);
  const known: readonly string[] = [...redisParameters, "namespace"];
  if (parsed === null || ![...parsed.parameters.keys()].every((name) => known.includes(name))) {
    throw new StartError("expected the URL of Sidekiq's Redis, as SIDEKIQ_URL has it");
  }
  return { ...redisOptions(url), namespace: parsed.parameters.get("namespace") ?? "" };
}
