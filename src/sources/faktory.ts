import type { EventSink, Observation } from "../core/observation.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import { monotonicClock, wallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { createFaktoryClient, FaktoryRefusal, type FaktorySession } from "./faktory-client.ts";
import { createPollLoop } from "./poll-loop.ts";

export interface FaktorySourceOptions {
  /** `tcp://[:password@]host[:7419]`, or `tcp+tls://...`; `?paused=a,b` names the queues that are paused in Faktory. */
  readonly url: string;
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** How many queues one command asks about at most; fewer when their names are long. @default 100 */
  readonly chunkSize?: number;
  /** What stands before the slash in the names of its queues. @default "faktory" */
  readonly source?: string;
}

/**
 * Reads every queue of a Faktory server (1.9.2 or later) each `intervalMs`, and reports all of them to the sink at once.
 *
 * - The queues and their depths come from `INFO`, the ages of their heads from `QUEUE LATENCY`
 *   (the protocol: Faktory's wiki, and its `server/commands.go`). With no queues, the list is empty.
 * - `readAtMs` is the middle of the round trip that returned the age, `uncertaintyMs` half of it: Faktory looked at some
 *   moment in between. The age is by Faktory's clock alone, since Faktory itself stamped the job.
 * - Where Faktory cannot determine it (the head's `enqueued_at` is not a time, or before 1970), `accuracy` is UNKNOWN, `depth` what `INFO` said, and
 *   `headAgeMs` how long it has been so: too little, but never a calm 0 for ever. It hides no other queue.
 * - A head that was enqueued in the future waits, with age 0 and `accuracy` LOWER_BOUND.
 * - `scheduled` is always null, since Faktory reports only one number for all queues. No command of Faktory reports which queues
 *   are paused: those are, that the URL names.
 * - Queues whose names could not be asked for are left out, with one warning.
 *
 * While Faktory is away (refused, silent for two intervals and at least 2 s, another password) it warns once and tries
 * each interval; nothing is reported, and the last reading becomes stale. `start()` does not wait for Faktory.
 *
 * @throws StartError when the URL is not Faktory's.
 */
