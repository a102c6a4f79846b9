import type { Redis } from "ioredis";
import { StartError } from "../../core/errors.ts";
import type { FollowSink } from "../../core/log-following.ts";
import type { Observation } from "../../core/observation.ts";
import { queueNameProblem } from "../../core/queue-name.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Service } from "../../runtime/service.ts";
import { parseRedisUrl, redisOptions, redisParameters } from "../../settings/redis-url.ts";
import { createForeignSystems } from "../foreign-systems.ts";
import { createPollLoop } from "../poll-loop.ts";
import { createPolledRedis } from "../polled-redis.ts";
import { createResumedScan } from "../resumed-scan.ts";
import { createSourceOutages } from "../source-outages.ts";
import { createListQueue, type ListQueue } from "./list-queue.ts";
import { createListReader } from "./list-reader.ts";
import type { ListSystem } from "./list-system.ts";
import { createQueueSearch } from "./queue-search.ts";

export interface ListSourceOptions {
  readonly system: ListSystem;
  /** Of a Redis, with the system's own parameters; `queues` names the queues to read, so that no others are searched for. */
  readonly url: string;
  /**
   * From the start of one reading to the start of the next, in ms. After a reading that takes more than half of that, the pause is
   * as long as the reading was.
   */
  readonly intervalMs: number;
  readonly sink: Pick<FollowSink, "observe" | "notes" | "answered">;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. */
  readonly source: string;
  /** Two times between which a job was pushed are one to within this, in ms. @default 3 intervals // a reading may be delayed */
  readonly exactMs?: number;
  /** More queues than these are not read, with one warning. @default 10_000 */
  readonly maxQueues?: number;
}

/**
 * Reads every queue of a job system whose queues are lists in Redis, each `intervalMs`, with one read-only script for 25 queues, and
 * reports to the sink about all of them at once.
 *
 * - The age of a head is by marks, where the script finds known elements again: see {@link file://./list-marks.ts}. They are stored with
 *   what is reported, so that the next reader goes on from them.
 * - Where jobs say when they were enqueued, that is the age (ESTIMATED) until marks say it.
 * - The queues are those that the system lists, those that are found by one SCAN with each reading, and those that were read before.
 *
 * While the Redis is away it warns once and tries each interval; nothing is reported, and the last reading becomes stale. `start()` does
 * not wait for Redis.
 *
 * @throws StartError when the URL is not that of a Redis.
 */
export function createListSource(options: ListSourceOptions): Service {
  const { system, url, intervalMs, sink, logger, source, maxQueues = 10_000 } = options;
  const { exactMs = 3 * intervalMs } = options;
  const opened = system.open(parametersOf(system, url));
  const redis = createPolledRedis({
    options: redisOptions(url),
    connectionName: `queue-latency-${source}`,
    isClusterMessage: `a node of a Redis Cluster, which the source of ${system.title} cannot read`,
  });
  const reader = createListReader({
    system,
    argument: opened.argument,
    inProgress: opened.inProgress,
  });
  const { empty } = createSourceOutages(logger, source, sink);
  const foreignSystems = createForeignSystems(system.kind);
  const queues = new Map<string, ListQueue>();
  const warned = new Set<string>();
  const search = createQueueSearch({
    ...{ opened, named: namesIn(url), maxQueues },
    isUsable,
    keys: createResumedScan({ logger, source, fallback: "the queues that are listed" }),
    onTooMany: () => warnOnce("skipped queues beyond the limit", { read: maxQueues }),
  });
  let isLoaded = false;
  let notes: ReadonlyMap<string, string> = new Map();

  /** What the last reader noted. Without it every queue would begin anew. */
  async function load(): Promise<void> {
    if (isLoaded) return;
    notes = await sink.notes(source);
    search.found([...notes.keys()]);
    isLoaded = true;
  }

  async function read(connection: Redis): Promise<readonly Observation[]> {
    const names = await search.step(connection);
    if (names.length > 0) empty.recovered();
    else if (search.isPassed()) empty.failed(`${opened.emptyHint}; ${await foreignSystems(connection)}`);
    const present = new Set(names);
    for (const name of queues.keys()) if (!present.has(name)) queues.delete(name);
    const asked = names.map((name) => [name, queueOf(name)] as const);
    const readings = await reader.read(
      connection,
      asked.map(([, queue]) => queue),
    );
    return readings.flatMap((reading, i) => {
      const [name, queue] = asked[i] ?? [];
      if (name === undefined || queue === undefined) return [];
      const observation = queue.observe(reading);
      if (observation.depth !== 0 || (observation.scheduled ?? 0) > 0) search.found([name]);
      return [observation];
    });
  }

  function queueOf(name: string): ListQueue {
    const known = queues.get(name);
    if (known !== undefined) return known;
    const created = createListQueue({
      queue: name,
      keys: opened.keysOf(name),
      areDistinct: system.areDistinct,
      areRunningInSets: opened.inProgress !== undefined,
      exactMs,
      notes: notes.get(name) ?? null,
      onUnknown: (why) => logger.warn({ source, queue: name, why }, "unknown age of the head of a queue"),
    });
    queues.set(name, created);
    return created;
  }

  function isUsable(name: string): boolean {
    if (name !== "" && queueNameProblem(`${source}/${name}`) === null) return true;
    warnOnce("skipped queues with invalid names", { queue: name.slice(0, 200) });
    return false;
  }

  function warnOnce(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (!warned.has(message)) logger.warn({ source, ...fields }, message);
    warned.add(message);
  }

  return createPollLoop({
    ...{ source, intervalMs, sink, logger, load, close: redis.close },
    read: (signal) => redis.use(signal, read),
    onUnstored() {
      for (const queue of queues.values()) queue.unstored();
    },
  });
}

function parametersOf(system: ListSystem, url: string): URLSearchParams {
  const parsed = parseRedisUrl(url);
  const known: readonly string[] = [...redisParameters, "queues", ...system.parameters];
  if (parsed === null || ![...parsed.parameters.keys()].every((name) => known.includes(name)))
    throw new StartError(`expected the URL of a Redis of ${system.title}, as its setting has it`);
  return parsed.parameters;
}

/** Null: they are searched for. */
function namesIn(url: string): readonly string[] | null {
  const names = parseRedisUrl(url)?.parameters.get("queues");
  return names == null ? null : [...new Set(names.split(",").filter((name) => name !== ""))];
}
