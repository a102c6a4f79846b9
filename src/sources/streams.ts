import { readFileSync } from "node:fs";
import type { Cluster, Redis } from "ioredis";
import { StartError } from "../core/errors.ts";
import type { EventSink, Observation } from "../core/observation.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { parseRedisUrl, redisOptions } from "../settings/redis-url.ts";
import { createForeignSystems } from "./foreign-systems.ts";
import { createNameClashes, type NamedQueue } from "./name-clashes.ts";
import { createOwnIds, type OwnIds } from "./own-ids.ts";
import { createPolledSource, defaultMaxQueues } from "./polled-source.ts";
import { createReadOnlyScript } from "./read-only-script.ts";
import { searchKeys } from "./search-keys.ts";
import { slotGroups } from "./slot-groups.ts";
import { createWatchedRedis } from "./watched-redis.ts";

export interface StreamsSourceOptions {
  /** `redis://...?streams=A,B:*`: names of streams, and patterns of names. It may name one node of a Redis Cluster. */
  readonly url: string;
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "streams" */
  readonly source?: string;
  /** How often the entries are counted that a group has not been given, where Redis does not know it, in ms. @default 5_000 */
  readonly countEveryMs?: number;
  /** More streams, and more groups, are not read, with one warning. @default 10_000 */
  readonly maxQueues?: number;
}

const lua = readFileSync(new URL("lua/streams.lua", import.meta.url), "utf8");
const streamsPerCall = 20;
/** Of the time of that Redis, for each stream whose entries are counted. */
const maxCountingShare = 0.1;

interface Stream {
  /** The URL names it; else it was found by a pattern. */
  readonly isNamed: boolean;
  readonly ids: OwnIds;
  /** Of each group the last count. */
  readonly depths: Map<string, Pick<Observation, "depth" | "depthIsLowerBound">>;
  countAtMs: number;
  /** How long its last reading took. */
  tookMs: number;
}

/**
 * Reads the consumer groups of Redis Streams, each as a queue `STREAM/GROUP`, from a Redis that it never changes.
 *
 * - The head is the first entry that the group has not been given. Its id is the time of that Redis, so its accuracy is EXACT, unless
 *   the stream has ids that are no such times: then it is ESTIMATED; LOWER_BOUND where the head's is more than a minute ahead; or, where
 *   they are no times at all, UNKNOWN.
 * - The depth is the group's lag; where Redis does not know that (entries were deleted, the group began in the middle) the
 *   entries are counted every `countEveryMs`, up to some thousands.
 * - Entries that a consumer has and has not acknowledged do not wait: they are `inFlight`.
 * - A stream without a group is a queue `STREAM` of which nothing is known: a group that is created later may be given all entries.
 *
 * @throws StartError when the URL is not that of a Redis, or names no stream.
 */
