import type { Cluster, Redis } from "ioredis";
import { monotonicClock } from "../runtime/clock.ts";
import { type SourceKind, urlSetting } from "../settings/source-kinds.ts";
import { isRefusal } from "./resumed-scan.ts";
import { scanStep } from "./scan-step.ts";

interface Sign {
  readonly kind: SourceKind;
  /** A key that it always has, once it has had a job. */
  readonly mark?: { readonly key: string; readonly type: string };
  /** Names of keys that only it has. */
  readonly keys: RegExp;
}

/** What shows that a job system uses a Redis, with its usual prefix. */
const signs: readonly Sign[] = [
  { kind: "sidekiq", mark: { key: "queues", type: "set" }, keys: /^queue:[^:]+$/ },
  { kind: "bullmq", keys: /^bull:[^:]+:meta$/ },
  // BullMQ has such keys, too.
  { kind: "bull", keys: /^bull:.+:id$/ },
  {
    ...{ kind: "asynq", keys: /^asynq:\{/ },
    mark: { key: "asynq:queues", type: "set" },
  },
  { kind: "celery", keys: /_kombu\.binding\./ },
  { kind: "rq", mark: { key: "rq:queues", type: "set" }, keys: /^rq:(queue|job):/ },
  { kind: "laravel", keys: /(^|[_-]database[_-])queues:[^:]+/ },
  {
    ...{ kind: "resque", keys: /^resque:queue:/ },
    mark: { key: "resque:queues", type: "set" },
  },
  { kind: "dramatiq", keys: /^dramatiq:/ },
  { kind: "arq", keys: /^arq:(queue$|job:|in-progress:)|:health-check$/ },
  { kind: "huey", keys: /^huey\.redis\./ },
];

const keysPerStep = 1_000;
const maxSteps = 50;
/** For so long an answer is good enough for the log. */
const keptMs = 600_000;

interface Found {
  /** Other job systems, as the log names them. */
  readonly others: readonly string[];
  /** Whether there may be more: this user may not look at all keys, or there are too many. */
  readonly mayBeMore: boolean;
}

/**
 * Finds why a Redis has no queues of a job system, for the log: it has another one's, so the URL is probably in the wrong setting; or it
 * has no known ones. Of a large Redis the first 50,000 keys are looked at, once in ten minutes.
 */
export function createForeignSystems(own: SourceKind): (redis: Redis | Cluster) => Promise<string> {
  let answer: { readonly text: string; readonly atMs: number } | null = null;

  return async function foreignSystems(redis) {
    const nowMs = monotonicClock.now();
    if (answer === null || nowMs - answer.atMs > keptMs)
      answer = { text: sentence(await systemsIn(redis, own)), atMs: nowMs };
    return answer.text;
  };
}

function sentence({ others, mayBeMore }: Found): string {
  if (others.length > 0) return `this database has keys of another job system: ${others.join(", ")}`;
  if (mayBeMore) return "no keys of another job system were found among those that could be looked at";
  return "this database has no keys of another job system; the URL names another database behind the port";
}

async function systemsIn(redis: Redis | Cluster, own: SourceKind): Promise<Found> {
  const found = new Set<SourceKind>();
  for (const { kind, mark } of signs) if (mark !== undefined && (await isThere(redis, mark))) found.add(kind);
  const sawAll = await look(redis, {}, (key) => {
    for (const { kind, keys } of signs) if (keys.test(key)) found.add(kind);
  });
  if (found.has("bullmq")) found.delete("bull");
  const named = signs.filter(({ kind }) => found.has(kind) && kind !== own);
  const others = named.map(({ kind }) => `${kind} (${urlSetting(kind)})`);
  // Job systems have streams, too.
  if (found.size > 0 || own === "streams") return { others, mayBeMore: !sawAll };
  let hasStreams = false;
  await look(redis, { type: "stream" }, () => {
    hasStreams = true;
  });
  return { others: hasStreams ? [`streams (${urlSetting("streams")})`] : [], mayBeMore: !sawAll };
}

/** False where this user may not look at the key. */
async function isThere(redis: Redis | Cluster, { key, type }: NonNullable<Sign["mark"]>): Promise<boolean> {
  try {
    return (await redis.type(key)) === type;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}

/** Resolves to whether all keys were seen. */
async function look(
  redis: Redis | Cluster,
  kind: { readonly type?: "stream" },
  onKey: (key: string) => void,
): Promise<boolean> {
  let position = "0";
  try {
    for (let step = 0; step < maxSteps; step++) {
      const { position: next, keys } = await scanStep(redis, position, {
        ...{ match: "*", count: keysPerStep },
        ...kind,
      });
      for (const key of keys) onKey(key);
      position = next;
      if (next === "0") return true;
    }
  } catch (error) {
    // Not every user may SCAN.
    if (!isRefusal(error)) throw error;
  }
  return false;
}