export function createFaktorySource(options: FaktorySourceOptions): Service {
  const { intervalMs, sink, logger, chunkSize = 100, source = "faktory" } = options;
  const client = createFaktoryClient(options.url);
  const pausedQueues = new Set(new URL(options.url).searchParams.get("paused")?.split(","));
  /** Of each queue whose age Faktory could not determine, since when. Asked alone, so that the others need no second question. */
  const unknownSinceMs = new Map<string, number>();
  let warnedOfNames = false;

  async function read(faktory: FaktorySession): Promise<readonly Observation[]> {
    const sizes = await faktory.sizes();
    for (const name of unknownSinceMs.keys()) if (!sizes.has(name)) unknownSinceMs.delete(name);
    const names = askable([...sizes.keys()]);
    const queues: Observation[] = [];

    async function ask(asked: readonly string[]): Promise<void> {
      const sentAtMs = monotonicClock.now();
      const answer = await orRefusal(faktory.latencies(asked));
      const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
      const readAtMs = sentAtMs + uncertaintyMs;
      // One unreadable head fails the whole command: halving finds it in few round trips.
      if (answer instanceof FaktoryRefusal && asked.length > 1) {
        const half = Math.ceil(asked.length / 2);
        await ask(asked.slice(0, half));
        await ask(asked.slice(half));
        return;
      }
      for (const queue of asked) {
        const size = sizes.get(queue) ?? 0;
        const latency = answer instanceof FaktoryRefusal ? answer : answer.get(queue);
        const head = isAge(latency)
          ? knownHead(queue, size, latency)
          : unknownHead(queue, size, readAtMs, latency);
        const paused = pausedQueues.has(queue);
        queues.push({ queue, ...head, uncertaintyMs, scheduled: null, paused, readAtMs });
      }
    }

    const alone = names.filter((name) => unknownSinceMs.has(name));
    const together = names.filter((name) => !unknownSinceMs.has(name));
    for (const chunk of chunksOf(together, chunkSize)) await ask(chunk);
    for (const name of alone) await ask([name]);
    return queues;
  }

  function knownHead(queue: string, size: number, latencySeconds: number): Head {
    unknownSinceMs.delete(queue);
    return reconcile(size, latencySeconds);
  }

  function unknownHead(queue: string, size: number, nowMs: number, err: unknown): Head {
    const knownSinceMs = unknownSinceMs.get(queue);
    if (knownSinceMs === undefined) {
      logger.warn({ source, queue, err }, "unknown age of the head of a queue");
    }
    // With nothing in the queue there is no head yet whose age could grow.
    const sinceMs = size === 0 ? nowMs : (knownSinceMs ?? nowMs);
    unknownSinceMs.set(queue, sinceMs);
    return { headAgeMs: size === 0 ? null : nowMs - sinceMs, depth: size, accuracy: "UNKNOWN" };
  }

  /**
   * Faktory makes no other names, but it reads back what it finds in its Redis, and a space or CRLF in a name would be
   * read as part of the command.
   */
  function askable(names: readonly string[]): readonly string[] {
    const isAskable = (name: string) =>
      queueName.test(name) && queueNameProblem(`${source}/${name}`) === null;
    const skipped = names.filter((name) => !isAskable(name));
    if (skipped.length === 0) return names;
    if (!warnedOfNames) {
      logger.warn(
        { source, count: skipped.length, queues: skipped.slice(0, 10) },
        "skipped queues with invalid names",
      );
      warnedOfNames = true;
    }
    return names.filter(isAskable);
  }

  return createPollLoop({
    ...{ source, intervalMs, sink, logger, close: client.close },
    boundMs: Math.max(2_000, 2 * intervalMs),
    read: (signal) => client.use(signal, read),
  });
}

/**
 * Makes one statement of two instants: how many jobs waited at `INFO`, and the head's age at the later `QUEUE LATENCY`, in
 * seconds. The later one decides whether anything waits: exactly 0 is Faktory's word for an empty or unknown queue, since a
 * waiting job has been there for some nanoseconds. Below 0 a job does wait, stamped by a clock that was ahead: it is 0 at least.
 */
export function reconcile(size: number, latencySeconds: number): Head {
  if (latencySeconds === 0) return { headAgeMs: null, depth: 0, accuracy: "EXACT" };
  const accuracy = latencySeconds < 0 ? "LOWER_BOUND" : "EXACT";
  return { headAgeMs: Math.max(0, latencySeconds * 1000), depth: Math.max(size, 1), accuracy };
}

type Head = Pick<Observation, "headAgeMs" | "depth" | "accuracy">;

/** Faktory has an age for every time that it can parse, of the year 1 too: it ends at 292 years. Before 1970 it had no jobs. */
function isAge(latencySeconds: unknown): latencySeconds is number {
  return typeof latencySeconds === "number" && latencySeconds * 1_000 < wallClock.epochMs();
}

/** What Faktory allows in a queue's name. */
const queueName = /^[a-zA-Z0-9._-]+$/;
/** Of the names in one command: Faktory reads a line of any length, what lies between may not. */
const maxNameBytes = 8_000;

function* chunksOf(names: readonly string[], maxNames: number): Generator<readonly string[]> {
  let chunk: string[] = [];
  let bytes = 0;
  for (const name of names) {
    if (chunk.length > 0 && (chunk.length >= maxNames || bytes + name.length + 1 > maxNameBytes)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(name);
    bytes += name.length + 1;
  }
  if (chunk.length > 0) yield chunk;
}

async function orRefusal<T>(answer: Promise<T>): Promise<T | FaktoryRefusal> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof FaktoryRefusal) return error;
    throw error;
  }
}