export function createStreamsSource(options: StreamsSourceOptions): Service {
  const {
    url,
    intervalMs,
    sink,
    logger,
    source = "streams",
    countEveryMs = 5_000,
    maxQueues = defaultMaxQueues,
  } = options;
  const names = streamsIn(url);
  const patterns = names.filter((name) => /[*?[]/.test(name));
  const script = createReadOnlyScript(lua);
  const watched = createWatchedRedis({
    options: redisOptions(url),
    connectionName: `queue-latency-${source}`,
    prepare: () => {},
  });
  const streams = new Map<string, Stream>();
  const foreignSystems = createForeignSystems("streams");
  const withoutClashes = createNameClashes(source, logger);
  let hasMore = false;
  const search = searchKeys({
    watched,
    source,
    logger,
    patterns,
    type: "stream",
    onFound: (key) => add(key, false),
  });
  for (const name of names) if (!patterns.includes(name)) add(name, true);

  function add(name: string, isNamed: boolean): void {
    if (streams.has(name)) return;
    if (streams.size >= maxQueues) hasMore = true;
    else streams.set(name, { isNamed, ids: createOwnIds(), depths: new Map(), countAtMs: 0, tookMs: 0 });
  }

  async function read(signal: AbortSignal) {
    const queues = new Map<string, NamedQueue>();
    // What is found meanwhile is not read yet.
    const isDone = search.isDone();
    return await watched.use(async (redis) => {
      for (const group of slotGroups(watched, [...streams.keys()], streamsPerCall)) {
        let left: Left = { names: group, after: "" };
        while (left.names.length > 0 && queues.size <= maxQueues) {
          signal.throwIfAborted();
          left = await readSome(redis, left, queues);
        }
      }
      forgetGoneGroups(queues);
      const isSure = queues.size === 0 && isDone;
      const whyEmpty = isSure
        ? `no stream has one of these names: ${names.join(", ")}; ${await foreignSystems(redis)}`
        : null;
      return { queues: withoutClashes([...queues.values()]), whyEmpty, hasMore };
    });
  }

  /** A group of the same name that comes later is another one. */
  function forgetGoneGroups(found: ReadonlyMap<string, NamedQueue>): void {
    for (const [name, { depths }] of streams)
      for (const group of depths.keys()) if (!found.has(originOf(name, group))) depths.delete(group);
  }

  /** @returns what it did not read. */
  async function readSome(
    redis: Redis | Cluster,
    left: Left,
    queues: Map<string, NamedQueue>,
  ): Promise<Left> {
    const { names, after } = left;
    const sentAtMs = monotonicClock.now();
    const isCounted = names.map((name) => sentAtMs >= (streams.get(name)?.countAtMs ?? 0));
    const reply = await script(redis, names, [...isCounted.map(Number), after]);
    const tookMs = monotonicClock.now() - sentAtMs;
    const at = { readAtMs: sentAtMs + tookMs / 2, uncertaintyMs: tookMs / 2 };
    const [nowMs, cut, ...rows] = reply as [number, string, ...Row[]];
    if (rows.length === 0) throw new Error("expected a row for each stream, got none");
    const cutRow = cut === "" ? rows.length : rows.length - 1;
    for (const [i, row] of rows.entries()) {
      const name = names[i] ?? "";
      const stream = streams.get(name);
      if (stream === undefined) continue;
      if (row === null) {
        // One that is found again is another one.
        streams.delete(name);
        if (stream.isNamed) add(name, true);
        continue;
      }
      stream.tookMs = (i === 0 && after !== "" ? stream.tookMs : 0) + tookMs;
      if (isCounted[i] && i !== cutRow)
        stream.countAtMs = sentAtMs + Math.max(countEveryMs, stream.tookMs / maxCountingShare);
      const isAllOfIt = row.length === 1 && !(i === 0 && after !== "");
      if (isAllOfIt) {
        const origin = `stream ${JSON.stringify(name)}`;
        queues.set(origin, { origin, observation: { ...ofNoGroup, ...at, queue: name } });
      }
      for (const named of groupsOf(name, stream, row, { nowMs, ...at })) queues.set(named.origin, named);
    }
    return { names: names.slice(cutRow), after: cut };
  }

  return createPolledSource({
    ...{ source, intervalMs, sink, logger, read, maxQueues },
    runBeside: search.run,
    close: watched.close,
  });
}

type Row = readonly (string | number)[] | null;

/** Streams that are still to be read, and of the first of them the group after which, as the script takes it. */
interface Left {
  readonly names: readonly string[];
  readonly after: string;
}

interface ReadAt extends Pick<Observation, "readAtMs" | "uncertaintyMs"> {
  /** By the clock of the Redis that is read. */
  readonly nowMs: number;
}

const groupFields = 5;
const ofNoGroup = {
  scheduled: null,
  paused: false,
  headAgeMs: null,
  depth: null,
  accuracy: "UNKNOWN",
} as const;

function groupsOf(
  name: string,
  { ids, depths }: Stream,
  [last, ...fields]: readonly (string | number)[],
  { nowMs, ...at }: ReadAt,
): readonly NamedQueue[] {
  ids.seen(String(last), nowMs);
  return Array.from({ length: fields.length / groupFields }, (_, i): NamedQueue => {
    const [group, head, count, pending, idle] = fields.slice(i * groupFields, (i + 1) * groupFields);
    const origin = originOf(name, String(group));
    const inFlight = { inFlight: Number(pending), inFlightIdleMs: idle === "" ? null : Number(idle) };
    const seen = { ...at, ...inFlight, queue: `${name}/${group}`, scheduled: null, paused: false };
    if (head === "") {
      depths.delete(String(group));
      return { origin, observation: { ...seen, headAgeMs: null, depth: 0, accuracy: "EXACT" } };
    }
    const counted = Number(count);
    // -1: not this time.
    if (counted !== -1) depths.set(String(group), depthOf(counted));
    const depth = depths.get(String(group)) ?? { depth: null };
    return { origin, observation: { ...seen, ...depth, ...ids.ageOf(String(head), nowMs) } };
  });
}

function originOf(stream: string, group: string): string {
  return `stream ${JSON.stringify(stream)}, group ${JSON.stringify(group)}`;
}

function depthOf(counted: number): Pick<Observation, "depth" | "depthIsLowerBound"> {
  const isLowerBound = counted < -1;
  return { depth: isLowerBound ? -1 - counted : counted, depthIsLowerBound: isLowerBound };
}

function streamsIn(url: string): readonly string[] {
  const text = parseRedisUrl(url)?.parameters.get("streams") ?? "";
  const names = [...new Set(text.split(",").filter((name) => name !== ""))];
  if (names.length === 0)
    throw new StartError("expected the URL of a Redis with ?streams=A,B:*, as STREAMS_URL has it");
  return names;
}
