import { isUnavailable } from "../core/errors.ts";
import type { HistoryReader, HistoryStep } from "../core/history.ts";
import type { Lease } from "../core/lease.ts";
import type { QueueChoice } from "../core/queue-choice.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { monotonicClock } from "../runtime/clock.ts";
import { inBackground, type Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import { runWhileLeader } from "../runtime/run-while-leader.ts";
import type { Service } from "../runtime/service.ts";
import { createSampler, type Sampler } from "./sampler.ts";
import { createStepOutbox } from "./step-outbox.ts";
import { toPoint } from "./step-record.ts";
import { createStepStore } from "./step-store.ts";
import { createHistoryWriter } from "./writer.ts";

export interface HistoryOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** Of all processes that share a Redis, the one that has it writes. */
  readonly lease: Lease;
  /** Maximum number of queues: when there are more, those in use. */
  readonly choose: (max: number) => Promise<QueueChoice>;
  readonly read: (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;
  /** For how long steps are kept, in ms. */
  readonly keptMs: Readonly<Record<HistoryStep, number>>;
  /** How many queues have a history; 0: none has. */
  readonly maxQueues: number;
  readonly logger: Logger;
}

/** Steps of every queue, written by one process as things happen. */
export interface History extends Service, HistoryReader {
  /** Removes the history of a queue. */
  forget(queue: string): Promise<void>;
  /** Receives the change feed, so that only what changed is read again. */
  readonly listener: {
    onChange(queue: string): void;
    onConnected(): void;
    onDisconnected(): void;
  };
}

const everyMs = 1_000;
const listEveryMs = 5_000;

export function createHistory(options: HistoryOptions): History {
  const { lease, maxQueues, logger } = options;
  const store = createStepStore(options);
  /** While this process has the lease. */
  let sampler: Sampler | undefined;
  let isFeedLive = false;
  // Kept when the lease is lost, as it is when Redis pauses: a step that this process was in goes on when it has it again.
  const outbox = createStepOutbox({ logger });
  const own = createSampler({ read: options.read, onStep: outbox.add });
  /** When all names were listed last; a change of a queue that is not among them is a reason to list them again. */
  let listedAtMs = Number.NEGATIVE_INFINITY;

  /** Looks at all queues once a second, until it is stopped. */
  function createSampling(): Service {
    const writer = createHistoryWriter(store);
    const stopping = new AbortController();
    let writing = Promise.resolve();
    let sampling = Promise.resolve();
    const outage = createOutageLog({
      ...{ logger, fields: {} },
      begins: "queues cannot be sampled",
      ends: "queues are sampled again",
    });
    own.setFeedLive(isFeedLive);
    listedAtMs = Number.NEGATIVE_INFINITY;

    async function run(): Promise<void> {
      while (!stopping.signal.aborted) {
        const beganAtMs = monotonicClock.now();
        try {
          if (beganAtMs - listedAtMs >= listEveryMs) {
            listedAtMs = beganAtMs;
            const queues = await names();
            own.follow(queues);
            writer.retain(queues);
          }
          await own.sample();
          writing = writing.then(() => outbox.flush(writer.write));
          outage.recovered();
        } catch (error) {
          // The connection logs outages of Redis.
          if (!isUnavailable(error)) outage.failed(error);
        }
        await pause(beganAtMs + everyMs - monotonicClock.now(), stopping.signal);
      }
    }

    return {
      async start() {
        sampler = own;
        sampling = run();
      },
      async stop() {
        stopping.abort();
        sampler = undefined;
        await sampling;
        await writing;
      },
    };
  }

  let isOverflowing = false;
  async function names(): Promise<readonly string[]> {
    const { names: chosen, known } = await options.choose(maxQueues);
    const omitted = known - chosen.length;
    if (omitted > 0 && !isOverflowing) {
      logger.warn(
        { omitted, maxQueues },
        "some queues have no history: more than HISTORY_MAX_QUEUES are known",
      );
    }
    isOverflowing = omitted > 0;
    return chosen;
  }

  const service = runWhileLeader({
    lease,
    create: createSampling,
    logFields: {},
    startedMessage: "this process writes the history",
    failedMessage: "the history cannot be written",
    logger: inBackground(logger),
  });

  return {
    start: async () => (maxQueues === 0 ? undefined : service.start()),
    stop: service.stop,
    listener: {
      onChange(queue) {
        if (sampler?.changed(queue) === false && !isOverflowing) listedAtMs = Number.NEGATIVE_INFINITY;
      },
      onConnected() {
        isFeedLive = true;
        sampler?.setFeedLive(true);
      },
      onDisconnected() {
        isFeedLive = false;
        sampler?.setFeedLive(false);
      },
    },
    forget: store.forget,
    async read({ queue, step, fromMs, toMs }) {
      const steps = await store.range(queue, step, { fromMs, toMs });
      return steps.map(({ atMs, record }) => toPoint(atMs, record));
    },
    latest: (queues, sinceMs, max) => Promise.all(queues.map((queue) => store.recent(queue, sinceMs, max))),
  };
}
