import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../core/errors.ts";
import type { FollowedQueue, FollowResult, FollowSink } from "../core/log-following.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { Finding } from "./finding.ts";

/** Builds a source that hands its readings to the sink, and its troubles to the logger. */
export type CreateSource = (sink: FollowSink, logger: Logger) => Service;

/** How long a job system may take to answer. */
const timeoutMs = 15_000;
/** After a reading the source may have more: a database with several job systems, or one queue after the other. */
const settleMs = 1_000;

/**
 * Runs a source until it has reported a reading or a trouble, and stores nothing of it. No source changes the job system that it reads.
 */
export async function checkSource(create: CreateSource): Promise<Finding> {
  const queues = new Set<string>();
  const troubles: string[] = [];
  const reported = Promise.withResolvers<void>();
  const note = (fields: Readonly<Record<string, unknown>>, message: string) => {
    troubles.push(troubleText(fields, message));
    reported.resolve();
  };
  const quiet = () => {};
  const logger: Logger = { debug: quiet, info: quiet, warn: note, error: note };
  const sink = countingSink((source, names) => {
    for (const name of names) queues.add(`${source}/${name}`);
    reported.resolve();
  });
  let service: Service | undefined;
  try {
    service = create(sink, logger);
    await service.start();
    const late = new AbortController();
    const isLate = await Promise.race([
      reported.promise.then(() => false),
      sleep(timeoutMs, true, { signal: late.signal }),
    ]).finally(() => late.abort());
    if (isLate) return { status: "wrong", found: `no answer within ${timeoutMs / 1_000} s` };
    // Also troubles of a reading come together.
    await sleep(settleMs);
  } catch (error) {
    return { status: "wrong", found: messageOf(error) };
  } finally {
    await service?.stop().catch(quiet);
  }
  const [trouble] = troubles;
  if (queues.size === 0 && trouble?.startsWith(unavailable) === true)
    return { status: "wrong", found: trouble };
  const found = `${queues.size === 1 ? "1 queue" : `${queues.size} queues`}${namesOf(queues)}`;
  return trouble === undefined
    ? { status: "ok", found }
    : { status: "warning", found: `${found}; ${troubles.join("; ")}` };
}

/** What sources log when their job system does not answer. */
const unavailable = "source unavailable";
const maxNames = 5;

function namesOf(queues: ReadonlySet<string>): string {
  if (queues.size === 0) return "";
  const names = [...queues].toSorted();
  return `: ${names.slice(0, maxNames).join(", ")}${names.length > maxNames ? ", …" : ""}`;
}

function troubleText({ source: _, ...fields }: Readonly<Record<string, unknown>>, message: string): string {
  const { err, ...rest } = fields;
  const details = Object.entries(rest).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  const reasons = [...(err === undefined ? [] : [messageOf(err)]), ...details];
  return reasons.length === 0 ? message : `${message}: ${reasons.join(", ")}`;
}

function countingSink(onQueues: (source: string, queues: readonly string[]) => void): FollowSink {
  return {
    observe: async ({ source, queues }) =>
      onQueues(
        source,
        queues.map(({ queue }) => queue),
      ),
    async follow({ source, queue, toCursor }: FollowedQueue): Promise<FollowResult> {
      onQueues(source, [queue]);
      const nothing = { jobs: 0, head: null, lacksExpected: false, sweepFrom: null, repairing: false };
      return { applied: true, cursor: toCursor, ...nothing };
    },
    cursors: async () => new Map(),
    notes: async () => new Map(),
    gone: async () => {},
  };
}
